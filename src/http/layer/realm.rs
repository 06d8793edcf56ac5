//! Where a call stands, from path and host, before anybody asks who sent it: the caller is somebody of a realm.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::{
    access::{Access, realm::Place},
    http::{
        exchange::{Call, Reply},
        failure::Failure,
        route::Answer,
    },
};

/// A call and the realm it came to, known or not.
pub struct InRealm<R> {
    pub place: Place,
    pub request: R,
}

/// `Call` -> `InRealm<Call>`
pub fn layer<S>(access: &Access) -> impl Layer<S, Service = Realm<S>> + Clone + use<S> {
    let access = access.clone();
    tower::layer::layer_fn(move |inner| Realm { access: access.clone(), inner })
}

#[derive(Clone)]
pub struct Realm<S> {
    access: Access,
    inner: S,
}

impl<S> Service<Call> for Realm<S>
where
    S: Service<InRealm<Call>, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let (access, mut inner) = (self.access.clone(), self.inner.clone());
        Box::pin(async move {
            let place = access.place(call.authority.as_deref(), call.realm()).await?;
            inner.call(InRealm { place, request: call }).await
        })
    }
}

/// For what belongs to the operators: on a customer's domain it does not exist.
pub fn platform_only<S>(access: &Access) -> impl Layer<S, Service = PlatformOnly<S>> + Clone + use<S> {
    let access = access.clone();
    tower::layer::layer_fn(move |inner| PlatformOnly { access: access.clone(), inner })
}

#[derive(Clone)]
pub struct PlatformOnly<S> {
    access: Access,
    inner: S,
}

impl<S> Service<Call> for PlatformOnly<S>
where
    S: Service<Call, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let (access, mut inner) = (self.access.clone(), self.inner.clone());
        Box::pin(async move {
            match &call.authority {
                Some(authority) if access.is_custom_domain(authority).await? => Err(Failure::NoRoute),
                _ => inner.call(call).await,
            }
        })
    }
}
