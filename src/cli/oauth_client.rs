//! `realmgate client`: clients which get short-lived tokens for the SCIM of a realm. A secret is seen once, here.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Exit, Failure,
    client::Client,
    output::{Report, Table, confirm, printable},
    realm,
};
use crate::model::realm::RealmName;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a client, and make a secret unless it signs for itself
    Create(Create),
    /// List the clients of a realm
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
    /// Replace the secret; the old one ends at once
    Secret {
        #[command(flatten)]
        target: Target,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Let a disabled client get tokens again
    Enable(Target),
    /// Give a client no tokens, and refuse those that it has
    Disable(Target),
    /// Delete a client; its tokens end
    Delete {
        #[command(flatten)]
        target: Target,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    client_id: String,
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    target: Target,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// It signs for itself: the file with its public keys, a JWK Set
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<PathBuf>,
    /// It signs for itself: where its public keys are
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::Create(wanted) => create(client, &wanted).await,
        Verb::List { realm } => list(client, &realm).await,
        Verb::Secret { target, yes } => {
            if !yes {
                confirm(&format!("`{}` is locked out until it has the new secret. Replace?", target.client_id))?;
            }
            let path = path(client, &target).await?;
            reveal(client, &target, &path).await
        }
        Verb::Enable(target) => set(client, &target, true).await,
        Verb::Disable(target) => set(client, &target, false).await,
        Verb::Delete { target, yes } => delete(client, &target, yes).await,
    }
}

async fn create(client: &Client, wanted: &Create) -> Result<Report, Failure> {
    let Create { target, name, jwks, jwks_uri } = wanted;
    let mut settings = json!({ "clientId": target.client_id, "name": name, "serviceAccountsEnabled": true });
    let keys = match (jwks, jwks_uri) {
        (Some(file), _) => {
            let text = fs::read_to_string(file);
            let text = text.map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", file.display())))?;
            Some(json!({ "jwks.string": text }))
        }
        (None, Some(url)) => Some(json!({ "jwks.url": url, "use.jwks.url": "true" })),
        (None, None) => None,
    };
    let signs = keys.is_some();
    if let Some(keys) = keys {
        settings["clientAuthenticatorType"] = "client-jwt".into();
        settings["attributes"] = keys;
    }
    client.post(&clients(&target.realm), &settings).await.map_err(|e| realm::missing(e, &target.realm))?;
    let path = path(client, target).await?;
    if !signs {
        return reveal(client, target, &path).await;
    }
    let text = format!("`{}` gets tokens for realm `{}` by assertions that it signs.", target.client_id, target.realm);
    Ok(Report { json: client.get(&path).await?, text })
}

async fn list(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let found = client.get(&clients(realm)).await.map_err(|e| realm::missing(e, realm))?;
    let mut table = Table::new(["CLIENT", "NAME", "ENABLED", "PROVES ITSELF BY", "LAST USED"]);
    for one in found.as_array().into_iter().flatten() {
        let last_used = &one["attributes"]["last_used_at"];
        table.row([&one["clientId"], &one["name"], &one["enabled"], &one["clientAuthenticatorType"], last_used]);
    }
    Ok(Report { text: table.to_string(), json: found })
}

async fn set(client: &Client, target: &Target, enabled: bool) -> Result<Report, Failure> {
    let Target { realm, client_id } = target;
    client.put(&path(client, target).await?, &json!({ "enabled": enabled })).await?;
    let text = if enabled { "gets tokens" } else { "gets no tokens, and those it has are refused" };
    let text = format!("`{client_id}` of realm `{realm}` {text} from now on.");
    Ok(Report { json: json!({ "realm": realm, "clientId": client_id, "enabled": enabled }), text })
}

async fn delete(client: &Client, target: &Target, yes: bool) -> Result<Report, Failure> {
    let Target { realm, client_id } = target;
    if !yes {
        confirm(&format!("Delete the client `{client_id}` of realm `{realm}`?"))?;
    }
    client.delete(&path(client, target).await?).await?;
    let text = format!("`{client_id}` is no client of realm `{realm}` any longer.");
    Ok(Report { json: json!({ "realm": realm, "clientId": client_id }), text })
}

async fn reveal(client: &Client, target: &Target, path: &str) -> Result<Report, Failure> {
    let Target { realm, client_id } = target;
    let made = client.post(&format!("{path}/client-secret"), &json!({})).await?;
    let secret = made["value"].as_str().unwrap_or_default();
    let text = format!(
        "realm      {realm}\nclient id  {}\nsecret     {}\n\n\
         This secret is shown only now: give it to the client's admin over a safe way, and keep no copy.",
        printable(client_id),
        printable(secret)
    );
    Ok(Report { json: json!({ "realm": realm, "clientId": client_id, "secret": secret }), text })
}

/// The client's own path, which its name leads to.
async fn path(client: &Client, target: &Target) -> Result<String, Failure> {
    let Target { realm, client_id } = target;
    let wanted: String = form_urlencoded::byte_serialize(client_id.as_bytes()).collect();
    let found = client.get(&format!("{}?clientId={wanted}", clients(realm))).await;
    let found = found.map_err(|e| realm::missing(e, realm))?;
    let missing = || {
        Failure::new(Exit::NotFound, format!("realm `{realm}` has no client `{client_id}`"))
            .hint(format!("`realmgate client list {realm}` shows its clients"))
    };
    let id = found[0]["id"].as_str().ok_or_else(missing)?;
    Ok(format!("{}/{id}", clients(realm)))
}

fn clients(realm: &RealmName) -> String {
    format!("{}/clients", realm::path(realm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_belong_to_a_realm() {
        let realm = RealmName::parse("acme").unwrap();
        assert_eq!(clients(&realm), "/admin/realms/acme/clients");
    }
}
