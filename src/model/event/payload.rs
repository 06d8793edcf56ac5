//! What an event says, in WorkOS's words where WorkOS has one (M095-M100). These types are what is sent, and what the
//! JSON Schema in `deploy/events.schema.json` is made of.

use jiff::Timestamp;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Event, NAMES};
use crate::model::{Actor, RealmId, user::State};

/// An event.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    seq: i64,
    id: Uuid,
    event: &'a str,
    realm: &'a str,
    created_at: Timestamp,
    request_id: &'a str,
    actor: &'a Actor,
    data: Data<'a>,
}

/// An event as its schema describes it.
#[derive(JsonSchema)]
#[schemars(rename = "Event")]
#[expect(dead_code, reason = "it stands for `Body`, whose `data` depends on `event`")]
struct Envelope {
    /// The place in the realm's sequence: from 1, without gaps.
    seq: i64,
    /// The same wherever and however often the event is told.
    id: Uuid,
    event: String,
    /// The realm's name.
    realm: String,
    /// When the request came in which made the change.
    created_at: Timestamp,
    /// Its `X-Request-Id`, which is in the request log as well.
    request_id: String,
    /// Who sent it.
    actor: Actor,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data<'a> {
    User(User<'a>),
    Group(Group<'a>),
    Membership(Membership),
    Mapping(Mapping<'a>),
    Role(Role<'a>),
    Notice(Notice<'a>),
}

/// A user was created, updated or deleted.
#[derive(Debug, Serialize, JsonSchema)]
struct User<'a> {
    /// The realm.
    directory_id: RealmId,
    /// The user's `id` in SCIM.
    id: Uuid,
    /// The identity provider's own id, SCIM's `externalId`.
    #[schemars(with = "Option<String>")]
    idp_id: &'a Value,
    /// Counts the user's changes, from 1.
    version: i64,
    /// `shadow` until the first sign-in, then `active`; `disabled` when the identity provider says so.
    #[schemars(with = "State")]
    state: &'a Value,
    /// Is the state another than `disabled`? `raw_attributes` has what the identity provider wrote.
    active: bool,
    #[schemars(with = "Option<String>")]
    username: &'a Value,
    #[schemars(with = "Option<String>")]
    first_name: &'a Value,
    #[schemars(with = "Option<String>")]
    last_name: &'a Value,
    /// The application's own, which follows the identity provider as the realm's policy `display_name` says.
    #[schemars(with = "Option<String>")]
    display_name: &'a Value,
    #[schemars(with = "Vec<Map<String, Value>>")]
    emails: Value,
    /// Is it kept in step by the identity provider?
    #[schemars(with = "bool")]
    managed: &'a Value,
    /// What the identity provider wrote, with `id`, and `groups` as they were.
    raw_attributes: Map<String, Value>,
    /// Of an update: the former values of what changed, and of nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    previous_attributes: Option<Value>,
}

/// A group was created, updated or deleted. Its members have events of their own.
#[derive(Debug, Serialize, JsonSchema)]
struct Group<'a> {
    directory_id: RealmId,
    /// The group's `id` in SCIM.
    id: Uuid,
    /// The identity provider's own id, SCIM's `externalId`.
    #[schemars(with = "Option<String>")]
    idp_id: &'a Value,
    /// Counts the changes of the group and of its members, from 1.
    version: i64,
    #[schemars(with = "Option<String>")]
    name: &'a Value,
    /// Is it kept in step by the identity provider?
    #[schemars(with = "bool")]
    managed: &'a Value,
    /// What the identity provider wrote, with `id`.
    raw_attributes: Map<String, Value>,
    /// Of an update: the former values of what changed, and of nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    previous_attributes: Option<Value>,
}

/// A user or a group became a member of a group, or is no longer.
#[derive(Debug, Serialize, JsonSchema)]
struct Membership {
    directory_id: RealmId,
    group: Holder,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Named>,
    /// Instead of `user`, where a group is in a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    member_group: Option<Named>,
}

/// A role was mapped to a user or a group, or is no longer. Who has it by a group has no event.
#[derive(Debug, Serialize, JsonSchema)]
struct Mapping<'a> {
    directory_id: RealmId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Holder>,
    /// Instead of `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Holder>,
    role: MappedRole<'a>,
}

/// A role of the realm was created, updated or deleted. What it was mapped to loses it with it.
#[derive(Debug, Serialize, JsonSchema)]
struct Role<'a> {
    directory_id: RealmId,
    id: Uuid,
    #[schemars(with = "String")]
    name: &'a Value,
    #[schemars(with = "Option<String>")]
    description: &'a Value,
    /// Of an update: the former values of what changed, and of nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    previous_attributes: Option<Value>,
}

/// Something happened to the realm itself.
#[derive(Debug, Serialize, JsonSchema)]
struct Notice<'a> {
    directory_id: RealmId,
    /// What there is to say of it.
    #[serde(flatten)]
    told: Option<&'a Map<String, Value>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Named {
    id: Uuid,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Holder {
    id: Uuid,
    /// Of the user or the group after the change.
    version: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct MappedRole<'a> {
    id: Uuid,
    #[schemars(with = "String")]
    name: &'a Value,
}

impl<'a> Body<'a> {
    pub fn of(event: &'a Event, realm: &'a str) -> Self {
        Self {
            seq: event.seq,
            id: event.id,
            event: &event.name,
            realm,
            created_at: event.at,
            request_id: &event.request_id,
            actor: &event.actor,
            data: Data::of(event),
        }
    }
}

impl<'a> Data<'a> {
    fn of(event: &'a Event) -> Self {
        let directory_id = event.realm;
        let holder = Holder { id: event.resource_id, version: event.version };
        let member = Named { id: event.member_id.unwrap_or_default() };
        let previous_attributes = event.name.ends_with(".updated").then(|| former(event));
        match event.name.as_str() {
            "dsync.user.created" | "dsync.user.updated" | "dsync.user.deleted" => {
                Self::User(User::of(event, previous_attributes))
            }
            "dsync.group.created" | "dsync.group.updated" | "dsync.group.deleted" => {
                Self::Group(Group::of(event, previous_attributes))
            }
            "dsync.group.user_added" | "dsync.group.user_removed" => {
                let is_group = event.facts["member"] == "Group";
                let (user, member_group) = if is_group { (None, Some(member)) } else { (Some(member), None) };
                Self::Membership(Membership { directory_id, group: holder, user, member_group })
            }
            "dsync.user.role_added" | "dsync.user.role_removed" => {
                let role = MappedRole { id: member.id, name: &event.facts["role"] };
                Self::Mapping(Mapping { directory_id, user: Some(holder), group: None, role })
            }
            "dsync.group.role_added" | "dsync.group.role_removed" => {
                let role = MappedRole { id: member.id, name: &event.facts["role"] };
                Self::Mapping(Mapping { directory_id, user: None, group: Some(holder), role })
            }
            "role.created" | "role.updated" | "role.deleted" => Self::Role(Role {
                directory_id,
                id: event.resource_id,
                name: &event.facts["role"],
                description: &event.facts["description"],
                previous_attributes,
            }),
            _ => {
                let told = event.attributes.as_ref().unwrap_or(&event.facts).as_object();
                Self::Notice(Notice { directory_id, told })
            }
        }
    }
}

impl<'a> User<'a> {
    fn of(event: &'a Event, previous_attributes: Option<Value>) -> Self {
        let (document, facts) = (event.attributes.as_ref().unwrap_or(&Value::Null), &event.facts);
        let groups = facts["groups"].as_array().into_iter().flatten().map(|id| json!({ "value": id }));
        let mut raw_attributes = raw(event);
        raw_attributes.insert("groups".into(), groups.collect());
        Self {
            directory_id: event.realm,
            id: event.resource_id,
            idp_id: &document["externalId"],
            version: event.version,
            state: &facts["state"],
            active: facts["state"] != "disabled",
            username: &document["userName"],
            first_name: &document["name"]["givenName"],
            last_name: &document["name"]["familyName"],
            display_name: &facts["display_name"],
            emails: document.get("emails").cloned().unwrap_or_else(|| json!([])),
            managed: &facts["managed"],
            raw_attributes,
            previous_attributes,
        }
    }
}

impl<'a> Group<'a> {
    fn of(event: &'a Event, previous_attributes: Option<Value>) -> Self {
        let document = event.attributes.as_ref().unwrap_or(&Value::Null);
        Self {
            directory_id: event.realm,
            id: event.resource_id,
            idp_id: &document["externalId"],
            version: event.version,
            name: &document["displayName"],
            managed: &event.facts["managed"],
            raw_attributes: raw(event),
            previous_attributes,
        }
    }
}

/// What the IdP wrote, with the id that it knows.
fn raw(event: &Event) -> Map<String, Value> {
    let mut raw = Map::new();
    raw.insert("id".into(), json!(event.resource_id));
    let document = event.attributes.as_ref().and_then(Value::as_object);
    raw.extend(document.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    raw
}

fn former(event: &Event) -> Value {
    event.previous.clone().unwrap_or_else(|| json!({}))
}

/// JSON Schema (2020-12) of all events.
pub fn schema() -> Value {
    let mut schemas = SchemaSettings::draft2020_12().into_generator();
    let envelope = schemas.subschema_for::<Envelope>();
    let is_of = |kind: &'static str| move |name: &&str| kind_of(name) == kind;
    let of = |kind, data: schemars::Schema| {
        let names: Vec<&str> = NAMES.into_iter().filter(is_of(kind)).collect();
        json!({ "properties": { "event": { "enum": names }, "data": data } })
    };
    let any = [
        of("user", schemas.subschema_for::<User>()),
        of("group", schemas.subschema_for::<Group>()),
        of("membership", schemas.subschema_for::<Membership>()),
        of("mapping", schemas.subschema_for::<Mapping>()),
        of("role", schemas.subschema_for::<Role>()),
        of("notice", schemas.subschema_for::<Notice>()),
    ];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of realmgate",
        "allOf": [envelope],
        "oneOf": any,
        "required": ["data"],
        "$defs": definitions(&mut schemas),
    })
}

fn definitions(schemas: &mut SchemaGenerator) -> Value {
    Value::Object(schemas.take_definitions(true))
}

/// Which of the payloads an event of that name has.
fn kind_of(name: &str) -> &'static str {
    match name.strip_prefix("dsync.").unwrap_or(name).split_once('.') {
        _ if name.starts_with("role.") => "role",
        Some(("group", "user_added" | "user_removed")) => "membership",
        Some(("user" | "group", "role_added" | "role_removed")) => "mapping",
        Some(("user", _)) => "user",
        Some(("group", _)) => "group",
        _ => "notice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = include_str!("../../../deploy/events.schema.json");

    #[test]
    fn the_schema_in_the_repository_is_that_of_what_is_sent() {
        let made = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("REALMGATE_WRITE_SCHEMA").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/events.schema.json"), &made).unwrap();
        }
        assert!(made == KEPT, "write it anew: REALMGATE_WRITE_SCHEMA=1 cargo test --lib schema_in_the_repository");
    }

    #[test]
    fn each_name_has_one_payload() {
        let of = |kind| NAMES.into_iter().filter(|name| kind_of(name) == kind).count();
        assert_eq!(["user", "group", "membership", "mapping", "role"].map(of), [3, 3, 2, 4, 3]);
    }
}
