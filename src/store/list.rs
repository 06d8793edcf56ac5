//! Pages of lists: users, groups, or both in one order.
//!
//! A page begins behind a place of the order, not behind a number of rows, so the last page of a list costs what the
//! first does, and who comes or goes hides and repeats nobody. Rows with a value to be sorted by and rows without one
//! are two stretches of the list, each with statements of its own; a page reads on in the second where the first ends.

use std::fmt::Write as _;

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{
    error::{Error, Result},
    filter_sql::{self, Condition, Param, is_group},
    sort_sql::{self, Key},
    tx::{RealmTx, Rows, Statement},
    users::{GROUPS, document_from, user_from},
};
use crate::{
    model::{
        group::Group,
        listing::{Listed, Listing},
    },
    scim::{
        self,
        filter::Filter,
        lenient::Dialect,
        list::{Boundary, Page},
        schema::ResourceType,
        search::narrowed,
        sort::Sort,
    },
};

/// Most bytes of rows on a page. It ends there, though the client wants more; one resource it has in any case.
const ROOM: usize = 16 << 20;

/// Where the parameters of conditions begin: behind realm, URL of groups, limit, offset, and the place to go on behind,
/// which is an id (`$5`) and, in a sorted list, a key (`$6`).
const FIRST_PARAM: usize = 6;
const FIRST_PARAM_SORTED: usize = 7;

/// A query, found to make sense and ready to be read page by page.
#[derive(Debug)]
pub struct Plan {
    parts: Vec<Part>,
    sorted: bool,
    descending: bool,
}

/// The resources of one type.
#[derive(Debug)]
struct Part {
    is_group: bool,
    condition: Condition,
    /// What they are sorted by; `None` if they have no such attribute, or if the list is not sorted.
    key: Option<Key>,
}

/// A stretch of the list in which rows are comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stretch {
    /// The list is sorted by id alone, so there is but one.
    All,
    Valued,
    Valueless,
}

impl Plan {
    /// The query for resources of `types`: those which match `filter`, in the order of `sort`, or of their ids.
    pub fn new(
        types: &[&ResourceType],
        filter: Option<&Filter>,
        sort: Option<&Sort>,
        dialect: Dialect,
    ) -> scim::error::Result<Self> {
        let keys = sort.map(|sort| sort.keys(types)).transpose()?;
        let mut next_param = if sort.is_some() { FIRST_PARAM_SORTED } else { FIRST_PARAM };
        let mut parts = Vec::new();
        for (at, resource_type) in types.iter().enumerate() {
            let filter = filter.map(|filter| narrowed(filter, types, at, dialect)).transpose()?;
            let condition = filter_sql::compile(filter.as_ref(), resource_type, dialect, next_param)?;
            next_param += condition.params.len();
            let key = keys.as_ref().and_then(|keys| keys[at]).map(|found| sort_sql::key(found, resource_type));
            parts.push(Part { is_group: is_group(resource_type), condition, key });
        }
        Ok(Self { parts, sorted: sort.is_some(), descending: sort.is_some_and(|sort| sort.descending) })
    }

    /// Does an index find what the page holds, and in its order?
    pub fn is_indexed(&self) -> bool {
        !self.sorted && self.parts.iter().all(|part| part.condition.indexed)
    }

    /// Reads a page. `groups_url` is what the ids of a user's groups are appended to; without it they stay unread, as
    /// the members of groups always do.
    pub async fn page(&self, tx: &mut RealmTx, page: &Page, groups_url: Option<&str>) -> Result<Listing> {
        let Rows { mut rows, cut } = self.rows(tx, page, groups_url).await?;
        let more = cut || count_of(&rows) > page.limit;
        rows.truncate(usize::try_from(page.limit).unwrap_or(usize::MAX));
        let shows_the_end = page.limit > 0 && !more && !page.backwards && page.after.is_none();
        let total = match page.total {
            Some(total) => total,
            None if shows_the_end && (page.offset == 0 || !rows.is_empty()) => page.offset + count_of(&rows),
            None => self.count(tx, Stretch::All).await?,
        };
        if page.backwards {
            rows.reverse();
        }
        let ends =
            rows.first().zip(rows.last()).map(|(first, last)| Ok::<_, Error>((place_of(first)?, place_of(last)?)));
        let resources = rows.iter().map(listed_from).collect::<Result<_>>()?;
        Ok(Listing { resources, ends: ends.transpose()?, more, total })
    }

