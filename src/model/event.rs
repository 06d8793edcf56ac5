//! What happened, as it is told to applications (DESIGN 10, M095-M100).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Actor, RealmId};

/// The kinds of events, in WorkOS's words where WorkOS has one.
pub const NAMES: [&str; 23] = [
    "dsync.activated",
    "dsync.user.created",
    "dsync.user.updated",
    "dsync.user.deleted",
    "dsync.user.role_added",
    "dsync.user.role_removed",
    "dsync.group.created",
    "dsync.group.updated",
    "dsync.group.deleted",
    "dsync.group.user_added",
    "dsync.group.user_removed",
    "dsync.group.role_added",
    "dsync.group.role_removed",
    "dsync.held",
    "dsync.released",
    "dsync.discarded",
    "dsync.token.expiring",
    "dsync.token.expired",
    "dsync.revocation.late",
    "dsync.webhook.parked",
    "role.created",
    "role.updated",
    "role.deleted",
];

/// The kinds which are meant by names, some of which may end in `*`: none of them if none is named, or why that cannot be.
pub fn names_of<'a>(wanted: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for wanted in wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) {
        let before = names.len();
        let is_meant = |name: &&'static str| match wanted.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => *name == wanted,
        };
        names.extend(NAMES.into_iter().filter(is_meant).map(str::to_owned));
        if names.len() == before {
            return Err(format!("there is no event `{wanted}`; there are {}", NAMES.join(", ")));
        }
    }
    Ok(names)
}

/// A committed change, with its place in the realm's sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub realm: RealmId,
    /// From 1, without gaps, in the order in which each resource changed.
    pub seq: i64,
    /// The same wherever and however often the event is told.
    pub id: Uuid,
    /// One of [`NAMES`].
    pub name: String,
    /// The user, group or role that changed; the realm, where it is about that.
    pub resource_id: Uuid,
    /// Of the resource after the change; 0 where nothing has versions.
    pub version: i64,
    /// Who came or went; of a mapping, the role.
    pub member_id: Option<Uuid>,
    /// The document after the change; of what was deleted, the last one.
    pub attributes: Option<Value>,
    /// Former values of what changed, and of nothing else.
    pub previous: Option<Value>,
    /// What is told beside the document: see `0019_events.sql`.
    pub facts: Value,
    pub actor: Actor,
    /// Of the request which changed it.
    pub request_id: String,
    /// When that request came in.
    pub at: Timestamp,
}

impl Event {
    /// The event as JSON: the same in the events API, in webhooks and in live feeds.
    pub fn body(&self, realm: &str) -> Value {
        json!({
            "seq": self.seq,
            "id": self.id,
            "event": self.name,
            "realm": realm,
            "created_at": self.at,
            "request_id": self.request_id,
            "actor": self.actor,
            "data": self.data(),
        })
    }

    /// Did somebody lose access by it: deactivated, or gone?
    pub fn revokes(&self) -> bool {
        match self.name.as_str() {
            "dsync.user.deleted" => self.facts["state"] != "disabled",
            "dsync.user.updated" => {
                self.facts["state"] == "disabled"
                    && self.previous.as_ref().is_some_and(|was| was["active"] != false && was.get("active").is_some())
            }
            _ => false,
        }
    }

    fn data(&self) -> Value {
        let mut data = Map::new();
        data.insert("directory_id".into(), json!(self.realm));
        let name = self.name.strip_prefix("dsync.").unwrap_or(&self.name);
        match name {
            "user.created" | "user.updated" | "user.deleted" => self.user(&mut data),
            "group.created" | "group.updated" | "group.deleted" => self.group(&mut data),
            "group.user_added" | "group.user_removed" => {
                let kind = if self.facts["member"] == "Group" { "member_group" } else { "user" };
                data.insert("group".into(), json!({ "id": self.resource_id, "version": self.version }));
                data.insert(kind.into(), json!({ "id": self.member_id }));
            }
            "user.role_added" | "user.role_removed" => self.mapping("user", &mut data),
            "group.role_added" | "group.role_removed" => self.mapping("group", &mut data),
            "role.created" | "role.updated" | "role.deleted" => {
                data.insert("id".into(), json!(self.resource_id));
                data.insert("name".into(), self.facts["role"].clone());
                data.insert("description".into(), self.facts["description"].clone());
                self.former(&mut data);
            }
            _ => {
                let told = self.attributes.as_ref().unwrap_or(&self.facts);
                data.extend(told.as_object().cloned().unwrap_or_default());
            }
        }
        Value::Object(data)
    }

