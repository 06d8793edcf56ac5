#![allow(clippy::needless_pass_by_value)] // `json!` reads best without `&`

use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::scim::{
    error::Kind,
    extension::{Extended, Extension},
    schema::{ENTERPRISE_USER_URN, ResourceTypes, USER_URN},
};

const LENIENT: Admission = Admission { unknown_attributes: UnknownAttributes::Keep, dialect: Dialect::Lenient };
const STRICT: Admission = Admission { dialect: Dialect::Strict, ..LENIENT };

fn user(admission: Admission, incoming: Value) -> String {
    seen(admit(ResourceType::user(), incoming, &admission))
}

/// A user's attributes without `userName` and `active`; or why it was refused.
fn lenient(mut incoming: Value) -> String {
    incoming["userName"] = "u".into();
    seen(admit(ResourceType::user(), incoming, &LENIENT).map(|mut admitted| {
        admitted.resource.0.retain(|name, _| name != "userName" && name != "active");
        admitted
    }))
}

fn strict(mut incoming: Value) -> String {
    incoming["userName"] = "u".into();
    incoming["schemas"] = json!([USER_URN]);
    user(STRICT, incoming)
}

fn seen(admitted: Result<Admitted>) -> String {
    match admitted {
        Ok(admitted) => Value::Object(admitted.resource.0).to_string(),
        Err(error) => format!("{}: {error}", error.kind.scim_type().unwrap_or_default()),
    }
}

fn members(members: Value) -> Result<Option<Vec<Member>>> {
    let group = json!({ "displayName": "g", "members": members });
    admit(ResourceType::group(), group, &LENIENT).map(|admitted| admitted.members)
}

