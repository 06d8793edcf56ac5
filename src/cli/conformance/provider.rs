//! The service provider under judgement: a throw-away realm, seen by a client which has its token.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::{Unmet, Verdict, urn};
use crate::outbound::Outbound;

/// Characters of an answer that a report shows.
const SHOWN: usize = 240;

/// The realm and what is known of it. Every request goes to the server that the operator named.
pub struct Provider {
    pub outbound: Outbound,
    /// Where requests go: the SCIM base URL as this machine reaches it.
    pub url: String,
    /// The SCIM base URL of the realm which is not ours to touch, for the one request that must be refused there.
    pub other_realm: String,
    /// The SCIM base URL as the server tells it, which all its URLs must begin with.
    pub base_url: String,
    pub token: String,
    pub policy: Value,
    /// ServiceProviderConfig: what is announced must work.
    pub config: Value,
    /// What each user, each group must have because of the realm's own schemas.
    pub demanded: [Map<String, Value>; 2],
    /// The last answer.
    pub seen: RefCell<String>,
    pub count: Cell<u32>,
    /// `userName` of the three whom filters look for, once they are there.
    pub people: OnceCell<[String; 3]>,
}

/// A request to be.
pub struct Ask<'a> {
    provider: &'a Provider,
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    token: Option<&'a str>,
    body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: http::HeaderMap,
    /// `null` if it is not JSON.
    pub body: Value,
    pub text: String,
}

impl Provider {
    pub fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        let url = format!("{}{path}", self.url);
        Ask { provider: self, method, url, headers: Vec::new(), token: Some(&self.token), body: Bytes::new() }
    }

    pub async fn get(&self, path: &str) -> Verdict<Answer> {
        self.ask(Method::GET, path).send().await
    }

    pub async fn delete(&self, path: &str) -> Verdict<Answer> {
        self.ask(Method::DELETE, path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Verdict<Answer> {
        self.ask(Method::POST, path).json(&body).send().await
    }

    pub async fn put(&self, path: &str, body: Value) -> Verdict<Answer> {
        self.ask(Method::PUT, path).json(&body).send().await
    }

    /// PATCH with these operations (RFC 7644 §3.5.2).
    pub async fn patch(&self, path: &str, operations: Value) -> Verdict<Answer> {
        let body = json!({ "schemas": [urn::PATCH_OP], "Operations": operations });
        self.ask(Method::PATCH, path).json(&body).send().await
    }

    /// A text that nothing else in the realm has.
    pub fn fresh(&self, what: &str) -> String {
        self.count.set(self.count.get() + 1);
        format!("{what}-{}", self.count.get())
    }

    /// A representation of a user with these attributes, and a name of its own unless it has one.
    pub fn user(&self, attributes: Value) -> Value {
        let fixed = json!({ "schemas": [urn::USER], "userName": self.fresh("user") });
        self.resource(fixed, &self.demanded[0], attributes)
    }

    /// As [`Provider::user`], for a group.
    pub fn group(&self, attributes: Value) -> Value {
        let fixed = json!({ "schemas": [urn::GROUP], "displayName": self.fresh("group") });
        self.resource(fixed, &self.demanded[1], attributes)
    }

    fn resource(&self, fixed: Value, demanded: &Map<String, Value>, attributes: Value) -> Value {
        let mut resource = fixed;
        let parts = demanded.clone().into_iter().map(|(urn, value)| (urn, self.made_unique(value)));
        let given = if let Value::Object(given) = attributes { given } else { Map::new() };
        for (name, value) in parts.chain(given) {
            resource[name] = value;
        }
        let extensions: Vec<Value> = resource.as_object().map_or(Vec::new(), |object| {
            object.keys().filter(|key| key.contains(':')).map(|key| key.as_str().into()).collect()
        });
        if let Some(schemas) = resource["schemas"].as_array_mut() {
            schemas.extend(extensions);
        }
        resource
    }

    /// Demanded text may have to be unique.
    fn made_unique(&self, value: Value) -> Value {
        match value {
            Value::String(text) if text == super::extensions::UNIQUE => self.fresh("value").into(),
            Value::Array(items) => items.into_iter().map(|item| self.made_unique(item)).collect(),
            Value::Object(map) => map.into_iter().map(|(name, value)| (name, self.made_unique(value))).collect(),
            value => value,
        }
    }

    /// Creates a user; the path of it, and its representation.
    pub async fn create_user(&self, attributes: Value) -> Verdict<(String, Answer)> {
        self.create("/Users", self.user(attributes)).await
    }

    /// Creates a group; the path of it, and its representation.
    pub async fn create_group(&self, attributes: Value) -> Verdict<(String, Answer)> {
        self.create("/Groups", self.group(attributes)).await
    }

    async fn create(&self, endpoint: &str, body: Value) -> Verdict<(String, Answer)> {
        let answer = self.post(endpoint, body).await?;
        answer.is(201)?;
        Ok((format!("{endpoint}/{}", answer.id()?), answer))
    }

    /// Is `feature` announced, in ServiceProviderConfig (RFC 7643 §5)?
    pub fn announces(&self, feature: &str) -> Verdict {
        if self.config[feature]["supported"] == true { Ok(()) } else { Err(Unmet::unsupported(feature)) }
    }

    /// A key of the sync policy has this value.
    pub fn rule(&self, key: &str, value: &str) -> bool {
        self.policy[key] == value
    }
}

impl<'a> Ask<'a> {
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/scim+json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With another token, or with none.
    pub fn token(mut self, token: Option<&'a str>) -> Self {
        self.token = token;
        self
    }

    /// At the base URL of the other realm.
    pub fn at_other_realm(mut self) -> Self {
        self.url = self.url.replacen(&self.provider.url, &self.provider.other_realm, 1);
        self
    }

    pub async fn send(self) -> Verdict<Answer> {
        let path = self.url.strip_prefix(&self.provider.url).unwrap_or(&self.url);
        let path = path.replace(&self.provider.token, "<token>");
        let what = format!("{} {}", self.method, if path.is_empty() { "/" } else { &path });
        let mut request = Request::builder().method(&self.method).uri(&self.url);
        if let Some(token) = self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(self.body)).map_err(|e| Unmet::fail(format_args!("{what}: {e}")))?;
        let sent = self.provider.outbound.send(request).await;
        let (head, body) = sent.map_err(|e| Unmet::fail(format_args!("{what}: {e}")))?.into_parts();
        let answer = Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            text: String::from_utf8_lossy(&body).into_owned(),
        };
        self.provider.seen.replace(format!("{what}: {answer}"));
        Ok(answer)
    }
}

