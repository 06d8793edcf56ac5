//! What operators read of the audit log. Writing it is part of each verb.

use super::Result;
use crate::{
    model::{
        RealmId,
        audit::{Entry, Window},
    },
    store::{Store, audit},
};

/// Administrative changes in one realm or in all, newest first.
pub async fn list(store: &Store, realm: Option<RealmId>, window: Window<'_>) -> Result<Vec<Entry>> {
    Ok(audit::list(store, realm, window).await?)
}
