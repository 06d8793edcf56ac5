//! Users.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio_postgres::{
    Row,
    types::{Json, ToSql},
};
use uuid::Uuid;

use super::{error::Result, json::JsonText, outbox::Origin, tx::RealmTx};
use crate::model::{
    UserId,
    document::Document,
    user::{State, User},
};

/// What is written of a user: the document, and beside it what is looked up.
#[derive(Debug)]
pub struct UserRow {
    pub active: bool,
    pub user_name_key: String,
    pub external_id: Option<String>,
    pub display_name_key: Option<String>,
    pub email_keys: Vec<String>,
    pub attributes: JsonText,
    /// The document as filters compare it, where that is not the document itself.
    pub comparable: Option<JsonText>,
}

/// One statement: the user, its e-mails, its role mapping if the IdP manages it, its outbox row.
pub const INSERT: &str = "
    WITH created AS (
        INSERT INTO users (realm_id, id, version, created_at, updated_at, active, activated_at, user_name_key,
                           external_id, display_name_key, display_name, attributes, comparable, managed)
        VALUES ($1, $2, 1, $3, $3, $4, $5, $6, $7, $8, $12::jsonb ->> 'displayName', $12, $13, $14)),
    mails AS (
        INSERT INTO user_emails (realm_id, user_id, email_key) SELECT $1, $2, key FROM unnest($9::text[]) AS key),
    mapped AS (
        INSERT INTO user_roles (realm_id, user_id, role_id, created_at, actor, request_id)
        SELECT $1, $2, id, $3, $10, $11 FROM roles WHERE realm_id = $1 AND name = 'scim-managed' AND $14)
    INSERT INTO outbox (realm_id, event, resource_id, version, attributes, facts, actor, request_id, created_at)
    VALUES ($1, 'dsync.user.created', $2, 1, $12, user_facts($4, $5, $12::jsonb ->> 'displayName', $14, NULL), $10,
            $11, $3)";

/// A user of the IdP's, with the groups of the IdP's it is a direct member of; `$3` is the URL which a group's id is
/// appended to.
pub const FIND: &str = "
    SELECT r.id, r.version, r.created_at, r.updated_at, r.active, r.activated_at, r.attributes, r.managed,
           (SELECT jsonb_agg(jsonb_build_object('value', g.id, '$ref', $3::text || g.id, 'type', 'direct',
                                                'display', g.attributes -> 'displayName') ORDER BY g.id)
              FROM group_members m JOIN groups g ON g.realm_id = m.realm_id AND g.id = m.group_id AND g.managed
             WHERE m.realm_id = $1 AND m.user_id = r.id) AS groups
      FROM users r
     WHERE r.realm_id = $1 AND r.id = $2 AND r.managed";

/// The same, held against every other writer until the transaction ends.
static LOCK: LazyLock<String> = LazyLock::new(|| format!("{FIND} FOR UPDATE OF r"));

/// The same column for a list, where `$2` is the URL.
pub(super) const GROUPS: &str = "
    (SELECT jsonb_agg(jsonb_build_object('value', g.id, '$ref', $2::text || g.id, 'type', 'direct',
                                         'display', g.attributes -> 'displayName') ORDER BY g.id)
       FROM group_members m JOIN groups g ON g.realm_id = m.realm_id AND g.id = m.group_id AND g.managed
      WHERE m.realm_id = $1 AND m.user_id = r.id)";

/// The display name of the application follows only where the policy says so (M065).
const UPDATE: &str = "
    WITH updated AS (
        UPDATE users
           SET version = version + 1, updated_at = greatest(updated_at, $3), active = $4, user_name_key = $5,
               external_id = $6, display_name_key = $7, attributes = $12, comparable = $14,
               display_name = CASE WHEN $13 THEN $12::jsonb ->> 'displayName' ELSE display_name END
         WHERE realm_id = $1 AND id = $2
        RETURNING version, updated_at, active, activated_at, display_name, managed),
    gone AS (
        DELETE FROM user_emails WHERE realm_id = $1 AND user_id = $2 AND email_key <> ALL ($8)),
    come AS (
        INSERT INTO user_emails (realm_id, user_id, email_key) SELECT $1, $2, key FROM unnest($8::text[]) AS key
        ON CONFLICT DO NOTHING),
    told AS (
        INSERT INTO outbox (realm_id, event, resource_id, version, attributes, previous, facts, actor, request_id,
                            created_at)
        SELECT $1, 'dsync.user.updated', $2, version, $12, $11,
               user_facts(active, activated_at, display_name, managed, ARRAY(
                   SELECT group_id FROM group_members WHERE realm_id = $1 AND user_id = $2 AND user_id IS NOT NULL)),
               $9, $10, $3 FROM updated)
    SELECT version, updated_at FROM updated";

/// Holds the groups of a user who is about to go. A statement of its own: the next one sees who has left them while this
/// one waited, so that nobody is told to leave twice.
const LOCK_GROUPS: &str = "
    SELECT FROM groups
     WHERE realm_id = $1
       AND id IN (SELECT group_id FROM group_members WHERE realm_id = $1 AND user_id = $2 AND user_id IS NOT NULL)
     ORDER BY id FOR NO KEY UPDATE";

