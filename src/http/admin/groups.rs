//! Groups of a realm, in Keycloak's representation. All of them are at the top: a group which holds others does so by
//! membership, and Keycloak's tree has no place for a group in two others.

use http::{Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    query::{AT, BRIEF, FIRST, MAX, flag, page, text, time},
    realms::body,
    roles::{self, MappingsRepresentation, RoleNamed, RoleRepresentation},
    scope,
    users::{self, USERS, UserRepresentation},
};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json, with_header},
        failure::Result,
        route::{Route, admin, route},
    },
    model::{
        GroupId,
        admin::{
            Admin,
            Right::{ManageUsers, ViewUsers},
        },
        document::Document,
        profile::{GroupProfile, attributes_of, path_of},
        role::Holder,
    },
    provision::{self, Error, people::groups},
};

const SEARCH: &[(&str, &str)] = &[("search", "A part of the name"), ("exact", "Is it the whole?"), BRIEF, FIRST, MAX];

/// Keycloak's GroupRepresentation, as far as there is something behind it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GroupRepresentation")]
pub(super) struct GroupRepresentation {
    id: Uuid,
    /// SCIM's displayName.
    name: String,
    /// A slash in the name is written `~/`.
    path: String,
    sub_group_count: u8,
    sub_groups: [String; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Map<String, Value>>,
    /// Names of the roles which are mapped to it; where one group was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    realm_roles: Option<Vec<String>>,
    /// Ids of the users and groups in it; where one group was asked for as it was, and had at most 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Uuid>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<AccessOfGroup>,
}

/// What the asking operator may do to a group.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "Keycloak's form")]
pub(super) struct AccessOfGroup {
    view: bool,
    view_members: bool,
    /// Never, where SCIM manages the group.
    manage_members: bool,
    manage: bool,
    /// Never, where SCIM manages the group.
    manage_membership: bool,
}

/// How many.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Count {
    pub count: i64,
}

/// What an operator writes; fields of Keycloak's that mean nothing here are passed over.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "GroupWritten")]
pub(super) struct GroupWritten {
    name: Option<String>,
    /// Texts, or lists of texts.
    attributes: Option<Map<String, Value>>,
}

/// The routes below `…/groups`, and that by path.
pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/realms/{realm}/groups", admin(ViewUsers, list))
            .says("Groups, by name")
            .query(SEARCH)
            .answers::<Vec<GroupRepresentation>>(200),
        route(Method::POST, "/admin/realms/{realm}/groups", admin(ManageUsers, create))
            .says("Creates a local group, which SCIM does not see")
            .takes::<GroupWritten>()
            .empty(201),
        route(Method::GET, "/admin/realms/{realm}/groups/count", admin(ViewUsers, count))
            .says("How many groups there are")
            .query(SEARCH)
            .answers::<Count>(200),
        route(Method::GET, "/admin/realms/{realm}/groups/{group}", admin(ViewUsers, get))
            .says("A group, now or as it was")
            .query(&[AT])
            .answers::<GroupRepresentation>(200),
        route(Method::PUT, "/admin/realms/{realm}/groups/{group}", admin(ManageUsers, update))
            .says("Changes a local group; 403 if SCIM manages it")
            .takes::<GroupWritten>()
            .empty(204),
        route(Method::DELETE, "/admin/realms/{realm}/groups/{group}", admin(ManageUsers, delete))
            .says("Deletes a local group; 403 if SCIM manages it")
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/groups/{group}/members", admin(ViewUsers, members))
            .says("The users in the group itself, in the order of their ids")
            .query(&[BRIEF, FIRST, MAX])
            .answers::<Vec<UserRepresentation>>(200),
        route(Method::GET, "/admin/realms/{realm}/groups/{group}/children", admin(ViewUsers, children))
            .says("Groups below the group: none")
            .answers::<Vec<GroupRepresentation>>(200),
        route(Method::GET, "/admin/realms/{realm}/groups/{group}/role-mappings", admin(ViewUsers, roles::mappings))
            .says("The roles which are mapped to the group")
            .answers::<MappingsRepresentation>(200),
        route(Method::GET, "/admin/realms/{realm}/groups/{group}/role-mappings/realm", admin(ViewUsers, roles::mapped))
            .says("The roles which are mapped to the group")
            .answers::<Vec<RoleRepresentation>>(200),
        route(Method::POST, "/admin/realms/{realm}/groups/{group}/role-mappings/realm", admin(ManageUsers, roles::map))
            .says("Maps roles to the group: all who are in it have them at once")
            .takes::<Vec<RoleNamed>>()
            .empty(204),
        route(
            Method::DELETE,
            "/admin/realms/{realm}/groups/{group}/role-mappings/realm",
            admin(ManageUsers, roles::unmap),
        )
        .says("Takes roles from the group")
        .takes::<Vec<RoleNamed>>()
        .empty(204),
        route(
            Method::GET,
            "/admin/realms/{realm}/groups/{group}/role-mappings/realm/composite",
            admin(ViewUsers, roles::effective),
        )
        .says("The group's effective roles: its own, and those of the groups which hold it")
        .answers::<Vec<RoleRepresentation>>(200),
        route(
            Method::GET,
            "/admin/realms/{realm}/groups/{group}/role-mappings/realm/available",
            admin(ViewUsers, roles::available),
        )
        .says("The roles which could be mapped to the group")
        .answers::<Vec<RoleRepresentation>>(200),
        route(Method::GET, "/admin/realms/{realm}/group-by-path/{*path}", admin(ViewUsers, at_path))
            .says("The group at a path")
            .answers::<GroupRepresentation>(200),
    ]
}

