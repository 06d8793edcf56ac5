//! What operators do to operators: people and service accounts of `master`, their rights, their passwords.
//!
//! They change as realms do, one after the other: `master` moves on with each change, so that of two operators who take
//! the role `admin` from each other one is told that somebody has to keep it.

use serde_json::json;
use uuid::Uuid;

use super::{
    Error, Result, named_id,
    realms::{self, Changed, change},
};
use crate::{
    model::{
        AdminId, Cause, RealmId,
        admin::{Admin, MasterRole, PasswordHash, Right, Rights, Username},
        audit::Action,
        client::{Client, OF_A_REALM, PUBLIC_CLIENT},
        lockout::Failures,
        realm::MASTER,
    },
    store::{self, Store, admins, login_failures, tx::RealmTx},
};

pub use crate::store::admins::Filter;

/// What an operator says of a new one.
pub struct New {
    pub username: String,
    pub enabled: bool,
    pub password: Option<PasswordHash>,
}

/// Where roles are held, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roles {
    OfMaster(Vec<MasterRole>),
    InRealm(RealmId, Vec<Right>),
}

/// People in the order of their names.
pub async fn list(store: &Store, filter: Filter<'_>, first: i64, max: i64) -> Result<Vec<Admin>> {
    Ok(admins::list(store, filter, first, max).await?)
}

pub async fn count(store: &Store, filter: Filter<'_>) -> Result<i64> {
    Ok(admins::count(store, filter).await?)
}

/// A person or a service account; the id may be any text.
pub async fn get(store: &Store, id: &str) -> Result<Admin> {
    let found = admins::find(store, parse(id)?).await?;
    Ok(found.ok_or_else(not_found)?.admin)
}

/// Creates a person, who has no rights yet.
pub async fn create(store: &Store, new: &New, cause: &Cause) -> Result<Admin> {
    let username = &named(&new.username)?;
    let admin = &Admin {
        id: AdminId(Uuid::now_v7()),
        username: new.username.clone(),
        client_id: None,
        enabled: new.enabled,
        external: false,
        created_at: cause.at,
        rights: Rights::default(),
    };
    change(store, cause, MASTER, about("operator.create", username), |mut tx, realm| async move {
        admins::insert(&mut tx, admin, username, new.password.as_ref()).await.map_err(taken)?;
        Ok(Changed::new(tx, realm, ()).telling(json!({ "enabled": new.enabled })))
    })
    .await?;
    Ok(admin.clone())
}

/// Renames, enables or disables a person. `None` leaves as it is.
pub async fn update(
    store: &Store,
    id: &str,
    username: Option<&str>,
    enabled: Option<bool>,
    cause: &Cause,
) -> Result<()> {
    let wish = &username.map(named).transpose()?;
    let admin = person(store, parse(id)?).await?;
    let old = &named(&admin.username)?;
    change(store, cause, MASTER, about("operator.update", old), |mut tx, realm| async move {
        let was = find(&mut tx, admin.id).await?;
        let username = wish.clone().map_or_else(|| named(&was.username), Ok)?;
        let is =
            Admin { username: username.as_str().to_owned(), enabled: enabled.unwrap_or(was.enabled), ..was.clone() };
        admins::update(&mut tx, &is, &username).await.map_err(taken)?;
        somebody_is_left(&mut tx).await?;
        let changed = Changed::new(tx, realm, ());
        let shown = |admin: &Admin| json!({ "username": admin.username, "enabled": admin.enabled });
        Ok(if is == was { changed } else { changed.telling(shown(&is)).instead_of(shown(&was)) })
    })
    .await
    .map(|_| ())
}

/// Deletes a person.
pub async fn delete(store: &Store, id: &str, cause: &Cause) -> Result<()> {
    let admin = person(store, parse(id)?).await?;
    let username = &named(&admin.username)?;
    change(store, cause, MASTER, about("operator.delete", username), |mut tx, realm| async move {
        let was = find(&mut tx, admin.id).await?;
        admins::delete(&mut tx, admin.id).await?;
        somebody_is_left(&mut tx).await?;
        Ok(Changed::new(tx, realm, ()).telling(json!({})).instead_of(json!({ "enabled": was.enabled })))
    })
    .await
    .map(|_| ())
}

/// Sets a person's password. All his sessions end, also the one that asks for it.
pub async fn set_password(store: &Store, id: &str, password: &PasswordHash, cause: &Cause) -> Result<()> {
    let admin = person(store, parse(id)?).await?;
    let username = &named(&admin.username)?;
    change(store, cause, MASTER, about("operator.password", username), |mut tx, realm| async move {
        find(&mut tx, admin.id).await?;
        admins::set_password(&mut tx, admin.id, password).await?;
        Ok(Changed::new(tx, realm, ()).telling(json!({})))
    })
    .await
    .map(|_| ())
}

/// Ends all sessions of an operator.
pub async fn end_sessions(store: &Store, id: &str, cause: &Cause) -> Result<()> {
    let admin = get(store, id).await?;
    let username = &named(&admin.username)?;
    change(store, cause, MASTER, about("operator.logout", username), |mut tx, realm| async move {
        admins::end_sessions(&mut tx, admin.id).await?;
        Ok(Changed::new(tx, realm, ()).telling(json!({})))
    })
    .await
    .map(|_| ())
}

/// How often signing in has failed in a row.
pub async fn failures(store: &Store, id: &str) -> Result<Failures> {
    let admin = get(store, id).await?;
    Ok(login_failures::find(store, admin.id.0).await?.unwrap_or_default())
}

