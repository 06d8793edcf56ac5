//! Tokens of our own: signing, and verification as a pure function of token, key and time.
//!
//! Nothing in a token chooses how it is verified. The algorithm is ES256 and no other, the header is exactly the one
//! that [`Signer`] writes (so neither `crit`, `jwk`, `jku`, `x5u` nor `x5c` is ever acted on), and each claim is
//! required and typed: a claim of the wrong type is an error, not an absence. What a token says is the affair of those
//! who have it signed: [`Claims`].

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, dangerous::insecure_decode_claims};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// Longer than any token of ours.
pub const MAX_LENGTH: usize = 8192;

/// By how many seconds the clock of the node which signed may be ahead of ours.
pub const CLOCK_SKEW: i64 = 30;

/// Names a key: random enough to be unique, and public.
pub type Kid = Uuid;

/// What every token of ours says, whatever it is for. Times are seconds since 1970.
pub trait Claims: DeserializeOwned {
    fn exp(&self) -> i64;
    fn nbf(&self) -> i64;
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Not a token of ours by its form, claims, audience or issuer, or one for another use.
    Foreign,
    /// No node has published its key, or the signature is not of that key.
    Unsigned,
    /// Not valid yet.
    Early,
    Expired,
}

/// A token by its form: read, not believed.
pub struct Presented<'a> {
    token: &'a str,
    kid: Kid,
}

/// A key pair. The private half is in the memory of this process and nowhere else; it does not print.
pub struct Signer {
    pub(super) header: Header,
    pub(super) private_key: EncodingKey,
    public_key: Vec<u8>,
    kid: Kid,
}

impl<'a> Presented<'a> {
    /// Reads the form: refuses a SCIM token, or whatever else is not a token of ours, without any look-up.
    pub fn read(token: &'a str) -> Result<Self, Flaw> {
        if token.len() > MAX_LENGTH {
            return Err(Flaw::Foreign);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Flaw::Foreign)?;
        let kid = header.kid.as_deref().and_then(|kid| Kid::try_parse(kid).ok()).ok_or(Flaw::Foreign)?;
        if header == header_of(kid) { Ok(Self { token, kid }) } else { Err(Flaw::Foreign) }
    }

    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// The claims, if `key` (the one of [`Presented::kid`], `None` if nobody has it) signed them as `issuer`, for
    /// `audience`.
    pub fn open<C: Claims>(
        &self,
        key: Option<&DecodingKey>,
        issuer: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<C, Flaw> {
        let claims: C = match key {
            Some(key) => jsonwebtoken::decode(self.token, key, &validation(issuer, audience)).map_err(flaw_of)?.claims,
            // Keys go when their last token has expired. Refused it is in either case, but a client signs in anew
            // only if it is told that the token is too old.
            None => match insecure_decode_claims::<C>(self.token) {
                Ok(claims) if claims.exp() <= now.as_second() => return Err(Flaw::Expired),
                _ => return Err(Flaw::Unsigned),
            },
        };
        let now = now.as_second();
        match () {
            () if claims.exp() <= now => Err(Flaw::Expired),
            () if claims.nbf() > now.saturating_add(CLOCK_SKEW) => Err(Flaw::Early),
            () => Ok(claims),
        }
    }
}

impl Signer {
    /// Makes a key pair.
    ///
    /// # Panics
    /// If the system has no randomness: no secret may be made then.
    pub fn generate() -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("the system's random source works");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).expect("a key pair just made is well-formed");
        let kid = Uuid::now_v7();
        Self {
            header: header_of(kid),
            private_key: EncodingKey::from_ec_der(pkcs8.as_ref()),
            public_key: pair.public_key().as_ref().to_vec(),
            kid,
        }
    }

    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// Uncompressed point.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// # Panics
    /// If the system has no randomness.
    pub fn sign(&self, claims: &impl Serialize) -> String {
        jsonwebtoken::encode(&self.header, claims, &self.private_key)
            .expect("the key fits the algorithm, claims are JSON, and the system's random source works")
    }
}

/// The only header that tokens of ours have.
fn header_of(kid: Kid) -> Header {
    Header { kid: Some(kid.to_string()), ..Header::new(Algorithm::ES256) }
}

/// Times are left to [`Presented::open`], which is told the time.
fn validation(issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.validate_exp = false;
    validation
}

fn flaw_of(error: jsonwebtoken::errors::Error) -> Flaw {
    match error.into_kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => Flaw::Unsigned,
        _ => Flaw::Foreign,
    }
}
