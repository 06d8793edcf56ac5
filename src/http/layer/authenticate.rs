//! Who calls: the only maker of a [`Permitted`]. The body is read after the verdict, so a stranger sends none, and if
//! the realm moves on while the handler works, the caller is asked anew and the handler begins again.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use tower::{Layer, Service};

use super::realm::InRealm;
use crate::{
    access::{caller::bearer, operator::Refusal},
    http::{
        Edge,
        exchange::{Ask, Body, Call, Permitted, Reply, authorization, pairs},
        failure::Failure,
        route::{self, Answer, Anyone, Bound, Endpoint},
    },
    model::{Scope, admin::Admin},
    telemetry::{self, Authentication},
};

/// How often a realm may move on under a request before the client is told to come back.
const TRIES: usize = 5;

macro_rules! layers {
    ($($(#[$doc:meta])* $layer:ident: $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $layer<S>(edge: &Edge) -> impl Layer<S, Service = $name<S>> + Clone + use<S> {
            let edge = edge.clone();
            tower::layer::layer_fn(move |inner| $name { edge: edge.clone(), inner })
        }

        #[derive(Clone)]
        pub struct $name<S> {
            edge: Edge,
            inner: S,
        }
    )*};
}

layers! {
    /// `InRealm<Call>` -> `Bound<Scope>`: the IdP's side of the realm.
    scim_client: ScimClient,
    /// `Call` -> `Bound<Admin>`: an operator.
    operator: Operator,
    /// `InRealm<Call>` -> `Bound<Anyone>`: whoever it is.
    anyone: AnyoneAtAll,
}

impl<S> Service<InRealm<Call>> for ScimClient<S>
where
    S: Service<Bound<Scope>, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, InRealm { mut place, request: mut call }: InRealm<Call>) -> Self::Future {
        let (edge, mut inner) = (self.edge.clone(), self.inner.clone());
        Box::pin(async move {
            let (route, mut ask) = (call.route, None);
            let mut tries = 0;
            loop {
                tries += 1;
                let answer = async {
                    let credentials = authorization(&call.headers);
                    let (at, id) = (call.at, call.request_id.clone());
                    let scope = edge.access.scim_client(&place, credentials, at, id).await?;
                    if let Some(trail) = &call.trail {
                        trail.actor(&scope.actor);
                    }
                    if let Some(miss) = call.miss.take() {
                        return Err(miss);
                    }
                    let _place = edge.shares.take(scope.realm.id).await?;
                    if ask.is_none() {
                        let base_url = scim_base(&edge, &place, call.alias.as_deref());
                        ask = Some(Arc::new(read(&mut call, &edge, base_url).await?));
                    }
                    let Some(ask) = ask.clone() else { return Err(Failure::BrokenBody) };
                    telemetry::authentication(Authentication::Accepted);
                    inner.call(Bound { route, call: Permitted { caller: scope, ask } }).await
                };
                match answer.await {
                    Err(failure) if failure.is_stale() && tries < TRIES => {
                        edge.access.forget();
                        place = edge.access.place(call.authority.as_deref(), call.realm()).await?;
                    }
                    answer => return answer,
                }
            }
        })
    }
}

impl<S> Service<Call> for Operator<S>
where
    S: Service<Bound<Admin>, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let (edge, mut inner) = (self.edge.clone(), self.inner.clone());
        Box::pin(async move {
            let credentials = authorization(&call.headers);
            let token = bearer(credentials).map_err(|_| Failure::NotAnOperator("HTTP 401 Unauthorized"))?;
            let caller = edge.operators.verify(token).await.map_err(|refusal| match refusal {
                Refusal::WrongCredentials | Refusal::InvalidGrant(_) => Failure::NotAnOperator("HTTP 401 Unauthorized"),
                Refusal::Unavailable(error) => error.into(),
            })?;
            if let Endpoint::Admin(need, _) = &call.route.endpoint
                && !caller.rights.meet(*need, call.realm())
            {
                return Err(Failure::Forbidden);
            }
            let base_url = edge.settings.public_url.clone();
            let ask = Arc::new(read(&mut call, &edge, base_url).await?);
            if let Some((name, _)) = ask.query.iter().find(|(_, value)| value.contains('\0')) {
                return Err(Failure::Invalid(format!("`{name}` holds a null character, which nothing here does")));
            }
            let mut tries = 0;
            loop {
                tries += 1;
                let permitted = Permitted { caller: caller.clone(), ask: ask.clone() };
                match inner.call(Bound { route: call.route, call: permitted }).await {
                    // The handler reads the realm anew.
                    Err(failure) if failure.is_stale() && tries < TRIES => {}
                    answer => return answer,
                }
            }
        })
    }
}

impl<S> Service<InRealm<Call>> for AnyoneAtAll<S>
where
    S: Service<Bound<Anyone>, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, InRealm { place, request: mut call }: InRealm<Call>) -> Self::Future {
        let (edge, mut inner) = (self.edge.clone(), self.inner.clone());
        Box::pin(async move {
            let base_url = edge.settings.public_url.clone();
            let ask = Arc::new(read(&mut call, &edge, base_url).await?);
            inner.call(Bound { route: call.route, call: Permitted { caller: Anyone { place }, ask } }).await
        })
    }
}

/// The SCIM base URL: of the custom domain by which the client came, else the platform's own, and with the alias by which
/// it came. Scheme and port are the platform's: nothing of it is as the client says, but what an operator has allowed.
fn scim_base(edge: &Edge, place: &crate::access::realm::Place, alias: Option<&str>) -> String {
    let public_url = &edge.settings.public_url;
    let base = match (&place.domain, public_url.parse::<http::Uri>()) {
        (Some(domain), Ok(platform)) => {
            let port = platform.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}", platform.scheme_str().unwrap_or("https"), domain.as_str())
        }
        _ => public_url.clone(),
    };
    match alias {
        Some(alias) => format!("{base}{alias}"),
        None => format!("{base}/realms/{}/scim/v2", place.name),
    }
}

/// Takes the body, no more of it and no longer than the limits allow, and what else a handler reads.
async fn read(call: &mut Call, edge: &Edge, base_url: String) -> Result<Ask, Failure> {
    let body = std::mem::take(&mut call.body);
    let trail = call.trail.clone();
    let limit = if call.route.large { edge.settings.large_body } else { edge.settings.body };
    let body = collected(body, limit, edge.settings.body_timeout).await?;
    if let Some(trail) = trail.as_ref().filter(|_| !body.is_empty()) {
        trail.body(&body);
    }
    Ok(Ask {
        method: call.method.clone(),
        params: call.params.clone(),
        query: pairs(route::query(&call.uri)),
        headers: call.headers.clone(),
        body,
        address: call.address,
        at: call.at,
        request_id: call.request_id.clone(),
        base_url,
        trail,
    })
}

async fn collected(body: Body, limit: usize, time: Duration) -> Result<Bytes, Failure> {
    // A client which says how much it will send is refused before it sends it.
    if body.size_hint().lower() > limit as u64 {
        return Err(Failure::TooLarge(limit));
    }
    tokio::time::timeout(time, gathered(body, limit)).await.unwrap_or(Err(Failure::SlowBody))
}

async fn gathered(mut body: Body, limit: usize) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::BrokenBody)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Failure::TooLarge(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
