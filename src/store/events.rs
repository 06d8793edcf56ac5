//! Events: the outbox put in order, one sequence for each realm.

use std::{collections::VecDeque, sync::LazyLock};

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::{
    Store,
    error::{Error, Result},
    tx::{RealmTx, Statement},
};
use crate::model::{
    Actor, RealmId,
    event::{Event, Places},
    policy::EventsKept,
};

/// Hash partitions of every tenant table, each of which has one sequencer at a time.
pub const PARTITIONS: usize = 8;
/// Rows which one step moves, at most: some tens of milliseconds.
pub const STEP: i64 = 2_000;
/// Bytes of rows in one answer, at most.
const ROOM: usize = 8 << 20;
/// The channel on which a sequencer tells the other nodes how far a realm has come.
pub(super) const CHANNEL: &str = "realmgate_events";

const ENTER_PARTITION: &str = "SELECT enter_partition($1)";
pub(super) const OVERSEE: &str = "SELECT oversee()";

/// [`Event::revokes`] as a condition.
const REVOKES: &str = "
    CASE event WHEN 'dsync.user.deleted' THEN facts ->> 'state' IS DISTINCT FROM 'disabled'
               WHEN 'dsync.user.updated' THEN facts ->> 'state' = 'disabled' AND previous -> 'active' <> 'false'
               ELSE false END";

/// One statement for each partition. The rows of realms which are gone go as well, and are told to nobody.
static MOVE: LazyLock<[String; PARTITIONS]> = LazyLock::new(|| std::array::from_fn(move_of));

fn move_of(partition: usize) -> String {
    format!(
        "WITH due AS (
             DELETE FROM outbox_{partition}
              WHERE ctid = ANY (ARRAY(SELECT ctid FROM outbox_{partition} ORDER BY id LIMIT $2))
             RETURNING *),
         counted AS (
             SELECT d.realm_id, count(*) AS events FROM due d JOIN realms r ON r.id = d.realm_id GROUP BY d.realm_id),
         raised AS (
             INSERT INTO feeds AS f (realm_id, seq) SELECT realm_id, events FROM counted
             ON CONFLICT (realm_id) DO UPDATE SET seq = f.seq + excluded.seq
             RETURNING realm_id, seq),
         placed AS (
             INSERT INTO events_{partition} (realm_id, seq, place, id, event, resource_id, version, member_id,
                                             attributes, previous, facts, actor, request_id, created_at)
             SELECT d.realm_id, r.seq - c.events + row_number() OVER (PARTITION BY d.realm_id ORDER BY d.id),
                    (SELECT place FROM sequencers WHERE partition = {partition}) + row_number() OVER (ORDER BY d.id),
                    gen_random_uuid(), d.event, d.resource_id, d.version, d.member_id, d.attributes, d.previous,
                    d.facts, d.actor, d.request_id, d.created_at
               FROM due d JOIN raised r USING (realm_id) JOIN counted c USING (realm_id)
             RETURNING realm_id, seq, place, resource_id, created_at, {REVOKES} AS revokes),
         revoked AS (
             INSERT INTO revocations_{partition} (realm_id, seq, place, user_id, requested_at)
             SELECT realm_id, seq, place, resource_id, created_at FROM placed WHERE revokes),
         moved AS (
             UPDATE sequencers SET place = place + (SELECT sum(events) FROM counted)::bigint
              WHERE partition = {partition} AND EXISTS (SELECT FROM counted))
         SELECT r.realm_id, r.seq, (SELECT count(*) FROM due) AS taken,
                CASE WHEN $1 THEN pg_notify('{CHANNEL}', r.realm_id || ' ' || r.seq) END
           FROM raised r
         UNION ALL
         SELECT NULL, NULL, count(*), NULL FROM due"
    )
}

static WAITING: LazyLock<String> = LazyLock::new(|| {
    let of = |partition: usize| {
        format!(
            "SELECT {partition}::smallint, count(*), min(created_at)
               FROM (SELECT created_at FROM outbox_{partition} ORDER BY id LIMIT 100000) o"
        )
    };
    std::array::from_fn::<_, PARTITIONS, _>(of).join(" UNION ALL ")
});

/// How far one statement looks for the kinds which are wanted: some tens of milliseconds.
const WINDOW: i64 = 50_000;

/// What was looked at is what lies between the cursor and `scanned`, however little of it is wanted: a reader of few
/// kinds moves on all the same.
const AFTER: &str = "
    WITH feed AS (
        SELECT coalesce(max(seq), 0) AS head, coalesce(max(oldest), 1) AS oldest,
               EXISTS (SELECT FROM revocations WHERE realm_id = $1 AND seq <= $2 AND acknowledged_at IS NULL)
                 AS unacknowledged
          FROM feeds WHERE realm_id = $1)
    SELECT f.head, f.oldest, f.unacknowledged, e.*
      FROM feed f
      LEFT JOIN LATERAL (
          SELECT * FROM events
           WHERE realm_id = $1 AND seq > $2 AND seq <= f.head
             AND (cardinality($4::text[]) = 0
                  OR event = ANY ($4) AND seq <= greatest($2, f.oldest - 1) + $5)
           ORDER BY seq LIMIT $3) e ON true
     ORDER BY e.seq";

