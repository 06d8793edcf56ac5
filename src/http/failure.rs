//! Every way in which a request can end without its answer. A status is chosen in `layer::rescue`, and only there.

use crate::{
    access::{self, oauth::client, operator::Refusal, quota::Spent},
    provision, scim, store,
};

pub type Result<T, E = Failure> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("there is nothing at this path")]
    NoRoute,
    /// The path is one that no client of ours would write: empty or dot segments, encoded slashes, broken encoding.
    #[error("the path is not in its normal form: no empty or dot segments, no encoded slashes")]
    OddPath,
    #[error("a request names exactly one host")]
    OddHost,
    /// What is allowed instead.
    #[error("this method is not allowed here; allowed: {0}")]
    Method(String),
    #[error("send application/scim+json or application/json")]
    MediaType,
    #[error("answers are application/scim+json or application/json: accept one of them")]
    NotAcceptable,
    /// What the RFC describes and this service does not have.
    #[error("{0}")]
    NotOffered(&'static str),
    /// The limit in bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    SlowBody,
    #[error("the body ended before it was complete")]
    BrokenBody,
    #[error("{0}")]
    Invalid(String),
    #[error("discovery cannot be filtered: read it without `filter`")]
    FilteredDiscovery,
    #[error(transparent)]
    Denied(#[from] access::Denied),
    /// An operator who is not known, or no longer.
    #[error("{0}")]
    NotAnOperator(&'static str),
    /// An operator who is known and may not do this.
    #[error("HTTP 403 Forbidden: your roles do not allow this here")]
    Forbidden,
    /// An answer of the token endpoint (RFC 6749 §5.2).
    #[error("{description}")]
    Grant { error: &'static str, description: String },
    /// A wrong name or password; Keycloak answers 401.
    #[error("Invalid user credentials")]
    WrongCredentials,
    /// A client of the token endpoint which is not known, or with a wrong secret (RFC 6749 §5.2).
    #[error("Invalid client or Invalid client credentials")]
    WrongClient,
    /// A token of the realm's identity provider which is not believed, or cannot be judged now.
    #[error("the id token is not accepted: {0}")]
    IdToken(access::foreign::Error),
    /// The id token is good, and its user may not come in.
    #[error("{description}")]
    SignIn { error: &'static str, description: &'static str },
    #[error(transparent)]
    Verb(#[from] provision::Error),
    /// The reader of events was away for too long.
    #[error(
        "those events are no longer kept: read the realm anew (an export tells the `seq` to go on from), or go on from the oldest, {oldest}"
    )]
    Forgotten { oldest: i64 },
    /// Too many requests are in flight.
    #[error("too many requests are in flight, try again in a moment")]
    Busy,
    /// The realm has sent more than its limit.
    #[error("{0}")]
    RateLimited(Spent),
    #[error("the request took too long")]
    TimedOut,
    #[error("something unforeseen happened; it is in the log under this request's id")]
    Panicked,
}

impl From<scim::error::Error> for Failure {
    fn from(error: scim::error::Error) -> Self {
        Failure::Verb(error.into())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongCredentials => Failure::WrongCredentials,
            Refusal::InvalidGrant(description) => {
                Failure::Grant { error: "invalid_grant", description: description.to_owned() }
            }
            Refusal::Unavailable(error) => error.into(),
        }
    }
}

impl From<client::Refusal> for Failure {
    fn from(refusal: client::Refusal) -> Self {
        match refusal {
            client::Refusal::Unknown => Failure::WrongClient,
            client::Refusal::Keys(error) => Failure::Denied(error.into()),
            client::Refusal::Denied(denied) => denied.into(),
        }
    }
}

impl From<store::error::Error> for Failure {
    fn from(error: store::error::Error) -> Self {
        Failure::Verb(error.into())
    }
}

impl Failure {
    /// Has the realm moved on since the caller was let in? Then nothing has happened, and asking again is right.
    pub fn is_stale(&self) -> bool {
        matches!(
            self,
            Failure::Verb(provision::Error::Store(store::error::Error::Stale))
                | Failure::Denied(access::Denied::Store(store::error::Error::Stale))
        )
    }
}
