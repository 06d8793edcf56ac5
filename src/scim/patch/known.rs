//! Which value of an attribute is meant: values are the same by what they hold, wherever they stand.

use std::collections::HashMap;

use serde_json::Value;

use super::budget::Budget;
use crate::scim::{
    error::Result,
    resource::{fold, same},
    schema::Attribute,
};

/// The values that an attribute has: where one stands which is the same as another. Two are the same if they have the
/// same `type` and `value`; if there is no `value`, all of them must be the same.
pub(super) struct Known<'a> {
    attribute: &'a Attribute,
    budget: &'a Budget,
    typed: HashMap<(Option<String>, String), usize>,
    /// Those without a `value`.
    others: Vec<(usize, usize)>,
}

impl<'a> Known<'a> {
    pub fn new(attribute: &'a Attribute, budget: &'a Budget) -> Self {
        Self { attribute, budget, typed: HashMap::new(), others: Vec::new() }
    }

    fn identity(&self, value: &Value) -> Option<(Option<String>, String)> {
        key_of(self.attribute, value).map(|key| (part(self.attribute, value, "type"), key))
    }

    /// Of two that are the same, the first one counts.
    pub fn insert(&mut self, at: usize, value: &Value) -> Result<()> {
        let Some(identity) = self.identity(value) else {
            let cost = Budget::cost(value);
            self.others.push((at, cost));
            return self.budget.look(cost);
        };
        let (kind, key) = &identity;
        self.budget.look(Budget::cost_of_text(key) + kind.as_deref().map_or(0, str::len))?;
        self.typed.entry(identity).or_insert(at);
        Ok(())
    }

    pub fn find(&self, value: &Value, held: &[Value]) -> Result<Option<usize>> {
        if let Some(identity) = self.identity(value) {
            return Ok(self.typed.get(&identity).copied());
        }
        let cost = Budget::cost(value);
        for (at, more) in &self.others {
            self.budget.look(cost + more)?;
            if same(Some(self.attribute), &held[*at], value) {
                return Ok(Some(*at));
            }
        }
        Ok(None)
    }
}

/// By what a value may be looked up: its `value`.
pub(super) fn key_of(attribute: &Attribute, value: &Value) -> Option<String> {
    part(attribute, value, "value")
}

/// A part of a value as text, in the form in which it is compared.
fn part(attribute: &Attribute, value: &Value, name: &str) -> Option<String> {
    let ignores_case = attribute.sub(name).is_some_and(Attribute::ignores_case);
    Some(match value.get(name)? {
        Value::String(text) if ignores_case => fold(text),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}
