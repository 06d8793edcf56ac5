//! `realmgate schema`: extension schemas which a realm has of its own.

use std::{fs, io::Read as _, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::Client,
    output::{Report, Table},
    realm,
};
use crate::model::realm::RealmName;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a schema, written as RFC 7643 §7 writes it
    Add(Add),
    /// List the schemas which a realm has of its own
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
    /// Show one of them
    Show {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        urn: String,
    },
    /// Take a schema away
    Remove {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        urn: String,
        /// Also while resources hold values of it; they keep them as attributes which no schema knows
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub struct Add {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// JSON; `-` for standard input
    file: PathBuf,
    /// What it extends
    #[arg(long, value_enum, default_value_t)]
    resource_type: ResourceType,
    /// Each resource must have it
    #[arg(long)]
    required: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ResourceType {
    #[default]
    #[value(name = "User")]
    User,
    #[value(name = "Group")]
    Group,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Add(wanted) => add(client, &wanted).await,
        Verb::List { realm } => list(client, &realm).await,
        Verb::Show { realm, urn } => show(client, &realm, &urn).await,
        Verb::Remove { realm, urn, force } => remove(client, &realm, &urn, force).await,
    }
}

async fn add(client: &Client, Add { realm, file, resource_type, required }: &Add) -> Result<Report, Failure> {
    let path = format!("{}?resourceType={resource_type:?}&required={required}", path(realm));
    let added = client.post(&path, &definition(file)?).await.map_err(|e| {
        let hint = || format!("`realmgate schema list {realm}` shows what is there");
        realm::missing(e, realm).hint_on(Exit::Conflict, hint)
    })?;
    let urn = added["id"].as_str().unwrap_or_default();
    let text = format!("`{urn}` extends {resource_type:?} in realm `{realm}` from now on.");
    Ok(Report { text, json: added })
}

async fn list(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let schemas = client.get(&path(realm)).await.map_err(|e| realm::missing(e, realm))?;
    let mut table = Table::new(["SCHEMA", "EXTENDS", "REQUIRED", "NAME"]);
    for schema in schemas.as_array().into_iter().flatten() {
        table.row([&schema["id"], &schema["resourceType"], &schema["required"], &schema["name"]]);
    }
    Ok(Report { text: table.to_string(), json: schemas })
}

async fn show(client: &Client, realm: &RealmName, urn: &str) -> Result<Report, Failure> {
    let schema = client.get(&format!("{}/{urn}", path(realm))).await;
    let schema = schema.map_err(|e| e.hint_on(Exit::NotFound, || all_of(realm)))?;
    let mut table = Table::new(["ATTRIBUTE", "TYPE", "MULTIVALUED", "REQUIRED", "MUTABILITY", "RETURNED"]);
    for attribute in schema["attributes"].as_array().into_iter().flatten() {
        table.row(["name", "type", "multiValued", "required", "mutability", "returned"].map(|key| &attribute[key]));
    }
    Ok(Report { text: table.to_string(), json: schema })
}

async fn remove(client: &Client, realm: &RealmName, urn: &str, force: bool) -> Result<Report, Failure> {
    let removed = client.delete(&format!("{}/{urn}?force={force}", path(realm))).await;
    removed.map_err(|e| {
        e.hint_on(Exit::NotFound, || all_of(realm))
            .hint_on(Exit::Conflict, || "`--force` takes it away all the same".into())
    })?;
    let text = format!("`{urn}` is no schema of realm `{realm}` any longer.");
    Ok(Report { text, json: json!({ "realm": realm, "id": urn }) })
}

fn definition(file: &PathBuf) -> Result<Value, Failure> {
    let read = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = read.map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", file.display())))?;
    serde_json::from_str(&text)
        .map_err(|e| Failure::new(Exit::Usage, format!("{}: this is no JSON: {e}", file.display())))
}

fn all_of(realm: &RealmName) -> String {
    format!("`realmgate schema list {realm}` shows the schemas there are")
}

fn path(realm: &RealmName) -> String {
    format!("{}/scim/schemas", realm::path(realm))
}
