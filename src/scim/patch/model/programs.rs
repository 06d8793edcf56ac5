//! Random PATCH programs, which must end in [`apply`] where they end in the [`Model`].
//!
//! A program is a resource, a realm's rules, and operations, each made from one number: what fails shrinks to the
//! operations that matter. `PROPTEST_CASES` asks for more of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::TestCaseResult};
use serde_json::{Map, Value, json};

use super::{Model, value::differences};
use crate::scim::{
    error::Kind as Wrong,
    extension::{Extended, Extension},
    lenient::Dialect,
    patch::{Change, MembersDelta, PATCH_OP_URN, apply, parse},
    resource::{Admission, Place, Resource, UnknownAttributes},
    schema::{Attribute, ENTERPRISE_USER_URN, Kind, Mutability, ResourceType, ResourceTypes, USER_URN},
};

/// Programs of each of the four tests below, which share the work between processors.
const CASES: u32 = 25_000;
const BADGE_URN: &str = "urn:acme:params:scim:schemas:extension:badge:2.0:User";
const IDS: [&str; 5] = ["a", "b", "c", "2819c223-7f76-453a-919d-413861904646", "2819C223-7F76-453A-919D-413861904646"];
const TEXTS: [&str; 7] = ["a", "A", "b", "ab", "ada@x", "Bob@X", "work"];
const TYPES: [&str; 4] = ["work", "Work", "home", "other"];
const TIMES: [&str; 3] = ["2011-05-13T04:42:34Z", "2011-05-13T06:42:34.000+02:00", "2026-01-01T00:00:00Z"];

/// `SplitMix64`: a number becomes as many as are needed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).expect("it is below a usize")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, among: &[&'a T]) -> &'a T {
        among[self.below(among.len())]
    }
}

/// The types of a realm whose users have badges: an extension with all that a schema may ask for.
fn types() -> ResourceTypes {
    let badge = json!({ "id": BADGE_URN, "name": "Badge", "attributes": [
        { "name": "code", "required": true, "caseExact": true },
        { "name": "serial", "mutability": "immutable" },
        { "name": "issued", "type": "dateTime", "mutability": "readOnly" },
        { "name": "since", "type": "dateTime" },
        { "name": "level", "type": "decimal" },
        { "name": "value" },
        { "name": "tags", "multiValued": true },
        { "name": "grades", "type": "integer", "multiValued": true },
        { "name": "desk", "type": "complex", "subAttributes": [
            { "name": "room", "required": true }, { "name": "floor", "type": "integer" },
            { "name": "tag", "mutability": "immutable" } ] },
        { "name": "doors", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value", "type": "decimal" }, { "name": "type" }, { "name": "primary", "type": "boolean" },
            { "name": "key", "caseExact": true }, { "name": "lock", "mutability": "immutable" },
            { "name": "opened", "type": "dateTime" }, { "name": "display", "mutability": "readOnly" } ] },
    ] });
    let badge = Extension::admit(badge, Extended::User, false, &ResourceTypes::standard()).expect("a good schema");
    (*ResourceTypes::extended(vec![badge])).clone()
}

/// The attributes of a type which programs are about, each with the URN of its extension.
type Attributes<'a> = Vec<(Option<&'a str>, &'a Attribute)>;

fn attributes(resource_type: &ResourceType) -> Attributes<'_> {
    let wanted = ["userName", "displayName", "nickName", "active", "name", "emails", "roles", "photos", "members"];
    let core = resource_type.schema.attributes.iter().filter(|attribute| wanted.contains(&attribute.name.as_str()));
    let extended = resource_type
        .extensions
        .iter()
        .flat_map(|schema| schema.attributes.iter().map(|attribute| (Some(schema.id.as_str()), attribute)));
    core.map(|attribute| (None, attribute)).chain(extended).collect()
}

struct Writer<'a> {
    dice: Dice,
    resource_type: &'a ResourceType,
    attributes: &'a Attributes<'a>,
    dialect: Dialect,
}

impl<'a> Writer<'a> {
    /// Does the writer fall into something that only the lenient dialect forgives?
    fn slips(&mut self, one_in: usize) -> bool {
        self.dice.one_in(if self.dialect == Dialect::Lenient { one_in } else { 24 * one_in })
    }

