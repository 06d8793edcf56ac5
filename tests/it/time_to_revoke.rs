//! From the identity provider's request which takes access away to the application's word that it knows.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    process::Postgres,
    receiver::{Answer, Receiver},
    world::{Realm, World, encoded},
};

/// Returns once each change of the realm is an event.
async fn told(realm: &Realm) -> i64 {
    told_in(World::shared(), realm).await
}

async fn told_in(world: &World, realm: &Realm) -> i64 {
    World::all_told(&world.superuser().await, &realm.name).await;
    realm.admin.get("/events?limit=1").await.json()["head"].as_i64().expect("a number")
}

async fn report(realm: &Realm) -> Value {
    let report = realm.admin.get("/time-to-revoke").await;
    assert_eq!(report.status, 200, "{report}");
    report.json()
}

/// The report, once so many of the revocations are acknowledged.
async fn acknowledged(realm: &Realm, wanted: i64) -> Value {
    loop {
        let report = report(realm).await;
        if report["count"].as_i64().zip(report["open"].as_i64()).is_some_and(|(all, open)| all - open >= wanted) {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn deactivate(realm: &Realm, user: &str) {
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    assert_eq!(realm.operations(&format!("/Users/{user}"), off).await.status, 200);
}

#[tokio::test]
async fn only_who_loses_access_counts() {
    let realm = World::realm().await;
    let (ada, bob, eve) = (realm.user("ada").await, realm.user("bob").await, realm.user("eve").await);
    deactivate(&realm, &ada).await;
    let renamed = json!([{ "op": "replace", "path": "title", "value": "Countess" }]);
    assert_eq!(realm.operations(&format!("/Users/{ada}"), renamed.clone()).await.status, 200);
    assert_eq!(realm.operations(&format!("/Users/{eve}"), renamed).await.status, 200);
    assert_eq!(realm.delete(&format!("/Users/{ada}")).await.status, 204, "who had lost it already");
    assert_eq!(realm.delete(&format!("/Users/{bob}")).await.status, 204);
    told(&realm).await;
    let report = report(&realm).await;
    assert_eq!((&report["count"], &report["open"]), (&json!(2), &json!(2)));
    assert_eq!(report["oldest_open"]["user_id"], ada);
    assert_eq!((&report["p50_ms"], &report["slowest"]), (&Value::Null, &json!([])));
}

#[tokio::test]
async fn the_cursor_of_a_reader_acknowledges_what_is_before_it() {
    let realm = World::realm().await;
    let (ada, bob) = (realm.user("ada").await, realm.user("bob").await);
    deactivate(&realm, &ada).await;
    let first = told(&realm).await;
    deactivate(&realm, &bob).await;
    let second = told(&realm).await;
    realm.admin.get(&format!("/events?after={}", first - 1)).await;
    realm.admin.get(&format!("/events?after={first}")).await;
    let after_one = acknowledged(&realm, 1).await;
    assert_eq!((&after_one["count"], &after_one["open"]), (&json!(2), &json!(1)));
    assert_eq!(after_one["oldest_open"]["user_id"], bob);
    let slowest = &after_one["slowest"][0];
    assert_eq!((&slowest["user_id"], &slowest["seq"]), (&json!(ada), &json!(first)));
    assert_eq!(slowest["acknowledged_by"], "events_api");
    assert_eq!(slowest["ms"], after_one["max_ms"]);

    realm.admin.get(&format!("/events?after={second}")).await;
    let all = acknowledged(&realm, 2).await;
    assert_eq!((&all["open"], &all["oldest_open"]), (&json!(0), &Value::Null));
    assert_eq!(all["acknowledged_by"], json!([{ "name": "events_api", "count": 2 }]));
    assert!(all["p50_ms"].as_i64() <= all["p95_ms"].as_i64() && all["p95_ms"].as_i64() <= all["max_ms"].as_i64());
    let ada = all["slowest"].as_array().expect("a list").iter().find(|one| one["user_id"] == ada).expect("ada");
    assert_eq!(ada["acknowledged_at"], slowest["acknowledged_at"], "the first word counts");
    let metrics = World::shared().management().get("/metrics").await;
    assert!(String::from_utf8_lossy(&metrics.bytes).contains("realmgate_time_to_revoke_seconds_count"));
}

#[tokio::test]
async fn a_reader_of_all_realms_acknowledges_if_it_says_so() {
    let world = World::alone();
    let (acme, globex, root) = (world.new_realm().await, world.new_realm().await, world.admin().await);
    for realm in [&acme, &globex] {
        deactivate(realm, &realm.user("ada").await).await;
    }
    let (mut after, mut read) = (String::new(), 0);
    while read < 2 {
        let page = root.get(&format!("/admin/events?after={after}&wait=20&types=dsync.user.updated")).await.json();
        read += page["events"].as_array().expect("a list").len();
        after = page["next"].as_str().expect("a cursor").to_owned();
    }
    root.get(&format!("/admin/events?after={after}")).await;
    assert_eq!(report(&acme).await["open"], 1, "whoever only looks has not said so");
    root.get(&format!("/admin/events?after={after}&acknowledge=true")).await;
    for realm in [&acme, &globex] {
        assert_eq!(acknowledged(realm, 1).await["acknowledged_by"], json!([{ "name": "events_api", "count": 1 }]));
    }
}

#[tokio::test]
async fn a_webhook_acknowledges_by_taking_the_event() {
    let (realm, receiver, other) = (World::realm().await, Receiver::start().await, Receiver::start().await);
    let of_groups = json!({ "url": other.url, "events": ["dsync.group.*"] });
    assert_eq!(realm.admin.post("/webhooks", of_groups).await.status, 201);
    let (ada, bob) = (realm.user("ada").await, realm.user("bob").await);
    deactivate(&realm, &ada).await;
    realm.group("engines", &[&bob]).await;
    other.after(1).await;
    assert_eq!(report(&realm).await["open"], 1, "who is told of groups alone does not know of it");
    receiver.will_answer([Answer::Status(500)]);
    let hook = realm.admin.post("/webhooks", json!({ "url": receiver.url, "events": ["dsync.user.deleted"] })).await;
    assert_eq!(hook.status, 201, "{hook}");
    assert_eq!(realm.delete(&format!("/Users/{bob}")).await.status, 204);
    receiver.after(1).await;
    assert_eq!(report(&realm).await["open"], 2, "an error is no acknowledgement");
    let again = realm.admin.post(&format!("/webhooks/{}/resume", hook.id()), json!({})).await;
    assert_eq!(again.status, 200, "{again}");
    let report = acknowledged(&realm, 1).await;
    let by = format!("webhook:{}", hook.id());
    assert_eq!(report["acknowledged_by"], json!([{ "name": by, "count": 1 }]));
    assert_eq!((&report["slowest"][0]["user_id"], &report["oldest_open"]["user_id"]), (&json!(bob), &json!(ada)));
}

#[tokio::test]
async fn what_nobody_acknowledges_in_time_is_told_once_over_all_nodes() {
    let postgres = Postgres::start();
    let (world, _other) = (World::on(&postgres), World::on(&postgres));
    let realm = world.new_realm().await;
    realm.policy("revoke_within", "1s").await;
    let ada = realm.user("ada").await;
    deactivate(&realm, &ada).await;
    let off = told_in(&world, &realm).await;
    let waiting = format!("/events?after={}&wait=20&types=dsync.revocation.late", off - 1);
    let late = realm.admin.get(&waiting).await.json();
    let event = &late["events"][0];
    assert_eq!(event["event"], "dsync.revocation.late", "{late}");
    assert_eq!((&event["data"]["user_id"], &event["data"]["seq"]), (&json!(ada), &json!(off)));
    assert!(event["data"]["requested_at"].is_string());
    assert_eq!((&report(&realm).await["late"], &report(&realm).await["open"]), (&json!(1), &json!(1)));
    let again = realm.admin.get(&format!("/events?after={}&wait=3", event["seq"])).await.json();
    assert_eq!(again["events"], json!([]), "once");
    // That question was an acknowledgement, if a late one.
    let report = acknowledged(&realm, 1).await;
    assert_eq!((&report["late"], &report["open"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_bound_which_is_kept_tells_nothing() {
    let realm = World::realm().await;
    realm.policy("revoke_within", "1h").await;
    let ada = realm.user("ada").await;
    deactivate(&realm, &ada).await;
    let off = told(&realm).await;
    let quiet = realm.admin.get(&format!("/events?after={off}&wait=2")).await.json();
    assert_eq!(quiet["events"], json!([]));
    assert_eq!(acknowledged(&realm, 1).await["late"], 0);
}

#[tokio::test]
async fn the_report_begins_where_it_is_asked_to() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    deactivate(&realm, &ada).await;
    told(&realm).await;
    let ahead = encoded("2100-01-01T00:00:00Z");
    assert_eq!(realm.admin.get(&format!("/time-to-revoke?since={ahead}")).await.json()["count"], 0);
    assert_eq!(realm.admin.get("/time-to-revoke?since=yesterday").await.status, 400);
    let nobody = realm.admin.anonymous().get("/time-to-revoke").await;
    assert_eq!(nobody.status, 401);
}

#[tokio::test]
async fn an_export_tells_from_which_event_on_it_has_to_be_followed() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let head = told(&realm).await;
    realm.user("bob").await;
    assert_eq!(realm.delete(&format!("/Users/{ada}")).await.status, 204);
    let export = realm.admin.get("/export").await;
    let text = String::from_utf8(export.bytes.to_vec()).expect("lines of JSON");
    let line = |text: Option<&str>| serde_json::from_str::<Value>(text.expect("a line")).expect("JSON");
    let (first, last) = (line(text.lines().next()), line(text.lines().last()));
    let (seq, until) = (first["seq"].as_i64().expect("a number"), last["until"].as_i64().expect("a number"));
    assert!(head <= seq && seq <= until, "{first} {last}");
    assert_eq!(until, head + 2, "all that was committed before the end");
}
