//! What operators do to webhooks: where a realm's events are sent. Sending them is `feed::webhook`.
//!
//! Webhooks change as realms do: the epoch moves, which tells every node to look again.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Error, Result, keys, named_id,
    realms::{Changed, change},
};
use crate::{
    model::{
        Cause, WebhookId,
        audit::Action,
        realm::Realm,
        span::Span,
        webhook::{Attempt, EventFilter, Format, Secrets, SigningSecret, Standing, State, Webhook, WebhookUrl},
    },
    secret::{self, KeyRing},
    store::{Store, tx::RealmTx, webhooks},
};

pub use crate::store::webhooks::{Kept, Window};

/// Each costs a request for each event.
const MAX_WEBHOOKS: i64 = 100;
/// A former secret signs no longer than that.
const LONGEST_OVERLAP: Span = Span::days(30);
/// Attempts which one statement deletes.
const PIECE: i64 = 5_000;

/// What an operator says of a webhook; what is not said stays, or is as `Default` has it.
#[derive(Debug, Default)]
pub struct Wish {
    pub url: Option<WebhookUrl>,
    /// The empty text takes it away.
    pub description: Option<String>,
    pub events: Option<EventFilter>,
    pub enabled: Option<bool>,
    pub format: Option<Format>,
    /// One that was chosen.
    pub secret: Option<SigningSecret>,
}

/// Creates a webhook, which begins with the event `from`, or with what happens from now on. Its secret is in this answer
/// and nowhere else.
pub async fn create(
    store: &Store,
    ring: &KeyRing,
    realm: &str,
    wish: Wish,
    from: Option<i64>,
    cause: &Cause,
) -> Result<(Kept, SigningSecret)> {
    let secret = wish.secret.clone().map_or_else(generate, Ok)?;
    let webhook = Webhook {
        id: WebhookId(Uuid::now_v7()),
        url: wish.url.clone().ok_or_else(|| Error::Invalid("`url` is needed: where the events are sent".into()))?,
        description: None,
        events: EventFilter::default(),
        enabled: true,
        format: Format::default(),
        previous_secret_until: None,
        created_at: cause.at,
        updated_at: cause.at,
    };
    let (webhook, _) = wished(&webhook, wish)?;
    let (webhook, secret, target) = (&webhook, &secret, &webhook.id.to_string());
    change(store, cause, realm, Action { word: "webhook.create", target }, |mut tx, realm| async move {
        if webhooks::count(&mut tx).await? >= MAX_WEBHOOKS {
            return Err(Error::Conflict(format!("a realm has at most {MAX_WEBHOOKS} webhooks")));
        }
        if webhook.format == Format::Set {
            keys::ensure(&mut tx, ring, &realm, cause.at).await?;
        }
        let sealed = sealed(ring, &realm, &Secrets { current: secret.clone(), previous: None })?;
        webhooks::insert(&mut tx, webhook, &sealed, from.map(|from| from - 1)).await?;
        let kept = found(&mut tx, webhook.id).await?;
        if let Some(from) = from {
            check_place(&kept.standing, from)?;
        }
        Ok(Changed::new(tx, realm, kept).telling(shown(webhook)))
    })
    .await
    .map(|(_, kept)| (kept, secret.clone()))
}

/// In the order in which they were made.
pub async fn list(store: &Store, realm: &Realm) -> Result<Vec<Kept>> {
    Ok(webhooks::list(store.enter(realm.id, realm.epoch).await?).await?)
}

/// The webhook of that id, which may be any text.
pub async fn get(store: &Store, realm: &Realm, id: &str) -> Result<Kept> {
    let mut tx = store.enter(realm.id, realm.epoch).await?;
    let kept = found(&mut tx, parse(id)?).await?;
    tx.commit().await?;
    Ok(kept)
}

