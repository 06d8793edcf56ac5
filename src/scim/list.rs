//! What a list or a single read asks for, and the form of the answer (RFC 7644 §3.4.2, §3.9; RFC 7643 §3).
//!
//! Not here: `sortBy` and `cursor`, which `ServiceProviderConfig` does not offer; §3.4.2.3 lets them be ignored.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    error::{Error, Result},
    limits::MAX_RESULTS,
    path::AttrPath,
    resource::{Resource, is_urn},
    schema::{self, Attribute, ResourceType, Returned},
};

/// URN of the answer to a query (RFC 7644 §8.2).
pub const LIST_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// Resources on a page if the client does not say.
pub const DEFAULT_COUNT: usize = 100;

/// The parameters of a list request (RFC 7644 §3.4.2).
#[derive(Debug, Clone, PartialEq)]
pub struct ListQuery {
    /// From 1.
    pub start_index: u64,
    /// 0 asks for `totalResults` alone.
    pub count: usize,
    /// Text of the filter.
    pub filter: Option<String>,
    pub projection: Projection,
}

/// Which attributes an answer has (RFC 7644 §3.9). Names that no schema has are of no account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Projection {
    /// All that are returned by default.
    #[default]
    Default,
    /// `attributes`: these, and those which are always returned.
    Only(Vec<AttrPath>),
    /// `excludedAttributes`: all but these.
    Without(Vec<AttrPath>),
}

/// What the service provider says of a resource (RFC 7643 §3.1), times as they are to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub id: &'a str,
    pub version: i64,
    pub created: &'a str,
    pub last_modified: &'a str,
    pub location: &'a str,
}

/// The answer to a list request (RFC 7644 §3.4.2, §3.4.2.4).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListResponse<T> {
    schemas: [&'static str; 1],
    total_results: u64,
    start_index: u64,
    items_per_page: usize,
    #[serde(rename = "Resources")]
    resources: Vec<T>,
}

impl<T> ListResponse<T> {
    pub fn new(total_results: u64, start_index: u64, resources: Vec<T>) -> Self {
        Self { schemas: [LIST_RESPONSE_URN], total_results, start_index, items_per_page: resources.len(), resources }
    }
}

impl ListQuery {
    /// Reads decoded query parameters; those of other names are left alone. What is out of range is brought into it,
    /// as RFC 7644 §3.4.2.4 wants; what is no number is refused.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let (mut start_index, mut count, mut filter) = (1, DEFAULT_COUNT, None);
        let (mut attributes, mut excluded) = (None, None);
        for (name, text) in parameters {
            match name {
                "startIndex" => start_index = u64::try_from(integer(name, text)?).unwrap_or(1).max(1),
                "count" => count = usize::try_from(integer(name, text)?).unwrap_or(0).min(MAX_RESULTS),
                "filter" => filter = Some(text.to_owned()),
                "attributes" => attributes = Some(text),
                "excludedAttributes" => excluded = Some(text),
                _ => {}
            }
        }
        Ok(Self { start_index, count, filter, projection: Projection::parse(attributes, excluded)? })
    }
}

fn integer(name: &str, text: &str) -> Result<i64> {
    let digits = text.trim().strip_prefix('-').unwrap_or(text.trim());
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::invalid_value(format!("`{name}` must be a whole number")));
    }
    let beyond = if digits.len() < text.trim().len() { i64::MIN } else { i64::MAX };
    Ok(text.trim().parse().unwrap_or(beyond))
}

impl Projection {
    /// Reads the parameters `attributes` and `excludedAttributes`: names separated by commas.
    pub fn parse(attributes: Option<&str>, excluded: Option<&str>) -> Result<Self> {
        let given = |text: Option<&str>| text.is_some_and(|text| !text.trim().is_empty());
        match (attributes.filter(|_| given(attributes)), excluded.filter(|_| given(excluded))) {
            (None, None) => Ok(Self::Default),
            (Some(names), None) => Ok(Self::Only(paths(names))),
            (None, Some(names)) => Ok(Self::Without(paths(names))),
            (Some(_), Some(_)) => Err(Error::invalid_value("Give `attributes` or `excludedAttributes`, not both")),
        }
    }

    /// Does this leave a resource as it is?
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// Can the answer have that attribute of the core schema? If not, it need not be fetched.
    pub fn includes(&self, name: &str) -> bool {
        let names = |path: &AttrPath| path.name.eq_ignore_ascii_case(name);
        match self {
            Self::Default => true,
            Self::Only(wanted) => wanted.iter().any(names),
            Self::Without(unwanted) => !unwanted.iter().any(|path| path.sub.is_none() && names(path)),
        }
    }

