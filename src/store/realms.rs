//! Realms and their domains: the register of tenants, outside of row-level security.

use jiff::Timestamp;
use serde_json::json;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::{
    Store,
    error::{Error, Result},
    pulse::CHANNEL,
    tx::RealmTx,
};
use crate::model::{
    Actor, Cause, RealmId,
    admin::Right,
    alias::AliasPath,
    identity::Identity,
    policy::Policy,
    realm::{CursorKey, Domain, Realm, RealmName},
    role::SCIM_MANAGED,
};
use crate::scim::{extension::Extension, schema::ResourceTypes};

const FIND_BY_NAME: &str = "SELECT r.* FROM realms r WHERE r.name = $1";

const FIND: &str = "SELECT r.* FROM realms r WHERE r.id = $1";

const FIND_BY_DOMAIN: &str = "SELECT r.* FROM realm_domains d JOIN realms r ON r.id = d.realm_id WHERE d.domain = $1";

/// The shortest of `$1`: none lies below another.
const FIND_BY_ALIAS: &str = "
    SELECT a.path, r.* FROM realm_aliases a JOIN realms r ON r.id = a.realm_id WHERE a.path = ANY ($1)
     ORDER BY length(a.path) LIMIT 1";

/// An alias covers what lies below it, so two of them must not lie in one line. `$3` are the paths above and the path
/// itself; in the order of bytes, what lies below it stands between `/` and the sign behind that.
const ADD_ALIAS: &str = "
    INSERT INTO realm_aliases (path, realm_id, created_at)
    SELECT $2, $1, $4
     WHERE NOT EXISTS (SELECT FROM realm_aliases WHERE path = ANY ($3) OR path > $2 || '/' AND path < $2 || '0')
    RETURNING true";

const LIST: &str = "
    SELECT r.* FROM realms r
     WHERE ($1::text IS NULL OR strpos(r.name, $1) > 0) AND ($4::text[] IS NULL OR r.name = ANY ($4))
     ORDER BY r.name OFFSET $2 LIMIT $3";

/// Raises the epoch: every verdict made before is worth nothing once this commits, on every node. The others are told,
/// so that they learn it before they ask.
const UPDATE: &str = "
    WITH raised AS (
        UPDATE realms
           SET epoch = epoch + 1, updated_at = $3, display_name = $4, enabled = $5, scim_enabled = $6, policy = $7,
               extensions = $8, identity = $9,
               foreign_tokens = EXISTS (SELECT FROM scim_tokens WHERE realm_id = $1 AND format <> 'realmgate')
         WHERE id = $1 AND epoch = $2
        RETURNING id, epoch)
    SELECT epoch, pg_notify($10, id::text) FROM raised";

/// Some rows of a table, counted: a realm may hold more than one statement has time for.
macro_rules! delete_some {
    ($table:literal, $key:literal) => {
        concat!(
            "WITH gone AS (DELETE FROM ",
            $table,
            " WHERE realm_id = $1 AND (",
            $key,
            ") IN (SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE realm_id = $1 LIMIT 5000) RETURNING true) SELECT count(*) FROM gone"
        )
    };
}

/// What a realm holds most of. Who refers to a row goes before it, so that no foreign key has anything to look for.
const DELETE_SOME: [&str; 14] = [
    delete_some!("request_log", "id"),
    delete_some!("deliveries", "webhook_id, id"),
    delete_some!("outbox", "id"),
    delete_some!("events", "seq"),
    delete_some!("revocations", "seq"),
    delete_some!("held_changes", "kind, subject_id, group_id"),
    delete_some!("departures", "person_id"),
    delete_some!("tombstones", "resource_type, id"),
    delete_some!("group_members", "group_id, member_id"),
    delete_some!("group_roles", "group_id, role_id"),
    delete_some!("groups", "id"),
    delete_some!("user_roles", "user_id, role_id"),
    delete_some!("user_emails", "user_id, email_key"),
    delete_some!("users", "id"),
];

/// Whoever writes in the realm holds its row for its key, and is waited for.
const LOCK: &str = "SELECT FROM realms WHERE id = $1 FOR UPDATE";

/// The rest of what the realm holds goes with its row.
const DELETE: &str = "
    WITH gone AS (DELETE FROM realms WHERE id = $1 AND epoch = $2 RETURNING id, name),
    noted AS (
        INSERT INTO audit_log (id, realm_id, actor, request_id, action, target, created_at)
        SELECT $4, id, $5, $6, 'realm.delete', name, $7 FROM gone)
    SELECT pg_notify($3, id::text) FROM gone";

