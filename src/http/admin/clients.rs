//! Clients of a realm's token endpoint, in Keycloak's representation. Those of `master` are service accounts, beside which
//! there is one for each realm: its roles are the rights in the realm.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    operators::realm_of_client,
    query::{FIRST, MAX, page},
    realms::body,
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
            Right::{ManageRealm, ViewRealm},
        },
        client::{self, Client},
        jwk::KeySource,
        realm::{MASTER, Realm},
    },
    provision::{
        Error,
        clients::{self, Wish},
        realms,
    },
};

/// Keycloak's ClientRepresentation, as far as there is something behind it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ClientRepresentation")]
#[expect(clippy::struct_excessive_bools, reason = "Keycloak's form")]
struct Representation {
    id: Uuid,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    enabled: bool,
    protocol: &'static str,
    /// `client-secret` or `client-jwt`.
    client_authenticator_type: &'static str,
    public_client: bool,
    /// Does it stand for a realm?
    bearer_only: bool,
    service_accounts_enabled: bool,
    standard_flow_enabled: bool,
    direct_access_grants_enabled: bool,
    /// `jwks.string`, `jwks.url`, `use.jwks.url` as Keycloak has them; `created_at`, `last_used_at`.
    attributes: BTreeMap<&'static str, String>,
}

/// What may be written; fields of Keycloak's that mean nothing here are passed over.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WrittenClient")]
struct Written {
    client_id: Option<String>,
    /// The empty text takes it away.
    name: Option<String>,
    enabled: Option<bool>,
    /// One that was chosen; without it the client has none until one is made.
    secret: Option<String>,
    /// `client-secret` or `client-jwt`.
    client_authenticator_type: Option<String>,
    public_client: Option<bool>,
    service_accounts_enabled: Option<bool>,
    /// `jwks.string`: the public keys of the client; or `jwks.url`: where they are.
    attributes: Option<BTreeMap<String, Option<String>>>,
}

/// Keycloak's CredentialRepresentation of a new secret. It is in this answer and nowhere else.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ClientSecret")]
struct Secret<'a> {
    r#type: &'static str,
    value: &'a str,
}

/// The route table.
pub fn routes() -> Vec<Route> {
    const CLIENTS: &str = "/admin/realms/{realm}/clients";
    const CLIENT: &str = "/admin/realms/{realm}/clients/{client}";
    const SECRET: &str = "/admin/realms/{realm}/clients/{client}/client-secret";
    vec![
        route(Method::GET, CLIENTS, admin(ViewRealm, list))
            .says("Clients which get tokens for the realm's SCIM")
            .query(&[("clientId", "The client of that name alone"), FIRST, MAX])
            .answers::<Vec<Representation>>(200),
        route(Method::POST, CLIENTS, admin(ManageRealm, create)).says("Creates a client").takes::<Written>().empty(201),
        route(Method::GET, CLIENT, admin(ViewRealm, get)).says("A client").answers::<Representation>(200),
        route(Method::PUT, CLIENT, admin(ManageRealm, update))
            .says("Changes a client; what is not said stays")
            .takes::<Written>()
            .empty(204),
        route(Method::DELETE, CLIENT, admin(ManageRealm, delete)).says("Deletes a client; its tokens end").empty(204),
        route(Method::GET, SECRET, admin(ViewRealm, secret))
            .says("Nothing: secrets are kept as hashes")
            .answers::<Secret<'_>>(200),
        route(Method::POST, SECRET, admin(ManageRealm, renew_secret))
            .says("Makes a new secret and reveals it; the old one is dead at once")
            .answers::<Secret<'_>>(200),
    ]
}

async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let page = page(&call, None)?;
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let (wanted, max) = (call.query("clientId"), page.max.unwrap_or(i64::MAX));
    let found = clients::list(&edge.store, &realm, wanted, page.first, max).await?;
    let mut shown: Vec<_> = found.into_iter().map(Representation::from).collect();
    if realm.name.as_str() == MASTER
        && let Some(name) = wanted.and_then(|wanted| wanted.strip_suffix(client::OF_A_REALM))
        && let Some(realm) = realms::find(&edge.store, name).await?
    {
        shown.push(Representation::from(&realm));
    }
    Ok(json(StatusCode::OK, &shown))
}

async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (wish, name) = (wish(&edge, body(&call)?).await?, call.param("realm"));
    let client = clients::create(&edge.store, name, &wish, &call.cause()).await?;
    edge.forget();
    let location = format!("{}/admin/realms/{name}/clients/{}", call.base_url, client.id);
    Ok(with_header(empty(StatusCode::CREATED), header::LOCATION, &location))
}

