//! Webhooks of a realm: where its events are sent, how that stands, and what was tried lately.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{query, realms::body};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json},
        failure::{Failure, Result},
        route::{Route, admin, route},
    },
    model::{
        admin::{
            Admin,
            Right::{ManageRealm, ViewEvents},
        },
        realm::Realm,
        span::Span,
        webhook::{Attempt, EventFilter, Format, SigningSecret, Standing, State, WebhookUrl},
    },
    provision::{
        realms,
        webhooks::{self, Kept, Window, Wish},
    },
};

/// A webhook and how it stands.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
struct Representation {
    id: Uuid,
    url: String,
    description: Option<String>,
    /// Names of events, or how they begin: `dsync.user.*`. Empty: all.
    events: Vec<String>,
    enabled: bool,
    format: Format,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Until when the former secret signs as well.
    previous_secret_until: Option<Timestamp>,
    state: Stands,
    /// Since when it is failing or parked.
    since: Option<Timestamp>,
    /// Why it is parked.
    reason: Option<String>,
    /// How often the next event has failed, and when it is sent again.
    attempts: u32,
    next_attempt_at: Option<Timestamp>,
    /// The `seq` of the last event which is done with, and of the realm's last one.
    cursor: i64,
    head: i64,
    behind: i64,
    /// The secret which signs from now on. It is in this answer and nowhere else; absent if there is no new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Stands {
    Active,
    Failing,
    /// Until an operator resumes it.
    Parked,
    Disabled,
}

/// What may be written; what is not said stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WrittenWebhook")]
struct Written {
    /// Another URL gets another secret.
    url: Option<String>,
    /// The empty text takes it away.
    description: Option<String>,
    events: Option<Vec<String>>,
    enabled: Option<bool>,
    format: Option<Format>,
    /// `whsec_` and 24 to 64 bytes in base64; made if it is not said.
    secret: Option<String>,
    /// Of a new webhook: the `seq` of the first event to be sent. Not said: what happens from now on.
    from: Option<i64>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RotatedWebhookSecret")]
struct Rotated {
    /// How long the former secret signs as well, such as `24h`; not at all, if it is not said.
    overlap: Option<Span>,
    /// `whsec_` and 24 to 64 bytes in base64; made if it is not said.
    secret: Option<String>,
}

/// One of the two.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Redelivery {
    /// Sends this event next, and what follows on it.
    from: Option<i64>,
    /// Sends this event once more, out of line.
    seq: Option<i64>,
}

/// An attempt to send an event.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookDelivery")]
struct Delivery {
    /// Grows with time.
    id: Uuid,
    /// `null` of a test.
    seq: Option<i64>,
    /// `webhook-id`.
    event_id: Uuid,
    attempt: u32,
    at: Timestamp,
    delivered: bool,
    /// `null` if no answer came.
    status: Option<u16>,
    duration_ms: i64,
    error: Option<String>,
}

const DELIVERIES: &[(&str, &str)] = &[
    ("limit", "How many at most: 1 to 1000, 100 if it is not said"),
    ("before", "The id of an attempt: only older ones"),
    ("failed", "`true` for those alone which failed"),
];

