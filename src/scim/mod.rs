//! The protocol: SCIM 2.0 (RFC 7643, RFC 7644, RFC 9865) as pure functions over values.
//!
//! Lives here: schemas, resources, attribute paths, filters, PATCH, projection, discovery, and every way a SCIM
//! request can be wrong. Not here: clocks, sockets, SQL, HTTP, tenants. To follow a rule of the RFC, search this
//! folder for its section.

pub mod bulk;
pub mod discovery;
pub mod error;
pub mod extension;
pub mod filter;
pub mod json;
pub mod leaver;
pub mod lenient;
pub mod list;
pub mod patch;
pub mod path;
pub mod resource;
pub mod schema;
pub mod search;
pub mod sort;

/// How much of anything a request may hold. Checked before the work is done, never after.
pub mod limits {
    /// Nesting of objects and lists in a JSON body.
    pub const MAX_DEPTH: usize = 32;
    /// Values of any kind in a JSON body: what 100,000 members with their names need, and well under what fills the
    /// memory.
    pub const MAX_NODES: usize = 500_000;
    /// Attributes of one resource, sub-attributes not counted.
    pub const MAX_ATTRIBUTES: usize = 500;
    /// Values of one multi-valued attribute, members of a group aside.
    pub const MAX_VALUES: usize = 1_000;
    /// Bytes of one resource, by [`resource::size`](super::resource::size).
    pub const MAX_RESOURCE_BYTES: usize = 1 << 20;
    /// Bytes of an attribute that is searched by an index, as the index holds it: an index of Postgres takes 2,704.
    pub const MAX_KEY_BYTES: usize = 2_000;
    /// Members of a group which one request names.
    pub const MAX_MEMBERS: usize = 100_000;
    /// Operations of one bulk request.
    pub const MAX_BULK_OPERATIONS: usize = 1_000;
    /// Operations of one PATCH.
    pub const MAX_OPERATIONS: usize = 1_000;
    /// Bytes of text which the operations of one PATCH may look at: what takes a tenth of a second, or little more.
    pub const MAX_PATCH_WORK: usize = 50_000_000;
    /// Length of a filter, or of a path, in bytes.
    pub const MAX_FILTER_BYTES: usize = 4096;
    /// Brackets of any kind within each other in a filter.
    pub const MAX_FILTER_DEPTH: usize = 20;
    /// Comparisons of one filter, `pr` included.
    pub const MAX_COMPARISONS: usize = 100;
}
