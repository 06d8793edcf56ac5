//! Public keys of others (RFC 7517): which of them verify signatures, and with which algorithms.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// More keys are nobody's: a provider publishes two or three, Entra about ten.
const MAX_KEYS: usize = 100;

/// Where an issuer's public keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// A JWK Set, as text.
    Inline(String),
    /// The URL of one.
    Url(String),
    /// The `jwks_uri` in the metadata of this issuer (OpenID Connect Discovery 1.0 §4).
    Discovery(String),
}

/// The keys of a JWK Set which verify signatures. Symmetric ones never do.
pub struct Keyset {
    keys: Vec<Key>,
}

struct Key {
    kid: Option<String>,
    /// Pinned by the key: no token chooses beyond them.
    algorithms: Vec<Algorithm>,
    verifies: DecodingKey,
}

/// Why a document is no usable JWK Set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyset {
    #[error("it is no JWK Set: a JSON object with an array `keys` is expected")]
    Form,
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("it holds a private key: take it out of use, and publish the public half alone")]
    Private,
    #[error("no key in it verifies signatures: RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519 is expected")]
    NoneUsable,
}

impl Keyset {
    /// Reads a JWK Set. Keys for other uses and of other kinds are passed over, as RFC 7517 §5 wants.
    pub fn read(document: &Value) -> Result<Self, InvalidKeyset> {
        let keys = document["keys"].as_array().ok_or(InvalidKeyset::Form)?;
        if keys.len() > MAX_KEYS {
            return Err(InvalidKeyset::TooMany);
        }
        if keys.iter().any(|key| key["kty"] != "oct" && key.get("d").is_some()) {
            return Err(InvalidKeyset::Private);
        }
        let keys: Vec<Key> = keys.iter().filter_map(Key::read).collect();
        if keys.is_empty() { Err(InvalidKeyset::NoneUsable) } else { Ok(Self { keys }) }
    }

    /// The key `kid` for `algorithm`. A token which names no key is verified only if there is no choice.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        match kid {
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid)).map(|key| &key.verifies),
            None => fitting.next().filter(|_| fitting.next().is_none()).map(|key| &key.verifies),
        }
    }
}

impl Key {
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk[name].as_str();
        let may_verify = jwk["key_ops"].as_array().is_none_or(|operations| operations.iter().any(|o| o == "verify"));
        if jwk.get("use").is_some_and(|purpose| purpose != "sig") || !may_verify {
            return None;
        }
        let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let fits = x.len() == length && y.len() == length;
            fits.then(|| DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
        };
        let (algorithms, verifies) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
                (vec![RS256, RS384, RS512, PS256, PS384, PS512], rsa(&bytes("n")?, &bytes("e")?)?)
            }
            ("EC", Some("P-256")) => (vec![Algorithm::ES256], point(32)?),
            ("EC", Some("P-384")) => (vec![Algorithm::ES384], point(48)?),
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x").filter(|x| x.len() == 32)?;
                (vec![Algorithm::EdDSA], DecodingKey::from_ed_der(&x))
            }
            _ => return None,
        };
        let algorithms: Vec<_> = match jwk.get("alg") {
            None => algorithms,
            Some(alg) => {
                let alg = alg.as_str()?.parse().ok()?;
                algorithms.into_iter().filter(|algorithm| *algorithm == alg).collect()
            }
        };
        let kid = text("kid").map(str::to_owned);
        (!algorithms.is_empty()).then_some(Self { kid, algorithms, verifies })
    }
}

