//! Webhooks: the events of a realm sent to endpoints of the application, in order and at least once.
//!
//! An endpoint is a cursor over the realm's events, and nothing waits for it anywhere but behind that cursor. One task
//! sends to it (`endpoint`), one event after the other; the node which may do so is told by a lease (`lease`). What came
//! of each attempt is written down for many endpoints at once (`writer`). How a request looks and which answer is good
//! depends on the format of the endpoint, and on nothing else (`attempt`).
//!
//! **Invariant:** nobody holds a connection to the database while waiting for an endpoint.

mod attempt;
mod endpoint;
mod lease;
mod writer;

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use serde_json::json;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::warn;
use uuid::Uuid;

use super::Feed;
use crate::{
    model::{
        Cause, RealmId,
        event::Event,
        realm::Realm,
        webhook::{Attempt, Format, WebhookUrl},
    },
    outbound::{Forbidden, Limits, Outbound},
    secret::KeyRing,
    store::{
        Store,
        error::{Error, Result},
        events, realm_keys, realms, webhooks,
    },
};
use attempt::{Message, Target};

pub use crate::store::webhooks::Kept;

/// What an answer may take, and what is read of it.
pub const LIMITS: Limits = Limits { time: Duration::from_secs(15), body: 4 << 10 };

/// The name of the event which a test sends. It has no place in the realm's sequence.
const TEST: &str = "test";

/// Attempts in flight at once on this node: to endpoints which took the last event, and to those which did not. So who
/// hangs is in the way of nobody else.
const HEALTHY: usize = 1024;
const FAILING: usize = 128;

/// Endpoints which read at once: a node which begins, or takes over from another, leaves the database to those who wait
/// for an answer.
const READING: usize = 4;

/// Events which are read at once.
const STRETCH: usize = 128;
/// Bytes of events which are kept for the other endpoints of a realm, and for how long.
const KEPT: u64 = 64 << 20;
const KEPT_FOR: Duration = Duration::from_secs(10);

/// What sends to webhooks. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    shared: Arc<Shared>,
}

