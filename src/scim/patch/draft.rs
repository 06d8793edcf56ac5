//! A resource while it is being changed: finds what each operation is aimed at.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    Effect, MembersDelta, Op, Operation,
    budget::Budget,
    edit::{Edit, Sub, name_in, raw_attribute, without_parts},
};
use crate::scim::{
    error::{Error, Result},
    lenient::Habit,
    path::{AttrPath, Path, is_attribute_name},
    resource::{
        Admission, Resource, UnknownAttributes, check_immutable, finish, is_client_writable, is_members, is_password,
        is_urn,
    },
    schema::{Attribute, ResourceType, Schema},
};

/// A resource and what becomes of it.
pub(super) struct Draft<'a> {
    resource_type: &'a ResourceType,
    admission: Admission,
    attributes: Map<String, Value>,
    members: MembersDelta,
    budget: Budget,
    /// Does the operation under way name members?
    names_members: bool,
    /// What the operation under way found where it has changed something: a name of `attributes`, and its value.
    found: Vec<(String, Option<Value>)>,
}

/// What a path is aimed at.
enum Target<'a> {
    Members,
    /// Ours to write, or never kept.
    ReadOnly,
    Password,
    /// All attributes of a schema at once: the path is its URN.
    Schema(&'a Schema),
    Known {
        extension: Option<&'a str>,
        attribute: &'a Attribute,
    },
    /// In no schema; `extension` is the URN in front, if there is one.
    Unknown {
        extension: Option<Cow<'a, str>>,
        name: Cow<'a, str>,
        sub: Option<&'a str>,
    },
}

