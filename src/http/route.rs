//! The route table: path, method, and who the caller must be, in one line each. What is not in it does not exist.

use std::{
    borrow::Cow,
    collections::HashMap,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use http::{HeaderName, Method, Uri, header};
use jiff::{Timestamp, Unit};
use schemars::JsonSchema;
use tower::{Layer, Service};
use uuid::Uuid;

use super::{
    Edge,
    exchange::{Call, Peer, Permitted, Reply, Request, text},
    failure::{Failure, Result},
    openapi::{Operation, schema_of},
};
use crate::{
    access::realm::Place,
    model::{
        Scope,
        admin::{Admin as Operator, Need},
    },
};

pub type Answer<E = Failure> = Pin<Box<dyn Future<Output = Result<Reply, E>> + Send>>;

/// A handler of calls whose caller is a `C`.
pub type Handler<C> = Box<dyn Fn(Edge, Permitted<C>) -> Answer + Send + Sync>;

/// Nobody was asked for: the caller of an open route.
#[derive(Debug, Clone)]
pub struct Anyone {
    /// The realm that the path or the host names, if it names one.
    pub place: Place,
}

/// Who the caller must be, and what answers then.
pub enum Endpoint {
    /// The IdP's side of a realm.
    Scim(Handler<Scope>),
    /// An operator who meets the need.
    Admin(Need, Handler<Operator>),
    Open(Handler<Anyone>),
}

/// A line of the table.
pub struct Route {
    pub method: Method,
    /// The template, which is also the metrics' label.
    pub path: &'static str,
    pub endpoint: Endpoint,
    /// May the body be large?
    pub large: bool,
    /// What the OpenAPI document says of it.
    pub operation: Operation,
}

impl Route {
    /// The route with room for a large body.
    #[must_use]
    pub fn large(self) -> Self {
        Self { large: true, ..self }
    }

    /// What the route is for, in a few words.
    #[must_use]
    pub fn says(self, summary: &'static str) -> Self {
        Self { operation: Operation { summary, ..self.operation }, ..self }
    }

    /// Names and meanings of the parameters in the query.
    #[must_use]
    pub fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { operation: Operation { query, ..self.operation }, ..self }
    }

    /// The body of the request is a `T`.
    #[must_use]
    pub fn takes<T: JsonSchema>(self) -> Self {
        Self { operation: Operation { takes: Some(schema_of::<T>), ..self.operation }, ..self }
    }

    /// The good answer is a `T`.
    #[must_use]
    pub fn answers<T: JsonSchema>(self, status: u16) -> Self {
        Self { operation: Operation { answers: Some((status, Some(schema_of::<T>))), ..self.operation }, ..self }
    }

    /// The good answer has no body.
    #[must_use]
    pub fn empty(self, status: u16) -> Self {
        Self { operation: Operation { answers: Some((status, None)), ..self.operation }, ..self }
    }
}