    fn cased(&mut self, name: &str) -> String {
        if self.dice.one_in(10) { name.to_uppercase() } else { name.to_owned() }
    }

    /// A value which an attribute could have; now and then one which it could not.
    fn simple(&mut self, attribute: &Attribute) -> Value {
        let kind = match self.dice.below(200) {
            0 => Kind::Integer,
            1 => Kind::Complex,
            _ => attribute.kind,
        };
        match kind {
            Kind::Boolean if self.slips(6) => json!(self.dice.pick(&["True", "false", "yes"])),
            Kind::Boolean => json!(self.dice.one_in(2)),
            Kind::Integer | Kind::Decimal if self.slips(6) => json!(self.dice.pick(&["1", "2.5", "x"])),
            Kind::Decimal if self.dice.one_in(3) => json!(2.5),
            Kind::Integer | Kind::Decimal => json!(self.dice.below(3)),
            Kind::DateTime => json!(self.dice.pick(&TIMES)),
            Kind::Complex => json!({ "odd": 1 }),
            _ if attribute.name == "type" => json!(self.dice.pick(&TYPES)),
            _ if self.dice.one_in(80) && attribute.name != "userName" => json!(""),
            _ => json!(self.dice.pick(&TEXTS)),
        }
    }

    fn complex(&mut self, attribute: &Attribute) -> Value {
        if self.slips(20) {
            return json!(self.dice.pick(&["", "a"]));
        }
        let mut parts = Map::new();
        for sub in &attribute.sub_attributes {
            let one_in = if ["value", "type", "room"].contains(&sub.name.as_str()) { 2 } else { 5 };
            let rare = sub.name == "primary" || sub.mutability != Mutability::ReadWrite;
            if rare && !self.dice.one_in(4) {
                continue;
            }
            if self.dice.one_in(one_in) || (sub.required && !self.dice.one_in(20)) {
                let value = if self.dice.one_in(20) { Value::Null } else { self.simple(sub) };
                parts.insert(self.cased(&sub.name), value);
            }
        }
        if self.dice.one_in(25) {
            parts.insert(self.dice.pick(&["note", "shoe.size"]).to_owned(), json!("n"));
        }
        Value::Object(parts)
    }

    fn one(&mut self, attribute: &Attribute) -> Value {
        match attribute.kind {
            Kind::Complex => self.complex(attribute),
            _ => self.simple(attribute),
        }
    }

    fn value(&mut self, attribute: &Attribute) -> Value {
        match self.dice.below(60) {
            0 if !attribute.required => Value::Null,
            1 if attribute.multi_valued => json!([]),
            2 if self.dice.one_in(3) => self.odd(),
            _ if attribute.name == "members" => self.members(),
            _ if attribute.multi_valued && !self.slips(10) => {
                (0..self.dice.below(4)).map(|_| self.one(attribute)).collect()
            }
            _ => self.one(attribute),
        }
    }

    fn odd(&mut self) -> Value {
        match self.dice.below(6) {
            0 => json!({}),
            1 => json!([1]),
            2 => json!("a"),
            3 => json!({ "value": "a" }),
            4 => json!([{ "v": "a" }, "a"]),
            _ => json!(7),
        }
    }

    fn members(&mut self) -> Value {
        if self.slips(12) {
            return json!({ "value": "a" });
        }
        let member = |dice: &mut Dice| match dice.below(20) {
            0 => json!({ "display": "nobody" }),
            1 => json!({ "value": "a", "type": "Group", "display": "A", "$ref": null }),
            _ => json!({ "value": dice.pick(&IDS) }),
        };
        (0..self.dice.below(4)).map(|_| member(&mut self.dice)).collect()
    }

