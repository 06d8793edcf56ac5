//! Nothing of one realm can be read, changed or proved to exist with the token of another (SECURITY 3, row 1 and 2).

use http::Method;
use serde_json::{Value, json};

use crate::world::{Caller, GROUP, Realm, Reply, USER, World, encoded, parsed, raw};

/// An id which nobody has.
const NOBODY: &str = "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b";

/// All that a caller can learn from an answer, without the words which it put in itself.
fn shape(reply: &Reply, own_words: &[&str]) -> (u16, Vec<String>, String) {
    let mask = |text: &str| own_words.iter().fold(text.to_owned(), |text, word| text.replace(word, "~"));
    let changing = ["date", "x-request-id", "content-length"];
    let kept = reply.headers.iter().filter(|(name, _)| !changing.contains(&name.as_str()));
    let mut headers: Vec<_> =
        kept.map(|(name, value)| mask(&format!("{name}: {}", value.to_str().unwrap_or("?")))).collect();
    headers.sort();
    (reply.status.as_u16(), headers, mask(&String::from_utf8_lossy(&reply.bytes)))
}

/// Every request that a realm would answer.
async fn everything(caller: &Caller, user: &str, group: &str) -> Vec<(String, Reply)> {
    let one = [Method::GET, Method::PUT, Method::PATCH, Method::DELETE];
    let routes = [
        ("/ServiceProviderConfig".to_owned(), &[Method::GET][..]),
        ("/ResourceTypes".to_owned(), &[Method::GET]),
        ("/ResourceTypes/User".to_owned(), &[Method::GET]),
        ("/Schemas".to_owned(), &[Method::GET]),
        (String::new(), &[Method::GET]),
        ("/.search".to_owned(), &[Method::POST]),
        ("/Users/.search".to_owned(), &[Method::POST]),
        ("/Groups/.search".to_owned(), &[Method::POST]),
        ("/Users".to_owned(), &[Method::GET, Method::POST]),
        ("/Groups".to_owned(), &[Method::GET, Method::POST]),
        (format!("/Users/{user}"), &one),
        (format!("/Groups/{group}"), &one),
    ];
    let mut replies = Vec::new();
    for (path, methods) in routes {
        for method in methods {
            let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
            let body = if has_body { "{}" } else { "" };
            let reply = caller.send(method.clone(), &path, body.into()).await.expect("the gateway answers");
            replies.push((format!("{method} {path}"), reply));
        }
    }
    replies
}

async fn snapshot(realm: &Realm) -> (Value, Value) {
    (realm.get("/Users").await.json(), realm.get("/Groups").await.json())
}

#[tokio::test]
async fn a_token_of_one_realm_opens_no_other() {
    let (acme, globex) = World::two_realms().await;
    let user = globex.user("ada").await;
    let group = globex.group("engines", &[&user]).await;
    let before = snapshot(&globex).await;
    for (what, reply) in everything(&acme.at(&globex), &user, &group).await {
        assert_eq!(reply.summary(), "401 Unauthorized", "{what}");
        assert!(reply.header("www-authenticate").starts_with("Bearer"), "{what}");
    }
    assert_eq!(snapshot(&globex).await, before);
}

#[tokio::test]
async fn every_closed_door_looks_the_same() {
    let (acme, unknown) = World::two_realms().await;
    let disabled = World::realm().await;
    let off = World::realm().await;
    let reply = disabled.admin.put("", json!({ "realm": disabled.name, "enabled": false })).await;
    assert!(reply.status.is_success(), "{reply}");
    assert_eq!(off.admin.post("/scim/disable", json!({})).await.status, 204);
    let nowhere = acme.below("").at_root().below("/realms/nobody-knows-me/scim/v2");
    let good_form = unknown.token.clone();
    for path in ["/Users", "/ServiceProviderConfig", "/Groups/1"] {
        let wrong_token = acme.bearer(&good_form).get(path).await;
        let expected = shape(&wrong_token, &[&acme.name]);
        assert_eq!(expected.0, 401, "{wrong_token}");
        wrong_token.detail();
        assert!(wrong_token.header("www-authenticate").contains(&format!("realm=\"{}\"", acme.name)));
        assert!(wrong_token.header("www-authenticate").contains("error=\"invalid_token\""));
        for (what, reply, name) in [
            ("unknown realm", nowhere.bearer(&good_form).get(path).await, "nobody-knows-me"),
            ("disabled realm", disabled.get(path).await, &disabled.name),
            ("SCIM switched off", off.get(path).await, &off.name),
            ("master", acme.at_root().below("/realms/master/scim/v2").get(path).await, "master"),
            ("malformed token", acme.bearer("rgs_garbage").get(path).await, &acme.name),
        ] {
            assert_eq!(shape(&reply, &[name]), expected, "{what} {path}");
        }
        let missing = acme.anonymous().get(path).await;
        assert_eq!(missing.status, 401);
        assert!(!missing.header("www-authenticate").contains("error="), "no token was given");
        assert_eq!(shape(&nowhere.anonymous().get(path).await, &["nobody-knows-me"]), shape(&missing, &[&acme.name]));
    }
}

