//! Schemas (RFC 7643 §7, §8.7): attributes and their characteristics, as data, so that a realm's extension is data too.

use std::borrow::Cow;
use std::slice;
use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::extension::{Extended, Extension};
use super::path::AttrPath;

pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const ENTERPRISE_USER_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A schema (RFC 7643 §7), in the JSON form that `/Schemas` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub attributes: Vec<Attribute>,
}

/// An attribute and its characteristics (RFC 7643 §2.2, §7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    pub name: String,
    #[serde(rename = "type", default)]
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub_attributes: Vec<Attribute>,
    #[serde(default)]
    pub multi_valued: bool,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub required: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical_values: Vec<String>,
    #[serde(default)]
    pub case_exact: bool,
    #[serde(default)]
    pub mutability: Mutability,
    #[serde(default)]
    pub returned: Returned,
    #[serde(default)]
    pub uniqueness: Uniqueness,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_types: Vec<String>,
}

/// Data type of an attribute (RFC 7643 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    #[default]
    String,
    Boolean,
    Decimal,
    Integer,
    DateTime,
    Binary,
    Reference,
    Complex,
}

/// RFC 7643 §7, `mutability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mutability {
    ReadOnly,
    #[default]
    ReadWrite,
    Immutable,
    WriteOnly,
}

/// RFC 7643 §7, `returned`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Returned {
    Always,
    Never,
    #[default]
    Default,
    Request,
}

/// RFC 7643 §7, `uniqueness`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Uniqueness {
    #[default]
    None,
    Server,
    Global,
}

/// A resource type (RFC 7643 §6): its endpoint, its schema, its extensions.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceType {
    /// `User`, `Group`
    pub name: Cow<'static, str>,
    /// `/Users`, `/Groups`
    pub endpoint: Cow<'static, str>,
    pub schema: Schema,
    pub extensions: Vec<Schema>,
    /// URNs of the extensions which each resource of this type must have (RFC 7643 §6, `schemaExtensions.required`).
    pub required_extensions: Vec<String>,
}

/// The resource types of a service provider: those of RFC 7643, and what a realm has extended them by.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceTypes {
    pub user: ResourceType,
    pub group: ResourceType,
    /// What was added to those of the RFC.
    pub added: Vec<Extension>,
}

/// What an attribute path means within a resource type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resolved<'a> {
    /// URN of the extension whose object holds the attribute; `None` for the core schema and the common attributes.
    pub extension: Option<&'a str>,
    pub attribute: &'a Attribute,
    pub sub: Option<&'a Attribute>,
}

impl Schema {
    /// The attributes which are required, and which `held` does not have.
    pub fn missing_in<'a>(&'a self, held: &'a Map<String, Value>) -> impl Iterator<Item = &'a str> {
        let required = self.attributes.iter().filter(|attribute| attribute.required);
        required.map(|attribute| attribute.name.as_str()).filter(|name| !held.contains_key(*name))
    }

    /// The attribute of that name, in any case of letters (RFC 7643 §2.1).
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        named(&self.attributes, name)
    }
}

impl Attribute {
    /// The sub-attribute of that name, in any case of letters (RFC 7643 §2.1).
    pub fn sub(&self, name: &str) -> Option<&Attribute> {
        named(&self.sub_attributes, name)
    }

    /// Whether two values which differ in case only are the same. References and binary values are exact whatever
    /// their schema says (RFC 7643 §2.3.6, §2.3.7).
    pub fn ignores_case(&self) -> bool {
        self.kind == Kind::String && !self.case_exact
    }
}

fn named<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

