//! Service accounts, as clients of `master`; and the clients which stand for realms, so that scripts find their ids.

use http::{Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    changed, hashed,
    roles::{in_realm, realm_of_client, shown, unknown_role},
    unstored,
    users::Representation as UserRepresentation,
};
use crate::{
    http::{
        Edge,
        admin::{
            query::{FIRST, MAX, flag, page, text},
            realms::body,
            roles::RoleRepresentation,
        },
        exchange::{Permitted, Reply, empty, json, with_header},
        failure::{Failure, Result},
        route::{Route, admin, route},
    },
    model::{
        admin::{Admin, Need::Everything, Right, Rights},
        client::{Client, OF_A_REALM, SecretHash},
        realm::{MASTER, Realm},
    },
    provision::{
        Error,
        clients::{self, Wish},
        operators, realms,
    },
};

/// Keycloak's ClientRepresentation, as far as there is something behind it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OperatorClientRepresentation")]
#[expect(clippy::struct_excessive_bools, reason = "Keycloak's form")]
struct Representation {
    id: Uuid,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    enabled: bool,
    protocol: &'static str,
    client_authenticator_type: &'static str,
    public_client: bool,
    /// Does it stand for a realm?
    bearer_only: bool,
    service_accounts_enabled: bool,
    standard_flow_enabled: bool,
    direct_access_grants_enabled: bool,
}

/// What is written of a service account; fields of Keycloak's that mean nothing here are passed over.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OperatorClientWritten")]
struct Written {
    client_id: Option<String>,
    name: Option<String>,
    enabled: Option<bool>,
    /// Without one there is none, until one is asked for.
    secret: Option<String>,
    service_accounts_enabled: Option<bool>,
    public_client: Option<bool>,
}

/// Keycloak's CredentialRepresentation of a client's secret.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OperatorClientSecret")]
struct Secret<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// In the answer which makes it, and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

pub(super) fn routes() -> Vec<Route> {
    const CLIENTS: &str = "/admin/realms/master/clients";
    const CLIENT: &str = "/admin/realms/master/clients/{client}";
    const SECRET: &str = "/admin/realms/master/clients/{client}/client-secret";
    vec![
        route(Method::GET, CLIENTS, admin(Everything, list))
            .says("Service accounts, and the clients which stand for realms")
            .query(&[("clientId", "The whole name"), ("search", "Is that a part of it?"), FIRST, MAX])
            .answers::<Vec<Representation>>(200),
        route(Method::POST, CLIENTS, admin(Everything, create))
            .says("Creates a service account, which has no rights yet")
            .takes::<Written>()
            .empty(201),
        route(Method::GET, CLIENT, admin(Everything, get)).says("A client").answers::<Representation>(200),
        route(Method::PUT, CLIENT, admin(Everything, update))
            .says("Changes a service account; a new secret ends its sessions")
            .takes::<Written>()
            .empty(204),
        route(Method::DELETE, CLIENT, admin(Everything, delete)).says("Deletes a service account").empty(204),
        route(Method::GET, SECRET, admin(Everything, secret))
            .says("That there is a secret; it is not known any more")
            .answers::<Secret<'static>>(200),
        route(Method::POST, SECRET, admin(Everything, renew_secret))
            .says("Makes a new secret and reveals it; the old one is worth nothing at once")
            .answers::<Secret<'static>>(200),
        route(Method::GET, "/admin/realms/master/clients/{client}/roles", admin(Everything, roles))
            .says("The rights which there are in the realm for which the client stands")
            .answers::<Vec<RoleRepresentation>>(200),
        route(Method::GET, "/admin/realms/master/clients/{client}/roles/{role}", admin(Everything, role))
            .says("One of them")
            .answers::<RoleRepresentation>(200),
        route(Method::GET, "/admin/realms/master/clients/{client}/service-account-user", admin(Everything, user))
            .says("The operator who the service account is")
            .answers::<UserRepresentation<'static>>(200),
    ]
}

