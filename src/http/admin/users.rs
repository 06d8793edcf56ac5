//! Users of a realm, in Keycloak's representation.

use http::{Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    groups::{self, GroupRepresentation},
    history,
    query::{self, AT, BRIEF, FIRST, MAX, flag, page, text, time},
    realms::body,
    roles::{self, AccessRepresentation, MappingsRepresentation, RoleNamed, RoleRepresentation},
    scope,
};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json, with_header},
        failure::{Failure, Result},
        route::{Route, admin, route},
    },
    model::{
        admin::{
            Admin,
            Right::{ManageUsers, ViewUsers},
        },
        history::Entry,
        profile::{UserProfile, attributes_of_user, name_part, username},
        search::{Term, UserSearch, pairs},
        user::{State, User},
    },
    provision::{self, Error, people::users},
    scim::resource::fold,
};

/// Users on a page when the client does not say; Keycloak's number.
pub(super) const USERS: Option<i64> = Some(100);

const SEARCH: &[(&str, &str)] = &[
    ("search", "Words with which userName, first name, last name or e-mail begin; `*part*`, `\"whole\"`, `id:<id>`"),
    ("username", "A part of the userName"),
    ("email", "A part of an e-mail address"),
    ("firstName", "A part of the first name"),
    ("lastName", "A part of the last name"),
    ("exact", "Are these four the whole, and not a part?"),
    ("enabled", "Only users who may come in, or only those who may not"),
    ("state", "`shadow`, `active` or `disabled`"),
    ("emailVerified", "Nobody's is"),
    ("q", "Attributes: `key:value key2:value2`, such as `externalId:42`"),
    BRIEF,
    FIRST,
    MAX,
];

/// Keycloak's UserRepresentation, as far as there is something behind it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UserRepresentation")]
pub(super) struct UserRepresentation {
    id: Uuid,
    /// The userName, folded; as it was sent it is `attributes.scimUserName`.
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Addresses are not verified here.
    email_verified: bool,
    /// Lists of texts; `state` and `scimUserName` among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Map<String, Value>>,
    /// `true` for a shadow user.
    enabled: bool,
    /// Milliseconds since 1970.
    created_timestamp: i64,
    totp: bool,
    disableable_credential_types: [String; 0],
    required_actions: [String; 0],
    not_before: u8,
    access: AccessOfUser,
}

/// What the asking operator may do to a user.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "Keycloak's form")]
pub(super) struct AccessOfUser {
    manage_group_membership: bool,
    view: bool,
    map_roles: bool,
    impersonate: bool,
    /// Never, where SCIM manages the user.
    manage: bool,
}

/// What an operator writes; fields of Keycloak's that mean nothing here, credentials among them, are passed over.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UserWritten")]
pub(super) struct UserWritten {
    username: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    enabled: Option<bool>,
    /// Texts, or lists of texts.
    attributes: Option<Map<String, Value>>,
}

