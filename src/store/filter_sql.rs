//! Filters as SQL: the same AST that [`scim::filter::matches`] walks, and the same answer for every row.
//!
//! The table is aliased `r`, `$1` is the realm. What a client wrote reaches Postgres as bound parameters only; the
//! text is made of our own words and of attribute names which the schemas know.
//!
//! - **Case.** No function of Postgres folds text as [`fold`] does on every version and locale. So Rust folds, when it
//!   writes: into the key columns, and into `r.comparable`, the document once more with its values in comparable form,
//!   kept only where that is more than lowering ASCII letters ([`scim::filter::comparable`]). SQL lowers ASCII letters
//!   under the collation `"C"`, which is the whole of `fold` for the other documents and changes nothing in those.
//!   NB: what an attribute's schema says about case is settled when a resource is written.
//! - **No value.** A comparison with what is not there is `NULL`, and `AND`, `OR`, `WHERE` and `EXISTS` treat it as
//!   they treat false. Only negation tells the two apart, so it is always `IS NOT TRUE`, never `NOT`.
//! - **Indexes.** Beneath row-level security only leakproof operators reach an index. Equality of text and uuid is
//!   leakproof, so `value eq` of e-mails, members and groups is a semi-join over rows.

use jiff::Timestamp;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::scim::{
    error::{Error, Result},
    filter::{Filter, Literal, Lookup, Op, check, instant_key},
    lenient::Dialect,
    path::AttrPath,
    resource::fold,
    schema::{Attribute, GROUP_URN, Kind, Resolved, ResourceType, instant},
};

/// What stands behind `WHERE`, safe to be joined with `AND` in parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub sql: String,
    pub params: Vec<Param>,
    /// Served by an index, and one of so few texts that the statement may stay prepared.
    pub indexed: bool,
}

/// A value of the client.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    Text(String),
    Id(Uuid),
    Instant(Timestamp),
}

impl Param {
    /// The value and its type, as `query_typed` wants them.
    pub fn bound(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Param::Text(text) => (text, Type::TEXT),
            Param::Id(id) => (id, Type::UUID),
            Param::Instant(at) => (at, Type::TIMESTAMPTZ),
        }
    }
}

/// The condition for `filter`, whose parameters begin at `$first_param`; without a filter all rows fulfil it. A filter
/// which the schemas do not bear out is `invalidFilter`.
pub fn compile(
    filter: Option<&Filter>,
    resource_type: &ResourceType,
    dialect: Dialect,
    first_param: usize,
) -> Result<Condition> {
    let Some(filter) = filter else {
        return Ok(Condition { sql: "TRUE".into(), params: Vec::new(), indexed: true });
    };
    check(filter, Lookup::Resource(resource_type), dialect)?;
    let mut compiler = Compiler { params: Vec::new(), first_param, by_index: false };
    let sql = compiler.condition(filter, Place::Row(resource_type))?;
    let indexed = compiler.by_index && matches!(filter, Filter::Compare { op: Op::Eq, .. });
    Ok(Condition { sql, params: compiler.params, indexed })
}

struct Compiler {
    params: Vec<Param>,
    first_param: usize,
    /// Has a comparison been put to an index?
    by_index: bool,
}

/// Where the names of a filter are looked up.
#[derive(Clone, Copy)]
enum Place<'a> {
    Row(&'a ResourceType),
    /// One value of the attribute: inside brackets.
    Element(&'a Attribute, &'a Element),
}

/// One value of an attribute which may have parts.
pub(super) enum Element {
    /// A value in a document.
    Json(String),
    /// `meta` of the resource type of that name.
    Meta(String),
    /// A row `m` of `group_members`, seen from the group.
    Member,
    /// A row `m` of `group_members` with its row `g` of `groups`, seen from the user.
    Group,
}

/// The values of an attribute in a row: all those in `rows`, or the one.
struct Values {
    /// `… WHERE … AND`, to be followed by a condition.
    rows: Option<String>,
    each: Expression,
}

