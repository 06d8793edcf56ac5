//! Logs, and every metric of the program: name, labels, meaning.
//!
//! To add a metric, give it a line in [`METRICS`] and a function that records it, so that call sites read as what
//! happened. NB: no label may hold what a client can invent; ten thousand realms must not make ten thousand series.

use std::{
    fmt::Debug,
    io,
    sync::OnceLock,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// How often [`PrometheusHandle::run_upkeep`] has to run, lest the histograms grow.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds in seconds, from a cached answer to the request timeout.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// Upper bounds in seconds for what depends on applications, from at once to a day.
const LONG_SECONDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3_600.0, 14_400.0, 86_400.0];

const REQUESTS: &str = "realmgate_http_requests_total";
const REQUEST_DURATION: &str = "realmgate_http_request_duration_seconds";
const CONNECTIONS: &str = "realmgate_connections";
const PANICS: &str = "realmgate_panics_total";
const TOKEN_LOOKUPS: &str = "realmgate_token_cache_lookups_total";
const AUTHENTICATIONS: &str = "realmgate_authentications_total";
const POOL_CONNECTIONS: &str = "realmgate_store_pool_connections";
const POOL_WAIT: &str = "realmgate_store_pool_wait_seconds";
const STORE_ERRORS: &str = "realmgate_store_errors_total";
const TOKENS_EXPIRING: &str = "realmgate_realms_token_expiring";
const DEPARTURES_HELD: &str = "realmgate_departures_held_total";
const KEY_FETCHES: &str = "realmgate_key_fetches_total";
const REDIS_CONNECTED: &str = "realmgate_redis_connected";
const QUOTA_ASKS: &str = "realmgate_quota_asks_total";
const RATE_LIMITED: &str = "realmgate_rate_limited_total";
const LOG_DROPPED: &str = "realmgate_request_log_dropped_total";
const EVENTS: &str = "realmgate_events_total";
const OUTBOX_ROWS: &str = "realmgate_outbox_rows";
const OUTBOX_AGE: &str = "realmgate_outbox_age_seconds";
const LIVE_FEEDS: &str = "realmgate_live_feeds";
const TIME_TO_REVOKE: &str = "realmgate_time_to_revoke_seconds";
const REVOCATIONS_LATE: &str = "realmgate_revocations_late_total";
const SIGN_INS: &str = "realmgate_sign_ins_total";
const LOGIN_LOCKS: &str = "realmgate_login_locks_total";
const WEBHOOK_ATTEMPTS: &str = "realmgate_webhook_attempts_total";
const WEBHOOK_IN_FLIGHT: &str = "realmgate_webhook_attempts_in_flight";
const WEBHOOK_LATENCY: &str = "realmgate_webhook_latency_seconds";
const WEBHOOKS_PARKED: &str = "realmgate_webhooks_parked";
const BUILD_INFO: &str = "realmgate_build_info";

