//! The audit log: every administrative change, newest first.

use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::{Failure, Result},
    },
    model::{
        Actor,
        admin::Admin,
        audit::{Entry, Window},
    },
    provision::{audit, realms},
};

/// The parameters by which the log is read.
pub const QUERY: &[(&str, &str)] = &[
    ("limit", "How many entries at most: 1 to 1000, 100 if it is not said"),
    ("before", "The id of an entry: only older ones"),
    ("action", "How the action begins, such as `scim.`"),
];

/// An administrative change.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuditEntry {
    /// Grows with time.
    id: Uuid,
    at: Timestamp,
    /// `null` if the realm has been deleted.
    realm: Option<String>,
    actor: Actor,
    /// The operator's name, if there is such an operator still.
    username: Option<String>,
    request_id: String,
    /// A word such as `scim.rotate`.
    action: String,
    /// What it was done to, if not to the realm as a whole.
    target: String,
    /// What was different before; secrets are never shown.
    before: Option<Value>,
    after: Option<Value>,
}

pub async fn of_realm(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(shown(audit::list(&edge.store, Some(realm.id), window(&call)?).await?))
}

pub async fn of_all(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    Ok(shown(audit::list(&edge.store, None, window(&call)?).await?))
}

fn window(call: &Permitted<Admin>) -> Result<Window<'_>> {
    let limit = match call.query("limit").map(str::parse) {
        None => 100,
        Some(Ok(limit @ 1..=1000)) => limit,
        Some(_) => return Err(Failure::Invalid("`limit` is a number from 1 to 1000".into())),
    };
    let before = call.query("before").map(Uuid::try_parse).transpose();
    let before = before.map_err(|_| Failure::Invalid("`before` is the id of an entry".into()))?;
    Ok(Window { before, actions: call.query("action").unwrap_or_default(), limit })
}

fn shown(entries: Vec<Entry>) -> Reply {
    let entries: Vec<AuditEntry> = entries.into_iter().map(AuditEntry::from).collect();
    json(StatusCode::OK, &entries)
}

impl From<Entry> for AuditEntry {
    fn from(entry: Entry) -> Self {
        let Entry { id, realm, actor, username, request_id, action, target, before, after, at } = entry;
        Self { id, at, realm, actor, username, request_id, action, target, before, after }
    }
}
