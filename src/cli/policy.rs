//! `realmgate policy`: what a realm makes of what its IdP sends.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::{
    Exit, Failure,
    client::Client,
    output::{Report, Table},
    realm,
};
use crate::model::realm::RealmName;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show every rule
    Show {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
    /// Change rules; those not named stay
    Set {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        /// For example `on_delete=purge`, `user_name_follows_email=true` or
        /// `rate_limit={"requests_per_second":50,"burst":200}`; `null` is the default
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = rule)]
        rules: Vec<(String, Value)>,
    },
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Show { realm } => show(client, &realm).await,
        Verb::Set { realm, rules } => set(client, &realm, rules).await,
    }
}

async fn show(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let policy = client.get(&path(realm)).await.map_err(|e| realm::missing(e, realm))?;
    Ok(report(policy))
}

async fn set(client: &Client, realm: &RealmName, rules: Vec<(String, Value)>) -> Result<Report, Failure> {
    let change: Map<_, _> = rules.into_iter().collect();
    let policy = client.patch(&path(realm), &change.into()).await.map_err(|e| {
        let hint = || format!("`realmgate policy show {realm}` shows the rules there are");
        realm::missing(e, realm).hint_on(Exit::Usage, hint)
    })?;
    Ok(report(policy))
}

fn report(policy: Value) -> Report {
    let mut table = Table::new(["RULE", "VALUE"]);
    for (key, value) in policy.as_object().into_iter().flatten() {
        // The value as `policy set` takes it: `true`, not `yes`.
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.row([&Value::from(key.as_str()), &Value::from(value)]);
    }
    Report { text: table.to_string(), json: policy }
}

/// `key=value`; a value that reads as JSON other than a text is that.
fn rule(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write KEY=VALUE")?;
    let literal = serde_json::from_str(value).ok().filter(|value: &Value| !value.is_string());
    Ok((key.to_owned(), literal.unwrap_or_else(|| value.into())))
}

fn path(realm: &RealmName) -> String {
    format!("{}/scim/policy", realm::path(realm))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_what_it_looks_like() {
        assert_eq!(rule("a=true"), Ok(("a".into(), json!(true))));
        assert_eq!(rule("a=10"), Ok(("a".into(), json!(10))));
        assert_eq!(rule("a=keep"), Ok(("a".into(), json!("keep"))));
        assert_eq!(rule("a=b=c"), Ok(("a".into(), json!("b=c"))));
        assert_eq!(rule("a="), Ok(("a".into(), json!(""))));
        assert_eq!(rule("a=null"), Ok(("a".into(), Value::Null)));
        assert_eq!(rule(r#"a={"count":5}"#), Ok(("a".into(), json!({ "count": 5 }))));
        assert!(rule("a").is_err() && rule("=a").is_err());
    }

    #[test]
    fn a_policy_shows_values_as_they_are_set() {
        assert_snapshot!(report(json!({ "on_delete": "purge", "user_name_follows_email": true })).text, @"
        RULE                     VALUE
        on_delete                purge
        user_name_follows_email  true
        ");
    }
}
