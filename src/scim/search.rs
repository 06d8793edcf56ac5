//! Queries over several resource types, and queries by POST (RFC 7644 §3.4.2.1, §3.4.3).

use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::filter::{Filter, Lookup, check, matches};
use super::lenient::Dialect;
use super::path::AttrPath;
use super::schema::ResourceType;

/// URN of a query by POST (RFC 7644 §8.2).
pub const SEARCH_REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// What each member of a SearchRequest must be.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Whole,
    Names,
}

const MEMBERS: [(&str, Form); 8] = [
    ("attributes", Form::Names),
    ("excludedAttributes", Form::Names),
    ("filter", Form::Text),
    ("sortBy", Form::Text),
    ("sortOrder", Form::Text),
    ("startIndex", Form::Whole),
    ("count", Form::Whole),
    ("cursor", Form::Text),
];

/// Reads a SearchRequest as the parameters which a GET would have, for
/// [`ListQuery::parse`](super::list::ListQuery::parse). A member that the message does not have is refused: whoever
/// misspells `filter` must not get everybody.
pub fn parameters(body: Value) -> Result<Vec<(&'static str, String)>> {
    let Value::Object(members) = body else {
        return Err(Error::invalid_syntax("The body must be a JSON object with `schemas`"));
    };
    let mut parameters = Vec::new();
    let mut is_search = false;
    for (name, value) in members {
        if name.eq_ignore_ascii_case("schemas") {
            is_search = value.as_array().is_some_and(|urns| urns.iter().any(|urn| urn == SEARCH_REQUEST_URN));
            continue;
        }
        let Some((name, form)) = MEMBERS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) else {
            return Err(Error::invalid_syntax(format!("A search has no member `{name}` (RFC 7644 §3.4.3)")));
        };
        let (wanted, text) = match (form, value) {
            (_, Value::Null) => continue,
            (Form::Text, Value::String(text)) => ("", Some(text)),
            (Form::Text, _) => ("text", None),
            (Form::Whole, Value::Number(number)) => ("", Some(number.to_string())),
            (Form::Whole, _) => ("a whole number", None),
            (Form::Names, Value::Array(names)) => {
                let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
                ("a list of names", names.map(|names| names.join(",")))
            }
            (Form::Names, _) => ("a list of names", None),
        };
        let text = text.ok_or_else(|| Error::invalid_value(format!("`{name}` must be {wanted}")))?;
        parameters.push((name, text));
    }
    if !is_search {
        return Err(Error::invalid_syntax(format!("`schemas` must contain `{SEARCH_REQUEST_URN}`")));
    }
    Ok(parameters)
}

/// The filter as it reads for resources of `types[at]`, one of those which are asked for. RFC 7644 §3.4.2.1: an
/// attribute which that type lacks and another has is one without a value; an attribute which all lack is
/// `invalidFilter`.
pub fn narrowed(filter: &Filter, types: &[&ResourceType], at: usize, dialect: Dialect) -> Result<Filter> {
    let narrow = |filter: &Filter| narrowed(filter, types, at, dialect).map(Box::new);
    Ok(match filter {
        Filter::And(left, right) => Filter::And(narrow(left)?, narrow(right)?),
        Filter::Or(left, right) => Filter::Or(narrow(left)?, narrow(right)?),
        Filter::Not(inner) => Filter::Not(narrow(inner)?),
        Filter::Present(attr) | Filter::Compare { attr, .. } | Filter::Within { attr, .. } => {
            let own = types[at];
            let knows = |resource_type: &&&ResourceType| resource_type.resolve(attr).is_some();
            let known_to = [&own].into_iter().chain(types).find(knows);
            check(filter, Lookup::Resource(known_to.unwrap_or(&own)), dialect)?;
            if known_to == Some(&own) {
                return Ok(filter.clone());
            }
            // Every resource has an id.
            let always = Filter::Present(AttrPath::of("id"));
            if matches(filter, own, &Map::new()) { always } else { Filter::Not(always.into()) }
        }
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::super::filter::parse;
    use super::*;

    fn read(mut body: Value) -> String {
        if body.get("schemas").is_none() {
            body["schemas"] = json!([SEARCH_REQUEST_URN]);
        }
        match parameters(body) {
            Ok(parameters) => format!("{parameters:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_search_says_what_a_query_says() {
        assert_snapshot!(read(json!({ "FILTER": "userName pr", "startIndex": 11, "count": 10, "sortBy": null })), @r#"[("filter", "userName pr"), ("startIndex", "11"), ("count", "10")]"#);
        assert_snapshot!(read(json!({ "attributes": ["userName", "name.givenName"], "cursor": "" })), @r#"[("attributes", "userName,name.givenName"), ("cursor", "")]"#);
    }

    #[test]
    fn a_search_which_cannot_be_meant_is_refused() {
        assert_snapshot!(read(json!({ "filters": "userName pr" })), @"A search has no member `filters` (RFC 7644 §3.4.3)");
        assert_snapshot!(read(json!({ "filter": 7 })), @"`filter` must be text");
        assert_snapshot!(read(json!({ "count": "ten" })), @"`count` must be a whole number");
        assert_snapshot!(read(json!({ "attributes": "userName" })), @"`attributes` must be a list of names");
        assert_snapshot!(read(json!({ "attributes": [7] })), @"`attributes` must be a list of names");
        assert_snapshot!(read(json!({ "schemas": ["urn:x:y"] })), @"`schemas` must contain `urn:ietf:params:scim:api:messages:2.0:SearchRequest`");
    }

    fn of_groups(filter: &str) -> String {
        let types = [ResourceType::user(), ResourceType::group()];
        let narrowed = parse(filter, Dialect::Strict).and_then(|filter| narrowed(&filter, &types, 1, Dialect::Strict));
        narrowed.map_or_else(|refused| refused.detail, |filter| filter.to_string())
    }

    #[test]
    fn what_one_type_lacks_has_no_value_there() {
        assert_snapshot!(of_groups(r#"displayName eq "x" and members pr"#), @r#"((displayName eq "x") and (members pr))"#);
        assert_snapshot!(of_groups(r#"userName eq "x""#), @"not (id pr)");
        assert_snapshot!(of_groups(r#"userName ne "x""#), @"(id pr)");
        assert_snapshot!(of_groups("userName eq null or emails[value pr]"), @"((id pr) or not (id pr))");
    }

    #[test]
    fn what_all_types_lack_is_refused() {
        assert_snapshot!(of_groups("shoeSize pr"), @"`shoeSize` is not an attribute of Group; extensions need their schema URN");
        assert_snapshot!(of_groups("userName eq 7"), @"`userName` is compared with text in double quotes, not with 7");
    }
}
