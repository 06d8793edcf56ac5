//! PATCH once more, slowly: written from RFC 7644 §3.5.2 and from what [`lenient`](crate::scim::lenient) and
//! [`patch`](super) promise, to hold the real one against. Values are admitted by the same door; paths are parsed by the
//! same parser; all else is its own, down to which filter matches and which values are the same. `programs` runs both.

mod edit;
mod programs;
mod value;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Op;
use crate::scim::{
    error::Kind as Wrong,
    lenient::Dialect,
    path::{AttrPath, Path},
    resource::{Admission, UnknownAttributes},
    schema::{Attribute, Mutability, ResourceType, Schema},
};
use edit::{Edit, raw_value};
use value::{covers, find, fixed, ids_of, same, spelled};

type Object = Map<String, Value>;
type Outcome<T = ()> = Result<T, Wrong>;

/// A resource, and the members of a group as the set which they are.
#[derive(Debug, Clone, PartialEq)]
struct Model<'a> {
    resource_type: &'a ResourceType,
    admission: Admission,
    pub attributes: Object,
    pub members: BTreeSet<String>,
}

struct Step {
    op: Op,
    path: Option<Path>,
    value: Option<Value>,
}

enum Aim<'a> {
    /// A password.
    Nobody,
    ReadOnly,
    Members,
    Whole(&'a Schema),
    Known(Option<String>, &'a Attribute, Option<String>),
    /// Names, outermost first, of which no schema knows the last or any.
    Stranger(Option<String>, Vec<String>),
}

/// What the schemas say of an attribute, or of its sub-attribute, if they know it.
type Known<'a> = Option<&'a Attribute>;

impl<'a> Model<'a> {
    pub fn new(
        resource_type: &'a ResourceType,
        admission: Admission,
        attributes: Object,
        members: BTreeSet<String>,
    ) -> Self {
        Self { resource_type, admission, attributes, members }
    }

    /// All operations, or the first thing that is wrong: with their form, with one of them, with the result. Also
    /// the states in which each operation leaves the resource.
    pub fn patched(&self, operations: &[Value]) -> Outcome<(Self, Vec<Self>)> {
        let steps = operations.iter().map(|operation| self.read(operation)).collect::<Outcome<Vec<_>>>()?;
        let (mut after, mut states) = (self.clone(), Vec::new());
        for step in &steps {
            match (&step.path, step.op, &step.value) {
                (Some(path), op, value) => after.at(path, op, value.as_ref())?,
                (None, Op::Remove, _) => return Err(Wrong::NoTarget),
                (None, op, Some(Value::Object(attributes))) => after.each(None, op, attributes)?,
                (None, ..) => return Err(Wrong::InvalidValue),
            }
            states.push(after.clone());
        }
        self.keeps_required(&after)?;
        after.complete()?;
        self.check_immutable(&after)?;
        Ok((after, states))
    }

    fn strict(&self) -> bool {
        self.admission.dialect == Dialect::Strict
    }

    fn read(&self, operation: &Value) -> Outcome<Step> {
        let op = match operation["op"].as_str().ok_or(Wrong::InvalidSyntax)? {
            "add" => Op::Add,
            "remove" => Op::Remove,
            "replace" => Op::Replace,
            _ if self.strict() => return Err(Wrong::InvalidSyntax),
            other => match &*other.to_lowercase() {
                "add" => Op::Add,
                "remove" => Op::Remove,
                "replace" => Op::Replace,
                _ => return Err(Wrong::InvalidSyntax),
            },
        };
        let path = match operation.get("path") {
            Some(Value::String(path)) => Some(path.parse::<Path>().map_err(|error| error.kind)?),
            Some(Value::Null) | None => None,
            Some(_) => return Err(Wrong::InvalidPath),
        };
        let value = operation.get("value").cloned();
        match op {
            Op::Remove if self.strict() && value.is_some() => Err(Wrong::InvalidValue),
            _ => Ok(Step { op, path, value }),
        }
    }

    fn each(&mut self, within: Option<&Schema>, op: Op, attributes: &Object) -> Outcome {
        for (key, value) in attributes {
            let path = self.path_of(within, key)?;
            let left_out = !self.strict() && matches!(self.aim(&path, Some(value)), Aim::ReadOnly);
            if !left_out {
                self.at(&path, op, Some(value))?;
            }
        }
        Ok(())
    }

    /// A key names an attribute or a schema; in the lenient dialect it may be any path.
    fn path_of(&self, within: Option<&Schema>, key: &str) -> Outcome<Path> {
        let name = Path { attr: AttrPath::of(key), filter: None, sub: None };
        let of_schema = |path: &Path| path.attr.urn.as_deref().is_some_and(|urn| self.schema(urn).is_some());
        let mut path = match key.parse::<Path>() {
            Ok(path) if path.attr.sub.is_some() || path.filter.is_some() || of_schema(&path) => {
                if self.strict() {
                    return Err(Wrong::InvalidPath);
                }
                path
            }
            Ok(path) => path,
            Err(_) => name.clone(),
        };
        if let Some(schema) = within {
            if path.attr.urn.as_ref().is_some_and(|urn| !urn.eq_ignore_ascii_case(&schema.id)) {
                path = name;
            }
            path.attr.urn = Some(schema.id.clone());
        }
        Ok(path)
    }

    fn schema(&self, urn: &str) -> Option<&'a Schema> {
        self.resource_type.schemas().find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    fn aim(&self, path: &Path, value: Option<&Value>) -> Aim<'a> {
        let AttrPath { urn, name, sub } = &path.attr;
        let whole = path.attr.to_string();
        if let (None, Some(_), Some(schema)) = (&path.filter, urn, self.schema(&whole)) {
            return Aim::Whole(schema);
        }
        if name.eq_ignore_ascii_case("password") {
            return Aim::Nobody;
        }
        let core = &self.resource_type.schema;
        let urn = urn.clone().filter(|urn| !urn.eq_ignore_ascii_case(&core.id));
        let schema = urn.as_deref().map_or(Some(core), |urn| self.schema(urn));
        let named = |attribute: &&Attribute| attribute.name.eq_ignore_ascii_case(name);
        let known = schema.and_then(|schema| schema.attributes.iter().find(named));
        let common = urn.is_none() && ["id", "meta", "schemas"].iter().any(|common| name.eq_ignore_ascii_case(common));
        let external_id = || crate::scim::schema::common("externalId").filter(|id| urn.is_none() && named(id));
        let known = known.or_else(external_id);
        if let Some(sub) = sub {
            let dotted = format!("{name}.{sub}");
            let unknown = !common && known.is_none_or(|known| find(&known.sub_attributes, sub).is_none());
            let held = match &urn {
                None => Some(&self.attributes),
                Some(urn) => spelled(&self.attributes, urn).and_then(|urn| self.attributes[&urn].as_object()),
            };
            if unknown && held.is_some_and(|held| spelled(held, &dotted).is_some()) {
                return Aim::Stranger(urn, vec![dotted]);
            }
        }
        match known {
            _ if common => Aim::ReadOnly,
            Some(known) if known.name == "members" && core.name == "Group" && urn.is_none() => Aim::Members,
            Some(known) if known.mutability == Mutability::ReadOnly => Aim::ReadOnly,
            Some(known) => Aim::Known(urn.and(schema).map(|s| s.id.clone()), known, path.sub.clone().or(sub.clone())),
            None => {
                let held = spelled(&self.attributes, &whole).is_some();
                if schema.is_none() && sub.is_none() && (value.is_some_and(Value::is_object) || held) {
                    return Aim::Stranger(None, vec![whole]);
                }
                Aim::Stranger(urn, [Some(name.clone()), sub.clone()].into_iter().flatten().collect())
            }
        }
    }

    fn at(&mut self, path: &Path, op: Op, value: Option<&Value>) -> Outcome {
        match self.aim(path, value) {
            Aim::Nobody => Ok(()),
            Aim::ReadOnly => Err(Wrong::Mutability),
            Aim::Members => self.membership(path, op, value),
            Aim::Whole(schema) => self.whole(schema, op, value),
            Aim::Known(holder, attribute, sub) => {
                let sub = match sub {
                    None => None,
                    Some(name) => match find(&attribute.sub_attributes, &name) {
                        Some(sub) if self.strict() && sub.mutability == Mutability::ReadOnly => {
                            return Err(Wrong::Mutability);
                        }
                        Some(sub) => Some((sub.name.clone(), Some(sub))),
                        None if !self.keeps(&[name.as_str()])? => return Ok(()),
                        None => Some((name, None)),
                    },
                };
                let before = self.get(holder.as_deref(), &attribute.name);
                let edit = Edit { model: self, attribute, sub, filter: path.filter.as_ref(), op, value };
                let after = edit.of(before)?;
                self.put(holder.as_deref(), &attribute.name, after);
                Ok(())
            }
            Aim::Stranger(holder, names) => self.stranger(holder, &names, path, op, value),
        }
    }

    fn get(&self, holder: Option<&str>, name: &str) -> Option<Value> {
        match holder {
            None => self.attributes.get(name).cloned(),
            Some(holder) => self.attributes.get(holder)?.get(name).cloned(),
        }
    }

    fn put(&mut self, holder: Option<&str>, name: &str, value: Option<Value>) {
        let mut object = match holder {
            None => std::mem::take(&mut self.attributes),
            Some(holder) => self.attributes.get(holder).and_then(Value::as_object).cloned().unwrap_or_default(),
        };
        match value {
            Some(value) => object.insert(name.to_owned(), value),
            None => object.remove(name),
        };
        match holder {
            None => self.attributes = object,
            Some(holder) if object.is_empty() => drop(self.attributes.remove(holder)),
            Some(holder) => drop(self.attributes.insert(holder.to_owned(), object.into())),
        }
    }

    fn whole(&mut self, schema: &Schema, op: Op, value: Option<&Value>) -> Outcome {
        let core = schema.id == self.resource_type.schema.id;
        match (op, value) {
            (Op::Remove, _) | (Op::Replace, Some(Value::Null)) if core => Err(Wrong::NoTarget),
            (Op::Remove, None) | (Op::Replace, Some(Value::Null)) => {
                self.attributes.remove(&schema.id);
                Ok(())
            }
            (Op::Add, Some(Value::Null)) => Ok(()),
            (Op::Remove, Some(Value::Object(_))) => {
                let named = self.admission.extension(schema, value.cloned().unwrap_or_default()).map_err(|e| e.kind)?;
                let Some(Value::Object(named)) = named else { return Ok(()) };
                for (name, value) in &named {
                    if self
                        .get(Some(&schema.id), name)
                        .is_some_and(|held| covers(find(&schema.attributes, name), &held, value))
                    {
                        self.put(Some(&schema.id), name, None);
                    }
                }
                Ok(())
            }
            (Op::Add | Op::Replace, Some(Value::Object(attributes))) => self.each(Some(schema), op, attributes),
            _ => Err(Wrong::InvalidValue),
        }
    }

    /// The realm's word on attributes which no schema knows.
    fn keeps(&self, names: &[&str]) -> Outcome<bool> {
        let plain = |name: &&str| {
            let rest = name.strip_prefix('$').unwrap_or(name);
            rest.starts_with(|c: char| c.is_ascii_alphabetic())
                && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-_$".contains(c))
        };
        match self.admission.unknown_attributes {
            _ if self.strict() && !names.iter().all(|name| plain(name) || name.starts_with("urn:")) => {
                Err(Wrong::InvalidPath)
            }
            UnknownAttributes::Reject => Err(Wrong::InvalidPath),
            UnknownAttributes::Ignore => Ok(false),
            UnknownAttributes::Keep => Ok(true),
        }
    }

    fn stranger(
        &mut self,
        holder: Option<String>,
        names: &[String],
        path: &Path,
        op: Op,
        value: Option<&Value>,
    ) -> Outcome {
        if !self.keeps(&names.iter().map(String::as_str).collect::<Vec<_>>())? {
            return Ok(());
        }
        if path.filter.is_some() {
            return Err(Wrong::InvalidPath);
        }
        let holder = holder.map(|urn| spelled(&self.attributes, &urn).unwrap_or(urn));
        let object = match &holder {
            None => Some(self.attributes.clone()),
            Some(urn) => match self.attributes.get(urn) {
                None => None,
                Some(Value::Object(object)) => Some(object.clone()),
                Some(_) => return Err(Wrong::InvalidPath),
            },
        };
        let object = object.unwrap_or_default();
        let there = spelled(&object, &names[0]);
        // A name of a known attribute with more behind it than one dot goes nowhere.
        let outer = names[0].split_once('.').filter(|_| !names[0].starts_with("urn:")).map(|(outer, _)| outer);
        if let (None, Some(outer)) = (&there, outer) {
            let outer = Path {
                attr: AttrPath { urn: holder.clone(), name: outer.to_owned(), sub: None },
                filter: None,
                sub: None,
            };
            if !matches!(self.aim(&outer, None), Aim::Stranger(..) | Aim::Whole(_)) {
                return Err(Wrong::InvalidPath);
            }
        }
        let name = there.unwrap_or_else(|| names[0].clone());
        let after = raw_value(op, object.get(&name).cloned(), &names[1..], &names[0], value)?;
        self.put(holder.as_deref(), &name, after);
        Ok(())
    }

    fn membership(&mut self, path: &Path, op: Op, value: Option<&Value>) -> Outcome {
        if path.sub.is_some() || path.attr.sub.is_some() {
            return Err(Wrong::Mutability);
        }
        if let Some(filter) = &path.filter {
            let gone = match op {
                Op::Remove => ids_of(filter).ok_or(Wrong::InvalidFilter)?,
                Op::Add | Op::Replace => return Err(Wrong::InvalidPath),
            };
            self.members.retain(|member| !gone.contains(member));
            return Ok(());
        }
        let named = match value {
            None if op == Op::Remove => {
                self.members.clear();
                return Ok(());
            }
            None => return Err(Wrong::InvalidValue),
            Some(value) => self.admission.members(value.clone()).map_err(|e| e.kind)?.ok_or(Wrong::InvalidValue)?,
        };
        let named: BTreeSet<String> = named.into_iter().map(|member| member.value).collect();
        match op {
            Op::Add => self.members.extend(named),
            Op::Remove => self.members.retain(|member| !named.contains(member)),
            Op::Replace => self.members = named,
        }
        Ok(())
    }

    /// Nothing that is required was removed as a whole (RFC 7644 §3.5.2.2).
    fn keeps_required(&self, after: &Self) -> Outcome {
        for schema in self.resource_type.schemas() {
            let is_core = schema.id == self.resource_type.schema.id;
            let [was, is] = [self, after].map(|model| match model.attributes.get(&schema.id) {
                _ if is_core => Some(&model.attributes),
                held => held.and_then(Value::as_object),
            });
            let gone = match (was, is) {
                (None, _) => false,
                (Some(_), None) => self.resource_type.required_extensions.contains(&schema.id),
                (Some(was), Some(is)) => schema.attributes.iter().any(|attribute| {
                    attribute.required && was.contains_key(&attribute.name) && !is.contains_key(&attribute.name)
                }),
            };
            if gone {
                return Err(Wrong::Mutability);
            }
        }
        Ok(())
    }

    /// What is required is there (RFC 7643 §7).
    fn complete(&self) -> Outcome {
        fn lacks(attributes: &[Attribute], object: &Object) -> bool {
            attributes.iter().any(|attribute| {
                let value = object.get(&attribute.name);
                let blank = value.is_none_or(|value| value.as_str().is_some_and(|text| text.trim().is_empty()));
                let values = value.map_or(Vec::new(), |value| value.as_array().cloned().unwrap_or(vec![value.clone()]));
                let in_a_value = |value: &Value| value.as_object().is_some_and(|v| lacks(&attribute.sub_attributes, v));
                (attribute.required && blank) || values.iter().any(in_a_value)
            })
        }
        let extensions = self.resource_type.extensions.iter();
        let mut held = extensions.filter_map(|schema| Some((schema, self.attributes.get(&schema.id)?.as_object()?)));
        if lacks(&self.resource_type.schema.attributes, &self.attributes)
            || held.any(|(schema, object)| lacks(&schema.attributes, object))
        {
            return Err(Wrong::InvalidValue);
        }
        Ok(())
    }

    fn check_immutable(&self, after: &Self) -> Outcome {
        fn kept(attributes: &[Attribute], was: &Object, is: &Object) -> bool {
            attributes.iter().all(|attribute| match (was.get(&attribute.name), is.get(&attribute.name)) {
                (None, _) => true,
                (Some(was), Some(is)) if fixed(Some(attribute)) => same(Some(attribute), was, is),
                (Some(Value::Object(was)), Some(Value::Object(is))) => kept(&attribute.sub_attributes, was, is),
                (Some(_), _) => !fixed(Some(attribute)),
            })
        }
        let none = Object::new();
        for schema in self.resource_type.schemas() {
            let [was, is] = [self, after].map(|model| {
                let held = || model.attributes.get(&schema.id).and_then(Value::as_object).unwrap_or(&none);
                if schema.id == self.resource_type.schema.id { &model.attributes } else { held() }
            });
            if !kept(&schema.attributes, was, is) {
                return Err(Wrong::Mutability);
            }
        }
        Ok(())
    }
}
