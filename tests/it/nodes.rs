//! Two nodes on one database, joined by Redis: what one changes the other knows, what both let in is counted together,
//! and neither needs Redis to serve anybody (DESIGN 5 and 9, SECURITY 2, rows 4 and 5).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    process::{Postgres, Redis, turn, unique},
    rate_limit::{BULK, Flood, limit},
    revocation::{Hammer, rotate},
    world::{Caller, Realm, USER, World},
};

/// By when the other node has heard of a change. On a calm machine it takes a tenth of it (SECURITY 2, row 5).
const HEARD_WITHIN: Duration = Duration::from_secs(2);

type Harm = fn(&mut Redis);

/// Two nodes and what they stand on.
struct Pair {
    here: World,
    there: World,
    redis: Redis,
    _postgres: Postgres,
}

impl Pair {
    /// Both hear each other.
    async fn start() -> Self {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        let settings = [("REALMGATE_DATABASE_URL", postgres.url()), ("REALMGATE_REDIS_URL", redis.url())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let pair = Self { here: World::with(&settings), there: World::with(&settings), redis, _postgres: postgres };
        pair.say_of_redis("UP").await;
        pair
    }

    /// Waits until both nodes say that of Redis, as detail of their readiness and in their metrics.
    async fn say_of_redis(&self, word: &str) {
        for node in [&self.here, &self.there] {
            let since = Instant::now();
            let gauge = format!("realmgate_redis_connected {}", u8::from(word == "UP"));
            loop {
                let ready = node.management().get("/health/ready").await;
                assert_eq!(ready.status, 200, "a node needs no Redis to be ready: {ready}");
                let checks = ready.json()["checks"].clone();
                let redis = checks.as_array().into_iter().flatten().find(|check| check["name"] == "redis");
                let redis = redis.unwrap_or_else(|| panic!("no word of Redis in {checks}"));
                let metrics = node.management().get("/metrics").await;
                let counts = String::from_utf8_lossy(&metrics.bytes).lines().any(|line| line == gauge);
                if redis["status"] == word && counts {
                    let tells_what_it_means = redis["data"]["rate_limits"] == "counted by this node alone";
                    assert_eq!(tells_what_it_means, word == "DOWN", "{redis}");
                    break;
                }
                assert!(since.elapsed() < Duration::from_secs(15), "{checks}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Questions of the nodes about budgets which Redis did not answer in time.
    async fn unanswered(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for node in [&self.here, &self.there] {
            let metrics = node.management().get("/metrics").await;
            let metrics = String::from_utf8_lossy(&metrics.bytes).into_owned();
            lines.extend(metrics.lines().filter(|line| line.contains("\"unanswered\"")).map(str::to_owned));
        }
        lines
    }

    /// Callers at both nodes in turn.
    fn at_both(&self, caller: &Caller) -> [Caller; 2] {
        [caller.on(&self.here), caller.on(&self.there)]
    }
}

/// Sixteen clients, half of them at each node, use the caller's credential while `revoke` takes it away: none is let in
/// who came after the answer.
async fn takes_hold_at_once(pair: &Pair, what: &str, caller: &Caller, revoke: impl AsyncFnOnce()) {
    let both = pair.at_both(caller);
    for caller in &both {
        for path in ["/Users?count=0", "/ServiceProviderConfig"] {
            assert_eq!(caller.get(path).await.status, 200, "{what}: before it");
        }
    }
    let hammer = Hammer::start((0..16).map(|n| (both[n % 2].clone(), "/Users?count=0")));
    revoke().await;
    let answered = Instant::now();
    let mut known = Duration::ZERO;
    for caller in &both {
        // What needs no store is known by what the nodes tell each other.
        while caller.get("/ServiceProviderConfig").await.status == 200 {
            assert!(answered.elapsed() < HEARD_WITHIN, "{what}");
        }
        known = known.max(answered.elapsed());
    }
    let late = hammer.finish().await;
    println!("{what}: known to both nodes after {known:?}, {} requests refused", late.len());
    assert!(!late.is_empty() && late.iter().all(|status| [401, 404].contains(status)), "{what}: {late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_takes_away_the_other_refuses_from_the_next_request_on() {
    let pair = Pair::start().await;
    let realm = pair.here.new_realm().await;
    let domain = format!("id-{}.example", unique());
    assert_eq!(realm.admin.post("/domains", json!({ "domain": domain })).await.status, 201);
    let by_domain = realm.at_root().below("/scim/v2").header("Host", &domain);

    for _ in 0..3 {
        let token = rotate(&realm).await;
        takes_hold_at_once(&pair, "a rotation", &realm.bearer(&token), async || drop(rotate(&realm).await)).await;
    }
    let token = rotate(&realm).await;
    takes_hold_at_once(&pair, "a removed domain", &by_domain.bearer(&token), async || {
        assert_eq!(realm.admin.delete(&format!("/domains/{domain}")).await.status, 204);
    })
    .await;
    takes_hold_at_once(&pair, "a disabled realm", &realm.bearer(&token), async || enable(&realm, false).await).await;
    enable(&realm, true).await;
    takes_hold_at_once(&pair, "SCIM switched off", &realm.bearer(&token), async || {
        assert_eq!(realm.admin.post("/scim/disable", json!({})).await.status, 204);
    })
    .await;
}

async fn enable(realm: &Realm, enabled: bool) {
    let reply = realm.admin.put("", json!({ "realm": realm.name, "enabled": enabled })).await;
    assert!(reply.status.is_success(), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_other_node_refuses_a_rotated_token_as_quickly() {
    let postgres = Postgres::start();
    let (here, there) = (World::on(&postgres), World::on(&postgres));
    let realm = here.new_realm().await;
    for _ in 0..5 {
        let token = rotate(&realm).await;
        let other_node = realm.bearer(&token).on(&there);
        assert_eq!(other_node.get("/Users").await.status, 200);
        assert_eq!(other_node.get("/ServiceProviderConfig").await.status, 200);
        let hammer = Hammer::start((0..8).map(|_| (other_node.clone(), "/Users?count=0")));
        let new = rotate(&realm).await;
        let late = hammer.finish().await;
        assert!(!late.is_empty() && late.iter().all(|status| *status == 401), "{late:?}");
        assert_eq!(other_node.get("/ServiceProviderConfig").await.status, 401);
        assert_eq!(realm.bearer(&new).on(&there).get("/Users").await.status, 200);
    }
    let odd = |name: &str| json!({ "schemas": [USER], "userName": name, "shoeSize": 44 });
    let other_node = realm.bearer(&rotate(&realm).await).on(&there);
    assert_eq!(other_node.post("/Users", odd("ada")).await.status, 201);
    realm.policy("unknown_attributes", "reject").await;
    assert_eq!(other_node.post("/Users", odd("bob")).await.status, 400, "a policy holds on both nodes");
}

/// Clients at both nodes who are always to be served.
struct Customers {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<(u16, Duration)>>,
}

impl Customers {
    fn start(callers: impl IntoIterator<Item = Caller>) -> Self {
        let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for caller in callers {
            let stop = stop.clone();
            clients.spawn(async move {
                let mut seen = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    for path in ["/Users?count=1", "/ServiceProviderConfig"] {
                        let reply = caller.get(path).await;
                        seen.push((reply.status.as_u16(), reply.took));
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                seen
            });
        }
        Self { stop, clients }
    }

    async fn were_all_served(self) {
        self.stop.store(true, Ordering::SeqCst);
        let mut seen = self.clients.join_all().await.concat();
        seen.sort_by_key(|(_, took)| *took);
        let p99 = seen[seen.len() * 99 / 100].1;
        println!("{} requests served, 99 % of them within {p99:?}", seen.len());
        assert!(seen.iter().all(|(status, _)| *status == 200), "{seen:?}");
        assert!(p99 < Duration::from_secs(1), "{p99:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_redis_killed_or_frozen_everybody_is_served_and_what_is_taken_away_is_gone_on_both_nodes() {
    let _turn = turn().await;
    let mut pair = Pair::start().await;
    let busy = pair.here.new_realm().await;
    busy.policy("rate_limit", limit(100_000, 100_000)).await;
    let realm = pair.here.new_realm().await;
    let harms: [(&str, Harm, Harm); 2] =
        [("killed", Redis::kill, Redis::resume), ("frozen", |redis| redis.freeze(), |redis| redis.thaw())];
    for (harm, begin, end) in harms {
        let customers = Customers::start(pair.at_both(&busy).into_iter().cycle().take(4));
        let unheard = pair.at_both(&realm.bearer(&rotate(&realm).await));
        for caller in &unheard {
            assert_eq!(caller.get("/ServiceProviderConfig").await.status, 200);
        }
        tokio::task::block_in_place(|| begin(&mut pair.redis));
        rotate(&realm).await;
        for caller in &unheard {
            assert_eq!(caller.get("/Users").await.status, 401, "{harm}, and nobody has noticed yet");
        }
        pair.say_of_redis("DOWN").await;
        let token = rotate(&realm).await;
        takes_hold_at_once(&pair, harm, &realm.bearer(&token), async || drop(rotate(&realm).await)).await;
        nothing_is_known_for_long(&pair, &realm.bearer(&rotate(&realm).await), &realm.name).await;

        tokio::task::block_in_place(|| end(&mut pair.redis));
        pair.say_of_redis("UP").await;
        for path in ["/Users", "/ServiceProviderConfig"] {
            for caller in &unheard {
                assert_eq!(caller.get(path).await.status, 401, "{harm}: what nobody heard holds after the return");
            }
        }
        let token = rotate(&realm).await;
        takes_hold_at_once(&pair, "it hears again", &realm.bearer(&token), async || drop(rotate(&realm).await)).await;
        customers.were_all_served().await;
    }
}

/// What nobody tells the nodes, as behind a pooler which swallows what Postgres says, they find out by themselves.
async fn nothing_is_known_for_long(pair: &Pair, caller: &Caller, realm: &str) {
    let sql = pair.here.superuser().await;
    for (enabled, status) in [(false, 401), (true, 200)] {
        let silently = "UPDATE realms SET enabled = $2 WHERE name = $1";
        assert_eq!(sql.execute(silently, &[&realm, &enabled]).await.expect("the realm is there"), 1);
        let since = Instant::now();
        for caller in pair.at_both(caller) {
            // With Redis they would rely on what they know for half a minute.
            while caller.get("/Users?count=0").await.status != status {
                assert!(since.elapsed() < Duration::from_secs(10), "still not {status}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_for_both_nodes_together_and_for_each_alone_without_redis() {
    const RATE: u32 = 20;
    const BURST: u32 = 60;
    let _turn = turn().await;
    let mut pair = Pair::start().await;
    let most =
        |nodes: u32, took: Duration| f64::from(nodes) * (f64::from(BURST) + f64::from(RATE) * took.as_secs_f64());

    together(&pair, async || {
        let realm = limited(&pair, RATE, BURST).await;
        let flood = Flood::of(pair.at_both(&realm), Duration::from_secs(3)).await;
        println!("both nodes let in {} of {} requests in {:?}", flood.let_in(), flood.seen.len(), flood.took);
        assert!(flood.seen.iter().all(|status| [200, 429].contains(status)), "{:?}", flood.seen);
        (f64::from(flood.let_in()), most(1, flood.took) / 2.0, most(1, flood.took) + 1.0)
    })
    .await;

    // A budget which one node has spent is spent on the other.
    together(&pair, async || {
        let realm = limited(&pair, 1, 10).await;
        let [here, there] = pair.at_both(&realm);
        let begun = Instant::now();
        let spent = Flood::of([here], Duration::from_secs(1)).await;
        assert!(spent.let_in() >= 10, "{:?}", spent.seen);
        let left = Flood::of([there], Duration::from_millis(500)).await;
        (f64::from(left.let_in()), 0.0, begun.elapsed().as_secs_f64() + 1.0)
    })
    .await;

    // So is what a bulk request has left to be paid.
    together(&pair, async || {
        let realm = limited(&pair, 1, 10).await;
        let [here, there] = pair.at_both(&realm);
        let begun = Instant::now();
        let missing = (0..10).map(|n| json!({ "method": "DELETE", "path": format!("/Users/{n}") }));
        let reply = here.post("/Bulk", json!({ "schemas": [BULK], "Operations": missing.collect::<Vec<_>>() })).await;
        assert_eq!((reply.status.as_u16(), reply.header("ratelimit-remaining")), (200, "0"), "{reply}");
        let left = Flood::of([there], Duration::from_millis(300)).await;
        (f64::from(left.let_in()), 0.0, begun.elapsed().as_secs_f64() + 1.0)
    })
    .await;

    pair.redis.kill();
    pair.say_of_redis("DOWN").await;
    let realm = limited(&pair, RATE, BURST).await;
    let flood = Flood::of(pair.at_both(&realm), Duration::from_secs(2)).await;
    assert!(f64::from(flood.let_in()) <= most(2, flood.took) + 2.0, "more than the limit on each node");
    assert!(flood.let_in() >= 2 * BURST, "each node alone: {}", flood.let_in());
}

/// Runs what gives a figure, its least and its most, until Redis has answered every question of the nodes meanwhile:
/// on a machine with much to do it may not do so in time, and then each node rightly counts alone.
async fn together(pair: &Pair, run: impl AsyncFn() -> (f64, f64, f64)) {
    for _ in 0..10 {
        let before = pair.unanswered().await;
        let (figure, least, most) = run().await;
        if pair.unanswered().await == before {
            assert!((least..=most).contains(&figure), "{figure} is not within {least} and {most}");
            return;
        }
        // Both nodes leave Redis alone for a second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    panic!("Redis has no time");
}

async fn limited(pair: &Pair, requests_per_second: u32, burst: u32) -> Realm {
    let realm = pair.here.new_realm().await;
    realm.policy("rate_limit", limit(requests_per_second, burst)).await;
    realm
}

#[tokio::test]
async fn what_redis_cannot_have_said_counts_as_nothing() {
    let pair = Pair::start().await;
    let client = redis::Client::open(pair.redis.url()).expect("a URL of Redis");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
    for nonsense in ["nan", "1e999", "-5", "a list"] {
        let realm = limited(&pair, 1, 5).await;
        let admin = realm.admin.get("").await;
        let key = format!("realmgate:quota:{}", admin.id());
        let mut harm = redis::cmd(if nonsense == "a list" { "RPUSH" } else { "SET" });
        harm.arg(&key).arg(nonsense).query_async::<()>(&mut redis).await.expect("Redis takes it");
        let flood = Flood::of([realm.idp()], Duration::from_millis(300)).await;
        assert!(flood.seen.iter().all(|status| [200, 429].contains(status)), "{nonsense}: {:?}", flood.seen);
        let most = 6.0 + flood.took.as_secs_f64();
        assert!(f64::from(flood.let_in()) <= most, "{nonsense} grants nothing: {}", flood.let_in());
    }
}
