//! What lets an IdP come over from another product without being told: the token and the path which it has there.

use serde_json::json;

use super::{
    Error, Result,
    realms::{Changed, change},
};
use crate::{
    model::{
        Cause,
        alias::AliasPath,
        audit::Action,
        realm::{MASTER, Realm},
        token::{ImportedToken, KnownHash},
    },
    store::{Store, realms, tokens, tx::RealmTx},
};

/// Tokens of a realm which can only be compared, at most: each of them may be compared with what a stranger presents.
const MOST_SLOW: i64 = 5;

/// Keeps a token that another product gave out, known by its hash, and switches inbound SCIM on if it is off.
pub async fn import_token(store: &Store, name: &str, token: &ImportedToken, cause: &Cause) -> Result<Realm> {
    let action = Action::on_realm("scim.import-token");
    change(store, cause, name, action, |mut tx, mut realm| async move {
        if !put_token(&mut tx, &mut realm, token, cause).await? {
            return Err(Error::Conflict(format!("the realm `{name}` has this token already")));
        }
        let told = json!({ "token": token.prefix, "format": token.format, "label": token.label });
        Ok(Changed::new(tx, realm, ()).telling(told))
    })
    .await
    .map(|(realm, ())| realm)
}

/// The paths which lead to the realm beside its own.
pub async fn aliases(store: &Store, realm: &Realm) -> Result<Vec<String>> {
    Ok(realms::aliases(store, realm.id).await?)
}

/// Gives the realm a path under which another product served it.
pub async fn add_alias(store: &Store, name: &str, path: &str, cause: &Cause) -> Result<AliasPath> {
    let alias = AliasPath::parse(path).map_err(|e| Error::Invalid(e.to_string()))?;
    let (new, action) = (&alias, Action { word: "alias.add", target: alias.as_str() });
    change(store, cause, name, action, |mut tx, realm| async move {
        if !put_alias(&mut tx, &realm, new, cause).await? {
            return Err(Error::Conflict(format!("`{new}` leads to realm `{name}` already")));
        }
        Ok(Changed::new(tx, realm, ()).telling(json!({})))
    })
    .await?;
    Ok(alias)
}

pub async fn remove_alias(store: &Store, name: &str, path: &str, cause: &Cause) -> Result<()> {
    let action = Action { word: "alias.remove", target: path };
    change(store, cause, name, action, |mut tx, realm| async move {
        if realms::remove_alias(&mut tx, path).await? {
            Ok(Changed::new(tx, realm, ()).telling(json!({})))
        } else {
            Err(Error::NotFound(format!("the realm `{name}` has no alias `{path}`")))
        }
    })
    .await
    .map(|_| ())
}

/// Was the token new to the realm?
pub(super) async fn put_token(
    tx: &mut RealmTx,
    realm: &mut Realm,
    token: &ImportedToken,
    cause: &Cause,
) -> Result<bool> {
    if realm.name.as_str() == MASTER {
        return Err(Error::Conflict("the realm `master` is the operators' own: it takes no SCIM".into()));
    }
    if token.expires_at.is_some_and(|expires_at| expires_at <= cause.at) {
        return Err(Error::Invalid("`expires_at` is over: the token would open nothing".into()));
    }
    let added = tokens::import(tx, token, cause.at).await?.is_some();
    if added && matches!(token.hash, KnownHash::Slow(_)) && tokens::count_slow(tx).await? > MOST_SLOW {
        return Err(Error::Conflict(format!(
            "a realm holds at most {MOST_SLOW} tokens with a slow hash, since each costs time when a wrong token comes: \
             rotate the token of this realm, or bring SHA-256 hashes"
        )));
    }
    tokens::settle(tx).await?;
    realm.scim_enabled |= added;
    Ok(added)
}

/// Was the path new to the realm?
pub(super) async fn put_alias(tx: &mut RealmTx, realm: &Realm, alias: &AliasPath, cause: &Cause) -> Result<bool> {
    if realm.name.as_str() == MASTER {
        return Err(Error::Conflict("the realm `master` is the operators' own: it takes no SCIM".into()));
    }
    let taken = || {
        Error::Conflict(format!(
            "`{alias}`, or a path above or below it, leads to a realm already: an alias covers all that lies below it"
        ))
    };
    match realms::add_alias(tx, alias, cause.at).await {
        Ok(true) => Ok(true),
        Ok(false) if realms::has_alias(tx, alias).await? => Ok(false),
        Ok(false) => Err(taken()),
        // Somebody else was quicker.
        Err(error) if error.is_taken("realm_aliases") => Err(taken()),
        Err(error) => Err(error.into()),
    }
}