async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let shown = match named(&edge, &call).await {
        Err(Failure::Verb(Error::NotFound(_))) if call.param("realm") == MASTER => {
            Representation::from(&realm_of_client(&edge, call.param("client")).await?)
        }
        found => Representation::from(found?),
    };
    Ok(json(StatusCode::OK, &shown))
}

async fn update(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let wish = wish(&edge, body(&call)?).await?;
    clients::update(&edge.store, call.param("realm"), call.param("client"), &wish, &call.cause()).await?;
    edge.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    clients::delete(&edge.store, call.param("realm"), call.param("client"), &call.cause()).await?;
    edge.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A secret is shown when it is made, and never again.
async fn secret(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    named(&edge, &call).await?;
    Err(Failure::Verb(Error::NotFound(
        "secrets are kept as hashes and cannot be shown: POST to this path makes a new one".into(),
    )))
}

async fn renew_secret(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (realm, id) = (call.param("realm"), call.param("client"));
    let secret = clients::renew_secret(&edge.store, realm, id, &call.cause()).await?;
    edge.forget();
    let mut reply = json(StatusCode::OK, &Secret { r#type: "secret", value: secret.reveal() });
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

async fn named(edge: &Edge, call: &Permitted<Admin>) -> Result<Client> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(clients::get(&edge.store, &realm, call.param("client")).await?)
}

async fn wish(edge: &Edge, written: Written) -> Result<Wish> {
    let Written { client_id, name, enabled, secret, attributes, .. } = written;
    if written.service_accounts_enabled == Some(false) || written.public_client == Some(true) {
        let advice =
            "clients of a realm get tokens for themselves: `serviceAccountsEnabled` is true, `publicClient` false";
        return Err(Failure::Invalid(advice.into()));
    }
    let method = match written.client_authenticator_type.as_deref() {
        None => None,
        Some("client-secret") => Some(client::Method::ClientSecret),
        Some("client-jwt") => Some(client::Method::PrivateKeyJwt),
        Some(_) => {
            let advice = "`clientAuthenticatorType` is `client-secret` or `client-jwt`";
            return Err(Failure::Invalid(advice.into()));
        }
    };
    let secret = match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => {
            let hash = edge.access.hash_secret(secret).await?;
            Some(hash.ok_or_else(|| Failure::Invalid("secret: write at most 1024 bytes".into()))?)
        }
        None => None,
    };
    Ok(Wish { client_id, name, enabled, method, keys: attributes.map(|attributes| keys(&attributes)), secret })
}

/// As Keycloak has them: `use.jwks.url` says which of two counts.
fn keys(attributes: &BTreeMap<String, Option<String>>) -> Option<KeySource> {
    let text = |name: &str| attributes.get(name)?.clone().filter(|text| !text.is_empty());
    let (inline, url) = (text("jwks.string").map(KeySource::Inline), text("jwks.url").map(KeySource::Url));
    if text("use.jwks.url").as_deref() == Some("true") { url.or(inline) } else { inline.or(url) }
}

impl From<Client> for Representation {
    fn from(client: Client) -> Self {
        let mut attributes = BTreeMap::from([("created_at", client.created_at.to_string())]);
        if let Some(at) = client.last_used_at {
            attributes.insert("last_used_at", at.to_string());
        }
        match client.keys {
            Some(KeySource::Inline(jwks)) => drop(attributes.insert("jwks.string", jwks)),
            Some(KeySource::Url(url)) => {
                attributes.insert("jwks.url", url);
                attributes.insert("use.jwks.url", "true".into());
            }
            Some(KeySource::Discovery(_)) | None => {}
        }
        Self {
            id: client.id.0,
            client_id: client.client_id,
            name: client.name,
            enabled: client.enabled,
            protocol: "openid-connect",
            client_authenticator_type: match client.method {
                client::Method::ClientSecret => "client-secret",
                client::Method::PrivateKeyJwt => "client-jwt",
            },
            public_client: false,
            bearer_only: false,
            service_accounts_enabled: true,
            standard_flow_enabled: false,
            direct_access_grants_enabled: false,
            attributes,
        }
    }
}

/// The client of `master` which stands for a realm.
impl From<&Realm> for Representation {
    fn from(realm: &Realm) -> Self {
        Self {
            id: realm.id.0,
            client_id: format!("{}{}", realm.name, client::OF_A_REALM),
            name: realm.display_name.clone(),
            enabled: realm.enabled,
            protocol: "openid-connect",
            client_authenticator_type: "client-secret",
            public_client: false,
            bearer_only: true,
            service_accounts_enabled: false,
            standard_flow_enabled: false,
            direct_access_grants_enabled: false,
            attributes: BTreeMap::new(),
        }
    }
}
