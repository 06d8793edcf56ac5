//! The door for JSON bodies. What comes through can be kept and walked: of bounded depth and size, no name twice in
//! one object, no text which Postgres cannot hold, no number which would change.
//!
//! Linear in the length of the body, whatever it holds.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::error::{Error, Kind, Result};
use super::limits::{MAX_DEPTH, MAX_NODES};

/// Objects of fewer members are searched for a second name one by one, larger ones by hash.
const FEW: usize = 16;

/// Reads a request body, which must be one JSON object in UTF-8, see [`value`]; `invalidSyntax` if it is something else.
pub fn parse(body: &[u8]) -> Result<Value> {
    match value(body)? {
        object @ Value::Object(_) => Ok(object),
        _ => Err(Error::invalid_syntax("the body must be a JSON object, in braces")),
    }
}

/// Reads JSON of whatever kind, in UTF-8.
///
/// `invalidSyntax`: not UTF-8, not JSON, too deep, or two names in one object which differ at most in
/// case (names are case-insensitive, RFC 7643 §2.1, so one of the two would be lost). `invalidValue`: U+0000 or half
/// a surrogate pair in text, a number beyond 64 bits. `TooLarge`: too many values.
pub fn value(body: &[u8]) -> Result<Value> {
    let text = str::from_utf8(body)
        .map_err(|error| Error::invalid_syntax(format!("the body is not UTF-8 (byte {})", error.valid_up_to() + 1)))?;
    let reader = Reader::default();
    let mut json = serde_json::Deserializer::from_str(text);
    Element { reader: &reader, depth: 0 }
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| reader.explain(&error))
}

/// What is counted over the whole body, and why reading it was given up.
#[derive(Default)]
struct Reader {
    nodes: Cell<usize>,
    refusal: RefCell<Option<Error>>,
}

impl Reader {
    fn refuse<E: de::Error>(&self, refusal: Error) -> E {
        let error = E::custom(&refusal);
        self.refusal.replace(Some(refusal));
        error
    }

    /// serde_json knows the place, and nothing of `scimType`.
    fn explain(&self, error: &serde_json::Error) -> Error {
        if let Some(Error { kind, detail }) = self.refusal.take() {
            let detail = format!("{detail} (line {}, column {})", error.line(), error.column());
            return Error { kind, detail };
        }
        let detail = error.to_string();
        if detail.contains("surrogate") || detail.contains("end of hex escape") {
            Error::invalid_value(format!("text with half a surrogate pair: {detail}"))
        } else if detail.contains("number out of range") {
            Error::invalid_value(detail)
        } else {
            Error::invalid_syntax(format!("the body is not JSON: {detail}"))
        }
    }
}

/// One value on its way in, `depth` containers down.
#[derive(Clone, Copy)]
struct Element<'r> {
    reader: &'r Reader,
    depth: usize,
}