const METRICS: &[(Kind, &str, Unit, &str)] = &[
    (Kind::Counter, REQUESTS, Unit::Count, "Requests answered, by method, route template, status and outcome."),
    (Kind::Histogram, REQUEST_DURATION, Unit::Seconds, "From the headers of a request to those of its answer."),
    (Kind::Gauge, CONNECTIONS, Unit::Count, "Open connections, by listener."),
    (Kind::Counter, PANICS, Unit::Count, "Requests that ended in a panic: each one is a defect of realmgate."),
    (Kind::Counter, TOKEN_LOOKUPS, Unit::Count, "Looks into the cache of SCIM tokens, by result."),
    (Kind::Counter, AUTHENTICATIONS, Unit::Count, "Verdicts on callers, by outcome; callers are told 401 for most."),
    (Kind::Gauge, POOL_CONNECTIONS, Unit::Count, "Connections to Postgres, by state."),
    (Kind::Histogram, POOL_WAIT, Unit::Seconds, "How long requests waited for a connection to Postgres."),
    (Kind::Counter, STORE_ERRORS, Unit::Count, "Failures of the store, by kind."),
    (Kind::Gauge, TOKENS_EXPIRING, Unit::Count, "Realms whose last SCIM token ends within so many days; 0: has ended."),
    (Kind::Counter, DEPARTURES_HELD, Unit::Count, "Departures held by the leaver guards of realms."),
    (Kind::Counter, KEY_FETCHES, Unit::Count, "Public keys of other issuers asked for at their servers, by outcome."),
    (Kind::Gauge, REDIS_CONNECTED, Unit::Count, "1 if this node hears the others through Redis, 0 if it counts alone."),
    (
        Kind::Counter,
        QUOTA_ASKS,
        Unit::Count,
        "Questions to Redis for a share of a realm's budget; an unanswered one leaves the node to count alone for a second.",
    ),
    (Kind::Counter, RATE_LIMITED, Unit::Count, "Requests beyond their realm's limit, by lane and outcome."),
    (Kind::Counter, LOG_DROPPED, Unit::Count, "Entries missing in the request log, by reason."),
    (Kind::Counter, EVENTS, Unit::Count, "Changes which this node gave their place in a realm's sequence of events."),
    (Kind::Gauge, OUTBOX_ROWS, Unit::Count, "Changes which wait for their place, as of the last look, each second."),
    (Kind::Gauge, OUTBOX_AGE, Unit::Seconds, "How long the oldest of them has waited, 0 if none does."),
    (Kind::Gauge, LIVE_FEEDS, Unit::Count, "Open streams of server-sent events."),
    (
        Kind::Histogram,
        TIME_TO_REVOKE,
        Unit::Seconds,
        "From a request which takes access from a user to the first acknowledgement of an application.",
    ),
    (
        Kind::Counter,
        REVOCATIONS_LATE,
        Unit::Count,
        "Revocations not acknowledged within the bound of their realm's policy.",
    ),
    (Kind::Counter, SIGN_INS, Unit::Count, "Sign-ins which applications asked about, by outcome."),
    (
        Kind::Counter,
        LOGIN_LOCKS,
        Unit::Count,
        "Times that failed sign-ins of operators were enough for a wait, by whose.",
    ),
    (Kind::Counter, WEBHOOK_ATTEMPTS, Unit::Count, "Events sent to webhooks, each attempt, by outcome."),
    (Kind::Gauge, WEBHOOK_IN_FLIGHT, Unit::Count, "Webhooks whose answer this node waits for."),
    (
        Kind::Histogram,
        WEBHOOK_LATENCY,
        Unit::Seconds,
        "From the request which changed something to the 2xx of a webhook.",
    ),
    (
        Kind::Gauge,
        WEBHOOKS_PARKED,
        Unit::Count,
        "Webhooks of all realms which get nothing until an operator resumes them.",
    ),
    (Kind::Gauge, BUILD_INFO, Unit::Count, "Always 1; the label tells the version."),
];

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! label {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    )*};
}

