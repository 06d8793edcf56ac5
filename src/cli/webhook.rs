//! `realmgate webhook`: where the events of a realm are sent. A secret is seen once, here.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    Exit, Failure,
    client::{Client, segment},
    output::{Report, Table, confirm, printable},
    realm,
};
use crate::model::{realm::RealmName, span::Span};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List where events are sent, and how that stands
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
    /// Send events to a URL, and reveal the secret which signs them
    Create(Create),
    /// Show a webhook and how it stands
    Show(Target),
    /// Change a webhook; another URL gets another secret
    Update(Update),
    /// Delete a webhook
    Delete {
        #[command(flatten)]
        target: Target,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Replace the secret; the old one ends at once, unless an overlap is asked for
    RotateSecret(RotateSecret),
    /// Send an event `test` at once, and tell what came of it
    Test(Target),
    /// Send events again
    Redeliver(Redeliver),
    /// Go on where sending stopped, parked or disabled
    Resume(Target),
    /// Show what was tried lately, newest first
    Deliveries(Deliveries),
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// The webhook's id, as `webhook list` shows it
    id: String,
}

/// What may be said of a webhook beside its URL.
#[derive(Debug, Args)]
struct Settings {
    /// What people call it
    #[arg(long)]
    description: Option<String>,
    /// An event to send, or how its name begins: `dsync.user.*`; may be given several times
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
    /// The file with a secret that was chosen: `whsec_` and 24 to 64 bytes in base64
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Create {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// Where to send the events: `https://app.example.com/hooks`
    #[arg(value_name = "URL")]
    endpoint: String,
    #[command(flatten)]
    settings: Settings,
    /// What is sent: events as JSON, or security event tokens (RFC 8935)
    #[arg(long, value_parser = ["webhook", "set"], default_value = "webhook")]
    format: String,
    /// Begin with this event of the past; without it, with what happens from now on
    #[arg(long, value_name = "SEQ")]
    from: Option<i64>,
}

#[derive(Debug, Args)]
pub struct Update {
    #[command(flatten)]
    target: Target,
    /// Where to send the events
    #[arg(long = "url", value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Send all events, whatever their name
    #[arg(long, conflicts_with = "events")]
    all_events: bool,
    /// Send again, or stop for now
    #[arg(long)]
    enabled: Option<bool>,
}

#[derive(Debug, Args)]
pub struct RotateSecret {
    #[command(flatten)]
    target: Target,
    /// How long the old secret signs as well: `24h`
    #[arg(long, value_name = "TIME")]
    overlap: Option<Span>,
    /// The file with a secret that was chosen
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub struct Redeliver {
    #[command(flatten)]
    target: Target,
    /// Send this event next, and what follows on it
    #[arg(long, value_name = "SEQ", required_unless_present = "seq", conflicts_with = "seq")]
    from: Option<i64>,
    /// Send this event once more, out of line
    #[arg(long)]
    seq: Option<i64>,
}

#[derive(Debug, Args)]
pub struct Deliveries {
    #[command(flatten)]
    target: Target,
    /// Only attempts which failed
    #[arg(long)]
    failed: bool,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::List { realm } => list(client, &realm).await,
        Verb::Create(create) => {
            let Create { realm, endpoint, settings, format, from } = create;
            let mut wish = settings.wish()?;
            wish.extend([("url".to_owned(), endpoint.into()), ("format".to_owned(), format.into())]);
            wish.extend(from.map(|from| ("from".to_owned(), from.into())));
            let made = client.post(&webhooks(&realm), &wish.into()).await;
            Ok(shown(made.map_err(|e| realm::missing(e, &realm))?))
        }
        Verb::Show(target) => Ok(shown(client.get(&target.path("")).await.map_err(|e| target.missing(e))?)),
        Verb::Update(update) => {
            let Update { target, endpoint, settings, all_events, enabled } = update;
            let mut wish = settings.wish()?;
            wish.extend(endpoint.map(|url| ("url".to_owned(), url.into())));
            wish.extend(enabled.map(|enabled| ("enabled".to_owned(), enabled.into())));
            if all_events {
                wish.insert("events".into(), json!([]));
            }
            Ok(shown(client.put(&target.path(""), &wish.into()).await.map_err(|e| target.missing(e))?))
        }
        Verb::Delete { target, yes } => {
            if !yes {
                confirm(&format!("Delete the webhook {} of realm `{}`?", target.id, target.realm))?;
            }
            client.delete(&target.path("")).await.map_err(|e| target.missing(e))?;
            let text = format!("Nothing is sent to the webhook {} any longer.", printable(&target.id));
            Ok(Report { json: json!({ "realm": target.realm, "id": target.id }), text })
        }
        Verb::RotateSecret(rotation) => rotate(client, rotation).await,
        Verb::Test(target) => {
            let attempt = client.post(&target.path("/test"), &json!({})).await.map_err(|e| target.missing(e))?;
            tried(attempt)
        }
        Verb::Redeliver(Redeliver { target, from, seq }) => {
            let wish = match (from, seq) {
                (Some(from), _) => json!({ "from": from }),
                (None, seq) => json!({ "seq": seq }),
            };
            let answer = client.post(&target.path("/redeliver"), &wish).await.map_err(|e| target.missing(e))?;
            if from.is_some() { Ok(shown(answer)) } else { tried(answer) }
        }
        Verb::Resume(target) => {
            Ok(shown(client.post(&target.path("/resume"), &json!({})).await.map_err(|e| target.missing(e))?))
        }
        Verb::Deliveries(wanted) => deliveries(client, &wanted).await,
    }
}

async fn list(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let found = client.get(&webhooks(realm)).await.map_err(|e| realm::missing(e, realm))?;
    let mut table = Table::new(["WEBHOOK", "URL", "EVENTS", "STATE", "BEHIND", "NEXT ATTEMPT"]);
    for one in found.as_array().into_iter().flatten() {
        let events = events_of(one);
        let [id, url, state, behind, next] = ["id", "url", "state", "behind", "next_attempt_at"].map(|key| &one[key]);
        table.row([id, url, &events, state, behind, next]);
    }
    Ok(Report { text: table.to_string(), json: found })
}

async fn rotate(client: &Client, rotation: RotateSecret) -> Result<Report, Failure> {
    let RotateSecret { target, overlap, secret_file, yes } = rotation;
    if !yes && overlap.is_none() {
        confirm("The receiver believes nothing until it has the new secret (--overlap gives it time). Replace?")?;
    }
    let mut wish = Map::new();
    wish.extend(overlap.map(|overlap| ("overlap".to_owned(), overlap.to_string().into())));
    wish.extend(secret_in(secret_file)?);
    let rotated = client.post(&target.path("/rotate-secret"), &wish.into()).await;
    Ok(shown(rotated.map_err(|e| target.missing(e))?))
}

async fn deliveries(client: &Client, wanted: &Deliveries) -> Result<Report, Failure> {
    let Deliveries { target, failed, limit } = wanted;
    let path = target.path(&format!("/deliveries?limit={limit}&failed={failed}"));
    let attempts = client.get(&path).await.map_err(|e| target.missing(e))?;
    let mut table = Table::new(["WHEN", "SEQ", "EVENT", "ATTEMPT", "STATUS", "MS", "ERROR"]);
    for one in attempts.as_array().into_iter().flatten() {
        table.row(["at", "seq", "event_id", "attempt", "status", "duration_ms", "error"].map(|key| &one[key]));
    }
    Ok(Report { text: table.to_string(), json: attempts })
}

/// A webhook; with its secret, if it has a new one.
fn shown(webhook: Value) -> Report {
    let events = events_of(&webhook);
    let facts = Table::of_facts([
        ("webhook", &webhook["id"]),
        ("url", &webhook["url"]),
        ("description", &webhook["description"]),
        ("events", &events),
        ("state", &webhook["state"]),
        ("since", &webhook["since"]),
        ("reason", &webhook["reason"]),
        ("next attempt", &webhook["next_attempt_at"]),
        ("cursor", &webhook["cursor"]),
        ("head", &webhook["head"]),
        ("old secret until", &webhook["previous_secret_until"]),
    ]);
    let text = match webhook["secret"].as_str() {
        None => facts.to_string(),
        Some(secret) => format!(
            "{facts}secret            {}\n\nThis secret is shown only now: the receiver verifies signatures with it.",
            printable(secret)
        ),
    };
    Report { json: webhook, text }
}

/// An attempt which was made out of line; a failed one is a failure of the command as well.
fn tried(attempt: Value) -> Result<Report, Failure> {
    if attempt["delivered"] != true {
        let error = attempt["error"].as_str().unwrap_or("it was not delivered");
        return Err(Failure::new(Exit::Failed, error));
    }
    let text = format!("Delivered: {} after {} ms.", attempt["status"], attempt["duration_ms"]);
    Ok(Report { json: attempt, text })
}

fn events_of(webhook: &Value) -> Value {
    let patterns: Vec<_> = webhook["events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if patterns.is_empty() { "all".into() } else { patterns.join(", ").into() }
}

impl Settings {
    fn wish(self) -> Result<Map<String, Value>, Failure> {
        let Self { description, events, secret_file } = self;
        let mut wish = Map::new();
        wish.extend(description.map(|text| ("description".to_owned(), text.into())));
        if !events.is_empty() {
            wish.insert("events".into(), events.into());
        }
        wish.extend(secret_in(secret_file)?);
        Ok(wish)
    }
}

fn secret_in(file: Option<PathBuf>) -> Result<Option<(String, Value)>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = fs::read_to_string(&file);
    let text = text.map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", file.display())))?;
    Ok(Some(("secret".into(), text.trim().into())))
}

impl Target {
    fn path(&self, rest: &str) -> String {
        format!("{}/{}{rest}", webhooks(&self.realm), segment(&self.id))
    }