impl<'a> Resolved<'a> {
    /// The attribute which the path ends at.
    pub fn leaf(&self) -> &'a Attribute {
        self.sub.unwrap_or(self.attribute)
    }

    /// What a comparison with this attribute means: a complex attribute stands for its `value`, so that
    /// `emails co "x"` reads as `emails.value co "x"` (RFC 7644 §3.4.2.2).
    #[must_use]
    pub fn compared(self) -> Self {
        match self.leaf().kind {
            Kind::Complex => Self { sub: self.sub.or_else(|| self.attribute.sub("value")), ..self },
            _ => self,
        }
    }

    /// The values which `document` holds for the attribute: each element of a multi-valued one, none that is
    /// unassigned. Names in `document` are canonical; extensions stand under their URN.
    pub fn values_in<'v>(self, document: &'v Map<String, Value>) -> impl Iterator<Item = &'v Value> + use<'a, 'v> {
        let holder = match self.extension {
            Some(urn) => document.get(urn).and_then(Value::as_object),
            None => Some(document),
        };
        let elements = match holder.and_then(|holder| holder.get(&self.attribute.name)) {
            Some(Value::Array(elements)) => elements,
            Some(one) => slice::from_ref(one),
            None => &[],
        };
        elements.iter().filter_map(move |element| self.value_of(element))
    }

    /// The value which one element of the attribute holds for the sub-attribute; the element itself if the path
    /// names none. `None` if unassigned.
    pub fn value_of<'v>(&self, element: &'v Value) -> Option<&'v Value> {
        let value = match self.sub {
            Some(sub) => element.get(&sub.name),
            None => Some(element),
        };
        value.filter(|value| is_assigned(value))
    }
}

/// Whether `value` is a value at all: `null`, empty text, empty lists, and objects of nothing else are the same as no
/// value (RFC 7643 §2.5; RFC 7644 §3.4.2.2, `pr`).
pub fn is_assigned(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => elements.iter().any(is_assigned),
        Value::Object(members) => members.values().any(is_assigned),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The instant which a `dateTime` names (RFC 7643 §2.3.5). Without an offset it is taken as UTC. One that is too far
/// away to be told is the first or the last that can be.
pub fn instant(text: &str) -> Option<Timestamp> {
    exact_instant(text).or_else(|| far_instant(text))
}

fn exact_instant(text: &str) -> Option<Timestamp> {
    let in_utc = || Some(text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    text.contains('T').then(|| text.parse().ok().or_else(in_utc)).flatten()
}

/// XML Schema lets years have more than four digits and stand before the first (XSD §3.2.7); "for ever" is often
/// written as the last second of the year 9999.
fn far_instant(text: &str) -> Option<Timestamp> {
    let (end, digits) = match text.strip_prefix('-') {
        Some(digits) => (Timestamp::MIN, digits),
        None => (Timestamp::MAX, text),
    };
    let (year, rest) = digits.split_once('-')?;
    let is_far = year.len() >= 4 && year.bytes().all(|b| b.is_ascii_digit()) && (year.len() > 4 || year == "9999");
    // The calendar repeats itself after 400 years: what is a date in that year is one in the other.
    let near = 2000 + year.get(year.len().checked_sub(4)?..)?.parse::<u16>().ok()? % 400;
    (is_far && exact_instant(&format!("{near}-{rest}")).is_some()).then_some(end)
}

impl ResourceType {
    /// `User` with the enterprise extension (RFC 7643 §4.1, §4.3).
    pub fn user() -> &'static Self {
        static USER: LazyLock<ResourceType> = LazyLock::new(|| ResourceType {
            name: "User".into(),
            endpoint: "/Users".into(),
            schema: built_in(include_str!("schemas/user.json")),
            extensions: vec![built_in(include_str!("schemas/enterprise_user.json"))],
            required_extensions: Vec::new(),
        });
        &USER
    }

    /// `Group` (RFC 7643 §4.2).
    pub fn group() -> &'static Self {
        static GROUP: LazyLock<ResourceType> = LazyLock::new(|| ResourceType {
            name: "Group".into(),
            endpoint: "/Groups".into(),
            schema: built_in(include_str!("schemas/group.json")),
            extensions: Vec::new(),
            required_extensions: Vec::new(),
        });
        &GROUP
    }

    /// Finds what `path` names: case-insensitive (RFC 7643 §2.1), with or without URN, the common attributes
    /// (`id`, `externalId`, `meta`, `schemas`) included. An extension's attribute needs the URN. `None` if the
    /// schemas have no such attribute.
    pub fn resolve<'a>(&'a self, path: &AttrPath) -> Option<Resolved<'a>> {
        let is = |schema: &Schema| path.urn.as_ref().is_none_or(|urn| urn.eq_ignore_ascii_case(&schema.id));
        let (extension, attribute) = if is(&self.schema) {
            (None, self.schema.attribute(&path.name).or_else(|| common(&path.name))?)
        } else {
            let schema = self.extensions.iter().find(|schema| is(schema))?;
            (Some(schema.id.as_str()), schema.attribute(&path.name)?)
        };
        let sub = match &path.sub {
            Some(name) => Some(attribute.sub(name)?),
            None => None,
        };
        Some(Resolved { extension, attribute, sub })
    }

    /// The schema of this type whose URN is the whole of `path`: `urn:…:enterprise:2.0:User` as the path of a PATCH
    /// operation means the object that holds the extension (RFC 7644 §3.10). See [`AttrPath`].
    pub fn schema_at(&self, path: &AttrPath) -> Option<&Schema> {
        path.urn.as_ref()?;
        self.schema_by_urn(&path.to_string())
    }

    /// The core schema or extension with that URN, in any case of letters.
    pub fn schema_by_urn(&self, urn: &str) -> Option<&Schema> {
        self.schemas().find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// The core schema, then the extensions.
    pub fn schemas(&self) -> impl Iterator<Item = &Schema> {
        std::iter::once(&self.schema).chain(&self.extensions)
    }
}

