//! What was, read from events: a resource at a moment, and who changed what of it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Actor, document::Document, event::Event, user::State};
use crate::scim::{
    patch::{self, revert},
    resource::Resource,
};

/// A line of the history of a user or group.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "HistoryEntry")]
pub struct Entry {
    /// Of the event.
    pub seq: i64,
    /// When the request came in which changed it.
    pub at: Timestamp,
    /// The kind of event.
    pub event: String,
    /// Who changed it.
    pub actor: Actor,
    /// `X-Request-Id` of that request.
    pub request_id: String,
    /// Its id in the request log, if it is there.
    pub request: Option<Uuid>,
    pub changes: Vec<Change>,
}

/// A value before and after.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "AttributeChange")]
pub struct Change {
    /// An attribute; `groups` and `members` for memberships, `roles` for mappings, `state` for the first sign-in.
    pub attribute: String,
    /// `null` if there was none.
    pub from: Option<Value>,
    /// `null` if there is none.
    pub to: Option<Value>,
}

/// What is known of a resource at a moment.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// The last event of its life up to then.
    pub last: Option<Event>,
    /// The first one after that.
    pub next: Option<Event>,
    /// Where the events begin which are kept; `None` if all are.
    pub kept_since: Option<Timestamp>,
    /// When it was created, as far as that is known.
    pub created_at: Option<Timestamp>,
}

/// How a resource stood at a moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It was not there.
    Absent,
    /// It was what it is now.
    Unchanged,
    Was(Box<Then>),
    /// The events of that time are no longer kept.
    Forgotten,
}

/// A resource as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Then {
    pub document: Document,
    /// Of a user; `None` if it could come in, and it is not known whether it had signed in.
    pub state: Option<State>,
}

impl Past {
    /// How the resource stood at `at`, if it is `now` what is given.
    pub fn standing(&self, now: Option<&Document>, at: Timestamp) -> Standing {
        let is_forgotten = self.kept_since.is_some_and(|since| at < since);
        match (&self.last, &self.next, now) {
            (Some(event), ..) if event.name.ends_with(".deleted") => Standing::Absent,
            (Some(event), ..) => self.was(event, resource_of(event), event.version, state_of(event)),
            (None, None, Some(now)) if now.updated_at <= at => Standing::Unchanged,
            (None, ..) if is_forgotten => Standing::Forgotten,
            (None, Some(event), _) if event.name.ends_with(".created") => Standing::Absent,
            (None, Some(event), _) => self.was(event, before(event), event.version - 1, state_before(event)),
            (None, None, Some(now)) if now.created_at <= at => Standing::Unchanged,
            (None, None, _) => Standing::Absent,
        }
    }

    fn was(&self, event: &Event, resource: Resource, version: i64, state: Option<State>) -> Standing {
        let document = Document {
            id: event.resource_id,
            version,
            created_at: self.created_at.unwrap_or(event.at),
            updated_at: event.at,
            attributes: Value::Object(resource.0).to_string(),
            managed: event.facts["managed"] != false,
        };
        Standing::Was(Box::new(Then { document, state }))
    }
}

/// What an event changed of the resource `of`.
pub fn changes_of(event: &Event, of: Uuid) -> Vec<Change> {
    let one = |attribute: &str, comes: bool, value: Value| {
        let (from, to) = if comes { (None, Some(value)) } else { (Some(value), None) };
        vec![Change { attribute: attribute.to_owned(), from, to }]
    };
    let name = event.name.strip_prefix("dsync.").unwrap_or(&event.name);
    match name {
        "user.created" | "group.created" => changes(&Resource::default(), &resource_of(event)),
        "user.deleted" | "group.deleted" => changes(&resource_of(event), &Resource::default()),
        "user.updated" | "group.updated" if is_first_sign_in(event) => {
            let (from, to) = (Some(json!("shadow")), Some(json!("active")));
            vec![Change { attribute: "state".into(), from, to }]
        }
        "user.updated" | "group.updated" => changes(&before(event), &resource_of(event)),
        "group.user_added" | "group.user_removed" => {
            let (attribute, value) = if event.resource_id == of {
                ("members", event.member_id)
            } else {
                ("groups", Some(event.resource_id))
            };
            one(attribute, name == "group.user_added", json!(value))
        }
        "user.role_added" | "user.role_removed" | "group.role_added" | "group.role_removed" => {
            one("roles", name.ends_with("_added"), event.facts["role"].clone())
        }
        _ => Vec::new(),
    }
}

/// The document which an event tells of, without `schemas`.
pub fn resource_of(event: &Event) -> Resource {
    let mut map = event.attributes.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    map.shift_remove("schemas");
    Resource(map)
}

/// The document before an update.
pub fn before(event: &Event) -> Resource {
    let after = resource_of(event);
    if is_first_sign_in(event) { after } else { revert::reverted(&after, &previous(event)) }
}

/// The former values of what an update changed of the document.
pub fn previous(event: &Event) -> Map<String, Value> {
    if is_first_sign_in(event) {
        return Map::new();
    }
    event.previous.as_ref().and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The state is no attribute of the document, and told as one by this event alone.
fn is_first_sign_in(event: &Event) -> bool {
    event.previous == Some(json!({ "state": "shadow" })) && event.facts["state"] == "active"
}

fn state_of(event: &Event) -> Option<State> {
    let active = event.attributes.as_ref().is_none_or(|document| document["active"] != false);
    match event.facts["state"].as_str() {
        Some("shadow") => Some(State::Shadow),
        Some("active") => Some(State::Active),
        Some("disabled") => Some(State::Disabled),
        _ => (!active).then_some(State::Disabled),
    }
}

fn state_before(event: &Event) -> Option<State> {
    if is_first_sign_in(event) {
        return Some(State::Shadow);
    }
    let was_active = before(event).active();
    match state_of(event) {
        _ if was_active == Some(false) => Some(State::Disabled),
        Some(State::Disabled) if was_active.is_none() => Some(State::Disabled),
        Some(State::Disabled) => None,
        state => state,
    }
}

fn changes(before: &Resource, after: &Resource) -> Vec<Change> {
    let changes = patch::changes(before, after).into_iter();
    changes.map(|change| Change { attribute: change.path, from: change.previous, to: change.current }).collect()
}
