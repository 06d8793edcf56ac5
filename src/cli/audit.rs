//! `realmgate audit`: who changed what, newest first.

use clap::Args;
use serde_json::Value;

use super::{
    Failure,
    client::Client,
    output::{Report, Table},
    realm,
};
use crate::model::realm::RealmName;

#[derive(Debug, Args)]
pub struct Read {
    /// The realm; without it, all of them
    #[arg(value_parser = RealmName::parse)]
    realm: Option<RealmName>,
    /// How the action begins, such as `scim.` or `policy.update`
    #[arg(long, default_value = "")]
    action: String,
    /// How many changes at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

pub async fn run(read: Read, client: &Client) -> Result<Report, Failure> {
    let action: String = form_urlencoded::byte_serialize(read.action.as_bytes()).collect();
    let query = format!("audit-log?limit={}&action={action}", read.limit);
    let log = match &read.realm {
        Some(name) => {
            let path = format!("{}/{query}", realm::path(name));
            client.get(&path).await.map_err(|e| realm::missing(e, name))?
        }
        None => client.get(&format!("/admin/{query}")).await?,
    };
    let mut table = Table::new(["WHEN", "WHO", "REALM", "ACTION", "TARGET", "CHANGE", "REQUEST"]);
    for entry in log.as_array().into_iter().flatten() {
        let who = if entry["username"].is_null() { &entry["actor"]["kind"] } else { &entry["username"] };
        let change = Value::from(changed(&entry["before"], &entry["after"]));
        let [at, realm, action, target, id] = ["at", "realm", "action", "target", "request_id"].map(|key| &entry[key]);
        table.row([at, who, realm, action, target, &change, id]);
    }
    Ok(Report { text: table.to_string(), json: log })
}

/// `enabled: true -> false`, for each key.
fn changed(before: &Value, after: &Value) -> String {
    let after = after.as_object().into_iter().flatten();
    let shown = after.map(|(key, new)| match before.get(key) {
        Some(old) => format!("{key}: {old} -> {new}"),
        None => format!("{key}: {new}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_shown_from_what_to_what() {
        let (before, after) = (json!({ "enabled": true }), json!({ "enabled": false, "token": "rgs_x" }));
        assert_eq!(changed(&before, &after), r#"enabled: true -> false, token: "rgs_x""#);
        assert_eq!(changed(&Value::Null, &Value::Null), "");
    }
}
