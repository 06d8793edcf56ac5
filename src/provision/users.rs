//! What an IdP does to users (RFC 7644 §3.3-3.6).

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Error, Preconditions, Result, admission, awaits_members,
    guard::{self, Verdict},
    named_id, outcomes, transaction,
};
use crate::{
    model::{
        Scope, UserId,
        document::Document,
        guard::Departure,
        policy::{DisplayName, InitialState, OnDelete},
        request_log::Outcome,
        user::{State, User},
    },
    scim::{
        self,
        filter::comparable,
        patch::{self, Effect, Operation},
        resource::{self, Resource, fold},
        schema::ResourceType,
    },
    store::{
        self, Store,
        json::JsonText,
        members,
        outbox::Origin,
        people,
        tx::RealmTx,
        users::{self, UserRow},
    },
};

/// Creates a user, tags it `scim-managed`, and tells the outbox: all or nothing, in one round trip.
pub async fn create(store: &Store, scope: &Scope, incoming: Value) -> Result<User> {
    let policy = &scope.realm.policy;
    let resource = resource::admit(&scope.realm.types.user, incoming, &admission(policy))?.resource;
    let (id, row) = (UserId(Uuid::now_v7()), row_of(&scope.realm.types.user, &resource, true));
    let activated = policy.initial_state == InitialState::Active;
    let (new, written) = (&resource, &row);
    transaction(store, scope, |mut tx| async move {
        let (origin, awaited) = (Origin::of(scope), awaits_members(scope));
        if awaited {
            members::admit_arrivals(&mut tx).await?;
        }
        if let Err(error) = users::insert(&mut tx, id, written, activated, true, &origin, !awaited).await {
            return Err(named(tx, error, new).await);
        }
        if awaited {
            members::join(&mut tx, id, written.external_id.as_deref(), &origin, true).await?;
        }
        Ok(())
    })
    .await?;
    Ok(User {
        activated,
        state: State::of(row.active, activated),
        document: Document {
            id: id.0,
            version: 1,
            created_at: scope.at,
            updated_at: scope.at,
            attributes: row.attributes.0,
            managed: true,
        },
        groups: None,
    })
}

/// The user of that id, which may be any text. `groups_url` is what a group's id is appended to.
pub async fn get(store: &Store, scope: &Scope, id: &str, groups_url: &str) -> Result<User> {
    let user_id = parse(id)?;
    users::find(store.begin(scope).await?, user_id, groups_url).await?.ok_or_else(|| not_found(id))
}

/// Replaces what the IdP wrote (RFC 7644 §3.5.1), and tells what became of that. A user does not come back to life because a PUT is silent about
/// `active`.
pub async fn replace(
    store: &Store,
    scope: &Scope,
    id: &str,
    incoming: Value,
    preconditions: Preconditions<'_>,
    groups_url: &str,
) -> Result<(User, Vec<Outcome>)> {
    let speaks = |(key, value): (&String, &Value)| key.eq_ignore_ascii_case("active") && !value.is_null();
    let silent = incoming.as_object().is_some_and(|map| !map.iter().any(speaks));
    let admitted = resource::admit(&scope.realm.types.user, incoming, &admission(&scope.realm.policy))?;
    change(store, scope, id, preconditions, groups_url, |before| {
        let mut after = admitted.resource.clone();
        match before.active() {
            Some(active) if silent => after.set("active", active),
            None if silent => drop(after.0.shift_remove("active")),
            Some(_) | None => {}
        }
        resource::keep_immutable(&scope.realm.types.user, before, &mut after)?;
        resource::finish(&scope.realm.types.user, &after)?;
        let effect = Effect { changed: after != *before, members: false };
        Ok((after, vec![effect]))
    })
    .await
}

/// Applies the operations, all or none (RFC 7644 §3.5.2), and tells what became of each.
pub async fn patch(
    store: &Store,
    scope: &Scope,
    id: &str,
    operations: &[Operation],
    preconditions: Preconditions<'_>,
    groups_url: &str,
) -> Result<(User, Vec<Outcome>)> {
    let admission = admission(&scope.realm.policy);
    change(store, scope, id, preconditions, groups_url, |before| {
        let patched = patch::apply(&scope.realm.types.user, before, operations, &admission)?;
        Ok((patched.resource, patched.effects))
    })
    .await
}

/// Deletes the user: gone from its groups, its name free again, the last state kept if the policy says so (X6).
pub async fn delete(store: &Store, scope: &Scope, id: &str, preconditions: Preconditions<'_>) -> Result<Outcome> {
    let user_id = parse(id)?;
    let keep = scope.realm.policy.on_delete == OnDelete::Tombstone;
    transaction(store, scope, |mut tx| async move {
        let user = users::lock(&mut tx, user_id, "").await?.ok_or_else(|| not_found(id))?;
        preconditions.check(user.document.version)?;
        let people: &[Uuid] = if user.state == State::Disabled { &[] } else { &[user_id.0] };
        let verdict = guard::admit(&mut tx, scope, Departure::DeleteUser, people, Uuid::nil(), people).await?;
        if verdict == Verdict::Held {
            tx.commit().await?;
            return Ok(Outcome::Held);
        }
        users::delete(&mut tx, user_id, keep, &Origin::of(scope), true).await?;
        Ok(Outcome::Applied)
    })
    .await
}

