//! OAuth for SCIM: a client of a realm proves who it is and gets a token which opens the realm's SCIM for a while
//! (RFC 6749 §4.4); issuers which the realm trusts give tokens of their own that open it as well.
//!
//! Lives here: who a client is ([`client`]), what our tokens say, and who presents one ([`token`]). Not here: HTTP, the
//! static tokens (`caller`), operators.

pub mod client;
pub mod token;

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use crate::access::{keys::Keys, operator::password::Verifier};

/// What the token endpoints of all realms stand on.
pub struct Issuing {
    keys: Arc<Keys>,
    /// Scheme and authority of the platform, no slash at its end.
    public_url: String,
    /// How long a token lives; whole seconds.
    life: Duration,
    secrets: Verifier,
    /// Assertions that were accepted, until the last of them has expired.
    accepted: Cache<client::Accepted, ()>,
}

impl Issuing {
    pub fn new(keys: Arc<Keys>, public_url: String, life: Duration) -> Self {
        Self { keys, public_url, life, secrets: Verifier::new(), accepted: client::accepted() }
    }

    /// `iss` of the tokens of a realm.
    fn issuer(&self, realm: &str) -> String {
        format!("{}/realms/{realm}", self.public_url)
    }

    /// `aud` of the tokens of a realm: its SCIM base URL on the platform's host.
    fn audience(&self, realm: &str) -> String {
        format!("{}/scim/v2", self.issuer(realm))
    }
}
