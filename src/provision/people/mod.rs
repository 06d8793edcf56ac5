//! What operators do to users and groups: see all of them, and keep some of their own. What the IdP keeps in step is the
//! IdP's to change; only its roles, and its places in the operators' own groups, are ours.
//!
//! NB: no event tells of roles: `dsync.*` has no name for that, and who wants to know asks for the effective roles.

pub mod groups;
pub mod users;

use serde_json::{Map, Value};

use super::{Error, Result};
use crate::{model::profile::InvalidAttribute, scim::patch::Change};

/// Most rows of an answer.
const MOST: i64 = 10_000;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub first: i64,
    /// All of them, if it is not said.
    pub max: Option<i64>,
}

impl Page {
    /// What is read for it: one row more than an answer may have, so that it is never short in silence.
    pub(super) fn stretch(self) -> Result<crate::store::people::Stretch> {
        match self.max {
            Some(max) if max > MOST => {
                Err(Error::Invalid(format!("`max` is at most {MOST}: go on from there with `first`")))
            }
            max => Ok(crate::store::people::Stretch { first: self.first, max: max.unwrap_or(MOST + 1) }),
        }
    }

    /// What was read, if it is all that was wanted.
    pub(super) fn whole<T>(read: Option<Vec<T>>) -> Result<Vec<T>> {
        let read =
            read.ok_or_else(|| Error::Invalid("this is too much for one answer: ask for less by `max`".into()))?;
        if i64::try_from(read.len()).is_ok_and(|count| count <= MOST) {
            return Ok(read);
        }
        Err(Error::Invalid(format!("there are more than {MOST}: read them page by page, with `first` and `max`")))
    }
}

impl From<InvalidAttribute> for Error {
    fn from(error: InvalidAttribute) -> Self {
        Error::Invalid(error.to_string())
    }
}

/// What the audit log shows of a change: the attributes which differ, as they were and as they are.
fn difference(changes: &[Change]) -> (Value, Value) {
    let side = |of: fn(&Change) -> &Option<Value>| {
        let shown = changes.iter().filter_map(|change| Some((change.path.clone(), of(change).clone()?)));
        Value::Object(shown.collect::<Map<_, _>>())
    };
    (side(|change| &change.previous), side(|change| &change.current))
}
