//! Attribute paths (RFC 7644 §3.10, §3.5.2): `userName`, `name.givenName`, `emails[type eq "work"].value`,
//! `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`.
//!
//! Parsing is syntax alone; what a path means is for [`ResourceType`](super::schema::ResourceType) to say.
//!
//! NB: a name may begin with a digit, and `$` stands anywhere in it, where the RFC wants a letter first; a name with two
//! dots is one too. Whether a realm takes such names is for [`Habit::FreeName`](super::lenient::Habit::FreeName).

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};
use super::filter::{self, Filter};
use super::limits::MAX_FILTER_BYTES;

/// `attrPath = [URI ":"] ATTRNAME *1subAttr` (RFC 7644 figure 1), as it was written; see
/// [`ResourceType::resolve`](super::schema::ResourceType::resolve) for what it means.
///
/// The URN is all up to the last colon. So a path which is nothing but an extension's URN has the last segment of the
/// URN as its `name`; only the schemas can tell, see
/// [`ResourceType::schema_at`](super::schema::ResourceType::schema_at).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttrPath {
    /// Schema URN in front of the name, if one was written.
    pub urn: Option<String>,
    pub name: String,
    pub sub: Option<String>,
}

/// `PATH = attrPath / valuePath [subAttr]` (RFC 7644 figure 7).
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// With a filter, `attr.sub` is `None` and the sub-attribute stands in `sub`; without one, in `attr.sub`.
    pub attr: AttrPath,
    pub filter: Option<Filter>,
    /// Sub-attribute behind the brackets.
    pub sub: Option<String>,
}

/// What is wrong with a text, and where. The caller knows whether it is a path or a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub what: String,
    /// Byte offset.
    pub at: usize,
}

impl Fault {
    pub fn new(at: usize, what: impl Into<String>) -> Self {
        Self { what: what.into(), at }
    }

    /// The fault as a sentence with its column, counted in characters from 1.
    pub fn in_text(&self, text: &str) -> String {
        let column = 1 + text.char_indices().take_while(|(at, _)| *at < self.at).count();
        format!("{} (column {column})", self.what)
    }
}

impl AttrPath {
    /// A path of one name, such as `userName`.
    pub fn of(name: impl Into<String>) -> Self {
        Self { urn: None, name: name.into(), sub: None }
    }

    /// Reads the word which begins at byte `at` of a larger text.
    // attrPath = [URI ":"] ATTRNAME *1subAttr
    pub(super) fn read(word: &str, at: usize) -> Result<Self, Fault> {
        let (urn, names) = match word.rsplit_once(':') {
            Some((urn, names)) => (Some(read_urn(urn, at)?), names),
            None => (None, word),
        };
        let at = at + word.len() - names.len();
        match names.split_once('.') {
            None => Ok(Self { urn, name: read_name(names, at)?, sub: None }),
            // There is one level of sub-attributes, so these dots belong to a name, such as a POST may have brought.
            Some((_, sub)) if sub.contains('.') => {
                let mut at = at;
                for segment in names.split('.') {
                    read_name(segment, at)?;
                    at += segment.len() + 1;
                }
                Ok(Self { urn, name: names.to_owned(), sub: None })
            }
            Some((name, sub)) => {
                let sub = Some(read_name(sub, at + name.len() + 1)?);
                Ok(Self { urn, name: read_name(name, at)?, sub })
            }
        }
    }
}

// URI = "urn:" NID ":" NSS (RFC 8141), held to what schema URNs need
fn read_urn(urn: &str, at: usize) -> Result<String, Fault> {
    let mut segments = urn.split(':');
    let is_urn = segments.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn"));
    if is_urn && segments.all(|segment| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_graphic())) {
        Ok(urn.to_owned())
    } else {
        Err(Fault::new(at, format!("expected a schema URN before the last colon, found {}", quoted(urn))))
    }
}

// ATTRNAME = ALPHA *(nameChar) ; nameChar = "-" / "_" / DIGIT / ALPHA
pub(super) fn read_name(name: &str, at: usize) -> Result<String, Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$');
    match name.find(|c| !allowed(c)) {
        _ if name.is_empty() => Err(Fault::new(at, "expected the name of an attribute")),
        None => Ok(name.to_owned()),
        Some(bad) if name[bad..].starts_with('.') => {
            Err(Fault::new(at + bad, format!("{} has more than one level of sub-attributes", quoted(name))))
        }
        Some(bad) => Err(Fault::new(at + bad, format!("{} is not the name of an attribute", quoted(name)))),
    }
}

/// Is it a name by the letter of the RFC, or the `$ref` which it has as well? [`read_name`] takes more.
pub(super) fn is_attribute_name(name: &str) -> bool {
    let rest = name.strip_prefix('$').unwrap_or(name);
    rest.starts_with(|c: char| c.is_ascii_alphabetic()) && read_name(rest, 0).is_ok()
}

/// `text` in back ticks, cut to a length which a message can bear.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

impl FromStr for AttrPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        refuse_long(text)?;
        AttrPath::read(text, 0).map_err(|fault| Error::invalid_path(fault.in_text(text)))
    }
}

