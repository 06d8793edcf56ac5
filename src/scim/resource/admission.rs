//! What each value must be to come in: types, limits, and the realm's policy on what no schema knows.

use std::{collections::HashSet, fmt};

use serde_json::{Map, Value};
use uuid::{Uuid, fmt::Hyphenated};

use super::{Admission, Member, MemberKind, UnknownAttributes, is_client_writable, is_password, is_primary, is_urn};
use crate::scim::{
    error::{Error, Result},
    json,
    lenient::{self, Habit},
    limits::{MAX_ATTRIBUTES, MAX_MEMBERS, MAX_VALUES},
    path::is_attribute_name,
    schema::{self, Attribute, Kind, Mutability, Schema},
};

/// Where a value stands, as error messages name it.
#[derive(Debug, Clone, Copy)]
pub(in crate::scim) struct Place<'a> {
    within: Option<(&'a Place<'a>, char)>,
    name: &'a str,
}

impl<'a> Place<'a> {
    pub(in crate::scim) const fn top(name: &'a str) -> Self {
        Self { within: None, name }
    }

    pub(in crate::scim) const fn sub(&'a self, name: &'a str) -> Self {
        Self { within: Some((self, '.')), name }
    }

    pub(in crate::scim) const fn of_extension(&'a self, name: &'a str) -> Self {
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
    pub(in crate::scim) const fn allows(self, habit: Habit) -> bool {
        self.dialect.allows(habit)
    }

    /// Admits all of an attribute. `None` means unassigned.
    pub(in crate::scim) fn value(self, attribute: &Attribute, value: Value, place: Place<'_>) -> Result<Option<Value>> {
        if !attribute.multi_valued {
            return self.element(attribute, value, place);
        }
        let values = self.values(attribute, value, place)?;
        Self::check_primary(attribute, &values)?;
        Ok((!values.is_empty()).then_some(Value::Array(values)))
    }

    /// Admits the values of a multi-valued attribute, before more than one `primary` is noticed.
    pub(in crate::scim) fn values(self, attribute: &Attribute, value: Value, place: Place<'_>) -> Result<Vec<Value>> {
        let items = match value {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            one if self.allows(Habit::BareValue) => vec![one],
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
    pub(in crate::scim) fn element(
        self,
        attribute: &Attribute,
        value: Value,
        place: Place<'_>,
    ) -> Result<Option<Value>> {
        match (attribute.kind, value) {
            (_, Value::Null) => Ok(None),
            (Kind::Complex, value) => {
                let complex = self.complex(attribute, value, place)?;
                Ok((!complex.is_empty()).then_some(Value::Object(complex)))
            }
            (kind, value) => {
                let value = lenient::simple(self.dialect, kind, value);
                check_type(kind, &value, place)?;
                Ok(Some(value))
            }
        }
    }

    fn complex(self, attribute: &Attribute, value: Value, place: Place<'_>) -> Result<Map<String, Value>> {
        let mismatch = || Error::invalid_value(format!("`{place}` must be an object"));
        let incoming = match value {
            Value::Object(object) => object,
            Value::String(text) if self.allows(Habit::ComplexAsText) => {
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
    pub(in crate::scim) fn extension(self, extension: &Schema, value: Value) -> Result<Option<Value>> {
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
    pub(super) fn unknown(
        self,
        into: &mut Map<String, Value>,
        key: &str,
        value: Value,
        place: Place<'_>,
    ) -> Result<()> {
        match self.unknown_attributes {
            _ if !(is_attribute_name(key) || is_urn(key) || self.allows(Habit::FreeName)) => {
                Err(Error::invalid_syntax(format!("`{place}` is not the name of an attribute (RFC 7643 §2.1)")))
            }
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
    pub(in crate::scim) fn may_write(self, sub: &Attribute) -> bool {
        is_client_writable(sub) || (sub.mutability == Mutability::ReadOnly && self.allows(Habit::ReadOnlySubAttribute))
    }

    /// At most one value is the primary one (RFC 7643 §2.4).
    fn check_primary(attribute: &Attribute, values: &[Value]) -> Result<()> {
        if attribute.kind == Kind::Complex && values.iter().filter(|value| is_primary(value)).nth(1).is_some() {
            return Err(Error::invalid_value(format!("More than one value of `{}` is primary", attribute.name)));
        }
        Ok(())
    }

    /// Admits a list of members; `None` for `null`. `null` in it, `$ref` and `display` are of no account.
    pub(in crate::scim) fn members(self, value: Value) -> Result<Option<Vec<Member>>> {
        let items = match value {
            Value::Null => return Ok(None),
            Value::Array(items) => items,
            one if self.allows(Habit::BareValue) => vec![one],
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
            Value::String(value) if self.allows(Habit::BareMember) && !value.trim().is_empty() => {
                return Ok(Member { value: member_value(&value), kind: None });
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
                ("type", _) if !self.allows(Habit::MemberType) => {
                    return Err("has a `type` which is neither `User` nor `Group`");
                }
                _ => {}
            }
        }
        let value = id.ok_or("has no `value`: it must be the `id` of a user or group")?;
        Ok(Member { value: member_value(&value), kind })
    }
}

/// The `value` of a member in the one form that is compared: an `id` is a UUID, so in lower case and with hyphens.
pub(in crate::scim) fn member_value(text: &str) -> String {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == Hyphenated::LENGTH);
    id.map_or_else(|| text.to_owned(), |id| id.hyphenated().to_string())
}

pub(in crate::scim) fn check_count(values: usize, place: Place<'_>) -> Result<()> {
    if values > MAX_VALUES {
        return Err(Error::invalid_value(format!("`{place}` may have at most {MAX_VALUES} values")));
    }
    Ok(())
}

pub(in crate::scim) fn check_names(object: &Map<String, Value>, place: Place<'_>) -> Result<()> {
    if object.len() > MAX_ATTRIBUTES {
        return Err(Error::invalid_value(format!("`{place}` may have at most {MAX_ATTRIBUTES} attributes")));
    }
    Ok(())
}

pub(super) fn assign(into: &mut Map<String, Value>, name: &str, value: Value, place: Place<'_>) -> Result<()> {
    if into.len() >= MAX_ATTRIBUTES {
        let detail =
            format!("`{place}` is one too many: there may be at most {MAX_ATTRIBUTES} attributes beside each other");
        return Err(Error::invalid_value(detail));
    }
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
        Kind::Decimal => (value.as_number().is_some_and(json::fits), "a number of at most 64 bits"),
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
/// password. An object of nothing means unassigned, as it does where a schema describes it.
pub(in crate::scim) fn raw(key: &str, value: Value, place: Place<'_>) -> Result<Option<Value>> {
    if is_password(key) {
        return Ok(None);
    }
    let value = raw_part(value, place)?;
    let is_empty = match &value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(parts) => parts.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if is_empty {
        return Ok(None);
    }
    if key.is_empty() || key.contains('\0') {
        return Err(Error::invalid_value(format!("`{place}` is no attribute name")));
    }
    Ok(Some(value))
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
            check_names(&object, place)?;
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
