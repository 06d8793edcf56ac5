//! People and, by their ids, service accounts.

use http::{Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{changed, hashed};
use crate::{
    http::{
        Edge,
        admin::{
            query::{FIRST, MAX, flag, page, text},
            realms::body,
            users::USERS,
        },
        exchange::{Permitted, Reply, empty, json, with_header},
        failure::{Failure, Result},
        route::{Route, admin, route},
    },
    model::{
        AdminId,
        admin::{Admin, Need::Everything, folded},
    },
    provision::operators::{self, Filter, New},
};

const SEARCH: &[(&str, &str)] = &[
    ("search", "A part of the name"),
    ("username", "The same"),
    ("exact", "Is it the whole name?"),
    ("enabled", "Only those who may come in, or only those who may not"),
    FIRST,
    MAX,
];

/// Filters of Keycloak's which match nobody here, as operators have no such attributes.
const OF_NOBODY: [&str; 5] = ["email", "firstName", "lastName", "q", "idpAlias"];

/// Keycloak's UserRepresentation of an operator.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OperatorRepresentation")]
pub(super) struct Representation<'a> {
    id: AdminId,
    username: &'a str,
    enabled: bool,
    email_verified: bool,
    /// Milliseconds since 1970.
    created_timestamp: i64,
    /// Of a service account alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account_client_id: Option<&'a str>,
    totp: bool,
    disableable_credential_types: [&'static str; 0],
    required_actions: [&'static str; 0],
    not_before: i64,
}

/// What is written of a person; fields of Keycloak's that mean nothing here are passed over.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "OperatorWritten")]
struct Written {
    username: Option<String>,
    enabled: Option<bool>,
    /// At creation alone: at most one, a password.
    #[serde(default)]
    credentials: Vec<Credential>,
}

/// Keycloak's CredentialRepresentation: a password.
#[derive(Deserialize, JsonSchema)]
struct Credential {
    #[serde(rename = "type")]
    kind: Option<String>,
    value: String,
    /// A password to be changed at the next sign-in, which is not offered.
    temporary: Option<bool>,
}

/// How often signing in has failed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BruteForce {
    num_failures: u32,
    /// Are sign-ins refused for the time being?
    disabled: bool,
    /// Milliseconds since 1970.
    last_failure: i64,
}

pub(super) fn routes() -> Vec<Route> {
    const USERS: &str = "/admin/realms/master/users";
    const USER: &str = "/admin/realms/master/users/{user}";
    const FAILURES: &str = "/admin/realms/master/attack-detection/brute-force/users/{user}";
    vec![
        route(Method::GET, USERS, admin(Everything, list))
            .says("Operators, in the order of their names; service accounts are not among them")
            .query(SEARCH)
            .answers::<Vec<Representation<'static>>>(200),
        route(Method::POST, USERS, admin(Everything, create))
            .says("Creates an operator, who has no rights yet")
            .takes::<Written>()
            .empty(201),
        route(Method::GET, "/admin/realms/master/users/count", admin(Everything, count))
            .says("How many operators there are")
            .query(SEARCH)
            .answers::<i64>(200),
        route(Method::GET, USER, admin(Everything, get))
            .says("An operator or a service account")
            .answers::<Representation<'static>>(200),
        route(Method::PUT, USER, admin(Everything, update))
            .says("Renames, enables or disables an operator")
            .takes::<Written>()
            .empty(204),
        route(Method::DELETE, USER, admin(Everything, delete)).says("Deletes an operator").empty(204),
        route(Method::PUT, "/admin/realms/master/users/{user}/reset-password", admin(Everything, reset_password))
            .says("Sets an operator's password and ends his sessions")
            .takes::<Credential>()
            .empty(204),
        route(Method::POST, "/admin/realms/master/users/{user}/logout", admin(Everything, logout))
            .says("Ends all sessions of an operator or a service account")
            .empty(204),
        route(Method::GET, FAILURES, admin(Everything, failures))
            .says("How often signing in has failed")
            .answers::<BruteForce>(200),
        route(Method::DELETE, FAILURES, admin(Everything, forget_failures))
            .says("Lets the operator sign in again, however often it has failed")
            .empty(204),
    ]
}

async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let page = page(&call, USERS)?;
    let Some((name, filter)) = wanted(&call)? else { return Ok(json(StatusCode::OK, &[(); 0])) };
    let filter = Filter { username: name.as_deref(), ..filter };
    let found = operators::list(&edge.store, filter, page.first, page.max.unwrap_or(i64::MAX)).await?;
    Ok(json(StatusCode::OK, &found.iter().map(Representation::from).collect::<Vec<_>>()))
}

