//! Users and groups which come from elsewhere under ids that they have already, many in one statement.

use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::Result,
    groups::GroupRow,
    outbox::Origin,
    tx::RealmTx,
    users::{UserRow, user_from},
};
use crate::model::{GroupId, user::User};

/// What a user of no name is called while a dry run assumes it.
const NOBODY: &str = "\u{1}";

/// A user as it comes.
#[derive(Debug)]
pub struct Arrival {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub activated: bool,
    /// The application's own.
    pub display_name: Option<String>,
    pub managed: bool,
    pub row: UserRow,
}

const LOCK: &str = "
    SELECT id, version, created_at, updated_at, active, activated_at, attributes, managed, NULL::jsonb AS groups
      FROM users WHERE realm_id = $1 AND id = ANY ($2) ORDER BY id FOR UPDATE";

/// As `users::INSERT`, for many: of two with one name the first gets it. Who was deleted here once comes back with the versions going on.
const INSERT: &str = "
    WITH incoming AS (
        SELECT * FROM unnest($2::uuid[], $3::timestamptz[], $4::boolean[], $5::boolean[], $6::text[], $7::text[],
                             $8::text[], $9::text[], $10::jsonb[], $11::jsonb[], $17::boolean[]) WITH ORDINALITY
            AS t (id, created_at, active, activated, user_name_key, external_id, display_name_key, display_name,
                  attributes, comparable, managed, place)),
    created AS (
        INSERT INTO users (realm_id, id, version, created_at, updated_at, active, activated_at, user_name_key,
                           external_id, display_name_key, display_name, attributes, comparable, managed)
        SELECT $1, i.id, 1 + coalesce(t.version, 0), i.created_at, $14, i.active,
               CASE WHEN i.activated THEN i.created_at END, i.user_name_key, i.external_id, i.display_name_key,
               i.display_name, i.attributes, i.comparable, i.managed
          FROM incoming i
          LEFT JOIN tombstones t ON t.realm_id = $1 AND t.resource_type = 'User' AND t.id = i.id
         ORDER BY i.place
        ON CONFLICT DO NOTHING
        RETURNING id, version, attributes, active, activated_at, display_name, managed),
    raised AS (
        DELETE FROM tombstones t USING created c
         WHERE t.realm_id = $1 AND t.resource_type = 'User' AND t.id = c.id),
    mails AS (
        INSERT INTO user_emails (realm_id, user_id, email_key)
        SELECT $1, id, key FROM unnest($12::uuid[], $13::text[]) AS m (id, key) JOIN created USING (id)),
    mapped AS (
        INSERT INTO user_roles (realm_id, user_id, role_id, created_at, actor, request_id)
        SELECT $1, c.id, r.id, $14, $15::jsonb, $16
          FROM created c, roles r WHERE c.managed AND r.realm_id = $1 AND r.name = 'scim-managed'),
    told AS (
        INSERT INTO outbox (realm_id, event, resource_id, version, attributes, facts, actor, request_id, created_at)
        SELECT $1, 'dsync.user.created', id, version, attributes,
               user_facts(active, activated_at, display_name, managed, NULL), $15, $16, $14
          FROM created)
    SELECT id FROM created";

const INSERT_GROUP: &str = "
    WITH created AS (
        INSERT INTO groups (realm_id, id, version, created_at, updated_at, display_name_key, unique_name, external_id,
                            attributes, comparable, managed)
        SELECT $1, $2, 1 + coalesce((SELECT version FROM tombstones
                                      WHERE realm_id = $1 AND resource_type = 'Group' AND id = $2), 0),
               $3, $4, $5, $6, $7, $8, $9, $12
        RETURNING version),
    raised AS (DELETE FROM tombstones WHERE realm_id = $1 AND resource_type = 'Group' AND id = $2)
    INSERT INTO outbox (realm_id, event, resource_id, version, attributes, facts, actor, request_id, created_at)
    SELECT $1, 'dsync.group.created', $2, version, $8, jsonb_build_object('managed', $12::boolean), $10, $11, $4
      FROM created";

/// The users of `ids` who are there, held against every other writer until the transaction ends.
pub async fn lock(tx: &mut RealmTx, ids: &[Uuid]) -> Result<Vec<User>> {
    tx.query(LOCK, &[&ids]).await?.iter().map(user_from).collect()
}

