//! What the nodes which send to webhooks tell each other: who is there, who sends to which endpoint, how far it came.
//!
//! A node is a row that it renews. An endpoint is leased by writing the node's id into its row; when the row of a node is
//! deleted because its time is over, its endpoints are free again. All times are those of the database.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::{Store, error::Result, events::OVERSEE, webhooks::columns_of};
use crate::model::{Actor, RealmId, WebhookId, webhook::Progress};

/// Renews `$1`, and clears away those whose time is over.
const BEAT: &str = "
    WITH over AS (
        DELETE FROM senders WHERE id IN (
            SELECT id FROM senders WHERE alive_until < now() AND id <> $1 FOR UPDATE SKIP LOCKED)),
    renewed AS (
        INSERT INTO senders (id, alive_until) VALUES ($1, now() + $2 * interval '1 millisecond')
        ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until)
    SELECT (SELECT count(*) FROM senders WHERE alive_until >= now() AND id <> $1) AS others,
           (SELECT count(*) FROM webhook_cursors WHERE enabled AND NOT parked) AS endpoints,
           (SELECT count(*) FROM webhook_cursors WHERE parked) AS parked";

/// Takes what nobody sends to, up to `$2`.
const CLAIM: &str = "
    WITH free AS (
        SELECT realm_id, webhook_id FROM webhook_cursors WHERE leased_by IS NULL AND enabled AND NOT parked
         ORDER BY realm_id, webhook_id LIMIT $2 FOR UPDATE SKIP LOCKED)
    UPDATE webhook_cursors c SET leased_by = $1, fence = c.fence + 1 FROM free
     WHERE c.realm_id = free.realm_id AND c.webhook_id = free.webhook_id
    RETURNING true";

const LEASED: &str = "
    SELECT realm_id, webhook_id, revision, fence FROM webhook_cursors
     WHERE leased_by = $1 AND enabled AND NOT parked ORDER BY realm_id, webhook_id";

const RELEASE: &str = "
    UPDATE webhook_cursors c SET leased_by = NULL FROM unnest($2::uuid[], $3::uuid[]) AS t (realm_id, webhook_id)
     WHERE c.realm_id = t.realm_id AND c.webhook_id = t.webhook_id AND c.leased_by = $1";

/// `$1` to `$5` are the endpoints, `$6` is who writes; then come the attempts, and what is said of who parks an endpoint.
/// Answers for which endpoints it was written: not for those which somebody else has moved or taken over meanwhile.
const RECORD: &str = "
    WITH moved AS (
        UPDATE webhook_cursors c
           SET cursor = t.cursor, state = t.state, parked = t.state ->> 'state' = 'parked'
          FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::jsonb[])
               AS t (realm_id, webhook_id, fence, cursor, state)
         WHERE c.realm_id = t.realm_id AND c.webhook_id = t.webhook_id AND c.fence = t.fence AND c.leased_by = $6
           AND NOT c.parked
        RETURNING c.realm_id, c.webhook_id, c.cursor, c.state, c.parked),
    told AS (
        INSERT INTO outbox (realm_id, event, resource_id, version, facts, actor, request_id, created_at)
        SELECT realm_id, 'dsync.webhook.parked', realm_id, 0,
               jsonb_build_object('webhook', webhook_id, 'reason', state ->> 'reason', 'cursor', cursor), $17, $18, $19
          FROM moved WHERE parked),
    noted AS (
        INSERT INTO deliveries
        SELECT t.* FROM unnest($7::uuid[], $8::uuid[], $9::uuid[], $10::bigint[], $11::uuid[], $12::int[],
                               $13::timestamptz[], $14::smallint[], $15::int[], $16::text[])
                   AS t (realm_id, webhook_id, id, seq, event_id, attempt, at, status, duration_ms, error)
          JOIN moved m ON m.realm_id = t.realm_id AND m.webhook_id = t.webhook_id)
    SELECT realm_id, webhook_id FROM moved";

/// What a beat has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Other nodes which send.
    pub others: i64,
    /// Endpoints to which somebody has to send, in all realms.
    pub endpoints: i64,
    /// Endpoints which are parked.
    pub parked: i64,
}

/// An endpoint to which a node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub realm: RealmId,
    pub webhook: WebhookId,
    pub revision: i64,
    pub fence: i64,
}

/// Says that `sender` is there for another `life`.
pub async fn beat(store: &Store, sender: Uuid, life: Duration) -> Result<Seen> {
    let life = i32::try_from(life.as_millis()).unwrap_or(i32::MAX);
    let rows = store.query(BEAT, &[&sender, &f64::from(life)]).await?;
    let number = |name: &str| rows.first().map_or(Ok(0), |row| row.try_get(name));
    Ok(Seen { others: number("others")?, endpoints: number("endpoints")?, parked: number("parked")? })
}

