//! A resource as it is kept (RFC 7643 §2-3): what the client wrote, admitted by its schema.

use serde_json::{Map, Value};

/// A resource's attributes under their canonical names, without what the service provider owns (`id`, `meta`,
/// `schemas`, and read-only ones such as a user's `groups`). Extension attributes stand in an object under the
/// extension's URN. A group's `members` are never in here: membership is rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource(pub Map<String, Value>);
