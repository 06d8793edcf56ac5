//! The leaver guard: above the realm's threshold, what takes access from people is accepted and held, until an operator
//! lets it happen or discards it. All other changes go on.
//!
//! To the IdP which asked for it a held change looks done: it is answered as if it were. Until it is, readers see what
//! is. What the IdP takes back before an operator has looked (a user is active again, a member is added again) is no
//! longer held.

use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Error, Result, awaits_members, groups, realms, users};
use crate::{
    model::{
        Cause, GroupId, Scope, UserId,
        audit::Action,
        group::Membership,
        guard::{Departure, GuardStatus, HeldChange},
        policy::Policy,
        realm::Realm,
        span::Span,
        user::{State, User},
    },
    provision::Preconditions,
    scim::{
        lenient::Dialect,
        patch::{MembersDelta, Op, Operation},
        path::{AttrPath, Path},
        resource::Resource,
    },
    store::{self, Store, audit, guard, members, outbox::Origin, tx::RealmTx},
    telemetry,
};

/// How old the number of users may be which percentages are taken of, in seconds.
const COUNTED_EVERY: i64 = 600;

/// Held changes which are looked at in one go.
const PAGE: i64 = 500;

/// May a departure happen now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Held,
}

/// What became of what was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// Changes which were applied or discarded.
    pub done: usize,
    /// Changes which are still held: there was no time for them, or they came meanwhile.
    pub held: i64,
}

/// Lets `people` lose access, or holds what would take it from them. The last thing that a transaction locks.
pub(super) async fn admit(
    tx: &mut RealmTx,
    scope: &Scope,
    departure: Departure,
    subjects: &[Uuid],
    group: Uuid,
    people: &[Uuid],
) -> Result<Verdict> {
    let Some(policy) = &scope.realm.policy.leaver_guard else { return Ok(Verdict::Go) };
    if people.is_empty() {
        return Ok(Verdict::Go);
    }
    let origin = Origin::of(scope);
    let counted_since = scope.at.checked_sub(jiff::SignedDuration::from_secs(COUNTED_EVERY)).unwrap_or(scope.at);
    let guard = guard::lock(tx, scope.at, counted_since).await?;
    if guard.held_since.is_none() {
        let departed = guard::count(tx, people, policy.window.before(scope.at), scope.at).await?;
        if !policy.is_exceeded(departed, guard.active_users) {
            return Ok(Verdict::Go);
        }
        guard::open(tx, departed, guard.active_users, &origin).await?;
        tracing::warn!(realm.name = %scope.realm.name, departed, "the leaver guard holds departures from now on");
    }
    guard::hold(tx, departure, subjects, group, &origin).await?;
    telemetry::departures_held(subjects.len());
    Ok(Verdict::Held)
}

/// What the IdP believes the user to be: disabled, if that is held.
pub(super) async fn as_asked(
    tx: &mut RealmTx,
    scope: &Scope,
    id: UserId,
    stored: &Resource,
) -> Result<Option<Resource>> {
    if scope.realm.policy.leaver_guard.is_none() || !guard::is_held(tx, Departure::DeactivateUser, id.0).await? {
        return Ok(None);
    }
    let mut asked = stored.clone();
    asked.set("active", false);
    Ok(Some(asked))
}

/// Makes of a user as the IdP wants it what may be written now: still active, if its deactivation is held.
pub(super) async fn on_user(
    tx: &mut RealmTx,
    scope: &Scope,
    user: &User,
    stored: &Resource,
    was_held: bool,
    wanted: &Resource,
) -> Result<Option<Resource>> {
    let (id, leaves) = (user.document.id, wanted.active() == Some(false) && user.state != State::Disabled);
    if scope.realm.policy.leaver_guard.is_some() && wanted.active() != Some(false) {
        guard::release(tx, Departure::DeleteUser, &[id], Uuid::nil()).await?;
    }
    if !leaves {
        if was_held {
            guard::release(tx, Departure::DeactivateUser, &[id], Uuid::nil()).await?;
        }
        return Ok(None);
    }
    if !was_held && admit(tx, scope, Departure::DeactivateUser, &[id], Uuid::nil(), &[id]).await? == Verdict::Go {
        return Ok(None);
    }
    let mut kept = wanted.clone();
    match stored.active() {
        Some(active) => kept.set("active", active),
        None => drop(kept.0.shift_remove("active")),
    }
    Ok(Some(kept))
}

