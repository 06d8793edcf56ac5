//! SCIM tokens of a realm: shown once, listed without being shown, rotated with an overlap or without, ended; and nobody is
//! surprised by the end of one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Caller, Realm, World};

fn with(realm: &Realm, token: &str) -> Caller {
    realm.idp().bearer(token)
}

/// Polls until `done`, for no longer than ten seconds.
async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} did not happen in ten seconds");
}

#[tokio::test]
async fn an_overlap_lets_the_old_token_go_on_for_so_long() {
    let realm = World::realm().await;
    let rotated = realm.admin.post("/scim/rotate", json!({ "overlap": "24h" })).await;
    assert_eq!(rotated.status, 200, "{rotated}");
    let new = with(&realm, &rotated.text_at("token"));
    assert_eq!(realm.get("/Users").await.status, 200, "the old token");
    let status = realm.admin.get("/scim").await.json();
    assert_eq!(status["warnings"][0]["warning"], "new_token_unused", "{status}");
    assert_eq!(new.get("/Users").await.status, 200, "the new token");
    assert_eq!(status["tokens"].as_array().map(Vec::len), Some(2));

    let again = realm.admin.post("/scim/rotate", json!({ "overlap": "1s" })).await;
    assert_eq!(with(&realm, &again.text_at("token")).get("/Users").await.status, 200);
    for (which, token) in [("first", realm.idp()), ("second", new)] {
        eventually(&format!("the end of the {which} token"), async || token.get("/Users").await.status == 401).await;
    }
    let rotated = realm.admin.post("/scim/rotate", json!({})).await;
    assert_eq!(with(&realm, &again.text_at("token")).get("/Users").await.status, 401, "no overlap, no grace");
    let left = realm.admin.get("/scim/tokens").await.json();
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(with(&realm, &rotated.text_at("token")).get("/Users").await.status, 200);
}

#[tokio::test]
async fn one_token_of_several_can_be_ended() {
    let realm = World::realm().await;
    let new = realm.admin.post("/scim/rotate", json!({ "overlap": "30d" })).await.text_at("token");
    let tokens = realm.admin.get("/scim/tokens").await.json();
    let old = tokens.as_array().expect("a list").iter().find(|t| !t["expires_at"].is_null()).expect("the old one");
    let path = format!("/scim/tokens/{}", old["id"].as_str().expect("an id"));
    assert_eq!(realm.admin.delete(&path).await.status, 204);
    assert_eq!(realm.get("/Users").await.status, 401);
    assert_eq!(with(&realm, &new).get("/Users").await.status, 200);
    assert_eq!(realm.admin.delete(&path).await.status, 404);
    assert_eq!(realm.admin.delete("/scim/tokens/first").await.status, 400);
}

#[tokio::test]
async fn a_wish_which_cannot_be_read_changes_nothing() {
    let realm = World::realm().await;
    for wish in [
        json!({ "overlap": "a while" }),
        json!({ "overlap": "-1h" }),
        json!({ "overlap": 5 }),
        json!({ "expires": "1d" }),
        json!([]),
    ] {
        let reply = realm.admin.post("/scim/rotate", wish.clone()).await;
        assert_eq!(reply.status, 400, "{wish}: {reply}");
    }
    assert_eq!(realm.get("/Users").await.status, 200);
}

#[tokio::test]
async fn whose_last_token_ends_soon_is_warned_once() {
    let mut world = World::alone();
    let realm = world.new_realm().await;
    let rotated = realm.admin.post("/scim/rotate", json!({ "expires_in": "5d" })).await;
    assert_eq!(rotated.status, 200, "{rotated}");
    let status = realm.admin.get("/scim").await.json();
    assert_eq!(status["warnings"][0]["warning"], "token_expires", "{status}");

    let sql = "SELECT o.event, o.attributes FROM changes o JOIN realms r ON r.id = o.realm_id
                WHERE r.name = $1 AND o.event LIKE 'dsync.token.%'";
    for _ in 0..2 {
        world.gateway().terminate();
        world.start();
        let superuser = world.superuser().await;
        let mut events = Vec::new();
        eventually("a warning", async || {
            events = superuser.query(sql, &[&realm.name]).await.expect("rows");
            !events.is_empty()
        })
        .await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].get::<_, String>(0), "dsync.token.expiring");
        assert_eq!(events[0].get::<_, Value>(1)["days"], 7);
        eventually("the metric", async || {
            let metrics = world.management().get("/metrics").await;
            String::from_utf8_lossy(&metrics.bytes).contains("realmgate_realms_token_expiring{days=\"7\"} 1")
        })
        .await;
    }
}
