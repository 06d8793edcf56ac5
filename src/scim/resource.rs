//! A resource as it is kept (RFC 7643 §2-3): what the client wrote, admitted by its schema.

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

/// A resource's attributes under their canonical names, without what the service provider owns (`id`, `meta`,
/// `schemas`, and read-only ones such as a user's `groups`). Extension attributes stand in an object under the
/// extension's URN. A group's `members` are never in here: membership is rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource(pub Map<String, Value>);

/// The form in which text that is not `caseExact` is compared: NFKC, full case folding, NFC. One function feeds the
/// index keys, the filters and the checks, so that they cannot disagree.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    caseless::default_case_fold_str(&text.nfkc().collect::<String>()).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_people_take_for_the_same_folds_to_the_same() {
        assert_eq!(fold("Bjensen@Example.COM"), "bjensen@example.com");
        assert_eq!(fold("STRASSE"), fold("straße"));
        assert_eq!(fold("Ame\u{301}lie"), fold("AMÉLIE"));
        assert_eq!(fold("ﬁrst"), "first");
    }
}
