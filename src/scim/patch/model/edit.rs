//! What an operation makes of one attribute.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Known, Model, Object, Outcome,
    value::{covers, find, fixed, matches, same, spelled, well_formed},
};
use crate::scim::{
    error::Kind as Wrong,
    filter::{Filter, Literal, Op as Operator},
    patch::Op,
    resource::{Place, raw},
    schema::{Attribute, Kind},
};

/// One operation on one attribute.
pub(super) struct Edit<'m, 'a> {
    pub model: &'m Model<'a>,
    pub attribute: &'m Attribute,
    pub sub: Option<(String, Known<'m>)>,
    pub filter: Option<&'m Filter>,
    pub op: Op,
    pub value: Option<&'m Value>,
}

/// What becomes of a sub-attribute.
enum Next {
    Value(Value),
    None,
    Same,
}

impl Edit<'_, '_> {
    pub fn of(&self, before: Option<Value>) -> Outcome<Option<Value>> {
        let Attribute { kind, multi_valued, .. } = self.attribute;
        if (self.sub.is_some() && *kind != Kind::Complex) || (self.filter.is_some() && !multi_valued) {
            return Err(Wrong::InvalidPath);
        }
        if *multi_valued {
            let held = before.and_then(|value| value.as_array().cloned()).unwrap_or_default();
            let after =
                if self.filter.is_none() && self.sub.is_none() { self.list(held)? } else { self.selection(held)? };
            return Ok(Some(Value::Array(after)).filter(|after| *after != Value::Array(Vec::new())));
        }
        let object = || before.as_ref().and_then(Value::as_object).cloned();
        if let Some((name, known)) = &self.sub {
            let mut parts = object().unwrap_or_default();
            self.assign(&mut parts, name, *known)?;
            return Ok((!parts.is_empty()).then_some(Value::Object(parts)));
        }
        match (self.op, self.value) {
            (Op::Remove, Some(named @ Value::Object(_))) if *kind == Kind::Complex => {
                let named = self.admit(named)?;
                Ok(before.and_then(|held| self.less(&held, named.as_ref())))
            }
            (Op::Remove, _) | (Op::Replace, Some(Value::Null)) => Ok(None),
            (Op::Add, Some(Value::Null)) => Ok(before),
            (_, None) => Err(Wrong::InvalidValue),
            (op, Some(value)) => {
                let sent = self.admit(value)?;
                let (Some(mut held), Some(written)) = (object(), value.as_object()) else { return Ok(sent) };
                let sent = sent.and_then(|sent| sent.as_object().cloned()).unwrap_or_default();
                if held.get("value").zip(sent.get("value")).is_some_and(|(was, is)| was != is) {
                    return Ok(Some(Value::Object(sent)));
                }
                if op == Op::Replace {
                    held.retain(|name, _| {
                        !written.iter().any(|(key, value)| key.eq_ignore_ascii_case(name) && value.is_null())
                    });
                }
                held.extend(sent);
                Ok((!held.is_empty()).then_some(Value::Object(held)))
            }
        }
    }

    fn admit(&self, value: &Value) -> Outcome<Option<Value>> {
        let place = Place::top("model");
        self.model.admission.value(self.attribute, value.clone(), place).map_err(|error| error.kind)
    }

    fn admit_one(&self, value: &Value) -> Outcome<Option<Value>> {
        let place = Place::top("model");
        self.model.admission.element(self.attribute, value.clone(), place).map_err(|error| error.kind)
    }

    fn admit_list(&self, value: &Value) -> Outcome<Vec<Value>> {
        let place = Place::top("model");
        self.model.admission.values(self.attribute, value.clone(), place).map_err(|error| error.kind)
    }

    /// What the operation makes of one sub-attribute.
    fn sub_value(&self, name: &str, known: Known) -> Outcome<Next> {
        let (op, place) = (self.op, Place::top("model"));
        if op == Op::Remove {
            return Ok(Next::None);
        }
        let value = self.value.ok_or(Wrong::InvalidValue)?.clone();
        let admitted = match known {
            Some(sub) => self.model.admission.value(sub, value, place),
            None => raw(name, value, place),
        };
        let admitted = admitted.map_err(|error| error.kind)?;
        Ok(match admitted {
            Some(value) => Next::Value(value),
            None if op == Op::Replace => Next::None,
            None => Next::Same,
        })
    }

