//! The operator's door: realms, tokens, domains, policy, in Keycloak's words.

use serde_json::{Value, json};

use crate::world::{ADMIN, Reply, World};

/// Asserts an admin error and gives its message.
fn message(reply: &Reply) -> String {
    let body = reply.json();
    assert!(body["error"].is_string(), "{reply}");
    body["errorMessage"].as_str().unwrap_or_else(|| panic!("errorMessage in {reply}")).to_owned()
}

#[tokio::test]
async fn an_operator_signs_in_and_stays_signed_in() {
    let world = World::shared();
    let signed_in = world.stranger().sign_in(ADMIN.0, ADMIN.1).await;
    assert_eq!(signed_in.status, 200, "{signed_in}");
    assert!(signed_in.header("cache-control").contains("no-store"));
    let body = signed_in.json();
    assert_eq!(body["token_type"], "Bearer");
    assert!(body["expires_in"].is_u64() && body["refresh_expires_in"].is_u64(), "{body}");
    let refresh =
        format!("grant_type=refresh_token&client_id=admin-cli&refresh_token={}", signed_in.text_at("refresh_token"));
    let refreshed = world.stranger().form("/realms/master/protocol/openid-connect/token", refresh).await;
    assert_eq!(refreshed.status, 200, "{refreshed}");
    let token = refreshed.text_at("access_token");
    assert_eq!(world.stranger().bearer(&token).get("/admin/realms").await.status, 200);
}

