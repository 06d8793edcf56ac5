//! Roles, what they are mapped to, and what follows from that. Nothing that follows is stored.

use tokio_postgres::{
    Row,
    types::{Json, ToSql},
};
use uuid::Uuid;

use super::{error::Result, outbox::Origin, people::Stretch, tx::RealmTx};
use crate::model::{
    Actor, GroupId, RoleId, UserId,
    role::{Holder, Membership, Role, RoleName, Source, Step},
};

const LIST: &str = "
    SELECT id, name, description FROM roles
     WHERE realm_id = $1 AND ($2::text IS NULL OR strpos(lower(name), lower($2)) > 0)
     ORDER BY name COLLATE \"C\" OFFSET $3 LIMIT $4";

const FIND: &str = "SELECT id, name, description FROM roles WHERE realm_id = $1 AND id = $2";

const FIND_BY_NAME: &str = "SELECT id, name, description FROM roles WHERE realm_id = $1 AND name = $2";

const INSERT: &str = "
    WITH created AS (INSERT INTO roles (realm_id, id, name, description, created_at) VALUES ($1, $2, $3, $4, $5))
    INSERT INTO outbox (realm_id, event, resource_id, version, facts, actor, request_id, created_at)
    VALUES ($1, 'role.created', $2, 0, jsonb_build_object('role', $3, 'description', $4), $6, $7, $5)";

const UPDATE: &str = "
    WITH updated AS (
        UPDATE roles r SET name = $3, description = $4 FROM roles o
         WHERE r.realm_id = $1 AND r.id = $2 AND o.realm_id = $1 AND o.id = $2
        RETURNING o.name, o.description)
    INSERT INTO outbox (realm_id, event, resource_id, version, previous, facts, actor, request_id, created_at)
    SELECT $1, 'role.updated', $2, 0,
           CASE WHEN name <> $3 THEN jsonb_build_object('name', name) ELSE '{}' END
           || CASE WHEN description IS DISTINCT FROM $4 THEN jsonb_build_object('description', description) ELSE '{}' END,
           jsonb_build_object('role', $3, 'description', $4), $5, $6, $7
      FROM updated";

const DELETE: &str = "
    WITH of_users AS (DELETE FROM user_roles WHERE realm_id = $1 AND role_id = $2),
    of_groups AS (DELETE FROM group_roles WHERE realm_id = $1 AND role_id = $2),
    gone AS (DELETE FROM roles WHERE realm_id = $1 AND id = $2 RETURNING name, description)
    INSERT INTO outbox (realm_id, event, resource_id, version, facts, actor, request_id, created_at)
    SELECT $1, 'role.deleted', $2, 0, jsonb_build_object('role', name, 'description', description), $3, $4, $5
      FROM gone";

/// The ids of a user's effective roles, by itself or by a group that holds it, however deep.
macro_rules! effective_role_ids {
    ($user:literal) => {
        concat!(
            "WITH RECURSIVE above (group_id) AS (
                 SELECT group_id FROM group_members
                  WHERE realm_id = $1 AND user_id = ",
            $user,
            "        AND user_id IS NOT NULL
                 UNION
                 SELECT m.group_id FROM above, LATERAL (
                     SELECT group_id FROM group_members
                      WHERE realm_id = $1 AND nested_id = above.group_id AND nested_id IS NOT NULL OFFSET 0) m)
             SELECT role_id FROM user_roles WHERE realm_id = $1 AND user_id = ",
            $user,
            "
             UNION ALL
             SELECT m.role_id FROM above JOIN group_roles m ON m.realm_id = $1 AND m.group_id = above.group_id"
        )
    };
}
pub(super) use effective_role_ids;

const EFFECTIVE: &str = concat!(
    "SELECT r.id, r.name, r.description FROM roles r WHERE r.realm_id = $1 AND r.id IN (",
    effective_role_ids!("$2"),
    ") ORDER BY r.name COLLATE \"C\""
);

/// The memberships above a user, each once: of the user, of its groups, and so on to the outermost. Groups cannot hold
/// themselves, and `UNION` would end it even if they did.
const ABOVE: &str = "
    WITH RECURSIVE above (inner_id, group_id, created_at, actor, request_id) AS (
        SELECT NULL::uuid, m.group_id, m.created_at, m.actor, m.request_id FROM group_members m
         WHERE m.realm_id = $1 AND m.user_id = $2 AND m.user_id IS NOT NULL
        UNION
        SELECT above.group_id, m.group_id, m.created_at, m.actor, m.request_id
          FROM above, LATERAL (
              SELECT group_id, created_at, actor, request_id FROM group_members
               WHERE realm_id = $1 AND nested_id = above.group_id AND nested_id IS NOT NULL OFFSET 0) m)";