#[tokio::test]
async fn an_id_of_another_realm_is_as_unknown_as_a_random_one() {
    let (acme, globex) = World::two_realms().await;
    let theirs = globex.user("ada").await;
    let their_group = globex.group("engines", &[&theirs]).await;
    let mine = acme.group("mine", &[]).await;
    let before = (snapshot(&acme).await, snapshot(&globex).await);
    let etag = globex.get(&format!("/Users/{theirs}")).await.header("etag").to_owned();
    for (kind, id) in [("Users", theirs.as_str()), ("Groups", their_group.as_str())] {
        let bodies = [
            (Method::GET, String::new()),
            (Method::DELETE, String::new()),
            (Method::PUT, json!({ "userName": "eve", "displayName": "eve" }).to_string()),
            (Method::PATCH, json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{ "op": "replace", "path": "displayName", "value": "x" }] }).to_string()),
        ];
        for (method, body) in bodies {
            for caller in [acme.idp(), acme.header("If-Match", &etag), acme.header("If-None-Match", &etag)] {
                let ask =
                    |id: String| caller_send(caller.clone(), method.clone(), format!("/{kind}/{id}"), body.clone());
                let (foreign, random) = (ask(id.to_owned()).await, ask(NOBODY.to_owned()).await);
                assert_eq!(shape(&foreign, &[id]), shape(&random, &[NOBODY]), "{method} {kind}");
                assert_eq!(foreign.status, 404, "{method} {kind}: {foreign}");
            }
        }
    }
    for id in [&theirs, &their_group] {
        let with_member = |id: &str| json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
        let path = format!("/Groups/{mine}");
        let (foreign, random) =
            (acme.operations(&path, with_member(id)).await, acme.operations(&path, with_member(NOBODY)).await);
        assert_eq!(shape(&foreign, &[id]), shape(&random, &[NOBODY]));
        assert_eq!(foreign.summary(), "400 invalidValue");
        for filter in
            [format!("id eq \"{id}\""), format!("members.value eq \"{id}\""), format!("groups.value eq \"{id}\"")]
        {
            for kind in ["Users", "Groups"] {
                let reply = acme.get(&format!("/{kind}?filter={}", encoded(&filter))).await;
                if reply.status == 200 {
                    assert_eq!(reply.json()["totalResults"], 0, "{kind} {filter}");
                }
            }
        }
    }
    assert_eq!((snapshot(&acme).await, snapshot(&globex).await), before);
}

async fn caller_send(caller: Caller, method: Method, path: String, body: String) -> Reply {
    caller.send(method, &path, body.into()).await.expect("the gateway answers")
}

#[tokio::test]
async fn the_same_names_live_in_two_realms_side_by_side() {
    let (acme, globex) = World::two_realms().await;
    let user = json!({ "schemas": [USER], "userName": "ada", "externalId": "00u1" });
    let (one, other) = (acme.create_user(user.clone()).await, globex.create_user(user).await);
    assert_ne!(one.id(), other.id());
    acme.group("engines", &[&one.id()]).await;
    globex.group("engines", &[&other.id()]).await;
    assert_eq!(acme.delete(&format!("/Users/{}", one.id())).await.status, 204);
    assert_eq!(globex.names("externalId eq \"00u1\"").await, ["ada"]);
}

