//! What is open to strangers of a realm, in Keycloak's shape: who gets a token (RFC 6749), how others verify it, and the
//! sign-in check, and security event tokens.
//!
//! To add a realm's own way to a token, give it a file and an arm in [`token`]; `master` is the operators'.

mod discovery;
mod form;
mod master;
mod poll;
mod sign_in;
mod tenant;

use http::{HeaderValue, Method, header};

use super::{
    Edge,
    exchange::{Permitted, Reply},
    failure::{Failure, Result},
    route::{Anyone, Route, open, route},
};
use crate::model::realm::MASTER;
use form::Form;

/// How often a realm may move on under a request before the client is told to come back.
const TRIES: usize = 5;

/// The route table.
pub fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/realms/{realm}", open(discovery::realm)),
        route(Method::GET, "/realms/{realm}/.well-known/openid-configuration", open(discovery::configuration)),
        route(Method::GET, "/realms/{realm}/protocol/openid-connect/certs", open(discovery::certs)),
        route(Method::POST, "/realms/{realm}/protocol/openid-connect/token", open(token)),
        route(Method::POST, "/realms/{realm}/protocol/openid-connect/logout", open(master::logout)),
        route(Method::POST, "/realms/{realm}/protocol/openid-connect/revoke", open(master::revoke)),
        route(Method::GET, "/realms/{realm}/protocol/openid-connect/userinfo", open(master::userinfo)),
        route(Method::POST, "/realms/{realm}/protocol/openid-connect/userinfo", open(master::userinfo)),
        route(Method::POST, "/realms/{realm}/sign-ins", open(sign_in::check)),
        route(Method::POST, "/realms/{realm}/security-events/{stream}/poll", open(poll::poll)),
    ]
}

async fn token(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    let form = Form::read(&call)?;
    let answer = match call.param("realm") {
        MASTER => master::token(&edge, &call, &form).await?,
        _ => tenant::token(&edge, &call, &form).await?,
    };
    Ok(unstored(answer))
}

/// RFC 6749 §5.1: whatever holds a token is kept by nobody on the way.
fn unstored(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// An answer of RFC 6749 §5.2.
fn refused(error: &'static str, description: &str) -> Failure {
    Failure::Grant { error, description: description.to_owned() }
}
