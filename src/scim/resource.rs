//! A resource as it is kept (RFC 7643 §2-3): what the client wrote, admitted by its schema.
//!
//! Lives here: the door. After it, names are canonical, types are checked, and what the client may not write is gone.
//! The habits of IdPs which it forgives are named in [`super::lenient`].

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

use super::{
    error::{Error, Result},
    lenient::{self, Dialect},
    limits::{MAX_ATTRIBUTES, MAX_MEMBERS, MAX_VALUES},
    schema::{self, Attribute, GROUP_URN, Kind, Mutability, ResourceType, Returned, Schema},
};

/// Characters of a `userName`.
pub const MAX_USER_NAME: usize = 1_024;

/// A resource's attributes under their canonical names, without what the service provider owns (`id`, `meta`,
/// `schemas`, and read-only ones such as a user's `groups`). Extension attributes stand in an object under the
/// extension's URN. A group's `members` are never in here: membership is rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource(pub Map<String, Value>);

/// What a realm lets in: the part of its policy which the protocol has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Admission {
    pub unknown_attributes: UnknownAttributes,
    pub dialect: Dialect,
}

/// What becomes of an attribute that no schema knows (M045, M066, X2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownAttributes {
    /// Stored and answered as it came.
    #[default]
    Keep,
    /// Dropped.
    Ignore,
    /// 400, and the answer names it.
    Reject,
}

/// What came through the door.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    pub resource: Resource,
    /// A group's members, each once, in the order sent. `None` if the client did not speak of them (absent or
    /// `null`); whether that empties a group on PUT is for the verb to say. Always `None` for other resource types.
    pub members: Option<Vec<Member>>,
}

/// A member of a group, as a client names it. `display` and `$ref` are ours to answer, so they are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `id` of a user or a group.
    pub value: String,
    pub kind: Option<MemberKind>,
}

/// `type` of a member (RFC 7643 §8.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    User,
    Group,
}

/// Admits the body of a POST or PUT.
///
/// Dropped: `id`, `meta` and other read-only attributes (RFC 7644 §3.3), and any password. A missing `active` is
/// `true`. `null` and the empty array mean unassigned (RFC 7643 §2.5). If more than one value of an attribute is
/// `primary`, the strict dialect refuses (RFC 7643 §2.4), the lenient one lets the first of them be it.
pub fn admit(resource_type: &ResourceType, incoming: Value, admission: &Admission) -> Result<Admitted> {
    let Value::Object(incoming) = incoming else {
        return Err(Error::invalid_syntax("The body must be a JSON object"));
    };
    let mut resource = Resource::default();
    let mut members = None;
    let mut schemas = None;
    for (key, value) in incoming {
        if let Some(extension) = resource_type.extensions.iter().find(|e| e.id.eq_ignore_ascii_case(&key)) {
            if let Some(value) = admission.extension(extension, value)? {
                assign(&mut resource.0, &extension.id, value, Place::top(&key))?;
            }
        } else if key.eq_ignore_ascii_case("schemas") {
            schemas = Some(value);
        } else if let Some(attribute) = top_level(resource_type, &key) {
            if is_members(resource_type, attribute) {
                members = admission.members(value)?;
            } else if is_client_writable(attribute)
                && let Some(value) = admission.value(attribute, value, Place::top(&attribute.name))?
            {
                assign(&mut resource.0, &attribute.name, value, Place::top(&key))?;
            }
        } else {
            admission.unknown(&mut resource.0, &key, value, Place::top(&key))?;
        }
    }
    if admission.dialect == Dialect::Strict {
        check_schemas(resource_type, schemas.as_ref())?;
    }
    finish(resource_type, &mut resource)?;
    Ok(Admitted { resource, members })
}

