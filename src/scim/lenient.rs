//! What identity providers send against the RFC, and what it is taken for: each habit has a name and says who has it.
//!
//! A call site asks [`Dialect::allows`] for one habit by name; the strict dialect has none of them, so it answers 400
//! or takes the request by the letter. To add a habit: a variant of [`Habit`], its call site, and a row with the real
//! request in `tests/it/dialects.rs`, which fails for a variant without one.
//!
//! No habits, since the RFC allows them: names of attributes, operators and URNs in any case of letters (RFC 7643
//! §2.1); `null` for "unassigned" (§2.5); times without an offset and base64 without padding (§2.3.5, §2.3.6);
//! read-only attributes in the body of POST and PUT (RFC 7644 §3.3); a PUT which is silent about an attribute (§3.5.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::schema::{Attribute, Kind};

/// How much of an IdP's habits against the RFC is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    #[default]
    Lenient,
    Strict,
}

macro_rules! habits {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something which IdPs send against the RFC.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Habit {
            $($(#[$doc])* $name,)*
        }

        impl Habit {
            pub const ALL: &[Habit] = &[$(Habit::$name,)*];
        }
    };
}

habits! {
    // In the form of values.

    /// `"active": "False"`, and `roles[primary eq "True"]` in filters, for a boolean (RFC 7643 §2.3.2): Entra ID
    /// without `aadOptscim062020`.
    BooleanAsText,
    /// `"costIndex": "42"` for a number (RFC 7643 §2.3.3, §2.3.4): Entra ID, whose mappings produce text.
    NumberAsText,
    /// `"emails": {…}` for a list of one (RFC 7643 §2.4): Entra ID, for a mapping which has a single value.
    BareValue,
    /// `[{…}]` for the one value which a path with a filter selects (RFC 7644 §3.5.2.3): SAP Identity Provisioning.
    ListedValue,
    /// `"manager": "26118915"` for `{"value": "26118915"}` (RFC 7643 §2.3.8): Entra ID. The empty text is how it clears
    /// a manager.
    ComplexAsText,
    /// `"members": ["…"]` for a list of objects (RFC 7643 §4.2): scripts and workflow tools, such as push from Google
    /// Workspace.
    BareMember,
    /// `"members": [{"value": "…", "type": "value"}]` where RFC 7643 §8.7.1 has `User` and `Group`: PingFederate. Who
    /// the member is decides, not what it is called.
    MemberType,
    /// An attribute whose name has dots, or begins with a digit (RFC 7643 §2.1): IdPs which let their admins name
    /// attributes freely, such as Okta's profile mappings.
    FreeName,

    // In what a resource says of itself.

    /// `schemas` missing, or with a URN that is not ours (RFC 7643 §3): authentik leaves it out, Entra ID adds one of
    /// Microsoft's own.
    OtherSchemas,
    /// `manager.displayName`, which is read-only (RFC 7643 §4.3): Okta and Entra ID map the manager's name onto it, and
    /// repeat the change for ever if it does not stay.
    ReadOnlySubAttribute,

    // In PATCH and filters.

    /// A PATCH whose `schemas` is missing or names another URN than PatchOp (RFC 7644 §3.5.2): Entra ID's validator.
    OtherPatchSchema,
    /// `"op": "Replace"` for `replace` (RFC 7644 §3.5.2): Entra ID.
    CapitalOperation,
    /// `"value": {"name.givenName": "…"}`: a path as the key of a value without `path`, where RFC 7644 §3.5.2 has names
    /// of attributes: Entra ID with `aadOptscim062020`.
    PathAsKey,
    /// `"value": {"id": "…", "displayName": "…"}`: what is read-only sent along unchanged, where RFC 7644 §3.5.2 wants
    /// `mutability`: Okta, with the name of a group. It is left out.
    ReadOnlyAlong,
    /// `remove` with a `value`, which RFC 7644 §3.5.2.2 does not know: by its letter all values would go. Entra ID means
    /// those which it names, of a group's members for one.
    RemoveWithValue,
    /// `remove` whose filter matches nothing, where RFC 7644 §3.12 has `noTarget`: Entra ID repeats itself. What it
    /// wants gone is gone. NB: of a group's members this is no error in any dialect.
    RemoveOfNothing,
    /// `emails[type eq "work"].value` where there is no such e-mail, for which RFC 7644 §3.5.2.3 wants `noTarget`:
    /// Entra ID gives up on the user then. The value is made as the filter describes it.
    ValueFromFilter,
    /// `remove emails[type eq "work"].value`, which by RFC 7644 §3.5.2.2 leaves `{"type": "work"}`: Entra ID clears a mail
    /// address so, and expects no husk to stay.
    NoHusk,
    /// `filter=emails[type eq "work"].value eq "…"`, which is not in the grammar of RFC 7644 §3.4.2.2: Entra ID. The
    /// comparison is moved into the brackets.
    ComparisonBehindBrackets,
}

impl Dialect {
    pub const fn allows(self, _: Habit) -> bool {
        matches!(self, Self::Lenient)
    }
}

/// Brings a value which is no array and no object to the type of its attribute, if a habit explains it; any other
/// value comes back unchanged.
pub fn simple(dialect: Dialect, kind: Kind, value: Value) -> Value {
    match (kind, &value) {
        (Kind::Boolean, Value::String(text)) if dialect.allows(Habit::BooleanAsText) => {
            boolean(text).map_or(value, Value::Bool)
        }
        (Kind::Integer | Kind::Decimal, Value::String(text)) if dialect.allows(Habit::NumberAsText) => {
            number(text).map_or(value, Value::Number)
        }
        _ => value,
    }
}

/// [`Habit::BooleanAsText`]. Nothing else than the two words in any case counts: a wrong guess here would leave a
/// leaver's access open.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<Number> {
    serde_json::from_str(text).ok()
}

/// [`Habit::ComplexAsText`].
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

/// [`Habit::NoHusk`]: does a value say nothing once these words are all that is left of it?
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
        let lenient = |kind, value| simple(Dialect::Lenient, kind, value);
        assert_eq!(lenient(Kind::Boolean, json!("maybe")), json!("maybe"));
        assert_eq!(lenient(Kind::Integer, json!("4x")), json!("4x"));
        assert_eq!(lenient(Kind::Integer, json!("42")), json!(42));
        assert_eq!(lenient(Kind::String, json!(701_984)), json!(701_984));
        assert_eq!(lenient(Kind::String, json!(["a"])), json!(["a"]));
        assert_eq!(simple(Dialect::Strict, Kind::Boolean, json!("True")), json!("True"));
        assert_eq!(simple(Dialect::Strict, Kind::Integer, json!("42")), json!("42"));
    }
}
