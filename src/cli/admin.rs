//! `realmgate admin`: the people who operate this server, and what each may do.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::{Client, escaped},
    login::ask_hidden,
    output::{Report, Table, confirm},
};
use crate::model::{
    admin::{MasterRole, Right},
    client::OF_A_REALM,
    realm::RealmName,
};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the operators
    List,
    /// Show an operator or a service account, and what it may do
    Show { username: String },
    /// Create an operator; the password is asked for, or read from the first line of stdin
    Create { username: String },
    /// Delete an operator
    Delete {
        username: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Let an operator in again
    Enable { username: String },
    /// Refuse an operator, at once
    Disable { username: String },
    /// Set a password and end the operator's sessions; your own if nobody is named
    Password { username: Option<String> },
    /// Let an operator sign in again after too many wrong passwords
    Unlock { username: String },
    /// Give an operator or a service account roles
    Grant(Mapping),
    /// Take roles from an operator or a service account
    Revoke(Mapping),
}

#[derive(Debug, Args)]
pub struct Mapping {
    /// The operator's name, or the id of the client in `master`
    name: String,
    /// `admin` or `create-realm`; with --realm `view-realm`, `manage-realm`, `view-users`, `manage-users`, `view-events`
    #[arg(required = true, value_parser = role)]
    roles: Vec<String>,
    /// The realm in which they hold
    #[arg(long, value_parser = RealmName::parse)]
    realm: Option<RealmName>,
}

const USERS: &str = "/admin/realms/master/users";

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::List => list(client).await,
        Verb::Show { username } => show(client, &username).await,
        Verb::Create { username } => create(client, &username).await,
        Verb::Delete { username, yes } => delete(client, &username, yes).await,
        Verb::Enable { username } => set_enabled(client, &username, true).await,
        Verb::Disable { username } => set_enabled(client, &username, false).await,
        Verb::Password { username: Some(username) } => reset_password(client, &username).await,
        Verb::Password { username: None } => own_password(client).await,
        Verb::Unlock { username } => unlock(client, &username).await,
        Verb::Grant(roles) => set_roles(client, &roles, Method::POST).await,
        Verb::Revoke(roles) => set_roles(client, &roles, Method::DELETE).await,
    }
}

async fn list(client: &Client) -> Result<Report, Failure> {
    let operators = client.get(&format!("{USERS}?max=-1")).await?;
    let mut table = Table::new(["USERNAME", "ENABLED", "ID"]);
    for operator in operators.as_array().into_iter().flatten() {
        table.row(["username", "enabled", "id"].map(|key| &operator[key]));
    }
    Ok(Report { text: table.to_string(), json: operators })
}

async fn show(client: &Client, username: &str) -> Result<Report, Failure> {
    let operator = find_any(client, username).await?;
    shown(client, operator).await
}

async fn create(client: &Client, username: &str) -> Result<Report, Failure> {
    let password = new_password()?;
    let operator = json!({ "username": username, "enabled": true, "credentials": [password] });
    let created = client.post(USERS, &operator).await;
    created.map_err(|e| e.hint_on(Exit::Conflict, || format!("see `realmgate admin show {username}`")))?;
    show(client, username).await
}

async fn delete(client: &Client, username: &str, yes: bool) -> Result<Report, Failure> {
    let operator = find(client, username).await?;
    if !yes {
        confirm(&format!("Delete the operator `{username}`?"))?;
    }
    client.delete(&path(&operator, "")).await?;
    Ok(Report {
        json: json!({ "username": username, "deleted": true }),
        text: format!("The operator `{username}` is deleted."),
    })
}

async fn set_enabled(client: &Client, username: &str, enabled: bool) -> Result<Report, Failure> {
    client.put(&path(&find(client, username).await?, ""), &json!({ "enabled": enabled })).await?;
    show(client, username).await
}

async fn reset_password(client: &Client, username: &str) -> Result<Report, Failure> {
    let operator = find(client, username).await?;
    client.put(&path(&operator, "/reset-password"), &new_password()?).await?;
    let text = format!("The password of `{username}` is set, and his sessions have ended.");
    Ok(Report { json: json!({ "username": username }), text })
}

async fn own_password(client: &Client) -> Result<Report, Failure> {
    let (current, new) = (ask_hidden("Current password: ")?, ask_hidden("New password: ")?);
    client.put("/admin/me/password", &json!({ "current": current, "new": new })).await?;
    let text = "Your password is set, and your sessions have ended: sign in again.".to_owned();
    Ok(Report { json: json!({ "changed": true }), text })
}