impl FromStr for Path {
    type Err = Error;

    // PATH = attrPath / valuePath [subAttr]
    fn from_str(text: &str) -> Result<Self> {
        let Some(open) = text.find('[') else {
            return Ok(Path { attr: text.parse()?, filter: None, sub: None });
        };
        refuse_long(text)?;
        let invalid_path = |fault: Fault| Error::invalid_path(fault.in_text(text));
        let attr = AttrPath::read(&text[..open], 0).map_err(invalid_path)?;
        if attr.sub.is_some() {
            return Err(invalid_path(Fault::new(open, "brackets belong behind an attribute, not a sub-attribute")));
        }
        let (filter, close) = filter::parse_brackets(text, open)?;
        let sub = match &text[close..] {
            "" => None,
            behind => match behind.strip_prefix('.') {
                Some(name) => Some(read_name(name, close + 1).map_err(invalid_path)?),
                None => return Err(invalid_path(Fault::new(close, "expected `.` or the end behind the brackets"))),
            },
        };
        Ok(Path { attr, filter: Some(filter), sub })
    }
}

fn refuse_long(text: &str) -> Result<()> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(Error::invalid_path(format!("the path is longer than {MAX_FILTER_BYTES} bytes")));
    }
    Ok(())
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.urn {
            write!(f, "{urn}:")?;
        }
        f.write_str(&self.name)?;
        self.sub.as_ref().map_or(Ok(()), |sub| write!(f, ".{sub}"))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.attr)?;
        if let Some(filter) = &self.filter {
            write!(f, "[{filter}]")?;
        }
        self.sub.as_ref().map_or(Ok(()), |sub| write!(f, ".{sub}"))
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn parsed(text: &str) -> String {
        match text.parse::<Path>() {
            Ok(Path { attr: AttrPath { urn, name, sub }, filter, sub: behind }) => {
                let shown = |part: Option<String>| part.unwrap_or_else(|| "-".into());
                let filter = shown(filter.map(|filter| filter.to_string()));
                format!("{} | {name} | {} | {filter} | {}", shown(urn), shown(sub), shown(behind))
            }
            Err(error) => format!("{}: {error}", error.kind.scim_type().unwrap_or_default()),
        }
    }

    #[test]
    fn a_path_is_urn_name_sub_attribute_and_filter() {
        assert_snapshot!(parsed("userName"), @"- | userName | - | - | -");
        assert_snapshot!(parsed("name.givenName"), @"- | name | givenName | - | -");
        assert_snapshot!(parsed("a.b.c"), @"- | a.b.c | - | - | -");
        assert_snapshot!(parsed("members.$ref"), @"- | members | $ref | - | -");
        assert_snapshot!(parsed("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value"),
            @"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User | manager | value | - | -");
        assert_snapshot!(parsed("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"),
            @"urn:ietf:params:scim:schemas:extension:enterprise:2.0 | User | - | - | -");
        assert_snapshot!(parsed(r#"emails[type eq "work"].value"#), @r#"- | emails | - | (type eq "work") | value"#);
        assert_snapshot!(parsed(r#"members[value eq "a[b].c"]"#), @r#"- | members | - | (value eq "a[b].c") | -"#);
        assert_snapshot!(parsed(r#"urn:x:1.0:User:tags[value sw "a"]"#), @r#"urn:x:1.0:User | tags | - | (value sw "a") | -"#);
    }

    #[test]
    fn a_bad_path_says_what_and_where() {
        assert_snapshot!(parsed(""), @"invalidPath: expected the name of an attribute (column 1)");
        assert_snapshot!(parsed("name."), @"invalidPath: expected the name of an attribute (column 6)");
        assert_snapshot!(parsed("a.b..c"), @"invalidPath: expected the name of an attribute (column 5)");
        assert_snapshot!(parsed("a[b pr].c.d"), @"invalidPath: `c.d` has more than one level of sub-attributes (column 10)");
        assert_snapshot!(parsed("user name"), @"invalidPath: `user name` is not the name of an attribute (column 5)");
        assert_snapshot!(parsed("User:userName"), @"invalidPath: expected a schema URN before the last colon, found `User` (column 1)");
        assert_snapshot!(parsed(r#"emails.value[type eq "work"]"#), @"invalidPath: brackets belong behind an attribute, not a sub-attribute (column 13)");
        assert_snapshot!(parsed(r#"emails[type eq "work"]value"#), @"invalidPath: expected `.` or the end behind the brackets (column 23)");
        assert_snapshot!(parsed(r#"emails[type eq "work""#), @"invalidFilter: expected `]`, `and` or `or`, found the end (column 22)");
        assert_snapshot!(parsed("emails[]"), @"invalidFilter: expected an attribute, found `]` (column 8)");
        assert_snapshot!(parsed(&"a".repeat(5000)), @"invalidPath: the path is longer than 4096 bytes");
    }

    #[test]
    fn a_path_reads_back_as_it_was() {
        for text in ["name.givenName", r#"emails[(type eq "work")].value"#, "urn:x:y:2.0:User:manager.$ref"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
    }
}
