//! The sequencer: moves committed changes from the outbox into each realm's sequence.
//!
//! A node is woken by its own commits, at once and without asking anybody. What another node left behind when it died
//! is found within [`LOOK_EVERY`]. Two nodes at one partition wait for each other, by its row in the database.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
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
const GATHER: Duration = Duration::from_millis(5);
/// How often it is looked whether something was left behind.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many rows of realms whose partitions are known, before they are looked up anew.
const KNOWN: usize = 100_000;

/// Runs for as long as the process lives.
pub(super) async fn run(feed: Feed) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut partitions = HashMap::new();
    loop {
        let begun = Instant::now();
        let outcome = tokio::select! {
            realms = feed.store.written().next() => move_of(&feed, &mut partitions, realms).await,
            _ = look.tick() => look_around(&feed).await,
        };
        if let Err(error) = outcome {
            // What waits goes on waiting, and is found by the next look.
            debug!(%error, "the outbox was not emptied");
        }
        sleep_until(begun + GATHER).await;
    }
}

/// Moves what is in the partitions of these realms.
async fn move_of(feed: &Feed, known: &mut HashMap<RealmId, usize>, realms: HashSet<RealmId>) -> Result<()> {
    if known.len() > KNOWN {
        known.clear();
    }
    let mut due = HashSet::new();
    for realm in realms {
        let partition = match known.get(&realm) {
            Some(partition) => *partition,
            None => *known.entry(realm).or_insert(events::partition_of(&feed.store, realm).await?),
        };
        due.insert(partition);
    }
    join_all(due.into_iter().map(|partition| drain(feed, partition))).await.into_iter().collect()
}

/// Finds what a node left behind which is gone, and tells how much waits; hears what was not told.
async fn look_around(feed: &Feed) -> Result<()> {
    let waiting = events::waiting(&feed.store).await?;
    telemetry::outbox(
        waiting.iter().map(|waiting| waiting.rows).sum(),
        waiting.iter().filter_map(|waiting| waiting.since).min().map(age),
    );
    let due = waiting.iter().filter(|waiting| waiting.rows > 0).map(|waiting| drain(feed, waiting.partition));
    join_all(due).await.into_iter().collect::<Result<()>>()?;
    feed.look().await
}

fn age(since: Timestamp) -> Duration {
    Timestamp::now().duration_since(since).try_into().unwrap_or_default()
}

/// Moves all that is committed in the partition.
async fn drain(feed: &Feed, partition: usize) -> Result<()> {
    debug_assert!(partition < PARTITIONS, "the database has as many partitions as we know");
    loop {
        let tells = !feed.store.pulse().is_alone();
        let moved = events::step(&feed.store, partition, tells).await.inspect_err(|error| {
            warn!(%error, ?error, partition, "events were not given their places; it is tried again");
        })?;
        telemetry::events(moved.rows);
        for (realm, seq) in moved.heads {
            feed.raise(realm, seq);
        }
        if moved.rows < STEP {
            return Ok(());
        }
    }
}
