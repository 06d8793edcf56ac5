//! The public keys which verify operators' tokens, of all nodes.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Store, error::Result};

/// Whoever publishes a key clears away those that have expired.
const INSERT: &str = "
    WITH expired AS (DELETE FROM signing_keys WHERE expires_at < $3)
    INSERT INTO signing_keys (kid, public_key, created_at, expires_at) VALUES ($1, $2, $3, $4)";

const LIST: &str = "SELECT kid, public_key FROM signing_keys WHERE expires_at >= $1 ORDER BY kid";

/// A public key of some node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    pub kid: Uuid,
    /// P-256, uncompressed point (SEC 1 §2.3.3).
    pub public_key: Vec<u8>,
}

pub async fn insert(store: &Store, key: &SigningKey, at: Timestamp, expires_at: Timestamp) -> Result<()> {
    store.query(INSERT, &[&key.kid, &key.public_key, &at, &expires_at]).await.map(|_| ())
}

/// Those which have not expired at `at`: about one a node and day.
pub async fn list(store: &Store, at: Timestamp) -> Result<Vec<SigningKey>> {
    let key_from = |row: &Row| Ok(SigningKey { kid: row.try_get("kid")?, public_key: row.try_get("public_key")? });
    store.query(LIST, &[&at]).await?.iter().map(key_from).collect()
}
