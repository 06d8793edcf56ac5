//! Whose word a realm takes: who signs its users in, and whose access tokens open its SCIM.

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::realms::body;
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json},
        failure::Result,
        route::{Route, admin, route},
    },
    model::{
        admin::{
            Admin,
            Right::{ManageRealm, ViewRealm},
        },
        identity::{Issuer, SignIn},
    },
    provision::{self, identity as settings, realms},
};

/// Whose access tokens open SCIM: these and no others.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Issuers {
    issuers: Vec<Issuer>,
}

/// The route table.
pub fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/realms/{realm}/sign-in", admin(ViewRealm, sign_in))
            .says("Who signs the users of the realm in, and how they are found")
            .answers::<SignIn>(200),
        route(Method::PUT, "/admin/realms/{realm}/sign-in", admin(ManageRealm, set_sign_in))
            .says("Sets who signs the users of the realm in")
            .takes::<SignIn>()
            .empty(204),
        route(Method::DELETE, "/admin/realms/{realm}/sign-in", admin(ManageRealm, clear_sign_in))
            .says("Lets nobody sign in to the realm")
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/scim/issuers", admin(ViewRealm, scim_issuers))
            .says("Whose access tokens open the realm's SCIM, beside its own")
            .answers::<Issuers>(200),
        route(Method::PUT, "/admin/realms/{realm}/scim/issuers", admin(ManageRealm, set_scim_issuers))
            .says("Sets whose access tokens open the realm's SCIM: these and no others")
            .takes::<Issuers>()
            .empty(204),
    ]
}

async fn sign_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let none = || provision::Error::NotFound(format!("nobody signs in to the realm `{}`: set who does", realm.name));
    Ok(json(StatusCode::OK, realm.identity.sign_in.as_ref().ok_or_else(none)?))
}

async fn set_sign_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: SignIn = body(&call)?;
    settings::set_sign_in(&edge.store, call.param("realm"), Some(written), &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn clear_sign_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    settings::set_sign_in(&edge.store, call.param("realm"), None, &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn scim_issuers(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(json(StatusCode::OK, &Issuers { issuers: realm.identity.scim_issuers }))
}

async fn set_scim_issuers(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Issuers { issuers } = body(&call)?;
    settings::set_scim_issuers(&edge.store, call.param("realm"), issuers, &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}
