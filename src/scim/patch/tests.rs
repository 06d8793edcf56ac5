#![allow(clippy::needless_pass_by_value)] // `json!` reads best without `&`

use insta::assert_snapshot;
use serde_json::{Map, Value, json};

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
fn active_can_be_taken_away() {
    assert_snapshot!(lenient(json!([{ "op": "remove", "path": "active" }])), @"active: true -> -");
    assert_snapshot!(lenient(json!([{ "op": "replace", "value": { "active": null } }])), @"active: true -> -");
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
    assert_snapshot!(strict(json!([{ "op": "remove", "path": "userName" }])), @"mutability: `userName` is required and cannot be removed; replace it");
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
fn an_unknown_name_in_another_case_is_the_same_name() {
    assert_snapshot!(lenient(json!([
        { "op": "add", "path": "name", "value": { "nick": "a" } },
        { "op": "add", "path": "name", "value": { "NICK": "b" } },
        { "op": "add", "path": "pet", "value": { "cat": 1 } },
        { "op": "add", "path": "Pet", "value": { "Cat": 2 } },
        { "op": "add", "path": "emails[type eq \"home\"]", "value": { "since": 1 } },
        { "op": "add", "path": "emails", "value": [{ "value": "b@home.example", "type": "home", "Since": 2 }] },
    ])), @r#"
    name: {"givenName":"Barbara","familyName":"Jensen"} -> {"givenName":"Barbara","familyName":"Jensen","nick":"b"}
    emails: [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home"}] -> [{"value":"b@work.example","type":"work","primary":true},{"value":"b@home.example","type":"home","since":2}]
    pet: - -> {"cat":2}
    "#);
}

#[test]
fn an_object_grows_to_its_limit_and_no_further() {
    let many = |name: &str| (0..300).map(|at| (format!("{name}{at}"), json!(1))).collect::<Map<_, _>>();
    for path in ["name", "pet", "emails[type eq \"home\"]"] {
        let add = |name| json!({ "op": "add", "path": path, "value": many(name) });
        assert!(!lenient(json!([add("a")])).starts_with("invalidValue"), "{path}");
        assert!(lenient(json!([add("a"), add("b")])).ends_with("may have at most 500 attributes"), "{path}");
    }
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
        @"tooMany: Operation 21: The operations of this request compare too many values; send them in several requests");
}

/// A user with so many emails, and what PATCH makes of it.
fn with_emails(emails: Vec<Value>, operations: Vec<Value>) -> String {
    let user = json!({ "userName": "u", "emails": emails });
    let user = admit(ResourceType::user(), user, &LENIENT).unwrap().resource;
    seen(patch_with(LENIENT, ResourceType::user(), &user, &Value::from(operations)))
}

#[test]
fn a_small_request_makes_no_large_resource() {
    let emails = vec![json!({ "value": "e", "type": "a" }); 990];
    let large = "x".repeat(100_000);
    let refused = "invalidValue: The resource would be larger than 1 MiB";
    for (op, path, value) in [
        ("replace", "emails[type eq \"a\"].display", json!(large)),
        ("add", "emails[type eq \"a\"].note", json!(large)),
        ("add", "emails[type eq \"a\"]", json!({ "display": large })),
        ("replace", "nickName", json!("x".repeat(1 << 20))),
    ] {
        assert_eq!(with_emails(emails.clone(), vec![json!({ "op": op, "path": path, "value": value })]), refused);
    }
    let grow = |at: usize| json!({ "op": "add", "path": format!("x{at}"), "value": large });
    assert_eq!(
        with_emails(Vec::new(), (0..20).map(grow).collect()),
        "invalidValue: Operation 11: The resource would be larger than 1 MiB"
    );
    let keys: serde_json::Map<_, _> = (0..20).map(|at| (format!("x{at}"), json!(large))).collect();
    assert_eq!(with_emails(Vec::new(), vec![json!({ "op": "add", "value": keys })]), refused);
    let again = json!({ "op": "replace", "path": "nickName", "value": large });
    assert!(with_emails(Vec::new(), vec![again; 100]).starts_with("nickName: -"));
}

#[test]
fn long_texts_and_long_lists_are_compared_within_a_budget() {
    let refused = |seen: String| {
        assert!(seen.starts_with("tooMany: ") && seen.ends_with("send them in several requests"), "{seen:.300}");
    };
    let long = (0..990).map(|at| json!({ "value": format!("{at}{}", "x".repeat(900)) })).collect();
    let filter = format!("emails[value co \"y\" or value co \"{}z\"]", "x".repeat(400));
    refused(with_emails(long, vec![json!({ "op": "remove", "path": filter }); 900]));
    let bare = (0..990).map(|at| json!({ "type": format!("t{at}") })).collect();
    refused(with_emails(bare, vec![json!({ "op": "add", "path": "emails", "value": [{ "type": "q" }] }); 1000]));
    let bare = |name: &str| (0..990).map(|at| json!({ "type": format!("{name}{at}") })).collect::<Vec<_>>();
    refused(with_emails(bare("t"), vec![json!({ "op": "remove", "path": "emails", "value": bare("s") }); 3]));
}

#[test]
fn a_thousand_additions_to_a_thousand_values_are_within_the_budget() {
    let email = |at: usize| json!({ "value": format!("{at}@example.com"), "type": "work" });
    let add = |at: usize| json!({ "op": "add", "path": "emails", "value": [email(at)] });
    assert_eq!(with_emails((0..1_000).map(email).collect(), (0..1_000).map(add).collect()), "");
}

#[test]
fn values_are_the_same_in_any_case_unless_the_schema_is_exact() {
    let alice = || vec![json!({ "value": "Alice@x.io", "type": "Work" }), json!({ "type": "ÖFFIS" })];
    let one = |op: &str, value: Value| vec![json!({ "op": op, "path": "emails", "value": value })];
    assert_snapshot!(with_emails(alice(), one("remove", json!([{ "value": "alice@X.io" }, { "type": "öffis" }]))),
        @r#"emails: [{"value":"Alice@x.io","type":"Work"},{"type":"ÖFFIS"}] -> -"#);
    assert_snapshot!(with_emails(alice(), one("add", json!([{ "value": "alice@X.io", "type": "work" }, { "type": "öffis" }]))), @"");
    assert_snapshot!(with_emails(alice(), one("add", json!([{ "value": "alice@X.io", "type": "work", "display": "A" }]))),
        @r#"emails: [{"value":"Alice@x.io","type":"Work"},{"type":"ÖFFIS"}] -> [{"value":"Alice@x.io","type":"Work","display":"A"},{"type":"ÖFFIS"}]"#);
    assert_snapshot!(lenient(json!([
        { "op": "add", "path": "photos", "value": [{ "value": "https://x/A" }] },
        { "op": "add", "path": "photos", "value": [{ "value": "https://x/a" }] },
        { "op": "remove", "path": "photos", "value": [{ "value": "https://X/a" }] },
    ])), @r#"photos: - -> [{"value":"https://x/A"},{"value":"https://x/a"}]"#);
}

#[test]
fn remove_with_a_value_takes_that_and_no_more() {
    let of = |held: Value, path: &str, value: Value| {
        let add = json!({ "op": "add", "value": { "fav": held } });
        lenient(json!([add, { "op": "remove", "path": path, "value": value }]))
    };
    assert_snapshot!(of(json!(["a", "b"]), "favs", json!("a")), @r#"fav: - -> ["a","b"]"#);
    assert_snapshot!(of(json!(["a", "b"]), "fav", json!("a")), @r#"fav: - -> ["b"]"#);
    assert_snapshot!(of(json!(["a", "b"]), "FAV", json!("c")), @r#"fav: - -> ["a","b"]"#);
    assert_snapshot!(of(json!([{ "v": "a" }, { "v": "b" }]), "fav", json!({ "v": "a" })), @r#"fav: - -> [{"v":"b"}]"#);
    assert_snapshot!(of(json!("a"), "fav", json!("zzz")), @r#"fav: - -> "a""#);
    assert_snapshot!(of(json!("a"), "fav", json!(["a"])), @"");
    assert_snapshot!(of(json!({ "v": "a", "w": 1 }), "fav", json!({ "v": "a", "w": 2 })), @r#"fav: - -> {"w":1}"#);
    assert_snapshot!(of(json!({ "v": ["a", "b"] }), "fav.v", json!("b")), @r#"fav: - -> {"v":["a"]}"#);
    assert_snapshot!(of(json!("a"), "fav", Value::Null),
        @"invalidValue: Operation 2: `remove` of `fav` with `null` says neither which values nor all of them: leave `value` out for all");
    assert_snapshot!(lenient(json!([{ "op": "remove", "path": "name", "value": { "GivenName": "BARBARA", "familyName": "X" } }])),
        @r#"name: {"givenName":"Barbara","familyName":"Jensen"} -> {"familyName":"Jensen"}"#);
}

#[test]
fn remove_of_an_extension_with_a_value_takes_what_it_names() {
    let remove = |value: Value| {
        let mut operation = json!({ "op": "remove", "path": ENTERPRISE_USER_URN });
        operation["value"] = value;
        lenient(json!([operation])).replace(ENTERPRISE_USER_URN, "urn")
    };
    assert_snapshot!(remove(json!({ "Department": "sales" })), @r#"urn:department: "Sales" -> -"#);
    assert_snapshot!(remove(json!({ "department": "a", "costCenter": "1" })), @"");
    assert_snapshot!(remove(json!({})), @"");
    assert_snapshot!(remove(json!({ "department": "Sales", "manager": { "value": "26118915" } })), @r#"
    urn:department: "Sales" -> -
    urn:manager: {"value":"26118915","displayName":"John"} -> -
    "#);
    assert_snapshot!(remove(Value::Null), @"invalidValue: `urn` needs an object of attributes as `value`");
}

#[test]
fn an_attribute_with_a_dot_in_its_name_is_found_again() {
    let urn = "urn:x:1.0:User";
    let user = json!({ "userName": "u", "a.b": "1", urn: { "c.d": "1" } });
    let user = admit(ResourceType::user(), user, &LENIENT).unwrap().resource;
    let patched = |operation: Value| seen(patch_with(LENIENT, ResourceType::user(), &user, &json!([operation])));
    assert_snapshot!(patched(json!({ "op": "replace", "path": "A.b", "value": "2" })), @r#"a.b: "1" -> "2""#);
    assert_snapshot!(patched(json!({ "op": "replace", "value": { "a.b": "2" } })), @r#"a.b: "1" -> "2""#);
    assert_snapshot!(patched(json!({ "op": "remove", "path": "a.b" })), @r#"a.b: "1" -> -"#);
    assert_snapshot!(patched(json!({ "op": "add", "path": "a.c", "value": "2" })), @r#"a: - -> {"c":"2"}"#);
    assert_snapshot!(patched(json!({ "op": "add", "path": "a.b.c", "value": "2" })), @r#"a.b.c: - -> "2""#);
    assert_snapshot!(patched(json!({ "op": "add", "path": "name.given.first", "value": "2" })), @"invalidPath: `name.given.first` has more than one level of sub-attributes");
    assert_snapshot!(patched(json!({ "op": "replace", "path": format!("{urn}:c.d"), "value": "2" })), @r#"urn:x:1.0:User:c.d: "1" -> "2""#);
}
