//! A resource as it is kept (RFC 7643 §2-3): what the client wrote, admitted by its schema.
//!
//! Lives here: the door. After it, names are canonical, types are checked, and what the client may not write is gone.
//! `admission` knows what each value must be, `immutable` what may not change any more, `same` which values are one. The
//! habits of IdPs which it forgives are named in [`super::lenient`].

mod admission;
mod immutable;
mod same;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

use admission::assign;
pub(super) use admission::{Place, check_count, check_names, member_value, raw};
pub use immutable::{check_immutable, keep_immutable};
pub(super) use same::{has_all_of, same};

use super::{
    error::{Error, Result},
    lenient::{Dialect, Habit},
    limits::{MAX_ATTRIBUTES, MAX_KEY_BYTES, MAX_RESOURCE_BYTES},
    schema::{self, Attribute, GROUP_URN, Mutability, ResourceType, Returned, USER_URN},
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
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
/// `true`. `null` and the empty array mean unassigned (RFC 7643 §2.5). No more than one value of an attribute is
/// `primary` (RFC 7643 §2.4).
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
    if admission.allows(Habit::OtherSchemas) {
        check_kind(resource_type, schemas.as_ref())?;
    } else {
        check_schemas(resource_type, schemas.as_ref())?;
    }
    if top_level(resource_type, "active").is_some() && !resource.0.contains_key("active") {
        resource.0.insert("active".to_owned(), Value::Bool(true));
    }
    finish(resource_type, &resource)?;
    // Not asked after a PATCH, which must be able to disable somebody who came before the extension did.
    if let Some(urn) = resource_type.required_extensions.iter().find(|urn| !resource.0.contains_key(*urn)) {
        return Err(Error::invalid_value(format!("`{urn}` is required for a {}", resource_type.name)));
    }
    Ok(Admitted { resource, members })
}

/// Admits members of a group by their ids alone.
pub fn members(ids: Vec<String>, admission: &Admission) -> Result<Vec<Member>> {
    let values = ids.into_iter().map(|id| serde_json::json!({ "value": id })).collect();
    Ok(admission.members(Value::Array(values))?.unwrap_or_default())
}

