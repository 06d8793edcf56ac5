//! Webhooks of a realm, as operators see them. What senders do with them is in `senders`.

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    tx::RealmTx,
};
use crate::model::{
    WebhookId,
    webhook::{Attempt, EventFilter, Format, Standing, State, Webhook, WebhookUrl},
};

/// With where each stands. A realm of which nothing was ever told has no row in `feeds`.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT w.*, c.cursor, c.state, coalesce(f.seq, 0) AS head, coalesce(f.oldest, 1) AS oldest
               FROM webhooks w JOIN webhook_cursors c ON c.realm_id = w.realm_id AND c.webhook_id = w.id
               LEFT JOIN feeds f ON f.realm_id = w.realm_id
              WHERE w.realm_id = $1 ",
            $rest
        )
    };
}

const LIST: &str = select!("ORDER BY w.id");

const FIND: &str = select!("AND w.id = $2");

/// Begins behind the cursor `$10`, or behind the last event that there is.
const INSERT: &str = "
    WITH made AS (
        INSERT INTO webhooks (realm_id, id, url, description, events, format, enabled, secrets, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9))
    INSERT INTO webhook_cursors (realm_id, webhook_id, enabled, cursor, state, parked)
    VALUES ($1, $2, $7, coalesce($10::bigint, (SELECT seq FROM feeds WHERE realm_id = $1), 0), $11, false)";

const UPDATE: &str = "
    WITH changed AS (
        UPDATE webhooks SET url = $3, description = $4, events = $5, format = $6, enabled = $7,
                            secrets = coalesce($8::bytea, secrets), previous_secret_until = $9, updated_at = $10
         WHERE realm_id = $1 AND id = $2)
    UPDATE webhook_cursors SET enabled = $7, revision = revision + 1 WHERE realm_id = $1 AND webhook_id = $2";

/// Whoever sends to it is fenced off from the cursor, and reads it anew.
const MOVE: &str = "
    UPDATE webhook_cursors SET cursor = $3, state = $4, parked = false, fence = fence + 1
     WHERE realm_id = $1 AND webhook_id = $2";

const STOP_ALL: &str = "UPDATE webhook_cursors SET enabled = false, fence = fence + 1 WHERE realm_id = $1";

const ATTEMPTS: &str = "
    SELECT * FROM deliveries
     WHERE realm_id = $1 AND webhook_id = $2 AND id < $3 AND (NOT $4 OR error IS NOT NULL) ORDER BY id DESC LIMIT $5";

/// Of the endpoint, if it is there.
const NOTE: &str = "
    INSERT INTO deliveries
    SELECT realm_id, webhook_id, $3, $4, $5, $6, $7, $8, $9, $10
      FROM webhook_cursors WHERE realm_id = $1 AND webhook_id = $2 FOR SHARE";

/// The endpoint which follows on `$2` among those of which there are attempts, be it there still or not.
const NEXT_WITH_ATTEMPTS: &str = "
    SELECT webhook_id FROM deliveries WHERE realm_id = $1 AND webhook_id > $2 ORDER BY webhook_id LIMIT 1";

const DELETE_ATTEMPTS: &str = "
    WITH gone AS (
        DELETE FROM deliveries
         WHERE realm_id = $1 AND webhook_id = $2
           AND id IN (SELECT id FROM deliveries WHERE realm_id = $1 AND webhook_id = $2 AND id < $3 ORDER BY id LIMIT $4)
        RETURNING true)
    SELECT count(*) FROM gone";

/// Which attempts are wanted, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Older than this one.
    pub before: Option<Uuid>,
    /// Only those which failed.
    pub failed: bool,
    pub limit: i64,
}

/// A webhook as it is kept.
#[derive(Debug)]
pub struct Kept {
    pub webhook: Webhook,
    pub standing: Standing,
    /// Encrypted.
    pub secrets: Vec<u8>,
}

/// In the order in which they were made.
pub async fn list(mut tx: RealmTx) -> Result<Vec<Kept>> {
    tx.finish(LIST, &[]).await?.iter().map(kept_from).collect()
}

