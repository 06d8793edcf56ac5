//! Streams of security event tokens, and how far their receivers are.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    tx::RealmTx,
};
use crate::model::{
    StreamId,
    stream::{EventStream, Place},
    token::TokenHash,
    webhook::EventFilter,
};

const LIST: &str = "SELECT * FROM event_streams WHERE realm_id = $1 ORDER BY id";

const FIND: &str = "SELECT * FROM event_streams WHERE realm_id = $1 AND id = $2";

/// Begins behind `$7`, or behind the last event that there is.
const INSERT: &str = "
    INSERT INTO event_streams (realm_id, id, name, audience, events, token_hash, cursor, sent, created_at)
    SELECT $1, $2, $3, $4, $5, $6, place, place, $8
      FROM (SELECT coalesce($7::bigint, (SELECT seq FROM feeds WHERE realm_id = $1), 0) AS place) p
    RETURNING *";

const DELETE: &str = "DELETE FROM event_streams WHERE realm_id = $1 AND id = $2 RETURNING name";

const ADVANCE: &str = "
    UPDATE event_streams
       SET cursor = $4, sent = $5, acknowledged = $6, revision = revision + 1,
           acknowledged_at = coalesce($7, acknowledged_at), last_error = coalesce($8, last_error)
     WHERE realm_id = $1 AND id = $2 AND revision = $3
    RETURNING true";

const NUMBERS: &str = "
    SELECT seq FROM events WHERE realm_id = $1 AND seq > $2 AND seq <= $3 AND id = ANY ($4::uuid[])";

/// What a receiver said of what it had.
#[derive(Debug, Default)]
pub struct Word<'a> {
    /// When it acknowledged something.
    pub at: Option<Timestamp>,
    /// What was wrong with a token.
    pub error: Option<&'a Value>,
}

/// In the order in which they were made.
pub async fn list(mut tx: RealmTx) -> Result<Vec<EventStream>> {
    tx.finish(LIST, &[]).await?.iter().map(stream_from).collect()
}

pub async fn count(tx: &mut RealmTx) -> Result<i64> {
    let rows = tx.query("SELECT count(*) FROM event_streams WHERE realm_id = $1", &[]).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

pub async fn find(tx: &mut RealmTx, id: StreamId) -> Result<Option<EventStream>> {
    tx.query(FIND, &[&id.0]).await?.first().map(stream_from).transpose()
}

/// Adds a stream which begins behind `cursor`, or with what happens from now on; answers it as it stands.
pub async fn insert(tx: &mut RealmTx, stream: &EventStream, cursor: Option<i64>) -> Result<EventStream> {
    let EventStream { id, name, audience, events, token, created_at, .. } = stream;
    let (events, token) = (events.patterns(), token.as_bytes());
    let rows = tx.query(INSERT, &[&id.0, name, audience, &events, &token, &cursor, created_at]).await?;
    rows.first().map_or_else(|| Err(Error::Unavailable("no answer of a new stream".into())), stream_from)
}

/// Deletes the stream. Answers its name, if it was there.
pub async fn delete(tx: &mut RealmTx, id: StreamId) -> Result<Option<String>> {
    tx.query(DELETE, &[&id.0]).await?.first().map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Writes down how far the receiver is; `false` if somebody else has done so since `place` was read.
pub async fn advance(mut tx: RealmTx, id: StreamId, place: &Place, word: Word<'_>) -> Result<bool> {
    let Place { cursor, sent, acknowledged, revision } = place;
    let rows =
        tx.finish(ADVANCE, &[&id.0, revision, cursor, sent, acknowledged, &word.at, &word.error.map(Json)]).await?;
    Ok(!rows.is_empty())
}

/// The numbers of those of the events which are behind the cursor and were handed out.
pub async fn numbers(tx: &mut RealmTx, place: &Place, events: &[Uuid]) -> Result<Vec<i64>> {
    let rows = tx.query(NUMBERS, &[&place.cursor, &place.sent, &events]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn stream_from(row: &Row) -> Result<EventStream> {
    let token: &[u8] = row.try_get("token_hash")?;
    Ok(EventStream {
        id: StreamId(row.try_get("id")?),
        name: row.try_get("name")?,
        audience: row.try_get("audience")?,
        events: EventFilter::stored(row.try_get("events")?),
        token: TokenHash::stored(token).ok_or_else(|| Error::Unavailable("a stored hash is none".into()))?,
        place: Place {
            cursor: row.try_get("cursor")?,
            sent: row.try_get("sent")?,
            acknowledged: row.try_get("acknowledged")?,
            revision: row.try_get("revision")?,
        },
        acknowledged_at: row.try_get("acknowledged_at")?,
        last_error: row.try_get::<_, Option<Json<Value>>>("last_error")?.map(|error| error.0),
        created_at: row.try_get("created_at")?,
    })
}
