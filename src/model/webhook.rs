//! A webhook: where the events of a realm are sent, and how sending stands.

use std::fmt;

use aws_lc_rs::{error::Unspecified, rand};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Uri, uri::Authority};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{RealmId, WebhookId, event};

/// An endpoint of the application, as its operator wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: WebhookUrl,
    pub description: Option<String>,
    pub events: EventFilter,
    pub enabled: bool,
    pub format: Format,
    /// Until when the former secret signs as well.
    pub previous_secret_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is sent, and what answer is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The event as JSON, signed as Standard Webhooks has it; any 2xx is good.
    #[default]
    Webhook,
    /// A security event token, signed with the realm's key; 202 is good (RFC 8935).
    Set,
}

/// Where sending stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The last event which is done with: acknowledged, or passed over by the filter.
    pub cursor: i64,
    pub state: State,
    /// The realm's last event, and the oldest which is kept.
    pub head: i64,
    pub oldest: i64,
}

/// How an endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    Active,
    /// The event behind the cursor was not taken `attempts` times; it is sent again at `due`.
    Failing {
        since: Timestamp,
        attempts: u32,
        due: Timestamp,
    },
    /// Nothing is sent until an operator says so.
    Parked {
        at: Timestamp,
        reason: Reason,
    },
}

/// Why an endpoint is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    #[error("it has not taken an event for three days")]
    Failing,
    #[error("it answered 410 Gone")]
    Gone,
    #[error("events which it has not had are older than the realm keeps them")]
    Behind,
}

/// What came of an attempt, as far as the next one depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// The endpoint wants nothing any more.
    Gone,
    Failed {
        /// How long the endpoint wants to be left alone.
        retry_after: Option<SignedDuration>,
    },
}

/// One request to an endpoint and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Grows with time.
    pub id: Uuid,
    /// `None` of a test.
    pub seq: Option<i64>,
    /// `webhook-id`.
    pub event_id: Uuid,
    /// 1 of the first attempt to send an event.
    pub number: u32,
    pub at: Timestamp,
    pub status: Option<u16>,
    pub duration: SignedDuration,
    pub error: Option<String>,
}

/// How far an endpoint has come, and what was done for it: what its sender writes down.
#[derive(Debug, Clone)]
pub struct Progress {
    pub realm: RealmId,
    pub webhook: WebhookId,
    /// Counts as long as nobody else has moved the cursor or taken the endpoint over.
    pub fence: i64,
    pub cursor: i64,
    pub state: State,
    pub attempts: Vec<Attempt>,
    /// The events among those which it has taken that tell of somebody who lost access, and when it took them.
    pub revoked: Vec<(i64, Timestamp)>,
}

const SECOND: i64 = 1;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// How long it takes from a failed attempt to the next, in seconds; after the last of these, always that.
const DELAYS: [i64; 8] = [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR];
/// The longest that an endpoint may ask to be left alone.
const LONGEST_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(4);
/// How long an endpoint may fail before it is parked.
const PATIENCE: SignedDuration = SignedDuration::from_hours(72);

impl State {
    /// What an attempt leads to which ended at `now`. `chance`, from 0 to 1, spreads the attempts of many endpoints: a
    /// delay is lengthened by up to a fifth.
    #[must_use]
    pub fn after(self, outcome: Outcome, now: Timestamp, chance: f64) -> State {
        let (since, attempts) = match self {
            State::Failing { since, attempts, .. } => (since, attempts),
            State::Active | State::Parked { .. } => (now, 0),
        };
        let last = since.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
        match outcome {
            Outcome::Delivered => State::Active,
            Outcome::Gone => State::Parked { at: now, reason: Reason::Gone },
            Outcome::Failed { .. } if now >= last => State::Parked { at: now, reason: Reason::Failing },
            Outcome::Failed { retry_after } => {
                let step = usize::try_from(attempts).unwrap_or(usize::MAX).min(DELAYS.len() - 1);
                let delay = SignedDuration::from_secs(DELAYS[step]).mul_f64(1.0 + 0.2 * chance.clamp(0.0, 1.0));
                let delay = delay.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER));
                let due = now.saturating_add(delay).unwrap_or(Timestamp::MAX).min(last);
                State::Failing { since, attempts: attempts.saturating_add(1), due }
            }
        }
    }

    /// How often the next event has failed.
    pub const fn attempts(self) -> u32 {
        match self {
            State::Failing { attempts, .. } => attempts,
            State::Active | State::Parked { .. } => 0,
        }
    }

    pub const fn is_parked(self) -> bool {
        matches!(self, State::Parked { .. })
    }
}

/// Which events are sent: those of a name, or of names which begin as `dsync.user.*` says; all, if there is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter(Vec<String>);

