//! What the identity provider manages is the provider's to change; what operators make is theirs, and SCIM sees none of
//! it.

use serde_json::{Value, json};

use crate::world::{GROUP, Realm, Reply, USER, World, encoded};

fn message(reply: &Reply) -> String {
    let body = reply.json();
    assert_eq!(body["error"], body["errorMessage"], "{reply}");
    body["errorMessage"].as_str().unwrap_or_else(|| panic!("errorMessage in {reply}")).to_owned()
}

/// The id at the end of `Location`.
fn created(reply: &Reply) -> String {
    assert_eq!((reply.status.as_u16(), reply.bytes.len()), (201, 0), "{reply}");
    reply.header("location").rsplit('/').next().unwrap_or_default().to_owned()
}

async fn local_user(realm: &Realm, username: &str) -> String {
    created(&realm.admin.post("/users/", json!({ "username": username, "enabled": true })).await)
}

async fn local_group(realm: &Realm, name: &str) -> String {
    created(&realm.admin.post("/groups/", json!({ "name": name })).await)
}

/// Events of a resource in the outbox, oldest first.
async fn events(id: &str) -> Vec<String> {
    let sql = World::shared().superuser().await;
    let query = "SELECT event FROM changes WHERE resource_id::text = $1 ORDER BY id";
    sql.query(query, &[&id]).await.expect("it is there").iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_operator_makes_changes_and_deletes_a_user() {
    let realm = World::realm().await;
    let user = json!({
        "username": "Break.Glass", "email": "glass@example.com", "firstName": "Break", "lastName": "Glass",
        "attributes": { "title": ["Key"], "team": ["red", "blue"] }, "credentials": [{ "value": "unused" }],
        "unknown": { "field": 1 },
    });
    let id = created(&realm.admin.post("/users", user).await);
    let path = format!("/users/{id}");
    let shown = realm.admin.get(&path).await.json();
    assert_eq!(
        json!([shown["username"], shown["email"], shown["firstName"], shown["lastName"], shown["enabled"]]),
        json!(["break.glass", "glass@example.com", "Break", "Glass", true])
    );
    assert_eq!(
        shown["attributes"],
        json!({ "title": ["Key"], "team": ["red", "blue"], "state": ["active"], "scimUserName": ["Break.Glass"] })
    );
    assert_eq!(shown["access"]["manage"], true);
    let mut again = shown.clone();
    again["lastName"] = json!("Door");
    again["enabled"] = json!(false);
    assert_eq!(realm.admin.put(&path, again).await.status, 204, "a client may send back what it got");
    let changed = realm.admin.get(&path).await.json();
    assert_eq!((&changed["lastName"], &changed["enabled"]), (&json!("Door"), &json!(false)));
    assert_eq!(changed["attributes"]["state"], json!(["disabled"]));
    assert_eq!(changed["attributes"]["team"], json!(["red", "blue"]));
    let silent = realm.admin.put(&path, json!({ "email": "" })).await;
    assert_eq!(silent.status, 204, "{silent}");
    let silent = realm.admin.get(&path).await.json();
    assert_eq!((&silent["email"], &silent["firstName"]), (&Value::Null, &json!("Break")));
    assert_eq!(realm.admin.put(&path, json!({})).await.status, 204);
    assert_eq!(realm.admin.get("/users?q=team%3Ablue").await.json()[0]["id"], json!(id));
    assert_eq!(realm.admin.delete(&path).await.status, 204);
    assert_eq!(realm.admin.get(&path).await.status, 404);
    assert_eq!(
        events(&id).await,
        ["dsync.user.created", "dsync.user.updated", "dsync.user.updated", "dsync.user.deleted"]
    );
    let log = realm.admin.get("/audit-log?action=user.").await.json();
    let words: Vec<_> = log.as_array().expect("an array").iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(json!(words), json!(["user.delete", "user.update", "user.update", "user.create"]));
    assert!(log.as_array().expect("an array").iter().all(|entry| entry["target"] == json!(id)), "{log}");
    assert_eq!(log[2]["before"]["name"]["familyName"], "Glass");
}

#[tokio::test]
async fn what_an_operator_writes_must_make_a_user() {
    let realm = World::realm().await;
    local_user(&realm, "taken").await;
    realm.user("managed").await;
    for (body, status, says) in [
        (json!({}), 400, "User name is missing"),
        (json!({ "username": " " }), 400, "User name is missing"),
        (json!({ "username": 7 }), 400, "string"),
        (json!({ "username": "TAKEN" }), 409, "User exists with same username"),
        (json!({ "username": "Managed" }), 409, "User exists with same username"),
        (json!({ "username": "x", "attributes": { "emails": ["y"] } }), 400, "`emails`"),
        (json!({ "username": "x", "attributes": { "n": [1] } }), 400, "`n`"),
        (json!([]), 400, "object"),
    ] {
        let reply = realm.admin.post("/users", body.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {reply}");
        assert!(message(&reply).contains(says), "{body}: {reply}");
    }
    local_group(&realm, "Team").await;
    for (body, status, says) in
        [(json!({}), 400, "Group name is missing"), (json!({ "name": "team" }), 409, "Top level group named 'team'")]
    {
        let reply = realm.admin.post("/groups", body).await;
        assert_eq!(reply.status.as_u16(), status, "{reply}");
        assert!(message(&reply).contains(says), "{reply}");
    }
}

#[tokio::test]
async fn what_scim_manages_operators_leave_alone() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let group = realm.group("engines", &[&ada]).await;
    let local = local_user(&realm, "local").await;
    let (user, path) = (format!("/users/{ada}"), format!("/groups/{group}"));
    for (reply, says) in [
        (realm.admin.put(&user, json!({ "firstName": "Eve" })).await, "User is managed by SCIM"),
        (realm.admin.delete(&user).await, "User is managed by SCIM"),
        (realm.admin.put(&path, json!({ "name": "x" })).await, "Group is managed by SCIM"),
        (realm.admin.delete(&path).await, "Group is managed by SCIM"),
        (realm.admin.put(&format!("{user}/groups/{group}"), json!({})).await, "Group is managed by SCIM"),
        (realm.admin.delete(&format!("{user}/groups/{group}")).await, "Group is managed by SCIM"),
        (realm.admin.put(&format!("/users/{local}/groups/{group}"), json!({})).await, "Group is managed by SCIM"),
    ] {
        assert_eq!((reply.status.as_u16(), message(&reply)), (403, says.to_owned()));
    }
    assert_eq!(realm.members_of(&group).await, [ada]);
}

#[tokio::test]
async fn managed_and_local_users_meet_in_a_local_group() {
    let realm = World::realm().await;
    let (ada, local) = (realm.user("ada").await, local_user(&realm, "local").await);
    let group = local_group(&realm, "on call/night").await;
    assert_eq!(realm.admin.post("/roles", json!({ "name": "pager" })).await.status, 201);
    let mappings = format!("/groups/{group}/role-mappings/realm");
    assert_eq!(realm.admin.post(&mappings, json!([{ "name": "pager" }])).await.status, 204);
    for user in [&ada, &local] {
        for _ in 0..2 {
            assert_eq!(realm.admin.put(&format!("/users/{user}/groups/{group}"), json!({})).await.status, 204);
        }
        let roles = realm.admin.get(&format!("/users/{user}/role-mappings/realm/composite")).await.json();
        assert_eq!(roles[0]["name"], "pager", "{roles}");
    }
    let members = realm.admin.get(&format!("/groups/{group}/members")).await.json();
    assert_eq!(members.as_array().map(Vec::len), Some(2), "{members}");
    assert_eq!(realm.admin.put(&format!("/groups/{group}"), json!({ "name": "on call" })).await.status, 204);
    assert_eq!(realm.admin.get("/group-by-path/on%20call").await.id(), group);
    assert_eq!(realm.admin.delete(&format!("/users/{local}/groups/{group}")).await.status, 204);
    assert_eq!(realm.admin.delete(&format!("/users/{local}/groups/{group}")).await.status, 204);
    assert_eq!(realm.delete(&format!("/Users/{ada}")).await.status, 204, "whoever the IdP deletes leaves as well");
    assert_eq!(realm.admin.get(&format!("/groups/{group}/members")).await.json(), json!([]));
    assert_eq!(realm.admin.delete(&format!("/groups/{group}")).await.status, 204);
    let (joined, left) = ("dsync.group.user_added", "dsync.group.user_removed");
    let mapped = "dsync.group.role_added";
    let expected =
        ["dsync.group.created", mapped, joined, joined, "dsync.group.updated", left, left, "dsync.group.deleted"];
    assert_eq!(events(&group).await, expected);
    let nobody = realm.admin.put(&format!("/users/nope/groups/{group}"), json!({})).await;
    assert_eq!(nobody.status, 404);
}

/// All that SCIM answers of a realm, in one text.
async fn seen(realm: &Realm, user: &str) -> String {
    let mut seen = String::new();
    for path in [
        "/Users".to_owned(),
        "/Groups".into(),
        "/?count=100".into(),
        "/Users?sortBy=userName".into(),
        format!("/Users?filter={}", encoded("userName sw \"lo\" or groups.display co \"loc\"")),
        format!("/Users?filter={}", encoded("groups pr")),
        format!("/Groups?filter={}", encoded("displayName co \"l\"")),
        format!("/Users/{user}"),
    ] {
        let reply = realm.get(&path).await;
        assert_eq!(reply.status, 200, "{path}: {reply}");
        seen.push_str(&String::from_utf8_lossy(&reply.bytes));
    }
    seen
}

#[tokio::test]
async fn scim_sees_nothing_that_is_local() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let before = seen(&realm, &ada).await;
    let (local, group) = (local_user(&realm, "Local").await, local_group(&realm, "locals").await);
    for user in [&ada, &local] {
        assert_eq!(realm.admin.put(&format!("/users/{user}/groups/{group}"), json!({})).await.status, 204);
    }
    assert_eq!(seen(&realm, &ada).await, before);
    for (kind, id) in [("Users", &local), ("Groups", &group)] {
        let path = format!("/{kind}/{id}");
        let operations = json!([{ "op": "replace", "path": "displayName", "value": "mine" }]);
        let put = json!({ "schemas": [if kind == "Users" { USER } else { GROUP }], "userName": "mine", "displayName": "mine" });
        for reply in [
            realm.get(&path).await,
            realm.operations(&path, operations).await,
            realm.put(&path, put).await,
            realm.delete(&path).await,
        ] {
            assert_eq!(reply.status, 404, "{path}: {reply}");
        }
        let by_id = realm.get(&format!("/{kind}?filter={}", encoded(&format!("id eq \"{id}\"")))).await.json();
        assert_eq!(by_id["totalResults"], 0);
    }
    for filter in [
        format!("groups.value eq \"{group}\""),
        "groups.display eq \"locals\"".into(),
        format!("groups[value eq \"{group}\"]"),
        "userName eq \"local\"".into(),
    ] {
        assert_eq!(realm.names(&filter).await, [""; 0], "{filter}");
    }
    let managed = realm.group("managed", &[]).await;
    for member in [&local, &group] {
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": member }] }]);
        let refused = realm.operations(&format!("/Groups/{managed}"), add).await;
        assert_eq!(refused.status, 400, "{refused}");
        assert!(refused.detail().contains(member.as_str()), "{refused}");
    }
    assert_eq!(realm.admin.get("/users/count").await.json(), json!(2));
}