impl Answer {
    pub fn is(&self, status: u16) -> Verdict<&Self> {
        expect(self.status == status, || format!("expected {status}"))?;
        Ok(self)
    }

    pub fn succeeds(&self) -> Verdict<&Self> {
        expect((200..300).contains(&self.status), || "expected success".to_owned())?;
        Ok(self)
    }

    /// An error in the form of RFC 7644 §3.12, with this `scimType` unless it is empty.
    pub fn refused(&self, status: u16, scim_type: &str) -> Verdict<&Self> {
        self.is(status)?;
        self.has("/schemas", json!([urn::ERROR]))?;
        self.has("/status", status.to_string())?;
        expect(self.text_at("/detail").is_some_and(|detail| !detail.is_empty()), || "expected a `detail`".to_owned())?;
        if scim_type.is_empty() { Ok(self) } else { self.has("/scimType", scim_type) }
    }

    /// The value at a JSON pointer (RFC 6901).
    pub fn has(&self, pointer: &str, expected: impl Into<Value>) -> Verdict<&Self> {
        let expected = expected.into();
        let found = self.body.pointer(pointer).unwrap_or(&Value::Null);
        expect(*found == expected, || format!("expected {expected} at {pointer}, found {found}"))?;
        Ok(self)
    }

    /// Nothing at a JSON pointer: absent, `null` and `[]` are one (RFC 7643 §2.5).
    pub fn lacks(&self, pointer: &str) -> Verdict<&Self> {
        let found = self.body.pointer(pointer).unwrap_or(&Value::Null);
        let unassigned = found.is_null() || found.as_array().is_some_and(Vec::is_empty);
        expect(unassigned, || format!("expected nothing at {pointer}, found {found}"))?;
        Ok(self)
    }

    pub fn text_at(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer).and_then(Value::as_str)
    }

    pub fn id(&self) -> Verdict<String> {
        self.text_at("/id").map(str::to_owned).ok_or_else(|| Unmet::fail("expected an `id`"))
    }

    /// Empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `Resources` of a ListResponse.
    pub fn resources(&self) -> &[Value] {
        self.body["Resources"].as_array().map_or(&[], Vec::as_slice)
    }

    /// One attribute of each resource, in the order of the list.
    pub fn each(&self, name: &str) -> Vec<&str> {
        self.resources().iter().filter_map(|resource| resource[name].as_str()).collect()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, more) = match self.text.char_indices().nth(SHOWN) {
            Some((end, _)) => (&self.text[..end], "…"),
            None => (&*self.text, ""),
        };
        write!(f, "{}", self.status)?;
        if shown.is_empty() { Ok(()) } else { write!(f, " {shown}{more}") }
    }
}

/// Met, or not for this reason.
pub fn expect(met: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if met { Ok(()) } else { Err(Unmet::Fail(otherwise())) }
}
