//! Security event tokens of a realm: the streams from which receivers poll them, and the keys which sign them.

use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::realms::body;
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
            Right::{ManageRealm, ViewEvents, ViewRealm},
        },
        stream::EventStream,
        webhook::EventFilter,
    },
    provision::{
        keys::{self, PublishedKey},
        realms,
        streams::{self, Wish},
    },
};

/// A stream and how far its receiver is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventStream")]
struct Representation {
    id: Uuid,
    name: String,
    /// `aud` of its tokens.
    audience: String,
    /// Names of events, or how they begin: `dsync.user.*`. Empty: all.
    events: Vec<String>,
    /// Where the receiver polls (RFC 8936).
    poll_url: String,
    /// The `seq` of the last event up to which all are done with.
    cursor: i64,
    acknowledged_at: Option<Timestamp>,
    /// What the receiver said last of a token that it could not use (`setErrs`).
    last_error: Option<Value>,
    created_at: Timestamp,
    /// The bearer token which polls. It is in this answer and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// A new stream.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WrittenEventStream")]
struct Written {
    name: String,
    audience: String,
    #[serde(default)]
    events: Vec<String>,
    /// The `seq` of the first event that it tells of. Not said: what happens from now on.
    from: Option<i64>,
}

/// Keycloak's metadata of a realm's keys, as far as there is something to say.
#[derive(Debug, Serialize, JsonSchema)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Key {
    kid: Uuid,
    /// `ACTIVE` signs, `PASSIVE` is only published.
    status: &'static str,
    r#type: &'static str,
    algorithm: &'static str,
    r#use: &'static str,
    created_at: Timestamp,
    valid_to: Option<Timestamp>,
}

/// The route table.
pub fn routes() -> Vec<Route> {
    const STREAMS: &str = "/admin/realms/{realm}/event-streams";
    vec![
        route(Method::GET, STREAMS, admin(ViewEvents, list))
            .says("Streams from which receivers poll security event tokens, and how far they are")
            .answers::<Vec<Representation>>(200),
        route(Method::POST, STREAMS, admin(ManageRealm, create))
            .says("Makes a stream of security event tokens, and reveals the token which polls it")
            .takes::<Written>()
            .answers::<Representation>(201),
        route(Method::DELETE, "/admin/realms/{realm}/event-streams/{id}", admin(ManageRealm, delete))
            .says("Deletes a stream")
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/keys", admin(ViewRealm, keys))
            .says("The keys which sign the realm's security event tokens; there are some once there is a stream")
            .answers::<Keys>(200),
        route(Method::POST, "/admin/realms/{realm}/keys/rotate", admin(ManageRealm, rotate))
            .says("Signs with a new key from now on; the former one is published for 30 days more")
            .answers::<Keys>(200),
    ]
}

async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let found = streams::list(&edge.store, &realm).await?;
    let shown: Vec<_> = found.into_iter().map(|stream| shown(&call, stream)).collect();
    Ok(json(StatusCode::OK, &shown))
}

async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Written { name, audience, events, from } = body(&call)?;
    let events = EventFilter::parse(events).map_err(|error| Failure::Invalid(format!("events: {error}")))?;
    let realm = call.param("realm");
    if let Some(from) = from {
        let realm = realms::get(&edge.store, realm).await?;
        let stretch = edge.feed.after(&realm, 0, 1, &[]).await?;
        let (oldest, next) = (stretch.oldest, stretch.head + 1);
        if !(oldest..=next).contains(&from) {
            return Err(Failure::Invalid(format!(
                "from: write a number from {oldest}, the oldest event kept, to {next}, the next to come"
            )));
        }
    }
    let wish = Wish { name, audience, events, from };
    let (stream, token) = streams::create(&edge.store, &edge.ring, realm, &wish, &call.cause()).await?;
    edge.access.forget();
    let token = Some(token.reveal().to_owned());
    let mut reply = json(StatusCode::CREATED, &Representation { token, ..shown(&call, stream) });
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    streams::delete(&edge.store, call.param("realm"), call.param("id"), &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn keys(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let keys = keys::list(&edge.store, &realm, call.at).await?.into_iter().map(Key::from).collect();
    Ok(json(StatusCode::OK, &Keys { keys }))
}

async fn rotate(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    keys::rotate(&edge.store, &edge.ring, call.param("realm"), &call.cause()).await?;
    edge.access.forget();
    keys(edge, call).await
}

fn shown(call: &Permitted<Admin>, stream: EventStream) -> Representation {
    let (base, realm, id) = (&call.base_url, call.param("realm"), stream.id);
    Representation {
        id: id.0,
        name: stream.name,
        audience: stream.audience,
        events: stream.events.patterns().to_vec(),
        poll_url: format!("{base}/realms/{realm}/security-events/{id}/poll"),
        cursor: stream.place.cursor,
        acknowledged_at: stream.acknowledged_at,
        last_error: stream.last_error,
        created_at: stream.created_at,
        token: None,
    }
}

impl From<PublishedKey> for Key {
    fn from(key: PublishedKey) -> Self {
        let PublishedKey { kid, signs, created_at, expires_at, .. } = key;
        let status = if signs { "ACTIVE" } else { "PASSIVE" };
        Self { kid, status, r#type: "EC", algorithm: "ES256", r#use: "SIG", created_at, valid_to: expires_at }
    }
}
