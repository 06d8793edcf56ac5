//! What an operation makes of one attribute's value.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Op;
use crate::scim::{
    error::{Error, Result},
    filter::{self, Filter, Literal, Lookup, matches_value},
    lenient,
    path::Path,
    resource::{Admission, Place, check_count, is_primary, raw},
    schema::{Attribute, Kind},
};

/// One operation on one attribute of a schema. It takes the attribute's value and gives the next one; `None` means
/// unassigned, both ways.
pub(super) struct Edit<'a> {
    pub admission: Admission,
    pub attribute: &'a Attribute,
    pub sub: Option<Sub<'a>>,
    /// As written, for messages; its filter selects.
    pub path: &'a Path,
    pub op: Op,
    pub value: Option<&'a Value>,
}

/// A sub-attribute; one that no schema knows only where the policy keeps such.
#[derive(Clone, Copy)]
pub(super) enum Sub<'a> {
    Known(&'a Attribute),
    Unknown(&'a str),
}

impl<'a> Sub<'a> {
    /// Its name in `holder`.
    fn name_in(self, holder: &Map<String, Value>) -> String {
        match self {
            Sub::Known(sub) => sub.name.clone(),
            Sub::Unknown(name) => name_in(holder, name),
        }
    }

    fn name(self) -> &'a str {
        match self {
            Sub::Known(sub) => &sub.name,
            Sub::Unknown(name) => name,
        }
    }
}

