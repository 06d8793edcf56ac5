//! Users of a realm, as operators see and keep them.

use uuid::Uuid;

use super::{Page, difference};
use crate::{
    model::{
        Scope, UserId, audit::Action, document::Document, policy::OnDelete, profile::UserProfile, role::Holder,
        search::UserSearch, user::User,
    },
    provision::{
        Error, Result, named_id, transaction,
        users::{is_taken, row_of, write},
    },
    scim::{
        patch,
        resource::{self, Resource, fold},
    },
    store::{self, Store, audit, outbox::Origin, people},
};

/// The users whom the search fits, in the order of their names.
pub async fn search(store: &Store, scope: &Scope, search: &UserSearch, page: Page) -> Result<Vec<User>> {
    let stretch = page.stretch()?;
    Page::whole(people::users(store.begin(scope).await?, search, stretch).await.map_err(too_long)?)
}

/// How many users the search fits.
pub async fn count(store: &Store, scope: &Scope, search: &UserSearch) -> Result<i64> {
    people::count_users(store.begin(scope).await?, search).await.map_err(too_long)
}

pub async fn get(store: &Store, scope: &Scope, id: &str) -> Result<User> {
    let (id, mut tx) = (parse(id)?, store.begin(scope).await?);
    let user = people::user(&mut tx, id).await?;
    tx.commit().await?;
    user.ok_or_else(not_found)
}

/// The groups which hold the user directly, by name; `search` is a part of it.
pub async fn groups(store: &Store, scope: &Scope, id: &str, search: Option<&str>, page: Page) -> Result<Vec<Document>> {
    let (user, stretch) = (UserId(get(store, scope, id).await?.document.id), page.stretch()?);
    let part = search.map(fold);
    Page::whole(people::groups_of_user(store.begin(scope).await?, user, part.as_deref(), stretch).await?)
}

/// Creates a user of the operators' own, which SCIM does not see. It is active: nobody's first sign-in is waited for.
pub async fn create(store: &Store, scope: &Scope, profile: &UserProfile) -> Result<UserId> {
    let user_type = &scope.realm.types.user;
    let mut user = Resource::default();
    user.set("active", true);
    profile.write(user_type, &mut user)?;
    check(scope, &user)?;
    let (id, row) = (UserId(Uuid::now_v7()), &row_of(user_type, &user, true));
    let (_, after) = &difference(&patch::changes(&Resource::default(), &user));
    transaction(store, scope, |mut tx| async move {
        let action = Action { word: "user.create", target: &id.to_string() };
        audit::append(&mut tx, scope, action, None, Some(after)).await?;
        store::users::insert(&mut tx, id, row, true, false, &Origin::of(scope), true).await?;
        Ok(id)
    })
    .await
    .map_err(taken)
}

/// Changes a user of the operators' own. What makes no difference writes nothing.
pub async fn update(store: &Store, scope: &Scope, id: &str, profile: &UserProfile) -> Result<()> {
    let user_id = parse(id)?;
    transaction(store, scope, |mut tx| async move {
        let user = own(people::lock_user(&mut tx, user_id).await?)?;
        let before = user.document.resource().ok_or(Error::Damaged(user_id.0))?;
        let mut after = before.clone();
        profile.write(&scope.realm.types.user, &mut after)?;
        check(scope, &after)?;
        let changes = patch::changes(&before, &after);
        if !changes.is_empty() {
            let (old, new) = difference(&changes);
            let action = Action { word: "user.update", target: id };
            audit::append(&mut tx, scope, action, Some(&old), Some(&new)).await?;
        }
        write(tx, scope, user, &before, &after).await.map(|_| ())
    })
    .await
    .map_err(taken)
}

/// Deletes a user of the operators' own.
pub async fn delete(store: &Store, scope: &Scope, id: &str) -> Result<()> {
    let user_id = parse(id)?;
    let keep = scope.realm.policy.on_delete == OnDelete::Tombstone;
    transaction(store, scope, |mut tx| async move {
        let user = own(people::lock_user(&mut tx, user_id).await?)?;
        let before = user.document.resource().ok_or(Error::Damaged(user_id.0))?;
        let (_, was) = difference(&patch::changes(&Resource::default(), &before));
        let action = Action { word: "user.delete", target: id };
        audit::append(&mut tx, scope, action, Some(&was), None).await?;
        Ok(store::users::delete(&mut tx, user_id, keep, &Origin::of(scope), true).await?)
    })
    .await
}

/// Puts the user, whoever keeps it, into a group of the operators' own. Who is there already stays.
pub async fn join(store: &Store, scope: &Scope, id: &str, group: &str) -> Result<()> {
    change_membership(store, scope, id, group, true).await
}

/// Takes the user out of a group of the operators' own. Who is not there is no mistake.
pub async fn leave(store: &Store, scope: &Scope, id: &str, group: &str) -> Result<()> {
    change_membership(store, scope, id, group, false).await
}

async fn change_membership(store: &Store, scope: &Scope, id: &str, group: &str, joins: bool) -> Result<()> {
    let (user_id, group_id) = (parse(id)?, super::groups::parse(group)?);
    transaction(store, scope, |mut tx| async move {
        super::groups::own(people::lock_group(&mut tx, group_id).await?)?;
        if !people::is_there(&mut tx, Holder::User(user_id)).await? {
            return Err(not_found());
        }
        let origin = Origin::of(scope);
        let changed = if joins {
            people::join(&mut tx, group_id, user_id, &origin).await?
        } else {
            people::leave(&mut tx, group_id, user_id, &origin).await?
        };
        if changed {
            let member = serde_json::json!({ "member": id });
            let (word, before, after) =
                if joins { ("group.join", None, Some(&member)) } else { ("group.leave", Some(&member), None) };
            audit::append(&mut tx, scope, Action { word, target: group }, before, after).await?;
        }
        Ok(tx.commit().await?)
    })
    .await
}

/// The user, if operators may change it.
fn own(user: Option<User>) -> Result<User> {
    match user {
        None => Err(not_found()),
        Some(user) if user.document.managed => Err(Error::Managed("User is managed by SCIM".into())),
        Some(user) => Ok(user),
    }
}

fn check(scope: &Scope, user: &Resource) -> Result<()> {
    if user.user_name().is_none_or(str::is_empty) {
        return Err(Error::Invalid("User name is missing".into()));
    }
    Ok(resource::finish(&scope.realm.types.user, user)?)
}

pub(in crate::provision) fn parse(id: &str) -> Result<UserId> {
    named_id(id).map(UserId).ok_or_else(not_found)
}

/// In Keycloak's words, which clients know.
pub(in crate::provision) fn not_found() -> Error {
    Error::NotFound("User not found".into())
}

fn taken(error: Error) -> Error {
    if is_taken(&error) { Error::Conflict("User exists with same username".into()) } else { error }
}

/// What no index serves looks at all users of the realm.
fn too_long(error: store::error::Error) -> Error {
    match error {
        store::error::Error::TooLong => Error::Invalid(
            "this looks at more users than one request may: search by the beginning of a name or address, or with \
             `exact=true`"
                .into(),
        ),
        error => error.into(),
    }
}
