//! Events which are too old go, realm by realm and in pieces. Several nodes may do so at once: what one has deleted, the
//! other does not find.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::{
    model::RealmId,
    store::{
        Store,
        error::{Error, Result},
        events::{self, Keeping},
    },
};

/// Events which one statement deletes: some milliseconds of work.
const PIECE: i64 = 2_000;
/// The database has other work between two pieces.
const BREATH: Duration = Duration::from_millis(20);

/// Deletes what is too old, again and again, for as long as the process lives.
pub(super) async fn sweep(store: Store, every: Duration) {
    loop {
        match once(&store).await {
            Ok(0) => {}
            Ok(deleted) => info!(deleted, "events were cut to the days that they are kept"),
            Err(error) => debug!(%error, "events could not be cut, it is tried again"),
        }
        sleep(every).await;
    }
}

/// Answers how many events were deleted.
async fn once(store: &Store) -> Result<i64> {
    let (mut deleted, mut after) = (0, RealmId(Uuid::nil()));
    loop {
        let realms = events::kept(store, after).await?;
        let Some(last) = realms.last() else { return Ok(deleted) };
        after = last.realm;
        for keeping in &realms {
            match of_realm(store, keeping).await {
                Ok(gone) => deleted += gone,
                // It has changed meanwhile, or is gone: its turn comes again.
                Err(Error::Stale) => {}
                Err(error @ Error::Unavailable(_)) => return Err(error),
                // Those behind it have their turn all the same.
                Err(error) => warn!(%error, realm.id = %keeping.realm, "a realm's events could not be cut"),
            }
        }
    }
}

async fn of_realm(store: &Store, keeping: &Keeping) -> Result<i64> {
    let before = keeping.keep.0.before(Timestamp::now());
    let mut deleted = 0;
    loop {
        let tx = store.enter(keeping.realm, keeping.epoch).await?;
        let gone = events::delete_some(tx, before, PIECE).await?;
        deleted += gone;
        if gone < PIECE {
            return Ok(deleted);
        }
        sleep(BREATH).await;
    }
}
