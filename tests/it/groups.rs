//! Membership is never silently wrong: each change is applied as it was said, or refused with nothing changed.

use serde_json::{Value, json};

use crate::world::{GROUP, Realm, World};

async fn three_users(realm: &Realm) -> [String; 3] {
    let mut ids = [realm.user("ada").await, realm.user("bob").await, realm.user("cyd").await];
    ids.sort();
    ids
}

fn members(ids: &[&String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

/// What the outbox holds of a group: version, event, member; sorted.
async fn events(realm: &Realm, group: &str) -> Vec<(i64, String, Option<String>)> {
    let sql = World::shared().superuser().await;
    let query = "SELECT o.version, o.event, o.member_id::text FROM changes o JOIN realms r ON r.id = o.realm_id
                  WHERE r.name = $1 AND o.resource_id = $2::text::uuid";
    let rows = sql.query(query, &[&realm.name, &group]).await.expect("the outbox is there");
    let mut events: Vec<_> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    events.sort();
    events
}

#[tokio::test]
async fn a_group_arrives_with_its_members() {
    let realm = World::realm().await;
    let [ada, bob, _] = three_users(&realm).await;
    let body =
        json!({ "schemas": [GROUP], "displayName": "Engines", "externalId": "g-1", "members": members(&[&ada, &bob]) });
    let created = realm.post("/Groups", body).await;
    assert_eq!(created.status, 201, "{created}");
    let read = realm.get(&format!("/Groups/{}", created.id())).await.json();
    assert_eq!((&read["displayName"], &read["externalId"]), (&json!("Engines"), &json!("g-1")));
    assert_eq!(read["meta"]["resourceType"], "Group");
    assert_eq!(realm.members_of(&created.id()).await, [ada, bob]);
}

#[tokio::test]
async fn adding_a_member_twice_leaves_it_a_member_once() {
    let realm = World::realm().await;
    let [ada, bob, _] = three_users(&realm).await;
    let group = realm.group("engines", &[&ada]).await;
    let add = json!([{ "op": "add", "path": "members", "value": members(&[&ada, &bob, &bob]) }]);
    for _ in 0..2 {
        assert_eq!(realm.operations(&format!("/Groups/{group}"), add.clone()).await.status, 204);
        assert_eq!(realm.members_of(&group).await, [ada.clone(), bob.clone()]);
    }
}

#[tokio::test]
async fn a_removal_takes_exactly_those_whom_it_names() {
    let realm = World::realm().await;
    let [ada, bob, cyd] = three_users(&realm).await;
    let everyone = [ada.as_str(), &bob, &cyd];
    for (what, remove, left) in [
        ("by filter", json!({ "op": "remove", "path": format!("members[value eq \"{ada}\"]") }), vec![&bob, &cyd]),
        (
            "by Entra's value array",
            json!({ "op": "Remove", "path": "members", "value": members(&[&ada, &bob]) }),
            vec![&cyd],
        ),
        ("by an empty value array", json!({ "op": "remove", "path": "members", "value": [] }), vec![&ada, &bob, &cyd]),
        ("without value", json!({ "op": "remove", "path": "members" }), vec![]),
        (
            "of a stranger",
            json!({ "op": "remove", "path": "members[value eq \"00000000-0000-7000-8000-000000000000\"]" }),
            vec![&ada, &bob, &cyd],
        ),
    ] {
        let group = realm.group(what, &everyone).await;
        let reply = realm.operations(&format!("/Groups/{group}"), json!([remove])).await;
        assert!(reply.status.is_success(), "{what}: {reply}");
        assert_eq!(realm.members_of(&group).await.iter().collect::<Vec<_>>(), left, "{what}");
    }
}

#[tokio::test]
async fn a_replacement_of_members_leaves_those_named_and_nobody_else() {
    let realm = World::realm().await;
    let [ada, bob, cyd] = three_users(&realm).await;
    let group = realm.group("engines", &[&ada, &bob]).await;
    let path = format!("/Groups/{group}");
    let replace = json!([{ "op": "replace", "path": "members", "value": members(&[&bob, &cyd]) }]);
    assert_eq!(realm.operations(&path, replace).await.status, 204);
    assert_eq!(realm.members_of(&group).await, [bob, cyd]);
    let put =
        realm.put(&path, json!({ "schemas": [GROUP], "displayName": "engines", "members": members(&[&ada]) })).await;
    assert_eq!(put.status, 200, "{put}");
    assert_eq!(realm.members_of(&group).await, [ada]);
}

#[tokio::test]
async fn one_unknown_member_refuses_the_whole_request_and_is_named() {
    let realm = World::realm().await;
    let [ada, bob, _] = three_users(&realm).await;
    let group = realm.group("engines", &[&ada]).await;
    let path = format!("/Groups/{group}");
    for stranger in ["00000000-0000-7000-8000-000000000000".to_owned(), "nobody".to_owned()] {
        for operation in ["add", "replace"] {
            let operations = json!([
                { "op": "replace", "path": "displayName", "value": "renamed" },
                { "op": operation, "path": "members", "value": members(&[&bob, &stranger]) }
            ]);
            let reply = realm.operations(&path, operations).await;
            assert_eq!(reply.summary(), "400 invalidValue", "{operation} {stranger}");
            assert!(reply.detail().contains(&stranger), "{reply}");
        }
        let put = json!({ "schemas": [GROUP], "displayName": "renamed", "members": members(&[&bob, &stranger]) });
        assert_eq!(realm.put(&path, put.clone()).await.summary(), "400 invalidValue");
        assert_eq!(realm.post("/Groups", put).await.summary(), "400 invalidValue");
    }
    assert_eq!(realm.members_of(&group).await, [ada]);
    let groups = realm.get("/Groups?attributes=displayName").await.json();
    assert_eq!((&groups["totalResults"], &groups["Resources"][0]["displayName"]), (&json!(1), &json!("engines")));
}

#[tokio::test]
async fn a_patch_answers_no_body_unless_attributes_are_asked_for() {
    let realm = World::realm().await;
    let [ada, ..] = three_users(&realm).await;
    let group = realm.group("engines", &[]).await;
    let add = json!([{ "op": "add", "path": "members", "value": members(&[&ada]) }]);
    let silent = realm.operations(&format!("/Groups/{group}"), add.clone()).await;
    assert_eq!((silent.status.as_u16(), silent.bytes.len()), (204, 0));
    let asked = realm.operations(&format!("/Groups/{group}?attributes=members"), add).await;
    assert_eq!(asked.status, 200, "{asked}");
    assert_eq!(asked.json()["members"][0]["value"], json!(ada));
}

#[tokio::test]
async fn operations_apply_in_the_order_in_which_they_stand() {
    let realm = World::realm().await;
    let [ada, bob, cyd] = three_users(&realm).await;
    let group = realm.group("engines", &[&ada]).await;
    let operations = json!([
        { "op": "add", "path": "members", "value": members(&[&bob]) },
        { "op": "remove", "path": "members" },
        { "op": "add", "path": "members", "value": members(&[&cyd]) },
        { "op": "remove", "path": format!("members[value eq \"{cyd}\"]") },
        { "op": "add", "path": "members", "value": members(&[&bob]) }
    ]);
    assert_eq!(realm.operations(&format!("/Groups/{group}"), operations).await.status, 204);
    assert_eq!(realm.members_of(&group).await, [bob]);
}

#[tokio::test]
async fn a_group_within_a_group_is_a_member_and_a_ring_is_refused() {
    let realm = World::realm().await;
    let inner = realm.group("inner", &[]).await;
    let outer = realm.group("outer", &[&inner]).await;
    assert_eq!(realm.members_of(&outer).await, [inner.as_str()]);
    let ring = json!([{ "op": "add", "path": "members", "value": members(&[&outer]) }]);
    let reply = realm.operations(&format!("/Groups/{inner}"), ring).await;
    assert_eq!(reply.summary(), "400 invalidValue");
    reply.detail();
    assert!(realm.members_of(&inner).await.is_empty());
}

#[tokio::test]
async fn two_groups_which_are_put_into_each_other_at_once_do_not_both_succeed() {
    let realm = World::realm().await;
    let put_into = |outer: &str, inner: &str| {
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": inner }] }]);
        let (realm, path) = (&realm, format!("/Groups/{outer}"));
        async move { realm.operations(&path, add).await.summary() }
    };
    for round in 0..20 {
        let [a, b, c] = [
            realm.group(&format!("a {round}"), &[]).await,
            realm.group(&format!("b {round}"), &[]).await,
            realm.group(&format!("c {round}"), &[]).await,
        ];
        // A ring of two, then a ring of three which lacks its last two links.
        let (first, second) = tokio::join!(put_into(&a, &b), put_into(&b, &a));
        let mut summaries = [first.as_str(), &second];
        summaries.sort_unstable();
        assert_eq!(summaries, ["204 No Content", "400 invalidValue"], "round {round}");
        let (outer, inner) = if first.starts_with("204") { (&a, &b) } else { (&b, &a) };
        let (first, second) = tokio::join!(put_into(inner, &c), put_into(&c, outer));
        let mut summaries = [first.as_str(), &second];
        summaries.sort_unstable();
        assert_eq!(summaries, ["204 No Content", "400 invalidValue"], "round {round}");
    }
}

#[tokio::test]
async fn what_changes_nothing_of_the_members_is_neither_a_version_nor_an_event() {
    let realm = World::realm().await;
    let [ada, bob, cyd] = three_users(&realm).await;
    let group = realm.group("engines", &[&ada, &bob]).await;
    let path = format!("/Groups/{group}");
    let version = realm.get(&path).await.header("etag").to_owned();
    let before = events(&realm, &group).await.len();
    let same = json!([
        { "op": "add", "path": "members", "value": members(&[&ada]) },
        { "op": "remove", "path": format!("members[value eq \"{cyd}\"]") },
    ]);
    assert_eq!(realm.operations(&path, same).await.status, 204);
    let same = json!([{ "op": "replace", "path": "members", "value": members(&[&bob, &ada]) }]);
    assert_eq!(realm.operations(&path, same).await.status, 204);
    assert_eq!((realm.get(&path).await.header("etag"), events(&realm, &group).await.len()), (&*version, before));
}

#[tokio::test]
async fn a_replacement_tells_of_those_who_really_came_and_went_at_one_version() {
    let realm = World::realm().await;
    let [ada, bob, cyd] = three_users(&realm).await;
    let group = realm.group("engines", &[&ada, &bob]).await;
    let replace = json!([{ "op": "replace", "path": "members", "value": members(&[&bob, &cyd]) }]);
    assert_eq!(realm.operations(&format!("/Groups/{group}"), replace).await.status, 204);
    let told = events(&realm, &group).await;
    let came = |version, who: &String| (version, "dsync.group.user_added".to_owned(), Some(who.clone()));
    let created = (1, "dsync.group.created".to_owned(), None);
    let left = (3, "dsync.group.user_removed".to_owned(), Some(ada.clone()));
    assert_eq!(told, [created, came(2, &ada), came(2, &bob), came(3, &cyd), left]);
}

#[tokio::test]
async fn a_group_is_looked_up_by_name_without_its_members_as_entra_does() {
    let realm = World::realm().await;
    let [ada, ..] = three_users(&realm).await;
    realm.group("Engines & Co", &[&ada]).await;
    let found =
        realm.get("/Groups?excludedAttributes=members&filter=displayName%20eq%20%22engines%20%26%20co%22").await.json();
    assert_eq!(found["totalResults"], 1, "{found}");
    assert_eq!(found["Resources"][0]["displayName"], "Engines & Co");
    assert!(found["Resources"][0].get("members").is_none(), "{found}");
}

#[tokio::test]
async fn a_group_without_a_name_is_refused() {
    let realm = World::realm().await;
    let reply = realm.post("/Groups", json!({ "schemas": [GROUP] })).await;
    assert_eq!(reply.summary(), "400 invalidValue");
    assert!(reply.detail().contains("displayName"), "{reply}");
}

#[tokio::test]
async fn a_deleted_group_is_gone_and_its_members_are_not() {
    let realm = World::realm().await;
    let [ada, ..] = three_users(&realm).await;
    let group = realm.group("engines", &[&ada]).await;
    assert_eq!(realm.delete(&format!("/Groups/{group}")).await.status, 204);
    assert_eq!(realm.get(&format!("/Groups/{group}")).await.summary(), "404 Not Found");
    let user = realm.get(&format!("/Users/{ada}")).await.json();
    assert!(user["groups"].as_array().is_none_or(Vec::is_empty), "{user}");
}