#[test]
fn names_become_canonical_and_what_is_ours_is_dropped() {
    assert_snapshot!(user(LENIENT, json!({
        "schemas": ["urn:x"], "ID": "1", "meta": { "resourceType": "User" }, "groups": [], "password": "1mz050nq",
        "USERNAME": "Bjensen", "NAME": { "GIVENNAME": "B" }, "externalid": "x",
        "URN:ietf:params:scim:schemas:extension:enterprise:2.0:user": { "DEPARTMENT": "Sales" },
    })), @r#"{"userName":"Bjensen","name":{"givenName":"B"},"externalId":"x","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Sales"},"active":true}"#);
    assert_snapshot!(user(LENIENT, json!({ "userName": "a", "username": "b" })), @"invalidSyntax: `username` is given twice; attribute names ignore case");
    assert_snapshot!(user(LENIENT, json!([])), @"invalidSyntax: The body must be a JSON object");
}

#[test]
fn null_and_empty_mean_unassigned() {
    assert_snapshot!(lenient(json!({
        "nickName": null, "roles": [], "emails": [null, { "value": null }], "name": { "givenName": null }, "x": null,
        "y": {}, "urn:z": { "password": "p" },
    })), @"{}");
    assert_snapshot!(user(LENIENT, json!({ "userName": "u", "active": null })), @r#"{"userName":"u","active":true}"#);
}

#[test]
fn a_user_has_a_user_name() {
    assert_snapshot!(user(LENIENT, json!({})), @"invalidValue: `userName` is required for a User and must not be blank");
    assert_snapshot!(user(LENIENT, json!({ "userName": " " })), @"invalidValue: `userName` is required for a User and must not be blank");
    assert_snapshot!(user(LENIENT, json!({ "userName": "a\nb" })), @"invalidValue: `userName` contains a control character");
    assert_snapshot!(user(LENIENT, json!({ "userName": "a".repeat(1025) })), @"invalidValue: `userName` is longer than 1024 characters");
    assert_snapshot!(seen(admit(ResourceType::group(), json!({}), &LENIENT)), @"invalidValue: `displayName` is required for a Group and must not be blank");
}

#[test]
fn types_are_checked_and_habits_forgiven() {
    assert_snapshot!(lenient(json!({ "emails": { "value": "e", "primary": "True" } })), @r#"{"emails":[{"value":"e","primary":true}]}"#);
    assert_snapshot!(lenient(json!({ "emails": ["e"] })), @"invalidValue: `emails` must be an object");
    assert_snapshot!(lenient(json!({ ENTERPRISE_USER_URN: { "manager": "1", "employeeNumber": "7" } })),
        @r#"{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"1"},"employeeNumber":"7"}}"#);
    assert_snapshot!(lenient(json!({ "name": "B" })), @"invalidValue: `name` must be an object");
    assert_snapshot!(lenient(json!({ "emails": [{ "value": ["e"] }] })), @"invalidValue: `emails.value` must be a string without NUL");
    assert_snapshot!(lenient(json!({ "nickName": "a\u{0}" })), @"invalidValue: `nickName` must be a string without NUL");
    assert_snapshot!(lenient(json!({ "x509Certificates": [{ "value": "%" }] })), @"invalidValue: `x509Certificates.value` must be base64");
    assert_snapshot!(strict(json!({ "emails": { "value": "e" } })), @"invalidValue: `emails` must be an array");
    assert_snapshot!(strict(json!({ "emails": [{ "value": "e", "primary": "True" }] })), @"invalidValue: `emails.primary` must be true or false");
    assert_snapshot!(strict(json!({ ENTERPRISE_USER_URN: { "manager": "1" } })),
        @"invalidValue: `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager` must be an object");
}

#[test]
fn one_value_is_primary() {
    let two = json!({ "emails": [{ "value": "a", "primary": true }, { "value": "b", "primary": true }] });
    assert_snapshot!(lenient(two.clone()), @"invalidValue: More than one value of `emails` is primary");
    assert_snapshot!(strict(two), @"invalidValue: More than one value of `emails` is primary");
}

#[test]
fn the_strict_dialect_wants_schemas() {
    let with = |schemas: Value| user(STRICT, json!({ "userName": "u", "schemas": schemas }));
    assert_snapshot!(with(Value::Null), @"invalidValue: `schemas` must be an array which contains `urn:ietf:params:scim:schemas:core:2.0:User`");
    assert_snapshot!(with(json!([ENTERPRISE_USER_URN])), @"invalidValue: `schemas` must contain `urn:ietf:params:scim:schemas:core:2.0:User`");
    assert_snapshot!(with(json!([USER_URN, "urn:x"])), @r#"invalidValue: `schemas` names "urn:x", which User does not have"#);
    assert_snapshot!(with(json!([USER_URN])), @r#"{"userName":"u","active":true}"#);
}

#[test]
fn unknown_attributes_follow_the_policy() {
    let incoming = json!({ "userName": "u", "Badge": { "color": "red", "password": "x" }, "name": { "nick": "B" } });
    let with = |unknown_attributes| user(Admission { unknown_attributes, ..LENIENT }, incoming.clone());
    assert_snapshot!(with(UnknownAttributes::Keep), @r#"{"userName":"u","Badge":{"color":"red"},"name":{"nick":"B"},"active":true}"#);
    assert_snapshot!(with(UnknownAttributes::Ignore), @r#"{"userName":"u","active":true}"#);
    assert_snapshot!(with(UnknownAttributes::Reject), @"invalidValue: `Badge` is in no schema of this service; remove it from the attribute mapping");
}

#[test]
fn limits_hold() {
    let many = |count: usize| (0..count).map(|at| (format!("a{at}"), json!(1))).collect::<Map<_, _>>();
    assert!(user(LENIENT, json!({ "userName": "u", "urn:x": many(498) })).starts_with('{'));
    assert_snapshot!(user(LENIENT, json!({ "userName": "u", "urn:x": many(500) })), @"invalidValue: A resource may have at most 500 attributes");
    let too_many = "there may be at most 500 attributes beside each other";
    assert_eq!(lenient(Value::Object(many(501))), format!("invalidValue: `a500` is one too many: {too_many}"));
    assert_eq!(lenient(json!({ "name": many(501) })), format!("invalidValue: `name.a500` is one too many: {too_many}"));
    assert_snapshot!(lenient(json!({ "emails": vec!["e"; 1001] })), @"invalidValue: `emails` may have at most 1000 values");
    assert_snapshot!(lenient(json!({ "x": vec![1; 1001] })), @"invalidValue: `x` may have at most 1000 values");
    assert_snapshot!(members(json!(vec!["m"; 100_001])).unwrap_err(), @"One request may name at most 100000 `members`");
}

#[test]
fn what_an_index_holds_fits_into_it() {
    let long = "é".repeat(1_001);
    assert_snapshot!(lenient(json!({ "displayName": long })), @"invalidValue: `displayName` is longer than 2000 bytes");
    assert_snapshot!(lenient(json!({ "externalId": long })), @"invalidValue: `externalId` is longer than 2000 bytes");
    assert_snapshot!(lenient(json!({ "emails": [{ "value": "e" }, { "value": long }] })), @"invalidValue: `emails.value` is longer than 2000 bytes");
    assert_snapshot!(user(LENIENT, json!({ "userName": "é".repeat(1_001) })), @"invalidValue: `userName` is longer than 2000 bytes");
    // Folded it is six times as long.
    assert_snapshot!(lenient(json!({ "displayName": "\u{fdfa}".repeat(100) })), @"invalidValue: `displayName` is longer than 2000 bytes");
    assert!(lenient(json!({ "displayName": "é".repeat(1_000), "nickName": "é".repeat(5_000) })).starts_with('{'));
    assert_snapshot!(seen(admit(ResourceType::group(), json!({ "displayName": long }), &LENIENT)),
        @"invalidValue: `displayName` is longer than 2000 bytes");
}

#[test]
fn a_resource_has_a_size() {
    let with = |bytes| lenient(json!({ "nickName": "a".repeat(bytes) }));
    assert_snapshot!(with(1 << 20), @"invalidValue: The resource would be larger than 1 MiB");
    assert!(with((1 << 20) - 100).starts_with('{'));
    for value in
        [json!({ "a": [1, 2, null, true], "é": ["", {}, []], "b": { "c": -1.5 } }), json!({}), json!({ "a": 1 })]
    {
        let size = size(value.as_object().unwrap());
        assert!(size <= value.to_string().len() + 1, "{size} {value}");
    }
}

#[test]
fn members_are_the_same_in_any_case_of_their_ids() {
    let id = "2819c223-7f76-453a-919d-413861904646";
    let listed = members(json!([{ "value": id.to_uppercase() }, id, { "value": "Abc" }])).unwrap().unwrap();
    assert_eq!(listed.iter().map(|member| member.value.as_str()).collect::<Vec<_>>(), [id, "Abc"]);
}

#[test]
fn members_are_kept_apart() {
    assert_eq!(members(Value::Null), Ok(None));
    assert_eq!(members(json!([])), Ok(Some(Vec::new())));
    let member = |value: &str, kind| Member { value: value.to_owned(), kind };
    assert_eq!(
        members(
            json!([{ "$ref": null, "value": "a", "display": "A" }, { "value": "b", "type": "group" }, { "value": "a" }])
        ),
        Ok(Some(vec![member("a", None), member("b", Some(MemberKind::Group))]))
    );
    assert_snapshot!(members(json!([{ "value": 7 }])).unwrap_err(), @"`members[0]` has no `value`: it must be the `id` of a user or group");
}

/// Users with badges, and what PUT or PATCH makes of one badge after another.
fn badges() -> ResourceType {
    let badge = json!({ "id": "urn:acme:badge:1.0:User", "name": "Badge", "attributes": [
        { "name": "number", "required": true, "mutability": "immutable" },
        { "name": "desk", "type": "complex", "subAttributes": [
            { "name": "room", "required": true }, { "name": "tag", "mutability": "immutable" } ] },
        { "name": "note" },
    ] });
    let badge = Extension::admit(badge, Extended::User, false, &ResourceTypes::standard()).unwrap();
    ResourceTypes::extended(vec![badge]).user.clone()
}

fn badge(badge: Value) -> Result<Admitted> {
    admit(&badges(), json!({ "userName": "u", "urn:acme:badge:1.0:User": badge }), &LENIENT)
}

#[test]
fn what_an_extension_requires_is_there_where_it_is() {
    assert!(admit(&badges(), json!({ "userName": "u" }), &LENIENT).is_ok());
    assert!(badge(json!({ "number": "7", "desk": { "room": "1" } })).is_ok());
    assert_snapshot!(badge(json!({ "note": "n" })).unwrap_err(), @"`number` is required where `urn:acme:badge:1.0:User` is sent and must not be blank");
    assert_snapshot!(badge(json!({ "number": "7", "desk": { "tag": "t" } })).unwrap_err(), @"`room` is required in each value of `desk` and must not be blank");
    let required = ResourceType { required_extensions: vec!["urn:acme:badge:1.0:User".into()], ..badges() };
    assert_snapshot!(admit(&required, json!({ "userName": "u" }), &LENIENT).unwrap_err(), @"`urn:acme:badge:1.0:User` is required for a User");
}

#[test]
fn what_is_immutable_stays_as_it_is() {
    let after = |before: Value, after: Value| -> Result<String> {
        let (before, mut after) = (badge(before).unwrap().resource, badge(after)?.resource);
        keep_immutable(&badges(), &before, &mut after)?;
        Ok(after.0["urn:acme:badge:1.0:User"].to_string())
    };
    let refused = |before, sent| after(before, sent).unwrap_err();
    let desk = |tag: &str| json!({ "number": "7", "desk": { "room": "1", "tag": tag } });
    assert_eq!(
        after(json!({ "number": "a" }), json!({ "number": "A", "note": "n" })),
        Ok(r#"{"number":"A","note":"n"}"#.into())
    );
    assert_eq!(after(json!({ "number": "7" }), desk("t")), Ok(desk("t").to_string()));
    assert_snapshot!(refused(json!({ "number": "7" }), json!({ "number": "8" })), @"`urn:acme:badge:1.0:User:number` is immutable and has a value already");
    assert_snapshot!(refused(desk("t"), desk("x")), @"`urn:acme:badge:1.0:User:desk.tag` is immutable and has a value already");
    let mut silent = admit(&badges(), json!({ "userName": "u" }), &LENIENT).unwrap().resource;
    let before = badge(json!({ "number": "7", "note": "n" })).unwrap().resource;
    assert_eq!(check_immutable(&badges(), &before, &silent).unwrap_err().kind, Kind::Mutability);
    keep_immutable(&badges(), &before, &mut silent).unwrap();
    assert_eq!(silent.0["urn:acme:badge:1.0:User"], json!({ "number": "7" }));
}

#[test]
fn the_store_reads_what_it_indexes() {
    let user = json!({ "userName": "U", "externalId": "x", "displayName": "D", "active": "False", "emails": [{ "value": "e" }, { "type": "work" }] });
    let mut user = admit(ResourceType::user(), user, &LENIENT).unwrap().resource;
    assert_eq!((user.user_name(), user.external_id(), user.display_name()), (Some("U"), Some("x"), Some("D")));
    assert_eq!(user.active(), Some(false));
    assert_eq!(user.emails().collect::<Vec<_>>(), ["e"]);
    user.set("userName", "V");
    assert_eq!(user.user_name(), Some("V"));
}

#[test]
fn text_that_people_take_for_the_same_folds_to_the_same() {
    assert_eq!(fold("Bjensen@Example.COM"), "bjensen@example.com");
    assert_eq!(fold("STRASSE"), fold("straße"));
    assert_eq!(fold("Ame\u{301}lie"), fold("AMÉLIE"));
    assert_eq!(fold("ﬁrst"), "first");
}