impl Edit<'_> {
    pub(super) fn apply(&self, current: Option<Value>) -> Result<Option<Value>> {
        if self.sub.is_some() && self.attribute.kind != Kind::Complex {
            return Err(Error::invalid_path(format!("`{}` has no sub-attributes", self.attribute.name)));
        }
        match (self.attribute.multi_valued, &self.path.filter, self.sub) {
            (false, Some(_), _) => Err(Error::invalid_path(format!(
                "`{}` has one value only: leave the brackets out",
                self.attribute.name
            ))),
            (false, None, None) => self.single(current),
            (false, None, Some(sub)) => self.sub_of_single(current, sub),
            (true, None, None) => self.values(array(current)),
            (true, filter, _) => self.selected(array(current), filter.as_ref()),
        }
    }

    /// The operation's value, which all but `remove` need.
    fn value(&self) -> Result<&Value> {
        self.value.ok_or_else(|| Error::invalid_value(format!("`{}` needs a `value`", self.path)))
    }

    fn place(&self) -> Place<'_> {
        Place::top(&self.attribute.name)
    }

    fn single(&self, current: Option<Value>) -> Result<Option<Value>> {
        let value = match self.op {
            Op::Remove => return Ok(None),
            Op::Add | Op::Replace => self.value()?,
        };
        if value.is_null() {
            return Ok(current.filter(|_| self.op == Op::Add));
        }
        let next = self.admission.value(self.attribute, value.clone(), self.place())?;
        match (current, value) {
            (Some(Value::Object(current)), Value::Object(sent)) => Ok(self.merged(current, next, sent)),
            _ => Ok(next),
        }
    }

    /// RFC 7644 §3.5.2.1, §3.5.2.3: sub-attributes that are not sent stay.
    ///
    /// NB: not if `value` becomes another: what stood beside it, such as the name of the former manager, was said of
    /// something else.
    fn merged(&self, mut current: Map<String, Value>, next: Option<Value>, sent: &Map<String, Value>) -> Option<Value> {
        let next = match next {
            Some(Value::Object(next)) => next,
            _ => Map::new(),
        };
        if let (Some(former), Some(value)) = (current.get("value"), next.get("value"))
            && former != value
        {
            return Some(Value::Object(next));
        }
        if self.op == Op::Replace {
            for (name, _) in sent.iter().filter(|(_, value)| value.is_null()) {
                let name = name_in(&current, name);
                current.shift_remove(&name);
            }
        }
        current.extend(next);
        (!current.is_empty()).then_some(Value::Object(current))
    }

    fn sub_of_single(&self, current: Option<Value>, sub: Sub<'_>) -> Result<Option<Value>> {
        let mut holder = match current {
            Some(Value::Object(holder)) => holder,
            _ => Map::new(),
        };
        match self.sub_value(sub)? {
            Assigned::Unchanged => {}
            Assigned::None => {
                let name = sub.name_in(&holder);
                holder.shift_remove(&name);
            }
            Assigned::Value(value) => {
                let name = sub.name_in(&holder);
                holder.insert(name, value);
            }
        }
        Ok((!holder.is_empty()).then_some(Value::Object(holder)))
    }

    /// What the operation assigns to a sub-attribute.
    fn sub_value(&self, sub: Sub<'_>) -> Result<Assigned> {
        if self.op == Op::Remove {
            return Ok(Assigned::None);
        }
        let value = self.value()?.clone();
        let place = self.place();
        let admitted = match sub {
            Sub::Known(known) => self.admission.value(known, value, place.sub(&known.name))?,
            Sub::Unknown(name) => raw(name, value, place.sub(name))?,
        };
        Ok(match admitted {
            Some(value) => Assigned::Value(value),
            None if self.op == Op::Add => Assigned::Unchanged,
            None => Assigned::None,
        })
    }

    /// A multi-valued attribute as a whole.
    fn values(&self, current: Vec<Value>) -> Result<Option<Value>> {
        match self.op {
            Op::Remove => match self.value {
                None => Ok(None),
                Some(Value::Null) => Err(Error::invalid_value(format!(
                    "`remove` of `{}` with `null` says neither which values nor all of them: leave `value` out for all",
                    self.path
                ))),
                Some(value) => Ok(in_array(self.without(current, value)?)),
            },
            Op::Replace => self.admission.value(self.attribute, self.value()?.clone(), self.place()),
            Op::Add => Ok(in_array(self.with(current, self.value()?)?)),
        }
    }

    /// Entra ID names the values to remove in `value`; a value goes if it has all that is said of one of them.
    fn without(&self, mut current: Vec<Value>, value: &Value) -> Result<Vec<Value>> {
        let unwanted = self.admission.values(self.attribute, value.clone(), self.place())?;
        let mut by_value: HashMap<Option<&str>, Vec<&Value>> = HashMap::new();
        for one in &unwanted {
            by_value.entry(key_of(one)).or_default().push(one);
        }
        current.retain(|element| {
            let keys = [key_of(element), None];
            !keys.iter().filter_map(|key| by_value.get(key)).flatten().any(|unwanted| has_all_of(element, unwanted))
        });
        Ok(current)
    }

    /// RFC 7644 §3.5.2.1: values that are there already are not added again. Two are the same if `type` and `value`
    /// are (RFC 7643 §2.4); what else is said of them is taken over.
    fn with(&self, mut current: Vec<Value>, value: &Value) -> Result<Vec<Value>> {
        let added = self.admission.values(self.attribute, value.clone(), self.place())?;
        let mut known: HashMap<Identity<'_>, usize> = HashMap::with_capacity(current.len() + added.len());
        for (at, value) in current.iter().enumerate() {
            known.entry(Identity::of(value)).or_insert(at);
        }
        let mut end = current.len()..;
        let mut place = |value| *known.entry(Identity::of(value)).or_insert_with(|| end.next().unwrap_or_default());
        let places: Vec<usize> = added.iter().map(&mut place).collect();
        let mut primaries = Vec::new();
        for (value, at) in added.into_iter().zip(places) {
            if is_primary(&value) && !primaries.contains(&at) {
                primaries.push(at);
            }
            match current.get_mut(at) {
                None => current.push(value),
                Some(Value::Object(same)) => {
                    if let Value::Object(value) = value {
                        same.extend(value);
                    }
                }
                Some(_) => {}
            }
        }
        check_count(current.len(), self.place())?;
        self.settle_primary(&mut current, &primaries)?;
        Ok(current)
    }

    /// Those values of a multi-valued attribute which the filter selects; without one, `sub` of all of them.
    fn selected(&self, mut current: Vec<Value>, filter: Option<&Filter>) -> Result<Option<Value>> {
        if let Some(filter) = filter {
            // A misspelt name must not pass for "nothing matches".
            filter::check(filter, Lookup::Values(self.attribute))?;
        }
        let selects = |element: &Value| filter.is_none_or(|filter| matches_value(filter, self.attribute, element));
        if (self.op, self.sub.is_none()) == (Op::Remove, true) {
            current.retain(|element| !selects(element));
            return Ok(in_array(current));
        }
        let selected: Vec<usize> = (0..current.len()).filter(|at| selects(&current[*at])).collect();
        let touched = match self.sub {
            Some(sub) => self.assign_sub(&mut current, selected, filter, sub)?,
            None => self.assign_whole(&mut current, selected)?,
        };
        self.settle_primary(&mut current, &touched)?;
        check_count(current.len(), self.place())?;
        Ok(in_array(current))
    }

    /// Says where the values stand that have been assigned to.
    fn assign_sub(
        &self,
        current: &mut Vec<Value>,
        selected: Vec<usize>,
        filter: Option<&Filter>,
        sub: Sub<'_>,
    ) -> Result<Vec<usize>> {
        match self.sub_value(sub)? {
            Assigned::Unchanged => Ok(Vec::new()),
            Assigned::None => {
                for at in selected.into_iter().rev() {
                    let Value::Object(element) = &mut current[at] else { continue };
                    let name = sub.name_in(element);
                    let removed = element.shift_remove(&name).is_some();
                    if element.is_empty() || (removed && self.admission.is_lenient() && lenient::is_husk(element)) {
                        current.remove(at);
                    }
                }
                Ok(Vec::new())
            }
            Assigned::Value(value) if selected.is_empty() => {
                current.push(self.created(filter, sub, value)?);
                Ok(vec![current.len() - 1])
            }
            Assigned::Value(_) if filter.is_none() && selected.len() > 1 => Err(Error::invalid_path(format!(
                "`{}` has {} values: say which, as in `{}[type eq \"work\"].{}`",
                self.attribute.name,
                selected.len(),
                self.attribute.name,
                sub.name()
            ))),
            Assigned::Value(value) => {
                for at in &selected {
                    if let Value::Object(element) = &mut current[*at] {
                        element.insert(sub.name_in(element), value.clone());
                    }
                }
                Ok(selected)
            }
        }
    }

    /// RFC 7644 §3.5.2.3: the selected values are replaced by the one that was sent; by one, where they were several,
    /// since equal values would say nothing more. `add` adds to each of them.
    fn assign_whole(&self, current: &mut Vec<Value>, selected: Vec<usize>) -> Result<Vec<usize>> {
        let (Some(first), value) = (selected.first().copied(), self.value()?) else { return Err(self.no_target()) };
        let sent = match value {
            Value::Array(one) if one.len() == 1 && self.admission.is_lenient() => &one[0],
            sent => sent,
        };
        match (self.op, self.admission.element(self.attribute, sent.clone(), self.place())?) {
            (Op::Add, None) => Ok(Vec::new()),
            (Op::Add, Some(value)) => {
                for at in &selected {
                    if let (Value::Object(element), Value::Object(value)) = (&mut current[*at], &value) {
                        element.extend(value.clone());
                    }
                }
                Ok(selected)
            }
            (Op::Replace | Op::Remove, value) => {
                let replaced = value.is_some();
                let mut places = 0..;
                current.retain(|_| {
                    places.next().is_some_and(|at| (replaced && at == first) || selected.binary_search(&at).is_err())
                });
                if let Some(value) = value {
                    current[first] = value;
                }
                Ok(if replaced { vec![first] } else { Vec::new() })
            }
        }
    }

    /// The value that a filter describes, with `sub` on top.
    ///
    /// NB: RFC 7644 §3.5.2.3 wants `noTarget`. Entra ID writes `emails[type eq "work"].value` whether or not there is
    /// such an address, and gives up on the user if it is refused. A filter which names the `value` means one that exists.
    fn created(&self, filter: Option<&Filter>, sub: Sub<'_>, value: Value) -> Result<Value> {
        let mut described = Map::new();
        let describes =
            self.admission.is_lenient() && filter.is_none_or(|filter| describe(filter, self.attribute, &mut described));
        if !describes || described.contains_key("value") || described.contains_key(sub.name()) {
            return Err(self.no_target());
        }
        described.insert(sub.name().to_owned(), value);
        self.admission.element(self.attribute, Value::Object(described), self.place())?.ok_or_else(|| self.no_target())
    }

    fn no_target(&self) -> Error {
        Error::no_target(format!("`{}` matches no value of this resource", self.path))
    }

    /// RFC 7644 §3.5.2: a value that is made the primary one takes that from the others.
    fn settle_primary(&self, values: &mut [Value], touched: &[usize]) -> Result<()> {
        let mut primaries = touched.iter().copied().filter(|at| is_primary(&values[*at]));
        let Some(first) = primaries.next() else { return Ok(()) };
        if primaries.next().is_some() && !self.admission.is_lenient() {
            return Err(Error::invalid_value(format!("`{}` makes more than one value primary", self.path)));
        }
        for (at, value) in values.iter_mut().enumerate() {
            if at != first && is_primary(value) {
                value["primary"] = Value::Bool(false);
            }
        }
        Ok(())
    }
}

