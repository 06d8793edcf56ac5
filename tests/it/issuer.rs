//! An identity provider which the test itself runs: it signs tokens and publishes its keys on loopback.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The client id of the application which signs people in.
pub const APP: &str = "app";

/// An issuer with a server of its own, which ends with the test.
pub struct Issuer {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    key: Mutex<Key>,
    is_up: AtomicBool,
    asked: AtomicUsize,
}

/// A key pair with its name.
pub struct Key {
    pub kid: String,
    private: EncodingKey,
    public: Value,
}

impl Issuer {
    pub async fn start() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", server.local_addr().expect("it is bound"));
        let shared = Arc::new(Shared {
            key: Mutex::new(Key::generate("first")),
            is_up: AtomicBool::new(true),
            asked: AtomicUsize::new(0),
        });
        let (answering, issuer) = (shared.clone(), url.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = server.accept().await {
                // Errors are the client's to see.
                let _ = answer(stream, &issuer, &answering).await;
            }
        });
        Self { url, shared }
    }

    /// Signs with another key from now on, and publishes that one alone.
    pub fn rotate(&self, kid: &str) {
        *self.key() = Key::generate(kid);
    }

    /// Accepts connections and answers nothing, or goes on.
    pub fn set_up(&self, is_up: bool) {
        self.shared.is_up.store(is_up, Ordering::SeqCst);
    }

    /// How often the keys were asked for.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    pub fn keys(&self) -> Value {
        json!({ "keys": [self.key().public] })
    }

    /// A token of this issuer for [`APP`], valid for five minutes, with `more` claims; `null` takes one away.
    pub fn token(&self, more: Value) -> String {
        let now = Timestamp::now().as_second();
        let mut claims = json!({ "iss": self.url, "aud": APP, "iat": now, "exp": now + 300 });
        let map = claims.as_object_mut().expect("it is one");
        let Value::Object(more) = more else { panic!("claims are an object") };
        for (name, value) in more {
            if value.is_null() {
                map.remove(&name)
            } else {
                map.insert(name, value)
            };
        }
        self.key().sign(&claims)
    }

    fn key(&self) -> std::sync::MutexGuard<'_, Key> {
        self.shared.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    pub fn generate(kid: &str) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("there is randomness");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).expect("it was just made");
        let point = pair.public_key().as_ref();
        let coordinate = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let public = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "kid": kid,
            "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
        });
        Self { kid: kid.to_owned(), private: EncodingKey::from_ec_der(pkcs8.as_ref()), public }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.private).expect("the key fits")
    }

    pub fn jwks(&self) -> String {
        json!({ "keys": [self.public] }).to_string()
    }
}

async fn answer(mut stream: TcpStream, issuer: &str, shared: &Shared) -> std::io::Result<()> {
    let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            n => request.extend_from_slice(&chunk[..n]),
        }
    }
    shared.asked.fetch_add(1, Ordering::SeqCst);
    if !shared.is_up.load(Ordering::SeqCst) {
        return Ok(());
    }
    let body = if request.starts_with(b"GET /.well-known/openid-configuration ") {
        json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") })
    } else {
        json!({ "keys": [shared.key.lock().unwrap_or_else(PoisonError::into_inner).public] })
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}
