//! The verbs. One function is one transaction and its events: all of it happens, or nothing.
//!
//! Lives here: what POST, PUT, PATCH, DELETE mean for a realm under its sync policy; what operators do to realms. Not
//! here: HTTP, caches, SQL. A handler which changes a realm tells `access` to forget it; a verb never does.

pub mod audit;
pub mod clients;
pub mod cut_over;
pub mod export;
pub mod extensions;
pub mod groups;
pub mod guard;
pub mod history;
pub mod identity;
pub mod import;
pub mod keys;
pub mod list;
pub mod operators;
pub mod people;
pub mod realms;
pub mod roles;
pub mod sign_in;
pub mod streams;
pub mod tokens;
pub mod undo;
pub mod users;
pub mod webhooks;

use uuid::Uuid;

use crate::{
    model::{
        Scope,
        policy::{Policy, UnknownMembers},
        request_log::Outcome,
    },
    scim::{self, patch::Effect, resource::Admission},
    store::{self, Store, tx::RealmTx},
};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a verb did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request breaks a rule of the protocol.
    #[error(transparent)]
    Scim(#[from] scim::error::Error),
    #[error("{0}")]
    NotFound(String),
    /// `If-Match` names another version than the one that is there (RFC 7644 §3.14).
    #[error("the resource is at version {0}: read it again, then repeat the change")]
    Precondition(String),
    /// An operator's wish for what the IdP alone may do.
    #[error("{0}")]
    Managed(String),
    /// An operator's wish which does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// The realm which an operator wants to create is there already.
    #[error("the realm `{0}` exists already")]
    Exists(String),
    /// An operator's wish which cannot be understood.
    #[error("{0}")]
    Invalid(String),
    /// What was is no longer known.
    #[error("{0}")]
    Gone(String),
    #[error(transparent)]
    Store(#[from] store::error::Error),
    /// What is stored is not a resource: a foreign hand has been in the database.
    #[error("the stored document of {0} is damaged")]
    Damaged(Uuid),
}

/// Which version of a resource a client has in mind (RFC 7644 §3.14; RFC 9110 §13.1): headers, as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Preconditions<'a> {
    pub if_match: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
}

impl Preconditions<'_> {
    /// May a resource of that version be changed?
    fn check(self, version: i64) -> Result<()> {
        if self.is_known(version)? { Err(Error::Precondition(etag(version))) } else { Ok(()) }
    }

    /// Does the client have that version already, so that a reader need not be sent it? Refused if it wants another one.
    pub fn is_known(self, version: i64) -> Result<bool> {
        if self.if_match.is_some_and(|tags| !names(tags, version)) {
            return Err(Error::Precondition(etag(version)));
        }
        Ok(self.if_none_match.is_some_and(|tags| names(tags, version)))
    }
}

/// A list of entity tags, or `*`. Weak tags are compared by what they name, as RFC 7644 §3.14 uses them.
fn names(tags: &str, version: i64) -> bool {
    let current = etag(version);
    let matches = |tag: &str| tag == "*" || tag == current || Some(tag) == current.strip_prefix("W/");
    tags.split(',').map(str::trim).any(matches)
}

/// `meta.version` and the header `ETag` (RFC 7644 §3.14).
pub fn etag(version: i64) -> String {
    format!("W/\"{version}\"")
}

/// What became of each operation; `moved` tells whether any member came or went, `held` whether the leaver guard keeps
/// something back.
fn outcomes(effects: &[Effect], moved: bool, held: bool) -> Vec<Outcome> {
    let outcome = |effect: &Effect| match (effect.changed, effect.members) {
        (true, _) | (_, true) if held => Outcome::Held,
        (true, _) => Outcome::Applied,
        (_, true) if moved => Outcome::Applied,
        _ => Outcome::NoOp,
    };
    effects.iter().map(outcome).collect()
}

/// The id which a client names. Ids are `caseExact` (RFC 7643 §3.1), so only the spelling that we answer is one.
fn named_id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.to_string() == text)
}

/// What the realm's policy says of what is let in.
pub fn admission(policy: &Policy) -> Admission {
    Admission { unknown_attributes: policy.unknown_attributes, dialect: policy.dialect }
}

/// May groups of this realm have members who are yet to arrive?
fn awaits_members(scope: &Scope) -> bool {
    scope.realm.policy.unknown_members == UnknownMembers::Pending
}

/// Runs `body` with a transaction of the realm, which it commits; if it fails, nothing has happened. If two
/// transactions wait for each other, the one that Postgres ends begins again; so does one which found a row that
/// another deleted before it could be referred to.
async fn transaction<T, F>(store: &Store, scope: &Scope, body: impl Fn(RealmTx) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut tries = 1;
    loop {
        match body(store.begin(scope).await?).await {
            Err(Error::Store(store::error::Error::Deadlock | store::error::Error::Dangling(_))) if tries < 5 => {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}
