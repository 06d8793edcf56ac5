//! What an IdP does to groups and to their members (RFC 7644 §3.3-3.6).

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Error, IfMatch, Result, admission, named_id, transaction};
use crate::{
    model::{
        GroupId, Scope,
        document::Document,
        group::{Group, Member, MemberKind},
        policy::{GroupNames, OnDelete},
    },
    scim::{
        self,
        filter::{Filter, comparable},
        list::Page,
        patch::{self, MembersDelta, Operation},
        resource::{self, Resource, fold},
    },
    store::{
        Store, filter_sql,
        groups::{self, GroupRow},
        json::JsonText,
        list::FIRST_PARAM,
        members,
        outbox::Origin,
        tx::RealmTx,
    },
};

/// Where the answer's members come from: the URLs which the ids of users and groups are appended to, or nowhere.
#[derive(Debug, Clone, Copy)]
pub struct MemberUrls<'a> {
    pub users: &'a str,
    pub groups: &'a str,
}

/// Creates a group, with the members that came along.
pub async fn create(store: &Store, scope: &Scope, incoming: Value, urls: Option<MemberUrls<'_>>) -> Result<Group> {
    let admitted = resource::admit(&scope.realm.types.group, incoming, &admission(&scope.realm.policy))?;
    let id = GroupId(Uuid::now_v7());
    let delta = MembersDelta::replace(admitted.members.unwrap_or_default());
    let row = row_of(scope, &admitted.resource);
    let (resource, delta, row) = (&admitted.resource, &delta, &row);
    transaction(store, scope, |mut tx| async move {
        let origin = Origin::of(scope);
        let members = known(&mut tx, delta).await?;
        groups::insert(&mut tx, id, row, &origin).await.map_err(|e| named(e, resource))?;
        let mut document = Document {
            id: id.0,
            version: 1,
            created_at: scope.at,
            updated_at: scope.at,
            attributes: row.attributes.0.clone(),
        };
        if !members.is_empty()
            && let Some((version, at)) = members::add(&mut tx, id, &members, &origin).await?
        {
            (document.version, document.updated_at) = (version, at);
        }
        with_members(tx, document, urls).await
    })
    .await
}

/// The group of that id, which may be any text.
pub async fn get(store: &Store, scope: &Scope, id: &str, urls: Option<MemberUrls<'_>>) -> Result<Group> {
    let group_id = parse(id)?;
    let mut tx = store.begin(scope).await?;
    let document = groups::find(&mut tx, group_id).await?.ok_or_else(|| not_found(id))?;
    with_members(tx, document, urls).await
}

/// A page of the groups which match `filter`, and how many match in all.
pub async fn list(
    store: &Store,
    scope: &Scope,
    filter: Option<&Filter>,
    page: Page,
    urls: Option<MemberUrls<'_>>,
) -> Result<(Vec<Group>, i64)> {
    let condition = filter_sql::compile(filter, &scope.realm.types.group, scope.realm.policy.dialect, FIRST_PARAM)?;
    let mut tx = store.begin(scope).await?;
    let (documents, total) = groups::list(&mut tx, &condition, page).await?;
    let mut members = match urls {
        Some(urls) => {
            let ids: Vec<Uuid> = documents.iter().map(|document| document.id).collect();
            members::list(&mut tx, &ids, urls.users, urls.groups).await?.into_iter().collect()
        }
        None => HashMap::new(),
    };
    tx.commit().await?;
    let group = |document: Document| Group { members: members.remove(&document.id), document };
    Ok((documents.into_iter().map(group).collect(), total))
}