#[tokio::test]
async fn nobody_is_taken_over_by_a_name() {
    let realm = World::realm().await;
    let (local, _) = (local_user(&realm, "Ada").await, local_group(&realm, "Engines").await);
    let grace = realm.user("grace").await;
    let group = realm.group("others", &[]).await;
    let user = json!({ "schemas": [USER], "userName": "ada" });
    let named = json!([{ "op": "replace", "path": "userName", "value": "ADA" }]);
    let grouped = json!([{ "op": "replace", "path": "displayName", "value": "ENGINES" }]);
    for policy in ["reject", "pending"] {
        realm.policy("unknown_members", policy).await;
        for reply in [
            realm.post("/Users", user.clone()).await,
            realm.operations(&format!("/Users/{grace}"), named.clone()).await,
            realm.post("/Groups", json!({ "schemas": [GROUP], "displayName": "engines" })).await,
            realm.operations(&format!("/Groups/{group}"), grouped.clone()).await,
        ] {
            assert_eq!(reply.summary(), "409 uniqueness", "{reply}");
            assert!(reply.detail().contains("local"), "{reply}");
        }
    }
    assert!(!realm.post("/Users", json!({ "schemas": [USER], "userName": "grace" })).await.detail().contains("local"));
    assert_eq!(realm.admin.get(&format!("/users/{local}")).await.json()["attributes"]["scimUserName"], json!(["Ada"]));
    assert_eq!(realm.admin.delete(&format!("/users/{local}")).await.status, 204);
    assert_eq!(realm.post("/Users", user).await.status, 201, "the name is free now");
}
