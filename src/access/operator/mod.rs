//! Operators' sign-in to the admin API: passwords in, short-lived tokens out, in Keycloak's words.
//!
//! A token is proof of who signed in, not of what he may do: each request asks, through a cache of a few seconds,
//! whether the operator is still there and enabled.
//!
//! Lives here: sign-in, refresh, verification, the first operator. Not here: HTTP, SCIM tokens (`caller`).

mod claims;
pub(in crate::access) mod password;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use moka::future::Cache;
use serde::Serialize;
use tracing::info;
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use self::claims::{Claims, Kind, Session};
use crate::{
    access::{
        jwt::{Flaw, Presented},
        keys::Keys,
    },
    model::{
        AdminId,
        admin::{Admin, Rights},
    },
    store::{self, Store, admins},
};

/// How long a disabled operator's access token may go on to work.
const ADMIN_CACHE_LIFE: Duration = Duration::from_secs(3);

/// After this a password has to be given again, however often tokens were refreshed (Keycloak's "SSO Session Max").
const SESSION_MAX: Duration = Duration::from_secs(10 * 60 * 60);

const MAX_USERNAME_CHARS: usize = 255;

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
    passwords: password::Verifier,
    admins: Cache<AdminId, Option<Admin>>,
}

/// How long tokens live; whole seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    pub access: Duration,
    pub refresh: Duration,
}

/// Keycloak's answer to a sign-in, ready to be sent. Does not print.
#[derive(Serialize)]
pub struct Tokens {
    pub access_token: String,
    /// Seconds.
    pub expires_in: i64,
    /// Seconds.
    pub refresh_expires_in: i64,
    pub refresh_token: String,
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
    #[error(
        "the first operator's username must have 1 to {MAX_USERNAME_CHARS} characters, none of them a control character"
    )]
    Username,
    #[error("the first operator's password must have 1 to {} bytes", password::MAX_LENGTH)]
    Password,
    #[error(transparent)]
    Store(#[from] store::error::Error),
}