/// Who writes to a group wants it: it is not deleted any more, if that is held.
pub(super) async fn on_group(tx: &mut RealmTx, scope: &Scope, group: GroupId) -> Result<()> {
    if scope.realm.policy.leaver_guard.is_some() {
        guard::release(tx, Departure::DeleteGroup, &[group.0], Uuid::nil()).await?;
    }
    Ok(())
}

/// Lets a group be deleted, with the access which all in it have by it; or holds that.
pub(super) async fn on_delete(tx: &mut RealmTx, scope: &Scope, group: GroupId) -> Result<Verdict> {
    if scope.realm.policy.leaver_guard.is_none() {
        return Ok(Verdict::Go);
    }
    let members = members::leaving(tx, group, true, &[], &[]).await?;
    let people = members::people(tx, &members).await?;
    admit(tx, scope, Departure::DeleteGroup, &[group.0], Uuid::nil(), &people).await
}

/// Makes of a change of membership what may be done now: whoever comes, but nobody who goes, if that is held.
pub(super) async fn on_members(
    tx: &mut RealmTx,
    scope: &Scope,
    group: GroupId,
    delta: &MembersDelta,
) -> Result<Option<MembersDelta>> {
    if scope.realm.policy.leaver_guard.is_none() {
        return Ok(None);
    }
    let may_wait = awaits_members(scope);
    let come = members::named(tx, delta.add.keys(), may_wait).await?;
    let go = members::named(tx, delta.remove.iter(), may_wait).await?;
    if !come.is_empty() {
        guard::release(tx, Departure::RemoveMember, &come, group.0).await?;
    }
    let leaving = members::leaving(tx, group, delta.clear, &come, &go).await?;
    let people = members::people(tx, &leaving).await?;
    match admit(tx, scope, Departure::RemoveMember, &leaving, group.0, &people).await? {
        Verdict::Go => Ok(None),
        Verdict::Held => Ok(Some(MembersDelta { add: delta.add.clone(), ..MembersDelta::default() })),
    }
}

/// How the guard of the realm stands.
pub async fn status(store: &Store, realm: &Realm, cause: &Cause) -> Result<GuardStatus> {
    let window = realm.policy.leaver_guard.as_ref().map(|guard| guard.window);
    let since = window.map_or(cause.at, |window: Span| window.before(cause.at));
    Ok(guard::status(store.enter(realm.id, realm.epoch).await?, since).await?)
}

/// What is held, behind the place `after`.
pub async fn list(store: &Store, realm: &Realm, after: i64, limit: i64) -> Result<Vec<HeldChange>> {
    Ok(guard::list(store.enter(realm.id, realm.epoch).await?, after, i64::MAX, limit).await?)
}

/// Lets happen what is held by now, in the order in which it was asked for, and as whoever asked for it. What there is
/// no time for before `deadline` stays held: do it again.
pub async fn apply(store: &Store, name: &str, cause: &Cause, deadline: Instant) -> Result<Resolved> {
    let (mut realm, until) = held(store, name).await?;
    let (mut done, mut tries) = (0, 1);
    loop {
        let batch = guard::list(store.enter(realm.id, realm.epoch).await?, 0, until, PAGE).await?;
        if batch.is_empty() {
            break;
        }
        // Members who leave one group by one request leave together.
        let together = |one: &HeldChange, other: &HeldChange| {
            one.departure == Departure::RemoveMember
                && (one.departure, one.group, &one.request_id) == (other.departure, other.group, &other.request_id)
        };
        for changes in batch.chunk_by(together) {
            match perform(store, &realm, changes, cause).await {
                Ok(released) => done += released,
                // An operator has changed the realm meanwhile.
                Err(Error::Store(store::error::Error::Stale)) if tries < 20 => {
                    (realm, tries) = (realms::get(store, name).await?, tries + 1);
                    break;
                }
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                return resolve(store, &realm, cause, Action::on_realm("guard.apply"), done).await;
            }
        }
    }
    resolve(store, &realm, cause, Action::on_realm("guard.apply"), done).await
}

