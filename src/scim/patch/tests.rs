#![allow(clippy::needless_pass_by_value)] // `json!` reads best without `&`

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Op, Patched, apply, parse};
use crate::scim::{
    error::Result,
    lenient::Dialect,
    resource::{Admission, Resource, UnknownAttributes, admit},
    schema::{ENTERPRISE_USER_URN, ResourceType},
};

const STRICT: Admission = Admission { unknown_attributes: UnknownAttributes::Keep, dialect: Dialect::Strict };
const LENIENT: Admission = Admission { unknown_attributes: UnknownAttributes::Keep, dialect: Dialect::Lenient };
const REJECT: Admission = Admission { unknown_attributes: UnknownAttributes::Reject, dialect: Dialect::Lenient };
const IGNORE: Admission = Admission { unknown_attributes: UnknownAttributes::Ignore, dialect: Dialect::Lenient };

fn barbara() -> Resource {
    let user = json!({
        "userName": "bjensen",
        "externalId": "701984",
        "name": { "givenName": "Barbara", "familyName": "Jensen" },
        "emails": [
            { "value": "b@work.example", "type": "work", "primary": true },
            { "value": "b@home.example", "type": "home" },
        ],
        ENTERPRISE_USER_URN: { "department": "Sales", "manager": { "value": "26118915", "displayName": "John" } },
    });
    admit(ResourceType::user(), user, &LENIENT).unwrap().resource
}

fn patch_with(
    admission: Admission,
    resource_type: &ResourceType,
    before: &Resource,
    operations: &Value,
) -> Result<Patched> {
    let body = json!({ "schemas": [super::PATCH_OP_URN], "Operations": operations });
    apply(resource_type, before, &parse(body, &admission)?, &admission)
}