/// The route table.
pub fn routes() -> Vec<Route> {
    const WEBHOOKS: &str = "/admin/realms/{realm}/webhooks";
    const WEBHOOK: &str = "/admin/realms/{realm}/webhooks/{id}";
    vec![
        route(Method::GET, WEBHOOKS, admin(ViewEvents, list))
            .says("Where the realm's events are sent, and how that stands")
            .answers::<Vec<Representation>>(200),
        route(Method::POST, WEBHOOKS, admin(ManageRealm, create))
            .says("Sends the realm's events to a URL, and reveals the secret which signs them")
            .takes::<Written>()
            .answers::<Representation>(201),
        route(Method::GET, WEBHOOK, admin(ViewEvents, get))
            .says("A webhook and how it stands")
            .answers::<Representation>(200),
        route(Method::PUT, WEBHOOK, admin(ManageRealm, update))
            .says("Changes a webhook; what is not said stays. Another URL gets another secret, which is revealed")
            .takes::<Written>()
            .answers::<Representation>(200),
        route(Method::DELETE, WEBHOOK, admin(ManageRealm, delete)).says("Deletes a webhook").empty(204),
        route(Method::POST, "/admin/realms/{realm}/webhooks/{id}/rotate-secret", admin(ManageRealm, rotate_secret))
            .says(
                "Replaces the secret and reveals the new one; the old one ends at once, unless an overlap is asked for",
            )
            .takes::<Rotated>()
            .answers::<Representation>(200),
        route(Method::POST, "/admin/realms/{realm}/webhooks/{id}/test", admin(ManageRealm, test))
            .says("Sends an event `test` at once, and tells what came of it")
            .answers::<Delivery>(200),
        route(Method::POST, "/admin/realms/{realm}/webhooks/{id}/redeliver", admin(ManageRealm, redeliver))
            .says("Sends the event `from` next and goes on behind it, or the event `seq` once more")
            .takes::<Redelivery>()
            .answers::<Value>(200),
        route(Method::POST, "/admin/realms/{realm}/webhooks/{id}/resume", admin(ManageRealm, resume))
            .says("Goes on where sending stopped, parked or disabled")
            .answers::<Representation>(200),
        route(Method::GET, "/admin/realms/{realm}/webhooks/{id}/deliveries", admin(ViewEvents, deliveries))
            .says("Attempts of the last seven days, newest first")
            .query(DELIVERIES)
            .answers::<Vec<Delivery>>(200),
    ]
}

async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let found = webhooks::list(&edge.store, &realm).await?;
    let shown: Vec<_> = found.into_iter().map(Representation::from).collect();
    Ok(json(StatusCode::OK, &shown))
}

async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Written = body(&call)?;
    let from = written.from;
    let wish = wish(&edge, written).await?;
    let made = webhooks::create(&edge.store, &edge.ring, call.param("realm"), wish, from, &call.cause()).await?;
    edge.access.forget();
    Ok(revealed(StatusCode::CREATED, made.0, Some(made.1)))
}

async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (_, kept) = named(&edge, &call).await?;
    Ok(json(StatusCode::OK, &Representation::from(kept)))
}

async fn update(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Written = body(&call)?;
    if written.from.is_some() {
        return Err(Failure::Invalid("`from` is of new webhooks: POST it to `redeliver`".into()));
    }
    let (wish, id) = (wish(&edge, written).await?, call.param("id"));
    let changed = webhooks::update(&edge.store, &edge.ring, call.param("realm"), id, wish, &call.cause()).await?;
    edge.access.forget();
    Ok(revealed(StatusCode::OK, changed.0, changed.1))
}

async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    webhooks::delete(&edge.store, call.param("realm"), call.param("id"), &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn rotate_secret(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Rotated { overlap, secret } = wished(&call)?;
    let (realm, id, rotation) = (call.param("realm"), call.param("id"), (chosen(secret)?, overlap));
    let rotated = webhooks::rotate_secret(&edge.store, &edge.ring, realm, id, rotation, &call.cause()).await?;
    edge.access.forget();
    Ok(revealed(StatusCode::OK, rotated.0, Some(rotated.1)))
}

async fn test(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (realm, kept) = named(&edge, &call).await?;
    let attempt = edge.webhooks.test(&realm, &kept, &call.cause(), patience(&edge)).await?;
    Ok(json(StatusCode::OK, &Delivery::from(attempt)))
}

async fn redeliver(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    match body(&call)? {
        Redelivery { from: Some(from), seq: None } => {
            let (realm, id) = (call.param("realm"), call.param("id"));
            let kept = webhooks::redeliver(&edge.store, realm, id, from, &call.cause()).await?;
            edge.access.forget();
            Ok(json(StatusCode::OK, &Representation::from(kept)))
        }
        Redelivery { from: None, seq: Some(seq) } => {
            let (realm, kept) = named(&edge, &call).await?;
            let attempt = edge.webhooks.again(&realm, &kept, seq, patience(&edge)).await?;
            let Standing { oldest, head, .. } = kept.standing;
            let missing = || Failure::Invalid(format!("`seq`: the realm keeps its events from {oldest} to {head}"));
            Ok(json(StatusCode::OK, &Delivery::from(attempt.ok_or_else(missing)?)))
        }
        _ => Err(Failure::Invalid("say either `from`, to go on from there, or `seq`, to send that event again".into())),
    }
}

async fn resume(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let kept = webhooks::resume(&edge.store, call.param("realm"), call.param("id"), &call.cause()).await?;
    edge.access.forget();
    Ok(json(StatusCode::OK, &Representation::from(kept)))
}

async fn deliveries(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let limit = match call.query("limit").map(str::parse) {
        None => 100,
        Some(Ok(limit @ 1..=1000)) => limit,
        Some(_) => return Err(Failure::Invalid("`limit` is a number from 1 to 1000".into())),
    };
    let before = call.query("before").map(Uuid::try_parse).transpose();
    let before = before.map_err(|_| Failure::Invalid("`before` is the id of an attempt".into()))?;
    let window = Window { before, failed: query::flag(&call, "failed")?.unwrap_or(false), limit };
    let (realm, kept) = named(&edge, &call).await?;
    let attempts = webhooks::attempts(&edge.store, &realm, kept.webhook.id, window).await?;
    let shown: Vec<_> = attempts.into_iter().map(Delivery::from).collect();
    Ok(json(StatusCode::OK, &shown))
}

/// How long an attempt may take which somebody waits for.
fn patience(edge: &Edge) -> Duration {
    edge.settings.request_timeout * 2 / 3
}

async fn named(edge: &Edge, call: &Permitted<Admin>) -> Result<(Realm, Kept)> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let kept = webhooks::get(&edge.store, &realm, call.param("id")).await?;
    Ok((realm, kept))
}

