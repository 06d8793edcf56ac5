//! Tokens which open a realm's SCIM: ours, and those of issuers that the realm trusts.

use std::sync::{Arc, atomic::AtomicI64};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::debug;
use uuid::Uuid;

use crate::{
    access::{
        Access, Denied, Reason,
        caller::Verdict,
        foreign::{
            self,
            token::{CLOCK_SKEW, Expected, Flaw, Foreign},
        },
        jwt::{self, Presented},
        realm::Place,
    },
    model::{Actor, ClientId, RealmId, client::Client, identity::Issuer, realm::Realm, token::TokenHash},
    store::{clients, error::Result as Stored},
    telemetry::{self, Lookup},
};

/// What a token of ours says (RFC 9068 §2.2, and Keycloak's `typ` and `azp`). Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Claims {
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: Uuid,
    iss: String,
    aud: String,
    sub: ClientId,
    typ: Kind,
    azp: String,
    client_id: String,
    scope: String,
}

/// Keycloak's `typ` claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Bearer,
}

/// The only scope there is.
const SCOPE: &str = "scim";

/// The answer to a client (RFC 6749 §5.1). Does not print.
#[derive(Serialize)]
pub struct AccessToken {
    pub access_token: String,
    /// Seconds.
    pub expires_in: u64,
    pub token_type: &'static str,
    pub scope: &'static str,
    #[serde(rename = "not-before-policy")]
    pub not_before_policy: i64,
}

/// Whose token it is and when it ends, or why it opens nothing.
type Judged = Result<(Actor, Timestamp), Reason>;

impl jwt::Claims for Claims {
    fn exp(&self) -> i64 {
        self.exp
    }

    fn nbf(&self) -> i64 {
        self.nbf
    }
}

impl Access {
    /// A token for `client`, which opens the SCIM of `realm` and nothing else.
    pub async fn issue(&self, realm: &Realm, client: &Client, at: Timestamp) -> Stored<AccessToken> {
        let issuing = &self.shared.issuing;
        let (name, now, life) = (realm.name.as_str(), at.as_second(), issuing.life.as_secs());
        let claims = Claims {
            exp: now.saturating_add(i64::try_from(life).unwrap_or(i64::MAX)),
            iat: now,
            nbf: now,
            jti: Uuid::now_v7(),
            iss: issuing.issuer(name),
            aud: issuing.audience(name),
            sub: client.id,
            typ: Kind::Bearer,
            azp: client.client_id.clone(),
            client_id: client.client_id.clone(),
            scope: SCOPE.to_owned(),
        };
        let access_token = issuing.keys.signer().await?.sign(&claims);
        self.note_use(realm, client.id, at);
        Ok(AccessToken { access_token, expires_in: life, token_type: "Bearer", scope: SCOPE, not_before_policy: 0 })
    }

