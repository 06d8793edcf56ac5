//! A group as we keep it. Its members are rows of their own, never part of the document.

use uuid::Uuid;

use super::document::Document;

/// A group of a realm.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub document: Document,
    /// The SCIM attribute `members` as JSON text, where it was read along and is not empty.
    pub members: Option<String>,
}

/// A member of a group: a user, or a nested group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub id: Uuid,
    pub kind: MemberKind,
}

/// `type` of a member (RFC 7643 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberKind {
    User,
    Group,
}
