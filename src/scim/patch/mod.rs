//! PATCH (RFC 7644 §3.5.2) as a pure function: a resource and operations in, a resource and its changes out.
//!
//! Each operation ends as applied, as a proven no-op, or as an error which refuses the whole request; there is no
//! fourth way. Lives here: the request, and what becomes of a resource by it. `draft` finds what an operation is
//! aimed at, `edit` changes one attribute, `known` finds a value among others, `budget` bounds what that may cost,
//! `members` collects what happens to a group's members, which are rows. Not here: storing it, saying so (`provision`).
//!
//! What it makes of requests which are not quite those of the RFC stands in [`super::lenient`].

mod budget;
mod draft;
mod edit;
mod known;
mod members;
pub mod revert;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use members::MembersDelta;

use super::{
    error::{Error, Result},
    lenient::Habit,
    limits::MAX_OPERATIONS,
    path::Path,
    resource::{Admission, Resource, is_password, is_urn},
    schema::ResourceType,
};
use draft::Draft;

/// URN of the PATCH message (RFC 7644 §8.2).
pub const PATCH_OP_URN: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// One operation of a PATCH request.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub op: Op,
    pub path: Option<Path>,
    /// `None` if the client sent no `value`, which is not the same as `null`.
    pub value: Option<Value>,
}

/// `op` (RFC 7644 §3.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Add,
    Remove,
    Replace,
}

/// What a PATCH leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Patched {
    pub resource: Resource,
    /// What becomes of a group's members; empty for other resource types.
    pub members: MembersDelta,
    /// Empty if the request changed no attribute: there is then nothing to store and nothing to tell, unless
    /// `members` has it.
    pub changes: Vec<Change>,
    /// What each operation did, in their order.
    pub effects: Vec<Effect>,
}

/// What one operation did to the resource which the one before it had left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// Is an attribute no longer what it was? If not, and no members are named, the operation is a proven no-op.
    pub changed: bool,
    /// Does it name members? Whether any came or went is known only where they are kept.
    pub members: bool,
}

/// One attribute that is no longer what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Canonical name of the attribute as a whole, behind its URN and `:` if it belongs to an extension.
    pub path: String,
    pub previous: Option<Value>,
    pub current: Option<Value>,
}

/// Reads the body of a PATCH request. A password ends here: operations on it are left without their value.
pub fn parse(body: Value, admission: &Admission) -> Result<Vec<Operation>> {
    let Value::Object(body) = body else {
        return Err(Error::invalid_syntax("The body must be a JSON object with `schemas` and `Operations`"));
    };
    let (mut schemas, mut operations) = (None, None);
    for (key, value) in body {
        match key.to_ascii_lowercase().as_str() {
            "schemas" => schemas = Some(value),
            "operations" => operations = Some(value),
            _ => {}
        }
    }
    let declared =
        schemas.as_ref().and_then(Value::as_array).is_some_and(|urns| urns.iter().any(|u| u == PATCH_OP_URN));
    if !declared && !admission.allows(Habit::OtherPatchSchema) {
        return Err(Error::invalid_syntax(format!("`schemas` must contain `{PATCH_OP_URN}`")));
    }
    let Some(Value::Array(operations)) = operations else {
        return Err(Error::invalid_syntax("`Operations` must be an array of operations"));
    };
    if operations.is_empty() || operations.len() > MAX_OPERATIONS {
        return Err(Error::invalid_value(format!("`Operations` must have 1 to {MAX_OPERATIONS} operations")));
    }
    let count = operations.len();
    let parsed = operations.into_iter().enumerate();
    let mut parsed = parsed
        .map(|(at, operation)| Operation::parse(operation, *admission).map_err(|error| numbered(error, at, count)))
        .collect::<Result<Vec<_>>>()?;
    for operation in &mut parsed {
        operation.value.take_if(|_| operation.path.as_ref().is_some_and(|path| is_password(&path.attr.name)));
    }
    Ok(parsed)
}

