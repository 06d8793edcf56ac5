//! SCIM tokens, by their hash.

use jiff::Timestamp;
use serde_json::json;
use tokio_postgres::{
    Row,
    types::{Json, ToSql},
};
use uuid::Uuid;

use super::{
    Store,
    error::{Error, Result},
    tx::RealmTx,
};
use crate::model::{
    Actor, RealmId, TokenId,
    slow_hash::SlowHash,
    token::{Format, ImportedToken, KnownHash, PlainToken, Token, TokenHash},
};

const LIST: &str = "
    SELECT id, prefix, format, label, created_at, expires_at, last_used_at FROM scim_tokens WHERE realm_id = $1
     ORDER BY id";

const FIND_BY_HASH: &str = "
    SELECT id, prefix, format, label, created_at, expires_at, last_used_at FROM scim_tokens
     WHERE realm_id = $1 AND hash = $2";

/// A realm holds few tokens, and few of those are compared.
const FIND_FOREIGN: &str = "
    SELECT id, prefix, format, label, created_at, expires_at, last_used_at, phc FROM scim_tokens
     WHERE realm_id = $1
       AND (hash IN ($2, $3) OR phc IS NOT NULL AND starts_with($4, prefix) AND coalesce(expires_at > $5, true))
     ORDER BY phc IS NOT NULL, last_used_at DESC NULLS LAST";

const HASHES: &str = "
    SELECT id, prefix, format, label, created_at, expires_at, last_used_at, hash, phc FROM scim_tokens
     WHERE realm_id = $1 ORDER BY id";

const IMPORT: &str = "
    WITH added AS (
        INSERT INTO scim_tokens (realm_id, id, hash, phc, format, prefix, label, expires_at, created_at)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
         WHERE NOT EXISTS (SELECT FROM scim_tokens WHERE realm_id = $1 AND (hash = $3 OR phc = $4))
        RETURNING hash),
    known AS (
        INSERT INTO token_hashes (hash) SELECT hash FROM added WHERE octet_length(hash) = 32 ON CONFLICT DO NOTHING)
    SELECT FROM added";

const TOUCH: &str = "
    UPDATE scim_tokens SET last_used_at = $3
     WHERE realm_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)";

/// The realm lives as long as the last of its tokens.
const SETTLE: &str = "
    UPDATE realms
       SET token_warned = NULL,
           token_expires_at = (SELECT CASE WHEN NOT bool_or(expires_at IS NULL) THEN max(expires_at) END
                                 FROM scim_tokens WHERE realm_id = $1)
     WHERE id = $1";

const EXPIRING: &str = "
    SELECT id, epoch, name, token_expires_at, token_warned,
           CASE WHEN token_expires_at <= $1 THEN 0
                WHEN token_expires_at <= $1 + interval '1 day' THEN 1
                WHEN token_expires_at <= $1 + interval '7 days' THEN 7
                ELSE 30 END AS days
      FROM realms
     WHERE enabled AND scim_enabled AND token_expires_at <= $1 + interval '30 days'
     ORDER BY token_expires_at";

const WARN: &str = "
    WITH warned AS (
        UPDATE realms SET token_warned = $2
         WHERE id = $1 AND token_expires_at = $3 AND token_warned IS DISTINCT FROM $2
        RETURNING id, epoch)
    INSERT INTO outbox (realm_id, event, resource_id, version, attributes, actor, request_id, created_at)
    SELECT id, $4, id, epoch, $5, $6, $7, $8 FROM warned
    RETURNING true";

const INSERT: &str = "
    WITH known AS (INSERT INTO token_hashes (hash) VALUES ($3) ON CONFLICT DO NOTHING)
    INSERT INTO scim_tokens (realm_id, id, hash, prefix, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";

/// Ends the token `$3`, or all, or those which have expired. That they were good once is remembered for a while.
const DELETE: &str = "
    WITH gone AS (
        DELETE FROM scim_tokens
         WHERE realm_id = $1 AND ($3::uuid IS NULL OR id = $3) AND (NOT $4 OR expires_at <= $2)
        RETURNING hash, prefix, expires_at),
    unlisted AS (DELETE FROM token_hashes WHERE hash IN (SELECT hash FROM gone)),
    remembered AS (
        INSERT INTO ended_tokens (realm_id, hash, ended_at)
        SELECT $1, hash, least(expires_at, $2) FROM gone WHERE hash IS NOT NULL
        ON CONFLICT DO NOTHING)
    SELECT prefix FROM gone";

const FIND_STRAY: &str = "
    SELECT (SELECT ended_at FROM ended_tokens WHERE realm_id = $1 AND hash = $2) AS ended_at,
           EXISTS (SELECT FROM token_hashes WHERE hash = $2) AS elsewhere";

/// A token which the realm does not know, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    Unknown,
    /// It was the realm's own until then.
    Ended(Timestamp),
    /// It is another realm's; which one's, nobody can ask.
    Elsewhere,
}