/// Forgets what is held by now: it never happened.
pub async fn discard(store: &Store, name: &str, cause: &Cause) -> Result<Resolved> {
    let (realm, until) = held(store, name).await?;
    let mut tx = store.enter(realm.id, realm.epoch).await?;
    let done = guard::discard(&mut tx, until).await?;
    tx.commit().await?;
    resolve(store, &realm, cause, Action::on_realm("guard.discard"), done).await
}

async fn held(store: &Store, name: &str) -> Result<(Realm, i64)> {
    let realm = realms::get(store, name).await?;
    let newest = guard::newest(store.enter(realm.id, realm.epoch).await?).await?;
    let until = newest.ok_or_else(|| Error::Conflict(format!("nothing is held in realm `{name}`")))?;
    Ok((realm, until))
}

/// Does what was asked for, past the guard. Who is gone already needs no departure. Answers how many of the changes
/// were still held, and not those which somebody else has applied or discarded at the same time.
async fn perform(store: &Store, realm: &Realm, changes: &[HeldChange], cause: &Cause) -> Result<usize> {
    let Some(first) = changes.first() else { return Ok(0) };
    let policy = Policy { leaver_guard: None, dialect: Dialect::Lenient, ..realm.policy.clone() };
    let scope = Scope {
        realm: Realm { policy, ..realm.clone() }.into(),
        cause: Cause { actor: first.actor.clone(), request_id: first.request_id.as_str().into(), at: cause.at },
    };
    let (subject, any) = (first.subject.to_string(), Preconditions::default());
    let outcome = match first.departure {
        Departure::DeactivateUser => {
            let operation = Operation { op: Op::Replace, path: Some(path("active")), value: Some(Value::Bool(false)) };
            users::patch(store, &scope, &subject, &[operation], any, "").await.map(|_| ())
        }
        Departure::DeleteUser => users::delete(store, &scope, &subject, any).await.map(|_| ()),
        Departure::DeleteGroup => groups::delete(store, &scope, &subject, any).await.map(|_| ()),
        Departure::RemoveMember => {
            let gone: Vec<Value> = changes.iter().map(|change| json!({ "value": change.subject })).collect();
            let operation = Operation { op: Op::Remove, path: Some(path("members")), value: Some(gone.into()) };
            let group = first.group.to_string();
            groups::patch(store, &scope, &group, &[operation], any, Membership::Unread).await.map(|_| ())
        }
    };
    match outcome {
        Ok(()) | Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let subjects: Vec<Uuid> = changes.iter().map(|change| change.subject).collect();
    let mut tx = store.enter(realm.id, realm.epoch).await?;
    let released = guard::release(&mut tx, first.departure, &subjects, first.group).await?;
    tx.commit().await?;
    Ok(released)
}

/// Notes what an operator has decided, and lets departures through again if nothing is held any more.
async fn resolve(store: &Store, realm: &Realm, cause: &Cause, action: Action<'_>, done: usize) -> Result<Resolved> {
    let event = if action.word == "guard.apply" { "dsync.released" } else { "dsync.discarded" };
    let mut tx = store.enter(realm.id, realm.epoch).await?;
    guard::lock(&mut tx, cause.at, cause.at).await?;
    guard::close(&mut tx, event, done, &Origin::of(cause)).await?;
    audit::append(&mut tx, cause, action, None, Some(&json!({ "changes": done }))).await?;
    tx.commit().await?;
    let held = guard::status(store.enter(realm.id, realm.epoch).await?, cause.at).await?.held;
    Ok(Resolved { done, held })
}

fn path(attribute: &str) -> Path {
    Path { attr: AttrPath::of(attribute), filter: None, sub: None }
}
