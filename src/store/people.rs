//! Users and groups as operators see them: the IdP's and their own.

use super::{
    error::Result,
    filter_sql::Param,
    outbox::Origin,
    tx::{RealmTx, Rows, Statement},
    users::{document_from, user_from},
};
use crate::model::{
    GroupId, UserId,
    document::Document,
    role::Holder,
    search::{Term, UserSearch},
    user::{State, User},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

/// Most bytes of rows in an answer: more than a hundred resources can have, so whoever pages by a hundred is never cut.
const ROOM: usize = 128 << 20;

/// Characters of a name which are searched; see `0013_role_mappings.sql`.
const NAME_CHARS: usize = 256;

/// Behind every text which begins with what stands before it: no text holds this character.
const LAST: char = '\u{10FFFF}';

macro_rules! users {
    ($($rest:literal),*) => {
        concat!(
            "SELECT r.id, r.version, r.created_at, r.updated_at, r.attributes, r.managed, r.active, r.activated_at,
                    NULL::jsonb AS groups ",
            $($rest),*
        )
    };
}

macro_rules! groups {
    ($($rest:literal),*) => {
        concat!("SELECT r.id, r.version, r.created_at, r.updated_at, r.attributes, r.managed ", $($rest),*)
    };
}

const FIND_USER: &str = users!("FROM users r WHERE r.realm_id = $1 AND r.id = $2");
const LOCK_USER: &str = users!("FROM users r WHERE r.realm_id = $1 AND r.id = $2 FOR UPDATE");
const FIND_GROUP: &str = groups!("FROM groups r WHERE r.realm_id = $1 AND r.id = $2");
const LOCK_GROUP: &str = groups!("FROM groups r WHERE r.realm_id = $1 AND r.id = $2 FOR UPDATE");

/// Do many users have a name or address from `$2` to `$3`? Answers how many there are, up to `$4`.
const PROBE: &str = "
    SELECT count(*) FROM (
        SELECT FROM (
            SELECT FROM users WHERE realm_id = $1 AND user_name_key >= $2 AND user_name_key < $3
            UNION ALL
            SELECT FROM users WHERE realm_id = $1 AND first_name_key >= $2 AND first_name_key < $3
            UNION ALL
            SELECT FROM users WHERE realm_id = $1 AND last_name_key >= $2 AND last_name_key < $3
            UNION ALL
            SELECT FROM user_emails WHERE realm_id = $1 AND email_key >= $2 AND email_key < $3) found
         LIMIT $4) counted";

/// From so many users on, those who are wanted are met soon enough in the order of the names.
const MANY: i64 = 2_000;

/// Pages are cut before the rows are looked up, by the index which holds their order.
const MEMBERS: &str = users!(
    "FROM (SELECT member_id AS id FROM group_members
            WHERE realm_id = $1 AND group_id = $2 AND user_id IS NOT NULL ORDER BY member_id OFFSET $3 LIMIT $4) m
     JOIN users r ON r.realm_id = $1 AND r.id = m.id ORDER BY r.id"
);
const USERS_OF_ROLE: &str = users!(
    "FROM (SELECT user_id AS id FROM user_roles
            WHERE realm_id = $1 AND role_id = $2 ORDER BY user_id OFFSET $3 LIMIT $4) m
     JOIN users r ON r.realm_id = $1 AND r.id = m.id ORDER BY r.id"
);
const GROUPS_OF_ROLE: &str = groups!(
    "FROM group_roles m JOIN groups r ON r.realm_id = $1 AND r.id = m.group_id
     WHERE m.realm_id = $1 AND m.role_id = $2 ORDER BY r.display_name_key, r.id OFFSET $3 LIMIT $4"
);
const GROUPS_OF_USER: &str = groups!(
    "FROM group_members m JOIN groups r ON r.realm_id = $1 AND r.id = m.group_id
     WHERE m.realm_id = $1 AND m.user_id = $2 AND m.user_id IS NOT NULL
       AND ($5::text IS NULL OR strpos(r.display_name_key, $5) > 0)
     ORDER BY r.display_name_key, r.id OFFSET $3 LIMIT $4"
);
const GROUPS: &str = groups!(
    "FROM groups r
     WHERE r.realm_id = $1 AND r.display_name_key > '' AND ($2::text IS NULL OR strpos(r.display_name_key, $2) > 0)
     ORDER BY r.display_name_key, r.id OFFSET $3 LIMIT $4"
);
const GROUPS_NAMED: &str =
    groups!("FROM groups r WHERE r.realm_id = $1 AND r.display_name_key = $2 ORDER BY r.id OFFSET $3 LIMIT $4");
