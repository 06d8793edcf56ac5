//! The request log: entries of all realms written at once, read and deleted realm by realm.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
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
    RealmId,
    policy::Kept,
    request_log::{Entry, Query, Sign},
};

/// `$17` are the realms of the entries, which stay until this is done; answers those which are there. All entries are
/// written or, where a realm is gone, none: to ask of each row whether its realm is there, or whether the row is, would
/// cost as much again as to write it. The arrays are taken apart side by side in the select list, which needs no place
/// for all rows at once as `FROM unnest(…)` does.
const INSERT: &str = "
    WITH present AS MATERIALIZED (SELECT id FROM realms WHERE id = ANY ($17) ORDER BY id FOR KEY SHARE),
    written AS (
        INSERT INTO request_log
        SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::timestamptz[]), unnest($4::text[]),
               unnest($5::text[]), unnest($6::text[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[]),
               unnest($10::smallint[]), unnest($11::bigint[]), unnest($12::bigint[]), unnest($13::text[]),
               unnest($14::text[]), unnest($15::text[]), unnest($16::text[])
         WHERE (SELECT count(*) FROM present) = cardinality($17))
    SELECT id FROM present";

const FIND: &str = "SELECT * FROM request_log WHERE realm_id = $1 AND id = $2";

/// `$2` and `$3` are the ids between which entries are wanted.
const LIST: &str = "
    SELECT * FROM request_log
     WHERE realm_id = $1 AND id < $2 AND id >= $3
       AND ($4::smallint IS NULL OR status BETWEEN $4 AND $5::smallint)
       AND ($6::text IS NULL OR method = $6)
       AND ($7::text IS NULL OR starts_with(regexp_replace(path, '^(/realms/[^/]+)?/scim/v2', ''), $7))
       AND ($8::text IS NULL OR diagnosis = $8)
       AND ($9::text IS NULL OR request_id = $9)
       AND ($10::text IS NULL OR strpos(lower(path), $10) > 0 OR strpos(lower(error), $10) > 0
                              OR strpos(lower(body), $10) > 0)
     ORDER BY id DESC LIMIT $11";

const DELETE_SOME: &str = "
    WITH gone AS (
        DELETE FROM request_log
         WHERE realm_id = $1 AND id IN (SELECT id FROM request_log WHERE realm_id = $1 AND id < $2 ORDER BY id LIMIT $3)
        RETURNING true)
    SELECT count(*) FROM gone";

const LOGS: &str = "
    SELECT id, epoch, policy -> 'request_log_keep' FROM realms WHERE id > $1 ORDER BY id LIMIT 1000";

const NOTE: &str = "
    INSERT INTO signs (realm_id, sign, first_at, last_at) SELECT $1, sign, $3, $3 FROM unnest($2::text[]) AS t (sign)
    ON CONFLICT (realm_id, sign) DO UPDATE SET last_at = greatest(signs.last_at, excluded.last_at)";

const SIGNS: &str = "SELECT sign, first_at, last_at FROM signs WHERE realm_id = $1 ORDER BY first_at, sign";

const COUNT: &str = "
    SELECT diagnosis, count(*) AS requests, max(at) AS last_at FROM request_log
     WHERE realm_id = $1 AND id >= $2 AND diagnosis IS NOT NULL
     GROUP BY diagnosis ORDER BY requests DESC, diagnosis";

