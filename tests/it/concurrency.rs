//! Those who write at once get one winner for a name, and lose no member.

use futures_util::future::join_all;
use serde_json::json;

use crate::world::{USER, World};

/// `ada` in the n-th combination of capitals.
fn spelled(n: usize) -> String {
    let capital = |(at, c): (usize, char)| if n >> at & 1 == 1 { c.to_ascii_uppercase() } else { c };
    "lovelace".chars().enumerate().map(capital).collect()
}

#[tokio::test]
async fn of_fifty_who_create_one_name_in_any_case_one_does() {
    let realm = World::realm().await;
    let creates = (0..50).map(|n| realm.post("/Users", json!({ "schemas": [USER], "userName": spelled(n) })));
    let mut summaries: Vec<_> = join_all(creates).await.iter().map(crate::world::Reply::summary).collect();
    summaries.sort();
    assert_eq!(summaries[0], "201 Created");
    assert!(summaries[1..].iter().all(|summary| summary == "409 uniqueness"), "{summaries:?}");
    assert_eq!(realm.names("userName eq \"lovelace\"").await.len(), 1);
}

#[tokio::test]
async fn sixty_four_who_each_add_a_member_lose_none() {
    let realm = World::realm().await;
    let mut ids = join_all((0..64).map(|n| {
        let realm = &realm;
        async move { realm.user(&format!("user-{n}")).await }
    }))
    .await;
    let group = realm.group("engines", &[]).await;
    let path = format!("/Groups/{group}");
    let adds = ids
        .iter()
        .map(|id| realm.operations(&path, json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }])));
    for (n, reply) in join_all(adds.collect::<Vec<_>>()).await.iter().enumerate() {
        assert_eq!(reply.status, 204, "writer {n}: {reply}");
    }
    ids.sort();
    assert_eq!(realm.members_of(&group).await, ids);
}

#[tokio::test]
async fn fifty_patches_of_one_group_which_add_and_remove_are_all_applied() {
    let realm = World::realm().await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(realm.user(&format!("user-{n}")).await);
    }
    let leaving: Vec<_> = ids[..25].iter().map(String::as_str).collect();
    let group = realm.group("engines", &leaving).await;
    let path = format!("/Groups/{group}");
    let patches = ids.iter().enumerate().map(|(n, id)| {
        let operation = match n {
            0..25 => json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") }),
            _ => json!({ "op": "Add", "path": "members", "value": [{ "value": id }] }),
        };
        realm.operations(
            &path,
            json!([operation, { "op": "replace", "path": "displayName", "value": format!("engines {n}") }]),
        )
    });
    for (n, reply) in join_all(patches.collect::<Vec<_>>()).await.iter().enumerate() {
        assert!(reply.status.is_success(), "writer {n}: {reply}");
    }
    let mut joined = ids.split_off(25);
    joined.sort();
    assert_eq!(realm.members_of(&group).await, joined);
}

#[tokio::test]
async fn writers_of_different_attributes_of_one_user_do_not_undo_each_other() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    let attributes =
        ["title", "nickName", "locale", "timezone", "userType", "preferredLanguage", "displayName", "profileUrl"];
    let patches = attributes.iter().map(|name| {
        realm.operations(&path, json!([{ "op": "replace", "path": name, "value": format!("https://{name}.example") }]))
    });
    for (n, reply) in join_all(patches.collect::<Vec<_>>()).await.iter().enumerate() {
        assert!(reply.status.is_success(), "{}: {reply}", attributes[n]);
    }
    let user = realm.get(&path).await.json();
    for name in attributes {
        assert_eq!(user[name], format!("https://{name}.example"), "{name}");
    }
}