    fn comparison(&mut self, attribute: &Attribute) -> String {
        let one = json!({ "name": "value" });
        let own: Attribute = Attribute { kind: attribute.kind, ..serde_json::from_value(one).expect("an attribute") };
        let sub = match attribute.sub_attributes.len() {
            0 => &own,
            _ if self.dice.one_in(2) => {
                attribute.sub("type").or(attribute.sub("value")).unwrap_or(&attribute.sub_attributes[0])
            }
            subs => &attribute.sub_attributes[self.dice.below(subs)],
        };
        let name = if self.dice.one_in(60) { "vaule".to_owned() } else { self.cased(&sub.name) };
        let few = if self.dialect == Dialect::Strict { 12 } else { 20 };
        let op = match (sub.kind, self.dice.below(few)) {
            (_, 0 | 1 | 12..) if self.dialect == Dialect::Strict => return format!("{name} pr"),
            (_, 0 | 1) => return format!("{name} pr"),
            (Kind::String, 2) => "co",
            (Kind::String, 3) => "sw",
            (Kind::String, 4) => "ew",
            (Kind::Boolean, 5..=7) | (_, 5) => "ne",
            (Kind::Boolean, _) | (_, 8..) => "eq",
            _ => self.dice.pick(&["gt", "ge", "lt", "le"]),
        };
        match self.dice.below(25) {
            0 => format!("{name} {op} null"),
            _ => format!("{name} {op} {}", self.simple(sub)),
        }
    }

    fn filter(&mut self, attribute: &Attribute, depth: usize) -> String {
        match self.dice.below(12) {
            0 | 1 if depth > 0 => {
                format!("{} and {}", self.filter(attribute, depth - 1), self.filter(attribute, depth - 1))
            }
            2 if depth > 0 => {
                format!("({} or {})", self.filter(attribute, depth - 1), self.filter(attribute, depth - 1))
            }
            3 if depth > 0 => format!("not ({})", self.filter(attribute, depth - 1)),
            _ => self.comparison(attribute),
        }
    }

    /// Any attribute, but seldom one which can hardly be changed.
    fn attribute(&mut self) -> (Option<&'a str>, &'a Attribute) {
        loop {
            let (urn, attribute) = self.attributes[self.dice.below(self.attributes.len())];
            if attribute.mutability == Mutability::ReadWrite || self.dice.one_in(12) {
                return (urn, attribute);
            }
        }
    }

