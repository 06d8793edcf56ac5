//! What an undo has to know beside the events: many things at once, held where they are to be changed.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::{error::Result, tx::RealmTx, users::document_from};
use crate::model::document::Document;

const LOCK_GROUPS: &str = "
    SELECT id, version, created_at, updated_at, attributes, managed FROM groups
     WHERE realm_id = $1 AND id = ANY ($2) ORDER BY id FOR UPDATE";

/// What was purged has no tombstone, by which its versions would go on.
const REMEMBER: &str = "
    INSERT INTO tombstones (realm_id, resource_type, id, version, created_at, deleted_at, attributes)
    SELECT $1, $2, id, version, $5, $5, '{}' FROM unnest($3::uuid[], $4::bigint[]) AS t (id, version)
    ON CONFLICT DO NOTHING";

/// Takes back what [`REMEMBER`] wrote of those who have not come.
const FORGET: &str = "
    DELETE FROM tombstones
     WHERE realm_id = $1 AND resource_type = $2 AND id = ANY ($3) AND deleted_at = $4 AND attributes = '{}'";

const MEMBERS_AMONG: &str = "
    SELECT t.group_id, t.member_id FROM unnest($2::uuid[], $3::uuid[]) AS t (group_id, member_id)
     WHERE EXISTS (SELECT FROM group_members m
                    WHERE m.realm_id = $1 AND m.group_id = t.group_id AND m.member_id = t.member_id)";

/// A group may have many events, a member few: so they are found by the member alone.
const MOVED_AGAIN: &str = "
    SELECT t.group_id, t.member_id FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS t (group_id, member_id, seq)
     WHERE EXISTS (SELECT FROM events e
                    WHERE e.realm_id = $1 AND e.member_id = t.member_id AND e.seq > t.seq
                      AND coalesce(e.resource_id) = t.group_id)";

/// A role may have many mappings, a holder few: so they are found by the holder alone.
const MAPPED_AGAIN: &str = "
    SELECT t.holder_id, t.role_id FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS t (holder_id, role_id, seq)
     WHERE EXISTS (SELECT FROM events e
                    WHERE e.realm_id = $1 AND e.resource_id = t.holder_id AND e.seq > t.seq
                      AND coalesce(e.member_id) = t.role_id)";

/// Groups which these users and groups are in.
const MEMBERSHIPS_OF: &str = "
    SELECT group_id, member_id FROM group_members
     WHERE realm_id = $1 AND user_id = ANY ($2) AND user_id IS NOT NULL
    UNION ALL
    SELECT group_id, member_id FROM group_members
     WHERE realm_id = $1 AND nested_id = ANY ($2) AND nested_id IS NOT NULL";

/// Roles of these users and groups. The one which tells who is the IdP's comes with the user, and no event tells of it.
const MAPPINGS_OF: &str = "
    SELECT m.user_id, m.role_id
      FROM user_roles m
      JOIN users u ON u.realm_id = $1 AND u.id = m.user_id
      JOIN roles r ON r.realm_id = $1 AND r.id = m.role_id
     WHERE m.realm_id = $1 AND m.user_id = ANY ($2) AND NOT (u.managed AND r.name = 'scim-managed')
    UNION ALL
    SELECT group_id, role_id FROM group_roles WHERE realm_id = $1 AND group_id = ANY ($2)";

/// The groups of `ids`, held against everybody who would write them or refer to them until the transaction ends.
pub async fn lock_groups(tx: &mut RealmTx, ids: &[Uuid]) -> Result<Vec<Document>> {
    tx.query(LOCK_GROUPS, &[&ids]).await?.iter().map(document_from).collect()
}

/// Lets those who come back go on from their last versions. `kind` is `User` or `Group`.
pub async fn remember(tx: &mut RealmTx, kind: &str, versions: &[(Uuid, i64)], at: Timestamp) -> Result<()> {
    let (ids, versions): (Vec<Uuid>, Vec<i64>) = versions.iter().copied().unzip();
    tx.query(REMEMBER, &[&kind, &ids, &versions, &at]).await.map(|_| ())
}

/// Takes back what was remembered at `at` of those who could not come back.
pub async fn forget(tx: &mut RealmTx, kind: &str, ids: &[Uuid], at: Timestamp) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    tx.query(FORGET, &[&kind, &ids, &at]).await.map(|_| ())
}

/// Which of these are members: by group and member.
pub async fn members_among(tx: &mut RealmTx, ties: &[(Uuid, Uuid)]) -> Result<HashSet<(Uuid, Uuid)>> {
    let (groups, members): (Vec<Uuid>, Vec<Uuid>) = ties.iter().copied().unzip();
    pairs(&tx.query(MEMBERS_AMONG, &[&groups, &members]).await?)
}

/// The memberships of these users and groups: by group and member.
pub async fn memberships_of(tx: &mut RealmTx, ids: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
    pairs(&tx.query(MEMBERSHIPS_OF, &[&ids]).await?)
}

/// The role mappings of these users and groups: by holder and role.
pub async fn mappings_of(tx: &mut RealmTx, ids: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
    pairs(&tx.query(MAPPINGS_OF, &[&ids]).await?)
}

/// Which of these memberships changed behind the events given.
pub async fn moved_again(tx: &mut RealmTx, ties: &[(Uuid, Uuid)], seqs: &[i64]) -> Result<HashSet<(Uuid, Uuid)>> {
    let (groups, members): (Vec<Uuid>, Vec<Uuid>) = ties.iter().copied().unzip();
    pairs(&tx.query(MOVED_AGAIN, &[&groups, &members, &seqs]).await?)
}

/// Which of these mappings, by holder and role, changed behind the events given.
pub async fn mapped_again(tx: &mut RealmTx, ties: &[(Uuid, Uuid)], seqs: &[i64]) -> Result<HashSet<(Uuid, Uuid)>> {
    let (holders, roles): (Vec<Uuid>, Vec<Uuid>) = ties.iter().copied().unzip();
    pairs(&tx.query(MAPPED_AGAIN, &[&holders, &roles, &seqs]).await?)
}

/// Which of `ids` are users, whoever keeps them? They stay until the transaction ends.
pub async fn users_among(tx: &mut RealmTx, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
    let sql = "SELECT id FROM users WHERE realm_id = $1 AND id = ANY ($2) ORDER BY id FOR KEY SHARE";
    tx.query(sql, &[&ids]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The names of those roles which there are.
pub async fn role_names(tx: &mut RealmTx, ids: &[Uuid]) -> Result<HashMap<Uuid, String>> {
    let sql = "SELECT id, name FROM roles WHERE realm_id = $1 AND id = ANY ($2)";
    tx.query(sql, &[&ids]).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn pairs<C: FromIterator<(Uuid, Uuid)>>(rows: &[tokio_postgres::Row]) -> Result<C> {
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