    /// Takes away what the client does not want. What is always returned stays.
    pub fn apply(&self, resource_type: &ResourceType, resource: &mut Map<String, Value>) {
        if self.is_default() {
            return;
        }
        resource.retain(|key, value| {
            let (schema, attributes) = match (value, resource_type.schema_by_urn(key)) {
                (Value::Object(attributes), Some(extension)) => (Some(extension), attributes),
                (Value::Object(attributes), None) if is_urn(key) => (None, attributes),
                (value, _) => {
                    let attribute = resource_type.schema.attribute(key).or_else(|| schema::common(key));
                    let core = resource_type.schema.id.as_str();
                    return self.keeps(attribute, key, value, |path| {
                        path.urn.as_ref().is_none_or(|urn| urn.eq_ignore_ascii_case(core))
                    });
                }
            };
            if self.paths().iter().any(|path| path.urn.is_some() && path.to_string().eq_ignore_ascii_case(key)) {
                return matches!(self, Self::Only(_));
            }
            attributes.retain(|name, value| {
                self.keeps(schema.and_then(|schema| schema.attribute(name)), name, value, |path| {
                    path.urn.as_ref().is_some_and(|urn| urn.eq_ignore_ascii_case(key))
                })
            });
            !attributes.is_empty()
        });
    }

    /// Is an attribute to stay? Takes away those of its sub-attributes which are not. `here` says whether a path has
    /// the right schema in front.
    fn keeps(
        &self,
        attribute: Option<&Attribute>,
        name: &str,
        value: &mut Value,
        here: impl Fn(&AttrPath) -> bool,
    ) -> bool {
        if attribute.is_some_and(|attribute| attribute.returned == Returned::Always) {
            return true;
        }
        let mut whole = false;
        let mut subs = Vec::new();
        for path in self.paths().iter().filter(|path| here(path) && path.name.eq_ignore_ascii_case(name)) {
            match &path.sub {
                None => whole = true,
                Some(sub) => subs.push(sub.as_str()),
            }
        }
        let always = |name: &str| {
            let sub = attribute.and_then(|attribute| attribute.sub(name));
            sub.is_some_and(|sub| sub.returned == Returned::Always)
        };
        let named = |name: &str| subs.iter().any(|sub| sub.eq_ignore_ascii_case(name));
        match self {
            Self::Default => true,
            Self::Only(_) if whole => true,
            Self::Only(_) => !subs.is_empty() && retain_subs(value, |name| named(name) || always(name)),
            Self::Without(_) if whole => false,
            Self::Without(_) => subs.is_empty() || retain_subs(value, |name| !named(name) || always(name)),
        }
    }

    fn paths(&self) -> &[AttrPath] {
        match self {
            Self::Default => &[],
            Self::Only(paths) | Self::Without(paths) => paths,
        }
    }
}

/// A text that is no path names no attribute.
fn paths(names: &str) -> Vec<AttrPath> {
    names.split(',').filter_map(|name| name.trim().parse().ok()).collect()
}

/// Keeps the wanted sub-attributes, of each value if there are several. Says whether anything is left.
fn retain_subs(value: &mut Value, wanted: impl Fn(&str) -> bool) -> bool {
    let keep = |object: &mut Map<String, Value>| {
        object.retain(|name, _| wanted(name));
        !object.is_empty()
    };
    match value {
        Value::Object(object) => keep(object),
        Value::Array(values) => {
            values.retain_mut(|value| value.as_object_mut().is_some_and(keep));
            !values.is_empty()
        }
        _ => false,
    }
}

impl ResourceType {
    /// `schemas` of a resource (RFC 7643 §3): the core schema, and each extension that it has attributes of.
    pub fn schemas_of<'a>(&'a self, resource: &'a Resource) -> Vec<&'a str> {
        let extensions = resource.0.iter().filter(|(key, value)| value.is_object() && is_urn(key));
        std::iter::once(self.schema.id.as_str()).chain(extensions.map(|(key, _)| key.as_str())).collect()
    }
}

