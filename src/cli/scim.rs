//! `realmgate scim`: identity sync of a realm. The token is seen once, here.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Exit, Failure,
    client::{Client, decode},
    output::{Report, Table, cell, confirm, printable},
    realm,
};
use crate::model::{realm::RealmName, span::Span};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Switch SCIM on and make a token
    Enable {
        #[command(flatten)]
        target: Target,
        /// How long the token works, such as 90d
        #[arg(long, value_name = "TIME")]
        expires_in: Option<Span>,
    },
    /// Replace the token; the old one ends at once, unless an overlap is given
    Rotate {
        #[command(flatten)]
        target: Target,
        /// How long the old token goes on to work, such as 24h
        #[arg(long, value_name = "TIME")]
        overlap: Option<Span>,
        /// How long the new token works, such as 90d
        #[arg(long, value_name = "TIME")]
        expires_in: Option<Span>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Switch SCIM off; users and groups stay
    Disable(Target),
    /// Show base URL and tokens
    Status(Target),
    /// End one token at once
    Revoke {
        #[command(flatten)]
        target: Target,
        /// Its id, as `scim status` shows it
        token: Uuid,
    },
    /// Name what is wrong with the IdP's side, and what to do
    Diagnose(Target),
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
}

/// What the IdP's admin needs. Never printed but by the command that made it, hence no `Debug`.
#[derive(Serialize, Deserialize)]
pub(super) struct Access {
    realm: String,
    pub(super) base_url: String,
    pub(super) token: String,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Enable { target: Target { realm }, expires_in } => enable(client, &realm, expires_in).await,
        Verb::Rotate { target: Target { realm }, overlap, expires_in, yes } => {
            rotate(client, &realm, json!({ "overlap": overlap, "expires_in": expires_in }), overlap.is_some() || yes)
                .await
        }
        Verb::Revoke { target: Target { realm }, token } => revoke(client, &realm, token).await,
        Verb::Disable(Target { realm }) => disable(client, &realm).await,
        Verb::Status(Target { realm }) => status(client, &realm).await,
        Verb::Diagnose(Target { realm }) => diagnose(client, &realm).await,
    }
}

async fn enable(client: &Client, realm: &RealmName, expires_in: Option<Span>) -> Result<Report, Failure> {
    let answer = client.post(&path(realm, "/enable"), &json!({ "expires_in": expires_in })).await.map_err(|e| {
        let hint = || format!("when it is enabled already, `realmgate scim rotate {realm}` makes a new token");
        realm::missing(e, realm).hint_on(Exit::Conflict, hint)
    })?;
    reveal(&decode(answer)?)
}

/// Nobody is locked out where the old token goes on to work, so there is nothing to ask.
async fn rotate(client: &Client, realm: &RealmName, rotation: Value, sure: bool) -> Result<Report, Failure> {
    if !sure {
        confirm(&format!("The IdP of realm `{realm}` is locked out until it has the new token. Rotate?"))?;
    }
    let answer = client.post(&path(realm, "/rotate"), &rotation).await.map_err(|e| {
        let hint = || format!("when it is not enabled, `realmgate scim enable {realm}` makes the first token");
        realm::missing(e, realm).hint_on(Exit::Conflict, hint)
    })?;
    reveal(&decode(answer)?)
}

async fn revoke(client: &Client, realm: &RealmName, token: Uuid) -> Result<Report, Failure> {
    client.delete(&path(realm, &format!("/tokens/{token}"))).await?;
    let text = format!("The token {token} of realm `{realm}` is refused from now on.");
    Ok(Report { json: json!({ "realm": realm, "token": token, "revoked": true }), text })
}

async fn disable(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    client.post(&path(realm, "/disable"), &json!({})).await.map_err(|e| realm::missing(e, realm))?;
    let text = format!("SCIM is off for realm `{realm}`. Its users and groups stay; its tokens are refused.");
    Ok(Report { json: json!({ "realm": realm, "enabled": false }), text })
}