#[tokio::test]
async fn python_keycloaks_empty_fields_are_accepted() {
    let form = format!(
        "username={}&password={}&client_id=admin-cli&grant_type=password&code=&redirect_uri=&scope=openid",
        crate::world::encoded(ADMIN.0),
        crate::world::encoded(ADMIN.1)
    );
    let reply = World::shared().stranger().form("/realms/master/protocol/openid-connect/token", form).await;
    assert_eq!(reply.status, 200, "{reply}");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_refused_alike() {
    let stranger = World::shared().stranger();
    let wrong = stranger.sign_in(ADMIN.0, "wrong").await;
    let unknown = stranger.sign_in("nobody", "wrong").await;
    assert_eq!(wrong.status, 401, "{wrong}");
    assert_eq!(wrong.json()["error"], "invalid_grant");
    assert_eq!((unknown.status, unknown.json()), (wrong.status, wrong.json()));
    for form in [
        "",
        "grant_type=password",
        "grant_type=magic&username=a&password=b",
        "grant_type=refresh_token&refresh_token=x",
    ] {
        let reply = stranger.form("/realms/master/protocol/openid-connect/token", form.to_owned()).await;
        assert!((400..=401).contains(&reply.status.as_u16()), "{form}: {reply}");
        assert!(reply.json()["error"].is_string(), "{form}: {reply}");
    }
}

#[tokio::test]
async fn nobody_but_an_operator_may_enter() {
    let realm = World::realm().await;
    let root = World::shared().stranger();
    let admin = World::shared().admin().await;
    for path in [
        "/admin/realms".to_owned(),
        format!("/admin/realms/{}", realm.name),
        format!("/admin/realms/{}/scim", realm.name),
    ] {
        for (what, caller) in [
            ("no token", root.clone()),
            ("a SCIM token", root.bearer(&realm.token)),
            ("garbage", root.bearer("a.b.c")),
            ("an unsigned token", root.bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.")),
        ] {
            let reply = caller.get(&path).await;
            assert_eq!(reply.status, 401, "{what} {path}: {reply}");
            message(&reply);
        }
    }
    let as_scim = admin.below(&realm.path("")).get("/Users").await;
    assert_eq!(as_scim.summary(), "401 Unauthorized", "an admin's token is no SCIM token");
    as_scim.detail();
}

#[tokio::test]
async fn a_token_changed_by_one_character_is_none() {
    let good = World::shared().stranger().sign_in(ADMIN.0, ADMIN.1).await.text_at("access_token");
    for at in [0, good.len() / 2, good.len() - 5] {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).expect("it was ASCII");
        let reply = World::shared().stranger().bearer(&forged).get("/admin/realms").await;
        assert_eq!(reply.status, 401, "position {at}: {reply}");
    }
}

#[tokio::test]
async fn a_realm_is_created_listed_and_changed() {
    let realm = World::realm().await;
    let admin = World::shared().admin().await;
    let name = format!("{}-two", realm.name);
    let created = admin.post("/admin/realms", json!({ "realm": name, "displayName": "Two", "enabled": true })).await;
    assert_eq!((created.status.as_u16(), created.bytes.len()), (201, 0));
    assert!(created.header("location").ends_with(&format!("/admin/realms/{name}")), "{}", created.header("location"));
    let path = format!("/admin/realms/{name}");
    let body = admin.get(&path).await.json();
    assert_eq!(
        (&body["realm"], &body["displayName"], &body["enabled"], &body["scimApiEnabled"]),
        (&json!(name), &json!("Two"), &json!(true), &json!(false))
    );
    assert!(body["id"].as_str().is_some_and(|id| id.len() == 36), "{body}");
    let changed = admin.put(&path, json!({ "realm": name, "displayName": "Second", "enabled": false })).await;
    assert_eq!(changed.status, 204, "{changed}");
    let body = admin.get(&path).await.json();
    assert_eq!((&body["displayName"], &body["enabled"]), (&json!("Second"), &json!(false)));
    for list in ["/admin/realms", "/admin/realms/", "/admin/realms?briefRepresentation=True&max=1000"] {
        let list = admin.get(list).await.json();
        let names: Vec<_> = list.as_array().expect("a bare array").iter().filter_map(|r| r["realm"].as_str()).collect();
        assert!(names.contains(&realm.name.as_str()) && names.contains(&"master"), "{names:?}");
    }
}

#[tokio::test]
async fn a_realm_cannot_be_created_twice_or_with_an_odd_name() {
    let realm = World::realm().await;
    let admin = World::shared().admin().await;
    let again = admin.post("/admin/realms", json!({ "realm": realm.name })).await;
    assert_eq!(again.status, 409, "{again}");
    assert_eq!(
        again.json(),
        json!({ "errorMessage": "Conflict detected. See logs for details" }),
        "as clients know it"
    );
    for name in ["", "Acme", "a/b", "a b", "-a", "ä", &"a".repeat(64), "a%2f", "../x"] {
        let reply = admin.post("/admin/realms", json!({ "realm": name })).await;
        assert_eq!(reply.status, 400, "{name:?}: {reply}");
        assert!(message(&reply).contains("a-z"), "{reply}");
    }
    for body in [json!({}), json!([]), json!({ "realm": 7 })] {
        assert_eq!(admin.post("/admin/realms", body.clone()).await.status, 400, "{body}");
    }
    assert_eq!(admin.get("/admin/realms/nobody-knows-me").await.status, 404);
}

#[tokio::test]
async fn a_deleted_realm_is_gone_with_all_it_holds() {
    let (realm, other) = World::two_realms().await;
    let ada = json!({ "schemas": [crate::world::USER], "userName": "ada", "emails": [{ "value": "ada@example.com" }] });
    let ada = realm.create_user(ada).await.id();
    let inner = realm.group("inner", &[&ada]).await;
    let kept = other.group("kept", &[&other.user("ada").await]).await;
    realm.group("outer", &[&inner, &ada]).await;
    assert_eq!(realm.delete(&format!("/Users/{}", realm.user("gone").await)).await.status, 204);
    let domain = format!("gone-{}.example", crate::process::unique());
    assert_eq!(realm.admin.post("/domains", json!({ "domain": domain })).await.status, 201);
    let sql = World::shared().superuser().await;
    let id = sql.query_one("SELECT id FROM realms WHERE name = $1", &[&realm.name]).await.expect("it is there");
    let id: uuid::Uuid = id.get(0);
    let tables = "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                   WHERE a.attname = 'realm_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                     AND c.relnamespace = 'realmgate'::regnamespace AND c.relname <> 'audit_log'";
    let tables: Vec<String> = sql.query(tables, &[]).await.expect("the catalog").iter().map(|row| row.get(0)).collect();
    let mut filled = Vec::new();
    for (when, empty) in [("before", false), ("after", true)] {
        if empty {
            let deleted = realm.admin.delete("").await;
            assert_eq!((deleted.status.as_u16(), deleted.bytes.len()), (204, 0), "{deleted}");
        }
        for table in &tables {
            let count = format!("SELECT count(*) FROM {table} WHERE realm_id = $1");
            let count: i64 = sql.query_one(&count, &[&id]).await.expect("a count").get(0);
            assert!(count == 0 || !empty, "{when}: {table} has {count}");
            filled.extend((count > 0).then_some(table.as_str()));
        }
    }
    for table in ["scim_tokens", "roles", "users", "user_emails", "user_roles", "groups", "group_members", "events"] {
        assert!(filled.contains(&table), "{table} had nothing which could go");
    }
    for reply in [realm.get("/Users").await, realm.get("/ServiceProviderConfig").await] {
        assert_eq!(reply.summary(), "401 Unauthorized", "the token is dead");
    }
    assert_eq!(realm.admin.get("").await.status, 404);
    assert_eq!(realm.admin.delete("").await.status, 404);
    assert_eq!(other.admin.post("/domains", json!({ "domain": domain })).await.status, 201, "the domain is free");
    assert_eq!(other.members_of(&kept).await.len(), 1, "another realm lost nothing");
    let root = World::shared().admin().await;
    assert_eq!(root.post("/admin/realms", json!({ "realm": realm.name })).await.status, 201, "the name is free");
    assert_eq!(realm.get("/Users").await.status, 401, "and opens to no token of the one before");
}

#[tokio::test]
async fn a_realm_is_deleted_under_traffic_and_leaves_nothing() {
    let realm = World::realm().await;
    let idp = realm.idp();
    let writes = tokio::spawn(async move {
        for n in 0.. {
            let user = json!({ "schemas": [crate::world::USER], "userName": format!("user-{n}") });
            let reply = idp.post("/Users", user).await;
            assert!([201, 401].contains(&reply.status.as_u16()), "{reply}");
            if reply.status == 401 {
                return n;
            }
        }
        0
    });
    while realm.get("/Users?count=0").await.json()["totalResults"].as_i64() < Some(5) {}
    assert_eq!(realm.admin.delete("").await.status, 204);
    assert!(writes.await.expect("every answer was one of the two") >= 5);
    assert_eq!(realm.admin.get("").await.status, 404);
}

#[tokio::test]
async fn master_cannot_be_deleted() {
    let admin = World::shared().admin().await;
    let reply = admin.delete("/admin/realms/master").await;
    assert_eq!(reply.status, 400, "{reply}");
    assert!(message(&reply).contains("master"), "{reply}");
    assert_eq!(admin.get("/admin/realms/master").await.json()["enabled"], true);
}

#[tokio::test]
async fn scim_is_off_until_it_is_enabled_and_the_token_is_shown_once() {
    let other = World::realm().await;
    let admin = World::shared().admin().await;
    let name = format!("{}-off", other.name);
    assert_eq!(admin.post("/admin/realms", json!({ "realm": name, "enabled": true })).await.status, 201);
    let realm = admin.below(&format!("/admin/realms/{name}"));
    let status = realm.get("/scim").await.json();
    assert_eq!((&status["realm"], &status["enabled"]), (&json!(name), &json!(false)));
    assert_eq!(realm.post("/scim/rotate", json!({})).await.status, 409, "nothing to rotate");
    let enabled = realm.post("/scim/enable", json!({})).await;
    assert_eq!(enabled.status, 200, "{enabled}");
    assert!(enabled.header("cache-control").contains("no-store"));
    let token = enabled.text_at("token");
    assert!(token.starts_with("rgs_") && token.len() == 53, "its form is told in the documentation");
    assert!(enabled.text_at("base_url").ends_with(&format!("/realms/{name}/scim/v2")), "{enabled}");
    assert_eq!(realm.post("/scim/enable", json!({})).await.status, 409, "rotate instead");
    let status = realm.get("/scim").await;
    assert!(!String::from_utf8_lossy(&status.bytes).contains(&token));
    let status = status.json();
    assert_eq!((&status["enabled"], &status["base_url"]), (&json!(true), &enabled.json()["base_url"]));
    let shown = &status["tokens"][0];
    assert!(token.starts_with(shown["prefix"].as_str().expect("a text")), "{status}");
    assert!(shown["id"].is_string() && shown["created_at"].is_string() && shown["expires_at"].is_null(), "{status}");
    let rotated = realm.post("/scim/rotate", json!({})).await;
    assert_eq!(rotated.status, 200, "{rotated}");
    assert_ne!(rotated.text_at("token"), token);
    assert_eq!(realm.post("/scim/disable", json!({})).await.status, 204);
    assert_eq!(realm.get("/scim").await.json()["tokens"], json!([]));
}

#[tokio::test]
async fn a_token_is_stored_as_its_hash_alone() {
    let realm = World::realm().await;
    let sql = World::shared().superuser().await;
    let rows = sql
        .query(
            "SELECT to_jsonb(t)::text FROM scim_tokens t JOIN realms r ON r.id = t.realm_id WHERE r.name = $1",
            &[&realm.name],
        )
        .await;
    let rows: Vec<String> = rows.expect("the table is there").iter().map(|row| row.get(0)).collect();
    assert_eq!(rows.len(), 1);
    assert!(!rows[0].contains(&realm.token[12..]), "{rows:?}");
    assert!(!World::shared().log().contains(&realm.token[12..]), "nor is it in the log");
}

#[tokio::test]
async fn master_has_no_scim() {
    let admin = World::shared().admin().await;
    let reply = admin.post("/admin/realms/master/scim/enable", json!({})).await;
    assert!((400..500).contains(&reply.status.as_u16()), "{reply}");
    message(&reply);
}

#[tokio::test]
async fn a_domain_belongs_to_one_realm() {
    let (acme, globex) = World::two_realms().await;
    let domain = format!("host-{}.example", crate::process::unique());
    assert_eq!(acme.admin.get("/domains").await.json(), json!([]));
    let added = acme.admin.post("/domains", json!({ "domain": domain.to_uppercase() })).await;
    assert_eq!(added.status, 201, "{added}");
    assert_eq!(acme.admin.get("/domains").await.json(), json!([domain]));
    let taken = globex.admin.post("/domains", json!({ "domain": domain })).await;
    assert_eq!(taken.status, 409, "{taken}");
    assert!(!message(&taken).contains(&acme.name), "whose it is is no one's business: {taken}");
    for odd in
        ["", "localhost", "https://a.example", "a.example:8080", "a.example/x", "10.0.0.1", "a..example", "a b.example"]
    {
        assert_eq!(acme.admin.post("/domains", json!({ "domain": odd })).await.status, 400, "{odd:?}");
    }
    assert_eq!(globex.admin.delete(&format!("/domains/{domain}")).await.status, 404, "not theirs to remove");
    assert_eq!(acme.admin.delete(&format!("/domains/{domain}")).await.status, 204);
    assert_eq!(globex.admin.post("/domains", json!({ "domain": domain })).await.status, 201);
}

#[tokio::test]
async fn a_changed_policy_reads_back() {
    let realm = World::realm().await;
    let changed = realm.admin.patch("/scim/policy", json!({ "on_delete": "purge", "group_names": "any" })).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!((&changed.json()["on_delete"], &changed.json()["group_names"]), (&json!("purge"), &json!("any")));
    assert_eq!(realm.admin.get("/scim/policy").await.json(), changed.json());
}

#[tokio::test]
async fn an_unknown_realm_or_path_is_404_for_an_operator() {
    let admin = World::shared().admin().await;
    for path in [
        "/admin/realms/nobody-knows-me/scim",
        "/admin/realms/nobody-knows-me/scim/policy",
        "/admin/realms/nobody-knows-me/domains",
        "/admin/nothing",
    ] {
        let reply = admin.get(path).await;
        assert_eq!(reply.status, 404, "{path}: {reply}");
        message(&reply);
    }
    for (path, body) in [
        ("/admin/realms/nobody-knows-me/scim/enable", json!({})),
        ("/admin/realms/nobody-knows-me/domains", json!({ "domain": "a.example" })),
    ] {
        assert_eq!(admin.post(path, body).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_request_id_of_a_client_comes_back_and_a_bad_one_does_not() {
    let realm = World::realm().await;
    let reply = realm.header("X-Request-Id", "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b").get("/Users").await;
    assert_eq!(reply.header("x-request-id"), "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b");
    for bad in ["a b", "<script>", &"x".repeat(500)] {
        let own = realm.header("X-Request-Id", bad).get("/Users").await;
        assert!(!own.header("x-request-id").is_empty() && own.header("x-request-id") != bad, "{bad}");
    }
    let _: Value = reply.json();
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_who_and_what_and_no_secret() {
    let realm = World::realm().await;
    let rotated = realm.admin.header("X-Request-Id", "rotation-1").post("/scim/rotate", json!({})).await;
    realm.policy("group_names", "any").await;
    let log = realm.admin.get("/audit-log").await;
    assert_eq!(log.status, 200, "{log}");
    assert!(!String::from_utf8_lossy(&log.bytes).contains(&rotated.text_at("token")));
    let log = log.json();
    let words: Vec<&str> = log.as_array().expect("a list").iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(words, ["policy.update", "scim.rotate", "scim.enable", "realm.create"]);
    let (policy, rotation) = (&log[0], &log[1]);
    assert_eq!(policy["before"]["policy"]["group_names"], "unique");
    assert_eq!(policy["after"]["policy"]["group_names"], "any");
    assert_eq!((&policy["username"], &policy["realm"]), (&json!(ADMIN.0), &json!(realm.name)));
    assert_eq!(rotation["request_id"], "rotation-1");
    let rotation = rotation["id"].as_str().unwrap();
    let older = realm.admin.get(&format!("/audit-log?before={rotation}&action=scim.&limit=1")).await;
    assert_eq!(older.json()[0]["action"], "scim.enable");
}

#[tokio::test]
async fn the_audit_log_outlives_its_realm_and_nobody_can_write_it_anew() {
    let realm = World::realm().await;
    let root = realm.admin.at_root();
    assert_eq!(root.delete(&format!("/admin/realms/{}", realm.name)).await.status, 204);
    let log = root.get("/admin/audit-log?action=realm.delete&limit=1000").await.json();
    assert!(log.as_array().expect("a list").iter().any(|entry| entry["target"] == realm.name), "{log}");
    let gateway = World::shared().as_the_gateway().await;
    for sql in ["DELETE FROM audit_log", "UPDATE audit_log SET action = 'nothing'"] {
        assert!(gateway.execute(sql, &[]).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn the_openapi_document_tells_of_every_route_and_of_no_other() {
    let world = World::shared();
    assert_eq!(world.stranger().get("/admin/openapi.json").await.status, 401);
    let document = world.admin().await.get("/admin/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let real = path.replace("{realm}", "nobody").replace(['{', '}'], "");
        for (method, operation) in operations.as_object().expect("operations") {
            let method = http::Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let reply = world.stranger().send(method.clone(), &real, bytes::Bytes::new()).await.expect("an answer");
            assert_eq!(reply.status, 401, "{method} {path}: {reply}");
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{method} {path} says nothing");
            assert!(operation["responses"].as_object().is_some_and(|r| r.len() == 1), "{method} {path}");
        }
    }
    let text = document.to_string();
    for (at, _) in text.match_indices("\"#/components/schemas/") {
        let name = &text[at + "\"#/components/schemas/".len()..];
        let name = &name[..name.find('"').expect("it ends")];
        assert!(document["components"]["schemas"][name].is_object(), "`{name}` is described");
    }
}

#[tokio::test]
async fn a_query_which_no_text_can_be_is_a_mistake_of_the_client() {
    let realm = World::realm().await;
    let root = realm.admin.at_root();
    for (caller, path) in [
        (&root, "/admin/realms?search=a%00b"),
        (&root, "/admin/audit-log?action=%00"),
        (&realm.admin, "/users?q=a%3A%00"),
        (&realm.admin, "/groups?search=%00"),
        (&realm.admin, "/scim/requests?q=%00"),
    ] {
        let reply = caller.get(path).await;
        assert_eq!(reply.status, 400, "{path}: {reply}");
    }
    let words = vec!["word"; 21].join("%20");
    assert_eq!(realm.admin.get(&format!("/users?search={words}")).await.status, 400);
}
