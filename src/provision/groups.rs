//! What an IdP does to groups and to their members (RFC 7644 §3.3-3.6).

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Error, Preconditions, Result, admission, awaits_members,
    guard::{self, Verdict},
    named_id, outcomes, transaction,
};
use crate::{
    model::{
        GroupId, Scope,
        document::Document,
        group::{Group, Membership, Place, Stretch},
        policy::{GroupNames, OnDelete},
        request_log::Outcome,
    },
    scim::{
        self,
        filter::comparable,
        patch::{self, Effect, MembersDelta, Operation},
        resource::{self, Resource, fold},
    },
    store::{
        self, Store,
        groups::{self, GroupRow},
        json::JsonText,
        members::{self, Rules},
        outbox::Origin,
        people,
        tx::RealmTx,
    },
};

pub(super) const RING: &str = "members: a group can be a member neither of itself nor of a group which it contains";

/// Creates a group, with the members that came along.
pub async fn create(store: &Store, scope: &Scope, incoming: Value, membership: Membership) -> Result<Group> {
    let admitted = resource::admit(&scope.realm.types.group, incoming, &admission(&scope.realm.policy))?;
    let id = GroupId(Uuid::now_v7());
    let delta = MembersDelta::replace(admitted.members.unwrap_or_default());
    let row = row_of(scope, &admitted.resource);
    let (resource, delta, row) = (&admitted.resource, &delta, &row);
    transaction(store, scope, |mut tx| async move {
        if awaits_members(scope) {
            members::hold_realm(&mut tx).await?;
        }
        if let Err(error) = groups::insert(&mut tx, id, row, true, &Origin::of(scope)).await {
            return Err(named(&mut tx, error, resource).await);
        }
        let mut document = Document {
            id: id.0,
            version: 1,
            created_at: scope.at,
            updated_at: scope.at,
            attributes: row.attributes.0.clone(),
            managed: true,
        };
        if !delta.add.is_empty() {
            // Nobody sees the group yet, so nobody can put it into another one.
            move_members(&mut tx, scope, &mut document, delta, Nesting::Safe, membership == Membership::Unread).await?;
        }
        read_along(tx, document, membership).await
    })
    .await
}

/// The group of that id, which may be any text.
pub async fn get(store: &Store, scope: &Scope, id: &str, membership: Membership) -> Result<Group> {
    let group_id = parse(id)?;
    let mut tx = store.begin(scope).await?;
    let found = if membership == Membership::Unread {
        let found = groups::find(&mut tx, group_id).await?;
        tx.commit().await?;
        found.map(|document| Group { document, members: None })
    } else {
        groups::find_with_members(tx, group_id, membership == Membership::Named).await?
    };
    found.ok_or_else(|| not_found(id))
}

/// The members of `groups` from `place` on, as far as a stretch goes. Fails if one of the groups is gone.
pub async fn members(store: &Store, scope: &Scope, groups: &[Uuid], place: Place, named: bool) -> Result<Stretch> {
    Ok(members::read(store.begin(scope).await?, groups, place, named).await?)
}

/// Replaces what the IdP wrote (RFC 7644 §3.5.1). A PUT which is silent about `members` leaves them as they are: the
/// RFC allows it, and a group which is emptied by accident locks people out.
pub async fn replace(
    store: &Store,
    scope: &Scope,
    id: &str,
    incoming: Value,
    preconditions: Preconditions<'_>,
    membership: Membership,
) -> Result<(Group, Vec<Outcome>)> {
    let admitted = resource::admit(&scope.realm.types.group, incoming, &admission(&scope.realm.policy))?;
    let delta = admitted.members.map(MembersDelta::replace).unwrap_or_default();
    change(store, scope, id, preconditions, membership, |before| {
        let mut after = admitted.resource.clone();
        resource::keep_immutable(&scope.realm.types.group, before, &mut after)?;
        resource::finish(&scope.realm.types.group, &after)?;
        let effect = Effect { changed: after != *before, members: !delta.is_empty() };
        Ok((after, delta.clone(), vec![effect]))
    })
    .await
}

/// Applies the operations, all or none (RFC 7644 §3.5.2). What it costs depends on what is named, not on how many
/// members the group has.
pub async fn patch(
    store: &Store,
    scope: &Scope,
    id: &str,
    operations: &[Operation],
    preconditions: Preconditions<'_>,
    membership: Membership,
) -> Result<(Group, Vec<Outcome>)> {
    let admission = admission(&scope.realm.policy);
    change(store, scope, id, preconditions, membership, |before| {
        let patched = patch::apply(&scope.realm.types.group, before, operations, &admission)?;
        Ok((patched.resource, patched.members, patched.effects))
    })
    .await
}

/// Deletes the group; its members stay what they are.
pub async fn delete(store: &Store, scope: &Scope, id: &str, preconditions: Preconditions<'_>) -> Result<Outcome> {
    let group_id = parse(id)?;
    let keep = scope.realm.policy.on_delete == OnDelete::Tombstone;
    transaction(store, scope, |mut tx| async move {
        let document = groups::lock_to_delete(&mut tx, group_id).await?.ok_or_else(|| not_found(id))?;
        preconditions.check(document.version)?;
        if guard::on_delete(&mut tx, scope, group_id).await? == Verdict::Held {
            tx.commit().await?;
            return Ok(Outcome::Held);
        }
        groups::delete(&mut tx, group_id, keep, &Origin::of(scope), true).await?;
        Ok(Outcome::Applied)
    })
    .await
}

