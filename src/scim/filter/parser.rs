//! Tokens to a [`Filter`], by the grammar of RFC 7644 §3.4.2.2, figure 1. Each production is a method under its ABNF.
//!
//! Depth and number of comparisons are counted while parsing, and a chain of `and` or `or` becomes a balanced tree:
//! whoever walks a filter may recurse without a limit of his own.
//!
//! NB: more white space, or less, than the one blank of the grammar makes no difference.

use super::super::lenient::{Dialect, Habit};
use super::super::limits::{MAX_COMPARISONS, MAX_FILTER_BYTES, MAX_FILTER_DEPTH};
use super::super::path::{AttrPath, Fault, quoted, read_name};
use super::lexer::{Lexer, Token, TokenKind};
use super::{Filter, Literal, Op};

/// A whole filter.
pub(super) fn filter(text: &str, dialect: Dialect) -> Result<Filter, Fault> {
    let mut parser = Parser::new(text, 0, dialect)?;
    let filter = parser.or()?;
    match parser.token.kind {
        TokenKind::End => Ok(filter),
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

/// What stands in the brackets which open at byte `open`; and the byte behind them.
pub(super) fn brackets(text: &str, open: usize) -> Result<(Filter, usize), Fault> {
    let mut parser = Parser::new(text, open, Dialect::Strict)?;
    let filter = parser.brackets()?;
    Ok((filter, parser.token.at + 1))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token which has been read but not used.
    token: Token<'a>,
    depth: usize,
    comparisons: usize,
    in_brackets: bool,
    dialect: Dialect,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, at: usize, dialect: Dialect) -> Result<Self, Fault> {
        if text.len() > MAX_FILTER_BYTES {
            return Err(Fault::new(MAX_FILTER_BYTES, format!("the filter is longer than {MAX_FILTER_BYTES} bytes")));
        }
        let mut lexer = Lexer::new(text, at);
        let token = lexer.next()?;
        Ok(Self { lexer, token, depth: 0, comparisons: 0, in_brackets: false, dialect })
    }

    // FILTER = FILTER SP "or" SP FILTER
    fn or(&mut self) -> Result<Filter, Fault> {
        self.chain("or", Filter::Or, Self::and)
    }

    // FILTER = FILTER SP "and" SP FILTER
    fn and(&mut self) -> Result<Filter, Fault> {
        self.chain("and", Filter::And, Self::term)
    }

    fn chain(
        &mut self,
        word: &str,
        join: fn(Box<Filter>, Box<Filter>) -> Filter,
        term: fn(&mut Self) -> Result<Filter, Fault>,
    ) -> Result<Filter, Fault> {
        let first = term(self)?;
        if !self.at_word(word) {
            return Ok(first);
        }
        let mut terms = vec![first];
        while self.at_word(word) {
            self.advance()?;
            terms.push(term(self)?);
        }
        Ok(balanced(terms, join))
    }

    // FILTER = attrExp / valuePath / *1"not" "(" FILTER ")"
    fn term(&mut self) -> Result<Filter, Fault> {
        if self.at_word("not") {
            self.advance()?;
            return match self.token.kind {
                TokenKind::Open => Ok(Filter::Not(Box::new(self.group()?))),
                _ => Err(self.expected("`(` after `not`")),
            };
        }
        match self.token.kind {
            TokenKind::Open => self.group(),
            _ => self.attribute_expression(),
        }
    }

    // "(" FILTER ")"
    fn group(&mut self) -> Result<Filter, Fault> {
        self.deeper()?;
        let filter = self.or()?;
        match self.token.kind {
            TokenKind::Close => self.advance()?,
            _ => return Err(self.expected("`)`, `and` or `or`")),
        }
        self.depth -= 1;
        Ok(filter)
    }

    // attrExp   = (attrPath SP "pr") / (attrPath SP compareOp SP compValue)
    // valuePath = attrPath "[" valFilter "]"
    fn attribute_expression(&mut self) -> Result<Filter, Fault> {
        let attr = self.attr_path()?;
        if self.token.kind != TokenKind::OpenBracket {
            return self.comparison(attr);
        }
        if self.in_brackets {
            return Err(Fault::new(self.token.at, "brackets cannot stand in brackets"));
        }
        let inner = self.brackets()?;
        let close = self.token.at;
        self.advance()?;
        let filter = match self.token {
            Token { kind: TokenKind::Word(word), at }
                if at == close + 1 && word.starts_with('.') && self.dialect.allows(Habit::ComparisonBehindBrackets) =>
            {
                let name = &word[1..];
                if is_reserved(name) {
                    return Err(Fault::new(at + 1, format!("expected an attribute, found {}", quoted(name))));
                }
                let sub = AttrPath::of(read_name(name, at + 1)?);
                self.advance()?;
                Filter::And(Box::new(inner), Box::new(self.comparison(sub)?))
            }
            _ => inner,
        };
        Ok(Filter::Within { attr, filter: Box::new(filter) })
    }

    /// `"[" valFilter "]"`, and stops before the closing bracket.
    // valFilter = attrExp / logExp / *1"not" "(" valFilter ")"
    fn brackets(&mut self) -> Result<Filter, Fault> {
        self.deeper()?;
        self.in_brackets = true;
        let filter = self.or()?;
        if self.token.kind != TokenKind::CloseBracket {
            return Err(self.expected("`]`, `and` or `or`"));
        }
        self.in_brackets = false;
        self.depth -= 1;
        Ok(filter)
    }

    // SP "pr" / SP compareOp SP compValue
    fn comparison(&mut self, attr: AttrPath) -> Result<Filter, Fault> {
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            return Err(Fault::new(self.token.at, format!("the filter has more than {MAX_COMPARISONS} comparisons")));
        }
        if self.at_word("pr") {
            self.advance()?;
            return Ok(Filter::Present(attr));
        }
        let TokenKind::Word(word) = self.token.kind else {
            return Err(self.expected(&format!("an operator after `{attr}`")));
        };
        let Some(op) = Op::named(word) else {
            return Err(self.expected(&format!("one of eq, ne, co, sw, ew, gt, ge, lt, le, pr after `{attr}`")));
        };
        self.advance()?;
        Ok(Filter::Compare { attr, op, value: self.value(op)? })
    }

    // compValue = false / null / true / number / string
    fn value(&mut self, op: Op) -> Result<Literal, Fault> {
        let value = match &mut self.token.kind {
            TokenKind::Text(text) => Some(Literal::String(std::mem::take(text))),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("true") => Some(Literal::Bool(true)),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("false") => Some(Literal::Bool(false)),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("null") => Some(Literal::Null),
            TokenKind::Word(word) => serde_json::from_str(word).ok().map(Literal::Number),
            _ => None,
        };
        match (value, &self.token.kind) {
            (Some(value), _) => self.advance().map(|()| value),
            (None, TokenKind::Word(word)) => Err(Fault::new(
                self.token.at,
                format!(
                    "expected a value after `{op}`: text in double quotes, a number, true, false or null; found {}",
                    quoted(word)
                ),
            )),
            (None, _) => Err(self.expected(&format!("a value after `{op}`"))),
        }
    }

    fn attr_path(&mut self) -> Result<AttrPath, Fault> {
        let word = match self.token.kind {
            TokenKind::Word(word) if !is_reserved(word) => word,
            _ => return Err(self.expected("an attribute")),
        };
        let attr = AttrPath::read(word, self.token.at)?;
        self.advance()?;
        Ok(attr)
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_FILTER_DEPTH {
            return Err(Fault::new(self.token.at, format!("the filter is nested deeper than {MAX_FILTER_DEPTH}")));
        }
        self.advance()
    }

    fn advance(&mut self) -> Result<(), Fault> {
        self.token = self.lexer.next()?;
        Ok(())
    }

    fn at_word(&self, expected: &str) -> bool {
        matches!(self.token.kind, TokenKind::Word(word) if word.eq_ignore_ascii_case(expected))
    }

    fn expected(&self, what: &str) -> Fault {
        Fault::new(self.token.at, format!("expected {what}, found {}", self.token.kind))
    }
}

/// A word which joins filters, so it cannot begin one.
fn is_reserved(word: &str) -> bool {
    ["and", "or", "not"].iter().any(|reserved| word.eq_ignore_ascii_case(reserved))
}

/// `terms` joined in order, as a tree of the least depth.
fn balanced(mut terms: Vec<Filter>, join: fn(Box<Filter>, Box<Filter>) -> Filter) -> Filter {
    while terms.len() > 1 {
        let mut rest = terms.into_iter();
        let mut joined = Vec::with_capacity(rest.len().div_ceil(2));
        while let Some(left) = rest.next() {
            joined.push(match rest.next() {
                Some(right) => join(Box::new(left), Box::new(right)),
                None => left,
            });
        }
        terms = joined;
    }
    terms.pop().expect("a chain begins with a term")
}
