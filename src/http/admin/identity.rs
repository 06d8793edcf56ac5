//! Whose word a realm takes: who signs its users in, and whose access tokens open its SCIM.

use http::StatusCode;

use super::realms::body;
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json},
        failure::Result,
    },
    model::{
        admin::Admin,
        identity::{Issuer, SignIn},
    },
    provision::{self, identity, realms},
};

pub async fn sign_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let none = || provision::Error::NotFound(format!("nobody signs in to the realm `{}`: set who does", realm.name));
    Ok(json(StatusCode::OK, realm.identity.sign_in.as_ref().ok_or_else(none)?))
}

pub async fn set_sign_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: SignIn = body(&call)?;
    identity::set_sign_in(&edge.store, call.param("realm"), Some(written), &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

pub async fn clear_sign_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    identity::set_sign_in(&edge.store, call.param("realm"), None, &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

pub async fn scim_issuers(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(json(StatusCode::OK, &realm.identity.scim_issuers))
}

pub async fn set_scim_issuers(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Vec<Issuer> = body(&call)?;
    identity::set_scim_issuers(&edge.store, call.param("realm"), written, &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}
