//! Which endpoints this node sends to: it says that it is there, takes its share of what nobody has, leaves to others what
//! is more than that, and keeps a task for each.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{Shared, endpoint::Endpoint, writer};
use crate::{
    model::{RealmId, WebhookId, webhook::Progress},
    store::{
        Store,
        error::{Error, Result},
        senders::{self, Lease},
        webhooks,
    },
    telemetry,
};

/// How long a node which is not heard of keeps its endpoints.
const LIFE: Duration = Duration::from_secs(10);
/// The node itself counts a little less: clocks, and the way to the endpoint, differ.
const MARGIN: Duration = Duration::from_secs(2);
/// Time between two signs of life.
const BEAT: Duration = Duration::from_secs(2);
/// Between two looks at the register, however much changes.
const PAUSE: Duration = Duration::from_millis(100);
/// Endpoints which one statement takes.
const CLAIM: i64 = 1_000;
/// How long attempts in flight may take when the node stops.
const GRACE: Duration = Duration::from_secs(2);

/// How long attempts are kept, how often it is looked for older ones, and how many one statement deletes.
const ATTEMPTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
const PIECE: i64 = 5_000;

/// The tasks of this node, by endpoint.
struct Tasks {
    shared: Arc<Shared>,
    records: mpsc::Sender<Progress>,
    running: HashMap<(RealmId, WebhookId), Task>,
    /// Tasks whose lease has ended: an attempt may be in flight still.
    ending: HashMap<(RealmId, WebhookId), JoinHandle<()>>,
}

/// Ends, at a good moment, when its lease is dropped.
struct Task {
    lease: watch::Sender<Lease>,
    handle: JoinHandle<()>,
}

