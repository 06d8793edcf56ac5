//! Membership, row by row: what is named comes or goes, and nothing else is touched. The IdP's side of it: the groups
//! which operators made, and the users, are in [`super::people`].

use jiff::Timestamp;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    json::JsonText,
    outbox::Origin,
    tx::RealmTx,
};
use crate::{
    model::{
        GroupId, UserId,
        group::{Member, MemberKind, Place, Stretch},
    },
    scim::patch::MembersDelta,
};

/// The user `$2`, whose `externalId` is `$3`, joins the groups which wait for it, held in the order of their ids, so that
/// users who arrive side by side do not wait for each other in a ring. NB: an `externalId` that another user has as well
/// names nobody.
const JOIN: &str = "
    WITH awaited AS (
        DELETE FROM pending_members
         WHERE realm_id = $1 AND value IN ($2::uuid::text, $3)
           AND (value = $2::uuid::text OR NOT EXISTS (
                    SELECT FROM users WHERE realm_id = $1 AND external_id = $3 AND id <> $2 AND managed))
        RETURNING group_id),
    joined AS (
        INSERT INTO group_members (realm_id, group_id, member_id, user_id, created_at, actor, request_id)
        SELECT DISTINCT $1::uuid, group_id, $2, $2, $4::timestamptz, $5::jsonb, $6 FROM awaited
        ON CONFLICT DO NOTHING
        RETURNING group_id),
    held AS (
        SELECT id FROM groups WHERE realm_id = $1 AND id IN (SELECT group_id FROM joined) ORDER BY id
           FOR NO KEY UPDATE),
    grown AS (
        UPDATE groups g SET version = g.version + 1, updated_at = greatest(g.updated_at, $4)
          FROM held WHERE g.realm_id = $1 AND g.id = held.id
        RETURNING g.id, g.version)
    INSERT INTO outbox (realm_id, event, resource_id, version, member_id, facts, actor, request_id, created_at)
    SELECT $1, 'dsync.group.user_added', id, version, $2, '{\"member\": \"User\"}', $5, $6, $4 FROM grown";

/// One statement for a whole difference: who is meant, who goes, who comes, the version raised once, an event for each.
///
/// `$3` tells that all others go. `$4` to `$6` are the members it names: `value`, the same as an id if it is one, and
/// whether the member comes or goes. `$7` lets those wait whom nobody knows (as far as an index takes the value), `$8` tells that the realm is held. Nothing
/// is done if a member is unknown, or a group which may not come, and the answer names them.
///
/// The planner takes an array for ten elements, and would rather read through a group which it believes to be small
/// than look ten members up. So it is told nothing: behind `LIMIT` it expects one row, and `found` hides that all of
/// them are about one group, which leaves the whole primary key as the only good way to a membership.
pub const CHANGE: &str = "
    WITH RECURSIVE named AS (
        SELECT $2::uuid AS group_id, value, id, comes
          FROM unnest($4::text[], $5::uuid[], $6::boolean[]) AS t (value, id, comes)
         LIMIT cardinality($4)),
    found AS MATERIALIZED (
        SELECT n.group_id, n.value, n.comes, coalesce(u.id, e.id) AS user_id, g.id AS nested_id,
               coalesce(u.id, g.id, e.id) AS member_id
          FROM named n
          LEFT JOIN LATERAL (SELECT id FROM users WHERE realm_id = $1 AND id = n.id AND managed LIMIT 1) u ON true
          LEFT JOIN LATERAL (SELECT id FROM groups WHERE realm_id = $1 AND id = n.id AND managed LIMIT 1) g ON true
          LEFT JOIN LATERAL (
              SELECT (array_agg(id))[1] AS id FROM users
               WHERE $7 AND u.id IS NULL AND g.id IS NULL AND realm_id = $1 AND external_id = n.value AND managed
              HAVING count(*) = 1) e ON true),
    come AS (SELECT * FROM found WHERE comes AND member_id IS NOT NULL),
    unknown AS (
        SELECT value FROM found WHERE comes AND member_id IS NULL AND NOT ($7 AND octet_length(value) <= 2000)),
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
        RETURNING member_id, nested_id),
    taken AS (
        DELETE FROM group_members m USING found f
         WHERE EXISTS (SELECT FROM sound) AND NOT f.comes AND f.member_id NOT IN (SELECT member_id FROM come)
           AND m.realm_id = $1 AND m.group_id = f.group_id AND m.member_id = f.member_id
        RETURNING m.member_id, m.nested_id),
    gone AS (SELECT * FROM swept UNION ALL SELECT * FROM taken),
    added AS (
        INSERT INTO group_members (realm_id, group_id, member_id, user_id, nested_id, created_at, actor, request_id)
        SELECT $1, $2, member_id, user_id, nested_id, $9, $10, $11 FROM come WHERE EXISTS (SELECT FROM sound)
        ON CONFLICT DO NOTHING
        RETURNING member_id, nested_id),
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
        INSERT INTO outbox (realm_id, event, resource_id, version, member_id, facts, actor, request_id, created_at)
        SELECT $1, event, $2, version, member_id,
               CASE WHEN nested_id IS NULL THEN '{\"member\": \"User\"}'::jsonb ELSE '{\"member\": \"Group\"}' END,
               $10, $11, $9
          FROM (SELECT 'dsync.group.user_removed' AS event, member_id, nested_id FROM gone
                UNION ALL
                SELECT 'dsync.group.user_added', member_id, nested_id FROM added) moved, changed)
    SELECT version, updated_at, NULL AS unknown FROM changed
    UNION ALL
    (SELECT NULL, NULL, value FROM unknown LIMIT 11)
    UNION ALL
    (SELECT NULL, NULL, NULL FROM barred LIMIT 1)";

