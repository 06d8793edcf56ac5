//! Groups, without their members.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    json::JsonText,
    members,
    outbox::Origin,
    tx::RealmTx,
    users::document_from,
};
use crate::model::{
    GroupId,
    document::Document,
    group::{Group, Place},
};

/// What is written of a group: the document, and beside it what is looked up.
#[derive(Debug)]
pub struct GroupRow {
    pub display_name_key: String,
    /// The key once more where the policy wants unique names.
    pub unique_name: Option<String>,
    pub external_id: Option<String>,
    pub attributes: JsonText,
    /// The document as filters compare it, where that is not the document itself.
    pub comparable: Option<JsonText>,
}

pub const INSERT: &str = "
    WITH created AS (
        INSERT INTO groups (realm_id, id, version, created_at, updated_at, display_name_key, unique_name, external_id,
                            attributes, comparable, managed)
        VALUES ($1, $2, 1, $3, $3, $4, $5, $6, $9, $10, $11))
    INSERT INTO outbox (realm_id, event, resource_id, version, attributes, facts, actor, request_id, created_at)
    VALUES ($1, 'dsync.group.created', $2, 1, $9, jsonb_build_object('managed', $11::boolean), $7, $8, $3)";

pub const FIND: &str = "
    SELECT id, version, created_at, updated_at, attributes, managed FROM groups
     WHERE realm_id = $1 AND id = $2 AND managed";

/// The group in the first row, a stretch of its members in those behind it: one statement sees both at one moment. Its
/// parameters are those of [`members::READ`].
static FIND_WITH_MEMBERS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, version, created_at, updated_at, attributes, managed, NULL AS place, NULL AS is_there,
                NULL AS member_id, NULL AS is_nested, NULL AS display
           FROM groups WHERE realm_id = $1 AND id = ($2::uuid[])[1] AND managed
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, NULL, m.* FROM ({}) m",
        members::READ
    )
});

/// Foreign keys still find the group meanwhile, so it can become a member of others.
static LOCK: LazyLock<String> = LazyLock::new(|| format!("{FIND} FOR NO KEY UPDATE"));

static LOCK_TO_DELETE: LazyLock<String> = LazyLock::new(|| format!("{FIND} FOR UPDATE"));

const UPDATE: &str = "
    WITH updated AS (
        UPDATE groups
           SET version = version + 1, updated_at = greatest(updated_at, $3), display_name_key = $4, unique_name = $5,
               external_id = $6, attributes = $10, comparable = $11
         WHERE realm_id = $1 AND id = $2
        RETURNING version, updated_at, managed),
    told AS (
        INSERT INTO outbox (realm_id, event, resource_id, version, attributes, previous, facts, actor, request_id,
                            created_at)
        SELECT $1, 'dsync.group.updated', $2, version, $10, $9, jsonb_build_object('managed', managed), $7, $8, $3
          FROM updated)
    SELECT version, updated_at FROM updated";

/// Holds the groups around a group which is about to go, for the reason told at `users::LOCK_GROUPS`.
const LOCK_PARENTS: &str = "
    SELECT FROM groups
     WHERE realm_id = $1
       AND id IN (SELECT group_id FROM group_members WHERE realm_id = $1 AND nested_id = $2 AND nested_id IS NOT NULL)
     ORDER BY id FOR NO KEY UPDATE";

/// Memberships go by the foreign key; those of the group in other groups are told of, as are those in it; last, that it
/// is gone.
const DELETE: &str = "
    WITH gone AS (
        DELETE FROM groups WHERE realm_id = $1 AND id = $2 RETURNING version, created_at, attributes, managed),
    parents AS (
        UPDATE groups g SET version = g.version + 1, updated_at = greatest(g.updated_at, $3)
          FROM group_members m
         WHERE m.realm_id = $1 AND m.nested_id = $2 AND g.realm_id = $1 AND g.id = m.group_id
        RETURNING g.id, g.version),
    tombstone AS (
        INSERT INTO tombstones (realm_id, resource_type, id, version, created_at, deleted_at, attributes)
        SELECT $1, 'Group', $2, version + 1, created_at, $3, attributes FROM gone WHERE $6)
    INSERT INTO outbox (realm_id, event, resource_id, version, member_id, attributes, facts, actor, request_id,
                        created_at)
    SELECT $1, event, id, version, member_id, attributes, facts, $4, $5, $3
      FROM (SELECT 'dsync.group.user_removed' AS event, id, version, $2::uuid AS member_id, NULL::jsonb AS attributes,
                   '{\"member\": \"Group\"}'::jsonb AS facts
              FROM parents
            UNION ALL
            SELECT 'dsync.group.user_removed', $2, gone.version + 1, m.member_id, NULL,
                   jsonb_build_object('member', CASE WHEN m.nested_id IS NULL THEN 'User' ELSE 'Group' END)
              FROM group_members m, gone WHERE m.realm_id = $1 AND m.group_id = $2
            UNION ALL
            SELECT 'dsync.group.deleted', $2, version + 1, NULL, attributes, jsonb_build_object(
                       'managed', managed, 'created_at', created_at, 'roles', ARRAY(
                           SELECT role_id FROM group_roles WHERE realm_id = $1 AND group_id = $2))
              FROM gone) told";

