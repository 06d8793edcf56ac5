//! Tokens which another product gave out and of which only a slow hash is known.
//!
//! A slow hash makes each wrong token dear, and anybody can present wrong tokens. So that a flood of them burns neither
//! the node nor the realm's IdP:
//!
//! - no realm has more than a handful of such tokens, and none of them is dearer than a second (`model::slow_hash`);
//! - comparing happens off the async threads, a realm at a time ([`AT_ONCE`] in all) and a token at a time;
//! - after a wrong token the realm rests, four times as long as the comparison took: strangers can have a fifth of one
//!   processor for each realm, whatever its hashes cost, and never more than [`AT_ONCE`] processors;
//! - a token which was found is known for as long as it is in use: that a text has a hash is true for ever. Whether the
//!   token is still there, and in which realm, is asked of the store as for every other; its IdP waits behind no flood;
//! - who waits longer than [`PATIENCE`] is told to come back (503), never that the token is wrong.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::future::Cache;
use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
    time::{sleep_until, timeout},
};
use tracing::error;

use super::Denied;
use crate::model::{
    RealmId, TokenId,
    slow_hash::SlowHash,
    token::{Token, TokenHash},
};

/// Comparisons at once on this node.
const AT_ONCE: usize = 2;

const PATIENCE: Duration = Duration::from_secs(2);

/// How much longer than the comparison a realm rests after a wrong token.
const REST: u32 = 4;

/// How long a token which was found is known without being used.
const IDLE: Duration = Duration::from_secs(3600);
const MOST: u64 = 100_000;

/// What was compared, and who compares. One for the process.
pub struct SlowTokens {
    known: Cache<(RealmId, TokenHash), TokenId>,
    gates: Cache<RealmId, Arc<Mutex<Instant>>>,
    turns: Arc<Semaphore>,
    patience: Duration,
}

impl SlowTokens {
    pub fn new() -> Self {
        Self {
            known: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build(),
            // Longer than any rest.
            gates: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            patience: PATIENCE,
        }
    }

