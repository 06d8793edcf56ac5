//! What was: events of one resource, and of a request or a span of time.

use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::Result,
    events::event_from,
    tx::{RealmTx, Statement},
};
use crate::model::{event::Event, history::Past};

/// Bytes of events which are read in one go.
const ROOM: usize = 16 << 20;
/// Events which are looked through in one go for those of a request.
const WINDOW: i64 = 50_000;
/// How long after its beginning a request may end, in milliseconds: its entry in the log is found by that.
const LASTS: i64 = 60_000;

/// The last event of the resource's life up to `$3`, and the first one after it.
const LAST: &str = "
    SELECT * FROM events
     WHERE realm_id = $1 AND resource_id = $2 AND event = ANY ($4) AND created_at <= $3 ORDER BY seq DESC LIMIT 1";
const NEXT: &str = "
    SELECT * FROM events
     WHERE realm_id = $1 AND resource_id = $2 AND event = ANY ($4) AND created_at > $3 ORDER BY seq LIMIT 1";

/// The oldest event that is kept, and its time.
const KEPT: &str = "
    SELECT oldest, (SELECT created_at FROM events WHERE realm_id = $1 AND seq >= f.oldest ORDER BY seq LIMIT 1)
      FROM feeds f WHERE realm_id = $1";

/// When the resource was created, if it is there, or a tombstone of it, or the event which tells of that.
const CREATED_AT: &str = "
    SELECT coalesce((SELECT created_at FROM users WHERE realm_id = $1 AND id = $2),
                    (SELECT created_at FROM groups WHERE realm_id = $1 AND id = $2),
                    (SELECT created_at FROM tombstones
                      WHERE realm_id = $1 AND resource_type IN ('User', 'Group') AND id = $2 LIMIT 1),
                    (SELECT created_at FROM events
                      WHERE realm_id = $1 AND resource_id = $2 AND event LIKE 'dsync.%.created'
                      ORDER BY seq LIMIT 1))";

/// Each arm is read backwards by an index of its own.
const OF: &str = "
    SELECT * FROM (
        (SELECT * FROM events WHERE realm_id = $1 AND resource_id = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4)
        UNION ALL
        (SELECT * FROM events WHERE realm_id = $1 AND member_id = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4)) e
     ORDER BY seq DESC LIMIT $4";

/// Entries of the request log, by what they were and about when they were made.
const LOGGED: &str = "
    SELECT t.place, l.id
      FROM unnest($2::text[], $3::uuid[], $4::uuid[]) WITH ORDINALITY AS t (request_id, since, until, place),
           LATERAL (SELECT id FROM request_log
                     WHERE realm_id = $1 AND id >= t.since AND id < t.until AND request_id = t.request_id
                     ORDER BY id LIMIT 1) l";

/// Who was in the group at `$3`: whoever is, but for those who came later, and those who left later.
const MEMBERS: &str = "
    WITH later AS (
        SELECT DISTINCT ON (member_id) member_id, event FROM events
         WHERE realm_id = $1 AND resource_id = $2 AND created_at > $3
           AND event IN ('dsync.group.user_added', 'dsync.group.user_removed')
         ORDER BY member_id, seq)
    SELECT member_id FROM group_members m
     WHERE realm_id = $1 AND group_id = $2 AND NOT EXISTS (SELECT FROM later l WHERE l.member_id = m.member_id)
    UNION ALL
    SELECT member_id FROM later WHERE event = 'dsync.group.user_removed'
    ORDER BY 1 LIMIT $4";

/// From the first event of the span to the last.
const EDGES: &str = "
    SELECT min(seq), max(seq) FROM events
     WHERE realm_id = $1 AND created_at >= coalesce($2, '-infinity'::timestamptz)
       AND created_at <= coalesce($3, 'infinity'::timestamptz)";

const IN_WINDOW: &str = "
    SELECT * FROM events
     WHERE realm_id = $1 AND seq > $2 AND seq <= $3
       AND ($4::text IS NULL OR request_id = $4)
       AND ($5::timestamptz IS NULL OR created_at >= $5) AND ($6::timestamptz IS NULL OR created_at <= $6)
       AND ($7::text IS NULL OR actor ->> 'id' = $7)
     ORDER BY seq";

