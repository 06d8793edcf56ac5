//! The request log of a realm, and the faults which it shows.

use http::{Method, StatusCode};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
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
        request_log::{Entry, Operation, Query, Refusal},
    },
    provision::{self, realms},
    request_log::{
        self,
        diagnosis::{self, Diagnosis},
    },
};

/// The parameters by which the log is read.
pub const QUERY: &[(&str, &str)] = &[
    ("limit", "How many at most: 1 to 1000, 100 if it is not said"),
    ("before", "The id of a request: only older ones"),
    ("since", "A time (RFC 3339): only what came later"),
    ("status", "A status or a class of them: `409`, `4xx`"),
    ("method", "The HTTP method"),
    ("path", "How the path begins behind the base URL: `/Users`"),
    ("diagnosis", "The name of a fault"),
    ("request_id", "The id which the answer had as `X-Request-Id`"),
    ("q", "Text in the path, in the error or in the body, as the log shows them"),
];

/// A request, as a list shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LoggedRequest {
    /// Grows with time.
    id: Uuid,
    /// When it came in.
    at: Timestamp,
    request_id: String,
    method: String,
    /// The template of the route.
    route: String,
    /// Path and query, decoded; names and addresses shortened.
    path: String,
    user_agent: Option<String>,
    /// Who it was; `null` if nobody was let in.
    actor: Option<Actor>,
    /// 499 if the client did not wait for the answer.
    status: u16,
    duration_ms: f64,
    /// Bytes; `null` if no body was read.
    body_size: Option<i64>,
    error: Option<Refusal>,
    diagnosis: Option<Diagnosis>,
}

/// All of a request.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WholeRequest {
    #[serde(flatten)]
    request: LoggedRequest,
    operations: Vec<Operation>,
    /// JSON, redacted, cut where it is long; `null` if the policy keeps none, or what was sent is not JSON.
    body: Option<String>,
}

/// What a realm's identity provider does, and what it does not.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RealmDiagnosis {
    /// The faults which show over time.
    faults: Vec<Diagnosis>,
    /// The faults of the last day's requests, the most frequent first.
    requests: Vec<FaultOfRequests>,
    /// What the identity provider has been seen to do.
    seen: Vec<Seen>,
    /// Attributes which users lack, of the latest thousand.
    lacking: Vec<Lacking>,
}

/// A fault, and how often it was met.
#[derive(Debug, Serialize, JsonSchema)]
struct FaultOfRequests {
    #[serde(flatten)]
    diagnosis: Diagnosis,
    count: i64,
    last_at: Timestamp,
}

/// Something that an identity provider does, when first and, to the quarter of an hour, when last.
#[derive(Debug, Serialize, JsonSchema)]
struct Seen {
    sign: String,
    first_at: Timestamp,
    last_at: Timestamp,
}

/// An attribute which users lack.
#[derive(Debug, Serialize, JsonSchema)]
struct Lacking {
    attribute: String,
    /// How many lack it.
    users: i64,
    /// Of how many.
    looked_at: i64,
    /// Some of them, by id.
    examples: Vec<String>,
}

pub async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let query = query(&call)?;
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let entries = request_log::list(&edge.store, &realm, &query).await?;
    let requests: Vec<LoggedRequest> = entries.into_iter().map(|entry| WholeRequest::from(entry).request).collect();
    Ok(json(StatusCode::OK, &requests))
}

pub async fn get(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let missing = || provision::Error::NotFound("there is no such request in the log, or no longer".into());
    let id = Uuid::try_parse(call.param("id")).map_err(|_| missing())?;
    let entry = request_log::find(&edge.store, &realm, id).await?.ok_or_else(missing)?;
    Ok(json(StatusCode::OK, &WholeRequest::from(entry)))
}

pub async fn diagnosis(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let (found, faults) = request_log::overview(&edge.store, &realm, call.at).await?;
    let signs = found.signs.into_iter();
    let lacking = found.lacking.into_iter();
    let requests = found.faults.into_iter().filter_map(|counted| {
        let diagnosis = diagnosis::named(&counted.diagnosis)?;
        Some(FaultOfRequests { diagnosis, count: counted.requests, last_at: counted.last_at })
    });
    let shown = RealmDiagnosis {
        faults,
        requests: requests.collect(),
        seen: signs.map(|s| Seen { sign: s.sign, first_at: s.first_at, last_at: s.last_at }).collect(),
        lacking: lacking
            .map(|l| Lacking { attribute: l.attribute, users: l.users, looked_at: l.looked_at, examples: l.examples })
            .collect(),
    };
    Ok(json(StatusCode::OK, &shown))
}

fn query(call: &Permitted<Admin>) -> Result<Query> {
    let invalid = |text: &str| Failure::Invalid(text.to_owned());
    let text = |name| call.query(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let limit = match call.query("limit").map(str::parse) {
        None => 100,
        Some(Ok(limit @ 1..=1000)) => limit,
        Some(_) => return Err(invalid("`limit` is a number from 1 to 1000")),
    };
    let before = call.query("before").map(Uuid::try_parse).transpose();
    let since = call.query("since").map(str::parse).transpose();
    let method = text("method").map(|method| Method::from_bytes(method.to_ascii_uppercase().as_bytes()));
    let diagnosis = text("diagnosis");
    if diagnosis.as_ref().is_some_and(|name| diagnosis::named(name).is_none()) {
        let names: Vec<&str> = diagnosis::FAULTS.iter().map(|(name, ..)| *name).collect();
        return Err(Failure::Invalid(format!("`diagnosis` is one of {}", names.join(", "))));
    }
    Ok(Query {
        before: before.map_err(|_| invalid("`before` is the id of a request in the log"))?,
        since: since.map_err(|_| invalid("`since` is a time such as `2026-01-31T12:00:00Z`"))?,
        status: call
            .query("status")
            .map(|status| statuses(status).ok_or_else(|| invalid("`status` is `409` or `4xx`")))
            .transpose()?,
        method: method.transpose().map_err(|_| invalid("`method` is an HTTP method"))?.map(|method| method.to_string()),
        path: text("path"),
        diagnosis,
        request_id: text("request_id"),
        text: text("q"),
        limit,
    })
}

/// `409` or `4xx` as the lowest and the highest status.
fn statuses(text: &str) -> Option<(u16, u16)> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    let status = text.parse().ok().filter(|status| (100..=599).contains(status))?;
    Some((status, status))
}

impl From<Entry> for WholeRequest {
    fn from(entry: Entry) -> Self {
        let diagnosis = entry.diagnosis.as_deref().and_then(|name| diagnosis::told(name, entry.error.as_ref()));
        // Milliseconds, to the microsecond; a request takes no years.
        #[expect(clippy::cast_precision_loss, reason = "a request takes less than 2^53 µs")]
        let duration_ms = entry.duration_us as f64 / 1e3;
        let request = LoggedRequest {
            id: entry.id,
            at: entry.at,
            request_id: entry.request_id,
            method: entry.method,
            route: entry.route,
            path: entry.path,
            user_agent: entry.user_agent,
            actor: entry.actor,
            status: entry.status,
            duration_ms,
            body_size: entry.body_size,
            error: entry.error,
            diagnosis,
        };
        Self { request, operations: entry.operations, body: entry.body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_or_a_class_of_them() {
        assert_eq!(statuses("4xx"), Some((400, 499)));
        assert_eq!(statuses("409"), Some((409, 409)));
        for wrong in ["", "xx", "6xx", "40x", "99", "x"] {
            assert_eq!(statuses(wrong), None, "{wrong}");
        }
    }
}