/// The tasks which send.
pub struct Sending {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Shared {
    store: Store,
    feed: Feed,
    ring: KeyRing,
    outbound: Outbound,
    public_url: String,
    healthy: Semaphore,
    failing: Semaphore,
    reading: Semaphore,
    /// By where they begin: endpoints of one realm are about as far, so one reads for all.
    stretches: Cache<(RealmId, i64), Arc<Messages>>,
    /// Until when this node may send, by its own clock.
    until: watch::Sender<Instant>,
}

/// A stretch of a realm's events, ready to be sent.
struct Messages {
    events: Vec<Message>,
    /// Up to which `seq` there are no others.
    scanned: i64,
    oldest: i64,
}

impl Webhooks {
    /// Starts to send, as far as other nodes leave something to do.
    ///
    /// `public_url` is that of the platform, below which realms have theirs.
    pub fn start(store: &Store, feed: &Feed, ring: KeyRing, outbound: Outbound, public_url: String) -> (Self, Sending) {
        let size = |_: &(RealmId, i64), stretch: &Arc<Messages>| {
            let bytes: usize = stretch.events.iter().map(|message| message.body.len() * 2 + 512).sum();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let shared = Arc::new(Shared {
            store: store.clone(),
            feed: feed.clone(),
            ring,
            outbound,
            public_url,
            healthy: Semaphore::new(HEALTHY),
            failing: Semaphore::new(FAILING),
            reading: Semaphore::new(READING),
            stretches: Cache::builder().weigher(size).max_capacity(KEPT).time_to_live(KEPT_FOR).build(),
            until: watch::Sender::new(Instant::now()),
        });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(lease::run(shared.clone(), stopped));
        (Self { shared }, Sending { stop, task })
    }

    /// May events be sent there, as far as can be told now?
    pub async fn permits(&self, url: &WebhookUrl) -> Result<(), Forbidden> {
        match url.as_str().parse() {
            Ok(uri) => self.shared.outbound.permits(&uri).await,
            Err(_) => Ok(()),
        }
    }

    /// Sends an event which is in no sequence, at once and out of line, and tells what came of it within `time`.
    pub async fn test(&self, realm: &Realm, kept: &Kept, cause: &Cause, time: Duration) -> Result<Attempt> {
        let event = Event {
            realm: realm.id,
            seq: 0,
            id: Uuid::now_v7(),
            name: TEST.into(),
            resource_id: realm.id.0,
            version: 0,
            member_id: None,
            attributes: None,
            previous: None,
            facts: json!({ "webhook": kept.webhook.id }),
            actor: cause.actor.clone(),
            request_id: cause.request_id.to_string(),
            at: cause.at,
        };
        self.out_of_line(realm, kept, event, None, time).await
    }

    /// Sends the event `seq` once more, at once and out of line; `None` if the realm does not keep it.
    pub async fn again(&self, realm: &Realm, kept: &Kept, seq: i64, time: Duration) -> Result<Option<Attempt>> {
        let tx = self.shared.store.enter(realm.id, realm.epoch).await?;
        let found = events::after(tx, seq.saturating_sub(1), 1, &[]).await?.events.pop();
        match found.filter(|event| event.seq == seq) {
            Some(event) => self.out_of_line(realm, kept, event, Some(seq), time).await.map(Some),
            None => Ok(None),
        }
    }

    async fn out_of_line(
        &self,
        realm: &Realm,
        kept: &Kept,
        event: Event,
        seq: Option<i64>,
        time: Duration,
    ) -> Result<Attempt> {
        let target = self.shared.target(realm, kept).await?;
        let message = Message::of(event, realm.name.as_str());
        let (attempt, _) = attempt::attempt(&self.shared.outbound, &target, &message, 1, time).await;
        let attempt = Attempt { seq, ..attempt };
        let (store, mut epoch) = (&self.shared.store, realm.epoch);
        // The realm may have changed meanwhile, which is no reason to send it again.
        loop {
            match webhooks::note(store.enter(realm.id, epoch).await?, kept.webhook.id, &attempt).await {
                Err(Error::Stale) => match realms::find(store, realm.id).await? {
                    Some(now) => epoch = now.epoch,
                    None => return Ok(attempt),
                },
                noted => return noted.map(|()| attempt),
            }
        }
    }
}

impl Sending {
    /// Begins no further attempt, and returns when what was done is written down, or `limit` is over.
    pub async fn finish(mut self, limit: Duration) {
        self.stop.send_replace(true);
        if timeout(limit, &mut self.task).await.is_err() {
            warn!("it was not written down in time how far the webhooks came: some events are sent again");
            self.task.abort();
        }
    }
}

impl Shared {
    /// Where and how a webhook's events are sent.
    async fn target(&self, realm: &Realm, kept: &Kept) -> Result<Target> {
        let key = match kept.webhook.format {
            Format::Webhook => None,
            Format::Set => {
                let mut tx = self.store.enter(realm.id, realm.epoch).await?;
                let key = realm_keys::current(&mut tx).await?;
                tx.commit().await?;
                key
            }
        };
        let issuer = format!("{}/realms/{}", self.public_url, realm.name);
        Ok(Target::of(&self.ring, issuer, realm.id, kept, key))
    }

    /// What follows on `cursor` in the realm's sequence, up to [`STRETCH`] events.
    async fn after(&self, realm: &Realm, cursor: i64) -> Result<Arc<Messages>> {
        let key = (realm.id, cursor);
        if let Some(known) = self.stretches.get(&key).await {
            return Ok(known);
        }
        let read = async {
            // Nobody closes it.
            let _turn = self.reading.acquire().await;
            let limit = i64::try_from(STRETCH).unwrap_or(i64::MAX);
            let tx = self.store.enter(realm.id, realm.epoch).await?;
            let stretch = events::after(tx, cursor, limit, &[]).await?;
            let name = realm.name.as_str();
            let events = stretch.events.into_iter().map(|event| Message::of(event, name)).collect();
            Ok(Arc::new(Messages { events, scanned: stretch.scanned, oldest: stretch.oldest }))
        };
        // Who fails, fails for those who waited with it. What is empty today need not be so tomorrow.
        // Boxed: most of the time nothing is read, and each endpoint has a task.
        let stretch = Box::pin(self.stretches.try_get_with(key, read)).await.map_err(|error| copy_of(&error))?;
        if stretch.events.is_empty() {
            self.stretches.invalidate(&key).await;
        }
        Ok(stretch)
    }
}

/// A failure which several wait for.
fn copy_of(error: &Error) -> Error {
    match error {
        Error::Stale => Error::Stale,
        error => Error::Unavailable(error.to_string()),
    }
}
