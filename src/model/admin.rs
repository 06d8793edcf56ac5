//! Operators: who may use the admin API.

use super::AdminId;

/// An operator of the `master` realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub id: AdminId,
    /// As it was given; the store compares it folded.
    pub username: String,
    /// A disabled operator cannot sign in, and tokens held already are refused.
    pub enabled: bool,
}

/// Argon2id hash of an operator's password, in PHC form. Does not print.
pub struct PasswordHash(String);

impl PasswordHash {
    pub fn from_phc(phc: String) -> Self {
        Self(phc)
    }

    pub fn as_phc(&self) -> &str {
        &self.0
    }
}
