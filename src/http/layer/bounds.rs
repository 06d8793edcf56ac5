//! No request hangs, and no more are worked on than the node can bear: what is too much is told to come back at once
//! rather than queued. Below `rescue`, which words the refusal.
//!
//! Of these places one realm has three quarters at most: however much it sends, the others are served.
//!
//! A body which is made while the client takes it lasts as long as the client likes. Such answers have a quarter of the
//! places, and keep one until their end, so that slow readers stand in the way of slow readers only.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body::Body as _;
use http_body_util::BodyExt;
use moka::future::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use crate::{
    http::{
        exchange::Reply,
        failure::Failure,
        route::{Answer, Routed},
    },
    model::RealmId,
};

/// A realm which sends nothing for so long has no share; far longer than any request takes.
const SHARE_IDLE: Duration = Duration::from_secs(10 * 60);

/// What each realm may have of the places in flight.
#[derive(Clone)]
pub struct Shares {
    most: usize,
    of: Cache<RealmId, Arc<Semaphore>>,
}

impl Shares {
    /// Of `places` in all.
    pub fn of(places: usize) -> Self {
        Self { most: (places * 3).div_ceil(4), of: Cache::builder().time_to_idle(SHARE_IDLE).build() }
    }

    /// A place for a request of the realm, for as long as the request lasts.
    pub async fn take(&self, realm: RealmId) -> Result<OwnedSemaphorePermit, Failure> {
        let share = self.of.get_with(realm, async { Arc::new(Semaphore::new(self.most)) }).await;
        share.try_acquire_owned().map_err(|_| Failure::Busy)
    }
}

/// `time` is from the headers to the answer, `most` the number of requests in flight.
pub fn layer<S>(time: Duration, most: usize) -> impl Layer<S, Service = Bounds<S>> + Clone {
    let (in_flight, streams) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(most.div_ceil(4))));
    tower::layer::layer_fn(move |inner| Bounds { inner, time, in_flight: in_flight.clone(), streams: streams.clone() })
}

#[derive(Clone)]
pub struct Bounds<S> {
    inner: S,
    time: Duration,
    in_flight: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl<S> Service<Routed> for Bounds<S>
where
    S: Service<Routed, Response = Reply, Error = Failure>,
    S::Future: Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        let Ok(place) = self.in_flight.clone().try_acquire_owned() else {
            return Box::pin(std::future::ready(Err(Failure::Busy)));
        };
        let answer = tokio::time::timeout(self.time, self.inner.call(routed));
        let streams = self.streams.clone();
        Box::pin(async move {
            let _place = place;
            let reply = answer.await.unwrap_or(Err(Failure::TimedOut))?;
            if reply.body().size_hint().exact().is_some() {
                return Ok(reply);
            }
            let place = streams.try_acquire_owned().map_err(|_| Failure::Busy)?;
            let keep = move |frame| {
                let _until_the_end = &place;
                frame
            };
            Ok(reply.map(|body| body.map_frame(keep).boxed_unsync()))
        })
    }
}