async fn count(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Some((name, filter)) = wanted(&call)? else { return Ok(json(StatusCode::OK, &0)) };
    let filter = Filter { username: name.as_deref(), ..filter };
    Ok(json(StatusCode::OK, &operators::count(&edge.store, filter).await?))
}

async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let found = operators::get(&edge.store, call.param("user")).await?;
    Ok(json(StatusCode::OK, &Representation::from(&found)))
}

async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Written = body(&call)?;
    let username = written.username.ok_or_else(|| Failure::Invalid("`username` is needed".into()))?;
    let password = match written.credentials.as_slice() {
        [] => None,
        [one] => Some(hashed(&edge, one.password()?).await?),
        _ => return Err(Failure::Invalid("`credentials` has at most one, a password".into())),
    };
    let new = New { username, enabled: written.enabled.unwrap_or(true), password };
    let made = operators::create(&edge.store, &new, &call.cause()).await?;
    changed(&edge);
    let location = format!("{}/admin/realms/master/users/{}", call.base_url, made.id);
    Ok(with_header(empty(StatusCode::CREATED), header::LOCATION, &location))
}

async fn update(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Written { username, enabled, .. } = body(&call)?;
    operators::update(&edge.store, call.param("user"), username.as_deref(), enabled, &call.cause()).await?;
    Ok(changed(&edge))
}

async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    operators::delete(&edge.store, call.param("user"), &call.cause()).await?;
    Ok(changed(&edge))
}

async fn reset_password(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Credential = body(&call)?;
    let hash = hashed(&edge, written.password()?).await?;
    operators::set_password(&edge.store, call.param("user"), &hash, &call.cause()).await?;
    Ok(changed(&edge))
}

async fn logout(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    operators::end_sessions(&edge.store, call.param("user"), &call.cause()).await?;
    Ok(changed(&edge))
}

async fn failures(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let failures = operators::failures(&edge.store, call.param("user")).await?;
    let (disabled, last_failure) = (failures.is_locked(call.at), failures.last_at.as_millisecond());
    Ok(json(StatusCode::OK, &BruteForce { num_failures: failures.count, disabled, last_failure }))
}

async fn forget_failures(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    operators::forget_failures(&edge.store, call.param("user"), &call.cause()).await?;
    Ok(changed(&edge))
}

/// The folded name, and the rest of what is asked for; `None` if that is nobody.
fn wanted(call: &Permitted<Admin>) -> Result<Option<(Option<String>, Filter<'static>)>> {
    if OF_NOBODY.iter().any(|name| text(call, name).is_some()) {
        return Ok(None);
    }
    let exact = flag(call, "exact")?.unwrap_or(false);
    let name = text(call, "username").or(text(call, "search").map(|part| part.trim_matches('*')));
    Ok(Some((name.map(folded), Filter { username: None, exact, enabled: flag(call, "enabled")? })))
}

impl Credential {
    fn password(&self) -> Result<&str> {
        if self.kind.as_deref().is_some_and(|kind| kind != "password") {
            return Err(Failure::Invalid("`type` is `password`".into()));
        }
        if self.temporary == Some(true) {
            let advice = "temporary passwords are not offered: set `temporary` to false; everybody can change his own";
            return Err(Failure::Invalid(advice.into()));
        }
        Ok(&self.value)
    }
}

impl<'a> From<&'a Admin> for Representation<'a> {
    fn from(admin: &'a Admin) -> Self {
        Self {
            id: admin.id,
            username: &admin.username,
            enabled: admin.enabled,
            email_verified: false,
            created_timestamp: admin.created_at.as_millisecond(),
            service_account_client_id: admin.client_id.as_deref(),
            totp: false,
            disableable_credential_types: [],
            required_actions: [],
            not_before: 0,
        }
    }
}
