//! `realmgate user`: who is in a realm, and with which roles.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Exit, Failure,
    client::{Client, segment},
    output::{Report, Table},
    realm, role,
};
use crate::model::realm::RealmName;

/// Users of one request.
const PAGE: usize = 1000;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List users by name
    List(List),
    /// Show a user
    Show(Target),
    /// Show who changed what of a user and when, newest first
    History {
        #[command(flatten)]
        target: Target,
        /// How many changes at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Show which roles a user has, or why it has one
    Roles {
        #[command(flatten)]
        target: Target,
        /// Explain this role
        #[arg(long, value_name = "ROLE")]
        why: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct List {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// How userName, first name, last name or e-mail begin; `*part*` for what is in them
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[arg(long, value_enum)]
    state: Option<State>,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    max: usize,
}

#[derive(Debug, Args)]
pub struct Target {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// Id or userName
    user: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Shadow,
    Active,
    Disabled,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            State::Shadow => "shadow",
            State::Active => "active",
            State::Disabled => "disabled",
        }
    }
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::List(list) => listed(client, &list).await,
        Verb::Show(Target { realm, user }) => show(client, &realm, &user).await,
        Verb::History { target: Target { realm, user }, limit } => history(client, &realm, &user, limit).await,
        Verb::Roles { target: Target { realm, user }, why: None } => roles(client, &realm, &user).await,
        Verb::Roles { target: Target { realm, user }, why: Some(role) } => why(client, &realm, &user, &role).await,
    }
}

async fn listed(client: &Client, List { realm, search, state, max }: &List) -> Result<Report, Failure> {
    let search = search.as_deref().map(|text| format!("&search={}", segment(text)));
    let state = state.map(|state| format!("&state={}", state.as_str()));
    let wanted: String = [search, state].into_iter().flatten().collect();
    let mut users: Vec<Value> = Vec::new();
    while users.len() < *max {
        let size = PAGE.min(max - users.len());
        let page = client.get(&format!("{}?first={}&max={size}{wanted}", path(realm), users.len())).await;
        let page = page.map_err(|e| realm::missing(e, realm))?;
        let page = page.as_array().cloned().unwrap_or_default();
        let last = page.len() < size;
        users.extend(page);
        if last {
            break;
        }
    }
    let json = Value::from(users);
    Ok(Report { text: table(&json).to_string(), json })
}

async fn show(client: &Client, realm: &RealmName, user: &str) -> Result<Report, Failure> {
    let user = found(client, realm, user).await?;
    let groups = client.get(&format!("{}/{}/groups", path(realm), id(&user))).await?;
    let names: Vec<&str> = groups.as_array().into_iter().flatten().filter_map(|group| group["name"].as_str()).collect();
    let attributes = user["attributes"].as_object().cloned().unwrap_or_default();
    let attributes = attributes.iter().filter(|(name, _)| !["state", "scimUserName"].contains(&name.as_str()));
    let attributes: Vec<String> = attributes.map(|(name, values)| format!("{name}={}", joined(values))).collect();
    let text = Table::of_facts([
        ("user", &user["attributes"]["scimUserName"][0]),
        ("id", &user["id"]),
        ("state", &user["attributes"]["state"][0]),
        ("first name", &user["firstName"]),
        ("last name", &user["lastName"]),
        ("e-mail", &user["email"]),
        ("groups", &names.join(", ").into()),
        ("other", &attributes.join(", ").into()),
    ]);
    Ok(Report { text: text.to_string(), json: user })
}

async fn roles(client: &Client, realm: &RealmName, user: &str) -> Result<Report, Failure> {
    let user = found(client, realm, user).await?;
    let roles = client.get(&format!("{}/{}/role-mappings/realm/composite", path(realm), id(&user))).await?;
    Ok(Report { text: role::table(&roles).to_string(), json: roles })
}

/// Also of a user who is gone, by its id.
async fn history(client: &Client, realm: &RealmName, user: &str, limit: u16) -> Result<Report, Failure> {
    let by_id = Uuid::try_parse(user).is_ok();
    let id = if by_id { user.to_owned() } else { id(&found(client, realm, user).await?).to_owned() };
    let history = client.get(&format!("{}/{id}/history?limit={limit}", path(realm))).await;
    let history = history.map_err(|e| realm::missing(e, realm))?;
    let mut table = Table::new(["WHEN", "WHO", "EVENT", "CHANGE", "FROM", "TO", "REQUEST"]);
    for entry in history.as_array().into_iter().flatten() {
        for change in entry["changes"].as_array().into_iter().flatten() {
            let (who, request) = (&entry["actor"]["kind"], &entry["request_id"]);
            let values = [&change["attribute"], &change["from"], &change["to"]];
            table.row([&entry["at"], who, &entry["event"], values[0], values[1], values[2], request]);
        }
    }
    Ok(Report { text: table.to_string(), json: history })
}

async fn why(client: &Client, realm: &RealmName, user: &str, role: &str) -> Result<Report, Failure> {
    let user = found(client, realm, user).await?;
    let access = client.get(&format!("{}/{}/access?role={}", path(realm), id(&user), segment(role))).await;
    let access = access.map_err(|e| role::missing(e, realm))?;
    let mut table = Table::new(["WHAT", "SINCE", "REQUEST"]);
    for reason in access["reasons"].as_array().into_iter().flatten() {
        for step in reason["groups"].as_array().into_iter().flatten() {
            let what = json!(format!("member of {}", step["name"].as_str().unwrap_or_default()));
            table.row([&what, &step["membership"]["since"], &step["membership"]["requestId"]]);
        }
        table.row([&json!(format!("role {role}")), &reason["mapping"]["since"], &reason["mapping"]["requestId"]]);
    }
    let explanation = access["explanation"].as_str().unwrap_or_default();
    let text = if access["granted"] == true { format!("{explanation}\n{table}") } else { explanation.to_owned() };
    Ok(Report { text, json: access })
}

/// Users for people.
pub fn table(users: &Value) -> Table {
    let mut table = Table::new(["USER", "STATE", "FIRST NAME", "LAST NAME", "E-MAIL", "ID"]);
    for user in users.as_array().into_iter().flatten() {
        let (name, state) = (&user["attributes"]["scimUserName"][0], &user["attributes"]["state"][0]);
        table.row([name, state, &user["firstName"], &user["lastName"], &user["email"], &user["id"]]);
    }
    table
}

/// The user of that id or userName.
pub async fn found(client: &Client, realm: &RealmName, user: &str) -> Result<Value, Failure> {
    let nobody = || {
        Failure::new(Exit::NotFound, format_args!("there is no user `{user}` in realm `{realm}`"))
            .hint(format!("`realmgate user list {realm} --search TEXT` looks for one"))
    };
    if Uuid::try_parse(user).is_ok() {
        let found = client.get(&format!("{}/{user}", path(realm))).await;
        return found.map_err(|e| if e.exit == Exit::NotFound { nobody() } else { e });
    }
    let found = client.get(&format!("{}?exact=true&username={}", path(realm), segment(user))).await;
    let found = found.map_err(|e| realm::missing(e, realm))?;
    found.get(0).cloned().ok_or_else(nobody)
}

/// Its id, as it stands in a path.
pub fn id(item: &Value) -> &str {
    item["id"].as_str().unwrap_or_default()
}

fn joined(values: &Value) -> String {
    let texts: Vec<&str> = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    texts.join(" ")
}

fn path(realm: &RealmName) -> String {
    format!("{}/users", realm::path(realm))
}
