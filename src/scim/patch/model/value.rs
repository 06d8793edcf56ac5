//! Which values are the same, which of them a filter selects, and in what two states differ.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Known, Object, Outcome};
use crate::scim::{
    error::Kind as Wrong,
    filter::{Filter, Literal, Op as Operator},
    patch::Change,
    path::AttrPath,
    schema::{Attribute, Kind, Mutability, Returned},
};

pub(super) fn fixed(sub: Known) -> bool {
    sub.is_some_and(|sub| sub.mutability == Mutability::Immutable)
}

pub(super) fn find<'a>(attributes: &'a [Attribute], name: &str) -> Known<'a> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// How the object writes that name.
pub(super) fn spelled(object: &Object, name: &str) -> Option<String> {
    object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()
}

/// The text as it is compared. The programs have no other letters than those of ASCII.
fn compared(attribute: Known, text: &str) -> String {
    match attribute {
        Some(attribute) if attribute.kind == Kind::String && !attribute.case_exact => text.to_ascii_lowercase(),
        _ => text.to_owned(),
    }
}

pub(super) fn same(attribute: Known, one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => compared(attribute, one) == compared(attribute, other),
        (Value::Object(one), Value::Object(other)) => {
            let sub = |name: &String| attribute.and_then(|attribute| find(&attribute.sub_attributes, name));
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same(sub(name), one, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && (0..one.len()).all(|at| same(attribute, &one[at], &other[at]))
        }
        _ => one == other,
    }
}

/// Is all there that is wanted?
pub(super) fn covers(attribute: Known, held: &Value, wanted: &Value) -> bool {
    match (held, wanted) {
        (Value::Object(held), Value::Object(wanted)) => {
            let sub = |name: &String| attribute.and_then(|attribute| find(&attribute.sub_attributes, name));
            wanted.iter().all(|(name, wanted)| held.get(name).is_some_and(|held| same(sub(name), held, wanted)))
        }
        _ => same(attribute, held, wanted),
    }
}

/// The members which `value eq "…" or value eq "…"` names.
pub(super) fn ids_of(filter: &Filter) -> Option<BTreeSet<String>> {
    match filter {
        Filter::Or(one, other) => Some(&ids_of(one)? | &ids_of(other)?),
        Filter::Compare { attr, op: Operator::Eq, value: Literal::String(id) }
            if attr.name.eq_ignore_ascii_case("value") && attr.sub.is_none() =>
        {
            Some(BTreeSet::from([id.clone()]))
        }
        _ => None,
    }
}

/// What a name in brackets stands for: a sub-attribute, or the value itself where it has no parts.
fn part<'a>(attribute: &'a Attribute, attr: &AttrPath) -> Outcome<&'a Attribute> {
    let simple = attribute.kind != Kind::Complex && attr.name.eq_ignore_ascii_case("value");
    let found = if simple { Some(attribute) } else { find(&attribute.sub_attributes, &attr.name) };
    let visible = found.filter(|found| found.returned != Returned::Never);
    visible.filter(|_| attr.urn.is_none() && attr.sub.is_none()).ok_or(Wrong::InvalidFilter)
}

/// RFC 7644 §3.4.2.2, table 3: which operator fits which type.
pub(super) fn well_formed(filter: &Filter, attribute: &Attribute, strict: bool) -> Outcome {
    match filter {
        Filter::And(one, other) | Filter::Or(one, other) => {
            well_formed(one, attribute, strict)?;
            well_formed(other, attribute, strict)
        }
        Filter::Not(inner) => well_formed(inner, attribute, strict),
        Filter::Present(attr) => part(attribute, attr).map(|_| ()),
        Filter::Within { .. } => Err(Wrong::InvalidFilter),
        Filter::Compare { attr, op, value } => {
            let equality = matches!(op, Operator::Eq | Operator::Ne);
            let within = matches!(op, Operator::Co | Operator::Sw | Operator::Ew);
            let fits = match (part(attribute, attr)?.kind, value) {
                (_, Literal::Null) | (Kind::Boolean, Literal::Bool(_)) | (Kind::Binary, Literal::String(_)) => equality,
                (Kind::String | Kind::Reference, Literal::String(_)) => true,
                (Kind::Boolean, Literal::String(text)) => {
                    equality && !strict && ["true", "false"].contains(&&*text.to_lowercase())
                }
                (Kind::Integer | Kind::Decimal, Literal::Number(_)) => !within,
                (Kind::DateTime, Literal::String(text)) => !within && text.parse::<jiff::Timestamp>().is_ok(),
                _ => false,
            };
            if fits { Ok(()) } else { Err(Wrong::InvalidFilter) }
        }
    }
}

