//! What of a request may be kept: no password, no token, of e-mail addresses and user names no more than tells two of
//! them apart. Pure.
//!
//! The log is read by operators of many customers; what it needs to show is the shape of a request, and which resource
//! it is about. When in doubt something is left out.

use std::{borrow::Cow, ops::Range};

use serde_json::{Map, Value};
use uuid::Uuid;

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// What a value stands in.
const QUOTES: [char; 3] = ['"', '\'', '`'];

/// A run of so many characters, letters and digits among them, is a secret unless it is a UUID.
const LONG: usize = 32;

/// A JSON document, without what must not be kept.
pub fn document(value: Value) -> Value {
    redacted(value, &Place::Other)
}

/// Text of a client: a path with its query, a header, an error which quotes it.
pub fn text(text: &str) -> String {
    let (decoded, mut out) = (decoded(text), String::with_capacity(text.len()));
    let mut rest = &*decoded;
    // A value is known by what stands before it: `userName eq "ada"`.
    while let Some((place, value)) = named_in(rest) {
        out.push_str(&words(&rest[..value.start]));
        out.push_str(&match place {
            Place::Secret => HIDDEN.into(),
            Place::UserName | Place::Other => shortened(&rest[value.clone()]),
        });
        rest = &rest[value.end..];
    }
    out.push_str(&words(rest));
    out
}

/// At most `bytes` of a text, and a sign where it is cut.
pub fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What a value is about.
enum Place {
    Secret,
    UserName,
    Other,
}

impl Place {
    /// By an attribute's name or path: `password`, `urn:…:User:password`, `userName`.
    fn of(path: &str) -> Self {
        let name = path.rsplit([':', '.']).next().unwrap_or_default().to_ascii_lowercase();
        let secret = ["password", "passwd", "secret", "token", "authorization", "apikey", "api_key", "credential"];
        if secret.iter().any(|word| name.contains(word)) {
            Self::Secret
        } else if name == "username" {
            Self::UserName
        } else {
            Self::Other
        }
    }
}

fn redacted(value: Value, place: &Place) -> Value {
    match (value, place) {
        (Value::Null, _) => Value::Null,
        (_, Place::Secret) => HIDDEN.into(),
        (Value::String(name), Place::UserName) => shortened(&name).into(),
        (Value::String(other), Place::Other) => text(&other).into(),
        (Value::Array(values), place) => values.into_iter().map(|value| redacted(value, place)).collect(),
        (Value::Object(object), _) => object_of(object),
        (plain, _) => plain,
    }
}

fn object_of(object: Map<String, Value>) -> Value {
    let named = |name: &str| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    // An operation of a PATCH says in one member what the other is.
    let aim = named("path").and_then(Value::as_str).map_or(Place::Other, Place::of);
    let part = |(key, value): (String, Value)| {
        let place = if key.eq_ignore_ascii_case("value") { &aim } else { &Place::of(&key) };
        let value = redacted(value, place);
        (text(&key), value)
    };
    Value::Object(object.into_iter().map(part).collect())
}

/// The first value that is told by its name to be a secret or a user's name, and what of the text it is.
fn named_in(text: &str) -> Option<(Place, Range<usize>)> {
    text.match_indices(is_space).find_map(|(at, _)| {
        let before = text[..at].trim_end_matches(QUOTES);
        let name = before.rsplit(|c: char| !c.is_alphanumeric() && !"._:-".contains(c)).next()?;
        let place = Place::of(name);
        let behind = match place {
            Place::Other => return None,
            // An operator or some words lie between name and value.
            Place::UserName => text[at..].trim_start_matches(|c: char| c.is_ascii_alphabetic() || is_space(c)),
            Place::Secret => {
                let (operator, value) = text[at..].trim_start_matches(is_space).split_once(is_space)?;
                is_operator(operator).then(|| value.trim_start_matches(is_space))?
            }
        };
        let behind = behind.trim_start_matches('\\');
        let from = text.len() - behind.len();
        match (&place, behind.chars().next()) {
            (_, Some(quote)) if QUOTES.contains(&quote) => {
                Some((place, from + 1..from + 1 + end_of(&behind[1..], quote)))
            }
            (Place::Secret, Some(_)) => {
                let end = behind.find(|c: char| is_space(c) || ")]&".contains(c)).unwrap_or(behind.len());
                Some((place, from..from + end))
            }
            _ => None,
        }
    })
}

