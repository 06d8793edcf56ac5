//! Writes down how far endpoints came and what was tried, for all of them at once.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    time::Duration,
};

use tokio::{sync::mpsc, time::sleep};
use tracing::error;
use uuid::Uuid;

use crate::{
    feed::revocations,
    model::{RealmId, WebhookId, webhook::Progress},
    store::{Store, error::Error, senders},
};

/// Attempts of one statement.
pub(super) const BATCH: usize = 4_000;
/// How long an attempt waits for others, so how much may be sent again after a crash.
const GATHER: Duration = Duration::from_millis(100);
/// Time between two attempts while the database is away. Meanwhile the queue fills, and nobody sends.
const RETRY: Duration = Duration::from_millis(500);

/// Until nobody has anything to write.
pub(super) async fn run(store: Store, sender: Uuid, mut records: mpsc::Receiver<Progress>) {
    let mut arrived = Vec::with_capacity(BATCH);
    while records.recv_many(&mut arrived, BATCH).await > 0 {
        if arrived.len() < BATCH && !records.is_closed() {
            sleep(GATHER).await;
            while arrived.len() < BATCH
                && let Ok(progress) = records.try_recv()
            {
                arrived.push(progress);
            }
        }
        write(&store, sender, &merged(mem::take(&mut arrived))).await;
    }
}

async fn write(store: &Store, sender: Uuid, progress: &[Progress]) {
    loop {
        // First: what is not written down is sent again, and acknowledged again.
        let written = match revocations::taken(store, progress).await {
            Ok(()) => senders::record(store, sender, progress).await,
            Err(error) => Err(error),
        };
        match written {
            // An attempt whose answer was lost has written all of it.
            Ok(_) | Err(Error::Taken(_)) => return,
            Err(Error::Unavailable(_) | Error::TooLong | Error::Deadlock) => sleep(RETRY).await,
            Err(cause) => {
                error!(error = %cause, ?cause, "how far webhooks came was not written down: events are sent again");
                return;
            }
        }
    }
}

/// One for each endpoint: where it stands last, with all of its attempts under that fence.
fn merged(arrived: Vec<Progress>) -> Vec<Progress> {
    let mut merged: HashMap<(RealmId, WebhookId), Progress> = HashMap::new();
    for progress in arrived {
        match merged.entry((progress.realm, progress.webhook)) {
            Entry::Vacant(entry) => drop(entry.insert(progress)),
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                if progress.fence == known.fence {
                    (known.cursor, known.state) = (progress.cursor, progress.state);
                    known.attempts.extend(progress.attempts);
                    known.revoked.extend(progress.revoked);
                } else if progress.fence > known.fence {
                    *known = progress;
                }
            }
        }
    }
    merged.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::webhook::State;

    fn progress(webhook: u128, fence: i64, cursor: i64) -> Progress {
        Progress {
            realm: RealmId(Uuid::nil()),
            webhook: WebhookId(Uuid::from_u128(webhook)),
            fence,
            cursor,
            state: State::Active,
            attempts: Vec::new(),
            revoked: Vec::new(),
        }
    }

    #[test]
    fn the_last_word_under_the_newest_fence_counts() {
        let of = |arrived: &[(u128, i64, i64)]| {
            let arrived = arrived.iter().map(|(webhook, fence, cursor)| progress(*webhook, *fence, *cursor)).collect();
            let mut merged: Vec<_> =
                merged(arrived).iter().map(|p| (p.webhook.0.as_u128(), p.fence, p.cursor)).collect();
            merged.sort_unstable();
            merged
        };
        assert_eq!(of(&[(1, 1, 5), (2, 1, 9), (1, 1, 6)]), [(1, 1, 6), (2, 1, 9)]);
        assert_eq!(of(&[(1, 1, 5), (1, 2, 3), (1, 1, 6)]), [(1, 2, 3)], "it was moved back meanwhile");
    }
}
