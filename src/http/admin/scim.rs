//! Inbound SCIM of a realm: switching it on and off, its tokens, its sync policy.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json as answer},
        failure::{Failure, Result},
    },
    model::{admin::Admin, realm::Realm, token::PlainToken},
    provision::realms,
};

pub async fn status(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let tokens: Vec<Value> = realms::tokens(&edge.store, &realm)
        .await?
        .iter()
        .map(|token| {
            json!({
                "id": token.id, "prefix": token.prefix, "created_at": token.created_at,
                "expires_at": token.expires_at, "last_used_at": token.last_used_at,
            })
        })
        .collect();
    let base_url = base_url(&call, &realm);
    let body = json!({ "realm": realm.name, "enabled": realm.scim_enabled, "base_url": base_url, "tokens": tokens });
    Ok(answer(StatusCode::OK, &body))
}

pub async fn enable(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    sound(&call)?;
    let (realm, token) = realms::enable_scim(&edge.store, call.param("realm"), call.at).await?;
    edge.access.forget();
    Ok(revealed(&call, &realm, &token))
}

pub async fn rotate(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    sound(&call)?;
    let (realm, token) = realms::rotate_token(&edge.store, call.param("realm"), call.at).await?;
    edge.access.forget();
    Ok(revealed(&call, &realm, &token))
}

pub async fn disable(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    sound(&call)?;
    realms::disable_scim(&edge.store, call.param("realm"), call.at).await?;
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
    let realm = realms::set_policy(&edge.store, call.param("realm"), keys, call.at).await?;
    edge.access.forget();
    Ok(answer(StatusCode::OK, &realm.policy))
}

/// These calls need no body. A broken one means that the client wanted something else.
fn sound(call: &Permitted<Admin>) -> Result<()> {
    if call.body.is_empty() { Ok(()) } else { call.json().map(|_| ()) }
}

/// The one answer which shows a token; nobody on the way may keep it.
fn revealed(call: &Permitted<Admin>, realm: &Realm, token: &PlainToken) -> Reply {
    let body = json!({ "realm": realm.name, "base_url": base_url(call, realm), "token": token.reveal() });
    let mut reply = answer(StatusCode::OK, &body);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn base_url(call: &Permitted<Admin>, realm: &Realm) -> String {
    format!("{}/realms/{}/scim/v2", call.base_url, realm.name)
}