label! {
    /// How a request ended; finer than its status.
    Outcome {
        /// Below 400.
        Served = "served",
        /// The caller's mistake: 4xx.
        Refused = "refused",
        /// Ours: 5xx.
        Failed = "failed",
        /// 503 because too much was going on.
        Shed = "shed",
        /// 503 because it took too long.
        TimedOut = "timed_out",
        Panicked = "panicked",
        /// The client went away before the answer.
        Abandoned = "abandoned",
    }

    /// What the cache of SCIM tokens knew.
    Lookup {
        Hit = "hit",
        Miss = "miss",
        /// Known to be wrong.
        Unknown = "unknown",
    }

    /// The true reason why a caller was let in or not.
    Authentication {
        Accepted = "accepted",
        NoToken = "no_token",
        /// Not of our form, or its checksum is wrong.
        MalformedToken = "malformed_token",
        WrongToken = "wrong_token",
        ExpiredToken = "expired_token",
        UnknownRealm = "unknown_realm",
        RealmDisabled = "realm_disabled",
        ScimDisabled = "scim_disabled",
        WrongPassword = "wrong_password",
        /// No verdict, because the store was away.
        Unavailable = "unavailable",
    }

    /// The budget of a realm which a request drew on.
    Lane {
        Normal = "normal",
        /// For requests which take access away.
        Reserved = "reserved",
    }

    /// Who has to wait after failed sign-ins.
    Locked {
        Operator = "operator",
        Address = "address",
    }

    /// Why an entry is not in the request log.
    Dropped {
        /// More came than could be written.
        Full = "full",
        /// A realm had too many requests by strangers.
        Flood = "flood",
        /// A realm read more than is written of that.
        Spared = "spared",
        /// The database refused it, or was away when the node stopped.
        Lost = "lost",
    }

    /// What became of a sign-in.
    SignInOutcome {
        Accepted = "accepted",
        /// Accepted, and a shadow user is active from now on.
        First = "first",
        Disabled = "disabled",
        /// A good token of nobody whom the realm knows.
        Unknown = "unknown_user",
        /// The token is not believed.
        Refused = "refused",
        /// No verdict, because keys or store were away.
        Unavailable = "unavailable",
    }

    /// How an attempt to send to a webhook ended.
    WebhookOutcome {
        Delivered = "delivered",
        /// An answer which is not 2xx.
        Refused = "refused",
        TimedOut = "timed_out",
        /// No connection, or one which broke off.
        Unreachable = "unreachable",
        /// Its address may not be connected to.
        Forbidden = "forbidden",
        /// It could not be signed.
        Unsigned = "unsigned",
    }

    /// Where a connection came in.
    Listener {
        Public = "public",
        Management = "management",
    }
}

impl From<StatusCode> for Outcome {
    fn from(status: StatusCode) -> Self {
        match status.as_u16() {
            500.. => Self::Failed,
            400.. => Self::Refused,
            _ => Self::Served,
        }
    }
}

/// Sends logs to stderr: as lines of JSON, or as text. `filter` is in the words of `RUST_LOG`.
pub fn start_logs(filter: &str, json: bool) -> Result<(), ParseError> {
    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(filter)?).with_writer(io::stderr);
    // Fails when logs were started before, as in tests: the first one stays.
    let _already =
        if json { logs.json().flatten_event(true).with_span_list(false).try_init() } else { logs.try_init() };
    Ok(())
}

/// Starts the counting, once in a process; a further call answers the same handle. Its owner renders `/metrics` and
/// calls `run_upkeep` every [`UPKEEP`].
///
/// # Panics
/// If something else in the process has installed a recorder.
pub fn start_metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let start = || {
        let recorder = prometheus().build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).expect("this is the only recorder of the program");
        describe();
        handle
    };
    HANDLE.get_or_init(start).clone()
}

fn prometheus() -> PrometheusBuilder {
    let seconds = Matcher::Suffix("_seconds".into());
    let long = Matcher::Full(TIME_TO_REVOKE.into());
    PrometheusBuilder::new()
        .set_buckets_for_metric(seconds, &SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(long, &LONG_SECONDS))
        .expect("there are buckets")
}

fn describe() {
    for &(kind, name, unit, meaning) in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, unit, meaning),
            Kind::Gauge => describe_gauge!(name, unit, meaning),
            Kind::Histogram => describe_histogram!(name, unit, meaning),
        }
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

/// A request was answered. `route` is the template in the route table, never the path.
pub fn request(method: &Method, route: &'static str, status: StatusCode, outcome: Outcome, took: Duration) {
    let method = method_label(method);
    let status = status.as_str().to_owned();
    counter!(REQUESTS, "method" => method, "route" => route, "status" => status, "outcome" => outcome.as_str())
        .increment(1);
    histogram!(REQUEST_DURATION, "method" => method, "route" => route).record(took);
}