/// Changes what is wished for, and nothing else. Another URL gets another secret, so that the former one is sent nowhere
/// where it does not belong; a new secret is in the answer.
pub async fn update(
    store: &Store,
    ring: &KeyRing,
    realm: &str,
    id: &str,
    wish: Wish,
    cause: &Cause,
) -> Result<(Kept, Option<SigningSecret>)> {
    let (webhook_id, wish) = (parse(id)?, &wish);
    change(store, cause, realm, Action { word: "webhook.update", target: id }, |mut tx, realm| async move {
        let before = found(&mut tx, webhook_id).await?.webhook;
        let wish = Wish {
            url: wish.url.clone(),
            description: wish.description.clone(),
            events: wish.events.clone(),
            secret: wish.secret.clone(),
            ..*wish
        };
        let (mut webhook, secret) = wished(&before, wish)?;
        webhook.updated_at = cause.at;
        if webhook.format == Format::Set {
            keys::ensure(&mut tx, ring, &realm, cause.at).await?;
        }
        let secret = match secret {
            None if webhook.url != before.url => Some(generate()?),
            chosen => chosen,
        };
        let sealed = match &secret {
            None => None,
            Some(current) => {
                webhook.previous_secret_until = None;
                Some(sealed(ring, &realm, &Secrets { current: current.clone(), previous: None })?)
            }
        };
        webhooks::update(&mut tx, &webhook, sealed.as_deref()).await?;
        let (was, mut told) = difference(&before, &webhook);
        if secret.is_some() {
            told.insert("secret".into(), "replaced".into());
        }
        let kept = found(&mut tx, webhook_id).await?;
        Ok(Changed::new(tx, realm, (kept, secret)).telling(Value::Object(told)).instead_of(Value::Object(was)))
    })
    .await
    .map(|(_, made)| made)
}

/// Makes a new secret, or takes the one that was chosen. The former one signs as well for as long as `overlap` says, so
/// that the receiver has time to learn the new one.
pub async fn rotate_secret(
    store: &Store,
    ring: &KeyRing,
    realm: &str,
    id: &str,
    (chosen, overlap): (Option<SigningSecret>, Option<Span>),
    cause: &Cause,
) -> Result<(Kept, SigningSecret)> {
    if overlap.is_some_and(|overlap| overlap > LONGEST_OVERLAP) {
        return Err(Error::Invalid(format!("overlap: write at most `{LONGEST_OVERLAP}`")));
    }
    let (webhook_id, secret) = (parse(id)?, &chosen.map_or_else(generate, Ok)?);
    change(store, cause, realm, Action { word: "webhook.rotate-secret", target: id }, |mut tx, realm| async move {
        let Kept { mut webhook, secrets, .. } = found(&mut tx, webhook_id).await?;
        let until: Option<Timestamp> = overlap.map(|overlap| overlap.after(cause.at));
        let previous = match until {
            Some(until) => Some((opened(ring, &realm, &secrets)?.current, until)),
            None => None,
        };
        (webhook.previous_secret_until, webhook.updated_at) = (until, cause.at);
        let sealed = sealed(ring, &realm, &Secrets { current: secret.clone(), previous })?;
        webhooks::update(&mut tx, &webhook, Some(&sealed)).await?;
        let kept = found(&mut tx, webhook_id).await?;
        Ok(Changed::new(tx, realm, kept).telling(json!({ "previous_secret_until": until })))
    })
    .await
    .map(|(_, kept)| (kept, secret.clone()))
}

/// Sends `from` next, and what follows on it.
pub async fn redeliver(store: &Store, realm: &str, id: &str, from: i64, cause: &Cause) -> Result<Kept> {
    go_on(store, realm, id, "webhook.redeliver", cause, |standing| {
        check_place(standing, from)?;
        Ok(from - 1)
    })
    .await
}

/// Goes on where sending stopped, or with the oldest event which is still kept; also if the webhook was disabled.
pub async fn resume(store: &Store, realm: &str, id: &str, cause: &Cause) -> Result<Kept> {
    go_on(store, realm, id, "webhook.resume", cause, |standing| Ok(standing.cursor.max(standing.oldest - 1))).await
}

async fn go_on(
    store: &Store,
    realm: &str,
    id: &str,
    word: &'static str,
    cause: &Cause,
    place: impl Fn(&Standing) -> Result<i64>,
) -> Result<Kept> {
    let (webhook_id, place) = (parse(id)?, &place);
    change(store, cause, realm, Action { word, target: id }, |mut tx, realm| async move {
        let Kept { mut webhook, standing, .. } = found(&mut tx, webhook_id).await?;
        let (was, cursor) = (told_of(&standing), place(&standing)?);
        if !webhook.enabled {
            (webhook.enabled, webhook.updated_at) = (true, cause.at);
            webhooks::update(&mut tx, &webhook, None).await?;
        }
        webhooks::move_to(&mut tx, webhook_id, cursor).await?;
        let kept = found(&mut tx, webhook_id).await?;
        let now = told_of(&kept.standing);
        Ok(Changed::new(tx, realm, kept).telling(now).instead_of(was))
    })
    .await
    .map(|(_, kept)| kept)
}