const COUNT_GROUPS: &str = "
    SELECT count(*) FROM groups r
     WHERE r.realm_id = $1 AND ($2::text IS NULL OR strpos(r.display_name_key, $2) > 0)";
const COUNT_GROUPS_NAMED: &str = "SELECT count(*) FROM groups r WHERE r.realm_id = $1 AND r.display_name_key = $2";

const IS_LOCAL_NAME: &str = "SELECT FROM users WHERE realm_id = $1 AND user_name_key = $2 AND NOT managed";
const IS_LOCAL_GROUP: &str = "SELECT FROM groups WHERE realm_id = $1 AND unique_name = $2 AND NOT managed";

const JOIN: &str = "
    WITH added AS (
        INSERT INTO group_members (realm_id, group_id, member_id, user_id, created_at, actor, request_id)
        VALUES ($1, $2, $3, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING member_id),
    grown AS (
        UPDATE groups SET version = version + 1, updated_at = greatest(updated_at, $4)
         WHERE realm_id = $1 AND id = $2 AND EXISTS (SELECT FROM added)
        RETURNING version)
    INSERT INTO outbox (realm_id, event, resource_id, version, member_id, facts, actor, request_id, created_at)
    SELECT $1, 'dsync.group.user_added', $2, version, $3, '{\"member\": \"User\"}', $5, $6, $4 FROM grown
    RETURNING true";

const LEAVE: &str = "
    WITH gone AS (
        DELETE FROM group_members WHERE realm_id = $1 AND group_id = $2 AND member_id = $3 RETURNING member_id),
    shrunk AS (
        UPDATE groups SET version = version + 1, updated_at = greatest(updated_at, $4)
         WHERE realm_id = $1 AND id = $2 AND EXISTS (SELECT FROM gone)
        RETURNING version)
    INSERT INTO outbox (realm_id, event, resource_id, version, member_id, facts, actor, request_id, created_at)
    SELECT $1, 'dsync.group.user_removed', $2, version, $3, '{\"member\": \"User\"}', $5, $6, $4 FROM shrunk
    RETURNING true";

/// A stretch of an ordered list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub first: i64,
    pub max: i64,
}

/// Which groups are wanted, by their folded names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    Anyhow,
    /// A part of the name.
    Partly(&'a str),
    Exactly(&'a str),
}

/// The users whom the search fits, in the order of their names. `None` if they are more than an answer can hold.
pub async fn users(mut tx: RealmTx, search: &UserSearch, stretch: Stretch) -> Result<Option<Vec<User>>> {
    let wanted = Wanted::of(&mut tx, search).await?;
    // Every name is longer than nothing: said for the index which knows their order, and which alone is read to skip
    // those before the page.
    let sql = format!(
        "{}FROM (SELECT r.user_name_key FROM users r WHERE r.realm_id = $1 AND r.user_name_key > '' AND {}
                  ORDER BY r.user_name_key OFFSET $2 LIMIT $3) page
           JOIN users r ON r.realm_id = $1 AND r.user_name_key = page.user_name_key
          ORDER BY r.user_name_key",
        users!(),
        wanted.sql()
    );
    let rows = tx.finish_within(Statement::Once(&sql, &wanted.params(&stretch)), ROOM).await?;
    whole(&rows, user_from)
}

/// How many users the search fits.
pub async fn count_users(mut tx: RealmTx, search: &UserSearch) -> Result<i64> {
    let wanted = Wanted::of(&mut tx, search).await?;
    let sql = format!("SELECT count(*) FROM users r WHERE r.realm_id = $1 AND {}", wanted.sql());
    let params = wanted.params(&Stretch { first: 0, max: 0 });
    let found = tx.finish_within(Statement::Once(&sql, &params), usize::MAX).await?;
    counted(&found.rows)
}

