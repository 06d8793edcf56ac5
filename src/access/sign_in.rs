//! Who signs in: from an id token of a realm's identity provider to what its user is found by.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::debug;

use super::{
    Access,
    foreign::{
        Error,
        token::{Claims, Expected, Flaw, Foreign},
    },
    realm::Place,
};
use crate::model::{
    Actor, Cause, Scope,
    identity::{MatchAttribute, SignIn},
};

/// What an id token says of somebody.
#[derive(Debug)]
pub struct IdToken {
    /// Attributes and the values by which the user is found, the one that counts most first.
    pub found_by: Vec<(MatchAttribute, String)>,
    /// For whoever asked for the token: it ties it to his own session (OpenID Connect Core 1.0 §3.1.2.1).
    pub nonce: Option<String>,
}

impl Access {
    /// Verifies an id token of the identity provider of the realm at `place`.
    ///
    /// A token of somebody else is refused before any key is looked for, and a realm which does not exist, is disabled
    /// or has no sign-in is like one with another provider: nobody can list realms.
    pub async fn id_token(
        &self,
        place: &Place,
        id_token: &str,
        at: Timestamp,
        request_id: Arc<str>,
    ) -> Result<(Scope, IdToken), Error> {
        let token = Foreign::read(id_token)?;
        let issuer = token.claimed_issuer()?;
        let realm = place.realm.as_ref().filter(|realm| realm.enabled);
        let Some((realm, settings)) = realm.and_then(|realm| Some((realm, realm.identity.sign_in.as_ref()?))) else {
            debug!(realm.name = place.name, "a sign-in was refused: no such realm, or it has none");
            return Err(Flaw::Issuer.into());
        };
        let provider = &settings.provider;
        if issuer != provider.issuer {
            return Err(Flaw::Issuer.into());
        }
        let expected = Expected {
            issuer: &provider.issuer,
            audiences: &provider.audiences,
            claims: &provider.claims,
            max_life: None,
        };
        let claims = self.shared.sources.verify(&token, &provider.keys(), &expected, at).await?;
        // A logout token (OpenID Connect Back-Channel Logout 1.0 §2.4), which has the same issuer and audience.
        if claims.has("events") {
            return Err(Flaw::Claims.into());
        }
        let cause = Cause { actor: Actor::Issuer(issuer), request_id, at };
        let nonce = claims.text("nonce").map(str::to_owned);
        Ok((Scope { realm: realm.clone(), cause }, IdToken { found_by: found_by(settings, &claims), nonce }))
    }
}

fn found_by(settings: &SignIn, claims: &Claims) -> Vec<(MatchAttribute, String)> {
    let counts = |claim: &str| claim != "email" || claims.is_true("email_verified");
    let pairs = settings.matches.iter().filter(|pair| counts(&pair.claim));
    let found = pairs.filter_map(|pair| Some((pair.attribute, claims.text(&pair.claim)?.to_owned())));
    // NUL is no character of a text in Postgres, and so of no attribute.
    found.filter(|(_, value)| !value.is_empty() && !value.contains('\0')).collect()
}
