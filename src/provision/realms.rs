//! What operators do to realms: create them, set the policy, give them domains. Their tokens are in `tokens`.
//!
//! Every change raises the realm's epoch in the transaction which makes it, so that whoever was let in before is asked
//! again on every node.

use super::{Error, Result};
use crate::{
    model::{
        Cause, RealmId,
        admin::Rights,
        audit::Action,
        policy::{GroupNames, Policy},
        realm::{Domain, MASTER, Realm, RealmName},
    },
    store::{self, Store, audit, groups, guard, realms, tokens, tx::RealmTx, webhooks},
};
use serde_json::{Map, Value, json};

/// Creates a realm, with its role and without SCIM.
pub async fn create(
    store: &Store,
    name: &str,
    display_name: Option<&str>,
    enabled: bool,
    cause: &Cause,
) -> Result<Realm> {
    let name = RealmName::parse(name).map_err(|e| Error::Invalid(format!("realm: {e}")))?;
    realms::insert(store, &name, display_name, enabled, cause).await.map_err(|error| match error {
        store::error::Error::Taken(_) => Error::Exists(name.to_string()),
        error => error.into(),
    })?;
    get(store, name.as_str()).await
}

pub async fn get(store: &Store, name: &str) -> Result<Realm> {
    realms::find_by_name(store, name).await?.ok_or_else(|| Error::NotFound("Realm not found.".into()))
}

/// The realm of that name, if there is one.
pub async fn find(store: &Store, name: &str) -> Result<Option<Realm>> {
    Ok(realms::find_by_name(store, name).await?)
}

pub async fn get_by_id(store: &Store, id: RealmId) -> Result<Realm> {
    realms::find(store, id).await?.ok_or_else(|| Error::NotFound("Realm not found.".into()))
}

/// Realms by name, as far as an operator with these rights may see them; `search` is a part of the name.
pub async fn list(store: &Store, rights: &Rights, search: Option<&str>, first: i64, max: i64) -> Result<Vec<Realm>> {
    let names: Vec<&str> = rights.realms.keys().map(String::as_str).collect();
    let among = if rights.admin { None } else { Some(&names[..]) };
    Ok(realms::list(store, search, among, first, max).await?)
}

/// Enables or disables the realm, or renames what people see of it. `None` leaves as it is; the empty
/// text takes the display name away.
pub async fn update(
    store: &Store,
    name: &str,
    display_name: Option<String>,
    enabled: Option<bool>,
    cause: &Cause,
) -> Result<Realm> {
    let display_name = &display_name;
    change(store, cause, name, Action::on_realm("realm.update"), |tx, mut realm| async move {
        if enabled == Some(false) && realm.name.as_str() == MASTER {
            return Err(Error::Conflict("the realm `master` is the operators' own and stays enabled".into()));
        }
        realm.enabled = enabled.unwrap_or(realm.enabled);
        if let Some(display_name) = display_name {
            realm.display_name = Some(display_name.clone()).filter(|name| !name.is_empty());
        }
        Ok(Changed::new(tx, realm, ()))
    })
    .await
    .map(|(realm, ())| realm)
}