    fn assign(&self, parts: &mut Object, name: &str, known: Known) -> Outcome {
        let key = spelled(parts, name).unwrap_or_else(|| name.to_owned());
        match self.sub_value(name, known)? {
            Next::Same => {}
            Next::Value(value) => drop(parts.insert(key, value)),
            Next::None => drop(parts.remove(&key)),
        }
        Ok(())
    }

    /// A complex value without those of its parts which are named; `value` takes all with it.
    fn less(&self, held: &Value, named: Option<&Value>) -> Option<Value> {
        let (Some(parts), Some(named)) = (held.as_object(), named.and_then(Value::as_object)) else {
            return Some(held.clone());
        };
        let stays = |(name, value): &(&String, &Value)| {
            !named.get(*name).is_some_and(|wanted| covers(find(&self.attribute.sub_attributes, name), value, wanted))
        };
        let left: Object = parts.iter().filter(stays).map(|(name, value)| (name.clone(), value.clone())).collect();
        let value_went = parts.contains_key("value") && !left.contains_key("value");
        (!left.is_empty() && !value_went).then_some(Value::Object(left))
    }

    /// RFC 7644 §3.5.2.1-3 for a multi-valued attribute as a whole.
    fn list(&self, mut held: Vec<Value>) -> Outcome<Vec<Value>> {
        match (self.op, self.value) {
            (Op::Remove, None) => Ok(Vec::new()),
            (Op::Remove, Some(Value::Null)) | (Op::Add | Op::Replace, None) => Err(Wrong::InvalidValue),
            (Op::Remove, Some(value)) => {
                let unwanted = self.admit_list(value)?;
                held.retain(|value| !unwanted.iter().any(|one| covers(Some(self.attribute), value, one)));
                Ok(held)
            }
            (Op::Replace, Some(value)) => {
                let value = self.admit(value)?;
                Ok(value.and_then(|value| value.as_array().cloned()).unwrap_or_default())
            }
            (Op::Add, Some(value)) => {
                let mut made_primary = BTreeSet::new();
                for value in self.admit_list(value)? {
                    let at = held.iter().position(|held| self.alike(held, &value)).unwrap_or(held.len());
                    if at == held.len() {
                        held.push(value.clone());
                    }
                    self.say_more(&mut held[at], &value)?;
                    if value.get("primary") == Some(&Value::Bool(true)) {
                        made_primary.insert(at);
                    }
                }
                one_primary(&mut held, &made_primary)?;
                Ok(held)
            }
        }
    }

    /// RFC 7643 §2.4: one `type` and `value`, one value.
    fn alike(&self, one: &Value, other: &Value) -> bool {
        let part = |value: &Value, name: &str| value.get(name).cloned();
        let equal = |name: &str| match (part(one, name), part(other, name)) {
            (Some(one), Some(other)) => same(find(&self.attribute.sub_attributes, name), &one, &other),
            (one, other) => one == other,
        };
        match (part(one, "value"), part(other, "value")) {
            (None, None) => same(Some(self.attribute), one, other),
            _ => equal("value") && equal("type"),
        }
    }

    fn say_more(&self, held: &mut Value, said: &Value) -> Outcome {
        let (Some(held), Some(said)) = (held.as_object_mut(), said.as_object()) else { return Ok(()) };
        for (name, value) in said {
            let sub = find(&self.attribute.sub_attributes, name);
            if held.get(name).is_some_and(|held| same(sub, held, value)) {
                continue;
            }
            if held.contains_key(name) && fixed(sub) {
                return Err(Wrong::Mutability);
            }
            held.insert(name.clone(), value.clone());
        }
        Ok(())
    }