async fn unlock(client: &Client, username: &str) -> Result<Report, Failure> {
    let operator = find(client, username).await?;
    let id = operator["id"].as_str().unwrap_or_default();
    client.delete(&format!("/admin/realms/master/attack-detection/brute-force/users/{id}")).await?;
    let text = format!("`{username}` may sign in again.");
    Ok(Report { json: json!({ "username": username }), text })
}

/// Gives (`POST`) or takes (`DELETE`) roles.
async fn set_roles(client: &Client, wish: &Mapping, method: Method) -> Result<Report, Failure> {
    let operator = find_any(client, &wish.name).await?;
    let mappings = match &wish.realm {
        None => "/role-mappings/realm".to_owned(),
        Some(realm) => {
            let clients = format!("/admin/realms/master/clients?clientId={realm}{OF_A_REALM}");
            let found = client.get(&clients).await?;
            let id = found[0]["id"].as_str().ok_or_else(|| {
                Failure::new(Exit::NotFound, format_args!("there is no realm `{realm}`"))
                    .hint("`realmgate realm list` shows the realms")
            })?;
            format!("/role-mappings/clients/{id}")
        }
    };
    let roles: Vec<Value> = wish.roles.iter().map(|name| json!({ "name": name })).collect();
    let answer = client.send(method, &path(&operator, &mappings), Some(&Value::from(roles))).await;
    answer.map_err(|e| {
        e.hint_on(Exit::NotFound, || {
            "`admin` and `create-realm` stand without --realm, all other roles hold in one: `--realm NAME`".into()
        })
    })?;
    shown(client, operator).await
}

/// An operator or a service account, with what it may do.
async fn shown(client: &Client, mut operator: Value) -> Result<Report, Failure> {
    let mappings = client.get(&path(&operator, "/role-mappings")).await?;
    let names = |roles: &Value| -> String {
        let roles = roles.as_array().into_iter().flatten().filter_map(|role| role["name"].as_str());
        roles.collect::<Vec<_>>().join(", ")
    };
    let mut rows: Vec<(String, String)> = Vec::new();
    for mapping in mappings["clientMappings"].as_object().into_iter().flatten().map(|(_, mapping)| mapping) {
        let realm = mapping["client"].as_str().unwrap_or_default();
        rows.push((realm.trim_end_matches(OF_A_REALM).to_owned(), names(&mapping["mappings"])));
    }
    let of_master = Value::from(names(&mappings["realmMappings"]));
    let facts = Table::of_facts([
        ("username", &operator["username"]),
        ("id", &operator["id"]),
        ("enabled", &operator["enabled"]),
        ("roles", if of_master == "" { &Value::Null } else { &of_master }),
    ]);
    let mut table = Table::new(["REALM", "ROLES"]);
    for (realm, roles) in &rows {
        table.row([&Value::from(realm.as_str()), &Value::from(roles.as_str())]);
    }
    let text = if rows.is_empty() { facts.to_string() } else { format!("{facts}\n{table}") };
    operator["roleMappings"] = mappings;
    Ok(Report { json: operator, text })
}

async fn find(client: &Client, username: &str) -> Result<Value, Failure> {
    let found = client.get(&format!("{USERS}?exact=true&max=1&username={}", escaped(username))).await?;
    match found {
        Value::Array(mut one) if !one.is_empty() => Ok(one.remove(0)),
        _ => Err(Failure::new(Exit::NotFound, format_args!("there is no operator `{username}`"))
            .hint("`realmgate admin list` shows the operators")),
    }
}

/// A person, or else the service account of a client.
async fn find_any(client: &Client, name: &str) -> Result<Value, Failure> {
    let person = match find(client, name).await {
        Err(failure) if failure.exit == Exit::NotFound => failure,
        found => return found,
    };
    let found = client.get(&format!("/admin/realms/master/clients?clientId={}", escaped(name))).await?;
    match found[0]["id"].as_str().filter(|_| found[0]["serviceAccountsEnabled"] == true) {
        Some(id) => client.get(&format!("{USERS}/{id}")).await,
        None => Err(person),
    }
}

fn path(operator: &Value, below: &str) -> String {
    format!("{USERS}/{}{below}", operator["id"].as_str().unwrap_or_default())
}

fn new_password() -> Result<Value, Failure> {
    Ok(json!({ "type": "password", "value": ask_hidden("New password: ")?, "temporary": false }))
}

fn role(text: &str) -> Result<String, String> {
    let known = MasterRole::ALL.map(MasterRole::as_str).into_iter().chain(Right::ALL.map(Right::as_str));
    let known: Vec<_> = known.collect();
    if known.contains(&text) { Ok(text.to_owned()) } else { Err(format!("there are {}", known.join(", "))) }
}
