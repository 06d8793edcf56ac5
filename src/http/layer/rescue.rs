//! Turns failures into answers: the one place where a status is chosen. Below it failures are values, above it there
//! are only answers. It stands below `trace`, so that what it makes is seen and counted.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tower::{Layer, Service};
use tracing::{debug, error, info};

use crate::{
    access::{Denied, foreign},
    http::{
        exchange::{JSON, Reply, SCIM_JSON, reply, with_header},
        failure::Failure,
        layer::quota,
        route::{Routed, Speaks},
    },
    provision, scim, store,
    telemetry::{self, Authentication, Outcome},
};

/// How soon a client may come back, in seconds, when we could not serve it.
const RETRY_AFTER: &str = "1";

pub fn layer<S>() -> impl Layer<S, Service = Rescue<S>> + Clone {
    tower::layer::layer_fn(|inner| Rescue { inner })
}

#[derive(Clone)]
pub struct Rescue<S> {
    inner: S,
}

impl<S> Service<Routed> for Rescue<S>
where
    S: Service<Routed, Response = Reply, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        let speaks = routed.speaks;
        let answer = AssertUnwindSafe(self.inner.call(routed)).catch_unwind();
        Box::pin(async move {
            let failure = match answer.await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(failure)) => failure,
                Err(panic) => {
                    let what = panic.downcast_ref::<&str>().copied().map(str::to_owned);
                    let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                    error!(panic = what, "a request panicked");
                    telemetry::panic();
                    Failure::Panicked
                }
            };
            Ok(answer_to(&failure, speaks))
        })
    }
}

/// Status and `scimType` of a failure (RFC 7644 §3.12).
fn status_of(failure: &Failure) -> (u16, Option<&'static str>) {
    match failure {
        Failure::NoRoute | Failure::Denied(Denied::ElsewhereOnly) | Failure::Verb(provision::Error::NotFound(_)) => {
            (404, None)
        }
        Failure::OddPath
        | Failure::OddHost
        | Failure::BrokenBody
        | Failure::Grant { .. }
        | Failure::Verb(provision::Error::Invalid(_)) => (400, None),
        Failure::Invalid(_) => (400, Some("invalidValue")),
        Failure::FilteredDiscovery
        | Failure::Forbidden
        | Failure::SignIn { .. }
        | Failure::Verb(provision::Error::Managed(_)) => (403, None),
        Failure::Method(_) => (405, None),
        Failure::NotAcceptable => (406, None),
        Failure::MediaType => (415, None),
        Failure::NotOffered(_) => (501, None),
        Failure::Forgotten { .. } | Failure::Verb(provision::Error::Gone(_)) => (410, None),
        Failure::TooLarge(_) => (413, None),
        Failure::SlowBody => (408, None),
        Failure::Denied(Denied::Unauthorized { .. })
        | Failure::NotAnOperator(_)
        | Failure::WrongCredentials
        | Failure::WrongClient
        | Failure::IdToken(foreign::Error::Flaw(_)) => (401, None),
        Failure::Denied(Denied::Store(error)) | Failure::Verb(provision::Error::Store(error)) => match error {
            // What is left of these when the verbs have tried again and named what they could name.
            store::error::Error::Stale
            | store::error::Error::Deadlock
            | store::error::Error::TooLong
            | store::error::Error::Unavailable(_) => (503, None),
            store::error::Error::Taken(_) => (409, Some("uniqueness")),
            store::error::Error::Dangling(_) => (409, None),
            store::error::Error::Refused(_) => (500, None),
        },
        Failure::Verb(provision::Error::Scim(error)) => (error.kind.status(), error.kind.scim_type()),
        Failure::Verb(provision::Error::Precondition(_)) => (412, None),
        Failure::Verb(provision::Error::Conflict(_) | provision::Error::Exists(_)) => (409, None),
        Failure::Verb(provision::Error::Damaged(_)) | Failure::Panicked => (500, None),
        Failure::RateLimited(_) => (429, None),
        Failure::Busy
        | Failure::TimedOut
        | Failure::IdToken(foreign::Error::Keys(_))
        | Failure::Denied(Denied::Busy | Denied::Keys(_)) => (503, None),
    }
}

/// Status and error message of a failure which is a part of an answer (RFC 7644 §3.7.3).
pub fn told(failure: &Failure) -> (u16, Value) {
    let (status, scim_type, detail) = meaning(failure);
    log(failure, status);
    (status, scim::error::body(status, scim_type, &detail))
}

/// Status, `scimType` and detail of the answer to a failure.
pub fn meaning(failure: &Failure) -> (u16, Option<&'static str>, String) {
    let (status, scim_type) = status_of(failure);
    (status, scim_type, detail_of(failure, status))
}

