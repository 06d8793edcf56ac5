//! What was: read from the events.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Error, Result, people};
use crate::{
    model::{
        Actor, Scope,
        document::Document,
        event::Event,
        history::{self, Entry, Standing},
        realm::Realm,
        revocation::Report,
        user::{State, User},
    },
    store::{self, Store, events, history as past, outbox, people as stored, revocations},
};

/// How long committed changes may take to become events.
const SETTLE: Duration = Duration::from_secs(5);
/// Members of a group as it was, at most.
const MOST_MEMBERS: i64 = 10_000;

const USER_EVENTS: [&str; 3] = ["dsync.user.created", "dsync.user.updated", "dsync.user.deleted"];
const GROUP_EVENTS: [&str; 3] = ["dsync.group.created", "dsync.group.updated", "dsync.group.deleted"];

/// The realm's last event, once all that has been committed up to now has become events.
pub(super) async fn settled(store: &Store, realm: &Realm) -> Result<i64> {
    if let Some(newest) = outbox::newest(store.enter(realm.id, realm.epoch).await?).await? {
        let end = Instant::now() + SETTLE;
        while outbox::waits(store.enter(realm.id, realm.epoch).await?, newest).await? {
            if Instant::now() > end {
                let detail = "the latest changes have not become events yet".into();
                return Err(Error::Store(store::error::Error::Unavailable(detail)));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(events::heads(store, &[realm.id]).await?.first().map_or(0, |(_, seq)| *seq))
}

/// How soon applications have acknowledged who lost access by what was asked for since then.
pub async fn time_to_revoke(store: &Store, scope: &Scope, since: Timestamp) -> Result<Report> {
    Ok(revocations::report(store.begin(scope).await?, since).await?)
}

/// The user as it was at `at`.
pub async fn user_at(store: &Store, scope: &Scope, id: &str, at: Timestamp) -> Result<User> {
    let (user_id, mut tx) = (people::users::parse(id)?, store.begin(scope).await?);
    let past = past::past(&mut tx, user_id.0, at, &USER_EVENTS).await?;
    let now = stored::user(&mut tx, user_id).await?;
    tx.commit().await?;
    match past.standing(now.as_ref().map(|user| &user.document), at) {
        Standing::Absent => Err(people::users::not_found()),
        Standing::Unchanged => now.ok_or_else(people::users::not_found),
        Standing::Forgotten => Err(gone(past.kept_since)),
        Standing::Was(then) => {
            let activated = now.is_some_and(|user| user.activated);
            let state = then.state.unwrap_or(State::of(true, activated));
            Ok(User { document: then.document, activated, state, groups: None })
        }
    }
}

/// The group as it was at `at`, and the ids of its members; `None` if they are too many to be told.
pub async fn group_at(store: &Store, scope: &Scope, id: &str, at: Timestamp) -> Result<(Document, Option<Vec<Uuid>>)> {
    let (group_id, mut tx) = (people::groups::parse(id)?, store.begin(scope).await?);
    let past = past::past(&mut tx, group_id.0, at, &GROUP_EVENTS).await?;
    let now = stored::group(&mut tx, group_id).await?;
    let members = past::members(&mut tx, group_id.0, at, MOST_MEMBERS + 1).await?;
    tx.commit().await?;
    // An event of a membership changes the group as well, and not what is told of it here.
    let group = match past.standing(now.as_ref(), at) {
        Standing::Absent => return Err(people::groups::not_found()),
        Standing::Unchanged => now.ok_or_else(people::groups::not_found)?,
        Standing::Forgotten => return Err(gone(past.kept_since)),
        Standing::Was(then) => then.document,
    };
    let are_few = i64::try_from(members.len()).is_ok_and(|count| count <= MOST_MEMBERS);
    Ok((group, are_few.then_some(members)))
}

/// Who changed what of a user and when, newest first: attributes, memberships, roles. Only what is before the event
/// `before`.
pub async fn of_user(store: &Store, scope: &Scope, id: &str, before: i64, limit: i64) -> Result<Vec<Entry>> {
    let (user_id, mut tx) = (people::users::parse(id)?, store.begin(scope).await?);
    let events = past::of(&mut tx, user_id.0, before, limit).await?;
    if events.is_empty() && before == i64::MAX && stored::user(&mut tx, user_id).await?.is_none() {
        return Err(people::users::not_found());
    }
    let of_idps =
        |event: &&Event| matches!(event.actor, Actor::ScimToken(_) | Actor::OauthClient(_) | Actor::Issuer(_));
    let requests: HashSet<(&str, Timestamp)> =
        events.iter().filter(of_idps).map(|event| (event.request_id.as_str(), event.at)).collect();
    let requests: Vec<(&str, Timestamp)> = requests.into_iter().collect();
    let logged = past::logged(&mut tx, &requests).await?;
    tx.commit().await?;
    let logged: HashMap<_, _> = requests.into_iter().zip(logged).collect();
    let entry = |event: &Event| Entry {
        seq: event.seq,
        at: event.at,
        event: event.name.clone(),
        actor: event.actor.clone(),
        request_id: event.request_id.clone(),
        request: logged.get(&(event.request_id.as_str(), event.at)).copied().flatten(),
        changes: history::changes_of(event, user_id.0),
    };
    Ok(events.iter().map(entry).collect())
}

fn gone(kept_since: Option<Timestamp>) -> Error {
    let since = kept_since.filter(|since| *since < Timestamp::MAX).map_or("now".to_owned(), |since| since.to_string());
    Error::Gone(format!("the events of that time are no longer kept: they begin at {since}"))
}