    /// The rows of a page as they are read, and one more, which tells that the list goes on, if there is one.
    async fn rows(&self, tx: &mut RealmTx, page: &Page, groups_url: Option<&str>) -> Result<Rows> {
        let falling = self.descending != page.backwards;
        let (mut read, mut room) = (Rows::default(), ROOM);
        let mut after = page.after.as_ref();
        let mut offset = if after.is_some() { 0 } else { page.offset };
        let stretches = self.stretches(falling, after);
        for (at, stretch) in stretches.iter().enumerate() {
            let wanted = page.limit + 1 - count_of(&read.rows);
            if page.limit == 0 || wanted == 0 || read.cut {
                break;
            }
            let select = Select { stretch: *stretch, falling, after: after.take(), wanted, offset };
            let found = self.run(tx, &select, groups_url, room).await?;
            if offset > 0 && found.rows.is_empty() && at + 1 < stretches.len() {
                offset = (offset - self.count(tx, *stretch).await?).max(0);
            } else {
                offset = 0;
            }
            room = found.rows.iter().fold(room, |room, row| room.saturating_sub(row.raw_size_bytes()));
            read.rows.extend(found.rows);
            read.cut = found.cut;
        }
        Ok(read)
    }

    /// The stretches which a page may reach, in the order in which it is read.
    fn stretches(&self, falling: bool, after: Option<&Boundary>) -> &'static [Stretch] {
        use Stretch::{All, Valued, Valueless};
        match (self.sorted, falling, after.map(|after| after.key.is_some())) {
            (false, ..) => &[All],
            (true, false, None | Some(true)) => &[Valued, Valueless],
            (true, false, Some(false)) => &[Valueless],
            (true, true, None | Some(false)) => &[Valueless, Valued],
            (true, true, Some(true)) => &[Valued],
        }
    }

    async fn run(&self, tx: &mut RealmTx, select: &Select<'_>, url: Option<&str>, room: usize) -> Result<Rows> {
        let parts = || self.parts.iter().filter(|part| part.within(select.stretch).is_some());
        let one_of_several = parts().count() > 1;
        let branches: Vec<String> =
            parts().filter_map(|part| part.branch(select, url.is_some(), one_of_several)).collect();
        let sql = match branches.as_slice() {
            [] => return Ok(Rows::default()),
            [one] => one.clone(),
            // Each brings as many as the page may need of it.
            several => {
                let order = order("u.key", "u.id", select);
                format!("SELECT * FROM (({})) u {order} LIMIT $3 OFFSET $4", several.join(") UNION ALL ("))
            }
        };
        // Without a place to go on behind: before all ids, or behind them.
        let nobody = if select.falling { Uuid::max() } else { Uuid::nil() };
        let (url, key) = (url.unwrap_or_default(), select.after.and_then(|after| after.key.as_deref()));
        let id = select.after.map_or(nobody, |after| after.id);
        let mut params: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&url, Type::TEXT), (&select.wanted, Type::INT8), (&select.offset, Type::INT8), (&id, Type::UUID)];
        if self.sorted {
            params.push((&key, Type::TEXT));
        }
        params.extend(self.parts.iter().flat_map(|part| &part.condition.params).map(Param::bound));
        if !self.is_indexed() {
            return tx.finish_within(Statement::Once(&sql, &params), room).await;
        }
        let params: Vec<_> = params.iter().map(|(param, _)| *param).collect();
        tx.finish_within(Statement::Kept(&sql, &params), room).await
    }

    /// How many rows there are in a stretch.
    async fn count(&self, tx: &mut RealmTx, stretch: Stretch) -> Result<i64> {
        let counts: Vec<String> = self.parts.iter().filter_map(|part| part.count(stretch)).collect();
        // In place of what only a page needs.
        let none: &(dyn ToSql + Sync) = &None::<String>;
        let before = if self.sorted { FIRST_PARAM_SORTED } else { FIRST_PARAM } - 2;
        let mut params = vec![(none, Type::TEXT); before];
        params.extend(self.parts.iter().flat_map(|part| &part.condition.params).map(Param::bound));
        let sql = format!("SELECT {}", if counts.is_empty() { "0::int8".into() } else { counts.join(" + ") });
        let found = tx.finish_within(Statement::Once(&sql, &params), usize::MAX).await?;
        found.rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
    }
}