    /// Which of `candidates` is it that was presented, if any? `wrong` are texts known to be none of the realm's tokens at
    /// the epoch that stands with it, and learns.
    pub async fn find(
        &self,
        key: (RealmId, TokenHash),
        presented: &str,
        candidates: Vec<(TokenId, SlowHash, Token)>,
        (wrong, epoch): (&Cache<(RealmId, TokenHash), i64>, i64),
    ) -> Result<Option<Token>, Denied> {
        let chosen = |id| candidates.iter().find(|(known, ..)| *known == id).map(|(.., token)| token.clone());
        if candidates.is_empty() {
            return Ok(None);
        }
        if let Some(token) = self.known.get(&key).await.and_then(chosen) {
            return Ok(Some(token));
        }
        let gate = self.gates.get_with(key.0, async { Arc::new(Mutex::new(Instant::now())) }).await;
        let mut gate = timeout(self.patience, gate.lock_owned()).await.map_err(|_| Denied::Busy)?;
        // Others may have brought the same text meanwhile.
        if let Some(token) = self.known.get(&key).await.and_then(chosen) {
            return Ok(Some(token));
        }
        if wrong.get(&key).await == Some(epoch) {
            return Ok(None);
        }
        if gate.saturating_duration_since(Instant::now()) > self.patience {
            return Err(Denied::Busy);
        }
        sleep_until((*gate).into()).await;
        let turn = timeout(self.patience, self.turns.clone().acquire_owned()).await.map_err(|_| Denied::Busy)?;
        let presented = presented.to_owned();
        let hashes: Vec<(TokenId, SlowHash)> = candidates.iter().map(|(id, hash, _)| (*id, hash.clone())).collect();
        // Turn and gate go along: the work goes on even if the client has gone, and has to be rested from as well.
        let work = spawn_blocking(move || {
            let (_turn, begun) = (turn, Instant::now());
            let found = hashes.into_iter().find(|(_, hash)| hash.matches(&presented)).map(|(id, _)| id);
            if found.is_none() {
                *gate = Instant::now() + begun.elapsed() * REST;
            }
            (found, gate)
        });
        let (found, _gate) = work.await.map_err(|panic| {
            error!(%panic, "a token could not be compared with its hash");
            Denied::Busy
        })?;
        match found {
            Some(id) => self.known.insert(key, id).await,
            None => wrong.insert(key, epoch).await,
        }
        Ok(found.and_then(chosen))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::model::token::Format;

    /// Of `sk_live_4f6a1c`, at cost 5: some milliseconds, and some hundred without optimization.
    const HASH: &str = "$2b$05$hOdAIFNvnu2/.81N6EwRI.GC.VSeQHbd8H.iC8xvZ43kSrKaw9xvu";
    const TOKEN: &str = "sk_live_4f6a1c";

    fn candidates() -> Vec<(TokenId, SlowHash, Token)> {
        let id = TokenId(Uuid::from_u128(7));
        let token = Token {
            id,
            prefix: String::new(),
            format: Format::Phc,
            label: None,
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            last_used_at: None,
        };
        vec![(id, SlowHash::parse(HASH).unwrap(), token)]
    }

    fn key(realm: u128, presented: &str) -> (RealmId, TokenHash) {
        (RealmId(Uuid::from_u128(realm)), TokenHash::of(presented))
    }

    async fn find(slow: &SlowTokens, realm: u128, presented: &str) -> Result<bool, Denied> {
        let wrong = Cache::new(10);
        slow.find(key(realm, presented), presented, candidates(), (&wrong, 1)).await.map(|found| found.is_some())
    }

    /// The realm rests for an hour.
    async fn tired(realm: u128) -> SlowTokens {
        let slow = SlowTokens::new();
        let end = Instant::now() + Duration::from_secs(3600);
        slow.gates.insert(key(realm, "").0, Arc::new(Mutex::new(end))).await;
        slow
    }

    #[tokio::test]
    async fn after_a_wrong_token_the_realm_rests() {
        let (slow, begun) = (SlowTokens::new(), Instant::now());
        assert!(!find(&slow, 1, "wrong").await.unwrap());
        let gate = slow.gates.get(&key(1, "").0).await.unwrap();
        assert!(*gate.lock().await > begun);
    }

    #[tokio::test]
    async fn who_comes_while_a_realm_rests_is_not_told_that_the_token_is_wrong() {
        let slow = tired(1).await;
        assert!(matches!(find(&slow, 1, TOKEN).await, Err(Denied::Busy)));
        assert!(find(&slow, 2, TOKEN).await.unwrap(), "another realm does not rest");
    }

    #[tokio::test]
    async fn a_token_which_was_found_waits_behind_no_flood() {
        let slow = tired(1).await;
        slow.known.insert(key(1, TOKEN), candidates()[0].0).await;
        assert!(find(&slow, 1, TOKEN).await.unwrap());
    }

    #[tokio::test]
    async fn the_same_wrong_token_is_compared_once() {
        let (slow, wrong) = (tired(1).await, Cache::new(10));
        wrong.insert(key(1, "wrong"), 1).await;
        assert_eq!(slow.find(key(1, "wrong"), "wrong", candidates(), (&wrong, 1)).await.unwrap(), None);
        assert!(slow.find(key(1, "wrong"), "wrong", candidates(), (&wrong, 2)).await.is_err(), "the realm moved on");
    }

    #[tokio::test]
    async fn what_was_found_is_worth_nothing_once_the_token_is_gone() {
        let (slow, wrong) = (SlowTokens::new(), Cache::new(10));
        assert!(find(&slow, 1, TOKEN).await.unwrap());
        assert_eq!(slow.find(key(1, TOKEN), TOKEN, vec![], (&wrong, 1)).await.unwrap(), None);
    }
}