    fn user(&self, data: &mut Map<String, Value>) {
        let document = self.attributes.clone().unwrap_or_default();
        let state = self.facts["state"].clone();
        let entries = [
            ("id", json!(self.resource_id)),
            ("idp_id", document["externalId"].clone()),
            ("version", json!(self.version)),
            ("state", state.clone()),
            ("active", json!(state != "disabled")),
            ("username", document["userName"].clone()),
            ("first_name", document["name"]["givenName"].clone()),
            ("last_name", document["name"]["familyName"].clone()),
            ("display_name", self.facts["display_name"].clone()),
            ("emails", document.get("emails").cloned().unwrap_or_else(|| json!([]))),
            ("managed", self.facts["managed"].clone()),
        ];
        data.extend(entries.map(|(name, value)| (name.to_owned(), value)));
        let groups = self.facts["groups"].as_array().into_iter().flatten();
        let groups: Vec<Value> = groups.map(|id| json!({ "value": id })).collect();
        data.insert("raw_attributes".into(), self.raw(document, Some(groups.into())));
        self.former(data);
    }

    fn group(&self, data: &mut Map<String, Value>) {
        let document = self.attributes.clone().unwrap_or_default();
        let entries = [
            ("id", json!(self.resource_id)),
            ("idp_id", document["externalId"].clone()),
            ("version", json!(self.version)),
            ("name", document["displayName"].clone()),
            ("managed", self.facts["managed"].clone()),
        ];
        data.extend(entries.map(|(name, value)| (name.to_owned(), value)));
        data.insert("raw_attributes".into(), self.raw(document, None));
        self.former(data);
    }

    /// What the IdP wrote, with the id that it knows.
    fn raw(&self, document: Value, groups: Option<Value>) -> Value {
        let mut raw = Map::new();
        raw.insert("id".into(), json!(self.resource_id));
        if let Value::Object(document) = document {
            raw.extend(document);
        }
        raw.extend(groups.map(|groups| ("groups".to_owned(), groups)));
        Value::Object(raw)
    }

    fn mapping(&self, holder: &str, data: &mut Map<String, Value>) {
        data.insert(holder.into(), json!({ "id": self.resource_id, "version": self.version }));
        data.insert("role".into(), json!({ "id": self.member_id, "name": self.facts["role"] }));
    }

    fn former(&self, data: &mut Map<String, Value>) {
        if self.name.ends_with(".updated") {
            let previous = self.previous.clone().unwrap_or_else(|| json!({}));
            data.insert("previous_attributes".into(), previous);
        }
    }
}

/// Where a reader stands in the events of all realms: a place in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places(pub [i64; 8]);

/// A text is no cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no cursor: take the `next` of an answer")]
pub struct InvalidPlaces;

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.map(i64::to_be_bytes).as_flattened()))
    }
}

impl FromStr for Places {
    type Err = InvalidPlaces;

    fn from_str(text: &str) -> Result<Self, InvalidPlaces> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidPlaces)?;
        let (places, []) = bytes.as_chunks::<8>() else { return Err(InvalidPlaces) };
        let places: [i64; 8] = places
            .iter()
            .map(|place| i64::from_be_bytes(*place))
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| InvalidPlaces)?;
        if places.iter().all(|place| *place >= 0) { Ok(Self(places)) } else { Err(InvalidPlaces) }
    }
}
