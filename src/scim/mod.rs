//! The protocol: SCIM 2.0 (RFC 7643, RFC 7644) as pure functions over values.
//!
//! Lives here: schemas, resources, attribute paths, filters, PATCH, projection, discovery, and every way a SCIM
//! request can be wrong. Not here: clocks, sockets, SQL, HTTP, tenants. To follow a rule of the RFC, search this
//! folder for its section.

pub mod discovery;
pub mod error;
pub mod filter;
pub mod json;
pub mod lenient;
pub mod list;
pub mod patch;
pub mod path;
pub mod resource;
pub mod schema;
