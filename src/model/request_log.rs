//! The request log: what a realm's identity provider sent, and what became of it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Actor, RealmId};

/// One request, redacted, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub realm: RealmId,
    /// UUIDv7, made when the request ended: the order of the log.
    pub id: Uuid,
    /// When the request came in.
    pub at: Timestamp,
    pub request_id: String,
    pub method: String,
    /// The template of its route.
    pub route: String,
    /// Path and query, decoded.
    pub path: String,
    pub user_agent: Option<String>,
    /// Who it was; `None` for whom nobody let in.
    pub actor: Option<Actor>,
    /// HTTP status of the answer; 499 if the client did not wait for it.
    pub status: u16,
    pub duration_us: i64,
    /// Bytes of the body that was read; `None` if none was, as for a caller who is not let in.
    pub body_size: Option<i64>,
    /// JSON, cut where it is long; `None` where the policy keeps none, and of what is not JSON.
    pub body: Option<String>,
    pub operations: Vec<Operation>,
    pub error: Option<Refusal>,
    /// Name of the fault that is known by its signs; see `request_log::diagnosis`.
    pub diagnosis: Option<String>,
}

/// What the answer said of an error, and what it did not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// Of SCIM (RFC 7644 §3.12).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scim_type: Option<String>,
    pub detail: String,
    /// The true cause of a 401, which the client is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The token was good once, until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ended_at: Option<Timestamp>,
}

/// One operation of a request: of a PATCH, of a bulk request, or the request itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// `add`, `remove`, `replace`; of other requests, the method in lower case.
    pub op: String,
    /// What it names: an attribute path, several of them, or the path of a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    pub outcome: Outcome,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Something is other than before. NB: of several operations on members in one request it is told of all of them
    /// if any member came or went.
    Applied,
    /// Proven: all was so already.
    NoOp,
    /// The leaver guard keeps it for an operator to look at. NB: of several operations it is told of each that would
    /// change something, as the guard keeps back what they have in common.
    Held,
    /// Not done; a PATCH is refused as a whole.
    Refused,
    /// Not begun: enough of the bulk request had failed.
    Skipped,
    /// Nobody knows: the answer was lost, or the database went away.
    Unknown,
}

/// Which entries are wanted, newest first.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Older than this entry.
    pub before: Option<Uuid>,
    pub since: Option<Timestamp>,
    /// The lowest and the highest.
    pub status: Option<(u16, u16)>,
    pub method: Option<String>,
    /// How the path begins, behind the SCIM base URL.
    pub path: Option<String>,
    pub diagnosis: Option<String>,
    pub request_id: Option<String>,
    /// Text which stands in the path, the error, or the body.
    pub text: Option<String>,
    pub limit: i64,
}

/// What a realm's IdP has been seen to do, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sign {
    /// A request that was let in.
    Request,
    UserCreated,
    UserUpdated,
    /// `active` became false, or the user was deleted.
    UserLeft,
    GroupWritten,
}

impl Sign {
    pub const ALL: [Sign; 5] =
        [Sign::Request, Sign::UserCreated, Sign::UserUpdated, Sign::UserLeft, Sign::GroupWritten];

    pub const fn as_str(self) -> &'static str {
        match self {
            Sign::Request => "request",
            Sign::UserCreated => "user_created",
            Sign::UserUpdated => "user_updated",
            Sign::UserLeft => "user_left",
            Sign::GroupWritten => "group_written",
        }
    }
}
