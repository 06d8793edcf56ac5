//! What operators do to the SCIM tokens of a realm: switch SCIM on and off, rotate, revoke; and the warnings of tokens
//! which end.

use jiff::Timestamp;
use serde_json::json;
use tracing::{info, warn};

use super::{
    Error, Result,
    realms::{Changed, change},
};
use crate::{
    model::{
        Cause, TokenId,
        audit::Action,
        realm::{MASTER, Realm},
        span::Span,
        token::{PlainToken, Token},
    },
    store::{
        Store,
        outbox::{self, Origin},
        tokens::{self, Expiring},
        tx::RealmTx,
    },
    telemetry,
};

/// What becomes of the tokens when a new one is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rotation {
    /// How long the old tokens go on to work; not at all, if it is not said (M011).
    pub overlap: Option<Span>,
    /// How long the new token works; for ever, if it is not said.
    pub expires_in: Option<Span>,
}

/// Switches inbound SCIM on. The token is in this answer and nowhere else (M007).
pub async fn enable(store: &Store, name: &str, expires_in: Option<Span>, cause: &Cause) -> Result<(Realm, PlainToken)> {
    change(store, cause, name, Action::on_realm("scim.enable"), |mut tx, mut realm| async move {
        if realm.name.as_str() == MASTER {
            return Err(Error::Conflict("the realm `master` is the operators' own: it takes no SCIM".into()));
        }
        if realm.scim_enabled {
            return Err(Error::Conflict(format!(
                "SCIM is enabled for realm `{name}` already: rotate the token to get a new one"
            )));
        }
        realm.scim_enabled = true;
        let token = renew(&mut tx, Rotation { overlap: None, expires_in }, cause.at).await?;
        outbox::tell(&mut tx, "dsync.activated", realm.id.0, &json!({}), &Origin::of(cause)).await?;
        let told = json!({ "token": token.prefix(), "expires_in": expires_in });
        Ok(Changed::new(tx, realm, token).telling(told))
    })
    .await
}

/// Makes a new token; the old one is dead when this returns, unless an overlap is asked for (M011).
pub async fn rotate(store: &Store, name: &str, rotation: Rotation, cause: &Cause) -> Result<(Realm, PlainToken)> {
    change(store, cause, name, Action::on_realm("scim.rotate"), |mut tx, realm| async move {
        if !realm.scim_enabled {
            return Err(Error::Conflict(format!("SCIM is not enabled for realm `{name}`: enable it to get a token")));
        }
        let token = renew(&mut tx, rotation, cause.at).await?;
        let Rotation { overlap, expires_in } = rotation;
        let told = json!({ "token": token.prefix(), "overlap": overlap, "expires_in": expires_in });
        Ok(Changed::new(tx, realm, token).telling(told))
    })
    .await
}

/// Switches inbound SCIM off: every token is dead when this returns, users and groups stay (M013). Off is off, so
/// doing it twice is no mistake.
pub async fn disable(store: &Store, name: &str, cause: &Cause) -> Result<Realm> {
    change(store, cause, name, Action::on_realm("scim.disable"), |mut tx, mut realm| async move {
        realm.scim_enabled = false;
        tokens::delete_all(&mut tx, cause.at).await?;
        tokens::settle(&mut tx).await?;
        Ok(Changed::new(tx, realm, ()))
    })
    .await
    .map(|(realm, ())| realm)
}

/// Ends one token, at once.
pub async fn revoke(store: &Store, name: &str, id: TokenId, cause: &Cause) -> Result<()> {
    let target = id.to_string();
    change(store, cause, name, Action { word: "token.revoke", target: &target }, |mut tx, realm| async move {
        let Some(prefix) = tokens::delete(&mut tx, id, cause.at).await? else {
            return Err(Error::NotFound(format!("the realm `{name}` has no token `{id}`")));
        };
        tokens::settle(&mut tx).await?;
        Ok(Changed::new(tx, realm, ()).telling(json!({ "token": prefix })))
    })
    .await
    .map(|_| ())
}

/// The realm's tokens, as far as they can be shown.
pub async fn list(store: &Store, realm: &Realm) -> Result<Vec<Token>> {
    Ok(tokens::list(store.enter(realm.id, realm.epoch).await?).await?)
}

/// Warns of realms whose last token ends in 30, 7 or 1 days or has ended: an event in the realm, a line in the log, and
/// how many there are. Any node may do it; each warning is given once.
pub async fn warn_of_expiry(store: &Store, at: Timestamp) -> Result<()> {
    let expiring = tokens::expiring(store, at).await?;
    for days in [0, 1, 7, 30] {
        telemetry::tokens_expiring(days, expiring.iter().filter(|realm| realm.days == days).count());
    }
    for realm in expiring.iter().filter(|realm| !realm.is_warned) {
        let Expiring { name, expires_at, days, .. } = realm;
        match tokens::warn(store.enter(realm.realm, realm.epoch).await?, realm, at).await {
            Ok(true) if *days == 0 => {
                warn!(realm.name = name, %expires_at, "the last SCIM token of the realm has ended");
            }
            Ok(true) => warn!(realm.name = name, %expires_at, days, "the last SCIM token of the realm ends soon"),
            Ok(false) => {}
            // It has changed in the meantime; the next look will tell whether there is still something to warn of.
            Err(error) => info!(realm.name = name, %error, "a realm was not warned of the end of its token"),
        }
    }
    Ok(())
}

async fn renew(tx: &mut RealmTx, rotation: Rotation, at: Timestamp) -> Result<PlainToken> {
    let token = PlainToken::generate();
    match rotation.overlap {
        Some(overlap) => tokens::end_all(tx, overlap.after(at), at).await?,
        None => tokens::delete_all(tx, at).await?,
    }
    tokens::insert(tx, &token, rotation.expires_in.map(|life| life.after(at)), at).await?;
    tokens::settle(tx).await?;
    Ok(token)
}