/// The rules which hold for a resource as a whole, whichever way it came about.
pub(super) fn finish(resource_type: &ResourceType, resource: &mut Resource) -> Result<()> {
    for attribute in resource_type.schema.attributes.iter().filter(|a| a.required && is_client_writable(a)) {
        let blank = match resource.0.get(&attribute.name) {
            None => true,
            Some(Value::String(text)) => text.trim().is_empty(),
            Some(_) => false,
        };
        if blank {
            return Err(Error::invalid_value(format!(
                "`{}` is required for a {} and must not be blank",
                attribute.name, resource_type.name
            )));
        }
    }
    if let Some(user_name) = resource.user_name() {
        if user_name.chars().count() > MAX_USER_NAME {
            return Err(Error::invalid_value(format!("`userName` is longer than {MAX_USER_NAME} characters")));
        }
        if user_name.chars().any(char::is_control) {
            return Err(Error::invalid_value("`userName` contains a control character"));
        }
    }
    let size = |(key, value): (&String, &Value)| match value {
        Value::Object(extension) if is_urn(key) => extension.len(),
        _ => 1,
    };
    if resource.0.iter().map(size).sum::<usize>() > MAX_ATTRIBUTES {
        return Err(Error::invalid_value(format!("A resource may have at most {MAX_ATTRIBUTES} attributes")));
    }
    if top_level(resource_type, "active").is_some() && !resource.0.contains_key("active") {
        resource.0.insert("active".to_owned(), Value::Bool(true));
    }
    Ok(())
}

/// RFC 7643 §3: `schemas` names the schemas in use, the core one among them. IdPs leave it out, or add URNs of their
/// own, so only the strict dialect asks.
fn check_schemas(resource_type: &ResourceType, schemas: Option<&Value>) -> Result<()> {
    let core = &resource_type.schema.id;
    let known = |urn: &str| {
        urn.eq_ignore_ascii_case(core) || resource_type.extensions.iter().any(|e| e.id.eq_ignore_ascii_case(urn))
    };
    let Some(urns) = schemas.and_then(Value::as_array) else {
        return Err(Error::invalid_value(format!("`schemas` must be an array which contains `{core}`")));
    };
    if let Some(stranger) = urns.iter().find(|urn| !urn.as_str().is_some_and(known)) {
        return Err(Error::invalid_value(format!(
            "`schemas` names {stranger}, which {} does not have",
            resource_type.name
        )));
    }
    if !urns.iter().any(|urn| urn.as_str().is_some_and(|urn| urn.eq_ignore_ascii_case(core))) {
        return Err(Error::invalid_value(format!("`schemas` must contain `{core}`")));
    }
    Ok(())
}

/// Where a value stands, as error messages name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    within: Option<(&'a Place<'a>, char)>,
    name: &'a str,
}

impl<'a> Place<'a> {
    pub(super) const fn top(name: &'a str) -> Self {
        Self { within: None, name }
    }

    pub(super) const fn sub(&'a self, name: &'a str) -> Self {
        Self { within: Some((self, '.')), name }
    }

    pub(super) const fn of_extension(&'a self, name: &'a str) -> Self {
        Self { within: Some((self, ':')), name }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((outer, separator)) = self.within {
            write!(f, "{outer}{separator}")?;
        }
        f.write_str(self.name)
    }
}

impl Admission {
    pub(super) const fn is_lenient(self) -> bool {
        matches!(self.dialect, Dialect::Lenient)
    }

    /// Admits all of an attribute. `None` means unassigned.
    pub(super) fn value(self, attribute: &Attribute, value: Value, place: Place<'_>) -> Result<Option<Value>> {
        if !attribute.multi_valued {
            return self.element(attribute, value, place);
        }
        let mut values = self.values(attribute, value, place)?;
        self.settle_primary(attribute, &mut values)?;
        Ok((!values.is_empty()).then_some(Value::Array(values)))
    }

