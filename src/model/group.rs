//! A group as we keep it. Its members are rows of their own, never part of the document.

use uuid::Uuid;

use super::document::Document;

/// A group of a realm.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub document: Document,
    /// The first of its members, where they were read along.
    pub members: Option<Stretch>,
}

/// How much of a group's membership is read along with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    Unread,
    /// Who is a member.
    Plain,
    /// And the names of the members, which lie elsewhere.
    Named,
}

/// A member of a group, as answers show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: Uuid,
    pub kind: MemberKind,
    /// The name for people, as JSON text.
    pub display: Option<String>,
}

/// `type` of a member (RFC 7643 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    User,
    Group,
}

/// Members of several groups: a stretch of the way which leads from group to group, and within each in the order of the
/// members' ids.
///
/// Each stretch is what is true at one moment. Whoever is a member all the while is met once; whoever comes or goes
/// meanwhile may be met or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stretch {
    /// Each with the index of its group.
    pub members: Vec<(usize, Member)>,
    /// Where the way goes on; `None` at its end.
    pub next: Option<Place>,
}

/// A place on the way through the members of several groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Index of the group.
    pub group: usize,
    /// The member who was met last.
    pub after: Uuid,
}
