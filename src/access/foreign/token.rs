//! A token which somebody else has signed (RFC 7519), verified as a pure function of token, keys, expectation and time.
//!
//! Nothing in a token chooses how it is verified: its `kid` picks among the keys that its issuer has published, each of
//! which says for itself which algorithms it is for. `jwk`, `jku`, `x5u` and `x5c` are never acted on, `crit` is refused
//! since there is nothing critical that we understand, and a claim of the wrong type is an error, not an absence.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation, dangerous::insecure_decode_claims, errors::ErrorKind};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use crate::model::jwk::Keyset;

/// In bytes. Entra's tokens with two hundred groups take about half of it.
const MAX_LENGTH: usize = 16 * 1024;

/// By how many seconds clocks may differ.
pub const CLOCK_SKEW: i64 = 60;

/// `typ` of tokens which say who somebody is or what he may do (RFC 9068 §2.1). Logout tokens, security events and
/// proofs of possession come from the same issuers, for the same audiences, and say neither.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// What a token must say to be believed.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `iss`, letter by letter.
    pub issuer: &'a str,
    /// `aud` names one of them.
    pub audiences: &'a [String],
    /// What further claims must be, or must hold if they are lists.
    pub claims: &'a BTreeMap<String, String>,
    /// How many seconds `exp` may lie ahead; any number if none.
    pub max_life: Option<i64>,
}

/// A token by its form: read, not believed.
#[derive(Debug)]
pub struct Foreign<'a> {
    token: &'a str,
    header: Header,
}

/// What a verified token says. Every name occurs once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

/// Why a token is not believed. For whoever sent it: says what is wrong, and nothing of what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it is not a signed JWT")]
    Form,
    #[error("its issuer publishes no key of that name for that algorithm")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    Early,
    #[error("it lives too long")]
    LongLived,
    /// Missing, of the wrong type, or not the value that is asked for.
    #[error("its claims are not those that are asked for")]
    Claims,
}

impl Flaw {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Flaw::Form => "malformed",
            Flaw::UnknownKey => "unknown_key",
            Flaw::Signature => "wrong_signature",
            Flaw::Issuer => "wrong_issuer",
            Flaw::Audience => "wrong_audience",
            Flaw::Expired => "expired",
            Flaw::Early => "early",
            Flaw::LongLived => "long_lived",
            Flaw::Claims => "wrong_claims",
        }
    }
}

impl<'a> Foreign<'a> {
    /// Reads the form: most of what is no token is refused here, before any key is looked for.
    pub fn read(token: &'a str) -> Result<Self, Flaw> {
        let is_whole = token.split('.').count() == 3 && token.split('.').all(|part| !part.is_empty());
        if token.len() > MAX_LENGTH || !is_whole {
            return Err(Flaw::Form);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Flaw::Form)?;
        let is_known_type = header.typ.as_deref().is_none_or(|typ| TYPES.iter().any(|t| t.eq_ignore_ascii_case(typ)));
        // RFC 7797: with `b64` the payload would be read in another way.
        let is_plain = header.crit.is_none()
            && header.enc.is_none()
            && header.zip.is_none()
            && !header.extras.inner().contains_key("b64");
        let is_symmetric = matches!(header.alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        if is_known_type && is_plain && !is_symmetric { Ok(Self { token, header }) } else { Err(Flaw::Form) }
    }

    /// Who it says has issued it: to choose whom to ask for keys, and for nothing else.
    pub fn claimed_issuer(&self) -> Result<String, Flaw> {
        let claims: Unique = insecure_decode_claims(self.token).map_err(|_| Flaw::Form)?;
        Claims(claims.0).text("iss").map(str::to_owned).ok_or(Flaw::Issuer)
    }

    /// What its signature is of: the same in two tokens only if they say the same.
    pub fn signed_part(&self) -> &'a str {
        self.token.rsplit_once('.').map_or(self.token, |(signed, _)| signed)
    }

    /// Is the key which it names among them?
    pub fn finds_its_key(&self, keys: &Keyset) -> bool {
        keys.find(self.header.kid.as_deref(), self.header.alg).is_some()
    }

    /// What it says, if one of `keys` has signed it and it says what is expected.
    pub fn verify(&self, keys: &Keyset, expected: &Expected<'_>, now: Timestamp) -> Result<Claims, Flaw> {
        let key = keys.find(self.header.kid.as_deref(), self.header.alg).ok_or(Flaw::UnknownKey)?;
        let signed = jsonwebtoken::decode::<Unique>(self.token, key, &signature_alone(self.header.alg));
        let claims = Claims(signed.map_err(|error| flaw_of(&error))?.claims.0);
        claims.check(expected, now.as_second())?;
        Ok(claims)
    }
}

impl Claims {
    /// A claim which is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A claim which is `true`. Some issuers write it as text.
    pub fn is_true(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| *value == true || *value == "true")
    }

    /// When it ends, in seconds since 1970.
    pub fn expires_at(&self) -> i64 {
        self.time("exp").ok().flatten().unwrap_or(0)
    }

    fn check(&self, expected: &Expected<'_>, now: i64) -> Result<(), Flaw> {
        if self.text("iss") != Some(expected.issuer) {
            return Err(Flaw::Issuer);
        }
        let is_ours = |audience: &str| expected.audiences.iter().any(|ours| ours == audience);
        match self.0.get("aud") {
            Some(Value::String(audience)) if is_ours(audience) => {}
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
                if !all.iter().filter_map(Value::as_str).any(is_ours) {
                    return Err(Flaw::Audience);
                }
            }
            _ => return Err(Flaw::Audience),
        }
        let exp = self.time("exp")?.ok_or(Flaw::Claims)?;
        let begins = self.time("nbf")?.max(self.time("iat")?);
        let said = |name: &str, wanted: &str| match self.0.get(name) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Array(all)) => all.iter().any(|value| value == wanted),
            _ => false,
        };
        match () {
            () if exp.saturating_add(CLOCK_SKEW) <= now => Err(Flaw::Expired),
            () if begins.is_some_and(|begins| begins > now.saturating_add(CLOCK_SKEW)) => Err(Flaw::Early),
            () if expected.max_life.is_some_and(|life| exp > now.saturating_add(life + CLOCK_SKEW)) => {
                Err(Flaw::LongLived)
            }
            () if !expected.claims.iter().all(|(name, wanted)| said(name, wanted)) => Err(Flaw::Claims),
            () => Ok(()),
        }
    }

    /// A NumericDate (RFC 7519 §2) in whole seconds; absent or a number, and nothing else.
    fn time(&self, name: &str) -> Result<Option<i64>, Flaw> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float as an integer saturates, and its fraction is no loss"
        )]
        let whole = |number: &serde_json::Number| number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => whole(number).map(Some).ok_or(Flaw::Claims),
            Some(_) => Err(Flaw::Claims),
        }
    }
}

/// An object whose names each occur once: of two, one reader would see the first and another the last.
struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Unique;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(de::Error::custom("a claim occurs twice"));
                    }
                }
                Ok(Unique(map))
            }
        }

        from.deserialize_map(Visitor)
    }
}

/// Claims are left to [`Claims::check`], which is told the time and what is expected.
fn signature_alone(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims = HashSet::new();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

fn flaw_of(error: &jsonwebtoken::errors::Error) -> Flaw {
    match error.kind() {
        ErrorKind::InvalidSignature => Flaw::Signature,
        _ => Flaw::Form,
    }
}

#[cfg(test)]
mod tests;
