//! Users and groups in Keycloak's words, and the SCIM resources which they are kept as, so that one form of document
//! exists whoever made it.
//!
//! | Keycloak | SCIM |
//! |---|---|
//! | `username` | `userName` |
//! | `email` | the primary value of `emails`, of type `work` |
//! | `firstName`, `lastName` | `name.givenName`, `name.familyName` |
//! | `enabled` | `active` |
//! | a group's `name` | `displayName` |
//! | `attributes.x` | `x`, where that is a simple attribute of the schema (`title`, `locale`, `externalId`); else kept under its name, as a list of texts |
//!
//! Shown beside these are the simple attributes of extensions, each by its whole path (`urn:…:User:department`).

use serde_json::{Map, Value, json};

use super::user::State;
use crate::scim::{
    resource::{Resource, fold},
    schema::{self, Kind, Mutability, ResourceType},
};

/// What an operator writes of a user; what is `None` stays as it is, the empty text takes away.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserProfile {
    pub user_name: Option<String>,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub enabled: Option<bool>,
    /// All of them: what is not named is gone.
    pub attributes: Option<Map<String, Value>>,
}

/// What an operator writes of a group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GroupProfile {
    pub name: Option<String>,
    /// All of them: what is not named is gone.
    pub attributes: Option<Map<String, Value>>,
}

/// Why attributes cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAttribute {
    #[error("attributes: `{0}` is a text or a list of texts")]
    NotText(String),
    #[error("attributes: `{0}` takes one value")]
    OneValue(String),
    #[error("attributes: `{0}` is a name which SCIM uses for something else; choose another")]
    Reserved(String),
}

/// Attributes which say what we know, and which nobody writes.
const OURS: [&str; 3] = ["state", "scimUserName", "scimConnection"];

/// What has a field of its own in the representation.
const FIELDS: [&str; 3] = ["schemas", "userName", "active"];

impl UserProfile {
    /// Writes it into a user.
    pub fn write(&self, resource_type: &ResourceType, user: &mut Resource) -> Result<(), InvalidAttribute> {
        if let Some(attributes) = &self.attributes {
            write_attributes(resource_type, attributes, user)?;
        }
        if let Some(user_name) = &self.user_name {
            user.set("userName", user_name.trim());
        }
        match self.email.as_deref().map(str::trim) {
            None => {}
            Some("") => drop(user.0.shift_remove("emails")),
            Some(email) if user.email() == Some(email) => {}
            Some(email) => user.set("emails", json!([{ "value": email, "type": "work", "primary": true }])),
        }
        let mut name = user.0.shift_remove("name").and_then(|name| name.as_object().cloned()).unwrap_or_default();
        for (part, written) in [("givenName", &self.first_name), ("familyName", &self.last_name)] {
            match written.as_deref() {
                None => {}
                Some("") => drop(name.shift_remove(part)),
                Some(text) => drop(name.insert(part.to_owned(), text.into())),
            }
        }
        if !name.is_empty() {
            user.set("name", name);
        }
        if let Some(enabled) = self.enabled {
            user.set("active", enabled);
        }
        Ok(())
    }
}

impl GroupProfile {
    /// Writes it into a group.
    pub fn write(&self, resource_type: &ResourceType, group: &mut Resource) -> Result<(), InvalidAttribute> {
        if let Some(attributes) = &self.attributes {
            write_attributes(resource_type, attributes, group)?;
        }
        if let Some(name) = &self.name {
            group.set("displayName", name.trim());
        }
        Ok(())
    }
}

/// Replaces the attributes which [`attributes_of`] shows.
fn write_attributes(
    resource_type: &ResourceType,
    attributes: &Map<String, Value>,
    resource: &mut Resource,
) -> Result<(), InvalidAttribute> {
    let shown = attributes_of(resource);
    resource.0.retain(|name, _| !shown.contains_key(name) || is_field(resource_type, name));
    for (name, value) in attributes.iter().filter(|(name, _)| !OURS.contains(&name.as_str())) {
        let texts = match value {
            Value::Null => continue,
            Value::String(text) => vec![text.as_str()],
            Value::Array(values) => {
                let texts = values.iter().map(Value::as_str).collect::<Option<_>>();
                texts.ok_or_else(|| InvalidAttribute::NotText(name.clone()))?
            }
            _ => return Err(InvalidAttribute::NotText(name.clone())),
        };
        let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        let known = resource_type.schema.attribute(name).or_else(|| schema::common(name));
        match (known, texts.as_slice()) {
            _ if name.contains(':') || is_field(resource_type, name) => {
                return Err(InvalidAttribute::Reserved(name.clone()));
            }
            (Some(known), _)
                if known.multi_valued
                    || matches!(known.mutability, Mutability::ReadOnly | Mutability::WriteOnly)
                    || !matches!(known.kind, Kind::String | Kind::Reference) =>
            {
                return Err(InvalidAttribute::Reserved(name.clone()));
            }
            (_, []) => {}
            (Some(known), [text]) => resource.set(&known.name, *text),
            (Some(_), _) => return Err(InvalidAttribute::OneValue(name.clone())),
            (None, texts) => resource.set(name, texts.to_vec()),
        }
    }
    Ok(())
}

