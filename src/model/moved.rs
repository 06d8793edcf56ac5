//! A realm on its way from one place to another: lines of JSON, each of them one thing that the realm holds.
//!
//! Settings come first (`schema`, `policy`, `domain`, `alias`, `token`), then roles, users, groups, and members whom the
//! line of their group could not hold. Import and export have this one form. Incomplete support: what operators keep of
//! their own beside the IdP (local users and groups) does not move, nor do tombstones, events and clients.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{policy::InitialState, token::Format};
use crate::scim::extension::Extended;

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Line {
    /// The head of an export.
    Export {
        version: u32,
        realm: String,
        at: Timestamp,
        /// The realm's last event before any of it was read: whoever follows the realm from there on misses nothing.
        #[serde(default)]
        seq: Option<i64>,
    },
    /// An extension schema (RFC 7643 §7).
    Schema {
        resource_type: Extended,
        required: bool,
        definition: Value,
    },
    /// Keys of the sync policy; the others stay.
    Policy {
        policy: Map<String, Value>,
    },
    /// A custom domain.
    Domain {
        domain: String,
    },
    /// A path which leads to the realm.
    Alias {
        path: String,
    },
    Token(TokenLine),
    /// A realm role.
    Role {
        name: String,
        description: Option<String>,
    },
    User(UserLine),
    Group(GroupLine),
    /// Members who come to a group, beside those whom it has.
    Members {
        group: String,
        members: Vec<String>,
    },
    /// In a dry run: users, groups and roles that are there by then, since they stand further up in the file.
    Assumed {
        users: Vec<Uuid>,
        groups: Vec<Uuid>,
        roles: Vec<String>,
    },
    /// The end of an export, with what stands before it; one without this line is cut off.
    End(Held),
}

/// A token, known by its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLine {
    pub hash: String,
    pub format: Format,
    #[serde(default)]
    pub prefix: String,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A user. `created`, `state`, `active` and `display_name` matter only when the user is new to the realm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserLine {
    /// A UUID of any version, which stays what it is.
    pub id: String,
    /// As an IdP would POST it.
    pub resource: Value,
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// Has the first sign-in happened? As the policy says, if it is not said.
    #[serde(default)]
    pub state: Option<InitialState>,
    /// May the user come in, where the resource does not say?
    #[serde(default)]
    pub active: Option<bool>,
    /// The application's own display name, where it is not that of the resource; the empty text for none.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Names of roles which are mapped to the user beside those that it has.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupLine {
    /// A UUID of any version, which stays what it is.
    pub id: String,
    /// As an IdP would POST it, without members.
    pub resource: Value,
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// Ids of users and groups: these and no others. The members stay as they are if it is not said.
    #[serde(default)]
    pub members: Option<Vec<String>>,
    /// Names of roles which are mapped to the group beside those that it has.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// How many of each an export holds, and up to where it has to be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    pub settings: u64,
    pub roles: u64,
    pub users: u64,
    pub groups: u64,
    /// Memberships.
    pub members: u64,
    /// The realm's last event of what was committed before all was read: from there on a copy is exact.
    #[serde(default)]
    pub until: Option<i64>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Created,
    Updated,
    /// What it says was so already.
    Unchanged,
    Refused,
}

/// What became of a line, and why.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LineReport {
    /// Its number, from 1.
    pub line: usize,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What the line is about: an id, a domain, a path.
    pub id: String,
    pub outcome: Outcome,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How many lines ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Counts {
    pub created: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub refused: usize,
}

impl Line {
    /// The word of its `type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Export { .. } => "export",
            Self::Schema { .. } => "schema",
            Self::Policy { .. } => "policy",
            Self::Domain { .. } => "domain",
            Self::Alias { .. } => "alias",
            Self::Token(_) => "token",
            Self::Role { .. } => "role",
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Members { .. } => "members",
            Self::Assumed { .. } => "assumed",
            Self::End(_) => "end",
        }
    }

    /// What it is about, as far as it can be shown.
    pub fn subject(&self) -> &str {
        match self {
            Self::Schema { definition, .. } => definition["id"].as_str().unwrap_or_default(),
            Self::Domain { domain } => domain,
            Self::Alias { path } => path,
            Self::Role { name, .. } => name,
            Self::Token(token) => token.label.as_deref().unwrap_or(&token.prefix),
            Self::User(user) => &user.id,
            Self::Group(group) => &group.id,
            Self::Members { group, .. } => group,
            Self::Export { .. } | Self::Policy { .. } | Self::Assumed { .. } | Self::End(_) => "",
        }
    }

    /// Does it say something of the realm as a whole?
    pub const fn is_setting(&self) -> bool {
        matches!(
            self,
            Self::Schema { .. } | Self::Policy { .. } | Self::Domain { .. } | Self::Alias { .. } | Self::Token(_)
        )
    }
}

impl Counts {
    pub fn of(reports: &[LineReport]) -> Self {
        let mut counts = Self::default();
        for report in reports {
            *match report.outcome {
                Outcome::Created => &mut counts.created,
                Outcome::Updated => &mut counts.updated,
                Outcome::Unchanged => &mut counts.unchanged,
                Outcome::Refused => &mut counts.refused,
            } += 1;
        }
        counts
    }
}
