//! A realm's own schema extensions (RFC 7643 §3.3): schemas as data, checked once, when an operator brings them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::limits::MAX_ATTRIBUTES;
use super::path::read_name;
use super::resource::is_password;
use super::schema::{Attribute, Kind, Mutability, ResourceType, ResourceTypes, Returned, Schema, Uniqueness};

/// An extension of one resource type (RFC 7643 §6, `schemaExtensions`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    pub resource_type: Extended,
    /// Must each resource of the type have it?
    pub required: bool,
    pub schema: Schema,
}

/// The resource types which can be extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Extended {
    #[default]
    User,
    Group,
}

/// Extensions of one realm.
const MAX_EXTENSIONS: usize = 20;
/// Characters of a schema's URN.
const MAX_URN: usize = 255;
/// Where the protocol's own schemas and messages are.
const RESERVED: [&str; 2] = ["urn:ietf:params:scim:api:", "urn:ietf:params:scim:schemas:core:"];

impl Extension {
    /// Admits a schema as RFC 7643 §7 writes it. `types` are those which it is to join. Any fault is `invalidValue`,
    /// with the name of the attribute.
    pub fn admit(definition: Value, resource_type: Extended, required: bool, types: &ResourceTypes) -> Result<Self> {
        let Value::Object(map) = &definition else {
            return Err(Error::invalid_syntax("A schema is a JSON object with `id`, `name` and `attributes`"));
        };
        check_words(map)?;
        let schema: Schema =
            serde_json::from_value(definition).map_err(|e| Error::invalid_value(format!("This is no schema: {e}")))?;
        check_urn(&schema.id, types)?;
        check_attributes(&schema.attributes, &schema.id)?;
        if types.added.len() >= MAX_EXTENSIONS {
            return Err(Error::invalid_value(format!("A realm may have at most {MAX_EXTENSIONS} schemas of its own")));
        }
        Ok(Self { resource_type, required, schema })
    }
}

/// What must be written out, though a schema of ours could do without.
fn check_words(definition: &Map<String, Value>) -> Result<()> {
    for word in ["id", "name", "attributes"] {
        if !definition.contains_key(word) {
            return Err(Error::invalid_value(format!("A schema needs `{word}` (RFC 7643 §7)")));
        }
    }
    Ok(())
}

fn check_urn(urn: &str, types: &ResourceTypes) -> Result<()> {
    let mut segments = urn.split(':');
    let is_urn = segments.next() == Some("urn") && segments.clone().count() >= 2;
    let plain = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+$@!*".contains(&b))
    };
    if !is_urn || !segments.all(plain) || urn.len() > MAX_URN {
        return Err(Error::invalid_value(format!(
            "`id` must be a URN of at most {MAX_URN} characters, such as `urn:acme:params:scim:schemas:extension:badge:1.0:User`"
        )));
    }
    let reserved = RESERVED.iter().any(|start| urn.get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start)));
    let mut others = types.all().into_iter().flat_map(ResourceType::schemas);
    let twin = others.find(|other| begins(urn, &other.id) || begins(&other.id, urn));
    if reserved || twin.is_some_and(|other| other.id.eq_ignore_ascii_case(urn)) {
        return Err(Error::uniqueness(format!("`{urn}` is the URN of another schema")));
    }
    match twin {
        None => Ok(()),
        Some(other) => Err(Error::uniqueness(format!(
            "`{urn}` and the schema `{}` begin alike, so that an attribute of one reads as the other",
            other.id
        ))),
    }
}

/// Is `urn` the other one, or that with segments behind it?
fn begins(urn: &str, other: &str) -> bool {
    let start = urn.get(..other.len()).is_some_and(|start| start.eq_ignore_ascii_case(other));
    start && matches!(urn.as_bytes().get(other.len()), None | Some(b':'))
}

