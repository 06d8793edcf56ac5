//! No request hangs, and no more are worked on than the node can bear: what is too much is told to come back at once
//! rather than queued. Below `rescue`, which words the refusal.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::http::{
    exchange::Reply,
    failure::Failure,
    route::{Answer, Routed},
};

/// `time` is from the headers to the answer, `most` the number of requests in flight.
pub fn layer<S>(time: Duration, most: usize) -> impl Layer<S, Service = Bounds<S>> + Clone {
    let in_flight = Arc::new(Semaphore::new(most));
    tower::layer::layer_fn(move |inner| Bounds { inner, time, in_flight: in_flight.clone() })
}

#[derive(Clone)]
pub struct Bounds<S> {
    inner: S,
    time: Duration,
    in_flight: Arc<Semaphore>,
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
        Box::pin(async move {
            let _place = place;
            answer.await.unwrap_or(Err(Failure::TimedOut))
        })
    }
}
