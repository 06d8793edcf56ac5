//! Operators of the `master` realm, and the public keys which verify their tokens. Outside of row-level security:
//! no tenant's statement reads them.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Store, error::Result};
use crate::model::{
    AdminId,
    admin::{Admin, PasswordHash, Rights},
};

const FIND: &str = "SELECT id, username, enabled FROM admins WHERE id = $1";

const FIND_BY_USERNAME: &str = "SELECT id, username, enabled, password_hash FROM admins WHERE username_key = $1";

/// Whoever publishes a key clears away those that have expired.
const INSERT_KEY: &str = "
    WITH expired AS (DELETE FROM signing_keys WHERE expires_at < $3)
    INSERT INTO signing_keys (kid, public_key, created_at, expires_at) VALUES ($1, $2, $3, $4)";

const LIST_KEYS: &str = "SELECT kid, public_key FROM signing_keys WHERE expires_at >= $1";

/// A public key of some node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    pub kid: Uuid,
    /// P-256, uncompressed point (SEC 1 §2.3.3).
    pub public_key: Vec<u8>,
}

pub async fn find(store: &Store, id: AdminId) -> Result<Option<Admin>> {
    store.query(FIND, &[&id.0]).await?.first().map(admin_from).transpose()
}

/// The operator whose folded name is `username_key`, with what proves the password.
pub async fn find_by_username(store: &Store, username_key: &str) -> Result<Option<(Admin, PasswordHash)>> {
    let rows = store.query(FIND_BY_USERNAME, &[&username_key]).await?;
    rows.first().map(|row| Ok((admin_from(row)?, PasswordHash::from_phc(row.try_get("password_hash")?)))).transpose()
}

/// Is there any operator?
pub async fn exist(store: &Store) -> Result<bool> {
    Ok(!store.query("SELECT FROM admins LIMIT 1", &[]).await?.is_empty())
}

/// Makes the first operator. `false` if there is one already: of several nodes which start at once, one succeeds.
pub async fn found(
    store: &Store,
    admin: &Admin,
    username_key: &str,
    hash: &PasswordHash,
    at: Timestamp,
) -> Result<bool> {
    let sql = "SELECT found_admin($1, $2, $3, $4, $5, $6)";
    let rows =
        store.query(sql, &[&admin.id.0, &username_key, &admin.username, &hash.as_phc(), &admin.enabled, &at]).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

pub async fn insert_key(store: &Store, key: &SigningKey, at: Timestamp, expires_at: Timestamp) -> Result<()> {
    store.query(INSERT_KEY, &[&key.kid, &key.public_key, &at, &expires_at]).await.map(|_| ())
}

/// The keys of all nodes which have not expired at `at`: about one a node and day.
pub async fn list_keys(store: &Store, at: Timestamp) -> Result<Vec<SigningKey>> {
    let key_from = |row: &Row| Ok(SigningKey { kid: row.try_get("kid")?, public_key: row.try_get("public_key")? });
    store.query(LIST_KEYS, &[&at]).await?.iter().map(key_from).collect()
}

fn admin_from(row: &Row) -> Result<Admin> {
    Ok(Admin {
        id: AdminId(row.try_get("id")?),
        username: row.try_get("username")?,
        enabled: row.try_get("enabled")?,
        rights: Rights::everything(),
    })
}
