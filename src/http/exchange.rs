//! Requests and answers as the handlers see them.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    failure::{Failure, Result},
    route::Route,
};
use crate::{
    model::{Cause, admin::Admin, request_log::Outcome},
    request_log::Trail,
};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body on its way: of a request as it arrives, of an answer as it leaves.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
pub type Request = http::Request<Body>;
pub type Reply = http::Response<Body>;

/// Media type of SCIM (RFC 7644 §8.1).
pub const SCIM_JSON: HeaderValue = HeaderValue::from_static("application/scim+json");
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Who is at the other end of the connection; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub address: IpAddr,
    /// One of the configured proxies: what it forwards is believed.
    pub trusted: bool,
}

/// A request whose route is known, before anybody has asked who sent it.
pub struct Call {
    pub route: &'static Route,
    /// What the braces of the route's template stand for, percent-decoded.
    pub params: Vec<(&'static str, String)>,
    /// Why the route is not the one that was asked for: told only once the caller is known.
    pub miss: Option<Failure>,
    pub method: Method,
    /// In our own form, also where the client came by an alias.
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Body,
    /// The alias of the SCIM base URL by which the client came: `/scim/v2/acme`.
    pub alias: Option<String>,
    /// The host by which the client came, with the port if it gave one.
    pub authority: Option<String>,
    /// Where the client is, as far as the configured proxies tell.
    pub address: IpAddr,
    pub request_id: Arc<str>,
    /// When the request came in, to the millisecond.
    pub at: Timestamp,
    /// What is left for the request log; `None` if it has no entry.
    pub trail: Option<Arc<Trail>>,
}

/// A call whose caller is known: an IdP's [`Scope`](crate::model::Scope), an operator, or anyone where the route says
/// so. Only `layer::authenticate` makes one, and handlers take nothing else, so an open door does not compile.
#[derive(Clone)]
pub struct Permitted<C> {
    pub(super) caller: C,
    pub(super) ask: Arc<Ask>,
}

/// What a handler reads of a request.
pub struct Ask {
    pub method: Method,
    pub params: Vec<(&'static str, String)>,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Where the client is, as far as the configured proxies tell.
    pub address: IpAddr,
    pub at: Timestamp,
    pub request_id: Arc<str>,
    /// URL of the surface that the request came to: the SCIM base URL, or the platform's. No slash at its end.
    pub base_url: String,
    pub trail: Option<Arc<Trail>>,
}

impl Call {
    /// The realm which the path names, if it names one.
    pub fn realm(&self) -> Option<&str> {
        self.params.iter().find(|(name, _)| *name == "realm").map(|(_, value)| value.as_str())
    }
}

impl<C> Permitted<C> {
    pub fn caller(&self) -> &C {
        &self.caller
    }
}

impl Permitted<Admin> {
    /// The operator, as the cause of what the request changes.
    pub fn cause(&self) -> Cause {
        Cause { actor: self.caller.actor(), request_id: self.request_id.clone(), at: self.at }
    }
}

impl<C> std::ops::Deref for Permitted<C> {
    type Target = Ask;

    fn deref(&self) -> &Ask {
        &self.ask
    }
}

impl Ask {
    /// What `{name}` of the template stands for; empty if the template has no such name.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    /// A parameter of the query, its name compared as it is. The first of several wins.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Tells the request log what became of the request's operations, in their order.
    pub fn came_to(&self, outcomes: Vec<Outcome>) {
        if let Some(trail) = &self.trail {
            trail.outcomes(outcomes);
        }
    }

    pub fn header(&self, name: HeaderName) -> Option<&str> {
        text(&self.headers, name)
    }

    /// The body as a JSON object.
    pub fn json(&self) -> Result<Value> {
        self.check_media_type()?;
        Ok(crate::scim::json::parse(&self.body)?)
    }

    /// The body as JSON of whatever kind.
    pub fn json_value(&self) -> Result<Value> {
        self.check_media_type()?;
        Ok(crate::scim::json::value(&self.body)?)
    }

    fn check_media_type(&self) -> Result<()> {
        let media_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let known = ["", "application/scim+json", "application/json"].iter().any(|m| essence.eq_ignore_ascii_case(m));
        // RFC 8259 §8.1: JSON between systems is UTF-8.
        let charset = media_type.to_ascii_lowercase().split_once("charset=").map(|(_, rest)| rest.to_owned());
        let utf8 = charset.is_none_or(|charset| charset.trim_start_matches('"').starts_with("utf-8"));
        let plain = self.header(header::CONTENT_ENCODING).is_none_or(|e| e.eq_ignore_ascii_case("identity"));
        if known && utf8 && plain { Ok(()) } else { Err(Failure::MediaType) }
    }
}

/// A header's value, if it is there and text.
pub fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `Authorization`. Two of them leave open who is meant, so they are as good as none that anybody could have sent.
pub fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    if values.next().is_some() { Some("") } else { Some(first.to_str().unwrap_or_default()) }
}

/// The pairs of a query or a form (`application/x-www-form-urlencoded`).
pub fn pairs(encoded: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded.as_bytes()).into_owned().collect()
}

pub fn body_of(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer with a body.
pub fn reply(status: StatusCode, media_type: HeaderValue, body: impl Into<Bytes>) -> Reply {
    reply_of(status, media_type, body_of(body))
}

/// An answer whose body may still be in the making.
pub fn reply_of(status: StatusCode, media_type: HeaderValue, body: Body) -> Reply {
    let mut reply = Reply::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, media_type);
    reply
}

/// An answer of the admin API.
pub fn json(status: StatusCode, body: &impl serde::Serialize) -> Reply {
    // Values of ours have text keys and no way to fail.
    reply(status, JSON, serde_json::to_vec(body).unwrap_or_default())
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::new(body_of(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// Adds a header whose value we made ourselves; one that HTTP does not allow is left out.
pub fn with_header(mut reply: Reply, name: HeaderName, value: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
    reply
}
