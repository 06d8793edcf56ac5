//! Roles of a realm and their mappings, in Keycloak's representation; and why a user has one, in our own.

use http::{Method, StatusCode, header};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    groups::{self, GroupRepresentation},
    query::{BRIEF, FIRST, MAX, flag, page, text},
    realms::body,
    scope,
    users::{self, USERS, UserRepresentation},
};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json, with_header},
        failure::{Failure, Result},
        route::{Route, admin, route},
    },
    model::{
        Actor, Scope,
        admin::{
            Admin,
            Need::AnyRight,
            Right::{ManageRealm, ViewUsers},
        },
        role::{Access, Holder, Reason, Role, Source, Step},
        user::{State, User},
    },
    provision::roles::{self, Named},
};

/// What a segment of a path cannot hold as it is (RFC 3986 §3.3).
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Keycloak's RoleRepresentation, as far as there is something behind it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RoleRepresentation")]
pub(super) struct RoleRepresentation {
    pub(super) id: Uuid,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    pub(super) composite: bool,
    pub(super) client_role: bool,
    /// Id of the realm.
    pub(super) container_id: Uuid,
    pub(super) attributes: Map<String, Value>,
}

/// What is mapped to a user or a group. Clients have no roles here.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MappingsRepresentation")]
pub(super) struct MappingsRepresentation {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    realm_mappings: Vec<RoleRepresentation>,
}

/// What an operator writes of a role.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RoleWritten {
    name: Option<String>,
    /// The empty text takes it away.
    description: Option<String>,
}

/// A role, named by its id, its name, or both.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RoleNamed {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
}

/// Why a user has a role, or has it not.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AccessRepresentation")]
pub(super) struct AccessRepresentation {
    user: Uuid,
    username: String,
    /// A disabled user keeps its roles and cannot sign in.
    state: State,
    role: RoleRepresentation,
    granted: bool,
    /// In a sentence.
    explanation: String,
    /// Each mapping by which the user has it.
    reasons: Vec<ReasonShown>,
    /// The first twenty groups which carry the role, whoever is in them.
    carriers: Vec<Carrier>,
}

/// A mapping which gives the user the role.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AccessReason")]
pub(super) struct ReasonShown {
    mapping: SourceShown,
    /// From the user up to the group which carries the role; none if the role is mapped to the user itself.
    groups: Vec<StepShown>,
}

/// A group on the way, and how the user, or the group before it, came into it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AccessStep")]
pub(super) struct StepShown {
    id: Uuid,
    name: String,
    membership: SourceShown,
}

/// By whose request something came about, as far as it is known.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AccessSource")]
pub(super) struct SourceShown {
    since: Timestamp,
    actor: Option<Actor>,
    request_id: Option<String>,
}

/// A group which carries a role.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Carrier {
    id: Uuid,
    name: String,
}

/// The routes below `…/roles`. Names have no slash, so the second segment is what it seems.
pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/realms/{realm}/roles", admin(AnyRight, list))
            .says("Roles, by name")
            .query(&[("search", "A part of the name"), BRIEF, FIRST, MAX])
            .answers::<Vec<RoleRepresentation>>(200),
        route(Method::POST, "/admin/realms/{realm}/roles", admin(ManageRealm, create))
            .says("Creates a role")
            .takes::<RoleWritten>()
            .empty(201),
        route(Method::GET, "/admin/realms/{realm}/roles/{role}", admin(AnyRight, get))
            .says("A role")
            .answers::<RoleRepresentation>(200),
        route(Method::PUT, "/admin/realms/{realm}/roles/{role}", admin(ManageRealm, update))
            .says("Renames a role, or describes it anew")
            .takes::<RoleWritten>()
            .empty(204),
        route(Method::DELETE, "/admin/realms/{realm}/roles/{role}", admin(ManageRealm, delete))
            .says("Deletes a role, and with it all of its mappings")
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/roles/{role}/users", admin(ViewUsers, users_with))
            .says("The users to whom the role is mapped, in the order of their ids")
            .query(&[BRIEF, FIRST, MAX])
            .answers::<Vec<UserRepresentation>>(200),
        route(Method::GET, "/admin/realms/{realm}/roles/{role}/groups", admin(ViewUsers, groups_with))
            .says("The groups to which the role is mapped")
            .query(&[BRIEF, FIRST, MAX])
            .answers::<Vec<GroupRepresentation>>(200),
        route(Method::GET, "/admin/realms/{realm}/roles-by-id/{id}", admin(AnyRight, get_by_id))
            .says("A role")
            .answers::<RoleRepresentation>(200),
    ]
}

async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (part, page) = (text(&call, "search"), page(&call, None)?);
    let scope = scope(&edge, &call).await?;
    let found = roles::list(&edge.store, &scope, part, page).await?;
    Ok(json(StatusCode::OK, &shown(&scope, found)))
}

async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let scope = scope(&edge, &call).await?;
    let role = roles::get(&edge.store, &scope, call.param("role")).await?;
    Ok(json(StatusCode::OK, &representation(&scope, role)))
}

async fn get_by_id(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let scope = scope(&edge, &call).await?;
    let role = roles::get_by_id(&edge.store, &scope, call.param("id")).await?;
    Ok(json(StatusCode::OK, &representation(&scope, role)))
}

async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let RoleWritten { name, description }: RoleWritten = body(&call)?;
    let name = name.ok_or_else(|| Failure::Invalid("`name` is needed: the name of the new role".into()))?;
    let scope = scope(&edge, &call).await?;
    roles::create(&edge.store, &scope, &name, description.as_deref()).await?;
    let segment = utf8_percent_encode(&name, SEGMENT);
    let location = format!("{}/admin/realms/{}/roles/{segment}", call.base_url, scope.realm.name);
    Ok(with_header(empty(StatusCode::CREATED), header::LOCATION, &location))
}

