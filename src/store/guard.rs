//! The leaver guard: who lost access lately, and what is held.

use jiff::Timestamp;
use serde_json::json;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    outbox::Origin,
    tx::RealmTx,
};
use crate::model::{
    Actor,
    guard::{Departure, GuardStatus, HeldChange},
};

/// Holds the guard until the transaction ends. The users are counted anew if that was long ago.
const LOCK: &str = "
    INSERT INTO leaver_guards (realm_id, active_users, counted_at)
    VALUES ($1, (SELECT count(*) FROM users WHERE realm_id = $1 AND active AND managed), $2)
    ON CONFLICT (realm_id) DO UPDATE
       SET active_users = CASE WHEN leaver_guards.counted_at > $3 THEN leaver_guards.active_users
                               ELSE (SELECT count(*) FROM users WHERE realm_id = $1 AND active AND managed) END,
           counted_at = CASE WHEN leaver_guards.counted_at > $3 THEN leaver_guards.counted_at ELSE $2 END
    RETURNING active_users, held_since";

/// Counts the people with those who lost access since `$3`, each once; older ones are forgotten.
const COUNT: &str = "
    WITH old AS (DELETE FROM departures WHERE realm_id = $1 AND departed_at <= $3),
    new AS (
        INSERT INTO departures (realm_id, person_id, departed_at) SELECT $1, id, $4 FROM unnest($2::uuid[]) AS id
        ON CONFLICT (realm_id, person_id) DO UPDATE SET departed_at = excluded.departed_at)
    SELECT cardinality($2) + count(*) FROM departures
     WHERE realm_id = $1 AND departed_at > $3 AND person_id <> ALL ($2)";

const OPEN: &str = "
    WITH held AS (UPDATE leaver_guards SET held_since = $2 WHERE realm_id = $1 AND held_since IS NULL RETURNING realm_id)
    INSERT INTO outbox (realm_id, event, resource_id, version, attributes, actor, request_id, created_at)
    SELECT $1, 'dsync.held', $1, 0, $3, $4, $5, $2 FROM held";

/// What is asked for again keeps its place.
const HOLD: &str = "
    INSERT INTO held_changes (realm_id, kind, subject_id, group_id, actor, request_id, created_at)
    SELECT $1, $2, subject, $4, $5, $6, $7 FROM unnest($3::uuid[]) AS subject
    ON CONFLICT DO NOTHING";

const RELEASE: &str = "
    DELETE FROM held_changes WHERE realm_id = $1 AND kind = $2 AND subject_id = ANY ($3) AND group_id = $4
    RETURNING true";

const LIST: &str = "
    SELECT h.place, h.kind, h.subject_id, h.group_id, h.actor, h.request_id, h.created_at,
           coalesce((SELECT attributes ->> 'userName' FROM users WHERE realm_id = $1 AND id = h.subject_id),
                    (SELECT attributes ->> 'displayName' FROM groups WHERE realm_id = $1 AND id = h.subject_id))
               AS subject_name,
           (SELECT attributes ->> 'displayName' FROM groups WHERE realm_id = $1 AND id = h.group_id) AS group_name
      FROM held_changes h
     WHERE h.realm_id = $1 AND h.place > $2 AND h.place <= $3 AND h.place IS NOT NULL
     ORDER BY h.realm_id, h.place LIMIT $4";

const STATUS: &str = "
    SELECT (SELECT count(*) FROM departures WHERE realm_id = $1 AND departed_at > $2) AS departed,
           coalesce((SELECT active_users FROM leaver_guards WHERE realm_id = $1),
                    (SELECT count(*) FROM users WHERE realm_id = $1 AND active AND managed)) AS active_users,
           (SELECT held_since FROM leaver_guards WHERE realm_id = $1) AS held_since,
           (SELECT count(*) FROM held_changes WHERE realm_id = $1) AS held";

/// Lets departures through again, if nothing is held any more, and forgets who departed: an operator has looked.
const CLOSE: &str = "
    WITH closed AS (
        UPDATE leaver_guards SET held_since = NULL
         WHERE realm_id = $1 AND held_since IS NOT NULL AND NOT EXISTS (SELECT FROM held_changes WHERE realm_id = $1)
        RETURNING realm_id),
    forgotten AS (DELETE FROM departures WHERE realm_id = $1 AND EXISTS (SELECT FROM closed))
    INSERT INTO outbox (realm_id, event, resource_id, version, attributes, actor, request_id, created_at)
    SELECT $1, $2, $1, 0, $3, $4, $5, $6 FROM closed
    RETURNING true";

const DISCARD: &str = "DELETE FROM held_changes WHERE realm_id = $1 AND place <= $2 RETURNING true";

/// The guard of the realm, held by this transaction until it ends. Always the last lock to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    pub active_users: i64,
    pub held_since: Option<Timestamp>,
}