/// Until `stop` is told and all is written.
pub(super) async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let (store, sender) = (shared.store.clone(), Uuid::now_v7());
    let (records, written) = mpsc::channel(writer::BATCH);
    let writer = tokio::spawn(writer::run(store.clone(), sender, written));
    let sweeping = tokio::spawn(sweep(store.clone()));
    let mut tasks = Tasks { shared, records, running: HashMap::new(), ending: HashMap::new() };
    loop {
        // Before the look: what changes while it lasts is heard.
        let mut heard = store.pulse().listen();
        let begun = Instant::now();
        if let Err(error) = look(&store, sender, &mut tasks).await {
            debug!(%error, "nobody could say which webhooks are this node's");
        }
        let hears = async {
            // Neither outcome tells more than to look again.
            let _ = heard.recv().await;
            sleep_until(begun + PAUSE).await;
        };
        tokio::select! {
            () = hears => {}
            () = sleep(BEAT) => {}
            // It is dropped only when nobody is there any more to tell it.
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    sweeping.abort();
    tasks.finish().await;
    // Ends when nobody has anything to write.
    let _ = writer.await;
    if let Err(error) = senders::leave(&store, sender).await {
        debug!(%error, "the other nodes learn only by the clock that this one sends no more");
    }
}

async fn look(store: &Store, sender: Uuid, tasks: &mut Tasks) -> Result<()> {
    let asked = Instant::now();
    let seen = senders::beat(store, sender, LIFE).await?;
    telemetry::webhooks_parked(seen.parked);
    tasks.shared.until.send_replace(asked + LIFE.saturating_sub(MARGIN));
    let share = seen.endpoints.div_euclid(seen.others + 1) + i64::from(seen.endpoints % (seen.others + 1) > 0);
    let share = usize::try_from(share).unwrap_or_default();
    let mut leases = senders::leased(store, sender).await?;
    while leases.len() < share {
        let room = i64::try_from(share - leases.len()).unwrap_or(CLAIM).min(CLAIM);
        if senders::claim(store, sender, room).await? == 0 {
            break;
        }
        leases = senders::leased(store, sender).await?;
    }
    let left = leases.split_off(share.min(leases.len()));
    tasks.follow(leases);
    let given_up = tasks.ended_of(&left);
    if !given_up.is_empty() {
        info!(webhooks = given_up.len(), "some webhooks are left to the other nodes");
        senders::release(store, sender, &given_up).await?;
    }
    Ok(())
}

impl Tasks {
    /// There is a task for each of these endpoints, and no other goes on.
    fn follow(&mut self, leases: Vec<Lease>) {
        let mut before = mem::take(&mut self.running);
        for lease in leases {
            let key = (lease.realm, lease.webhook);
            let task = match before.remove(&key).filter(|task| !task.handle.is_finished()) {
                Some(task) => {
                    task.lease.send_if_modified(|known| mem::replace(known, lease) != lease);
                    task
                }
                None => self.begin(lease),
            };
            self.running.insert(key, task);
        }
        self.ending.extend(before.into_iter().map(|(key, task)| (key, task.handle)));
    }

    /// Those of the endpoints to which nobody sends here any more.
    fn ended_of(&mut self, leases: &[Lease]) -> Vec<(RealmId, WebhookId)> {
        self.ending.retain(|_, handle| !handle.is_finished());
        let keys = leases.iter().map(|lease| (lease.realm, lease.webhook));
        keys.filter(|key| !self.ending.contains_key(key)).collect()
    }

    fn begin(&mut self, lease: Lease) -> Task {
        // Two must not send to one endpoint.
        if let Some(former) = self.ending.remove(&(lease.realm, lease.webhook)) {
            former.abort();
        }
        let (sender, receiver) = watch::channel(lease);
        let endpoint =
            Endpoint { shared: self.shared.clone(), lease: receiver, records: self.records.clone(), place: None };
        Task { lease: sender, handle: tokio::spawn(endpoint.run()) }
    }

    /// Lets attempts in flight end, if that is soon.
    async fn finish(self) {
        // With each lease dropped, its task begins nothing more.
        let ending = self.running.into_values().map(|task| task.handle);
        let mut handles: Vec<_> = ending.chain(self.ending.into_values()).collect();
        let all = async {
            for handle in &mut handles {
                let _ = handle.await;
            }
        };
        if timeout(GRACE, all).await.is_err() {
            info!("some webhooks take their time to answer: they get the event again");
            handles.iter().for_each(JoinHandle::abort);
        }
    }
}

/// Deletes attempts which are too old, again and again, for as long as the node sends.
async fn sweep(store: Store) {
    loop {
        if let Err(error) = sweep_once(&store).await {
            debug!(%error, "old attempts of webhooks were not deleted, it is tried again");
        }
        sleep(SWEEP_EVERY).await;
    }
}

async fn sweep_once(store: &Store) -> Result<()> {
    let mut after = RealmId(Uuid::nil());
    loop {
        let realms = senders::realms(store, after).await?;
        let Some((last, _)) = realms.last() else { return Ok(()) };
        after = *last;
        for (realm, epoch) in realms {
            match sweep_realm(store, realm, epoch).await {
                // It has changed meanwhile, or is gone: its turn comes again.
                Ok(()) | Err(Error::Stale) => {}
                Err(error @ Error::Unavailable(_)) => return Err(error),
                // Those behind it have their turn all the same.
                Err(error) => warn!(%error, realm.id = %realm, "old attempts of a realm could not be deleted"),
            }
        }
    }
}

async fn sweep_realm(store: &Store, realm: RealmId, epoch: i64) -> Result<()> {
    let before = first_id_at(Timestamp::now().saturating_sub(ATTEMPTS_KEPT).unwrap_or(Timestamp::MIN));
    let mut webhook = WebhookId(Uuid::nil());
    while let Some(next) = webhooks::next_with_attempts(store.enter(realm, epoch).await?, webhook).await? {
        webhook = next;
        while webhooks::delete_attempts(store.enter(realm, epoch).await?, webhook, before, PIECE).await? >= PIECE {}
    }
    Ok(())
}

/// The smallest UUIDv7 of that time.
fn first_id_at(at: Timestamp) -> Uuid {
    let millis = u128::try_from(at.as_millisecond()).unwrap_or_default();
    Uuid::from_u128(millis << 80)
}
