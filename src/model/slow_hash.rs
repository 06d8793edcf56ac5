//! Hashes of tokens which another product has made slow to compute, in the texts in which such products keep them.
//!
//! What a comparison costs is bounded here, when the hash is read: whoever brings a hash does not decide how long the
//! node works at it. Incomplete support: scrypt, `$2x$`, SHA-1, and hashes with a key ("pepper") are refused.

use std::{fmt, num::NonZeroU32};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordVerifier, phc},
};
use aws_lc_rs::{constant_time, pbkdf2};
use base64::{
    Engine as _,
    alphabet::{self, Alphabet},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// About a second of a processor.
const MAX_BCRYPT_COST: u32 = 14;
/// KiB.
const MAX_ARGON2_MEMORY: u32 = 64 << 10;
const MAX_ARGON2_PASSES: u32 = 10;
const MAX_ARGON2_LANES: u32 = 16;
/// For all blocks of the hash together.
const MAX_PBKDF2_ITERATIONS: u32 = 2_000_000;
/// Bytes.
const MAX_LENGTH: usize = 512;
/// bcrypt looks at no more bytes of a text, the NUL behind it included.
const BCRYPT_WINDOW: usize = 72;

const BCRYPT: GeneralPurpose = engine(&alphabet::BCRYPT);
const STANDARD: GeneralPurpose = engine(&alphabet::STANDARD);

/// A hash which is compared, not looked up. Does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct SlowHash {
    text: String,
    scheme: Scheme,
}

#[derive(Clone, PartialEq, Eq)]
enum Scheme {
    Bcrypt { cost: u32, salt: [u8; 16], hash: [u8; 23] },
    Argon2(Box<phc::PasswordHash>),
    Pbkdf2 { algorithm: pbkdf2::Algorithm, iterations: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
}

/// Why a text is no hash that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    #[error(
        "the hash is in none of the forms $2a$ $2b$ $2y$ (bcrypt), $argon2id$ $argon2i$ $argon2d$, $pbkdf2-sha256$ \
         $pbkdf2-sha512$ (PHC or passlib), pbkdf2_sha256$ (Django)"
    )]
    Unknown,
    #[error("the hash begins like one of {0}, but is damaged: bring it exactly as the other product keeps it")]
    Damaged(&'static str),
    #[error(
        "one comparison with this hash costs too much: bcrypt up to cost {MAX_BCRYPT_COST}, Argon2 up to 64 MiB, \
         {MAX_ARGON2_PASSES} passes and {MAX_ARGON2_LANES} lanes, PBKDF2 up to {MAX_PBKDF2_ITERATIONS} iterations"
    )]
    TooSlow,
}

impl SlowHash {
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidHash::Unknown);
        }
        let scheme = if ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start)) {
            bcrypt(text)?
        } else if text.starts_with("$argon2") {
            argon2(text)?
        } else if text.starts_with("$pbkdf2-sha") || text.starts_with("pbkdf2_sha") {
            pbkdf2(text)?
        } else {
            return Err(InvalidHash::Unknown);
        };
        Ok(Self { text: text.to_owned(), scheme })
    }

    /// As the other product keeps it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Is it the hash of `presented`? Compared in constant time; takes up to a second of a processor.
    pub fn matches(&self, presented: &str) -> bool {
        match &self.scheme {
            Scheme::Bcrypt { cost, salt, hash } => {
                let mut window = [0; BCRYPT_WINDOW];
                let length = presented.len().min(BCRYPT_WINDOW);
                window[..length].copy_from_slice(&presented.as_bytes()[..length]);
                let computed = bcrypt::bcrypt(*cost, *salt, &window[..(length + 1).min(BCRYPT_WINDOW)]);
                constant_time::verify_slices_are_equal(&computed[..hash.len()], hash).is_ok()
            }
            Scheme::Argon2(hash) => Argon2::default().verify_password(presented.as_bytes(), hash.as_ref()).is_ok(),
            Scheme::Pbkdf2 { algorithm, iterations, salt, hash } => {
                pbkdf2::verify(*algorithm, *iterations, salt, presented.as_bytes(), hash).is_ok()
            }
        }
    }
}

impl fmt::Debug for SlowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowHash(..)")
    }
}

/// `$2b$12$` and 22 characters of salt, 31 of hash.
fn bcrypt(text: &str) -> Result<Scheme, InvalidHash> {
    let damaged = || InvalidHash::Damaged("bcrypt");
    let (cost, rest) = text[4..].split_once('$').ok_or_else(damaged)?;
    let cost: u32 = cost.parse().map_err(|_| damaged())?;
    let (salt, hash) = rest.split_at_checked(22).filter(|_| rest.len() == 53).ok_or_else(damaged)?;
    if cost > MAX_BCRYPT_COST {
        return Err(InvalidHash::TooSlow);
    }
    if cost < 4 {
        return Err(damaged());
    }
    let bytes = |text| BCRYPT.decode(text).map_err(|_| damaged());
    let (salt, hash) = (bytes(salt)?, bytes(hash)?);
    let salt = salt.try_into().map_err(|_| damaged())?;
    Ok(Scheme::Bcrypt { cost, salt, hash: hash.try_into().map_err(|_| damaged())? })
}

