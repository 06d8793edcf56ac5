//! Filter text to tokens. Knows strings and brackets; whether a word is a name, an operator or a number is for the
//! parser, which knows where it stands.

use std::fmt;

use super::super::path::{Fault, quoted};

/// One token and the byte at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'a> {
    pub at: usize,
    pub kind: TokenKind<'a>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// A JSON string, its escapes undone.
    Text(String),
    /// All else up to white space, a bracket or a quote.
    Word(&'a str),
    End,
}

/// Reads `text` from a byte offset on, a token at a time.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// The next token; [`TokenKind::End`] for ever at the end.
    pub fn next(&mut self) -> Result<Token<'a>, Fault> {
        let rest = self.text[self.at..].trim_ascii_start();
        let at = self.text.len() - rest.len();
        let (kind, len) = match rest.bytes().next() {
            None => (TokenKind::End, 0),
            Some(b'(') => (TokenKind::Open, 1),
            Some(b')') => (TokenKind::Close, 1),
            Some(b'[') => (TokenKind::OpenBracket, 1),
            Some(b']') => (TokenKind::CloseBracket, 1),
            Some(b'"') => string(rest, at)?,
            Some(_) => {
                let len = rest.find(ends_word).unwrap_or(rest.len());
                (TokenKind::Word(&rest[..len]), len)
            }
        };
        self.at = at + len;
        Ok(Token { at, kind })
    }
}

fn ends_word(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '"')
}

/// A string as JSON has it (RFC 8259 §7), surrogate pairs included; and its length.
fn string(rest: &str, at: usize) -> Result<(TokenKind<'_>, usize), Fault> {
    let mut escaped = false;
    let closes = |b: u8| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    };
    let Some(inner) = rest.bytes().skip(1).position(closes) else {
        return Err(Fault::new(at, "this text has no closing quote"));
    };
    let len = inner + 2;
    match serde_json::from_str::<String>(&rest[..len]) {
        Ok(text) if text.contains('\0') => Err(Fault::new(at, "this text holds the character U+0000")),
        Ok(text) => Ok((TokenKind::Text(text), len)),
        Err(_) => Err(Fault::new(at, "this text has a broken escape, or a control character without one")),
    }
}

impl fmt::Display for TokenKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("`(`"),
            Self::Close => f.write_str("`)`"),
            Self::OpenBracket => f.write_str("`[`"),
            Self::CloseBracket => f.write_str("`]`"),
            Self::Text(text) => write!(f, "the text {}", quoted(text)),
            Self::Word(word) => f.write_str(&quoted(word)),
            Self::End => f.write_str("the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Result<Vec<String>, Fault> {
        let mut lexer = Lexer::new(text, 0);
        let mut tokens = Vec::new();
        loop {
            match lexer.next()?.kind {
                TokenKind::End => return Ok(tokens),
                kind => tokens.push(kind.to_string()),
            }
        }
    }

    #[test]
    fn text_becomes_tokens() {
        assert_eq!(
            tokens(r#"a.b eq"x"and(c pr)"#).unwrap(),
            ["`a.b`", "`eq`", "the text `x`", "`and`", "`(`", "`c`", "`pr`", "`)`"]
        );
        assert_eq!(tokens(r#""a\"b\\" x"#).unwrap(), [r#"the text `a"b\`"#, "`x`"]);
        assert_eq!(tokens(r#""\u00e9\uD83D\uDE00\n""#).unwrap(), ["the text `é😀\n`"]);
    }

    #[test]
    fn text_which_is_no_text_is_refused() {
        for bad in [
            r#""\uD83D""#,
            r#""\uDE00""#,
            r#""\uD83Dx""#,
            r#""\q""#,
            r#""\u0000""#,
            "\"\u{0}\"",
            r#"""#,
            r#""\""#,
            "\"\n\"",
        ] {
            assert!(tokens(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_lexer_panic_or_stand_still(text in "\\PC*|[\\\\\"()\\[\\] a\u{e9}u0-9D]*") {
            let _ = tokens(&text);
        }
    }
}
