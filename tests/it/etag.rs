//! A version changes with each change and with nothing else; who read an old one cannot overwrite (RFC 7644 §3.14).

use futures_util::future::join_all;
use serde_json::json;

use crate::world::{GROUP, Realm, Reply, USER, World};

fn version(reply: &Reply) -> String {
    let etag = reply.header("etag").to_owned();
    assert!(etag.starts_with("W/\""), "a weak ETag in {reply}: {etag:?}");
    if !reply.bytes.is_empty() {
        assert_eq!(reply.json()["meta"]["version"], etag, "{reply}");
    }
    etag
}

async fn current(realm: &Realm, path: &str) -> String {
    version(&realm.get(path).await)
}

#[tokio::test]
async fn each_change_makes_a_new_version_and_a_no_op_none() {
    let realm = World::realm().await;
    let created = realm.create_user(json!({ "schemas": [USER], "userName": "ada", "title": "Countess" })).await;
    let path = format!("/Users/{}", created.id());
    let first = version(&created);
    assert_eq!(current(&realm, &path).await, first);
    let title = |title: &str| json!([{ "op": "replace", "path": "title", "value": title }]);
    let same = realm.operations(&path, title("Countess")).await;
    assert!(same.status.is_success(), "{same}");
    assert_eq!(current(&realm, &path).await, first);
    assert!(realm.operations(&path, title("Programmer")).await.status.is_success());
    let second = current(&realm, &path).await;
    assert_ne!(second, first);
    let put = json!({ "schemas": [USER], "userName": "ada", "title": "Programmer" });
    assert_eq!(version(&realm.put(&path, put).await), second, "a PUT of what is there changes nothing");
    let put = realm.put(&path, json!({ "schemas": [USER], "userName": "Ada" })).await;
    assert_ne!(version(&put), second, "another case of the name is a change");
}

#[tokio::test]
async fn a_change_of_members_is_a_change_of_the_group() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let path = format!("/Groups/{}", realm.group("engines", &[]).await);
    let before = current(&realm, &path).await;
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    assert_eq!(realm.operations(&path, add.clone()).await.status, 204);
    let after = current(&realm, &path).await;
    assert_ne!(after, before);
    assert_eq!(realm.operations(&path, add).await.status, 204);
    assert_eq!(current(&realm, &path).await, after, "she was a member already");
    let put =
        realm.put(&path, json!({ "schemas": [GROUP], "displayName": "engines", "members": [{ "value": ada }] })).await;
    assert_eq!(version(&put), after);
}

#[tokio::test]
async fn a_reader_who_has_the_version_is_told_so_without_a_body() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    let etag = current(&realm, &path).await;
    for known in [etag.as_str(), "*", &format!("W/\"other\", {etag}")] {
        let reply = realm.header("If-None-Match", known).get(&path).await;
        assert_eq!((reply.status.as_u16(), reply.bytes.len()), (304, 0), "{known}");
        assert_eq!(reply.header("etag"), etag);
    }
    assert_eq!(realm.header("If-None-Match", "W/\"other\"").get(&path).await.status, 200);
}

#[tokio::test]
async fn a_writer_with_an_old_version_changes_nothing() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    let old = current(&realm, &path).await;
    let title = |title: &str| json!([{ "op": "replace", "path": "title", "value": title }]);
    assert!(realm.header("If-Match", &old).operations(&path, title("one")).await.status.is_success());
    let new = current(&realm, &path).await;
    let stale = realm.header("If-Match", &old);
    let put = json!({ "schemas": [USER], "userName": "eve" });
    for reply in [stale.operations(&path, title("two")).await, stale.put(&path, put).await, stale.delete(&path).await] {
        assert_eq!(reply.summary(), "412 Precondition Failed");
        reply.detail();
    }
    assert_eq!(current(&realm, &path).await, new);
    assert_eq!(realm.header("If-Match", "*").delete(&path).await.status, 204);
}

#[tokio::test]
async fn of_twenty_writers_with_one_version_one_wins() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    let writer = realm.header("If-Match", &current(&realm, &path).await);
    let attempts = (0..20).map(|n| {
        let operations = json!([{ "op": "replace", "path": "title", "value": format!("title {n}") }]);
        let (writer, path) = (&writer, &path);
        async move { writer.operations(path, operations).await }
    });
    let replies = join_all(attempts).await;
    let won = replies.iter().filter(|reply| reply.status.is_success()).count();
    let lost = replies.iter().filter(|reply| reply.status == 412).count();
    assert_eq!((won, lost), (1, 19));
}

#[tokio::test]
async fn a_version_which_the_client_has_already_is_not_written_over() {
    let realm = World::realm().await;
    let (user, group) = (realm.user("ada").await, realm.group("Crew", &[]).await);
    let bodies = [json!({ "schemas": [USER], "userName": "ada", "title": "x" }), json!({ "displayName": "Crew 2" })];
    for (path, body) in [format!("/Users/{user}"), format!("/Groups/{group}")].iter().zip(bodies) {
        let operations = json!([{ "op": "replace", "path": "externalId", "value": "e" }]);
        for known in ["*", "W/\"1\"", "\"7\", W/\"1\""] {
            let caller = realm.header("If-None-Match", known);
            assert_eq!(caller.put(path, body.clone()).await.status, 412, "{known}");
            assert_eq!(caller.operations(path, operations.clone()).await.status, 412, "{known}");
            assert_eq!(caller.delete(path).await.status, 412, "{known}");
        }
        assert_eq!(realm.get(path).await.header("etag"), "W/\"1\"", "nothing was written");
        assert_eq!(realm.header("If-None-Match", "W/\"9\"").put(path, body).await.status, 200);
    }
}

#[tokio::test]
async fn who_reads_a_version_gets_that_one_or_none() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    assert_eq!(realm.header("If-Match", "W/\"1\"").get(&path).await.status, 200);
    assert_eq!(realm.header("If-Match", "W/\"2\"").get(&path).await.status, 412);
    let known = realm.header("If-None-Match", "W/\"1\"").get(&path).await;
    assert_eq!((known.status.as_u16(), known.bytes.len(), known.header("etag")), (304, 0, "W/\"1\""));
    assert!(known.header("content-location").ends_with(&path));
}
