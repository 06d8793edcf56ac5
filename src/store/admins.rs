//! Operators of the `master` realm: who they are, what they may do, which of their sessions have ended. Outside of
//! row-level security: no tenant's statement reads them. They change in transactions which stand in `master`, so `$1`
//! of those statements is that realm.

use jiff::Timestamp;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::{Store, error::Result, tx::RealmTx};
use crate::model::{
    AdminId, RealmId,
    admin::{Admin, PasswordHash, Rights, Username},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.username, a.client_id, a.enabled, a.created_at, a.epoch, a.password_hash,
                    (SELECT jsonb_agg(jsonb_build_array(r.name, o.role))
                       FROM admin_roles o JOIN realms r ON r.id = o.realm_id WHERE o.admin_id = a.id) AS roles,
                    array(SELECT e.session_id FROM ended_sessions e WHERE e.admin_id = a.id) AS ended
               FROM admins a WHERE ",
            $rest
        )
    };
}

const FIND: &str = select!("a.id = $1");

const FIND_IN: &str = select!("a.id = $2 AND $1::uuid IS NOT NULL");

const FIND_BY_USERNAME: &str = select!("a.username_key = $1");

/// `$1` is a part of the folded name, or all of it.
macro_rules! people {
    () => {
        "a.client_id IS NULL
         AND ($1::text IS NULL OR CASE WHEN $2 THEN a.username_key = $1 ELSE strpos(a.username_key, $1) > 0 END)
         AND ($3::bool IS NULL OR a.enabled = $3)"
    };
}

const LIST: &str = concat!(select!(""), people!(), " ORDER BY a.username_key OFFSET $4 LIMIT $5");

const COUNT: &str = concat!("SELECT count(*) FROM admins a WHERE ", people!());

const INSERT: &str = "
    INSERT INTO admins (id, username_key, username, password_hash, client_id, enabled, created_at)
    SELECT $2, $3, $4, $5, $6, $7, $8 WHERE $1::uuid IS NOT NULL";

const UPDATE: &str = "
    UPDATE admins SET username_key = $3, username = $4, client_id = $5, enabled = $6
     WHERE id = $2 AND $1::uuid IS NOT NULL";

/// Whoever had the old password has nothing now.
const SET_PASSWORD: &str = "
    WITH forgotten AS (DELETE FROM login_failures WHERE subject = $2)
    UPDATE admins SET password_hash = $3, epoch = epoch + 1 WHERE id = $2 AND $1::uuid IS NOT NULL";

const END_SESSIONS: &str = "UPDATE admins SET epoch = epoch + 1 WHERE id = $2 AND $1::uuid IS NOT NULL";

const DELETE: &str = "
    WITH forgotten AS (DELETE FROM login_failures WHERE subject = $2)
    DELETE FROM admins WHERE id = $2 AND $1::uuid IS NOT NULL";

const GRANT: &str = "
    INSERT INTO admin_roles (admin_id, realm_id, role)
    SELECT $2, r.id, unnest($4::text[]) FROM realms r WHERE r.id = $3 AND $1::uuid IS NOT NULL ON CONFLICT DO NOTHING";

const REVOKE: &str = "
    DELETE FROM admin_roles WHERE admin_id = $2 AND realm_id = $3 AND role = ANY ($4) AND $1::uuid IS NOT NULL";

const SOMEBODY_MAY_EVERYTHING: &str = "
    SELECT FROM admin_roles o JOIN admins a ON a.id = o.admin_id
     WHERE o.realm_id = $1 AND o.role = 'admin' AND a.enabled AND (a.password_hash IS NOT NULL OR a.client_id IS NOT NULL) LIMIT 1";

/// Whoever ends a session clears away those whose tokens have expired.
const END_SESSION: &str = "
    WITH expired AS (DELETE FROM ended_sessions WHERE expires_at < $4)
    INSERT INTO ended_sessions (admin_id, session_id, expires_at)
    SELECT id, $2, $3 FROM admins WHERE id = $1 ON CONFLICT DO NOTHING";

/// An operator, and what tokens are checked against.
pub struct Account {
    pub admin: Admin,
    /// Tokens of an earlier one open nothing.
    pub epoch: i32,
    /// Sessions whose tokens open nothing.
    pub ended: Vec<Uuid>,
}

/// Which people to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// A part of the folded username.
    pub username: Option<&'a str>,
    /// Is that all of it?
    pub exact: bool,
    pub enabled: Option<bool>,
}

pub async fn find(store: &Store, id: AdminId) -> Result<Option<Account>> {
    store.query(FIND, &[&id.0]).await?.first().map(account_from).transpose()
}

/// As [`find`], where the transaction stands.
pub async fn find_in(tx: &mut RealmTx, id: AdminId) -> Result<Option<Account>> {
    tx.query(FIND_IN, &[&id.0]).await?.first().map(account_from).transpose()
}

