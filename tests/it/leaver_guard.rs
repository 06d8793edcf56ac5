//! The leaver guard: a wrong setting at the IdP takes access from nobody before an operator has looked. Above the realm's
//! threshold departures are accepted and held; all else goes on.

use serde_json::{Value, json};

use crate::world::{Realm, Reply, USER, World};

async fn guarded(count: u32) -> Realm {
    let realm = World::realm().await;
    realm.policy("leaver_guard", json!({ "count": count, "window": "1h" })).await;
    realm
}

async fn users(realm: &Realm, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(realm.user(&format!("user-{n}")).await);
    }
    ids
}

async fn deactivate(realm: &Realm, id: &str) -> Value {
    let operations = json!([{ "op": "replace", "path": "active", "value": false }]);
    let reply = realm.operations(&format!("/Users/{id}"), operations).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.json()
}

async fn active(realm: &Realm) -> usize {
    realm.names("active eq true").await.len()
}

async fn status(realm: &Realm) -> Value {
    let reply = realm.admin.get("/scim/leaver-guard").await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.json()
}

async fn resolve(realm: &Realm, verb: &str) -> Value {
    let reply = realm.admin.post(&format!("/scim/leaver-guard/{verb}"), json!({})).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.json()
}

/// Names of the realm's events, oldest first, as far as they are about departures.
async fn events(realm: &Realm) -> Vec<String> {
    let sql = "SELECT event FROM changes o JOIN realms r ON r.id = o.realm_id
                WHERE r.name = $1 AND event NOT LIKE '%.created' AND event NOT LIKE '%.user_added'
                  AND event <> 'dsync.activated' ORDER BY o.id";
    let rows = World::shared().superuser().await.query(sql, &[&realm.name]).await.expect("events");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn above_the_threshold_departures_are_held_and_applied_in_order_on_an_operators_word() {
    let realm = guarded(3).await;
    let ids = users(&realm, 10).await;
    for id in &ids[..8] {
        assert_eq!(deactivate(&realm, id).await["active"], false, "the IdP reads what it wrote");
    }
    assert_eq!(realm.delete(&format!("/Users/{}", ids[8])).await.status, 204);
    assert_eq!(active(&realm).await, 7, "three have gone, the others are held");
    let held = status(&realm).await;
    assert_eq!((&held["held"], held["held_since"].is_string()), (&json!(6), true), "{held}");
    let list = realm.admin.get("/scim/leaver-guard/held").await.json();
    assert_eq!((&list[0]["departure"], &list[0]["subject_name"]), (&json!("deactivate_user"), &json!("user-3")));
    assert_eq!((&list[5]["departure"], &list[5]["subject"]), (&json!("delete_user"), &json!(ids[8])));
    assert_eq!(events(&realm).await, ["dsync.user.updated", "dsync.user.updated", "dsync.user.updated", "dsync.held"]);

    // Normal traffic goes on: for those who are held, too.
    let renamed = json!([{ "op": "replace", "path": "displayName", "value": "Still here" }]);
    assert_eq!(realm.operations(&format!("/Users/{}", ids[4]), renamed).await.status, 200);
    assert_eq!(realm.post("/Users", json!({ "schemas": [USER], "userName": "newcomer" })).await.status, 201);
    assert_eq!(active(&realm).await, 8);

    assert_eq!(resolve(&realm, "apply").await, json!({ "done": 6, "held": 0 }));
    assert_eq!(realm.names("active eq true").await, ["newcomer", "user-9"]);
    assert_eq!(realm.get(&format!("/Users/{}", ids[8])).await.status, 404);
    let told = events(&realm).await;
    assert_eq!(told.last().map(String::as_str), Some("dsync.released"), "{told:?}");
    assert_eq!(status(&realm).await["held_since"], Value::Null);
    // An operator has looked: the count begins anew.
    assert_eq!(deactivate(&realm, &ids[9]).await["active"], false);
    assert_eq!(realm.names("active eq true").await, ["newcomer"]);
    assert_eq!(realm.admin.post("/scim/leaver-guard/apply", json!({})).await.status, 409, "nothing is held");
    let log = realm.admin.get("/audit-log?action=guard.").await.json();
    assert_eq!((&log[0]["action"], &log[0]["after"]["changes"]), (&json!("guard.apply"), &json!(6)));
}

#[tokio::test]
async fn what_is_discarded_never_happened() {
    let realm = guarded(1).await;
    let ids = users(&realm, 4).await;
    for id in &ids {
        deactivate(&realm, id).await;
    }
    let before = realm.get(&format!("/Users/{}", ids[3])).await;
    assert_eq!(resolve(&realm, "discard").await, json!({ "done": 3, "held": 0 }));
    assert_eq!(active(&realm).await, 3);
    let after = realm.get(&format!("/Users/{}", ids[3])).await;
    assert_eq!(before.json(), after.json());
    assert_eq!(after.json()["meta"]["version"], "W/\"1\"");
    assert_eq!(events(&realm).await, ["dsync.user.updated", "dsync.held", "dsync.discarded"]);
}

#[tokio::test]
async fn what_the_idp_takes_back_is_no_longer_held() {
    let realm = guarded(1).await;
    let ids = users(&realm, 4).await;
    let group = realm.group("team", &[&ids[0], &ids[1], &ids[2], &ids[3]]).await;
    let path = format!("/Groups/{group}");
    for id in &ids {
        deactivate(&realm, id).await;
    }
    let back = json!([{ "op": "replace", "value": { "active": "True" } }]);
    assert_eq!(realm.operations(&format!("/Users/{}", ids[1]), back).await.json()["active"], true);
    let put = json!({ "schemas": [USER], "userName": "user-2", "active": true });
    assert_eq!(realm.put(&format!("/Users/{}", ids[2]), put).await.json()["active"], true);
    // Silence is not a return.
    let put = json!({ "schemas": [USER], "userName": "user-3", "title": "Dr" });
    assert_eq!(realm.put(&format!("/Users/{}", ids[3]), put).await.json()["active"], false);

    let gone = json!([{ "op": "remove", "path": "members", "value": [{ "value": ids[1] }, { "value": ids[2] }] }]);
    assert_eq!(realm.operations(&path, gone).await.status, 204);
    assert_eq!(realm.members_of(&group).await.len(), 4, "held as well");
    let again = json!([{ "op": "add", "path": "members", "value": [{ "value": ids[1] }] }]);
    assert_eq!(realm.operations(&path, again).await.status, 204);

    assert_eq!(resolve(&realm, "apply").await["done"], 2);
    assert_eq!(realm.names("active eq true").await, ["user-1", "user-2"]);
    let mut left = vec![ids[0].clone(), ids[1].clone(), ids[3].clone()];
    left.sort();
    assert_eq!(realm.members_of(&group).await, left);
}

#[tokio::test]
async fn a_group_which_is_emptied_or_deleted_keeps_its_members_and_takes_new_ones() {
    let realm = guarded(2).await;
    let ids = users(&realm, 6).await;
    let members: Vec<&str> = ids[..5].iter().map(String::as_str).collect();
    let (team, crew) = (realm.group("team", &members).await, realm.group("crew", &members).await);
    let replaced = json!([{ "op": "replace", "path": "members", "value": [{ "value": ids[5] }] }]);
    assert_eq!(realm.operations(&format!("/Groups/{team}"), replaced).await.status, 204);
    assert_eq!(realm.members_of(&team).await.len(), 6);
    assert_eq!(realm.delete(&format!("/Groups/{crew}")).await.status, 204);
    assert_eq!(realm.members_of(&crew).await.len(), 5);
    assert_eq!(status(&realm).await["held"], 6);
    assert_eq!(realm.admin.patch("/scim/policy", json!({ "leaver_guard": null })).await.status, 409);
    assert_eq!(resolve(&realm, "apply").await, json!({ "done": 6, "held": 0 }));
    assert_eq!(realm.members_of(&team).await, [ids[5].clone()]);
    assert_eq!(realm.get(&format!("/Groups/{crew}")).await.status, 404);
    assert_eq!(realm.admin.patch("/scim/policy", json!({ "leaver_guard": null })).await.status, 200);
}

#[tokio::test]
async fn a_third_of_the_people_leaving_at_once_from_many_connections_is_stopped_at_the_threshold() {
    let realm = World::realm().await;
    let ids = realm.seed_users(60).await;
    realm.policy("leaver_guard", json!({ "percent": 10, "window": "30m" })).await;
    let realm = &realm;
    let leaving = ids[..20].iter().map(|id| async move { deactivate(realm, id).await });
    futures_util::future::join_all(leaving).await;
    assert_eq!(active(realm).await, 54, "six are ten percent of sixty");
    assert_eq!(status(realm).await["held"], 14);
    assert_eq!(resolve(realm, "apply").await["done"], 14);
    assert_eq!(active(realm).await, 40);
}

#[tokio::test]
async fn of_two_operators_who_apply_at_once_each_is_told_what_was_done_on_their_word() {
    let realm = guarded(1).await;
    for id in users(&realm, 12).await {
        deactivate(&realm, &id).await;
    }
    let apply = || realm.admin.post("/scim/leaver-guard/apply", json!({}));
    let (one, other) = tokio::join!(apply(), apply());
    // Who comes when all is done finds nothing held.
    assert!([&one, &other].iter().all(|reply| [200, 409].contains(&reply.status.as_u16())), "{one} {other}");
    let done = |reply: &Reply| reply.json()["done"].as_u64().unwrap_or_default();
    assert_eq!(done(&one) + done(&other), 11, "{one} {other}");
    assert_eq!(active(&realm).await, 0);
}

#[tokio::test]
async fn who_left_one_by_one_over_time_and_who_is_gone_already_are_no_wave() {
    let realm = guarded(2).await;
    let ids = users(&realm, 5).await;
    for id in &ids[..2] {
        deactivate(&realm, id).await;
        deactivate(&realm, id).await;
        assert_eq!(realm.delete(&format!("/Users/{id}")).await.status, 204, "disabled already");
    }
    let sql = "UPDATE departures d SET departed_at = departed_at - interval '2 hours'
                 FROM realms r WHERE r.id = d.realm_id AND r.name = $1";
    World::shared().superuser().await.execute(sql, &[&realm.name]).await.expect("time passes");
    for id in &ids[2..4] {
        deactivate(&realm, id).await;
    }
    assert_eq!(active(&realm).await, 1);
    assert_eq!(status(&realm).await["held"], 0);
}

/// Users with an `externalId` of their own: `ext-0` and on.
async fn with_external_ids(realm: &Realm, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        let user = json!({ "schemas": [USER], "userName": format!("user-{n}"), "externalId": format!("ext-{n}") });
        ids.push(realm.create_user(user).await.id());
    }
    ids
}