pub async fn user(tx: &mut RealmTx, id: UserId) -> Result<Option<User>> {
    tx.query(FIND_USER, &[&id.0]).await?.first().map(user_from).transpose()
}

/// The user, held against every other writer until the transaction ends.
pub async fn lock_user(tx: &mut RealmTx, id: UserId) -> Result<Option<User>> {
    tx.query(LOCK_USER, &[&id.0]).await?.first().map(user_from).transpose()
}

pub async fn group(tx: &mut RealmTx, id: GroupId) -> Result<Option<Document>> {
    tx.query(FIND_GROUP, &[&id.0]).await?.first().map(document_from).transpose()
}

/// The group, held against everybody who would write it or refer to it.
pub async fn lock_group(tx: &mut RealmTx, id: GroupId) -> Result<Option<Document>> {
    tx.query(LOCK_GROUP, &[&id.0]).await?.first().map(document_from).transpose()
}

/// Groups by name. `None` if they are more than an answer can hold.
pub async fn groups(mut tx: RealmTx, named: Named<'_>, stretch: Stretch) -> Result<Option<Vec<Document>>> {
    let (sql, name) = match named {
        Named::Anyhow => (GROUPS, None),
        Named::Partly(part) => (GROUPS, Some(part)),
        Named::Exactly(name) => (GROUPS_NAMED, Some(name)),
    };
    let params: [&(dyn ToSql + Sync); 3] = [&name, &stretch.first, &stretch.max];
    whole(&tx.finish_within(Statement::Kept(sql, &params), ROOM).await?, document_from)
}

pub async fn count_groups(mut tx: RealmTx, named: Named<'_>) -> Result<i64> {
    let (sql, name) = match named {
        Named::Anyhow => (COUNT_GROUPS, None),
        Named::Partly(part) => (COUNT_GROUPS, Some(part)),
        Named::Exactly(name) => (COUNT_GROUPS_NAMED, Some(name)),
    };
    counted(&tx.finish(sql, &[&name]).await?)
}

/// The users in the group itself, in the order of their ids.
pub async fn members(mut tx: RealmTx, group: GroupId, stretch: Stretch) -> Result<Option<Vec<User>>> {
    let params: [&(dyn ToSql + Sync); 3] = [&group.0, &stretch.first, &stretch.max];
    whole(&tx.finish_within(Statement::Kept(MEMBERS, &params), ROOM).await?, user_from)
}

/// The users to whom the role is mapped, in the order of their ids.
pub async fn users_of_role(mut tx: RealmTx, role: Uuid, stretch: Stretch) -> Result<Option<Vec<User>>> {
    let params: [&(dyn ToSql + Sync); 3] = [&role, &stretch.first, &stretch.max];
    whole(&tx.finish_within(Statement::Kept(USERS_OF_ROLE, &params), ROOM).await?, user_from)
}

/// The groups to which the role is mapped, by name.
pub async fn groups_of_role(mut tx: RealmTx, role: Uuid, stretch: Stretch) -> Result<Option<Vec<Document>>> {
    let params: [&(dyn ToSql + Sync); 3] = [&role, &stretch.first, &stretch.max];
    whole(&tx.finish_within(Statement::Kept(GROUPS_OF_ROLE, &params), ROOM).await?, document_from)
}

/// The groups which hold the user directly, by name; `part` is a part of it, folded.
pub async fn groups_of_user(
    mut tx: RealmTx,
    user: UserId,
    part: Option<&str>,
    stretch: Stretch,
) -> Result<Option<Vec<Document>>> {
    let params: [&(dyn ToSql + Sync); 4] = [&user.0, &stretch.first, &stretch.max, &part];
    whole(&tx.finish_within(Statement::Kept(GROUPS_OF_USER, &params), ROOM).await?, document_from)
}

/// Puts a user into a locked group. Was it not there before?
pub async fn join(tx: &mut RealmTx, group: GroupId, user: UserId, origin: &Origin<'_>) -> Result<bool> {
    moved(tx, JOIN, group, user, origin).await
}

