//! The way to the admin API of a running server.

use std::{env, error::Error as _, net::IpAddr, str::FromStr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Exit, Failure, login::Stored};
use crate::{
    outbound::{self, Outbound, Reach},
    secret::Secret,
};

/// A list of ten thousand realms is a few MiB.
const LIMITS: outbound::Limits = outbound::Limits { time: Duration::from_secs(30), body: 64 << 20 };

const TOKEN_PATH: &str = "/realms/master/protocol/openid-connect/token";

/// Base URL of a server: `http` or `https`, no slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(String);

/// A caller who is signed in to a server.
#[derive(Debug)]
pub struct Client {
    outbound: Outbound,
    server: Server,
    access_token: Secret<String>,
}

/// Proof of who asks, for the token endpoint (RFC 6749 §4.3 and §6).
pub enum Grant<'a> {
    Password {
        username: &'a str,
        password: &'a Secret<String>,
    },
    /// Of a service account.
    Client {
        id: &'a str,
        secret: &'a Secret<String>,
    },
    RefreshToken(&'a Secret<String>),
}

/// What the token endpoint answers (RFC 6749 §5.1).
#[derive(Debug, Deserialize)]
pub struct Tokens {
    access_token: Secret<String>,
    pub refresh_token: Option<Secret<String>>,
}

impl Client {
    /// Signs in with `REALMGATE_ADMIN_USERNAME` and `REALMGATE_ADMIN_PASSWORD`, else as the service account
    /// `REALMGATE_ADMIN_CLIENT_ID` with `REALMGATE_ADMIN_CLIENT_SECRET`, else with what `login` stored.
    pub async fn sign_in(server: Server) -> Result<Self, Failure> {
        let outbound = outbound()?;
        let person = from_environment("REALMGATE_ADMIN_USERNAME", "REALMGATE_ADMIN_PASSWORD")?;
        let client = from_environment("REALMGATE_ADMIN_CLIENT_ID", "REALMGATE_ADMIN_CLIENT_SECRET")?;
        let grant = match (&person, &client) {
            (Some((username, password)), _) => Some(Grant::Password { username, password }),
            (None, Some((id, secret))) => Some(Grant::Client { id, secret }),
            (None, None) => None,
        };
        let access_token = match grant {
            Some(grant) => tokens(&outbound, &server, grant).await?.access_token,
            None => renew(&outbound, &server).await?,
        };
        Ok(Self { outbound, server, access_token })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::DELETE, path, None).await
    }

    /// DELETE of a part, which the body names.
    pub async fn delete_what(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::DELETE, path, Some(body)).await
    }

    /// Sends lines of JSON.
    pub async fn post_lines(&self, path: &str, lines: Bytes) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/jsonl");
        answer_of(&exchange(&self.outbound, &self.server, request, lines).await?)
    }

    /// An answer of any length, as it comes.
    pub async fn download(&self, path: &str) -> Result<Download, Failure> {
        let request = self.request(Method::GET, path).body(Full::default());
        let request = request.map_err(|e| Failure::new(Exit::Usage, e))?;
        let response = self.outbound.open(request).await.map_err(|e| unreachable(&self.server, &e))?;
        let (head, mut stream) = response.into_parts();
        if head.status.is_success() {
            return Ok(Download(stream));
        }
        let mut body = Vec::new();
        while let Some(bytes) = stream.next().await.map_err(|e| unreachable(&self.server, &e))? {
            body.extend_from_slice(&bytes);
        }
        Err(refusal(&Response::from_parts(head, body.into())))
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server.0))
            .header(header::ACCEPT, "application/json, application/jsonl")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.access_token.reveal()))
    }

    /// The answer as JSON; `null` when it is empty.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        answer_of(&exchange(&self.outbound, &self.server, request, body).await?)
    }
}

/// Text as it stands in a path or a query.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A body of any length on its way.
pub struct Download(outbound::Stream);

impl Download {
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.0.next().await.map_err(|e| Failure::new(Exit::Unavailable, format_args!("it was cut off: {}", chain(&e))))
    }
}

