//! What every operator may know and do of himself.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{changed, hashed};
use crate::{
    http::{
        Edge,
        admin::realms::body,
        exchange::{Permitted, Reply, json},
        failure::{Failure, Result},
        route::{Route, admin, route},
    },
    model::{
        AdminId,
        admin::{Admin, Need::Operator, Right},
    },
    provision::operators,
};

/// The operator who asks.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Me")]
struct Me<'a> {
    id: AdminId,
    username: &'a str,
    /// Roles of `master`.
    roles: Vec<&'static str>,
    /// Rights by realm.
    realms: &'a BTreeMap<String, BTreeSet<Right>>,
}

/// A new password, and the one that it replaces.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    current: String,
    new: String,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/me", admin(Operator, get))
            .says("Who asks, and what he may do")
            .answers::<Me<'static>>(200),
        route(Method::PUT, "/admin/me/password", admin(Operator, set_password))
            .says("Sets the password of who asks, and ends all his sessions")
            .takes::<NewPassword>()
            .empty(204),
    ]
}

async fn get(_: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Admin { id, username, rights, .. } = call.caller();
    let roles = rights.master_roles().map(crate::model::admin::MasterRole::as_str).collect();
    Ok(json(StatusCode::OK, &Me { id: *id, username, roles, realms: &rights.realms }))
}

async fn set_password(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let NewPassword { current, new } = body(&call)?;
    let operator = call.caller();
    if !edge.operators.is_password_of(operator, &current, call.address).await? {
        return Err(Failure::Invalid("`current` is not your password".into()));
    }
    let hash = hashed(&edge, &new).await?;
    operators::set_password(&edge.store, &operator.id.to_string(), &hash, &call.cause()).await?;
    Ok(changed(&edge))
}
