//! What happened, told.
//!
//! Lives here: the sequencer, which gives committed changes their places; who is told at once that there are new ones;
//! how long they are kept. Not here: what an event says (`model::event`), SQL.
//!
//! **Invariant:** whoever waits here waits for a hint. What there is, the store says.

mod retention;
mod revocations;
mod sequencer;
mod signature;
pub mod webhook;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    model::{
        RealmId,
        event::{Event, Places},
        realm::Realm,
    },
    store::{
        Store,
        error::Result,
        events::{self, Stretch},
    },
};

/// How long those wait for whom there is no place.
const SOON: Duration = Duration::from_millis(500);
/// How long nobody hears of any realm before he looks for himself.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How the feed works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How often it is looked for events which are too old.
    pub sweep_every: Duration,
    /// How many may wait for events at once.
    pub waiting: usize,
    /// How many live feeds may be open at once: fewer than there are places for answers which take long, so that they
    /// stand in nobody's way.
    pub live: usize,
}

/// How far each realm has come, for whoever waits for that. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    store: Store,
    heads: Arc<Mutex<HashMap<RealmId, watch::Sender<i64>>>>,
    moved: broadcast::Sender<RealmId>,
    waiting: Arc<Semaphore>,
    live: Arc<Semaphore>,
}

impl Feed {
    /// Starts the sequencer, whoever deletes what is too old, and whoever looks for what is late.
    pub fn start(store: &Store, options: Options) -> Self {
        let [waiting, live] = [options.waiting, options.live].map(|places| Arc::new(Semaphore::new(places)));
        let feed =
            Self { store: store.clone(), heads: Arc::default(), moved: broadcast::channel(1024).0, waiting, live };
        tokio::spawn(sequencer::run(feed.clone()));
        tokio::spawn(feed.clone().follow());
        tokio::spawn(retention::sweep(store.clone(), options.sweep_every));
        tokio::spawn(revocations::watch(store.clone()));
        feed
    }

    /// The realm's last event as far as this node has heard, 0 if it has not. Read the store after this and before
    /// waiting for a change.
    pub fn head(&self, realm: RealmId) -> watch::Receiver<i64> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.entry(realm).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Hears which realms have new events, on whichever node they were made. Who lags behind has missed some.
    pub fn moved(&self) -> broadcast::Receiver<RealmId> {
        self.moved.subscribe()
    }

    /// Events of the realm behind `after`, of the named kinds or, if none is named, of all.
    pub async fn after(&self, realm: &Realm, after: i64, limit: usize, names: &[String]) -> Result<Stretch> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        events::after(self.store.enter(realm.id, realm.epoch).await?, after, limit, names).await
    }

    /// Events of all realms behind `places`, with the names of the realms, and the places to go on from.
    pub async fn after_places(&self, places: Places, limit: usize) -> Result<(Vec<(String, Event)>, Places)> {
        events::after_places(&self.store, places, limit).await
    }

    /// The places behind the last events of all realms.
    pub async fn places(&self) -> Result<Places> {
        events::places(&self.store).await
    }

    /// A place for a live feed, for as long as it is open; `None` if there are too many.
    pub fn live_place(&self) -> Option<OwnedSemaphorePermit> {
        self.live.clone().try_acquire_owned().ok()
    }

    /// Returns when the realm has come beyond `seq`, or at `end`, or soon if too many wait already.
    pub async fn beyond(&self, mut head: watch::Receiver<i64>, seq: i64, end: Instant) {
        let Ok(_place) = self.waiting.try_acquire() else { return sleep(SOON).await };
        // Neither outcome tells more than to look again.
        let _ = timeout_at(end, head.wait_for(|known| *known > seq)).await;
    }

    /// Returns when any realm has new events, or at `end`, or soon if too many wait already; and after a
    /// while, since a hint may be lost.
    pub async fn any(&self, mut moved: broadcast::Receiver<RealmId>, end: Instant) {
        let Ok(_place) = self.waiting.try_acquire() else { return sleep(SOON).await };
        let _ = timeout_at(end.min(Instant::now() + LOOK_AGAIN), moved.recv()).await;
    }

    /// The realm has come up to `seq`.
    fn raise(&self, realm: RealmId, seq: i64) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = heads.get(&realm) {
            if head.is_closed() {
                heads.remove(&realm);
            } else {
                head.send_if_modified(|known| {
                    let is_news = seq > *known;
                    *known = seq.max(*known);
                    is_news
                });
            }
        }
    }

    /// The realm has come up to `seq`, and that is news.
    fn tell(&self, realm: RealmId, seq: i64) {
        self.raise(realm, seq);
        let _ = self.moved.send(realm);
    }

    /// Asks the store how far those realms have come for which somebody waits.
    async fn look(&self) -> Result<()> {
        let awaited: Vec<RealmId> = {
            let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
            heads.retain(|_, head| !head.is_closed());
            heads.iter().filter(|(_, head)| head.receiver_count() > 0).map(|(realm, _)| *realm).collect()
        };
        if !awaited.is_empty() {
            for (realm, seq) in events::heads(&self.store, &awaited).await? {
                self.raise(realm, seq);
            }
        }
        Ok(())
    }

    /// Hears what other nodes tell, for as long as the process lives.
    async fn follow(self) {
        let mut heard = self.store.pulse().listen_to_events();
        loop {
            match heard.recv().await {
                Ok(Some((realm, seq))) => self.tell(realm, seq),
                Ok(None) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    // The sequencer looks again within a second.
                    let _ = self.look().await;
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}
