//! The operators themselves: people, service accounts, and what they may do; in the shape which Keycloak has for its
//! realm `master`. A right in a realm is a role of the client `<realm>-realm`, whose id is that of the realm.

mod clients;
mod me;
mod roles;
mod users;

use http::StatusCode;

use crate::{
    access::operator::PASSWORD_RULE,
    http::{
        Edge,
        exchange::{Reply, empty},
        failure::{Failure, Result},
        route::Route,
    },
    model::admin::PasswordHash,
};

pub(super) use roles::realm_of_client;

pub(super) fn routes() -> Vec<Route> {
    [users::routes(), roles::routes(), clients::routes(), me::routes()].into_iter().flatten().collect()
}

/// The answer to a change of operators, once nobody here believes what was before.
fn changed(edge: &Edge) -> Reply {
    edge.forget();
    empty(StatusCode::NO_CONTENT)
}

/// What is stored of a password or a secret which somebody chose.
async fn hashed(edge: &Edge, password: &str) -> Result<PasswordHash> {
    edge.operators.hash(password).await?.ok_or_else(|| Failure::Invalid(PASSWORD_RULE.into()))
}
