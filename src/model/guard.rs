//! The leaver guard: what is held until an operator has looked at it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Actor;

/// What takes access away from somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    DeactivateUser,
    DeleteUser,
    /// A member leaves a group.
    RemoveMember,
    DeleteGroup,
}

/// A departure which an IdP has asked for, and which has not happened.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldChange {
    /// In the order in which they were asked for.
    pub place: i64,
    pub departure: Departure,
    /// The user or group which goes, or the member who leaves.
    pub subject: Uuid,
    /// The group which the member leaves, else the nil id.
    pub group: Uuid,
    pub actor: Actor,
    pub request_id: String,
    pub at: Timestamp,
    /// `userName` or `displayName` of the subject, as far as it is there.
    pub subject_name: Option<String>,
    pub group_name: Option<String>,
}

/// How the guard of a realm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardStatus {
    /// People who lost access within the window.
    pub departed: i64,
    /// Users who may come in, as they were counted last.
    pub active_users: i64,
    /// Since when departures are held.
    pub held_since: Option<Timestamp>,
    pub held: i64,
}

impl Departure {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeactivateUser => "deactivate_user",
            Self::DeleteUser => "delete_user",
            Self::RemoveMember => "remove_member",
            Self::DeleteGroup => "delete_group",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::DeactivateUser, Self::DeleteUser, Self::RemoveMember, Self::DeleteGroup];
        all.into_iter().find(|departure| departure.as_str() == text)
    }
}
