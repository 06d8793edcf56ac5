//! What the pure core promises for any input whatsoever. A fuzz target looks for an input for which a promise is broken;
//! `tests/it/corpus.rs` holds the promises against the inputs kept in `corpus`.
//!
//! To add a target: a file here, one in `targets`, its name in `Cargo.toml` and in `tests/it/corpus.rs`, and seeds in
//! a folder of that name in `corpus`.

pub mod filter;
pub mod json;
pub mod patch;
pub mod path;

use std::sync::{Arc, LazyLock};

use realmgate::scim::{
    extension::{Extended, Extension},
    lenient::Dialect,
    limits::{MAX_ATTRIBUTES, MAX_RESOURCE_BYTES, MAX_VALUES},
    resource::{Admission, Admitted, Member, UnknownAttributes, admit, finish, size},
    schema::{ENTERPRISE_USER_URN, GROUP_URN, ResourceType, ResourceTypes, USER_URN},
};
use serde_json::{Value, json};

const BADGE_URN: &str = "urn:example:2.0:Badge";

/// Those of the RFC, `User` with an extension of a realm's own, which has each type of attribute.
static RESOURCE_TYPES: LazyLock<Arc<ResourceTypes>> = LazyLock::new(|| {
    let badge = Extension::admit(badge(), Extended::User, false, &ResourceTypes::standard());
    ResourceTypes::extended(vec![badge.expect("an extension which a realm may have")])
});

fn badge() -> Value {
    json!({ "id": BADGE_URN, "name": "Badge", "attributes": [
        { "name": "number", "type": "integer" },
        { "name": "weight", "type": "decimal" },
        { "name": "valid", "type": "boolean" },
        { "name": "since", "type": "dateTime" },
        { "name": "chip", "type": "binary" },
        { "name": "photo", "type": "reference" },
        { "name": "code", "caseExact": true, "mutability": "immutable" },
        { "name": "door", "mutability": "readOnly" },
        { "name": "pin", "returned": "never" },
        { "name": "colors", "multiValued": true },
        { "name": "levels", "type": "integer", "multiValued": true },
        { "name": "issuer", "type": "complex", "subAttributes": [
            { "name": "value" },
            { "name": "displayName", "mutability": "readOnly" },
            { "name": "tags", "multiValued": true },
        ] },
        { "name": "keys", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value", "caseExact": true },
            { "name": "type" },
            { "name": "primary", "type": "boolean" },
            { "name": "count", "type": "integer" },
            { "name": "until", "type": "dateTime" },
        ] },
        { "name": "slots", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value", "type": "integer" },
            { "name": "type", "type": "boolean" },
            { "name": "primary" },
            { "name": "doors", "multiValued": true },
        ] },
    ] })
}

/// Each policy on unknown attributes, in each dialect.
const ADMISSIONS: [Admission; 6] = [
    admission(UnknownAttributes::Keep, Dialect::Lenient),
    admission(UnknownAttributes::Ignore, Dialect::Lenient),
    admission(UnknownAttributes::Reject, Dialect::Lenient),
    admission(UnknownAttributes::Keep, Dialect::Strict),
    admission(UnknownAttributes::Ignore, Dialect::Strict),
    admission(UnknownAttributes::Reject, Dialect::Strict),
];

const fn admission(unknown_attributes: UnknownAttributes, dialect: Dialect) -> Admission {
    Admission { unknown_attributes, dialect }
}

/// A user with something of everything, known or unknown; or a group.
fn example(resource_type: &ResourceType) -> Value {
    if resource_type.schema.id == GROUP_URN {
        return json!({ "schemas": [GROUP_URN], "displayName": "Sales", "externalId": "g1", "kind": { "team": true } });
    }
    json!({
        "schemas": [USER_URN, ENTERPRISE_USER_URN, BADGE_URN],
        "userName": "bjensen",
        "externalId": "701984",
        "name": { "givenName": "Barbara", "familyName": "Jensen", "born": { "as": ["B"] } },
        "displayName": "Babs",
        "title": "Stra\u{df}e",
        "profileUrl": "https://example.com/Babs",
        "active": true,
        "emails": [
            { "value": "b@work.example", "type": "work", "primary": true },
            { "value": "b@home.example", "type": "home", "since": 2001 },
        ],
        "phoneNumbers": [{ "value": "555" }],
        "roles": [{ "value": "Tour Guide", "primary": true }],
        ENTERPRISE_USER_URN: { "department": "Sales", "manager": { "value": "26118915" } },
        "pets": ["cat", { "dog": "Rex" }],
        "urn:example:2.0:Car": { "plate": "AB 12", "keys": [1] },
        BADGE_URN: {
            "number": 42, "weight": 1.5, "valid": true, "since": "2011-05-13T04:42:34Z", "code": "A",
            "colors": ["red", "blue"], "levels": [1, 2], "issuer": { "value": "i", "tags": ["t"] },
            "keys": [{ "value": "k", "type": "door", "count": 1, "until": "2030-01-01T00:00:00Z" }, { "value": "K" }],
            "slots": [{ "value": 7, "type": true, "primary": "no", "doors": ["a", "b"] }, { "value": 8 }],
        },
    })
}

/// What a client would send to make the resource what it is: its attributes, its members and the schemas of both.
fn document(resource_type: &ResourceType, admitted: &Admitted) -> Value {
    let mut document = admitted.resource.0.clone();
    let extensions = resource_type.extensions.iter().map(|schema| &schema.id).filter(|id| document.contains_key(*id));
    let schemas: Vec<_> = std::iter::once(&resource_type.schema.id).chain(extensions).collect();
    let schemas = json!(schemas);
    document.insert("schemas".to_owned(), schemas);
    if let Some(members) = &admitted.members {
        let member =
            |Member { value, kind }: &Member| json!({ "value": value, "type": kind.map(|kind| format!("{kind:?}")) });
        document.insert("members".to_owned(), members.iter().map(member).collect());
    }
    Value::Object(document)
}

/// What holds for every resource, whichever way it came about.
fn holds_for_a_resource(resource_type: &ResourceType, admission: Admission, admitted: &Admitted) {
    let Admitted { resource, .. } = admitted;
    assert!(resource.0.len() <= MAX_ATTRIBUTES);
    assert!(size(&resource.0) <= MAX_RESOURCE_BYTES);
    finish(resource_type, resource).expect("a resource is within the limits");
    for (name, value) in &resource.0 {
        holds_for_a_value(name, value);
    }
    let mut again = admit(resource_type, document(resource_type, admitted), &admission);
    // A new user is active unless the IdP says otherwise; one who is there may have lost that word.
    if let (Ok(again), None) = (again.as_mut(), resource.0.get("active")) {
        again.resource.0.shift_remove("active");
    }
    assert_eq!(again.as_ref(), Ok(admitted), "what is kept is what would be admitted");
}

fn holds_for_a_value(name: &str, value: &Value) {
    assert!(!name.eq_ignore_ascii_case("password"), "no password is kept");
    assert!(!name.contains('\0'), "Postgres holds no U+0000");
    match value {
        Value::String(text) => assert!(!text.contains('\0'), "Postgres holds no U+0000"),
        Value::Array(values) => {
            assert!(values.len() <= MAX_VALUES);
            for value in values {
                holds_for_a_value("", value);
            }
        }
        Value::Object(parts) => parts.iter().for_each(|(name, value)| holds_for_a_value(name, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