/// Deletes the realm and all that it holds. It is closed first, and emptied in parts, so that one of millions of users
/// needs no statement which takes minutes; cut off in between, it stays disabled, and the next call goes on.
pub async fn delete(store: &Store, name: &str, cause: &Cause) -> Result<()> {
    let mut tries = 1;
    loop {
        let (realm, ()) = change(store, cause, name, Action::on_realm("realm.close"), |mut tx, mut realm| async move {
            if realm.name.as_str() == MASTER {
                return Err(Error::Invalid("the realm `master` is the operators' own and cannot be deleted".into()));
            }
            (realm.enabled, realm.scim_enabled) = (false, false);
            tokens::delete_all(&mut tx, cause.at).await?;
            tokens::settle(&mut tx).await?;
            webhooks::stop_all(&mut tx).await?;
            Ok(Changed::new(tx, realm, ()))
        })
        .await?;
        let outcome = async {
            while realms::delete_some(store.enter(realm.id, realm.epoch).await?).await? {}
            realms::delete(store.enter(realm.id, realm.epoch).await?, realm.epoch, cause).await
        };
        match outcome.await {
            // Another operator has changed it, or a request which was under way has still written.
            Err(store::error::Error::Stale | store::error::Error::Deadlock | store::error::Error::Dangling(_))
                if tries < 20 =>
            {
                tries += 1;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Sets some keys of the sync policy. One bad key or value, and none is set.
pub async fn set_policy(store: &Store, name: &str, keys: Map<String, Value>, cause: &Cause) -> Result<Realm> {
    let keys = &keys;
    change(store, cause, name, Action::on_realm("policy.update"), |mut tx, mut realm| async move {
        put_policy(&mut tx, &mut realm, keys).await?;
        Ok(Changed::new(tx, realm, ()))
    })
    .await
    .map(|(realm, ())| realm)
}

pub(super) async fn put_policy(tx: &mut RealmTx, realm: &mut Realm, keys: &Map<String, Value>) -> Result<()> {
    let policy = merged(&realm.policy, keys)?;
    if policy.group_names != realm.policy.group_names {
        let unique = policy.group_names == GroupNames::Unique;
        groups::set_unique_names(tx, unique).await.map_err(|error| match error {
            store::error::Error::Taken(_) => Error::Conflict(
                "group_names: groups of this realm share a name (upper and lower case count as the same); rename them \
                 first"
                    .into(),
            ),
            error => error.into(),
        })?;
    }
    if policy.leaver_guard.is_none() && realm.policy.leaver_guard.is_some() && guard::holds(tx).await? {
        return Err(Error::Conflict(
            "leaver_guard: departures are held; apply or discard them before the guard is switched off".into(),
        ));
    }
    realm.policy = policy;
    Ok(())
}

pub async fn domains(store: &Store, realm: &Realm) -> Result<Vec<String>> {
    Ok(realms::domains(store, realm.id).await?)
}

/// Gives the realm a custom domain. A domain belongs to one realm only.
pub async fn add_domain(store: &Store, name: &str, domain: &str, cause: &Cause) -> Result<Domain> {
    let domain = Domain::parse(domain).map_err(|e| Error::Invalid(e.to_string()))?;
    let new = &domain;
    let action = Action { word: "domain.add", target: domain.as_str() };
    change(store, cause, name, action, |mut tx, realm| async move {
        put_domain(&mut tx, &realm, new, cause).await?;
        Ok(Changed::new(tx, realm, ()).telling(json!({})))
    })
    .await?;
    Ok(domain)
}

pub(super) async fn put_domain(tx: &mut RealmTx, realm: &Realm, domain: &Domain, cause: &Cause) -> Result<()> {
    if realm.name.as_str() == MASTER {
        return Err(Error::Conflict("the realm `master` is served on the platform's host alone".into()));
    }
    realms::add_domain(tx, domain, cause.at).await.map_err(|error| match error {
        store::error::Error::Taken(_) => Error::Conflict("this domain belongs to a realm already".into()),
        error => error.into(),
    })
}

pub async fn remove_domain(store: &Store, name: &str, domain: &str, cause: &Cause) -> Result<()> {
    let missing = || Error::NotFound(format!("the realm `{name}` has no domain `{domain}`"));
    let (parsed, missing) = (&Domain::parse(domain).map_err(|_| missing())?, &missing);
    let action = Action { word: "domain.remove", target: parsed.as_str() };
    change(store, cause, name, action, |mut tx, realm| async move {
        let removed = realms::remove_domain(&mut tx, parsed.as_str()).await?;
        if removed { Ok(Changed::new(tx, realm, ()).telling(json!({}))) } else { Err(missing()) }
    })
    .await
    .map(|_| ())
}

/// A realm as it is to be, in the transaction which makes it so.
pub(super) struct Changed<T> {
    tx: RealmTx,
    realm: Realm,
    made: T,
    told: Option<Value>,
    was: Option<Value>,
}

impl<T> Changed<T> {
    pub(super) fn new(tx: RealmTx, realm: Realm, made: T) -> Self {
        Self { tx, realm, made, told: None, was: None }
    }

    /// What the audit log is to say of it beside what differs in the realm itself: an object, without secrets.
    pub(super) fn telling(self, told: Value) -> Self {
        Self { told: Some(told), ..self }
    }

    /// What was there before, in the words of [`Changed::telling`].
    pub(super) fn instead_of(self, was: Value) -> Self {
        Self { was: Some(was), ..self }
    }
}

/// The one way in which a realm changes: from its newest epoch to the next, with an entry in the audit log if anything
/// is different then. Who loses the race reads it again.
pub(super) async fn change<T, F>(
    store: &Store,
    cause: &Cause,
    name: &str,
    action: Action<'_>,
    body: impl Fn(RealmTx, Realm) -> F,
) -> Result<(Realm, T)>
where
    F: Future<Output = Result<Changed<T>>>,
{
    enact(store, cause, name, action, false, body).await
}

/// [`change`], or only a rehearsal of it: then nothing is different afterwards, and the answer is the realm as it would
/// be, at the epoch that it is at.
pub(super) async fn enact<T, F>(
    store: &Store,
    cause: &Cause,
    name: &str,
    action: Action<'_>,
    rehearsal: bool,
    body: impl Fn(RealmTx, Realm) -> F,
) -> Result<(Realm, T)>
where
    F: Future<Output = Result<Changed<T>>>,
{
    let mut tries = 1;
    loop {
        let before = get(store, name).await?;
        let tx = store.enter(before.id, before.epoch).await?;
        let outcome = async {
            let Changed { mut tx, mut realm, made, told, was } = body(tx, before.clone()).await?;
            realm.epoch = realms::update(&mut tx, &realm, cause.at).await?;
            let (mut old, mut new) = difference(&before, &realm);
            if let Some(Value::Object(was)) = was {
                old.extend(was);
            }
            let is_told = told.is_some();
            if let Some(Value::Object(told)) = told {
                new.extend(told);
            }
            if is_told || !new.is_empty() {
                audit::append(&mut tx, cause, action, Some(&Value::Object(old)), Some(&Value::Object(new))).await?;
            }
            if rehearsal {
                tx.rollback().await?;
                realm.epoch = before.epoch;
            } else {
                tx.commit().await?;
            }
            Ok((realm, made))
        };
        match outcome.await {
            Err(Error::Store(store::error::Error::Stale | store::error::Error::Deadlock)) if tries < 20 => tries += 1,
            outcome => return outcome,
        }
    }
}

/// What the audit log shows of a realm, as far as it differs: as it was, and as it is now.
fn difference(before: &Realm, after: &Realm) -> (Map<String, Value>, Map<String, Value>) {
    let shown = |realm: &Realm| {
        let schemas: Vec<&str> = realm.types.added.iter().map(|extension| extension.schema.id.as_str()).collect();
        let shown = json!({
            "display_name": realm.display_name, "enabled": realm.enabled, "scim_enabled": realm.scim_enabled,
            "policy": realm.policy, "identity": realm.identity, "schemas": schemas,
        });
        if let Value::Object(map) = shown { map } else { Map::new() }
    };
    let (mut before, mut after) = (shown(before), shown(after));
    after.retain(|key, value| before.get(key) != Some(value));
    before.retain(|key, _| after.contains_key(key));
    (before, after)
}

/// `policy` with `keys` set, one after the other, so that the answer can name the one which is wrong.
fn merged(policy: &Policy, keys: &Map<String, Value>) -> Result<Policy> {
    let mut merged = policy.clone();
    for (key, value) in keys {
        let mut map = match serde_json::to_value(&merged) {
            Ok(Value::Object(map)) => map,
            Ok(_) | Err(_) => Map::new(),
        };
        if !map.contains_key(key) {
            let known: Vec<&str> = map.keys().map(String::as_str).collect();
            return Err(Error::Invalid(format!("`{key}` is no key of the policy; there are {}", known.join(", "))));
        }
        map.insert(key.clone(), value.clone());
        merged = serde_json::from_value(Value::Object(map)).map_err(|e| Error::Invalid(format!("{key}: {e}")))?;
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merge(keys: &Value) -> Result<Policy, String> {
        merged(&Policy::default(), keys.as_object().expect("a map")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_policy_takes_what_it_knows_and_names_what_it_does_not() {
        let policy = merge(&json!({"group_names": "any", "user_name_follows_email": true})).unwrap();
        assert_eq!((policy.group_names, policy.user_name_follows_email), (GroupNames::Any, true));
        assert!(merge(&json!({"group_name": "any"})).unwrap_err().contains("`group_name` is no key"));
        let wrong = merge(&json!({"group_names": "some"})).unwrap_err();
        assert!(wrong.starts_with("group_names:") && wrong.contains("unique"), "{wrong}");
    }
}
