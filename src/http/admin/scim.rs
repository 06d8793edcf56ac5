//! Inbound SCIM of a realm: switching it on and off, its tokens, its sync policy.

use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json as answer},
        failure::{Failure, Result},
    },
    model::{
        admin::Admin,
        realm::Realm,
        token::{PlainToken, Token},
    },
    provision::realms,
};

/// Inbound SCIM of a realm as it stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ScimStatus {
    realm: String,
    enabled: bool,
    base_url: String,
    tokens: Vec<ScimToken>,
}

/// A token as it can be shown: not the token.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ScimToken {
    id: Uuid,
    /// The first characters.
    prefix: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    /// To the minute.
    last_used_at: Option<Timestamp>,
}

/// A new token. It is in this answer and nowhere else.
#[derive(Serialize, JsonSchema)]
pub(super) struct RevealedToken<'a> {
    realm: &'a str,
    base_url: String,
    token: &'a str,
}

pub async fn status(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let tokens = realms::tokens(&edge.store, &realm).await?.into_iter().map(ScimToken::from).collect();
    let (base_url, enabled) = (base_url(&call, &realm), realm.scim_enabled);
    Ok(answer(StatusCode::OK, &ScimStatus { realm: realm.name.to_string(), enabled, base_url, tokens }))
}

pub async fn enable(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    sound(&call)?;
    let (realm, token) = realms::enable_scim(&edge.store, call.param("realm"), &call.cause()).await?;
    edge.access.forget();
    Ok(revealed(&call, &realm, &token))
}

pub async fn rotate(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    sound(&call)?;
    let (realm, token) = realms::rotate_token(&edge.store, call.param("realm"), &call.cause()).await?;
    edge.access.forget();
    Ok(revealed(&call, &realm, &token))
}

pub async fn disable(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    sound(&call)?;
    realms::disable_scim(&edge.store, call.param("realm"), &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

pub async fn policy(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(answer(StatusCode::OK, &realm.policy))
}

pub async fn set_policy(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Value::Object(keys) = call.json()? else {
        return Err(Failure::Invalid("send a JSON object with the keys to set".into()));
    };
    let realm = realms::set_policy(&edge.store, call.param("realm"), keys, &call.cause()).await?;
    edge.access.forget();
    Ok(answer(StatusCode::OK, &realm.policy))
}

/// These calls need no body. A broken one means that the client wanted something else.
fn sound(call: &Permitted<Admin>) -> Result<()> {
    if call.body.is_empty() { Ok(()) } else { call.json().map(|_| ()) }
}

/// The one answer which shows a token; nobody on the way may keep it.
fn revealed(call: &Permitted<Admin>, realm: &Realm, token: &PlainToken) -> Reply {
    let base_url = base_url(call, realm);
    let body = RevealedToken { realm: realm.name.as_str(), base_url, token: token.reveal() };
    let mut reply = answer(StatusCode::OK, &body);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn base_url(call: &Permitted<Admin>, realm: &Realm) -> String {
    format!("{}/realms/{}/scim/v2", call.base_url, realm.name)
}

impl From<Token> for ScimToken {
    fn from(token: Token) -> Self {
        let Token { id, prefix, created_at, expires_at, last_used_at } = token;
        Self { id: id.0, prefix, created_at, expires_at, last_used_at }
    }
}
