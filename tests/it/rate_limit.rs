//! A realm sends no more than its limit, is told what to do, and its leavers leave all the same; other realms notice
//! nothing (DESIGN 4 and 6, SECURITY 2, rows 12 and 13). Over several nodes: see `nodes`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::world::{Caller, Realm, Reply, USER, World};

pub const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

/// As `rate_limit` of the sync policy.
pub fn limit(requests_per_second: u32, burst: u32) -> Value {
    json!({ "requests_per_second": requests_per_second, "burst": burst })
}

/// What became of a flood.
pub struct Flood {
    pub seen: Vec<u16>,
    pub took: Duration,
}

impl Flood {
    /// Four clients for each caller, which send without a pause for so long.
    pub async fn of(callers: impl IntoIterator<Item = Caller>, time: Duration) -> Self {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for caller in callers {
            for _ in 0..4 {
                let caller = caller.clone();
                clients.spawn(async move {
                    let mut seen = Vec::new();
                    while begun.elapsed() < time {
                        seen.push(caller.get("/Users?count=0").await.status.as_u16());
                    }
                    seen
                });
            }
        }
        let seen = clients.join_all().await.concat();
        Self { seen, took: begun.elapsed() }
    }

    pub fn let_in(&self) -> u32 {
        u32::try_from(self.seen.iter().filter(|status| **status == 200).count()).expect("a test sends few")
    }
}

async fn limited(requests_per_second: u32, burst: u32) -> Realm {
    let realm = World::realm().await;
    realm.policy("rate_limit", limit(requests_per_second, burst)).await;
    realm
}

/// Asks until the budget is spent; the refusal.
async fn spend(realm: &Realm) -> Reply {
    for _ in 0..1_000 {
        let reply = realm.get("/Users?count=0").await;
        if reply.status == 429 {
            return reply;
        }
        assert_eq!(reply.status, 200, "{reply}");
    }
    panic!("a thousand requests, and the budget is not spent");
}

/// A bulk request which deletes these users.
fn deletions(users: impl IntoIterator<Item = String>) -> Value {
    let one = |user| json!({ "method": "DELETE", "path": format!("/Users/{user}") });
    json!({ "schemas": [BULK], "Operations": users.into_iter().map(one).collect::<Vec<_>>() })
}

fn remaining(reply: &Reply) -> u32 {
    reply.header("ratelimit-remaining").parse().unwrap_or_else(|_| panic!("{reply}: {:?}", reply.headers))
}

#[tokio::test]
async fn a_realm_without_a_limit_is_not_counted() {
    let realm = World::realm().await;
    let reply = realm.get("/Users").await;
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("ratelimit")), "{:?}", reply.headers);
}