/// Takes a user out of a locked group. Was it there?
pub async fn leave(tx: &mut RealmTx, group: GroupId, user: UserId, origin: &Origin<'_>) -> Result<bool> {
    moved(tx, LEAVE, group, user, origin).await
}

async fn moved(tx: &mut RealmTx, sql: &str, group: GroupId, user: UserId, origin: &Origin<'_>) -> Result<bool> {
    let params: [&(dyn ToSql + Sync); 5] = [&group.0, &user.0, &origin.at, &origin.actor, &origin.request_id];
    Ok(!tx.query(sql, &params).await?.is_empty())
}

/// Is it an operator's own user whose folded name this is?
pub async fn is_local_user(tx: &mut RealmTx, user_name_key: &str) -> Result<bool> {
    Ok(!tx.query(IS_LOCAL_NAME, &[&user_name_key]).await?.is_empty())
}

/// Is it an operator's own group whose folded name this is?
pub async fn is_local_group(tx: &mut RealmTx, display_name_key: &str) -> Result<bool> {
    Ok(!tx.query(IS_LOCAL_GROUP, &[&display_name_key]).await?.is_empty())
}

/// Does that user or group exist? It stays until the transaction ends.
pub async fn is_there(tx: &mut RealmTx, holder: Holder) -> Result<bool> {
    let sql = match holder {
        Holder::User(_) => "SELECT FROM users WHERE realm_id = $1 AND id = $2 FOR KEY SHARE",
        Holder::Group(_) => "SELECT FROM groups WHERE realm_id = $1 AND id = $2 FOR KEY SHARE",
    };
    Ok(!tx.query(sql, &[&holder.id()]).await?.is_empty())
}

fn whole<T>(rows: &Rows, from: impl Fn(&Row) -> Result<T>) -> Result<Option<Vec<T>>> {
    if rows.cut { Ok(None) } else { rows.rows.iter().map(from).collect::<Result<_>>().map(Some) }
}

