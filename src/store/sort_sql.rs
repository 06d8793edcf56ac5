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
        Expression::Flag(column) => always(column.into(), "boolean"),
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

fn always(sql: String, kind: &'static str) -> Key {
    Key { sql, kind, present: "TRUE".into(), absent: None }
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
