//! What operators do to the clients of a realm's token endpoint. Those of `master` are service accounts of operators.
//!
//! Clients change as realms do: the epoch moves, so that no node believes a token of a client which was disabled.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Error, Result, named_id, operators,
    realms::{Changed, change},
};
use crate::{
    model::{
        Cause, ClientId,
        audit::Action,
        client::{Client, Method, SecretHash},
        identity::is_url,
        jwk::{KeySource, Keyset},
        realm::{MASTER, Realm},
        token::PlainToken,
    },
    store::{self, Store, clients},
};

/// What an operator says of a client; what is not said stays, or is as `Default` has it.
#[derive(Default)]
pub struct Wish {
    pub client_id: Option<String>,
    /// The empty text takes it away.
    pub name: Option<String>,
    pub enabled: Option<bool>,
    pub method: Option<Method>,
    /// `Some(None)` takes them away.
    pub keys: Option<Option<KeySource>>,
    /// A secret that was chosen; without one a client has none until [`renew_secret`].
    pub secret: Option<SecretHash>,
}

/// Creates a client. It can sign in once it has a secret or keys.
pub async fn create(store: &Store, realm: &str, wish: &Wish, cause: &Cause) -> Result<Client> {
    let client_id = wish.client_id.clone().ok_or_else(|| Error::Invalid("clientId is needed".into()))?;
    let bare = Client {
        id: ClientId(Uuid::now_v7()),
        client_id,
        name: None,
        enabled: true,
        method: Method::ClientSecret,
        keys: None,
        created_at: cause.at,
        last_used_at: None,
    };
    let client = &wished(&bare, wish)?;
    let action = Action { word: "client.create", target: &client.client_id };
    change(store, cause, realm, action, |mut tx, mut realm| async move {
        realm.identity.has_clients = true;
        clients::insert(&mut tx, client).await.map_err(|error| named(error, client))?;
        if let Some(secret) = &wish.secret {
            clients::set_secret(&mut tx, client.id, secret).await?;
        }
        if realm.name.as_str() == MASTER {
            operators::client_created(&mut tx, client).await?;
        }
        Ok(Changed::new(tx, realm, ()).telling(shown(client)))
    })
    .await?;
    Ok(client.clone())
}

/// Clients in the order of their ids; the one of that `client_id`, if it is given.
pub async fn list(store: &Store, realm: &Realm, client_id: Option<&str>, first: i64, max: i64) -> Result<Vec<Client>> {
    Ok(clients::list(store.enter(realm.id, realm.epoch).await?, client_id, first, max).await?)
}

/// The client of that id, which may be any text.
pub async fn get(store: &Store, realm: &Realm, id: &str) -> Result<Client> {
    let mut tx = store.enter(realm.id, realm.epoch).await?;
    let found = clients::find(&mut tx, parse(id)?).await?;
    tx.commit().await?;
    found.ok_or_else(not_found)
}

/// Changes what is wished for, and nothing else.
pub async fn update(store: &Store, realm: &str, id: &str, wish: &Wish, cause: &Cause) -> Result<Client> {
    let client_id = parse(id)?;
    let action = Action { word: "client.update", target: id };
    change(store, cause, realm, action, |mut tx, realm| async move {
        let before = clients::find(&mut tx, client_id).await?.ok_or_else(not_found)?;
        let client = wished(&before, wish)?;
        clients::update(&mut tx, &client).await.map_err(|error| named(error, &client))?;
        let mut told = difference(&before, &client);
        if let Some(secret) = &wish.secret {
            clients::set_secret(&mut tx, client_id, secret).await?;
            told.insert("secret".into(), "replaced".into());
        }
        if realm.name.as_str() == MASTER {
            operators::client_changed(&mut tx, &client, wish.secret.is_some()).await?;
        }
        Ok(Changed::new(tx, realm, client).telling(Value::Object(told)))
    })
    .await
    .map(|(_, client)| client)
}

/// Makes a new secret, which is in this answer and nowhere else; the former one is worth nothing from now on.
pub async fn renew_secret(store: &Store, realm: &str, id: &str, cause: &Cause) -> Result<PlainToken> {
    let client_id = parse(id)?;
    let action = Action { word: "client.secret", target: id };
    change(store, cause, realm, action, |mut tx, realm| async move {
        let client = clients::find(&mut tx, client_id).await?.ok_or_else(not_found)?;
        let secret = PlainToken::for_client();
        clients::set_secret(&mut tx, client_id, &SecretHash::Random(secret.hash())).await?;
        if realm.name.as_str() == MASTER {
            operators::client_changed(&mut tx, &client, true).await?;
        }
        let told = json!({ "client_id": client.client_id, "secret": secret.prefix() });
        Ok(Changed::new(tx, realm, secret).telling(told))
    })
    .await
    .map(|(_, secret)| secret)
}

