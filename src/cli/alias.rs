//! `realmgate alias`: paths of another product which lead to a realm's SCIM.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Exit, Failure,
    client::Client,
    output::{Report, Table},
    realm,
};
use crate::model::{alias::AliasPath, realm::RealmName};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Let the path of an old base URL lead to a realm
    Add(Target),
    /// Take a path from a realm
    Remove(Target),
    /// List the paths of a realm
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// The whole path, such as /scim/v2/acme
    #[arg(value_parser = AliasPath::parse)]
    path: AliasPath,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Add(target) => add(client, &target).await,
        Verb::Remove(target) => remove(client, &target).await,
        Verb::List { realm } => list(client, &realm).await,
    }
}

async fn add(client: &Client, Target { realm, path: alias }: &Target) -> Result<Report, Failure> {
    let added = client.post(&path(realm), &json!({ "path": alias })).await.map_err(|e| realm::missing(e, realm))?;
    let text = format!("`{alias}` now leads to the SCIM of realm `{realm}`, and so does all that lies below it.");
    Ok(Report { json: json!({ "realm": realm, "path": added["path"] }), text })
}

async fn remove(client: &Client, Target { realm, path: alias }: &Target) -> Result<Report, Failure> {
    // The characters of an alias need no escape in a query but one.
    let query = alias.as_str().replace('+', "%2B");
    let removed = client.delete(&format!("{}?path={query}", path(realm))).await;
    removed.map_err(|e| e.hint_on(Exit::NotFound, || format!("`realmgate alias list {realm}` shows its aliases")))?;
    let text = format!("`{alias}` no longer leads to realm `{realm}`.");
    Ok(Report { json: json!({ "realm": realm, "path": alias }), text })
}

async fn list(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let aliases = client.get(&path(realm)).await.map_err(|e| realm::missing(e, realm))?;
    let mut table = Table::new(["PATH"]);
    for alias in aliases.as_array().into_iter().flatten() {
        table.row([alias]);
    }
    Ok(Report { text: table.to_string(), json: aliases })
}

fn path(realm: &RealmName) -> String {
    format!("{}/aliases", realm::path(realm))
}
