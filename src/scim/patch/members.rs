//! What a PATCH does to a group's members: a difference, never the list, so that its cost depends on itself alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Op;
use crate::scim::{
    error::{Error, Result},
    filter::{self, Filter, Literal},
    limits::MAX_MEMBERS,
    path::Path,
    resource::{Admission, Member, member_value},
};

/// What becomes of a group's members. To be done in this order: `clear`, `remove`, `add`. No member is in both sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MembersDelta {
    /// All members go before the others come.
    pub clear: bool,
    /// By `value`; who is a member already stays one.
    pub add: BTreeMap<String, Member>,
    /// By `value`; who is no member is no error. Empty if `clear`.
    pub remove: BTreeSet<String>,
}

impl MembersDelta {
    /// These and no others: what `members` of POST and PUT means.
    pub fn replace(members: Vec<Member>) -> Self {
        let add = members.into_iter().map(|member| (member.value.clone(), member)).collect();
        Self { clear: true, add, remove: BTreeSet::new() }
    }

    pub fn is_empty(&self) -> bool {
        !self.clear && self.add.is_empty() && self.remove.is_empty()
    }

    /// Lets `member` be one after all that came before.
    pub fn add(&mut self, member: Member) {
        self.remove.remove(&member.value);
        self.add.insert(member.value.clone(), member);
    }

    /// Lets the member with that `value` be none after all that came before.
    pub fn remove(&mut self, value: String) {
        self.add.remove(&value);
        if !self.clear {
            self.remove.insert(value);
        }
    }

    /// Lets nobody be a member after all that came before.
    pub fn clear(&mut self) {
        *self = Self { clear: true, ..Self::default() };
    }

    /// Adds one operation whose path is `members`.
    ///
    /// By RFC 7644 §3.5.2.2 `remove` without a `value` takes all members away; with one, just those
    /// ([`Habit::RemoveWithValue`](crate::scim::lenient::Habit::RemoveWithValue)). Whether `value` is there decides, and
    /// nothing else: not that it is empty, nor that it matches none.
    pub(super) fn apply(&mut self, op: Op, path: &Path, value: Option<&Value>, admission: Admission) -> Result<()> {
        let filter = path.filter.as_ref();
        if let Some(sub) = path.sub.as_ref().or(path.attr.sub.as_ref()) {
            return Err(Error::mutability(format!("`members.{sub}` cannot be changed; remove the member, or add one")));
        }
        match (op, filter, value) {
            (Op::Remove, Some(filter), _) => {
                let mut values = Vec::new();
                named_by(filter, &mut values)?;
                for value in values {
                    self.remove(member_value(value));
                }
            }
            (_, Some(_), _) => {
                return Err(Error::invalid_path(
                    "`members[...]` can only be removed; to add members use the path `members` and a list as `value`",
                ));
            }
            (Op::Remove, None, None) => self.clear(),
            (Op::Remove, None, Some(value)) => {
                for member in listed(value, admission)? {
                    self.remove(member.value);
                }
            }
            (Op::Add, None, value) => {
                for member in required(value, admission)? {
                    self.add(member);
                }
            }
            (Op::Replace, None, value) => *self = Self::replace(required(value, admission)?),
        }
        if self.add.len() + self.remove.len() > MAX_MEMBERS {
            return Err(Error::invalid_value(format!("One request may name at most {MAX_MEMBERS} `members`")));
        }
        Ok(())
    }
}

fn required(value: Option<&Value>, admission: Admission) -> Result<Vec<Member>> {
    let value = value.ok_or_else(|| Error::invalid_value("`members` needs a list of members as `value`"))?;
    listed(value, admission)
}

/// NB: RFC 7643 §2.5 takes `null` for an empty list. Here it is refused: too many serializers write it for "nothing to
/// say", and the wrong guess empties a group.
fn listed(value: &Value, admission: Admission) -> Result<Vec<Member>> {
    admission.members(value.clone())?.ok_or_else(|| {
        Error::invalid_value("`null` is no list of members: name them, or send an empty list where you mean nobody")
    })
}

/// The members that a filter names: `value eq "…"`, or several of them joined by `or`.
fn named_by<'a>(filter: &'a Filter, values: &mut Vec<&'a str>) -> Result<()> {
    match filter {
        Filter::Or(left, right) => {
            named_by(left, values)?;
            named_by(right, values)
        }
        Filter::Compare { attr, op: filter::Op::Eq, value: Literal::String(value) }
            if attr.name.eq_ignore_ascii_case("value") && attr.sub.is_none() =>
        {
            values.push(value);
            Ok(())
        }
        _ => Err(Error::invalid_filter(
            "Members are removed by `members[value eq \"...\"]`, also several joined by `or`; other filters are not supported",
        )),
    }
}