/// Deletes a webhook, and then what is kept of its attempts.
pub async fn delete(store: &Store, realm: &str, id: &str, cause: &Cause) -> Result<()> {
    let webhook_id = parse(id)?;
    let action = Action { word: "webhook.delete", target: id };
    let (realm, ()) = change(store, cause, realm, action, |mut tx, realm| async move {
        let webhook = found(&mut tx, webhook_id).await?.webhook;
        webhooks::delete(&mut tx, webhook_id).await?;
        Ok(Changed::new(tx, realm, ()).telling(json!({ "url": webhook.url.without_query() })))
    })
    .await?;
    loop {
        let tx = store.enter(realm.id, realm.epoch).await?;
        if webhooks::delete_attempts(tx, webhook_id, Uuid::max(), PIECE).await? < PIECE {
            return Ok(());
        }
    }
}

/// What was tried lately, newest first.
pub async fn attempts(store: &Store, realm: &Realm, id: WebhookId, window: Window) -> Result<Vec<Attempt>> {
    Ok(webhooks::attempts(store.enter(realm.id, realm.epoch).await?, id, window).await?)
}

/// The webhook as it is to be, and the secret that was chosen for it.
fn wished(webhook: &Webhook, wish: Wish) -> Result<(Webhook, Option<SigningSecret>)> {
    let Wish { url, description, events, enabled, format, secret } = wish;
    let mut webhook = webhook.clone();
    webhook.url = url.unwrap_or(webhook.url);
    webhook.events = events.unwrap_or(webhook.events);
    webhook.enabled = enabled.unwrap_or(webhook.enabled);
    webhook.format = format.unwrap_or(webhook.format);
    if let Some(description) = description {
        webhook.description = Some(description).filter(|text| !text.is_empty());
    }
    if webhook.description.as_ref().is_some_and(|text| text.len() > 255) {
        return Err(Error::Invalid("description: write at most 255 bytes".into()));
    }
    Ok((webhook, secret))
}

/// Is `from` an event which is there, or the next which will be?
fn check_place(standing: &Standing, from: i64) -> Result<()> {
    let (oldest, next) = (standing.oldest, standing.head + 1);
    if (oldest..=next).contains(&from) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "from: write a number from {oldest}, the oldest event kept, to {next}, the next to come"
    )))
}

fn sealed(ring: &KeyRing, realm: &Realm, secrets: &Secrets) -> Result<Vec<u8>> {
    ring.seal(realm.id.0, Secrets::COLUMN, secrets.to_text().as_bytes()).map_err(|error| not_kept(&error))
}

fn opened(ring: &KeyRing, realm: &Realm, sealed: &[u8]) -> Result<Secrets> {
    let text = ring.open_text(realm.id.0, Secrets::COLUMN, sealed).map_err(|error| not_kept(&error))?;
    Secrets::of_text(text.reveal()).ok_or_else(|| not_kept(&secret::Error::Broken))
}

fn not_kept(error: &secret::Error) -> Error {
    Error::Conflict(error.to_string())
}

fn generate() -> Result<SigningSecret> {
    SigningSecret::generate().map_err(|_| Error::Conflict("this machine has no randomness to make a secret of".into()))
}

async fn found(tx: &mut RealmTx, id: WebhookId) -> Result<Kept> {
    webhooks::find(tx, id).await?.ok_or_else(not_found)
}

fn parse(id: &str) -> Result<WebhookId> {
    named_id(id).map(WebhookId).ok_or_else(not_found)
}

fn not_found() -> Error {
    Error::NotFound("the realm has no webhook of this id".into())
}

/// What the audit log shows of a webhook.
fn shown(webhook: &Webhook) -> Value {
    let Webhook { url, description, events, enabled, format, .. } = webhook;
    json!({
        "url": url.without_query(), "description": description, "events": events.patterns(), "enabled": enabled,
        "format": format,
    })
}

fn told_of(standing: &Standing) -> Value {
    let state = match standing.state {
        State::Active => "active",
        State::Failing { .. } => "failing",
        State::Parked { .. } => "parked",
    };
    json!({ "state": state, "cursor": standing.cursor })
}

/// What is different: as it was, and as it is now.
fn difference(before: &Webhook, after: &Webhook) -> (Map<String, Value>, Map<String, Value>) {
    let map = |webhook| if let Value::Object(map) = shown(webhook) { map } else { Map::new() };
    let (mut was, mut now) = (map(before), map(after));
    now.retain(|key, value| was.get(key) != Some(value));
    was.retain(|key, _| now.contains_key(key));
    (was, now)
}