/// The routes below `…/users`.
pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/realms/{realm}/users", admin(ViewUsers, search))
            .says("Users, in the order of their names")
            .query(SEARCH)
            .answers::<Vec<UserRepresentation>>(200),
        route(Method::POST, "/admin/realms/{realm}/users", admin(ManageUsers, create))
            .says("Creates a local user, whom SCIM does not see")
            .takes::<UserWritten>()
            .empty(201),
        route(Method::GET, "/admin/realms/{realm}/users/count", admin(ViewUsers, count))
            .says("How many users there are")
            .query(SEARCH)
            .answers::<i64>(200),
        route(Method::GET, "/admin/realms/{realm}/users/{user}", admin(ViewUsers, get))
            .says("A user, now or as it was")
            .query(&[AT])
            .answers::<UserRepresentation>(200),
        route(Method::GET, "/admin/realms/{realm}/users/{user}/history", admin(ViewUsers, history::of_user))
            .says("Who changed what of the user and when, newest first, also of one that was deleted")
            .query(history::QUERY)
            .answers::<Vec<Entry>>(200),
        route(Method::PUT, "/admin/realms/{realm}/users/{user}", admin(ManageUsers, update))
            .says("Changes a local user; 403 if SCIM manages it")
            .takes::<UserWritten>()
            .empty(204),
        route(Method::DELETE, "/admin/realms/{realm}/users/{user}", admin(ManageUsers, delete))
            .says("Deletes a local user; 403 if SCIM manages it")
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/users/{user}/groups", admin(ViewUsers, groups_of))
            .says("The groups which hold the user directly")
            .query(&[("search", "A part of the name"), BRIEF, FIRST, MAX])
            .answers::<Vec<GroupRepresentation>>(200),
        route(Method::GET, "/admin/realms/{realm}/users/{user}/groups/count", admin(ViewUsers, count_groups))
            .says("How many groups hold the user directly")
            .answers::<groups::Count>(200),
        route(Method::PUT, "/admin/realms/{realm}/users/{user}/groups/{group}", admin(ManageUsers, join))
            .says("Puts a user into a local group; 403 if SCIM manages the group")
            .empty(204),
        route(Method::DELETE, "/admin/realms/{realm}/users/{user}/groups/{group}", admin(ManageUsers, leave))
            .says("Takes a user out of a local group; 403 if SCIM manages the group")
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/users/{user}/role-mappings", admin(ViewUsers, roles::mappings))
            .says("The roles which are mapped to the user")
            .answers::<MappingsRepresentation>(200),
        route(Method::GET, "/admin/realms/{realm}/users/{user}/role-mappings/realm", admin(ViewUsers, roles::mapped))
            .says("The roles which are mapped to the user")
            .answers::<Vec<RoleRepresentation>>(200),
        route(Method::POST, "/admin/realms/{realm}/users/{user}/role-mappings/realm", admin(ManageUsers, roles::map))
            .says("Maps roles to the user")
            .takes::<Vec<RoleNamed>>()
            .empty(204),
        route(
            Method::DELETE,
            "/admin/realms/{realm}/users/{user}/role-mappings/realm",
            admin(ManageUsers, roles::unmap),
        )
        .says("Takes roles from the user")
        .takes::<Vec<RoleNamed>>()
        .empty(204),
        route(
            Method::GET,
            "/admin/realms/{realm}/users/{user}/role-mappings/realm/composite",
            admin(ViewUsers, roles::effective),
        )
        .says("The user's effective roles: its own, and those of the groups which hold it")
        .answers::<Vec<RoleRepresentation>>(200),
        route(
            Method::GET,
            "/admin/realms/{realm}/users/{user}/role-mappings/realm/available",
            admin(ViewUsers, roles::available),
        )
        .says("The roles which could be mapped to the user")
        .answers::<Vec<RoleRepresentation>>(200),
        route(Method::GET, "/admin/realms/{realm}/users/{user}/access", admin(ViewUsers, roles::access))
            .says("Why the user has a role, or has it not")
            .query(&[("role", "The role's name")])
            .answers::<AccessRepresentation>(200),
    ]
}

async fn search(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (wanted, page, brief) = (wanted(&call)?, page(&call, USERS)?, flag(&call, "briefRepresentation")?);
    let found = users::search(&edge.store, &scope(&edge, &call).await?, &wanted, page).await?;
    shown(&call, &found, brief.unwrap_or(false))
}

async fn count(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let count = users::count(&edge.store, &scope(&edge, &call).await?, &wanted(&call)?).await?;
    Ok(json(StatusCode::OK, &count))
}

async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (scope, id) = (scope(&edge, &call).await?, call.param("user"));
    let user = match time(&call, AT.0)? {
        None => users::get(&edge.store, &scope, id).await?,
        Some(at) => provision::history::user_at(&edge.store, &scope, id, at).await?,
    };
    Ok(json(StatusCode::OK, &representation(&call, &user, false)?))
}

async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: UserWritten = body(&call)?;
    let scope = scope(&edge, &call).await?;
    let id = users::create(&edge.store, &scope, &written.into()).await?;
    let location = format!("{}/admin/realms/{}/users/{id}", call.base_url, scope.realm.name);
    Ok(with_header(empty(StatusCode::CREATED), header::LOCATION, &location))
}

