//! Clients of the token endpoint: the IdP's side of a realm which wants short-lived tokens; in `master` a service account.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;

use super::{ClientId, admin::PasswordHash, jwk::KeySource, token::TokenHash};

/// The client of `master` through which people sign in. It needs no secret.
pub const PUBLIC_CLIENT: &str = "admin-cli";

/// How Keycloak's clients of `master` end which stand for realms: `acme-realm` has the roles in `acme`.
pub const OF_A_REALM: &str = "-realm";

/// A client (RFC 6749 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub id: ClientId,
    /// `client_id`: chosen by the operator, unique in the realm.
    pub client_id: String,
    pub name: Option<String>,
    /// A disabled client gets no tokens, and those which it has are refused.
    pub enabled: bool,
    pub method: Method,
    /// Where its public keys are, with which `private_key_jwt` is verified.
    pub keys: Option<KeySource>,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A secret (RFC 6749 §2.3.1).
    ClientSecret,
    /// An assertion which it signs (RFC 7523 §2.2).
    PrivateKeyJwt,
}

/// What is kept of a secret. Does not print.
pub enum SecretHash {
    /// Of a secret that we made: 256 random bits need no slow hash.
    Random(TokenHash),
    /// Of a secret that somebody chose.
    Chosen(PasswordHash),
}

/// Why a text is not a `client_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client id has 1 to 255 printable ASCII characters, none of them a blank")]
pub struct InvalidClientId;

impl Client {
    /// Checks the form of a `client_id` (RFC 6749 appendix A.1).
    pub fn check_id(client_id: &str) -> Result<(), InvalidClientId> {
        let fits = (1..=255).contains(&client_id.len()) && client_id.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(()) } else { Err(InvalidClientId) }
    }
}

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecret => "client_secret",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::ClientSecret, Self::PrivateKeyJwt].into_iter().find(|method| method.as_str() == text)
    }
}

impl SecretHash {
    /// Is it the hash of that secret of ours? Takes the same time whatever it is.
    pub fn is_of_random(&self, presented: TokenHash) -> bool {
        match self {
            Self::Random(hash) => verify_slices_are_equal(hash.as_bytes(), presented.as_bytes()).is_ok(),
            Self::Chosen(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_is_printable_ascii() {
        for good in ["entra", "https://acme.example/scim", "a:b%c", &"x".repeat(255)] {
            assert_eq!(Client::check_id(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a\n", "ä", &"x".repeat(256)] {
            assert_eq!(Client::check_id(bad), Err(InvalidClientId), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_known_by_its_hash() {
        let hash = SecretHash::Random(TokenHash::of("a"));
        assert!(hash.is_of_random(TokenHash::of("a")) && !hash.is_of_random(TokenHash::of("b")));
        let chosen = SecretHash::Chosen(PasswordHash::from_phc(String::new()));
        assert!(!chosen.is_of_random(TokenHash::of("")));
    }
}