pub(super) fn matches(filter: &Filter, attribute: &Attribute, value: &Value) -> bool {
    let held = |attr: &AttrPath| {
        let held = if attribute.kind == Kind::Complex { value.get(&part(attribute, attr).ok()?.name)? } else { value };
        (*held != Value::String(String::new())).then(|| held.clone())
    };
    match filter {
        Filter::And(one, other) => matches(one, attribute, value) && matches(other, attribute, value),
        Filter::Or(one, other) => matches(one, attribute, value) || matches(other, attribute, value),
        Filter::Not(inner) => !matches(inner, attribute, value),
        Filter::Within { .. } => false,
        Filter::Present(attr) | Filter::Compare { attr, op: Operator::Ne, value: Literal::Null } => {
            held(attr).is_some()
        }
        Filter::Compare { attr, op: Operator::Eq, value: Literal::Null } => held(attr).is_none(),
        Filter::Compare { attr, op: Operator::Ne, value: literal } => {
            let equal = Filter::Compare { attr: attr.clone(), op: Operator::Eq, value: literal.clone() };
            !matches(&equal, attribute, value)
        }
        Filter::Compare { attr, op, value: literal } => {
            let (Ok(part), Some(held)) = (part(attribute, attr), held(attr)) else { return false };
            let order = match (part.kind, &held, literal) {
                (Kind::Boolean, Value::Bool(held), literal) => {
                    return literal.to_string().trim_matches('"').to_lowercase() == held.to_string();
                }
                (Kind::DateTime, Value::String(held), Literal::String(wanted)) => {
                    let instant = |text: &str| text.parse::<jiff::Timestamp>().ok();
                    instant(held).cmp(&instant(wanted))
                }
                (_, Value::String(held), Literal::String(wanted)) => {
                    let (held, wanted) = (compared(Some(part), held), compared(Some(part), wanted));
                    match op {
                        Operator::Co => return held.contains(&wanted),
                        Operator::Sw => return held.starts_with(&wanted),
                        Operator::Ew => return held.ends_with(&wanted),
                        _ => held.cmp(&wanted),
                    }
                }
                (_, Value::Number(held), Literal::Number(wanted)) => {
                    let Some(order) = held.as_f64().partial_cmp(&wanted.as_f64()) else { return false };
                    order
                }
                _ => return false,
            };
            match op {
                Operator::Eq => order.is_eq(),
                Operator::Gt => order.is_gt(),
                Operator::Ge => order.is_ge(),
                Operator::Lt => order.is_lt(),
                Operator::Le => order.is_le(),
                _ => false,
            }
        }
    }
}

/// The differences between two states, by path. Attributes of extensions count one by one.
pub(super) fn differences(before: &Object, after: &Object) -> Vec<Change> {
    let none = Object::new();
    let mut changes = Vec::new();
    for (name, previous, current) in unequal(before, after) {
        let split = name.to_lowercase().starts_with("urn:");
        let objects = [&previous, &current].map(|value| value.as_ref().map_or(Some(&none), Value::as_object));
        match objects {
            [Some(before), Some(after)] if split => {
                let inner = unequal(before, after).into_iter();
                changes.extend(inner.map(|(inner, previous, current)| Change {
                    path: format!("{name}:{inner}"),
                    previous,
                    current,
                }));
            }
            _ => changes.push(Change { path: name, previous, current }),
        }
    }
    changes
}

fn unequal(before: &Object, after: &Object) -> Vec<(String, Option<Value>, Option<Value>)> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let pair = |name: &String| (name.clone(), before.get(name).cloned(), after.get(name).cloned());
    names.into_iter().map(pair).filter(|(_, was, is)| was != is).collect()
}