/// Where a quoted value ends; with the text, if that is cut.
fn end_of(quoted: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let is_end = |c: char| {
        let is_end = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    };
    quoted.find(is_end).unwrap_or(quoted.len())
}

/// In a query, `+` is a space too.
fn is_space(c: char) -> bool {
    c == '+' || c.is_whitespace()
}

/// Of a filter (RFC 7644 §3.4.2.2).
fn is_operator(word: &str) -> bool {
    ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"].iter().any(|operator| word.eq_ignore_ascii_case(operator))
}

/// E-mail addresses shortened, secrets hidden; the rest as it is.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c| !is_of_word(c)).map_or(rest, |end| &rest[..end]);
        if word.is_empty() {
            let first = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..first]);
            rest = &rest[first..];
        } else {
            out.push_str(&kept_of(word));
            rest = &rest[word.len()..];
        }
    }
    out
}

/// May it stand in an address, or in a secret?
fn is_of_word(c: char) -> bool {
    let is_mark = |c| matches!(c, '!' | '#'..='\'' | '*' | '+' | '=' | '?' | '^' | '_' | '{'..='~' | '.' | '@' | '-');
    c.is_ascii_alphanumeric() || is_mark(c) || !c.is_ascii() && c.is_alphanumeric()
}

fn kept_of(word: &str) -> Cow<'_, str> {
    // `filter=a@b` and `x&y=a@b`: a query has its own marks.
    if let Some((name, value)) = word.split_once(['=', '?', '&']) {
        let mark = &word[name.len()..word.len() - value.len()];
        return format!("{}{mark}{}", kept_of(name), kept_of(value)).into();
    }
    if let Some(at) = word.find('@') {
        return if at > 0 && at + 1 < word.len() { shortened(word).into() } else { word.into() };
    }
    if is_secret(word) { HIDDEN.into() } else { word.into() }
}

/// Tokens of ours, JWTs, and whatever is too long and too mixed to be a word.
fn is_secret(word: &str) -> bool {
    if word.starts_with("rgs_") || word.starts_with("eyJ") && word.len() >= LONG {
        return true;
    }
    word.split('.').any(|run| {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
        let is_uuid = run.len() == 36 && Uuid::try_parse(run).is_ok();
        run.len() >= LONG && !is_uuid && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    })
}

/// The first character of a name, and of an address what is behind the `@`.
fn shortened(name: &str) -> String {
    let first: String = name.chars().take(1).collect();
    match name.rsplit_once('@') {
        Some((_, domain)) if !name.starts_with('@') => format!("{first}{HIDDEN}@{domain}"),
        _ if name.is_empty() => String::new(),
        _ => format!("{first}{HIDDEN}"),
    }
}

