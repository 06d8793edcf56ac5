//! Realms, in Keycloak's representation.

use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::number;
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json, with_header},
        failure::{Failure, Result},
    },
    model::{admin::Admin, realm::Realm},
    provision::realms,
};

/// Realms on a page when the client does not say; Keycloak gives all, so clients do not page here.
const ALL: i64 = 1_000_000;

/// Keycloak's RealmRepresentation, as far as there is something behind it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RealmRepresentation")]
pub(super) struct Representation<'a> {
    id: String,
    realm: &'a str,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    /// Keycloak's own switch for inbound SCIM.
    scim_api_enabled: bool,
    attributes: Map<String, Value>,
}

/// What a client may write; fields of Keycloak's that mean nothing here are passed over, as Keycloak does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RealmWritten")]
pub(super) struct Written {
    realm: Option<String>,
    /// The empty text takes it away.
    display_name: Option<String>,
    enabled: Option<bool>,
}

pub async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (first, max) = (number(&call, "first", 0)?, number(&call, "max", ALL)?);
    let found = realms::list(&edge.store, &call.caller().rights, call.query("search"), first, max).await?;
    let representations: Vec<_> = found.iter().map(representation).collect();
    Ok(json(StatusCode::OK, &representations))
}

pub async fn create(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Written = body(&call)?;
    let name = written.realm.ok_or_else(|| Failure::Invalid("`realm` is needed: the name of the new realm".into()))?;
    let (display_name, enabled) =
        (written.display_name.filter(|name| !name.is_empty()), written.enabled.unwrap_or(true));
    let realm = realms::create(&edge.store, &name, display_name.as_deref(), enabled, &call.cause()).await?;
    edge.forget();
    let location = format!("{}/admin/realms/{}", call.base_url, realm.name);
    Ok(with_header(empty(StatusCode::CREATED), header::LOCATION, &location))
}

pub async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(json(StatusCode::OK, &representation(&realm)))
}

pub async fn update(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Written = body(&call)?;
    let name = call.param("realm");
    if written.realm.as_deref().is_some_and(|realm| realm != name) {
        return Err(Failure::Invalid("a realm cannot be renamed: its name is in the URLs which IdPs keep".into()));
    }
    realms::update(&edge.store, name, written.display_name, written.enabled, &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

pub async fn delete(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let deleted = realms::delete(&edge.store, call.param("realm"), &call.cause()).await;
    // Cut off halfway, it is closed all the same.
    edge.forget();
    deleted?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn representation(realm: &Realm) -> Representation<'_> {
    Representation {
        id: realm.id.to_string(),
        realm: realm.name.as_str(),
        enabled: realm.enabled,
        display_name: realm.display_name.as_deref(),
        scim_api_enabled: realm.scim_enabled,
        attributes: Map::new(),
    }
}

/// The body as a `T`; what does not fit is told by name.
pub(super) fn body<T: DeserializeOwned>(call: &Permitted<Admin>) -> Result<T> {
    serde_json::from_value(call.json()?).map_err(|error| Failure::Invalid(error.to_string()))
}