    /// Admits the values of a multi-valued attribute, before more than one `primary` is noticed.
    pub(super) fn values(self, attribute: &Attribute, value: Value, place: Place<'_>) -> Result<Vec<Value>> {
        let items = match value {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            // Entra ID sends the single value of a single-valued mapping without its array.
            one if self.is_lenient() => vec![one],
            _ => return Err(Error::invalid_value(format!("`{place}` must be an array"))),
        };
        check_count(items.len(), place)?;
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.extend(self.element(attribute, item, place)?);
        }
        Ok(values)
    }

    /// Admits one value of an attribute, be it multi-valued or not.
    pub(super) fn element(self, attribute: &Attribute, value: Value, place: Place<'_>) -> Result<Option<Value>> {
        match (attribute.kind, value) {
            (_, Value::Null) => Ok(None),
            (Kind::Complex, value) => {
                let complex = self.complex(attribute, value, place)?;
                Ok((!complex.is_empty()).then_some(Value::Object(complex)))
            }
            (kind, value) => {
                let value = if self.is_lenient() { lenient::simple(kind, value) } else { value };
                check_type(kind, &value, place)?;
                Ok(Some(value))
            }
        }
    }

    fn complex(self, attribute: &Attribute, value: Value, place: Place<'_>) -> Result<Map<String, Value>> {
        let mismatch = || Error::invalid_value(format!("`{place}` must be an object"));
        let incoming = match value {
            Value::Object(object) => object,
            Value::String(text) if self.is_lenient() => {
                lenient::complex_from_text(attribute, text).ok_or_else(mismatch)?
            }
            _ => return Err(mismatch()),
        };
        let mut complex = Map::new();
        for (key, value) in incoming {
            match attribute.sub(&key) {
                Some(sub) if !self.may_write(sub) => {}
                Some(sub) => {
                    if let Some(value) = self.value(sub, value, place.sub(&sub.name))? {
                        assign(&mut complex, &sub.name, value, place.sub(&key))?;
                    }
                }
                None => self.unknown(&mut complex, &key, value, place.sub(&key))?,
            }
        }
        Ok(complex)
    }

    /// Admits the object under an extension's URN.
    fn extension(self, extension: &Schema, value: Value) -> Result<Option<Value>> {
        let place = Place::top(&extension.id);
        let incoming = match value {
            Value::Null => return Ok(None),
            Value::Object(object) => object,
            _ => return Err(Error::invalid_value(format!("`{place}` must be an object"))),
        };
        let mut attributes = Map::new();
        for (key, value) in incoming {
            match extension.attribute(&key) {
                Some(attribute) if !is_client_writable(attribute) => {}
                Some(attribute) => {
                    if let Some(value) = self.value(attribute, value, place.of_extension(&attribute.name))? {
                        assign(&mut attributes, &attribute.name, value, place.of_extension(&key))?;
                    }
                }
                None => self.unknown(&mut attributes, &key, value, place.of_extension(&key))?,
            }
        }
        Ok((!attributes.is_empty()).then_some(Value::Object(attributes)))
    }

    /// Deals with an attribute that no schema knows, as the realm's policy wants it.
    fn unknown(self, into: &mut Map<String, Value>, key: &str, value: Value, place: Place<'_>) -> Result<()> {
        match self.unknown_attributes {
            UnknownAttributes::Ignore => Ok(()),
            UnknownAttributes::Reject => Err(Error::invalid_value(format!(
                "`{place}` is in no schema of this service; remove it from the attribute mapping"
            ))),
            UnknownAttributes::Keep => match raw(key, value, place)? {
                Some(value) => assign(into, key, value, place),
                None => Ok(()),
            },
        }
    }

    /// May the client write this sub-attribute?
    ///
    /// NB: the lenient dialect lets it write read-only ones, because Okta and Entra ID map the name of a manager onto
    /// `manager.displayName` and repeat the change for ever if it does not stay.
    pub(super) fn may_write(self, sub: &Attribute) -> bool {
        is_client_writable(sub) || (self.is_lenient() && sub.mutability == Mutability::ReadOnly)
    }

    /// Sees to it that at most one value is the primary one (RFC 7643 §2.4); the first of several wins.
    fn settle_primary(self, attribute: &Attribute, values: &mut [Value]) -> Result<()> {
        if attribute.kind != Kind::Complex {
            return Ok(());
        }
        let mut primaries = values.iter_mut().filter(|value| is_primary(value)).skip(1).peekable();
        if primaries.peek().is_some() && !self.is_lenient() {
            return Err(Error::invalid_value(format!("More than one value of `{}` is primary", attribute.name)));
        }
        primaries.for_each(|value| value["primary"] = Value::Bool(false));
        Ok(())
    }

    /// Admits a list of members; `None` for `null`. `null` in it, `$ref` and `display` are of no account.
    pub(super) fn members(self, value: Value) -> Result<Option<Vec<Member>>> {
        let items = match value {
            Value::Null => return Ok(None),
            Value::Array(items) => items,
            one if self.is_lenient() => vec![one],
            _ => return Err(Error::invalid_value("`members` must be an array")),
        };
        if items.len() > MAX_MEMBERS {
            return Err(Error::invalid_value(format!("One request may name at most {MAX_MEMBERS} `members`")));
        }
        let mut seen = HashSet::with_capacity(items.len());
        let mut members = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let member = self.member(item).map_err(|why| Error::invalid_value(format!("`members[{at}]` {why}")))?;
            if seen.insert(member.value.clone()) {
                members.push(member);
            }
        }
        Ok(Some(members))
    }

    fn member(self, item: Value) -> Result<Member, &'static str> {
        let object = match item {
            Value::Object(object) => object,
            Value::String(value) if self.is_lenient() && !value.trim().is_empty() => {
                return Ok(Member { value, kind: None });
            }
            _ => return Err("must be an object with the `id` of a user or group as `value`"),
        };
        let (mut id, mut kind) = (None, None);
        for (key, value) in object {
            match (key.to_ascii_lowercase().as_str(), value) {
                ("value", Value::String(value)) if !value.trim().is_empty() => id = Some(value),
                ("type", Value::String(word)) if word.eq_ignore_ascii_case("User") => kind = Some(MemberKind::User),
                ("type", Value::String(word)) if word.eq_ignore_ascii_case("Group") => kind = Some(MemberKind::Group),
                ("type", Value::Null) => {}
                ("type", _) if !self.is_lenient() => return Err("has a `type` which is neither `User` nor `Group`"),
                _ => {}
            }
        }
        let value = id.ok_or("has no `value`: it must be the `id` of a user or group")?;
        Ok(Member { value, kind })
    }
}