/// What an operation assigns.
enum Assigned {
    Value(Value),
    None,
    Unchanged,
}

/// An operation on an attribute that no schema knows, or on a sub-attribute of it. Its JSON form is all there is to
/// go by: `add` appends to an array and merges into an object.
pub(super) fn raw_attribute(
    current: Option<Value>,
    name: &str,
    sub: Option<&str>,
    op: Op,
    path: &Path,
    value: Option<&Value>,
) -> Result<Option<Value>> {
    if let Some(sub) = sub {
        let mut holder = match current {
            None => Map::new(),
            Some(Value::Object(holder)) => holder,
            Some(_) => return Err(Error::invalid_path(format!("`{name}` has no sub-attributes"))),
        };
        let key = name_in(&holder, sub);
        match raw_attribute(holder.get_mut(&key).map(Value::take), sub, None, op, path, value)? {
            Some(value) => {
                holder.insert(key, value);
            }
            None => {
                holder.shift_remove(&key);
            }
        }
        return Ok((!holder.is_empty()).then_some(Value::Object(holder)));
    }
    let sent = match (op, value) {
        (Op::Remove, None) => return Ok(None),
        (_, None) => return Err(Error::invalid_value(format!("`{path}` needs a `value`"))),
        (_, Some(value)) => raw(name, value.clone(), Place::top(name))?,
    };
    match (op, current, sent) {
        (Op::Remove, Some(Value::Array(mut held)), Some(Value::Array(unwanted))) => {
            held.retain(|value| !unwanted.contains(value));
            Ok(in_array(held))
        }
        (Op::Remove, Some(Value::Array(held)), None) if value.is_some_and(Value::is_array) => Ok(in_array(held)),
        (Op::Remove, _, _) => Ok(None),
        (Op::Add, current, None) => Ok(current),
        (Op::Add, Some(Value::Array(mut held)), Some(sent)) => {
            for value in array(Some(sent)) {
                if !held.contains(&value) {
                    held.push(value);
                }
            }
            check_count(held.len(), Place::top(name))?;
            Ok(in_array(held))
        }
        (Op::Add, Some(Value::Object(mut held)), Some(Value::Object(sent))) => {
            held.extend(sent);
            Ok(Some(Value::Object(held)))
        }
        (Op::Add | Op::Replace, _, sent) => Ok(sent),
    }
}

