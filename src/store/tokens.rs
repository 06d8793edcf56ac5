//! SCIM tokens, by their hash.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{error::Result, tx::RealmTx};
use crate::model::{
    TokenId,
    token::{PlainToken, Token, TokenHash},
};

const LIST: &str = "SELECT id, prefix, created_at, expires_at, last_used_at FROM scim_tokens WHERE realm_id = $1";

const FIND_BY_HASH: &str = "
    SELECT id, prefix, created_at, expires_at, last_used_at FROM scim_tokens WHERE realm_id = $1 AND hash = $2";

const TOUCH: &str = "
    UPDATE scim_tokens SET last_used_at = $3
     WHERE realm_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)";

pub async fn find_by_hash(mut tx: RealmTx, hash: &TokenHash) -> Result<Option<Token>> {
    tx.finish(FIND_BY_HASH, &[&hash.as_bytes()]).await?.first().map(token_from).transpose()
}

pub async fn list(mut tx: RealmTx) -> Result<Vec<Token>> {
    tx.finish(LIST, &[]).await?.iter().map(token_from).collect()
}

pub async fn insert(tx: &mut RealmTx, token: &PlainToken, at: Timestamp) -> Result<TokenId> {
    let id = Uuid::now_v7();
    let sql = "INSERT INTO scim_tokens (realm_id, id, hash, prefix, created_at) VALUES ($1, $2, $3, $4, $5)";
    tx.query(sql, &[&id, &token.hash().as_bytes(), &token.prefix(), &at]).await?;
    Ok(TokenId(id))
}

pub async fn delete_all(tx: &mut RealmTx) -> Result<()> {
    tx.query("DELETE FROM scim_tokens WHERE realm_id = $1", &[]).await.map(|_| ())
}

/// Notes that the token was used.
pub async fn touch(mut tx: RealmTx, id: TokenId, at: Timestamp) -> Result<()> {
    tx.finish(TOUCH, &[&id.0, &at]).await.map(|_| ())
}

fn token_from(row: &Row) -> Result<Token> {
    Ok(Token {
        id: TokenId(row.try_get("id")?),
        prefix: row.try_get("prefix")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}
