//! `realmgate sign-in`: who signs the users of a realm in.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::Client,
    issuer::{Trusted, pair},
    output::{Report, Table},
    realm,
};
use crate::model::realm::RealmName;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show who signs users in, and how they are found
    Show {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
    /// Say who signs users in
    Set(Set),
    /// Let nobody sign in any more
    Clear {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
}

#[derive(Debug, Args)]
pub struct Set {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    #[command(flatten)]
    issuer: Trusted,
    /// A claim and the attribute (externalId or userName) which has its value; tried in the order in which they are
    /// given [default: sub=externalId, then a verified email=userName]
    #[arg(long = "match", value_name = "CLAIM=ATTRIBUTE", value_parser = pair)]
    matches: Vec<(String, String)>,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Show { realm } => show(client, &realm).await,
        Verb::Set(wanted) => set(client, &wanted).await,
        Verb::Clear { realm } => clear(client, &realm).await,
    }
}

async fn show(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let hint = || format!("`realmgate sign-in set {realm}` says who does");
    let settings = client.get(&path(realm)).await.map_err(|e| e.hint_on(Exit::NotFound, hint))?;
    Ok(report(settings))
}

async fn set(client: &Client, wanted: &Set) -> Result<Report, Failure> {
    let realm = &wanted.realm;
    let settings = wanted.settings();
    client.put(&path(realm), &settings).await.map_err(|e| realm::missing(e, realm))?;
    Ok(report(settings))
}

async fn clear(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    client.delete(&path(realm)).await.map_err(|e| realm::missing(e, realm))?;
    Ok(Report { json: json!({ "realm": realm }), text: format!("Nobody signs in to realm `{realm}` any more.") })
}

impl Set {
    fn settings(&self) -> Value {
        let mut settings = json!({ "provider": self.issuer.settings() });
        if !self.matches.is_empty() {
            let pairs = self.matches.iter().map(|(claim, attribute)| json!({ "claim": claim, "attribute": attribute }));
            settings["match"] = pairs.collect();
        }
        settings
    }
}

fn report(settings: Value) -> Report {
    let mut table = Table::new(["SETTING", "VALUE"]);
    let provider = &settings["provider"];
    for (name, value) in provider.as_object().into_iter().flatten() {
        table.row([&Value::from(name.as_str()), value]);
    }
    for pair in settings["match"].as_array().into_iter().flatten() {
        let text = |key: &str| pair[key].as_str().unwrap_or_default().to_owned();
        table.row([&Value::from("match"), &Value::from(format!("{}={}", text("claim"), text("attribute")))]);
    }
    Report { text: table.to_string(), json: settings }
}

fn path(realm: &RealmName) -> String {
    format!("{}/sign-in", realm::path(realm))
}
