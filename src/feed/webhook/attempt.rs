//! One request to an endpoint: how it looks, and what its answer means.
//!
//! To add a format, give it an arm in [`Target::request`] and in [`judge`]; all else is the same for all of them.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::TEST;
use crate::{
    feed::signature,
    model::{
        RealmId,
        event::Event,
        set::{self, Parties, RealmKey},
        webhook::{Attempt, Format, Outcome, Secrets, State},
    },
    outbound::{self, Outbound},
    secret::{self, KeyRing},
    store::webhooks::Kept,
    telemetry::{self, WebhookInFlight, WebhookOutcome},
};

const USER_AGENT: &str = concat!("realmgate/", env!("CARGO_PKG_VERSION"));

/// The longest text that is kept of a failure, in bytes.
const LONGEST_ERROR: usize = 300;

/// An event, and the body in which it is told: made once for all endpoints of the realm.
pub struct Message {
    pub event: Event,
    pub body: Bytes,
}

impl Message {
    pub fn of(event: Event, realm: &str) -> Self {
        let body = event.body(realm).to_string().into();
        Self { event, body }
    }
}

/// Where to send, and how.
pub struct Target {
    format: Format,
    url: String,
    proof: Result<Proof, secret::Error>,
}

/// What requests are signed with.
enum Proof {
    Secrets(Secrets),
    Key(RealmKey, Parties),
}

impl Target {
    /// `issuer` is the URL of the realm, `key` its key as it is kept, where the format needs one.
    pub fn of(ring: &KeyRing, issuer: String, realm: RealmId, kept: &Kept, key: Option<(Uuid, Vec<u8>)>) -> Self {
        let webhook = &kept.webhook;
        let proof = match webhook.format {
            Format::Webhook => ring
                .open_text(realm.0, Secrets::COLUMN, &kept.secrets)
                .and_then(|text| Secrets::of_text(text.reveal()).ok_or(secret::Error::Broken))
                .map(Proof::Secrets),
            Format::Set => key.ok_or(secret::Error::Broken).and_then(|(kid, sealed)| {
                let private = ring.open(realm.0, RealmKey::COLUMN, &sealed)?;
                let parties = Parties { issuer, audience: webhook.url.without_query().to_owned() };
                Ok(Proof::Key(RealmKey::stored(kid, private.reveal().clone()), parties))
            }),
        };
        Self { format: webhook.format, url: webhook.url.as_str().to_owned(), proof }
    }

    /// Has the format a word for the event?
    pub fn tells_of(&self, event: &Event) -> bool {
        match self.format {
            Format::Webhook => true,
            Format::Set => set::tells_of(event),
        }
    }

    /// The request which tells of the event at `now`; a new one for each attempt, as the time is signed.
    fn request(&self, message: &Message, now: Timestamp) -> Result<Request<Full<Bytes>>, String> {
        let proof = self.proof.as_ref().map_err(ToString::to_string)?;
        let uri: Uri = self.url.parse().map_err(|_| "this is no URL".to_owned())?;
        let request = Request::post(uri).header(header::USER_AGENT, USER_AGENT);
        let request = match proof {
            Proof::Secrets(secrets) => {
                let (id, at) = (message.event.id, now.as_second());
                request
                    .header(header::CONTENT_TYPE, "application/json")
                    .header("webhook-id", id.to_string())
                    .header("webhook-timestamp", at)
                    .header("webhook-signature", signature::sign(secrets.valid(now), id, at, &message.body))
                    .body(Full::new(message.body.clone()))
            }
            Proof::Key(key, parties) => {
                let event = &message.event;
                let claims = match event.name.as_str() {
                    TEST => Some(set::trial(event, parties, now)),
                    _ => set::claims(event, parties, now),
                };
                let claims = claims.ok_or("no security event token tells of such an event")?;
                let token = key.sign(&claims).map_err(|_| "the token could not be signed")?;
                request
                    .header(header::CONTENT_TYPE, set::MEDIA_TYPE)
                    .header(header::ACCEPT, "application/json")
                    .body(Full::new(token.into()))
            }
        };
        request.map_err(|error| error.to_string())
    }
}

/// What the answer means for the next attempt.
fn judge<B>(format: Format, answer: &Response<B>) -> Outcome {
    match (format, answer.status()) {
        (Format::Webhook, status) if status.is_success() => Outcome::Delivered,
        // RFC 8935 §2.2
        (Format::Set, StatusCode::ACCEPTED) => Outcome::Delivered,
        (_, StatusCode::GONE) => Outcome::Gone,
        (_, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
            Outcome::Failed { retry_after: retry_after(answer.headers()) }
        }
        _ => Outcome::Failed { retry_after: None },
    }
}

/// In seconds. NB: the form with a date is not read; the schedule holds then.
fn retry_after(headers: &HeaderMap) -> Option<SignedDuration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number beyond all reason is as good as the longest.
    is_number.then(|| SignedDuration::from_secs(text.parse::<u32>().unwrap_or(u32::MAX).into()))
}