/// Which of `ids` are groups?
pub async fn groups_among(tx: &mut RealmTx, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let rows = tx.query("SELECT id FROM groups WHERE realm_id = $1 AND id = ANY ($2)", &[&ids]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Is `id` a user?
pub async fn is_user(tx: &mut RealmTx, id: Uuid) -> Result<bool> {
    Ok(!tx.query("SELECT FROM users WHERE realm_id = $1 AND id = $2", &[&id]).await?.is_empty())
}

/// Does a group wait for members?
pub async fn awaits_anybody(tx: &mut RealmTx) -> Result<bool> {
    Ok(!tx.query("SELECT FROM pending_members WHERE realm_id = $1 LIMIT 1", &[]).await?.is_empty())
}

/// Creates those users whose id and name are free, and answers which ones they are.
pub async fn insert(tx: &mut RealmTx, users: &[&Arrival], origin: &Origin<'_>) -> Result<Vec<Uuid>> {
    let ids = column(users, |user| user.id);
    let created_at = column(users, |user| user.created_at);
    let (active, activated) = (column(users, |user| user.row.active), column(users, |user| user.activated));
    let user_names = column(users, |user| user.row.user_name_key.as_str());
    let external_ids = column(users, |user| user.row.external_id.as_deref());
    let display_keys = column(users, |user| user.row.display_name_key.as_deref());
    let display_names = column(users, |user| user.display_name.as_deref());
    let attributes = column(users, |user| &user.row.attributes);
    let comparable = column(users, |user| user.row.comparable.as_ref());
    let managed = column(users, |user| user.managed);
    let mails = users.iter().flat_map(|user| user.row.email_keys.iter().map(|key| (user.id, key.as_str())));
    let (mail_ids, mail_keys): (Vec<Uuid>, Vec<&str>) = mails.unzip();
    let params: [&(dyn ToSql + Sync); 16] = [
        &ids,
        &created_at,
        &active,
        &activated,
        &user_names,
        &external_ids,
        &display_keys,
        &display_names,
        &attributes,
        &comparable,
        &mail_ids,
        &mail_keys,
        &origin.at,
        &origin.actor,
        &origin.request_id,
        &managed,
    ];
    tx.query(INSERT, &params).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Creates the group, without members.
pub async fn insert_group(
    tx: &mut RealmTx,
    id: GroupId,
    created_at: Timestamp,
    row: &GroupRow,
    managed: bool,
    origin: &Origin<'_>,
) -> Result<()> {
    let params: [&(dyn ToSql + Sync); 11] = [
        &id.0,
        &created_at,
        &origin.at,
        &row.display_name_key,
        &row.unique_name,
        &row.external_id,
        &row.attributes,
        &row.comparable,
        &origin.actor,
        &origin.request_id,
        &managed,
    ];
    tx.query(INSERT_GROUP, &params).await.map(|_| ())
}

/// For a dry run: users and groups of no name in the places of those who will be there, and roles.
pub async fn assume(tx: &mut RealmTx, users: &[Uuid], groups: &[Uuid], roles: &[String], at: Timestamp) -> Result<()> {
    let sql = "
        WITH assumed AS (
            INSERT INTO groups (realm_id, id, version, created_at, updated_at, display_name_key, attributes)
            SELECT $1, id, 1, $4, $4, $5, '{}' FROM unnest($3::uuid[]) AS id
            ON CONFLICT DO NOTHING),
        carried AS (
            INSERT INTO roles (realm_id, id, name, created_at)
            SELECT $1, gen_random_uuid(), name, $4 FROM unnest($6::text[]) AS name
            ON CONFLICT DO NOTHING)
        INSERT INTO users (realm_id, id, version, created_at, updated_at, active, user_name_key, attributes)
        SELECT $1, id, 1, $4, $4, true, $5 || id, '{}' FROM unnest($2::uuid[]) AS id
        ON CONFLICT DO NOTHING";
    tx.query(sql, &[&users, &groups, &at, &NOBODY, &roles]).await.map(|_| ())
}

fn column<'a, T>(users: &[&'a Arrival], value: impl Fn(&'a Arrival) -> T) -> Vec<T> {
    users.iter().copied().map(value).collect()
}