/// Which of the groups above carry the role, by what mapping.
const CARRIERS_ABOVE: &str = "
    SELECT m.group_id, m.created_at, m.actor, m.request_id FROM group_roles m
     WHERE m.realm_id = $1 AND m.role_id = $2 AND m.group_id = ANY ($3) ORDER BY m.group_id";

const CARRIERS: &str = "
    SELECT g.id, g.attributes ->> 'displayName' AS name
      FROM group_roles m JOIN groups g ON g.realm_id = $1 AND g.id = m.group_id
     WHERE m.realm_id = $1 AND m.role_id = $2 ORDER BY g.display_name_key, g.id LIMIT $3";

pub async fn list(mut tx: RealmTx, part: Option<&str>, stretch: Stretch) -> Result<Vec<Role>> {
    tx.finish(LIST, &[&part, &stretch.first, &stretch.max]).await?.iter().map(role_from).collect()
}

pub async fn find(tx: &mut RealmTx, id: RoleId) -> Result<Option<Role>> {
    tx.query(FIND, &[&id.0]).await?.first().map(role_from).transpose()
}

pub async fn find_by_name(tx: &mut RealmTx, name: &str) -> Result<Option<Role>> {
    tx.query(FIND_BY_NAME, &[&name]).await?.first().map(role_from).transpose()
}

/// [`super::error::Error::Taken`] if the realm has a role of that name.
pub async fn insert(
    tx: &mut RealmTx,
    id: RoleId,
    name: &RoleName,
    description: Option<&str>,
    origin: &Origin<'_>,
) -> Result<()> {
    let params: [&(dyn ToSql + Sync); 6] =
        [&id.0, &name.as_str(), &description, &origin.at, &origin.actor, &origin.request_id];
    tx.query(INSERT, &params).await.map(|_| ())
}

/// [`super::error::Error::Taken`] if another role of the realm has the name.
pub async fn update(tx: &mut RealmTx, role: &Role, origin: &Origin<'_>) -> Result<()> {
    let params: [&(dyn ToSql + Sync); 6] =
        [&role.id.0, &role.name, &role.description, &origin.actor, &origin.request_id, &origin.at];
    tx.query(UPDATE, &params).await.map(|_| ())
}

/// Deletes the role and its mappings.
pub async fn delete(tx: &mut RealmTx, id: RoleId, origin: &Origin<'_>) -> Result<()> {
    tx.query(DELETE, &[&id.0, &origin.actor, &origin.request_id, &origin.at]).await.map(|_| ())
}

/// The roles which are mapped to the holder itself, by name.
pub async fn of(mut tx: RealmTx, holder: Holder) -> Result<Vec<Role>> {
    let (table, column) = place(holder);
    let sql = format!(
        "SELECT r.id, r.name, r.description FROM {table} m JOIN roles r ON r.realm_id = $1 AND r.id = m.role_id
          WHERE m.realm_id = $1 AND m.{column} = $2 ORDER BY r.name COLLATE \"C\""
    );
    tx.finish(&sql, &[&holder.id()]).await?.iter().map(role_from).collect()
}

/// The roles which the user has, by itself or by a group that holds it, however deep.
pub async fn effective(mut tx: RealmTx, user: UserId) -> Result<Vec<Role>> {
    tx.finish(EFFECTIVE, &[&user.0]).await?.iter().map(role_from).collect()
}

/// The roles which a group has, by itself or by a group that holds it, however deep.
pub async fn effective_of_group(mut tx: RealmTx, group: GroupId) -> Result<Vec<Role>> {
    let sql = "
        WITH RECURSIVE above (group_id) AS (
            SELECT $2::uuid
            UNION
            SELECT m.group_id FROM above, LATERAL (
                SELECT group_id FROM group_members
                 WHERE realm_id = $1 AND nested_id = above.group_id AND nested_id IS NOT NULL OFFSET 0) m)
        SELECT r.id, r.name, r.description FROM roles r
         WHERE r.realm_id = $1 AND r.id IN (
               SELECT m.role_id FROM above JOIN group_roles m ON m.realm_id = $1 AND m.group_id = above.group_id)
         ORDER BY r.name COLLATE \"C\"";
    tx.finish(sql, &[&group.0]).await?.iter().map(role_from).collect()
}

