//! `realmgate domain`: host names which belong to a realm.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Exit, Failure,
    client::Client,
    output::{Report, Table},
    realm,
};
use crate::model::realm::{Domain, RealmName};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Give a realm a host name of its own
    Add(Target),
    /// Take a host name from a realm
    Remove(Target),
    /// List the host names of a realm
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// Without scheme, port and path
    #[arg(value_parser = Domain::parse)]
    host: Domain,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Add(target) => add(client, &target).await,
        Verb::Remove(target) => remove(client, &target).await,
        Verb::List { realm } => list(client, &realm).await,
    }
}

async fn add(client: &Client, Target { realm, host }: &Target) -> Result<Report, Failure> {
    let host = host.as_str();
    client.post(&path(realm), &json!({ "domain": host })).await.map_err(|e| {
        let hint = || format!("`{host}` belongs to a realm already: `realmgate domain remove` frees it");
        realm::missing(e, realm).hint_on(Exit::Conflict, hint)
    })?;
    let text = format!("Requests for `{host}` now reach realm `{realm}` and no other. Point its DNS record here.");
    Ok(Report { json: json!({ "realm": realm, "domain": host }), text })
}

async fn remove(client: &Client, Target { realm, host }: &Target) -> Result<Report, Failure> {
    let host = host.as_str();
    let removed = client.delete(&format!("{}/{host}", path(realm))).await;
    removed.map_err(|e| e.hint_on(Exit::NotFound, || format!("`realmgate domain list {realm}` shows its domains")))?;
    let text = format!("`{host}` no longer belongs to realm `{realm}`.");
    Ok(Report { json: json!({ "realm": realm, "domain": host }), text })
}

async fn list(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let domains = client.get(&path(realm)).await.map_err(|e| realm::missing(e, realm))?;
    let mut table = Table::new(["DOMAIN"]);
    for domain in domains.as_array().into_iter().flatten() {
        table.row([domain]);
    }
    Ok(Report { text: table.to_string(), json: domains })
}

fn path(realm: &RealmName) -> String {
    format!("{}/domains", realm::path(realm))
}