impl EventFilter {
    /// Each pattern must mean an event which there is; else why it does not.
    pub fn parse(patterns: Vec<String>) -> Result<Self, String> {
        for pattern in &patterns {
            if event::names_of(std::iter::once(pattern.as_str()))?.is_empty() {
                return Err(format!("`{pattern}` names no event; leave `events` empty for all of them"));
            }
        }
        Ok(Self(patterns))
    }

    /// One which was parsed before.
    pub const fn stored(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    pub fn patterns(&self) -> &[String] {
        &self.0
    }

    pub fn admits(&self, name: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => pattern == name,
        };
        self.0.is_empty() || self.0.iter().any(matches)
    }
}

/// Where events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(String);

/// Why a text is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a URL such as `https://app.example.com/hooks`, without a user, a password or a `#`, of at most 2000 bytes"
)]
pub struct InvalidUrl;

/// A host, and a port if there is one: what is no port would be taken for none.
fn is_plain(authority: &Authority) -> bool {
    let (host, text) = (authority.host(), authority.as_str());
    let port = text.strip_prefix(host).map(|rest| rest.strip_prefix(':').map(str::parse::<u16>));
    !host.is_empty() && !text.contains('@') && matches!(port, Some(None | Some(Ok(1..))))
}

impl WebhookUrl {
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidUrl)?;
        let fits = text.len() <= 2000
            && !text.contains('#')
            && matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(is_plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidUrl) }
    }

    /// One which was parsed before.
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the query, in which some keep a secret: for logs.
    pub fn without_query(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }
}

/// What an endpoint's requests are signed with. Does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

/// Why a text is no such secret. Does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is `whsec_` and 24 to 64 random bytes in base64; leave it out to have one made")]
pub struct InvalidSecret;

impl SigningSecret {
    const PREFIX: &str = "whsec_";

    /// 256 random bits.
    pub fn generate() -> Result<Self, Unspecified> {
        let mut bytes = vec![0; 32];
        rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let base64 = text.strip_prefix(Self::PREFIX).ok_or(InvalidSecret)?;
        let bytes = BASE64_STANDARD.decode(base64).map_err(|_| InvalidSecret)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(InvalidSecret) }
    }

    /// As the receiver's library takes it: for the one answer which shows it.
    pub fn reveal(&self) -> String {
        format!("{}{}", Self::PREFIX, BASE64_STANDARD.encode(&self.0))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

/// The secrets of an endpoint. They are kept encrypted only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    pub current: SigningSecret,
    /// The former one, and until when it signs as well.
    pub previous: Option<(SigningSecret, Timestamp)>,
}

impl Secrets {
    /// The column which holds them, to which their encryption is bound.
    pub const COLUMN: &str = "webhooks.secrets";

    /// Those which sign at `now`.
    pub fn valid(&self, now: Timestamp) -> impl Iterator<Item = &SigningSecret> {
        let previous = self.previous.iter().filter(move |(_, until)| now < *until).map(|(secret, _)| secret);
        std::iter::once(&self.current).chain(previous)
    }

    /// As text, to be encrypted: a line for each.
    pub fn to_text(&self) -> String {
        let previous = self.previous.iter().map(|(secret, until)| format!("\n{} {until}", secret.reveal()));
        std::iter::once(self.current.reveal()).chain(previous).collect()
    }

    pub fn of_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let current = SigningSecret::parse(lines.next()?).ok()?;
        let previous = match lines.next() {
            None => None,
            Some(line) => {
                let (secret, until) = line.split_once(' ')?;
                Some((SigningSecret::parse(secret).ok()?, until.parse().ok()?))
            }
        };
        Some(Self { current, previous })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Outcome = Outcome::Failed { retry_after: None };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_whole_schedule_of_an_endpoint_which_never_answers() {
        let (mut state, mut now, mut told) = (State::Active, at(0), Vec::new());
        loop {
            state = state.after(FAILED, now, 0.0);
            match state {
                State::Failing { since, attempts, due } => {
                    assert_eq!((since, attempts as usize), (at(0), told.len() + 1));
                    told.push(due.duration_since(now).as_secs());
                    now = due;
                }
                State::Parked { at: parked, reason } => {
                    assert_eq!((parked, reason), (at(72 * HOUR), Reason::Failing));
                    break;
                }
                State::Active => panic!("it never answered"),
            }
        }
        let begin = [5, 30, 120, 600, 1800, 3600, 7200, 14400, 14400];
        assert_eq!(told[..begin.len()], begin);
        assert_eq!(told[begin.len()..told.len() - 1], [14400; 15], "every four hours");
        assert_eq!(told.iter().sum::<i64>(), 72 * HOUR, "the last attempt is made after three days");
    }

