//! A token that was taken away opens nothing from the next request on (DESIGN 5). On every node: see `nodes`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{Caller, Realm, World};

/// Sixteen clients which use a token without a pause, and note each answer given to a request sent after `revoked`.
pub struct Hammer {
    revoked: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<u16>>,
}

impl Hammer {
    pub fn start(callers: impl IntoIterator<Item = (Caller, &'static str)>) -> Self {
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
    pub async fn finish(self) -> Vec<u16> {
        self.revoked.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(700)).await;
        self.stop.store(true, Ordering::SeqCst);
        self.clients.join_all().await.concat()
    }
}

pub async fn rotate(realm: &Realm) -> String {
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
