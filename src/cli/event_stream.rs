//! `realmgate event-stream`: streams from which receivers poll security event tokens. The token which polls is seen once,
//! here.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::{Client, segment},
    output::{Report, Table, confirm, printable},
    realm,
};
use crate::model::realm::RealmName;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the streams, and how far their receivers are
    List {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
    },
    /// Make a stream, and reveal the token which polls it
    Create(Create),
    /// Delete a stream
    Delete {
        #[arg(value_parser = RealmName::parse)]
        realm: RealmName,
        /// The stream's id, as `event-stream list` shows it
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// What people call it
    name: String,
    /// Whom its tokens are for: their `aud`
    #[arg(long)]
    audience: String,
    /// An event to tell of, or how its name begins: `dsync.user.*`; may be given several times
    #[arg(long = "event", value_name = "NAME")]
    events: Vec<String>,
    /// Begin with this event of the past; without it, with what happens from now on
    #[arg(long, value_name = "SEQ")]
    from: Option<i64>,
}

pub async fn run(verb: Verb, client: &Client) -> Result<Report, Failure> {
    match verb {
        Verb::List { realm } => list(client, &realm).await,
        Verb::Create(create) => {
            let Create { realm, name, audience, events, from } = create;
            let wish = json!({ "name": name, "audience": audience, "events": events, "from": from });
            let made = client.post(&path(&realm), &wish).await.map_err(|e| realm::missing(e, &realm))?;
            let facts = ["id", "name", "audience", "poll_url", "token"].map(|key| (key, &made[key]));
            Ok(Report { text: format!("{}\nThe token is shown this once.", Table::of_facts(facts)), json: made })
        }
        Verb::Delete { realm, id, yes } => {
            if !yes {
                confirm(&format!("Delete the event stream {id} of realm `{realm}`?"))?;
            }
            let hint = || format!("`realmgate event-stream list {realm}` shows the streams there are");
            let path = format!("{}/{}", path(&realm), segment(&id));
            client.delete(&path).await.map_err(|e| e.hint_on(Exit::NotFound, hint))?;
            let text = format!("Nobody polls the event stream {} any longer.", printable(&id));
            Ok(Report { json: json!({ "realm": realm, "id": id, "deleted": true }), text })
        }
    }
}

async fn list(client: &Client, realm: &RealmName) -> Result<Report, Failure> {
    let streams = client.get(&path(realm)).await.map_err(|e| realm::missing(e, realm))?;
    let mut table = Table::new(["ID", "NAME", "AUDIENCE", "UP TO", "ACKNOWLEDGED", "ERROR"]);
    for stream in streams.as_array().map_or(&[][..], Vec::as_slice) {
        let error = &stream["last_error"]["error"]["err"];
        let [id, name, audience, cursor, at]: [&Value; 5] =
            ["id", "name", "audience", "cursor", "acknowledged_at"].map(|key| &stream[key]);
        table.row([id, name, audience, cursor, at, error]);
    }
    Ok(Report { text: table.to_string(), json: streams })
}

fn path(realm: &RealmName) -> String {
    format!("{}/event-streams", realm::path(realm))
}