/// Makes an endpoint of an async handler: `scim(users::get)`.
pub fn scim<F, A>(handler: F) -> Endpoint
where
    F: Fn(Edge, Permitted<Scope>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Reply>> + Send + 'static,
{
    Endpoint::Scim(Box::new(move |edge, call| Box::pin(handler(edge, call))))
}

/// Makes an endpoint for operators who meet the need: `admin(ViewUsers, users::get)`.
pub fn admin<F, A>(need: impl Into<Need>, handler: F) -> Endpoint
where
    F: Fn(Edge, Permitted<Operator>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Reply>> + Send + 'static,
{
    Endpoint::Admin(need.into(), Box::new(move |edge, call| Box::pin(handler(edge, call))))
}

/// Makes an endpoint for anyone.
pub fn open<F, A>(handler: F) -> Endpoint
where
    F: Fn(Edge, Permitted<Anyone>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Reply>> + Send + 'static,
{
    Endpoint::Open(Box::new(move |edge, call| Box::pin(handler(edge, call))))
}

pub fn route(method: Method, path: &'static str, endpoint: Endpoint) -> Route {
    Route { method, path, endpoint, large: false, operation: Operation::default() }
}

/// All routes of the public listener.
pub struct Table {
    paths: matchit::Router<Vec<&'static Route>>,
}

impl Table {
    /// Made once for the life of the process, which is why its routes may live as long.
    ///
    /// # Panics
    /// If two templates cannot stand beside each other: a mistake in the table, seen by the first test.
    pub fn new(routes: impl Iterator<Item = Route>) -> Self {
        let mut by_path: HashMap<&'static str, Vec<&'static Route>> = HashMap::new();
        for route in routes {
            let route: &'static Route = Box::leak(Box::new(route));
            by_path.entry(route.path).or_default().push(route);
        }
        let mut paths = matchit::Router::new();
        for (path, routes) in by_path {
            paths.insert(path, routes).expect("templates do not collide");
        }
        Self { paths }
    }

    fn find(&self, method: &Method, path: &str) -> Result<Found> {
        let path = &*plain_group_path(path);
        if is_odd(path) {
            return Err(Failure::OddPath);
        }
        // A slash at the end is how some clients write a collection.
        let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
        let found = self.paths.at(path).map_err(|_| Failure::NoRoute)?;
        // RFC 9110 §9.3.2: as GET, without the body, which the server leaves out by itself.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let (route, miss) = if let Some(route) = found.value.iter().find(|route| route.method == *method) {
            (route, None)
        } else {
            let mut allowed: Vec<&str> = found.value.iter().map(|route| route.method.as_str()).collect();
            if allowed.contains(&"GET") {
                allowed.push("HEAD");
            }
            (found.value.first().ok_or(Failure::NoRoute)?, Some(Failure::Method(allowed.join(", "))))
        };
        let miss = if route.path.ends_with(REST) { Some(Failure::NoRoute) } else { miss };
        match (miss, &route.endpoint) {
            // A realm does not even say what it lacks before it knows who asks (M001, M013).
            (miss, Endpoint::Scim(_)) | (miss @ None, _) => {
                let names = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
                let names = names.map(|name| name.trim_start_matches('*'));
                let value = |name| Ok((name, decoded(found.params.get(name).unwrap_or_default())?));
                let params = names.filter(|name| *name != "rest").map(value).collect::<Result<_>>()?;
                Ok(Found { route, params, miss })
            }
            (Some(miss), _) => Err(miss),
        }
    }
}

/// The path of a group begins with a slash, which some clients of Keycloak write behind the slash of the URL.
fn plain_group_path(path: &str) -> Cow<'_, str> {
    match path.strip_prefix("/admin/").and_then(|rest| rest.split_once("/group-by-path//")) {
        Some((realm, group)) => format!("/admin/{realm}/group-by-path/{group}").into(),
        None => path.into(),
    }
}

/// How a template ends that stands for all which no other one of its surface names.
pub const REST: &str = "/{*rest}";

struct Found {
    route: &'static Route,
    params: Vec<(&'static str, String)>,
    miss: Option<Failure>,
}

/// Empty and dot segments, in plain or encoded, and encoded slashes: what one server reads differently from the next.
fn is_odd(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path.split('/').skip(1);
    segments.any(|segment| {
        let lower = segment.to_ascii_lowercase();
        let plain = lower.replace("%2e", ".");
        plain.is_empty() || plain == "." || plain == ".." || ["%2f", "%5c", "\\"].iter().any(|odd| lower.contains(odd))
    }) && !path.is_empty()
}

/// Percent-decodes a segment; control characters have no business in it.
fn decoded(segment: &str) -> Result<String> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8().map_err(|_| Failure::OddPath)?;
    if decoded.chars().any(char::is_control) { Err(Failure::OddPath) } else { Ok(decoded.into_owned()) }
}

/// A request and where it goes, or why it goes nowhere.
pub struct Routed {
    pub call: Result<Call>,
    pub method: Method,
    /// The template, or a word for what has none.
    pub label: &'static str,
    pub speaks: Speaks,
    pub request_id: Arc<str>,
}

/// The format of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Scim,
    /// Keycloak's `{"error", "errorMessage"}`.
    Admin,
    /// RFC 6749 §5.2: a word and a description; at sign-ins too.
    OAuth,
}