/// The simple attributes of a resource, as Keycloak shows attributes: each a list of texts.
pub fn attributes_of(resource: &Resource) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, value) in resource.0.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())) {
        match value {
            Value::Object(parts) if name.starts_with("urn:") => {
                let parts = parts.iter().filter_map(|(part, value)| Some((format!("{name}:{part}"), texts(value)?)));
                shown.extend(parts);
            }
            value => shown.extend(texts(value).map(|texts| (name.clone(), texts))),
        }
    }
    shown
}

/// The attributes of a user, with what SCIM knows of it and Keycloak has no field for.
pub fn attributes_of_user(user: &Resource, state: State) -> Map<String, Value> {
    let mut shown = attributes_of(user);
    shown.insert("state".to_owned(), json!([state.as_str()]));
    if let Some(name) = user.user_name() {
        shown.insert("scimUserName".to_owned(), json!([name]));
    }
    shown
}

/// A user's name in Keycloak, which knows lower case alone.
pub fn username(user: &Resource) -> String {
    fold(user.user_name().unwrap_or_default())
}

/// A part of `name`.
pub fn name_part<'a>(user: &'a Resource, part: &str) -> Option<&'a str> {
    user.0.get("name")?.get(part)?.as_str()
}

/// A group's path: all are at the top, and a slash in a name is escaped as Keycloak does.
pub fn path_of(group_name: &str) -> String {
    format!("/{}", group_name.replace('/', "~/"))
}

/// The name of the group at a path, with or without its first slash; `None` if no group of ours can be there.
pub fn name_at(path: &str) -> Option<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let name = path.replace("~/", "\0");
    (!name.contains('/')).then(|| name.replace('\0', "/"))
}

/// Is it shown by a field of its own? A group's name is, a user's `displayName` is not.
fn is_field(resource_type: &ResourceType, name: &str) -> bool {
    FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
        || resource_type.name == "Group" && name.eq_ignore_ascii_case("displayName")
}

fn texts(value: &Value) -> Option<Value> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(Value::from(text.as_str())),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(values) => values.iter().map(text).collect::<Option<Vec<_>>>().map(Value::from),
        one => text(one).map(|text| vec![text].into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(before: &Value, profile: &UserProfile) -> Value {
        let mut user = Resource(before.as_object().unwrap().clone());
        profile.write(ResourceType::user(), &mut user).map_or_else(|e| e.to_string().into(), |()| user.0.into())
    }

    fn with_attributes(attributes: &Value) -> UserProfile {
        UserProfile { attributes: attributes.as_object().cloned(), ..UserProfile::default() }
    }

    #[test]
    fn a_profile_is_kept_as_a_scim_user() {
        let profile = UserProfile {
            user_name: Some("Ada".into()),
            email: Some("ada@example.com".into()),
            first_name: Some("Ada".into()),
            last_name: Some(String::new()),
            enabled: Some(false),
            attributes: json!({ "title": ["Countess"], "team": ["a", "b"], "state": ["x"], "none": [] })
                .as_object()
                .cloned(),
        };
        let expected = json!({
            "title": "Countess", "team": ["a", "b"], "userName": "Ada",
            "emails": [{ "value": "ada@example.com", "type": "work", "primary": true }],
            "name": { "givenName": "Ada" }, "active": false,
        });
        assert_eq!(written(&json!({}), &profile), expected);
        assert_eq!(written(&expected, &UserProfile::default()), expected, "silence changes nothing");
    }

    #[test]
    fn attributes_are_replaced_as_a_whole() {
        let before = json!({ "userName": "ada", "title": "x", "team": ["a"], "emails": [{ "value": "a@b.c" }] });
        let after = written(&before, &with_attributes(&json!({ "locale": "en" })));
        assert_eq!(after, json!({ "userName": "ada", "emails": [{ "value": "a@b.c" }], "locale": "en" }));
    }

    #[test]
    fn what_scim_uses_for_something_else_is_no_attribute() {
        for name in ["emails", "userName", "Active", "groups", "password", "id", "meta", "schemas", "urn:x:y"] {
            let refused = written(&json!({}), &with_attributes(&json!({ name: ["x"] })));
            assert!(refused.as_str().unwrap_or_default().contains(name), "{refused}");
        }
        let two = written(&json!({}), &with_attributes(&json!({ "title": ["a", "b"] })));
        assert_eq!(two, "attributes: `title` takes one value");
        assert!(written(&json!({}), &with_attributes(&json!({ "n": [1] }))).as_str().unwrap().contains("texts"));
    }

    #[test]
    fn a_user_shows_its_simple_attributes() {
        let user = json!({
            "userName": "Ada", "active": true, "title": "Countess", "emails": [{ "value": "a@b.c" }], "level": 3,
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Engines", "manager": { "value": "7" } },
        });
        let shown = attributes_of_user(&Resource(user.as_object().unwrap().clone()), State::Shadow);
        assert_eq!(
            Value::from(shown),
            json!({
                "title": ["Countess"], "level": ["3"],
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": ["Engines"],
                "state": ["shadow"], "scimUserName": ["Ada"],
            })
        );
    }

    #[test]
    fn a_path_leads_to_the_group_of_its_name() {
        for name in ["eng", "a/b", "a b", "x~y"] {
            assert_eq!(name_at(&path_of(name)).as_deref(), Some(name));
        }
        assert_eq!(path_of("a/b"), "/a~/b");
        assert_eq!((name_at("eng/inner"), name_at("eng")), (None, Some("eng".into())));
    }
}
