//! The audit log: what operators changed.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::Actor;

/// What was done: a word such as `scim.rotate`, and to what, if not to the realm as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Action<'a> {
    pub word: &'static str,
    pub target: &'a str,
}

/// A line of the log.
#[derive(Debug)]
pub struct Entry {
    pub id: Uuid,
    /// The realm's name; `None` if it has been deleted.
    pub realm: Option<String>,
    pub actor: Actor,
    /// The operator's name today.
    pub username: Option<String>,
    pub request_id: String,
    pub action: String,
    pub target: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub at: Timestamp,
}

/// Which part of the log to read, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Only what is older than this entry.
    pub before: Option<Uuid>,
    /// How the words of the actions begin.
    pub actions: &'a str,
    pub limit: i64,
}

impl Action<'_> {
    /// Something done to the realm as a whole.
    pub const fn on_realm(word: &'static str) -> Action<'static> {
        Action { word, target: "" }
    }
}
