//! What a list is sorted by, as SQL (RFC 7644 §3.4.2.3; the rules stand at [`scim::sort`](crate::scim::sort)).
//!
//! The table is aliased `r`. Rows with a value and rows without one are told apart by conditions of their own, so that
//! an index which holds only the former serves them, and so that no comparison meets `NULL`. Text is compared by bytes:
//! key columns are declared so, other text is told to be.

use super::filter_sql::{Element, Expression, Json, column, in_document, quoted};
use crate::scim::{
    schema::{Kind, Resolved, ResourceType},
    sort::MAX_KEY_CHARS,
};

/// A row's place by what the list is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The value; of no meaning in a row which is not `present`.
    pub sql: String,
    /// Its type in SQL, which reads back what it prints.
    pub kind: &'static str,
    /// Has the row a value?
    pub present: String,
    /// Has it none? `None` where every row has one.
    pub absent: Option<String>,
}

/// The key of rows of that type. `found` is one of [`Sort::keys`](crate::scim::sort::Sort::keys).
pub fn key(found: Resolved, resource_type: &ResourceType) -> Key {
    let expression = match column(found) {
        Some(expression) => expression,
        None if found.extension.is_none() && found.attribute.name == "meta" => {
            Element::Meta(resource_type.name.to_string()).part(found.sub)
        }
        None => Element::Json(counted(found)).part(found.sub),
    };
    match expression {
        // What `Sort::keys` lets through and is not in the database is `meta.location`, whose end the id is.
        Expression::Given => always(format!("({} || r.id) COLLATE \"C\"", quoted(&resource_type.endpoint)), "text"),
        Expression::Id(column) => always(column.into(), "uuid"),
        Expression::Instant(column) => always(column.into(), "timestamptz"),
        Expression::Text(sql) => always(format!("{sql} COLLATE \"C\""), "text"),
        Expression::Key(column) => {
            let absent = if found.attribute.required {
                format!("{column} = ''")
            } else {
                format!("({column} IS NULL OR {column} = '')")
            };
            Key { sql: column.into(), kind: "text", present: format!("{column} > ''"), absent: Some(absent) }
        }
        Expression::Json(json) => {
            let (sql, kind) = typed(&json, found);
            let (present, absent) = (format!("{sql} IS NOT NULL"), Some(format!("{sql} IS NULL")));
            Key { sql, kind, present, absent }
        }
    }
}

/// A value which every row has. It is said all the same, for an index which holds only rows that have it.
fn always(sql: String, kind: &'static str) -> Key {
    Key { present: format!("{sql} IS NOT NULL"), sql, kind, absent: None }
}

/// The one value of the attribute which counts.
fn counted(found: Resolved) -> String {
    let value = in_document(found);
    if !found.attribute.multi_valued {
        return value;
    }
    let first = format!("jsonb_path_query_first({value}, '$[0]')");
    match found.attribute.sub("primary") {
        None => first,
        Some(primary) => {
            let path = quoted(&format!("$[*] ? (@.{:?} == true)", primary.name));
            format!("coalesce(jsonb_path_query_first({value}, {path}), {first})")
        }
    }
}

/// The value with its type in SQL; `NULL` where there is none.
fn typed(json: &Json, found: Resolved) -> (String, &'static str) {
    let (value, text) = (json.json(), json.text());
    let of = |kind: &str, sql: String| format!("CASE jsonb_typeof({value}) WHEN '{kind}' THEN {sql} END");
    match found.leaf().kind {
        Kind::Integer | Kind::Decimal => (of("number", format!("({text})::numeric")), "numeric"),
        Kind::Boolean => (of("boolean", format!("({text})::boolean")), "boolean"),
        // In comparable form: text whose order by bytes is the order of time.
        Kind::DateTime => (format!("({}) COLLATE \"C\"", of("string", text)), "text"),
        Kind::String | Kind::Reference | Kind::Binary | Kind::Complex => {
            let text = if found.leaf().ignores_case() { format!("lower(({text}) COLLATE \"C\")") } else { text };
            (format!("nullif(left({text}, {MAX_KEY_CHARS}), '') COLLATE \"C\""), "text")
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::scim::sort::Sort;

    fn key_of(resource_type: &ResourceType, by: &str) -> String {
        let found = Sort::parse(by, None).unwrap().keys(&[resource_type]).unwrap()[0].unwrap();
        let Key { sql, kind, present, absent } = key(found, resource_type);
        format!("{sql}: {kind} | {present} | {}", absent.unwrap_or_default())
            .replace(&sql, "KEY")
            .replacen("KEY", &sql, 1)
    }

    fn users(by: &str) -> String {
        key_of(ResourceType::user(), by)
    }

    #[test]
    fn what_has_a_column_is_sorted_by_it() {
        assert_snapshot!(users("userName"), @"r.user_name_key: text | KEY > '' | KEY = ''");
        assert_snapshot!(users("displayName"), @"r.display_name_key: text | KEY > '' | (KEY IS NULL OR KEY = '')");
        assert_snapshot!(key_of(ResourceType::group(), "displayName"), @"r.display_name_key: text | KEY > '' | KEY = ''");
        assert_snapshot!(users("meta.lastModified"), @"r.updated_at: timestamptz | KEY IS NOT NULL |");
        assert_snapshot!(users("id"), @"r.id: uuid | KEY IS NOT NULL |");
    }

    #[test]
    fn other_values_are_taken_from_the_document() {
        assert_snapshot!(users("title"), @r#"nullif(left(lower((coalesce(r.comparable, r.attributes) -> 'title' #>> '{}') COLLATE "C"), 256), '') COLLATE "C": text | KEY IS NOT NULL | KEY IS NULL"#);
        assert_snapshot!(users("profileUrl"), @r#"nullif(left(coalesce(r.comparable, r.attributes) -> 'profileUrl' #>> '{}', 256), '') COLLATE "C": text | KEY IS NOT NULL | KEY IS NULL"#);
        assert_snapshot!(users("emails"), @r#"nullif(left(lower((coalesce(jsonb_path_query_first(coalesce(r.comparable, r.attributes) -> 'emails', '$[*] ? (@."primary" == true)'), jsonb_path_query_first(coalesce(r.comparable, r.attributes) -> 'emails', '$[0]')) ->> 'value') COLLATE "C"), 256), '') COLLATE "C": text | KEY IS NOT NULL | KEY IS NULL"#);
    }
}
