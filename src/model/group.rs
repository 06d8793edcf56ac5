//! A group as we keep it. Its members are rows of their own, never part of the document.

use super::document::Document;

/// A group of a realm.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub document: Document,
    /// The SCIM attribute `members` as JSON text, where it was read along and is not empty.
    pub members: Option<String>,
}
