//! Who has lost access, and when an application has said that it knows.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::Feed;
use crate::{
    model::{RealmId, event::Places, webhook::Progress},
    store::{
        Store,
        error::{Error, Result},
        revocations::{self, PIECE, Taken, Waiting},
    },
    telemetry,
};

/// How often it is looked for what is late.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Webhooks have taken events by a 2xx. Of several words, the first counts.
pub(super) async fn taken(store: &Store, progress: &[Progress]) -> Result<()> {
    let of = |progress: &Progress| {
        let (realm, by) = (progress.realm, format!("webhook:{}", progress.webhook));
        progress
            .revoked
            .iter()
            .map(move |(seq, at)| Taken { realm, seq: *seq, by: by.clone(), at: *at })
            .collect::<Vec<_>>()
    };
    let taken: Vec<Taken> = progress.iter().flat_map(of).collect();
    if !taken.is_empty() {
        note(&revocations::acknowledge_each(store, &taken).await?);
    }
    Ok(())
}

fn note(took: &[Duration]) {
    for took in took {
        telemetry::revoked(*took);
    }
}

impl Feed {
    /// A reader of the realm has asked for what is behind `after`, and is not made to wait for this.
    pub fn acknowledge(&self, realm: RealmId, after: i64, at: Timestamp) {
        let store = self.store.clone();
        let piece = move || {
            let store = store.clone();
            async move { revocations::acknowledge(&store, realm, after, at).await }
        };
        tokio::spawn(acknowledge_all(piece));
    }

    /// A reader of all realms has asked for what is behind `places`, and is not made to wait for this.
    pub fn acknowledge_places(&self, places: Places, at: Timestamp) {
        let store = self.store.clone();
        let piece = move || {
            let store = store.clone();
            async move { revocations::acknowledge_places(&store, places, at).await }
        };
        tokio::spawn(acknowledge_all(piece));
    }
}

/// Piece by piece, until there is no more.
async fn acknowledge_all<F: Future<Output = Result<Vec<Duration>>>>(piece: impl Fn() -> F) {
    loop {
        match piece().await {
            Ok(took) => {
                note(&took);
                if took.len() < PIECE {
                    return;
                }
            }
            // The next question of that reader says it again.
            Err(error) => return debug!(%error, "an acknowledgement was not noted"),
        }
    }
}

/// Tells of what is not acknowledged within the policy's bound, for as long as the process lives.
pub(super) async fn watch(store: Store) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if let Err(error) = look_around(&store).await {
            debug!(%error, "late acknowledgements were not looked for");
        }
    }
}

async fn look_around(store: &Store) -> Result<()> {
    let now = Timestamp::now();
    for Waiting { realm, epoch, within, since } in revocations::waiting(store).await? {
        let due = within.before(now);
        if since > due {
            continue;
        }
        match revocations::tell_late(store.enter(realm, epoch).await?, due, now).await {
            // Another node was quicker; or the realm has changed meanwhile or is gone, and its turn comes again.
            Ok(0) | Err(Error::Stale | Error::Deadlock) => {}
            Ok(late) => {
                telemetry::revocations_late(late);
                warn!(realm.id = %realm, late, "no application has acknowledged in time who lost access");
            }
            Err(error @ Error::Unavailable(_)) => return Err(error),
            Err(error) => {
                warn!(%error, realm.id = %realm, "it was not told who lost access without an acknowledgement");
            }
        }
    }
    Ok(())
}