fn argon2(text: &str) -> Result<Scheme, InvalidHash> {
    let damaged = || InvalidHash::Damaged("Argon2");
    let hash = phc::PasswordHash::new(text).map_err(|_| damaged())?;
    let params = Params::try_from(&hash).map_err(|_| damaged())?;
    if !["argon2id", "argon2i", "argon2d"].contains(&hash.algorithm.as_str())
        || hash.salt.is_none()
        || hash.hash.is_none()
    {
        return Err(damaged());
    }
    if params.m_cost() > MAX_ARGON2_MEMORY || params.t_cost() > MAX_ARGON2_PASSES || params.p_cost() > MAX_ARGON2_LANES
    {
        return Err(InvalidHash::TooSlow);
    }
    Ok(Scheme::Argon2(Box::new(hash)))
}

/// `$pbkdf2-sha256$i=29000,l=32$salt$hash` (PHC), `$pbkdf2-sha256$29000$salt$hash` (passlib, which writes `.` for `+`),
/// `pbkdf2_sha256$29000$salt$hash` (Django, whose salt is text).
fn pbkdf2(text: &str) -> Result<Scheme, InvalidHash> {
    let damaged = || InvalidHash::Damaged("PBKDF2");
    let django = !text.starts_with('$');
    let parts: Vec<&str> = text.trim_start_matches('$').split('$').collect();
    let [name, parameters, salt, hash] = parts[..] else { return Err(damaged()) };
    let (algorithm, block) = match name.replace('_', "-").as_str() {
        "pbkdf2-sha256" => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        "pbkdf2-sha512" => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        _ => return Err(InvalidHash::Unknown),
    };
    let iterations = parameters.split(',').find_map(|parameter| parameter.strip_prefix("i=")).unwrap_or(parameters);
    let iterations: NonZeroU32 = iterations.parse().map_err(|_| damaged())?;
    let bytes = |text: &str| STANDARD.decode(text.replace('.', "+")).map_err(|_| damaged());
    let salt = if django { salt.as_bytes().to_vec() } else { bytes(salt)? };
    let hash = bytes(hash)?;
    if hash.len() < 16 || hash.len() > 128 {
        return Err(damaged());
    }
    let blocks = u32::try_from(hash.len().div_ceil(block)).unwrap_or(u32::MAX);
    if iterations.get().saturating_mul(blocks) > MAX_PBKDF2_ITERATIONS {
        return Err(InvalidHash::TooSlow);
    }
    Ok(Scheme::Pbkdf2 { algorithm, iterations, salt, hash })
}

