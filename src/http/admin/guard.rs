//! The leaver guard: what it holds, and an operator's word on it.

use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::number;
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::Result,
    },
    model::{
        Actor,
        admin::Admin,
        guard::{Departure, HeldChange},
        policy::LeaverGuard,
    },
    provision::{
        guard::{self, Resolved},
        realms,
    },
};

/// How the guard of a realm stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    /// The rule of the sync policy; `null` if the realm has no guard.
    policy: Option<LeaverGuard>,
    /// People who lost access within the window of the rule.
    departed: i64,
    /// Users who may come in, as they were counted last.
    active_users: i64,
    /// Since when departures are held; `null` while they happen at once.
    held_since: Option<Timestamp>,
    /// How many departures are held.
    held: i64,
}

/// A departure which is held.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HeldChange")]
pub(super) struct Held {
    /// Grows with each; what `after` takes.
    place: i64,
    departure: Departure,
    /// The user or group which goes, or the member who leaves.
    subject: Uuid,
    subject_name: Option<String>,
    /// The group which the member leaves.
    group: Option<Uuid>,
    group_name: Option<String>,
    actor: Actor,
    request_id: String,
    at: Timestamp,
}

/// What came of an operator's word.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outcome {
    /// Departures which were applied or discarded.
    done: usize,
    /// Departures which are still held, because they came meanwhile or there was no time: say it again.
    held: i64,
}

pub async fn status(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let status = guard::status(&edge.store, &realm, &call.cause()).await?;
    let shown = Status {
        policy: realm.policy.leaver_guard,
        departed: status.departed,
        active_users: status.active_users,
        held_since: status.held_since,
        held: status.held,
    };
    Ok(json(StatusCode::OK, &shown))
}

pub async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let (after, limit) = (number(&call, "after", 0)?, number(&call, "limit", 100)?.clamp(1, 1000));
    let held: Vec<Held> = guard::list(&edge.store, &realm, after, limit).await?.into_iter().map(Held::from).collect();
    Ok(json(StatusCode::OK, &held))
}

pub async fn apply(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let time: Duration = edge.settings.request_timeout / 2;
    let resolved = guard::apply(&edge.store, call.param("realm"), &call.cause(), Instant::now() + time).await?;
    Ok(told(resolved))
}

pub async fn discard(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    Ok(told(guard::discard(&edge.store, call.param("realm"), &call.cause()).await?))
}

fn told(Resolved { done, held }: Resolved) -> Reply {
    json(StatusCode::OK, &Outcome { done, held })
}

impl From<HeldChange> for Held {
    fn from(change: HeldChange) -> Self {
        let HeldChange { place, departure, subject, group, actor, request_id, at, subject_name, group_name } = change;
        let group = Some(group).filter(|group| !group.is_nil());
        Self { place, departure, subject, subject_name, group, group_name, actor, request_id, at }
    }
}
