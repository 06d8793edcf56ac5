//! What operators may do: the roles of `master`, and the rights in each realm.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Map;

use super::changed;
use crate::{
    http::{
        Edge,
        admin::roles::{RoleNamed, RoleRepresentation, named},
        exchange::{Permitted, Reply, json},
        failure::Result,
        route::{Route, admin, route},
    },
    model::{
        RealmId,
        admin::{Admin, MasterRole, Need, Need::Everything, Right, Rights, role_id},
        client::OF_A_REALM,
        realm::{MASTER, Realm},
    },
    provision::{
        Error,
        operators::{self, Roles},
        realms,
        roles::Named,
    },
};

/// All that an operator was given.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OperatorMappingsRepresentation")]
struct Mappings {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    realm_mappings: Vec<RoleRepresentation>,
    /// By the name of the client.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    client_mappings: BTreeMap<String, ClientMappings>,
}

/// Rights in a realm.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OperatorClientMappings")]
struct ClientMappings {
    id: RealmId,
    client: String,
    mappings: Vec<RoleRepresentation>,
}

pub(super) fn routes() -> Vec<Route> {
    const MAPPED: &str = "/admin/realms/master/users/{user}/role-mappings/realm";
    const MAPPED_IN: &str = "/admin/realms/master/users/{user}/role-mappings/clients/{client}";
    vec![
        route(Method::GET, "/admin/realms/master/roles", admin(Everything, list))
            .says("The roles of `master`")
            .answers::<Vec<RoleRepresentation>>(200),
        route(Method::GET, "/admin/realms/master/roles/{role}", admin(Everything, get))
            .says("A role of `master`")
            .answers::<RoleRepresentation>(200),
        route(Method::GET, "/admin/realms/master/users/{user}/role-mappings", admin(Everything, mappings))
            .says("All that the operator was given")
            .answers::<Mappings>(200),
        route(Method::GET, MAPPED, admin(Everything, mapped))
            .says("The roles of `master` which the operator has")
            .answers::<Vec<RoleRepresentation>>(200),
        route(
            Method::GET,
            "/admin/realms/master/users/{user}/role-mappings/realm/composite",
            admin(Everything, effective),
        )
        .says("The same, with those that another implies")
        .answers::<Vec<RoleRepresentation>>(200),
        route(Method::POST, MAPPED, admin(Everything, grant))
            .says("Gives the operator roles of `master`")
            .takes::<Vec<RoleNamed>>()
            .empty(204),
        route(Method::DELETE, MAPPED, admin(Everything, revoke))
            .says("Takes roles of `master` from the operator")
            .takes::<Vec<RoleNamed>>()
            .empty(204),
        route(Method::GET, MAPPED_IN, admin(Everything, mapped_in))
            .says("The operator's rights in a realm")
            .answers::<Vec<RoleRepresentation>>(200),
        route(
            Method::GET,
            "/admin/realms/master/users/{user}/role-mappings/clients/{client}/composite",
            admin(Everything, effective_in),
        )
        .says("The same, with those that another implies")
        .answers::<Vec<RoleRepresentation>>(200),
        route(Method::POST, MAPPED_IN, admin(Everything, grant_in))
            .says("Gives the operator rights in a realm")
            .takes::<Vec<RoleNamed>>()
            .empty(204),
        route(Method::DELETE, MAPPED_IN, admin(Everything, revoke_in))
            .says("Takes rights in a realm from the operator")
            .takes::<Vec<RoleNamed>>()
            .empty(204),
    ]
}

async fn list(edge: Edge, _: Permitted<Admin>) -> Result<Reply> {
    let master = realms::get(&edge.store, MASTER).await?;
    Ok(shown(MasterRole::ALL.into_iter().map(|role| of_master(&master, role))))
}

async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let master = realms::get(&edge.store, MASTER).await?;
    let role = MasterRole::parse(call.param("role")).ok_or_else(unknown_role)?;
    Ok(json(StatusCode::OK, &of_master(&master, role)))
}

async fn mappings(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Admin { rights, .. } = operators::get(&edge.store, call.param("user")).await?;
    let master = realms::get(&edge.store, MASTER).await?;
    let realm_mappings = rights.master_roles().map(|role| of_master(&master, role)).collect();
    // Only those in which something was given, also to whom everything is allowed.
    let given = Rights { admin: false, ..rights };
    let mut client_mappings = BTreeMap::new();
    for realm in realms::list(&edge.store, &given, None, 0, i64::MAX).await? {
        let held = given.realms.get(realm.name.as_str()).into_iter().flatten();
        let client = format!("{}{OF_A_REALM}", realm.name);
        let mappings = held.map(|right| in_realm(&realm, *right)).collect();
        client_mappings.insert(client.clone(), ClientMappings { id: realm.id, client, mappings });
    }
    Ok(json(StatusCode::OK, &Mappings { realm_mappings, client_mappings }))
}