impl<'a> Draft<'a> {
    pub(super) fn new(resource_type: &'a ResourceType, before: &Resource, admission: Admission) -> Self {
        Self {
            resource_type,
            admission,
            attributes: before.0.clone(),
            members: MembersDelta::default(),
            budget: Budget::new(&before.0),
            names_members: false,
            found: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, operation: &Operation) -> Result<Effect> {
        self.names_members = false;
        self.found.clear();
        self.run(operation)?;
        let changed = self.found.iter().any(|(name, value)| self.attributes.get(name) != value.as_ref());
        Ok(Effect { changed, members: self.names_members })
    }

    /// To be told before a change of what `attributes` has under `name`.
    fn note(&mut self, name: &str) {
        if !self.found.iter().any(|(noted, _)| noted == name) {
            self.found.push((name.to_owned(), self.attributes.get(name).cloned()));
        }
    }

    fn run(&mut self, operation: &Operation) -> Result<()> {
        let value = operation.value.as_ref();
        match (&operation.path, operation.op) {
            (Some(path), op) => self.apply_at(op, path, value),
            (None, Op::Remove) => Err(Error::no_target("`remove` needs a `path`")),
            (None, op) => match value {
                Some(Value::Object(attributes)) => self.apply_each(op, None, attributes),
                _ => Err(Error::invalid_value("Without `path`, `value` must be an object of attributes")),
            },
        }
    }

    /// The result, if it is still a resource of its type.
    pub(super) fn finish(self, before: &Resource) -> Result<(Resource, MembersDelta)> {
        if let Some(gone) = taken_away(self.resource_type, &before.0, &self.attributes) {
            // RFC 7644 §3.5.2.2 has this word for it.
            return Err(Error::mutability(format!("`{gone}` is required and cannot be removed; replace it")));
        }
        let resource = Resource(self.attributes);
        finish(self.resource_type, &resource)?;
        check_immutable(self.resource_type, before, &resource)?;
        Ok((resource, self.members))
    }

    /// An object of attributes as `value`: each is an operation of its own. An extension's URN in front of them all,
    /// if `schema` is given.
    fn apply_each(&mut self, op: Op, schema: Option<&Schema>, attributes: &Map<String, Value>) -> Result<()> {
        for (key, value) in attributes {
            let path = self.path_of_key(schema, key)?;
            match self.target(&path, Some(value)) {
                Target::ReadOnly if self.admission.allows(Habit::ReadOnlyAlong) => {}
                target => self.apply_to(target, op, &path, Some(value))?,
            }
        }
        Ok(())
    }

    /// The path which a key of a value object stands for: by the RFC the name of an attribute or of a schema.
    fn path_of_key(&self, schema: Option<&Schema>, key: &str) -> Result<Path> {
        let name = |key| Path { attr: AttrPath::of(key), filter: None, sub: None };
        let mut path = key.parse().unwrap_or_else(|_| name(key));
        let within_schema = path.attr.urn.as_deref().is_some_and(|urn| self.resource_type.schema_by_urn(urn).is_some());
        let is_name = !within_schema && path.filter.is_none() && path.attr.sub.is_none();
        if !is_name && !self.admission.allows(Habit::PathAsKey) {
            return Err(Error::invalid_path(format!("`{path}` is a path: send it as `path`, or its parts as objects")));
        }
        if let Some(schema) = schema {
            if path.attr.urn.as_ref().is_some_and(|urn| !urn.eq_ignore_ascii_case(&schema.id)) {
                path = name(key);
            }
            path.attr.urn = Some(schema.id.clone());
        }
        Ok(path)
    }

    fn apply_at(&mut self, op: Op, path: &Path, value: Option<&Value>) -> Result<()> {
        self.apply_to(self.target(path, value), op, path, value)
    }

    fn apply_to(&mut self, target: Target<'_>, op: Op, path: &Path, value: Option<&Value>) -> Result<()> {
        match target {
            Target::Password => return Ok(()),
            Target::ReadOnly => return Err(Error::mutability(format!("`{path}` is read-only"))),
            Target::Members => {
                self.names_members = true;
                return self.members.apply(op, path, value, self.admission);
            }
            Target::Schema(schema) => self.apply_to_schema(schema, op, value)?,
            Target::Known { extension, attribute } => self.apply_to_known(extension, attribute, op, path, value)?,
            Target::Unknown { extension, name, sub } => {
                self.apply_to_unknown((extension.as_deref(), &name, sub), op, path, value)?;
            }
        }
        self.budget.settle(&self.attributes)
    }

    fn apply_to_schema(&mut self, schema: &Schema, op: Op, value: Option<&Value>) -> Result<()> {
        match (op, value) {
            (Op::Remove, _) | (Op::Replace, Some(Value::Null)) if self.is_core(&schema.id) => {
                Err(Error::no_target("A resource cannot lose all its attributes: name those which are to go"))
            }
            (Op::Remove, None) | (Op::Replace, Some(Value::Null)) => {
                self.note(&schema.id);
                self.attributes.shift_remove(&schema.id);
                Ok(())
            }
            (Op::Remove, Some(named @ Value::Object(_))) => {
                let named = self.admission.extension(schema, named.clone())?;
                self.note(&schema.id);
                edit_at(&mut self.attributes, None, &schema.id, |held| {
                    Ok(without_parts(&schema.attributes, held, named.as_ref()))
                })
            }
            (Op::Add, Some(Value::Null)) => Ok(()),
            (op, Some(Value::Object(attributes))) => self.apply_each(op, Some(schema), attributes),
            _ => Err(Error::invalid_value(format!("`{}` needs an object of attributes as `value`", schema.id))),
        }
    }

    fn apply_to_known(
        &mut self,
        extension: Option<&str>,
        attribute: &Attribute,
        op: Op,
        path: &Path,
        value: Option<&Value>,
    ) -> Result<()> {
        let sub = match path.sub.as_ref().or(path.attr.sub.as_ref()) {
            None => None,
            Some(name) => match attribute.sub(name) {
                Some(sub) if is_password(&sub.name) => return Ok(()),
                Some(sub) if !self.admission.may_write(sub) => {
                    return Err(Error::mutability(format!("`{path}` is read-only")));
                }
                Some(sub) => Some(Sub::Known(sub)),
                None if !self.keeps_unknown(path, [name])? => return Ok(()),
                None => Some(Sub::Unknown(name)),
            },
        };
        self.spend(extension, attribute, path)?;
        self.note(extension.unwrap_or(&attribute.name));
        let edit = Edit { admission: self.admission, attribute, sub, path, op, value, budget: &self.budget };
        edit_at(&mut self.attributes, extension, &attribute.name, |current| edit.apply(current))
    }

    /// Counts what the filter of `path` is about to compare, so that no request of a legal size keeps a processor busy
    /// for seconds.
    fn spend(&self, extension: Option<&str>, attribute: &Attribute, path: &Path) -> Result<()> {
        let Some(filter) = &path.filter else { return Ok(()) };
        let holder = match extension {
            None => Some(&self.attributes),
            Some(urn) => self.attributes.get(urn).and_then(Value::as_object),
        };
        let values = holder.and_then(|holder| holder.get(&attribute.name)).and_then(Value::as_array);
        let cost = |value| Budget::cost_of(filter, attribute, value);
        self.budget.look(values.into_iter().flatten().map(cost).sum())
    }

    fn apply_to_unknown(
        &mut self,
        (extension, name, sub): (Option<&str>, &str, Option<&str>),
        op: Op,
        path: &Path,
        value: Option<&Value>,
    ) -> Result<()> {
        if !self.keeps_unknown(path, [name, sub.unwrap_or(name)])? {
            return Ok(());
        }
        if path.filter.is_some() {
            return Err(Error::invalid_path(format!(
                "`{path}` selects values of an attribute which is in no schema of this service; send the attribute whole"
            )));
        }
        self.refuse_deep(path, name)?;
        let extension = extension.map(|urn| name_in(&self.attributes, urn));
        let name = match &extension {
            None => name_in(&self.attributes, name),
            Some(urn) => match self.attributes.get(urn) {
                None => name.to_owned(),
                Some(Value::Object(holder)) => name_in(holder, name),
                Some(_) => return Err(Error::invalid_path(format!("`{urn}` has a value without attributes"))),
            },
        };
        self.note(extension.as_deref().unwrap_or(&name));
        edit_at(&mut self.attributes, extension.as_deref(), &name, |current| {
            self.budget.look(current.as_ref().map_or(0, Budget::cost) + value.map_or(0, Budget::cost))?;
            raw_attribute(current, &name, sub, op, path, value)
        })
    }

    /// `name.given.first` is no attribute of that name, unless it is there: it goes into one which has no such depth.
    fn refuse_deep(&self, path: &Path, name: &str) -> Result<()> {
        let Some((outer, _)) = name.split_once('.') else { return Ok(()) };
        let outer = AttrPath { name: outer.to_owned(), sub: None, ..path.attr.clone() };
        let is_known = !is_urn(name) && self.resource_type.resolve(&outer).is_some();
        if is_known && !self.attributes.keys().any(|key| key.eq_ignore_ascii_case(name)) {
            return Err(Error::invalid_path(format!("`{path}` has more than one level of sub-attributes")));
        }
        Ok(())
    }

    /// Is an attribute that no schema knows to be kept? Not if the policy drops it; refused if the policy says so.
    fn keeps_unknown<const N: usize>(&self, path: &Path, names: [&str; N]) -> Result<bool> {
        let plain = |name: &&str| is_attribute_name(name) || is_urn(name);
        match self.admission.unknown_attributes {
            _ if !(names.iter().all(plain) || self.admission.allows(Habit::FreeName)) => {
                Err(Error::invalid_path(format!("`{path}` is not the name of an attribute (RFC 7643 §2.1)")))
            }
            UnknownAttributes::Keep => Ok(true),
            UnknownAttributes::Ignore => Ok(false),
            UnknownAttributes::Reject => Err(Error::invalid_path(format!(
                "`{path}` is in no schema of this service; remove it from the attribute mapping"
            ))),
        }
    }

    fn target<'p>(&self, path: &'p Path, value: Option<&Value>) -> Target<'p>
    where
        'a: 'p,
    {
        let attr = &path.attr;
        if path.filter.is_none()
            && let Some(schema) = self.resource_type.schema_at(attr)
        {
            return Target::Schema(schema);
        }
        if is_password(&attr.name) {
            return Target::Password;
        }
        if let Some(target) = self.dotted(path) {
            return target;
        }
        let whole = AttrPath { sub: None, ..attr.clone() };
        if let Some(found) = self.resource_type.resolve(&whole) {
            let attribute = found.attribute;
            return match () {
                () if found.extension.is_none() && is_members(self.resource_type, attribute) => Target::Members,
                () if !is_client_writable(attribute) || attribute.name == "schemas" => Target::ReadOnly,
                () => Target::Known { extension: found.extension, attribute },
            };
        }
        let (name, sub) = (Cow::Borrowed(&*attr.name), attr.sub.as_deref());
        let Some(urn) = attr.urn.as_deref().filter(|urn| !self.is_core(urn)) else {
            return Target::Unknown { extension: None, name, sub };
        };
        if self.resource_type.schema_by_urn(urn).is_some() {
            return Target::Unknown { extension: Some(Cow::Borrowed(urn)), name, sub };
        }
        // A URN that no schema has: is all of it the name of an extension, or is an attribute behind it? An extension
        // is an object, or is there already.
        let text = attr.to_string();
        let is_extension =
            value.is_some_and(Value::is_object) || self.attributes.keys().any(|key| key.eq_ignore_ascii_case(&text));
        if is_extension && attr.sub.is_none() {
            Target::Unknown { extension: None, name: Cow::Owned(text), sub }
        } else {
            Target::Unknown { extension: Some(Cow::Borrowed(urn)), name, sub }
        }
    }

