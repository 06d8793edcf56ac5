//! A realm: a tenant, with an identity provider of its own.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;

use super::{RealmId, identity::Identity, policy::Policy};
use crate::scim::schema::ResourceTypes;

/// The realm of the operators. It has no SCIM.
pub const MASTER: &str = "master";

/// A tenant, as a request needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Realm {
    pub id: RealmId,
    pub name: RealmName,
    pub display_name: Option<String>,
    pub enabled: bool,
    pub scim_enabled: bool,
    /// Does it hold tokens which another product gave out? Only then can a token have a form that is not ours.
    pub foreign_tokens: bool,
    /// Raised by every change of tokens, policy, domains or the realm itself: a verdict made under an older epoch
    /// opens nothing (DESIGN 5).
    pub epoch: i64,
    pub policy: Policy,
    pub identity: Identity,
    /// Those of the RFC, and the realm's own extensions.
    pub types: Arc<ResourceTypes>,
    pub cursor_key: CursorKey,
    pub created_at: Timestamp,
}

/// What the realm's cursors are signed with (RFC 9865): the same on every node, and no other realm's.
#[derive(Clone, PartialEq, Eq)]
pub struct CursorKey(Vec<u8>);

impl CursorKey {
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

/// A realm's name as it stands in URLs: `[a-z0-9][a-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct RealmName(String);

/// Why a text is not a realm's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a realm name has 1 to 63 of the characters a-z, 0-9, `.`, `_`, `-` and begins with a letter or digit")]
pub struct InvalidRealmName;

impl RealmName {
    pub fn parse(text: &str) -> Result<Self, InvalidRealmName> {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let first = bytes.first().is_some_and(|b| alphanumeric(*b));
        let rest = bytes.iter().all(|b| alphanumeric(*b) || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && bytes.len() <= 63 { Ok(Self(text.to_owned())) } else { Err(InvalidRealmName) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RealmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host name which belongs to exactly one realm: lower case, ASCII (IDNA A-labels), no port, no dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Domain(String);

/// Why a text is not a custom domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host name: write it without scheme, port and path, for example `id.acme.example`")]
pub struct InvalidDomain(String);

impl Domain {
    pub fn parse(text: &str) -> Result<Self, InvalidDomain> {
        let invalid = || InvalidDomain(text.chars().take(100).collect());
        let ascii = idna::domain_to_ascii_strict(text.strip_suffix('.').unwrap_or(text)).map_err(|_| invalid())?;
        let labels = ascii.split('.').count();
        let numeric = ascii.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
        if labels < 2 || numeric || ascii.len() > 253 { Err(invalid()) } else { Ok(Self(ascii)) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
