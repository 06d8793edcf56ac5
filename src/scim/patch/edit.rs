//! What an operation makes of one attribute's value.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    Op,
    budget::Budget,
    known::{Known, key_of},
};
use crate::scim::{
    error::{Error, Result},
    filter::{self, Filter, Literal, Lookup, matches_value},
    lenient::{self, Habit},
    path::Path,
    resource::{Admission, Place, check_count, check_names, has_all_of, is_primary, raw, same, size, size_of},
    schema::{Attribute, Kind, Mutability},
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
    pub budget: &'a Budget,
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
            Op::Remove => match self.value {
                Some(named @ Value::Object(_)) if self.attribute.kind == Kind::Complex => {
                    let named = self.admission.value(self.attribute, named.clone(), self.place())?;
                    return Ok(without_named(&self.attribute.sub_attributes, current, named.as_ref()));
                }
                _ => return Ok(None),
            },
            Op::Add | Op::Replace => self.value()?,
        };
        if value.is_null() {
            return Ok(current.filter(|_| self.op == Op::Add));
        }
        let next = self.admission.value(self.attribute, value.clone(), self.place())?;
        match (current, value) {
            (Some(Value::Object(current)), Value::Object(sent)) => self.merged(current, next, sent),
            _ => Ok(next),
        }
    }

    /// RFC 7644 §3.5.2.1, §3.5.2.3: sub-attributes that are not sent stay.
    ///
    /// NB: not if `value` becomes another: what stood beside it, such as the name of the former manager, was said of
    /// something else.
    fn merged(
        &self,
        mut current: Map<String, Value>,
        next: Option<Value>,
        sent: &Map<String, Value>,
    ) -> Result<Option<Value>> {
        let next = if let Some(Value::Object(next)) = next { next } else { Map::new() };
        if let (Some(former), Some(value)) = (current.get("value"), next.get("value"))
            && former != value
        {
            return Ok(Some(Value::Object(next)));
        }
        if self.op == Op::Replace {
            for (name, _) in sent.iter().filter(|(_, value)| value.is_null()) {
                let name = name_in(&current, name);
                current.shift_remove(&name);
            }
        }
        extend(&mut current, next, self.place())?;
        Ok((!current.is_empty()).then_some(Value::Object(current)))
    }

    fn sub_of_single(&self, current: Option<Value>, sub: Sub<'_>) -> Result<Option<Value>> {
        let mut holder = if let Some(Value::Object(holder)) = current { holder } else { Map::new() };
        match self.sub_value(sub)? {
            Assigned::Unchanged => {}
            Assigned::None => {
                let name = sub.name_in(&holder);
                holder.shift_remove(&name);
            }
            Assigned::Value(value) => {
                let name = sub.name_in(&holder);
                holder.insert(name, value);
                check_names(&holder, self.place())?;
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
                Some(Value::Null) => Err(ambiguous(self.path)),
                Some(value) => Ok(in_array(self.without(current, value)?)),
            },
            Op::Replace => self.admission.value(self.attribute, self.value()?.clone(), self.place()),
            Op::Add => Ok(in_array(self.with(current, self.value()?)?)),
        }
    }

    /// [`Habit::RemoveWithValue`]: a value goes if it has all that is said of one of those sent.
    fn without(&self, current: Vec<Value>, value: &Value) -> Result<Vec<Value>> {
        let unwanted = self.admission.values(self.attribute, value.clone(), self.place())?;
        let mut by_value: HashMap<Option<String>, Vec<(&Value, usize)>> = HashMap::new();
        for one in &unwanted {
            by_value.entry(key_of(self.attribute, one)).or_default().push((one, Budget::cost(one)));
        }
        let mut kept = Vec::with_capacity(current.len());
        'each: for element in current {
            let cost = Budget::cost(&element);
            self.budget.look(cost)?;
            let key = key_of(self.attribute, &element);
            let alike = key.is_some().then(|| by_value.get(&key)).flatten();
            for (unwanted, more) in by_value.get(&None).into_iter().chain(alike).flatten() {
                self.budget.look(cost + more)?;
                if has_all_of(Some(self.attribute), &element, unwanted) {
                    continue 'each;
                }
            }
            kept.push(element);
        }
        Ok(kept)
    }

    /// RFC 7644 §3.5.2.1: values that are there already are not added again. Two are the same if `type` and `value`
    /// are (RFC 7643 §2.4); what else is said of them is taken over.
    fn with(&self, mut current: Vec<Value>, value: &Value) -> Result<Vec<Value>> {
        let added = self.admission.values(self.attribute, value.clone(), self.place())?;
        let mut known = Known::new(self.attribute, self.budget);
        for (at, value) in current.iter().enumerate() {
            known.insert(at, value)?;
        }
        let mut primaries = Vec::new();
        for value in added {
            let found = known.find(&value, &current)?;
            let at = found.unwrap_or(current.len());
            if is_primary(&value) && !primaries.contains(&at) {
                primaries.push(at);
            }
            if found.is_none() {
                known.insert(at, &value)?;
                current.push(value);
            } else if let (Value::Object(held), Value::Object(said)) = (&mut current[at], value) {
                self.take_over(held, said)?;
            }
        }
        check_count(current.len(), self.place())?;
        self.settle_primary(&mut current, &primaries)?;
        Ok(current)
    }

    /// Takes over what is said of a value, but for what is there already, in another case perhaps.
    fn take_over(&self, held: &mut Map<String, Value>, said: Map<String, Value>) -> Result<()> {
        for (name, value) in said {
            let sub = self.attribute.sub(&name);
            let name = name_in(held, &name);
            if !held.get(&name).is_some_and(|held| same(sub, held, &value)) {
                self.refuse_change(held, &name, Some(&value))?;
                held.insert(name, value);
            }
        }
        check_names(held, self.place())
    }

    /// A value may come and go, but not change in what is immutable of it.
    fn refuse_change(&self, element: &Map<String, Value>, name: &str, next: Option<&Value>) -> Result<()> {
        let sub = self.attribute.sub(name).filter(|sub| sub.mutability == Mutability::Immutable);
        match (sub, element.get(name)) {
            (Some(sub), Some(held)) if !next.is_some_and(|next| same(Some(sub), held, next)) => Err(Error::mutability(
                format!("`{}.{name}` is immutable; remove the value and add another", self.attribute.name),
            )),
            _ => Ok(()),
        }
    }

    /// Those values of a multi-valued attribute which the filter selects; without one, `sub` of all of them.
    fn selected(&self, mut current: Vec<Value>, filter: Option<&Filter>) -> Result<Option<Value>> {
        if let Some(filter) = filter {
            // A misspelt name must not pass for "nothing matches".
            filter::check(filter, Lookup::Values(self.attribute), self.admission.dialect)?;
        }
        let selects = |element: &Value| filter.is_none_or(|filter| matches_value(filter, self.attribute, element));
        let selected: Vec<usize> = (0..current.len()).filter(|at| selects(&current[*at])).collect();
        if selected.is_empty() && filter.is_some() {
            let is_meant = match self.op {
                Op::Remove => self.admission.allows(Habit::RemoveOfNothing),
                Op::Add | Op::Replace => self.sub.is_some() && self.admission.allows(Habit::ValueFromFilter),
            };
            if !is_meant {
                return Err(self.no_target());
            }
        }
        let touched = match (self.op, self.sub) {
            (Op::Remove, None) => {
                retain_unless(&mut current, &selected);
                Vec::new()
            }
            (_, Some(sub)) => self.assign_sub(&mut current, selected, filter, sub)?,
            (Op::Add, None) => self.add_to_each(&mut current, selected)?,
            (Op::Replace, None) => self.replace_by_one(&mut current, &selected)?,
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
                    self.refuse_change(element, &name, None)?;
                    let removed = element.shift_remove(&name).is_some();
                    if element.is_empty()
                        || (removed && lenient::is_husk(element) && self.admission.allows(Habit::NoHusk))
                    {
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
                self.budget.copies(selected.len(), size_of(&value))?;
                for at in &selected {
                    if let Value::Object(element) = &mut current[*at] {
                        let name = sub.name_in(element);
                        self.refuse_change(element, &name, Some(&value))?;
                        element.insert(name, value.clone());
                        check_names(element, self.place())?;
                    }
                }
                Ok(selected)
            }
        }
    }

    /// The one value which is sent for those that the filter selects.
    fn value_for_selected(&self) -> Result<Option<Value>> {
        let sent = match self.value()? {
            Value::Array(one) if one.len() == 1 && self.admission.allows(Habit::ListedValue) => &one[0],
            sent => sent,
        };
        self.admission.element(self.attribute, sent.clone(), self.place())
    }

    /// RFC 7644 §3.5.2.1: what is said is added to each of the selected values.
    fn add_to_each(&self, current: &mut [Value], selected: Vec<usize>) -> Result<Vec<usize>> {
        let value = self.value_for_selected()?;
        if self.attribute.kind != Kind::Complex {
            return Err(Error::invalid_path(format!(
                "`{}` selects values without parts, so nothing can be added to them: leave the brackets out",
                self.path
            )));
        }
        let Some(Value::Object(said)) = value else { return Ok(Vec::new()) };
        self.budget.copies(selected.len(), size(&said))?;
        for at in &selected {
            if let Value::Object(element) = &mut current[*at] {
                self.take_over(element, said.clone())?;
            }
        }
        Ok(selected)
    }

    /// RFC 7644 §3.5.2.3: the selected values are replaced by the one that was sent; by one, where they were several,
    /// since equal values would say nothing more.
    fn replace_by_one(&self, current: &mut Vec<Value>, selected: &[usize]) -> Result<Vec<usize>> {
        let Some(value) = self.value_for_selected()? else {
            retain_unless(current, selected);
            return Ok(Vec::new());
        };
        let [first, others @ ..] = selected else { return Err(self.no_target()) };
        current[*first] = value;
        retain_unless(current, others);
        Ok(vec![*first])
    }

    /// [`Habit::ValueFromFilter`]: the value that a filter describes, with `sub` on top. A filter which names the
    /// `value` means one that exists.
    fn created(&self, filter: Option<&Filter>, sub: Sub<'_>, value: Value) -> Result<Value> {
        let mut described = Map::new();
        let describes = self.admission.allows(Habit::ValueFromFilter)
            && filter.is_none_or(|filter| describe(filter, self.attribute, &mut described));
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
        if primaries.next().is_some() {
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
                check_names(&holder, Place::top(name))?;
            }
            None => {
                holder.shift_remove(&key);
            }
        }
        return Ok((!holder.is_empty()).then_some(Value::Object(holder)));
    }
    let sent = match (op, value) {
        (Op::Remove, None) => return Ok(None),
        (Op::Remove, Some(Value::Null)) => return Err(ambiguous(path)),
        (_, None) => return Err(Error::invalid_value(format!("`{path}` needs a `value`"))),
        (_, Some(value)) => raw(name, value.clone(), Place::top(name))?,
    };
    match (op, current, sent) {
        (Op::Remove, Some(Value::Array(mut held)), Some(unwanted)) => {
            let unwanted = array(Some(unwanted));
            let unwanted: HashSet<&Value> = unwanted.iter().collect();
            held.retain(|value| !unwanted.contains(value));
            Ok(in_array(held))
        }
        (Op::Remove, Some(held @ Value::Object(_)), Some(named @ Value::Object(_))) => {
            Ok(without_named(&[], Some(held), Some(&named)))
        }
        (Op::Remove, held, unwanted) => {
            let unwanted = array(unwanted);
            Ok(held.filter(|held| !unwanted.contains(held)))
        }
        (Op::Add, current, None) => Ok(current),
        (Op::Add, Some(Value::Array(mut held)), Some(sent)) => {
            let sent = array(Some(sent));
            let mut seen: HashSet<&Value> = held.iter().collect();
            let new: Vec<Value> = sent.iter().filter(|value| seen.insert(value)).cloned().collect();
            held.extend(new);
            check_count(held.len(), Place::top(name))?;
            Ok(in_array(held))
        }
        (Op::Add, Some(Value::Object(mut held)), Some(Value::Object(sent))) => {
            extend(&mut held, sent, Place::top(name))?;
            Ok(Some(Value::Object(held)))
        }
        (Op::Add | Op::Replace, _, sent) => Ok(sent),
    }
}

