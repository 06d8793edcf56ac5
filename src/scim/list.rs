//! What a list or a single read asks for, and the form of the answer (RFC 7644 §3.4.2, §3.9; RFC 9865; RFC 7643 §3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    path::AttrPath,
    resource::{Resource, is_members, is_urn},
    schema::{self, Attribute, ResourceType, Returned},
    sort::Sort,
};

/// URN of the answer to a query (RFC 7644 §8.2).
pub const LIST_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many come before it. Of no account where `after` says it better: that hides and repeats nobody.
    pub offset: i64,
    /// How many at most. 0 asks for `totalResults` alone.
    pub limit: i64,
    /// Where the page begins, itself not included.
    pub after: Option<Boundary>,
    /// Is the list read from its end?
    pub backwards: bool,
    /// `totalResults`, where an earlier page has counted.
    pub total: Option<i64>,
}

/// A place in a list: that of a resource, which need not be there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    /// What the list is sorted by, as text of the store's own; `None` for no value, and in a list which is not sorted.
    pub key: Option<String>,
    pub id: Uuid,
}

/// The parameters of a list request (RFC 7644 §3.4.2, RFC 9865 §2).
#[derive(Debug, Clone, PartialEq)]
pub struct ListQuery {
    pub start: Start,
    /// Most resources on the page.
    pub count: i64,
    /// Text of the filter.
    pub filter: Option<String>,
    pub sort: Option<Sort>,
    pub projection: Projection,
}

/// Where a page begins, as the client says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// `startIndex` - 1
    Index(i64),
    /// `cursor`; `None` for the first page.
    Cursor(Option<String>),
}

/// How many resources a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSizes {
    /// If the client does not say.
    pub default: i64,
    pub most: i64,
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

/// The parameters which are read here.
const QUERY: [&str; 8] =
    ["startIndex", "count", "cursor", "filter", "sortBy", "sortOrder", "attributes", "excludedAttributes"];

/// Nobody has so many resources; what is added to it stays a number.
const FAR: i64 = i64::MAX / 2;

