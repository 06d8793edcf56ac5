//! A realm's own schema extensions, in the form which RFC 7643 §7 gives a schema.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json as answer},
        failure::{Failure, Result},
    },
    model::admin::Admin,
    provision::{extensions, realms},
    scim::extension::{Extended, Extension},
};

pub async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let schemas: Vec<Value> = realm.types.added.iter().map(shown).collect();
    Ok(answer(StatusCode::OK, &schemas))
}

pub async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(answer(StatusCode::OK, &shown(extensions::find(&realm, call.param("urn"))?)))
}

/// `?resourceType=` is `User` unless it is `Group`; with `?required=true` each resource must have the extension.
pub async fn add(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let resource_type = match call.query("resourceType") {
        None | Some("User") => Extended::User,
        Some("Group") => Extended::Group,
        Some(_) => return Err(Failure::Invalid("`resourceType` is `User` or `Group`".into())),
    };
    let (definition, required) = (call.json()?, flag(&call, "required")?);
    let (name, cause) = (call.param("realm"), call.cause());
    let (_, extension) = extensions::add(&edge.store, name, definition, resource_type, required, &cause).await?;
    edge.access.forget();
    Ok(answer(StatusCode::CREATED, &shown(&extension)))
}

/// `?force=true` where resources hold values of the extension.
pub async fn remove(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let force = flag(&call, "force")?;
    extensions::remove(&edge.store, call.param("realm"), call.param("urn"), force, &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}

fn shown(extension: &Extension) -> Value {
    json!({
        "resourceType": extension.resource_type, "required": extension.required,
        "id": extension.schema.id, "name": extension.schema.name, "description": extension.schema.description,
        "attributes": extension.schema.attributes,
    })
}

fn flag(call: &Permitted<Admin>, name: &str) -> Result<bool> {
    match call.query(name) {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(_) => Err(Failure::Invalid(format!("`{name}` is true or false"))),
    }
}
