//! What others need to know to get tokens and to verify them. Every name that a realm can have is answered alike, so
//! that nobody can list realms; all realms' tokens are signed with the same keys, those of the nodes. But a realm which
//! tells of its events in security event tokens has a key of its own for those, and publishes it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    access::keys::PublicKey,
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::{Failure, Result},
        route::Anyone,
    },
    model::realm::{MASTER, RealmName},
    provision::keys,
};

/// For how long a copy is good, in seconds: a node which starts has a new key.
const MAX_AGE: &str = "public, max-age=60";

/// JWK Set (RFC 7517 §5).
#[derive(Debug, Serialize)]
struct Keys {
    keys: Vec<Key>,
}

/// A public key of P-256 (RFC 7518 §6.2.1).
#[derive(Debug, Serialize)]
struct Key {
    kid: Uuid,
    kty: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    used_for: &'static str,
    crv: &'static str,
    x: String,
    y: String,
}

/// Keycloak's public information on a realm.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PublicRealm<'a> {
    realm: &'a str,
    token_service: String,
    account_service: String,
    tokens_not_before: i64,
}

/// OpenID Connect Discovery 1.0 §3, RFC 8414 §2; what has no endpoint here is not named.
#[derive(Debug, Serialize)]
struct Configuration {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    grant_types_supported: &'static [&'static str],
    token_endpoint_auth_methods_supported: &'static [&'static str],
    response_types_supported: [&'static str; 0],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    #[serde(flatten)]
    sessions: Option<Sessions>,
}

/// What only those have who sign in themselves.
#[derive(Debug, Serialize)]
struct Sessions {
    userinfo_endpoint: String,
    end_session_endpoint: String,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
}

pub async fn realm(_: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    let (realm, issuer) = named(&call)?;
    let token_service = format!("{issuer}/protocol/openid-connect");
    let account_service = format!("{issuer}/account");
    Ok(shared(json(StatusCode::OK, &PublicRealm { realm, token_service, account_service, tokens_not_before: 0 })))
}

pub async fn configuration(_: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    let (realm, issuer) = named(&call)?;
    let endpoint = |name: &str| format!("{issuer}/protocol/openid-connect/{name}");
    let of_operators = realm == MASTER;
    let sessions = of_operators.then(|| Sessions {
        userinfo_endpoint: endpoint("userinfo"),
        end_session_endpoint: endpoint("logout"),
        revocation_endpoint: endpoint("revoke"),
        revocation_endpoint_auth_methods_supported: ["none"],
    });
    let configuration = Configuration {
        token_endpoint: endpoint("token"),
        jwks_uri: endpoint("certs"),
        issuer,
        grant_types_supported: if of_operators {
            &["password", "client_credentials", "refresh_token"]
        } else {
            &["client_credentials"]
        },
        token_endpoint_auth_methods_supported: &["client_secret_basic", "client_secret_post", "private_key_jwt"],
        response_types_supported: [],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["ES256"],
        sessions,
    };
    Ok(shared(json(StatusCode::OK, &configuration)))
}

pub async fn certs(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    let (name, _) = named(&call)?;
    let own = keys::published(&edge.store, name, call.at).await?;
    let own = own.into_iter().map(|key| PublicKey { kid: key.kid, public_key: key.public_key });
    let keys = own.chain(edge.operators.keys().await?).filter_map(|key| Key::of(&key)).collect();
    Ok(shared(json(StatusCode::OK, &Keys { keys })))
}

impl Key {
    /// `None` if what is stored is no such key.
    fn of(key: &PublicKey) -> Option<Self> {
        // SEC 1 §2.3.3: 4, x, y.
        let (&[4, ..], true) = (key.public_key.as_slice(), key.public_key.len() == 65) else { return None };
        let (x, y) = key.public_key[1..].split_at(32);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        Some(Self { kid: key.kid, kty: "EC", alg: "ES256", used_for: "sig", crv: "P-256", x, y })
    }
}

/// The realm's name, if a realm can have it, and the issuer of its tokens.
fn named(call: &Permitted<Anyone>) -> Result<(&str, String)> {
    let realm = call.param("realm");
    RealmName::parse(realm).map_err(|_| Failure::NoRoute)?;
    Ok((realm, format!("{}/realms/{realm}", call.base_url)))
}

fn shared(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(MAX_AGE));
    reply
}