    fn missing(&self, failure: Failure) -> Failure {
        let realm = &self.realm;
        failure.hint_on(Exit::NotFound, || format!("`realmgate webhook list {realm}` shows the webhooks of the realm"))
    }
}

fn webhooks(realm: &RealmName) -> String {
    format!("{}/webhooks", realm::path(realm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_below_its_realm() {
        let target = Target { realm: RealmName::parse("acme").unwrap(), id: "a/b".into() };
        assert_eq!(target.path("/test"), "/admin/realms/acme/webhooks/a%2Fb/test");
    }

    #[test]
    fn a_new_secret_is_shown_with_the_webhook() {
        let report = shown(json!({ "id": "w", "events": [], "secret": "whsec_x" }));
        assert!(report.text.contains("whsec_x") && report.text.contains("all"), "{}", report.text);
        let report = shown(json!({ "id": "w", "events": ["dsync.user.*", "role.created"] }));
        assert!(report.text.contains("dsync.user.*, role.created") && !report.text.contains("secret  "));
    }

    #[test]
    fn a_failed_test_is_a_failure_of_the_command() {
        assert!(tried(json!({ "delivered": true, "status": 204, "duration_ms": 3 })).is_ok());
        let failure = tried(json!({ "delivered": false, "error": "it answered 500" })).unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Failed, "it answered 500"));
    }
}
