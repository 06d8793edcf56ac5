//! What one request may cost: the memory of what it builds, and the time of what it looks at.

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::scim::{
    error::{Error, Result},
    filter::{Filter, Literal, Lookup},
    limits::MAX_PATCH_WORK,
    resource::{check_size, size},
    schema::Attribute,
};

/// What the operations of one request have left to spend, and how large they made the resource.
pub(super) struct Budget {
    /// Bytes of text that may yet be looked at.
    left: Cell<usize>,
    /// Bytes of the resource as it is between two operations.
    bytes: Cell<usize>,
}

impl Budget {
    pub fn new(attributes: &Map<String, Value>) -> Self {
        Self { left: Cell::new(MAX_PATCH_WORK), bytes: Cell::new(size(attributes)) }
    }

    /// Spends `cost`, see [`Budget::cost`].
    pub fn look(&self, cost: usize) -> Result<()> {
        let left = self.left.get().checked_sub(cost).ok_or_else(|| {
            Error::too_many("The operations of this request compare too many values; send them in several requests")
        })?;
        self.left.set(left);
        Ok(())
    }

    /// To be asked before a value of so many bytes is copied to so many places.
    pub fn copies(&self, places: usize, bytes: usize) -> Result<()> {
        check_size(bytes.saturating_mul(places).saturating_add(self.bytes.get()))
    }

    /// To be asked after each change.
    pub fn settle(&self, attributes: &Map<String, Value>) -> Result<()> {
        self.look(attributes.values().map(nodes).sum::<usize>() * NODE)?;
        self.bytes.set(size(attributes));
        check_size(self.bytes.get())
    }

    /// What it costs to compare all of a value once.
    pub fn cost(value: &Value) -> usize {
        match value {
            Value::String(text) => Self::cost_of_text(text),
            Value::Array(values) => VALUE + values.iter().map(Self::cost).sum::<usize>(),
            Value::Object(parts) => {
                VALUE + parts.iter().map(|(name, part)| name.len() + Self::cost(part)).sum::<usize>()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => VALUE,
        }
    }

    /// What it costs to compare a text once.
    pub fn cost_of_text(text: &str) -> usize {
        VALUE + text_cost(text)
    }

    /// What it costs to ask whether a value of `attribute` satisfies `filter`.
    pub fn cost_of(filter: &Filter, attribute: &Attribute, value: &Value) -> usize {
        match filter {
            Filter::And(left, right) | Filter::Or(left, right) => {
                Self::cost_of(left, attribute, value) + Self::cost_of(right, attribute, value)
            }
            Filter::Not(inner) | Filter::Within { filter: inner, .. } => Self::cost_of(inner, attribute, value),
            Filter::Present(_) => VALUE,
            Filter::Compare { attr, value: literal, .. } => {
                let held = Lookup::Values(attribute).resolve(attr).and_then(|found| found.value_of(value));
                let literal = if let Literal::String(text) = literal { text_cost(text) } else { 0 };
                VALUE + literal + held.and_then(Value::as_str).map_or(0, text_cost)
            }
        }
    }
}

/// What it costs to come to a value at all, in bytes of text.
const VALUE: usize = 8;
/// What it costs to count a value.
const NODE: usize = 4;

/// Text beyond ASCII must be normalized before it can be compared.
fn text_cost(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { 16 * text.len() }
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(nodes).sum::<usize>(),
        Value::Object(parts) => 1 + parts.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}
