//! `realmgate log`: what a realm's identity provider sent, and what became of it.

use std::{collections::HashSet, time::Duration};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Exit, Failure, ServerOption,
    client::Client,
    output::{Format, Report, Table, printable},
    realm,
};
use crate::model::{realm::RealmName, span::Span};

/// Time between two looks for something new.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Entries of one look at what is new, at most.
const MOST: u16 = 1000;
/// How late an entry may come into the log, on another node too.
const LATE: SignedDuration = SignedDuration::from_secs(30);

#[derive(Debug, Args)]
pub struct Log {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// Show one request with its operations and its body
    #[arg(long, value_name = "ID", conflicts_with_all = ["follow", "status", "method", "path", "diagnosis", "request_id", "search"])]
    id: Option<String>,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// A status or a class of them: `409`, `4xx`
    #[arg(long)]
    status: Option<String>,
    #[arg(long)]
    method: Option<String>,
    /// How the path begins behind the base URL: `/Users`
    #[arg(long)]
    path: Option<String>,
    /// A named fault, such as `old_token`
    #[arg(long, value_name = "NAME")]
    diagnosis: Option<String>,
    /// The `X-Request-Id` of an answer
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Text in path, error or body
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// How far back: `1h`, `30m`, `2d`
    #[arg(long, value_name = "SPAN")]
    since: Option<Span>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    server: ServerOption,
    /// How to answer: for people or for scripts
    #[arg(long, short, value_enum, default_value_t, env = "REALMGATE_OUTPUT")]
    output: Format,
}

impl Log {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.server.clone().sign_in().await?;
        if let Some(id) = &self.id {
            let path = format!("{}/{}", path(&self.realm), escaped(id));
            let found = client.get(&path).await.map_err(|e| {
                e.hint_on(Exit::NotFound, || format!("`realmgate log {}` shows the requests there are", self.realm))
            })?;
            return Report { text: whole(&found), json: found }.print(self.output);
        }
        let since = self.since.map(|span| span.before(Timestamp::now()));
        let mut shown = self.fetch(&client, since, self.limit).await?;
        shown.reverse();
        self.print(&shown, true)?;
        if self.follow { self.follow(&client, &shown).await } else { Ok(()) }
    }

    /// Shows what is new, for as long as somebody looks.
    async fn follow(&self, client: &Client, shown: &[Value]) -> Result<(), Failure> {
        let id = |entry: &Value| entry["id"].as_str().unwrap_or_default().to_owned();
        let mut known: HashSet<String> = shown.iter().map(id).collect();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let since = Timestamp::now().saturating_sub(LATE).unwrap_or(Timestamp::MIN);
            let mut entries = self.fetch(client, Some(since), MOST).await?;
            let seen = entries.iter().map(id).collect();
            entries.retain(|entry| !known.contains(&id(entry)));
            entries.reverse();
            self.print(&entries, false)?;
            known = seen;
        }
    }

    async fn fetch(&self, client: &Client, since: Option<Timestamp>, limit: u16) -> Result<Vec<Value>, Failure> {
        let since = since.map(|since| since.to_string());
        let mut query = format!("limit={limit}");
        for (name, value) in [
            ("status", &self.status),
            ("method", &self.method),
            ("path", &self.path),
            ("diagnosis", &self.diagnosis),
            ("request_id", &self.request_id),
            ("q", &self.search),
            ("since", &since),
        ] {
            if let Some(value) = value {
                query = format!("{query}&{name}={}", escaped(value));
            }
        }
        let answer = client.get(&format!("{}?{query}", path(&self.realm))).await;
        match answer.map_err(|e| realm::missing(e, &self.realm))? {
            Value::Array(entries) => Ok(entries),
            _ => Err(Failure::new(Exit::Failed, "the answer is no list of requests")),
        }
    }

    /// The oldest first, as a log is read. For scripts: one array, or a line for each when there is no end.
    fn print(&self, entries: &[Value], first: bool) -> Result<(), Failure> {
        if self.output == Format::Json && self.follow {
            let lines: Vec<String> = entries.iter().map(Value::to_string).collect();
            return if lines.is_empty() {
                Ok(())
            } else {
                Report { text: lines.join("\n"), json: Value::Null }.print(Format::Table)
            };
        }
        if !first && entries.is_empty() {
            return Ok(());
        }
        Report { text: lines(entries, first), json: entries.into() }.print(self.output)
    }
}

