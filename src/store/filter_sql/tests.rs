use std::fmt::Write as _;

use insta::assert_snapshot;

use super::*;
use crate::scim::{filter::parse, lenient::Dialect};

/// The SQL, the parameters, and whether an index serves it.
fn sql_of(resource_type: &ResourceType, filter: &str) -> String {
    match compile(Some(&parse(filter, Dialect::Lenient).unwrap()), resource_type, Dialect::Lenient, 2) {
        Err(refused) => refused.detail,
        Ok(Condition { mut sql, params, indexed }) => {
            for param in params {
                match param {
                    Param::Text(text) => write!(sql, "  -- {text:?}"),
                    Param::Id(id) => write!(sql, "  -- {id}"),
                    Param::Instant(at) => write!(sql, "  -- {at}"),
                }
                .unwrap();
            }
            sql + if indexed { "  -- indexed" } else { "" }
        }
    }
}

fn users(filter: &str) -> String {
    sql_of(ResourceType::user(), filter)
}

fn groups(filter: &str) -> String {
    sql_of(ResourceType::group(), filter)
}

#[test]
fn what_is_looked_up_often_is_served_by_an_index() {
    assert_snapshot!(users(r#"userName eq "Straße""#), @r#"r.user_name_key = $2  -- "strasse"  -- indexed"#);
    assert_snapshot!(users(r#"externalId eq "00uA""#), @r#"r.external_id = $2  -- "00uA"  -- indexed"#);
    assert_snapshot!(users(r#"displayName eq "Ada""#), @r#"r.display_name_key = $2  -- "ada"  -- indexed"#);
    assert_snapshot!(users(r#"id eq "0190a1b2-0000-7000-8000-000000000001""#), @"r.id = $2  -- 0190a1b2-0000-7000-8000-000000000001  -- indexed");
    assert_snapshot!(users(r#"emails.value eq "ADA@x""#), @r#"r.id IN (SELECT m.user_id FROM user_emails m WHERE m.realm_id = $1 AND m.email_key = $2)  -- "ada@x"  -- indexed"#);
    assert_snapshot!(users(r#"emails eq "ADA@x""#), @r#"r.id IN (SELECT m.user_id FROM user_emails m WHERE m.realm_id = $1 AND m.email_key = $2)  -- "ada@x"  -- indexed"#);
    assert_snapshot!(users(r#"groups eq "0190a1b2-0000-7000-8000-000000000001""#), @"r.id IN (SELECT m.user_id FROM group_members m WHERE m.realm_id = $1 AND m.group_id = $2 AND EXISTS (SELECT FROM groups g WHERE g.realm_id = $1 AND g.id = $2 AND g.managed))  -- 0190a1b2-0000-7000-8000-000000000001  -- indexed");
    assert_snapshot!(groups(r#"members.value eq "0190a1b2-0000-7000-8000-000000000001""#), @"r.id IN (SELECT m.group_id FROM group_members m WHERE m.realm_id = $1 AND m.user_id = $2 UNION ALL SELECT m.group_id FROM group_members m WHERE m.realm_id = $1 AND m.nested_id = $2)  -- 0190a1b2-0000-7000-8000-000000000001  -- indexed");
    assert_snapshot!(groups(r#"displayName eq "Sales""#), @r#"r.display_name_key = $2  -- "sales"  -- indexed"#);
    assert_snapshot!(users(r#"meta.lastModified gt "2011-05-13T04:42:34Z""#), @"r.updated_at > $2  -- 2011-05-13T04:42:34Z");
}

#[test]
fn brackets_begin_with_the_look_up() {
    assert_snapshot!(users(r#"emails[value eq "a@x"]"#), @r#"(r.id IN (SELECT m.user_id FROM user_emails m WHERE m.realm_id = $1 AND m.email_key = $2))  -- "a@x""#);
    assert_snapshot!(users(r#"emails[type eq "work" and value eq "a@x"]"#), @r#"(r.id IN (SELECT m.user_id FROM user_emails m WHERE m.realm_id = $1 AND m.email_key = $2) AND EXISTS (SELECT FROM jsonb_path_query(coalesce(r.comparable, r.attributes) -> 'emails', '$[*]') e WHERE (jsonb_path_exists(e, '$.** ? (@.type() == "boolean" || @.type() == "number" || @.type() == "string" && @ != "")') AND (lower((e ->> 'type') COLLATE "C") = $3 AND lower((e ->> 'value') COLLATE "C") = $4))))  -- "a@x"  -- "work"  -- "a@x""#);
    assert_snapshot!(users(r#"emails[not (type eq "work")]"#), @r#"(EXISTS (SELECT FROM jsonb_path_query(coalesce(r.comparable, r.attributes) -> 'emails', '$[*]') e WHERE (jsonb_path_exists(e, '$.** ? (@.type() == "boolean" || @.type() == "number" || @.type() == "string" && @ != "")') AND (lower((e ->> 'type') COLLATE "C") = $2) IS NOT TRUE)))  -- "work""#);
    assert_snapshot!(groups(r#"members[type eq "Group"]"#), @r#"(EXISTS (SELECT FROM group_members m WHERE m.realm_id = $1 AND m.group_id = r.id AND CASE WHEN m.user_id IS NULL THEN 'group' ELSE 'user' END = $2))  -- "group""#);
}

#[test]
fn text_is_bound_and_never_a_pattern() {
    assert_snapshot!(users(r#"nickName co "a_%\\'""#), @r#"strpos(nullif(lower((coalesce(r.comparable, r.attributes) -> 'nickName' #>> '{}') COLLATE "C"), ''), $2) > 0  -- "a_%\\'""#);
    assert_snapshot!(users(r#"userName sw "a_b""#), @r#"starts_with(nullif(r.user_name_key, ''), $2)  -- "a_b""#);
    assert_snapshot!(users(r#"profileUrl ew "/Ada""#), @r#"right(nullif(coalesce(r.comparable, r.attributes) -> 'profileUrl' #>> '{}', ''), length($2)) = $2  -- "/Ada""#);
    assert_snapshot!(users(r#"title gt "A""#), @r#"nullif(lower((coalesce(r.comparable, r.attributes) -> 'title' #>> '{}') COLLATE "C"), '') COLLATE "C" > $2  -- "a""#);
}

#[test]
fn only_negation_tells_no_value_from_false() {
    assert_snapshot!(users(r#"title ne "x""#), @r#"(lower((coalesce(r.comparable, r.attributes) -> 'title' #>> '{}') COLLATE "C") = $2) IS NOT TRUE  -- "x""#);
    assert_snapshot!(users("not (title pr and name.givenName eq null)"), @"((nullif(coalesce(r.comparable, r.attributes) -> 'title' #>> '{}', '') IS NOT NULL AND (nullif(coalesce(r.comparable, r.attributes) -> 'name' ->> 'givenName', '') IS NOT NULL) IS NOT TRUE)) IS NOT TRUE");
}

#[test]
fn an_instant_between_two_microseconds_is_none_of_them() {
    assert_snapshot!(users(r#"meta.created ge "2011-05-13T04:42:34.0000001Z""#), @"r.created_at > $2  -- 2011-05-13T04:42:34Z");
    assert_snapshot!(users(r#"meta.created le "2011-05-13T04:42:34.0000001Z""#), @"r.created_at <= $2  -- 2011-05-13T04:42:34Z");
    assert_snapshot!(users(r#"meta.created eq "2011-05-13T04:42:34.0000001Z""#), @"FALSE");
}

#[test]
fn what_equals_nothing_asks_nothing() {
    assert_snapshot!(users(r#"id eq "0190A1B2-0000-7000-8000-000000000001""#), @"FALSE");
    assert_snapshot!(groups(r#"members eq "nobody""#), @"EXISTS (SELECT FROM group_members m WHERE m.realm_id = $1 AND m.group_id = r.id AND FALSE)");
    assert_snapshot!(users(r#"title eq """#), @"FALSE");
}

#[test]
fn what_cannot_be_answered_is_refused() {
    assert_snapshot!(users("shoeSize eq 44"), @"`shoeSize` is not an attribute of User; extensions need their schema URN");
    assert_snapshot!(users(r#"meta.location sw "https://""#), @"`meta.location` is made anew for each answer, so it cannot be compared; compare the id in it");
}

#[test]
fn names_of_operators_are_quoted() {
    assert_eq!(quoted("o'brien"), "'o''brien'");
    assert_eq!(quoted(r"a\'b"), r" E'a\\''b'");
}
