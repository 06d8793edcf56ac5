//! What happened, as it is told to applications (DESIGN 10, M095-M100).

mod payload;

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{Actor, RealmId};

pub use payload::schema;

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

/// Those by which somebody may lose access: see [`Event::revokes`].
pub const REVOKING: [&str; 2] = ["dsync.user.updated", "dsync.user.deleted"];

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
        // Values of ours have text keys and no way to fail.
        serde_json::to_value(payload::Body::of(self, realm)).unwrap_or_default()
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