pub async fn count(tx: &mut RealmTx) -> Result<i64> {
    let rows = tx.query("SELECT count(*) FROM webhooks WHERE realm_id = $1", &[]).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

pub async fn find(tx: &mut RealmTx, id: WebhookId) -> Result<Option<Kept>> {
    tx.query(FIND, &[&id.0]).await?.first().map(kept_from).transpose()
}

/// Adds one, which begins behind `cursor`, or with what happens from now on.
pub async fn insert(tx: &mut RealmTx, webhook: &Webhook, secrets: &[u8], cursor: Option<i64>) -> Result<()> {
    let Webhook { id, url, description, events, format, enabled, created_at, .. } = webhook;
    let (url, events, state) = (url.as_str(), events.patterns(), Json(State::Active));
    tx.query(
        INSERT,
        &[&id.0, &url, description, &events, &word_of(*format), enabled, &secrets, created_at, &cursor, &state],
    )
    .await
    .map(|_| ())
}

/// Writes what may change; the secrets only if there are new ones.
pub async fn update(tx: &mut RealmTx, webhook: &Webhook, secrets: Option<&[u8]>) -> Result<()> {
    let Webhook { id, url, description, events, format, enabled, previous_secret_until, updated_at, .. } = webhook;
    let (url, events) = (url.as_str(), events.patterns());
    tx.query(
        UPDATE,
        &[&id.0, &url, description, &events, &word_of(*format), enabled, &secrets, previous_secret_until, updated_at],
    )
    .await
    .map(|_| ())
}

/// Goes on behind `cursor`, at once.
pub async fn move_to(tx: &mut RealmTx, id: WebhookId, cursor: i64) -> Result<()> {
    tx.query(MOVE, &[&id.0, &cursor, &Json(State::Active)]).await.map(|_| ())
}

/// Ends all sending for the realm: from here on nobody writes down an attempt.
pub async fn stop_all(tx: &mut RealmTx) -> Result<()> {
    tx.query(STOP_ALL, &[]).await.map(|_| ())
}

/// Deletes the webhook; its attempts stay for [`delete_attempts`].
pub async fn delete(tx: &mut RealmTx, id: WebhookId) -> Result<()> {
    tx.query("DELETE FROM webhooks WHERE realm_id = $1 AND id = $2", &[&id.0]).await.map(|_| ())
}

pub async fn attempts(mut tx: RealmTx, id: WebhookId, window: Window) -> Result<Vec<Attempt>> {
    let Window { before, failed, limit } = window;
    let before = before.unwrap_or(Uuid::max());
    tx.finish(ATTEMPTS, &[&id.0, &before, &failed, &limit]).await?.iter().map(attempt_from).collect()
}

/// Writes down an attempt which was made out of line.
pub async fn note(mut tx: RealmTx, id: WebhookId, attempt: &Attempt) -> Result<()> {
    let Attempt { id: place, seq, event_id, at, error, .. } = attempt;
    let (number, status, duration) = columns_of(attempt);
    tx.finish(NOTE, &[&id.0, place, seq, event_id, &number, at, &status, &duration, error]).await.map(|_| ())
}

/// The endpoint behind `after` of which attempts are kept.
pub async fn next_with_attempts(mut tx: RealmTx, after: WebhookId) -> Result<Option<WebhookId>> {
    let rows = tx.finish(NEXT_WITH_ATTEMPTS, &[&after.0]).await?;
    rows.first().map(|row| Ok(WebhookId(row.try_get(0)?))).transpose()
}

/// Deletes up to `limit` attempts older than `before`, a UUIDv7 or the largest id. Answers how many there were.
pub async fn delete_attempts(mut tx: RealmTx, id: WebhookId, before: Uuid, limit: i64) -> Result<i64> {
    let rows = tx.finish(DELETE_ATTEMPTS, &[&id.0, &before, &limit]).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// Number, status and duration in milliseconds, as their columns take them.
pub(super) fn columns_of(attempt: &Attempt) -> (i32, Option<i16>, i32) {
    (
        i32::try_from(attempt.number).unwrap_or(i32::MAX),
        attempt.status.and_then(|status| i16::try_from(status).ok()),
        i32::try_from(attempt.duration.as_millis()).unwrap_or(i32::MAX),
    )
}

const fn word_of(format: Format) -> &'static str {
    match format {
        Format::Webhook => "webhook",
        Format::Set => "set",
    }
}

fn kept_from(row: &Row) -> Result<Kept> {
    let format: &str = row.try_get("format")?;
    let format = match format {
        "webhook" => Format::Webhook,
        "set" => Format::Set,
        other => return Err(Error::Unavailable(format!("`{other}` in the database is no format of a webhook"))),
    };
    Ok(Kept {
        webhook: Webhook {
            id: WebhookId(row.try_get("id")?),
            url: WebhookUrl::stored(row.try_get("url")?),
            description: row.try_get("description")?,
            events: EventFilter::stored(row.try_get("events")?),
            enabled: row.try_get("enabled")?,
            format,
            previous_secret_until: row.try_get("previous_secret_until")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        },
        standing: Standing {
            cursor: row.try_get("cursor")?,
            state: row.try_get::<_, Json<State>>("state")?.0,
            head: row.try_get("head")?,
            oldest: row.try_get("oldest")?,
        },
        secrets: row.try_get("secrets")?,
    })
}

fn attempt_from(row: &Row) -> Result<Attempt> {
    let whole = |number: i32| u32::try_from(number).unwrap_or_default();
    Ok(Attempt {
        id: row.try_get("id")?,
        seq: row.try_get("seq")?,
        event_id: row.try_get("event_id")?,
        number: whole(row.try_get("attempt")?),
        at: row.try_get::<_, Timestamp>("at")?,
        status: row.try_get::<_, Option<i16>>("status")?.and_then(|status| u16::try_from(status).ok()),
        duration: SignedDuration::from_millis(i64::from(row.try_get::<_, i32>("duration_ms")?)),
        error: row.try_get("error")?,
    })
}
