//! Who asks: from a bearer token to a [`Scope`].

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use tracing::debug;
use uuid::Uuid;

use super::{Access, Denied, Reason, realm::Place};
use crate::{
    model::{
        Actor, Cause, RealmId, Scope,
        realm::Realm,
        token::{self, TokenHash},
    },
    store::{
        error::Error,
        tokens::{self, Candidates},
    },
    telemetry::{self, Lookup},
};

/// How often the last use of a token is written down, in seconds.
const TOUCH_EVERY: i64 = 60;

/// A token that was found, under the realm's epoch at that time.
#[derive(Debug)]
pub(super) struct Verdict {
    pub epoch: i64,
    pub actor: Actor,
    pub expires_at: Option<Timestamp>,
    /// When the use of a static token was last written down, in Unix seconds.
    pub touched: AtomicI64,
}

impl Access {
    /// Authenticates the IdP's side of a realm by its SCIM token, or by an access token of somebody whom the realm
    /// trusts. `authorization` is the header's value.
    ///
    /// Unknown realm, disabled realm, SCIM off, no token, wrong token: one answer, found out by the same work.
    pub async fn scim_client(
        &self,
        place: &Place,
        authorization: Option<&str>,
        at: Timestamp,
        request_id: Arc<str>,
    ) -> Result<Scope, Denied> {
        let denied =
            |reason| Denied::Unauthorized { realm: place.name.clone(), token_given: reason != Reason::NoToken, reason };
        let presented = bearer(authorization).map_err(denied)?;
        let foreign = place.realm.as_ref().is_some_and(|realm| realm.foreign_tokens);
        let may_be = token::is_well_formed(presented) || (foreign && token::is_plausible(presented));
        // A realm which does not exist has a place to look as well: the one that nobody has.
        let (id, epoch) = place.realm.as_ref().map_or((RealmId(Uuid::nil()), 0), |realm| (realm.id, realm.epoch));
        let verdict = match self.access_token(place, (id, epoch), presented, at).await? {
            Some(verdict) => verdict,
            None if !may_be => return Err(denied(Reason::NotAToken)),
            None => self.verdict(id, epoch, presented, foreign.then_some(at)).await?.ok_or(Reason::UnknownToken),
        };
        let verdict = verdict.map_err(|reason| denied(trouble(place).unwrap_or(reason)))?;
        let Some(realm) = place.realm.clone() else { return Err(denied(Reason::UnknownRealm)) };
        if let Some(trouble) = trouble(place) {
            return Err(denied(trouble));
        }
        if verdict.expires_at.is_some_and(|expires_at| expires_at <= at) {
            return Err(denied(Reason::ExpiredToken));
        }
        self.touch(&realm, &verdict, at);
        Ok(Scope { realm, cause: Cause { actor: verdict.actor.clone(), request_id, at } })
    }

    /// The same caller in its realm as that is by now: for work of several transactions, when the realm has moved on in
    /// the middle.
    pub async fn again(&self, scope: &Scope, authorization: Option<&str>) -> Result<Scope, Denied> {
        let mut tries = 1;
        loop {
            self.forget();
            let place = self.place(None, Some(scope.realm.name.as_str())).await?;
            match self.scim_client(&place, authorization, scope.at, scope.request_id.clone()).await {
                // It moved on once more while we looked.
                Err(Denied::Store(Error::Stale)) if tries < 5 => tries += 1,
                outcome => return outcome,
            }
        }
    }

