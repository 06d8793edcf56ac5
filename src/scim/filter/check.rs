//! Does a filter make sense for the schemas? RFC 7644 §3.4.2.2 wants 400 `invalidFilter` where it does not: an empty
//! list instead would tell an IdP that nobody is there, and it would create everybody again.

use super::super::error::{Error, Result};
use super::super::lenient::{Dialect, Habit};
use super::super::path::AttrPath;
use super::super::schema::{self, Attribute, Kind, Resolved, ResourceType, Returned};
use super::{Filter, Literal, Op};

/// Where the names of a filter are looked up.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// Among the attributes of a resource type.
    Resource(&'a ResourceType),
    /// Among the sub-attributes of an attribute: inside brackets. An attribute which is not complex has `value` alone.
    Values(&'a Attribute),
}

impl<'a> Lookup<'a> {
    /// What `path` names, `None` if nothing.
    pub fn resolve(self, path: &AttrPath) -> Option<Resolved<'a>> {
        match self {
            Lookup::Resource(resource_type) => resource_type.resolve(path),
            Lookup::Values(_) if path.urn.is_some() || path.sub.is_some() => None,
            Lookup::Values(attribute) => {
                let sub = attribute.sub(&path.name);
                let found = sub.is_some() || attribute.kind != Kind::Complex && path.name.eq_ignore_ascii_case("value");
                found.then_some(Resolved { extension: None, attribute, sub })
            }
        }
    }

    fn find(self, path: &AttrPath) -> Result<Resolved<'a>> {
        let found = self.resolve(path).ok_or_else(|| {
            let owner = match self {
                Lookup::Resource(resource_type) => &*resource_type.name,
                Lookup::Values(attribute) => &attribute.name,
            };
            Error::invalid_filter(format!("`{path}` is not an attribute of {owner}; extensions need their schema URN"))
        })?;
        if [found.attribute, found.leaf()].iter().any(|attribute| attribute.returned == Returned::Never) {
            return Err(Error::invalid_filter(format!("`{path}` is never shown, so it cannot be filtered by")));
        }
        Ok(found)
    }
}

/// Refuses, as `invalidFilter` with its name, each attribute that is unknown or never returned, and each comparison
/// which its type does not have. [`matches`](super::matches) and SQL are for filters that passed.
pub fn check(filter: &Filter, lookup: Lookup, dialect: Dialect) -> Result<()> {
    match filter {
        Filter::And(left, right) | Filter::Or(left, right) => {
            check(left, lookup, dialect)?;
            check(right, lookup, dialect)
        }
        Filter::Not(inner) => check(inner, lookup, dialect),
        Filter::Present(attr) => lookup.find(attr).map(|_| ()),
        Filter::Compare { attr, op, value } => check_comparison(attr, lookup.find(attr)?, *op, value, dialect),
        Filter::Within { attr, filter } => {
            let found = lookup.find(attr)?;
            if found.sub.is_some() || !(found.attribute.multi_valued || found.attribute.kind == Kind::Complex) {
                return Err(Error::invalid_filter(format!("`{attr}` has one simple value, so it takes no brackets")));
            }
            check(filter, Lookup::Values(found.attribute), dialect)
        }
    }
}

fn check_comparison(attr: &AttrPath, found: Resolved, op: Op, value: &Literal, dialect: Dialect) -> Result<()> {
    let compared = found.compared();
    if compared.sub.is_some_and(|sub| sub.multi_valued) && *value != Literal::Null {
        return Err(Error::invalid_filter(format!(
            "`{attr}` is a list within a value, which cannot be compared; ask by `pr` whether there is one"
        )));
    }
    let kind = compared.leaf().kind;
    let equality = matches!(op, Op::Eq | Op::Ne);
    let order = matches!(op, Op::Gt | Op::Ge | Op::Lt | Op::Le);
    let (comparable, wanted, fits) = match kind {
        _ if *value == Literal::Null => (equality, "`eq null` or `ne null`", true),
        Kind::String | Kind::Reference => (true, "text in double quotes", matches!(value, Literal::String(_))),
        Kind::Binary => (equality, "text in double quotes", matches!(value, Literal::String(_))),
        Kind::Boolean => {
            let fits = match value {
                Literal::String(_) => value.as_bool().is_some() && dialect.allows(Habit::BooleanAsText),
                _ => value.as_bool().is_some(),
            };
            (equality, "true or false", fits)
        }
        Kind::Integer | Kind::Decimal => (equality || order, "a number", matches!(value, Literal::Number(_))),
        Kind::DateTime => (equality || order, "a date and time such as \"2011-05-13T04:42:34Z\"", is_instant(value)),
        Kind::Complex => {
            let part = found.attribute.sub_attributes.first().map_or("value", |sub| sub.name.as_str());
            let advice = format!("`{attr}` has parts; compare one of them, such as `{attr}.{part}`");
            return Err(Error::invalid_filter(advice));
        }
    };
    if !comparable {
        return Err(Error::invalid_filter(format!("`{attr}` cannot be compared by `{op}` with {value}")));
    }
    if !fits {
        return Err(Error::invalid_filter(format!("`{attr}` is compared with {wanted}, not with {value}")));
    }
    Ok(())
}

fn is_instant(value: &Literal) -> bool {
    matches!(value, Literal::String(text) if schema::instant(text).is_some())
}
