//! A resource as it is kept: the document as text, ready to be copied into an answer, and what the service provider
//! owns of it.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::scim::resource::Resource;

/// A stored resource, common to users and groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub id: Uuid,
    /// Counts the changes, from 1; the ETag (RFC 7644 §3.14).
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// A JSON object: `schemas` and what the IdP wrote.
    pub attributes: String,
    /// Kept in step by the IdP over SCIM, which sees nothing else; if not, an operator made it.
    pub managed: bool,
}

impl Document {
    /// The text which is stored for `resource`: `schemas` first, since an answer always holds it.
    pub fn text_of(schemas: &[&str], resource: &Resource) -> String {
        let mut map = Map::with_capacity(resource.0.len() + 1);
        map.insert("schemas".into(), schemas.iter().map(|urn| Value::from(*urn)).collect());
        map.extend(resource.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(map).to_string()
    }

    /// The document as the protocol works on it. `None` if what is stored is not an object, which only a foreign hand
    /// can have brought about.
    pub fn resource(&self) -> Option<Resource> {
        let mut map: Map<String, Value> = serde_json::from_str(&self.attributes).ok()?;
        map.shift_remove("schemas");
        Some(Resource(map))
    }
}
