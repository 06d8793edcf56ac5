//! The outbox: every change and who made it, written by the statement which makes the change, emptied by the sequencer.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{error::Result, tx::RealmTx};
use crate::model::{Actor, Cause, RealmId};

/// Who changes, by which request, and when: the parameters which every writing statement has in common.
#[derive(Debug)]
pub struct Origin<'a> {
    pub actor: Json<&'a Actor>,
    pub request_id: &'a str,
    /// To the millisecond, as answers show it.
    pub at: Timestamp,
}

impl<'a> Origin<'a> {
    pub fn of(cause: &'a Cause) -> Self {
        Self { actor: Json(&cause.actor), request_id: &cause.request_id, at: cause.at }
    }
}

const TELL: &str = "
    INSERT INTO outbox (realm_id, event, resource_id, version, facts, actor, request_id, created_at)
    VALUES ($1, $2, $3, 0, $4, $5, $6, $7)";

/// Tells of something which changes neither a user nor a group. `about` is the realm's id, if it is about the realm.
pub async fn tell(tx: &mut RealmTx, event: &str, about: Uuid, facts: &Value, origin: &Origin<'_>) -> Result<()> {
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&event, &about, &Json(facts), &origin.actor, &origin.request_id, &origin.at];
    tx.query(TELL, &params).await.map(|_| ())
}

/// The newest change of the realm which waits for its place among the events.
pub async fn newest(mut tx: RealmTx) -> Result<Option<i64>> {
    let rows = tx.finish("SELECT max(id) FROM outbox WHERE realm_id = $1", &[]).await?;
    rows.first().map_or(Ok(None), |row| Ok(row.try_get(0)?))
}

/// Does any change of the realm wait for its place which is as old as `newest`, or older?
pub async fn waits(mut tx: RealmTx, newest: i64) -> Result<bool> {
    let sql = "SELECT FROM outbox WHERE realm_id = $1 AND id <= $2 LIMIT 1";
    Ok(!tx.finish(sql, &[&newest]).await?.is_empty())
}

/// The realms whose outbox this node has written to, for the sequencer to hear of as soon as that is committed.
#[derive(Debug, Default)]
pub struct Written {
    realms: Mutex<HashSet<RealmId>>,
    some: Notify,
}

impl Written {
    pub(super) fn note(&self, realm: RealmId) {
        if self.realms.lock().unwrap_or_else(PoisonError::into_inner).insert(realm) {
            self.some.notify_one();
        }
    }

    /// Waits until there are any, and takes them.
    pub async fn next(&self) -> HashSet<RealmId> {
        loop {
            let realms = mem::take(&mut *self.realms.lock().unwrap_or_else(PoisonError::into_inner));
            if !realms.is_empty() {
                return realms;
            }
            self.some.notified().await;
        }
    }
}