impl Element<'_> {
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            let detail = format!("the body is nested deeper than {MAX_DEPTH}");
            return Err(self.reader.refuse(Error::invalid_syntax(detail)));
        }
        Ok(Self { depth, ..self })
    }

    fn text<E: de::Error>(self, text: &str) -> Result<String, E> {
        if text.contains('\0') {
            return Err(self.reader.refuse(Error::invalid_value("text with the character U+0000")));
        }
        Ok(text.to_owned())
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let nodes = self.reader.nodes.get() + 1;
        self.reader.nodes.set(nodes);
        if nodes > MAX_NODES {
            let detail = format!("the body holds more than {MAX_NODES} values");
            return Err(self.reader.refuse(Error { kind: Kind::TooLarge, detail }));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .filter(fits)
            .map(Value::Number)
            .ok_or_else(|| self.reader.refuse(Error::invalid_value("number out of range")))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.text(text).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let name = self.text(&name)?;
            if is_there(&object, &mut seen, &name) {
                let detail = format!("`{name}` stands twice in one object; letter case makes no difference");
                return Err(self.reader.refuse(Error::invalid_syntax(detail)));
            }
            let value = members.next_value_seed(inside)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// Whether the door lets `number` in. A whole number of more than 64 bits has become a float, and would come back as
/// another.
pub(super) fn fits(number: &Number) -> bool {
    const WHOLE: f64 = 18_446_744_073_709_551_616.0;
    !number.is_f64() || number.as_f64().is_some_and(|value| value.abs() < WHOLE)
}

/// Whether `object` has a member of that name. `seen` is its memory between calls for one object.
fn is_there(object: &Map<String, Value>, seen: &mut HashSet<String>, name: &str) -> bool {
    if object.len() < FEW {
        return object.keys().any(|other| other.eq_ignore_ascii_case(name));
    }
    if seen.is_empty() {
        seen.extend(object.keys().map(|other| other.to_ascii_lowercase()));
    }
    !seen.insert(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parsed(body: impl AsRef<[u8]>) -> String {
        match parse(body.as_ref()) {
            Ok(value) => value.to_string(),
            Err(Error { kind, detail }) => format!("{kind:?}: {detail}"),
        }
    }

    fn nested(depth: usize) -> String {
        format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
    }

    #[test]
    fn an_object_comes_through_as_it_was_written() {
        assert_snapshot!(parsed(r#" {"b":[1,-2,0.5,true,null],"a":{"x":"é\u00e9\ud83d\ude00"}} "#), @r#"{"b":[1,-2,0.5,true,null],"a":{"x":"éé😀"}}"#);
        assert_snapshot!(parsed("{}"), @"{}");
        assert_snapshot!(parsed(r#"{"a":18446744073709551615,"b":-9223372036854775808}"#), @r#"{"a":18446744073709551615,"b":-9223372036854775808}"#);
        assert_eq!(parsed(nested(32)), nested(32));
    }

    #[test]
    fn what_is_not_one_json_object_is_invalid_syntax() {
        assert_snapshot!(parsed(""), @"InvalidSyntax: the body is not JSON: EOF while parsing a value at line 1 column 0");
        assert_snapshot!(parsed("[]"), @"InvalidSyntax: the body must be a JSON object, in braces");
        assert_snapshot!(parsed("{\"a\":1,\n}"), @"InvalidSyntax: the body is not JSON: trailing comma at line 2 column 1");
        assert_snapshot!(parsed("{} {}"), @"InvalidSyntax: the body is not JSON: trailing characters at line 1 column 4");
        assert_snapshot!(parsed("{\"a\":NaN}"), @"InvalidSyntax: the body is not JSON: expected value at line 1 column 6");
        assert_snapshot!(parsed(b"{\"a\":\"\xff\"}"), @"InvalidSyntax: the body is not UTF-8 (byte 7)");
        assert_snapshot!(parsed(nested(33)), @"InvalidSyntax: the body is nested deeper than 32 (line 1, column 161)");
        assert_snapshot!(parsed("[".repeat(1 << 20)), @"InvalidSyntax: the body is nested deeper than 32 (line 1, column 33)");
    }

    #[test]
    fn a_name_stands_once_in_an_object() {
        assert_snapshot!(parsed(r#"{"userName":"a","USERNAME":"b"}"#), @"InvalidSyntax: `USERNAME` stands twice in one object; letter case makes no difference (line 1, column 26)");
        assert_snapshot!(parsed(r#"{"a":{"b":1},"b":{"a":1}}"#), @r#"{"a":{"b":1},"b":{"a":1}}"#);
        let many = (0..100).map(|n| format!(r#""n{n}":{n}"#)).collect::<Vec<_>>().join(",");
        assert!(parse(format!("{{{many}}}").as_bytes()).is_ok());
        for again in ["N0", "n15", "N16", "N99"] {
            assert!(parse(format!(r#"{{{many},"{again}":0}}"#).as_bytes()).is_err(), "{again}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_an_invalid_value() {
        assert_snapshot!(parsed(r#"{"a":"\u0000"}"#), @"InvalidValue: text with the character U+0000 (line 1, column 13)");
        assert_snapshot!(parsed(r#"{"\u0000":1}"#), @"InvalidValue: text with the character U+0000 (line 1, column 9)");
        for half in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\n", r"\ud800\ud800"] {
            assert!(
                parsed(format!(r#"{{"a":"{half}"}}"#)).starts_with("InvalidValue: text with half a surrogate pair"),
                "{half}"
            );
        }
        for number in ["18446744073709551616", "-18446744073709551617", "1e20", "1e999", "-1e999"] {
            assert!(
                parsed(format!(r#"{{"a":{number}}}"#)).starts_with("InvalidValue: number out of range"),
                "{number}"
            );
        }
    }

    #[test]
    fn a_body_of_very_many_values_is_too_large() {
        let zeros = |count: usize| format!(r#"{{"a":[{}0]}}"#, "0,".repeat(count - 1));
        assert!(parse(zeros(MAX_NODES - 2).as_bytes()).is_ok());
        let error = parse(zeros(MAX_NODES - 1).as_bytes()).unwrap_err();
        assert_eq!(error.kind, Kind::TooLarge);
    }

    proptest! {
        #[test]
        fn no_body_makes_the_door_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&body);
        }

        #[test]
        fn all_else_is_what_serde_json_reads(text in "[^\u{0}]{0,20}", number in any::<i64>()) {
            let value = json!({ "text": text, "list": [number, { "text": text }] });
            prop_assert_eq!(parse(value.to_string().as_bytes()).unwrap(), value);
        }
    }
}