impl ResourceTypes {
    /// Those of the RFC, which most realms share.
    pub fn standard() -> Arc<Self> {
        static STANDARD: LazyLock<Arc<ResourceTypes>> = LazyLock::new(|| {
            let (user, group) = (ResourceType::user().clone(), ResourceType::group().clone());
            Arc::new(ResourceTypes { user, group, added: Vec::new() })
        });
        STANDARD.clone()
    }

    /// Those of the RFC with `added`, each of which [`Extension::admit`] has let in.
    pub fn extended(added: Vec<Extension>) -> Arc<Self> {
        if added.is_empty() {
            return Self::standard();
        }
        let mut types = Self { added, ..(*Self::standard()).clone() };
        for extension in &types.added {
            let extended = match extension.resource_type {
                Extended::User => &mut types.user,
                Extended::Group => &mut types.group,
            };
            extended.extensions.push(extension.schema.clone());
            if extension.required {
                extended.required_extensions.push(extension.schema.id.clone());
            }
        }
        Arc::new(types)
    }

    pub fn all(&self) -> [&ResourceType; 2] {
        [&self.user, &self.group]
    }

    /// The one which has that extension of its own.
    pub fn extended_by(&self, extension: &Extension) -> &ResourceType {
        match extension.resource_type {
            Extended::User => &self.user,
            Extended::Group => &self.group,
        }
    }
}

/// The attribute of that name which every resource has (RFC 7643 §3.1, and `schemas` of §3).
pub fn common(name: &str) -> Option<&'static Attribute> {
    static COMMON: LazyLock<Vec<Attribute>> = LazyLock::new(|| built_in(include_str!("schemas/common.json")));
    named(&COMMON, name)
}

