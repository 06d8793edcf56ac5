//! Where keys of others come from: fetched, kept for a while, fetched again in time.
//!
//! Keys are used for ten minutes as they are, then for an hour while they are fetched again beside the request, then
//! only if fetching them again fails, and after a day not at all. A token which names a key that nobody knows lets them
//! be fetched at once, but not again and again: whoever invents names costs the issuer one request a while.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::rand;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use moka::future::Cache;
use serde_json::Value;
use tracing::{info, warn};

use super::token::Foreign;
use crate::{
    model::jwk::{InvalidKeyset, KeySource, Keyset},
    outbound::{self, Outbound},
    telemetry,
};

/// Younger keys are used without a thought.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// Older keys are fetched again before they are used, if they can be.
const AGED: Duration = Duration::from_secs(60 * 60);

/// Older keys are not used.
const DEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// From one look for an unknown key to the next.
const SEARCH_PAUSE: Duration = Duration::from_secs(10);

/// From a failure to the next try: doubled with each, from the first to the last of these.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(64));

/// How many sources are remembered. One that nobody has asked for during [`DEAD`] is forgotten.
const SOURCES: u64 = 10_000;

/// Keys of others. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    outbound: Outbound,
    known: Cache<KeySource, Arc<Source>>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("they cannot be fetched")]
    Fetch(#[from] outbound::Error),
    #[error("`{0}` is not a URL of a server")]
    Url(String),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer is not JSON")]
    Json,
    #[error("the metadata are of another issuer")]
    Issuer,
    #[error("the metadata name no `jwks_uri`")]
    NoKeys,
    #[error(transparent)]
    Keyset(#[from] InvalidKeyset),
    /// It failed a moment ago, and is tried again in a moment.
    #[error("they could not be fetched a moment ago")]
    Paused,
}

struct Source {
    from: KeySource,
    state: Mutex<State>,
    /// Held by the one who fetches.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// And when they were asked for.
    keys: Option<(Arc<Keyset>, Instant)>,
    failures: u32,
    /// Nothing is fetched before.
    retry_at: Option<Instant>,
    /// When a key that was unknown has last been looked for.
    searched_at: Option<Instant>,
}

/// What to do about a wish for keys.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Use,
    UseAndFetch,
    FetchOrUse,
    Fetch,
}

impl Sources {
    pub fn new(outbound: Outbound) -> Self {
        Self { outbound, known: Cache::builder().max_capacity(SOURCES).time_to_idle(DEAD).build() }
    }

    /// The keys of `from`, and among them the one that `token` names, if its issuer has it.
    pub async fn keys(&self, from: &KeySource, token: &Foreign<'_>) -> Result<Arc<Keyset>, Error> {
        if let KeySource::Inline(text) = from {
            return Ok(Arc::new(keyset(text.as_bytes())?));
        }
        let source = match self.known.get(from).await {
            Some(source) => source,
            None => self.known.get_with(from.clone(), async { Arc::new(Source::new(from.clone())) }).await,
        };
        let asked = Instant::now();
        let (plan, known) = source.plan(asked);
        let keys = match (plan, known) {
            (Plan::Use, Some(keys)) => keys,
            (Plan::UseAndFetch, Some(keys)) => {
                // Whoever finds somebody at it has nothing to add.
                if source.turn.try_lock().is_ok() {
                    let (source, outbound) = (source.clone(), self.outbound.clone());
                    tokio::spawn(async move { source.fetch(&outbound, asked).await });
                }
                keys
            }
            (Plan::FetchOrUse, Some(keys)) => source.fetch(&self.outbound, asked).await.unwrap_or(keys),
            (_, _) => source.fetch(&self.outbound, asked).await?,
        };
        if token.finds_its_key(&keys) || !source.may_search(asked) {
            return Ok(keys);
        }
        Ok(source.fetch(&self.outbound, asked).await.unwrap_or(keys))
    }
}

impl Source {
    fn new(from: KeySource) -> Self {
        Self { from, state: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, now: Instant) -> (Plan, Option<Arc<Keyset>>) {
        let state = self.state();
        (state.plan(now), state.keys.as_ref().map(|(keys, _)| keys.clone()))
    }

    fn may_search(&self, now: Instant) -> bool {
        self.state().may_search(now)
    }

    /// Fetches, once for all who wait together: whoever has `asked` before somebody began takes what that one gets.
    async fn fetch(&self, outbound: &Outbound, asked: Instant) -> Result<Arc<Keyset>, Error> {
        let _turn = self.turn.lock().await;
        let began = Instant::now();
        {
            let state = self.state();
            if let Some((keys, at)) = &state.keys
                && *at >= asked
            {
                return Ok(keys.clone());
            }
            if state.retry_at.is_some_and(|at| began < at) {
                return Err(Error::Paused);
            }
        }
        let outcome = fetch(outbound, &self.from).await;
        telemetry::keys_fetched(outcome.is_ok());
        match outcome {
            Ok(keys) => {
                let keys = Arc::new(keys);
                let mut state = self.state();
                if state.keys.is_none() || state.failures > 0 {
                    info!(source = ?self.from, "public keys were fetched");
                }
                *state = State { keys: Some((keys.clone(), began)), failures: 0, retry_at: None, ..*state };
                Ok(keys)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(source = ?self.from, %error, cause, "public keys could not be fetched");
                let mut state = self.state();
                state.retry_at = Some(Instant::now() + jittered(pause_after(state.failures)));
                state.failures = state.failures.saturating_add(1);
                Err(error)
            }
        }
    }
}

impl State {
    fn plan(&self, now: Instant) -> Plan {
        let paused = self.retry_at.is_some_and(|at| now < at);
        match &self.keys {
            Some((_, at)) => match now.saturating_duration_since(*at) {
                age if age >= DEAD => Plan::Fetch,
                age if age < FRESH || paused => Plan::Use,
                age if age < AGED => Plan::UseAndFetch,
                _ => Plan::FetchOrUse,
            },
            None => Plan::Fetch,
        }
    }