/// A part of a page.
struct Select<'a> {
    stretch: Stretch,
    /// Is the greatest read first?
    falling: bool,
    after: Option<&'a Boundary>,
    wanted: i64,
    offset: i64,
}

impl Part {
    fn table(&self) -> &'static str {
        if self.is_group { "groups" } else { "users" }
    }

    /// The key and the condition of the stretch; `None` if the part has no rows there.
    fn within(&self, stretch: Stretch) -> Option<(Option<&Key>, &str)> {
        match (stretch, &self.key) {
            (Stretch::All, _) | (Stretch::Valueless, None) => Some((None, "TRUE")),
            (Stretch::Valued, key) => key.as_ref().map(|key| (Some(key), key.present.as_str())),
            (Stretch::Valueless, Some(key)) => key.absent.as_deref().map(|absent| (None, absent)),
        }
    }

    /// The statement for this part alone.
    fn branch(&self, select: &Select<'_>, with_groups: bool, one_of_several: bool) -> Option<String> {
        let (key, within) = self.within(select.stretch)?;
        let (columns, table, condition) = (self.columns(with_groups), self.table(), &self.condition);
        // A table that has not been analyzed yet is taken for short: the planner would rather walk all of it in the
        // order of ids than sort what an index finds. It does not see past `OFFSET 0`.
        let fence = if condition.indexed && !condition.params.is_empty() { "OFFSET 0" } else { "" };
        let key_sql = key.map_or("NULL::text", |key| &key.sql);
        let mut beyond = within.to_owned();
        let sign = if select.falling { '<' } else { '>' };
        // Infallible: a String takes whatever it is given.
        let _ = match (key, select.after) {
            (Some(Key { sql, kind, .. }), Some(_)) => {
                let bound = format!("$6::text::{kind}");
                write!(beyond, " AND {sql} {sign}= {bound} AND ({sql} {sign} {bound} OR r.id {sign} $5)")
            }
            _ => write!(beyond, " AND r.id {sign} $5"),
        };
        let order = order(key_sql, "r.id", select);
        let limit = if one_of_several { "LIMIT $3::int8 + $4::int8" } else { "LIMIT $3::int8 OFFSET $4::int8" };
        // A statement which stays prepared must name each parameter, since one that is never named has no type.
        Some(format!(
            "SELECT {columns}, {key_sql} AS key, ({key_sql})::text AS place
               FROM (SELECT * FROM {table} r
                      WHERE r.realm_id = $1 AND r.managed AND ({}) AND $2::text IS NOT NULL {fence}) r
              WHERE {beyond} {order} {limit}",
            condition.sql
        ))
    }

    fn columns(&self, with_groups: bool) -> String {
        let document = "r.id, r.version, r.created_at, r.updated_at, r.attributes, r.managed";
        let groups = if with_groups { GROUPS } else { "NULL::jsonb" };
        if self.is_group {
            format!("{document}, NULL::boolean AS active, NULL::timestamptz AS activated_at, NULL::jsonb AS groups")
        } else {
            format!("{document}, r.active, r.activated_at, {groups} AS groups")
        }
    }

    fn count(&self, stretch: Stretch) -> Option<String> {
        let (table, condition) = (self.table(), &self.condition.sql);
        let (_, within) = self.within(stretch)?;
        let all = format!("SELECT count(*) FROM {table} r WHERE r.realm_id = $1");
        Some(if condition == "TRUE" && within == "TRUE" {
            // Indexes alone tell it: all that there are, less the operators' own.
            format!("(({all}) - ({all} AND NOT r.managed))")
        } else {
            format!("({all} AND r.managed AND ({condition}) AND {within})")
        })
    }
}

fn order(key: &str, id: &str, select: &Select<'_>) -> String {
    let direction = if select.falling { "DESC" } else { "ASC" };
    match select.stretch {
        Stretch::Valued => format!("ORDER BY {key} {direction}, {id} {direction}"),
        Stretch::All | Stretch::Valueless => format!("ORDER BY {id} {direction}"),
    }
}

fn listed_from(row: &Row) -> Result<Listed> {
    // Only a group has no word on whether it is active.
    Ok(match row.try_get::<_, Option<bool>>("active")? {
        Some(_) => Listed::User(user_from(row)?),
        None => Listed::Group(Group { document: document_from(row)?, members: None }),
    })
}

fn place_of(row: &Row) -> Result<Boundary> {
    Ok(Boundary { key: row.try_get("place")?, id: row.try_get("id")? })
}

fn count_of(rows: &[Row]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}
