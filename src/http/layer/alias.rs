//! Path aliases: a path which another product gave to a realm becomes the realm's own, so that all which stands below
//! knows one form of it. Outermost, because it decides which route a request takes. Paths of our own pass untouched; for
//! others `access` keeps in mind which beginnings lead nowhere.

use std::task::{Context, Poll};

use http::{Uri, uri::PathAndQuery};
use tower::{Layer, Service};

use crate::{
    access::Access,
    http::{
        exchange::Request,
        failure::{Failure, Result},
        route::{Arrived, Router, authority},
    },
    model::alias,
};

/// `Request` -> `Arrived`
pub fn layer(access: &Access) -> impl Layer<Router, Service = Alias> + Clone + Send + Sync + use<> {
    let access = access.clone();
    tower::layer::layer_fn(move |inner| Alias { access: access.clone(), inner })
}

#[derive(Clone)]
pub struct Alias {
    access: Access,
    inner: Router,
}

impl Service<Request> for Alias {
    type Response = <Router as Service<Arrived>>::Response;
    type Error = <Router as Service<Arrived>>::Error;
    type Future = <Router as Service<Arrived>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if alias::candidates(request.uri().path()).next().is_none() {
            return self.inner.call(Arrived { request, alias: Ok(None) });
        }
        let (access, mut inner) = (self.access.clone(), self.inner.clone());
        Box::pin(async move { inner.call(arrived(&access, request).await).await })
    }
}

async fn arrived(access: &Access, mut request: Request) -> Arrived {
    // A host that is none is told of by the router, as it is on every other path.
    let (uri, authority) = (request.uri().clone(), authority(&request).unwrap_or_default());
    let found = async {
        let Some((realm, alias)) = access.alias(authority.as_deref(), uri.path()).await? else { return Ok(None) };
        Ok(Some((rewritten(&uri, alias, &format!("/realms/{}/scim/v2", realm.name))?, alias.to_owned())))
    };
    let alias = match found.await {
        Ok(Some((uri, alias))) => {
            *request.uri_mut() = uri;
            Ok(Some(alias))
        }
        Ok(None) => Ok(None),
        Err(failure) => Err(failure),
    };
    Arrived { request, alias }
}

/// The same address with `base` in the place of `alias`.
fn rewritten(uri: &Uri, alias: &str, base: &str) -> Result<Uri> {
    let rest = uri.path_and_query().map_or("", PathAndQuery::as_str).strip_prefix(alias).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{base}{rest}").parse().map_err(|_| Failure::OddPath)?);
    Uri::from_parts(parts).map_err(|_| Failure::OddPath)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_alias_stays_as_it_is() {
        for (uri, expected) in [
            ("/old/acme/Users/1?a=%20b", "/realms/acme/scim/v2/Users/1?a=%20b"),
            ("/old/acme", "/realms/acme/scim/v2"),
            ("/old/acme?x", "/realms/acme/scim/v2?x"),
            ("http://h.example/old/acme/Users", "http://h.example/realms/acme/scim/v2/Users"),
        ] {
            let rewritten = rewritten(&uri.parse().unwrap(), "/old/acme", "/realms/acme/scim/v2").unwrap();
            assert_eq!(rewritten.to_string(), expected);
        }
    }
}