    /// May a key that was not found be looked for by a wish of `now`? If so, that is the last time for a while.
    fn may_search(&mut self, now: Instant) -> bool {
        if self.keys.as_ref().is_some_and(|(_, at)| *at >= now) {
            return false;
        }
        let due = self.searched_at.is_none_or(|at| now.saturating_duration_since(at) >= SEARCH_PAUSE);
        if due {
            self.searched_at = Some(now);
        }
        due
    }
}

fn pause_after(failures: u32) -> Duration {
    BACKOFF.0.saturating_mul(1 << failures.min(16)).min(BACKOFF.1)
}

/// Between half and all of it, so that nodes which failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness it is the whole pause.
    let part = rand::fill(&mut byte).map_or(u8::MAX, |()| byte[0]);
    pause / 2 + pause / 2 * u32::from(part) / 255
}

async fn fetch(outbound: &Outbound, from: &KeySource) -> Result<Keyset, Error> {
    match from {
        KeySource::Inline(text) => Ok(keyset(text.as_bytes())?),
        KeySource::Url(url) => keyset(&get(outbound, url).await?),
        KeySource::Discovery(issuer) => {
            // OpenID Connect Discovery 1.0 §4.1 and §4.3.
            let url = format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer));
            let metadata: Value = serde_json::from_slice(&get(outbound, &url).await?).map_err(|_| Error::Json)?;
            if metadata["issuer"] != issuer.as_str() {
                return Err(Error::Issuer);
            }
            keyset(&get(outbound, metadata["jwks_uri"].as_str().ok_or(Error::NoKeys)?).await?)
        }
    }
}

async fn get(outbound: &Outbound, url: &str) -> Result<Bytes, Error> {
    let request = Request::get(url).header(header::ACCEPT, "application/json").body(Full::default());
    let response = outbound.send(request.map_err(|_| Error::Url(url.to_owned()))?).await?;
    if response.status() == StatusCode::OK { Ok(response.into_body()) } else { Err(Error::Status(response.status())) }
}

fn keyset(document: &[u8]) -> Result<Keyset, Error> {
    Ok(Keyset::read(&serde_json::from_slice(document).map_err(|_| Error::Json)?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys() -> Arc<Keyset> {
        let x = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        Arc::new(Keyset::read(&json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] })).unwrap())
    }

    #[test]
    fn keys_are_used_while_they_are_fresh_and_fetched_again_before_they_are_not() {
        let now = Instant::now();
        let plan = |age: Duration, retry_in: Option<Duration>| {
            let retry_at = retry_in.map(|pause| now + age + pause);
            State { keys: Some((keys(), now)), retry_at, ..State::default() }.plan(now + age)
        };
        let second = Duration::from_secs(1);
        assert_eq!(State::default().plan(now), Plan::Fetch);
        assert_eq!(plan(Duration::ZERO, None), Plan::Use);
        assert_eq!(plan(FRESH, None), Plan::UseAndFetch);
        assert_eq!(plan(AGED, None), Plan::FetchOrUse);
        assert_eq!(plan(AGED, Some(second)), Plan::Use, "it was tried a moment ago");
        assert_eq!(plan(DEAD / 2, Some(second)), Plan::Use);
        assert_eq!(plan(DEAD, Some(second)), Plan::Fetch, "which says that it cannot");
    }

    #[test]
    fn an_unknown_key_is_looked_for_once_in_a_while() {
        let (now, mut state) = (Instant::now(), State::default());
        assert!(state.may_search(now));
        assert!(!state.may_search(now + SEARCH_PAUSE / 2));
        assert!(state.may_search(now + SEARCH_PAUSE));
    }

    #[test]
    fn pauses_after_failures_grow_to_a_minute() {
        let pauses: Vec<u64> = [0, 1, 2, 6, 7, u32::MAX].map(|failures| pause_after(failures).as_secs()).into();
        assert_eq!(pauses, [1, 2, 4, 64, 64, 64]);
        let pause = jittered(Duration::from_secs(64));
        assert!((Duration::from_secs(32)..=Duration::from_secs(64)).contains(&pause), "{pause:?}");
    }
}