const HEADS: &str = "SELECT realm_id, seq FROM feeds WHERE realm_id = ANY ($1)";

/// Of each partition the events behind its place, at most `$2`.
static AFTER_PLACES: LazyLock<String> = LazyLock::new(|| {
    let of = |partition: usize| {
        let place = partition + 1;
        format!(
            "(SELECT {partition}::smallint AS partition, r.name AS realm_name, e.*
                FROM events_{partition} e JOIN realms r ON r.id = e.realm_id
               WHERE e.place > ($1::bigint[])[{place}] ORDER BY e.place LIMIT $2)"
        )
    };
    std::array::from_fn::<_, PARTITIONS, _>(of).join(" UNION ALL ")
});

const PLACES: &str = "SELECT place FROM sequencers ORDER BY partition";

/// Of the oldest events those which come before the first that is to be kept.
const DELETE_SOME: &str = "
    WITH oldest AS (SELECT seq, created_at FROM events WHERE realm_id = $1 ORDER BY seq LIMIT $3),
    gone AS (
        DELETE FROM events
         WHERE realm_id = $1
           AND seq IN (SELECT seq FROM oldest
                        WHERE seq < coalesce((SELECT min(seq) FROM oldest WHERE created_at >= $2), 1::bigint << 62))
        RETURNING seq),
    moved AS (
        UPDATE feeds SET oldest = (SELECT max(seq) + 1 FROM gone) WHERE realm_id = $1 AND EXISTS (SELECT FROM gone)),
    forgotten AS (
        DELETE FROM revocations WHERE realm_id = $1 AND seq <= (SELECT max(seq) FROM gone))
    SELECT count(*) FROM gone";

const KEPT: &str = "
    SELECT id, epoch, policy -> 'events_keep' FROM realms WHERE id > $1 ORDER BY id LIMIT 1000";

/// What a step moved.
#[derive(Debug, Default)]
pub struct Moved {
    /// How far each realm has come by it.
    pub heads: Vec<(RealmId, i64)>,
    pub rows: i64,
}

/// What waits for a sequencer in a partition.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    pub partition: usize,
    /// As far as they were counted.
    pub rows: i64,
    /// When the oldest of them was written.
    pub since: Option<Timestamp>,
}

/// Events of a realm behind a cursor.
#[derive(Debug)]
pub struct Stretch {
    pub events: Vec<Event>,
    /// Up to which `seq` there are no others of the wanted kinds: the cursor to go on from.
    pub scanned: i64,
    /// The realm's last event.
    pub head: i64,
    /// The oldest event that is kept; one more than `head` if none is.
    pub oldest: i64,
    /// Did somebody lose access by an event up to the cursor, which no application has acknowledged?
    pub unacknowledged: bool,
}

/// How long a realm keeps its events.
#[derive(Debug)]
pub struct Keeping {
    pub realm: RealmId,
    pub epoch: i64,
    pub keep: EventsKept,
}

/// Gives places to what waits in the partition, up to `limit` rows. The other nodes are told if `tells`.
pub async fn step(store: &Store, partition: usize, limit: i64, tells: bool) -> Result<Moved> {
    let number = i16::try_from(partition).unwrap_or(i16::MAX);
    let rows = store.query_from((ENTER_PARTITION, &[&number]), &MOVE[partition], &[&tells, &limit]).await?;
    let mut moved = Moved::default();
    for row in &rows {
        moved.rows = row.try_get("taken")?;
        if let Some(realm) = row.try_get::<_, Option<Uuid>>("realm_id")? {
            moved.heads.push((RealmId(realm), row.try_get("seq")?));
        }
    }
    Ok(moved)
}

/// What waits in each partition.
pub async fn waiting(store: &Store) -> Result<Vec<Waiting>> {
    let waiting = |row: &Row| {
        let partition = usize::try_from(row.try_get::<_, i16>(0)?).unwrap_or_default();
        Ok(Waiting { partition, rows: row.try_get(1)?, since: row.try_get(2)? })
    };
    store.query_from((OVERSEE, &[]), &WAITING, &[]).await?.iter().map(waiting).collect()
}

/// The partition which a realm's rows are in.
pub async fn partition_of(store: &Store, realm: RealmId) -> Result<usize> {
    let rows = store.query("SELECT partition_of($1)", &[&realm.0]).await?;
    let number: i16 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(usize::try_from(number).unwrap_or_default())
}

