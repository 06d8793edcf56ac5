//! What identity providers send against the RFC, and what it is taken for: each habit has a name and says who has it.
//!
//! Lives here: the habits in the *form* of values. The habits in the *meaning* of PATCH (an element made out of a
//! filter, `remove` with a value) stand in [`super::patch`], where they are applied; a boolean as text in a filter is
//! known to [`super::filter`]. A realm with the strict dialect gets none of the ones below. To add a habit: a function here, with the IdP that needs it and a test, and its call
//! in [`super::resource`] or [`super::patch`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::schema::{Attribute, Kind};

/// How much of an IdP's habits against the RFC is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    #[default]
    Lenient,
    Strict,
}

/// Brings a value which is no array and no object to the type of its attribute, if one of the habits below explains
/// it; any other value comes back unchanged.
pub fn simple(kind: Kind, value: Value) -> Value {
    match (kind, &value) {
        (Kind::Boolean, Value::String(text)) => boolean(text).map_or(value, Value::Bool),
        (Kind::Integer | Kind::Decimal, Value::String(text)) => number(text).map_or(value, Value::Number),
        _ => value,
    }
}

/// `"active": "False"`: Entra ID without `aadOptscim062020`. Nothing else than the two words in any case counts: a
/// wrong guess here would leave a leaver's access open.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// `"costIndex": "42"` for a number: Entra ID, whose mappings produce text.
fn number(text: &str) -> Option<Number> {
    serde_json::from_str(text).ok()
}

/// `"manager": "26118915"` for `{"value": "26118915"}`: Entra ID. The empty text is how it clears a manager.
pub fn complex_from_text(attribute: &Attribute, text: String) -> Option<Map<String, Value>> {
    if attribute.multi_valued {
        return None;
    }
    attribute.sub("value")?;
    let mut complex = Map::new();
    if !text.is_empty() {
        complex.insert("value".to_owned(), Value::String(text));
    }
    Some(complex)
}

/// `"op": "Replace"`: Entra ID writes operations with a capital letter.
pub fn operation_name(written: &str) -> String {
    written.to_ascii_lowercase()
}

/// Does a value say anything once these words are all that is left of it? Entra ID clears a mail address with
/// `remove emails[type eq "work"].value`, and does not expect a husk of `type` and `primary` to stay.
pub fn is_husk(element: &Map<String, Value>) -> bool {
    element.keys().all(|key| matches!(key.as_str(), "type" | "primary" | "display"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_two_words_are_booleans() {
        let taken = ["True", "false", "FALSE", "1", "0", "yes", "", " true"].map(boolean);
        assert_eq!(taken, [Some(true), Some(false), Some(false), None, None, None, None, None]);
    }

    #[test]
    fn a_value_without_a_habit_stays_what_it_is() {
        assert_eq!(simple(Kind::Boolean, json!("maybe")), json!("maybe"));
        assert_eq!(simple(Kind::Integer, json!("4x")), json!("4x"));
        assert_eq!(simple(Kind::Integer, json!("42")), json!(42));
        assert_eq!(simple(Kind::String, json!(701_984)), json!(701_984));
        assert_eq!(simple(Kind::String, json!(["a"])), json!(["a"]));
    }
}
