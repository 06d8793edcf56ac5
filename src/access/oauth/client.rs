//! Who a client of a realm's token endpoint is (RFC 6749 §2.3, RFC 7523 §2.2).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use moka::future::Cache;
use tracing::debug;
use uuid::Uuid;

use crate::{
    access::{
        Access, Denied,
        foreign::{
            self,
            token::{CLOCK_SKEW, Expected, Flaw, Foreign},
        },
        operator::password,
        realm::Place,
    },
    model::{
        ClientId, RealmId,
        client::{Client, Method, SecretHash},
        realm::Realm,
        token::{self, TokenHash},
    },
    store::{
        clients,
        error::{Error, Result as Stored},
    },
};

/// How many seconds an assertion may live. Long enough for every client that is known; what was accepted has to be
/// remembered for as long.
const ASSERTION_LIFE: i64 = 60 * 60;

/// How many accepted assertions are remembered.
const ASSERTIONS: u64 = 100_000;

/// An assertion that was accepted: whose, and the hash of what was signed.
pub type Accepted = (RealmId, ClientId, TokenHash);

/// What a client shows.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// RFC 6749 §2.3.1
    Secret { client_id: &'a str, secret: &'a str },
    /// RFC 7523 §2.2: the id, if it is sent beside the assertion, must be the one which the assertion names.
    Assertion { client_id: Option<&'a str>, assertion: &'a str },
}

/// Why a client gets nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// One answer for every cause, an unknown realm among them; the text is Keycloak's.
    #[error("Invalid client or Invalid client credentials")]
    Unknown,
    #[error(transparent)]
    Keys(#[from] foreign::source::Error),
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Denied(error.into())
    }
}

/// NB: of this node. Another one accepts an assertion once more, which is of use only to who has stolen it on its way.
pub(super) fn accepted() -> Cache<Accepted, ()> {
    let life = u64::try_from(ASSERTION_LIFE + 2 * CLOCK_SKEW).unwrap_or_default();
    Cache::builder().max_capacity(ASSERTIONS).time_to_live(Duration::from_secs(life)).build()
}

impl Access {
    /// The enabled client of the realm at `place` that `proof` is of. What work it takes depends on what is shown, not
    /// on which realms and clients there are.
    pub async fn client(
        &self,
        place: &Place,
        proof: Proof<'_>,
        at: Timestamp,
    ) -> Result<(Arc<Realm>, Client), Refusal> {
        // Boxed: both look things up, which makes them large.
        let found = match proof {
            Proof::Secret { client_id, secret } => Box::pin(self.by_secret(place, client_id, secret)).await?,
            Proof::Assertion { client_id, assertion } => {
                Box::pin(self.by_assertion(place, client_id, assertion, at)).await?
            }
        };
        let realm = place.realm.clone().filter(|realm| realm.enabled);
        realm.zip(found.filter(|client| client.enabled)).ok_or(Refusal::Unknown)
    }

    /// What is kept of a secret that somebody chose; `None` if it is longer than any secret.
    pub async fn hash_secret(&self, secret: String) -> Stored<Option<SecretHash>> {
        if token::is_client_secret(&secret) {
            return Ok(Some(SecretHash::Random(TokenHash::of(&secret))));
        }
        if secret.len() > password::MAX_LENGTH {
            return Ok(None);
        }
        let hash = tokio::task::spawn_blocking(move || password::hash(&secret)).await;
        hash.map(|hash| Some(SecretHash::Chosen(hash))).map_err(|error| Error::Unavailable(error.to_string()))
    }

    async fn by_secret(&self, place: &Place, client_id: &str, secret: &str) -> Result<Option<Client>, Refusal> {
        let (client, hash) = self.find_client(place, client_id).await?.unzip();
        let is_right = match hash.flatten() {
            hash if token::is_client_secret(secret) => {
                hash.is_some_and(|hash| hash.is_of_random(TokenHash::of(secret)))
            }
            Some(SecretHash::Chosen(hash)) => self.shared.issuing.secrets.verify(secret, Some(hash)).await?,
            Some(SecretHash::Random(_)) | None => self.shared.issuing.secrets.verify(secret, None).await?,
        };
        Ok(client.filter(|client| is_right && client.method == Method::ClientSecret))
    }

    async fn by_assertion(
        &self,
        place: &Place,
        client_id: Option<&str>,
        assertion: &str,
        at: Timestamp,
    ) -> Result<Option<Client>, Refusal> {
        let flawed = |flaw: Flaw| {
            debug!(realm.name = place.name, reason = flaw.as_str(), "an assertion of a client was refused");
            Refusal::Unknown
        };
        let presented = Foreign::read(assertion).map_err(flawed)?;
        let named = presented.claimed_issuer().map_err(flawed)?;
        if client_id.is_some_and(|client_id| client_id != named) {
            return Ok(None);
        }
        let found = self.find_client(place, &named).await?;
        let client = found.map(|(client, _)| client).filter(|client| client.method == Method::PrivateKeyJwt);
        let Some((client, keys)) = client.and_then(|client| Some((client.clone(), client.keys?))) else {
            return Ok(None);
        };
        let expected = Expected {
            issuer: &named,
            audiences: &self.assertion_audiences(place),
            claims: &BTreeMap::from([("sub".to_owned(), named.clone())]),
            max_life: Some(ASSERTION_LIFE),
        };
        match self.shared.sources.verify(&presented, &keys, &expected, at).await {
            Ok(_) => {}
            Err(foreign::Error::Flaw(flaw)) => return Err(flawed(flaw)),
            Err(foreign::Error::Keys(error)) => return Err(error.into()),
        }
        let Some(realm) = &place.realm else { return Ok(None) };
        let accepted = (realm.id, client.id, TokenHash::of(presented.signed_part()));
        let is_first = self.shared.issuing.accepted.entry(accepted).or_insert(()).await.is_fresh();
        if !is_first {
            debug!(realm.name = place.name, "an assertion of a client was refused: it was used before");
        }
        Ok(Some(client).filter(|_| is_first))
    }

    /// The realm's client which calls itself so, with what proves its secret.
    async fn find_client(&self, place: &Place, client_id: &str) -> Stored<Option<(Client, Option<SecretHash>)>> {
        if Client::check_id(client_id).is_err() {
            return Ok(None);
        }
        // A realm which does not exist has a place to look as well: the one that nobody has.
        let (id, epoch) = place.realm.as_ref().map_or((RealmId(Uuid::nil()), 0), |realm| (realm.id, realm.epoch));
        let _turn = self.turn().await?;
        match clients::find_by_client_id(self.shared.store.enter(id, epoch).await?, client_id).await {
            Err(Error::Stale) if id.0.is_nil() => Ok(None),
            found => found,
        }
    }

    /// What an assertion may be for: the token endpoint or the issuer, by the platform's host or by the custom domain
    /// through which the client came.
    fn assertion_audiences(&self, place: &Place) -> Vec<String> {
        let issuing = &self.shared.issuing;
        let platform = issuing.issuer(&place.name);
        let of_domain =
            place.domain.as_ref().map(|domain| format!("https://{}/realms/{}", domain.as_str(), place.name));
        let issuers = std::iter::once(platform).chain(of_domain);
        issuers.flat_map(|issuer| [format!("{issuer}/protocol/openid-connect/token"), issuer]).collect()
    }
}