/// Percent-encoding undone, as often as somebody has applied it, so that no encoding hides what is to be left out.
fn decoded(text: &str) -> Cow<'_, str> {
    let mut decoded = Cow::Borrowed(text);
    for _ in 0..4 {
        if !decoded.contains('%') {
            break;
        }
        let next = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
        if next == *decoded {
            break;
        }
        decoded = next.into();
    }
    decoded
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn of_an_address_the_first_letter_and_the_domain_are_kept() {
        assert_snapshot!(text("/Users?filter=emails.value eq \"ada.lovelace@example.com\""), @r#"/Users?filter=emails.value eq "a***@example.com""#);
        assert_snapshot!(text("/Users?q=ada@example.com&count=1"), @"/Users?q=a***@example.com&count=1");
        assert_snapshot!(text("/Users/ada@example.com"), @"/Users/a***@example.com");
        assert_snapshot!(text("mail to <ölaf+x@bücher.example>, or to a@b"), @"mail to <ö***@bücher.example>, or to a***@b");
    }

    #[test]
    fn no_encoding_hides_an_address() {
        assert_snapshot!(text("filter=userName%20eq%20%22ada%40example.com%22"), @r#"filter=userName eq "a***@example.com""#);
        assert_snapshot!(text("ada%2540example.com"), @"a***@example.com");
    }

    #[test]
    fn a_user_name_is_shortened_wherever_it_is_named() {
        assert_snapshot!(text(r#"userName eq "bjensen" and active eq true"#), @r#"userName eq "b***" and active eq true"#);
        assert_snapshot!(text(r#"USERNAME sw "bj" or username co "ens"#), @r#"USERNAME sw "b***" or username co "e***"#);
        assert_snapshot!(text("userName `bjensen` is taken by another user"), @"userName `b***` is taken by another user");
        assert_snapshot!(text("filter=userName+eq+%22bjensen%22"), @r#"filter=userName+eq+"b***""#);
        assert_snapshot!(text("attributes=userName,emails"), @"attributes=userName,emails");
        assert_snapshot!(text("attribute `userName` is required"), @"attribute `userName` is required");
    }

    #[test]
    fn what_a_secret_is_compared_with_is_hidden() {
        assert_snapshot!(text("/Users?filter=password%20eq%20%22Tr0ub4dor%22&count=1"), @r#"/Users?filter=password eq "***"&count=1"#);
        assert_snapshot!(text("filter=(PassWord+sw+%22a+b%22)"), @r#"filter=(PassWord+sw+"***")"#);
        assert_snapshot!(text(r#"urn:ietf:params:scim:schemas:core:2.0:User:password ne "a\"b c" and active eq true"#), @r#"urn:ietf:params:scim:schemas:core:2.0:User:password ne "***" and active eq true"#);
        assert_snapshot!(text("(password co Tr0ub4dor) or userName eq \"bjensen\""), @r#"(password co ***) or userName eq "b***""#);
        assert_snapshot!(text(r#"password eq "Tr0ub4dor and no end"#), @r#"password eq "***"#);
        assert_snapshot!(text(r#"no filter: password eq \"a b\" is not allowed"#), @r#"no filter: password eq \"***"#);
        assert_snapshot!(text("a password is not returned: see `returned`"), @"a password is not returned: see `returned`");
        assert_eq!(document(json!({ "filter": "password eq \"x y\"" })), json!({ "filter": "password eq \"***\"" }));
    }

    #[test]
    fn no_token_is_kept() {
        let token = crate::model::token::PlainToken::generate();
        let seen = text(&format!("/realms/acme/scim/v2/Users?access_token={}&x=1", token.reveal()));
        assert_snapshot!(seen, @"/realms/acme/scim/v2/Users?access_token=***&x=1");
        assert_snapshot!(text("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"), @"Bearer ***");
        assert_snapshot!(text("/hook/8f14e45fceea167a5a36dedd4bea2543aa/x"), @"/hook/***/x");
        assert_snapshot!(text("rgs_short"), @"***");
    }

    #[test]
    fn ids_urns_and_long_words_are_no_secrets() {
        for plain in [
            "/realms/acme/scim/v2/Users/2819c223-7f76-453a-919d-413861904646",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group",
            "00ub0oNGTSWTBKOLGLNR",
            "Donaudampfschifffahrtsgesellschaftskapitän",
        ] {
            assert_eq!(text(plain), plain);
        }
    }

    #[test]
    fn a_document_is_walked_to_its_leaves() {
        let document = document(json!({
            "userName": "bjensen", "externalId": "701984", "Password": "t1meMa$heen", "active": true,
            "emails": [{ "value": "b@work.example", "type": "work", "primary": true }],
            "urn:acme:x:1.0:User": { "apiToken": ["a", "b"], "note": "ask b@work.example" },
            "emails[value eq \"b@work.example\"].type": "home",
            "Operations": [
                { "op": "replace", "path": "password", "value": "t1meMa$heen" },
                { "op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:userName", "value": "barbara" },
                { "op": "add", "value": { "password": { "plain": "x" }, "userName": "barbara", "title": "Dr" } },
                { "method": "POST", "data": { "userName": "c", "password": "x" } },
            ],
        }));
        let expected = json!({
            "userName": "b***", "externalId": "701984", "Password": "***", "active": true,
            "emails": [{ "value": "b***@work.example", "type": "work", "primary": true }],
            "urn:acme:x:1.0:User": { "apiToken": "***", "note": "ask b***@work.example" },
            "emails[value eq \"b***@work.example\"].type": "home",
            "Operations": [
                { "op": "replace", "path": "password", "value": "***" },
                { "op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:userName", "value": "b***" },
                { "op": "add", "value": { "password": "***", "userName": "b***", "title": "Dr" } },
                { "method": "POST", "data": { "userName": "c***", "password": "***" } },
            ],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(cut("äöü".into(), 3), "ä…");
        assert_eq!(cut("abc".into(), 3), "abc");
    }
}