#[tokio::test]
async fn a_member_is_the_same_by_whatever_name_it_leaves_and_comes_back() {
    let realm = guarded(2).await;
    realm.policy("unknown_members", "pending").await;
    let ids = with_external_ids(&realm, 6).await;
    let group = realm.group("team", &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let path = format!("/Groups/{group}");
    let by_external_id: Vec<Value> = (0..6).map(|n| json!({ "value": format!("ext-{n}") })).collect();
    let gone = json!([{ "op": "remove", "path": "members", "value": by_external_id }]);
    assert_eq!(realm.operations(&path, gone).await.status, 204);
    assert_eq!((realm.members_of(&group).await.len(), &status(&realm).await["held"]), (6, &json!(6)));
    let back = json!([{ "op": "add", "path": "members", "value": by_external_id[1..] }]);
    assert_eq!(realm.operations(&path, back).await.status, 204);
    assert_eq!(resolve(&realm, "apply").await["done"], 1);
    assert_eq!(realm.members_of(&group).await.len(), 5);
}

#[tokio::test]
async fn a_group_which_leaves_a_group_takes_all_its_people_along() {
    let realm = guarded(3).await;
    let ids = users(&realm, 5).await;
    let child = realm.group("child", &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (parent, other) = (realm.group("parent", &[&child]).await, realm.group("other", &[&child]).await);
    let gone = json!([{ "op": "remove", "path": format!("members[value eq \"{child}\"]") }]);
    assert_eq!(realm.operations(&format!("/Groups/{parent}"), gone).await.status, 204);
    assert_eq!(realm.delete(&format!("/Groups/{other}")).await.status, 204);
    assert_eq!(realm.members_of(&parent).await, [child]);
    let held = status(&realm).await;
    assert_eq!((&held["held"], &held["departed"]), (&json!(2), &json!(5)));
}

#[tokio::test]
async fn who_is_written_to_is_not_deleted() {
    let realm = guarded(1).await;
    let ids = users(&realm, 4).await;
    let group = realm.group("team", &[&ids[0], &ids[1], &ids[2]]).await;
    for path in [format!("/Groups/{group}"), format!("/Users/{}", ids[0]), format!("/Users/{}", ids[1])] {
        assert_eq!(realm.delete(&path).await.status, 204);
    }
    assert_eq!(status(&realm).await["held"], 3);
    let put = json!({ "schemas": [USER], "userName": "user-0", "active": true });
    assert_eq!(realm.put(&format!("/Users/{}", ids[0]), put).await.status, 200);
    let renamed = json!([{ "op": "replace", "path": "displayName", "value": "crew" }]);
    assert_eq!(realm.operations(&format!("/Groups/{group}"), renamed).await.status, 204);
    assert_eq!(resolve(&realm, "apply").await, json!({ "done": 1, "held": 0 }));
    assert_eq!(realm.names("active eq true").await, ["user-0", "user-2", "user-3"]);
    assert_eq!(realm.members_of(&group).await.len(), 2);
}
