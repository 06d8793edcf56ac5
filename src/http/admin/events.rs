//! Events: of a realm by its sequence, and of all realms for the operator of the platform.

use std::time::Duration;

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{live, query::flag};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::{Failure, Result},
        route::{Route, admin, route},
    },
    model::{
        admin::{Admin, Need::Everything, Right::ViewEvents},
        event::{self, Places},
    },
    provision::realms,
};

/// Events of an answer, at most, and if nothing is said.
const MOST: usize = 1_000;
const DEFAULT: usize = 100;
/// A reader waits no longer than this for something to happen; less if requests may take less.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

const QUERY: &[(&str, &str)] = &[
    ("after", "The `seq` of the last event that is known; all that are kept, if it is not said"),
    ("limit", "How many at most: 1 to 1000, 100 if it is not said"),
    ("types", "Names of events, separated by commas; `dsync.user.*` is all that begin so"),
    ("wait", "Seconds to wait for an event if there is none, at most 25"),
];

const QUERY_OF_ALL: &[(&str, &str)] = &[
    (
        "after",
        "The `next` of the answer before; `latest` for what is yet to come; all that are kept, if it is not said",
    ),
    ("limit", "How many at most: 1 to 1000, 100 if it is not said"),
    ("types", "Names of events, separated by commas; `dsync.user.*` is all that begin so"),
    ("wait", "Seconds to wait for an event if there is none, at most 25"),
    ("acknowledge", "`true` says that what is before `after` has been taken in"),
];

/// Events of a realm.
#[derive(Debug, Serialize, JsonSchema)]
struct EventsOfRealm {
    /// In order. Their form is told by the JSON Schemas of the project.
    events: Vec<Value>,
    /// What to ask for as `after` next time. To ask for it says that what is before has been taken in.
    next: i64,
    /// The realm's last event.
    head: i64,
    /// The oldest event that is kept.
    oldest: i64,
}

/// Events of all realms.
#[derive(Debug, Serialize, JsonSchema)]
struct EventsOfAll {
    /// Of each realm in order.
    events: Vec<Value>,
    /// What to ask for as `after` next time.
    next: String,
}

pub fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/realms/{realm}/events", admin(ViewEvents, of_realm))
            .says(
                "What happened in the realm, in order and without gaps; 410 if what is asked for is no longer kept. \
                 With `Accept: text/event-stream`, a live feed of server-sent events behind `Last-Event-ID`",
            )
            .query(QUERY)
            .answers::<EventsOfRealm>(200),
        route(Method::GET, "/admin/events", admin(Everything, of_all))
            .says("What happened in all realms, of each in order; whoever was away for longer than a realm keeps its events sees a gap in its `seq`")
            .query(QUERY_OF_ALL)
            .answers::<EventsOfAll>(200),
    ]
}

async fn of_realm(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    if live::is_wanted(&call) {
        let names = names(&call)?;
        return live::open(edge, call, names).await;
    }
    let (limit, names, wait) = (limit(&call)?, names(&call)?, wait(&edge, &call)?);
    let after = cursor(&call)?;
    let (mut from, mut end) = (after.unwrap_or(0), Instant::now() + wait);
    loop {
        let realm = realms::get(&edge.store, call.param("realm")).await?;
        let head = edge.feed.head(realm.id);
        let stretch = edge.feed.after(&realm, from, limit, &names).await?;
        check(after, stretch.head, stretch.oldest)?;
        // Who does not want to hear of revocations acknowledges none.
        let hears = names.is_empty() || event::REVOKING.iter().all(|name| names.iter().any(|wanted| wanted == name));
        if let (Some(after), true, true) = (after, stretch.unacknowledged, hears) {
            edge.feed.acknowledge(realm.id, after, call.at);
        }
        if stretch.events.is_empty() && Instant::now() < end {
            if stretch.scanned >= stretch.head {
                tokio::select! {
                    () = edge.feed.beyond(head, stretch.head, end) => {}
                    () = edge.draining() => end = Instant::now(),
                }
            }
            from = stretch.scanned;
            continue;
        }
        let events = stretch.events.iter().map(|event| event.body(realm.name.as_str())).collect();
        let (next, head, oldest) = (stretch.scanned, stretch.head, stretch.oldest);
        return Ok(json(StatusCode::OK, &EventsOfRealm { events, next, head, oldest }));
    }
}

async fn of_all(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (limit, names, wait) = (limit(&call)?, names(&call)?, wait(&edge, &call)?);
    let mut places = match call.query("after").filter(|after| !after.is_empty()) {
        None => Places::default(),
        Some("latest") => edge.feed.places().await?,
        Some(after) => after.parse().map_err(|e: event::InvalidPlaces| Failure::Invalid(format!("`after`: {e}")))?,
    };
    if flag(&call, "acknowledge")?.unwrap_or(false) {
        edge.feed.acknowledge_places(places, call.at);
    }
    let mut end = Instant::now() + wait;
    loop {
        let moved = edge.feed.moved();
        let (found, next) = edge.feed.after_places(places, limit).await?;
        let is_end = found.is_empty();
        let wanted = found.iter().filter(|(_, event)| names.is_empty() || names.contains(&event.name));
        let events: Vec<Value> = wanted.map(|(realm, event)| event.body(realm)).collect();
        // What nobody asked for is passed over.
        places = next;
        if events.is_empty() && Instant::now() < end {
            if is_end {
                tokio::select! {
                    () = edge.feed.any(moved, end) => {}
                    () = edge.draining() => end = Instant::now(),
                }
            }
            continue;
        }
        return Ok(json(StatusCode::OK, &EventsOfAll { events, next: places.to_string() }));
    }
}

/// Can what stands behind `after` be told without a gap?
pub(super) fn check(after: Option<i64>, head: i64, oldest: i64) -> Result<()> {
    match after {
        Some(after) if after > head => Err(Failure::Invalid(format!("`after`: the realm's last event is {head}"))),
        Some(after) if after + 1 < oldest => Err(Failure::Forgotten { oldest }),
        _ => Ok(()),
    }
}

/// `after`, if it is said.
pub(super) fn cursor(call: &Permitted<Admin>) -> Result<Option<i64>> {
    match call.query("after").filter(|after| !after.is_empty()).map(str::parse) {
        None => Ok(None),
        Some(Ok(after @ 0..)) => Ok(Some(after)),
        Some(_) => Err(Failure::Invalid("`after` is the `seq` of an event, or 0".into())),
    }
}

/// The names which `types` means; none if all are wanted.
pub(super) fn names(call: &Permitted<Admin>) -> Result<Vec<String>> {
    event::names_of(call.query("types").unwrap_or_default().split(',')).map_err(Failure::Invalid)
}

fn limit(call: &Permitted<Admin>) -> Result<usize> {
    match call.query("limit").map(str::parse) {
        None => Ok(DEFAULT),
        Some(Ok(limit @ 1..=MOST)) => Ok(limit),
        Some(_) => Err(Failure::Invalid(format!("`limit` is a number from 1 to {MOST}"))),
    }
}

fn wait(edge: &Edge, call: &Permitted<Admin>) -> Result<Duration> {
    let longest = LONGEST_WAIT.min(edge.settings.request_timeout / 2);
    match call.query("wait").filter(|wait| !wait.is_empty()).map(str::parse) {
        None => Ok(Duration::ZERO),
        Some(Ok(seconds)) => Ok(Duration::from_secs(seconds).min(longest)),
        Some(Err(_)) => Err(Failure::Invalid("`wait` is a number of seconds".into())),
    }
}
