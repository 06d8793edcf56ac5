//! A group as we keep it. Its members are rows of their own, never part of the document.

use jiff::Timestamp;

use super::GroupId;
use crate::scim::resource::Resource;

/// A group of a realm, without its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub id: GroupId,
    /// Counts the changes, those of membership included, from 1; the ETag (RFC 7644 §3.14).
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// What the IdP wrote, without `members`.
    pub resource: Resource,
}