/// What SQL calls a value.
pub(super) enum Expression {
    /// An indexed column of text, folded if case is ignored.
    Key(&'static str),
    /// Other text, folded if case is ignored.
    Text(String),
    Id(&'static str),
    Instant(&'static str),
    Json(Json),
    /// Always there, but not in the database: complex ones, and URLs.
    Given,
}

/// A value in a document: the member of that name, or the whole.
pub(super) struct Json {
    of: String,
    key: Option<String>,
}

/// The document in which comparable values stand.
const DOCUMENT: &str = "coalesce(r.comparable, r.attributes)";

impl Compiler {
    fn condition(&mut self, filter: &Filter, place: Place) -> Result<String> {
        Ok(match filter {
            Filter::And(left, right) => {
                format!("({} AND {})", self.condition(left, place)?, self.condition(right, place)?)
            }
            Filter::Or(left, right) => {
                format!("({} OR {})", self.condition(left, place)?, self.condition(right, place)?)
            }
            Filter::Not(inner) => not(&self.condition(inner, place)?),
            Filter::Present(attr) => present(place, place.find(attr)?),
            Filter::Compare { attr, op, value } => self.compare(attr, *op, value, place)?,
            Filter::Within { attr, filter } => self.within(attr, filter, place)?,
        })
    }

    fn compare(&mut self, attr: &AttrPath, op: Op, literal: &Literal, place: Place) -> Result<String> {
        let found = place.find(attr)?;
        match (op, literal) {
            (Op::Eq, Literal::Null) => return Ok(not(&present(place, found))),
            (Op::Ne, Literal::Null) => return Ok(present(place, found)),
            (Op::Ne, _) => return Ok(not(&self.compare(attr, Op::Eq, literal, place)?)),
            _ => {}
        }
        let found = found.compared();
        if let (Place::Row(resource_type), Op::Eq, Literal::String(text)) = (place, op, literal)
            && found.sub.is_some_and(|sub| sub.name == "value")
            && let Some(sql) = self.look_up(resource_type, found, text)
        {
            return Ok(sql);
        }
        let values = place.values(found);
        if matches!(values.each, Expression::Given) {
            return Err(Error::invalid_filter(format!(
                "`{attr}` is made anew for each answer, so it cannot be compared; compare the id in it"
            )));
        }
        let test = self.test(&values.each, found.leaf(), op, literal);
        Ok(values.any(&test))
    }

    fn within(&mut self, attr: &AttrPath, filter: &Filter, place: Place) -> Result<String> {
        let Place::Row(resource_type) = place else {
            return Err(Error::invalid_filter(format!("`{attr}` stands in brackets, so it cannot have brackets")));
        };
        let found = place.find(attr)?;
        let mut conjuncts = Vec::new();
        for text in wanted_values(filter) {
            conjuncts.extend(self.look_up(resource_type, found, text));
        }
        // What the look-up does not say: the other conditions, and that one value fulfils all of them.
        if conjuncts.is_empty() || !matches!(filter, Filter::Compare { .. }) {
            let (rows, element) = elements(resource_type, found);
            let mut test = self.condition(filter, Place::Element(found.attribute, &element))?;
            if let Element::Json(json) = &element {
                test = format!("({} AND {test})", assigned(json));
            }
            conjuncts.push(Values { rows, each: Expression::Given }.any(&test));
        }
        Ok(format!("({})", conjuncts.join(" AND ")))
    }

    /// `value eq text` of a multi-valued attribute whose values are rows with an index; `None` for other attributes.
    fn look_up(&mut self, resource_type: &ResourceType, found: Resolved, text: &str) -> Option<String> {
        if found.extension.is_some() || text.is_empty() {
            return None;
        }
        let text = fold(text);
        let sql = match (&*found.attribute.name, is_group(resource_type), id_named(&text)) {
            ("emails", false, _) => {
                let key = self.bind(Param::Text(text));
                format!("r.id IN (SELECT m.user_id FROM user_emails m WHERE m.realm_id = $1 AND m.email_key = {key})")
            }
            ("groups", false, Some(id)) => {
                let id = self.bind(Param::Id(id));
                format!(
                    "r.id IN (SELECT m.user_id FROM group_members m WHERE m.realm_id = $1 AND m.group_id = {id} AND \
                     EXISTS (SELECT FROM groups g WHERE g.realm_id = $1 AND g.id = {id} AND g.managed))"
                )
            }
            ("members", true, Some(id)) => {
                let id = self.bind(Param::Id(id));
                format!(
                    "r.id IN (SELECT m.group_id FROM group_members m WHERE m.realm_id = $1 AND m.user_id = {id} \
                     UNION ALL \
                     SELECT m.group_id FROM group_members m WHERE m.realm_id = $1 AND m.nested_id = {id})"
                )
            }
            _ => return None,
        };
        self.by_index = true;
        Some(sql)
    }

    /// Whether one value fulfils `op literal`.
    fn test(&mut self, each: &Expression, leaf: &Attribute, op: Op, literal: &Literal) -> String {
        match (each, literal) {
            (Expression::Json(json), literal) => self.json(json, leaf, op, literal),
            (Expression::Instant(column), Literal::String(text)) => {
                instant(text).map_or("FALSE".into(), |at| self.time(column, op, at))
            }
            (Expression::Id(column), Literal::String(text)) => {
                let text = comparable_text(leaf, text);
                match (op, id_named(&text)) {
                    (Op::Eq, None) => "FALSE".into(),
                    (Op::Eq, Some(id)) => {
                        self.by_index = true;
                        format!("{column} = {}", self.bind(Param::Id(id)))
                    }
                    _ => self.text(&format!("{column}::text"), op, text),
                }
            }
            (Expression::Key(column), Literal::String(text)) => {
                self.by_index |= op == Op::Eq;
                self.text(column, op, comparable_text(leaf, text))
            }
            (Expression::Text(sql), Literal::String(text)) => self.text(sql, op, comparable_text(leaf, text)),
            (_, Literal::Null | Literal::Bool(_) | Literal::Number(_)) | (Expression::Given, _) => "FALSE".into(),
        }
    }

    fn json(&mut self, each: &Json, leaf: &Attribute, op: Op, literal: &Literal) -> String {
        let (json, text) = (each.json(), each.text());
        match (leaf.kind, literal) {
            (Kind::Boolean, literal) => equals_bool(literal, |wanted| format!("{json} = '{wanted}'::jsonb")),
            (Kind::Integer | Kind::Decimal, Literal::Number(number)) => {
                let bound = self.bind(Param::Text(number.to_string()));
                let compared = |kind| format!("({text})::{kind} {} {bound}::text::{kind}", symbol(op));
                // Whole numbers exactly, others as the floats that they were when they were read.
                let whole = if number.as_i128().is_some() {
                    format!("WHEN {text} ~ '^-?[0-9]+$' THEN {} ", compared("numeric"))
                } else {
                    String::new()
                };
                format!("CASE WHEN jsonb_typeof({json}) <> 'number' THEN FALSE {whole}ELSE {} END", compared("float8"))
            }
            (Kind::DateTime, Literal::String(wanted)) => instant(wanted).map_or("FALSE".into(), |at| {
                let key = format!("CASE jsonb_typeof({json}) WHEN 'string' THEN {text} END");
                self.text(&key, op, instant_key(at))
            }),
            (_, Literal::String(wanted)) if leaf.ignores_case() => {
                self.text(&format!("lower(({text}) COLLATE \"C\")"), op, fold(wanted))
            }
            (_, Literal::String(wanted)) => self.text(&text, op, wanted.clone()),
            (_, Literal::Null | Literal::Bool(_) | Literal::Number(_)) => "FALSE".into(),
        }
    }

    /// Compares text by bytes, which in UTF-8 is by code points. Empty text is no value.
    fn text(&mut self, sql: &str, op: Op, wanted: String) -> String {
        if op == Op::Eq && wanted.is_empty() {
            return "FALSE".into();
        }
        let bound = self.bind(Param::Text(wanted));
        match op {
            Op::Eq => format!("{sql} = {bound}"),
            Op::Co => format!("strpos(nullif({sql}, ''), {bound}) > 0"),
            Op::Sw => format!("starts_with(nullif({sql}, ''), {bound})"),
            Op::Ew => format!("right(nullif({sql}, ''), length({bound})) = {bound}"),
            _ => format!("nullif({sql}, '') COLLATE \"C\" {} {bound}", symbol(op)),
        }
    }

    /// Compares a column, which holds whole microseconds, with an instant, which may lie between two of them.
    fn time(&mut self, column: &str, op: Op, at: Timestamp) -> String {
        // Nothing is as old as this, and Postgres does not know times as old as jiff does.
        let at = at.max(Timestamp::constant(-62_135_596_800, 0));
        let floor = Timestamp::from_nanosecond(at.as_nanosecond().div_euclid(1_000) * 1_000).unwrap_or(at);
        let op = match op {
            _ if floor == at => symbol(op),
            Op::Gt | Op::Ge => ">",
            Op::Lt | Op::Le => "<=",
            _ => return "FALSE".into(),
        };
        format!("{column} {op} {}", self.bind(Param::Instant(floor)))
    }

    fn bind(&mut self, param: Param) -> String {
        self.params.push(param);
        format!("${}", self.first_param + self.params.len() - 1)
    }
}

impl<'a> Place<'a> {
    fn find(self, path: &AttrPath) -> Result<Resolved<'a>> {
        let lookup = match self {
            Place::Row(resource_type) => Lookup::Resource(resource_type),
            Place::Element(attribute, _) => Lookup::Values(attribute),
        };
        lookup.resolve(path).ok_or_else(|| Error::invalid_filter(format!("`{path}` is not an attribute")))
    }

    fn values(self, found: Resolved) -> Values {
        match self {
            Place::Element(_, element) => Values { rows: None, each: element.part(found.sub) },
            Place::Row(resource_type) => {
                let (rows, element) = elements(resource_type, found);
                match column(found) {
                    Some(each) => Values { rows: None, each },
                    None => Values { rows, each: element.part(found.sub) },
                }
            }
        }
    }
}

impl Element {
    /// What SQL calls a part of the value, or the whole of it.
    pub(super) fn part(&self, sub: Option<&Attribute>) -> Expression {
        let name = sub.map(|sub| sub.name.as_str());
        match (self, name) {
            (Element::Json(of), key) => Expression::Json(Json { of: of.clone(), key: key.map(str::to_owned) }),
            (Element::Meta(_), Some("created")) => Expression::Instant("r.created_at"),
            (Element::Meta(_), Some("lastModified")) => Expression::Instant("r.updated_at"),
            (Element::Meta(_), Some("version")) => Expression::Text("('W/\"' || r.version || '\"')".into()),
            (Element::Meta(name), Some("resourceType")) => Expression::Text(quoted(name)),
            (Element::Member, Some("value")) => Expression::Id("m.member_id"),
            (Element::Member, Some("type")) => {
                Expression::Text("CASE WHEN m.user_id IS NULL THEN 'group' ELSE 'user' END".into())
            }
            (Element::Member, Some("display")) => Expression::Text(
                "coalesce((SELECT coalesce(u.display_name_key, u.user_name_key) FROM users u \
                 WHERE u.realm_id = $1 AND u.id = m.user_id), \
                 (SELECT g.display_name_key FROM groups g WHERE g.realm_id = $1 AND g.id = m.nested_id))"
                    .into(),
            ),
            (Element::Group, Some("value")) => Expression::Id("m.group_id"),
            (Element::Group, Some("type")) => Expression::Text("'direct'".into()),
            (Element::Group, Some("display")) => Expression::Text("g.display_name_key".into()),
            (Element::Meta(_) | Element::Member | Element::Group, _) => Expression::Given,
        }
    }
}

impl Values {
    /// Does one of the values fulfil `test`?
    fn any(&self, test: &str) -> String {
        match &self.rows {
            Some(rows) => format!("EXISTS (SELECT FROM {rows} {test})"),
            None => test.to_owned(),
        }
    }
}

impl Json {
    pub(super) fn json(&self) -> String {
        match &self.key {
            Some(key) => format!("{} -> {}", self.of, quoted(key)),
            None => self.of.clone(),
        }
    }

    pub(super) fn text(&self) -> String {
        match &self.key {
            Some(key) => format!("{} ->> {}", self.of, quoted(key)),
            None => format!("{} #>> '{{}}'", self.of),
        }
    }
}

/// The column of its own which a simple attribute has.
pub(super) fn column(found: Resolved) -> Option<Expression> {
    match &*found.attribute.name {
        _ if found.extension.is_some() => None,
        "id" => Some(Expression::Id("r.id")),
        "externalId" => Some(Expression::Key("r.external_id")),
        "userName" => Some(Expression::Key("r.user_name_key")),
        "displayName" => Some(Expression::Key("r.display_name_key")),
        _ => None,
    }
}

/// Where the values of an attribute are: in rows, see [`Values::rows`], or the one in the row `r`.
fn elements(resource_type: &ResourceType, found: Resolved) -> (Option<String>, Element) {
    match (found.extension, &*found.attribute.name, is_group(resource_type)) {
        (None, "meta", _) => return (None, Element::Meta(resource_type.name.to_string())),
        (None, "members", true) => {
            let rows = "group_members m WHERE m.realm_id = $1 AND m.group_id = r.id AND";
            return (Some(rows.into()), Element::Member);
        }
        (None, "groups", false) => {
            let rows = "group_members m JOIN groups g ON g.realm_id = m.realm_id AND g.id = m.group_id AND g.managed \
                        WHERE m.realm_id = $1 AND m.user_id = r.id AND";
            return (Some(rows.into()), Element::Group);
        }
        _ => {}
    }
    let value = in_document(found);
    if found.attribute.multi_valued {
        // Unlike `jsonb_array_elements`, takes what is no array for its only element.
        (Some(format!("jsonb_path_query({value}, '$[*]') e WHERE")), Element::Json("e".into()))
    } else {
        (None, Element::Json(value))
    }
}

/// The attribute in the document of the row `r`.
pub(super) fn in_document(found: Resolved) -> String {
    match (found.extension, &*found.attribute.name) {
        (None, "schemas") => "r.attributes -> 'schemas'".into(),
        (None, name) => format!("{DOCUMENT} -> {}", quoted(name)),
        (Some(urn), name) => format!("{DOCUMENT} -> {} -> {}", quoted(urn), quoted(name)),
    }
}

/// `pr`: is there a value?
fn present(place: Place, found: Resolved) -> String {
    let values = place.values(found);
    let simple = found.leaf().kind != Kind::Complex && !found.sub.is_some_and(|sub| sub.multi_valued);
    values.any(&match &values.each {
        Expression::Key(sql) => format!("nullif({sql}, '') IS NOT NULL"),
        Expression::Text(sql) => format!("nullif({sql}, '') IS NOT NULL"),
        Expression::Json(json) if simple => format!("nullif({}, '') IS NOT NULL", json.text()),
        Expression::Json(json) => assigned(&json.json()),
        Expression::Id(_) | Expression::Instant(_) | Expression::Given => "TRUE".into(),
    })
}

/// Is there a value anywhere in `json`? `scim::schema::is_assigned` in SQL.
fn assigned(json: &str) -> String {
    format!(
        "jsonb_path_exists({json}, '$.** ? (@.type() == \"boolean\" || @.type() == \"number\" || \
         @.type() == \"string\" && @ != \"\")')"
    )
}

/// Neither false nor unknown becomes true otherwise.
fn not(condition: &str) -> String {
    format!("({condition}) IS NOT TRUE")
}

/// What `value` must be equal to if a value is to match.
fn wanted_values(filter: &Filter) -> Vec<&str> {
    match filter {
        Filter::And(left, right) => [wanted_values(left), wanted_values(right)].concat(),
        Filter::Compare { attr, op: Op::Eq, value: Literal::String(text) }
            if attr.name.eq_ignore_ascii_case("value") =>
        {
            vec![text]
        }
        _ => Vec::new(),
    }
}

/// The id which is written exactly so.
fn id_named(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.to_string() == text)
}

fn equals_bool(literal: &Literal, sql: impl Fn(bool) -> String) -> String {
    literal.as_bool().map_or("FALSE".into(), sql)
}

fn comparable_text(leaf: &Attribute, text: &str) -> String {
    if leaf.ignores_case() { fold(text) } else { text.to_owned() }
}

pub(super) fn is_group(resource_type: &ResourceType) -> bool {
    resource_type.schema.id == GROUP_URN
}

fn symbol(op: Op) -> &'static str {
    match op {
        Op::Gt => ">",
        Op::Ge => ">=",
        Op::Lt => "<",
        Op::Le => "<=",
        Op::Ne => "<>",
        Op::Eq | Op::Co | Op::Sw | Op::Ew => "=",
    }
}

/// A name of a schema as a constant of SQL, whatever an operator has put into it.
pub(super) fn quoted(name: &str) -> String {
    let escape = if name.contains('\\') { " E" } else { "" };
    format!("{escape}'{}'", name.replace('\\', r"\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests;
