//! Tokens which others have signed: the id tokens of a realm's identity provider, access tokens of its token service,
//! assertions of a client who signs for himself.
//!
//! Lives here: where their keys come from ([`source`]) and what makes one believable ([`token`]). Not here: who the
//! token speaks of, and what he may do.

pub mod source;
pub mod token;

use jiff::Timestamp;

use crate::model::jwk::KeySource;
use source::Sources;
use token::{Claims, Expected, Flaw, Foreign};

/// Why a token of somebody else is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// Whether it is good cannot be said now.
    #[error("the public keys of the issuer are not to be had")]
    Keys(#[from] source::Error),
}

impl Sources {
    /// What `token` says, if it is signed with a key of `from` and says what is expected.
    pub async fn verify(
        &self,
        token: &Foreign<'_>,
        from: &KeySource,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Result<Claims, Error> {
        Ok(token.verify(&*self.keys(from, token).await?, expected, now)?)
    }
}
