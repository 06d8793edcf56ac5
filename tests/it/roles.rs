//! Groups carry roles, and who is in them has them: at once, however deep, and with a reason.

use serde_json::{Value, json};

use crate::world::{Realm, Reply, World, encoded};

async fn role(realm: &Realm, name: &str) {
    let created = realm.admin.post("/roles", json!({ "name": name, "description": "for a test" })).await;
    assert_eq!((created.status.as_u16(), created.bytes.len()), (201, 0), "{created}");
}

async fn map(realm: &Realm, holder: &str, name: &str) {
    let mapped = realm.admin.post(&format!("{holder}/role-mappings/realm"), json!([{ "name": name }])).await;
    assert_eq!(mapped.status, 204, "{mapped}");
}

/// DELETE with a body, as Keycloak's clients send it.
async fn unmap(realm: &Realm, holder: &str, name: &str) -> Reply {
    let path = format!("{holder}/role-mappings/realm");
    let body = json!([{ "name": name }]).to_string();
    realm.admin.send(http::Method::DELETE, &path, body.into()).await.expect("the gateway answers")
}

/// Names in a list of roles.
async fn names(realm: &Realm, path: &str) -> Vec<String> {
    let reply = realm.admin.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {reply}");
    let list = reply.json();
    let list = list.as_array().unwrap_or_else(|| panic!("an array: {reply}"));
    list.iter().map(|role| role["name"].as_str().expect("a role has a name").to_owned()).collect()
}

async fn effective(realm: &Realm, user: &str) -> Vec<String> {
    names(realm, &format!("/users/{user}/role-mappings/realm/composite?briefRepresentation=True")).await
}

async fn leave(realm: &Realm, group: &str, member: &str) {
    let operation = json!([{ "op": "remove", "path": format!("members[value eq \"{member}\"]") }]);
    assert_eq!(realm.operations(&format!("/Groups/{group}"), operation).await.status, 204);
}

fn message(reply: &Reply) -> String {
    reply.text_at("errorMessage")
}

#[tokio::test]
async fn a_realm_has_the_roles_which_its_operators_give_it() {
    let realm = World::realm().await;
    let created = realm.admin.post("/roles", json!({ "name": "read only", "description": "Looks" })).await;
    assert!(created.header("location").ends_with("/roles/read%20only"), "{}", created.header("location"));
    assert_eq!(names(&realm, "/roles?briefRepresentation=True&max=100&first=0").await, ["read only", "scim-managed"]);
    let role = realm.admin.get("/roles/read%20only").await.json();
    let realm_id = realm.admin.get("").await.json()["id"].clone();
    assert_eq!(
        role,
        json!({ "id": role["id"], "name": "read only", "description": "Looks", "composite": false, "clientRole": false,
                "containerId": realm_id, "attributes": {} })
    );
    let by_id = realm.admin.get(&format!("/roles-by-id/{}", role["id"].as_str().unwrap_or_default())).await.json();
    assert_eq!(by_id, role);
    let changed = realm.admin.put("/roles/read%20only", json!({ "name": "viewer", "description": "" })).await;
    assert_eq!(changed.status, 204, "{changed}");
    assert_eq!(realm.admin.get("/roles/viewer").await.json()["description"], Value::Null);
    let missing = realm.admin.get("/roles/read%20only").await;
    assert_eq!((missing.status.as_u16(), message(&missing)), (404, "Could not find role".into()));
    let again = realm.admin.post("/roles", json!({ "name": "viewer" })).await;
    assert_eq!((again.status.as_u16(), message(&again)), (409, "Role with name viewer already exists".into()));
    for bad in ["", "a/b", " a", "."] {
        assert_eq!(realm.admin.post("/roles", json!({ "name": bad })).await.status, 400, "{bad:?}");
    }
    assert_eq!(realm.admin.delete("/roles/viewer").await.status, 204);
    assert_eq!(names(&realm, "/roles").await, ["scim-managed"]);
}

#[tokio::test]
async fn what_scim_manages_says_the_role_alone() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let group = realm.group("engines", &[&ada]).await;
    assert_eq!(names(&realm, &format!("/users/{ada}/role-mappings/realm")).await, ["scim-managed"]);
    let users = realm.admin.get("/roles/scim-managed/users?max=100&first=0").await.json();
    assert_eq!((&users[0]["id"], users.as_array().map(Vec::len)), (&json!(ada), Some(1)));
    for holder in [format!("/users/{ada}"), format!("/groups/{group}")] {
        let named = json!([{ "name": "scim-managed" }]);
        let mapped = realm.admin.post(&format!("{holder}/role-mappings/realm"), named).await;
        let unmapped = unmap(&realm, &holder, "scim-managed").await;
        for reply in [mapped, unmapped] {
            assert_eq!(reply.status, 403, "{reply}");
            assert!(message(&reply).contains("over SCIM"), "{reply}");
        }
    }
    assert_eq!(realm.admin.delete("/roles/scim-managed").await.status, 403);
    assert_eq!(realm.admin.put("/roles/scim-managed", json!({ "name": "managed" })).await.status, 403);
    assert!(
        !names(&realm, &format!("/users/{ada}/role-mappings/realm/available")).await.contains(&"scim-managed".into())
    );
}

