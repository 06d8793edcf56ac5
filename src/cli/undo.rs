//! `realmgate undo`: what was done by mistake is taken back.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::Client,
    output::{Report, Table},
    realm,
};
use crate::model::realm::RealmName;

#[derive(Debug, Args)]
pub struct Undo {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// The `X-Request-Id` of a request, and of all others which share it
    #[arg(long, value_name = "ID", conflicts_with_all = ["request", "from", "to"], required_unless_present_any = ["request", "from"])]
    request_id: Option<String>,
    /// The id of a request in the request log: see `realmgate log`
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to"])]
    request: Option<String>,
    /// Requests which came in from then on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<Timestamp>,
    /// And up to then
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<Timestamp>,
    /// Only what this one did: the id of an actor
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Do it; without this, it is only told what would be done
    #[arg(long)]
    apply: bool,
}

pub async fn run(undo: Undo, client: &Client) -> Result<Report, Failure> {
    let Undo { realm, request_id, request, from, to, actor, apply } = undo;
    let wanted = [
        ("request_id", json!(request_id)),
        ("request", json!(request)),
        ("from", json!(from)),
        ("to", json!(to)),
        ("actor", json!(actor)),
        ("dry_run", json!(!apply)),
    ];
    let wanted = wanted.into_iter().filter(|(_, value)| !value.is_null());
    let wanted = Value::Object(wanted.map(|(name, value)| (name.to_owned(), value)).collect());
    let done = client.post(&format!("{}/undo", realm::path(&realm)), &wanted).await.map_err(|e| {
        e.hint_on(Exit::NotFound, || {
            format!("`realmgate log {realm}` shows requests, `realmgate realm list` the realms")
        })
    })?;
    Ok(Report { text: told(&realm, &done), json: done })
}

fn told(realm: &RealmName, done: &Value) -> String {
    let list = |key: &str| done[key].as_array().cloned().unwrap_or_default();
    let (changes, conflicts) = (list("changes"), list("conflicts"));
    let mut out = String::new();
    if !changes.is_empty() {
        let mut table = Table::new(["WHAT", "NAME", "ACTION", "CHANGE", "ID"]);
        for step in &changes {
            table.row([&step["kind"], &step["name"], &step["action"], &change(step).into(), &step["id"]]);
        }
        out = format!("{table}\n");
    }
    if !conflicts.is_empty() {
        let mut table = Table::new(["LEFT ALONE", "NAME", "BECAUSE", "ID"]);
        for conflict in &conflicts {
            table.row(["kind", "name", "reason", "id"].map(|key| &conflict[key]));
        }
        out = format!("{out}{table}\n");
    }
    let requests = done["requests"].as_u64().unwrap_or_default();
    if requests > 1 {
        out = format!(
            "{out}{requests} requests are meant; `--request` means one of them: see `realmgate log {realm}`.\n"
        );
    }
    let (count, left) = (changes.len(), conflicts.len());
    if done["dry_run"] == true {
        format!("{out}{count} changes would be made in realm `{realm}`, {left} left alone; `--apply` does it.")
    } else {
        format!("{out}{count} changes were made in realm `{realm}`, {left} left alone.")
    }
}

fn change(step: &Value) -> String {
    if let Some(attributes) = step["attributes"].as_array() {
        let one = |change: &Value| {
            format!("{}: {} -> {}", change["attribute"].as_str().unwrap_or_default(), change["from"], change["to"])
        };
        return attributes.iter().map(one).collect::<Vec<_>>().join(", ");
    }
    let count = |key: &str| step[key].as_array().map(Vec::len);
    match (count("added"), count("removed")) {
        (Some(added), Some(removed)) => format!("+{added} -{removed}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn what_would_be_done_is_told_line_by_line() {
        let acme = RealmName::parse("acme").unwrap();
        let done = json!({
            "dry_run": true, "events": 3, "requests": 2,
            "changes": [
                { "kind": "user", "id": "1", "name": "ada", "action": "restore",
                  "attributes": [{ "attribute": "active", "from": false, "to": true }] },
                { "kind": "group", "id": "2", "name": "Engines", "action": "members", "added": ["1"], "removed": [] },
            ],
            "conflicts": [{ "kind": "user", "id": "3", "name": null, "reason": "it is there again" }],
        });
        assert_snapshot!(told(&acme, &done), @"
        WHAT   NAME     ACTION   CHANGE                 ID
        user   ada      restore  active: false -> true  1
        group  Engines  members  +1 -0                  2

        LEFT ALONE  NAME  BECAUSE            ID
        user        -     it is there again  3

        2 requests are meant; `--request` means one of them: see `realmgate log acme`.
        2 changes would be made in realm `acme`, 1 left alone; `--apply` does it.
        ");
    }
}
