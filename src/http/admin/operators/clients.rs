//! What only clients of `master` have: service accounts are operators, and those which stand for realms have roles.

use http::{Method, StatusCode};

use super::{
    roles::{in_realm, realm_of_client, shown, unknown_role},
    users::Representation,
};
use crate::{
    http::{
        Edge,
        admin::roles::RoleRepresentation,
        exchange::{Permitted, Reply, json},
        failure::Result,
        route::{Route, admin, route},
    },
    model::{
        admin::{Admin, Need::Everything, Right},
        realm::MASTER,
    },
    provision::{clients, operators, realms},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/realms/master/clients/{client}/roles", admin(Everything, roles))
            .says("The rights which there are in the realm for which the client stands")
            .answers::<Vec<RoleRepresentation>>(200),
        route(Method::GET, "/admin/realms/master/clients/{client}/roles/{role}", admin(Everything, role))
            .says("One of them")
            .answers::<RoleRepresentation>(200),
        route(Method::GET, "/admin/realms/master/clients/{client}/service-account-user", admin(Everything, user))
            .says("The operator who the service account is")
            .answers::<Representation<'static>>(200),
    ]
}

async fn roles(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realm_of_client(&edge, call.param("client")).await?;
    Ok(shown(Right::ALL.into_iter().map(|right| in_realm(&realm, right))))
}

async fn role(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realm_of_client(&edge, call.param("client")).await?;
    let right = Right::parse(call.param("role")).ok_or_else(unknown_role)?;
    Ok(json(StatusCode::OK, &in_realm(&realm, right)))
}

/// He has the id of the client.
async fn user(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let master = realms::get(&edge.store, MASTER).await?;
    let client = clients::get(&edge.store, &master, call.param("client")).await?;
    let found = operators::get(&edge.store, &client.id.to_string()).await?;
    Ok(json(StatusCode::OK, &Representation::from(&found)))
}