    /// A path to an attribute of a schema, and a value which fits.
    fn known(&mut self) -> (String, Value) {
        let (urn, attribute) = self.attribute();
        let urn = match urn {
            Some(urn) => format!("{}:", self.cased(urn)),
            None if self.dice.one_in(12) => format!("{}:", self.resource_type.schema.id),
            None => String::new(),
        };
        let name = self.cased(&attribute.name);
        if attribute.name == "members" {
            let filter = match self.dice.below(8) {
                0..4 => String::new(),
                4 => format!(r#"[value eq "{}" or VALUE eq "b"]"#, self.dice.pick(&IDS[..4])),
                5 if self.dice.one_in(8) => {
                    self.dice.pick(&["[display eq \"a\"]", ".display", "[value sw \"a\"]"]).to_owned()
                }
                _ => format!(r#"[value eq "{}"]"#, self.dice.pick(&IDS[..4])),
            };
            return (format!("{urn}{name}{filter}"), self.members());
        }
        let filtered = attribute.multi_valued && self.dice.one_in(if self.dialect == Dialect::Strict { 4 } else { 2 });
        let filter =
            if filtered || self.dice.one_in(150) { format!("[{}]", self.filter(attribute, 2)) } else { String::new() };
        let subs = attribute.sub_attributes.len();
        if subs > 0 && (self.dice.one_in(if attribute.multi_valued && !filtered { 30 } else { 2 })) {
            let sub = match &attribute.sub_attributes[self.dice.below(subs)] {
                sub if sub.mutability != Mutability::ReadWrite && !self.slips(4) => &attribute.sub_attributes[0],
                sub => sub,
            };
            let (sub_name, value) = match self.dice.below(25) {
                0 => ("note".to_owned(), self.odd()),
                _ => (self.cased(&sub.name), self.value(sub)),
            };
            return (format!("{urn}{name}{filter}.{sub_name}"), value);
        }
        if self.dice.one_in(120) {
            return (format!("{urn}{name}.nonsense"), self.odd());
        }
        let one = filtered || !attribute.multi_valued;
        let value = if one && !self.dice.one_in(15) { self.one(attribute) } else { self.value(attribute) };
        (format!("{urn}{name}{filter}"), value)
    }

    /// A path which no schema knows, or which is not the client's to write.
    fn strange(&mut self) -> (String, Value) {
        let free = ["shoe.size.eu", "a.b.c", "1st", "shoe.1", "A.B.C"];
        let other = [
            "shoe",
            "shoe.size",
            "SHOE",
            "fav",
            "urn:x:1.0:User:tag",
            "urn:x:1.0:User",
            "URN:X:1.0:User:tag.a",
            "password",
            "externalId",
            "c.d",
            "fav.w",
            "shoe.size",
        ];
        let closed = ["id", "meta.version", "schemas", "groups", "fav[value eq \"a\"]", "name.given.first"];
        let path = match self.dice.below(8) {
            0 if self.slips(1) => self.dice.pick(&free).to_owned(),
            2 if self.dice.one_in(2) => self.dice.pick(&closed).to_owned(),
            1 => format!("{}:shoe", self.dice.pick(&[ENTERPRISE_USER_URN, USER_URN, BADGE_URN])),
            _ => self.dice.pick(&other).to_owned(),
        };
        let text = path.eq_ignore_ascii_case("externalId");
        let value = if text { json!(self.dice.pick(&TEXTS)) } else { self.odd() };
        (path, value)
    }

    /// An object of attributes, as it stands without a path or at a schema's URN.
    fn object(&mut self, within: Option<&str>) -> Value {
        let attributes: Vec<_> = self.attributes.iter().filter(|(urn, _)| *urn == within).collect();
        let mut object = Map::new();
        for _ in 0..=self.dice.below(3) {
            if attributes.is_empty() || self.dice.one_in(8) {
                let (path, value) = self.strange();
                let is_path = path.contains(['.', '[']) || path.contains(":User:");
                if !is_path || self.slips(1) {
                    object.insert(path, value);
                }
            } else if self.slips(4) {
                let (path, value) = self.known();
                object.insert(path, value);
            } else {
                let (_, attribute) = *attributes[self.dice.below(attributes.len())];
                let value = self.value(attribute);
                object.insert(self.cased(&attribute.name), value);
            }
        }
        Value::Object(object)
    }

    fn extension(&mut self) -> Option<&'a str> {
        let extensions = &self.resource_type.extensions;
        let at = self.dice.below(extensions.len().max(1));
        extensions.get(at).map(|extension| extension.id.as_str())
    }

    fn operation(&mut self) -> Value {
        let word = self.dice.pick(&["add", "add", "replace", "replace", "remove"]);
        let (path, value) = match self.dice.below(20) {
            0..3 => {
                let mut value = self.object(None);
                if let Some(urn) = self.extension().filter(|_| self.dice.one_in(3)) {
                    value[self.cased(urn)] = self.object(Some(urn));
                }
                (None, value)
            }
            3 => match self.extension() {
                Some(urn) => (Some(self.cased(urn)), self.object(Some(urn))),
                None => (Some(self.resource_type.schema.id.clone()), self.object(None)),
            },
            4 | 5 => {
                let (path, value) = self.strange();
                (Some(path), value)
            }
            _ => {
                let (path, value) = self.known();
                (Some(path), value)
            }
        };
        let needed = |path: &Option<String>| {
            let last = path.as_deref().map(|path| path.rsplit([':', '.']).next().unwrap_or_default().to_lowercase());
            last.is_none_or(|name| ["username", "displayname", "code", "room"].contains(&&*name))
        };
        let word = if word == "remove" && needed(&path) && !self.dice.one_in(30) { "add" } else { word };
        let written = match word {
            _ if self.slips(8) => format!("{}{}", word[..1].to_uppercase(), &word[1..]),
            _ => word.to_owned(),
        };
        let mut operation = json!({ "op": written });
        if let Some(path) = path {
            operation["path"] = path.into();
        }
        let has_value = if word == "remove" { self.slips(4) } else { !self.dice.one_in(150) };
        if has_value {
            operation["value"] = if self.dice.one_in(60) { Value::Null } else { value };
        }
        if let (Some(Value::Array(values)), false) = (operation.get("value"), self.dice.one_in(10))
            && values.len() == 1
            && self.slips(3)
        {
            operation["value"] = values[0].clone();
        }
        operation
    }

    /// A resource to begin with: what its type may have, some of it.
    fn resource(&mut self) -> Resource {
        let begun = match &*self.resource_type.name {
            "User" => {
                json!({ "userName": "ada", "active": true, "shoe": [{ "v": "a" }, "a"], "c.d": "1", "urn:x:1.0:User": { "tag": "a" } })
            }
            _ => json!({ "displayName": "staff", "fav": { "value": "a", "w": 1 }, "a.b.c": 1 }),
        };
        let Value::Object(mut resource) = begun else { unreachable!("it is written above") };
        for at in 0..self.attributes.len() {
            let (urn, attribute) = self.attributes[at];
            let ours = attribute.name == "members" || attribute.mutability == Mutability::ReadOnly;
            if ours || resource.contains_key(&attribute.name) || self.dice.one_in(3) {
                continue;
            }
            let value = if attribute.multi_valued {
                (0..=self.dice.below(3)).map(|_| self.one(attribute)).collect()
            } else {
                self.one(attribute)
            };
            let lenient = Admission::default();
            let Ok(Some(value)) = lenient.value(attribute, value, Place::top("program")) else { continue };
            let roomless = attribute.name == "desk" && value.get("room").is_none_or(|room| room == "");
            match urn {
                _ if roomless => {}
                None => drop(resource.insert(attribute.name.clone(), value)),
                Some(urn) => {
                    let code = || if urn == BADGE_URN { json!({ "code": "a" }) } else { json!({}) };
                    resource.entry(urn).or_insert_with(code)[&attribute.name] = value;
                }
            }
        }
        Resource(resource)
    }
}

/// What a store makes of a delta.
fn carried_out(delta: &MembersDelta, members: &BTreeSet<String>) -> BTreeSet<String> {
    let kept = members.iter().filter(|member| !delta.clear && !delta.remove.contains(*member)).cloned();
    kept.chain(delta.add.keys().cloned()).collect()
}

fn by_path(changes: Vec<Change>) -> BTreeMap<String, (Option<Value>, Option<Value>)> {
    changes.into_iter().map(|change| (change.path, (change.previous, change.current))).collect()
}

/// Runs one program through both, and says how it ended.
fn agree(
    resource_type: &ResourceType,
    attributes: &Attributes,
    admission: Admission,
    resource: u64,
    operations: &[u64],
) -> Result<Result<usize, Wrong>, TestCaseError> {
    let writer = |seed, dialect| Writer { dice: Dice(seed), resource_type, attributes, dialect };
    let before = writer(resource, Dialect::Lenient).resource();
    let operations: Vec<Value> = operations.iter().map(|seed| writer(*seed, admission.dialect).operation()).collect();

    let mut body = json!({ "schemas": [PATCH_OP_URN] });
    body["Operations"] = Value::Array(operations.clone());
    let real = parse(body, &admission).and_then(|operations| apply(resource_type, &before, &operations, &admission));
    let real = real.map_err(|error| error.kind);
    // What becomes of nobody and what becomes of everybody is all that a delta can say.
    let everybody: BTreeSet<String> = ["a", "b", "c", "d", IDS[3]].map(str::to_owned).into();
    let begun = Model::new(resource_type, admission, before.0.clone(), BTreeSet::new());
    let slow = |members| Model { members, ..begun.clone() }.patched(&operations);
    let shown = || format!("{admission:?}\n{}\n{}", json!(before.0), json!(operations));
    let few = slow(BTreeSet::new());
    let many = if resource_type.name == "Group" { slow(everybody.clone()) } else { few.clone() };
    match (real, few, many) {
        (Err(real), Err(model), _) => {
            prop_assert_eq!(real, model, "{}", shown());
            Ok(Err(real))
        }
        (Ok(real), Ok((few, states)), Ok((many, _))) => {
            prop_assert_eq!(real.effects.len(), states.len(), "{}", shown());
            let mut found = &begun;
            for (effect, left) in real.effects.iter().zip(&states) {
                prop_assert_eq!(effect.changed, found.attributes != left.attributes, "{}", shown());
                prop_assert!(effect.members || found.members == left.members, "{}", shown());
                found = left;
            }
            prop_assert_eq!(&real.resource.0, &few.attributes, "{}", shown());
            prop_assert_eq!(carried_out(&real.members, &BTreeSet::new()), few.members, "{}", shown());
            if resource_type.name == "Group" {
                prop_assert_eq!(carried_out(&real.members, &everybody), many.members, "{}", shown());
            }
            let consistent = |id: &String| real.members.add[id].value == *id && !real.members.remove.contains(id);
            prop_assert!(real.members.add.keys().all(consistent), "{}", shown());
            let count = real.changes.len();
            let wanted = by_path(differences(&before.0, &few.attributes));
            prop_assert_eq!(by_path(real.changes), wanted, "{}", shown());
            Ok(Ok(count))
        }
        (real, model, _) => {
            prop_assert!(false, "{:?}\nwhere the model has\n{:?}\n{}", real, model, shown());
            unreachable!()
        }
    }
}

fn policy() -> impl Strategy<Value = UnknownAttributes> {
    prop_oneof![
        4 => Just(UnknownAttributes::Keep),
        1 => Just(UnknownAttributes::Ignore),
        1 => Just(UnknownAttributes::Reject),
    ]
}

fn program() -> impl Strategy<Value = (UnknownAttributes, u64, Vec<u64>)> {
    let operations = |count| prop::collection::vec(any::<u64>(), count);
    (policy(), any::<u64>(), prop_oneof![2 => operations(1..=3), 1 => operations(4..=8)])
}

/// Runs as many programs as are asked for.
fn run(resource_type: &ResourceType, dialect: Dialect) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let attributes = attributes(resource_type);
    let test = |(unknown_attributes, resource, operations): (UnknownAttributes, u64, Vec<u64>)| -> TestCaseResult {
        agree(resource_type, &attributes, Admission { unknown_attributes, dialect }, resource, &operations).map(|_| ())
    };
    if let Err(failure) = prop::test_runner::TestRunner::new(config).run(&program(), test) {
        panic!("{failure}");
    }
}