pub async fn delete(store: &Store, realm: &str, id: &str, cause: &Cause) -> Result<()> {
    let client_id = parse(id)?;
    let action = Action { word: "client.delete", target: id };
    change(store, cause, realm, action, |mut tx, mut realm| async move {
        let client = clients::find(&mut tx, client_id).await?.ok_or_else(not_found)?;
        realm.identity.has_clients = clients::delete(&mut tx, client_id).await?;
        if realm.name.as_str() == MASTER {
            operators::client_deleted(&mut tx, &client).await?;
        }
        Ok(Changed::new(tx, realm, ()).telling(json!({ "client_id": client.client_id })))
    })
    .await
    .map(|_| ())
}

/// The client as it is to be.
fn wished(client: &Client, wish: &Wish) -> Result<Client> {
    let mut client = client.clone();
    if let Some(client_id) = &wish.client_id {
        client.client_id.clone_from(client_id);
    }
    if let Some(name) = &wish.name {
        client.name = Some(name.clone()).filter(|name| !name.is_empty());
    }
    if let Some(keys) = &wish.keys {
        client.keys.clone_from(keys);
    }
    client.enabled = wish.enabled.unwrap_or(client.enabled);
    client.method = wish.method.unwrap_or(client.method);

    Client::check_id(&client.client_id).map_err(|error| Error::Invalid(format!("clientId: {error}")))?;
    if client.name.as_ref().is_some_and(|name| name.len() > 255) {
        return Err(Error::Invalid("name: write at most 255 bytes".into()));
    }
    match (&client.keys, client.method) {
        (Some(KeySource::Inline(text)), _) => {
            let document = serde_json::from_str(text).unwrap_or_default();
            Keyset::read(&document).map_err(|error| Error::Invalid(format!("jwks.string: {error}")))?;
        }
        (Some(KeySource::Url(url)), _) if !is_url(url) => {
            return Err(Error::Invalid("jwks.url: write a URL such as `https://client.example.com/keys`".into()));
        }
        (None, Method::PrivateKeyJwt) => {
            return Err(Error::Invalid(
                "a client which signs needs its public keys: write them as the attribute `jwks.string`, or where they \
                 are as `jwks.url`"
                    .into(),
            ));
        }
        (Some(_), _) | (None, Method::ClientSecret) => {}
    }
    Ok(client)
}

fn parse(id: &str) -> Result<ClientId> {
    named_id(id).map(ClientId).ok_or_else(not_found)
}

/// Keycloak's words.
fn not_found() -> Error {
    Error::NotFound("Could not find client".into())
}

fn named(error: store::error::Error, client: &Client) -> Error {
    match error {
        store::error::Error::Taken(_) => {
            Error::Conflict(format!("Client {} already exists: choose another `clientId`", client.client_id))
        }
        error => error.into(),
    }
}

/// What the audit log shows of a client.
fn shown(client: &Client) -> Value {
    let Client { id, client_id, name, enabled, method, keys, .. } = client;
    let keys = keys.as_ref().map(|keys| match keys {
        KeySource::Inline(_) => "inline",
        KeySource::Url(url) | KeySource::Discovery(url) => url,
    });
    json!({
        "id": id, "client_id": client_id, "name": name, "enabled": enabled, "method": method.as_str(), "keys": keys,
    })
}

fn difference(before: &Client, after: &Client) -> Map<String, Value> {
    let (before, after) = (shown(before), shown(after));
    let after = after.as_object().into_iter().flatten();
    after.filter(|(key, value)| before[*key] != **value).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn bare() -> Client {
        Client {
            id: ClientId(Uuid::nil()),
            client_id: "entra".into(),
            name: Some("Entra".into()),
            enabled: true,
            method: Method::ClientSecret,
            keys: None,
            created_at: Timestamp::UNIX_EPOCH,
            last_used_at: None,
        }
    }

    #[test]
    fn what_is_not_wished_for_stays() {
        let client = wished(&bare(), &Wish { enabled: Some(false), ..Wish::default() }).unwrap();
        assert_eq!(client, Client { enabled: false, ..bare() });
        assert_eq!(Value::Object(difference(&bare(), &client)), json!({ "enabled": false }));
        assert_eq!(wished(&bare(), &Wish { name: Some(String::new()), ..Wish::default() }).unwrap().name, None);
    }

    #[test]
    fn a_client_which_signs_has_keys() {
        let wish = |keys| Wish { method: Some(Method::PrivateKeyJwt), keys, ..Wish::default() };
        let url = |url: &str| Some(Some(KeySource::Url(url.into())));
        assert!(wished(&bare(), &wish(url("https://client.example/keys"))).is_ok());
        for (keys, key) in [
            (None, "needs its public keys"),
            (Some(None), "needs its public keys"),
            (url("file:///etc/passwd"), "jwks.url"),
            (Some(Some(KeySource::Inline("{}".into()))), "jwks.string"),
        ] {
            let error = wished(&bare(), &wish(keys)).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