/// Changes a user under its lock. What makes no difference writes nothing, so the version stays (M065).
async fn change(
    store: &Store,
    scope: &Scope,
    id: &str,
    preconditions: Preconditions<'_>,
    groups_url: &str,
    to: impl Fn(&Resource) -> Result<(Resource, Vec<Effect>)> + Sync,
) -> Result<(User, Vec<Outcome>)> {
    let (user_id, to) = (parse(id)?, &to);
    transaction(store, scope, |mut tx| async move {
        if awaits_members(scope) {
            members::admit_arrivals(&mut tx).await?;
        }
        let user = users::lock(&mut tx, user_id, groups_url).await?.ok_or_else(|| not_found(id))?;
        preconditions.check(user.document.version)?;
        let before = user.document.resource().ok_or(Error::Damaged(user_id.0))?;
        let asked = guard::as_asked(&mut tx, scope, user_id, &before).await?;
        let (mut after, effects) = to(asked.as_ref().unwrap_or(&before))?;
        if scope.realm.policy.user_name_follows_email {
            follow_email(&before, &mut after);
            resource::finish(&scope.realm.types.user, &after)?;
        }
        let held = guard::on_user(&mut tx, scope, &user, &before, asked.is_some(), &after).await?;
        let outcomes = outcomes(&effects, false, held.is_some());
        let user = match held {
            None => write(tx, scope, user, &before, &after).await?,
            Some(kept) => write(tx, scope, user, &before, &kept).await?.shown_as(&scope.realm.types.user, &after),
        };
        Ok((user, outcomes))
    })
    .await
}

/// Writes what is different of a locked user, tells of it, and commits.
pub(super) async fn write(
    mut tx: RealmTx,
    scope: &Scope,
    user: User,
    before: &Resource,
    after: &Resource,
) -> Result<User> {
    let changes = patch::changes(before, after);
    if changes.is_empty() {
        tx.commit().await?;
        return Ok(user);
    }
    let previous: Map<String, Value> =
        changes.into_iter().map(|change| (change.path, change.previous.unwrap_or(Value::Null))).collect();
    let (id, row) = (UserId(user.document.id), row_of(&scope.realm.types.user, after, user.state != State::Disabled));
    let managed = user.document.managed;
    let follows = scope.realm.policy.display_name == DisplayName::Always || !managed;
    let origin = Origin::of(scope);
    let awaited = managed && awaits_members(scope) && before.external_id() != after.external_id();
    let (version, updated_at) = match users::update(&mut tx, id, &row, &previous, follows, &origin, !awaited).await {
        Ok(written) => written,
        Err(error) if managed => return Err(named(tx, error, after).await),
        Err(error) => return Err(error.into()),
    };
    if awaited {
        members::join(&mut tx, id, row.external_id.as_deref(), &origin, true).await?;
    }
    Ok(User {
        state: State::of(row.active, user.activated),
        document: Document { version, updated_at, attributes: row.attributes.0, ..user.document },
        ..user
    })
}

/// Where a `userName` is the user's e-mail address, it goes along when that address changes (M064).
fn follow_email(before: &Resource, after: &mut Resource) {
    let (Some(name), Some(same)) = (before.user_name(), after.user_name()) else { return };
    let (Some(old), Some(new)) = (before.email(), after.email()) else { return };
    if name == same && old != new && fold(name) == fold(old) {
        let new = new.to_owned();
        after.set("userName", new);
    }
}

/// `active` is whether the user may come in where the IdP does not say.
pub(super) fn row_of(user_type: &ResourceType, resource: &Resource, active: bool) -> UserRow {
    let mut email_keys: Vec<String> = resource.emails().map(fold).collect();
    email_keys.sort_unstable();
    email_keys.dedup();
    let schemas = user_type.schemas_of(resource);
    UserRow {
        active: resource.active().unwrap_or(active),
        user_name_key: fold(resource.user_name().unwrap_or_default()),
        external_id: resource.external_id().map(str::to_owned),
        display_name_key: resource.display_name().map(fold),
        email_keys,
        attributes: JsonText(Document::text_of(&schemas, resource)),
        comparable: comparable(user_type, resource).map(|form| JsonText(Value::Object(form).to_string())),
    }
}

fn parse(id: &str) -> Result<UserId> {
    named_id(id).map(UserId).ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Error {
    Error::NotFound(format!("there is no user `{id}` in this realm"))
}

/// Is the user's name taken by another one?
pub(super) fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Store(error) if error.is_taken("user_name_key"))
}

/// The database knows which value is taken, the client wants to read it, and whose it is.
async fn named(mut tx: RealmTx, error: store::error::Error, resource: &Resource) -> Error {
    let error = error.into();
    if !is_taken(&error) {
        return error;
    }
    let name = resource.user_name().unwrap_or_default();
    let local = async {
        tx.rollback().await?;
        let local = people::is_local_user(&mut tx, &fold(name)).await?;
        tx.commit().await?;
        Ok::<_, store::error::Error>(local)
    };
    let detail = match local.await {
        Err(error) => return error.into(),
        Ok(true) => format!(
            "userName `{name}` is taken by a local user of this realm, which an operator made and which SCIM does not \
             see; nobody is taken over by a name. Let the operator rename or delete that user, then try again"
        ),
        Ok(false) => format!(
            "userName `{name}` is taken by another user of this realm (upper and lower case count as the same): look \
             it up with the filter `userName eq`, then update that user"
        ),
    };
    scim::error::Error::uniqueness(detail).into()
}