/// The operator of that name, with what proves the password, if there is one.
pub async fn find_by_username(store: &Store, name: &Username) -> Result<Option<(Account, Option<PasswordHash>)>> {
    let rows = store.query(FIND_BY_USERNAME, &[&name.key()]).await?;
    let found = |row: &Row| {
        let hash: Option<String> = row.try_get("password_hash")?;
        Ok((account_from(row)?, hash.map(PasswordHash::from_phc)))
    };
    rows.first().map(found).transpose()
}

/// People in the order of their names.
pub async fn list(store: &Store, filter: Filter<'_>, offset: i64, limit: i64) -> Result<Vec<Admin>> {
    let rows = store.query(LIST, &[&filter.username, &filter.exact, &filter.enabled, &offset, &limit]).await?;
    rows.iter().map(|row| Ok(account_from(row)?.admin)).collect()
}

pub async fn count(store: &Store, filter: Filter<'_>) -> Result<i64> {
    let rows = store.query(COUNT, &[&filter.username, &filter.exact, &filter.enabled]).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// Is there any operator?
pub async fn exist(store: &Store) -> Result<bool> {
    Ok(!store.query("SELECT FROM admins LIMIT 1", &[]).await?.is_empty())
}

/// Makes the first operator, with the role `admin`. `false` if there is one already: of several nodes which start at
/// once, one succeeds.
pub async fn found(
    store: &Store,
    id: AdminId,
    username: &Username,
    hash: &PasswordHash,
    at: Timestamp,
) -> Result<bool> {
    let sql = "SELECT found_admin($1, $2, $3, $4, true, $5)";
    let rows = store.query(sql, &[&id.0, &username.key(), &username.as_str(), &hash.as_phc(), &at]).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

/// [`Error::Taken`](super::error::Error::Taken) if somebody has the name. Rights are granted apart.
pub async fn insert(
    tx: &mut RealmTx,
    admin: &Admin,
    username: &Username,
    password: Option<&PasswordHash>,
) -> Result<()> {
    let (key, hash) = (username.key(), password.map(PasswordHash::as_phc));
    let Admin { id, client_id, enabled, created_at, .. } = admin;
    tx.query(INSERT, &[&id.0, &key, &username.as_str(), &hash, client_id, enabled, created_at]).await.map(|_| ())
}

/// [`Error::Taken`](super::error::Error::Taken) if somebody has the name.
pub async fn update(tx: &mut RealmTx, admin: &Admin, username: &Username) -> Result<()> {
    let Admin { id, client_id, enabled, .. } = admin;
    tx.query(UPDATE, &[&id.0, &username.key(), &username.as_str(), client_id, enabled]).await.map(|_| ())
}

/// Sets the password; ends all sessions and forgets failed sign-ins.
pub async fn set_password(tx: &mut RealmTx, id: AdminId, password: &PasswordHash) -> Result<()> {
    tx.query(SET_PASSWORD, &[&id.0, &password.as_phc()]).await.map(|_| ())
}

/// Ends all sessions, as a new secret of a service account does too.
pub async fn end_sessions(tx: &mut RealmTx, id: AdminId) -> Result<()> {
    tx.query(END_SESSIONS, &[&id.0]).await.map(|_| ())
}

pub async fn delete(tx: &mut RealmTx, id: AdminId) -> Result<()> {
    tx.query(DELETE, &[&id.0]).await.map(|_| ())
}

/// Those which are held already stay. A realm which has gone meanwhile has no roles.
pub async fn grant(tx: &mut RealmTx, id: AdminId, realm: RealmId, roles: &[&str]) -> Result<()> {
    tx.query(GRANT, &[&id.0, &realm.0, &roles]).await.map(|_| ())
}

pub async fn revoke(tx: &mut RealmTx, id: AdminId, realm: RealmId, roles: &[&str]) -> Result<()> {
    tx.query(REVOKE, &[&id.0, &realm.0, &roles]).await.map(|_| ())
}

/// Is there an enabled operator with the role `admin` who can sign in?
pub async fn somebody_may_everything(tx: &mut RealmTx) -> Result<bool> {
    Ok(!tx.query(SOMEBODY_MAY_EVERYTHING, &[]).await?.is_empty())
}

/// Ends one session, whose last token expires at `expires_at`.
pub async fn end_session(
    store: &Store,
    id: AdminId,
    session: Uuid,
    expires_at: Timestamp,
    at: Timestamp,
) -> Result<()> {
    store.query(END_SESSION, &[&id.0, &session, &expires_at, &at]).await.map(|_| ())
}

fn account_from(row: &Row) -> Result<Account> {
    let roles: Option<Json<Vec<(String, String)>>> = row.try_get("roles")?;
    let admin = Admin {
        id: AdminId(row.try_get("id")?),
        username: row.try_get("username")?,
        client_id: row.try_get("client_id")?,
        enabled: row.try_get("enabled")?,
        external: false,
        created_at: row.try_get("created_at")?,
        rights: Rights::of(roles.map(|roles| roles.0).unwrap_or_default()),
    };
    Ok(Account { admin, epoch: row.try_get("epoch")?, ended: row.try_get("ended")? })
}
