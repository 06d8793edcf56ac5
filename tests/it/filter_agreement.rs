//! A filter finds in Postgres exactly those whom `scim::filter::matches` says it matches, whatever the filter and
//! whatever the text: random filters over random resources, held against each other row by row.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use realmgate::{
    scim::{
        filter::{self, Filter, Literal, Lookup, Op},
        lenient::Dialect,
        path::AttrPath,
        resource::{Resource, fold},
        schema::{Attribute, Kind, Mutability, Resolved, ResourceType, Returned, Schema},
    },
    store::filter_sql::{self, Condition},
};
use serde_json::{Map, Number, Value, json};
use tokio_postgres::{
    Client, NoTls,
    types::{Json, ToSql, Type},
};
use uuid::Uuid;

use crate::process::Postgres;

const FILTERS: usize = 3_000;
const USERS: usize = 120;
const GROUPS: usize = 40;

/// Texts which folding, patterns or quoting may get wrong.
const TEXTS: [&str; 36] = [
    "", "a", "A", "b", "ß", "ẞ", "SS", "ss", "İ", "i", "ı", "I", "ſ", "s", "\u{212a}", "k", "ς", "σ", "Σ", "Å",
    "A\u{30a}", "\u{212b}", "ﬁ", "fi", "%", "_", "\\", "'", "\"", "é", "e\u{301}", "😀", "ﷺ", "\u{345}", "ΐ", "ŉ",
];
const TIMES: [&str; 7] = [
    "2011-05-13T04:42:34Z",
    "2011-05-13T06:42:34.000+02:00",
    "2011-05-13T04:42:34.123456789Z",
    "2011-05-13T04:42:34",
    "0001-01-01T00:00:00Z",
    "-009000-01-01T00:00:00Z",
    "9999-12-30T00:00:00Z",
];

/// Numbers from a seed (SplitMix64), so that a failure happens again.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).expect("below a usize")
    }

    pub fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn text(&mut self) -> String {
        (0..=self.below(3)).map(|_| *self.pick(&TEXTS)).collect()
    }

    fn number(&mut self, kind: Kind) -> Number {
        let whole = [0, 1, -1, 7, 9_007_199_254_740_992, 9_007_199_254_740_993, i64::MAX, i64::MIN];
        let floats = [0.0, -0.0, 1.0, 1.5, 9_007_199_254_740_992.0, 1e20, 1e300, 5e-324, 0.1];
        if kind == Kind::Integer || self.one_in(2) {
            if self.one_in(8) { u64::MAX.into() } else { (*self.pick(&whole)).into() }
        } else {
            Number::from_f64(*self.pick(&floats)).expect("finite")
        }
    }

    fn value(&mut self, attribute: &Attribute) -> Value {
        match attribute.kind {
            Kind::Complex => {
                let subs = attribute.sub_attributes.iter();
                let mut parts: Map<String, Value> = Map::new();
                for sub in subs {
                    if self.one_in(2) {
                        parts.insert(sub.name.clone(), self.values(sub));
                    }
                }
                if self.one_in(8) {
                    parts.insert("unheardOf".into(), self.text().into());
                }
                parts.into()
            }
            Kind::Boolean => self.one_in(2).into(),
            Kind::Integer | Kind::Decimal => self.number(attribute.kind).into(),
            Kind::DateTime => (*self.pick(&TIMES)).into(),
            Kind::String | Kind::Reference | Kind::Binary => self.text().into(),
        }
    }

    fn values(&mut self, attribute: &Attribute) -> Value {
        if attribute.multi_valued {
            (0..self.below(3)).map(|_| self.value(attribute)).collect()
        } else {
            self.value(attribute)
        }
    }

    fn attributes(&mut self, attributes: &[Attribute]) -> Map<String, Value> {
        let mut written = Map::new();
        for attribute in attributes {
            let kept = attribute.returned != Returned::Never && attribute.mutability != Mutability::ReadOnly;
            if kept && attribute.name != "members" && (attribute.required || self.one_in(3)) {
                written.insert(attribute.name.clone(), self.values(attribute));
            }
        }
        written
    }

    fn resource(&mut self, resource_type: &ResourceType) -> Resource {
        let mut written = self.attributes(&resource_type.schema.attributes);
        for extension in &resource_type.extensions {
            if self.one_in(2) {
                written.insert(extension.id.clone(), self.attributes(&extension.attributes).into());
            }
        }
        if self.one_in(3) {
            written.insert("externalId".into(), self.text().into());
        }
        Resource(written)
    }
}