    #[test]
    fn each_answer_leads_to_one_state() {
        let failing = |attempts, due| State::Failing { since: at(0), attempts, due: at(due) };
        let wait = |seconds| Outcome::Failed { retry_after: Some(SignedDuration::from_secs(seconds)) };
        for (state, outcome, now, chance, next) in [
            (State::Active, Outcome::Delivered, 0, 0.0, State::Active),
            (failing(7, 100), Outcome::Delivered, 100, 0.0, State::Active),
            (failing(7, 100), Outcome::Gone, 100, 0.0, State::Parked { at: at(100), reason: Reason::Gone }),
            (State::Active, FAILED, 0, 1.0, failing(1, 6)),
            (State::Active, FAILED, 0, 7.0, failing(1, 6)),
            (failing(1, 6), FAILED, 10, 0.5, failing(2, 43)),
            (failing(1, 6), wait(3), 10, 0.0, failing(2, 40)),
            (failing(1, 6), wait(60), 10, 0.0, failing(2, 70)),
            (failing(1, 6), wait(999_999_999), 10, 0.0, failing(2, 10 + 4 * HOUR)),
            (failing(99, 6), FAILED, 0, 0.0, failing(100, 4 * HOUR)),
            (failing(30, 6), FAILED, 72 * HOUR - 9, 0.0, failing(31, 72 * HOUR)),
        ] {
            assert_eq!(state.after(outcome, at(now), chance), next, "{state:?} {outcome:?}");
        }
    }

    #[test]
    fn a_state_is_kept_as_it_is() {
        for state in [
            State::Active,
            State::Failing { since: at(0), attempts: 3, due: at(5) },
            State::Parked { at: at(9), reason: Reason::Behind },
        ] {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "{text}");
        }
    }

    #[test]
    fn a_filter_names_events_or_how_they_begin() {
        let filter = |patterns: &[&str]| EventFilter::parse(patterns.iter().map(|p| (*p).into()).collect());
        let admits = |patterns: &[&str], name: &str| filter(patterns).unwrap().admits(name);
        assert!(admits(&[], "dsync.user.created") && admits(&["dsync.*"], "dsync.user.created"));
        assert!(admits(&["role.created", "dsync.user.*"], "dsync.user.deleted"));
        assert!(!admits(&["dsync.user.*"], "dsync.group.created") && !admits(&["dsync.user.created"], "role.created"));
        for wrong in ["dsync.user", "dsync.rule.*", "", "dsync.user.*.x", " "] {
            let told = filter(&[wrong]).unwrap_err();
            assert!(told.contains("event"), "{wrong}: {told}");
        }
    }

    #[test]
    fn a_url_holds_neither_credentials_nor_a_fragment() {
        for good in
            ["https://app.example/hooks?a=b", "http://127.0.0.1:8080/", "https://app.example", "https://[::1]:443/"]
        {
            assert!(WebhookUrl::parse(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "app.example",
            "/hooks",
            "ftp://a/b",
            "https://u:p@a/b",
            "https://u@a",
            "https://a/b#c",
            "https://",
            "https://a:0/",
            "https://a:99999/",
            "https://a:/",
        ] {
            assert!(WebhookUrl::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(WebhookUrl::parse("https://a/b?token=c").unwrap().without_query(), "https://a/b");
    }

    #[test]
    fn a_secret_is_read_as_it_is_shown_and_never_printed() {
        let secret = SigningSecret::generate().unwrap();
        assert_eq!(SigningSecret::parse(&secret.reveal()).as_ref(), Ok(&secret));
        assert_eq!(format!("{secret:?}"), "SigningSecret(..)");
        let of = |bytes: usize| format!("whsec_{}", BASE64_STANDARD.encode(vec![7; bytes]));
        assert!(SigningSecret::parse(&of(24)).is_ok() && SigningSecret::parse(&of(64)).is_ok());
        for wrong in [of(23), of(65), of(32).replace("whsec_", ""), "whsec_".into(), "whsec_§".into()] {
            assert_eq!(SigningSecret::parse(&wrong), Err(InvalidSecret), "{wrong}");
        }
    }

    #[test]
    fn a_former_secret_signs_until_its_time_is_over() {
        let (current, former) = (SigningSecret::generate().unwrap(), SigningSecret::generate().unwrap());
        let both = Secrets { current: current.clone(), previous: Some((former.clone(), at(10))) };
        assert_eq!(both.valid(at(9)).collect::<Vec<_>>(), [&current, &former]);
        assert_eq!(both.valid(at(10)).collect::<Vec<_>>(), [&current]);
        let one = Secrets { current, previous: None };
        for secrets in [both, one] {
            assert_eq!(Secrets::of_text(&secrets.to_text()), Some(secrets));
        }
        assert_eq!(Secrets::of_text("nonsense"), None);
    }
}