fn answer_of(response: &Response<Bytes>) -> Result<Value, Failure> {
    if !response.status().is_success() {
        return Err(refusal(response));
    }
    if response.body().is_empty() { Ok(Value::Null) } else { parse(response.body()) }
}

/// A client with the limits of the command line.
pub fn outbound() -> Result<Outbound, Failure> {
    Outbound::new(LIMITS, Reach::Anywhere).map_err(|e| Failure::new(Exit::Failed, chain(&e)))
}

/// Asks the token endpoint of the `master` realm.
pub async fn tokens(outbound: &Outbound, server: &Server, grant: Grant<'_>) -> Result<Tokens, Failure> {
    if server.is_open_to_listeners() {
        eprintln!("warning: {} has no TLS, so that anybody on the way can read the password; use https", server.0);
    }
    let form = match &grant {
        Grant::Password { username, password } => {
            let proof = [("username", *username), ("password", password.reveal().as_str())];
            form("admin-cli", "password", &proof)
        }
        Grant::Client { id, secret } => form(id, "client_credentials", &[("client_secret", secret.reveal())]),
        Grant::RefreshToken(token) => form("admin-cli", "refresh_token", &[("refresh_token", token.reveal())]),
    };
    let request = Request::post(format!("{}{TOKEN_PATH}", server.0))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let response = exchange(outbound, server, request, form).await?;
    match response.status() {
        status if status.is_success() => decode(parse(response.body())?),
        StatusCode::UNAUTHORIZED => Err(Failure { exit: Exit::NotAllowed, ..refusal(&response) }
            .hint("check REALMGATE_ADMIN_USERNAME and REALMGATE_ADMIN_PASSWORD, or the service account's variables")),
        StatusCode::BAD_REQUEST => Err(Failure { exit: Exit::NotAllowed, ..refusal(&response) }),
        _ => Err(refusal(&response)),
    }
}

/// A body of the admin API as the type it is promised to be.
pub fn decode<T: DeserializeOwned>(body: Value) -> Result<T, Failure> {
    serde_json::from_value(body).map_err(|_| not_realmgate())
}

async fn renew(outbound: &Outbound, server: &Server) -> Result<Secret<String>, Failure> {
    let advice = "sign in with `realmgate login`, or set REALMGATE_ADMIN_USERNAME and REALMGATE_ADMIN_PASSWORD";
    let nobody = || Failure::new(Exit::NotAllowed, format_args!("not signed in to {}", server.0)).hint(advice);
    let stored = Stored::load(server)?.ok_or_else(nobody)?;
    let grant = Grant::RefreshToken(&stored.refresh_token);
    let tokens = tokens(outbound, server, grant).await.map_err(|e| e.hint_on(Exit::NotAllowed, || advice.into()))?;
    if let Some(refresh_token) = tokens.refresh_token {
        Stored { refresh_token, ..stored }.save(server)?;
    }
    Ok(tokens.access_token)
}

/// Both variables or none: with one alone, somebody meant the other.
fn from_environment(name: &str, secret: &str) -> Result<Option<(String, Secret<String>)>, Failure> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    match (variable(name), variable(secret)) {
        (Some(name), Some(secret)) => Ok(Some((name, Secret::new(secret)))),
        (None, None) => Ok(None),
        _ => {
            let message = format!("only one of {name} and {secret} is set");
            Err(Failure::new(Exit::Usage, message).hint("set both, or none to use `realmgate login`"))
        }
    }
}

