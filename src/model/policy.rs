//! The sync policy: what a realm makes of what its IdP sends.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::scim::{lenient::Dialect, resource::UnknownAttributes};

/// A realm's rules. Every key has a default, so an empty object is a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub unknown_attributes: UnknownAttributes,
    pub display_name: DisplayName,
    pub initial_state: InitialState,
    pub on_delete: OnDelete,
    pub group_names: GroupNames,
    /// When the IdP changes the work e-mail of a user whose `userName` was that e-mail, `userName` follows (M064).
    pub user_name_follows_email: bool,
    pub unknown_members: UnknownMembers,
    pub leaver_guard: Option<LeaverGuard>,
    pub dialect: Dialect,
    /// `null` is what the configuration says.
    pub rate_limit: Option<RateLimit>,
    pub request_log: RequestLog,
    /// How long the request log goes back.
    pub request_log_keep: Kept,
    /// How long events can be read.
    pub events_keep: EventsKept,
    /// How soon an application has to acknowledge that somebody has lost access, before `dsync.revocation.late` is told.
    pub revoke_within: Option<Span>,
}

/// How many requests a realm may send, over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub requests_per_second: NonZeroU32,
    /// Requests which may come at once, after a while without any.
    pub burst: NonZeroU32,
}

impl RateLimit {
    /// `None` if either is zero.
    pub fn new(requests_per_second: u32, burst: u32) -> Option<Self> {
        NonZeroU32::new(requests_per_second)
            .zip(NonZeroU32::new(burst))
            .map(|(requests_per_second, burst)| Self { requests_per_second, burst })
    }

    /// A fifth of it, but not nothing.
    #[must_use]
    pub fn fifth(self) -> Self {
        let fifth = |n: NonZeroU32| NonZeroU32::new(n.get().div_ceil(5)).unwrap_or(n);
        Self { requests_per_second: fifth(self.requests_per_second), burst: fifth(self.burst) }
    }
}

/// How many people may lose access in a window before what would take it from further ones is held for an operator:
/// deactivations, deletions, removals from groups. A wrong setting at the IdP then locks nobody out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "LeaverGuardWritten", into = "LeaverGuardWritten")]
#[schemars(with = "LeaverGuardWritten")]
pub struct LeaverGuard {
    limits: Limits,
    pub window: Span,
}

/// Over which number, over which percentage of those who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limits {
    Count(u32),
    Percent(u8),
    Either(u32, u8),
}

/// The guard as it is written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LeaverGuardWritten {
    /// People who may lose access in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    /// Percentage of the users who may come in, from 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    /// Such as `1h`.
    window: Span,
}

impl LeaverGuard {
    /// Do `people` who lost access out of `users` who may come in need an operator's look?
    pub fn is_exceeded(&self, people: i64, users: i64) -> bool {
        let by_count = |count: u32| people > i64::from(count);
        // A realm which is just beginning is no case for percentages: one of three is a third.
        let by_percent = |percent: u8| people > FEW && people * 100 > users * i64::from(percent);
        match self.limits {
            Limits::Count(count) => by_count(count),
            Limits::Percent(percent) => by_percent(percent),
            Limits::Either(count, percent) => by_count(count) || by_percent(percent),
        }
    }
}

/// So many people are never a percentage.
const FEW: i64 = 5;

impl TryFrom<LeaverGuardWritten> for LeaverGuard {
    type Error = &'static str;

    fn try_from(written: LeaverGuardWritten) -> Result<Self, Self::Error> {
        let limits = match (written.count, written.percent) {
            (_, Some(percent)) if !(1..=100).contains(&percent) => return Err("`percent` is from 1 to 100"),
            (Some(count), Some(percent)) => Limits::Either(count, percent),
            (Some(count), None) => Limits::Count(count),
            (None, Some(percent)) => Limits::Percent(percent),
            (None, None) => return Err("say `count`, `percent` or both"),
        };
        Ok(Self { limits, window: written.window })
    }
}

impl From<LeaverGuard> for LeaverGuardWritten {
    fn from(guard: LeaverGuard) -> Self {
        let (count, percent) = match guard.limits {
            Limits::Count(count) => (Some(count), None),
            Limits::Percent(percent) => (None, Some(percent)),
            Limits::Either(count, percent) => (Some(count), Some(percent)),
        };
        Self { count, percent, window: guard.window }
    }
}

/// Whose the application's display name is after creation (M065, X3). SCIM always answers what the IdP sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DisplayName {
    /// Set at creation, then the user's own.
    #[default]
    Once,
    /// Follows the IdP.
    Always,
}

/// State of a user whom the IdP just created (M057).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitialState {
    #[default]
    Shadow,
    Active,
}

/// What DELETE leaves behind (M053, X6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// 404 afterwards, the userName is free again, the last state is kept.
    #[default]
    Tombstone,
    /// Nothing is kept.
    Purge,
}

/// May two groups of a realm share a `displayName`? (M082)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupNames {
    /// The second one is 409 `uniqueness`, compared without regard to case.
    #[default]
    Unique,
    Any,
}

/// What becomes of a member whom the realm does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownMembers {
    /// 400, the answer names it, nothing is applied.
    #[default]
    Reject,
    /// Kept aside until the user arrives under that `id` or `externalId`, who then joins the group. The `externalId` of
    /// a user who is there is as good as the `id`, if no other user has the same. Who is kept aside when the policy goes
    /// back to `reject` stays so: no user joins under `reject`.
    Pending,
}

/// What the request log keeps of what the IdP sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestLog {
    /// Each request with its body, redacted.
    #[default]
    Full,
    /// Each request without its body; of a PATCH, which attributes its operations name.
    Bare,
    Off,
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Kept(pub Span);

impl Default for Kept {
    /// Two weeks: a fault is often told of days after it began.
    fn default() -> Self {
        Self(Span::days(14))
    }
}

/// How long events are kept: a consumer which was away for less misses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EventsKept(pub Span);

impl Default for EventsKept {
    fn default() -> Self {
        Self(Span::days(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(text: &str) -> Result<LeaverGuard, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_leaver_guard_has_a_limit_and_a_window() {
        let exceeded = |text: &str, people, users| guard(text).unwrap().is_exceeded(people, users);
        let (count, percent) = (r#"{"count":10,"window":"1h"}"#, r#"{"percent":20,"window":"1h"}"#);
        let either = r#"{"count":10,"percent":20,"window":"1h"}"#;
        assert!(!exceeded(count, 10, 20) && exceeded(count, 11, 1_000_000));
        assert!(!exceeded(percent, 20, 100) && exceeded(percent, 21, 100));
        assert!(!exceeded(percent, 5, 6) && exceeded(percent, 6, 6), "a few are never too many");
        assert!(exceeded(either, 11, 1000) && exceeded(either, 7, 30) && !exceeded(either, 7, 100));
        for text in [count, percent, either] {
            assert_eq!(serde_json::to_string(&guard(text).unwrap()).unwrap(), text);
        }
        for wrong in [
            r#"{"window":"1h"}"#,
            r#"{"count":1}"#,
            r#"{"percent":0,"window":"1h"}"#,
            r#"{"percent":101,"window":"1h"}"#,
            r#"{"count":-1,"window":"1h"}"#,
            r#"{"count":1,"window":"1h","share":0.1}"#,
        ] {
            assert!(guard(wrong).is_err(), "{wrong}");
        }
    }
}
