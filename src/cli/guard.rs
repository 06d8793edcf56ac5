//! `realmgate guard`: the leaver guard of a realm, and an operator's word on what it holds.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::Client,
    output::{Report, Table, confirm},
    realm,
};
use crate::model::realm::RealmName;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show how the guard stands, and what it holds
    Status(Target),
    /// Let happen what is held
    Apply(Resolve),
    /// Forget what is held: it never happened
    Discard(Resolve),
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
}

#[derive(Debug, Args)]
pub struct Resolve {
    #[command(flatten)]
    target: Target,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Status(Target { realm }) => status(client, &realm).await,
        Verb::Apply(resolve) => resolved(client, &resolve, "apply", "let happen").await,
        Verb::Discard(resolve) => resolved(client, &resolve, "discard", "discarded").await,
    }
}

async fn status(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let mut status = client.get(&path(realm, "")).await.map_err(|e| realm::missing(e, realm))?;
    let held = client.get(&path(realm, "/held?limit=1000")).await?;
    let policy = Value::from(if status["policy"].is_null() { "none".into() } else { status["policy"].to_string() });
    let facts = Table::of_facts([
        ("rule", &policy),
        ("departed", &status["departed"]),
        ("active users", &status["active_users"]),
        ("held since", &status["held_since"]),
        ("held", &status["held"]),
    ]);
    let mut table = Table::new(["DEPARTURE", "WHO", "GROUP", "ASKED FOR", "REQUEST"]);
    let rows = held.as_array().map_or(&[][..], Vec::as_slice);
    for change in rows {
        let who = if change["subject_name"].is_null() { &change["subject"] } else { &change["subject_name"] };
        table.row([&change["departure"], who, &change["group_name"], &change["at"], &change["request_id"]]);
    }
    let text = if rows.is_empty() { facts.to_string() } else { format!("{facts}\n{table}") };
    status["changes"] = held;
    Ok(Report { json: status, text })
}

/// A server which has no time for all of it is asked again.
async fn resolved(client: &Client, resolve: &Resolve, verb: &str, done: &str) -> Result<Report, Failure> {
    let Resolve { target: Target { realm }, yes } = resolve;
    if !yes {
        confirm(&format!("What is held in realm `{realm}` is to be {done}. Go on?"))?;
    }
    let (mut all, mut held) = (0, 0);
    loop {
        let answer = client.post(&path(realm, &format!("/{verb}")), &json!({})).await;
        let answer = match answer {
            Err(failure) if all > 0 && failure.exit == Exit::Conflict => break,
            answer => answer.map_err(|e| realm::missing(e, realm))?,
        };
        let did = answer["done"].as_u64().unwrap_or_default();
        (all, held) = (all + did, answer["held"].as_u64().unwrap_or_default());
        if held == 0 || did == 0 {
            break;
        }
    }
    let text = format!("{all} departures of realm `{realm}` were {done}; {held} are held.");
    Ok(Report { json: json!({ "realm": realm, "done": all, "held": held }), text })
}

fn path(realm: &RealmName, rest: &str) -> String {
    format!("{}/scim/leaver-guard{rest}", realm::path(realm))
}