/// Random filters which the schemas bear out.
pub struct Filters<'a> {
    pub dice: Dice,
    pub resource_type: &'a ResourceType,
    pub paths: Vec<AttrPath>,
    /// Values which are there, so that comparisons hit.
    pub known: Vec<String>,
}

impl Filters<'_> {
    pub fn next(&mut self, depth: usize) -> Filter {
        match self.dice.below(if depth == 0 { 4 } else { 7 }) {
            0..=2 => {
                let path = self.dice.pick(&self.paths).clone();
                self.leaf(path, Lookup::Resource(self.resource_type))
            }
            3 => self.within(),
            4 => Filter::And(Box::new(self.next(depth - 1)), Box::new(self.next(depth - 1))),
            5 => Filter::Or(Box::new(self.next(depth - 1)), Box::new(self.next(depth - 1))),
            _ => Filter::Not(Box::new(self.next(depth - 1))),
        }
    }

    fn within(&mut self) -> Filter {
        loop {
            let path = self.dice.pick(&self.paths).clone();
            let found = self.resource_type.resolve(&path).expect("it is of the schemas");
            if found.sub.is_none() && (found.attribute.multi_valued || found.attribute.kind == Kind::Complex) {
                return Filter::Within { attr: path, filter: Box::new(self.inner(found.attribute, 2)) };
            }
        }
    }

    fn inner(&mut self, attribute: &Attribute, depth: usize) -> Filter {
        match self.dice.below(if depth == 0 { 3 } else { 6 }) {
            0..=2 => {
                let names: Vec<&str> = match &*attribute.sub_attributes {
                    [] => vec!["value"],
                    subs => subs.iter().map(|sub| &*sub.name).collect(),
                };
                let path = self.dice.pick(&names).parse().expect("a name");
                self.leaf(path, Lookup::Values(attribute))
            }
            3 => Filter::And(Box::new(self.inner(attribute, depth - 1)), Box::new(self.inner(attribute, depth - 1))),
            4 => Filter::Or(Box::new(self.inner(attribute, depth - 1)), Box::new(self.inner(attribute, depth - 1))),
            _ => Filter::Not(Box::new(self.inner(attribute, depth - 1))),
        }
    }

    fn leaf(&mut self, attr: AttrPath, lookup: Lookup) -> Filter {
        let kind = lookup.resolve(&attr).map(Resolved::compared).map(|found| found.leaf().kind);
        let equality = [Op::Eq, Op::Eq, Op::Ne];
        let order = [Op::Eq, Op::Ne, Op::Gt, Op::Ge, Op::Lt, Op::Le];
        let any = [Op::Eq, Op::Ne, Op::Co, Op::Sw, Op::Ew, Op::Gt, Op::Ge, Op::Lt, Op::Le];
        let (op, value) = match kind {
            None | Some(Kind::Complex) => return Filter::Present(attr),
            _ if self.dice.one_in(8) => return Filter::Present(attr),
            _ if self.dice.one_in(12) => (*self.dice.pick(&equality), Literal::Null),
            Some(Kind::Boolean) => (*self.dice.pick(&equality), Literal::Bool(self.dice.one_in(2))),
            Some(Kind::Integer | Kind::Decimal) => {
                (*self.dice.pick(&order), Literal::Number(self.dice.number(Kind::Decimal)))
            }
            Some(Kind::DateTime) => (*self.dice.pick(&order), Literal::String(self.time())),
            Some(Kind::Binary) => (*self.dice.pick(&equality), Literal::String(self.text())),
            Some(Kind::String | Kind::Reference) => (*self.dice.pick(&any), Literal::String(self.text())),
        };
        Filter::Compare { attr, op, value }
    }

    fn text(&mut self) -> String {
        if self.dice.one_in(2) {
            return self.dice.text();
        }
        let known = self.dice.pick(&self.known).clone();
        match self.dice.below(4) {
            0 => known.to_uppercase(),
            1 => known.chars().skip(1).collect(),
            _ => known,
        }
    }

    fn time(&mut self) -> String {
        let base = at(self.dice.below(USERS));
        match self.dice.below(4) {
            0 => (*self.dice.pick(&TIMES)).into(),
            1 => (base + SignedDuration::from_nanos(1)).to_string(),
            2 => (base - SignedDuration::from_nanos(1)).to_string(),
            _ => base.to_string(),
        }
    }
}

