//! What is too old goes, realm by realm and in pieces. Several nodes may do so at once: what one has deleted, the other
//! does not find.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;
use tracing::{debug, info};
use uuid::Uuid;

use crate::{
    model::RealmId,
    store::{
        Store,
        error::{Error, Result},
        request_log::{self, Log},
        tokens,
    },
};

/// Entries which one statement deletes: some milliseconds of work.
const PIECE: i64 = 2_000;
/// The database has other work between two pieces.
const BREATH: Duration = Duration::from_millis(20);
/// How long a token is remembered which was good once.
const ENDED_TOKENS: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Deletes what is too old, again and again, for as long as the process lives.
pub(super) async fn sweep(store: Store, every: Duration) {
    loop {
        match once(&store).await {
            Ok(0) => {}
            Ok(deleted) => info!(deleted, "the request log was cut to the days that it is kept"),
            Err(error) => debug!(%error, "the request log could not be cut, it is tried again"),
        }
        sleep(every).await;
    }
}

/// Answers how many entries were deleted.
async fn once(store: &Store) -> Result<i64> {
    let (mut deleted, mut after) = (0, RealmId(Uuid::nil()));
    loop {
        let realms = request_log::logs(store, after).await?;
        let Some(last) = realms.last() else { return Ok(deleted) };
        after = last.realm;
        for log in &realms {
            match of_realm(store, log).await {
                Ok(gone) => deleted += gone,
                // It has changed meanwhile, or is gone: its turn comes again.
                Err(Error::Stale) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn of_realm(store: &Store, log: &Log) -> Result<i64> {
    let (now, mut deleted) = (Timestamp::now(), 0);
    let before = log.keep.0.before(now);
    tokens::forget_ended(store.enter(log.realm, log.epoch).await?, now.saturating_sub(ENDED_TOKENS).unwrap_or(now))
        .await?;
    loop {
        let tx = store.enter(log.realm, log.epoch).await?;
        let gone = request_log::delete_some(tx, before, PIECE).await?;
        deleted += gone;
        if gone < PIECE {
            return Ok(deleted);
        }
        sleep(BREATH).await;
    }
}