    /// The verdict on `presented` if it is a token of ours, or of an issuer whom the realm trusts; `None` if it is
    /// neither, by its form and by whom it names. `(realm, epoch)` are those of `place`, or nobody's.
    ///
    /// Nothing is asked of the store before a signature was found to be good, and a bad token is remembered.
    pub(in crate::access) async fn access_token(
        &self,
        place: &Place,
        (realm, epoch): (RealmId, i64),
        presented: &str,
        at: Timestamp,
    ) -> Result<Option<Result<Arc<Verdict>, Reason>>, Denied> {
        if presented.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Ok(None);
        }
        let key = (realm, TokenHash::of(presented));
        if let Some(verdict) = self.shared.verdicts.get(&key).await
            && verdict.epoch == epoch
        {
            telemetry::token_lookup(Lookup::Hit);
            return Ok(Some(Ok(verdict)));
        }
        if self.shared.unknown.get(&key).await == Some(epoch) {
            telemetry::token_lookup(Lookup::Unknown);
            return Ok(Some(Err(Reason::UnknownToken)));
        }
        let read = Foreign::read(presented).and_then(|token| token.claimed_issuer().map(|issuer| (token, issuer)));
        let Ok((token, issuer)) = read else { return Ok(None) };
        let trusted = place.realm.iter().flat_map(|realm| &realm.identity.scim_issuers);
        let trusted: Vec<&Issuer> = trusted.filter(|trusted| trusted.issuer == issuer).collect();
        let judged = match trusted.as_slice() {
            _ if issuer == self.shared.issuing.issuer(&place.name) => self.judge_own(place, presented, at).await?,
            [] => return Ok(None),
            trusted => self.judge_foreign(&token, trusted, at).await?,
        };
        telemetry::token_lookup(Lookup::Miss);
        Ok(Some(match judged {
            Ok((actor, expires_at)) => {
                let verdict =
                    Arc::new(Verdict { epoch, actor, expires_at: Some(expires_at), touched: AtomicI64::new(0) });
                self.shared.verdicts.insert(key, verdict.clone()).await;
                Ok(verdict)
            }
            Err(reason) => {
                self.shared.unknown.insert(key, epoch).await;
                Err(reason)
            }
        }))
    }

    /// Of a token of ours: the client must be there still, and enabled.
    async fn judge_own(&self, place: &Place, presented: &str, at: Timestamp) -> Result<Judged, Denied> {
        let (issuing, store) = (&self.shared.issuing, &self.shared.store);
        let Ok(token) = Presented::read(presented) else { return Ok(Err(Reason::UnknownToken)) };
        let key = issuing.keys.find(token.kid()).await?;
        let (issuer, audience) = (issuing.issuer(&place.name), issuing.audience(&place.name));
        let claims: Claims = match token.open(key.as_ref(), &issuer, &audience, at) {
            Ok(claims) => claims,
            Err(jwt::Flaw::Expired) => return Ok(Err(Reason::ExpiredToken)),
            Err(jwt::Flaw::Foreign | jwt::Flaw::Unsigned | jwt::Flaw::Early) => return Ok(Err(Reason::UnknownToken)),
        };
        let Some(realm) = &place.realm else { return Ok(Err(Reason::UnknownRealm)) };
        let _turn = self.turn().await?;
        let is_enabled = clients::is_enabled(store.enter(realm.id, realm.epoch).await?, claims.sub).await?;
        let ends = Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX);
        Ok(if is_enabled { Ok((Actor::OauthClient(claims.sub), ends)) } else { Err(Reason::UnknownToken) })
    }

    /// Of a token of somebody whom the realm trusts, if it says what any of the settings for him expects.
    async fn judge_foreign(&self, token: &Foreign<'_>, trusted: &[&Issuer], at: Timestamp) -> Result<Judged, Denied> {
        let mut judged = Err(Reason::UnknownToken);
        for issuer in trusted {
            let Issuer { issuer: name, audiences, claims, .. } = issuer;
            let expected = Expected { issuer: name, audiences, claims, max_life: None };
            match self.shared.sources.verify(token, &issuer.keys(), &expected, at).await {
                Ok(claims) => {
                    let ends = Timestamp::from_second(claims.expires_at().saturating_add(CLOCK_SKEW));
                    return Ok(Ok((Actor::Issuer(name.clone()), ends.unwrap_or(Timestamp::MAX))));
                }
                Err(foreign::Error::Keys(error)) => return Err(error.into()),
                Err(foreign::Error::Flaw(Flaw::Expired)) => judged = Err(Reason::ExpiredToken),
                Err(foreign::Error::Flaw(flaw)) => {
                    debug!(issuer = name, reason = flaw.as_str(), "a token of a trusted issuer was refused");
                }
            }
        }
        Ok(judged)
    }

    /// Writes down beside the request that the client got a token.
    fn note_use(&self, realm: &Realm, client: ClientId, at: Timestamp) {
        let (store, realm, epoch) = (self.shared.store.clone(), realm.id, realm.epoch);
        tokio::spawn(async move {
            let touched = async { clients::touch(store.enter(realm, epoch).await?, client, at).await };
            if let Err(error) = touched.await {
                debug!(client.id = %client, %error, "the last use of a client was not written down");
            }
        });
    }
}
