//! SCIM tokens: the plain one is shown once, the hash is kept. Two types which never mix, and neither prints.

use std::fmt;

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    TokenId,
    slow_hash::{InvalidHash, SlowHash},
};

const PREFIX: &str = "rgs_";
const CLIENT_PREFIX: &str = "rgc_";
const STREAM_PREFIX: &str = "rge_";
const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token in plain text: `rgs_`, 43 characters base62 (256 random bits), 6 characters base62 CRC-32 of what stands
/// before, so that scanners recognise it and garbage is refused without a look-up (DESIGN 5).
pub struct PlainToken(String);

/// SHA-256 of a presented or stored token. 256 random bits need no slow hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

/// In which form the hash of a token is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A token of ours, by SHA-256.
    Realmgate,
    /// A token of another product, in hexadecimal digits or base64.
    Sha256,
    Sha512,
    /// A token of another product, by a hash which is slow on purpose: bcrypt, Argon2 or PBKDF2.
    Phc,
}

/// What is known of a token that was given out elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownHash {
    /// SHA-256 or SHA-512: looked up.
    Digest(Vec<u8>),
    Slow(SlowHash),
}

/// A token which the operator brings along, known by its hash alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedToken {
    pub format: Format,
    pub hash: KnownHash,
    /// How its text begins, if that is known: what begins otherwise is not even compared with a slow hash.
    pub prefix: String,
    pub label: Option<String>,
    pub expires_at: Option<Timestamp>,
}

/// A SCIM token as the operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub id: TokenId,
    /// The first characters, enough to recognise it and too few to use it; empty if they are not known.
    pub prefix: String,
    pub format: Format,
    pub label: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// What an operator should know of a realm's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The last token has ended: the IdP is refused.
    Expired { at: Timestamp },
    /// The last token ends within thirty days.
    Expires { at: Timestamp },
    /// The newest token has not been used, while an older one still works: the IdP has not got it yet (M012).
    NotSwitched { old_ends_at: Option<Timestamp> },
}

impl Warning {
    /// Of all that is to be told about the tokens of a realm at `now`.
    pub fn of(tokens: &[Token], now: Timestamp) -> Vec<Self> {
        const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
        let Some(newest) = tokens.iter().max_by_key(|token| token.created_at) else { return Vec::new() };
        let works = |token: &&Token| token.expires_at.is_none_or(|end| end > now);
        let end = tokens.iter().try_fold(Timestamp::MIN, |latest, token| token.expires_at.map(|end| end.max(latest)));
        let expiry = end.and_then(|at| match () {
            () if at <= now => Some(Self::Expired { at }),
            () if at.duration_since(now) <= SOON => Some(Self::Expires { at }),
            () => None,
        });
        let older =
            tokens.iter().filter(|token| token.id != newest.id).filter(works).max_by_key(|token| token.created_at);
        let not_switched = older
            .filter(|_| newest.last_used_at.is_none())
            .map(|old| Self::NotSwitched { old_ends_at: old.expires_at });
        expiry.into_iter().chain(not_switched).collect()
    }

    /// The word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "token_expired",
            Self::Expires { .. } => "token_expires",
            Self::NotSwitched { .. } => "new_token_unused",
        }
    }
}

/// What to do about it.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { at } => write!(f, "the last token ended at {at}: rotate, and give the IdP the new one"),
            Self::Expires { at } => write!(f, "the last token ends at {at}: rotate before, with an overlap"),
            Self::NotSwitched { old_ends_at: Some(end) } => {
                write!(f, "the IdP has not used the new token yet, and the old one ends at {end}")
            }
            Self::NotSwitched { old_ends_at: None } => write!(f, "the IdP has not used the new token yet"),
        }
    }
}

impl PlainToken {
    /// Makes a token from the operating system's randomness.
    ///
    /// # Panics
    /// If the system has no randomness: no secret may be made then.
    pub fn generate() -> Self {
        Self::random(PREFIX)
    }

    /// Makes a secret of a client (RFC 6749 §2.3.1) in the same form, with the prefix `rgc_`.
    ///
    /// # Panics
    /// As [`PlainToken::generate`].
    pub fn for_client() -> Self {
        Self::random(CLIENT_PREFIX)
    }

