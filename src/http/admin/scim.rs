//! Inbound SCIM of a realm: switching it on and off, its tokens, its sync policy.

use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::realms::body;
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json as answer},
        failure::{Failure, Result},
    },
    model::{
        TokenId,
        admin::Admin,
        realm::Realm,
        span::Span,
        token::{Format, ImportedToken, KnownHash, PlainToken, Token, Warning},
    },
    provision::{
        cut_over, realms,
        tokens::{self, Rotation},
    },
};

/// Inbound SCIM of a realm as it stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ScimStatus {
    realm: String,
    enabled: bool,
    base_url: String,
    tokens: Vec<ScimToken>,
    warnings: Vec<Warned>,
}

/// What to know of the tokens.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Warned {
    /// `token_expired`, `token_expires` or `new_token_unused`.
    warning: &'static str,
    detail: String,
}

/// How a token is to be made.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewToken {
    /// How long it works, such as `90d`; for ever, if it is not said.
    expires_in: Option<Span>,
}

/// Nothing can be wished.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nothing {}

/// How a token is to be replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rotate {
    /// How long the old tokens go on to work, such as `24h`; not at all, if it is not said.
    overlap: Option<Span>,
    /// How long the new one works, such as `90d`; for ever, if it is not said.
    expires_in: Option<Span>,
}

/// A token as it can be shown: not the token.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ScimToken {
    id: Uuid,
    /// The first characters; empty if they are not known.
    prefix: String,
    /// `realmgate` is a token of ours; of any other the hash alone is known.
    format: Format,
    label: Option<String>,
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

/// A token which another product gave out, as far as that product knows it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenToken {
    /// In hexadecimal digits or base64; `phc` as the product keeps it.
    hash: String,
    format: Format,
    /// How the token begins, if that is known: spares the node comparisons with a slow hash.
    #[serde(default)]
    prefix: String,
    label: Option<String>,
    expires_at: Option<Timestamp>,
}

pub async fn status(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let tokens = tokens::list(&edge.store, &realm).await?;
    let warnings = Warning::of(&tokens, call.at);
    let status = ScimStatus {
        realm: realm.name.to_string(),
        enabled: realm.scim_enabled,
        base_url: base_url(&call, &realm),
        tokens: tokens.into_iter().map(ScimToken::from).collect(),
        warnings: warnings.iter().map(|w| Warned { warning: w.word(), detail: w.to_string() }).collect(),
    };
    Ok(answer(StatusCode::OK, &status))
}

pub async fn tokens(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let tokens: Vec<_> = tokens::list(&edge.store, &realm).await?.into_iter().map(ScimToken::from).collect();
    Ok(answer(StatusCode::OK, &tokens))
}

pub async fn revoke(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let id = call.param("id");
    let token = Uuid::try_parse(id).map_err(|_| Failure::Invalid(format!("`{id}` is not the id of a token")))?;
    tokens::revoke(&edge.store, call.param("realm"), TokenId(token), &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

pub async fn enable(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let NewToken { expires_in } = wished(&call)?;
    let (realm, token) = tokens::enable(&edge.store, call.param("realm"), expires_in, &call.cause()).await?;
    edge.access.forget();
    Ok(revealed(&call, &realm, &token))
}

pub async fn rotate(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Rotate { overlap, expires_in } = wished(&call)?;
    let rotation = Rotation { overlap, expires_in };
    let (realm, token) = tokens::rotate(&edge.store, call.param("realm"), rotation, &call.cause()).await?;
    edge.access.forget();
    Ok(revealed(&call, &realm, &token))
}

pub async fn disable(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Nothing {} = wished(&call)?;
    tokens::disable(&edge.store, call.param("realm"), &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

/// The new token is one more: those which the realm has stay good.
pub async fn import_token(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let token = imported(body(&call)?)?;
    cut_over::import_token(&edge.store, call.param("realm"), &token, &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::CREATED))
}

fn imported(written: WrittenToken) -> Result<ImportedToken> {
    let WrittenToken { hash, format, prefix, label, expires_at } = written;
    let hash = KnownHash::parse(format, &hash).map_err(|e| Failure::Invalid(format!("hash: {e}")))?;
    ImportedToken::checked(format, hash, prefix, label, expires_at).map_err(|e| Failure::Invalid(e.to_owned()))
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

/// What a call wishes which needs no body. A broken one means that the client wanted something else.
fn wished<T: DeserializeOwned + Default>(call: &Permitted<Admin>) -> Result<T> {
    if call.body.is_empty() { Ok(T::default()) } else { body(call) }
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
        let Token { id, prefix, format, label, created_at, expires_at, last_used_at } = token;
        Self { id: id.0, prefix, format, label, created_at, expires_at, last_used_at }
    }
}