impl Speaks {
    fn at(path: &str) -> Self {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        match (segments.next(), segments.nth(1)) {
            (Some("realms"), Some("protocol" | "sign-ins")) => Speaks::OAuth,
            (Some("realms"), None | Some(".well-known" | "security-events")) => Speaks::Admin,
            (Some("realms" | "scim"), _) => Speaks::Scim,
            _ => Speaks::Admin,
        }
    }
}

/// A request with its address in our own form.
pub struct Arrived {
    pub request: Request,
    /// The alias by which it came, if it came by one; or why that is not known.
    pub alias: Result<Option<String>>,
}

/// `Arrived` -> `Routed`: pure, so that it can stand above all which has to know the route.
pub fn layer(table: Table) -> impl Layer<Dispatched, Service = Router> + Clone + Send + Sync {
    let table = Arc::new(table);
    tower::layer::layer_fn(move |inner| Router { table: table.clone(), inner })
}

/// What stands below the router.
pub type Dispatched = tower::util::BoxCloneSyncService<Routed, Reply, std::convert::Infallible>;

#[derive(Clone)]
pub struct Router {
    table: Arc<Table>,
    inner: Dispatched,
}

static FORWARDED_HOST: LazyLock<HeaderName> = LazyLock::new(|| HeaderName::from_static("x-forwarded-host"));
static FORWARDED_FOR: LazyLock<HeaderName> = LazyLock::new(|| HeaderName::from_static("x-forwarded-for"));
static REQUEST_ID: LazyLock<HeaderName> = LazyLock::new(|| HeaderName::from_static("x-request-id"));

impl Service<Arrived> for Router {
    type Response = Reply;
    type Error = std::convert::Infallible;
    type Future = <Dispatched as Service<Routed>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, Arrived { request, alias }: Arrived) -> Self::Future {
        let request_id = request_id(&request);
        let method = request.method().clone();
        let path = request.uri().path();
        let speaks = Speaks::at(path);
        let found = alias.and_then(|alias| Ok((self.table.find(&method, path)?, alias)));
        let label = found.as_ref().map_or("none", |(found, _)| found.route.path);
        let call = found.and_then(|(Found { route, params, miss }, alias)| {
            let (authority, address) = (authority(&request)?, address(&request));
            let (parts, body) = request.into_parts();
            let at = Timestamp::now().round(Unit::Millisecond).unwrap_or_else(|_| Timestamp::now());
            let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
            let request_id = request_id.clone();
            let trail = None;
            Ok(Call {
                route,
                params,
                miss,
                method,
                uri,
                headers,
                body,
                alias,
                authority,
                address,
                request_id,
                at,
                trail,
            })
        });
        self.inner.call(Routed { call, method, label, speaks, request_id })
    }
}

/// The client's own id if it is well-formed, else one of ours. It comes back in the answer.
fn request_id(request: &Request) -> Arc<str> {
    let well_formed = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    match text(request.headers(), REQUEST_ID.clone()).filter(well_formed) {
        Some(id) => id.into(),
        None => Uuid::now_v7().to_string().into(),
    }
}