    /// Makes the token which polls a stream of security event tokens, in the same form, with the prefix `rge_`.
    ///
    /// # Panics
    /// As [`PlainToken::generate`].
    pub fn for_stream() -> Self {
        Self::random(STREAM_PREFIX)
    }

    fn random(prefix: &str) -> Self {
        let mut bits = [0u8; 32];
        rand::fill(&mut bits).expect("the system's random source works");
        let mut text = String::with_capacity(prefix.len() + SECRET_CHARS + CHECKSUM_CHARS);
        text.push_str(prefix);
        text.push_str(&base62(bits));
        let checksum = crc32(text.as_bytes());
        let mut wide = [0u8; 32];
        wide[28..].copy_from_slice(&checksum.to_be_bytes());
        text.push_str(&base62(wide)[SECRET_CHARS - CHECKSUM_CHARS..]);
        Self(text)
    }

    /// The text, for the one answer which reveals it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What a list of tokens may show.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX.len() + 6]
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl TokenHash {
    /// Hash of whatever was presented.
    pub fn of(presented: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, presented.as_bytes()).as_ref());
        Self(hash)
    }

    /// As it was read from the store; `None` if that is no SHA-256.
    pub fn stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// SHA-512 of whatever was presented.
pub fn sha512(presented: &str) -> Vec<u8> {
    digest::digest(&digest::SHA512, presented.as_bytes()).as_ref().to_vec()
}

impl Format {
    /// The word for it, in the database as in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Realmgate => "realmgate",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Phc => "phc",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Realmgate, Self::Sha256, Self::Sha512, Self::Phc].into_iter().find(|format| format.as_str() == text)
    }
}

impl ImportedToken {
    /// A prefix and a label which can be kept and shown, or why not.
    pub fn checked(
        format: Format,
        hash: KnownHash,
        prefix: String,
        label: Option<String>,
        expires_at: Option<Timestamp>,
    ) -> Result<Self, &'static str> {
        if prefix.len() > 16 || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("`prefix` is how the token begins: at most 16 visible ASCII characters of it");
        }
        if label.as_ref().is_some_and(|label| label.len() > 200 || label.chars().any(char::is_control)) {
            return Err("`label` has at most 200 bytes and no control characters");
        }
        Ok(Self { format, hash, prefix, label, expires_at })
    }
}

impl KnownHash {
    /// Reads the text in which a product keeps a hash of that format.
    pub fn parse(format: Format, text: &str) -> Result<Self, InvalidHash> {
        let (name, length) = match format {
            Format::Phc => return SlowHash::parse(text).map(Self::Slow),
            Format::Realmgate | Format::Sha256 => ("SHA-256: 64 hexadecimal digits, or base64", 32),
            Format::Sha512 => ("SHA-512: 128 hexadecimal digits, or base64", 64),
        };
        let bytes = if text.len() == 2 * length { from_hex(text) } else { from_base64(text) };
        bytes.filter(|bytes| bytes.len() == length).map(Self::Digest).ok_or(InvalidHash::Damaged(name))
    }

    /// The text by which [`KnownHash::parse`] makes it again.
    pub fn text(&self) -> String {
        match self {
            Self::Digest(bytes) => general_purpose::STANDARD.encode(bytes),
            Self::Slow(hash) => hash.as_str().to_owned(),
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    digits.map(|digits| digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    general_purpose::STANDARD_NO_PAD.decode(text).ok()
}

/// Could `presented` be a token of another product? Visible ASCII, of which there are at most 4 KiB.
pub fn is_plausible(presented: &str) -> bool {
    (1..=4096).contains(&presented.len()) && presented.bytes().all(|b| b.is_ascii_graphic())
}

/// Has `presented` the form of a token of ours, checksum included? Says nothing about whether it is one.
pub fn is_well_formed(presented: &str) -> bool {
    is_sound(PREFIX, presented)
}

/// The same of a client's secret.
pub fn is_client_secret(presented: &str) -> bool {
    is_sound(CLIENT_PREFIX, presented)
}

/// The same of a token which polls a stream.
pub fn is_stream_token(presented: &str) -> bool {
    is_sound(STREAM_PREFIX, presented)
}

fn is_sound(prefix: &str, presented: &str) -> bool {
    let Some(rest) = presented.strip_prefix(prefix) else { return false };
    if rest.len() != SECRET_CHARS + CHECKSUM_CHARS || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let (body, checksum) = presented.split_at(prefix.len() + SECRET_CHARS);
    let mut wide = [0u8; 32];
    wide[28..].copy_from_slice(&crc32(body.as_bytes()).to_be_bytes());
    checksum == &base62(wide)[SECRET_CHARS - CHECKSUM_CHARS..]
}

/// 256 bits as 43 characters, big end first.
fn base62(mut bits: [u8; 32]) -> String {
    let mut digits = [0u8; SECRET_CHARS];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in &mut bits {
            let value = (rest << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).expect("rest < 62, so the quotient fits a byte");
            rest = value % 62;
        }
        *digit = ALPHABET[rest as usize];
    }
    digits.iter().map(|d| char::from(*d)).collect()
}

/// CRC-32 (IEEE 802.3), bit by bit: it runs once for each token presented, over 47 bytes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_generated_token_is_well_formed_and_its_own() {
        let (one, other) = (PlainToken::generate(), PlainToken::generate());
        assert_eq!(one.reveal().len(), 53);
        assert!(is_well_formed(one.reveal()));
        assert_ne!(one.hash(), other.hash());
        assert!(one.reveal().starts_with(one.prefix()));
    }

