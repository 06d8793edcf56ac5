//! `realmgate event`: what happened in a realm.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Exit, Failure, Noun,
    client::{Client, Server, escaped},
    output::{Format, Report, Table},
    realm,
};
use crate::model::{realm::RealmName, span::Span};

/// Events of one answer, at most.
const MOST: usize = 1000;
/// How long the server is asked to wait for an event, in seconds.
const WAIT: u8 = 20;
/// Time between two tries to reach a server which is away: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show what happened, the oldest first
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Go on with what happens, over restarts of the server; JSON is a line for each
    Tail {
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Show how soon applications acknowledged who has lost access
    TimeToRevoke {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        /// How far back: `24h`, `7d`; as far as events are kept, if it is not said
        #[arg(long, value_name = "SPAN")]
        since: Option<Span>,
    },
}

#[derive(Debug, Args)]
pub struct Wanted {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// Begin behind the event with this number; `list` with the oldest, `tail` with what is yet to come if it is not said
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Names of events, separated by commas: `dsync.user.*,role.created`
    #[arg(long, value_name = "NAMES")]
    types: Option<String>,
}

/// What the server answers.
struct Page {
    events: Vec<Value>,
    /// The last event which was looked at.
    next: u64,
    /// The realm's last event.
    head: u64,
}

pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let (server, format) = (noun.server.url, noun.output);
    match noun.verb {
        Verb::List { wanted, limit } => {
            let client = Client::sign_in(server).await?;
            let page = wanted.page(&client, wanted.after.unwrap_or(0), &format!("limit={limit}")).await?;
            Report { text: lines(&page.events, true), json: page.events.into() }.print(format)
        }
        Verb::Tail { wanted } => wanted.tail(server, format).await,
        Verb::TimeToRevoke { realm, since } => {
            time_to_revoke(&Client::sign_in(server).await?, &realm, since).await?.print(format)
        }
    }
}

async fn time_to_revoke(client: &Client, realm: &RealmName, since: Option<Span>) -> Result<Report, Failure> {
    let since = since.map_or(String::new(), |span| format!("?since={}", span.before(Timestamp::now())));
    let report = client.get(&format!("{}/time-to-revoke{since}", realm::path(realm))).await;
    let report = report.map_err(|e| realm::missing(e, realm))?;
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    let by: Vec<String> = list("acknowledged_by")
        .iter()
        .map(|by| format!("{} ({})", by["name"].as_str().unwrap_or_default(), by["count"]))
        .collect();
    let ms = |key: &str| Value::from(report[key].as_i64().map(|ms| format!("{ms} ms")));
    let facts = Table::of_facts([
        ("revocations", &report["count"]),
        ("open", &report["open"]),
        ("oldest open", &report["oldest_open"]["requested_at"]),
        ("late", &report["late"]),
        ("median", &ms("p50_ms")),
        ("95 %", &ms("p95_ms")),
        ("slowest", &ms("max_ms")),
        ("acknowledged by", &by.join(", ").into()),
    ]);
    let mut table = Table::new(["SLOWEST", "ASKED FOR", "BY", "SEQ", "USER"]);
    let slowest = list("slowest");
    for one in &slowest {
        let took = Value::from(format!("{} ms", one["ms"]));
        table.row([&took, &one["requested_at"], &one["acknowledged_by"], &one["seq"], &one["user_id"]]);
    }
    let text = if slowest.is_empty() { facts.to_string() } else { format!("{facts}\n{table}") };
    Ok(Report { text, json: report })
}