async fn mapped(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Admin { rights, .. } = operators::get(&edge.store, call.param("user")).await?;
    let master = realms::get(&edge.store, MASTER).await?;
    Ok(shown(rights.master_roles().map(|role| of_master(&master, role))))
}

async fn effective(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Admin { rights, .. } = operators::get(&edge.store, call.param("user")).await?;
    let master = realms::get(&edge.store, MASTER).await?;
    let has = |role: &MasterRole| match role {
        MasterRole::Admin => rights.admin,
        MasterRole::CreateRealm => rights.meet(Need::CreateRealm, None),
    };
    Ok(shown(MasterRole::ALL.into_iter().filter(has).map(|role| of_master(&master, role))))
}

async fn grant(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let roles = roles_of_master(&edge, &call).await?;
    operators::grant(&edge.store, call.param("user"), &roles, &call.cause()).await?;
    Ok(changed(&edge))
}

async fn revoke(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let roles = roles_of_master(&edge, &call).await?;
    operators::revoke(&edge.store, call.param("user"), &roles, &call.cause()).await?;
    Ok(changed(&edge))
}

async fn mapped_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Admin { rights, .. } = operators::get(&edge.store, call.param("user")).await?;
    let realm = realm_of_client(&edge, call.param("client")).await?;
    let held = rights.realms.get(realm.name.as_str()).into_iter().flatten();
    Ok(shown(held.map(|right| in_realm(&realm, *right))))
}

async fn effective_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Admin { rights, .. } = operators::get(&edge.store, call.param("user")).await?;
    let realm = realm_of_client(&edge, call.param("client")).await?;
    let held = Right::ALL.into_iter().filter(|right| rights.meet((*right).into(), Some(realm.name.as_str())));
    Ok(shown(held.map(|right| in_realm(&realm, right))))
}

async fn grant_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let roles = rights_in_realm(&edge, &call).await?;
    operators::grant(&edge.store, call.param("user"), &roles, &call.cause()).await?;
    Ok(changed(&edge))
}

async fn revoke_in(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let roles = rights_in_realm(&edge, &call).await?;
    operators::revoke(&edge.store, call.param("user"), &roles, &call.cause()).await?;
    Ok(changed(&edge))
}

/// The realm for which a client of the name `<realm>-realm` stands.
pub async fn realm_of_client(edge: &Edge, id: &str) -> Result<Realm> {
    let missing = || Error::NotFound("Could not find client".into());
    let id = id.parse().map(RealmId).map_err(|_| missing())?;
    let realm = realms::get_by_id(&edge.store, id).await.map_err(|error| match error {
        Error::NotFound(_) => missing(),
        error => error,
    })?;
    if realm.name.as_str() == MASTER { Err(missing().into()) } else { Ok(realm) }
}

/// A right, as a role of the client which stands for the realm.
pub(super) fn in_realm(realm: &Realm, right: Right) -> RoleRepresentation {
    representation(realm.id, right.as_str(), true)
}

pub(super) fn shown(roles: impl Iterator<Item = RoleRepresentation>) -> Reply {
    json(StatusCode::OK, &roles.collect::<Vec<_>>())
}

pub(super) fn unknown_role() -> Error {
    Error::NotFound("Role not found".into())
}

async fn roles_of_master(edge: &Edge, call: &Permitted<Admin>) -> Result<Roles> {
    let master = realms::get(&edge.store, MASTER).await?;
    let roles = named(call)?;
    let roles = roles.iter().map(|named| chosen(named, master.id, MasterRole::ALL, MasterRole::as_str));
    Ok(Roles::OfMaster(roles.collect::<Result<_>>()?))
}

async fn rights_in_realm(edge: &Edge, call: &Permitted<Admin>) -> Result<Roles> {
    let realm = realm_of_client(edge, call.param("client")).await?;
    let rights = named(call)?;
    let rights = rights.iter().map(|named| chosen(named, realm.id, Right::ALL, Right::as_str));
    Ok(Roles::InRealm(realm.id, rights.collect::<Result<_>>()?))
}

/// The one of `all` which is meant, by its name or else by its id.
fn chosen<T: Copy, const N: usize>(
    named: &Named,
    realm: RealmId,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T> {
    let is_meant = |role: &T| match (&named.name, &named.id) {
        (Some(text), _) => name(*role) == text,
        (None, Some(id)) => role_id(realm, name(*role)).to_string() == *id,
        (None, None) => false,
    };
    Ok(all.into_iter().find(is_meant).ok_or_else(unknown_role)?)
}

fn of_master(master: &Realm, role: MasterRole) -> RoleRepresentation {
    representation(master.id, role.as_str(), false)
}

fn representation(container: RealmId, name: &str, client_role: bool) -> RoleRepresentation {
    RoleRepresentation {
        id: role_id(container, name),
        name: name.to_owned(),
        description: None,
        composite: false,
        client_role,
        container_id: container.0,
        attributes: Map::new(),
    }
}
