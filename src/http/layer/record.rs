//! The request log: leaves an entry of each request which came to a realm, whatever became of it. It stands above
//! `authenticate`, so that it sees whom that refused, and why.
//!
//! A request pays for next to nothing here: what is left behind is what there is already. The rest is the writer's.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, Uri, header, uri::PathAndQuery};
use jiff::Timestamp;
use tower::{Layer, Service};
use uuid::Uuid;

use super::{realm::InRealm, rescue};
use crate::{
    access::{Denied, Reason, caller::bearer},
    http::{
        Edge,
        exchange::{Call, Reply},
        failure::Failure,
        route::Answer,
    },
    model::{policy, realm::Realm, token::TokenHash},
    request_log::{Arrival, Failed, RequestLog, Trail},
};

/// `InRealm<Call>` -> `InRealm<Call>`, with a trail in it.
pub fn layer<S>(edge: &Edge) -> impl Layer<S, Service = Record<S>> + Clone + use<S> {
    let (log, timeout) = (edge.log.clone(), edge.settings.request_timeout);
    tower::layer::layer_fn(move |inner| Record { log: log.clone(), timeout, inner })
}

#[derive(Clone)]
pub struct Record<S> {
    log: Option<RequestLog>,
    timeout: Duration,
    inner: S,
}

impl<S> Service<InRealm<Call>> for Record<S>
where
    S: Service<InRealm<Call>, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, InRealm { place, request: mut call }: InRealm<Call>) -> Self::Future {
        let realm = place.realm.as_ref().filter(|realm| realm.policy.request_log != policy::RequestLog::Off);
        let (Some(log), Some(realm)) = (&self.log, realm) else {
            return self.inner.call(InRealm { place, request: call });
        };
        let trail = Arc::new(Trail::default());
        call.trail = Some(trail.clone());
        let mut pending = Pending {
            log: log.clone(),
            timeout: self.timeout,
            began: Instant::now(),
            realm: realm.clone(),
            at: call.at,
            request_id: call.request_id.clone(),
            method: call.method.clone(),
            uri: call.uri.clone(),
            route: call.route.path,
            user_agent: call.headers.get(header::USER_AGENT).cloned(),
            credentials: call.headers.get(header::AUTHORIZATION).cloned(),
            trail,
            ended: None,
        };
        let answer = self.inner.call(InRealm { place, request: call });
        Box::pin(async move {
            let outcome = answer.await;
            pending.end(&outcome);
            outcome
        })
    }
}

/// A request under way. It has its entry when it ends, also if nobody waits for that any longer.
struct Pending {
    log: RequestLog,
    timeout: Duration,
    began: Instant,
    realm: Arc<Realm>,
    at: Timestamp,
    request_id: Arc<str>,
    method: Method,
    uri: Uri,
    route: &'static str,
    user_agent: Option<HeaderValue>,
    credentials: Option<HeaderValue>,
    trail: Arc<Trail>,
    ended: Option<(u16, Option<Box<Failed>>)>,
}

impl Pending {
    fn end(&mut self, outcome: &Result<Reply, Failure>) {
        self.ended = Some(match outcome {
            Ok(reply) => (reply.status().as_u16(), None),
            Err(failure) => self.failed(failure),
        });
    }

    fn failed(&self, failure: &Failure) -> (u16, Option<Box<Failed>>) {
        let (status, scim_type, detail) = rescue::meaning(failure);
        let reason = match failure {
            Failure::Denied(Denied::Unauthorized { reason, .. }) => Some(*reason),
            _ => None,
        };
        let presented = match (reason, &self.credentials) {
            (Some(Reason::UnknownToken), Some(credentials)) => {
                bearer(credentials.to_str().ok()).ok().map(TokenHash::of)
            }
            _ => None,
        };
        (status, Some(Box::new(Failed { scim_type, detail, reason, presented })))
    }

    /// The request was given up: by us after its time, else by the client, for which proxies write 499.
    fn abandoned(&self) -> (u16, Option<Box<Failed>>) {
        if self.began.elapsed() >= self.timeout {
            return self.failed(&Failure::TimedOut);
        }
        let detail = "the client went away before the answer".to_owned();
        (499, Some(Box::new(Failed { scim_type: None, detail, reason: None, presented: None })))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let (status, failure) = self.ended.take().unwrap_or_else(|| self.abandoned());
        if failure.is_none() && self.method.is_safe() && !self.log.has_room_for_read(self.realm.id) {
            return;
        }
        let path = self.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let agent = self.user_agent.as_ref().and_then(|agent| agent.to_str().ok());
        self.log.leave(Arrival {
            realm: self.realm.clone(),
            id: Uuid::now_v7(),
            at: self.at,
            method: self.method.clone(),
            route: self.route,
            said: [&self.request_id, path, agent.unwrap_or_default()].join("\n").into(),
            status,
            duration: self.began.elapsed(),
            failure,
            left: self.trail.take(),
        });
    }
}
