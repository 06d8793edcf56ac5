//! Filters (RFC 7644 §3.4.2.2): one AST for the `filter` parameter and for what stands in the brackets of a path.
//!
//! Text becomes tokens in `lexer`, tokens become a [`Filter`] in `parser`, under limits which hold before any deep
//! tree exists. `check` refuses what the schemas do not bear out. `eval` answers whether a value matches, for PATCH;
//! `store::filter_sql` compiles the same AST to SQL.

mod check;
mod comparable;
mod eval;
mod lexer;
mod parser;

use std::fmt;

pub use check::{Lookup, check};
pub use comparable::{comparable, instant_key};
pub use eval::{matches, matches_value};

use super::error::{Error, Result};
use super::lenient::{self, Dialect};
use super::path::AttrPath;

/// A parsed filter. Attribute names are as written; nothing has been checked against a schema yet, see [`check`].
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// `FILTER "and" FILTER`
    And(Box<Filter>, Box<Filter>),
    /// `FILTER "or" FILTER`
    Or(Box<Filter>, Box<Filter>),
    /// `"not" "(" FILTER ")"`
    Not(Box<Filter>),
    /// `attrPath SP "pr"`
    Present(AttrPath),
    /// `attrPath SP compareOp SP compValue`
    Compare { attr: AttrPath, op: Op, value: Literal },
    /// `valuePath = attrPath "[" valFilter "]"`
    Within { attr: AttrPath, filter: Box<Filter> },
}

/// `compareOp` (RFC 7644 figure 1, table 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

/// `compValue = false / null / true / number / string`
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
}

/// Reads a filter. Any fault is `invalidFilter`, with what was expected and the column.
pub fn parse(text: &str, dialect: Dialect) -> Result<Filter> {
    parser::filter(text, dialect).map_err(|fault| Error::invalid_filter(fault.in_text(text)))
}

/// Reads the filter in the brackets which open at byte `open` of `text`; and tells the byte behind them.
pub(super) fn parse_brackets(text: &str, open: usize) -> Result<(Filter, usize)> {
    parser::brackets(text, open).map_err(|fault| Error::invalid_filter(fault.in_text(text)))
}

impl Op {
    const ALL: [(Op, &str); 9] = [
        (Op::Eq, "eq"),
        (Op::Ne, "ne"),
        (Op::Co, "co"),
        (Op::Sw, "sw"),
        (Op::Ew, "ew"),
        (Op::Gt, "gt"),
        (Op::Ge, "ge"),
        (Op::Lt, "lt"),
        (Op::Le, "le"),
    ];

    fn named(word: &str) -> Option<Op> {
        Self::ALL.iter().find(|(_, name)| word.eq_ignore_ascii_case(name)).map(|(op, _)| *op)
    }

    /// `eq`, `ne`, …
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl Literal {
    /// The literal where a boolean is wanted; also one as text, which [`check`] has let in or not.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Literal::Bool(value) => Some(*value),
            Literal::String(text) => lenient::boolean(text),
            Literal::Null | Literal::Number(_) => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Null => f.write_str("null"),
            Literal::Bool(value) => write!(f, "{value}"),
            Literal::Number(value) => write!(f, "{value}"),
            Literal::String(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
        }
    }
}

/// The filter with all its parentheses. Parsing it gives the same filter again.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::And(left, right) => write!(f, "({left} and {right})"),
            Filter::Or(left, right) => write!(f, "({left} or {right})"),
            Filter::Not(inner) => match **inner {
                Filter::Not(_) | Filter::Within { .. } => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            Filter::Present(attr) => write!(f, "({attr} pr)"),
            Filter::Compare { attr, op, value } => write!(f, "({attr} {op} {value})"),
            Filter::Within { attr, filter } => write!(f, "{attr}[{filter}]"),
        }
    }
}

#[cfg(test)]
mod tests;