    /// An attribute with a dot in its name, which a POST may have brought: to PATCH it looks like a sub-attribute.
    fn dotted<'p>(&self, path: &'p Path) -> Option<Target<'p>> {
        let attr = &path.attr;
        let sub = attr.sub.as_deref().filter(|_| self.resource_type.resolve(attr).is_none())?;
        let name = format!("{}.{sub}", attr.name);
        let extension = attr.urn.as_deref().filter(|urn| !self.is_core(urn));
        let holder = match extension {
            None => &self.attributes,
            Some(urn) => self.attributes.get(&name_in(&self.attributes, urn))?.as_object()?,
        };
        let is_there = holder.keys().any(|key| key.eq_ignore_ascii_case(&name));
        is_there.then(|| Target::Unknown { extension: extension.map(Cow::Borrowed), name: Cow::Owned(name), sub: None })
    }

    fn is_core(&self, urn: &str) -> bool {
        urn.eq_ignore_ascii_case(&self.resource_type.schema.id)
    }
}

/// What is required, was there, and is no longer.
fn taken_away(resource_type: &ResourceType, before: &Map<String, Value>, after: &Map<String, Value>) -> Option<String> {
    if let Some(name) = resource_type.schema.missing_in(after).next() {
        return Some(name.to_owned());
    }
    resource_type.extensions.iter().find_map(|extension| {
        let [before, after] = [before, after].map(|all| all.get(&extension.id).and_then(Value::as_object));
        match (before?, after) {
            (_, None) => resource_type.required_extensions.contains(&extension.id).then(|| extension.id.clone()),
            (before, Some(after)) => {
                let name = extension.missing_in(after).find(|name| before.contains_key(*name))?;
                Some(format!("{}:{name}", extension.id))
            }
        }
    })
}

/// Replaces the value of one attribute by what `change` makes of it; `None` means unassigned, both ways.
fn edit_at(
    attributes: &mut Map<String, Value>,
    extension: Option<&str>,
    name: &str,
    change: impl FnOnce(Option<Value>) -> Result<Option<Value>>,
) -> Result<()> {
    let holder = match extension {
        None => Some(&mut *attributes),
        Some(urn) => attributes.get_mut(urn).and_then(Value::as_object_mut),
    };
    let current = holder.and_then(|holder| holder.get_mut(name)).map(Value::take);
    match (change(current)?, extension) {
        (Some(value), None) => {
            attributes.insert(name.to_owned(), value);
        }
        (Some(value), Some(urn)) => {
            let holder = attributes.entry(urn).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(holder) = holder {
                holder.insert(name.to_owned(), value);
            }
        }
        (None, None) => {
            attributes.shift_remove(name);
        }
        (None, Some(urn)) => {
            if let Some(Value::Object(holder)) = attributes.get_mut(urn) {
                holder.shift_remove(name);
                if holder.is_empty() {
                    attributes.shift_remove(urn);
                }
            }
        }
    }
    Ok(())
}