pub async fn find_by_hash(mut tx: RealmTx, hash: &TokenHash) -> Result<Option<Token>> {
    tx.finish(FIND_BY_HASH, &[&hash.as_bytes()]).await?.first().map(token_from).transpose()
}

/// What a text which was presented could be.
#[derive(Debug)]
pub enum Candidates {
    Found(Token),
    /// One of these, if it has the hash. None of them has expired.
    Slow(Vec<(TokenId, SlowHash, Token)>),
}

/// Looks a token up which another product may have given out.
pub async fn find_foreign(
    mut tx: RealmTx,
    presented: &str,
    hash: &TokenHash,
    sha512: &[u8],
    at: Timestamp,
) -> Result<Candidates> {
    let rows = tx.finish(FIND_FOREIGN, &[&hash.as_bytes(), &sha512, &presented, &at]).await?;
    let mut slow = Vec::new();
    for row in &rows {
        let token = token_from(row)?;
        match row.try_get::<_, Option<&str>>("phc")? {
            None => return Ok(Candidates::Found(token)),
            Some(phc) => slow.push((token.id, slow_from(phc)?, token)),
        }
    }
    Ok(Candidates::Slow(slow))
}

/// The tokens with what is known of them.
pub async fn hashes(tx: &mut RealmTx) -> Result<Vec<(Token, KnownHash)>> {
    let known = |row: &Row| {
        let hash = match row.try_get::<_, Option<&str>>("phc")? {
            Some(phc) => KnownHash::Slow(slow_from(phc)?),
            None => KnownHash::Digest(row.try_get("hash")?),
        };
        Ok((token_from(row)?, hash))
    };
    tx.query(HASHES, &[]).await?.iter().map(known).collect()
}

