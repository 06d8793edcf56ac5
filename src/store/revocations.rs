//! Revocations: what took access from users, and who has acknowledged that. The sequencer writes them
//! ([`super::events::step`]).

use std::{sync::LazyLock, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use tokio_postgres::{
    Row,
    types::{Json, ToSql},
};
use uuid::Uuid;

use super::{
    Store,
    error::Result,
    events::{OVERSEE, PARTITIONS},
    outbox::{self, Origin},
    tx::RealmTx,
};
use crate::model::{
    Actor, RealmId, UserId,
    event::Places,
    revocation::{Acknowledger, Report, Revocation},
    span::Span,
};

/// Rows which are acknowledged, or told to be late, in one transaction: there may be as many as nobody has ever asked for.
pub const PIECE: usize = 500;
/// The slowest ones which a report names.
const SLOWEST: i64 = 10;

/// A reader of one realm has come up to `$2`. The first word counts.
const ACKNOWLEDGE: &str = "
    UPDATE revocations SET acknowledged_at = greatest(requested_at, $3), acknowledged_by = 'events_api'
     WHERE realm_id = $1 AND acknowledged_at IS NULL
       AND seq IN (SELECT seq FROM revocations
                    WHERE realm_id = $1 AND seq <= $2 AND acknowledged_at IS NULL ORDER BY seq LIMIT $4)
    RETURNING (extract(epoch FROM acknowledged_at - requested_at) * 1000)::bigint";

/// A reader of all realms has come up to the places `$1`.
static ACKNOWLEDGE_PLACES: LazyLock<String> = LazyLock::new(|| {
    let of = |partition: usize| {
        let place = partition + 1;
        format!(
            "p{partition} AS (
                 UPDATE revocations_{partition}
                    SET acknowledged_at = greatest(requested_at, $2), acknowledged_by = 'events_api'
                  WHERE acknowledged_at IS NULL
                    AND (realm_id, seq) IN (
                        SELECT realm_id, seq FROM revocations_{partition}
                         WHERE place <= ($1::bigint[])[{place}] AND acknowledged_at IS NULL ORDER BY place LIMIT $3)
                 RETURNING (extract(epoch FROM acknowledged_at - requested_at) * 1000)::bigint AS ms)"
        )
    };
    let all: [String; PARTITIONS] = std::array::from_fn(of);
    let rows: [String; PARTITIONS] = std::array::from_fn(|partition| format!("SELECT ms FROM p{partition}"));
    format!("WITH {} {}", all.join(", "), rows.join(" UNION ALL "))
});

/// The same, event by event: `$1` to `$4` are realms, events, who has taken them, and when.
const ACKNOWLEDGE_EACH: &str = "
    UPDATE revocations r SET acknowledged_at = greatest(requested_at, t.at), acknowledged_by = t.by
      FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::timestamptz[]) AS t (realm_id, seq, by, at)
     WHERE r.realm_id = t.realm_id AND r.seq = t.seq AND r.acknowledged_at IS NULL
    RETURNING (extract(epoch FROM acknowledged_at - requested_at) * 1000)::bigint";

/// Realms with a bound, and since when the oldest of theirs waits which was not told of.
const WAITING: &str = "
    SELECT r.id, r.epoch, r.policy -> 'revoke_within' AS within, v.requested_at
      FROM realms r,
           LATERAL (SELECT requested_at FROM revocations
                     WHERE realm_id = r.id AND requested_at IS NOT NULL AND acknowledged_at IS NULL AND NOT late
                     ORDER BY requested_at LIMIT 1) v
     WHERE r.policy ->> 'revoke_within' IS NOT NULL";

const MARK_LATE: &str = "
    WITH late AS (
        UPDATE revocations SET late = true
         WHERE realm_id = $1 AND acknowledged_at IS NULL AND NOT late
           AND seq IN (SELECT seq FROM revocations
                        WHERE realm_id = $1 AND requested_at <= $2 AND acknowledged_at IS NULL AND NOT late
                        ORDER BY requested_at LIMIT $3)
        RETURNING seq, user_id, requested_at)
    SELECT l.*, coalesce(e.request_id, '') AS request_id
      FROM late l LEFT JOIN events e ON e.realm_id = $1 AND e.seq = l.seq ORDER BY l.seq";

macro_rules! rows {
    ($which:literal) => {
        concat!(
            "SELECT seq, user_id, requested_at, acknowledged_at, acknowledged_by,
                    (extract(epoch FROM acknowledged_at - requested_at) * 1000)::bigint AS ms
               FROM revocations WHERE realm_id = $1 AND requested_at >= $2 AND ",
            $which
        )
    };
}

const COUNT: &str = "
    SELECT count(*), count(*) FILTER (WHERE ms IS NULL) AS open, count(*) FILTER (WHERE late) AS late, max(ms) AS max,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY ms) AS p50,
           percentile_disc(0.95) WITHIN GROUP (ORDER BY ms) AS p95
      FROM (SELECT late, (extract(epoch FROM acknowledged_at - requested_at) * 1000)::bigint AS ms
              FROM revocations WHERE realm_id = $1 AND requested_at >= $2) r";
const BY: &str = "
    SELECT acknowledged_by, count(*) FROM revocations
     WHERE realm_id = $1 AND requested_at >= $2 AND acknowledged_at IS NOT NULL
     GROUP BY acknowledged_by ORDER BY count(*) DESC, acknowledged_by";