fn counted(rows: &[Row]) -> Result<i64> {
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// Conditions on a row `r` of `users`, all of which must hold, and their parameters from `$4` on.
#[derive(Default)]
struct Wanted {
    conditions: Vec<String>,
    params: Vec<Param>,
}

impl Wanted {
    async fn of(tx: &mut RealmTx, search: &UserSearch) -> Result<Self> {
        let mut wanted = Self::default();
        for term in &search.terms {
            let many = match term {
                Term::Prefix(prefix) => {
                    counted(&tx.query(PROBE, &[&prefix, &format!("{prefix}{LAST}"), &MANY]).await?)? >= MANY
                }
                Term::Infix(_) | Term::Exact(_) | Term::Ids(_) => false,
            };
            wanted.term(term, many);
        }
        let short = |text: &str| text.chars().take(NAME_CHARS).collect::<String>();
        wanted.column("user_name_key", search.user_name.as_deref(), search.exact);
        wanted.column("first_name_key", search.first_name.as_deref().map(short).as_deref(), search.exact);
        wanted.column("last_name_key", search.last_name.as_deref().map(short).as_deref(), search.exact);
        if let Some(email) = &search.email {
            let email = wanted.bind(email);
            wanted.conditions.push(if search.exact {
                format!("r.id IN (SELECT m.user_id FROM user_emails m WHERE m.realm_id = $1 AND m.email_key = {email})")
            } else {
                has_email(&format!("strpos(m.email_key, {email}) > 0"))
            });
        }
        let facts = [
            search.enabled.map(|enabled| if enabled { "r.active" } else { "NOT r.active" }),
            search.state.map(state),
            // Nobody's address is verified here.
            search.email_verified.map(|verified| if verified { "FALSE" } else { "TRUE" }),
        ];
        wanted.conditions.extend(facts.into_iter().flatten().map(str::to_owned));
        for (name, value) in &search.attributes {
            wanted.attribute(name, value);
        }
        Ok(wanted)
    }

    /// `many` tells that an index would find more than reading in order meets.
    fn term(&mut self, term: &Term, many: bool) {
        let columns = ["user_name_key", "first_name_key", "last_name_key"];
        let condition = match term {
            Term::Ids(ids) => {
                let ids: Vec<String> = ids.iter().map(|id| self.bind_param(Param::Id(*id))).collect();
                if ids.is_empty() { "FALSE".into() } else { format!("r.id IN ({})", ids.join(", ")) }
            }
            Term::Infix(part) => {
                let part = self.bind(part);
                in_row(columns, |column| format!("strpos({column}, {part}) > 0"))
            }
            Term::Prefix(prefix) => {
                let (from, to) = (self.bind(prefix), self.bind(&format!("{prefix}{LAST}")));
                let test = |column: &str| format!("{column} >= {from} AND {column} < {to}");
                if many { in_row(columns, test) } else { by_index(columns, test) }
            }
            Term::Exact(text) => {
                let text = self.bind(text);
                by_index(columns, |column| format!("{column} = {text}"))
            }
        };
        self.conditions.push(condition);
    }

    fn column(&mut self, column: &str, text: Option<&str>, exact: bool) {
        let Some(text) = text else { return };
        let text = self.bind(text);
        self.conditions.push(if exact {
            format!("r.{column} = {text}")
        } else {
            format!("strpos(r.{column}, {text}) > 0")
        });
    }

    /// A value as the representation shows it.
    fn attribute(&mut self, name: &str, value: &str) {
        let condition = match name {
            "state" => [State::Shadow, State::Active, State::Disabled]
                .into_iter()
                .find(|state| state.as_str() == value)
                .map_or("FALSE", state)
                .to_owned(),
            "externalId" => format!("r.external_id = {}", self.bind(value)),
            "scimUserName" => {
                let key = self.bind(&crate::scim::resource::fold(value));
                format!("r.user_name_key = {key} AND r.attributes ->> 'userName' = {}", self.bind(value))
            }
            name => {
                let (name, value) = (self.bind(name), self.bind(value));
                format!("(r.attributes ->> {name} = {value} OR r.attributes -> {name} @> to_jsonb({value}))")
            }
        };
        self.conditions.push(condition);
    }

    fn bind(&mut self, text: &str) -> String {
        self.bind_param(Param::Text(text.to_owned()))
    }

    fn bind_param(&mut self, param: Param) -> String {
        self.params.push(param);
        format!("${}", self.params.len() + 3)
    }

    fn sql(&self) -> String {
        if self.conditions.is_empty() { "TRUE".into() } else { self.conditions.join(" AND ") }
    }

    fn params<'a>(&'a self, stretch: &'a Stretch) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
        let mut params: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&stretch.first, Type::INT8), (&stretch.max, Type::INT8)];
        params.extend(self.params.iter().map(Param::bound));
        params
    }
}

/// Found by an index each: beneath row-level security only comparisons of whole columns reach one.
fn by_index(columns: [&str; 3], test: impl Fn(&str) -> String) -> String {
    let mut arms: Vec<String> = columns
        .iter()
        .map(|column| format!("SELECT s.id FROM users s WHERE s.realm_id = $1 AND {}", test(&format!("s.{column}"))))
        .collect();
    arms.push(format!("SELECT m.user_id FROM user_emails m WHERE m.realm_id = $1 AND {}", test("m.email_key")));
    format!("r.id IN ({})", arms.join(" UNION ALL "))
}

/// Looked for in each row.
fn in_row(columns: [&str; 3], test: impl Fn(&str) -> String) -> String {
    let mut any: Vec<String> = columns.iter().map(|column| test(&format!("r.{column}"))).collect();
    any.push(has_email(&test("m.email_key")));
    format!("({})", any.join(" OR "))
}

fn has_email(test: &str) -> String {
    format!("EXISTS (SELECT FROM user_emails m WHERE m.realm_id = $1 AND m.user_id = r.id AND {test})")
}

const fn state(state: State) -> &'static str {
    match state {
        State::Shadow => "r.active AND r.activated_at IS NULL",
        State::Active => "r.active AND r.activated_at IS NOT NULL",
        State::Disabled => "NOT r.active",
    }
}