async fn update(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let RoleWritten { name, description }: RoleWritten = body(&call)?;
    let scope = scope(&edge, &call).await?;
    roles::update(&edge.store, &scope, call.param("role"), name.as_deref(), description.as_deref()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    roles::delete(&edge.store, &scope(&edge, &call).await?, call.param("role")).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn users_with(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (page, brief) = (page(&call, USERS)?, flag(&call, "briefRepresentation")?);
    let found = roles::users(&edge.store, &scope(&edge, &call).await?, call.param("role"), page).await?;
    users::shown(&call, &found, brief.unwrap_or(false))
}

async fn groups_with(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (page, brief) = (page(&call, USERS)?, flag(&call, "briefRepresentation")?);
    let found = roles::groups(&edge.store, &scope(&edge, &call).await?, call.param("role"), page).await?;
    groups::shown(&call, &found, brief.unwrap_or(true))
}

/// What is mapped to the user or group of the path, clients' roles and all.
pub(super) async fn mappings(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let scope = scope(&edge, &call).await?;
    let found = roles::of(&edge.store, &scope, holder(&call)?).await?;
    Ok(json(StatusCode::OK, &MappingsRepresentation { realm_mappings: shown(&scope, found) }))
}

/// What is mapped to the user or group of the path.
pub(super) async fn mapped(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let scope = scope(&edge, &call).await?;
    let found = roles::of(&edge.store, &scope, holder(&call)?).await?;
    Ok(json(StatusCode::OK, &shown(&scope, found)))
}

pub(super) async fn effective(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let scope = scope(&edge, &call).await?;
    let found = roles::effective(&edge.store, &scope, holder(&call)?).await?;
    Ok(json(StatusCode::OK, &shown(&scope, found)))
}

pub(super) async fn available(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let scope = scope(&edge, &call).await?;
    let found = roles::available(&edge.store, &scope, holder(&call)?).await?;
    Ok(json(StatusCode::OK, &shown(&scope, found)))
}

pub(super) async fn map(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    roles::map(&edge.store, &scope(&edge, &call).await?, holder(&call)?, &named(&call)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn unmap(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    roles::unmap(&edge.store, &scope(&edge, &call).await?, holder(&call)?, &named(&call)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn access(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let role = text(&call, "role");
    let role = role.ok_or_else(|| Failure::Invalid("`role` is needed: the name of the role in question".into()))?;
    let scope = scope(&edge, &call).await?;
    let (user, access) = roles::access(&edge.store, &scope, call.param("user"), role).await?;
    Ok(json(StatusCode::OK, &explained(&scope, &user, access)))
}

/// Whose mappings the path is about.
fn holder(call: &Permitted<Admin>) -> Result<Holder> {
    Ok(match call.param("user") {
        "" => roles::group_named(call.param("group"))?,
        user => roles::user_named(user)?,
    })
}

/// The roles which the body names.
pub(super) fn named(call: &Permitted<Admin>) -> Result<Vec<Named>> {
    let named: Vec<RoleNamed> =
        serde_json::from_value(call.json_value()?).map_err(|error| Failure::Invalid(error.to_string()))?;
    Ok(named.into_iter().map(|RoleNamed { id, name }| Named { id, name }).collect())
}

fn shown(scope: &Scope, roles: Vec<Role>) -> Vec<RoleRepresentation> {
    roles.into_iter().map(|role| representation(scope, role)).collect()
}

fn representation(scope: &Scope, role: Role) -> RoleRepresentation {
    RoleRepresentation {
        id: role.id.0,
        name: role.name,
        description: role.description,
        composite: false,
        client_role: false,
        container_id: scope.realm.id.0,
        attributes: Map::new(),
    }
}

fn explained(scope: &Scope, user: &User, access: Access) -> AccessRepresentation {
    let Access { role, reasons, carriers } = access;
    let username = user.document.resource().as_ref().map(crate::model::profile::username).unwrap_or_default();
    let quoted = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let explanation = match (reasons.first(), carriers.is_empty()) {
        (None, true) => format!("`{username}` does not have the role: it is not mapped to the user, nor to any group"),
        (None, false) => format!(
            "`{username}` does not have the role: it is not mapped to the user, who is in none of the groups which carry \
             it: {}",
            quoted(carriers.iter().map(|(_, name)| name.as_str()).collect())
        ),
        (Some(Reason { way, .. }), _) if way.is_empty() => format!("the role is mapped to `{username}`"),
        (Some(Reason { way, .. }), _) => format!(
            "`{username}` is in {}, to which the role is mapped",
            way.iter().map(|step| format!("`{}`", step.name)).collect::<Vec<_>>().join(", which is in ")
        ),
    };
    AccessRepresentation {
        user: user.document.id,
        username,
        state: user.state,
        role: representation(scope, role),
        granted: !reasons.is_empty(),
        explanation,
        reasons: reasons.into_iter().map(ReasonShown::from).collect(),
        carriers: carriers.into_iter().map(|(id, name)| Carrier { id: id.0, name }).collect(),
    }
}

impl From<Reason> for ReasonShown {
    fn from(Reason { mapping, way }: Reason) -> Self {
        Self { mapping: mapping.into(), groups: way.into_iter().map(StepShown::from).collect() }
    }
}

impl From<Step> for StepShown {
    fn from(Step { group, name, membership }: Step) -> Self {
        Self { id: group.0, name, membership: membership.into() }
    }
}

impl From<Source> for SourceShown {
    fn from(Source { since, actor, request_id }: Source) -> Self {
        Self { since, actor, request_id }
    }
}