    /// The token, from the cache or the store; `None` if the realm has no such token. `foreign` is now, if the realm
    /// holds tokens which another product gave out.
    async fn verdict(
        &self,
        realm: RealmId,
        epoch: i64,
        presented: &str,
        foreign: Option<Timestamp>,
    ) -> Result<Option<Arc<Verdict>>, Denied> {
        let hash = TokenHash::of(presented);
        let key = (realm, hash);
        if let Some(verdict) = self.shared.verdicts.get(&key).await
            && verdict.epoch == epoch
        {
            telemetry::token_lookup(Lookup::Hit);
            return Ok(Some(verdict));
        }
        if self.shared.unknown.get(&key).await == Some(epoch) {
            telemetry::token_lookup(Lookup::Unknown);
            return Ok(None);
        }
        telemetry::token_lookup(Lookup::Miss);
        let found = match foreign {
            None => {
                let _turn = self.turn().await?;
                match tokens::find_by_hash(self.shared.store.enter(realm, epoch).await?, &hash).await {
                    Err(Error::Stale) if realm.0.is_nil() => None,
                    found => found?,
                }
            }
            Some(at) => match self.candidates(realm, epoch, presented, &hash, at).await? {
                Candidates::Found(token) => Some(token),
                Candidates::Slow(candidates) => {
                    self.shared.slow.find(key, presented, candidates, (&self.shared.unknown, epoch)).await?
                }
            },
        };
        let Some(token) = found else {
            self.shared.unknown.insert(key, epoch).await;
            return Ok(None);
        };
        let touched = AtomicI64::new(token.last_used_at.map_or(0, Timestamp::as_second));
        let actor = Actor::ScimToken(token.id);
        let verdict = Arc::new(Verdict { epoch, actor, expires_at: token.expires_at, touched });
        self.shared.verdicts.insert(key, verdict.clone()).await;
        Ok(Some(verdict))
    }

    async fn candidates(
        &self,
        realm: RealmId,
        epoch: i64,
        presented: &str,
        hash: &TokenHash,
        at: Timestamp,
    ) -> Result<Candidates, Error> {
        let _turn = self.turn().await?;
        let tx = self.shared.store.enter(realm, epoch).await?;
        tokens::find_foreign(tx, presented, hash, &token::sha512(presented), at).await
    }

    /// Writes down that a static token is in use, at most once a minute and beside the request.
    fn touch(&self, realm: &Realm, verdict: &Verdict, at: Timestamp) {
        let Actor::ScimToken(token) = verdict.actor else { return };
        let (now, before) = (at.as_second(), verdict.touched.load(Ordering::Relaxed));
        let due = now - before >= TOUCH_EVERY;
        if due && verdict.touched.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let (store, realm, epoch) = (self.shared.store.clone(), realm.id, realm.epoch);
            tokio::spawn(async move {
                let touched = async { tokens::touch(store.enter(realm, epoch).await?, token, at).await };
                if let Err(error) = touched.await {
                    debug!(token.id = %token, %error, "the last use of a token was not written down");
                }
            });
        }
    }
}

/// What keeps the realm from being used, whatever token is presented.
fn trouble(place: &Place) -> Option<Reason> {
    match place.realm.as_deref().map(|realm| (realm.enabled, realm.scim_enabled)) {
        None => Some(Reason::UnknownRealm),
        Some((false, _)) => Some(Reason::RealmDisabled),
        Some((true, false)) => Some(Reason::ScimDisabled),
        Some((true, true)) => None,
    }
}

/// The credential of `Authorization: Bearer <credential>` (RFC 6750 §2.1).
pub fn bearer(authorization: Option<&str>) -> Result<&str, Reason> {
    let header = authorization.ok_or(Reason::NoToken)?.trim();
    let (scheme, credential) = header.split_once(' ').ok_or(Reason::Malformed)?;
    let credential = credential.trim_start();
    if !scheme.eq_ignore_ascii_case("bearer") || credential.is_empty() {
        return Err(Reason::Malformed);
    }
    match credential.split_once(' ') {
        None => Ok(credential),
        Some((again, _)) if again.eq_ignore_ascii_case("bearer") => Err(Reason::DoubledPrefix),
        Some(_) => Err(Reason::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_stands_behind_one_bearer() {
        assert_eq!(bearer(Some("Bearer abc")), Ok("abc"));
        assert_eq!(bearer(Some("bearer  abc ")), Ok("abc"));
        assert_eq!(bearer(None), Err(Reason::NoToken));
        assert_eq!(bearer(Some("abc")), Err(Reason::Malformed));
        assert_eq!(bearer(Some("Basic abc")), Err(Reason::Malformed));
        assert_eq!(bearer(Some("Bearer Bearer abc")), Err(Reason::DoubledPrefix));
        assert_eq!(bearer(Some("Bearer a b")), Err(Reason::Malformed));
    }
}