impl Wanted {
    /// Shows what happens, for as long as somebody looks. Neither a token which has run out nor a server which is away for
    /// a while leaves a gap.
    async fn tail(&self, server: Server, format: Format) -> Result<(), Failure> {
        let mut client = Client::sign_in(server.clone()).await?;
        let mut after = match self.after {
            Some(after) => after,
            None => self.page(&client, 0, "limit=1").await?.head,
        };
        let (mut is_first, mut is_used, mut pause) = (true, false, PAUSES[0]);
        loop {
            let mut failure = match self.page(&client, after, &format!("limit={MOST}&wait={WAIT}")).await {
                Ok(page) => {
                    after = page.next;
                    if !page.events.is_empty() {
                        print(&page.events, format, is_first)?;
                        is_first = false;
                    }
                    (is_used, pause) = (true, PAUSES[0]);
                    continue;
                }
                Err(failure) => failure,
            };
            // What was allowed before: the token has run out.
            if failure.exit == Exit::NotAllowed && is_used {
                match Client::sign_in(server.clone()).await {
                    Ok(anew) => {
                        (client, is_used) = (anew, false);
                        continue;
                    }
                    Err(refused) => failure = refused,
                }
            }
            if failure.exit != Exit::Unavailable {
                return Err(failure);
            }
            eprintln!("{failure}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    async fn page(&self, client: &Client, after: u64, query: &str) -> Result<Page, Failure> {
        let from = if after == 0 { String::new() } else { format!("&after={after}") };
        let types = self.types.as_deref().map(|types| format!("&types={}", escaped(types))).unwrap_or_default();
        let answer = client.get(&format!("{}/events?{query}{from}{types}", realm::path(&self.realm))).await;
        let mut answer = answer.map_err(|e| realm::missing(e, &self.realm))?;
        match (answer["events"].take(), answer["next"].as_u64(), answer["head"].as_u64()) {
            (Value::Array(events), Some(next), Some(head)) => Ok(Page { events, next, head }),
            _ => Err(Failure::new(Exit::Failed, "the answer is no list of events")),
        }
    }
}

/// For scripts a line for each, since there is no end.
fn print(events: &[Value], format: Format, head: bool) -> Result<(), Failure> {
    let text = match format {
        Format::Table => lines(events, head),
        Format::Json => events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
    };
    Report { text, json: Value::Null }.print(Format::Table)
}

fn lines(events: &[Value], head: bool) -> String {
    let mut table = Table::new(["SEQ", "TIME", "EVENT", "WHAT", "BY", "REQUEST"]);
    for event in events {
        let time = event["created_at"].as_str().and_then(|at| at.get(..19)).unwrap_or_default().replace('T', " ");
        let actor = &event["actor"];
        let by = match (actor["kind"].as_str(), actor["id"].as_str()) {
            (Some(kind), Some(id)) => format!("{kind} {id}"),
            (kind, _) => kind.unwrap_or_default().to_owned(),
        };
        table.row([
            &event["seq"],
            &time.into(),
            &event["event"],
            &what(&event["data"]).into(),
            &by.into(),
            &event["request_id"],
        ]);
    }
    let text = table.to_string();
    if head { text } else { text.split_once('\n').map_or(String::new(), |(_, rows)| rows.to_owned()) }
}

/// What an event is about, in the words of whoever reads it.
fn what(data: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let own = text(&data["username"]).or_else(|| text(&data["name"])).or_else(|| text(&data["id"]));
    let holder = ["group", "user"].into_iter().find_map(|key| text(&data[key]["id"]));
    let added = ["role", "user", "member_group"].into_iter().find_map(|key| {
        let named = text(&data[key]["name"]).or_else(|| text(&data[key]["id"]))?;
        (holder.as_ref() != Some(&named)).then_some(named)
    });
    match (own, holder, added) {
        (Some(own), ..) => own,
        (None, Some(holder), Some(added)) => format!("{holder} {added}"),
        (None, holder, added) => holder.or(added).unwrap_or_else(|| "-".into()),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_happened_to_whom_and_by_whom() {
        let event = |seq: u64, name: &str, data: Value| {
            json!({ "seq": seq, "event": name, "created_at": "2026-01-31T12:00:00.123Z", "request_id": "r-1",
                    "actor": { "kind": "scim_token", "id": "t-1" }, "data": data })
        };
        let events = [
            event(7, "dsync.user.created", json!({ "id": "u-1", "username": "ada\u{1b}[2J" })),
            event(8, "dsync.group.user_added", json!({ "group": { "id": "g-1" }, "user": { "id": "u-1" } })),
            event(
                9,
                "dsync.user.role_added",
                json!({ "user": { "id": "u-1" }, "role": { "id": "r", "name": "editor" } }),
            ),
            event(10, "dsync.activated", json!({ "directory_id": "d" })),
        ];
        assert_snapshot!(lines(&events, true), @"
        SEQ  TIME                 EVENT                   WHAT        BY              REQUEST
        7    2026-01-31 12:00:00  dsync.user.created      ada�[2J     scim_token t-1  r-1
        8    2026-01-31 12:00:00  dsync.group.user_added  g-1 u-1     scim_token t-1  r-1
        9    2026-01-31 12:00:00  dsync.user.role_added   u-1 editor  scim_token t-1  r-1
        10   2026-01-31 12:00:00  dsync.activated         -           scim_token t-1  r-1
        ");
        assert!(!lines(&events, false).contains("SEQ"));
    }
}