    /// The values which a filter selects; without one, all of them.
    fn selection(&self, mut held: Vec<Value>) -> Outcome<Vec<Value>> {
        if let Some(filter) = self.filter {
            well_formed(filter, self.attribute, self.model.strict())?;
        }
        let selects = |value: &Value| self.filter.is_none_or(|filter| matches(filter, self.attribute, value));
        let selected: BTreeSet<usize> = (0..held.len()).filter(|at| selects(&held[*at])).collect();
        if self.filter.is_some() && selected.is_empty() {
            let forgiven = !self.model.strict() && (self.op == Op::Remove || self.sub.is_some());
            if !forgiven {
                return Err(Wrong::NoTarget);
            }
        }
        match (&self.sub, self.op) {
            (None, Op::Remove) => {
                held.retain(|value| !selects(value));
                Ok(held)
            }
            (None, op) => self.change_whole(held, &selected, op),
            (Some((name, known)), _) => match self.sub_value(name, *known)? {
                Next::Same => Ok(held),
                Next::None => {
                    let mut left = Vec::new();
                    for (at, mut value) in held.into_iter().enumerate() {
                        let parts = value.as_object_mut().expect("only complex values have parts");
                        let key = spelled(parts, name).unwrap_or_default();
                        let gone = selected.contains(&at) && parts.remove(&key).is_some();
                        if gone && fixed(*known) {
                            return Err(Wrong::Mutability);
                        }
                        let husk = parts.keys().all(|key| ["type", "primary", "display"].contains(&key.as_str()));
                        if !(parts.is_empty() || (gone && husk && !self.model.strict())) {
                            left.push(value);
                        }
                    }
                    Ok(left)
                }
                Next::Value(value) if selected.is_empty() => {
                    held.push(self.described(name, value)?);
                    let last = BTreeSet::from([held.len() - 1]);
                    one_primary(&mut held, &last)?;
                    Ok(held)
                }
                Next::Value(_) if self.filter.is_none() && selected.len() > 1 => Err(Wrong::InvalidPath),
                Next::Value(value) => {
                    for at in &selected {
                        let parts = held[*at].as_object_mut().expect("only complex values have parts");
                        let key = spelled(parts, name).unwrap_or_else(|| name.clone());
                        if fixed(*known) && parts.get(&key).is_some_and(|held| !same(*known, held, &value)) {
                            return Err(Wrong::Mutability);
                        }
                        parts.insert(key, value.clone());
                    }
                    one_primary(&mut held, &selected)?;
                    Ok(held)
                }
            },
        }
    }

    fn change_whole(&self, mut held: Vec<Value>, selected: &BTreeSet<usize>, op: Op) -> Outcome<Vec<Value>> {
        let value = match self.value.ok_or(Wrong::InvalidValue)? {
            Value::Array(one) if one.len() == 1 && !self.model.strict() => &one[0],
            value => value,
        };
        let value = self.admit_one(value)?;
        if op == Op::Add {
            if self.attribute.kind != Kind::Complex {
                return Err(Wrong::InvalidPath);
            }
            let Some(value) = value else { return Ok(held) };
            for at in selected {
                self.say_more(&mut held[*at], &value)?;
            }
            one_primary(&mut held, selected)?;
            return Ok(held);
        }
        // Equal values would say nothing more, so one stands for all that were selected.
        let mut next = Vec::new();
        let mut made = BTreeSet::new();
        for (at, old) in held.into_iter().enumerate() {
            match &value {
                _ if !selected.contains(&at) => next.push(old),
                Some(value) if Some(&at) == selected.first() => {
                    made.insert(next.len());
                    next.push(value.clone());
                }
                _ => {}
            }
        }
        one_primary(&mut next, &made)?;
        Ok(next)
    }

