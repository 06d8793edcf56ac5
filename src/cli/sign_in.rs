//! `realmgate sign-in`: who signs the users of a realm in.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    Exit, Failure,
    client::Client,
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
    /// The `iss` of id tokens, letter by letter
    #[arg(long)]
    issuer: String,
    /// Client id of an application, the `aud` of its id tokens; may be given several times
    #[arg(long = "client-id", required = true, value_name = "CLIENT_ID")]
    client_ids: Vec<String>,
    /// Where the issuer's public keys are; without it the issuer's own metadata say so
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// A claim and the attribute (externalId or userName) which has its value; tried in the order in which they are
    /// given [default: sub=externalId, then a verified email=userName]
    #[arg(long = "match", value_name = "CLAIM=ATTRIBUTE", value_parser = pair)]
    matches: Vec<(String, String)>,
    /// A claim which id tokens must have, such as `tid=…`; may be given several times
    #[arg(long = "claim", value_name = "CLAIM=VALUE", value_parser = pair)]
    claims: Vec<(String, String)>,
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
        let Self { issuer, client_ids, jwks_uri, matches, claims, .. } = self;
        let mut provider = json!({ "issuer": issuer, "audiences": client_ids });
        if let Some(url) = jwks_uri {
            provider["jwks_uri"] = url.as_str().into();
        }
        if !claims.is_empty() {
            provider["claims"] =
                claims.iter().cloned().map(|(name, value)| (name, value.into())).collect::<Map<_, _>>().into();
        }
        let mut settings = json!({ "provider": provider });
        if !matches.is_empty() {
            let pairs = matches.iter().map(|(claim, attribute)| json!({ "claim": claim, "attribute": attribute }));
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

fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write two words with `=` between them"),
    }
}

fn path(realm: &RealmName) -> String {
    format!("{}/sign-in", realm::path(realm))
}