/// Sends the event, and tells what came of it within `time`.
pub async fn attempt(
    outbound: &Outbound,
    target: &Target,
    message: &Message,
    number: u32,
    time: Duration,
) -> (Attempt, Outcome) {
    let _in_flight = WebhookInFlight::begun();
    let (at, begun) = (Timestamp::now(), Instant::now());
    let (status, outcome, error, counted) = match target.request(message, at) {
        Err(error) => (None, Outcome::Failed { retry_after: None }, Some(error), WebhookOutcome::Unsigned),
        Ok(request) => match timeout(time, outbound.knock(request)).await {
            Ok(Ok(answer)) => {
                let outcome = judge(target.format, &answer);
                let good = outcome == Outcome::Delivered;
                let error = (!good).then(|| refusal(target.format, &answer));
                let counted = if good { WebhookOutcome::Delivered } else { WebhookOutcome::Refused };
                (Some(answer.status().as_u16()), outcome, error, counted)
            }
            Ok(Err(error)) => (None, Outcome::Failed { retry_after: None }, Some(told(&error)), counted(&error)),
            Err(_) => {
                let error = outbound::Error::TimedOut(time);
                (None, Outcome::Failed { retry_after: None }, Some(told(&error)), counted(&error))
            }
        },
    };
    telemetry::webhook_attempt(counted);
    let attempt = Attempt {
        id: Uuid::now_v7(),
        seq: Some(message.event.seq),
        event_id: message.event.id,
        number,
        at,
        status,
        duration: SignedDuration::try_from(begun.elapsed()).unwrap_or(SignedDuration::MAX),
        error,
    };
    (attempt, outcome)
}

/// The state after an attempt which has just ended.
pub fn state_after(state: State, attempt: &Attempt, outcome: Outcome) -> State {
    // The last byte of the id is as random as need be.
    let chance = f64::from(attempt.id.as_bytes()[15]) / 255.0;
    let now = attempt.at.saturating_add(attempt.duration).unwrap_or(Timestamp::MAX);
    state.after(outcome, now, chance)
}

fn refusal(format: Format, answer: &Response<Bytes>) -> String {
    let status = answer.status();
    match format {
        _ if status.is_redirection() => {
            format!("it answered {status}: redirects are not followed, set the URL where it leads to")
        }
        Format::Set if status.is_success() => format!("it answered {status}: of a security event token, 202 is good"),
        Format::Set => match error_code(answer.body()) {
            Some(code) => format!("it answered {status}: {code}"),
            None => format!("it answered {status}"),
        },
        Format::Webhook => format!("it answered {status}"),
    }
}

/// `err` of RFC 8935 §2.3. Nothing else of the body is shown, and nothing that is no word of that kind.
fn error_code(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let is_word =
        |code: &&str| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    answer["err"].as_str().filter(is_word).map(str::to_owned)
}

/// The failure and what is at its bottom.
fn told(error: &outbound::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        cause = source.source();
        if cause.is_none() {
            text = format!("{text}: {source}");
        }
    }
    text.chars().take(LONGEST_ERROR).collect()
}

const fn counted(error: &outbound::Error) -> WebhookOutcome {
    match error {
        outbound::Error::Forbidden(_) => WebhookOutcome::Forbidden,
        outbound::Error::TimedOut(_) => WebhookOutcome::TimedOut,
        outbound::Error::Certificates(_)
        | outbound::Error::Connect(_)
        | outbound::Error::Broken(_)
        | outbound::Error::TooLong(_) => WebhookOutcome::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&str>) -> Outcome {
        let mut answer = Response::builder().status(status);
        if let Some(value) = retry_after {
            answer = answer.header(header::RETRY_AFTER, value);
        }
        judge(Format::Webhook, &answer.body(()).unwrap())
    }

    #[test]
    fn an_answer_of_2xx_is_good_and_410_is_an_end() {
        const FAILED: Outcome = Outcome::Failed { retry_after: None };
        let wait = |seconds| Outcome::Failed { retry_after: Some(SignedDuration::from_secs(seconds)) };
        for (status, retry_after, outcome) in [
            (200, None, Outcome::Delivered),
            (204, None, Outcome::Delivered),
            (410, None, Outcome::Gone),
            (301, None, FAILED),
            (404, Some("5"), FAILED),
            (500, None, FAILED),
            (429, Some("7"), wait(7)),
            (503, Some(" 60 "), wait(60)),
            (503, Some("99999999999999999999"), wait(u32::MAX.into())),
            (503, Some("-1"), FAILED),
            (503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), FAILED),
        ] {
            assert_eq!(judged(status, retry_after), outcome, "{status} {retry_after:?}");
        }
    }

    #[test]
    fn of_a_security_event_token_202_is_good_and_a_refusal_is_told_by_its_word() {
        let answer =
            |status: u16, body: &str| Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        assert_eq!(judge(Format::Set, &answer(202, "")), Outcome::Delivered);
        for status in [200, 204, 400] {
            assert_eq!(judge(Format::Set, &answer(status, "")), Outcome::Failed { retry_after: None }, "{status}");
        }
        let told = |body| refusal(Format::Set, &answer(400, body));
        assert_eq!(
            told(r#"{"err":"invalid_key","description":"it is secret"}"#),
            "it answered 400 Bad Request: invalid_key"
        );
        for other in ["", "<html>", r#"{"err":"a b"}"#, r#"{"err":7}"#] {
            assert_eq!(told(other), "it answered 400 Bad Request", "{other}");
        }
    }
}
