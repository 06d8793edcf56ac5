//! Groups of a realm, as operators see and keep them.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Page, difference};
use crate::{
    model::{
        GroupId, Scope,
        audit::Action,
        document::Document,
        policy::OnDelete,
        profile::{GroupProfile, name_at},
        user::User,
    },
    provision::{Error, Result, groups::row_of, named_id, transaction},
    scim::{
        patch,
        resource::{self, Resource, fold},
    },
    store::{
        self, Store, audit,
        outbox::Origin,
        people::{self, Named},
        tx::RealmTx,
    },
};

/// Groups by name; `search` is a part of it, or the whole.
pub async fn list(
    store: &Store,
    scope: &Scope,
    search: Option<&str>,
    exact: bool,
    page: Page,
) -> Result<Vec<Document>> {
    let (key, stretch) = (search.map(fold), page.stretch()?);
    Page::whole(people::groups(store.begin(scope).await?, named(key.as_deref(), exact), stretch).await?)
}

pub async fn count(store: &Store, scope: &Scope, search: Option<&str>, exact: bool) -> Result<i64> {
    let key = search.map(fold);
    Ok(people::count_groups(store.begin(scope).await?, named(key.as_deref(), exact)).await?)
}

pub async fn get(store: &Store, scope: &Scope, id: &str) -> Result<Document> {
    let (id, mut tx) = (parse(id)?, store.begin(scope).await?);
    let group = people::group(&mut tx, id).await?;
    tx.commit().await?;
    group.ok_or_else(not_found)
}

/// The group at a path of Keycloak's. Of several of one name, the one in the same case of letters, else the oldest.
pub async fn at_path(store: &Store, scope: &Scope, path: &str) -> Result<Document> {
    let missing = || Error::NotFound("Group path does not exist".into());
    let name = name_at(path).filter(|name| !name.is_empty()).ok_or_else(missing)?;
    let mut found = list(store, scope, Some(&name), true, Page { first: 0, max: None }).await?;
    let same = |group: &Document| group.resource().is_some_and(|group| group.display_name() == Some(&name));
    let at = found.iter().position(same).unwrap_or(0);
    if found.is_empty() { Err(missing()) } else { Ok(found.swap_remove(at)) }
}

/// The users in the group itself.
pub async fn members(store: &Store, scope: &Scope, id: &str, page: Page) -> Result<Vec<User>> {
    let (group, stretch) = (GroupId(get(store, scope, id).await?.id), page.stretch()?);
    Page::whole(people::members(store.begin(scope).await?, group, stretch).await?)
}

/// Creates a group of the operators' own, which SCIM does not see.
pub async fn create(store: &Store, scope: &Scope, profile: &GroupProfile) -> Result<GroupId> {
    let mut group = Resource::default();
    profile.write(&scope.realm.types.group, &mut group)?;
    check(scope, &group)?;
    let (id, row) = (GroupId(Uuid::now_v7()), &row_of(scope, &group));
    let (_, after) = &difference(&patch::changes(&Resource::default(), &group));
    transaction(store, scope, |mut tx| async move {
        store::groups::insert(&mut tx, id, row, false, &Origin::of(scope)).await?;
        let action = Action { word: "group.create", target: &id.to_string() };
        audit::append(&mut tx, scope, action, None, Some(after)).await?;
        tx.commit().await?;
        Ok(id)
    })
    .await
    .map_err(|error| taken(error, &group))
}

/// Changes a group of the operators' own. What makes no difference writes nothing.
pub async fn update(store: &Store, scope: &Scope, id: &str, profile: &GroupProfile) -> Result<()> {
    let group_id = parse(id)?;
    let mut wanted = Resource::default();
    profile.write(&scope.realm.types.group, &mut wanted)?;
    transaction(store, scope, |mut tx| async move {
        let document = own(people::lock_group(&mut tx, group_id).await?)?;
        let before = document.resource().ok_or(Error::Damaged(group_id.0))?;
        let mut after = before.clone();
        profile.write(&scope.realm.types.group, &mut after)?;
        check(scope, &after)?;
        write(&mut tx, scope, id, &before, &after).await?;
        Ok(tx.commit().await?)
    })
    .await
    .map_err(|error| taken(error, &wanted))
}

/// Deletes a group of the operators' own; its members stay what they are.
pub async fn delete(store: &Store, scope: &Scope, id: &str) -> Result<()> {
    let group_id = parse(id)?;
    let keep = scope.realm.policy.on_delete == OnDelete::Tombstone;
    transaction(store, scope, |mut tx| async move {
        let document = own(people::lock_group(&mut tx, group_id).await?)?;
        let before = document.resource().ok_or(Error::Damaged(group_id.0))?;
        let (_, was) = difference(&patch::changes(&Resource::default(), &before));
        let action = Action { word: "group.delete", target: id };
        audit::append(&mut tx, scope, action, Some(&was), None).await?;
        Ok(store::groups::delete(&mut tx, group_id, keep, &Origin::of(scope), true).await?)
    })
    .await
}

async fn write(tx: &mut RealmTx, scope: &Scope, id: &str, before: &Resource, after: &Resource) -> Result<()> {
    let changes = patch::changes(before, after);
    if changes.is_empty() {
        return Ok(());
    }
    let (old, new) = difference(&changes);
    audit::append(tx, scope, Action { word: "group.update", target: id }, Some(&old), Some(&new)).await?;
    let previous: Map<String, Value> =
        changes.into_iter().map(|change| (change.path, change.previous.unwrap_or(Value::Null))).collect();
    store::groups::update(tx, parse(id)?, &row_of(scope, after), &previous, &Origin::of(scope)).await?;
    Ok(())
}

/// The group, if operators may change it and who is in it.
pub(super) fn own(group: Option<Document>) -> Result<Document> {
    match group {
        None => Err(not_found()),
        Some(group) if group.managed => Err(Error::Managed("Group is managed by SCIM".into())),
        Some(group) => Ok(group),
    }
}

fn check(scope: &Scope, group: &Resource) -> Result<()> {
    if group.display_name().is_none_or(str::is_empty) {
        return Err(Error::Invalid("Group name is missing".into()));
    }
    Ok(resource::finish(&scope.realm.types.group, group)?)
}

fn named(key: Option<&str>, exact: bool) -> Named<'_> {
    match key {
        None | Some("") => Named::Anyhow,
        Some(key) if exact => Named::Exactly(key),
        Some(key) => Named::Partly(key),
    }
}

pub(in crate::provision) fn parse(id: &str) -> Result<GroupId> {
    named_id(id).map(GroupId).ok_or_else(not_found)
}

/// In Keycloak's words, which clients know.
pub(in crate::provision) fn not_found() -> Error {
    Error::NotFound("Could not find group by id".into())
}

fn taken(error: Error, group: &Resource) -> Error {
    match error {
        Error::Store(error) if error.is_taken("unique_name") => {
            let name = group.display_name().unwrap_or_default();
            Error::Conflict(format!("Top level group named '{name}' already exists."))
        }
        error => error,
    }
}