fn lines(entries: &[Value], head: bool) -> String {
    let mut table = Table::new(["TIME", "METHOD", "STATUS", "MS", "PATH", "DIAGNOSIS", "ID"]);
    for entry in entries {
        let fault = match &entry["diagnosis"]["name"] {
            Value::Null => &entry["error"]["scim_type"],
            name => name,
        };
        let (at, ms) = (
            Value::from(short_time(&entry["at"])),
            Value::from(format!("{:.1}", entry["duration_ms"].as_f64().unwrap_or_default())),
        );
        let path = Value::from(below_base(entry["path"].as_str().unwrap_or_default()));
        table.row([&at, &entry["method"], &entry["status"], &ms, &path, fault, &entry["id"]]);
    }
    let text = table.to_string();
    if head { text } else { text.split_once('\n').map_or(String::new(), |(_, rows)| rows.to_owned()) }
}

/// A request for people: what it was, what is wrong with it and what to do, each operation, the body.
fn whole(entry: &Value) -> String {
    let error = &entry["error"];
    let facts = Table::of_facts([
        ("id", &entry["id"]),
        ("at", &entry["at"]),
        ("request id", &entry["request_id"]),
        ("request", &Value::from(format!("{} {}", text(&entry["method"]), text(&entry["path"])))),
        ("status", &entry["status"]),
        ("duration", &Value::from(format!("{:.1} ms", entry["duration_ms"].as_f64().unwrap_or_default()))),
        ("user agent", &entry["user_agent"]),
        ("caller", &entry["actor"]["id"]),
        ("scimType", &error["scim_type"]),
        ("reason", &error["reason"]),
        ("detail", &error["detail"]),
        ("diagnosis", &entry["diagnosis"]["name"]),
        ("cause", &entry["diagnosis"]["cause"]),
        ("cure", &entry["diagnosis"]["cure"]),
    ]);
    let mut out = facts.to_string();
    let operations = entry["operations"].as_array().map_or(&[][..], Vec::as_slice);
    if !operations.is_empty() {
        let mut table = Table::new(["OPERATION", "PATH", "OUTCOME"]);
        for operation in operations {
            table.row(["op", "path", "outcome"].map(|key| &operation[key]));
        }
        out = format!("{out}\n{table}");
    }
    match entry["body"].as_str() {
        None => out,
        Some(body) => {
            let pretty =
                serde_json::from_str::<Value>(body).map_or_else(|_| body.to_owned(), |json| format!("{json:#}"));
            let shown: Vec<String> = pretty.lines().map(printable).collect();
            format!("{out}\n{}", shown.join("\n"))
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `2026-01-31 12:00:00`, without what a line has no room for.
fn short_time(at: &Value) -> String {
    text(at).get(..19).unwrap_or_default().replace('T', " ")
}

fn below_base(path: &str) -> &str {
    path.split_once("/scim/v2").map_or(path, |(_, below)| if below.is_empty() { "/" } else { below })
}

fn path(realm: &RealmName) -> String {
    format!("{}/scim/requests", realm::path(realm))
}

/// A value in a query or a path.
fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn entry() -> Value {
        json!({
            "id": "0198", "at": "2026-01-31T12:00:00.123Z", "request_id": "r-1", "method": "PATCH",
            "path": "/realms/acme/scim/v2/Users/1", "status": 400, "duration_ms": 2.25, "user_agent": null, "actor": null,
            "error": { "scim_type": "noTarget", "detail": "nothing\u{1b}[2J" },
            "diagnosis": { "name": "no_target", "cause": "because", "cure": "so" },
            "operations": [{ "op": "remove", "path": "emails", "outcome": "refused" }], "body": "{\"a\":1}",
        })
    }

    #[test]
    fn a_line_says_what_came_and_what_it_came_to() {
        assert_snapshot!(lines(&[entry()], true), @"
        TIME                 METHOD  STATUS  MS   PATH      DIAGNOSIS  ID
        2026-01-31 12:00:00  PATCH   400     2.2  /Users/1  no_target  0198
        ");
        assert!(!lines(&[entry()], false).contains("TIME"));
    }

    #[test]
    fn a_request_is_told_with_its_cure() {
        assert_snapshot!(whole(&entry()), @r#"
        id          0198
        at          2026-01-31T12:00:00.123Z
        request id  r-1
        request     PATCH /realms/acme/scim/v2/Users/1
        status      400
        duration    2.2 ms
        user agent  -
        caller      -
        scimType    noTarget
        reason      -
        detail      nothing�[2J
        diagnosis   no_target
        cause       because
        cure        so

        OPERATION  PATH    OUTCOME
        remove     emails  refused

        {
          "a": 1
        }
        "#);
    }
}