/// Whom values name, as [`CHANGE`] finds them: `$3` are the same as ids, `$4` lets an `externalId` be one.
const NAMED: &str = "
    SELECT coalesce(u.id, g.id, e.id) AS id
      FROM unnest($2::text[], $3::uuid[]) AS n (value, id)
      LEFT JOIN LATERAL (SELECT id FROM users WHERE realm_id = $1 AND id = n.id AND managed LIMIT 1) u ON true
      LEFT JOIN LATERAL (SELECT id FROM groups WHERE realm_id = $1 AND id = n.id AND managed LIMIT 1) g ON true
      LEFT JOIN LATERAL (
          SELECT (array_agg(id))[1] AS id FROM users
           WHERE $4 AND u.id IS NULL AND g.id IS NULL AND realm_id = $1 AND external_id = n.value AND managed
          HAVING count(*) = 1) e ON true
     WHERE coalesce(u.id, g.id, e.id) IS NOT NULL";

/// The users among `$2`, and in the groups among `$2` and in those.
const PEOPLE: &str = "
    WITH RECURSIVE inside (id) AS (
        SELECT id FROM unnest($2::uuid[]) AS id
        UNION
        SELECT m.member_id
          FROM inside, LATERAL (SELECT member_id FROM group_members
                                 WHERE realm_id = $1 AND group_id = inside.id OFFSET 0) m)
    SELECT i.id FROM inside i
     WHERE NOT EXISTS (SELECT FROM groups g WHERE g.realm_id = $1 AND g.id = i.id) LIMIT 100000";

/// Rows of a stretch: at least one for each group that it reaches, so that a group which is gone is not taken for an
/// empty one. Each group is read in the order of its primary key; what joins them by `LATERAL` keeps their order. `$5`
/// tells whether the names of the members are wanted.
pub(super) const READ: &str = "
    SELECT t.place, g.is_there, m.member_id, m.is_nested,
           CASE WHEN NOT $5 THEN NULL
                WHEN m.is_nested
                THEN (SELECT attributes -> 'displayName' FROM groups WHERE realm_id = $1 AND id = m.member_id)
                ELSE (SELECT coalesce(attributes -> 'displayName', attributes -> 'userName') FROM users
                       WHERE realm_id = $1 AND id = m.member_id) END AS display
      FROM unnest($2::uuid[]) WITH ORDINALITY AS t (group_id, place)
      LEFT JOIN LATERAL (
          SELECT true AS is_there FROM groups WHERE realm_id = $1 AND id = t.group_id AND managed LIMIT 1) g ON true
      LEFT JOIN LATERAL (
          SELECT member_id, nested_id IS NOT NULL AS is_nested FROM group_members
           WHERE realm_id = $1 AND group_id = t.group_id
             AND member_id > CASE t.place WHEN 1 THEN $3 ELSE '00000000-0000-0000-0000-000000000000'::uuid END
           ORDER BY member_id LIMIT $4) m ON true
     LIMIT $4";

