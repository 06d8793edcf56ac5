//! Pages of users and of groups: the same walk in the order of the immutable id.

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{
    error::Result,
    filter_sql::{Condition, Param},
    tx::RealmTx,
};
use crate::scim::list::Page;

/// Where the parameters of a condition begin: behind realm, URL, limit, offset and the id to go on behind.
pub const FIRST_PARAM: usize = 6;

/// Reads a page of `table`, aliased `r`, in a transaction of its own, and how many rows fulfil the condition in all.
/// The count costs a statement of its own only where the page does not show it.
pub(super) async fn page<T>(
    tx: &mut RealmTx,
    table: &str,
    columns: &str,
    condition: &Condition,
    page: Page,
    url: &str,
    from: impl Fn(&Row) -> Result<T>,
) -> Result<(Vec<T>, i64)> {
    // Where the page before ended is known, the page begins there, whoever came or went before it since.
    let (offset, after) = page.after.map_or((page.offset, Uuid::nil()), |after| (0, after));
    let mut params: Vec<(&(dyn ToSql + Sync), Type)> =
        vec![(&url, Type::TEXT), (&page.limit, Type::INT8), (&offset, Type::INT8), (&after, Type::UUID)];
    params.extend(condition.params.iter().map(Param::bound));
    // A table that has not been analyzed yet is taken for short: the planner would rather walk all of it in the order
    // of ids than sort what an index finds. It does not see past `OFFSET 0`.
    let fence = if condition.indexed && !condition.params.is_empty() { "OFFSET 0" } else { "" };
    // Both statements name every parameter, since one that is never named has no type.
    let sql = format!(
        "SELECT r.id, r.version, r.created_at, r.updated_at, r.attributes, {columns}
           FROM (SELECT * FROM {table} r WHERE r.realm_id = $1 AND ({}) AND $2::text IS NOT NULL {fence}) r
          WHERE r.id > $5 ORDER BY r.id LIMIT $3 OFFSET $4",
        condition.sql
    );
    let rows = run(tx, &sql, condition, &params).await?;
    let found = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let total = if page.after.is_none() && found < page.limit && (found > 0 || page.offset == 0) {
        page.offset + found
    } else {
        let sql = format!(
            "SELECT count(*) FROM {table} r
              WHERE r.realm_id = $1 AND ({}) AND $2::text IS NOT NULL AND $3::int8 + $4::int8 >= 0 AND $5::uuid IS NOT NULL",
            condition.sql
        );
        run(tx, &sql, condition, &params).await?.first().map_or(Ok(0), |row| row.try_get(0))?
    };
    Ok((rows.iter().map(from).collect::<Result<_>>()?, total))
}

async fn run(
    tx: &mut RealmTx,
    sql: &str,
    condition: &Condition,
    params: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>> {
    if condition.indexed {
        let params: Vec<_> = params.iter().map(|(param, _)| *param).collect();
        tx.finish(sql, &params).await
    } else {
        tx.finish_once(sql, params).await
    }
}