/// Replaces what the IdP wrote (RFC 7644 §3.5.1). A PUT which is silent about `members` leaves them as they are: the
/// RFC allows it, and a group which is emptied by accident locks people out.
pub async fn replace(
    store: &Store,
    scope: &Scope,
    id: &str,
    incoming: Value,
    if_match: IfMatch<'_>,
    urls: Option<MemberUrls<'_>>,
) -> Result<Group> {
    let admitted = resource::admit(&scope.realm.types.group, incoming, &admission(&scope.realm.policy))?;
    let delta = admitted.members.map(MembersDelta::replace).unwrap_or_default();
    change(store, scope, id, if_match, urls, |_| Ok((admitted.resource.clone(), delta.clone()))).await
}

/// Applies the operations, all or none (RFC 7644 §3.5.2). What it costs depends on what is named, not on how many
/// members the group has.
pub async fn patch(
    store: &Store,
    scope: &Scope,
    id: &str,
    operations: &[Operation],
    if_match: IfMatch<'_>,
    urls: Option<MemberUrls<'_>>,
) -> Result<Group> {
    let admission = admission(&scope.realm.policy);
    change(store, scope, id, if_match, urls, |before| {
        let patched = patch::apply(&scope.realm.types.group, before, operations, &admission)?;
        Ok((patched.resource, patched.members))
    })
    .await
}

/// Deletes the group; its members stay what they are.
pub async fn delete(store: &Store, scope: &Scope, id: &str, if_match: IfMatch<'_>) -> Result<()> {
    let group_id = parse(id)?;
    let keep = scope.realm.policy.on_delete == OnDelete::Tombstone;
    transaction(store, scope, |mut tx| async move {
        let document = groups::lock(&mut tx, group_id).await?.ok_or_else(|| not_found(id))?;
        if_match.check(document.version)?;
        Ok(groups::delete(tx, group_id, keep, &Origin::of(scope)).await?)
    })
    .await
}

/// Changes a group and its membership under its lock. What makes no difference writes nothing, so the version stays.
async fn change(
    store: &Store,
    scope: &Scope,
    id: &str,
    if_match: IfMatch<'_>,
    urls: Option<MemberUrls<'_>>,
    to: impl Fn(&Resource) -> Result<(Resource, MembersDelta)> + Sync,
) -> Result<Group> {
    let (group_id, to) = (parse(id)?, &to);
    transaction(store, scope, |mut tx| async move {
        let mut document = groups::lock(&mut tx, group_id).await?.ok_or_else(|| not_found(id))?;
        if_match.check(document.version)?;
        let before = document.resource().ok_or(Error::Damaged(group_id.0))?;
        let (after, delta) = to(&before)?;
        write(&mut tx, scope, &mut document, &before, &after).await?;
        move_members(&mut tx, scope, &mut document, &delta).await?;
        with_members(tx, document, urls).await
    })
    .await
}

async fn write(
    tx: &mut RealmTx,
    scope: &Scope,
    document: &mut Document,
    before: &Resource,
    after: &Resource,
) -> Result<()> {
    let changes = patch::changes(before, after);
    if changes.is_empty() {
        return Ok(());
    }
    let previous: Map<String, Value> =
        changes.into_iter().map(|change| (change.path, change.previous.unwrap_or(Value::Null))).collect();
    let row = row_of(scope, after);
    let updated = groups::update(tx, GroupId(document.id), &row, &previous, &Origin::of(scope)).await;
    (document.version, document.updated_at) = updated.map_err(|e| named(e, after))?;
    document.attributes = row.attributes.0;
    Ok(())
}