/// The user goes out of its groups (each one a version and an event), leaves a tombstone where wanted, and is told of,
/// last, with what else it takes for it to come back.
const DELETE: &str = "
    WITH user_gone AS (
        DELETE FROM users WHERE realm_id = $1 AND id = $2
        RETURNING version, created_at, attributes, active, activated_at, display_name, managed),
    left_groups AS (
        UPDATE groups g SET version = g.version + 1, updated_at = greatest(g.updated_at, $3)
          FROM group_members m
         WHERE m.realm_id = $1 AND m.user_id = $2 AND g.realm_id = $1 AND g.id = m.group_id
        RETURNING g.id, g.version),
    tombstone AS (
        INSERT INTO tombstones (realm_id, resource_type, id, version, created_at, deleted_at, attributes)
        SELECT $1, 'User', $2, version + 1, created_at, $3, attributes FROM user_gone WHERE $6)
    INSERT INTO outbox (realm_id, event, resource_id, version, member_id, attributes, facts, actor, request_id,
                        created_at)
    SELECT $1, event, id, version, member_id, attributes, facts, $4, $5, $3
      FROM (SELECT 'dsync.group.user_removed' AS event, id, version, $2::uuid AS member_id, NULL::jsonb AS attributes,
                   '{\"member\": \"User\"}'::jsonb AS facts
              FROM left_groups
            UNION ALL
            SELECT 'dsync.user.deleted', $2, version + 1, NULL, attributes,
                   user_facts(active, activated_at, display_name, managed, NULL) || jsonb_build_object(
                       'activated', activated_at IS NOT NULL, 'created_at', created_at, 'roles', ARRAY(
                           SELECT m.role_id FROM user_roles m JOIN roles r ON r.realm_id = $1 AND r.id = m.role_id
                            WHERE m.realm_id = $1 AND m.user_id = $2 AND r.name <> 'scim-managed'))
              FROM user_gone) told";

/// Creates the user; and commits, if that is the `last` statement. `activated` where nobody wants a shadow.
pub async fn insert(
    tx: &mut RealmTx,
    id: UserId,
    row: &UserRow,
    activated: bool,
    managed: bool,
    origin: &Origin<'_>,
    last: bool,
) -> Result<()> {
    let activated_at = activated.then_some(origin.at);
    let params: [&(dyn ToSql + Sync); 13] = [
        &id.0,
        &origin.at,
        &row.active,
        &activated_at,
        &row.user_name_key,
        &row.external_id,
        &row.display_name_key,
        &row.email_keys,
        &origin.actor,
        &origin.request_id,
        &row.attributes,
        &row.comparable,
        &managed,
    ];
    let outcome = if last { tx.finish(INSERT, &params).await } else { tx.query(INSERT, &params).await };
    outcome.map(|_| ())
}

/// The user as an answer needs it. `groups_url` ends in a slash.
pub async fn find(mut tx: RealmTx, id: UserId, groups_url: &str) -> Result<Option<User>> {
    let rows = tx.finish(FIND, &[&id.0, &groups_url]).await?;
    rows.first().map(user_from).transpose()
}

/// The user, held against every other writer until the transaction ends.
pub async fn lock(tx: &mut RealmTx, id: UserId, groups_url: &str) -> Result<Option<User>> {
    let rows = tx.query(&LOCK, &[&id.0, &groups_url]).await?;
    rows.first().map(user_from).transpose()
}

/// Writes a locked user; and commits, if that is the `last` statement. `previous` are the former values of what changed. Answers version and time of the change.
pub async fn update(
    tx: &mut RealmTx,
    id: UserId,
    row: &UserRow,
    previous: &Map<String, Value>,
    display_name_follows: bool,
    origin: &Origin<'_>,
    last: bool,
) -> Result<(i64, Timestamp)> {
    let params: [&(dyn ToSql + Sync); 13] = [
        &id.0,
        &origin.at,
        &row.active,
        &row.user_name_key,
        &row.external_id,
        &row.display_name_key,
        &row.email_keys,
        &origin.actor,
        &origin.request_id,
        &Json(previous),
        &row.attributes,
        &display_name_follows,
        &row.comparable,
    ];
    let rows = if last { tx.finish(UPDATE, &params).await? } else { tx.query(UPDATE, &params).await? };
    let row = rows.first().ok_or(super::error::Error::Deadlock)?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Deletes a locked user; and commits, if that is the `last` statement.
pub async fn delete(tx: &mut RealmTx, id: UserId, keep_tombstone: bool, origin: &Origin<'_>, last: bool) -> Result<()> {
    tx.query(LOCK_GROUPS, &[&id.0]).await?;
    let params: [&(dyn ToSql + Sync); 5] = [&id.0, &origin.at, &origin.actor, &origin.request_id, &keep_tombstone];
    let outcome = if last { tx.finish(DELETE, &params).await } else { tx.query(DELETE, &params).await };
    outcome.map(|_| ())
}

pub(super) fn user_from(row: &Row) -> Result<User> {
    let (active, activated_at): (bool, Option<Timestamp>) = (row.try_get("active")?, row.try_get("activated_at")?);
    let groups: Option<JsonText> = row.try_get("groups")?;
    Ok(User {
        document: document_from(row)?,
        activated: activated_at.is_some(),
        state: State::of(active, activated_at.is_some()),
        groups: groups.map(|text| text.0),
    })
}

/// The columns which users and groups have in common.
pub(super) fn document_from(row: &Row) -> Result<Document> {
    Ok(Document {
        id: row.try_get::<_, Uuid>("id")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        attributes: row.try_get::<_, JsonText>("attributes")?.0,
        managed: row.try_get("managed")?,
    })
}
