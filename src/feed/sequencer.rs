//! The sequencer: moves committed changes from the outbox into each realm's sequence.
//!
//! A node is woken by its own commits, at once and without asking anybody. What another node left behind when it died
//! is found within [`LOOK_EVERY`]. Two nodes at one partition wait for each other, by its row in the database.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{debug, warn};

use super::Feed;
use crate::{
    model::RealmId,
    store::{
        error::Result,
        events::{self, PARTITIONS, STEP},
    },
    telemetry,
};

/// Time between two steps of a partition under load: what comes meanwhile is moved together, for a fraction of the work.
const GATHER: Duration = Duration::from_millis(20);
/// Rows of a step after steps which failed, at least.
const LEAST_STEP: i64 = 8;
/// How often it is looked whether something was left behind.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Realms whose partitions are known at most, before they are looked up anew.
const KNOWN: usize = 100_000;

/// Runs for as long as the process lives.
pub(super) async fn run(feed: Feed) {
    let due: [Arc<Notify>; PARTITIONS] = std::array::from_fn(|_| Arc::default());
    for (partition, due) in due.iter().enumerate() {
        tokio::spawn(keep_empty(feed.clone(), partition, due.clone()));
    }
    let (mut look, mut partitions) = (interval(LOOK_EVERY), HashMap::new());
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let outcome = tokio::select! {
            realms = feed.store.written().next() => wake(&feed, &mut partitions, realms, &due).await,
            _ = look.tick() => look_around(&feed, &due).await,
        };
        if let Err(error) = outcome {
            // What waits goes on waiting, and is found by the next look.
            debug!(%error, "it was not looked for changes which wait for their place");
        }
    }
}

/// Moves what is in a partition whenever there is something. Each partition has a task of its own: another node may hold
/// one and be frozen, until the database ends its transaction.
async fn keep_empty(feed: Feed, partition: usize, due: Arc<Notify>) {
    let mut limit = STEP;
    loop {
        due.notified().await;
        let begun = Instant::now();
        match drain(&feed, partition, limit).await {
            Ok(()) => limit = STEP,
            Err(error) => {
                // Large documents may be more than a statement has time for.
                limit = (limit / 4).max(LEAST_STEP);
                warn!(%error, ?error, partition, "changes were not given their places, it is tried again");
            }
        }
        sleep_until(begun + GATHER).await;
    }
}

/// Wakes whoever is at the partitions of these realms.
async fn wake(
    feed: &Feed,
    known: &mut HashMap<RealmId, usize>,
    realms: HashSet<RealmId>,
    due: &[Arc<Notify>; PARTITIONS],
) -> Result<()> {
    if known.len() > KNOWN {
        known.clear();
    }
    for realm in realms {
        let partition = match known.get(&realm) {
            Some(partition) => *partition,
            None => *known.entry(realm).or_insert(events::partition_of(&feed.store, realm).await?),
        };
        due[partition].notify_one();
    }
    Ok(())
}

/// Finds what a node left behind which is gone, and tells how much waits; hears what was not told.
async fn look_around(feed: &Feed, due: &[Arc<Notify>; PARTITIONS]) -> Result<()> {
    let waiting = events::waiting(&feed.store).await?;
    let rows = waiting.iter().map(|waiting| waiting.rows).sum();
    telemetry::outbox(rows, waiting.iter().filter_map(|waiting| waiting.since).min().map(age));
    for waiting in waiting.iter().filter(|waiting| waiting.rows > 0) {
        due[waiting.partition].notify_one();
    }
    feed.look().await
}

fn age(since: Timestamp) -> Duration {
    Timestamp::now().duration_since(since).try_into().unwrap_or_default()
}

/// Moves all that is committed in the partition.
async fn drain(feed: &Feed, partition: usize, limit: i64) -> Result<()> {
    loop {
        let tells = !feed.store.pulse().is_alone();
        let moved = events::step(&feed.store, partition, limit, tells).await?;
        telemetry::events(moved.rows);
        for (realm, seq) in moved.heads {
            feed.tell(realm, seq);
        }
        if moved.rows < limit {
            return Ok(());
        }
    }
}