/// What changed, each attribute as `path: before -> after`; or why it was refused.
fn seen(patched: Result<Patched>) -> String {
    match patched {
        Err(error) => format!("{}: {error}", error.kind.scim_type().unwrap_or_default()),
        Ok(patched) => {
            let text = |value: Option<Value>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
            let line = |change: super::Change| {
                format!("{}: {} -> {}", change.path, text(change.previous), text(change.current))
            };
            patched.changes.into_iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

fn lenient(operations: Value) -> String {
    seen(patch_with(LENIENT, ResourceType::user(), &barbara(), &operations))
}

fn strict(operations: Value) -> String {
    seen(patch_with(STRICT, ResourceType::user(), &barbara(), &operations))
}

fn members(operations: Value) -> String {
    let group = admit(ResourceType::group(), json!({ "displayName": "Sales" }), &LENIENT).unwrap().resource;
    match patch_with(LENIENT, ResourceType::group(), &group, &operations) {
        Err(error) => format!("{}: {error}", error.kind.scim_type().unwrap_or_default()),
        Ok(patched) => {
            let super::MembersDelta { clear, add, remove } = patched.members;
            format!("clear {clear}, add {:?}, remove {remove:?}", add.into_keys().collect::<Vec<_>>())
        }
    }
}

#[test]
fn entra_disables_with_capitals_and_text() {
    assert_snapshot!(lenient(json!([{ "op": "Replace", "path": "active", "value": "False" }])), @"active: true -> false");
    assert_snapshot!(strict(json!([{ "op": "Replace", "path": "active", "value": false }])), @"invalidSyntax: `op` must be add, remove or replace, and not \"Replace\"");
    assert_snapshot!(strict(json!([{ "op": "replace", "path": "active", "value": "False" }])), @"invalidValue: `active` must be true or false");
    assert_snapshot!(lenient(json!([{ "op": "replace", "path": "active", "value": "no" }])), @"invalidValue: `active` must be true or false");
}

#[test]
fn taking_active_away_lets_nobody_in() {
    let refused = "invalidValue: `active` cannot be removed; replace it with true or false";
    assert_eq!(lenient(json!([{ "op": "remove", "path": "active" }])), refused);
    assert_eq!(lenient(json!([{ "op": "replace", "value": { "active": null } }])), refused);
}

#[test]
fn okta_writes_objects_without_a_path() {
    assert_snapshot!(lenient(json!([{ "op": "replace", "value": { "active": false } }])), @"active: true -> false");
    assert_snapshot!(lenient(json!([{ "op": "replace", "value": { "password": "t1meMa$heen" } }])), @"");
    assert_snapshot!(lenient(json!([{ "op": "replace", "path": "password", "value": "t1meMa$heen" }])), @"");
    assert_snapshot!(lenient(json!([{ "op": "replace", "value": { "id": "x", "nickName": "Babs" } }])), @r#"nickName: - -> "Babs""#);
    assert_snapshot!(strict(json!([{ "op": "replace", "value": { "id": "x", "nickName": "Babs" } }])), @"mutability: `id` is read-only");
}

#[test]
fn entra_writes_paths_as_keys() {
    assert_snapshot!(lenient(json!([{ "op": "replace", "value": {
        "name.givenName": "Babs",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "Tours",
        "emails[type eq \"work\"].value": "new@work.example",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "manager.displayName": "Jane" },
    } }])), @r#"
    name: {"givenName":"Barbara","familyName":"Jensen"} -> {"givenName":"Babs","familyName":"Jensen"}
    emails: [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}] -> [{"value":"new@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}]
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department: "Sales" -> "Tours"
    urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager: {"value":"26118915","displayName":"John"} -> {"value":"26118915","displayName":"Jane"}
    "#);
}

#[test]
fn an_extension_is_reached_by_its_urn() {
    let urn = ENTERPRISE_USER_URN;
    let path = |name: &str| format!("{urn}:{name}");
    let short = |text: String| text.replace(urn, "urn");
    assert_snapshot!(short(lenient(json!([{ "op": "Add", "path": path("DEPARTMENT"), "value": "Tours" }]))), @r#"urn:department: "Sales" -> "Tours""#);
    assert_snapshot!(short(lenient(json!([{ "op": "Add", "path": path("manager"), "value": "42" }]))),
        @r#"urn:manager: {"value":"26118915","displayName":"John"} -> {"value":"42"}"#);
    assert_snapshot!(short(lenient(json!([{ "op": "add", "path": path("manager.displayName"), "value": "Jane" }]))),
        @r#"urn:manager: {"value":"26118915","displayName":"John"} -> {"value":"26118915","displayName":"Jane"}"#);
    assert_snapshot!(short(strict(json!([{ "op": "add", "path": path("manager.displayName"), "value": "Jane" }]))),
        @"mutability: `urn:manager.displayName` is read-only");
    assert_snapshot!(short(lenient(json!([{ "op": "add", "path": urn, "value": { "costCenter": "4130" } }]))), @r#"urn:costCenter: - -> "4130""#);
    assert_snapshot!(short(lenient(json!([{ "op": "remove", "path": urn }]))), @r#"
    urn:department: "Sales" -> -
    urn:manager: {"value":"26118915","displayName":"John"} -> -
    "#);
}

#[test]
fn a_filter_that_selects_nothing_is_refused_but_for_the_habit_of_entra() {
    let work = json!([{ "op": "replace", "path": "phoneNumbers[type eq \"work\"].value", "value": "1" }]);
    assert_snapshot!(strict(work.clone()), @r#"noTarget: `phoneNumbers[(type eq "work")].value` matches no value of this resource"#);
    assert_snapshot!(lenient(work), @r#"phoneNumbers: - -> [{"type":"work","value":"1"}]"#);
    assert_snapshot!(lenient(json!([{ "op": "Add", "path": "roles[primary eq \"True\"].value", "value": "admin" }])),
        @r#"roles: - -> [{"primary":true,"value":"admin"}]"#);
    assert_snapshot!(lenient(json!([{ "op": "replace", "path": "emails[type ne \"home\" and type ne \"work\"].value", "value": "1" }])),
        @r#"noTarget: `emails[((type ne "home") and (type ne "work"))].value` matches no value of this resource"#);
    assert_snapshot!(lenient(json!([{ "op": "replace", "path": "emails[value eq \"x\"].value", "value": "1" }])),
        @r#"noTarget: `emails[(value eq "x")].value` matches no value of this resource"#);
    assert_snapshot!(lenient(json!([{ "op": "remove", "path": "emails[value eq \"x\"]" }])), @"");
    assert_snapshot!(lenient(json!([{ "op": "remove", "path": "emails[vaule eq \"x\"]" }])),
        @"invalidFilter: `vaule` is not an attribute of emails; extensions need their schema URN");
}

#[test]
fn selected_values_are_changed_and_the_others_stay() {
    assert_snapshot!(lenient(json!([{ "op": "replace", "path": "emails[type eq \"HOME\"]", "value": { "value": "h", "type": "home" } }])),
        @r#"emails: [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}] -> [{"value":"b@work.example","type":"work","primary":true},{"value":"h","type":"home"}]"#);
    assert_snapshot!(lenient(json!([{ "op": "remove", "path": "emails[type eq \"home\"]" }])),
        @r#"emails: [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}] -> [{"value":"b@work.example","type":"work","primary":true}]"#);
    assert_snapshot!(lenient(json!([{ "op": "Remove", "path": "emails[type eq \"work\"].value" }])),
        @r#"emails: [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}] -> [{"value":"b@home.example","type":"home"}]"#);
    assert_snapshot!(lenient(json!([{ "op": "Remove", "path": "emails", "value": [{ "value": "b@work.example" }] }])),
        @r#"emails: [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}] -> [{"value":"b@home.example","type":"home"}]"#);
    assert_snapshot!(lenient(json!([{ "op": "Remove", "path": "emails", "value": [] }])), @"");
    assert_snapshot!(lenient(json!([{ "op": "add", "path": "emails.display", "value": "x" }])),
        @r#"invalidPath: `emails` has 2 values: say which, as in `emails[type eq "work"].display`"#);
    assert_snapshot!(lenient(json!([{ "op": "add", "path": "name[givenName eq \"x\"]", "value": {} }])),
        @"invalidPath: `name` has one value only: leave the brackets out");
}

#[test]
fn what_is_there_is_not_added_again_and_the_newest_primary_wins() {
    assert_snapshot!(lenient(json!([{ "op": "add", "path": "emails", "value": [{ "value": "b@home.example", "type": "home" }] }])), @"");
    assert_snapshot!(lenient(json!([{ "op": "add", "path": "emails", "value": { "value": "b@home.example", "type": "home", "primary": true } }])),
        @r#"emails: [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}] -> [{"value":"b@work.example","type":"work","primary":false},{"value":"b@home.example","type":"home","primary":true}]"#);
    assert_snapshot!(lenient(json!([{ "op": "replace", "path": "emails[type eq \"home\"].primary", "value": "True" }])),
        @r#"emails: [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}] -> [{"value":"b@work.example","type":"work","primary":false},{"value":"b@home.example","type":"home","primary":true}]"#);
    assert_snapshot!(strict(json!([{ "op": "replace", "path": "emails[value pr].primary", "value": true }])),
        @"invalidValue: `emails[(value pr)].primary` makes more than one value primary");
}

#[test]
fn complex_attributes_are_merged() {
    assert_snapshot!(strict(json!([{ "op": "replace", "path": "name", "value": { "givenName": "Babs", "FamilyName": null } }])),
        @r#"name: {"givenName":"Barbara","familyName":"Jensen"} -> {"givenName":"Babs"}"#);
    assert_snapshot!(strict(json!([{ "op": "remove", "path": "name.givenName" }, { "op": "remove", "path": "NAME.familyname" }])),
        @r#"name: {"givenName":"Barbara","familyName":"Jensen"} -> -"#);
}

#[test]
fn what_a_user_must_have_cannot_be_taken() {
    assert_snapshot!(strict(json!([{ "op": "remove", "path": "userName" }])), @"invalidValue: `userName` is required for a User and must not be blank");
    assert_snapshot!(strict(json!([{ "op": "replace", "path": "userName", "value": " " }])), @"invalidValue: `userName` is required for a User and must not be blank");
    assert_snapshot!(strict(json!([{ "op": "remove" }])), @"noTarget: `remove` needs a `path`");
    assert_snapshot!(strict(json!([{ "op": "add", "path": "nickName" }])), @"invalidValue: `nickName` needs a `value`");
    assert_snapshot!(lenient(json!([{ "op": "add", "path": "groups", "value": [] }])), @"mutability: `groups` is read-only");
    assert_snapshot!(lenient(json!([{ "op": "add", "path": "nickName", "value": "B" }, { "op": "add", "path": "meta.version", "value": "1" }])),
        @"mutability: Operation 2: `meta.version` is read-only");
}

#[test]
fn unknown_attributes_follow_the_policy() {
    let badge = json!([{ "op": "add", "path": "badge", "value": "red" }]);
    assert_snapshot!(lenient(badge.clone()), @r#"badge: - -> "red""#);
    assert_snapshot!(seen(patch_with(IGNORE, ResourceType::user(), &barbara(), &badge)), @"");
    assert_snapshot!(seen(patch_with(REJECT, ResourceType::user(), &barbara(), &badge)),
        @"invalidPath: `badge` is in no schema of this service; remove it from the attribute mapping");
    assert_snapshot!(lenient(json!([
        { "op": "add", "path": "urn:ietf:params:scim:schemas:extension:Custom:2.0:User:tag", "value": "red" },
        { "op": "add", "path": "URN:ietf:params:scim:schemas:extension:custom:2.0:User", "value": { "size": 4 } },
        { "op": "add", "path": "name.nick", "value": "B" },
        { "op": "add", "path": "tags", "value": ["a"] },
        { "op": "add", "path": "TAGS", "value": ["a", "b"] },
        { "op": "remove", "path": "tags", "value": ["a"] },
    ])), @r#"
    name: {"givenName":"Barbara","familyName":"Jensen"} -> {"givenName":"Barbara","familyName":"Jensen","nick":"B"}
    urn:ietf:params:scim:schemas:extension:Custom:2.0:User:tag: - -> "red"
    urn:ietf:params:scim:schemas:extension:Custom:2.0:User:size: - -> 4
    tags: - -> ["b"]
    "#);
    assert_snapshot!(lenient(json!([{ "op": "add", "path": "tags[value eq \"x\"].y", "value": "a" }])),
        @r#"invalidPath: `tags[(value eq "x")].y` selects values of an attribute which is in no schema of this service; send the attribute whole"#);
}

#[test]
fn removing_members_never_takes_some_for_all() {
    assert_snapshot!(members(json!([{ "op": "remove", "path": "members" }])), @r#"clear true, add [], remove {}"#);
    assert_snapshot!(members(json!([{ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": "a" }] }])), @r#"clear false, add [], remove {"a"}"#);
    assert_snapshot!(members(json!([{ "op": "Remove", "path": "members", "value": [] }])), @"clear false, add [], remove {}");
    assert_snapshot!(members(json!([{ "op": "Remove", "path": "members", "value": null }])),
        @"invalidValue: `null` is no list of members: name them, or send an empty list where you mean nobody");
    assert_snapshot!(members(json!([{ "op": "remove", "path": "members[value eq \"a\"]" }])), @r#"clear false, add [], remove {"a"}"#);
    assert_snapshot!(members(json!([{ "op": "remove", "path": "members[value eq \"a\" or value eq \"b\"]" }])), @r#"clear false, add [], remove {"a", "b"}"#);
    assert_snapshot!(members(json!([{ "op": "remove", "path": "members[value sw \"a\"]" }])),
        @r#"invalidFilter: Members are removed by `members[value eq "..."]`, also several joined by `or`; other filters are not supported"#);
    assert_snapshot!(members(json!([{ "op": "remove", "path": "members[value eq \"a\"].display" }])),
        @"mutability: `members.display` cannot be changed; remove the member, or add one");
    assert_snapshot!(members(json!([{ "op": "replace", "path": "members", "value": null }])),
        @"invalidValue: `null` is no list of members: name them, or send an empty list where you mean nobody");
}

#[test]
fn a_member_is_the_same_in_any_case_of_its_id() {
    let id = "2819c223-7f76-453a-919d-413861904646";
    let add = json!({ "op": "add", "path": "members", "value": [{ "value": id.to_uppercase() }] });
    let filter = json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") });
    let upper = json!({ "op": "remove", "path": format!("members[value eq \"{}\"]", id.to_uppercase()) });
    let gone = format!("clear false, add [], remove {{{id:?}}}");
    assert_eq!(members(json!([add, filter])), gone);
    assert_eq!(members(json!([add, upper])), gone);
    assert_eq!(members(json!([add])), format!("clear false, add [{id:?}], remove {{}}"));
}

#[test]
fn operations_on_members_count_in_their_order() {
    assert_snapshot!(members(json!([
        { "op": "remove", "path": "members[value eq \"a\"]" },
        { "op": "add", "path": "members", "value": [{ "value": "b", "display": "B", "type": "User" }, { "value": "a" }] },
        { "op": "remove", "path": "members", "value": [{ "value": "b" }] },
    ])), @r#"clear false, add ["a"], remove {"b"}"#);
    assert_snapshot!(members(json!([
        { "op": "add", "path": "members", "value": [{ "value": "a" }] },
        { "op": "replace", "value": { "id": "x", "displayName": "Sales", "members": [{ "value": "c" }] } },
        { "op": "remove", "path": "members[value eq \"d\"]" },
    ])), @r#"clear true, add ["c"], remove {}"#);
    assert_snapshot!(members(json!([{ "op": "add", "path": "members", "value": [{ "display": "B" }] }])),
        @"invalidValue: `members[0]` has no `value`: it must be the `id` of a user or group");
}

#[test]
fn a_request_has_one_to_a_thousand_operations() {
    let one = json!({ "op": "replace", "path": "nickName", "value": "B" });
    assert_snapshot!(lenient(json!([])), @"invalidValue: `Operations` must have 1 to 1000 operations");
    assert_snapshot!(lenient(json!(vec![one.clone(); 1000])), @r#"nickName: - -> "B""#);
    assert_snapshot!(lenient(json!(vec![one; 1001])), @"invalidValue: `Operations` must have 1 to 1000 operations");
    let parsed =
        parse(json!({ "operations": [{ "OP": "ADD", "Value": { "nickName": "B", "password": "x" } }] }), &LENIENT)
            .unwrap();
    assert_eq!((parsed[0].op, parsed[0].value.clone()), (Op::Add, Some(json!({ "nickName": "B" }))));
    assert_snapshot!(parse(json!({ "Operations": [] }), &STRICT).unwrap_err(), @"`schemas` must contain `urn:ietf:params:scim:api:messages:2.0:PatchOp`");
}

#[test]
fn more_values_than_the_limit_are_refused() {
    let add = |at: usize| {
        json!({ "op": "add", "path": "emails", "value": [
        { "value": format!("{at}a") }, { "value": format!("{at}b") }] })
    };
    assert_snapshot!(lenient(json!((0..600).map(add).collect::<Vec<_>>())), @"invalidValue: Operation 500: `emails` may have at most 1000 values");
}
#[test]
fn filters_that_compare_too_much_are_refused() {
    let emails: Vec<_> = (0..1_000).map(|at| json!({ "value": format!("{at}@example.com") })).collect();
    let user = admit(ResourceType::user(), json!({ "userName": "u", "emails": emails }), &LENIENT).unwrap().resource;
    let wide = vec!["value eq \"x\""; 100].join(" or ");
    let remove = json!({ "op": "remove", "path": format!("emails[{wide}]") });
    assert_snapshot!(seen(patch_with(LENIENT, ResourceType::user(), &user, &json!(vec![remove; 21]))),
        @"tooMany: Operation 21: The filters of this request compare too many values; send them in several requests");
}
