//! The audit log: every administrative change, in the transaction which makes it.

use serde_json::Value;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::{Store, error::Result, tx::RealmTx};
use crate::model::{
    Actor, Cause, RealmId,
    audit::{Action, Entry, Window},
};

const INSERT: &str = "
    INSERT INTO audit_log (realm_id, id, actor, request_id, action, target, before, after, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Newest first; with the names of realm and operator, as far as they are there still.
macro_rules! list {
    ($which:literal, $order:literal) => {
        concat!(
            "SELECT l.id, r.name AS realm, l.actor, l.request_id,
                    coalesce(a.username, CASE WHEN l.actor ->> 'kind' = 'external_admin' THEN l.actor ->> 'id' END)
                      AS username, l.action, l.target, l.before, l.after,
                    l.created_at
               FROM audit_log l
               LEFT JOIN realms r ON r.id = l.realm_id
               LEFT JOIN admins a ON a.id = CASE WHEN l.actor ->> 'kind' = 'admin' THEN (l.actor ->> 'id')::uuid END
              WHERE ",
            $which,
            " AND l.id < $2 AND l.action LIKE $3 ORDER BY ",
            $order,
            " LIMIT $4"
        )
    };
}

const LIST: &str = list!("l.realm_id = $1", "l.realm_id DESC, l.id DESC");
const LIST_ALL: &str = list!("$1::uuid IS NULL", "l.id DESC");

/// Notes a change of the realm in which the transaction stands. `before` and `after` hold no secret.
pub async fn append(
    tx: &mut RealmTx,
    cause: &Cause,
    action: Action<'_>,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Result<()> {
    let (id, before, after) = (Uuid::now_v7(), before.map(Json), after.map(Json));
    tx.query(
        INSERT,
        &[&id, &Json(&cause.actor), &&*cause.request_id, &action.word, &action.target, &before, &after, &cause.at],
    )
    .await
    .map(|_| ())
}

/// The newest entries in the window, of one realm or of all.
pub async fn list(store: &Store, realm: Option<RealmId>, window: Window<'_>) -> Result<Vec<Entry>> {
    let sql = if realm.is_some() { LIST } else { LIST_ALL };
    let pattern = format!("{}%", window.actions.replace(['%', '_', '\\'], ""));
    let (realm, before) = (realm.map(|realm| realm.0), window.before.unwrap_or(Uuid::max()));
    store.query(sql, &[&realm, &before, &pattern, &window.limit]).await?.iter().map(entry_from).collect()
}

fn entry_from(row: &Row) -> Result<Entry> {
    Ok(Entry {
        id: row.try_get("id")?,
        realm: row.try_get("realm")?,
        actor: row.try_get::<_, Json<Actor>>("actor")?.0,
        username: row.try_get("username")?,
        request_id: row.try_get("request_id")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        before: row.try_get::<_, Option<Json<Value>>>("before")?.map(|json| json.0),
        after: row.try_get::<_, Option<Json<Value>>>("after")?.map(|json| json.0),
        at: row.try_get("created_at")?,
    })
}