async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (part, exact, page) = (text(&call, "search"), flag(&call, "exact")?.unwrap_or(false), page(&call, None)?);
    let brief = flag(&call, "briefRepresentation")?.unwrap_or(true);
    let found = groups::list(&edge.store, &scope(&edge, &call).await?, part, exact, page).await?;
    shown(&call, &found, brief)
}

async fn count(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (part, exact) = (text(&call, "search"), flag(&call, "exact")?.unwrap_or(false));
    let count = groups::count(&edge.store, &scope(&edge, &call).await?, part, exact).await?;
    Ok(json(StatusCode::OK, &Count { count }))
}

async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (scope, id) = (scope(&edge, &call).await?, call.param("group"));
    if let Some(at) = time(&call, AT.0)? {
        let (group, members) = provision::history::group_at(&edge.store, &scope, id, at).await?;
        return Ok(json(StatusCode::OK, &GroupRepresentation { members, ..representation(&call, &group, false)? }));
    }
    let group = groups::get(&edge.store, &scope, id).await?;
    let roles = provision::roles::of(&edge.store, &scope, Holder::Group(GroupId(group.id))).await?;
    let mut shown = representation(&call, &group, false)?;
    shown.realm_roles = Some(roles.into_iter().map(|role| role.name).collect());
    Ok(json(StatusCode::OK, &shown))
}

async fn at_path(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let group = groups::at_path(&edge.store, &scope(&edge, &call).await?, call.param("path")).await?;
    Ok(json(StatusCode::OK, &representation(&call, &group, false)?))
}

async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: GroupWritten = body(&call)?;
    let scope = scope(&edge, &call).await?;
    let id = groups::create(&edge.store, &scope, &written.into()).await?;
    let location = format!("{}/admin/realms/{}/groups/{id}", call.base_url, scope.realm.name);
    Ok(with_header(empty(StatusCode::CREATED), header::LOCATION, &location))
}

async fn update(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: GroupWritten = body(&call)?;
    groups::update(&edge.store, &scope(&edge, &call).await?, call.param("group"), &written.into()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    groups::delete(&edge.store, &scope(&edge, &call).await?, call.param("group")).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn members(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (page, brief) = (page(&call, USERS)?, flag(&call, "briefRepresentation")?);
    let found = groups::members(&edge.store, &scope(&edge, &call).await?, call.param("group"), page).await?;
    users::shown(&call, &found, brief.unwrap_or(false))
}

async fn children(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    groups::get(&edge.store, &scope(&edge, &call).await?, call.param("group")).await?;
    shown(&call, &[], true)
}

/// Groups as an answer.
pub(super) fn shown(call: &Permitted<Admin>, groups: &[Document], brief: bool) -> Result<Reply> {
    let shown: Vec<_> = groups.iter().map(|group| representation(call, group, brief)).collect::<Result<_>>()?;
    Ok(json(StatusCode::OK, &shown))
}

fn representation(call: &Permitted<Admin>, group: &Document, brief: bool) -> Result<GroupRepresentation> {
    let resource = group.resource().ok_or(Error::Damaged(group.id))?;
    let name = resource.display_name().unwrap_or_default().to_owned();
    let may_manage = call.caller().rights.meet(ManageUsers.into(), Some(call.param("realm")));
    let own = may_manage && !group.managed;
    let attributes = (!brief).then(|| {
        let mut attributes = attributes_of(&resource);
        attributes.shift_remove("displayName");
        attributes
    });
    let access =
        AccessOfGroup { view: true, view_members: true, manage_members: own, manage: own, manage_membership: own };
    Ok(GroupRepresentation {
        id: group.id,
        path: path_of(&name),
        name,
        sub_group_count: 0,
        sub_groups: [],
        attributes,
        realm_roles: None,
        members: None,
        access: (!brief).then_some(access),
    })
}

impl From<GroupWritten> for GroupProfile {
    fn from(GroupWritten { name, attributes }: GroupWritten) -> Self {
        Self { name, attributes }
    }
}