async fn exchange(
    outbound: &Outbound,
    server: &Server,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Result<Response<Bytes>, Failure> {
    let request = request.body(Full::new(body.into())).map_err(|e| Failure::new(Exit::Usage, e))?;
    outbound.send(request).await.map_err(|e| unreachable(server, &e))
}

fn unreachable(server: &Server, error: &outbound::Error) -> Failure {
    Failure::new(Exit::Unavailable, format_args!("cannot reach {}: {}", server.0, chain(error)))
        .hint("is the server running, and is REALMGATE_SERVER (or --server) its address?")
}

/// What a status other than 2xx means to the caller, in the server's own words where it has some.
fn refusal(response: &Response<Bytes>) -> Failure {
    let status = response.status();
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let text = |key: &str| body[key].as_str();
    let message = match (text("error_description"), text("error").or(text("errorMessage"))) {
        (Some(description), Some(error)) => format!("{description}: {error}"),
        (Some(words), None) | (None, Some(words)) => words.to_owned(),
        (None, None) => format!("the server answered {status}"),
    };
    let failure = Failure::new(exit(status), message);
    match failure.exit {
        Exit::Unavailable => failure.hint("try again in a moment; the log of the server tells more"),
        _ => failure,
    }
}

fn exit(status: StatusCode) -> Exit {
    match status.as_u16() {
        400 | 413 | 422 => Exit::Usage,
        401 | 403 => Exit::NotAllowed,
        404 => Exit::NotFound,
        409 | 412 => Exit::Conflict,
        429 | 502..=504 => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

fn parse(body: &Bytes) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|_| not_realmgate())
}

fn not_realmgate() -> Failure {
    Failure::new(Exit::Failed, "the answer is not that of a realmgate server of this version")
        .hint("is REALMGATE_SERVER (or --server) the address of realmgate?")
}

/// An error with all its causes on one line.
fn chain(error: &outbound::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// `application/x-www-form-urlencoded`.
fn form(client_id: &str, grant_type: &str, proof: &[(&str, &str)]) -> String {
    let fields = [("client_id", client_id), ("grant_type", grant_type)];
    let field = |(name, value): &(&str, &str)| format!("{name}={}", escaped(value));
    fields.iter().chain(proof).map(field).collect::<Vec<_>>().join("&")
}

/// A text in a query or a form, with more escaped than must be.
pub fn escaped(text: &str) -> String {
    let byte = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

impl Server {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does plain text leave this machine on the way there?
    fn is_open_to_listeners(&self) -> bool {
        let Ok(uri) = self.0.parse::<Uri>() else { return true };
        let host = uri.host().unwrap_or_default();
        let here = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        uri.scheme_str() == Some("http") && !here
    }
}

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const INVALID: &str = "write scheme and host, for example `https://scim.example.com`";
        let uri: Uri = text.parse().map_err(|_| INVALID)?;
        let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let text = text.trim_end_matches('/');
        if has_scheme && has_host && uri.query().is_none() { Ok(Self(text.to_owned())) } else { Err(INVALID) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &'static str) -> (Exit, String) {
        let failure = refusal(&Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap());
        (failure.exit, failure.message)
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_server() {
        assert_eq!(refused(409, r#"{"errorMessage":"realm exists"}"#), (Exit::Conflict, "realm exists".into()));
        assert_eq!(
            refused(401, r#"{"error":"invalid_grant","error_description":"Invalid user credentials"}"#),
            (Exit::NotAllowed, "Invalid user credentials: invalid_grant".into())
        );
        assert_eq!(refused(502, "<html>"), (Exit::Unavailable, "the server answered 502 Bad Gateway".into()));
    }

    #[test]
    fn a_form_escapes_what_would_end_a_field() {
        let form = form("admin-cli", "password", &[("password", "a&b=ü")]);
        assert_eq!(form, "client_id=admin%2Dcli&grant_type=password&password=a%26b%3D%C3%BC");
    }

    #[test]
    fn a_server_is_scheme_and_host() {
        let server = |text: &str| text.parse::<Server>();
        assert_eq!(server("https://scim.example.com/").unwrap().as_str(), "https://scim.example.com");
        for wrong in ["scim.example.com", "ftp://h", "https://u:p@h", "https://h?x", "", "/x"] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn plain_text_is_safe_only_on_this_machine() {
        let open = |text: &str| text.parse::<Server>().unwrap().is_open_to_listeners();
        assert!(open("http://scim.example.com") && open("http://10.0.0.1:8080"));
        assert!(!open("http://127.0.0.1:8080") && !open("http://[::1]:8080") && !open("http://localhost"));
        assert!(!open("https://scim.example.com"));
    }
}
