//! Membership, row by row: what is named comes or goes, and nothing else is touched.

use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{error::Result, json::JsonText, outbox::Origin, tx::RealmTx};
use crate::{model::GroupId, scim::patch::MembersDelta};

/// One statement for a whole difference: who is meant, who goes, who comes, the version raised once, an event for each.
///
/// `$3` tells that all others go. `$4` to `$6` are the members it names: `value`, the same as an id if it is one, and
/// whether the member comes or goes. `$7` lets those wait whom nobody knows, `$8` tells that the realm is held. Nothing
/// is done if a member is unknown, or a group which may not come, and the answer names them.
///
/// The planner takes an array for ten elements, and would rather read through a group which it believes to be small
/// than look ten members up. So it is told nothing: behind `LIMIT` it expects one row, and `found` hides that all of
/// them are about one group, which leaves the whole primary key as the only good way to a membership.
const CHANGE: &str = "
    WITH RECURSIVE named AS (
        SELECT $2::uuid AS group_id, value, id, comes
          FROM unnest($4::text[], $5::uuid[], $6::boolean[]) AS t (value, id, comes)
         LIMIT cardinality($4)),
    found AS MATERIALIZED (
        SELECT n.group_id, n.value, n.comes, coalesce(u.id, e.id) AS user_id, g.id AS nested_id,
               coalesce(u.id, g.id, e.id) AS member_id
          FROM named n
          LEFT JOIN LATERAL (SELECT id FROM users WHERE realm_id = $1 AND id = n.id LIMIT 1) u ON true
          LEFT JOIN LATERAL (SELECT id FROM groups WHERE realm_id = $1 AND id = n.id LIMIT 1) g ON true
          LEFT JOIN LATERAL (
              SELECT (array_agg(id))[1] AS id FROM users
               WHERE $7 AND u.id IS NULL AND g.id IS NULL AND realm_id = $1 AND external_id = n.value
              HAVING count(*) = 1) e ON true),
    come AS (SELECT * FROM found WHERE comes AND member_id IS NOT NULL),
    unknown AS (SELECT value FROM found WHERE comes AND member_id IS NULL AND NOT $7),
    above (id) AS (
        SELECT $2::uuid
        UNION
        SELECT m.group_id
          FROM above, LATERAL (SELECT group_id FROM group_members
                                WHERE realm_id = $1 AND nested_id = above.id AND nested_id IS NOT NULL OFFSET 0) m),
    barred AS (
        SELECT FROM come
         WHERE nested_id IS NOT NULL
           AND CASE WHEN $8 THEN nested_id IN (SELECT id FROM above)
                    ELSE NOT EXISTS (SELECT FROM group_members m
                                      WHERE m.realm_id = $1 AND m.group_id = come.group_id
                                        AND m.member_id = come.nested_id) END),
    sound AS (SELECT WHERE NOT EXISTS (SELECT FROM unknown) AND NOT EXISTS (SELECT FROM barred)),
    swept AS (
        DELETE FROM group_members
         WHERE $3 AND EXISTS (SELECT FROM sound) AND realm_id = $1 AND group_id = $2
           AND member_id NOT IN (SELECT member_id FROM come)
        RETURNING member_id),
    taken AS (
        DELETE FROM group_members m USING found f
         WHERE EXISTS (SELECT FROM sound) AND NOT f.comes AND f.member_id NOT IN (SELECT member_id FROM come)
           AND m.realm_id = $1 AND m.group_id = f.group_id AND m.member_id = f.member_id
        RETURNING m.member_id),
    gone AS (SELECT member_id FROM swept UNION ALL SELECT member_id FROM taken),
    added AS (
        INSERT INTO group_members (realm_id, group_id, member_id, user_id, nested_id, created_at)
        SELECT $1, $2, member_id, user_id, nested_id, $9 FROM come WHERE EXISTS (SELECT FROM sound)
        ON CONFLICT DO NOTHING
        RETURNING member_id),
    forgotten AS (
        DELETE FROM pending_members
         WHERE $3 AND EXISTS (SELECT FROM sound) AND realm_id = $1 AND group_id = $2
           AND value NOT IN (SELECT value FROM found WHERE member_id IS NULL)),
    settled AS (
        DELETE FROM pending_members p USING found f
         WHERE NOT $3 AND EXISTS (SELECT FROM sound) AND (NOT f.comes OR f.member_id IS NOT NULL)
           AND p.realm_id = $1 AND p.group_id = f.group_id AND p.value = f.value),
    awaited AS (
        INSERT INTO pending_members (realm_id, group_id, value, created_at)
        SELECT $1, $2, value, $9 FROM found WHERE comes AND member_id IS NULL AND EXISTS (SELECT FROM sound)
        ON CONFLICT DO NOTHING),
    changed AS (
        UPDATE groups SET version = version + 1, updated_at = greatest(updated_at, $9)
         WHERE realm_id = $1 AND id = $2 AND (EXISTS (SELECT FROM gone) OR EXISTS (SELECT FROM added))
        RETURNING version, updated_at),
    told AS (
        INSERT INTO outbox (realm_id, event, resource_id, version, member_id, actor, request_id, created_at)
        SELECT $1, event, $2, version, member_id, $10, $11, $9
          FROM (SELECT 'dsync.group.user_removed' AS event, member_id FROM gone
                UNION ALL
                SELECT 'dsync.group.user_added', member_id FROM added) moved, changed)
    SELECT version, updated_at, NULL AS unknown FROM changed
    UNION ALL
    (SELECT NULL, NULL, value FROM unknown LIMIT 11)
    UNION ALL
    (SELECT NULL, NULL, NULL FROM barred LIMIT 1)";