async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (wanted, part, page) = (text(&call, "clientId"), flag(&call, "search")?, page(&call, None)?);
    let fits = |client_id: &str| match (wanted, part) {
        (None, _) => true,
        (Some(text), Some(true)) => client_id.contains(text),
        (Some(text), Some(false) | None) => client_id == text,
    };
    let master = realms::get(&edge.store, MASTER).await?;
    let accounts = clients::list(&edge.store, &master, None, 0, i64::MAX).await?;
    let all = Rights { admin: true, ..Rights::default() };
    let stem = wanted.map(|text| text.strip_suffix(OF_A_REALM).unwrap_or(text)).filter(|_| part != Some(true));
    let of_realms = realms::list(&edge.store, &all, stem, 0, i64::MAX).await?;
    let of_realms = of_realms.iter().filter(|realm| realm.name.as_str() != MASTER).map(Representation::from);
    let found = accounts.iter().map(Representation::from).chain(of_realms).filter(|client| fits(&client.client_id));
    let cut = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    let found = found.skip(cut(page.first)).take(page.max.map_or(usize::MAX, cut));
    Ok(json(StatusCode::OK, &found.collect::<Vec<_>>()))
}

async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let id = call.param("client");
    let client = match realm_of_client(&edge, id).await {
        Ok(realm) => Representation::from(&realm),
        Err(Failure::Verb(Error::NotFound(_))) => Representation::from(&account(&edge, id).await?),
        Err(failure) => return Err(failure),
    };
    Ok(json(StatusCode::OK, &client))
}

async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let wish = wish(&edge, body(&call)?).await?;
    let made = clients::create(&edge.store, MASTER, &wish, &call.cause()).await?;
    changed(&edge);
    let location = format!("{}/admin/realms/master/clients/{}", call.base_url, made.id);
    Ok(with_header(empty(StatusCode::CREATED), header::LOCATION, &location))
}

async fn update(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let wish = wish(&edge, body(&call)?).await?;
    clients::update(&edge.store, MASTER, call.param("client"), &wish, &call.cause()).await?;
    Ok(changed(&edge))
}

async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    clients::delete(&edge.store, MASTER, call.param("client"), &call.cause()).await?;
    Ok(changed(&edge))
}

async fn secret(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    account(&edge, call.param("client")).await?;
    Ok(json(StatusCode::OK, &Secret { kind: "secret", value: None }))
}

async fn renew_secret(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let secret = clients::renew_secret(&edge.store, MASTER, call.param("client"), &call.cause()).await?;
    changed(&edge);
    Ok(unstored(json(StatusCode::OK, &Secret { kind: "secret", value: Some(secret.reveal()) })))
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

async fn user(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let client = account(&edge, call.param("client")).await?;
    let found = operators::get(&edge.store, &client.id.to_string()).await?;
    Ok(json(StatusCode::OK, &UserRepresentation::from(&found)))
}

async fn account(edge: &Edge, id: &str) -> Result<Client> {
    let master = realms::get(&edge.store, MASTER).await?;
    Ok(clients::get(&edge.store, &master, id).await?)
}

async fn wish(edge: &Edge, written: Written) -> Result<Wish> {
    if written.service_accounts_enabled == Some(false) || written.public_client == Some(true) {
        let advice = "clients of `master` are service accounts: `serviceAccountsEnabled` is true, `publicClient` false";
        return Err(Failure::Invalid(advice.into()));
    }
    let secret = match written.secret.as_deref() {
        Some(secret) => Some(SecretHash::Chosen(hashed(edge, secret).await?)),
        None => None,
    };
    let Written { client_id, name, enabled, .. } = written;
    Ok(Wish { client_id, name, enabled, secret, ..Wish::default() })
}

impl From<&Client> for Representation {
    fn from(client: &Client) -> Self {
        Self {
            id: client.id.0,
            client_id: client.client_id.clone(),
            name: client.name.clone(),
            enabled: client.enabled,
            protocol: "openid-connect",
            client_authenticator_type: "client-secret",
            public_client: false,
            bearer_only: false,
            service_accounts_enabled: true,
            standard_flow_enabled: false,
            direct_access_grants_enabled: false,
        }
    }
}

impl From<&Realm> for Representation {
    fn from(realm: &Realm) -> Self {
        Self {
            id: realm.id.0,
            client_id: format!("{}{OF_A_REALM}", realm.name),
            name: realm.display_name.clone(),
            enabled: realm.enabled,
            protocol: "openid-connect",
            client_authenticator_type: "client-secret",
            public_client: false,
            bearer_only: true,
            service_accounts_enabled: false,
            standard_flow_enabled: false,
            direct_access_grants_enabled: false,
        }
    }
}