/// The last `seq` of realms.
pub async fn heads(store: &Store, realms: &[RealmId]) -> Result<Vec<(RealmId, i64)>> {
    let realms: Vec<Uuid> = realms.iter().map(|realm| realm.0).collect();
    let rows = store.query_from((OVERSEE, &[]), HEADS, &[&realms]).await?;
    rows.iter().map(|row| Ok((RealmId(row.try_get(0)?), row.try_get(1)?))).collect()
}

/// Events of the realm behind `after`, oldest first, of the named kinds or, if none is named, of all.
pub async fn after(mut tx: RealmTx, after: i64, limit: i64, names: &[String]) -> Result<Stretch> {
    let found = tx.finish_within(Statement::Kept(AFTER, &[&after, &limit, &names, &WINDOW]), ROOM).await?;
    let first = found.rows.first().ok_or_else(|| Error::Unavailable("no answer of the events".into()))?;
    let (head, oldest): (i64, i64) = (first.try_get("head")?, first.try_get("oldest")?);
    let is_there = |row: &&Row| row.try_get::<_, Option<i64>>("seq").is_ok_and(|seq| seq.is_some());
    let events: Vec<Event> = found.rows.iter().filter(is_there).map(event_from).collect::<Result<_>>()?;
    let is_full = found.cut || i64::try_from(events.len()).is_ok_and(|read| read >= limit);
    let scanned = match events.last() {
        Some(last) if is_full => last.seq,
        _ if names.is_empty() => head.max(after),
        _ => head.min(after.max(oldest - 1) + WINDOW).max(after),
    };
    let unacknowledged = first.try_get("unacknowledged")?;
    Ok(Stretch { events, scanned, head, oldest, unacknowledged })
}

/// Events of all realms behind `places`, each with its realm's name: at most `limit` of them, about the oldest first, and
/// the places to go on from. Of one realm they are in order.
pub async fn after_places(store: &Store, places: Places, limit: usize) -> Result<(Vec<(String, Event)>, Places)> {
    // A part from each partition: a page may hold fewer than are there, and is never read for naught.
    let most = i64::try_from(limit.div_ceil(PARTITIONS)).unwrap_or(i64::MAX);
    let rows = store.query_from((OVERSEE, &[]), &AFTER_PLACES, &[&places.0.as_slice(), &most]).await?;
    let mut queues: [VecDeque<(i64, String, Event)>; PARTITIONS] = std::array::from_fn(|_| VecDeque::new());
    for row in &rows {
        let partition = usize::try_from(row.try_get::<_, i16>("partition")?).unwrap_or_default();
        queues[partition].push_back((row.try_get("place")?, row.try_get("realm_name")?, event_from(row)?));
    }
    let (mut events, mut next) = (Vec::new(), places);
    while events.len() < limit {
        let waiting =
            queues.iter().enumerate().filter_map(|(i, queue)| queue.front().map(|(_, _, event)| (event.at, i)));
        let Some((_, partition)) = waiting.min() else { break };
        if let Some((place, realm, event)) = queues[partition].pop_front() {
            next.0[partition] = place;
            events.push((realm, event));
        }
    }
    Ok((events, next))
}

/// The places behind the last events of all realms.
pub async fn places(store: &Store) -> Result<Places> {
    let mut places = Places::default();
    for (place, row) in places.0.iter_mut().zip(store.query(PLACES, &[]).await?) {
        *place = row.try_get(0)?;
    }
    Ok(places)
}

/// Deletes up to `most` events from before `at`, the oldest first. Answers how many.
pub async fn delete_some(mut tx: RealmTx, at: Timestamp, most: i64) -> Result<i64> {
    let rows = tx.finish(DELETE_SOME, &[&at, &most]).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// Realms by id, some of those behind `after`.
pub async fn kept(store: &Store, after: RealmId) -> Result<Vec<Keeping>> {
    let kept = |row: &Row| {
        let keep: Option<Json<EventsKept>> = row.try_get(2)?;
        let keep = keep.map_or_else(EventsKept::default, |keep| keep.0);
        Ok(Keeping { realm: RealmId(row.try_get(0)?), epoch: row.try_get(1)?, keep })
    };
    store.query(KEPT, &[&after.0]).await?.iter().map(kept).collect()
}

pub(super) fn event_from(row: &Row) -> Result<Event> {
    let json = |column| Ok::<_, Error>(row.try_get::<_, Option<Json<Value>>>(column)?.map(|json| json.0));
    Ok(Event {
        realm: RealmId(row.try_get("realm_id")?),
        seq: row.try_get("seq")?,
        id: row.try_get("id")?,
        name: row.try_get("event")?,
        resource_id: row.try_get("resource_id")?,
        version: row.try_get("version")?,
        member_id: row.try_get("member_id")?,
        attributes: json("attributes")?,
        previous: json("previous")?,
        facts: json("facts")?.unwrap_or_default(),
        actor: row.try_get::<_, Json<Actor>>("actor")?.0,
        request_id: row.try_get("request_id")?,
        at: row.try_get("created_at")?,
    })
}
