//! A realm's own schema extensions: an operator brings them, the realm's resources keep to them from then on.

use serde_json::Value;
use uuid::Uuid;

use super::{
    Error, Result,
    realms::{Changed, change},
};
use crate::{
    model::{
        Cause,
        audit::Action,
        realm::{MASTER, Realm},
    },
    scim::{
        extension::{Extended, Extension},
        filter::comparable,
        resource::{self, Admission, Resource},
        schema::{ResourceType, ResourceTypes},
    },
    store::{Store, extensions, json::JsonText, realms, tx::RealmTx},
};

/// Documents which are looked at in one go.
const PAGE: i64 = 500;

/// Adds a schema, as RFC 7643 §7 writes it, to a resource type of the realm. What resources already hold under its URN
/// must fit it.
pub async fn add(
    store: &Store,
    name: &str,
    definition: Value,
    resource_type: Extended,
    required: bool,
    cause: &Cause,
) -> Result<(Realm, Extension)> {
    let definition = &definition;
    let action = Action::on_realm("schema.add");
    let (realm, extension) = change(store, cause, name, action, |mut tx, mut realm| async move {
        let extension = put(&mut tx, &mut realm, definition.clone(), resource_type, required).await?;
        Ok(Changed::new(tx, realm, extension))
    })
    .await?;
    if let Err(error) = settle_late(store, &realm, &extension).await {
        remove(store, name, &extension.schema.id, true, cause).await?;
        return Err(error);
    }
    Ok((realm, extension))
}

pub(super) async fn put(
    tx: &mut RealmTx,
    realm: &mut Realm,
    definition: Value,
    resource_type: Extended,
    required: bool,
) -> Result<Extension> {
    if realm.name.as_str() == MASTER {
        return Err(Error::Conflict("the realm `master` is the operators' own: it has no SCIM schemas".into()));
    }
    let extension = Extension::admit(definition, resource_type, required, &realm.types)?;
    let added = realm.types.added.iter().cloned().chain([extension.clone()]).collect();
    let types = ResourceTypes::extended(added);
    settle(tx, &types, &extension).await?;
    realm.types = types;
    Ok(extension)
}

/// Who was writing when the schema came knew nothing of it.
pub(super) async fn settle_late(store: &Store, realm: &Realm, extension: &Extension) -> Result<()> {
    let mut tx = store.enter(realm.id, realm.epoch).await?;
    realms::hold(&mut tx).await?;
    settle(&mut tx, &realm.types, extension).await?;
    Ok(tx.commit().await?)
}

/// Takes a schema away. What resources hold of it stays with them as attributes which no schema knows; so that this
/// does not happen unawares, it needs `force`.
pub async fn remove(store: &Store, name: &str, urn: &str, force: bool, cause: &Cause) -> Result<()> {
    let action = Action { word: "schema.remove", target: urn };
    change(store, cause, name, action, |mut tx, mut realm| async move {
        let (gone, kept): (Vec<_>, Vec<_>) =
            realm.types.added.iter().cloned().partition(|extension| extension.schema.id.eq_ignore_ascii_case(urn));
        let Some(extension) = gone.first() else { return Err(missing(name, urn)) };
        if !force && extensions::is_used(&mut tx, extension.resource_type, urn).await? {
            return Err(Error::Conflict(format!(
                "resources of realm `{name}` hold values of `{urn}`: remove them first, or force it; the values then \
                 stay as attributes which no schema knows"
            )));
        }
        realm.types = ResourceTypes::extended(kept);
        Ok(Changed::new(tx, realm, ()))
    })
    .await
    .map(|_| ())
}

/// The realm's own schema with that URN.
pub fn find<'a>(realm: &'a Realm, urn: &str) -> Result<&'a Extension> {
    let found = realm.types.added.iter().find(|extension| extension.schema.id.eq_ignore_ascii_case(urn));
    found.ok_or_else(|| missing(realm.name.as_str(), urn))
}

/// Sees to it that what is there already keeps to the schema, and is compared as the schema says.
async fn settle(tx: &mut RealmTx, types: &ResourceTypes, extension: &Extension) -> Result<()> {
    let (resource_type, urn) = (types.extended_by(extension), &extension.schema.id);
    let mut after = Uuid::nil();
    loop {
        let documents = extensions::holders(tx, extension.resource_type, urn, after, PAGE).await?;
        let Some((last, _)) = documents.last() else { return Ok(()) };
        after = *last;
        let (mut ids, mut forms) = (Vec::new(), Vec::new());
        for (id, attributes) in documents {
            let mut document: Value = serde_json::from_str(&attributes).map_err(|_| Error::Damaged(id))?;
            let unfit = |why: String| {
                Error::Conflict(format!(
                    "the {} `{id}` holds values under `{urn}` which do not fit the schema: {why}",
                    resource_type.name
                ))
            };
            let mut admitted = resource::admit(resource_type, document.clone(), &Admission::default())
                .map_err(|error| unfit(error.detail))?;
            if let Some(map) = document.as_object_mut() {
                map.shift_remove("schemas");
            }
            // A new user is active unless the IdP says otherwise; one who is there may have lost that word.
            if document.get("active").is_none() {
                admitted.resource.0.shift_remove("active");
            }
            if Value::Object(admitted.resource.0.clone()) != document {
                return Err(unfit("names or values are written otherwise there".into()));
            }
            ids.push(id);
            forms.push(form(resource_type, &admitted.resource));
        }
        extensions::set_comparable(tx, extension.resource_type, &ids, &forms).await?;
    }
}

fn form(resource_type: &ResourceType, resource: &Resource) -> Option<JsonText> {
    comparable(resource_type, resource).map(|form| JsonText(Value::Object(form).to_string()))
}

fn missing(name: &str, urn: &str) -> Error {
    Error::NotFound(format!("the realm `{name}` has no schema `{urn}` of its own"))
}