/// The host of a request: from the request itself, or from a proxy that the configuration names.
pub fn authority(request: &Request) -> Result<Option<String>> {
    let trusted = request.extensions().get::<Peer>().is_some_and(|peer| peer.trusted);
    if trusted && let Some(forwarded) = text(request.headers(), FORWARDED_HOST.clone()) {
        return Ok(Some(forwarded.trim().to_owned()));
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| Failure::OddHost)).transpose()?;
    if hosts.next().is_some() {
        return Err(Failure::OddHost);
    }
    let of_uri = request.uri().authority().map(http::uri::Authority::as_str);
    match (of_uri, host) {
        (Some(uri), Some(host)) if !uri.eq_ignore_ascii_case(host) => Err(Failure::OddHost),
        (Some(host), _) | (None, Some(host)) => {
            let host = host.parse::<http::uri::Authority>().map_err(|_| Failure::OddHost)?;
            Ok(Some(host.as_str().to_owned()))
        }
        // RFC 9112 §3.2: only HTTP/1.0 may leave it out.
        (None, None) if request.version() > http::Version::HTTP_10 => Err(Failure::OddHost),
        (None, None) => Ok(None),
    }
}

/// Where the client is: at the other end of the connection or, behind a proxy that the configuration names, where that
/// says it came from. What stands before its own entry, anybody may have written.
fn address(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    let own = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
    let forwarded = peer.filter(|peer| peer.trusted).and_then(|_| {
        let lists = request.headers().get_all(FORWARDED_FOR.clone());
        lists.iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    });
    forwarded.unwrap_or(own)
}

/// The query's text.
pub fn query(uri: &Uri) -> &str {
    uri.query().unwrap_or_default()
}

/// Sends a routed call to the stack of whoever its route wants to see.
#[derive(Clone)]
pub struct Dispatch<S, A, O> {
    pub scim: S,
    pub admin: A,
    pub open: O,
}

impl<S, A, O> Service<Routed> for Dispatch<S, A, O>
where
    S: Service<Call, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
    A: Service<Call, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
    O: Service<Call, Response = Reply, Error = Failure, Future = Answer> + Clone + Send + 'static,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        match routed.call {
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
            Ok(call) => match &call.route.endpoint {
                Endpoint::Scim(_) => self.scim.call(call),
                Endpoint::Admin(..) => self.admin.call(call),
                Endpoint::Open(_) => self.open.call(call),
            },
        }
    }
}

/// A permitted call and the route which says what answers it.
pub struct Bound<C> {
    pub route: &'static Route,
    pub call: Permitted<C>,
}

macro_rules! foot {
    ($($(#[$doc:meta])* $name:ident: $caller:ty => $variant:ident($($ignored:pat)?)),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            edge: Edge,
        }

        impl $name {
            pub fn new(edge: &Edge) -> Self {
                Self { edge: edge.clone() }
            }
        }

        impl Service<Bound<$caller>> for $name {
            type Response = Reply;
            type Error = Failure;
            type Future = Answer;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, bound: Bound<$caller>) -> Self::Future {
                match &bound.route.endpoint {
                    Endpoint::$variant($($ignored,)? handler) => handler(self.edge.clone(), bound.call),
                    // `Dispatch` sends only what belongs here; whatever else there is has no answer here.
                    _ => Box::pin(std::future::ready(Err(Failure::NoRoute))),
                }
            }
        }
    )*};
}

foot! {
    /// The foot of the SCIM stack: calls the handler.
    Scim: Scope => Scim(),
    /// The foot of the operators' stack.
    Admin: Operator => Admin(_),
    /// The foot of the open stack.
    Open: Anyone => Open(),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_reading_or_none() {
        for plain in ["/", "/a", "/a/b", "/a/", "/a/b.c", "/a/%20", "/a/..."] {
            assert!(!is_odd(plain), "{plain}");
        }
        for odd in ["//", "/a//b", "/a/./b", "/a/../b", "/a/%2e%2E/b", "/a%2Fb", "/a%5cb", "/a/b//"] {
            assert!(is_odd(odd), "{odd}");
        }
    }

    #[test]
    fn a_segment_is_decoded_once_and_holds_no_control_characters() {
        assert_eq!(decoded("a%20b%2520").unwrap(), "a b%20");
        assert!(decoded("a%0d%0ab").is_err() && decoded("%ff").is_err() && decoded("%00").is_err());
    }
}