/// What is left of a complex value once those of its parts are gone which `named` has as well, and as they are; `value`
/// takes with it what was said of it. `attributes` are those of the schema, if there is one.
fn without_named(attributes: &[Attribute], held: Option<Value>, named: Option<&Value>) -> Option<Value> {
    let had_value = held.as_ref().is_some_and(|held| held.get("value").is_some());
    without_parts(attributes, held, named).filter(|left| !had_value || left.get("value").is_some())
}

/// What is left of an object once those of its parts are gone which `named` has as well, and as they are.
pub(super) fn without_parts(attributes: &[Attribute], held: Option<Value>, named: Option<&Value>) -> Option<Value> {
    let (Some(Value::Object(mut parts)), Some(Value::Object(named))) = (held.clone(), named) else { return held };
    parts.retain(|name, value| {
        let attribute = attributes.iter().find(|attribute| attribute.name == *name);
        !named.get(&name_in(named, name)).is_some_and(|named| has_all_of(attribute, value, named))
    });
    (!parts.is_empty()).then_some(Value::Object(parts))
}

/// Takes away the values which stand at those places, given in their order.
fn retain_unless(values: &mut Vec<Value>, places: &[usize]) {
    let mut at = 0..;
    values.retain(|_| at.next().is_some_and(|at| places.binary_search(&at).is_err()));
}

fn ambiguous(path: &Path) -> Error {
    Error::invalid_value(format!(
        "`remove` of `{path}` with `null` says neither which values nor all of them: leave `value` out for all"
    ))
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

/// The name under which `holder` has an attribute, in whatever case it was written first.
pub(super) fn name_in(holder: &Map<String, Value>, name: &str) -> String {
    holder.keys().find(|key| key.eq_ignore_ascii_case(name)).map_or_else(|| name.to_owned(), Clone::clone)
}

/// Assigns each of `said`, whose names may be in `held` in another case.
fn extend(held: &mut Map<String, Value>, said: Map<String, Value>, place: Place<'_>) -> Result<()> {
    for (name, value) in said {
        held.insert(name_in(held, &name), value);
    }
    check_names(held, place)
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