/// Makes a realm by the function of `0003_roles.sql`. Who may not everything anyhow has all rights in what he made.
const INSERT: &str = "
    WITH noted AS (
        INSERT INTO audit_log (id, realm_id, actor, request_id, action, target, after, created_at)
        VALUES ($8, $1, $9, $10, 'realm.create', $2, $11, $5)),
    granted AS (
        INSERT INTO admin_roles (admin_id, realm_id, role)
        SELECT a.id, $1, unnest($13::text[]) FROM admins a
         WHERE a.id = $12 AND NOT EXISTS (SELECT FROM admin_roles o WHERE o.admin_id = a.id AND o.role = 'admin'))
    SELECT found_realm($1, $2, $3, $4, $5, $6, $7)";

/// Creates a realm with the role `scim-managed`, at epoch 1 and without SCIM.
pub async fn insert(
    store: &Store,
    name: &RealmName,
    display_name: Option<&str>,
    enabled: bool,
    cause: &Cause,
) -> Result<()> {
    let (id, role, entry) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let after = Json(json!({ "display_name": display_name, "enabled": enabled }));
    let rights = Right::ALL.map(Right::as_str);
    let operator = if let Actor::Admin(id) = &cause.actor { Some(id.0) } else { None };
    store
        .query(
            INSERT,
            &[
                &id,
                &name.as_str(),
                &display_name,
                &enabled,
                &cause.at,
                &role,
                &SCIM_MANAGED,
                &entry,
                &Json(&cause.actor),
                &&*cause.request_id,
                &after,
                &operator,
                &&rights[..],
            ],
        )
        .await?;
    Ok(())
}

pub async fn find(store: &Store, id: RealmId) -> Result<Option<Realm>> {
    store.query(FIND, &[&id.0]).await?.first().map(realm_from).transpose()
}

pub async fn find_by_name(store: &Store, name: &str) -> Result<Option<Realm>> {
    store.query(FIND_BY_NAME, &[&name]).await?.first().map(realm_from).transpose()
}

/// The realm which the custom domain belongs to.
pub async fn find_by_domain(store: &Store, domain: &str) -> Result<Option<Realm>> {
    store.query(FIND_BY_DOMAIN, &[&domain]).await?.first().map(realm_from).transpose()
}

/// Realms by name, `limit` of them after the first `offset`; `search` is part of the name, which is one of `among`.
pub async fn list(
    store: &Store,
    search: Option<&str>,
    among: Option<&[&str]>,
    offset: i64,
    limit: i64,
) -> Result<Vec<Realm>> {
    store.query(LIST, &[&search, &offset, &limit, &among]).await?.iter().map(realm_from).collect()
}

/// Writes what may change of a realm and raises its epoch; [`Error::Stale`] if somebody else was quicker.
/// Answers the new epoch.
pub async fn update(tx: &mut RealmTx, realm: &Realm, at: Timestamp) -> Result<i64> {
    let rows = tx
        .query(
            UPDATE,
            &[
                &realm.epoch,
                &at,
                &realm.display_name,
                &realm.enabled,
                &realm.scim_enabled,
                &Json(&realm.policy),
                &Json(&realm.types.added),
                &Json(&realm.identity),
                &CHANNEL,
            ],
        )
        .await?;
    rows.first().map_or(Err(Error::Stale), |row| Ok(row.try_get(0)?))
}

/// Holds the realm's row until the transaction ends, once every write which was under way in the realm has ended.
pub async fn hold(tx: &mut RealmTx) -> Result<()> {
    tx.query(LOCK, &[]).await.map(|_| ())
}

