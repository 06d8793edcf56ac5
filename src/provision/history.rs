//! What was: read from the events.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Error, Result};
use crate::{
    model::{Scope, realm::Realm, revocation::Report},
    store::{self, Store, events, outbox, revocations},
};

/// How long committed changes may take to become events.
const SETTLE: Duration = Duration::from_secs(5);

/// The realm's last event, once all that has been committed up to now has become events.
pub(super) async fn settled(store: &Store, realm: &Realm) -> Result<i64> {
    if let Some(newest) = outbox::newest(store.enter(realm.id, realm.epoch).await?).await? {
        let end = Instant::now() + SETTLE;
        while outbox::waits(store.enter(realm.id, realm.epoch).await?, newest).await? {
            if Instant::now() > end {
                let detail = "the latest changes have not become events yet".into();
                return Err(Error::Store(store::error::Error::Unavailable(detail)));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(events::heads(store, &[realm.id]).await?.first().map_or(0, |(_, seq)| *seq))
}

/// How soon applications have acknowledged who lost access by what was asked for since then.
pub async fn time_to_revoke(store: &Store, scope: &Scope, since: Timestamp) -> Result<Report> {
    Ok(revocations::report(store.begin(scope).await?, since).await?)
}
