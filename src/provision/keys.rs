//! The key by which a realm signs its security event tokens: made when the first of them can be wanted, replaced on an
//! operator's word, the same on every node.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{
    Error, Result,
    realms::{self, Changed, change},
};
use crate::{
    model::{Cause, audit::Action, realm::Realm, set::RealmKey, span::Span},
    secret::KeyRing,
    store::{self, Store, realm_keys, tx::RealmTx},
};

pub use crate::store::realm_keys::PublishedKey;

/// How long a key is published after it has signed its last token.
const PUBLISHED_FOR: Span = Span::days(30);

/// Makes a key, if the realm has none.
pub(super) async fn ensure(tx: &mut RealmTx, ring: &KeyRing, realm: &Realm, at: Timestamp) -> Result<()> {
    match realm_keys::current(tx).await? {
        Some(_) => Ok(()),
        None => make(tx, ring, realm, at).await.map(|_| ()),
    }
}

/// Signs with a new key from now on. The former one is published for a month more, so that what it has signed can be
/// verified; its private half is gone.
pub async fn rotate(store: &Store, ring: &KeyRing, realm: &str, cause: &Cause) -> Result<()> {
    change(store, cause, realm, Action::on_realm("keys.rotate"), |mut tx, realm| async move {
        realm_keys::retire(&mut tx, cause.at, PUBLISHED_FOR.after(cause.at)).await?;
        let kid = make(&mut tx, ring, &realm, cause.at).await?;
        Ok(Changed::new(tx, realm, ()).telling(json!({ "kid": kid })))
    })
    .await
    .map(|_| ())
}

/// The keys which verify the realm's tokens, the newest first.
pub async fn list(store: &Store, realm: &Realm, at: Timestamp) -> Result<Vec<PublishedKey>> {
    Ok(realm_keys::list(store.enter(realm.id, realm.epoch).await?, at).await?)
}

/// The same by the realm's name; none if no realm has that name.
pub async fn published(store: &Store, name: &str, at: Timestamp) -> Result<Vec<PublishedKey>> {
    let mut tries = 1;
    loop {
        let Some(realm) = realms::find(store, name).await? else { return Ok(Vec::new()) };
        match list(store, &realm, at).await {
            Err(Error::Store(store::error::Error::Stale)) if tries < 20 => tries += 1,
            keys => return keys,
        }
    }
}

/// The key which signs.
pub(super) async fn current(tx: &mut RealmTx, ring: &KeyRing, realm: &Realm) -> Result<RealmKey> {
    let (kid, sealed) = realm_keys::current(tx).await?.ok_or_else(|| Error::Conflict("the realm has no key".into()))?;
    let private = ring.open(realm.id.0, RealmKey::COLUMN, &sealed).map_err(|e| Error::Conflict(e.to_string()))?;
    Ok(RealmKey::stored(kid, private.reveal().clone()))
}

async fn make(tx: &mut RealmTx, ring: &KeyRing, realm: &Realm, at: Timestamp) -> Result<Uuid> {
    let nothing_random = |_| Error::Conflict("this machine has no randomness to make a key of".into());
    let (key, public) = RealmKey::generate(Uuid::now_v7()).map_err(nothing_random)?;
    let sealed = ring.seal(realm.id.0, RealmKey::COLUMN, key.private()).map_err(|e| Error::Conflict(e.to_string()))?;
    realm_keys::insert(tx, key.kid, &public, &sealed, at).await?;
    Ok(key.kid)
}