/// Sign-ins are let in again, however many have failed.
pub async fn forget_failures(store: &Store, id: &str, cause: &Cause) -> Result<()> {
    let admin = get(store, id).await?;
    let username = &named(&admin.username)?;
    change(store, cause, MASTER, about("operator.unlock", username), |mut tx, realm| async move {
        login_failures::forget_in(&mut tx, admin.id.0).await?;
        Ok(Changed::new(tx, realm, ()).telling(json!({})))
    })
    .await
    .map(|_| ())
}

pub async fn grant(store: &Store, id: &str, roles: &Roles, cause: &Cause) -> Result<()> {
    set_roles(store, id, roles, true, cause).await
}

pub async fn revoke(store: &Store, id: &str, roles: &Roles, cause: &Cause) -> Result<()> {
    set_roles(store, id, roles, false, cause).await
}

async fn set_roles(store: &Store, id: &str, roles: &Roles, held: bool, cause: &Cause) -> Result<()> {
    let admin = get(store, id).await?;
    let username = &named(&admin.username)?;
    let action = about(if held { "operator.grant" } else { "operator.revoke" }, username);
    let names = &roles.names();
    let of = &match roles {
        Roles::OfMaster(_) => realms::get(store, MASTER).await?,
        Roles::InRealm(id, _) => realms::get_by_id(store, *id).await?,
    };
    change(store, cause, MASTER, action, |mut tx, realm| async move {
        find(&mut tx, admin.id).await?;
        if held {
            admins::grant(&mut tx, admin.id, of.id, names).await?;
        } else {
            admins::revoke(&mut tx, admin.id, of.id, names).await?;
            somebody_is_left(&mut tx).await?;
        }
        let told = json!({ "realm": of.name, "roles": names });
        Ok(if held {
            Changed::new(tx, realm, ()).telling(told)
        } else {
            Changed::new(tx, realm, ()).telling(json!({})).instead_of(told)
        })
    })
    .await
    .map(|_| ())
}

/// Each client of `master` is an operator, by its service account: see [`service_account`].
pub(super) async fn client_created(tx: &mut RealmTx, client: &Client) -> Result<()> {
    let (admin, username) = service_account(client)?;
    admins::insert(tx, &admin, &username, None).await.map_err(taken)
}

/// A new secret ends the sessions which the old one began.
pub(super) async fn client_changed(tx: &mut RealmTx, client: &Client, secret_is_new: bool) -> Result<()> {
    let (admin, username) = service_account(client)?;
    admins::update(tx, &admin, &username).await.map_err(taken)?;
    if secret_is_new {
        admins::end_sessions(tx, admin.id).await?;
        login_failures::forget_in(tx, admin.id.0).await?;
    }
    somebody_is_left(tx).await
}

pub(super) async fn client_deleted(tx: &mut RealmTx, client: &Client) -> Result<()> {
    admins::delete(tx, AdminId(client.id.0)).await?;
    somebody_is_left(tx).await
}

/// It has the id of its client and, in Keycloak's way, a name made of the client's.
fn service_account(client: &Client) -> Result<(Admin, Username)> {
    let client_id = &client.client_id;
    if client_id == PUBLIC_CLIENT || client_id.ends_with(OF_A_REALM) {
        let reserved =
            format!("clientId: `{PUBLIC_CLIENT}` and names that end in `{OF_A_REALM}` have a meaning already");
        return Err(Error::Invalid(reserved));
    }
    let username = Username::of_client(client_id).map_err(|error| Error::Invalid(format!("clientId: {error}")))?;
    let admin = Admin {
        id: AdminId(client.id.0),
        username: username.as_str().to_owned(),
        client_id: Some(client_id.clone()),
        enabled: client.enabled,
        external: false,
        created_at: client.created_at,
        rights: Rights::default(),
    };
    Ok((admin, username))
}

impl Roles {
    fn names(&self) -> Vec<&'static str> {
        match self {
            Self::OfMaster(roles) => roles.iter().map(|role| role.as_str()).collect(),
            Self::InRealm(_, rights) => rights.iter().map(|right| right.as_str()).collect(),
        }
    }
}

/// The operator as he is in this transaction.
async fn find(tx: &mut RealmTx, id: AdminId) -> Result<Admin> {
    Ok(admins::find_in(tx, id).await?.ok_or_else(not_found)?.admin)
}

/// A service account is changed as its client is.
async fn person(store: &Store, id: AdminId) -> Result<Admin> {
    let admin = admins::find(store, id).await?.ok_or_else(not_found)?.admin;
    match admin.client_id {
        None => Ok(admin),
        Some(client_id) => Err(Error::Conflict(format!("this is a service account: change its client `{client_id}`"))),
    }
}

/// Without an `admin` nobody could ever make one.
async fn somebody_is_left(tx: &mut RealmTx) -> Result<()> {
    if admins::somebody_may_everything(tx).await? {
        return Ok(());
    }
    Err(Error::Conflict(
        "this is the last enabled operator with the role `admin`: give the role to another first".into(),
    ))
}

fn about<'a>(word: &'static str, username: &'a Username) -> Action<'a> {
    Action { word, target: username.as_str() }
}

fn named(username: &str) -> Result<Username> {
    Username::parse(username).map_err(|error| Error::Invalid(format!("username: {error}")))
}

fn parse(id: &str) -> Result<AdminId> {
    named_id(id).map(AdminId).ok_or_else(not_found)
}

fn not_found() -> Error {
    Error::NotFound("User not found".into())
}

fn taken(error: store::error::Error) -> Error {
    match error {
        store::error::Error::Taken(_) => Error::Conflict("User exists with same username".into()),
        error => error.into(),
    }
}
