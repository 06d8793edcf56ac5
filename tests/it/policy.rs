//! Each key of a realm's sync policy does what its name says, in that realm only (DESIGN 6).

use serde_json::{Value, json};

use crate::world::{GROUP, Realm, USER, World};

async fn stored_state(realm: &Realm, id: &str) -> Option<(bool, bool)> {
    let sql = World::shared().superuser().await;
    let query = "SELECT u.active, u.activated_at IS NOT NULL FROM users u JOIN realms r ON r.id = u.realm_id
                  WHERE r.name = $1 AND u.id = $2::text::uuid";
    let row = sql.query_opt(query, &[&realm.name, &id]).await.expect("the tables are there")?;
    Some((row.get(0), row.get(1)))
}

async fn tombstones(realm: &Realm) -> i64 {
    let sql = World::shared().superuser().await;
    let query = "SELECT count(*) FROM tombstones t JOIN realms r ON r.id = t.realm_id WHERE r.name = $1";
    sql.query_one(query, &[&realm.name]).await.expect("the table is there").get(0)
}

fn odd_user(name: &str) -> Value {
    json!({ "schemas": [USER], "userName": name, "shoeSize": 44, "name": { "givenName": "Ada", "mood": "fine" } })
}

#[tokio::test]
async fn a_new_realm_has_the_defaults() {
    let realm = World::realm().await;
    let policy = realm.admin.get("/scim/policy").await;
    assert_eq!(policy.status, 200, "{policy}");
    let policy = policy.json();
    for (key, default) in [
        ("unknown_attributes", json!("keep")),
        ("display_name", json!("once")),
        ("initial_state", json!("shadow")),
        ("on_delete", json!("tombstone")),
        ("group_names", json!("unique")),
        ("user_name_follows_email", json!(false)),
        ("unknown_members", json!("reject")),
        ("dialect", json!("lenient")),
        ("rate_limit", json!(null)),
    ] {
        assert_eq!(policy[key], default, "{key}");
    }
}

#[tokio::test]
async fn a_wrong_key_or_value_is_named_and_changes_nothing() {
    let realm = World::realm().await;
    let before = realm.admin.get("/scim/policy").await.json();
    for (change, named) in [
        (json!({ "dialect": "strict", "unknown_attribute": "keep" }), "unknown_attribute"),
        (json!({ "dialect": "strict", "on_delete": "shred" }), "shred"),
        (json!({ "user_name_follows_email": "yes" }), "user_name_follows_email"),
    ] {
        let reply = realm.admin.patch("/scim/policy", change.clone()).await;
        assert_eq!(reply.status, 400, "{change}");
        assert!(reply.text_at("errorMessage").contains(named), "{change}: {reply}");
        assert_eq!(realm.admin.get("/scim/policy").await.json(), before, "{change}");
    }
}

#[tokio::test]
async fn unknown_attributes_are_kept_ignored_or_refused_by_name() {
    let realm = World::realm().await;
    let kept = realm.create_user(odd_user("kept")).await.json();
    assert_eq!((&kept["shoeSize"], &kept["name"]["mood"]), (&json!(44), &json!("fine")));
    realm.policy("unknown_attributes", "ignore").await;
    let ignored = realm.create_user(odd_user("ignored")).await.json();
    assert!(ignored.get("shoeSize").is_none() && ignored["name"].get("mood").is_none(), "{ignored}");
    assert_eq!(ignored["name"]["givenName"], "Ada");
    realm.policy("unknown_attributes", "reject").await;
    let refused = realm.post("/Users", odd_user("refused")).await;
    assert_eq!(refused.status, 400, "{refused}");
    assert!(refused.detail().contains("shoeSize"), "{refused}");
    let path = format!("/Users/{}", realm.user("plain").await);
    let patch = realm.operations(&path, json!([{ "op": "add", "path": "shoeSize", "value": 44 }])).await;
    assert_eq!(patch.status, 400, "{patch}");
    assert!(patch.detail().contains("shoeSize"), "{patch}");
}

#[tokio::test]
async fn scim_answers_the_display_name_that_the_idp_sent_last() {
    let realm = World::realm().await;
    for rule in ["once", "always"] {
        realm.policy("display_name", rule).await;
        let user = json!({ "schemas": [USER], "userName": rule, "displayName": "First" });
        let path = format!("/Users/{}", realm.create_user(user).await.id());
        let patch = json!([{ "op": "replace", "path": "displayName", "value": "Second" }]);
        assert!(realm.operations(&path, patch).await.status.is_success());
        assert_eq!(realm.get(&path).await.json()["displayName"], "Second", "{rule}");
    }
}

