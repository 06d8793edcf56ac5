//! `realmgate realm`: the tenants.

use std::io::{self, IsTerminal as _};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::Client,
    output::{Report, Table, confirm},
};
use crate::model::realm::RealmName;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a realm
    Create {
        #[arg(value_parser = RealmName::parse)]
        name: RealmName,
        /// What people call it
        #[arg(long)]
        display_name: Option<String>,
    },
    /// List all realms
    List,
    /// Show one realm
    Show {
        #[arg(value_parser = RealmName::parse)]
        name: RealmName,
    },
    /// Let a realm's tokens in again
    Enable {
        #[arg(value_parser = RealmName::parse)]
        name: RealmName,
    },
    /// Refuse everything that comes for a realm; its users stay
    Disable {
        #[arg(value_parser = RealmName::parse)]
        name: RealmName,
    },
    /// Delete a realm and everything in it, for good
    Delete {
        #[arg(value_parser = RealmName::parse)]
        name: RealmName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Create { name, display_name } => create(client, &name, display_name).await,
        Verb::List => list(client).await,
        Verb::Show { name } => show(client, &name).await,
        Verb::Enable { name } => set_enabled(client, &name, true).await,
        Verb::Disable { name } => set_enabled(client, &name, false).await,
        Verb::Delete { name, yes } => delete(client, &name, yes).await,
    }
}

async fn create(client: &Client, name: &RealmName, display_name: Option<String>) -> Result<Report, Failure> {
    let mut realm = json!({ "realm": name, "enabled": true });
    if let Some(display_name) = display_name {
        realm["displayName"] = display_name.into();
    }
    let created = client.post("/admin/realms", &realm).await;
    created.map_err(|e| match e.exit {
        // Keycloak's own words for it say less.
        Exit::Conflict => Failure::new(Exit::Conflict, format_args!("the realm `{name}` exists already"))
            .hint(format!("see it with `realmgate realm show {name}`")),
        _ => e,
    })?;
    show(client, name).await
}

async fn list(client: &Client) -> Result<Report, Failure> {
    let realms = client.get("/admin/realms").await?;
    let mut table = Table::new(["REALM", "ENABLED", "SCIM", "NAME", "ID"]);
    for realm in realms.as_array().into_iter().flatten() {
        table.row(["realm", "enabled", "scimApiEnabled", "displayName", "id"].map(|key| &realm[key]));
    }
    Ok(Report { text: table.to_string(), json: realms })
}

async fn show(client: &Client, name: &RealmName) -> Result<Report, Failure> {
    let realm = client.get(&path(name)).await.map_err(|e| missing(e, name))?;
    Ok(Report { text: facts(&realm).to_string(), json: realm })
}

async fn set_enabled(client: &Client, name: &RealmName, enabled: bool) -> Result<Report, Failure> {
    let change = json!({ "realm": name, "enabled": enabled });
    client.put(&path(name), &change).await.map_err(|e| missing(e, name))?;
    show(client, name).await
}

async fn delete(client: &Client, name: &RealmName, yes: bool) -> Result<Report, Failure> {
    if !yes && !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "nobody is there to be asked").hint("`--yes` deletes without a question"));
    }
    if !yes {
        confirm(&format!("Realm `{name}` goes with its users, groups, tokens and domains. Delete it for good?"))?;
    }
    client.delete(&path(name)).await.map_err(|e| missing(e, name))?;
    Ok(Report { json: json!({ "realm": name, "deleted": true }), text: format!("Realm `{name}` is deleted.") })
}

fn facts(realm: &Value) -> Table {
    Table::of_facts([
        ("realm", &realm["realm"]),
        ("id", &realm["id"]),
        ("name", &realm["displayName"]),
        ("enabled", &realm["enabled"]),
        ("SCIM", &realm["scimApiEnabled"]),
    ])
}

/// Where the admin API has a realm. Its name needs no escape in a path.
pub fn path(name: &RealmName) -> String {
    format!("/admin/realms/{name}")
}

/// A failure of a command on a realm which may not exist.
pub fn missing(failure: Failure, name: &RealmName) -> Failure {
    failure.hint_on(Exit::NotFound, || {
        format!("`realmgate realm list` shows the realms, `realmgate realm create {name}` makes this one")
    })
}
