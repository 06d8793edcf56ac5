//! Under `unknown_members: pending` a group may come before its members do: they join it when they arrive.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{GROUP, Realm, USER, World};

async fn patient_realm() -> Realm {
    let realm = World::realm().await;
    realm.policy("unknown_members", "pending").await;
    realm
}

fn members(values: &[&str]) -> Value {
    values.iter().map(|value| json!({ "value": value })).collect()
}

fn person(name: &str, external_id: &str) -> Value {
    json!({ "schemas": [USER], "userName": name, "externalId": external_id })
}

/// The `value` of those whom the group still waits for, sorted.
async fn awaited(realm: &Realm, group: &str) -> Vec<String> {
    let sql = World::shared().superuser().await;
    let query = "SELECT p.value FROM pending_members p JOIN realms r ON r.id = p.realm_id
                  WHERE r.name = $1 AND p.group_id = $2::text::uuid ORDER BY p.value COLLATE \"C\"";
    let rows = sql.query(query, &[&realm.name, &group]).await.expect("the table is there");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Version and member of each arrival which the outbox tells of.
async fn arrivals(realm: &Realm, group: &str) -> Vec<(i64, String)> {
    let sql = World::shared().superuser().await;
    let query = "SELECT o.version, o.member_id::text FROM changes o JOIN realms r ON r.id = o.realm_id
                  WHERE r.name = $1 AND o.resource_id = $2::text::uuid AND o.event = 'dsync.group.user_added'
                  ORDER BY o.id";
    let rows = sql.query(query, &[&realm.name, &group]).await.expect("the outbox is there");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_member_who_is_yet_to_come_joins_when_created() {
    let realm = patient_realm().await;
    let group = realm.group("engines", &["x-1", "x-2"]).await;
    let path = format!("/Groups/{group}");
    let before = realm.get(&path).await;
    assert!(before.json().get("members").is_none(), "only those who are there are shown: {before}");
    let ada = realm.create_user(person("ada", "x-1")).await.id();
    assert_eq!(realm.members_of(&group).await, [ada.as_str()]);
    assert_eq!(arrivals(&realm, &group).await, [(2, ada.clone())]);
    assert_eq!((before.header("etag"), realm.get(&path).await.header("etag")), ("W/\"1\"", "W/\"2\""));
    assert_eq!(awaited(&realm, &group).await, ["x-2"]);
    assert_eq!(realm.get(&format!("/Users/{ada}")).await.json()["groups"][0]["value"], json!(group));
}

#[tokio::test]
async fn a_user_who_is_given_the_external_id_joins_as_well() {
    let realm = patient_realm().await;
    let group = realm.group("engines", &[]).await;
    let add = json!([{ "op": "add", "path": "members", "value": members(&["x-1", "x-2"]) }]);
    assert_eq!(realm.operations(&format!("/Groups/{group}"), add).await.status, 204);
    let (ada, bob) = (realm.user("ada").await, realm.user("bob").await);
    let patch = json!([{ "op": "add", "path": "externalId", "value": "x-1" }]);
    assert!(realm.operations(&format!("/Users/{ada}"), patch).await.status.is_success());
    assert_eq!(realm.members_of(&group).await, [ada.as_str()]);
    assert_eq!(realm.put(&format!("/Users/{bob}"), person("bob", "x-2")).await.status, 200);
    let mut both = [ada.clone(), bob.clone()];
    both.sort();
    assert_eq!(realm.members_of(&group).await, both);
    assert_eq!(arrivals(&realm, &group).await, [(2, ada), (3, bob)]);
    assert!(awaited(&realm, &group).await.is_empty());
}

#[tokio::test]
async fn the_external_id_of_one_user_is_as_good_as_the_id() {
    let realm = patient_realm().await;
    let ada = realm.create_user(person("ada", "x-1")).await.id();
    let group = realm.group("engines", &["x-1", &ada]).await;
    assert_eq!(realm.members_of(&group).await, [ada.as_str()]);
    let path = format!("/Groups/{group}");
    let replace = json!([{ "op": "replace", "path": "members", "value": members(&["x-1"]) }]);
    assert_eq!(realm.operations(&path, replace).await.status, 204);
    assert_eq!((arrivals(&realm, &group).await.len(), realm.members_of(&group).await), (1, vec![ada]));
    let remove = json!([{ "op": "remove", "path": "members[value eq \"x-1\"]" }]);
    assert_eq!(realm.operations(&path, remove).await.status, 204);
    assert!(realm.members_of(&group).await.is_empty() && awaited(&realm, &group).await.is_empty());
}

#[tokio::test]
async fn an_external_id_which_two_users_share_names_neither() {
    let realm = patient_realm().await;
    for name in ["ada", "bob"] {
        realm.create_user(person(name, "shared")).await;
    }
    let group = realm.group("engines", &["shared"]).await;
    realm.create_user(person("cyd", "shared")).await;
    assert!(realm.members_of(&group).await.is_empty());
    assert_eq!(awaited(&realm, &group).await, ["shared"]);
}

#[tokio::test]
async fn who_is_taken_out_before_the_arrival_is_awaited_no_longer() {
    let realm = patient_realm().await;
    let ada = realm.user("ada").await;
    for (what, change, left) in [
        ("by filter", json!({ "op": "remove", "path": "members[value eq \"x-1\"]" }), &["x-2"][..]),
        ("by value", json!({ "op": "remove", "path": "members", "value": members(&["x-1", "x-2"]) }), &[]),
        ("without value", json!({ "op": "remove", "path": "members" }), &[]),
        ("by replacement", json!({ "op": "replace", "path": "members", "value": members(&["x-2", &ada]) }), &["x-2"]),
        ("not at all", json!({ "op": "add", "path": "members", "value": members(&["x-3"]) }), &["x-1", "x-2", "x-3"]),
    ] {
        let group = realm.group(what, &["x-1", "x-2", &ada]).await;
        assert_eq!(realm.operations(&format!("/Groups/{group}"), json!([change])).await.status, 204, "{what}");
        assert_eq!(awaited(&realm, &group).await, left, "{what}");
    }
    let group = realm.group("by PUT", &["x-1", "x-2"]).await;
    let put = |members: Value| json!({ "schemas": [GROUP], "displayName": "by PUT", "members": members });
    let silent = json!({ "schemas": [GROUP], "displayName": "by PUT" });
    for (body, left) in [(silent, &["x-1", "x-2"][..]), (put(members(&["x-2"])), &["x-2"]), (put(json!([])), &[])] {
        assert_eq!(realm.put(&format!("/Groups/{group}"), body).await.status, 200);
        assert_eq!(awaited(&realm, &group).await, left);
    }
    assert_eq!(realm.delete(&format!("/Groups/{}", realm.group("gone", &["x-9"]).await)).await.status, 204);
    realm.create_user(person("ian", "x-9")).await;
}

#[tokio::test]
async fn back_under_reject_nobody_new_is_awaited_and_nobody_is_forgotten() {
    let realm = patient_realm().await;
    let group = realm.group("engines", &["x-1", "x-2"]).await;
    realm.policy("unknown_members", "reject").await;
    let path = format!("/Groups/{group}");
    let add = json!([{ "op": "add", "path": "members", "value": members(&["x-3"]) }]);
    assert_eq!(realm.operations(&path, add).await.summary(), "400 invalidValue");
    let ada = realm.create_user(person("ada", "x-1")).await.id();
    assert_eq!(awaited(&realm, &group).await, ["x-1", "x-2"]);
    let remove = json!([{ "op": "remove", "path": "members[value eq \"x-2\"]" }]);
    assert_eq!(realm.operations(&path, remove).await.status, 204);
    realm.policy("unknown_members", "pending").await;
    assert_eq!(awaited(&realm, &group).await, ["x-1"]);
    let again = json!([{ "op": "add", "path": "members", "value": members(&["x-1"]) }]);
    assert_eq!(realm.operations(&path, again).await.status, 204);
    assert_eq!((realm.members_of(&group).await, awaited(&realm, &group).await), (vec![ada], vec![]));
}

#[tokio::test]
async fn a_value_too_long_to_be_anybodys_is_refused() {
    let realm = patient_realm().await;
    let group = json!({ "schemas": [GROUP], "displayName": "engines", "members": members(&[&"x".repeat(5_000)]) });
    assert_eq!(realm.post("/Groups", group).await.summary(), "400 invalidValue");
}

#[tokio::test]
async fn groups_and_users_who_come_at_once_do_not_miss_each_other() {
    let realm = patient_realm().await;
    let mut groups = Vec::new();
    for n in 0..3 {
        groups.push(realm.group(&format!("group {n}"), &[]).await);
    }
    let mut everyone = Vec::new();
    for round in 0..5 {
        let newcomers = [0, 1, 2].map(|n| format!("{round}-{n}"));
        let pushes =
            newcomers.iter().flat_map(|who| groups.iter().map(move |group| (who, group))).map(|(who, group)| {
                let add = json!([{ "op": "add", "path": "members", "value": members(&[who]) }]);
                let (realm, path) = (&realm, format!("/Groups/{group}"));
                async move { realm.operations(&path, add).await.status.as_u16() }
            });
        let creations = newcomers.iter().map(|who| realm.create_user(person(who, who)));
        let (pushed, created) = tokio::join!(join_all(pushes), join_all(creations));
        assert_eq!(pushed, [204; 9], "round {round}");
        everyone.extend(created.iter().map(crate::world::Reply::id));
    }
    everyone.sort();
    for group in &groups {
        assert_eq!(realm.members_of(group).await, everyone);
    }
}

#[tokio::test]
async fn a_group_can_wait_and_nest_but_not_contain_itself() {
    let realm = patient_realm().await;
    let inner = realm.group("inner", &["x-1"]).await;
    let outer = realm.group("outer", &[&inner, "x-1"]).await;
    assert_eq!(realm.members_of(&outer).await, [inner.as_str()]);
    let ring = json!([{ "op": "add", "path": "members", "value": members(&[&outer]) }]);
    assert_eq!(realm.operations(&format!("/Groups/{inner}"), ring).await.summary(), "400 invalidValue");
    let ada = realm.create_user(person("ada", "x-1")).await.id();
    assert_eq!(realm.members_of(&inner).await, [ada.as_str()]);
    assert_eq!(realm.members_of(&outer).await.len(), 2);
}