/// When the nth row was made.
fn at(n: usize) -> Timestamp {
    Timestamp::constant(1_700_000_000, 0) + SignedDuration::from_millis(i64::try_from(n).expect("small") % 10)
}

pub fn paths(resource_type: &ResourceType) -> Vec<AttrPath> {
    let mut paths: Vec<String> = ["id", "externalId", "schemas", "meta"].map(str::to_owned).to_vec();
    paths.extend(["created", "lastModified", "version", "resourceType", "location"].map(|sub| format!("meta.{sub}")));
    for schema in resource_type.schemas() {
        let urn = if schema.id == resource_type.schema.id { String::new() } else { format!("{}:", schema.id) };
        for attribute in schema.attributes.iter().filter(|attribute| attribute.returned != Returned::Never) {
            paths.push(format!("{urn}{}", attribute.name));
            paths.extend(attribute.sub_attributes.iter().map(|sub| format!("{urn}{}.{}", attribute.name, sub.name)));
        }
    }
    paths.iter().map(|path| path.parse().expect("a path")).collect()
}

/// What a realm might add: every type, one and many, exact and not, under a name that has to be quoted.
fn own_extension() -> Schema {
    let mut attributes = Vec::new();
    for kind in ["string", "boolean", "decimal", "integer", "dateTime", "binary", "reference"] {
        for multi_valued in [false, true] {
            let name = format!("{kind}{}", if multi_valued { "s" } else { "" });
            attributes.push(json!({ "name": name, "type": kind, "multiValued": multi_valued }));
        }
    }
    let part = attributes.clone();
    attributes.push(json!({ "name": "exact", "caseExact": true }));
    attributes.push(json!({ "name": "box", "type": "complex", "subAttributes": part }));
    let part: Vec<_> = part.into_iter().chain([json!({ "name": "primary", "type": "boolean" })]).collect();
    attributes.push(json!({ "name": "boxes", "type": "complex", "multiValued": true, "subAttributes": part }));
    serde_json::from_value(json!({ "id": "urn:example:o'brien\\1", "name": "Own", "attributes": attributes }))
        .expect("a schema")
}

/// A row as the reference sees it: an answer without its URLs.
pub struct Row {
    pub id: Uuid,
    pub answer: Map<String, Value>,
}

impl Row {
    fn new(id: Uuid, n: usize, resource_type: &ResourceType, document: &Map<String, Value>) -> Self {
        let mut answer = document.clone();
        answer.insert("id".into(), id.to_string().into());
        let created = at(n).to_string();
        let meta = json!({ "resourceType": resource_type.name, "created": created, "lastModified": created,
                           "version": format!("W/\"{n}\""), "location": format!("https://x{}/{id}", resource_type.endpoint) });
        answer.insert("meta".into(), meta);
        Self { id, answer }
    }
}

/// The document that is stored for a resource: `schemas` and what was written.
fn document(resource_type: &ResourceType, resource: &Resource) -> Map<String, Value> {
    let urns = resource_type
        .schemas()
        .filter(|schema| schema.id == resource_type.schema.id || resource.0.contains_key(&schema.id));
    let mut document = Map::new();
    document.insert("schemas".into(), urns.map(|schema| Value::from(schema.id.as_str())).collect());
    document.extend(resource.0.clone());
    document
}

pub struct Database {
    client: Client,
    pub realm: Uuid,
}

