//! Does a value match? The reference for what a filter means; `store::filter_sql` must say the same.
//!
//! Each filter is true or false, never unknown (RFC 7644 §3.4.2.2 leaves it open):
//! - of a multi-valued attribute it is enough that one value matches;
//! - `ne x` is `not (eq x)`, so true where there is no value at all;
//! - `eq null` is `not (pr)`;
//! - text is ordered by code points, after folding unless the attribute is `caseExact`.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::{Map, Number, Value};

use super::super::path::AttrPath;
use super::super::resource::fold;
use super::super::schema::{Attribute, Kind, Resolved, ResourceType, instant};
use super::{Filter, Literal, Lookup, Op};

/// Whether a whole resource matches. `document` has canonical names, and `id` and `meta` if they are to be found.
pub fn matches(filter: &Filter, resource_type: &ResourceType, document: &Map<String, Value>) -> bool {
    Subject::Resource(resource_type, document).satisfies(filter)
}

/// Whether one value of a multi-valued attribute matches what stands in the brackets of a path.
pub fn matches_value(filter: &Filter, attribute: &Attribute, value: &Value) -> bool {
    Subject::Element(attribute, value).satisfies(filter)
}

#[derive(Clone, Copy)]
enum Subject<'a> {
    Resource(&'a ResourceType, &'a Map<String, Value>),
    Element(&'a Attribute, &'a Value),
}

impl<'a> Subject<'a> {
    fn satisfies(self, filter: &Filter) -> bool {
        match filter {
            Filter::And(left, right) => self.satisfies(left) && self.satisfies(right),
            Filter::Or(left, right) => self.satisfies(left) || self.satisfies(right),
            Filter::Not(inner) => !self.satisfies(inner),
            Filter::Present(attr) => self.find(attr).is_some_and(|found| self.any(found, |_| true)),
            Filter::Compare { attr, op, value } => self.compare(attr, *op, value),
            Filter::Within { attr, filter } => self
                .find(attr)
                .is_some_and(|found| self.any(found, |element| matches_value(filter, found.attribute, element))),
        }
    }

    fn compare(self, attr: &AttrPath, op: Op, literal: &Literal) -> bool {
        let found = self.find(attr);
        if *literal == Literal::Null {
            let present = found.is_some_and(|found| self.any(found, |_| true));
            return match op {
                Op::Eq => !present,
                Op::Ne => present,
                _ => false,
            };
        }
        let any = |op| {
            found.map(Resolved::compared).is_some_and(|found| {
                let test = Test::new(found.leaf(), op, literal);
                self.any(found, |value| test.holds(value))
            })
        };
        match op {
            Op::Ne => !any(Op::Eq),
            op => any(op),
        }
    }

    fn find(self, path: &AttrPath) -> Option<Resolved<'a>> {
        match self {
            Subject::Resource(resource_type, _) => Lookup::Resource(resource_type).resolve(path),
            Subject::Element(attribute, _) => Lookup::Values(attribute).resolve(path),
        }
    }

    fn any(self, found: Resolved, mut predicate: impl FnMut(&Value) -> bool) -> bool {
        match self {
            Subject::Resource(_, document) => found.values_in(document).any(predicate),
            Subject::Element(_, element) => found.value_of(element).is_some_and(&mut predicate),
        }
    }
}

/// One comparison, its right side made ready once for all values.
struct Test<'a> {
    op: Op,
    ignores_case: bool,
    operand: Option<Operand<'a>>,
}

enum Operand<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Number(&'a Number),
    Instant(jiff::Timestamp),
}

impl<'a> Test<'a> {
    fn new(leaf: &Attribute, op: Op, literal: &'a Literal) -> Self {
        let ignores_case = leaf.ignores_case();
        let operand = match (leaf.kind, literal) {
            (Kind::Boolean, _) => literal.as_bool().map(Operand::Bool),
            (Kind::DateTime, Literal::String(text)) => instant(text).map(Operand::Instant),
            (_, Literal::String(text)) if ignores_case => Some(Operand::Text(folded(text))),
            (_, Literal::String(text)) => Some(Operand::Text(Cow::Borrowed(text))),
            (_, Literal::Number(number)) => Some(Operand::Number(number)),
            (_, Literal::Bool(_) | Literal::Null) => None,
        };
        Self { op, ignores_case, operand }
    }

    fn holds(&self, value: &Value) -> bool {
        match (&self.operand, value) {
            (Some(Operand::Text(right)), Value::String(left)) if self.ignores_case => self.texts(&folded(left), right),
            (Some(Operand::Text(right)), Value::String(left)) => self.texts(left, right),
            (Some(Operand::Bool(right)), Value::Bool(left)) => self.op == Op::Eq && left == right,
            (Some(Operand::Number(right)), Value::Number(left)) => {
                numbers(left, right).is_some_and(|order| self.ordered(order))
            }
            (Some(Operand::Instant(right)), Value::String(left)) => {
                instant(left).is_some_and(|left| self.ordered(left.cmp(right)))
            }
            _ => false,
        }
    }

    fn texts(&self, left: &str, right: &str) -> bool {
        match self.op {
            Op::Co => left.contains(right),
            Op::Sw => left.starts_with(right),
            Op::Ew => left.ends_with(right),
            _ => self.ordered(left.cmp(right)),
        }
    }

    fn ordered(&self, order: Ordering) -> bool {
        match self.op {
            Op::Eq => order.is_eq(),
            Op::Ne => order.is_ne(),
            Op::Gt => order.is_gt(),
            Op::Ge => order.is_ge(),
            Op::Lt => order.is_lt(),
            Op::Le => order.is_le(),
            Op::Co | Op::Sw | Op::Ew => false,
        }
    }
}

/// [`fold`], without a copy of what is folded already, as most text is.
fn folded(text: &str) -> Cow<'_, str> {
    let is_folded = text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
    if is_folded { Cow::Borrowed(text) } else { Cow::Owned(fold(text)) }
}

/// Whole numbers are compared exactly, not through a float that would make neighbours equal.
fn numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