async fn wish(edge: &Edge, written: Written) -> Result<Wish> {
    let Written { url, description, events, enabled, format, secret, from: _ } = written;
    let url = match url {
        None => None,
        Some(text) => {
            let url = WebhookUrl::parse(&text).map_err(|error| Failure::Invalid(format!("url: {error}")))?;
            edge.webhooks.permits(&url).await.map_err(|error| Failure::Invalid(format!("url: {error}")))?;
            Some(url)
        }
    };
    let events = events.map(EventFilter::parse).transpose();
    let events = events.map_err(|error| Failure::Invalid(format!("events: {error}")))?;
    Ok(Wish { url, description, events, enabled, format, secret: chosen(secret)? })
}

fn chosen(secret: Option<String>) -> Result<Option<SigningSecret>> {
    let secret = secret.map(|text| SigningSecret::parse(&text)).transpose();
    secret.map_err(|error| Failure::Invalid(format!("secret: {error}")))
}

/// What a call wishes which needs no body.
fn wished<T: DeserializeOwned + Default>(call: &Permitted<Admin>) -> Result<T> {
    if call.body.is_empty() { Ok(T::default()) } else { body(call) }
}

/// The one answer which shows a secret; nobody on the way may keep it.
fn revealed(status: StatusCode, kept: Kept, secret: Option<SigningSecret>) -> Reply {
    let secret = secret.map(|secret| secret.reveal());
    let mut reply = json(status, &Representation { secret, ..Representation::from(kept) });
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

impl From<Kept> for Representation {
    fn from(Kept { webhook, standing, .. }: Kept) -> Self {
        let (state, since, reason, next_attempt_at) = match standing.state {
            State::Parked { at, reason } => (Stands::Parked, Some(at), Some(reason.to_string()), None),
            State::Active => (Stands::Active, None, None, None),
            State::Failing { since, due, .. } => (Stands::Failing, Some(since), None, Some(due)),
        };
        Self {
            id: webhook.id.0,
            url: webhook.url.as_str().to_owned(),
            description: webhook.description,
            events: webhook.events.patterns().to_vec(),
            enabled: webhook.enabled,
            format: webhook.format,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
            previous_secret_until: webhook.previous_secret_until,
            state: if webhook.enabled { state } else { Stands::Disabled },
            since,
            reason,
            attempts: standing.state.attempts(),
            next_attempt_at: next_attempt_at.filter(|_| webhook.enabled),
            cursor: standing.cursor,
            head: standing.head,
            behind: (standing.head - standing.cursor).max(0),
            secret: None,
        }
    }
}

impl From<Attempt> for Delivery {
    fn from(attempt: Attempt) -> Self {
        let Attempt { id, seq, event_id, number, at, status, duration, error } = attempt;
        let duration_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self { id, seq, event_id, attempt: number, at, delivered: error.is_none(), status, duration_ms, error }
    }
}