#[tokio::test]
async fn the_applications_display_name_is_set_once_or_follows() {
    let realm = World::realm().await;
    for (rule, wanted) in [("once", "First"), ("always", "Second")] {
        realm.policy("display_name", rule).await;
        let user = json!({ "schemas": [USER], "userName": rule, "displayName": "First" });
        let id = realm.create_user(user).await.id();
        let patch = json!([{ "op": "replace", "path": "displayName", "value": "Second" }]);
        assert!(realm.operations(&format!("/Users/{id}"), patch).await.status.is_success());
        let sql = World::shared().superuser().await;
        let row = sql
            .query_one("SELECT display_name FROM users WHERE id = $1::text::uuid", &[&id])
            .await
            .expect("the user is there");
        assert_eq!(row.get::<_, String>(0), wanted, "{rule}");
    }
}

#[tokio::test]
async fn a_new_user_is_a_shadow_or_active_and_scim_calls_both_active() {
    let realm = World::realm().await;
    for (state, activated) in [("shadow", false), ("active", true)] {
        realm.policy("initial_state", state).await;
        let created = realm.create_user(json!({ "schemas": [USER], "userName": state, "active": true })).await;
        assert_eq!(created.json()["active"], true, "{state}");
        assert_eq!(stored_state(&realm, &created.id()).await, Some((true, activated)), "{state}");
    }
}

#[tokio::test]
async fn a_deletion_leaves_a_tombstone_or_nothing() {
    let realm = World::realm().await;
    for (rule, left) in [("tombstone", 1), ("purge", 1)] {
        realm.policy("on_delete", rule).await;
        let id = realm.user("ada").await;
        assert_eq!(realm.delete(&format!("/Users/{id}")).await.status, 204);
        assert_eq!(stored_state(&realm, &id).await, None);
        assert_eq!(tombstones(&realm).await, left, "{rule}");
    }
}

#[tokio::test]
async fn group_names_are_unique_without_regard_to_case_unless_any_are_allowed() {
    let realm = World::realm().await;
    let group = |name: &str| json!({ "schemas": [GROUP], "displayName": name });
    realm.group("Engines", &[]).await;
    let second = realm.post("/Groups", group("ENGINES")).await;
    assert_eq!(second.summary(), "409 uniqueness");
    assert!(second.detail().contains("displayName"), "{second}");
    let sales = realm.group("sales", &[]).await;
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "engines" }]);
    assert_eq!(realm.operations(&format!("/Groups/{sales}"), rename.clone()).await.summary(), "409 uniqueness");
    realm.policy("group_names", "any").await;
    realm.group("ENGINES", &[]).await;
    assert_eq!(realm.operations(&format!("/Groups/{sales}"), rename).await.status, 204);
}

#[tokio::test]
async fn the_user_name_follows_the_work_email_when_it_was_that_email() {
    let realm = World::realm().await;
    realm.policy("user_name_follows_email", true).await;
    let user = |name: &str, email: &str| json!({ "schemas": [USER], "userName": name, "emails": [{ "value": email, "type": "work" }] });
    let change = json!([{ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "new@example.com" }]);
    let follows = format!("/Users/{}", realm.create_user(user("Old@example.com", "old@example.com")).await.id());
    assert!(realm.operations(&follows, change.clone()).await.status.is_success());
    assert_eq!(realm.get(&follows).await.json()["userName"], "new@example.com");
    let own = format!("/Users/{}", realm.create_user(user("ada", "ada@example.com")).await.id());
    assert!(realm.operations(&own, change).await.status.is_success());
    assert_eq!(realm.get(&own).await.json()["userName"], "ada");
}

#[tokio::test]
async fn a_strict_realm_refuses_the_habits_which_a_lenient_one_accepts() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    let habit = json!([{ "op": "Replace", "path": "active", "value": "False" }]);
    assert!(realm.operations(&path, habit.clone()).await.status.is_success());
    realm.policy("dialect", "strict").await;
    let refused = realm.operations(&path, habit).await;
    assert_eq!(refused.status, 400, "{refused}");
    refused.detail();
}

#[tokio::test]
async fn the_policy_of_one_realm_is_not_that_of_another() {
    let (acme, globex) = World::two_realms().await;
    acme.policy("unknown_attributes", "reject").await;
    assert_eq!(acme.post("/Users", odd_user("ada")).await.status, 400);
    assert_eq!(globex.post("/Users", odd_user("ada")).await.status, 201);
}
