//! What the management listener serves: health, for whoever restarts and balances, and metrics.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::exchange::{Reply, Request, empty, json, reply, with_header};
use crate::{access::invalidate::Bus, store::Store, telemetry};

/// How far the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Serving,
    /// SIGTERM was seen: what is under way is finished, nothing new is taken.
    Draining,
}

#[derive(Clone)]
pub struct Ops {
    pub store: Store,
    pub bus: Option<Bus>,
    pub phase: watch::Receiver<Phase>,
    pub metrics: Arc<PrometheusHandle>,
}

impl Ops {
    pub fn answer(&self, request: &Request) -> Reply {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return with_header(empty(StatusCode::METHOD_NOT_ALLOWED), header::ALLOW, "GET, HEAD");
        }
        let phase = *self.phase.borrow();
        let database = self.store.pulse().is_alive();
        match request.uri().path() {
            // Alive is the process, whatever is the matter with its surroundings: a restart would not help.
            "/health/live" => health(true, &[]),
            "/health/started" => health(phase != Phase::Starting, &[]),
            "/health/ready" | "/health" => {
                let serving = phase == Phase::Serving;
                let mut checks = vec![check("database", database), check("serving", serving)];
                // Without Redis every request is served all the same, so it is told and not counted.
                checks.extend(self.bus.as_ref().map(|bus| redis(bus.is_hearing())));
                health(serving && database, &checks)
            }
            "/metrics" => {
                let status = self.store.pool_status();
                telemetry::store_pool(status.available, status.size.saturating_sub(status.available));
                reply(
                    StatusCode::OK,
                    http::HeaderValue::from_static("text/plain; version=0.0.4"),
                    self.metrics.render(),
                )
            }
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}

/// The form which Keycloak's health endpoints answer.
fn health(up: bool, checks: &[Value]) -> Reply {
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &json!({ "status": word(up), "checks": checks }))
}

fn check(name: &str, up: bool) -> Value {
    json!({ "name": name, "status": word(up) })
}

/// Redis, and what it means that it is away.
fn redis(up: bool) -> Value {
    let mut check = check("redis", up);
    if !up {
        check["data"] =
            json!({ "rate_limits": "counted by this node alone", "realms": "asked for again after a second" });
    }
    check
}

const fn word(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}
