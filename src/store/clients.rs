//! Clients of the token endpoint.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    error::{Error, Result},
    tx::RealmTx,
};
use crate::model::{
    ClientId,
    admin::PasswordHash,
    client::{Client, Method, SecretHash},
    jwk::KeySource,
    token::TokenHash,
};

/// By `client_id`, which is in the order of bytes.
const LIST: &str = "
    SELECT id, client_id, name, enabled, method, jwks, jwks_uri, created_at, last_used_at
      FROM oauth_clients WHERE realm_id = $1 AND ($2::text IS NULL OR client_id = $2) ORDER BY client_id OFFSET $3 LIMIT $4";

const FIND: &str = "
    SELECT id, client_id, name, enabled, method, jwks, jwks_uri, created_at, last_used_at
      FROM oauth_clients WHERE realm_id = $1 AND id = $2";

const FIND_BY_CLIENT_ID: &str = "
    SELECT id, client_id, name, enabled, method, jwks, jwks_uri, created_at, last_used_at, secret_sha256, secret_argon2
      FROM oauth_clients WHERE realm_id = $1 AND client_id = $2";

const IS_ENABLED: &str = "SELECT FROM oauth_clients WHERE realm_id = $1 AND id = $2 AND enabled";

const INSERT: &str = "
    INSERT INTO oauth_clients (realm_id, id, client_id, name, enabled, method, jwks, jwks_uri, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const UPDATE: &str = "
    UPDATE oauth_clients SET client_id = $3, name = $4, enabled = $5, method = $6, jwks = $7, jwks_uri = $8
     WHERE realm_id = $1 AND id = $2";

const SET_SECRET: &str =
    "UPDATE oauth_clients SET secret_sha256 = $3, secret_argon2 = $4 WHERE realm_id = $1 AND id = $2";

const TOUCH: &str = "
    UPDATE oauth_clients SET last_used_at = $3
     WHERE realm_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)";

/// `limit` clients after the first `offset`, in the order of their ids; the one with `client_id`, if it is given.
pub async fn list(mut tx: RealmTx, client_id: Option<&str>, offset: i64, limit: i64) -> Result<Vec<Client>> {
    tx.finish(LIST, &[&client_id, &offset, &limit]).await?.iter().map(client_from).collect()
}

pub async fn find(tx: &mut RealmTx, id: ClientId) -> Result<Option<Client>> {
    tx.query(FIND, &[&id.0]).await?.first().map(client_from).transpose()
}

/// Is there such a client, and is it enabled?
pub async fn is_enabled(mut tx: RealmTx, id: ClientId) -> Result<bool> {
    Ok(!tx.finish(IS_ENABLED, &[&id.0]).await?.is_empty())
}

/// The client with what proves its secret, if it has one.
pub async fn find_by_client_id(mut tx: RealmTx, client_id: &str) -> Result<Option<(Client, Option<SecretHash>)>> {
    let rows = tx.finish(FIND_BY_CLIENT_ID, &[&client_id]).await?;
    rows.first().map(|row| Ok((client_from(row)?, secret_from(row)?))).transpose()
}

/// [`Error::Taken`] if the realm has a client of that `client_id`.
pub async fn insert(tx: &mut RealmTx, client: &Client) -> Result<()> {
    let Client { id, client_id, name, enabled, method, created_at, .. } = client;
    let (jwks, jwks_uri) = columns_of(client.keys.as_ref());
    tx.query(INSERT, &[&id.0, client_id, name, enabled, &method.as_str(), &jwks, &jwks_uri, created_at])
        .await
        .map(|_| ())
}

/// [`Error::Taken`] if the realm has another client of that `client_id`.
pub async fn update(tx: &mut RealmTx, client: &Client) -> Result<()> {
    let Client { id, client_id, name, enabled, method, .. } = client;
    let (jwks, jwks_uri) = columns_of(client.keys.as_ref());
    tx.query(UPDATE, &[&id.0, client_id, name, enabled, &method.as_str(), &jwks, &jwks_uri]).await.map(|_| ())
}

/// Replaces the secret: the former one is worth nothing when this commits.
pub async fn set_secret(tx: &mut RealmTx, id: ClientId, secret: &SecretHash) -> Result<()> {
    let (sha256, argon2) = match secret {
        SecretHash::Random(hash) => (Some(hash.as_bytes()), None),
        SecretHash::Chosen(hash) => (None, Some(hash.as_phc())),
    };
    tx.query(SET_SECRET, &[&id.0, &sha256, &argon2]).await.map(|_| ())
}

/// Deletes the client. Is there another one?
pub async fn delete(tx: &mut RealmTx, id: ClientId) -> Result<bool> {
    tx.query("DELETE FROM oauth_clients WHERE realm_id = $1 AND id = $2", &[&id.0]).await?;
    Ok(!tx.query("SELECT FROM oauth_clients WHERE realm_id = $1 LIMIT 1", &[]).await?.is_empty())
}

/// Notes that the client got a token.
pub async fn touch(mut tx: RealmTx, id: ClientId, at: Timestamp) -> Result<()> {
    tx.finish(TOUCH, &[&id.0, &at]).await.map(|_| ())
}

fn columns_of(keys: Option<&KeySource>) -> (Option<&str>, Option<&str>) {
    match keys {
        Some(KeySource::Inline(jwks)) => (Some(jwks), None),
        Some(KeySource::Url(url)) => (None, Some(url)),
        // No client has metadata.
        Some(KeySource::Discovery(_)) | None => (None, None),
    }
}

fn client_from(row: &Row) -> Result<Client> {
    let method: &str = row.try_get("method")?;
    let (jwks, jwks_uri): (Option<String>, Option<String>) = (row.try_get("jwks")?, row.try_get("jwks_uri")?);
    Ok(Client {
        id: ClientId(row.try_get("id")?),
        client_id: row.try_get("client_id")?,
        name: row.try_get("name")?,
        enabled: row.try_get("enabled")?,
        method: Method::parse(method)
            .ok_or_else(|| Error::Unavailable(format!("`{method}` in the database is no method of a client")))?,
        keys: jwks.map(KeySource::Inline).or(jwks_uri.map(KeySource::Url)),
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}

fn secret_from(row: &Row) -> Result<Option<SecretHash>> {
    let sha256: Option<&[u8]> = row.try_get("secret_sha256")?;
    let argon2: Option<String> = row.try_get("secret_argon2")?;
    let random = sha256.and_then(TokenHash::stored).map(SecretHash::Random);
    Ok(random.or(argon2.map(PasswordHash::from_phc).map(SecretHash::Chosen)))
}