/// The rules which hold for a resource as a whole, whichever way it came about: what is required is there, and the
/// limits are kept. [`admit`] and PATCH end with it; whoever changes a resource after them asks again.
///
/// What an extension or a complex attribute requires must be there where that is (RFC 7643 §7). Any fault is
/// `invalidValue`, with the name of the attribute.
pub fn finish(resource_type: &ResourceType, resource: &Resource) -> Result<()> {
    let whole = format!("for a {}", resource_type.name);
    check_required(&resource_type.schema.attributes, &resource.0, &whole)?;
    for extension in &resource_type.extensions {
        if let Some(Value::Object(parts)) = resource.0.get(&extension.id) {
            check_required(&extension.attributes, parts, &format!("where `{}` is sent", extension.id))?;
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
    check_keys(resource)?;
    let count = |(key, value): (&String, &Value)| match value {
        Value::Object(extension) if is_urn(key) => extension.len(),
        _ => 1,
    };
    if resource.0.iter().map(count).sum::<usize>() > MAX_ATTRIBUTES {
        return Err(Error::invalid_value(format!("A resource may have at most {MAX_ATTRIBUTES} attributes")));
    }
    check_size(size(&resource.0))?;
    Ok(())
}

/// Refuses values without what their schema requires; `whose` ends the sentence which says so.
fn check_required(attributes: &[Attribute], values: &Map<String, Value>, whose: &str) -> Result<()> {
    for attribute in attributes {
        let blank = match values.get(&attribute.name) {
            None => true,
            Some(Value::String(text)) => text.trim().is_empty(),
            Some(_) => false,
        };
        if blank && attribute.required && is_client_writable(attribute) {
            return Err(Error::invalid_value(format!(
                "`{}` is required {whose} and must not be blank",
                attribute.name
            )));
        }
        if !attribute.sub_attributes.iter().any(|sub| sub.required) {
            continue;
        }
        for parts in elements(values.get(&attribute.name)).iter().filter_map(Value::as_object) {
            check_required(&attribute.sub_attributes, parts, &format!("in each value of `{}`", attribute.name))?;
        }
    }
    Ok(())
}

/// The values of an attribute, be it multi-valued or not.
fn elements(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(elements)) => elements,
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
}

/// What feeds an index must fit into one.
fn check_keys(resource: &Resource) -> Result<()> {
    // Folding shortens no text to an eighth, so the longest need not be folded to know.
    let fits = |text: &str| text.len() <= 8 * MAX_KEY_BYTES && fold(text).len() <= MAX_KEY_BYTES;
    let named = [("userName", resource.user_name()), ("displayName", resource.display_name())];
    let named = named.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let too_long = named.chain(resource.emails().map(|email| ("emails.value", email))).find(|(_, text)| !fits(text));
    let exact = resource.external_id().filter(|id| id.len() > MAX_KEY_BYTES).map(|id| ("externalId", id));
    match too_long.or(exact) {
        Some((name, _)) => Err(Error::invalid_value(format!("`{name}` is longer than {MAX_KEY_BYTES} bytes"))),
        None => Ok(()),
    }
}

/// Refuses a resource of more than [`MAX_RESOURCE_BYTES`].
pub(super) fn check_size(bytes: usize) -> Result<()> {
    if bytes > MAX_RESOURCE_BYTES {
        return Err(Error::invalid_value(format!(
            "The resource would be larger than {} MiB",
            MAX_RESOURCE_BYTES >> 20
        )));
    }
    Ok(())
}

/// Bytes of `attributes`: of their names and texts, and of the fewest signs which JSON needs around them. So it is
/// never more than the body which brought them.
pub fn size(attributes: &Map<String, Value>) -> usize {
    attributes.iter().map(|(name, value)| name.len() + 3 + size_of(value)).sum::<usize>() + 2
}

/// See [`size`].
pub(super) fn size_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 2,
        Value::String(text) => text.len() + 3,
        Value::Array(values) => values.iter().map(size_of).sum::<usize>() + 2,
        Value::Object(parts) => size(parts),
    }
}

/// RFC 7643 §3: `schemas` names the schemas in use, the core one among them, see [`Habit::OtherSchemas`].
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

/// What even an IdP with a `schemas` of its own must not send: something else than a list, or the core schema of
/// another resource type and not that of this one.
fn check_kind(resource_type: &ResourceType, schemas: Option<&Value>) -> Result<()> {
    let core = &resource_type.schema.id;
    let urns = match schemas {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(urns)) => urns,
        Some(_) => return Err(Error::invalid_value(format!("`schemas` must be an array which contains `{core}`"))),
    };
    let names =
        |urn: &str| urns.iter().any(|given| given.as_str().is_some_and(|given| given.eq_ignore_ascii_case(urn)));
    match [USER_URN, GROUP_URN].into_iter().find(|urn| *urn != core && names(urn)) {
        Some(other) if !names(core) => {
            Err(Error::invalid_value(format!("`schemas` names `{other}`; here it is `{core}`")))
        }
        _ => Ok(()),
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

/// Is this top-level name that of an extension, so that an object under it is one of attributes?
pub(super) fn is_urn(name: &str) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
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

    /// The IdP's word on whether the user may come in; `None` if it has taken it back, which changes nothing.
    pub fn active(&self) -> Option<bool> {
        self.0.get("active").and_then(Value::as_bool)
    }

    /// The address to write to: the primary one, else the first.
    pub fn email(&self) -> Option<&str> {
        let emails = self.0.get("emails")?.as_array()?;
        let chosen = emails.iter().find(|email| is_primary(email)).or_else(|| emails.first())?;
        chosen.get("value")?.as_str()
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