/// Members go before members come, so that a member who is replaced by itself does neither.
async fn move_members(tx: &mut RealmTx, scope: &Scope, document: &mut Document, delta: &MembersDelta) -> Result<()> {
    let (group, origin) = (GroupId(document.id), Origin::of(scope));
    let come = known(tx, delta).await?;
    let nested: Vec<Uuid> = come.iter().filter(|m| m.kind == MemberKind::Group).map(|m| m.id).collect();
    if !nested.is_empty() && members::closes_cycle(tx, group, &nested).await? {
        return Err(invalid("a group can be a member neither of itself nor of a group which it contains"));
    }
    let gone = if delta.clear {
        let stay: Vec<Uuid> = come.iter().map(|m| m.id).collect();
        members::retain(tx, group, &stay, &origin).await?
    } else {
        // What is not a UUID is not a member: nothing to remove.
        let ids: Vec<Uuid> = delta.remove.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect();
        if ids.is_empty() { None } else { members::remove(tx, group, &ids, &origin).await? }
    };
    let added = if come.is_empty() { None } else { members::add(tx, group, &come, &origin).await? };
    if let Some((version, at)) = added.or(gone) {
        (document.version, document.updated_at) = (version, at);
    }
    Ok(())
}

/// The members that are to come, as what the realm knows them; one unknown refuses them all, by name.
async fn known(tx: &mut RealmTx, delta: &MembersDelta) -> Result<Vec<Member>> {
    let mut ids = Vec::with_capacity(delta.add.len());
    for id in delta.add.keys() {
        ids.push(Uuid::try_parse(id).map_err(|_| unknown(std::iter::once(&**id)))?);
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let known = members::known(tx, &ids).await?;
    if known.len() < ids.len() {
        let known: BTreeSet<Uuid> = known.iter().map(|member| member.id).collect();
        let missing: Vec<String> = ids.iter().filter(|id| !known.contains(id)).map(Uuid::to_string).collect();
        return Err(unknown(missing.iter().map(String::as_str)));
    }
    Ok(known)
}

/// The group as the answer needs it, once everything before is committed.
async fn with_members(mut tx: RealmTx, document: Document, urls: Option<MemberUrls<'_>>) -> Result<Group> {
    let members = match urls {
        Some(urls) => {
            members::list(&mut tx, &[document.id], urls.users, urls.groups).await?.pop().map(|(_, text)| text)
        }
        None => None,
    };
    tx.commit().await?;
    Ok(Group { document, members })
}

fn row_of(scope: &Scope, resource: &Resource) -> GroupRow {
    let display_name_key = fold(resource.display_name().unwrap_or_default());
    let schemas = scope.realm.types.group.schemas_of(resource);
    GroupRow {
        unique_name: (scope.realm.policy.group_names == GroupNames::Unique).then(|| display_name_key.clone()),
        display_name_key,
        external_id: resource.external_id().map(str::to_owned),
        attributes: JsonText(Document::text_of(&schemas, resource)),
        comparable: comparable(&scope.realm.types.group, resource)
            .map(|form| JsonText(Value::Object(form).to_string())),
    }
}

fn parse(id: &str) -> Result<GroupId> {
    named_id(id).map(GroupId).ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Error {
    Error::NotFound(format!("there is no group `{id}` in this realm"))
}

fn invalid(detail: impl Into<String>) -> Error {
    scim::error::Error::invalid_value(detail).into()
}

/// Names the unknown members, the first few of them.
fn unknown<'a>(ids: impl Iterator<Item = &'a str>) -> Error {
    const SHOWN: usize = 10;
    let ids: Vec<&str> = ids.take(SHOWN + 1).collect();
    let more = if ids.len() > SHOWN { ", and more" } else { "" };
    let shown: Vec<String> = ids.iter().take(SHOWN).map(|id| format!("`{id}`")).collect();
    invalid(format!(
        "members: this realm has no user or group {}{more}; nothing was changed. Assign these users to the \
         application first, then push the group again",
        shown.join(", ")
    ))
}

/// The database knows which value is taken, the client wants to read it.
fn named(error: crate::store::error::Error, resource: &Resource) -> Error {
    if error.is_taken("unique_name") {
        let name = resource.display_name().unwrap_or_default();
        return scim::error::Error::uniqueness(format!(
            "displayName `{name}` is taken by another group of this realm (upper and lower case count as the same): \
             look it up with the filter `displayName eq`, link to it or rename one of the two"
        ))
        .into();
    }
    error.into()
}