/// The sub-attributes which a filter of equalities names, each with the value it must have. `false` if the filter
/// says anything else, or says two things of one.
fn describe(filter: &Filter, attribute: &Attribute, described: &mut Map<String, Value>) -> bool {
    match filter {
        Filter::And(left, right) => describe(left, attribute, described) && describe(right, attribute, described),
        Filter::Compare { attr, op: filter::Op::Eq, value } => {
            let value = match value {
                Literal::String(text) => Value::String(text.clone()),
                Literal::Bool(word) => Value::Bool(*word),
                Literal::Number(number) => Value::Number(number.clone()),
                Literal::Null => return false,
            };
            let Some(sub) = attribute.sub(&attr.name) else { return false };
            described.insert(sub.name.clone(), value).is_none()
        }
        Filter::Or(..) | Filter::Not(_) | Filter::Present(_) | Filter::Compare { .. } | Filter::Within { .. } => false,
    }
}

/// What makes two values of an attribute the same one: `type` and `value` if there is a `value`, else all of it.
#[derive(PartialEq, Eq, Hash)]
enum Identity<'a> {
    Typed(Option<&'a str>, &'a str),
    /// As JSON text, names in the order of the alphabet.
    Whole(String),
}

impl<'a> Identity<'a> {
    fn of(value: &'a Value) -> Self {
        let text = |name| value.get(name).and_then(Value::as_str);
        if let Some(held) = text("value") {
            return Self::Typed(text("type"), held);
        }
        let mut whole = value.clone();
        whole.sort_all_objects();
        Self::Whole(whole.to_string())
    }
}

/// By what a value may be looked up: its `value`.
fn key_of(value: &Value) -> Option<&str> {
    value.get("value").and_then(Value::as_str)
}

fn has_all_of(element: &Value, wanted: &Value) -> bool {
    match (element, wanted) {
        (Value::Object(element), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| element.get(name) == Some(value))
        }
        _ => element == wanted,
    }
}

/// The name under which `holder` has an attribute, in whatever case it was written first.
pub(super) fn name_in(holder: &Map<String, Value>, name: &str) -> String {
    holder.keys().find(|key| key.eq_ignore_ascii_case(name)).map_or_else(|| name.to_owned(), Clone::clone)
}

fn array(value: Option<Value>) -> Vec<Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(one) => vec![one],
    }
}

fn in_array(values: Vec<Value>) -> Option<Value> {
    (!values.is_empty()).then_some(Value::Array(values))
}