/// Members of a stretch, at most: some hundred kilobytes of an answer.
pub(super) const STRETCH: i64 = 2000;

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

/// Holds the realm against those who nest groups, so that two groups which are put into each other at once are not both;
/// and against users who arrive, so that no user and no group miss each other. To be taken before any other lock.
pub async fn hold_realm(tx: &mut RealmTx) -> Result<()> {
    tx.query("SELECT FROM realms WHERE id = $1 FOR NO KEY UPDATE", &[]).await.map(|_| ())
}

/// Lets users arrive side by side, but not while the realm is held: see [`join`]. To be taken before any other lock.
pub async fn admit_arrivals(tx: &mut RealmTx) -> Result<()> {
    tx.query("SELECT FROM realms WHERE id = $1 FOR SHARE", &[]).await.map(|_| ())
}

/// Lets a user who has arrived join the groups which wait for it, by id or `externalId`; and commits, if that is the
/// `last` statement.
pub async fn join(
    tx: &mut RealmTx,
    user: UserId,
    external_id: Option<&str>,
    origin: &Origin<'_>,
    last: bool,
) -> Result<()> {
    let params: [&(dyn ToSql + Sync); 5] = [&user.0, &external_id, &origin.at, &origin.actor, &origin.request_id];
    let outcome = if last { tx.finish(JOIN, &params).await } else { tx.query(JOIN, &params).await };
    outcome.map(|_| ())
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

/// Whom the values name, who are users and groups of the realm; `may_wait` as in [`Rules`].
pub async fn named<'a>(
    tx: &mut RealmTx,
    values: impl Iterator<Item = &'a String>,
    may_wait: bool,
) -> Result<Vec<Uuid>> {
    let values: Vec<&str> = values.map(String::as_str).collect();
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Option<Uuid>> = values.iter().map(|value| Uuid::try_parse(value).ok()).collect();
    tx.query(NAMED, &[&values, &ids, &may_wait]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The members who would leave a locked group if all but `come` left, or if `go` left.
pub async fn leaving(tx: &mut RealmTx, group: GroupId, all: bool, come: &[Uuid], go: &[Uuid]) -> Result<Vec<Uuid>> {
    if !all && go.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT member_id FROM group_members
                WHERE realm_id = $1 AND group_id = $2 AND member_id <> ALL ($3) AND ($4 OR member_id = ANY ($5))";
    tx.query(sql, &[&group.0, &come, &all, &go]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The users whom these members are or hold.
pub async fn people(tx: &mut RealmTx, members: &[Uuid]) -> Result<Vec<Uuid>> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    tx.query(PEOPLE, &[&members]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The members of `groups` from `place` on, as far as a stretch goes; and commits. [`Error::Dangling`] if one of the
/// groups is gone.
pub async fn read(mut tx: RealmTx, groups: &[Uuid], place: Place, named: bool) -> Result<Stretch> {
    let ahead = groups.get(place.group..).unwrap_or_default();
    let rows = tx.finish(READ, &[&ahead, &place.after, &STRETCH, &named]).await?;
    stretch_of(&rows, place.group)
}

/// What is behind the rows of [`READ`] if the first of its groups is the one at index `first`.
pub(super) fn stretch_of(rows: &[Row], first: usize) -> Result<Stretch> {
    let mut stretch = Stretch::default();
    for row in rows {
        if row.try_get::<_, Option<bool>>("is_there")?.is_none() {
            return Err(Error::Dangling("group_members_group_id".into()));
        }
        let place: i64 = row.try_get("place")?;
        let group = first + usize::try_from(place - 1).unwrap_or_default();
        let member: Option<Uuid> = row.try_get("member_id")?;
        stretch.next = Some(Place { group: group + usize::from(member.is_none()), after: member.unwrap_or_default() });
        if let Some(id) = member {
            let kind = if row.try_get("is_nested")? { MemberKind::Group } else { MemberKind::User };
            let display: Option<JsonText> = row.try_get("display")?;
            stretch.members.push((group, Member { id, kind, display: display.map(|text| text.0) }));
        }
    }
    if i64::try_from(rows.len()).is_ok_and(|rows| rows < STRETCH) {
        stretch.next = None;
    }
    Ok(stretch)
}
