//! A token that was taken away opens nothing from the next request on, on every node (DESIGN 5).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    process::{Postgres, Redis},
    world::{Caller, Realm, World},
};

/// Sixteen clients which use a token without a pause, and note each answer given to a request sent after `revoked`.
struct Hammer {
    revoked: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<u16>>,
}

impl Hammer {
    fn start(callers: impl IntoIterator<Item = (Caller, &'static str)>) -> Self {
        let (revoked, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut clients = JoinSet::new();
        for (caller, path) in callers {
            let (revoked, stop) = (revoked.clone(), stop.clone());
            clients.spawn(async move {
                let mut late = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let sent_after = revoked.load(Ordering::SeqCst);
                    let status = caller.get(path).await.status.as_u16();
                    if sent_after {
                        late.push(status);
                    }
                }
                late
            });
        }
        Self { revoked, stop, clients }
    }

    /// Call it as soon as the revocation is answered: hammers on for a while, then gives all statuses since then.
    async fn finish(self) -> Vec<u16> {
        self.revoked.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(700)).await;
        self.stop.store(true, Ordering::SeqCst);
        self.clients.join_all().await.concat()
    }
}

async fn rotate(realm: &Realm) -> String {
    let reply = realm.admin.post("/scim/rotate", json!({})).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.text_at("token")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_token_is_refused_at_once_under_sixteen_who_use_it() {
    let realm = World::realm().await;
    let paths = ["/Users?count=0", "/ServiceProviderConfig"];
    for round in 0..3 {
        let token = rotate(&realm).await;
        let hammer = Hammer::start((0..16).map(|n| (realm.bearer(&token), paths[n % 2])));
        let new = rotate(&realm).await;
        let late = hammer.finish().await;
        assert!(!late.is_empty() && late.iter().all(|status| *status == 401), "round {round}: {late:?}");
        assert_eq!(realm.bearer(&new).get("/Users").await.status, 200);
    }
}

#[tokio::test]
async fn a_token_rotated_during_its_first_look_up_does_not_come_back() {
    let realm = World::realm().await;
    let mut token = realm.token.clone();
    for _ in 0..20 {
        let first_uses: JoinSet<_> = (0..8)
            .map(|_| {
                let caller = realm.bearer(&token);
                async move { caller.get("/Users?count=0").await.status.as_u16() }
            })
            .collect();
        let new = rotate(&realm).await;
        first_uses.join_all().await;
        for path in ["/Users?count=0", "/ServiceProviderConfig"] {
            assert_eq!(realm.bearer(&token).get(path).await.status, 401, "{path}");
        }
        token = new;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switching_scim_off_refuses_everything_until_it_is_on_again_with_a_new_token() {
    let realm = World::realm().await;
    let user = realm.user("ada").await;
    let hammer = Hammer::start((0..16).map(|_| (realm.idp(), "/Users?count=0")));
    assert_eq!(realm.admin.post("/scim/disable", json!({})).await.status, 204);
    let late = hammer.finish().await;
    assert!(!late.is_empty() && late.iter().all(|status| *status == 401), "{late:?}");
    assert_eq!(realm.get("/ServiceProviderConfig").await.status, 401);
    let enabled = realm.admin.post("/scim/enable", json!({})).await;
    assert_eq!(enabled.status, 200, "{enabled}");
    assert_eq!(realm.get("/Users").await.status, 401, "the old token stays dead");
    let idp = realm.bearer(&enabled.text_at("token"));
    assert_eq!(idp.get(&format!("/Users/{user}")).await.status, 200, "users are kept");
}

#[tokio::test]
async fn disabling_the_realm_takes_effect_at_once() {
    let realm = World::realm().await;
    assert_eq!(realm.get("/Users").await.status, 200);
    let set = async |enabled: bool| {
        let reply = realm.admin.put("", json!({ "realm": realm.name, "enabled": enabled })).await;
        assert!(reply.status.is_success(), "{reply}");
    };
    set(false).await;
    assert_eq!(realm.get("/Users").await.status, 401);
    assert_eq!(realm.get("/ServiceProviderConfig").await.status, 401);
    set(true).await;
    assert_eq!(realm.get("/Users").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_refuses_it_as_quickly_without_redis() {
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
}

#[tokio::test]
async fn a_change_of_policy_on_one_node_holds_on_the_other() {
    let postgres = Postgres::start();
    let (here, there) = (World::on(&postgres), World::on(&postgres));
    let realm = here.new_realm().await;
    let other_node = realm.on(&there);
    let odd = |name: &str| json!({ "schemas": [crate::world::USER], "userName": name, "shoeSize": 44 });
    assert_eq!(other_node.post("/Users", odd("ada")).await.status, 201);
    realm.policy("unknown_attributes", "reject").await;
    assert_eq!(other_node.post("/Users", odd("bob")).await.status, 400);
}

#[tokio::test]
async fn with_redis_the_other_node_hears_of_it_and_without_it_again_it_asks() {
    let (postgres, mut redis) = (Postgres::start(), Redis::start());
    let settings = [("REALMGATE_DATABASE_URL", postgres.url()), ("REALMGATE_REDIS_URL", redis.url())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (here, there) = (World::with(&settings), World::with(&settings));
    for node in [&here, &there] {
        hearing(node, "UP").await;
    }
    let realm = here.new_realm().await;
    for redis_is_up in [true, false] {
        if !redis_is_up {
            redis.kill();
            hearing(&there, "DOWN").await;
        }
        let token = rotate(&realm).await;
        let other_node = realm.bearer(&token).on(&there);
        for path in ["/Users", "/ServiceProviderConfig"] {
            assert_eq!(other_node.get(path).await.status, 200, "Redis up: {redis_is_up}");
        }
        rotate(&realm).await;
        let rotated = std::time::Instant::now();
        assert_eq!(other_node.get("/Users").await.status, 401, "Redis up: {redis_is_up}");
        while other_node.get("/ServiceProviderConfig").await.status != 401 {
            assert!(rotated.elapsed() < Duration::from_millis(100), "Redis up: {redis_is_up}");
        }
    }
}

/// Waits until the node says that of Redis.
async fn hearing(node: &World, word: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let checks = node.management().get("/health/ready").await.json()["checks"].clone();
        let is_so =
            checks.as_array().is_some_and(|checks| checks.iter().any(|c| c["name"] == "redis" && c["status"] == word));
        if is_so {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{checks}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
