//! A realm's limit of requests. Below `authenticate`, so that a stranger spends nobody's budget; the body is there by
//! then. A realm without a limit is not counted.
//!
//! Once the normal budget is spent, and only then, the request is looked at: what takes somebody's access away draws on
//! a reserve, so that a flood does not keep leavers in. A bulk request counts as its number of operations: the first
//! one lets it in, the others are charged, if need be to what is yet to come. It draws on the reserve if each of its
//! operations would.

use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName};
use tower::{Layer, Service};

use crate::{
    access::quota::{Lane, Quotas, Spent, Standing, seconds},
    http::{
        exchange::{Permitted, Reply},
        failure::Failure,
        route::{Answer, Bound},
    },
    model::{Scope, policy::RateLimit},
    provision,
    scim::{
        bulk::{Bulk, Endpoint, Operation, Verb},
        leaver::takes_access_away,
    },
    telemetry,
};

/// Largest body in bytes which is looked at when the budget is spent: a refusal must stay cheap.
const LOOKED_AT: usize = 64 * 1024;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

pub fn layer<S>(quotas: &Quotas) -> impl Layer<S, Service = Quota<S>> + Clone + use<S> {
    let quotas = quotas.clone();
    tower::layer::layer_fn(move |inner| Quota { quotas: quotas.clone(), inner })
}

#[derive(Clone)]
pub struct Quota<S> {
    quotas: Quotas,
    inner: S,
}

impl<S> Service<Bound<Scope>> for Quota<S>
where
    S: Service<Bound<Scope>, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, bound: Bound<Scope>) -> Self::Future {
        let realm = &bound.call.caller().realm;
        let Some(limit) = self.quotas.limit_of(&realm.policy) else {
            return self.inner.call(bound);
        };
        let taken = self.quotas.take_at_once(realm.id, Lane::Normal, limit);
        if let Some(Ok(standing)) = taken
            && !is_bulk(bound.route.path)
        {
            let answer = self.inner.call(bound);
            return Box::pin(async move { answer.await.map(|reply| told(standing, reply)) });
        }
        let (quotas, mut inner) = (self.quotas.clone(), self.inner.clone());
        Box::pin(async move {
            let standing = admitted(&quotas, limit, taken, bound.route.path, &bound.call).await?;
            inner.call(bound).await.map(|reply| told(standing, reply))
        })
    }
}

/// `taken` is what is known already of the normal budget.
async fn admitted(
    quotas: &Quotas,
    limit: RateLimit,
    taken: Option<Result<Standing, Spent>>,
    path: &str,
    call: &Permitted<Scope>,
) -> Result<Standing, Failure> {
    let realm = call.caller().realm.id;
    let mut lane = Lane::Normal;
    let mut taken = match taken {
        Some(taken) => taken,
        None => quotas.take(realm, lane, limit).await,
    };
    if taken.is_err() && is_of_leavers(path, call) {
        lane = Lane::Reserved;
        taken = quotas.take(realm, lane, limit).await;
    }
    if lane == Lane::Reserved || taken.is_err() {
        telemetry::rate_limited(lane.into(), taken.is_ok());
    }
    let standing = taken.map_err(Failure::RateLimited)?;
    if !is_bulk(path) {
        return Ok(standing);
    }
    let operations = bulk_of(call).map_or(1, |bulk| bulk.operations.len());
    match u32::try_from(operations.saturating_sub(1)).unwrap_or(u32::MAX) {
        0 => Ok(standing),
        further => Ok(quotas.charge(realm, lane, limit, further).await),
    }
}

/// Does the request do nothing else than to take access away?
fn is_of_leavers(path: &str, call: &Permitted<Scope>) -> bool {
    if call.body.len() > LOOKED_AT {
        return false;
    }
    let admission = provision::admission(&call.caller().realm.policy);
    if is_bulk(path) {
        let operations = bulk_of(call).map_or(Vec::new(), |bulk| bulk.operations);
        let takes_away =
            |of: Operation| of.call.is_ok_and(|call| takes_access_away(call.endpoint, call.verb, call.data, admission));
        return !operations.is_empty() && operations.into_iter().all(takes_away);
    }
    let endpoint = match path.strip_suffix("/{id}").and_then(|path| path.rsplit('/').next()) {
        Some("Users") => Endpoint::Users,
        Some("Groups") => Endpoint::Groups,
        _ => return false,
    };
    let verb = match call.method.as_str() {
        "DELETE" => return true,
        "PUT" => Verb::Replace,
        "PATCH" => Verb::Patch,
        _ => return false,
    };
    call.json().is_ok_and(|body| takes_access_away(endpoint, verb, body, admission))
}

fn is_bulk(path: &str) -> bool {
    path.ends_with("/Bulk")
}

fn bulk_of(call: &Permitted<Scope>) -> Option<Bulk> {
    Bulk::parse(call.json().ok()?).ok()
}

/// What the headers of a refusal are.
pub fn refuse(spent: &Spent, headers: &mut HeaderMap) {
    headers.insert(http::header::RETRY_AFTER, spent.retry_after().into());
    tell(spent.standing, headers);
}

fn told(standing: Standing, mut reply: Reply) -> Reply {
    tell(standing, reply.headers_mut());
    reply
}

/// `RateLimit-*`, as draft-polli-ratelimit-headers has them.
fn tell(standing: Standing, headers: &mut HeaderMap) {
    let Standing { burst, remaining, whole_in } = standing;
    headers.insert(LIMIT, burst.into());
    headers.insert(REMAINING, remaining.into());
    headers.insert(RESET, seconds(whole_in).into());
}