#[test]
fn what_a_lenient_realm_makes_of_users_is_what_the_model_makes() {
    run(&types().user, Dialect::Lenient);
}

#[test]
fn what_a_strict_realm_makes_of_users_is_what_the_model_makes() {
    run(&types().user, Dialect::Strict);
}

#[test]
fn what_a_lenient_realm_makes_of_groups_is_what_the_model_makes() {
    run(&types().group, Dialect::Lenient);
}

#[test]
fn what_a_strict_realm_makes_of_groups_is_what_the_model_makes() {
    run(&types().group, Dialect::Strict);
}

#[test]
fn most_programs_change_something_and_the_others_fail_in_every_way() {
    let user = types().user;
    let attributes = attributes(&user);
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..1_000 {
        let mut dice = Dice(seed);
        let dialect = if dice.one_in(2) { Dialect::Lenient } else { Dialect::Strict };
        let most = if dice.one_in(3) { 8 } else { 3 };
        let operations: Vec<u64> = (0..=dice.below(most)).map(|_| dice.roll()).collect();
        let admission = Admission { dialect, ..Admission::default() };
        let end = match agree(&user, &attributes, admission, dice.roll(), &operations).expect("they agree") {
            Ok(0) => "nothing".to_owned(),
            Ok(_) => "changed".to_owned(),
            Err(wrong) => wrong.scim_type().unwrap_or_default().to_owned(),
        };
        *ends.entry(end).or_default() += 1;
    }
    assert!(ends["changed"] > 500, "{ends:?}");
    for way in ["nothing", "invalidFilter", "invalidPath", "invalidSyntax", "invalidValue", "mutability", "noTarget"] {
        assert!(ends.contains_key(way), "{way} is not in {ends:?}");
    }
}
