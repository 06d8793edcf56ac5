//! What a sign-in reads of a user, and the first one writes.

use serde_json::Value;
use tokio_postgres::{Row, types::Json};

use super::{error::Result, outbox::Origin, roles::effective_role_ids, tx::RealmTx, users::document_from};
use crate::model::{UserId, identity::MatchAttribute, sign_in::Subject, user::State};

/// Two of them leave open who is meant.
macro_rules! find {
    ($column:literal) => {
        concat!(
            "SELECT u.id, u.version, u.created_at, u.updated_at, u.active, u.activated_at, u.display_name, u.attributes,
                    u.managed,
                    (SELECT jsonb_agg(r.name ORDER BY r.name) FROM roles r
                      WHERE r.realm_id = $1 AND r.id IN (",
            effective_role_ids!("u.id"),
            ")) AS roles,
                    (SELECT jsonb_agg(jsonb_build_object('id', g.id, 'displayName', g.attributes -> 'displayName')
                                      ORDER BY g.id)
                       FROM group_members m JOIN groups g ON g.realm_id = m.realm_id AND g.id = m.group_id
                      WHERE m.realm_id = $1 AND m.user_id = u.id) AS groups
               FROM users u WHERE u.realm_id = $1 AND u.",
            $column,
            " = $2 LIMIT 2"
        )
    };
}

const FIND_BY_EXTERNAL_ID: &str = find!("external_id");
const FIND_BY_USER_NAME: &str = find!("user_name_key");

/// The user is active from now on, and the outbox tells of it; unless somebody else was quicker.
const ACTIVATE: &str = r#"
    WITH activated AS (
        UPDATE users SET activated_at = $3, version = version + 1, updated_at = greatest(updated_at, $3)
         WHERE realm_id = $1 AND id = $2 AND active AND activated_at IS NULL
        RETURNING version, attributes, display_name, managed)
    INSERT INTO outbox (realm_id, event, resource_id, version, attributes, previous, facts, actor, request_id,
                        created_at)
    SELECT $1, 'dsync.user.updated', $2, version, attributes, '{"state": "shadow"}',
           user_facts(true, $3, display_name, managed, ARRAY(
               SELECT group_id FROM group_members WHERE realm_id = $1 AND user_id = $2 AND user_id IS NOT NULL)),
           $4, $5, $3
      FROM activated
    RETURNING version"#;

/// Users who have `value`, folded where the attribute is compared so: two at most.
pub async fn find(tx: &mut RealmTx, attribute: MatchAttribute, value: &str) -> Result<Vec<Subject>> {
    let sql = match attribute {
        MatchAttribute::ExternalId => FIND_BY_EXTERNAL_ID,
        MatchAttribute::UserName => FIND_BY_USER_NAME,
    };
    tx.query(sql, &[&value]).await?.iter().map(subject_from).collect()
}

/// Turns a shadow user active, and commits. `false` if it was no shadow any more.
pub async fn activate(mut tx: RealmTx, id: UserId, origin: &Origin<'_>) -> Result<bool> {
    Ok(!tx.finish(ACTIVATE, &[&id.0, &origin.at, &origin.actor, &origin.request_id]).await?.is_empty())
}

fn subject_from(row: &Row) -> Result<Subject> {
    let activated_at: Option<jiff::Timestamp> = row.try_get("activated_at")?;
    let groups: Option<Json<Value>> = row.try_get("groups")?;
    Ok(Subject {
        state: State::of(row.try_get("active")?, activated_at.is_some()),
        document: document_from(row)?,
        display_name: row.try_get("display_name")?,
        groups: groups.map_or_else(|| Value::Array(Vec::new()), |json| json.0),
    })
}
