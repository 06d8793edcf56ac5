//! Streams of security event tokens: what operators do to them, and what a receiver polls.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Error, Result, keys, named_id,
    realms::{Changed, change},
};
use crate::{
    model::{
        Cause, StreamId,
        audit::Action,
        event,
        realm::Realm,
        set::{self, Parties},
        stream::{Behind, EventStream, Place},
        token::PlainToken,
        webhook::EventFilter,
    },
    secret::KeyRing,
    store::{
        Store, error, events,
        streams::{self, Word},
    },
};

/// Each is polled by somebody.
const MAX_STREAMS: i64 = 100;
/// Events behind the cursor which are looked at, at most; so many may be handed out before the first is acknowledged.
pub const WINDOW: usize = 1_000;
/// Events which are read at once at least: there may be many for which SCIM has no word.
const LEAST_READ: usize = 128;

/// What an operator wishes of a new stream.
#[derive(Debug, Clone)]
pub struct Wish {
    pub name: String,
    pub audience: String,
    pub events: EventFilter,
    /// The first event that it tells of; what happens from now on, if it is `None`.
    pub from: Option<i64>,
}

/// What a receiver asks for.
#[derive(Debug, Default)]
pub struct Poll {
    /// How many tokens it wants.
    pub most: usize,
    /// Names of tokens that it is done with.
    pub acknowledged: Vec<Uuid>,
    /// What it said of one that it cannot use.
    pub error: Option<Value>,
}

/// What it gets.
#[derive(Debug)]
pub struct Polled {
    /// Names and tokens, in order.
    pub tokens: Vec<(Uuid, String)>,
    /// Are there more?
    pub more: bool,
    /// The realm's last event.
    pub head: i64,
    /// The oldest event that is kept, if those before it are owed as well: then nothing was handed out.
    pub lost: Option<i64>,
}

/// Creates a stream, and the realm's key if this is the first. The token which polls is in this answer and nowhere else.
pub async fn create(
    store: &Store,
    ring: &KeyRing,
    realm: &str,
    wish: &Wish,
    cause: &Cause,
) -> Result<(EventStream, PlainToken)> {
    for (key, text) in [("name", &wish.name), ("audience", &wish.audience)] {
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("{key}: write 1 to 255 bytes without control characters")));
        }
    }
    let token = PlainToken::for_stream();
    let stream = &EventStream {
        id: StreamId(Uuid::now_v7()),
        name: wish.name.clone(),
        audience: wish.audience.clone(),
        events: wish.events.clone(),
        token: token.hash(),
        place: Place::default(),
        acknowledged_at: None,
        last_error: None,
        created_at: cause.at,
    };
    let target = &stream.id.to_string();
    change(store, cause, realm, Action { word: "event-stream.create", target }, |mut tx, realm| async move {
        if streams::count(&mut tx).await? >= MAX_STREAMS {
            return Err(Error::Conflict(format!("a realm has at most {MAX_STREAMS} event streams")));
        }
        keys::ensure(&mut tx, ring, &realm, cause.at).await?;
        let made = streams::insert(&mut tx, stream, wish.from.map(|from| from - 1)).await?;
        let told = json!({ "name": made.name, "audience": made.audience, "events": made.events.patterns() });
        Ok(Changed::new(tx, realm, made).telling(told))
    })
    .await
    .map(|(_, made)| (made, token))
}

/// In the order in which they were made.
pub async fn list(store: &Store, realm: &Realm) -> Result<Vec<EventStream>> {
    Ok(streams::list(store.enter(realm.id, realm.epoch).await?).await?)
}

/// The stream of that id, which may be any text; `None` if the realm has none.
pub async fn find(store: &Store, realm: &Realm, id: &str) -> Result<Option<EventStream>> {
    let Some(id) = named_id(id) else { return Ok(None) };
    let mut tx = store.enter(realm.id, realm.epoch).await?;
    let found = streams::find(&mut tx, StreamId(id)).await?;
    tx.commit().await?;
    Ok(found)
}

pub async fn delete(store: &Store, realm: &str, id: &str, cause: &Cause) -> Result<()> {
    let stream = named_id(id).map(StreamId).ok_or_else(not_found)?;
    change(store, cause, realm, Action { word: "event-stream.delete", target: id }, |mut tx, realm| async move {
        let name = streams::delete(&mut tx, stream).await?.ok_or_else(not_found)?;
        Ok(Changed::new(tx, realm, ()).telling(json!({ "name": name })))
    })
    .await
    .map(|_| ())
}

/// Takes in what the receiver is done with, and hands out what it is not, oldest first. `issuer` is the realm's URL.
pub async fn poll(
    store: &Store,
    ring: &KeyRing,
    issuer: &str,
    (realm, id): (&Realm, StreamId),
    poll: &Poll,
) -> Result<Polled> {
    let (mut acknowledged, mut error) = (&poll.acknowledged[..], poll.error.as_ref());
    let mut tries = 1;
    loop {
        let now = Timestamp::now();
        let mut tx = store.enter(realm.id, realm.epoch).await?;
        let stream = streams::find(&mut tx, id).await?.ok_or_else(not_found)?;
        let done = if acknowledged.is_empty() {
            Vec::new()
        } else {
            streams::numbers(&mut tx, &stream.place, acknowledged).await?
        };
        let key = keys::current(&mut tx, ring, realm).await?;
        tx.commit().await?;

        let place = stream.place.clone().acknowledging(&done);
        let limit = (poll.most + place.acknowledged.len()).clamp(LEAST_READ, WINDOW);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let patterns = stream.events.patterns().iter().map(String::as_str);
        let names = event::names_of(patterns).map_err(Error::Invalid)?;
        let tx = store.enter(realm.id, realm.epoch).await?;
        let stretch = events::after(tx, place.cursor, limit, &names).await?;
        let head = stretch.head;
        if place.cursor + 1 < stretch.oldest {
            return Ok(Polled { tokens: Vec::new(), more: false, head, lost: Some(stretch.oldest) });
        }
        let owed: Vec<_> = stretch.events.iter().filter(|event| set::tells_of(event)).collect();
        let numbers: Vec<i64> = owed.iter().map(|event| event.seq).collect();
        let (place, handed) = place.go_on(Behind { owed: &numbers, scanned: stretch.scanned }, poll.most);
        if place != stream.place || error.is_some() {
            let word = Word { at: (!done.is_empty()).then_some(now), error };
            let tx = store.enter(realm.id, realm.epoch).await?;
            if !streams::advance(tx, id, &place, word).await? {
                // Another poll of the stream was quicker.
                tries += 1;
                if tries > 20 {
                    return Err(error::Error::Deadlock.into());
                }
                continue;
            }
        }
        if handed.is_empty() && poll.most > 0 && stretch.scanned < head {
            // All of this stretch is done with.
            (acknowledged, error) = (&[], None);
            continue;
        }
        let parties = Parties { issuer: issuer.to_owned(), audience: stream.audience };
        let mut tokens = Vec::with_capacity(handed.len());
        for event in owed.iter().filter(|event| handed.binary_search(&event.seq).is_ok()) {
            let token = key.token(event, &parties, now).map_err(|_| Error::Damaged(key.kid))?;
            tokens.extend(token.map(|token| (event.id, token)));
        }
        let open = numbers.iter().filter(|seq| place.acknowledged.binary_search(seq).is_err() && **seq > place.cursor);
        let more = open.count() > tokens.len() || stretch.scanned < head;
        return Ok(Polled { tokens, more, head, lost: None });
    }
}

fn not_found() -> Error {
    Error::NotFound("the realm has no event stream of this id".into())
}