impl Operators {
    /// `issuer` is `<public URL>/realms/master`, the same on every node. `keys` are those that tokens are signed with.
    pub fn new(store: &Store, issuer: String, lives: Lives, keys: Arc<Keys>) -> Self {
        let shared = Shared {
            store: store.clone(),
            issuer,
            lives,
            keys,
            passwords: password::Verifier::new(),
            admins: Cache::builder().max_capacity(1024).time_to_live(ADMIN_CACHE_LIFE).build(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Grant `password`.
    pub async fn login(&self, username: &str, password: &str) -> Result<Tokens, Refusal> {
        let found = match username_key(username) {
            Some(key) => admins::find_by_username(&self.shared.store, &key).await?,
            None => None,
        };
        let (admin, hash) = found.unzip();
        let is_right = self.shared.passwords.verify(password, hash).await?;
        let Some(admin) = admin.filter(|_| is_right) else {
            info!("a sign-in of an operator was refused: wrong username or password");
            return Err(Refusal::WrongCredentials);
        };
        // Said only to who knows the password, so that it tells a stranger nothing.
        if !admin.enabled {
            info!(actor.kind = "admin", actor.id = %admin.id, "a disabled operator's sign-in was refused");
            return Err(Refusal::InvalidGrant("Account disabled"));
        }
        info!(actor.kind = "admin", actor.id = %admin.id, "an operator signed in");
        let now = Timestamp::now();
        self.issue(&admin, Session { sid: Uuid::now_v7(), auth_time: now.as_second() }, now).await
    }

    /// Grant `refresh_token`.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Refusal> {
        let now = Timestamp::now();
        let claims = self.open(refresh_token, Kind::Refresh, "Invalid refresh token", now).await?;
        match admins::find(&self.shared.store, claims.sub).await? {
            Some(admin) if admin.enabled => self.issue(&admin, claims.session(), now).await,
            _ => Err(Refusal::InvalidGrant("Invalid refresh token")),
        }
    }

    /// Who presents this access token?
    pub async fn verify(&self, access_token: &str) -> Result<Admin, Refusal> {
        const INVALID: &str = "Invalid token";
        let claims = self.open(access_token, Kind::Bearer, INVALID, Timestamp::now()).await?;
        let admin = self.admin(claims.sub).await?;
        admin.filter(|admin| admin.enabled).ok_or(Refusal::InvalidGrant(INVALID))
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
    async fn admin(&self, id: AdminId) -> Result<Option<Admin>, Refusal> {
        if let Some(admin) = self.shared.admins.get(&id).await {
            return Ok(admin);
        }
        let admin = admins::find(&self.shared.store, id).await?;
        self.shared.admins.insert(id, admin.clone()).await;
        Ok(admin)
    }

    async fn issue(&self, admin: &Admin, session: Session, now: Timestamp) -> Result<Tokens, Refusal> {
        let Shared { issuer, lives, keys, .. } = &*self.shared;
        let (access_life, refresh_life) = lives.of(session, now);
        let signer = keys.signer().await?;
        let access = Claims::new(Kind::Bearer, issuer, admin.id, session, now, access_life);
        let refresh = Claims::new(Kind::Refresh, issuer, admin.id, session, now, refresh_life);
        Ok(Tokens {
            access_token: signer.sign(&access.with_profile(&admin.username)),
            expires_in: access_life,
            refresh_expires_in: refresh_life,
            refresh_token: signer.sign(&refresh),
            token_type: "Bearer",
            not_before_policy: 0,
            session_state: session.sid,
            scope: "profile email",
        })
    }
}

impl Lives {
    /// Seconds that an access and a refresh token of `session` live from `now`: never beyond the end of the session.
    fn of(self, session: Session, now: Timestamp) -> (i64, i64) {
        let session_max = seconds(SESSION_MAX.max(self.refresh));
        let left = session.auth_time.saturating_add(session_max).saturating_sub(now.as_second()).max(0);
        (seconds(self.access).min(left), seconds(self.refresh).min(left))
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
    let username = username.unwrap_or_else(|| "admin".to_owned());
    let key = username_key(&username).ok_or(BootstrapError::Username)?;
    let generated_password = password.is_none().then(password::generate);
    let chosen_or_generated = password.as_deref().or(generated_password.as_deref());
    let hash = chosen_or_generated
        .filter(|password| (1..=password::MAX_LENGTH).contains(&password.len()))
        .map(password::hash)
        .ok_or(BootstrapError::Password)?;
    let admin = Admin { id: AdminId(Uuid::now_v7()), username, enabled: true, rights: Rights::everything() };
    let is_first = admins::found(store, &admin, &key, &hash, Timestamp::now()).await?;
    Ok(is_first.then_some(Bootstrapped { username: admin.username, generated_password }))
}

/// The form under which a username is unique and looked up; `None` if nobody can have that name.
fn username_key(username: &str) -> Option<String> {
    let is_possible = (1..=MAX_USERNAME_CHARS).contains(&username.chars().take(MAX_USERNAME_CHARS + 1).count())
        && !username.chars().any(char::is_control);
    is_possible.then(|| username.nfkc().collect::<String>().to_lowercase())
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVES: Lives = Lives { access: Duration::from_secs(300), refresh: Duration::from_secs(1800) };

    fn after(auth_time: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + auth_time).unwrap()
    }

    #[test]
    fn usernames_ignore_case_and_compatibility_forms() {
        assert_eq!(username_key("Admin"), username_key("ADMIN"));
        assert_eq!(username_key("ａｄｍｉｎ"), username_key("admin"));
        assert_eq!(username_key("Zoe\u{308}"), username_key("zoë"));
        assert_ne!(username_key("admin"), username_key("admin "));
    }

    #[test]
    fn names_which_nobody_can_have_are_not_looked_up() {
        for name in ["", "a\0b", "a\nb", &"x".repeat(256)] {
            assert_eq!(username_key(name), None, "{name:?}");
        }
        assert!(username_key(&"ß".repeat(255)).is_some());
    }

    #[test]
    fn tokens_do_not_outlive_the_session() {
        let session = Session { sid: Uuid::nil(), auth_time: 1_800_000_000 };
        assert_eq!(LIVES.of(session, after(0)), (300, 1800));
        assert_eq!(LIVES.of(session, after(36_000 - 100)), (100, 100));
        assert_eq!(LIVES.of(session, after(36_001)), (0, 0));
    }

    #[test]
    fn a_refresh_life_longer_than_a_session_is_kept() {
        let lives = Lives { refresh: Duration::from_secs(48 * 3600), ..LIVES };
        let session = Session { sid: Uuid::nil(), auth_time: 1_800_000_000 };
        assert_eq!(lives.of(session, after(0)), (300, 48 * 3600));
    }

    #[test]
    fn tokens_are_sent_in_the_words_of_keycloak() {
        let tokens = Tokens {
            access_token: "a".into(),
            expires_in: 300,
            refresh_expires_in: 1800,
            refresh_token: "r".into(),
            token_type: "Bearer",
            not_before_policy: 0,
            session_state: Uuid::nil(),
            scope: "profile email",
        };
        insta::assert_snapshot!(serde_json::to_string(&tokens).unwrap(), @r#"{"access_token":"a","expires_in":300,"refresh_expires_in":1800,"refresh_token":"r","token_type":"Bearer","not-before-policy":0,"session_state":"00000000-0000-0000-0000-000000000000","scope":"profile email"}"#);
    }
}