/// Which events are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    pub request_id: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// The id of whoever changed something.
    pub actor: Option<String>,
}

/// Where the events begin which are kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    pub oldest: i64,
    /// The time of that one, if there were others before it.
    pub since: Option<Timestamp>,
}

/// What is known of the resource `id` at `at`, by the events which are named.
pub async fn past(tx: &mut RealmTx, id: Uuid, at: Timestamp, names: &[&str]) -> Result<Past> {
    let params: [&(dyn ToSql + Sync); 3] = [&id, &at, &names];
    let last = tx.query(LAST, &params).await?.first().map(event_from).transpose()?;
    let next = match &last {
        None => tx.query(NEXT, &params).await?.first().map(event_from).transpose()?,
        Some(_) => None,
    };
    let created_at = tx.query(CREATED_AT, &[&id]).await?.first().map_or(Ok(None), |row| row.try_get(0))?;
    Ok(Past { last, next, kept_since: kept(tx).await?.since, created_at })
}

/// Where the events begin which are kept.
pub async fn kept(tx: &mut RealmTx) -> Result<Kept> {
    let rows = tx.query(KEPT, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Kept { oldest: 1, since: None }) };
    let (oldest, since): (i64, Option<Timestamp>) = (row.try_get(0)?, row.try_get(1)?);
    let since = if oldest > 1 { since.or(Some(Timestamp::MAX)) } else { None };
    Ok(Kept { oldest, since })
}

/// Events about `id`, as the resource or as the member, before `before`, newest first.
pub async fn of(tx: &mut RealmTx, id: Uuid, before: i64, limit: i64) -> Result<Vec<Event>> {
    tx.query(OF, &[&id, &before, &limit]).await?.iter().map(event_from).collect()
}

/// For each request, by its id and when it came in: its id in the request log, if it is there.
pub async fn logged(tx: &mut RealmTx, requests: &[(&str, Timestamp)]) -> Result<Vec<Option<Uuid>>> {
    let ids: Vec<&str> = requests.iter().map(|(id, _)| *id).collect();
    let since: Vec<Uuid> = requests.iter().map(|(_, at)| made_at(at.as_millisecond())).collect();
    let until: Vec<Uuid> = requests.iter().map(|(_, at)| made_at(at.as_millisecond() + LASTS)).collect();
    let mut logged = vec![None; requests.len()];
    for row in tx.query(LOGGED, &[&ids, &since, &until]).await? {
        let place = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or_default();
        if let Some(found) = logged.get_mut(place) {
            *found = Some(row.try_get(1)?);
        }
    }
    Ok(logged)
}

/// The members of the group at `at`, at most `most`, in the order of their ids.
pub async fn members(tx: &mut RealmTx, group: Uuid, at: Timestamp, most: i64) -> Result<Vec<Uuid>> {
    tx.query(MEMBERS, &[&group, &at, &most]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The first and the last event of the span of time; `None` if there is none.
pub async fn edges(mut tx: RealmTx, which: &Which) -> Result<Option<(i64, i64)>> {
    let rows = tx.finish(EDGES, &[&which.from, &which.to]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(row.try_get::<_, Option<i64>>(0)?.zip(row.try_get(1)?))
}

/// Events which are meant, in order, from behind `after` on; and up to which there are no others, at most `last`.
pub async fn some(mut tx: RealmTx, which: &Which, after: i64, last: i64) -> Result<(Vec<Event>, i64)> {
    let end = last.min(after + WINDOW);
    let params: [&(dyn ToSql + Sync); 6] = [&after, &end, &which.request_id, &which.from, &which.to, &which.actor];
    let found = tx.finish_within(Statement::Kept(IN_WINDOW, &params), ROOM).await?;
    let events: Vec<Event> = found.rows.iter().map(event_from).collect::<Result<_>>()?;
    let scanned = events.last().filter(|_| found.cut).map_or(end, |event| event.seq);
    Ok((events, scanned))
}

/// The least UUIDv7 of a millisecond.
fn made_at(millisecond: i64) -> Uuid {
    let millisecond = u128::try_from(millisecond).unwrap_or_default();
    Uuid::from_u128(millisecond << 80)
}