    /// The value which a filter of equalities describes, with one more part.
    fn described(&self, name: &str, value: Value) -> Outcome<Value> {
        fn parts(filter: &Filter) -> Option<Vec<(String, Value)>> {
            match filter {
                Filter::And(one, other) => Some([parts(one)?, parts(other)?].concat()),
                Filter::Compare { attr, op: Operator::Eq, value } => {
                    let value = match value {
                        Literal::String(text) => text.as_str().into(),
                        Literal::Bool(word) => (*word).into(),
                        Literal::Number(number) => number.clone().into(),
                        Literal::Null => return None,
                    };
                    Some(vec![(attr.name.clone(), value)])
                }
                _ => None,
            }
        }
        let mut described = Object::new();
        let all =
            self.filter.map_or(Some(Vec::new()), parts).filter(|_| !self.model.strict()).ok_or(Wrong::NoTarget)?;
        for (part, value) in all {
            let sub = find(&self.attribute.sub_attributes, &part).ok_or(Wrong::NoTarget)?;
            if described.insert(sub.name.clone(), value).is_some() {
                return Err(Wrong::NoTarget);
            }
        }
        if described.contains_key("value") || described.insert(name.to_owned(), value).is_some() {
            return Err(Wrong::NoTarget);
        }
        self.admit_one(&described.into())?.ok_or(Wrong::NoTarget)
    }
}

/// RFC 7644 §3.5.2: whoever becomes primary takes it from the others; two cannot become it at once.
fn one_primary(values: &mut [Value], changed: &BTreeSet<usize>) -> Outcome {
    let primary = |value: &Value| value.get("primary") == Some(&Value::Bool(true));
    let made: Vec<usize> = changed.iter().copied().filter(|at| primary(&values[*at])).collect();
    match made[..] {
        [] => Ok(()),
        [only] => {
            for (_, value) in values.iter_mut().enumerate().filter(|(at, value)| *at != only && primary(value)) {
                value["primary"] = Value::Bool(false);
            }
            Ok(())
        }
        _ => Err(Wrong::InvalidValue),
    }
}

/// JSON is all there is to go by where no schema knows the attribute.
pub(super) fn raw_value(
    op: Op,
    held: Option<Value>,
    inner: &[String],
    name: &str,
    value: Option<&Value>,
) -> Outcome<Option<Value>> {
    if let Some((name, inner)) = inner.split_first() {
        let mut object = match held {
            None => Object::new(),
            Some(Value::Object(object)) => object,
            Some(_) => return Err(Wrong::InvalidPath),
        };
        let key = spelled(&object, name).unwrap_or_else(|| name.clone());
        match raw_value(op, object.get(&key).cloned(), inner, name, value)? {
            Some(value) => drop(object.insert(key, value)),
            None => drop(object.remove(&key)),
        }
        return Ok((!object.is_empty()).then_some(Value::Object(object)));
    }
    let sent = match value {
        None if op == Op::Remove => return Ok(None),
        Some(Value::Null) if op == Op::Remove => return Err(Wrong::InvalidValue),
        None => return Err(Wrong::InvalidValue),
        Some(value) => raw(name, value.clone(), Place::top("model")).map_err(|error| error.kind)?,
    };
    let listed = |value: &Option<Value>| match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values.clone(),
        Some(one) => vec![one.clone()],
    };
    Ok(match (op, held, sent) {
        (Op::Replace, _, sent) | (Op::Add, None, sent) => sent,
        (_, held, None) => held,
        (Op::Add, Some(Value::Array(mut held)), sent) => {
            for value in listed(&sent) {
                if !held.contains(&value) {
                    held.push(value);
                }
            }
            Some(Value::Array(held))
        }
        (Op::Add, Some(Value::Object(mut held)), Some(Value::Object(sent))) => {
            held.extend(sent);
            Some(Value::Object(held))
        }
        (Op::Add, _, sent) => sent,
        (Op::Remove, Some(Value::Array(mut held)), sent) => {
            held.retain(|value| !listed(&sent).contains(value));
            (!held.is_empty()).then_some(Value::Array(held))
        }
        (Op::Remove, Some(Value::Object(mut held)), Some(Value::Object(named))) => {
            let had_value = held.contains_key("value");
            held.retain(|name, value| !named.get(name).is_some_and(|named| covers(None, value, named)));
            let value_went = had_value && !held.contains_key("value");
            (!held.is_empty() && !value_went).then_some(Value::Object(held))
        }
        (Op::Remove, held, sent) => held.filter(|held| !listed(&sent).contains(held)),
    })
}