/// Creates the group, without members.
pub async fn insert(tx: &mut RealmTx, id: GroupId, row: &GroupRow, managed: bool, origin: &Origin<'_>) -> Result<()> {
    tx.query(
        INSERT,
        &[
            &id.0,
            &origin.at,
            &row.display_name_key,
            &row.unique_name,
            &row.external_id,
            &origin.actor,
            &origin.request_id,
            &row.attributes,
            &row.comparable,
            &managed,
        ],
    )
    .await
    .map(|_| ())
}

/// The group of the IdP's.
pub async fn find(tx: &mut RealmTx, id: GroupId) -> Result<Option<Document>> {
    tx.query(FIND, &[&id.0]).await?.first().map(document_from).transpose()
}

/// The group with the first of its members; and commits.
pub async fn find_with_members(mut tx: RealmTx, id: GroupId, named: bool) -> Result<Option<Group>> {
    let first = Place::default();
    let rows = tx.finish(&FIND_WITH_MEMBERS, &[&[id.0].as_slice(), &first.after, &members::STRETCH, &named]).await?;
    match rows.split_first() {
        Some((row, members)) if row.try_get::<_, Option<Uuid>>("id")?.is_some() => {
            Ok(Some(Group { document: document_from(row)?, members: Some(members::stretch_of(members, first.group)?) }))
        }
        _ => Ok(None),
    }
}

/// The group of the IdP's, held against every other writer of it and of its membership until the transaction ends.
pub async fn lock(tx: &mut RealmTx, id: GroupId) -> Result<Option<Document>> {
    tx.query(&LOCK, &[&id.0]).await?.first().map(document_from).transpose()
}

/// The group of the IdP's, held against everybody who would write it or refer to it.
pub async fn lock_to_delete(tx: &mut RealmTx, id: GroupId) -> Result<Option<Document>> {
    tx.query(&LOCK_TO_DELETE, &[&id.0]).await?.first().map(document_from).transpose()
}

/// Writes a locked group. `previous` are the former values of what changed. Answers version and time of the change.
pub async fn update(
    tx: &mut RealmTx,
    id: GroupId,
    row: &GroupRow,
    previous: &Map<String, Value>,
    origin: &Origin<'_>,
) -> Result<(i64, Timestamp)> {
    let rows = tx
        .query(
            UPDATE,
            &[
                &id.0,
                &origin.at,
                &row.display_name_key,
                &row.unique_name,
                &row.external_id,
                &origin.actor,
                &origin.request_id,
                &Json(previous),
                &row.attributes,
                &row.comparable,
            ],
        )
        .await?;
    let row = rows.first().ok_or(Error::Deadlock)?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Deletes a group which is locked for that; and commits, if that is the `last` statement.
pub async fn delete(
    tx: &mut RealmTx,
    id: GroupId,
    keep_tombstone: bool,
    origin: &Origin<'_>,
    last: bool,
) -> Result<()> {
    tx.query(LOCK_PARENTS, &[&id.0]).await?;
    let params: [&(dyn ToSql + Sync); 5] = [&id.0, &origin.at, &origin.actor, &origin.request_id, &keep_tombstone];
    let outcome = if last { tx.finish(DELETE, &params).await } else { tx.query(DELETE, &params).await };
    outcome.map(|_| ())
}

/// Brings the unique names of all groups in line with the realm's policy.
pub async fn set_unique_names(tx: &mut RealmTx, unique: bool) -> Result<()> {
    let sql = "UPDATE groups SET unique_name = CASE WHEN $2 THEN display_name_key END WHERE realm_id = $1";
    tx.query(sql, &[&unique]).await.map(|_| ())
}
