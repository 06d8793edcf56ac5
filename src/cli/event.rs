//! `realmgate event`: what happened in a realm.

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Failure,
    client::Client,
    output::{Report, Table},
    realm,
};
use crate::model::{realm::RealmName, span::Span};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show how soon applications acknowledged who has lost access
    TimeToRevoke {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        /// How far back: `24h`, `7d`; as far as events are kept, if it is not said
        #[arg(long, value_name = "SPAN")]
        since: Option<Span>,
    },
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::TimeToRevoke { realm, since } => time_to_revoke(client, &realm, since).await,
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
