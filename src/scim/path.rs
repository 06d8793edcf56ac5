//! Attribute paths (RFC 7644 §3.10, §3.5.2): `userName`, `name.givenName`, `emails[type eq "work"].value`,
//! `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`.

use super::filter::Filter;

/// `attrPath = [URI ":"] ATTRNAME *1subAttr` (RFC 7644 figure 1), as it was written; see
/// [`ResourceType::resolve`](super::schema::ResourceType::resolve) for what it means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttrPath {
    /// Schema URN in front of the name, if one was written.
    pub urn: Option<String>,
    pub name: String,
    pub sub: Option<String>,
}

/// `PATH = attrPath / valuePath [subAttr]` (RFC 7644 figure 7).
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// With a filter, `attr.sub` is `None` and the sub-attribute stands in `sub`; without one, in `attr.sub`.
    pub attr: AttrPath,
    pub filter: Option<Filter>,
    /// Sub-attribute behind the brackets.
    pub sub: Option<String>,
}