fn built_in<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).expect("the file is compiled in, and the tests read each")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(kind: &ResourceType, path: &str) -> String {
        match kind.resolve(&path.parse().unwrap()) {
            None => "-".into(),
            Some(found) => {
                let sub = found.sub.map(|sub| format!(".{}", sub.name)).unwrap_or_default();
                let holder = if found.extension.is_some() { "extension " } else { "" };
                format!("{holder}{}{sub}", found.attribute.name)
            }
        }
    }

    #[test]
    fn a_path_names_an_attribute_in_any_case_with_or_without_urn() {
        let user = |path| resolved(ResourceType::user(), path);
        assert_eq!(user("USERNAME"), "userName");
        assert_eq!(user("Name.GivenName"), "name.givenName");
        assert_eq!(user("urn:ietf:params:scim:schemas:core:2.0:USER:emails.value"), "emails.value");
        assert_eq!(
            user("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"),
            "extension department"
        );
        assert_eq!(
            user("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.$ref"),
            "extension manager.$ref"
        );
        assert_eq!(user("meta.lastModified"), "meta.lastModified");
        assert_eq!(user("externalid"), "externalId");
        assert_eq!(resolved(ResourceType::group(), "members.value"), "members.value");
    }

    #[test]
    fn what_the_schemas_lack_is_not_found() {
        let user = |path| resolved(ResourceType::user(), path);
        assert_eq!(user("department"), "-");
        assert_eq!(user("userName.value"), "-");
        assert_eq!(user("urn:example:other:userName"), "-");
        assert_eq!(user("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:id"), "-");
        assert_eq!(resolved(ResourceType::group(), "userName"), "-");
    }

    #[test]
    fn a_whole_urn_is_the_path_of_its_schema() {
        let at = |path: &str| ResourceType::user().schema_at(&path.parse().unwrap()).map(|schema| schema.name.as_str());
        assert_eq!(at("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"), Some("EnterpriseUser"));
        assert_eq!(at("urn:ietf:params:scim:schemas:core:2.0:user"), Some("User"));
        assert_eq!(at("urn:ietf:params:scim:schemas:core:2.0:User:name"), None);
        assert_eq!(at("User"), None);
    }

    #[test]
    fn characteristics_are_those_of_the_rfc() {
        let user = &ResourceType::user().schema;
        let user_name = user.attribute("userName").unwrap();
        assert!(user_name.required && user_name.ignores_case() && user_name.uniqueness == Uniqueness::Server);
        let password = user.attribute("password").unwrap();
        assert_eq!((password.mutability, password.returned), (Mutability::WriteOnly, Returned::Never));
        assert_eq!(user.attribute("groups").unwrap().mutability, Mutability::ReadOnly);
        assert_eq!(user.attribute("active").unwrap().kind, Kind::Boolean);
        assert_eq!(user.attribute("x509Certificates").unwrap().sub("value").unwrap().kind, Kind::Binary);
        assert!(ResourceType::group().schema.attribute("displayName").unwrap().required);
        assert!(!common("externalId").unwrap().ignores_case());
        assert_eq!(common("meta").unwrap().sub("created").unwrap().kind, Kind::DateTime);
    }

    #[test]
    fn values_are_found_under_lists_and_extensions() {
        let document = json!({
            "emails": [{ "value": "a@x", "type": "work" }, { "type": "home" }, { "value": "" }],
            ENTERPRISE_USER_URN: { "manager": { "value": "26118915" } },
        });
        let values = |path: &str| {
            let found = ResourceType::user().resolve(&path.parse().unwrap()).unwrap();
            found.values_in(document.as_object().unwrap()).cloned().collect::<Vec<_>>()
        };
        assert_eq!(values("emails.value"), [json!("a@x")]);
        assert_eq!(values("emails").len(), 2);
        assert_eq!(values(&format!("{ENTERPRISE_USER_URN}:manager.value")), [json!("26118915")]);
        assert!(values("title").is_empty());
    }

    #[test]
    fn a_date_and_time_is_an_instant() {
        assert_eq!(instant("2011-05-13T04:42:34Z"), instant("2011-05-13T06:42:34.000+02:00"));
        assert_eq!(instant("2011-05-13T04:42:34"), instant("2011-05-13T04:42:34Z"));
        assert_eq!(instant("2011-05-13"), None);
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn a_time_out_of_reach_is_the_last_or_the_first() {
        for last in
            ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59", "9999-12-31T23:59:59+14:00", "12000-02-29T00:00:00Z"]
        {
            assert_eq!(instant(last), Some(Timestamp::MAX), "{last}");
        }
        assert_eq!(instant("-9999-01-01T00:00:00Z"), Some(Timestamp::MIN));
        for none in
            ["9999-13-31T23:59:59Z", "9999-02-29T00:00:00Z", "9999-12-31", "9999é-12-31T23:59:59Z", "-", "é9999-1"]
        {
            assert_eq!(instant(none), None, "{none}");
        }
        assert!(instant("9999-12-30T00:00:00Z") < Some(Timestamp::MAX));
    }
}
