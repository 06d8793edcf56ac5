//! Operators' sign-in to the admin API: passwords in, short-lived tokens out, in Keycloak's words.
//!
//! A token is proof of who signed in, not of what he may do: each request asks, through a cache of a few seconds,
//! whether the operator is still there and enabled.
//!
//! Lives here: sign-in, refresh, verification, the first operator. Not here: HTTP, SCIM tokens (`caller`).

mod attempts;
mod claims;
pub mod external;
pub(in crate::access) mod password;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use moka::future::Cache;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tracing::info;
use uuid::Uuid;

use self::{
    attempts::{Attempts, Subject},
    claims::{Claims, Kind, Session},
    external::External,
};
use crate::{
    access::{
        jwt::{Flaw, Presented},
        keys::{Keys, PublicKey},
    },
    model::{
        AdminId, ClientId,
        admin::{Admin, InvalidUsername, PasswordHash, Username},
        lockout::Lockout,
    },
    store::{
        self, Store,
        admins::{self, Account},
    },
};

/// How long a disabled operator's access token may go on to work on a node which did not hear of it.
const ADMIN_CACHE_LIFE: Duration = Duration::from_secs(3);

/// After this a password has to be given again, however often tokens were refreshed (Keycloak's "SSO Session Max").
const SESSION_MAX: Duration = Duration::from_secs(10 * 60 * 60);

/// The operators' door. Cheap to clone.
#[derive(Clone)]
pub struct Operators {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    issuer: String,
    lives: Lives,
    keys: Arc<Keys>,
    external: Option<External>,
    passwords: password::Verifier,
    attempts: Attempts,
    accounts: Cache<AdminId, Known>,
    /// Counts what was forgotten: what was looked up under an earlier count is not used.
    generation: AtomicU64,
}

/// What a look-up found, and how much had been forgotten when it began.
#[derive(Clone)]
struct Known {
    generation: u64,
    account: Option<Arc<Account>>,
}

/// How long tokens live; whole seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    pub access: Duration,
    pub refresh: Duration,
    /// Access tokens of service accounts, which nothing renews.
    pub service: Duration,
}

/// Keycloak's answer to a sign-in, ready to be sent. Does not print.
#[derive(Serialize)]
pub struct Tokens {
    pub access_token: String,
    /// Seconds.
    pub expires_in: i64,
    /// Seconds.
    pub refresh_expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    pub token_type: &'static str,
    #[serde(rename = "not-before-policy")]
    pub not_before_policy: i64,
    pub session_state: Uuid,
    pub scope: &'static str,
}

/// Why an operator is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No operator has that name and password.
    #[error("Invalid user credentials")]
    WrongCredentials,
    /// What was presented is worth nothing (`invalid_grant`, RFC 6749 §5.2); the text is Keycloak's.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// Whether it is cannot be said now.
    #[error("sign-in is unavailable")]
    Unavailable(#[from] store::error::Error),
}

/// The first operator, just made.
pub struct Bootstrapped {
    pub username: String,
    /// To be shown once, if it was not the installer who chose it.
    pub generated_password: Option<String>,
}