/// Whether a group can become a member without a look at what others do at this moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    /// No: two groups which are put into each other at once would not see each other.
    Unsafe,
    Safe,
}

/// Changes a group and its membership under its lock. What makes no difference writes nothing, so the version stays.
async fn change(
    store: &Store,
    scope: &Scope,
    id: &str,
    preconditions: Preconditions<'_>,
    membership: Membership,
    to: impl Fn(&Resource) -> Result<(Resource, MembersDelta, Vec<Effect>)> + Sync,
) -> Result<(Group, Vec<Outcome>)> {
    let (group_id, to) = (parse(id)?, &to);
    let attempt = |nesting| {
        transaction(store, scope, move |mut tx| async move {
            if nesting == Nesting::Safe {
                members::hold_realm(&mut tx).await?;
            }
            let mut document = groups::lock(&mut tx, group_id).await?.ok_or_else(|| not_found(id))?;
            preconditions.check(document.version)?;
            let before = document.resource().ok_or(Error::Damaged(group_id.0))?;
            guard::on_group(&mut tx, scope, group_id).await?;
            let (after, delta, effects) = to(&before)?;
            let version = document.version;
            let last = membership == Membership::Unread && before == after;
            let held =
                if delta.is_empty() { None } else { guard::on_members(&mut tx, scope, group_id, &delta).await? };
            let is_held = held.is_some();
            let delta = held.unwrap_or(delta);
            if !delta.is_empty() && !move_members(&mut tx, scope, &mut document, &delta, nesting, last).await? {
                return Ok(None);
            }
            let outcomes = outcomes(&effects, document.version != version, is_held);
            write(&mut tx, scope, &mut document, &before, &after).await?;
            Ok(Some((read_along(tx, document, membership).await?, outcomes)))
        })
    };
    if !awaits_members(scope)
        && let Some(done) = attempt(Nesting::Unsafe).await?
    {
        return Ok(done);
    }
    attempt(Nesting::Safe).await?.ok_or_else(|| invalid(RING))
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
    (document.version, document.updated_at) =
        match groups::update(tx, GroupId(document.id), &row, &previous, &Origin::of(scope)).await {
            Ok(written) => written,
            Err(error) => return Err(named(tx, error, after).await),
        };
    document.attributes = row.attributes.0;
    Ok(())
}

/// Says whether it was done: if not, nothing was, because a group is to become a member.
async fn move_members(
    tx: &mut RealmTx,
    scope: &Scope,
    document: &mut Document,
    delta: &MembersDelta,
    nesting: Nesting,
    last: bool,
) -> Result<bool> {
    let rules = Rules { may_wait: awaits_members(scope), realm_is_held: nesting == Nesting::Safe };
    match members::change(tx, GroupId(document.id), delta, rules, &Origin::of(scope), last).await? {
        members::Outcome::Done(change) => {
            if let Some((version, at)) = change {
                (document.version, document.updated_at) = (version, at);
            }
            Ok(true)
        }
        members::Outcome::Unknown(values) => Err(unknown(&values)),
        members::Outcome::Barred => Ok(false),
    }
}

/// The group as the answer needs it, once everything before is committed.
async fn read_along(tx: RealmTx, document: Document, membership: Membership) -> Result<Group> {
    let members = if membership == Membership::Unread {
        tx.commit().await?;
        None
    } else {
        Some(members::read(tx, &[document.id], Place::default(), membership == Membership::Named).await?)
    };
    Ok(Group { document, members })
}

pub(super) fn row_of(scope: &Scope, resource: &Resource) -> GroupRow {
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
pub(super) fn unknown(values: &[String]) -> Error {
    const SHOWN: usize = 10;
    let more = if values.len() > SHOWN { ", and more" } else { "" };
    let shown: Vec<String> = values.iter().take(SHOWN).map(|value| format!("`{value}`")).collect();
    invalid(format!(
        "members: this realm has no user or group {}{more}; nothing was changed. Assign these users to the \
         application first, then push the group again",
        shown.join(", ")
    ))
}

/// The database knows which value is taken, the client wants to read it, and whose it is. Nothing that the transaction
/// has done remains.
async fn named(tx: &mut RealmTx, error: store::error::Error, resource: &Resource) -> Error {
    if !error.is_taken("unique_name") {
        return error.into();
    }
    let name = resource.display_name().unwrap_or_default();
    let local = async {
        tx.rollback().await?;
        people::is_local_group(tx, &fold(name)).await
    };
    let detail = match local.await {
        Err(error) => return error.into(),
        Ok(true) => format!(
            "displayName `{name}` is taken by a local group of this realm, which an operator made and which SCIM does \
             not see. Let the operator rename or delete that group, or rename this one"
        ),
        Ok(false) => format!(
            "displayName `{name}` is taken by another group of this realm (upper and lower case count as the same): \
             look it up with the filter `displayName eq`, link to it or rename one of the two"
        ),
    };
    scim::error::Error::uniqueness(detail).into()
}
