//! Which values are the same to their schema.

use serde_json::Value;

use super::fold;
use crate::scim::schema::Attribute;

/// Is it the same to the schema, which may ignore case? What is in no schema is compared as it is.
pub(in crate::scim) fn same(attribute: Option<&Attribute>, one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) if attribute.is_some_and(Attribute::ignores_case) => {
            let ascii = one.is_ascii() && other.is_ascii();
            if ascii { one.eq_ignore_ascii_case(other) } else { fold(one) == fold(other) }
        }
        (Value::Object(held), Value::Object(wanted)) => held.len() == wanted.len() && has_all_of(attribute, one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(attribute, one, other))
        }
        _ => one == other,
    }
}

/// Does `element` have each part which `wanted` has, and as it is there?
pub(in crate::scim) fn has_all_of(attribute: Option<&Attribute>, element: &Value, wanted: &Value) -> bool {
    match (element, wanted) {
        (Value::Object(element), Value::Object(wanted)) => wanted.iter().all(|(name, value)| {
            let sub = attribute.and_then(|attribute| attribute.sub(name));
            element.get(name).is_some_and(|held| same(sub, held, value))
        }),
        _ => same(attribute, element, wanted),
    }
}