/// The attribute of that name in the core schema, or among those which every resource has.
fn top_level<'a>(resource_type: &'a ResourceType, name: &str) -> Option<&'a Attribute> {
    resource_type.schema.attribute(name).or_else(|| schema::common(name))
}

/// Is this the attribute which is kept as rows?
pub(super) fn is_members(resource_type: &ResourceType, attribute: &Attribute) -> bool {
    resource_type.schema.id == GROUP_URN && attribute.name == "members"
}

pub(super) fn is_password(name: &str) -> bool {
    name.eq_ignore_ascii_case("password")
}

/// Is what the client writes here kept? Not read-only attributes, nor what is never shown again: a password.
pub(super) fn is_client_writable(attribute: &Attribute) -> bool {
    attribute.mutability != Mutability::ReadOnly
        && attribute.returned != Returned::Never
        && !is_password(&attribute.name)
}

pub(super) fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

pub(super) fn check_count(values: usize, place: Place<'_>) -> Result<()> {
    if values > MAX_VALUES {
        return Err(Error::invalid_value(format!("`{place}` may have at most {MAX_VALUES} values")));
    }
    Ok(())
}

/// Is this top-level name that of an extension, so that an object under it is one of attributes?
pub(super) fn is_urn(name: &str) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
}

fn assign(into: &mut Map<String, Value>, name: &str, value: Value, place: Place<'_>) -> Result<()> {
    if into.keys().any(|key| key.eq_ignore_ascii_case(name)) {
        return Err(Error::invalid_syntax(format!("`{place}` is given twice; attribute names ignore case")));
    }
    into.insert(name.to_owned(), value);
    Ok(())
}