impl Database {
    async fn new(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server is up");
        tokio::spawn(connection);
        let script =
            "CREATE ROLE realmgate_app; CREATE SCHEMA realmgate; GRANT USAGE ON SCHEMA realmgate TO realmgate_app;
                      SET search_path = realmgate";
        client.batch_execute(script).await.expect("an empty server");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/migrations");
        let mut files: Vec<_> =
            fs::read_dir(folder).expect("migrations").map(|file| file.expect("a file").path()).collect();
        files.sort();
        for file in files {
            client.batch_execute(&fs::read_to_string(&file).expect("text")).await.expect("a sound migration");
        }
        let realm = Uuid::now_v7();
        client
            .execute("INSERT INTO realms VALUES ($1, 'acme', NULL, true, true, 1, '{}', now(), now())", &[&realm])
            .await
            .expect("a realm");
        client.batch_execute("SET ROLE realmgate_app").await.expect("the role");
        client
            .execute("SELECT set_config('realmgate.realm', $1, false)", &[&realm.to_string()])
            .await
            .expect("entered");
        Self { client, realm }
    }

    async fn execute(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) {
        let params: Vec<_> = [&self.realm as &(dyn ToSql + Sync)].into_iter().chain(params.iter().copied()).collect();
        self.client.execute(sql, &params).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    async fn found(&self, table: &str, condition: &Condition) -> Result<Vec<Uuid>, tokio_postgres::Error> {
        let sql = format!("SELECT r.id FROM {table} r WHERE r.realm_id = $1 AND ({}) ORDER BY r.id", condition.sql);
        let mut params: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&self.realm, Type::UUID)];
        params.extend(condition.params.iter().map(filter_sql::Param::bound));
        let rows = if condition.indexed {
            let params: Vec<_> = params.iter().map(|(param, _)| *param).collect();
            self.client.query(&sql, &params).await?
        } else {
            self.client.query_typed(&sql, &params).await?
        };
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn insert_user(
        &self,
        id: Uuid,
        n: usize,
        resource: &Resource,
        document: &Map<String, Value>,
        form: Option<&Map<String, Value>>,
    ) {
        let key = |name: &str| resource.0.get(name).and_then(Value::as_str);
        let (at, version, form) = (at(n), i64::try_from(n).expect("small"), form.map(Json));
        self.execute(
            "INSERT INTO users (realm_id, id, version, created_at, updated_at, active, user_name_key, external_id,
                                display_name_key, attributes, comparable)
             VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &id,
                &version,
                &at,
                &resource.active().unwrap_or(true),
                &fold(resource.user_name().expect("required")),
                &key("externalId"),
                &key("displayName").map(fold),
                &Json(document),
                &form,
            ],
        )
        .await;
        let mut emails: Vec<String> = resource.emails().map(fold).collect();
        emails.sort();
        emails.dedup();
        self.execute("INSERT INTO user_emails SELECT $1, e, $2 FROM unnest($3::text[]) e", &[&id, &emails]).await;
    }

    async fn insert_group(
        &self,
        id: Uuid,
        n: usize,
        resource: &Resource,
        document: &Map<String, Value>,
        form: Option<&Map<String, Value>>,
    ) {
        let (at, version, form) = (at(n), i64::try_from(n).expect("small"), form.map(Json));
        self.execute(
            "INSERT INTO groups (realm_id, id, version, created_at, updated_at, display_name_key, external_id, attributes,
                                 comparable)
             VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)",
            &[
                &id, &version, &at, &fold(resource.display_name().unwrap_or_default()), &resource.external_id(),
                &Json(document), &form,
            ],
        )
        .await;
    }
}

/// Random users and groups, in the database and as the reference sees them. Users have an extension of the realm's own.
pub struct Populated {
    pub database: Database,
    pub user_type: ResourceType,
    pub group_type: ResourceType,
    pub users: Vec<Row>,
    pub groups: Vec<Row>,
    pub postgres: Postgres,
}