#[tokio::test]
async fn the_id_in_a_body_is_never_the_one_that_counts() {
    let (acme, globex) = World::two_realms().await;
    let theirs = globex.user("ada").await;
    let mine = acme.user("bob").await;
    let created = acme.create_user(json!({ "schemas": [USER], "userName": "eve", "id": theirs })).await;
    assert_ne!(created.id(), theirs);
    let put = acme
        .put(&format!("/Users/{mine}"), json!({ "schemas": [USER], "userName": "bob", "id": theirs, "active": false }))
        .await;
    assert_eq!(put.id(), mine);
    assert_eq!(globex.get(&format!("/Users/{theirs}")).await.json()["active"], true);
    let group = acme.post("/Groups", json!({ "schemas": [GROUP], "displayName": "g", "id": theirs })).await;
    assert_ne!(group.id(), theirs);
}

#[tokio::test]
async fn a_custom_domain_is_a_door_to_its_own_realm_and_to_no_other() {
    let (acme, globex) = World::two_realms().await;
    let domain = format!("id.{}.example", acme.name);
    assert_eq!(acme.admin.post("/domains", json!({ "domain": domain })).await.status, 201);
    let at_domain = acme.header("Host", &domain);
    let id = acme.user("ada").await;
    assert_eq!(at_domain.get(&format!("/Users/{id}")).await.status, 200);
    let short = at_domain.at_root().below("/scim/v2");
    assert_eq!(short.get(&format!("/Users/{id}")).await.status, 200, "the domain says which realm it is");
    for host in [domain.to_uppercase(), format!("{domain}:8443"), format!("{domain}.")] {
        let reply = acme.header("Host", &host).get("/ServiceProviderConfig").await;
        assert_eq!(reply.status, 200, "{host}");
        let location = reply.json()["meta"]["location"].as_str().unwrap_or_default().to_owned();
        assert!(location.contains(&format!("//{domain}")) && !location.contains("8443"), "{host}: {location}");
    }
    let foreign = globex.header("Host", &domain).get("/Users").await;
    assert!([401, 404, 421].contains(&foreign.status.as_u16()), "globex under acme's host: {foreign}");
    let unknown = acme.header("Host", &domain).at_root().below("/realms/nobody-knows-me/scim/v2").get("/Users").await;
    assert_eq!(
        shape(&foreign, &[&globex.name]),
        shape(&unknown, &["nobody-knows-me"]),
        "which realms exist is no one's business"
    );
    assert_eq!(globex.header("Host", &domain).at_root().below("/scim/v2").get("/Users").await.status, 401);
    let nowhere = acme.at_root().below("/scim/v2").get("/Users").await;
    assert!([401, 404].contains(&nowhere.status.as_u16()), "without a domain there is no realm here: {nowhere}");
}

#[tokio::test]
async fn forwarded_headers_of_a_stranger_choose_nothing() {
    let (acme, globex) = World::two_realms().await;
    let domain = format!("id.{}.example", globex.name);
    assert_eq!(globex.admin.post("/domains", json!({ "domain": domain })).await.status, 201);
    for (name, value) in [
        ("X-Forwarded-Host", domain.clone()),
        ("Forwarded", format!("host={domain};proto=https")),
        ("X-Forwarded-Prefix", format!("/realms/{}", globex.name)),
        ("X-Original-URL", globex.path("/Users")),
        ("X-Rewrite-URL", globex.path("/Users")),
    ] {
        let fooled = acme.header(name, &value);
        let reply = fooled.get("/Users").await;
        assert_eq!(reply.status, 200, "{name}: {reply}");
        let created = fooled.post("/Users", json!({ "schemas": [USER], "userName": format!("via-{name}") })).await;
        assert!(!created.header("location").contains(&domain), "{name}: {}", created.header("location"));
        assert_eq!(acme.at(&globex).header(name, &value).get("/Users").await.status, 401, "{name}");
    }
    assert_eq!(globex.get("/Users").await.json()["totalResults"], 0);
}

