//! Membership, row by row: what is named comes or goes, and nothing else is touched.

use jiff::Timestamp;
use uuid::Uuid;

use super::{error::Result, json::JsonText, outbox::Origin, tx::RealmTx};
use crate::model::{
    GroupId,
    group::{Member, MemberKind},
};

/// Which of the ids are users or groups of the realm; held against deletion until the transaction ends.
const KNOWN: &str = "
    SELECT id, true FROM (SELECT id FROM users WHERE realm_id = $1 AND id = ANY ($2) ORDER BY id FOR KEY SHARE) u
    UNION ALL
    SELECT id, false FROM (SELECT id FROM groups WHERE realm_id = $1 AND id = ANY ($2) ORDER BY id FOR KEY SHARE) g";

/// Would any of the groups `$3` lead to group `$2` by way of their own members?
const CYCLE: &str = "
    WITH RECURSIVE below (id) AS (
        SELECT unnest($3::uuid[])
        UNION
        SELECT m.nested_id FROM group_members m JOIN below ON m.group_id = below.id
         WHERE m.realm_id = $1 AND m.nested_id IS NOT NULL)
    SELECT EXISTS (SELECT FROM below WHERE id = $2)";

/// One statement: the rows, the group's version, and an event for each row that was not there before.
const ADD: &str = "
    WITH added AS (
        INSERT INTO group_members (realm_id, group_id, member_id, user_id, nested_id, created_at)
        SELECT $1, $2, coalesce(u, n), u, n, $5 FROM unnest($3::uuid[], $4::uuid[]) AS t (u, n)
        ON CONFLICT DO NOTHING
        RETURNING member_id),
    grown AS (
        UPDATE groups SET version = version + 1, updated_at = greatest(updated_at, $5)
         WHERE realm_id = $1 AND id = $2 AND EXISTS (SELECT FROM added)
        RETURNING version, updated_at),
    told AS (
        INSERT INTO outbox (realm_id, event, resource_id, version, member_id, actor, request_id, created_at)
        SELECT $1, 'dsync.group.user_added', $2, version, member_id, $6, $7, $5 FROM added, grown)
    SELECT version, updated_at FROM grown";

const REMOVE: &str = "
    WITH removed AS (
        DELETE FROM group_members
         WHERE realm_id = $1 AND group_id = $2
           AND CASE WHEN $4 THEN member_id <> ALL ($3::uuid[]) ELSE member_id = ANY ($3::uuid[]) END
        RETURNING member_id),
    shrunk AS (
        UPDATE groups SET version = version + 1, updated_at = greatest(updated_at, $5)
         WHERE realm_id = $1 AND id = $2 AND EXISTS (SELECT FROM removed)
        RETURNING version, updated_at),
    told AS (
        INSERT INTO outbox (realm_id, event, resource_id, version, member_id, actor, request_id, created_at)
        SELECT $1, 'dsync.group.user_removed', $2, version, member_id, $6, $7, $5 FROM removed, shrunk)
    SELECT version, updated_at FROM shrunk";

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

/// Which members of `ids` the realm knows, and as what.
pub async fn known(tx: &mut RealmTx, ids: &[Uuid]) -> Result<Vec<Member>> {
    tx.query(KNOWN, &[&ids])
        .await?
        .iter()
        .map(|row| {
            let kind = if row.try_get(1)? { MemberKind::User } else { MemberKind::Group };
            Ok(Member { id: row.try_get(0)?, kind })
        })
        .collect()
}

/// Would the group contain itself, if `nested` became members of it?
pub async fn closes_cycle(tx: &mut RealmTx, group: GroupId, nested: &[Uuid]) -> Result<bool> {
    tx.query(CYCLE, &[&group.0, &nested]).await?.first().map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

/// Adds `members` to a locked group. Answers version and time, if any of them was not in it before.
pub async fn add(
    tx: &mut RealmTx,
    group: GroupId,
    members: &[Member],
    origin: &Origin<'_>,
) -> Result<Option<(i64, Timestamp)>> {
    let of = |wanted: MemberKind| -> Vec<Option<Uuid>> {
        members.iter().map(|member| (member.kind == wanted).then_some(member.id)).collect()
    };
    let (users, nested) = (of(MemberKind::User), of(MemberKind::Group));
    let rows = tx.query(ADD, &[&group.0, &users, &nested, &origin.at, &origin.actor, &origin.request_id]).await?;
    rows.first().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// Removes those of `ids` from a locked group. Answers version and time, if any of them was in it.
pub async fn remove(
    tx: &mut RealmTx,
    group: GroupId,
    ids: &[Uuid],
    origin: &Origin<'_>,
) -> Result<Option<(i64, Timestamp)>> {
    take(tx, group, ids, false, origin).await
}

/// Removes all but those of `ids`, which may be none, from a locked group.
pub async fn retain(
    tx: &mut RealmTx,
    group: GroupId,
    ids: &[Uuid],
    origin: &Origin<'_>,
) -> Result<Option<(i64, Timestamp)>> {
    take(tx, group, ids, true, origin).await
}

async fn take(
    tx: &mut RealmTx,
    group: GroupId,
    ids: &[Uuid],
    all_others: bool,
    origin: &Origin<'_>,
) -> Result<Option<(i64, Timestamp)>> {
    let rows = tx.query(REMOVE, &[&group.0, &ids, &all_others, &origin.at, &origin.actor, &origin.request_id]).await?;
    rows.first().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// `members` of the groups as JSON text, for those which have any. The URLs end in a slash.
pub async fn list(tx: &mut RealmTx, groups: &[Uuid], users_url: &str, groups_url: &str) -> Result<Vec<(Uuid, String)>> {
    tx.query(LIST, &[&groups, &users_url, &groups_url])
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get::<_, JsonText>(1)?.0)))
        .collect()
}
