//! Time to revoke: from the identity provider's request which takes access from a user to the word of an application that
//! it knows (DESIGN 14).

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::UserId;

/// How soon applications learnt who has lost access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "TimeToRevoke")]
pub struct Report {
    /// Revocations which were asked for since then.
    pub since: Timestamp,
    pub count: i64,
    /// Of these, the ones which nobody has acknowledged.
    pub open: i64,
    pub oldest_open: Option<Revocation>,
    /// Of these, the ones which were not acknowledged within the policy's `revoke_within`.
    pub late: i64,
    /// Milliseconds from request to acknowledgement: of the middle one, of all but the slowest twentieth, of the slowest.
    pub p50_ms: Option<i64>,
    pub p95_ms: Option<i64>,
    pub max_ms: Option<i64>,
    /// Who was the first to acknowledge, and how often.
    pub acknowledged_by: Vec<Acknowledger>,
    /// The slowest ten which were acknowledged.
    pub slowest: Vec<Revocation>,
}

/// A reader of events: `events_api`, or `webhook:` and its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Acknowledger {
    pub name: String,
    pub count: i64,
}

/// Somebody was deactivated or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Revocation {
    /// Of the event which tells of it.
    pub seq: i64,
    pub user_id: UserId,
    /// When the request came in.
    pub requested_at: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    /// From one to the other.
    pub ms: Option<i64>,
}