#[tokio::test]
async fn odd_spellings_of_another_realms_path_open_nothing() {
    let (acme, globex) = World::two_realms().await;
    globex.user("ada").await;
    let (a, g, token) = (&acme.name, &globex.name, &acme.token);
    for path in [
        format!("/realms/{a}/../{g}/scim/v2/Users"),
        format!("/realms/{a}/%2e%2e/{g}/scim/v2/Users"),
        format!("/realms/{a}%2F..%2F{g}/scim/v2/Users"),
        format!("/realms/{a}/scim/v2/../../../{g}/scim/v2/Users"),
        format!("//realms/{g}/scim/v2/Users"),
        format!("/realms//{g}/scim/v2/Users"),
        format!("/realms/{}/scim/v2/Users", g.to_uppercase()),
        format!("/realms/{g};{a}/scim/v2/Users"),
        format!("/realms/{g}%00/scim/v2/Users"),
        format!("/realms/{g}/scim/v2/Users?realm={a}"),
        format!("http://{a}.example/realms/{g}/scim/v2/Users"),
        format!("/realms/{g}\\{a}/scim/v2/Users"),
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n",
            World::shared().address()
        );
        let answer = raw(&World::shared().address(), request.as_bytes()).await;
        let (status, body) = parsed(&answer);
        assert!((400..500).contains(&status), "{path}: {}", String::from_utf8_lossy(&answer));
        assert!(!body.to_string().contains("ada"), "{path}: {body}");
    }
}

#[tokio::test]
async fn without_a_realm_the_database_itself_shows_no_row() {
    let (acme, globex) = World::two_realms().await;
    let user = acme.user("ada").await;
    acme.group("engines", &[&user]).await;
    let id_of = async |name: &str| -> String {
        let sql = World::shared().superuser().await;
        sql.query_one("SELECT id::text FROM realms WHERE name = $1", &[&name]).await.expect("the realm is there").get(0)
    };
    let (acme_id, globex_id) = (id_of(&acme.name).await, id_of(&globex.name).await);
    let sql = World::shared().as_the_gateway().await;
    let tables = [
        "users",
        "user_emails",
        "groups",
        "group_members",
        "pending_members",
        "roles",
        "user_roles",
        "outbox",
        "events",
        "feeds",
        "tombstones",
        "scim_tokens",
    ];
    let count = async |table: &str| -> i64 {
        sql.query_one(&format!("SELECT count(*) FROM {table} WHERE realm_id = $1::text::uuid"), &[&acme_id])
            .await
            .expect("it may be asked")
            .get(0)
    };
    for table in tables {
        assert_eq!(count(table).await, 0, "{table} without a realm");
    }
    for (realm, sees) in [(&globex_id, false), (&acme_id, true)] {
        let setting = format!("BEGIN; SELECT set_config('realmgate.realm', '{realm}', true)");
        sql.batch_execute(&setting).await.expect("anyone may set it");
        for table in ["users", "groups", "group_members", "events", "scim_tokens"] {
            assert_eq!(count(table).await > 0, sees, "{table}");
        }
        sql.batch_execute("ROLLBACK").await.expect("the session is open");
    }
    for table in tables {
        assert_eq!(count(table).await, 0, "the setting of {table} ends with its transaction");
    }
}

#[tokio::test]
async fn the_database_refuses_a_row_for_a_realm_in_which_the_transaction_does_not_stand() {
    let (acme, globex) = World::two_realms().await;
    let sql = World::shared().as_the_gateway().await;
    let enter = "SELECT set_config('realmgate.realm', id::text, true) FROM realms WHERE name = $1";
    sql.batch_execute("BEGIN").await.expect("the session is open");
    sql.query_one(enter, &[&acme.name]).await.expect("the register of realms is open to the gateway");
    let plant = "INSERT INTO tombstones (realm_id, resource_type, id, version, created_at, deleted_at, attributes)
                 SELECT id, 'User', id, 1, now(), now(), '{}' FROM realms WHERE name = $1";
    let error = sql.execute(plant, &[&globex.name]).await.expect_err("row-level security");
    assert!(
        error.to_string().contains("row-level security")
            || error.as_db_error().is_some_and(|e| e.message().contains("row-level security")),
        "{error}"
    );
}