/// A resource as it is answered: what the client wrote, what the service provider says of it, and `extra` read-only
/// attributes such as `groups`.
pub fn render<'a>(
    resource_type: &ResourceType,
    head: &Head<'_>,
    resource: &Resource,
    extra: impl IntoIterator<Item = (&'a str, Value)>,
) -> Map<String, Value> {
    let mut rendered = Map::with_capacity(resource.0.len() + 4);
    rendered.insert("schemas".to_owned(), resource_type.schemas_of(resource).into());
    rendered.insert("id".to_owned(), head.id.into());
    rendered.extend(resource.0.iter().map(|(name, value)| (name.clone(), value.clone())));
    rendered.extend(extra.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let meta = json!({
        "resourceType": resource_type.name,
        "created": head.created,
        "lastModified": head.last_modified,
        "location": head.location,
        "version": format!("W/\"{}\"", head.version),
    });
    rendered.insert("meta".to_owned(), meta);
    rendered
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::scim::schema::ENTERPRISE_USER_URN;

    fn barbara() -> Map<String, Value> {
        let resource = json!({
            "userName": "bjensen",
            "name": { "givenName": "Barbara", "familyName": "Jensen" },
            "emails": [{ "value": "b@work.example", "type": "work" }, { "value": "b@home.example" }],
            ENTERPRISE_USER_URN: { "department": "Sales", "manager": { "value": "1", "displayName": "John" } },
        });
        let Value::Object(resource) = resource else { panic!("it is an object") };
        let head = Head { id: "1", version: 7, created: "c", last_modified: "m", location: "l" };
        render(ResourceType::user(), &head, &Resource(resource), [("groups", json!([{ "value": "g" }]))])
    }

    fn seen(attributes: &str, excluded: &str) -> String {
        let mut resource = barbara();
        Projection::parse(Some(attributes), Some(excluded)).unwrap().apply(ResourceType::user(), &mut resource);
        resource.shift_remove("schemas");
        Value::Object(resource).to_string().replace(ENTERPRISE_USER_URN, "urn")
    }

    fn page(parameters: &[(&str, &str)]) -> String {
        match ListQuery::parse(parameters.iter().copied()) {
            Ok(query) => format!("{} {}", query.start_index, query.count),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_page_out_of_range_is_brought_into_it() {
        assert_snapshot!(page(&[]), @"1 100");
        assert_snapshot!(page(&[("startIndex", "0"), ("count", "-1")]), @"1 0");
        assert_snapshot!(page(&[("startIndex", "-5"), ("count", "100000")]), @"1 1000");
        assert_snapshot!(page(&[("startIndex", "99999999999999999999"), ("count", "-99999999999999999999")]), @"9223372036854775807 0");
        assert_snapshot!(page(&[("count", "ten")]), @"`count` must be a whole number");
        assert_snapshot!(page(&[("startIndex", "1.5")]), @"`startIndex` must be a whole number");
        assert_snapshot!(page(&[("attributes", "id"), ("excludedAttributes", "name")]), @"Give `attributes` or `excludedAttributes`, not both");
    }

    #[test]
    fn a_resource_says_what_it_is() {
        let mut resource = barbara();
        resource.retain(|key, _| matches!(key.as_str(), "schemas" | "id" | "meta"));
        assert_snapshot!(Value::Object(resource), @r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"id":"1","meta":{"resourceType":"User","created":"c","lastModified":"m","location":"l","version":"W/\"7\""}}"#);
    }

    #[test]
    fn only_what_was_asked_for_is_answered() {
        assert_snapshot!(seen("USERNAME", ""), @r#"{"id":"1","userName":"bjensen"}"#);
        assert_snapshot!(seen("name.givenname, emails.value", ""), @r#"{"id":"1","name":{"givenName":"Barbara"},"emails":[{"value":"b@work.example"},{"value":"b@home.example"}]}"#);
        assert_snapshot!(seen("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", ""), @r#"{"id":"1","urn":{"department":"Sales"}}"#);
        assert_snapshot!(seen("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value", ""), @r#"{"id":"1","urn":{"manager":{"value":"1"}}}"#);
        assert_snapshot!(seen("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", ""), @r#"{"id":"1","urn":{"department":"Sales","manager":{"value":"1","displayName":"John"}}}"#);
        assert_snapshot!(seen("urn:ietf:params:scim:schemas:core:2.0:User:userName,nonsense,a..b", ""), @r#"{"id":"1","userName":"bjensen"}"#);
        assert_snapshot!(seen("nonsense", ""), @r#"{"id":"1"}"#);
    }

    #[test]
    fn what_is_excluded_is_missing_but_never_the_id() {
        assert_snapshot!(seen("", "id,emails,meta,groups,name.familyName,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"), @r#"{"id":"1","userName":"bjensen","name":{"givenName":"Barbara"}}"#);
        assert_snapshot!(seen("", "userName,name,groups,meta,emails.type,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"), @r#"{"id":"1","emails":[{"value":"b@work.example"},{"value":"b@home.example"}],"urn":{"department":"Sales"}}"#);
    }

    #[test]
    fn what_cannot_be_answered_need_not_be_fetched() {
        let parse = |attributes, excluded| Projection::parse(Some(attributes), Some(excluded)).unwrap();
        assert!(parse("", "").is_default() && parse("", "").includes("members"));
        assert!(!parse("", "Members").includes("members") && parse("", "members.display").includes("members"));
        assert!(!parse("displayName", "").includes("members") && parse("members.value", "").includes("members"));
    }

    #[test]
    fn a_list_counts_what_it_holds() {
        let list = serde_json::to_string(&ListResponse::new(12, 3, vec![json!({}), json!({})])).unwrap();
        assert_snapshot!(list, @r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":12,"startIndex":3,"itemsPerPage":2,"Resources":[{},{}]}"#);
    }
}