/// RFC 7643 §2.3.
fn check_type(kind: Kind, value: &Value, place: Place<'_>) -> Result<()> {
    let (fits, expected) = match kind {
        Kind::String => (value.as_str().is_some_and(|text| !text.contains('\0')), "a string without NUL"),
        Kind::Reference => (value.as_str().is_some_and(|text| !text.contains('\0')), "a URI in a string"),
        Kind::Boolean => (value.is_boolean(), "true or false"),
        Kind::Integer => (value.is_i64() || value.is_u64(), "a whole number"),
        Kind::Decimal => (value.is_number(), "a number"),
        Kind::DateTime => (value.as_str().and_then(schema::instant).is_some(), "a time such as `2011-05-13T04:42:34Z`"),
        Kind::Binary => (value.as_str().is_some_and(is_base64), "base64"),
        Kind::Complex => (value.is_object(), "an object"),
    };
    if fits { Ok(()) } else { Err(Error::invalid_value(format!("`{place}` must be {expected}"))) }
}

/// Base64 of either alphabet (RFC 4648 §4, §5); RFC 7643 §2.3.6 lets the padding be left out.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len() - digits.len() <= 2
        && digits.len() % 4 != 1
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_'))
}

/// A value that no schema describes, within the limits that hold for all; `None` if it means unassigned, or is a
/// password.
pub(super) fn raw(key: &str, value: Value, place: Place<'_>) -> Result<Option<Value>> {
    if is_password(key) || value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    if key.is_empty() || key.contains('\0') {
        return Err(Error::invalid_value(format!("`{place}` is no attribute name")));
    }
    raw_part(value, place).map(Some)
}

fn raw_part(value: Value, place: Place<'_>) -> Result<Value> {
    match value {
        Value::String(text) if text.contains('\0') => {
            Err(Error::invalid_value(format!("`{place}` must not contain NUL")))
        }
        Value::Array(items) => {
            check_count(items.len(), place)?;
            items.into_iter().map(|item| raw_part(item, place)).collect()
        }
        Value::Object(object) => {
            if object.len() > MAX_ATTRIBUTES {
                return Err(Error::invalid_value(format!("`{place}` may have at most {MAX_ATTRIBUTES} attributes")));
            }
            let mut kept = Map::with_capacity(object.len());
            for (key, value) in object {
                if key.contains('\0') {
                    return Err(Error::invalid_value(format!("`{place}` must not contain NUL")));
                }
                if !is_password(&key) {
                    let value = raw_part(value, place.sub(&key))?;
                    kept.insert(key, value);
                }
            }
            Ok(Value::Object(kept))
        }
        simple => Ok(simple),
    }
}

impl Resource {
    /// `userName` (RFC 7643 §4.1.1), in the case in which it was sent.
    pub fn user_name(&self) -> Option<&str> {
        self.text("userName")
    }

    pub fn external_id(&self) -> Option<&str> {
        self.text("externalId")
    }

    pub fn display_name(&self) -> Option<&str> {
        self.text("displayName")
    }

    /// The IdP's word; `true` if it has not spoken.
    pub fn active(&self) -> bool {
        self.0.get("active").and_then(Value::as_bool).unwrap_or(true)
    }

    /// `emails.value`, as sent.
    pub fn emails(&self) -> impl Iterator<Item = &str> {
        let emails = self.0.get("emails").and_then(Value::as_array);
        emails.into_iter().flatten().filter_map(|email| email.get("value")?.as_str())
    }

    /// Assigns a top-level attribute by its canonical name. The value is taken as it is: it must fit the schema.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

/// The form in which text that is not `caseExact` is compared: NFKC, full case folding, NFC. One function feeds the
/// index keys, the filters and the checks, so that they cannot disagree.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    caseless::default_case_fold_str(&text.nfkc().collect::<String>()).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_people_take_for_the_same_folds_to_the_same() {
        assert_eq!(fold("Bjensen@Example.COM"), "bjensen@example.com");
        assert_eq!(fold("STRASSE"), fold("straße"));
        assert_eq!(fold("Ame\u{301}lie"), fold("AMÉLIE"));
        assert_eq!(fold("ﬁrst"), "first");
    }
}