/// Why there is no first operator.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("the first operator: {0}")]
    Username(#[from] InvalidUsername),
    #[error("the first operator: {}", password::RULE)]
    Password,
    #[error(transparent)]
    Store(#[from] store::error::Error),
}

impl Operators {
    /// `issuer` is `<public URL>/realms/master`, the same on every node. `keys` are those that tokens are signed with;
    /// `external` signs in operators of its own.
    pub fn new(
        store: &Store,
        issuer: String,
        lives: Lives,
        lockout: Lockout,
        keys: Arc<Keys>,
        external: Option<External>,
    ) -> Self {
        let shared = Shared {
            store: store.clone(),
            issuer,
            lives,
            keys,
            external,
            passwords: password::Verifier::new(),
            attempts: Attempts::new(store.clone(), lockout),
            accounts: Cache::builder().max_capacity(1024).time_to_live(ADMIN_CACHE_LIFE).build(),
            generation: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Drops what is known of operators, here and now. The handler which changed one calls it before it answers; other
    /// nodes hear of it from the database.
    pub fn forget(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets what other nodes change, for as long as the process lives.
    pub async fn follow_changes(self) {
        let mut heard = self.shared.store.pulse().listen();
        while let Ok(()) | Err(RecvError::Lagged(_)) = heard.recv().await {
            self.forget();
        }
    }

    /// Grant `password`.
    pub async fn login(&self, username: &str, password: &str, from: IpAddr) -> Result<Tokens, Refusal> {
        let found = match Username::parse(username) {
            Ok(name) => admins::find_by_username(&self.shared.store, &name).await?,
            Err(InvalidUsername) => None,
        };
        let (account, hash) = found.unzip();
        let owner = account.as_ref().map(|account| account.admin.id);
        let check = self.shared.passwords.verify(password, hash.flatten());
        let is_admitted = self.admits(owner, username, from, check).await?;
        let Some(account) = account.filter(|_| is_admitted) else { return Err(Refusal::WrongCredentials) };
        self.sign_in(&account).await
    }

    /// A token for the service account of a client which has proven who it is.
    pub async fn serve(&self, client: ClientId) -> Result<Tokens, Refusal> {
        let account = admins::find(&self.shared.store, AdminId(client.0)).await?;
        self.sign_in(&account.ok_or(Refusal::InvalidGrant("the client has no service account"))?).await
    }

    /// As for people: may the client whose secret was presented go on, if `check` finds it right? It may not while it
    /// has failed too often.
    pub async fn admits_client<E: From<store::error::Error>>(
        &self,
        client_id: &str,
        from: IpAddr,
        check: impl Future<Output = Result<bool, E>>,
    ) -> Result<bool, E> {
        let account = match Username::of_client(client_id) {
            Ok(name) => admins::find_by_username(&self.shared.store, &name).await?.map(|(account, _)| account.admin),
            Err(InvalidUsername) => None,
        };
        let owner = account.filter(|admin| admin.client_id.as_deref() == Some(client_id)).map(|admin| admin.id);
        self.admits(owner, client_id, from, check).await
    }

    /// May whoever says that he is `owner`, or somebody of that `name`, go on, if `check` finds right what he presented?
    /// The work is the same if there is nobody of that name.
    async fn admits<E: From<store::error::Error>>(
        &self,
        owner: Option<AdminId>,
        name: &str,
        from: IpAddr,
        check: impl Future<Output = Result<bool, E>>,
    ) -> Result<bool, E> {
        let attempts = &self.shared.attempts;
        if attempts.is_locked_out(from).await {
            return Ok(false);
        }
        let subject = owner.map_or_else(|| Subject::nobody(name), Subject::Operator);
        let is_right = check.await?;
        let is_admitted = attempts.settle(subject, from, is_right).await?;
        if !is_admitted {
            info!("a sign-in of an operator was refused: wrong name or password");
        }
        Ok(is_admitted)
    }

    async fn sign_in(&self, account: &Account) -> Result<Tokens, Refusal> {
        let admin = &account.admin;
        // Said only to who knows the password, so that it tells a stranger nothing.
        if !admin.enabled {
            info!(actor.kind = "admin", actor.id = %admin.id, "a disabled operator's sign-in was refused");
            return Err(Refusal::InvalidGrant("Account disabled"));
        }
        info!(actor.kind = "admin", actor.id = %admin.id, "an operator signed in");
        let now = Timestamp::now();
        let session = Session { sid: Uuid::now_v7(), auth_time: now.as_second(), epoch: account.epoch };
        self.issue(admin, session, now).await
    }

    /// Grant `refresh_token`.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Refusal> {
        let now = Timestamp::now();
        let claims = self.open(refresh_token, Kind::Refresh, INVALID_REFRESH, now).await?;
        let session = claims.session();
        match admins::find(&self.shared.store, claims.sub).await? {
            Some(account) if !account.admin.enabled => Err(Refusal::InvalidGrant("User disabled")),
            Some(account) if account.has(session) => self.issue(&account.admin, session, now).await,
            Some(_) => Err(Refusal::InvalidGrant("Session not active")),
            None => Err(Refusal::InvalidGrant(INVALID_REFRESH)),
        }
    }

    /// Who presents this access token?
    pub async fn verify(&self, access_token: &str) -> Result<Admin, Refusal> {
        let now = Timestamp::now();
        if let Some(external) = &self.shared.external
            && let Some(admin) = external.verify(access_token, now).await?
        {
            return Ok(admin);
        }
        let claims = self.open(access_token, Kind::Bearer, INVALID_ACCESS, now).await?;
        let account = self.account(claims.sub).await?;
        let is_good = |account: &Arc<Account>| account.admin.enabled && account.has(claims.session());
        let account = account.filter(is_good).ok_or(Refusal::InvalidGrant(INVALID_ACCESS))?;
        Ok(account.admin.clone())
    }

    /// Ends the session of a refresh token (Keycloak's logout).
    pub async fn logout(&self, refresh_token: &str) -> Result<(), Refusal> {
        let claims = self.open(refresh_token, Kind::Refresh, INVALID_REFRESH, Timestamp::now()).await?;
        self.end(&claims).await
    }

    /// Ends the session of a token of either kind; one that is worth nothing is as good as revoked (RFC 7009 §2.2).
    pub async fn revoke(&self, token: &str) -> Result<(), Refusal> {
        for kind in [Kind::Refresh, Kind::Bearer] {
            match self.open(token, kind, INVALID_REFRESH, Timestamp::now()).await {
                Ok(claims) => return self.end(&claims).await,
                Err(Refusal::Unavailable(error)) => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    async fn end(&self, claims: &Claims) -> Result<(), Refusal> {
        let Shared { store, lives, .. } = &*self.shared;
        let life = SignedDuration::from_secs(lives.session_max().max(seconds(lives.service)));
        let signed_in = Timestamp::from_second(claims.auth_time).unwrap_or_else(|_| Timestamp::now());
        let expires_at = signed_in.checked_add(life).unwrap_or(Timestamp::MAX);
        admins::end_session(store, claims.sub, claims.sid, expires_at, Timestamp::now()).await?;
        self.forget();
        Ok(())
    }

    /// What is stored of a new password; `None` if nobody may have it: see [`PASSWORD_RULE`].
    pub async fn hash(&self, password: &str) -> Result<Option<PasswordHash>, store::error::Error> {
        self.shared.passwords.hash(password).await
    }

    /// Is it the operator's password? A wrong one counts as a failed sign-in.
    pub async fn is_password_of(&self, admin: &Admin, password: &str, from: IpAddr) -> Result<bool, Refusal> {
        let Ok(name) = Username::parse(&admin.username) else { return Ok(false) };
        let hash = admins::find_by_username(&self.shared.store, &name).await?.and_then(|(_, hash)| hash);
        let check = self.shared.passwords.verify(password, hash);
        Ok(self.admits(Some(admin.id), &admin.username, from, check).await?)
    }

    /// The public keys which verify the tokens of every node, and of every realm.
    pub async fn keys(&self) -> Result<Vec<PublicKey>, store::error::Error> {
        self.shared.keys.all().await
    }

    async fn open(&self, token: &str, kind: Kind, invalid: &'static str, now: Timestamp) -> Result<Claims, Refusal> {
        // Clients sign in anew when they read that a token "is not active", and give up on any other text.
        let refusal = |flaw| match flaw {
            Flaw::Expired => Refusal::InvalidGrant("Token is not active"),
            Flaw::Foreign | Flaw::Unsigned | Flaw::Early => Refusal::InvalidGrant(invalid),
        };
        let presented = Presented::read(token).map_err(refusal)?;
        let key = self.shared.keys.find(presented.kid()).await?;
        Claims::open(&presented, key.as_ref(), kind, &self.shared.issuer, now).map_err(refusal)
    }

    /// Asked only for ids that a node has signed, so nobody can fill the cache.
    async fn account(&self, id: AdminId) -> Result<Option<Arc<Account>>, Refusal> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if let Some(known) = self.shared.accounts.get(&id).await
            && known.generation == generation
        {
            return Ok(known.account);
        }
        let account = admins::find(&self.shared.store, id).await?.map(Arc::new);
        self.shared.accounts.insert(id, Known { generation, account: account.clone() }).await;
        Ok(account)
    }

    async fn issue(&self, admin: &Admin, session: Session, now: Timestamp) -> Result<Tokens, Refusal> {
        let Shared { issuer, lives, keys, .. } = &*self.shared;
        let (access_life, refresh_life) = if admin.client_id.is_some() {
            (seconds(lives.service), None)
        } else {
            let (access, refresh) = lives.of(session, now);
            (access, Some(refresh))
        };
        let signer = keys.signer().await?;
        let access = Claims::new(Kind::Bearer, issuer, admin.id, session, now, access_life);
        let refresh = refresh_life.map(|life| Claims::new(Kind::Refresh, issuer, admin.id, session, now, life));
        Ok(Tokens {
            access_token: signer.sign(&access.with_profile(admin)),
            expires_in: access_life,
            refresh_expires_in: refresh_life.unwrap_or(0),
            refresh_token: refresh.map(|refresh| signer.sign(&refresh)),
            token_type: "Bearer",
            not_before_policy: 0,
            session_state: session.sid,
            scope: "profile email",
        })
    }
}

/// Keycloak's words.
const INVALID_REFRESH: &str = "Invalid refresh token";
const INVALID_ACCESS: &str = "Invalid token";

/// What a password must be.
pub const PASSWORD_RULE: &str = password::RULE;

impl Account {
    /// Is the session one of the operator's which has not ended?
    fn has(&self, session: Session) -> bool {
        self.epoch == session.epoch && !self.ended.contains(&session.sid)
    }
}

impl Lives {
    /// Seconds that an access and a refresh token of `session` live from `now`: never beyond the end of the session.
    fn of(self, session: Session, now: Timestamp) -> (i64, i64) {
        let left = session.auth_time.saturating_add(self.session_max()).saturating_sub(now.as_second()).max(0);
        (seconds(self.access).min(left), seconds(self.refresh).min(left))
    }

    /// The longest that any token lives.
    pub fn longest(self) -> Duration {
        self.access.max(self.refresh).max(self.service)
    }

    /// Seconds from the password to the end of the last token that comes from it.
    fn session_max(self) -> i64 {
        seconds(SESSION_MAX.max(self.refresh))
    }
}

/// Is there no operator yet? Then this is the first start.
pub async fn is_missing(store: &Store) -> Result<bool, store::error::Error> {
    Ok(!admins::exist(store).await?)
}

/// Makes the first operator, unless there is one: `username` (default `admin`) with `password` (default: a random
/// one). Safe on nodes which start at once; those that come second are told `None`.
pub async fn bootstrap(
    store: &Store,
    username: Option<String>,
    password: Option<String>,
) -> Result<Option<Bootstrapped>, BootstrapError> {
    // Spares the restart of every node the work of hashing; the statement below decides.
    if !is_missing(store).await? {
        return Ok(None);
    }
    let username = Username::parse(username.as_deref().unwrap_or("admin"))?;
    let generated_password = password.is_none().then(password::generate);
    let chosen_or_generated = password.as_deref().or(generated_password.as_deref());
    let hash = chosen_or_generated
        .filter(|password| password::is_possible(password))
        .map(password::hash)
        .ok_or(BootstrapError::Password)?;
    let is_first = admins::found(store, AdminId(Uuid::now_v7()), &username, &hash, Timestamp::now()).await?;
    Ok(is_first.then_some(Bootstrapped { username: username.as_str().to_owned(), generated_password }))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVES: Lives = Lives {
        access: Duration::from_secs(300),
        refresh: Duration::from_secs(1800),
        service: Duration::from_secs(3600),
    };

    fn after(auth_time: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + auth_time).unwrap()
    }

    #[test]
    fn tokens_do_not_outlive_the_session() {
        let session = Session { sid: Uuid::nil(), auth_time: 1_800_000_000, epoch: 0 };
        assert_eq!(LIVES.of(session, after(0)), (300, 1800));
        assert_eq!(LIVES.of(session, after(36_000 - 100)), (100, 100));
        assert_eq!(LIVES.of(session, after(36_001)), (0, 0));
    }

    #[test]
    fn a_refresh_life_longer_than_a_session_is_kept() {
        let lives = Lives { refresh: Duration::from_secs(48 * 3600), ..LIVES };
        let session = Session { sid: Uuid::nil(), auth_time: 1_800_000_000, epoch: 0 };
        assert_eq!(lives.of(session, after(0)), (300, 48 * 3600));
    }

    #[test]
    fn tokens_are_sent_in_the_words_of_keycloak() {
        let tokens = Tokens {
            access_token: "a".into(),
            expires_in: 300,
            refresh_expires_in: 1800,
            refresh_token: Some("r".into()),
            token_type: "Bearer",
            not_before_policy: 0,
            session_state: Uuid::nil(),
            scope: "profile email",
        };
        insta::assert_snapshot!(serde_json::to_string(&tokens).unwrap(), @r#"{"access_token":"a","expires_in":300,"refresh_expires_in":1800,"refresh_token":"r","token_type":"Bearer","not-before-policy":0,"session_state":"00000000-0000-0000-0000-000000000000","scope":"profile email"}"#);
    }
}
