//! The keys by which realms sign: the one which does, and those which did and are still published.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{error::Result, tx::RealmTx};

const CURRENT: &str = "SELECT kid, private_key FROM realm_keys WHERE realm_id = $1 AND private_key IS NOT NULL";

const INSERT: &str = "
    INSERT INTO realm_keys (realm_id, kid, public_key, private_key, created_at) VALUES ($1, $2, $3, $4, $5)";

/// Those whose time was over go with it.
const RETIRE: &str = "
    WITH gone AS (DELETE FROM realm_keys WHERE realm_id = $1 AND expires_at < $2)
    UPDATE realm_keys SET private_key = NULL, expires_at = $3 WHERE realm_id = $1 AND private_key IS NOT NULL";

const LIST: &str = "
    SELECT kid, public_key, private_key IS NOT NULL AS signs, created_at, expires_at FROM realm_keys
     WHERE realm_id = $1 AND (expires_at IS NULL OR expires_at >= $2) ORDER BY created_at DESC, kid DESC";

/// A key as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    pub kid: Uuid,
    /// P-256, uncompressed point (SEC 1 §2.3.3).
    pub public_key: Vec<u8>,
    /// Does it sign, or did it?
    pub signs: bool,
    pub created_at: Timestamp,
    /// Until when it is published, if it signs no longer.
    pub expires_at: Option<Timestamp>,
}

/// The name of the key which signs, and its private part as it was encrypted; `None` if the realm never needed one.
pub async fn current(tx: &mut RealmTx) -> Result<Option<(Uuid, Vec<u8>)>> {
    let rows = tx.query(CURRENT, &[]).await?;
    rows.first().map(|row| Ok((row.try_get("kid")?, row.try_get("private_key")?))).transpose()
}

/// Adds the key which signs from now on.
pub async fn insert(tx: &mut RealmTx, kid: Uuid, public: &[u8], private: &[u8], at: Timestamp) -> Result<()> {
    tx.query(INSERT, &[&kid, &public, &private, &at]).await.map(|_| ())
}

/// From `at` on the key signs no longer; it is published until `until`.
pub async fn retire(tx: &mut RealmTx, at: Timestamp, until: Timestamp) -> Result<()> {
    tx.query(RETIRE, &[&at, &until]).await.map(|_| ())
}

/// Those which are published at `at`, the newest first.
pub async fn list(mut tx: RealmTx, at: Timestamp) -> Result<Vec<PublishedKey>> {
    let key_from = |row: &Row| {
        Ok(PublishedKey {
            kid: row.try_get("kid")?,
            public_key: row.try_get("public_key")?,
            signs: row.try_get("signs")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
        })
    };
    tx.finish(LIST, &[&at]).await?.iter().map(key_from).collect()
}
