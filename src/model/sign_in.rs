//! Somebody who signs in, as the application needs to know him.

use serde_json::Value;

use super::{document::Document, user::State};

/// The user whom an id token speaks of.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    pub document: Document,
    pub state: State,
    /// The application's own display name (X3).
    pub display_name: Option<String>,
    /// `{"id", "displayName"}` of each group, as a JSON array.
    pub groups: Value,
}

/// What becomes of a sign-in.
#[derive(Debug, Clone, PartialEq)]
pub enum SignIn {
    Accepted {
        subject: Box<Subject>,
        /// Names of the roles that the user has, by itself or by a group.
        roles: Vec<String>,
        /// Was it the first one, which turned a shadow user active (M058)?
        first: bool,
    },
    /// The IdP has disabled the user (M054).
    Disabled,
    /// No user has what the token says.
    Unknown,
    /// Several have it.
    Ambiguous,
}