async fn status(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let status = client.get(&path(realm, "")).await.map_err(|e| realm::missing(e, realm))?;
    let facts = Table::of_facts([
        ("realm", &status["realm"]),
        ("enabled", &status["enabled"]),
        ("base URL", &status["base_url"]),
    ]);
    let mut tokens = Table::new(["TOKEN", "FORMAT", "LABEL", "ID", "CREATED", "EXPIRES", "LAST USED"]);
    let rows = status["tokens"].as_array().map_or(&[][..], Vec::as_slice);
    for token in rows {
        let begin = Value::from(format!("{}…", token["prefix"].as_str().unwrap_or_default()));
        let facts = ["format", "label", "id", "created_at", "expires_at", "last_used_at"].map(|name| &token[name]);
        let [format, label, id, created, expires, used] = facts;
        tokens.row([&begin, format, label, id, created, expires, used]);
    }
    let mut text = if rows.is_empty() { facts.to_string() } else { format!("{facts}\n{tokens}") };
    for warning in status["warnings"].as_array().map_or(&[][..], Vec::as_slice) {
        let detail = printable(warning["detail"].as_str().unwrap_or_default());
        text = format!("{text}\nwarning: {detail}");
    }
    Ok(Report { json: status, text })
}

async fn diagnose(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let found = client.get(&path(realm, "/diagnosis")).await.map_err(|e| realm::missing(e, realm))?;
    let listed = |key: &str| found[key].as_array().cloned().unwrap_or_default();
    let fault = |fault: &Value| {
        let times = fault["count"].as_i64().map(|count| format!(" ({count} of the last day's requests)"));
        let [name, cause, cure] = ["name", "cause", "cure"].map(|key| cell(&fault[key]));
        format!("{name}{}\n  cause  {cause}\n  cure   {cure}\n", times.unwrap_or_default())
    };
    let mut faults: Vec<String> = listed("faults").iter().chain(&listed("requests")).map(fault).collect();
    if faults.is_empty() {
        faults.push(format!("Nothing is wrong with what the IdP of realm `{realm}` sends.\n"));
    }
    let mut seen = Table::new(["SEEN", "FIRST", "LAST"]);
    for sign in listed("seen") {
        seen.row(["sign", "first_at", "last_at"].map(|key| &sign[key]));
    }
    let mut lacking = Table::new(["USERS WITHOUT", "COUNT", "OF THE LATEST"]);
    for attribute in listed("lacking") {
        lacking.row(["attribute", "users", "looked_at"].map(|key| &attribute[key]));
    }
    Ok(Report { text: format!("{}\n{seen}\n{lacking}", faults.join("\n")), json: found })
}

fn reveal(access: &Access) -> Result<Report, Failure> {
    let Access { realm, base_url, token } = access;
    let [realm, base_url, token] = [realm, base_url, token].map(|text| printable(text));
    let text = format!(
        "realm     {realm}\nbase URL  {base_url}\ntoken     {token}\n\n\
         This token is shown only now: give it to the IdP's admin over a safe way, and keep no copy."
    );
    let json = serde_json::to_value(access).map_err(|e| Failure::new(Exit::Failed, e))?;
    Ok(Report { json, text })
}

fn path(realm: &RealmName, action: &str) -> String {
    format!("{}/scim{action}", realm::path(realm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_told_with_its_base_url_and_nothing_else() {
        let answer = json!({ "realm": "acme", "base_url": "http://h/scim/v2", "token": "rgs_x", "more": 1 });
        let report = reveal(&decode(answer).unwrap()).unwrap();
        assert_eq!(report.json.to_string(), r#"{"realm":"acme","base_url":"http://h/scim/v2","token":"rgs_x"}"#);
        assert!(report.text.contains("token     rgs_x\n") && report.text.contains("only now"));
    }
}