/// Deletes a part of what the realm holds. Is there more?
pub async fn delete_some(mut tx: RealmTx) -> Result<bool> {
    for sql in DELETE_SOME {
        let rows = tx.query(sql, &[]).await?;
        let deleted: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        if deleted > 0 {
            tx.commit().await?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes the realm and what is left in it, and tells the other nodes; [`Error::Stale`] if it has changed.
pub async fn delete(mut tx: RealmTx, epoch: i64, cause: &Cause) -> Result<()> {
    hold(&mut tx).await?;
    // Nothing is added from here on: who writes the log holds the realm as well.
    // The others have no foreign key; what a sequencer has in hand is waited for at the outbox.
    for table in ["request_log", "outbox", "events", "revocations"] {
        tx.query(&format!("DELETE FROM {table} WHERE realm_id = $1"), &[]).await?;
    }
    let (entry, actor) = (Uuid::now_v7(), Json(&cause.actor));
    let rows = tx.finish(DELETE, &[&epoch, &CHANNEL, &entry, &actor, &&*cause.request_id, &cause.at]).await?;
    if rows.is_empty() { Err(Error::Stale) } else { Ok(()) }
}

pub async fn domains(store: &Store, realm: RealmId) -> Result<Vec<String>> {
    let sql = "SELECT domain FROM realm_domains WHERE realm_id = $1 ORDER BY domain";
    store.query(sql, &[&realm.0]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// [`Error::Taken`] if a realm has the domain, this one included.
pub async fn add_domain(tx: &mut RealmTx, domain: &Domain, at: Timestamp) -> Result<()> {
    let sql = "INSERT INTO realm_domains (domain, realm_id, created_at) VALUES ($2, $1, $3)";
    tx.query(sql, &[&domain.as_str(), &at]).await.map(|_| ())
}

/// Is it a domain of the realm?
pub async fn has_domain(tx: &mut RealmTx, domain: &Domain) -> Result<bool> {
    let sql = "SELECT FROM realm_domains WHERE realm_id = $1 AND domain = $2";
    Ok(!tx.query(sql, &[&domain.as_str()]).await?.is_empty())
}

/// Was it a domain of the realm?
pub async fn remove_domain(tx: &mut RealmTx, domain: &str) -> Result<bool> {
    let sql = "DELETE FROM realm_domains WHERE realm_id = $1 AND domain = $2 RETURNING true";
    Ok(!tx.query(sql, &[&domain]).await?.is_empty())
}

/// The realm whose alias is one of `paths`, and that alias.
pub async fn find_by_alias(store: &Store, paths: &[&str]) -> Result<Option<(String, Realm)>> {
    let rows = store.query(FIND_BY_ALIAS, &[&paths]).await?;
    rows.first().map(|row| Ok((row.try_get("path")?, realm_from(row)?))).transpose()
}

/// In the order of their bytes.
pub async fn aliases(store: &Store, realm: RealmId) -> Result<Vec<String>> {
    let sql = "SELECT path FROM realm_aliases WHERE realm_id = $1 ORDER BY path";
    store.query(sql, &[&realm.0]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Was it added? Not if it, a path above it or one below it is an alias already, of whichever realm.
pub async fn add_alias(tx: &mut RealmTx, alias: &AliasPath, at: Timestamp) -> Result<bool> {
    Ok(!tx.query(ADD_ALIAS, &[&alias.as_str(), &alias.and_above(), &at]).await?.is_empty())
}

/// Is it an alias of the realm?
pub async fn has_alias(tx: &mut RealmTx, alias: &AliasPath) -> Result<bool> {
    let sql = "SELECT FROM realm_aliases WHERE realm_id = $1 AND path = $2";
    Ok(!tx.query(sql, &[&alias.as_str()]).await?.is_empty())
}

/// Was it an alias of the realm?
pub async fn remove_alias(tx: &mut RealmTx, path: &str) -> Result<bool> {
    let sql = "DELETE FROM realm_aliases WHERE realm_id = $1 AND path = $2 RETURNING true";
    Ok(!tx.query(sql, &[&path]).await?.is_empty())
}

fn realm_from(row: &Row) -> Result<Realm> {
    let name: String = row.try_get("name")?;
    Ok(Realm {
        id: RealmId(row.try_get("id")?),
        name: RealmName::parse(&name)
            .map_err(|e| Error::Unavailable(format!("realm `{name}` in the database: {e}")))?,
        display_name: row.try_get("display_name")?,
        enabled: row.try_get("enabled")?,
        scim_enabled: row.try_get("scim_enabled")?,
        foreign_tokens: row.try_get("foreign_tokens")?,
        epoch: row.try_get("epoch")?,
        policy: row.try_get::<_, Json<Policy>>("policy")?.0,
        identity: row.try_get::<_, Json<Identity>>("identity")?.0,
        types: ResourceTypes::extended(row.try_get::<_, Json<Vec<Extension>>>("extensions")?.0),
        cursor_key: CursorKey::new(row.try_get("cursor_key")?),
        created_at: row.try_get("created_at")?,
    })
}