fn answer_to(failure: &Failure, speaks: Speaks) -> Reply {
    let (status, scim_type, detail) = meaning(failure);
    log(failure, status);
    let (media_type, body) = match speaks {
        Speaks::Scim => (SCIM_JSON, scim::error::body(status, scim_type, &detail)),
        Speaks::Admin => (JSON, keycloaks(failure, &detail)),
        Speaks::OAuth => (JSON, oauth(failure, &detail)),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = reply(status, media_type, body.to_string());
    match failure {
        Failure::Denied(Denied::Unauthorized { realm, token_given, .. }) => {
            let error = if *token_given { ", error=\"invalid_token\"" } else { "" };
            let realm: String = realm.chars().filter(|c| c.is_ascii_graphic() && !['"', '\\'].contains(c)).collect();
            answer = with_header(answer, header::WWW_AUTHENTICATE, &format!("Bearer realm=\"{realm}\"{error}"));
        }
        Failure::NotAnOperator(_) => {
            answer = with_header(answer, header::WWW_AUTHENTICATE, "Bearer realm=\"master\"");
        }
        Failure::WrongClient => answer = with_header(answer, header::WWW_AUTHENTICATE, "Basic realm=\"clients\""),
        Failure::Method(allowed) => answer = with_header(answer, header::ALLOW, allowed),
        Failure::RateLimited(spent) => quota::refuse(spent, answer.headers_mut()),
        // The rest of the body is not wanted, so the connection ends here.
        Failure::TooLarge(_) | Failure::SlowBody | Failure::BrokenBody => {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    if let Some(outcome) = outcome_of(failure) {
        answer.extensions_mut().insert(outcome);
    }
    answer
}

/// Some clients of Keycloak show the one key, some the other. A realm which exists already they know by exactly this.
fn keycloaks(failure: &Failure, detail: &str) -> Value {
    match failure {
        Failure::Verb(provision::Error::Exists(_)) => {
            json!({ "errorMessage": "Conflict detected. See logs for details" })
        }
        Failure::Forgotten { oldest } => json!({ "error": detail, "errorMessage": detail, "oldest": oldest }),
        _ => json!({ "error": detail, "errorMessage": detail }),
    }
}

/// What the client reads. Of our own trouble it learns no more than that there is some.
fn detail_of(failure: &Failure, status: u16) -> String {
    match status {
        503 if matches!(failure, Failure::Verb(provision::Error::Store(store::error::Error::TooLong))) => {
            "this took the database longer than a request may take; nothing has changed, try again, with less at once"
                .into()
        }
        503 if matches!(failure, Failure::IdToken(_)) => {
            "the public keys of the realm's identity provider cannot be fetched at the moment; try again shortly".into()
        }
        503 if !matches!(
            failure,
            Failure::Busy | Failure::TimedOut | Failure::Denied(Denied::Busy | Denied::Keys(_))
        ) =>
        {
            "the service cannot reach its database at the moment; nothing is lost, try again shortly".into()
        }
        500 => Failure::Panicked.to_string(),
        _ => failure.to_string(),
    }
}

fn oauth(failure: &Failure, detail: &str) -> Value {
    let error = match failure {
        Failure::Grant { error, .. } | Failure::SignIn { error, .. } => error,
        Failure::WrongCredentials => "invalid_grant",
        Failure::WrongClient => "invalid_client",
        Failure::IdToken(foreign::Error::Flaw(_)) => "invalid_token",
        Failure::IdToken(foreign::Error::Keys(_)) => "temporarily_unavailable",
        _ => "invalid_request",
    };
    json!({ "error": error, "error_description": detail })
}

fn outcome_of(failure: &Failure) -> Option<Outcome> {
    match failure {
        Failure::Busy | Failure::Denied(Denied::Busy) => Some(Outcome::Shed),
        Failure::TimedOut => Some(Outcome::TimedOut),
        Failure::Panicked => Some(Outcome::Panicked),
        _ => None,
    }
}

/// A failure is logged once, here. What a client did wrong is the client's to read.
fn log(failure: &Failure, status: u16) {
    match failure {
        Failure::Denied(Denied::Unauthorized { realm, reason, .. }) => {
            telemetry::authentication(Authentication::from(*reason));
            debug!(realm.name = realm, reason = reason.as_str(), "a caller was refused");
        }
        Failure::Denied(Denied::Store(error)) | Failure::Verb(provision::Error::Store(error)) => {
            telemetry::store_error(error.kind());
            match error {
                store::error::Error::Refused(cause) => error!(error = %error, cause = ?cause, "the store failed"),
                error => info!(%error, "the store failed"),
            }
        }
        Failure::IdToken(foreign::Error::Flaw(flaw)) => debug!(reason = flaw.as_str(), "a sign-in was refused"),
        // The source of the keys has said it.
        Failure::IdToken(foreign::Error::Keys(_)) | Failure::Denied(Denied::Keys(_)) | Failure::NotOffered(_) => {}
        failure if status >= 500 => error!(error = %failure, "a request failed"),
        _ => {}
    }
}
