//! Input on the left, meaning on the right.

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Number, Value, json};

use super::*;
use crate::scim::lenient::Dialect::{Lenient, Strict};
use crate::scim::schema::Attribute;
use crate::scim::schema::ResourceType;

fn parsed(text: &str) -> String {
    match parse(text, Lenient) {
        Ok(filter) => filter.to_string(),
        Err(error) => error.to_string(),
    }
}

fn checked(text: &str) -> String {
    match check(&parse(text, Lenient).unwrap(), Lookup::Resource(ResourceType::user()), Lenient) {
        Ok(()) => "ok".into(),
        Err(error) => format!("{}: {error}", error.kind.scim_type().unwrap_or_default()),
    }
}

#[test]
fn a_filter_has_a_meaning() {
    assert_snapshot!(parsed(r#"userName eq "bjensen""#), @r#"(userName eq "bjensen")"#);
    assert_snapshot!(parsed(r#"userName EQ "x" AND active Eq TRUE"#), @r#"((userName eq "x") and (active eq true))"#);
    assert_snapshot!(parsed("title pr"), @"(title pr)");
    assert_snapshot!(parsed("a pr or b pr and c pr"), @"((a pr) or ((b pr) and (c pr)))");
    assert_snapshot!(parsed("(a pr or b pr) and c pr"), @"(((a pr) or (b pr)) and (c pr))");
    assert_snapshot!(parsed("not (a pr) and b pr"), @"(not (a pr) and (b pr))");
    assert_snapshot!(parsed("not(not(a pr))"), @"not (not (a pr))");
    assert_snapshot!(parsed("a pr and b pr and c pr and d pr"), @"(((a pr) and (b pr)) and ((c pr) and (d pr)))");
    assert_snapshot!(parsed("manager eq null or level ge -1.5e3"), @"((manager eq null) or (level ge -1500.0))");
    assert_snapshot!(parsed(r#"emails[type eq "work"] and active eq true"#), @r#"(emails[(type eq "work")] and (active eq true))"#);
    assert_snapshot!(parsed(r#"emails[type eq "work" and value co "@x"]"#), @r#"emails[((type eq "work") and (value co "@x"))]"#);
    assert_snapshot!(parsed(r#"urn:ietf:params:scim:schemas:core:2.0:User:name.familyName sw "J""#),
        @r#"(urn:ietf:params:scim:schemas:core:2.0:User:name.familyName sw "J")"#);
    assert_snapshot!(parsed(r#"displayName eq "\u00e9\ud83d\ude00 \"q\" \\ \/""#), @r#"(displayName eq "é😀 \"q\" \\ /")"#);
}

#[test]
fn a_sub_attribute_behind_brackets_moves_inside() {
    assert_snapshot!(parsed(r#"emails[type eq "work"].value eq "x""#), @r#"emails[((type eq "work") and (value eq "x"))]"#);
    assert_snapshot!(parsed(r#"emails[type eq "work"].value pr"#), @r#"emails[((type eq "work") and (value pr))]"#);
    assert_snapshot!(parse(r#"emails[type eq "work"].value eq "x""#, Strict).unwrap_err(), @"expected `and`, `or` or the end, found `.value` (column 23)");
    assert_snapshot!(parsed(r#"emails[type eq "work"] .value pr"#), @"expected `and`, `or` or the end, found `.value` (column 24)");
    assert_snapshot!(parsed("emails[type pr].and pr"), @"expected an attribute, found `and` (column 17)");
}

#[test]
fn a_fault_says_what_was_expected_and_where() {
    assert_snapshot!(parsed(""), @"expected an attribute, found the end (column 1)");
    assert_snapshot!(parsed("userName"), @"expected an operator after `userName`, found the end (column 9)");
    assert_snapshot!(parsed("userName eq"), @"expected a value after `eq`, found the end (column 12)");
    assert_snapshot!(parsed("userName is \"x\""), @"expected one of eq, ne, co, sw, ew, gt, ge, lt, le, pr after `userName`, found `is` (column 10)");
    assert_snapshot!(parsed("userName eq bjensen"), @"expected a value after `eq`: text in double quotes, a number, true, false or null; found `bjensen` (column 13)");
    assert_snapshot!(parsed("userName eq 'bjensen'"), @"expected a value after `eq`: text in double quotes, a number, true, false or null; found `'bjensen'` (column 13)");
    assert_snapshot!(parsed("level eq 1e999"), @"expected a value after `eq`: text in double quotes, a number, true, false or null; found `1e999` (column 10)");
    assert_snapshot!(parsed("userName eq \"é"), @"this text has no closing quote (column 13)");
    assert_snapshot!(parsed(r#"userName eq "\ud800""#), @"this text has a broken escape, or a control character without one (column 13)");
    assert_snapshot!(parsed(r#"userName eq "\u0000""#), @"this text holds the character U+0000 (column 13)");
    assert_snapshot!(parsed("a pr and"), @"expected an attribute, found the end (column 9)");
    assert_snapshot!(parsed("a pr b pr"), @"expected `and`, `or` or the end, found `b` (column 6)");
    assert_snapshot!(parsed("not a pr"), @"expected `(` after `not`, found `a` (column 5)");
    assert_snapshot!(parsed("(a pr"), @"expected `)`, `and` or `or`, found the end (column 6)");
    assert_snapshot!(parsed("a[b[c pr]]"), @"brackets cannot stand in brackets (column 4)");
    assert_snapshot!(parsed("a.b..c pr"), @"expected the name of an attribute (column 5)");
    assert_snapshot!(parsed("naïve pr"), @"`naïve` is not the name of an attribute (column 3)");
}

#[test]
fn limits_hold_before_a_tree_grows() {
    let nested = |depth: usize| parsed(&format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth)));
    assert_snapshot!(nested(20), @"(a pr)");
    assert_snapshot!(nested(21), @"the filter is nested deeper than 20 (column 21)");
    assert_snapshot!(nested(2000), @"the filter is nested deeper than 20 (column 21)");
    assert_snapshot!(parsed(&"not (".repeat(800)), @"the filter is nested deeper than 20 (column 105)");
    assert_snapshot!(parsed(&"[".repeat(4000)), @"expected an attribute, found `[` (column 1)");
    let chained = |terms: usize| parse(&vec!["a pr"; terms].join(" or "), Lenient);
    assert!(chained(100).is_ok());
    assert_snapshot!(chained(101).unwrap_err(), @"the filter has more than 100 comparisons (column 803)");
    assert_snapshot!(parsed(&"(".repeat(5000)), @"the filter is longer than 4096 bytes (column 4097)");
}

#[test]
fn nonsense_for_the_schema_is_refused_by_name() {
    for good in [
        r#"userName co "x" and emails co "x" and id eq "1" and meta.lastModified gt "2011-05-13T04:42:34Z""#,
        r#"emails[type eq "work" and primary eq true] or roles[primary eq "True"] or name pr"#,
        r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager eq "1" or title ne null"#,
        r#"groups eq "1" or schemas eq "urn:x" or x509Certificates eq "MII=" or meta.version eq "W/\"1\"""#,
    ] {
        assert_eq!(checked(good), "ok", "{good}");
    }
    assert_snapshot!(checked(r#"nickname2 eq "x""#), @"invalidFilter: `nickname2` is not an attribute of User; extensions need their schema URN");
    assert_snapshot!(checked(r#"department eq "x""#), @"invalidFilter: `department` is not an attribute of User; extensions need their schema URN");
    assert_snapshot!(checked(r#"emails[kind eq "work"]"#), @"invalidFilter: `kind` is not an attribute of emails; extensions need their schema URN");
    assert_snapshot!(checked(r#"not (password sw "a")"#), @"invalidFilter: `password` is never shown, so it cannot be filtered by");
    assert_snapshot!(checked("password pr"), @"invalidFilter: `password` is never shown, so it cannot be filtered by");
    assert_snapshot!(checked("active gt true"), @"invalidFilter: `active` cannot be compared by `gt` with true");
    assert_snapshot!(checked(r#"active eq "yes""#), @r#"invalidFilter: `active` is compared with true or false, not with "yes""#);
    assert_snapshot!(checked("userName eq 5"), @"invalidFilter: `userName` is compared with text in double quotes, not with 5");
    assert_snapshot!(checked("title gt null"), @"invalidFilter: `title` cannot be compared by `gt` with null");
    assert_snapshot!(checked(r#"meta.created co "2011""#), @r#"invalidFilter: `meta.created` cannot be compared by `co` with "2011""#);
    assert_snapshot!(checked(r#"meta.created gt "yesterday""#), @r#"invalidFilter: `meta.created` is compared with a date and time such as "2011-05-13T04:42:34Z", not with "yesterday""#);
    assert_snapshot!(checked(r#"name eq "x""#), @"invalidFilter: `name` has parts; compare one of them, such as `name.formatted`");
    assert_snapshot!(checked(r#"userName[value eq "x"]"#), @"invalidFilter: `userName` has one simple value, so it takes no brackets");
}

#[test]
fn a_resource_matches_or_not() {
    let document = json!({
        "id": "2819c223", "externalId": "Ext-1", "userName": "bJensen", "displayName": "Straße", "active": true, "title": "",
        "name": { "familyName": "Jensen" },
        "emails": [{ "value": "b@Example.com", "type": "work", "primary": true }, { "value": "b@home.org", "type": "home" }],
        "meta": { "lastModified": "2011-05-13T04:42:34.000Z" },
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Tour", "manager": { "value": "m1" } },
    });
    let holds = |text: &str| {
        let filter = parse(text, Lenient).unwrap();
        check(&filter, Lookup::Resource(ResourceType::user()), Lenient).unwrap();
        matches(&filter, ResourceType::user(), document.as_object().unwrap())
    };
    for yes in [
        r#"userName eq "BJENSEN""#,
        r#"displayName eq "STRASSE""#,
        r#"userName sw "bj" and userName ew "EN" and userName co "jens""#,
        r#"userName gt "a" and userName le "bjensen""#,
        r#"externalId eq "Ext-1" and externalId ne "ext-1""#,
        r#"emails.value eq "b@example.com" and emails co "HOME""#,
        r#"emails[type eq "work" and value ew "example.com"]"#,
        r#"emails[primary eq "True"]"#,
        r#"emails[type eq "home" and not (primary eq true)]"#,
        r#"not (emails[type eq "home" and value co "example"])"#,
        r#"meta.lastModified ge "2011-05-13T06:42:34+02:00" and meta.lastModified lt "2011-05-13T04:42:34.001Z""#,
        r#"meta.lastModified eq "2011-05-13T04:42:34Z""#,
        r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager eq "m1""#,
        r#"nickName eq null and nickName ne "x" and title eq null and emails ne null and name pr"#,
        "active eq true and active ne false",
    ] {
        assert!(holds(yes), "{yes}");
    }
    for no in [
        r#"externalId eq "ext-1""#,
        r#"emails[type eq "home" and value ew "example.com"]"#,
        r#"emails.value ne "b@home.org""#,
        r#"nickName eq "x" or nickName gt "" or nickName co "" or nickName pr or title pr or nickName ne null"#,
        "active eq false",
    ] {
        assert!(!holds(no), "{no}");
    }
}

#[test]
fn one_value_matches_or_not() {
    let tags: Attribute = serde_json::from_value(json!({ "name": "tags", "multiValued": true })).unwrap();
    let size: Attribute =
        serde_json::from_value(json!({ "name": "sizes", "type": "integer", "multiValued": true })).unwrap();
    let holds = |attribute: &Attribute, text: &str, value: Value| {
        let filter = parse(text, Lenient).unwrap();
        check(&filter, Lookup::Values(attribute), Lenient).unwrap();
        matches_value(&filter, attribute, &value)
    };
    assert!(holds(&tags, r#"value eq "RED""#, json!("red")));
    assert!(holds(&size, "value gt 9007199254740992", json!(9_007_199_254_740_993_u64)));
    assert!(holds(&size, "value eq 1.0", json!(1)));
    let emails = ResourceType::user().schema.attribute("emails").unwrap();
    assert!(holds(emails, r#"type eq "WORK" and value co "@""#, json!({ "type": "work", "value": "a@b" })));
    assert!(!holds(emails, r#"type eq "work""#, json!({ "value": "a@b" })));
}

fn attr_path() -> impl Strategy<Value = AttrPath> {
    let name = || {
        "[a-zA-Z$][a-zA-Z0-9_$-]{0,8}"
            .prop_filter("reserved", |name| !["and", "or", "not"].iter().any(|word| name.eq_ignore_ascii_case(word)))
    };
    let urn = "urn:[a-z]{1,5}(:[a-zA-Z0-9.]{1,5}){1,3}";
    (proptest::option::of(urn), name(), proptest::option::of(name())).prop_map(|(urn, name, sub)| AttrPath {
        urn,
        name,
        sub,
    })
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(|n| Literal::Number(n.into())),
        any::<i32>().prop_map(|n| Literal::Number(Number::from_f64(f64::from(n) / 8.0).expect("finite"))),
        "[^\u{0}]{0,12}".prop_map(Literal::String),
    ]
}

fn simple() -> impl Strategy<Value = Filter> {
    let op = (0..Op::ALL.len()).prop_map(|index| Op::ALL[index].0);
    prop_oneof![
        attr_path().prop_map(Filter::Present),
        (attr_path(), op, literal()).prop_map(|(attr, op, value)| Filter::Compare { attr, op, value }),
    ]
}

fn logical(leaf: impl Strategy<Value = Filter> + 'static) -> impl Strategy<Value = Filter> {
    leaf.prop_recursive(4, 12, 2, |inner| {
        let inner = inner.prop_map(Box::new);
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Filter::And(left, right)),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Filter::Or(left, right)),
            inner.prop_map(Filter::Not),
        ]
    })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let within =
        (attr_path(), logical(simple())).prop_map(|(attr, filter)| Filter::Within { attr, filter: Box::new(filter) });
    logical(prop_oneof![3 => simple(), 1 => within])
}

proptest! {
    #[test]
    fn what_is_shown_reads_back_as_it_was(filter in any_filter()) {
        let shown = filter.to_string();
        prop_assume!(shown.len() <= crate::scim::limits::MAX_FILTER_BYTES);
        prop_assert_eq!(parse(&shown, Lenient).unwrap(), filter);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*|([a-z(\\[\\]).\" ]|eq|and|not|pr){0,40}") {
        if let Ok(filter) = parse(&text, Lenient) {
            prop_assert_eq!(parse(&filter.to_string(), Lenient).unwrap(), filter);
        }
    }
}