fn check_attributes(attributes: &[Attribute], within: &str) -> Result<()> {
    if attributes.is_empty() || attributes.len() > MAX_ATTRIBUTES {
        return Err(Error::invalid_value(format!("`{within}` needs 1 to {MAX_ATTRIBUTES} attributes")));
    }
    for (at, attribute) in attributes.iter().enumerate() {
        let name = &attribute.name;
        let refuse = |why: &str| Err(Error::invalid_value(format!("Attribute `{name}` of `{within}` {why}")));
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '$');
        if !starts_well || read_name(name, 0).is_err() {
            return refuse("has a name with other signs than letters, digits, `-` and `_`, or not a letter first");
        }
        if is_password(name) {
            return refuse("would be a password, and passwords are never kept");
        }
        if attributes.iter().take(at).any(|other| other.name.eq_ignore_ascii_case(name)) {
            return refuse("is there twice; names ignore case");
        }
        if attribute.uniqueness != Uniqueness::None {
            return refuse("asks for uniqueness, which is kept for `userName` alone: write `none`");
        }
        if attribute.mutability == Mutability::WriteOnly && attribute.returned != Returned::Never {
            return refuse("is `writeOnly`, so its `returned` must be `never`");
        }
        if attribute.required && attribute.mutability == Mutability::ReadOnly {
            return refuse("cannot be both `required` and `readOnly`: nobody could write it");
        }
        match (attribute.kind, attribute.sub_attributes.is_empty()) {
            (Kind::Complex, true) => return refuse("is complex, so it needs `subAttributes`"),
            (Kind::Complex, false) if attribute.sub_attributes.iter().any(|sub| sub.kind == Kind::Complex) => {
                return refuse("has a complex sub-attribute, which RFC 7643 §2.3.8 does not allow");
            }
            (Kind::Complex, false) => check_attributes(&attribute.sub_attributes, name)?,
            (_, false) => return refuse("has `subAttributes`, which only a complex one may have"),
            (_, true) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn admit(definition: Value) -> String {
        match Extension::admit(definition, Extended::User, false, &ResourceTypes::standard()) {
            Ok(extension) => format!("{} {}", extension.schema.id, extension.schema.attributes.len()),
            Err(error) => error.to_string(),
        }
    }

    fn with(attributes: &Value) -> String {
        admit(json!({ "id": "urn:acme:badge", "name": "Badge", "attributes": attributes }))
    }

    #[test]
    fn a_schema_as_the_rfc_writes_it_is_let_in() {
        assert_snapshot!(with(&json!([
            { "name": "number", "type": "integer", "required": true },
            { "name": "doors", "type": "complex", "multiValued": true, "subAttributes": [{ "name": "value" }, { "name": "$ref", "type": "reference" }] },
        ])), @"urn:acme:badge 2");
    }

    #[test]
    fn a_schema_which_cannot_be_kept_to_is_refused_by_name() {
        assert_snapshot!(admit(json!([])), @"A schema is a JSON object with `id`, `name` and `attributes`");
        assert_snapshot!(admit(json!({ "id": "urn:a:b", "attributes": [] })), @"A schema needs `name` (RFC 7643 §7)");
        assert_snapshot!(with(&json!([])), @"`urn:acme:badge` needs 1 to 500 attributes");
        assert_snapshot!(with(&json!([{ "name": "a", "type": "text" }])), @"This is no schema: unknown variant `text`, expected one of `string`, `boolean`, `decimal`, `integer`, `dateTime`, `binary`, `reference`, `complex`");
        assert_snapshot!(with(&json!([{ "name": "a" }, { "name": "A" }])), @"Attribute `A` of `urn:acme:badge` is there twice; names ignore case");
        assert_snapshot!(with(&json!([{ "name": "a.b" }])), @"Attribute `a.b` of `urn:acme:badge` has a name with other signs than letters, digits, `-` and `_`, or not a letter first");
        assert_snapshot!(with(&json!([{ "name": "password" }])), @"Attribute `password` of `urn:acme:badge` would be a password, and passwords are never kept");
        assert_snapshot!(with(&json!([{ "name": "a", "uniqueness": "server" }])), @"Attribute `a` of `urn:acme:badge` asks for uniqueness, which is kept for `userName` alone: write `none`");
        assert_snapshot!(with(&json!([{ "name": "a", "type": "complex" }])), @"Attribute `a` of `urn:acme:badge` is complex, so it needs `subAttributes`");
        assert_snapshot!(with(&json!([{ "name": "a", "subAttributes": [{ "name": "b" }] }])), @"Attribute `a` of `urn:acme:badge` has `subAttributes`, which only a complex one may have");
        assert_snapshot!(with(&json!([{ "name": "a", "mutability": "writeOnly" }])), @"Attribute `a` of `urn:acme:badge` is `writeOnly`, so its `returned` must be `never`");
        assert_snapshot!(with(&json!([{ "name": "a", "required": true, "mutability": "readOnly" }])), @"Attribute `a` of `urn:acme:badge` cannot be both `required` and `readOnly`: nobody could write it");
    }

    #[test]
    fn a_urn_belongs_to_one_schema_and_reads_as_no_attribute_of_another() {
        let manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
        assert_snapshot!(admit(json!({ "id": manager, "name": "x", "attributes": [{ "name": "a" }] })), @"`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager` and the schema `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User` begin alike, so that an attribute of one reads as the other");
        let named = |urn: &str| admit(json!({ "id": urn, "name": "x", "attributes": [{ "name": "a" }] }));
        assert_snapshot!(named("urn:IETF:params:scim:schemas:extension:enterprise:2.0:User"), @"`urn:IETF:params:scim:schemas:extension:enterprise:2.0:User` is the URN of another schema");
        assert_snapshot!(named("urn:ietf:params:scim:api:messages:2.0:Error"), @"`urn:ietf:params:scim:api:messages:2.0:Error` is the URN of another schema");
        assert_snapshot!(named("urn:acme"), @"`id` must be a URN of at most 255 characters, such as `urn:acme:params:scim:schemas:extension:badge:1.0:User`");
        assert_snapshot!(named("urn:acme:it's"), @"`id` must be a URN of at most 255 characters, such as `urn:acme:params:scim:schemas:extension:badge:1.0:User`");
        assert_snapshot!(named("urn:ietf:params:scim:schemas:extension:acme:2.0:User"), @"urn:ietf:params:scim:schemas:extension:acme:2.0:User 1");
    }
}