#[tokio::test]
async fn roles_come_with_the_group_and_go_with_it() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let group = realm.group("engines", &[&ada]).await;
    for name in ["engineer", "admin"] {
        role(&realm, name).await;
    }
    map(&realm, &format!("/groups/{group}"), "engineer").await;
    map(&realm, &format!("/users/{ada}"), "admin").await;
    assert_eq!(effective(&realm, &ada).await, ["admin", "engineer", "scim-managed"]);
    assert_eq!(names(&realm, &format!("/users/{ada}/role-mappings/realm")).await, ["admin", "scim-managed"], "its own");
    let mappings = realm.admin.get(&format!("/groups/{group}/role-mappings")).await.json();
    assert_eq!(mappings["realmMappings"][0]["name"], "engineer");
    assert_eq!(names(&realm, "/roles/engineer/groups").await, ["engines"]);
    assert_eq!(realm.admin.get(&format!("/groups/{group}")).await.json()["realmRoles"], json!(["engineer"]));
    leave(&realm, &group, &ada).await;
    assert_eq!(effective(&realm, &ada).await, ["admin", "scim-managed"]);
    assert_eq!(unmap(&realm, &format!("/users/{ada}"), "admin").await.status, 204);
    assert_eq!(unmap(&realm, &format!("/users/{ada}"), "admin").await.status, 204, "gone is gone");
    assert_eq!(effective(&realm, &ada).await, ["scim-managed"]);
    assert_eq!(unmap(&realm, &format!("/groups/{group}"), "engineer").await.status, 204);
    assert_eq!(realm.admin.get(&format!("/groups/{group}/role-mappings")).await.json(), json!({}), "empty is `{{}}`");
}

#[tokio::test]
async fn a_group_in_a_group_hands_its_roles_down() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let inner = realm.group("inner", &[&ada]).await;
    let middle = realm.group("middle", &[&inner]).await;
    let outer = realm.group("outer", &[&middle, &inner]).await;
    for (group, name) in [(&inner, "low"), (&middle, "mid"), (&outer, "high")] {
        role(&realm, name).await;
        map(&realm, &format!("/groups/{group}"), name).await;
    }
    assert_eq!(effective(&realm, &ada).await, ["high", "low", "mid", "scim-managed"]);
    let of_middle = names(&realm, &format!("/groups/{middle}/role-mappings/realm/composite")).await;
    assert_eq!(of_middle, ["high", "mid"]);
    leave(&realm, &outer, &inner).await;
    assert_eq!(effective(&realm, &ada).await, ["high", "low", "mid", "scim-managed"], "by way of `middle`");
    leave(&realm, &middle, &inner).await;
    assert_eq!(effective(&realm, &ada).await, ["low", "scim-managed"]);
    assert_eq!(realm.admin.delete("/roles/low").await.status, 204);
    assert_eq!(effective(&realm, &ada).await, ["scim-managed"]);
}