/// Some products pad and some do not, some leave bits behind the last byte.
const fn engine(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "sk_live_4f6a1c";

    /// Made by bcrypt, argon2-cffi, passlib, Django's hasher and hashlib for Python.
    const KNOWN: [&str; 11] = [
        "$2b$05$CnmM4BGpLQJfNtvjW2UvGOEMIvZ8J43Z4mGb3dSerBP05bcCFyPlm",
        "$2a$05$CnmM4BGpLQJfNtvjW2UvGOEMIvZ8J43Z4mGb3dSerBP05bcCFyPlm",
        "$2y$05$CnmM4BGpLQJfNtvjW2UvGOEMIvZ8J43Z4mGb3dSerBP05bcCFyPlm",
        "$argon2id$v=19$m=256,t=2,p=2$VfXda9eD1FMR/wixfZui8w$M1X97tAAvlmKg56UEBM1EnU78SEermi2tGtK4DGbaT4",
        "$argon2i$v=19$m=256,t=2,p=2$9GJ4BrVmde4R2WFtc4kxPA$sXmkT6LNO7wzqj4w0m6WIEd9BpDycglGtrubRyoHozM",
        "$argon2d$v=19$m=256,t=2,p=2$KJRSQXBaQNGXCmrKQmz+tA$7Jg5ZmRo6qNq+G667qlGKyLHo9xRbfsE1dfypV253Xc",
        "$pbkdf2-sha256$1000$7X0PwTin1Ppfy7nXmtO6dw$oshR9Sis1pCOhC3K1kx.N7V3xWYP6D5Oi5km3vLNTSY",
        "$pbkdf2-sha512$1000$D2HsnZMSQmgthVDK2VvrnQ$H5MVL2AINsHCRIcP3nBDGD73LAd3apK7AnyPzOZnmWUtmRPp.2L9grNlqbPZ1oyRSIrj5azXi5zIZJlnP0Ih6A",
        "pbkdf2_sha256$1000$NaClNaCl$zsWRjusaYkvFQpNsxD5IVzhoFOMFkajF0H/jdv+pnKI=",
        "$pbkdf2-sha256$i=1000,l=32$c29tZSBzYWx0$DMHBE92WBzIxcoCNfXL5q3GAApKOiO7ZmJyD2lVzZS0",
        "$pbkdf2-sha512$i=1000,l=64$c29tZSBzYWx0$VEizPZ26t8BoYxSDIGAntlOj5Ghm2Azvlyn002AMIFEH9ZLRpbNiOngY5xf6Wj+sGSzEYHgU1x+cdpaU1XnIeQ",
    ];

    /// Of 72 times `x`.
    const LONG: &str = "$2b$05$ks5G.SXDg10EIC0YEGd3TO8kzq.mlX4Z8aNk4zW0ArbbLpxAsMmWG";

    #[test]
    fn each_form_knows_its_token_and_no_other() {
        for hash in KNOWN {
            let hash = SlowHash::parse(hash).unwrap_or_else(|e| panic!("{hash}: {e}"));
            assert!(hash.matches(TOKEN), "{}", hash.as_str());
            for wrong in ["", "sk_live_4f6a1", "sk_live_4f6a1d", "SK_LIVE_4F6A1C"] {
                assert!(!hash.matches(wrong), "{}: {wrong}", hash.as_str());
            }
        }
    }

    #[test]
    fn bcrypt_looks_at_72_bytes() {
        let hash = SlowHash::parse(LONG).unwrap();
        assert!(hash.matches(&"x".repeat(72)) && hash.matches(&"x".repeat(100)));
        assert!(!hash.matches(&"x".repeat(71)));
    }

    #[test]
    fn what_would_keep_the_node_busy_is_refused() {
        let salted = "$2b$15$PTSwzbqyYkbzDcL6/RcgceUbVcUfwKTzuG6bzcpIW4VVGFKqLYsWu";
        for slow in [
            salted,
            "$argon2id$v=19$m=65537,t=2,p=1$c2FsdHNhbHQ$Vx2tW5HHG3xLBJhdMSdVXUuSjdkmTGWS4aSRCTXkEPA",
            "$argon2id$v=19$m=64,t=11,p=1$c2FsdHNhbHQ$Vx2tW5HHG3xLBJhdMSdVXUuSjdkmTGWS4aSRCTXkEPA",
            "$pbkdf2-sha256$2000001$c2FsdHNhbHQ$Vx2tW5HHG3xLBJhdMSdVXUuSjdkmTGWS4aSRCTXkEPA",
            "$pbkdf2-sha256$1000001$c2FsdHNhbHQ$Vx2tW5HHG3xLBJhdMSdVXUuSjdkmTGWS4aSRCTXkEPAVx2tW5HHG3xLBJhdMSdVXUuSjdkmTGWS4aSRCTXkEPA",
        ] {
            assert_eq!(SlowHash::parse(slow).unwrap_err(), InvalidHash::TooSlow, "{slow}");
        }
    }

    #[test]
    fn what_is_no_hash_is_refused_by_its_kind() {
        for (text, why) in [
            ("", InvalidHash::Unknown),
            ("secret", InvalidHash::Unknown),
            ("$2x$05$PTSwzbqyYkbzDcL6/RcgceUbVcUfwKTzuG6bzcpIW4VVGFKqLYsWu", InvalidHash::Unknown),
            ("$scrypt$ln=16,r=8,p=1$c2FsdA$aGFzaA", InvalidHash::Unknown),
            ("$2b$05$short", InvalidHash::Damaged("bcrypt")),
            ("$2b$é5$PTSwzbqyYkbzDcL6/RcgceUbVcUfwKTzuG6bzcpIW4VVGFKqLYsWu", InvalidHash::Damaged("bcrypt")),
            ("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ", InvalidHash::Damaged("Argon2")),
            ("$argon2xx$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$Vx2tW5HHG3xLBJhdMSdVXUuSjdk", InvalidHash::Damaged("Argon2")),
            ("$pbkdf2-sha256$0$c2FsdA$Vx2tW5HHG3xLBJhdMSdVXUuSjdk", InvalidHash::Damaged("PBKDF2")),
            ("$pbkdf2-sha256$1000$c2FsdA$aGFzaA", InvalidHash::Damaged("PBKDF2")),
            ("$pbkdf2-sha1$1000$c2FsdA$Vx2tW5HHG3xLBJhdMSdVXUuSjdk", InvalidHash::Unknown),
        ] {
            assert_eq!(SlowHash::parse(text).unwrap_err(), why, "{text}");
        }
    }
}
