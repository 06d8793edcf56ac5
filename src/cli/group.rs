//! `realmgate group`: the groups of a realm, who is in them, and the roles which they carry.

use clap::{Args, Subcommand};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Exit, Failure,
    client::{Client, segment},
    output::{Report, Table},
    realm, role,
    user::{self, id},
};
use crate::model::realm::RealmName;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List groups by name
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        /// A part of the name
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// List the users in a group
    Members {
        #[command(flatten)]
        target: Target,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        max: u16,
    },
    /// Show which roles a group hands to its members
    Roles(Target),
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// Id or name
    group: String,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::List { realm, search } => list(client, &realm, search.as_deref()).await,
        Verb::Members { target, max } => members(client, &target, max).await,
        Verb::Roles(target) => roles(client, &target).await,
    }
}

async fn list(client: &Client, realm: &RealmName, search: Option<&str>) -> Result<Report, Failure> {
    let groups = client.get(&format!("{}?search={}", path(realm), segment(search.unwrap_or_default()))).await;
    let groups = groups.map_err(|e| realm::missing(e, realm))?;
    let mut table = Table::new(["GROUP", "ID"]);
    for group in groups.as_array().into_iter().flatten() {
        table.row([&group["name"], &group["id"]]);
    }
    Ok(Report { text: table.to_string(), json: groups })
}

async fn members(client: &Client, Target { realm, group }: &Target, max: u16) -> Result<Report, Failure> {
    let group = found(client, realm, group).await?;
    let members = client.get(&format!("{}/{}/members?max={max}", path(realm), id(&group))).await?;
    Ok(Report { text: user::table(&members).to_string(), json: members })
}

async fn roles(client: &Client, Target { realm, group }: &Target) -> Result<Report, Failure> {
    let group = found(client, realm, group).await?;
    let roles = client.get(&format!("{}/{}/role-mappings/realm/composite", path(realm), id(&group))).await?;
    Ok(Report { text: role::table(&roles).to_string(), json: roles })
}

/// The group of that id or name.
pub async fn found(client: &Client, realm: &RealmName, group: &str) -> Result<Value, Failure> {
    let none = || {
        Failure::new(Exit::NotFound, format_args!("there is no group `{group}` in realm `{realm}`"))
            .hint(format!("`realmgate group list {realm}` shows its groups"))
    };
    if Uuid::try_parse(group).is_ok() {
        let found = client.get(&format!("{}/{group}", path(realm))).await;
        return found.map_err(|e| if e.exit == Exit::NotFound { none() } else { e });
    }
    let named = client.get(&format!("{}?exact=true&search={}", path(realm), segment(group))).await;
    let named = named.map_err(|e| realm::missing(e, realm))?;
    match named.as_array().map(Vec::as_slice) {
        Some([one]) => Ok(one.clone()),
        None | Some([]) => Err(none()),
        Some(_) => Err(Failure::new(Exit::Conflict, format_args!("several groups are named `{group}`"))
            .hint(format!("`realmgate group list {realm} --search {group}` shows their ids"))),
    }
}

fn path(realm: &RealmName) -> String {
    format!("{}/groups", realm::path(realm))
}
