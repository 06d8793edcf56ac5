//! A filter is within its limits, reads back as itself, and is evaluated and compiled wherever the schemas bear it out.

use realmgate::{
    scim::{
        filter::{self, Filter, Lookup},
        lenient::Dialect,
        limits::{MAX_COMPARISONS, MAX_FILTER_BYTES, MAX_FILTER_DEPTH},
        schema::ResourceType,
    },
    store::filter_sql,
};
use serde_json::{Map, Value, json};

use super::{RESOURCE_TYPES, example};

pub fn keeps_its_promises(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for dialect in [Dialect::Lenient, Dialect::Strict] {
        let Ok(filter) = filter::parse(text, dialect) else { continue };
        assert!(text.len() <= MAX_FILTER_BYTES);
        assert!(comparisons(&filter) <= MAX_COMPARISONS);
        // A level of parentheses may hold `not`, a chain of `or` and one of `and`; a chain is a balanced tree.
        assert!(depth(&filter) <= 6 * (MAX_FILTER_DEPTH + 1));
        reads_back(&filter);
        for resource_type in RESOURCE_TYPES.all() {
            answers(&filter, resource_type, dialect);
        }
    }
}

/// Display needs no leniency. It writes all parentheses, so a filter which was as large as it may be is refused when it comes back.
pub(super) fn reads_back(filter: &Filter) {
    match filter::parse(&filter.to_string(), Dialect::Strict) {
        Ok(again) => assert_eq!(again, *filter),
        Err(error) => assert!(is_of_limits(&error.detail), "{filter}: {error}"),
    }
}

pub(super) fn is_of_limits(detail: &str) -> bool {
    ["longer than", "nested deeper than"].iter().any(|limit| detail.contains(limit))
}

fn answers(filter: &Filter, resource_type: &ResourceType, dialect: Dialect) {
    let negated = Filter::Not(Box::new(filter.clone()));
    let checked = filter::check(filter, Lookup::Resource(resource_type), dialect);
    assert_eq!(checked, filter_sql::compile(Some(filter), resource_type, dialect, 2).map(|_| ()));
    for document in [document(resource_type), Map::new()] {
        let matches = |filter| filter::matches(filter, resource_type, &document);
        assert_ne!(matches(filter), matches(&negated));
    }
    for attribute in resource_type.schemas().flat_map(|schema| &schema.attributes) {
        if filter::check(filter, Lookup::Values(attribute), dialect).is_ok() {
            let values = example(resource_type)[&attribute.name].take();
            for value in values.as_array().into_iter().flatten().chain([&Value::Null]) {
                let matches = |filter| filter::matches_value(filter, attribute, value);
                assert_ne!(matches(filter), matches(&negated));
            }
        }
    }
}

/// A resource as it is found: with what the service provider adds.
fn document(resource_type: &ResourceType) -> Map<String, Value> {
    let Value::Object(mut document) = example(resource_type) else { unreachable!("a resource is an object") };
    document.insert("id".to_owned(), json!("0198f2a4-0000-7000-8000-000000000001"));
    document.insert("meta".to_owned(), json!({ "resourceType": "User", "created": "2011-05-13T04:42:34Z" }));
    document
}

fn comparisons(filter: &Filter) -> usize {
    match filter {
        Filter::And(left, right) | Filter::Or(left, right) => comparisons(left) + comparisons(right),
        Filter::Not(inner) | Filter::Within { filter: inner, .. } => comparisons(inner),
        Filter::Present(_) | Filter::Compare { .. } => 1,
    }
}

fn depth(filter: &Filter) -> usize {
    1 + match filter {
        Filter::And(left, right) | Filter::Or(left, right) => depth(left).max(depth(right)),
        Filter::Not(inner) | Filter::Within { filter: inner, .. } => depth(inner),
        Filter::Present(_) | Filter::Compare { .. } => 0,
    }
}
