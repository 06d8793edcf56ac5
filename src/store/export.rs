//! Users and groups as they leave for elsewhere, page by page in the order of their ids.

use jiff::Timestamp;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    error::Result,
    json::JsonText,
    tx::{RealmTx, Rows, Statement},
};

/// Resources on a page, at most.
const PAGE: i64 = 500;
/// Bytes of rows on a page, at most: a page may be held by every export under way.
const ROOM: usize = 4 << 20;
/// Members which the line of a group can hold, at most.
const MEMBERS: i64 = 1_000;

/// What operators have not made themselves; the role which everybody has is not told of.
const USERS: &str = "
    SELECT u.id, u.created_at, u.activated_at IS NOT NULL AS activated, u.attributes,
           CASE WHEN u.attributes -> 'active' IS NULL THEN u.active END AS active,
           CASE WHEN u.display_name IS DISTINCT FROM u.attributes ->> 'displayName'
                THEN coalesce(u.display_name, '') END AS display_name,
           (SELECT array_agg(r.name ORDER BY r.name COLLATE \"C\")
              FROM user_roles m JOIN roles r ON r.realm_id = $1 AND r.id = m.role_id
             WHERE m.realm_id = $1 AND m.user_id = u.id AND r.name <> 'scim-managed') AS roles
      FROM users u WHERE u.realm_id = $1 AND u.id > $2 AND u.managed ORDER BY u.id LIMIT $3";

const GROUPS: &str = "
    SELECT g.id, g.created_at, g.attributes, m.members, coalesce(m.is_simple, true) AS is_simple,
           (SELECT array_agg(r.name ORDER BY r.name COLLATE \"C\")
              FROM group_roles m JOIN roles r ON r.realm_id = $1 AND r.id = m.role_id
             WHERE m.realm_id = $1 AND m.group_id = g.id) AS roles
      FROM groups g
      LEFT JOIN LATERAL (
          SELECT array_agg(member_id) AS members, count(*) <= $4::bigint AND NOT bool_or(is_nested) AS is_simple
            FROM (SELECT member_id, nested_id IS NOT NULL AS is_nested FROM group_members
                   WHERE realm_id = $1 AND group_id = g.id ORDER BY member_id LIMIT $4::bigint + 1) first) m ON true
     WHERE g.realm_id = $1 AND g.id > $2 AND g.managed ORDER BY g.id LIMIT $3";

/// A user or a group.
#[derive(Debug)]
pub struct Leaving {
    pub id: Uuid,
    pub created_at: Timestamp,
    /// A JSON object.
    pub attributes: String,
    pub roles: Vec<String>,
}

#[derive(Debug)]
pub struct LeavingUser {
    pub resource: Leaving,
    pub activated: bool,
    /// Where the document does not say it.
    pub active: Option<bool>,
    /// The application's own display name, where it is another than the IdP's; the empty text if there is none.
    pub display_name: Option<String>,
}

#[derive(Debug)]
pub struct LeavingGroup {
    pub resource: Leaving,
    /// All members; `None` if they are too many for a line, or if there are groups among them.
    pub members: Option<Vec<Uuid>>,
}

/// A page of resources, and whether there are more behind it.
#[derive(Debug)]
pub struct Page<T> {
    pub resources: Vec<T>,
    pub more: bool,
}

/// The IdP's users behind the id `after`.
pub async fn users(mut tx: RealmTx, after: Uuid) -> Result<Page<LeavingUser>> {
    let rows = tx.finish_within(Statement::Kept(USERS, &[&after, &PAGE]), ROOM).await?;
    page(&rows, |row| {
        Ok(LeavingUser {
            resource: leaving_from(row)?,
            activated: row.try_get("activated")?,
            active: row.try_get("active")?,
            display_name: row.try_get("display_name")?,
        })
    })
}

/// The IdP's groups behind the id `after`.
pub async fn groups(mut tx: RealmTx, after: Uuid) -> Result<Page<LeavingGroup>> {
    let params: [&(dyn ToSql + Sync); 3] = [&after, &PAGE, &MEMBERS];
    let rows = tx.finish_within(Statement::Kept(GROUPS, &params), ROOM).await?;
    page(&rows, |row| {
        let members: Option<Vec<Uuid>> = row.try_get("members")?;
        let is_simple: bool = row.try_get("is_simple")?;
        let members = is_simple.then(|| members.unwrap_or_default());
        Ok(LeavingGroup { resource: leaving_from(row)?, members })
    })
}

/// The realm's own roles, by name, with their descriptions.
pub async fn roles(tx: &mut RealmTx) -> Result<Vec<(String, Option<String>)>> {
    let sql = "SELECT name, description FROM roles WHERE realm_id = $1 AND name <> 'scim-managed' ORDER BY name";
    tx.query(sql, &[]).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn page<T>(found: &Rows, from: impl Fn(&Row) -> Result<T>) -> Result<Page<T>> {
    let is_full = i64::try_from(found.rows.len()).is_ok_and(|rows| rows >= PAGE);
    let resources = found.rows.iter().map(from).collect::<Result<_>>()?;
    Ok(Page { resources, more: found.cut || is_full })
}

fn leaving_from(row: &Row) -> Result<Leaving> {
    Ok(Leaving {
        id: row.try_get("id")?,
        created_at: row.try_get("created_at")?,
        attributes: row.try_get::<_, JsonText>("attributes")?.0,
        roles: row.try_get::<_, Option<Vec<String>>>("roles")?.unwrap_or_default(),
    })
}