/// Holds the guard; users who may come in are counted anew if they were last counted before `counted_since`.
pub async fn lock(tx: &mut RealmTx, at: Timestamp, counted_since: Timestamp) -> Result<Guard> {
    let rows = tx.query(LOCK, &[&at, &counted_since]).await?;
    let row = rows.first().ok_or(Error::Deadlock)?;
    Ok(Guard { active_users: row.try_get(0)?, held_since: row.try_get(1)? })
}

/// How many people have lost access since `since`, with these who are about to.
pub async fn count(tx: &mut RealmTx, people: &[Uuid], since: Timestamp, at: Timestamp) -> Result<i64> {
    let rows = tx.query(COUNT, &[&people, &since, &at]).await?;
    rows.first().map_or(Err(Error::Deadlock), |row| Ok(row.try_get(0)?))
}

/// From now on departures are held, and it is told.
pub async fn open(tx: &mut RealmTx, departed: i64, active_users: i64, origin: &Origin<'_>) -> Result<()> {
    let told = Json(json!({ "departed": departed, "active_users": active_users }));
    tx.query(OPEN, &[&origin.at, &told, &origin.actor, &origin.request_id]).await.map(|_| ())
}

pub async fn hold(
    tx: &mut RealmTx,
    departure: Departure,
    subjects: &[Uuid],
    group: Uuid,
    origin: &Origin<'_>,
) -> Result<()> {
    let (actor, request_id, at) = (&origin.actor, &origin.request_id, &origin.at);
    tx.query(HOLD, &[&departure.as_str(), &subjects, &group, actor, request_id, at]).await.map(|_| ())
}

/// Forgets what is held of these subjects, because it has happened or is no longer wanted. Answers how much that was.
pub async fn release(tx: &mut RealmTx, departure: Departure, subjects: &[Uuid], group: Uuid) -> Result<usize> {
    Ok(tx.query(RELEASE, &[&departure.as_str(), &subjects, &group]).await?.len())
}

/// Is this held?
pub async fn is_held(tx: &mut RealmTx, departure: Departure, subject: Uuid) -> Result<bool> {
    let sql = "SELECT FROM held_changes WHERE realm_id = $1 AND kind = $2 AND subject_id = $3";
    Ok(!tx.query(sql, &[&departure.as_str(), &subject]).await?.is_empty())
}

/// Is anything held?
pub async fn holds(tx: &mut RealmTx) -> Result<bool> {
    Ok(!tx.query("SELECT FROM held_changes WHERE realm_id = $1 LIMIT 1", &[]).await?.is_empty())
}

/// What is held behind the place `after`, up to `until`: the first `limit` of it.
pub async fn list(mut tx: RealmTx, after: i64, until: i64, limit: i64) -> Result<Vec<HeldChange>> {
    tx.finish(LIST, &[&after, &until, &limit]).await?.iter().map(held_from).collect()
}

/// `since` is the beginning of the window.
pub async fn status(mut tx: RealmTx, since: Timestamp) -> Result<GuardStatus> {
    let rows = tx.finish(STATUS, &[&since]).await?;
    let Some(row) = rows.first() else { return Ok(GuardStatus::default()) };
    Ok(GuardStatus {
        departed: row.try_get("departed")?,
        active_users: row.try_get("active_users")?,
        held_since: row.try_get("held_since")?,
        held: row.try_get("held")?,
    })
}

/// The place of the newest that is held; `None` if nothing is.
pub async fn newest(mut tx: RealmTx) -> Result<Option<i64>> {
    let rows = tx.finish("SELECT max(place) FROM held_changes WHERE realm_id = $1", &[]).await?;
    rows.first().map_or(Ok(None), |row| Ok(row.try_get(0)?))
}

/// Forgets all that is held up to `until`. How many changes were that?
pub async fn discard(tx: &mut RealmTx, until: i64) -> Result<usize> {
    Ok(tx.query(DISCARD, &[&until]).await?.len())
}

/// Lets departures through again, if nothing is held any more, and tells so by `event`. Is it so?
pub async fn close(tx: &mut RealmTx, event: &str, changes: usize, origin: &Origin<'_>) -> Result<bool> {
    let told = Json(json!({ "changes": changes }));
    let rows = tx.query(CLOSE, &[&event, &told, &origin.actor, &origin.request_id, &origin.at]).await?;
    Ok(!rows.is_empty())
}

fn held_from(row: &Row) -> Result<HeldChange> {
    let kind: String = row.try_get("kind")?;
    Ok(HeldChange {
        place: row.try_get("place")?,
        departure: Departure::parse(&kind)
            .ok_or_else(|| Error::Unavailable(format!("a held change of kind `{kind}` is in the database")))?,
        subject: row.try_get("subject_id")?,
        group: row.try_get("group_id")?,
        actor: row.try_get::<_, Json<Actor>>("actor")?.0,
        request_id: row.try_get("request_id")?,
        at: row.try_get("created_at")?,
        subject_name: row.try_get("subject_name")?,
        group_name: row.try_get("group_name")?,
    })
}