impl Populated {
    pub async fn new() -> Self {
        let postgres = Postgres::start();
        let database = Database::new(&postgres.url()).await;
        let (mut user_type, group_type) = (ResourceType::user().clone(), ResourceType::group().clone());
        user_type.extensions.push(own_extension());
        let mut dice = Dice(20_110_513);

        let mut users = Vec::new();
        for n in 0..USERS {
            let (id, mut resource) = (Uuid::now_v7(), dice.resource(&user_type));
            resource.set("userName", format!("{n}{}", dice.text()));
            if !resource.0.contains_key("active") {
                resource.set("active", true);
            }
            let document = document(&user_type, &resource);
            let form = filter::comparable(&user_type, &resource);
            database.insert_user(id, n, &resource, &document, form.as_ref()).await;
            users.push(Row::new(id, n, &user_type, &document));
        }
        let mut groups = Vec::new();
        for n in 0..GROUPS {
            let (id, resource) = (Uuid::now_v7(), dice.resource(&group_type));
            let document = document(&group_type, &resource);
            let form = filter::comparable(&group_type, &resource);
            database.insert_group(id, n, &resource, &document, form.as_ref()).await;
            groups.push(Row::new(id, n, &group_type, &document));
        }
        join(&database, &mut dice, &mut users, &mut groups).await;
        Self { database, user_type, group_type, users, groups, postgres }
    }
}

#[tokio::test]
async fn sql_finds_exactly_those_who_match() {
    let Populated { database, user_type, group_type, users, groups, postgres: _postgres } = Populated::new().await;
    for (table, resource_type, rows) in [("users", &user_type, &users), ("groups", &group_type, &groups)] {
        let mut known: Vec<String> = users.iter().chain(&groups).take(60).map(|row| row.id.to_string()).collect();
        known.extend(rows.iter().flat_map(|row| row.answer.values()).flat_map(texts));
        known.extend(["W/\"7\"", "User", "group", "direct"].map(str::to_owned));
        let mut filters = Filters { dice: Dice(7), resource_type, paths: paths(resource_type), known };
        let (mut compared, mut hits) = (0, 0);
        for _ in 0..FILTERS {
            let filter = filters.next(3);
            let condition = match filter_sql::compile(Some(&filter), resource_type, Dialect::Lenient, 2) {
                Ok(condition) => condition,
                Err(refused) if ["made anew", "list within a value"].iter().any(|why| refused.detail.contains(why)) => {
                    continue;
                }
                Err(refused) => panic!("{filter}: {refused}"),
            };
            let expected: Vec<Uuid> = rows
                .iter()
                .filter(|row| filter::matches(&filter, resource_type, &row.answer))
                .map(|row| row.id)
                .collect();
            let found =
                database.found(table, &condition).await.unwrap_or_else(|e| panic!("{filter}\n{condition:#?}\n{e:?}"));
            let wrong = rows.iter().find(|row| expected.contains(&row.id) != found.contains(&row.id));
            if let Some(row) = wrong {
                panic!("{filter}\n{condition:#?}\n{}\nexpected: {}", json!(row.answer), expected.contains(&row.id));
            }
            compared += 1;
            hits += usize::from(!expected.is_empty() && expected.len() < rows.len());
        }
        assert!(compared > FILTERS / 2 && hits > FILTERS / 8, "{compared} filters compared, {hits} told rows apart");
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(parts) => parts.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Puts users and groups into groups, in the database and in the answers.
async fn join(database: &Database, dice: &mut Dice, users: &mut [Row], groups: &mut [Row]) {
    let name = |row: &Row| row.answer.get("displayName").or_else(|| row.answer.get("userName")).cloned();
    let push = |row: &mut Row, list: &str, value: Value| {
        let list = row.answer.entry(list).or_insert_with(|| json!([]));
        list.as_array_mut().expect("a list").push(value);
    };
    for g in 0..groups.len() {
        for user in users.iter_mut() {
            if dice.one_in(GROUPS) {
                let group = &mut groups[g];
                let sql = "INSERT INTO group_members VALUES ($1, $2, $3, $3, NULL, now())";
                database.execute(sql, &[&group.id, &user.id]).await;
                push(
                    user,
                    "groups",
                    json!({ "value": group.id, "$ref": "x", "type": "direct", "display": name(group) }),
                );
                push(group, "members", json!({ "value": user.id, "$ref": "x", "type": "User", "display": name(user) }));
            }
        }
        if g > 0 && dice.one_in(3) {
            let nested = &groups[dice.below(g)];
            let (id, display) = (nested.id, name(nested));
            let sql = "INSERT INTO group_members VALUES ($1, $2, $3, NULL, $3, now())";
            database.execute(sql, &[&groups[g].id, &id]).await;
            push(&mut groups[g], "members", json!({ "value": id, "$ref": "x", "type": "Group", "display": display }));
        }
    }
}