/// What nearly every application wants to know of a user, and who of the latest `$2` users lacks it.
const LACKING: &str = "
    SELECT f.attribute, count(u.id) FILTER (WHERE u.attributes #> f.path IS NULL) AS users, count(u.id) AS looked_at,
           (array_agg(u.id::text) FILTER (WHERE u.attributes #> f.path IS NULL))[1:5] AS examples
      FROM (VALUES (1, 'externalId', '{externalId}'::text[]), (2, 'name.givenName', '{name,givenName}'),
                   (3, 'name.familyName', '{name,familyName}'), (4, 'emails', '{emails}')) f (place, attribute, path),
           (SELECT id, attributes FROM users WHERE realm_id = $1 AND managed ORDER BY id DESC LIMIT $2) u
     GROUP BY f.place, f.attribute
    HAVING bool_or(u.attributes #> f.path IS NULL)
     ORDER BY f.place";

const HOLDS: &str = "
    SELECT EXISTS (SELECT FROM users WHERE realm_id = $1 AND managed) AS users,
           EXISTS (SELECT FROM groups WHERE realm_id = $1 AND managed) AS groups";

/// Users who are looked at for what they lack.
const LOOKED_AT: i64 = 1_000;

/// When a sign was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub sign: String,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// How many requests a fault is named of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub diagnosis: String,
    pub requests: i64,
    pub last_at: Timestamp,
}

/// An attribute which users lack, `users` of those who were `looked_at`; some of them by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    pub attribute: String,
    pub users: i64,
    pub looked_at: i64,
    pub examples: Vec<String>,
}

/// What is known of a realm's IdP over time.
#[derive(Debug)]
pub struct Overview {
    pub signs: Vec<Seen>,
    /// Of the last day, the most frequent first.
    pub faults: Vec<Counted>,
    pub lacking: Vec<Lacking>,
    pub has_users: bool,
    pub has_groups: bool,
}

/// A realm, and how long its log is to be kept.
#[derive(Debug)]
pub struct Log {
    pub realm: RealmId,
    pub epoch: i64,
    pub keep: Kept,
}

/// Writes entries, of whichever realms, but for those of realms which are gone.
pub async fn insert(store: &Store, entries: &[Entry]) -> Result<()> {
    let mut left: Vec<&Entry> = entries.iter().collect();
    while !left.is_empty() {
        let realms: BTreeSet<RealmId> = left.iter().map(|entry| entry.realm).collect();
        let present = insert_all(store, &left, &realms).await?;
        if present == realms {
            break;
        }
        left.retain(|entry| present.contains(&entry.realm));
    }
    Ok(())
}

/// Writes all entries, if all their realms are there. Answers which are.
async fn insert_all(store: &Store, entries: &[&Entry], of: &BTreeSet<RealmId>) -> Result<BTreeSet<RealmId>> {
    let of: Vec<Uuid> = of.iter().map(|realm| realm.0).collect();
    let texts = |of: fn(&Entry) -> Option<&str>| column(entries, of);
    let realms: Vec<_> = entries.iter().map(|e| e.realm.0).collect();
    let params: [&(dyn ToSql + Sync); 17] = [
        &realms,
        &column(entries, |e| Some(e.id)),
        &column(entries, |e| Some(e.at)),
        &texts(|e| Some(&e.request_id)),
        &texts(|e| Some(&e.method)),
        &texts(|e| Some(&e.route)),
        &texts(|e| Some(&e.path)),
        &texts(|e| e.user_agent.as_deref()),
        &column(entries, |e| e.actor.as_ref().map(json)),
        &column(entries, |e| Some(i16::try_from(e.status).unwrap_or_default())),
        &column(entries, |e| Some(e.duration_us)),
        &column(entries, |e| e.body_size),
        &texts(|e| e.body.as_deref()),
        &column(entries, |e| (!e.operations.is_empty()).then(|| json(&e.operations))),
        &column(entries, |e| e.error.as_ref().map(json)),
        &texts(|e| e.diagnosis.as_deref()),
        &of,
    ];
    let rows = store.query(INSERT, &params).await?;
    rows.iter().map(|row| Ok(RealmId(row.try_get(0)?))).collect()
}

/// What each entry has of that column; `None`, which is as good and costs nothing, if none has anything.
fn column<'a, T>(entries: &[&'a Entry], of: impl Fn(&'a Entry) -> Option<T>) -> Option<Vec<Option<T>>> {
    let column: Vec<_> = entries.iter().map(|entry| of(entry)).collect();
    column.iter().any(Option::is_some).then_some(column)
}

pub async fn find(mut tx: RealmTx, id: Uuid) -> Result<Option<Entry>> {
    tx.finish(FIND, &[&id]).await?.first().map(entry_from).transpose()
}

/// Entries, newest first.
pub async fn list(mut tx: RealmTx, query: &Query) -> Result<Vec<Entry>> {
    let before = query.before.unwrap_or(Uuid::max());
    let since = query.since.map_or(Uuid::nil(), first_at);
    let status = |status: u16| i16::try_from(status).unwrap_or(i16::MAX);
    let (lowest, highest) = (query.status.map(|s| status(s.0)), query.status.map(|s| status(s.1)));
    let text = query.text.as_deref().map(str::to_lowercase);
    let params: [&(dyn ToSql + Sync); 10] = [
        &before,
        &since,
        &lowest,
        &highest,
        &query.method,
        &query.path,
        &query.diagnosis,
        &query.request_id,
        &text,
        &query.limit,
    ];
    tx.finish(LIST, &params).await?.iter().map(entry_from).collect()
}

/// Deletes up to `most` entries from before `at`, the oldest first. Answers how many.
pub async fn delete_some(mut tx: RealmTx, at: Timestamp, most: i64) -> Result<i64> {
    let rows = tx.finish(DELETE_SOME, &[&first_at(at), &most]).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// Realms by id, some of those behind `after`.
pub async fn logs(store: &Store, after: RealmId) -> Result<Vec<Log>> {
    let log = |row: &Row| {
        let keep: Option<Json<Kept>> = row.try_get(2)?;
        Ok(Log {
            realm: RealmId(row.try_get(0)?),
            epoch: row.try_get(1)?,
            keep: keep.map_or_else(Kept::default, |keep| keep.0),
        })
    };
    store.query(LOGS, &[&after.0]).await?.iter().map(log).collect()
}

/// Notes what the realm's IdP was seen to do.
pub async fn note(mut tx: RealmTx, signs: &[Sign], at: Timestamp) -> Result<()> {
    let signs: Vec<&str> = signs.iter().map(|sign| sign.as_str()).collect();
    tx.finish(NOTE, &[&signs, &at]).await.map(|_| ())
}

pub async fn overview(mut tx: RealmTx, now: Timestamp) -> Result<Overview> {
    let signs = tx.query(SIGNS, &[]).await?;
    let yesterday = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(now);
    let faults = tx.query(COUNT, &[&first_at(yesterday)]).await?;
    let lacking = tx.query(LACKING, &[&LOOKED_AT]).await?;
    let holds = tx.finish(HOLDS, &[]).await?;
    let holds = |column| holds.first().map_or(Ok(false), |row| row.try_get(column));
    let seen = |row: &Row| {
        Ok(Seen { sign: row.try_get("sign")?, first_at: row.try_get("first_at")?, last_at: row.try_get("last_at")? })
    };
    let counted = |row: &Row| {
        let (diagnosis, requests) = (row.try_get("diagnosis")?, row.try_get("requests")?);
        Ok(Counted { diagnosis, requests, last_at: row.try_get("last_at")? })
    };
    let lacks = |row: &Row| {
        let (attribute, users, looked_at) =
            (row.try_get("attribute")?, row.try_get("users")?, row.try_get("looked_at")?);
        Ok(Lacking { attribute, users, looked_at, examples: row.try_get("examples")? })
    };
    Ok(Overview {
        signs: signs.iter().map(seen).collect::<Result<_>>()?,
        faults: faults.iter().map(counted).collect::<Result<_>>()?,
        lacking: lacking.iter().map(lacks).collect::<Result<_>>()?,
        has_users: holds("users")?,
        has_groups: holds("groups")?,
    })
}

/// The id before all those of that time on (RFC 9562 §5.7).
fn first_at(at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

fn entry_from(row: &Row) -> Result<Entry> {
    Ok(Entry {
        realm: RealmId(row.try_get("realm_id")?),
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        request_id: row.try_get("request_id")?,
        method: row.try_get("method")?,
        route: row.try_get("route")?,
        path: row.try_get("path")?,
        user_agent: row.try_get("user_agent")?,
        actor: json_from(row, "actor")?,
        status: u16::try_from(row.try_get::<_, i16>("status")?).unwrap_or_default(),
        duration_us: row.try_get("duration_us")?,
        body_size: row.try_get("body_size")?,
        body: row.try_get("body")?,
        operations: json_from(row, "operations")?.unwrap_or_default(),
        error: json_from(row, "error")?,
        diagnosis: row.try_get("diagnosis")?,
    })
}

/// Values of ours have text keys and no way to fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn json_from<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>> {
    let text: Option<&str> = row.try_get(column)?;
    let parsed = text.map(serde_json::from_str).transpose();
    parsed.map_err(|error| Error::Unavailable(format!("`{column}` of an entry of the request log: {error}")))
}
