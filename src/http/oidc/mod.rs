//! What is open to strangers of a realm, in Keycloak's shape: the token endpoint (RFC 6749), and the sign-in check.
//!
//! To add a realm's own way to a token, give it a file and an arm in [`token`]; `master` is the operators'.

mod form;
mod sign_in;
mod tenant;

use http::{HeaderValue, Method, StatusCode, header};

use super::{
    Edge,
    exchange::{Permitted, Reply, json},
    failure::{Failure, Result},
    route::{Anyone, Route, open, route},
};
use crate::model::realm::MASTER;
use form::Form;

/// The route table.
pub fn routes() -> Vec<Route> {
    vec![
        route(Method::POST, "/realms/{realm}/protocol/openid-connect/token", open(token)),
        route(Method::POST, "/realms/{realm}/sign-ins", open(sign_in::check)),
    ]
}

async fn token(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    let form = Form::read(&call)?;
    let answer = match call.param("realm") {
        MASTER => of_operators(&edge, &form).await?,
        _ => tenant::token(&edge, &call, &form).await?,
    };
    Ok(unstored(answer))
}

async fn of_operators(edge: &Edge, form: &Form) -> Result<Reply> {
    let tokens = match form.need("grant_type")? {
        "password" => {
            let (username, password) = (form.get("username"), form.get("password"));
            edge.operators.login(username.unwrap_or_default(), password.unwrap_or_default()).await?
        }
        "refresh_token" => edge.operators.refresh(form.get("refresh_token").unwrap_or_default()).await?,
        _ => return Err(refused("unsupported_grant_type", "Unsupported grant_type")),
    };
    Ok(json(StatusCode::OK, &tokens))
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