async fn update(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: UserWritten = body(&call)?;
    users::update(&edge.store, &scope(&edge, &call).await?, call.param("user"), &written.into()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    users::delete(&edge.store, &scope(&edge, &call).await?, call.param("user")).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn groups_of(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (part, page, brief) = (text(&call, "search"), page(&call, None)?, flag(&call, "briefRepresentation")?);
    let found = users::groups(&edge.store, &scope(&edge, &call).await?, call.param("user"), part, page).await?;
    groups::shown(&call, &found, brief.unwrap_or(true))
}

async fn count_groups(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let page = query::page(&call, None)?;
    let found = users::groups(&edge.store, &scope(&edge, &call).await?, call.param("user"), None, page).await?;
    Ok(json(StatusCode::OK, &groups::Count { count: i64::try_from(found.len()).unwrap_or(i64::MAX) }))
}

async fn join(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    users::join(&edge.store, &scope(&edge, &call).await?, call.param("user"), call.param("group")).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn leave(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    users::leave(&edge.store, &scope(&edge, &call).await?, call.param("user"), call.param("group")).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Users as an answer.
pub(super) fn shown(call: &Permitted<Admin>, users: &[User], brief: bool) -> Result<Reply> {
    let shown: Vec<_> = users.iter().map(|user| representation(call, user, brief)).collect::<Result<_>>()?;
    Ok(json(StatusCode::OK, &shown))
}

fn representation(call: &Permitted<Admin>, user: &User, brief: bool) -> Result<UserRepresentation> {
    let document = &user.document;
    let resource = document.resource().ok_or(Error::Damaged(document.id))?;
    let may_manage = call.caller().rights.meet(ManageUsers.into(), Some(call.param("realm")));
    let part = |name| name_part(&resource, name).map(str::to_owned);
    Ok(UserRepresentation {
        id: document.id,
        username: username(&resource),
        first_name: part("givenName"),
        last_name: part("familyName"),
        email: resource.email().map(str::to_owned),
        email_verified: false,
        attributes: (!brief).then(|| attributes_of_user(&resource, user.state)),
        enabled: user.state != State::Disabled,
        created_timestamp: document.created_at.as_millisecond(),
        totp: false,
        disableable_credential_types: [],
        required_actions: [],
        not_before: 0,
        access: AccessOfUser {
            manage_group_membership: may_manage,
            view: true,
            map_roles: may_manage,
            impersonate: false,
            manage: may_manage && !document.managed,
        },
    })
}

/// Each word is a condition of its own.
const MAX_TERMS: usize = 20;

fn wanted(call: &Permitted<Admin>) -> Result<UserSearch> {
    let state = text(call, "state").map(|text| {
        let states = [State::Shadow, State::Active, State::Disabled];
        let known = states.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(text));
        known.ok_or_else(|| Failure::Invalid("`state` is `shadow`, `active` or `disabled`".into()))
    });
    let folded = |name| text(call, name).map(fold);
    let terms = text(call, "search").map(Term::all_of).unwrap_or_default();
    let wanted = terms.len() + text(call, "q").map_or(0, |q| pairs(q).len());
    if wanted > MAX_TERMS {
        return Err(Failure::Invalid(format!("`search` and `q` may have {MAX_TERMS} words and pairs in all")));
    }
    Ok(UserSearch {
        terms,
        user_name: folded("username"),
        email: folded("email"),
        first_name: folded("firstName"),
        last_name: folded("lastName"),
        exact: flag(call, "exact")?.unwrap_or(false),
        enabled: flag(call, "enabled")?,
        state: state.transpose()?,
        email_verified: flag(call, "emailVerified")?,
        attributes: text(call, "q").map(pairs).unwrap_or_default(),
    })
}

impl From<UserWritten> for UserProfile {
    fn from(written: UserWritten) -> Self {
        let UserWritten { username, email, first_name, last_name, enabled, attributes } = written;
        Self { user_name: username, email, first_name, last_name, enabled, attributes }
    }
}