/// `members` as the JSON text of an answer; `$3` and `$4` are the URLs which ids of users and groups are appended to.
const LIST: &str = "
    SELECT m.group_id, jsonb_agg(jsonb_build_object(
               'value', m.member_id,
               '$ref', CASE WHEN m.user_id IS NULL THEN $4::text ELSE $3::text END || m.member_id,
               'type', CASE WHEN m.user_id IS NULL THEN 'Group' ELSE 'User' END,
               'display', coalesce(u.attributes -> 'displayName', u.attributes -> 'userName',
                                   g.attributes -> 'displayName')) ORDER BY m.member_id)
      FROM group_members m
      LEFT JOIN users u ON u.realm_id = m.realm_id AND u.id = m.user_id
      LEFT JOIN groups g ON g.realm_id = m.realm_id AND g.id = m.nested_id
     WHERE m.realm_id = $1 AND m.group_id = ANY ($2)
     GROUP BY m.group_id";

/// What came of a change of membership.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Version and time of the group after it, if anybody came or went.
    Done(Option<(i64, Timestamp)>),
    /// Nothing is done: these, the first few of them, are neither users nor groups of the realm.
    Unknown(Vec<String>),
    /// Nothing is done: a group may come only while the realm is held, and if it is, the group would contain itself.
    Barred,
}

/// Under which rules members come.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Those whom the realm does not know are kept until they arrive, instead of refusing all.
    pub may_wait: bool,
    /// The realm is held, see [`hold_realm`].
    pub realm_is_held: bool,
}

/// Lets one transaction at a time nest groups in this realm, so that two which are each put into the other do not both
/// succeed; nor does a user arrive unseen meanwhile, see [`join`]. To be taken before any other lock.
pub async fn hold_realm(tx: &mut RealmTx) -> Result<()> {
    tx.query("SELECT FROM realms WHERE id = $1 FOR NO KEY UPDATE", &[]).await.map(|_| ())
}

/// Does what `delta` says to the members of a locked group, all of it or nothing; and commits, if it is the `last`
/// statement.
pub async fn change(
    tx: &mut RealmTx,
    group: GroupId,
    delta: &MembersDelta,
    rules: Rules,
    origin: &Origin<'_>,
    last: bool,
) -> Result<Outcome> {
    let (come, go) = (delta.add.keys().map(|value| (value, true)), delta.remove.iter().map(|value| (value, false)));
    let (values, comes): (Vec<&str>, Vec<bool>) = come.chain(go).map(|(value, comes)| (value.as_str(), comes)).unzip();
    let ids: Vec<Option<Uuid>> = values.iter().map(|value| Uuid::try_parse(value).ok()).collect();
    let params: [&(dyn ToSql + Sync); 10] = [
        &group.0,
        &delta.clear,
        &values,
        &ids,
        &comes,
        &rules.may_wait,
        &rules.realm_is_held,
        &origin.at,
        &origin.actor,
        &origin.request_id,
    ];
    let rows = if last { tx.finish(CHANGE, &params).await? } else { tx.query(CHANGE, &params).await? };
    let Some(row) = rows.first() else { return Ok(Outcome::Done(None)) };
    if let Some(version) = row.try_get("version")? {
        return Ok(Outcome::Done(Some((version, row.try_get("updated_at")?))));
    }
    let unknown: Vec<String> =
        rows.iter().filter_map(|row| row.try_get("unknown").transpose()).collect::<Result<_, _>>()?;
    Ok(if unknown.is_empty() { Outcome::Barred } else { Outcome::Unknown(unknown) })
}

/// `members` of the groups as JSON text, for those which have any. The URLs end in a slash.
pub async fn list(tx: &mut RealmTx, groups: &[Uuid], users_url: &str, groups_url: &str) -> Result<Vec<(Uuid, String)>> {
    tx.query(LIST, &[&groups, &users_url, &groups_url])
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get::<_, JsonText>(1)?.0)))
        .collect()
}