    #[test]
    fn an_operator_is_warned_of_the_last_token_alone() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let day = |days: i64| now.checked_add(SignedDuration::from_hours(24 * days)).unwrap();
        let token = |created: i64, ends: Option<i64>, used: Option<i64>| Token {
            id: TokenId(uuid::Uuid::now_v7()),
            prefix: String::new(),
            format: Format::Realmgate,
            label: None,
            created_at: day(created),
            expires_at: ends.map(day),
            last_used_at: used.map(day),
        };
        let words = |tokens: &[Token]| Warning::of(tokens, now).iter().map(Warning::word).collect::<Vec<_>>();
        assert_eq!(words(&[]), [""; 0]);
        assert_eq!(words(&[token(-9, None, None)]), [""; 0]);
        assert_eq!(words(&[token(-9, Some(31), Some(-1))]), [""; 0]);
        assert_eq!(words(&[token(-9, Some(30), Some(-1))]), ["token_expires"]);
        assert_eq!(words(&[token(-9, Some(0), Some(-1))]), ["token_expired"]);
        assert_eq!(words(&[token(-9, Some(1), Some(-1)), token(-1, None, Some(0))]), [""; 0]);
        assert_eq!(words(&[token(-9, Some(1), Some(-1)), token(-1, None, None)]), ["new_token_unused"]);
        assert_eq!(words(&[token(-9, Some(-1), Some(-2)), token(-1, None, None)]), [""; 0]);
    }

    #[test]
    fn tokens_and_secrets_of_clients_are_told_apart() {
        let (token, secret) = (PlainToken::generate(), PlainToken::for_client());
        assert!(is_client_secret(secret.reveal()) && !is_well_formed(secret.reveal()));
        assert!(!is_client_secret(token.reveal()));
    }

    #[test]
    fn a_digest_is_read_as_products_write_it() {
        let digest = TokenHash::of("sk_1");
        let hex = digest.as_bytes().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let base64 = general_purpose::STANDARD.encode(digest.as_bytes());
        let url = general_purpose::URL_SAFE_NO_PAD.encode(digest.as_bytes());
        let known = KnownHash::Digest(digest.as_bytes().to_vec());
        for text in [hex.clone(), hex.to_uppercase(), base64, url, known.text()] {
            assert_eq!(KnownHash::parse(Format::Sha256, &text), Ok(known.clone()), "{text}");
        }
        for (format, text) in
            [(Format::Sha512, hex.as_str()), (Format::Sha256, &hex[1..]), (Format::Sha256, ""), (Format::Phc, &hex)]
        {
            assert!(KnownHash::parse(format, text).is_err(), "{format:?} {text}");
        }
        assert_eq!(KnownHash::parse(Format::Sha512, &hex.repeat(2)).map(|hash| hash.text().len()), Ok(88));
    }

    #[test]
    fn one_wrong_character_is_seen_without_a_look_up() {
        let token = PlainToken::generate();
        for at in 0..token.reveal().len() {
            let mut bytes = token.reveal().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            assert!(!is_well_formed(std::str::from_utf8(&bytes).unwrap()), "position {at}");
        }
        assert!(!is_well_formed("") && !is_well_formed("rgs_") && !is_well_formed(&token.reveal()[..52]));
    }
}
