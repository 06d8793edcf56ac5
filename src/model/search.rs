//! What operators look for among the users of a realm, in Keycloak's words.

use uuid::Uuid;

use super::user::State;
use crate::scim::resource::fold;

/// Which users are wanted: those whom all of it fits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserSearch {
    pub terms: Vec<Term>,
    pub user_name: Option<String>,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    /// Are the four above the whole value, or a part of it?
    pub exact: bool,
    pub enabled: Option<bool>,
    pub state: Option<State>,
    pub email_verified: Option<bool>,
    /// Names of attributes and the values which they must have.
    pub attributes: Vec<(String, String)>,
}

/// A word of `search`, folded: found in userName, first name, last name or an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// `foo`, `foo*`
    Prefix(String),
    /// `*foo*`
    Infix(String),
    /// `"foo"`
    Exact(String),
    /// `id:…`, any of them
    Ids(Vec<Uuid>),
}

impl Term {
    /// The words of `search`.
    pub fn all_of(search: &str) -> Vec<Self> {
        if let Some(ids) = search.trim().strip_prefix("id:") {
            return vec![Self::Ids(ids.split_whitespace().filter_map(|id| Uuid::try_parse(id).ok()).collect())];
        }
        words(search).filter_map(|word| Self::of(&fold(word))).collect()
    }

    /// `None` if the word fits everybody.
    fn of(word: &str) -> Option<Self> {
        if let Some(quoted) = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            return Some(Self::Exact(quoted.to_owned()));
        }
        let inner = word.trim_matches('*');
        match word.starts_with('*') {
            _ if inner.is_empty() => None,
            true => Some(Self::Infix(inner.to_owned())),
            false => Some(Self::Prefix(inner.to_owned())),
        }
    }
}

/// The pairs of `q`: `key:value key2:"value with blanks"`. What is no pair is passed over.
pub fn pairs(q: &str) -> Vec<(String, String)> {
    let unquoted = |text: &str| text.trim_matches('"').to_owned();
    let pair = |word: &str| {
        let colon = outside_quotes(word, |c| c == ':')?;
        Some((unquoted(&word[..colon]), unquoted(&word[colon + 1..])))
    };
    words(q).filter_map(pair).filter(|(key, _)| !key.is_empty()).collect()
}

/// What blanks divide, where they are not in quotes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_start();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = outside_quotes(rest, char::is_whitespace).unwrap_or(rest.len());
        let word;
        (word, rest) = rest.split_at(end);
        rest = rest.trim_start();
        Some(word)
    })
}

/// Where the first such character is that does not stand between quotes.
fn outside_quotes(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let mut quoted = false;
    let found = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        !quoted && wanted(*c)
    });
    found.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_a_search_says_how_it_is_meant() {
        use Term::{Exact, Ids, Infix, Prefix};
        let text = String::from;
        assert_eq!(Term::all_of("Al"), [Prefix(text("al"))]);
        assert_eq!(
            Term::all_of(" al* *LOV*  \"Ada Lovelace\""),
            [Prefix(text("al")), Infix(text("lov")), Exact(text("ada lovelace"))]
        );
        assert_eq!(Term::all_of("*"), []);
        assert_eq!(Term::all_of("  "), []);
        assert_eq!(Term::all_of("\""), [Prefix(text("\""))]);
        let id = Uuid::from_u128(7);
        assert_eq!(Term::all_of(&format!("id:{id} nobody")), [Ids(vec![id])]);
    }

    #[test]
    fn pairs_are_divided_by_blanks_and_colons_outside_of_quotes() {
        let pairs_of = |q: &str| pairs(q).into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        assert_eq!(pairs_of("externalId:42"), ["externalId=42"]);
        assert_eq!(pairs_of("a:b:c \"urn:x:y\":\"one two\" stray :none"), ["a=b:c", "urn:x:y=one two"]);
    }
}
