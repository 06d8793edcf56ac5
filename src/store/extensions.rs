//! What is kept of a schema extension in the documents of a realm.

use uuid::Uuid;

use super::{error::Result, json::JsonText, tx::RealmTx};
use crate::scim::extension::Extended;

/// Has a document of `table` something under the URN `$2`, in any case of letters?
const HOLDS: &str = "EXISTS (SELECT FROM jsonb_object_keys(attributes) AS key WHERE lower(key) = lower($2))";

/// Does any resource hold values of the extension with that URN?
pub async fn is_used(tx: &mut RealmTx, resource_type: Extended, urn: &str) -> Result<bool> {
    let sql = format!("SELECT FROM {} WHERE realm_id = $1 AND {HOLDS} LIMIT 1", table(resource_type));
    Ok(!tx.query(&sql, &[&urn]).await?.is_empty())
}

/// The documents which hold values of the extension with that URN: the next `limit` of them after the id `after`.
pub async fn holders(
    tx: &mut RealmTx,
    resource_type: Extended,
    urn: &str,
    after: Uuid,
    limit: i64,
) -> Result<Vec<(Uuid, String)>> {
    let sql = format!(
        "SELECT id, attributes FROM {} WHERE realm_id = $1 AND id > $3 AND {HOLDS} ORDER BY id LIMIT $4 FOR UPDATE",
        table(resource_type)
    );
    let rows = tx.query(&sql, &[&urn, &after, &limit]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, JsonText>(1)?.0))).collect()
}

/// Keeps the comparable forms of documents, see `scim::filter::comparable`.
pub async fn set_comparable(
    tx: &mut RealmTx,
    resource_type: Extended,
    ids: &[Uuid],
    forms: &[Option<JsonText>],
) -> Result<()> {
    let sql = format!(
        "UPDATE {} r SET comparable = t.form FROM unnest($2::uuid[], $3::jsonb[]) AS t (id, form)
          WHERE r.realm_id = $1 AND r.id = t.id",
        table(resource_type)
    );
    tx.query(&sql, &[&ids, &forms]).await.map(|_| ())
}

const fn table(resource_type: Extended) -> &'static str {
    match resource_type {
        Extended::User => "users",
        Extended::Group => "groups",
    }
}