#[tokio::test]
async fn access_is_explained_to_the_request_which_gave_it() {
    let realm = World::realm().await;
    let ada = realm.user("Ada").await;
    let inner = realm.group("inner", &[]).await;
    let outer = realm.group("outer", &[&inner]).await;
    role(&realm, "engineer").await;
    let access = async || realm.admin.get(&format!("/users/{ada}/access?role=engineer")).await.json();
    let nowhere = access().await;
    assert_eq!((&nowhere["granted"], &nowhere["reasons"]), (&json!(false), &json!([])));
    assert!(nowhere["explanation"].as_str().is_some_and(|text| text.contains("nor to any group")), "{nowhere}");

    let asked = json!([{ "name": "engineer" }]);
    let as_operator = realm.admin.header("X-Request-Id", "mapping-1");
    assert_eq!(as_operator.post(&format!("/groups/{outer}/role-mappings/realm"), asked).await.status, 204);
    let outside = access().await;
    assert_eq!(outside["carriers"], json!([{ "id": outer, "name": "outer" }]));
    assert!(outside["explanation"].as_str().is_some_and(|text| text.contains("`outer`")), "{outside}");

    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    let joined = realm.header("X-Request-Id", "joining-1").operations(&format!("/Groups/{inner}"), add).await;
    assert_eq!(joined.status, 204, "{joined}");
    let granted = access().await;
    assert_eq!(granted["granted"], true, "{granted}");
    assert_eq!(granted["explanation"], "`ada` is in `inner`, which is in `outer`, to which the role is mapped");
    let reason = &granted["reasons"][0];
    assert_eq!(
        (&reason["mapping"]["requestId"], &reason["mapping"]["actor"]["kind"]),
        (&json!("mapping-1"), &json!("admin"))
    );
    assert!(reason["mapping"]["since"].is_string(), "{reason}");
    let (first, second) = (&reason["groups"][0], &reason["groups"][1]);
    assert_eq!((&first["id"], &first["name"], &second["id"]), (&json!(inner), &json!("inner"), &json!(outer)));
    assert_eq!(first["membership"]["requestId"], "joining-1");
    assert_eq!(first["membership"]["actor"]["kind"], "scim_token");

    let rename = json!([{ "op": "replace", "path": "displayName", "value": "core" }]);
    assert!(realm.operations(&format!("/Groups/{inner}"), rename).await.status.is_success());
    map(&realm, &format!("/users/{ada}"), "engineer").await;
    let twice = access().await;
    assert_eq!(twice["explanation"], "the role is mapped to `ada`");
    assert_eq!(twice["reasons"].as_array().map(Vec::len), Some(2), "{twice}");
    assert_eq!(twice["reasons"][1]["groups"][0]["name"], "core", "a mapping survives a new name");

    let managed = realm.admin.get(&format!("/users/{ada}/access?role=scim-managed")).await.json();
    assert_eq!(managed["reasons"][0]["mapping"]["actor"]["kind"], "scim_token");
    for (query, status) in [("role=nothing", 404), ("", 400)] {
        assert_eq!(realm.admin.get(&format!("/users/{ada}/access?{query}")).await.status, status, "{query}");
    }
}

#[tokio::test]
async fn every_explanation_agrees_with_the_effective_roles() {
    let realm = World::realm().await;
    let users = [realm.user("a").await, realm.user("b").await, realm.user("c").await];
    let leaf = realm.group("leaf", &[&users[0]]).await;
    let left = realm.group("left", &[&leaf, &users[1]]).await;
    let right = realm.group("right", &[&leaf]).await;
    let top = realm.group("top", &[&left, &right]).await;
    for (holder, name) in [
        (format!("/groups/{top}"), "r-top"),
        (format!("/groups/{left}"), "r-left"),
        (format!("/groups/{leaf}"), "r-leaf"),
        (format!("/users/{}", users[2]), "r-own"),
    ] {
        role(&realm, name).await;
        map(&realm, &holder, name).await;
    }
    for user in &users {
        let effective = effective(&realm, user).await;
        for name in names(&realm, "/roles").await {
            let access = realm.admin.get(&format!("/users/{user}/access?role={}", encoded(&name))).await.json();
            assert_eq!(access["granted"], effective.contains(&name), "{name}: {access}");
            assert_eq!(access["granted"] == true, access["reasons"] != json!([]), "{access}");
        }
    }
}

#[tokio::test]
async fn a_mapping_is_all_or_nothing_and_in_the_audit_log() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    for name in ["one", "two"] {
        role(&realm, name).await;
    }
    let path = format!("/users/{ada}/role-mappings/realm");
    for bad in [
        json!([{ "name": "one" }, { "name": "nothing" }]),
        json!([{ "name": "one" }, { "id": "nope" }]),
        json!([{ "name": "one" }, { "name": "scim-managed" }]),
    ] {
        assert!([403, 404].contains(&realm.admin.post(&path, bad.clone()).await.status.as_u16()), "{bad}");
    }
    for bad in [json!({ "name": "one" }), json!([{}]), json!(["one"])] {
        assert_eq!(realm.admin.post(&path, bad.clone()).await.status, 400, "{bad}");
    }
    assert_eq!(names(&realm, &path).await, ["scim-managed"]);
    let id = realm.admin.get("/roles/one").await.id();
    let both = json!([{ "id": id, "name": "one", "composite": false }, { "name": "two" }]);
    assert_eq!(realm.admin.post(&path, both.clone()).await.status, 204);
    assert_eq!(realm.admin.post(&path, both).await.status, 204);
    assert_eq!(names(&realm, &path).await, ["one", "scim-managed", "two"]);
    let swapped = realm.admin.post(&path, json!([{ "id": id, "name": "two" }])).await;
    assert_eq!(swapped.status, 404, "id and name of two roles: {swapped}");
    let log = realm.admin.get("/audit-log?action=role.map").await.json();
    assert_eq!(log.as_array().map(Vec::len), Some(1), "what changes nothing is no entry: {log}");
    assert_eq!((&log[0]["target"], &log[0]["after"]["roles"]), (&json!(ada), &json!(["one", "two"])));
}
