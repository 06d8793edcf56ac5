//! A user as we keep it: the document which the IdP wrote, and what SCIM does not know of.

use serde::{Deserialize, Serialize};

use super::document::Document;
use crate::scim::{resource::Resource, schema::ResourceType};

/// A user of a realm.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub document: Document,
    /// Has the first sign-in happened, or does the policy want no shadow?
    pub activated: bool,
    pub state: State,
    /// The SCIM attribute `groups` (read-only, RFC 7643 §4.1.2) as JSON text, where it was read along.
    pub groups: Option<String>,
}

impl User {
    /// The user with the document of `resource` instead of its own.
    #[must_use]
    pub fn shown_as(self, user_type: &ResourceType, resource: &Resource) -> Self {
        let attributes = Document::text_of(&user_type.schemas_of(resource), resource);
        Self { document: Document { attributes, ..self.document }, ..self }
    }
}

/// What the application sees (M052-M058, X4). SCIM's `active` is `true` for a shadow user as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Provisioned, not yet signed in.
    Shadow,
    /// Has signed in, or the realm's policy wants no shadow.
    Active,
    /// The IdP said `active: false`.
    Disabled,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Shadow => "shadow",
            State::Active => "active",
            State::Disabled => "disabled",
        }
    }

    /// `active` is the IdP's word, `activated` whether the first sign-in has happened: two facts, so that a user
    /// who is disabled and enabled again returns to the former state (M056).
    pub const fn of(active: bool, activated: bool) -> Self {
        match (active, activated) {
            (false, _) => State::Disabled,
            (true, false) => State::Shadow,
            (true, true) => State::Active,
        }
    }
}