/// How many tokens of the realm are compared instead of looked up?
pub async fn count_slow(tx: &mut RealmTx) -> Result<i64> {
    let rows = tx.query("SELECT count(*) FROM scim_tokens WHERE realm_id = $1 AND phc IS NOT NULL", &[]).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// Keeps a token which was given out elsewhere; `None` if the realm has it already.
pub async fn import(tx: &mut RealmTx, token: &ImportedToken, at: Timestamp) -> Result<Option<TokenId>> {
    let id = Uuid::now_v7();
    let (digest, phc) = match &token.hash {
        KnownHash::Digest(bytes) => (Some(bytes), None),
        KnownHash::Slow(hash) => (None, Some(hash.as_str())),
    };
    let format = token.format.as_str();
    let params: [&(dyn ToSql + Sync); 8] =
        [&id, &digest, &phc, &format, &token.prefix, &token.label, &token.expires_at, &at];
    Ok(tx.query(IMPORT, &params).await?.first().map(|_| TokenId(id)))
}

pub async fn list(mut tx: RealmTx) -> Result<Vec<Token>> {
    tx.finish(LIST, &[]).await?.iter().map(token_from).collect()
}

pub async fn insert(
    tx: &mut RealmTx,
    token: &PlainToken,
    expires_at: Option<Timestamp>,
    at: Timestamp,
) -> Result<TokenId> {
    let id = Uuid::now_v7();
    tx.query(INSERT, &[&id, &token.hash().as_bytes(), &token.prefix(), &at, &expires_at]).await?;
    Ok(TokenId(id))
}

pub async fn delete_all(tx: &mut RealmTx, at: Timestamp) -> Result<()> {
    tx.query(DELETE, &[&at, &None::<Uuid>, &false]).await.map(|_| ())
}

/// What is known of a token which is not among those of the realm.
pub async fn find_stray(mut tx: RealmTx, hash: &TokenHash) -> Result<Stray> {
    let rows = tx.finish(FIND_STRAY, &[&hash.as_bytes()]).await?;
    let Some(row) = rows.first() else { return Ok(Stray::Unknown) };
    Ok(match (row.try_get("ended_at")?, row.try_get("elsewhere")?) {
        (Some(at), _) => Stray::Ended(at),
        (None, true) => Stray::Elsewhere,
        (None, false) => Stray::Unknown,
    })
}

/// Forgets those tokens of the realm which ended before `at`.
pub async fn forget_ended(mut tx: RealmTx, at: Timestamp) -> Result<()> {
    tx.finish("DELETE FROM ended_tokens WHERE realm_id = $1 AND ended_at < $2", &[&at]).await.map(|_| ())
}

/// Was there such a token? Answers what a list showed of it.
pub async fn delete(tx: &mut RealmTx, id: TokenId, at: Timestamp) -> Result<Option<String>> {
    let rows = tx.query(DELETE, &[&at, &Some(id.0), &false]).await?;
    rows.first().map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Lets the tokens that are there live until `end` at most; those which have ended by `at` go.
pub async fn end_all(tx: &mut RealmTx, end: Timestamp, at: Timestamp) -> Result<()> {
    tx.query(DELETE, &[&at, &None::<Uuid>, &true]).await?;
    let sql = "UPDATE scim_tokens SET expires_at = least(expires_at, $2) WHERE realm_id = $1";
    tx.query(sql, &[&end]).await.map(|_| ())
}

/// Notes when the last of the realm's tokens ends: after each change of them.
pub async fn settle(tx: &mut RealmTx) -> Result<()> {
    tx.query(SETTLE, &[]).await.map(|_| ())
}

/// A realm whose last token ends soon, or has ended.
#[derive(Debug)]
pub struct Expiring {
    pub realm: RealmId,
    pub epoch: i64,
    pub name: String,
    pub expires_at: Timestamp,
    /// It ends within so many days: 30, 7 or 1; 0 if it has ended.
    pub days: i32,
    /// Has the realm been warned of that?
    pub is_warned: bool,
}

/// The realms whose last token ends within thirty days of `at`.
pub async fn expiring(store: &Store, at: Timestamp) -> Result<Vec<Expiring>> {
    let expiring_from = |row: &Row| {
        let (days, warned): (i32, Option<i32>) = (row.try_get("days")?, row.try_get("token_warned")?);
        Ok(Expiring {
            realm: RealmId(row.try_get("id")?),
            epoch: row.try_get("epoch")?,
            name: row.try_get("name")?,
            expires_at: row.try_get("token_expires_at")?,
            days,
            is_warned: warned == Some(days),
        })
    };
    store.query(EXPIRING, &[&at]).await?.iter().map(expiring_from).collect()
}

/// Tells of a token which ends, once for each number of days, whichever node comes first. Was it this one?
pub async fn warn(mut tx: RealmTx, expiring: &Expiring, at: Timestamp) -> Result<bool> {
    let event = if expiring.days == 0 { "dsync.token.expired" } else { "dsync.token.expiring" };
    let told = Json(json!({ "expires_at": expiring.expires_at, "days": expiring.days }));
    let params: [&(dyn ToSql + Sync); 7] =
        [&expiring.days, &expiring.expires_at, &event, &told, &Json(Actor::System), &"token-expiry", &at];
    Ok(!tx.finish(WARN, &params).await?.is_empty())
}

/// Notes that the token was used.
pub async fn touch(mut tx: RealmTx, id: TokenId, at: Timestamp) -> Result<()> {
    tx.finish(TOUCH, &[&id.0, &at]).await.map(|_| ())
}

fn slow_from(phc: &str) -> Result<SlowHash> {
    SlowHash::parse(phc).map_err(|e| Error::Unavailable(format!("a token's hash in the database: {e}")))
}

fn token_from(row: &Row) -> Result<Token> {
    let format: &str = row.try_get("format")?;
    Ok(Token {
        id: TokenId(row.try_get("id")?),
        prefix: row.try_get("prefix")?,
        format: Format::parse(format)
            .ok_or_else(|| Error::Unavailable(format!("`{format}` in the database is no format of tokens")))?,
        label: row.try_get("label")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}