/// Modulus and exponent (RFC 7518 §6.3.1), big end first.
fn rsa(n: &[u8], e: &[u8]) -> Option<DecodingKey> {
    let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let fits = (2048..=8192).contains(&bits) && (1..=8).contains(&e.len());
    fits.then(|| DecodingKey::from_rsa_raw_components(n, e))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn b64(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa_of(bits: usize) -> Value {
        json!({ "kty": "RSA", "kid": "a", "n": b64(&vec![0x80; bits / 8]), "e": "AQAB" })
    }

    fn with(mut jwk: Value, name: &str, value: &str) -> Value {
        jwk[name] = value.into();
        jwk
    }

    fn read(keys: &[Value]) -> Result<Keyset, InvalidKeyset> {
        Keyset::read(&json!({ "keys": keys }))
    }

    fn has(keyset: &Keyset, kid: Option<&str>, algorithm: Algorithm) -> bool {
        keyset.find(kid, algorithm).is_some()
    }

    #[test]
    fn a_key_says_which_algorithms_it_is_for() {
        let keyset = read(&[rsa_of(2048)]).unwrap();
        assert!(has(&keyset, Some("a"), Algorithm::RS256) && has(&keyset, Some("a"), Algorithm::PS512));
        assert!(!has(&keyset, Some("a"), Algorithm::ES256) && !has(&keyset, Some("a"), Algorithm::HS256));

        let pinned = read(&[with(rsa_of(2048), "alg", "RS384")]).unwrap();
        assert!(has(&pinned, Some("a"), Algorithm::RS384) && !has(&pinned, Some("a"), Algorithm::RS256));

        let ec = json!({ "kty": "EC", "crv": "P-256", "x": b64(&[1; 32]), "y": b64(&[1; 32]) });
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(&[1; 32]) });
        let both = read(&[ec, ed]).unwrap();
        assert!(has(&both, None, Algorithm::ES256) && has(&both, None, Algorithm::EdDSA));
        assert!(!has(&both, None, Algorithm::ES384));
    }

    #[test]
    fn what_does_not_verify_is_passed_over() {
        for key in [
            rsa_of(1024),
            rsa_of(2040),
            rsa_of(16384),
            with(rsa_of(2048), "use", "enc"),
            with(rsa_of(2048), "alg", "RSA-OAEP"),
            with(rsa_of(2048), "alg", "HS256"),
            with(rsa_of(2048), "alg", "none"),
            with(rsa_of(2048), "n", "not base64!"),
            with(rsa_of(2048), "e", ""),
            json!({ "kty": "oct", "kid": "a", "k": b64(&[1; 32]), "alg": "HS256" }),
            json!({ "kty": "RSA", "n": 1, "e": [] }),
            json!({ "kty": "RSA", "key_ops": ["encrypt"], "n": b64(&[0x80; 256]), "e": "AQAB" }),
            json!({ "kty": "EC", "crv": "P-256", "x": b64(&[1; 31]), "y": b64(&[1; 32]) }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": b64(&[1; 32]), "y": b64(&[1; 32]) }),
            json!({ "kty": "OKP", "crv": "X25519", "x": b64(&[1; 32]) }),
            json!("key"),
            json!(null),
        ] {
            assert_eq!(read(std::slice::from_ref(&key)).err(), Some(InvalidKeyset::NoneUsable), "{key}");
            assert!(read(&[key, rsa_of(2048)]).is_ok());
        }
    }

    #[test]
    fn what_is_no_key_set_is_told_so() {
        for document in [json!(null), json!([]), json!({}), json!({ "keys": {} }), json!({ "keys": "a" })] {
            assert_eq!(Keyset::read(&document).err(), Some(InvalidKeyset::Form), "{document}");
        }
        assert_eq!(read(&[]).err(), Some(InvalidKeyset::NoneUsable));
        assert_eq!(read(&vec![rsa_of(2048); 101]).err(), Some(InvalidKeyset::TooMany));
        assert_eq!(read(&[with(rsa_of(2048), "d", "AQAB")]).err(), Some(InvalidKeyset::Private));
    }

    #[test]
    fn without_a_name_there_must_be_no_choice() {
        let one = read(&[rsa_of(2048)]).unwrap();
        assert!(has(&one, None, Algorithm::RS256) && !has(&one, Some("b"), Algorithm::RS256));
        let two = read(&[rsa_of(2048), with(rsa_of(2048), "kid", "b")]).unwrap();
        assert!(!has(&two, None, Algorithm::RS256) && has(&two, Some("b"), Algorithm::RS256));
    }
}
