//! `realmgate issuer`: issuers whose access tokens open the SCIM of a realm. What is said of an issuer here, `sign-in`
//! says of the one which signs users in.

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
    /// Let the tokens of an issuer open SCIM
    Add {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        #[command(flatten)]
        issuer: Trusted,
    },
    /// Trust an issuer no longer
    Remove {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        issuer: String,
    },
    /// List the issuers whose tokens open SCIM
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
}

/// What is to be known of an issuer.
#[derive(Debug, Args)]
pub struct Trusted {
    /// The `iss` of its tokens, letter by letter
    #[arg(long)]
    issuer: String,
    /// A value of `aud`, for id tokens the client id of an application; may be given several times
    #[arg(long = "audience", required = true)]
    audiences: Vec<String>,
    /// Where its public keys are; without it the issuer's own metadata say so
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// A claim which tokens must have, such as `tid=…`; may be given several times
    #[arg(long = "claim", value_name = "CLAIM=VALUE", value_parser = pair)]
    claims: Vec<(String, String)>,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Add { realm, issuer } => {
            let mut issuers = read(client, &realm).await?;
            issuers.push(issuer.settings());
            write(client, &realm, issuers).await
        }
        Verb::Remove { realm, issuer } => {
            let mut issuers = read(client, &realm).await?;
            let before = issuers.len();
            issuers.retain(|one| one["issuer"] != issuer.as_str());
            if issuers.len() == before {
                let missing = format!("realm `{realm}` does not trust `{issuer}`");
                return Err(Failure::new(Exit::NotFound, missing)
                    .hint(format!("`realmgate issuer list {realm}` shows whom it trusts")));
            }
            write(client, &realm, issuers).await
        }
        Verb::List { realm } => Ok(report(read(client, &realm).await?)),
    }
}

impl Trusted {
    /// As the admin API takes it.
    pub fn settings(&self) -> Value {
        let Self { issuer, audiences, jwks_uri, claims } = self;
        let mut settings = json!({ "issuer": issuer, "audiences": audiences });
        if let Some(url) = jwks_uri {
            settings["jwks_uri"] = url.as_str().into();
        }
        if !claims.is_empty() {
            let claims = claims.iter().cloned().map(|(name, value)| (name, value.into()));
            settings["claims"] = claims.collect::<Map<_, _>>().into();
        }
        settings
    }
}

/// `name=value`.
pub fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write two words with `=` between them"),
    }
}

async fn read(client: &Client, realm: &RealmName) -> Result<Vec<Value>, Failure> {
    let issuers = client.get(&path(realm)).await.map_err(|e| realm::missing(e, realm))?;
    Ok(issuers["issuers"].as_array().cloned().unwrap_or_default())
}

async fn write(client: &Client, realm: &RealmName, issuers: Vec<Value>) -> Result<Report, Failure> {
    client.put(&path(realm), &json!({ "issuers": issuers })).await.map_err(|e| realm::missing(e, realm))?;
    Ok(report(read(client, realm).await?))
}

fn report(issuers: Vec<Value>) -> Report {
    let mut table = Table::new(["ISSUER", "AUDIENCES", "KEYS", "CLAIMS"]);
    for issuer in &issuers {
        let keys = if issuer["jwks"].is_null() { &issuer["jwks_uri"] } else { &json!("inline") };
        table.row([&issuer["issuer"], &issuer["audiences"], keys, &issuer["claims"]]);
    }
    Report { text: table.to_string(), json: Value::Array(issuers) }
}

fn path(realm: &RealmName) -> String {
    format!("{}/scim/issuers", realm::path(realm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_has_a_name_and_a_value() {
        assert_eq!(pair("tid=a=b"), Ok(("tid".into(), "a=b".into())));
        assert!(pair("tid").is_err() && pair("=a").is_err() && pair("tid=").is_err());
    }

    #[test]
    fn an_issuer_is_told_as_the_admin_api_takes_it() {
        let issuer = Trusted {
            issuer: "https://sts.example".into(),
            audiences: vec!["scim".into()],
            jwks_uri: None,
            claims: vec![("tid".into(), "acme".into())],
        };
        let told = json!({ "issuer": "https://sts.example", "audiences": ["scim"], "claims": { "tid": "acme" } });
        assert_eq!(issuer.settings(), told);
    }
}