impl Operation {
    fn parse(operation: Value, admission: Admission) -> Result<Self> {
        let Value::Object(operation) = operation else {
            return Err(Error::invalid_syntax("An operation must be a JSON object"));
        };
        let (mut op, mut path, mut value) = (None, None, None);
        for (key, part) in operation {
            match key.to_ascii_lowercase().as_str() {
                "op" => op = Some(Op::parse(&part, admission)?),
                "path" => path = path_from(&part)?,
                "value" => value = Some(part),
                _ => {}
            }
        }
        let op = op.ok_or_else(|| Error::invalid_syntax("An operation needs `op`: add, remove or replace"))?;
        if op == Op::Remove && value.is_some() && !admission.allows(Habit::RemoveWithValue) {
            return Err(Error::invalid_value(
                "`remove` takes no `value`: select by a filter what is to go, as in `emails[value eq \"...\"]`",
            ));
        }
        if let (None, Some(Value::Object(attributes))) = (&path, &mut value) {
            attributes.retain(|name, _| !is_password(name));
        }
        Ok(Self { op, path, value })
    }
}

impl Op {
    fn parse(written: &Value, admission: Admission) -> Result<Self> {
        let unknown = || Error::invalid_syntax(format!("`op` must be add, remove or replace, and not {written}"));
        let word = written.as_str().ok_or_else(unknown)?;
        let ops = [("add", Op::Add), ("remove", Op::Remove), ("replace", Op::Replace)];
        let capitals = admission.allows(Habit::CapitalOperation);
        let is = |name: &str| name == word || (capitals && name.eq_ignore_ascii_case(word));
        ops.into_iter().find(|(name, _)| is(name)).map(|(_, op)| op).ok_or_else(unknown)
    }
}

fn path_from(written: &Value) -> Result<Option<Path>> {
    match written {
        Value::Null => Ok(None),
        Value::String(text) => text.parse().map(Some),
        _ => Err(Error::invalid_path("`path` must be a string")),
    }
}

/// Applies `operations` in their order to a copy of `before`. Nothing of the copy is to be used if one fails.
pub fn apply(
    resource_type: &ResourceType,
    before: &Resource,
    operations: &[Operation],
    admission: &Admission,
) -> Result<Patched> {
    let mut draft = Draft::new(resource_type, before, *admission);
    let each = operations.iter().enumerate();
    let effects = each
        .map(|(at, operation)| draft.apply(operation).map_err(|error| numbered(error, at, operations.len())))
        .collect::<Result<_>>()?;
    let (resource, members) = draft.finish(before)?;
    let changes = changes(before, &resource);
    Ok(Patched { resource, members, changes, effects })
}

/// Says which operation was wrong, where there is more than one.
fn numbered(error: Error, at: usize, count: usize) -> Error {
    if count == 1 { error } else { Error { detail: format!("Operation {}: {}", at + 1, error.detail), ..error } }
}

/// The attributes in which two states of a resource differ: what PATCH and PUT tell the world.
pub fn changes(before: &Resource, after: &Resource) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, previous, current) in both(&before.0, &after.0) {
        if previous == current {
            continue;
        }
        match (object(previous), object(current)) {
            (Some(previous), Some(current)) if is_urn(name) => {
                let inner = both(previous, current).filter(|(_, previous, current)| previous != current);
                changes.extend(inner.map(|(inner, p, c)| Change::of(format!("{name}:{inner}"), p, c)));
            }
            _ => changes.push(Change::of(name.to_owned(), previous, current)),
        }
    }
    changes
}

impl Change {
    fn of(path: String, previous: Option<&Value>, current: Option<&Value>) -> Self {
        Self { path, previous: previous.cloned(), current: current.cloned() }
    }
}

/// Each name that one of two objects has, with what it has in both.
fn both<'a>(
    before: &'a Map<String, Value>,
    after: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let kept = before.iter().map(|(name, previous)| (name.as_str(), Some(previous), after.get(name)));
    let new = after.iter().filter(|(name, _)| !before.contains_key(*name));
    kept.chain(new.map(|(name, current)| (name.as_str(), None, Some(current))))
}

/// The attributes of an extension, where one that is absent counts as empty.
fn object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.map_or(Some(&EMPTY), Value::as_object)
}