/// Takes up to `limit` endpoints to which nobody sends. Answers how many it got.
pub async fn claim(store: &Store, sender: Uuid, limit: i64) -> Result<usize> {
    Ok(store.query(CLAIM, &[&sender, &limit]).await?.len())
}

/// Leaves endpoints to the other nodes.
pub async fn release(store: &Store, sender: Uuid, endpoints: &[(RealmId, WebhookId)]) -> Result<()> {
    let (realms, webhooks): (Vec<Uuid>, Vec<Uuid>) = endpoints.iter().map(|(r, w)| (r.0, w.0)).unzip();
    store.query(RELEASE, &[&sender, &realms, &webhooks]).await.map(|_| ())
}

/// The endpoints of `sender` to which there is something to send, now or some day, always in the same order.
pub async fn leased(store: &Store, sender: Uuid) -> Result<Vec<Lease>> {
    let lease = |row: &Row| {
        Ok(Lease {
            realm: RealmId(row.try_get("realm_id")?),
            webhook: WebhookId(row.try_get("webhook_id")?),
            revision: row.try_get("revision")?,
            fence: row.try_get("fence")?,
        })
    };
    store.query(LEASED, &[&sender]).await?.iter().map(lease).collect()
}

/// The node sends no more: others may have its endpoints at once.
pub async fn leave(store: &Store, sender: Uuid) -> Result<()> {
    store.query("DELETE FROM senders WHERE id = $1", &[&sender]).await.map(|_| ())
}

/// Writes down how far endpoints came, with the attempts that were made. Answers for which it counts.
/// That an endpoint was parked is told to the realm.
pub async fn record(store: &Store, sender: Uuid, progress: &[Progress]) -> Result<Vec<(RealmId, WebhookId)>> {
    let realms: Vec<Uuid> = progress.iter().map(|p| p.realm.0).collect();
    let webhooks: Vec<Uuid> = progress.iter().map(|p| p.webhook.0).collect();
    let fences: Vec<i64> = progress.iter().map(|p| p.fence).collect();
    let cursors: Vec<i64> = progress.iter().map(|p| p.cursor).collect();
    let states: Vec<_> = progress.iter().map(|p| Json(p.state)).collect();
    let attempts = || progress.iter().flat_map(|p| p.attempts.iter().map(move |attempt| (p, attempt)));
    let of_realms: Vec<Uuid> = attempts().map(|(p, _)| p.realm.0).collect();
    let of_webhooks: Vec<Uuid> = attempts().map(|(p, _)| p.webhook.0).collect();
    let ids: Vec<Uuid> = attempts().map(|(_, a)| a.id).collect();
    let seqs: Vec<Option<i64>> = attempts().map(|(_, a)| a.seq).collect();
    let events: Vec<Uuid> = attempts().map(|(_, a)| a.event_id).collect();
    let times: Vec<Timestamp> = attempts().map(|(_, a)| a.at).collect();
    let errors: Vec<Option<&str>> = attempts().map(|(_, a)| a.error.as_deref()).collect();
    let columns: Vec<_> = attempts().map(|(_, a)| columns_of(a)).collect();
    let numbers: Vec<i32> = columns.iter().map(|(number, ..)| *number).collect();
    let statuses: Vec<Option<i16>> = columns.iter().map(|(_, status, _)| *status).collect();
    let durations: Vec<i32> = columns.iter().map(|(.., duration)| *duration).collect();
    let rows = store
        .query_from(
            (OVERSEE, &[]),
            RECORD,
            &[
                &realms,
                &webhooks,
                &fences,
                &cursors,
                &states,
                &sender,
                &of_realms,
                &of_webhooks,
                &ids,
                &seqs,
                &events,
                &numbers,
                &times,
                &statuses,
                &durations,
                &errors,
                &Json(Actor::System),
                &"webhooks",
                &Timestamp::now(),
            ],
        )
        .await?;
    progress.iter().filter(|p| p.state.is_parked()).for_each(|p| store.written().note(p.realm));
    rows.iter().map(|row| Ok((RealmId(row.try_get(0)?), WebhookId(row.try_get(1)?)))).collect()
}

/// Some of the realms which have webhooks, behind `after`: their ids and epochs.
pub async fn realms(store: &Store, after: RealmId) -> Result<Vec<(RealmId, i64)>> {
    const REALMS: &str = "
        SELECT r.id, r.epoch FROM realms r
         WHERE r.id > $1 AND EXISTS (SELECT FROM webhook_cursors c WHERE c.realm_id = r.id) ORDER BY r.id LIMIT 1000";
    store.query(REALMS, &[&after.0]).await?.iter().map(|row| Ok((RealmId(row.try_get(0)?), row.try_get(1)?))).collect()
}
