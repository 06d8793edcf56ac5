//! Failed sign-ins of operators: on all nodes the same, and known after a restart.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Store, error::Result, tx::RealmTx};
use crate::model::lockout::Failures;

const FIND: &str = "SELECT failures, last_at, locked_until FROM login_failures WHERE subject = $1";

/// Only if nobody was quicker: `$5` and `$6` are what it was counted on from.
const SAVE: &str = "
    INSERT INTO login_failures AS f (subject, failures, last_at, locked_until) VALUES ($1, $2, $3, $4)
    ON CONFLICT (subject) DO UPDATE SET failures = $2, last_at = $3, locked_until = $4
     WHERE f.failures = $5 AND f.last_at = $6
    RETURNING true";

pub async fn find(store: &Store, subject: Uuid) -> Result<Option<Failures>> {
    store.query(FIND, &[&subject]).await?.first().map(failures_from).transpose()
}

/// Puts `after` in the place of `before`. `false` if that is not what is there any more.
pub async fn save(store: &Store, subject: Uuid, before: Failures, after: Failures) -> Result<bool> {
    let count = |failures: Failures| i32::try_from(failures.count).unwrap_or(i32::MAX);
    let (old, new) = (count(before), count(after));
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&subject, &new, &after.last_at, &after.locked_until, &old, &before.last_at];
    Ok(!store.query(SAVE, &params).await?.is_empty())
}

pub async fn forget(store: &Store, subject: Uuid) -> Result<()> {
    store.query("DELETE FROM login_failures WHERE subject = $1", &[&subject]).await.map(|_| ())
}

/// As [`forget`], in a transaction which stands in `master`.
pub async fn forget_in(tx: &mut RealmTx, subject: Uuid) -> Result<()> {
    let sql = "DELETE FROM login_failures WHERE subject = $2 AND $1::uuid IS NOT NULL";
    tx.query(sql, &[&subject]).await.map(|_| ())
}

fn failures_from(row: &Row) -> Result<Failures> {
    let count: i32 = row.try_get("failures")?;
    let (last_at, locked_until): (Timestamp, Option<Timestamp>) =
        (row.try_get("last_at")?, row.try_get("locked_until")?);
    Ok(Failures { count: count.unsigned_abs(), last_at, locked_until })
}
