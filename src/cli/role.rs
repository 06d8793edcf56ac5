//! `realmgate role`: the roles of a realm, and what they are mapped to.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::{Client, segment},
    group,
    output::{Report, Table, confirm},
    realm,
    user::{self, id},
};
use crate::model::{realm::RealmName, role::RoleName};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List roles by name
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
    /// Create a role
    Create {
        #[command(flatten)]
        target: Target,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
    },
    /// Delete a role and its mappings: nobody has it any more
    Delete {
        #[command(flatten)]
        target: Target,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Map a role to a user, or to a group and so to all in it
    Map(Mapping),
    /// Take a role from a user or a group
    Unmap(Mapping),
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    #[arg(value_parser = parse)]
    role: String,
}

#[derive(Debug, Args)]
pub struct Mapping {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    holder: Holder,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Holder {
    /// Id or userName
    #[arg(long)]
    user: Option<String>,
    /// Id or name
    #[arg(long)]
    group: Option<String>,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::List { realm } => list(client, &realm).await,
        Verb::Create { target, description } => create(client, &target, description.as_deref()).await,
        Verb::Delete { target, yes } => delete(client, &target, yes).await,
        Verb::Map(mapping) => change(client, &mapping, true).await,
        Verb::Unmap(mapping) => change(client, &mapping, false).await,
    }
}

async fn list(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let roles = client.get(&path(realm)).await.map_err(|e| realm::missing(e, realm))?;
    Ok(Report { text: table(&roles).to_string(), json: roles })
}

async fn create(client: &Client, target: &Target, description: Option<&str>) -> Result<Report, Failure> {
    let Target { realm, role } = target;
    let body = json!({ "name": role, "description": description });
    client.post(&path(realm), &body).await.map_err(|e| realm::missing(e, realm))?;
    let created = client.get(&format!("{}/{}", path(realm), segment(role))).await?;
    Ok(Report { json: created, text: format!("Role `{role}` is in realm `{realm}`; nobody has it yet.") })
}

async fn delete(client: &Client, Target { realm, role }: &Target, yes: bool) -> Result<Report, Failure> {
    if !yes {
        confirm(&format!("Whoever has the role `{role}` in realm `{realm}` loses it. Delete it?"))?;
    }
    client.delete(&format!("{}/{}", path(realm), segment(role))).await.map_err(|e| missing(e, realm))?;
    Ok(Report { json: json!({ "role": role, "deleted": true }), text: format!("Role `{role}` is deleted.") })
}

async fn change(client: &Client, mapping: &Mapping, maps: bool) -> Result<Report, Failure> {
    let Mapping { target: Target { realm, role }, holder } = mapping;
    let (kind, holder) = match (&holder.user, &holder.group) {
        (Some(name), _) => ("user", user::found(client, realm, name).await?),
        (None, name) => ("group", group::found(client, realm, name.as_deref().unwrap_or_default()).await?),
    };
    let path = format!("{}/{kind}s/{}/role-mappings/realm", realm::path(realm), id(&holder));
    let named = json!([{ "name": role }]);
    let done = if maps { client.post(&path, &named).await } else { client.delete_what(&path, &named).await };
    done.map_err(|e| missing(e, realm))?;
    let name = holder["username"].as_str().or(holder["name"].as_str()).unwrap_or_default();
    let word = if maps { "mapped to" } else { "taken from" };
    Ok(Report {
        json: json!({ "role": role, kind: holder["id"], "mapped": maps }),
        text: format!("Role `{role}` is {word} {kind} `{name}`."),
    })
}

/// Roles for people.
pub fn table(roles: &Value) -> Table {
    let mut table = Table::new(["ROLE", "DESCRIPTION", "ID"]);
    for role in roles.as_array().into_iter().flatten() {
        table.row(["name", "description", "id"].map(|key| &role[key]));
    }
    table
}

/// A failure of a command on a role which may not exist.
pub fn missing(failure: Failure, realm: &RealmName) -> Failure {
    failure.hint_on(Exit::NotFound, || format!("`realmgate role list {realm}` shows the roles"))
}

fn parse(text: &str) -> Result<String, String> {
    RoleName::parse(text).map(|name| name.as_str().to_owned()).map_err(|e| e.to_string())
}

fn path(realm: &RealmName) -> String {
    format!("{}/roles", realm::path(realm))
}