/// A method is free text in HTTP, so only the usual ones have a name here.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// A request ended in a panic.
pub fn panic() {
    counter!(PANICS).increment(1);
}

/// The cache of SCIM tokens was asked.
pub fn token_lookup(result: Lookup) {
    counter!(TOKEN_LOOKUPS, "result" => result.as_str()).increment(1);
}

/// A caller was let in, or not.
pub fn authentication(outcome: Authentication) {
    counter!(AUTHENTICATIONS, "outcome" => outcome.as_str()).increment(1);
}

/// Failed sign-ins were enough for a wait.
pub fn login_lock(locked: Locked) {
    counter!(LOGIN_LOCKS, "of" => locked.as_str()).increment(1);
}

/// The pool of connections to Postgres, as it is now.
pub fn store_pool(idle: usize, in_use: usize) {
    for (state, connections) in [("idle", idle), ("in_use", in_use)] {
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        gauge!(POOL_CONNECTIONS, "state" => state).set(connections);
    }
}

/// Somebody waited for a connection to Postgres since `asked`.
pub fn store_pool_wait(asked: Instant) {
    histogram!(POOL_WAIT).record(asked.elapsed());
}

/// The store failed; `kind` is a word for the kind of failure, such as `timeout`.
pub fn store_error(kind: &'static str) {
    counter!(STORE_ERRORS, "kind" => kind).increment(1);
}

/// So many realms have a last token which ends within `days`, or has ended if that is 0.
pub fn tokens_expiring(days: i32, realms: usize) {
    gauge!(TOKENS_EXPIRING, "days" => days.to_string()).set(u32::try_from(realms).unwrap_or(u32::MAX));
}

/// So many departures were held.
pub fn departures_held(departures: usize) {
    counter!(DEPARTURES_HELD).increment(departures as u64);
}

/// The public keys of another issuer were asked for.
pub fn keys_fetched(successfully: bool) {
    counter!(KEY_FETCHES, "outcome" => if successfully { "fetched" } else { "failed" }).increment(1);
}

/// Redis was found, or lost.
pub fn redis(connected: bool) {
    gauge!(REDIS_CONNECTED).set(u8::from(connected));
}

/// Redis was asked for a share of a realm's budget, and answered or not.
pub fn quota_ask(answered: bool) {
    counter!(QUOTA_ASKS, "outcome" => if answered { "answered" } else { "unanswered" }).increment(1);
}

/// A request went beyond its realm's limit: it was refused, or let in by the reserve.
pub fn rate_limited(lane: Lane, let_in: bool) {
    let outcome = if let_in { Outcome::Served } else { Outcome::Refused };
    counter!(RATE_LIMITED, "lane" => lane.as_str(), "outcome" => outcome.as_str()).increment(1);
}

/// So many entries are missing in the request log.
pub fn request_log_dropped(reason: Dropped, entries: usize) {
    counter!(LOG_DROPPED, "reason" => reason.as_str()).increment(entries as u64);
}

/// So many changes were given their places.
pub fn events(rows: i64) {
    counter!(EVENTS).increment(u64::try_from(rows).unwrap_or_default());
}

/// So many changes wait for their places, the oldest for so long.
pub fn outbox(rows: i64, age: Option<Duration>) {
    gauge!(OUTBOX_ROWS).set(u32::try_from(rows).unwrap_or(u32::MAX));
    gauge!(OUTBOX_AGE).set(age.unwrap_or_default().as_secs_f64());
}

/// An application has acknowledged that somebody lost access, so long after that was asked for.
pub fn revoked(took: Duration) {
    histogram!(TIME_TO_REVOKE).record(took);
}

/// So many revocations were not acknowledged in time.
pub fn revocations_late(revocations: usize) {
    counter!(REVOCATIONS_LATE).increment(revocations as u64);
}

/// An application asked about a sign-in.
pub fn sign_in(outcome: SignInOutcome) {
    counter!(SIGN_INS, "outcome" => outcome.as_str()).increment(1);
}