impl ListQuery {
    /// Reads decoded query parameters; those of other names are left alone. What is no number is refused. By index, what
    /// is out of range is brought into it (RFC 7644 §3.4.2.4); by cursor, it is refused (RFC 9865 §2.1).
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>, sizes: PageSizes) -> Result<Self> {
        let mut given = BTreeMap::new();
        for (name, text) in parameters.into_iter().filter(|(name, _)| QUERY.contains(name)) {
            if given.insert(name, text).is_some() {
                return Err(Error::invalid_value(format!("`{name}` is given twice")));
            }
        }
        let given = |name: &str| given.get(name).copied();
        let start = match (given("cursor"), given("startIndex")) {
            (Some(_), Some(_)) => return Err(Error::invalid_value("Give `cursor` or `startIndex`, not both")),
            (Some(cursor), None) => Start::Cursor(Some(cursor.to_owned()).filter(|cursor| !cursor.is_empty())),
            (None, Some(index)) => Start::Index(integer("startIndex", index)?.clamp(1, FAR) - 1),
            (None, None) => Start::Index(0),
        };
        let count = match (given("count"), &start) {
            (None, _) => sizes.default,
            (Some(text), Start::Index(_)) => integer("count", text)?.clamp(0, sizes.most),
            (Some(text), Start::Cursor(_)) => {
                let count = integer("count", text).ok().filter(|count| (1..=sizes.most).contains(count));
                count.ok_or_else(|| {
                    Error::invalid_count(format!("With a cursor, `count` is a number from 1 to {}", sizes.most))
                })?
            }
        };
        Ok(Self {
            start,
            count,
            filter: given("filter").map(str::to_owned),
            sort: given("sortBy").map(|by| Sort::parse(by, given("sortOrder"))).transpose()?,
            projection: Projection::parse(given("attributes"), given("excludedAttributes"))?,
        })
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

    /// Has the client said nothing?
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// Does this leave documents of that type as they are?
    pub fn is_all_of(&self, resource_type: &ResourceType) -> bool {
        let on_request = |attribute: &Attribute| attribute.returned == Returned::Request;
        let withheld = |attribute: &Attribute| on_request(attribute) || attribute.sub_attributes.iter().any(on_request);
        // Members are rows, and no part of the document.
        let core = resource_type.schema.attributes.iter().filter(|attribute| !is_members(resource_type, attribute));
        let mut kept = core.chain(resource_type.extensions.iter().flat_map(|extension| &extension.attributes));
        self.is_default() && !kept.any(withheld)
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
                let always =
                    |name: &str| schema.and_then(|s| s.attribute(name)).is_some_and(|a| a.returned == Returned::Always);
                attributes.retain(|name, _| matches!(self, Self::Only(_)) || always(name));
                return !attributes.is_empty();
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
        let sub_is = |name: &str, returned| {
            let sub = attribute.and_then(|attribute| attribute.sub(name));
            sub.is_some_and(|sub| sub.returned == returned)
        };
        let always = |name: &str| sub_is(name, Returned::Always);
        let named = |name: &str| subs.iter().any(|sub| sub.eq_ignore_ascii_case(name));
        // RFC 7643 §7, `returned`: only `attributes` can ask for what is returned on request.
        let on_request = attribute.is_some_and(|attribute| attribute.returned == Returned::Request);
        let withheld = attribute
            .is_some_and(|attribute| attribute.sub_attributes.iter().any(|sub| sub.returned == Returned::Request));
        match self {
            Self::Only(_) if whole => true,
            Self::Only(_) => !subs.is_empty() && retain_subs(value, |name| named(name) || always(name)),
            Self::Default | Self::Without(_) if whole || on_request => false,
            Self::Default | Self::Without(_) if subs.is_empty() && !withheld => true,
            Self::Default | Self::Without(_) => {
                retain_subs(value, |name| always(name) || !(named(name) || sub_is(name, Returned::Request)))
            }
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::scim::schema::ENTERPRISE_USER_URN;

    fn barbara() -> Map<String, Value> {
        let resource = json!({
            "userName": "bjensen",
            "name": { "givenName": "Barbara", "familyName": "Jensen" },
            "emails": [{ "value": "b@work.example", "type": "work" }, { "value": "b@home.example" }],
            ENTERPRISE_USER_URN: { "department": "Sales", "manager": { "value": "1", "displayName": "John" } },
        });
        let Value::Object(mut barbara) = resource else { panic!("it is an object") };
        barbara.shift_insert(0, "id".to_owned(), "1".into());
        barbara.extend([
            ("groups".to_owned(), json!([{ "value": "g" }])),
            ("meta".to_owned(), json!({ "resourceType": "User", "version": "W/\"7\"" })),
        ]);
        barbara
    }

    fn seen(attributes: &str, excluded: &str) -> String {
        let mut resource = barbara();
        Projection::parse(Some(attributes), Some(excluded)).unwrap().apply(ResourceType::user(), &mut resource);
        resource.shift_remove("schemas");
        Value::Object(resource).to_string().replace(ENTERPRISE_USER_URN, "urn")
    }

    fn page(parameters: &[(&str, &str)]) -> String {
        match ListQuery::parse(parameters.iter().copied(), PageSizes { default: 100, most: 1000 }) {
            Ok(ListQuery { start: Start::Index(offset), count, .. }) => format!("{offset} {count}"),
            Ok(ListQuery { start: Start::Cursor(cursor), count, .. }) => format!("{cursor:?} {count}"),
            Err(error) => format!("{}: {error}", error.kind.scim_type().unwrap_or_default()),
        }
    }

    #[test]
    fn a_page_out_of_range_is_brought_into_it() {
        assert_snapshot!(page(&[]), @"0 100");
        assert_snapshot!(page(&[("startIndex", "0"), ("count", "-1")]), @"0 0");
        assert_snapshot!(page(&[("startIndex", "-5"), ("count", "100000")]), @"0 1000");
        assert_snapshot!(page(&[("startIndex", "99999999999999999999"), ("count", "-99999999999999999999")]), @"4611686018427387902 0");
        assert_snapshot!(page(&[("count", "ten")]), @"invalidValue: `count` must be a whole number");
        assert_snapshot!(page(&[("startIndex", "1.5")]), @"invalidValue: `startIndex` must be a whole number");
        assert_snapshot!(page(&[("attributes", "id"), ("excludedAttributes", "name")]), @"invalidValue: Give `attributes` or `excludedAttributes`, not both");
    }

    #[test]
    fn a_page_by_cursor_is_as_long_as_it_may_be_or_refused() {
        assert_snapshot!(page(&[("cursor", "")]), @"None 100");
        assert_snapshot!(page(&[("cursor", "abc"), ("count", "1000")]), @r#"Some("abc") 1000"#);
        for count in ["0", "-1", "1001", "1.5", "many", ""] {
            assert_eq!(
                page(&[("cursor", ""), ("count", count)]),
                "invalidCount: With a cursor, `count` is a number from 1 to 1000"
            );
        }
        assert_snapshot!(page(&[("cursor", ""), ("startIndex", "1")]), @"invalidValue: Give `cursor` or `startIndex`, not both");
        assert_snapshot!(page(&[("cursor", "a"), ("cursor", "a")]), @"invalidValue: `cursor` is given twice");
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
}
