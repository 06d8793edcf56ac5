//! Filters (RFC 7644 §3.4.2.2): one AST for the `filter` parameter and for what stands in the brackets of a path.
//!
//! Text becomes tokens in `lexer`, tokens become a [`Filter`] in `parser`, under limits which hold before any deep
//! tree exists. `eval` answers whether a value matches, for PATCH; `store::filter_sql` compiles the same AST to SQL.

use super::path::AttrPath;

/// A parsed filter. Attribute names are as written; nothing has been checked against a schema yet.
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