/// An attempt to send to a webhook has ended.
pub fn webhook_attempt(outcome: WebhookOutcome) {
    counter!(WEBHOOK_ATTEMPTS, "outcome" => outcome.as_str()).increment(1);
}

/// A webhook has taken an event, so long after the request which caused it.
pub fn webhook_latency(took: Duration) {
    histogram!(WEBHOOK_LATENCY).record(took);
}

/// So many webhooks are parked, in all realms.
pub fn webhooks_parked(webhooks: i64) {
    gauge!(WEBHOOKS_PARKED).set(u32::try_from(webhooks).unwrap_or(u32::MAX));
}

/// An attempt in flight: it is counted for as long as this lives.
#[must_use = "the attempt counts for as long as this value lives"]
#[derive(Debug)]
pub struct WebhookInFlight(());

impl WebhookInFlight {
    pub fn begun() -> Self {
        gauge!(WEBHOOK_IN_FLIGHT).increment(1);
        Self(())
    }
}

impl Drop for WebhookInFlight {
    fn drop(&mut self) {
        gauge!(WEBHOOK_IN_FLIGHT).decrement(1);
    }
}

/// An open connection: it is counted for as long as this lives.
#[must_use = "the connection counts for as long as this value lives"]
#[derive(Debug)]
pub struct Connection(Listener);

impl Connection {
    pub fn opened(listener: Listener) -> Self {
        gauge!(CONNECTIONS, "listener" => listener.as_str()).increment(1);
        Self(listener)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS, "listener" => self.0.as_str()).decrement(1);
    }
}

/// An open live feed: it is counted for as long as this lives.
#[must_use = "the feed counts for as long as this value lives"]
#[derive(Debug)]
pub struct LiveFeed(());

impl LiveFeed {
    pub fn opened() -> Self {
        gauge!(LIVE_FEEDS).increment(1);
        Self(())
    }
}

impl Drop for LiveFeed {
    fn drop(&mut self) {
        gauge!(LIVE_FEEDS).decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    /// The lines of `/metrics` after `record`, without comments and buckets.
    fn recorded(record: impl FnOnce()) -> String {
        let recorder = prometheus().build_recorder();
        metrics::with_local_recorder(&recorder, record);
        let text = recorder.handle().render();
        let mut lines: Vec<_> = text.lines().filter(|l| !(l.is_empty() || l.starts_with('#'))).collect();
        lines.retain(|line| !line.contains("_bucket"));
        lines.sort_unstable();
        lines.join("\n")
    }

    #[test]
    fn a_request_is_counted_and_timed() {
        let method = Method::from_bytes(b"INVENTED").unwrap();
        let took = Duration::from_millis(250);
        let status = StatusCode::NOT_FOUND;
        assert_snapshot!(recorded(|| request(&method, "/realms/{realm}", status, status.into(), took)), @r#"
        realmgate_http_request_duration_seconds_count{method="other",route="/realms/{realm}"} 1
        realmgate_http_request_duration_seconds_sum{method="other",route="/realms/{realm}"} 0.25
        realmgate_http_requests_total{method="other",route="/realms/{realm}",status="404",outcome="refused"} 1
        "#);
    }

    #[test]
    fn a_connection_counts_while_it_is_open() {
        assert_snapshot!(recorded(|| std::mem::forget(Connection::opened(Listener::Public))), @r#"realmgate_connections{listener="public"} 1"#);
        assert_snapshot!(recorded(|| drop(Connection::opened(Listener::Public))), @r#"realmgate_connections{listener="public"} 0"#);
    }

    #[test]
    fn every_metric_has_a_name_of_ours_and_a_meaning() {
        for (_, name, _, meaning) in METRICS {
            assert!(name.starts_with("realmgate_") && meaning.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn a_second_start_answers_the_same_metrics() {
        start_metrics();
        assert!(
            start_metrics()
                .render()
                .contains(&format!("realmgate_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")))
        );
    }
}