/// Maps roles of the realm to the holder; which of them it did not have before?
pub async fn map(tx: &mut RealmTx, holder: Holder, roles: &[Uuid], origin: &Origin<'_>) -> Result<Vec<Uuid>> {
    let (table, column) = place(holder);
    let changed = format!(
        "INSERT INTO {table} (realm_id, {column}, role_id, created_at, actor, request_id)
         SELECT $1, $2, role_id, $4, $5, $6 FROM unnest($3::uuid[]) role_id
         ON CONFLICT DO NOTHING RETURNING role_id"
    );
    let sql = told(holder, &changed, "role_added");
    let params: [&(dyn ToSql + Sync); 5] = [&holder.id(), &roles, &origin.at, &origin.actor, &origin.request_id];
    tx.query(&sql, &params).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Takes roles from the holder; which of them did it have?
pub async fn unmap(tx: &mut RealmTx, holder: Holder, roles: &[Uuid], origin: &Origin<'_>) -> Result<Vec<Uuid>> {
    let (table, column) = place(holder);
    let changed =
        format!("DELETE FROM {table} WHERE realm_id = $1 AND {column} = $2 AND role_id = ANY ($3) RETURNING role_id");
    let sql = told(holder, &changed, "role_removed");
    let params: [&(dyn ToSql + Sync); 5] = [&holder.id(), &roles, &origin.at, &origin.actor, &origin.request_id];
    tx.query(&sql, &params).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The statement which changes mappings of a holder, and tells of each.
fn told(holder: Holder, changed: &str, word: &str) -> String {
    let (kind, table) = match holder {
        Holder::User(_) => ("user", "users"),
        Holder::Group(_) => ("group", "groups"),
    };
    format!(
        "WITH changed AS ({changed}),
         told AS (
             INSERT INTO outbox (realm_id, event, resource_id, version, member_id, facts, actor, request_id, created_at)
             SELECT $1, 'dsync.{kind}.{word}', h.id, h.version, r.id, jsonb_build_object('role', r.name), $5, $6, $4
               FROM changed c
               JOIN roles r ON r.realm_id = $1 AND r.id = c.role_id
               JOIN {table} h ON h.realm_id = $1 AND h.id = $2)
         SELECT role_id FROM changed"
    )
}

/// The mapping of the role to the user itself.
pub async fn mapping(tx: &mut RealmTx, user: UserId, role: RoleId) -> Result<Option<Source>> {
    let sql =
        "SELECT created_at, actor, request_id FROM user_roles WHERE realm_id = $1 AND user_id = $2 AND role_id = $3";
    tx.query(sql, &[&user.0, &role.0]).await?.first().map(source_from).transpose()
}

/// The memberships above the user, each once, in the order of the groups' ids.
pub async fn memberships(tx: &mut RealmTx, user: UserId) -> Result<Vec<Membership>> {
    let sql = format!(
        "{ABOVE}
         SELECT above.*, g.attributes ->> 'displayName' AS name
           FROM above JOIN groups g ON g.realm_id = $1 AND g.id = above.group_id
          ORDER BY above.group_id, above.inner_id"
    );
    let membership = |row: &Row| {
        let group = GroupId(row.try_get("group_id")?);
        let name = row.try_get::<_, Option<String>>("name")?.unwrap_or_default();
        let inner = row.try_get::<_, Option<Uuid>>("inner_id")?.map(GroupId);
        Ok(Membership { inner, step: Step { group, name, membership: source_from(row)? } })
    };
    tx.query(&sql, &[&user.0]).await?.iter().map(membership).collect()
}

/// Which of `groups` carry the role, by what mapping.
pub async fn carriers_among(tx: &mut RealmTx, role: RoleId, groups: &[Uuid]) -> Result<Vec<(GroupId, Source)>> {
    let carrier = |row: &Row| Ok((GroupId(row.try_get("group_id")?), source_from(row)?));
    tx.query(CARRIERS_ABOVE, &[&role.0, &groups]).await?.iter().map(carrier).collect()
}

/// The groups which carry the role, the first `max` of them by name.
pub async fn carriers(tx: &mut RealmTx, role: RoleId, max: i64) -> Result<Vec<(GroupId, String)>> {
    let carrier =
        |row: &Row| Ok((GroupId(row.try_get("id")?), row.try_get::<_, Option<String>>("name")?.unwrap_or_default()));
    tx.query(CARRIERS, &[&role.0, &max]).await?.iter().map(carrier).collect()
}

/// Table and column of the mappings.
const fn place(holder: Holder) -> (&'static str, &'static str) {
    match holder {
        Holder::User(_) => ("user_roles", "user_id"),
        Holder::Group(_) => ("group_roles", "group_id"),
    }
}

fn role_from(row: &Row) -> Result<Role> {
    Ok(Role { id: RoleId(row.try_get("id")?), name: row.try_get("name")?, description: row.try_get("description")? })
}

fn source_from(row: &Row) -> Result<Source> {
    Ok(Source {
        since: row.try_get("created_at")?,
        actor: row.try_get::<_, Option<Json<Actor>>>("actor")?.map(|json| json.0),
        request_id: row.try_get("request_id")?,
    })
}