#[tokio::test]
async fn who_sends_too_much_is_told_when_to_come_back_and_what_to_ask_for() {
    let realm = limited(1, 5).await;
    let first = realm.get("/Users").await;
    assert_eq!((first.header("ratelimit-limit"), remaining(&first)), ("5", 4));
    assert_eq!(first.header("ratelimit-reset"), "1");
    let refused = spend(&realm).await;
    assert_eq!(refused.summary(), "429 Too Many Requests");
    assert!(refused.detail().contains("1 requests per second, and 5 at once"), "{refused}");
    assert_eq!((refused.header("retry-after"), remaining(&refused)), ("1", 0));
    let reset: u32 = refused.header("ratelimit-reset").parse().expect("seconds");
    assert!((3..=5).contains(&reset), "{reset}");
    let metrics = World::shared().management().get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.bytes).into_owned();
    assert!(metrics.contains(r#"realmgate_rate_limited_total{lane="normal",outcome="refused"}"#), "{metrics}");

    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(realm.get("/Users").await.status, 200, "it came back when it was told to");
}

#[tokio::test]
async fn a_stranger_spends_nobodys_budget() {
    let realm = limited(1, 5).await;
    for caller in [realm.anonymous(), realm.bearer("rgs_wrong")] {
        for _ in 0..10 {
            assert_eq!(caller.get("/Users").await.status, 401);
        }
    }
    assert_eq!(remaining(&realm.get("/Users").await), 4);
}

#[tokio::test]
async fn a_bulk_request_counts_as_its_number_of_operations() {
    let realm = limited(1, 100).await;
    let reply = realm.post("/Bulk", deletions((0..30).map(|n| n.to_string()))).await;
    assert_eq!((reply.status.as_u16(), remaining(&reply)), (200, 70));
    let reply = realm.post("/Bulk", deletions((0..170).map(|n| n.to_string()))).await;
    assert_eq!((reply.status.as_u16(), remaining(&reply)), (200, 0), "begun within the budget, it is done whole");
    let refused = realm.get("/Users").await;
    assert_eq!(refused.status, 429);
    let wait: u32 = refused.header("retry-after").parse().expect("seconds");
    assert!((80..=101).contains(&wait), "and paid for afterwards: {wait}");
}

#[tokio::test]
async fn once_the_budget_is_spent_only_what_takes_access_away_passes_and_it_too_within_its_reserve() {
    let realm = limited(1, 40).await;
    let mut users = Vec::new();
    for name in ["ada", "bob", "cyd", "dan", "eve"] {
        users.push(realm.user(name).await);
    }
    let [ada, bob, cyd, dan, eve] = <[String; 5]>::try_from(users).expect("there are five");
    let group = realm.group("staff", &[&ada, &bob]).await;
    // So much is owed that no time of the test earns a place.
    assert_eq!(realm.post("/Bulk", deletions((0..500).map(|n| n.to_string()))).await.status, 200);
    let title = json!([{ "op": "replace", "path": "title", "value": "x" }]);
    let joins = json!([{ "op": "add", "path": "members", "value": [{ "value": cyd }] }]);
    let user = |active: bool| json!({ "schemas": [USER], "userName": "bob", "active": active });
    for refused in [
        realm.get(&format!("/Users/{ada}")).await,
        realm.operations(&format!("/Users/{ada}"), title).await,
        realm.operations(&format!("/Groups/{group}"), joins).await,
        realm.put(&format!("/Users/{bob}"), user(true)).await,
        realm.post("/Bulk", deletions([])).await,
    ] {
        assert_eq!(refused.status, 429, "{refused}");
    }
    let inactive = json!([{ "op": "Replace", "value": { "active": "False" } }]);
    let leaves = json!([{ "op": "remove", "path": format!("members[value eq \"{ada}\"]") }]);
    let passed = [
        realm.operations(&format!("/Users/{ada}"), inactive).await,
        realm.put(&format!("/Users/{bob}"), user(false)).await,
        realm.operations(&format!("/Groups/{group}"), leaves).await,
        realm.delete(&format!("/Users/{cyd}")).await,
        realm.post("/Bulk", deletions([dan, eve])).await,
    ];
    for reply in &passed {
        assert!(reply.status.is_success(), "{reply}");
        assert_eq!(reply.header("ratelimit-limit"), "8", "a fifth of the limit");
    }
    let mut more = 0;
    while realm.delete("/Users/nobody").await.status == 404 {
        more += 1;
        assert!(more < 20, "the reserve has an end as well");
    }
    realm.policy("rate_limit", Value::Null).await;
    assert_eq!(realm.members_of(&group).await, [bob]);
    let metrics = World::shared().management().get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.bytes).into_owned();
    assert!(metrics.contains(r#"realmgate_rate_limited_total{lane="reserved",outcome="served"}"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_in_one_realm_is_refused_and_the_other_realm_and_the_leavers_do_not_notice() {
    let (noisy, quiet) = (limited(20, 40).await, World::realm().await);
    let leaver = noisy.user("leaver").await;
    let flood = tokio::spawn(Flood::of([noisy.idp(), noisy.idp()], Duration::from_secs(2)));
    let begun = Instant::now();
    let mut served = 0;
    while begun.elapsed() < Duration::from_millis(1_500) {
        let reply = quiet.create_user(json!({ "schemas": [USER], "userName": format!("u{served}") })).await;
        assert_eq!(reply.status, 201, "{reply}");
        served += 1;
    }
    let inactive = json!([{ "op": "replace", "path": "active", "value": false }]);
    let left = noisy.operations(&format!("/Users/{leaver}"), inactive).await;
    assert_eq!((left.status.as_u16(), &left.json()["active"]), (200, &json!(false)), "{left}");
    let flood = flood.await.expect("it ends");
    let most = 40.0 + 20.0 * flood.took.as_secs_f64() + 1.0;
    assert!(f64::from(flood.let_in()) <= most && flood.seen.contains(&429), "{} let in", flood.let_in());
}

#[tokio::test]
async fn a_limit_of_nothing_is_refused_by_name_and_null_is_the_default() {
    let realm = limited(1, 1).await;
    for (wrong, named) in [
        (limit(0, 1), "nonzero"),
        (json!({ "requests_per_second": 5 }), "burst"),
        (json!({ "requests_per_second": 5, "burst": 5, "per": "minute" }), "per"),
    ] {
        let reply = realm.admin.patch("/scim/policy", json!({ "rate_limit": wrong })).await;
        assert_eq!(reply.status, 400, "{wrong}");
        let message = reply.text_at("errorMessage");
        assert!(message.contains("rate_limit") && message.contains(named), "{message}");
    }
    realm.policy("rate_limit", Value::Null).await;
    for _ in 0..5 {
        assert_eq!(realm.get("/Users?count=0").await.status, 200);
    }
}
