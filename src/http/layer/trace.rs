//! Outermost but for the router: the span in which everything about a request is logged, its line in the access log,
//! its metrics, and its id in the answer. It sees every answer, also the rescued ones.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderName, HeaderValue};
use tower::{Layer, Service};
use tracing::{Instrument, debug, info_span, warn};

use crate::{
    http::{exchange::Reply, route::Routed},
    telemetry::{self, Outcome},
};

static REQUEST_ID: LazyLock<HeaderName> = LazyLock::new(|| HeaderName::from_static("x-request-id"));

pub fn layer<S>() -> impl Layer<S, Service = Trace<S>> + Clone {
    tower::layer::layer_fn(|inner| Trace { inner })
}

#[derive(Clone)]
pub struct Trace<S> {
    inner: S,
}

impl<S> Service<Routed> for Trace<S>
where
    S: Service<Routed, Response = Reply, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        let (began, label, method, id) =
            (Instant::now(), routed.label, routed.method.clone(), routed.request_id.clone());
        let span = info_span!("request", request.id = %id, http.method = %method, http.route = label);
        let counted = Counted { method, label, began, outcome: None };
        let answer = span.in_scope(|| self.inner.call(routed));
        let answered = async move {
            let mut counted = counted;
            let Ok(mut reply) = answer.await;
            if let Ok(id) = HeaderValue::from_str(&id) {
                reply.headers_mut().insert(REQUEST_ID.clone(), id);
            }
            let status = reply.status();
            let outcome = reply.extensions().get::<Outcome>().copied().unwrap_or_else(|| status.into());
            counted.outcome = Some((status, outcome));
            let duration_ms = u64::try_from(counted.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            if status.is_server_error() {
                warn!(http.status = status.as_u16(), duration_ms, "answered");
            } else {
                debug!(http.status = status.as_u16(), duration_ms, "answered");
            }
            Ok(reply)
        };
        Box::pin(answered.instrument(span))
    }
}

/// Counts the request when it is over, also if the client went away before.
struct Counted {
    method: http::Method,
    label: &'static str,
    began: Instant,
    outcome: Option<(http::StatusCode, Outcome)>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        // 499 is what proxies write down for a client which did not wait.
        let gone = || (http::StatusCode::from_u16(499).unwrap_or_default(), Outcome::Abandoned);
        let (status, outcome) = self.outcome.unwrap_or_else(gone);
        telemetry::request(&self.method, self.label, status, outcome, self.began.elapsed());
    }
}