const OLDEST_OPEN: &str = rows!("acknowledged_at IS NULL ORDER BY requested_at, seq LIMIT 1");
const SLOWEST_ONES: &str = rows!("acknowledged_at IS NOT NULL ORDER BY ms DESC, seq LIMIT $3");

/// A realm in which a revocation waits for its acknowledgement.
#[derive(Debug)]
pub struct Waiting {
    pub realm: RealmId,
    pub epoch: i64,
    /// How long that may take.
    pub within: Span,
    /// When the oldest one was asked for.
    pub since: Timestamp,
}

/// An event has been taken in.
#[derive(Debug)]
pub struct Taken {
    pub realm: RealmId,
    pub seq: i64,
    pub by: String,
    pub at: Timestamp,
}

/// A reader has taken in all events of the realm up to `up_to`; how long the revocations among them took which nobody had
/// acknowledged before, at most [`PIECE`] of them.
pub async fn acknowledge(store: &Store, realm: RealmId, up_to: i64, at: Timestamp) -> Result<Vec<Duration>> {
    let rows = store.query_from((OVERSEE, &[]), ACKNOWLEDGE, &[&realm.0, &up_to, &at, &limit(PIECE)]).await?;
    rows.iter().map(took_from).collect()
}

/// The same of a reader of all realms; at most [`PIECE`] of each partition.
pub async fn acknowledge_places(store: &Store, places: Places, at: Timestamp) -> Result<Vec<Duration>> {
    let params: [&(dyn ToSql + Sync); 3] = [&places.0.as_slice(), &at, &limit(PIECE)];
    let rows = store.query_from((OVERSEE, &[]), &ACKNOWLEDGE_PLACES, &params).await?;
    rows.iter().map(took_from).collect()
}

/// These events have been taken in; how long the revocations among them took which nobody had acknowledged before.
pub async fn acknowledge_each(store: &Store, taken: &[Taken]) -> Result<Vec<Duration>> {
    let realms: Vec<Uuid> = taken.iter().map(|taken| taken.realm.0).collect();
    let seqs: Vec<i64> = taken.iter().map(|taken| taken.seq).collect();
    let by: Vec<&str> = taken.iter().map(|taken| taken.by.as_str()).collect();
    let times: Vec<Timestamp> = taken.iter().map(|taken| taken.at).collect();
    let rows = store.query_from((OVERSEE, &[]), ACKNOWLEDGE_EACH, &[&realms, &seqs, &by, &times]).await?;
    rows.iter().map(took_from).collect()
}

/// The realms whose policy has a bound, as far as something waits there that was not told to be late.
pub async fn waiting(store: &Store) -> Result<Vec<Waiting>> {
    let waiting = |row: &Row| {
        Ok(Waiting {
            realm: RealmId(row.try_get("id")?),
            epoch: row.try_get("epoch")?,
            within: row.try_get::<_, Json<Span>>("within")?.0,
            since: row.try_get("requested_at")?,
        })
    };
    store.query_from((OVERSEE, &[]), WAITING, &[]).await?.iter().map(waiting).collect()
}

/// Tells of what was asked for before `due` and is not acknowledged, each once, over all nodes. Answers how many were
/// told of; there may be more.
pub async fn tell_late(mut tx: RealmTx, due: Timestamp, at: Timestamp) -> Result<usize> {
    let rows = tx.query(MARK_LATE, &[&due, &limit(PIECE)]).await?;
    for row in &rows {
        let (seq, user, requested_at): (i64, Uuid, Timestamp) =
            (row.try_get("seq")?, row.try_get("user_id")?, row.try_get("requested_at")?);
        let facts = json!({ "user_id": user, "seq": seq, "requested_at": requested_at });
        let origin = Origin { actor: Json(&Actor::System), request_id: row.try_get("request_id")?, at };
        outbox::tell(&mut tx, "dsync.revocation.late", user, &facts, &origin).await?;
    }
    tx.commit().await?;
    Ok(rows.len())
}

/// What was asked for since then, and what became of it.
pub async fn report(mut tx: RealmTx, since: Timestamp) -> Result<Report> {
    let counted = tx.query(COUNT, &[&since]).await?;
    let by = tx.query(BY, &[&since]).await?;
    let oldest_open = tx.query(OLDEST_OPEN, &[&since]).await?.first().map(revocation_from).transpose()?;
    let slowest = tx.finish(SLOWEST_ONES, &[&since, &SLOWEST]).await?;
    let by = by.iter().map(|row| Ok(Acknowledger { name: row.try_get(0)?, count: row.try_get(1)? }));
    let counted = counted.first().ok_or_else(|| super::error::Error::Unavailable("no answer to a count".into()))?;
    Ok(Report {
        since,
        count: counted.try_get("count")?,
        open: counted.try_get("open")?,
        oldest_open,
        late: counted.try_get("late")?,
        p50_ms: counted.try_get("p50")?,
        p95_ms: counted.try_get("p95")?,
        max_ms: counted.try_get("max")?,
        acknowledged_by: by.collect::<Result<_>>()?,
        slowest: slowest.iter().map(revocation_from).collect::<Result<_>>()?,
    })
}

fn revocation_from(row: &Row) -> Result<Revocation> {
    Ok(Revocation {
        seq: row.try_get("seq")?,
        user_id: UserId(row.try_get("user_id")?),
        requested_at: row.try_get("requested_at")?,
        acknowledged_at: row.try_get("acknowledged_at")?,
        acknowledged_by: row.try_get("acknowledged_by")?,
        ms: row.try_get("ms")?,
    })
}

fn took_from(row: &Row) -> Result<Duration> {
    Ok(Duration::from_millis(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default()))
}

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
