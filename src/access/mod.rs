//! Which realm, which caller. The only place where a [`Scope`] is made.
//!
//! Lives here: from path and host to a realm, from a bearer token to a caller, and the caches of both. Not here: what
//! the caller may then do, SCIM, SQL.
//!
//! **Invariant:** nothing that is cached can open the store. Each verdict carries the epoch of its realm, the store
//! checks it again in the transaction which does the work, and [`Access::forget`] outruns look-ups under way.

pub mod caller;
pub mod foreign;
pub mod invalidate;
pub mod jwt;
pub mod keys;
pub mod oauth;
pub mod operator;
pub mod quota;
pub mod realm;
pub mod sign_in;
mod slow;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::{
    model::{RealmId, Scope, realm::Domain, token::TokenHash},
    store::{self, Store},
    telemetry::Authentication,
};
use caller::Verdict;
use foreign::source::Sources;
use invalidate::Bus;
use oauth::Issuing;
use realm::Known;
use slow::SlowTokens;

/// How long and how much is cached.
#[derive(Debug, Clone)]
pub struct Options {
    /// The host by which the platform is known: no realm's domain, whatever the database says.
    pub platform: Option<Domain>,
    /// Of realms and of verdicts on good tokens: the bound for a node which could not hear of a change.
    pub ttl: Duration,
    pub entries: u64,
    /// Of verdicts on unknown tokens. Short, and counted apart, so that wrong tokens push out no good ones.
    pub unknown_ttl: Duration,
    pub unknown_entries: u64,
}

/// Resolves realms and authenticates callers. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    platform: Option<Domain>,
    sources: Sources,
    issuing: Issuing,
    realms: Cache<realm::Key, Known>,
    verdicts: Cache<(RealmId, TokenHash), Arc<Verdict>>,
    unknown: Cache<(RealmId, TokenHash), i64>,
    slow: SlowTokens,
    /// Counts what was forgotten: what was looked up under an earlier count is not used.
    generation: AtomicU64,
    bus: Option<Bus>,
    /// Something was changed here, which the bus is to tell.
    changed: Notify,
    /// Strangers may keep this many connections of the pool busy, and no more.
    look_ups: Semaphore,
}

/// Why a request may not go on.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The host is the custom domain of another realm: the path names nothing that exists here.
    #[error("there is no such path on this host")]
    ElsewhereOnly,
    /// One answer for every cause, so that nobody can list realms; `reason` is for the operator alone.
    #[error("{}", if *token_given { "the bearer token is not valid for this realm" } else { "a bearer token is needed" })]
    Unauthorized { realm: String, token_given: bool, reason: Reason },
    /// Who asks is not known because the keys of an issuer are not to be had.
    #[error("the public keys of the token's issuer cannot be fetched at the moment")]
    Keys(#[from] foreign::source::Error),
    /// Whether the token is good takes longer to find out than anybody should wait.
    #[error("too many unknown tokens are being looked at, try again in a moment")]
    Busy,
    /// Who asks is not known because the store is away.
    #[error(transparent)]
    Store(#[from] store::error::Error),
}

/// The true cause of a 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    NoToken,
    /// The header is not `Bearer <token>`.
    Malformed,
    /// `Bearer Bearer <token>`: the admin typed the prefix where the IdP adds it (M019, X7).
    DoubledPrefix,
    /// Not in the form of a token of ours, or its checksum is wrong.
    NotAToken,
    UnknownToken,
    ExpiredToken,
    UnknownRealm,
    RealmDisabled,
    ScimDisabled,
}

impl Reason {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NoToken => "no_token",
            Reason::Malformed => "malformed",
            Reason::DoubledPrefix => "doubled_prefix",
            Reason::NotAToken => "not_a_token",
            Reason::UnknownToken => "unknown_token",
            Reason::ExpiredToken => "expired_token",
            Reason::UnknownRealm => "unknown_realm",
            Reason::RealmDisabled => "realm_disabled",
            Reason::ScimDisabled => "scim_disabled",
        }
    }
}

impl From<Reason> for Authentication {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NoToken => Self::NoToken,
            Reason::Malformed | Reason::DoubledPrefix | Reason::NotAToken => Self::MalformedToken,
            Reason::UnknownToken => Self::WrongToken,
            Reason::ExpiredToken => Self::ExpiredToken,
            Reason::UnknownRealm => Self::UnknownRealm,
            Reason::RealmDisabled => Self::RealmDisabled,
            Reason::ScimDisabled => Self::ScimDisabled,
        }
    }
}

impl Access {
    pub fn new(store: Store, bus: Option<Bus>, sources: Sources, issuing: Issuing, options: &Options) -> Self {
        let shared = Shared {
            store,
            platform: options.platform.clone(),
            sources,
            issuing,
            realms: Cache::builder().max_capacity(options.entries).time_to_live(options.ttl).build(),
            verdicts: Cache::builder().max_capacity(options.entries).time_to_live(options.ttl).build(),
            unknown: Cache::builder().max_capacity(options.unknown_entries).time_to_live(options.unknown_ttl).build(),
            slow: SlowTokens::new(),
            generation: AtomicU64::new(0),
            bus,
            changed: Notify::new(),
            look_ups: Semaphore::new(8),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Drops what is known of realms, here and now, and tells the other nodes. The handler which changed a realm calls it before it answers.
    ///
    /// All realms at once: changes are rare, a look-up is cheap, and one counter leaves no race to a look-up which is
    /// under way. Verdicts stay, as they hold only for the epoch of the realm that is looked up next.
    pub fn forget(&self) {
        self.forget_here();
        self.shared.changed.notify_one();
    }

    fn forget_here(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Is what `scope` was let in under still true? For requests which do not touch the store and so are not checked
    /// there. Costs nothing while this node is the only one on the database, or hears the others through Redis.
    pub async fn confirm(&self, scope: &Scope) -> Result<(), Denied> {
        let hears = self.shared.bus.as_ref().is_some_and(Bus::is_hearing);
        if !hears && !self.shared.store.pulse().is_alone() {
            self.shared.store.begin(scope).await?.check().await?;
        }
        Ok(())
    }

    /// A turn to ask the store on behalf of somebody who is not known yet.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, store::error::Error> {
        self.shared.look_ups.acquire().await.map_err(|closed| store::error::Error::Unavailable(closed.to_string()))
    }

    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }
}
