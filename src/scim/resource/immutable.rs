//! What may not change any more (RFC 7643 §7, `mutability`).

use serde_json::{Map, Value};

use super::{Place, Resource, same};
use crate::scim::{
    error::{Error, Result},
    schema::{Attribute, Mutability, ResourceType},
};

/// Refuses, as `mutability`, to change or to remove what is immutable and has a value. A request counts as a whole: PATCH
/// ends with this (RFC 7644 §3.5.2).
///
/// Values of a multi-valued attribute may come and go, whatever their sub-attributes are, as RFC 7643 §8.7.1 has it for
/// `members`.
pub fn check_immutable(resource_type: &ResourceType, before: &Resource, after: &Resource) -> Result<()> {
    check(&resource_type.schema.attributes, &before.0, Some(&after.0), None)?;
    for extension in &resource_type.extensions {
        if let Some(Value::Object(held)) = before.0.get(&extension.id) {
            let now = after.0.get(&extension.id).and_then(Value::as_object);
            check(&extension.attributes, held, now, Some((Place::top(&extension.id), ':')))?;
        }
    }
    Ok(())
}

/// What PUT means for immutable attributes (RFC 7644 §3.5.1): what the body is silent about stays, another value is
/// refused as `mutability`.
pub fn keep_immutable(resource_type: &ResourceType, before: &Resource, after: &mut Resource) -> Result<()> {
    carry(&resource_type.schema.attributes, &before.0, &mut after.0);
    for extension in &resource_type.extensions {
        let Some(Value::Object(held)) = before.0.get(&extension.id) else { continue };
        let is_held = |attribute: &&Attribute| is_immutable(attribute) && held.contains_key(&attribute.name);
        if extension.attributes.iter().any(|attribute| is_held(&attribute))
            && let Value::Object(now) = after.0.entry(extension.id.as_str()).or_insert_with(|| Map::new().into())
        {
            carry(&extension.attributes, held, now);
        }
    }
    check_immutable(resource_type, before, after)
}

fn check(
    attributes: &[Attribute],
    before: &Map<String, Value>,
    after: Option<&Map<String, Value>>,
    within: Option<(Place<'_>, char)>,
) -> Result<()> {
    for attribute in attributes {
        let Some(held) = before.get(&attribute.name) else { continue };
        let now = after.and_then(|after| after.get(&attribute.name));
        let place = match &within {
            None => Place::top(&attribute.name),
            Some((outer, ':')) => outer.of_extension(&attribute.name),
            Some((outer, _)) => outer.sub(&attribute.name),
        };
        if is_immutable(attribute) && !now.is_some_and(|now| same(Some(attribute), held, now)) {
            return Err(Error::mutability(format!("`{place}` is immutable and has a value already")));
        }
        if let (Value::Object(held), Some(Value::Object(now))) = (held, now) {
            check(&attribute.sub_attributes, held, Some(now), Some((place, '.')))?;
        }
    }
    Ok(())
}

fn carry(attributes: &[Attribute], before: &Map<String, Value>, after: &mut Map<String, Value>) {
    for attribute in attributes.iter().filter(|attribute| is_immutable(attribute)) {
        if let Some(held) = before.get(&attribute.name) {
            after.entry(attribute.name.as_str()).or_insert_with(|| held.clone());
        }
    }
}

fn is_immutable(attribute: &Attribute) -> bool {
    attribute.mutability == Mutability::Immutable
}
