//! The token endpoint of the `master` realm, in Keycloak's shape (RFC 6749 §4.3, §6), and the sign-in check of all others.

mod sign_in;

use http::{HeaderValue, Method, StatusCode, header};

use super::{
    Edge,
    exchange::{Permitted, Reply, json, pairs},
    failure::{Failure, Result},
    route::{Anyone, Route, open, route},
};
use crate::model::realm::MASTER;

/// The route table.
pub fn routes() -> Vec<Route> {
    vec![
        route(Method::POST, "/realms/{realm}/protocol/openid-connect/token", open(token)),
        route(Method::POST, "/realms/{realm}/sign-ins", open(sign_in::check)),
    ]
}

/// Form fields that are empty or unknown are passed over: clients of Keycloak send several.
async fn token(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    if call.param("realm") != MASTER {
        return Err(refused("invalid_request", "Realm does not exist or issues no tokens"));
    }
    let text = std::str::from_utf8(&call.body).map_err(|_| refused("invalid_request", "the form is not UTF-8"))?;
    let form = pairs(text);
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let tokens = match field("grant_type") {
        "password" => edge.operators.login(field("username"), field("password")).await?,
        "refresh_token" => edge.operators.refresh(field("refresh_token")).await?,
        "" => return Err(refused("invalid_request", "Missing form parameter: grant_type")),
        _ => return Err(refused("unsupported_grant_type", "Unsupported grant_type")),
    };
    let mut reply = json(StatusCode::OK, &tokens);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

fn refused(error: &'static str, description: &str) -> Failure {
    Failure::Grant { error, description: description.to_owned() }
}
