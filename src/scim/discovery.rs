//! What the service provider can do (RFC 7644 §4): ServiceProviderConfig, ResourceTypes, Schemas.
//!
//! Documents tell what is true and no more: a feature is announced here in the change that brings it. `base` is the
//! SCIM base URL of the realm, without a slash at its end.

use serde_json::{Value, json};

use super::limits::MAX_BULK_OPERATIONS;
use super::list::PageSizes;
use super::schema::{ResourceType, Schema};

const CONFIG_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
const RESOURCE_TYPE_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const SCHEMA_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const LIST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// What the operator has set of what a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub page_sizes: PageSizes,
    /// How many seconds a cursor is good for (RFC 9865 §4).
    pub cursor_timeout: u64,
    /// Bytes of a bulk request.
    pub bulk_bytes: usize,
}

/// `GET /ServiceProviderConfig` (RFC 7643 §5).
///
/// `oauth`: does anybody give out access tokens for this realm, beside its static ones?
pub fn service_provider_config(base: &str, bounds: &Bounds, oauth: bool) -> Value {
    let Bounds { page_sizes, cursor_timeout, bulk_bytes } = bounds;
    json!({
        "schemas": [CONFIG_URN],
        "patch": { "supported": true },
        "bulk": { "supported": true, "maxOperations": MAX_BULK_OPERATIONS, "maxPayloadSize": bulk_bytes },
        "filter": { "supported": true, "maxResults": page_sizes.most },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": page_sizes.default,
            "maxPageSize": page_sizes.most,
            "cursorTimeout": cursor_timeout,
        },
        "authenticationSchemes": authentication_schemes(oauth),
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

fn authentication_schemes(oauth: bool) -> Value {
    let mut schemes = vec![json!({
        "type": "oauthbearertoken",
        "name": "OAuth Bearer Token",
        "description": "The SCIM token of the realm in the Authorization header",
        "specUri": "https://www.rfc-editor.org/info/rfc6750",
        "primary": true,
    })];
    if oauth {
        schemes.push(json!({
            "type": "oauth2",
            "name": "OAuth 2.0",
            "description": "An access token in the Authorization header: of the realm's token endpoint by client \
                            credentials, or of an issuer that the realm trusts",
            "specUri": "https://www.rfc-editor.org/info/rfc6749",
            "primary": false,
        }));
    }
    Value::Array(schemes)
}

/// `GET /ResourceTypes`
pub fn resource_types(base: &str, types: &[&ResourceType]) -> Value {
    list(types.iter().map(|resource_type| self::resource_type(base, resource_type)))
}

/// `GET /ResourceTypes/{name}` (RFC 7643 §6).
pub fn resource_type(base: &str, resource_type: &ResourceType) -> Value {
    let ResourceType { name, endpoint, schema, extensions, required_extensions } = resource_type;
    let extension =
        |extension: &Schema| json!({ "schema": extension.id, "required": required_extensions.contains(&extension.id) });
    let extensions: Vec<Value> = extensions.iter().map(extension).collect();
    json!({
        "schemas": [RESOURCE_TYPE_URN],
        "id": name,
        "name": name,
        "endpoint": endpoint,
        "description": schema.description,
        "schema": schema.id,
        "schemaExtensions": extensions,
        "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}") },
    })
}

/// `GET /Schemas`: each schema of `types` once.
pub fn schemas(base: &str, types: &[&ResourceType]) -> Value {
    let mut all: Vec<&Schema> = Vec::new();
    for schema in types.iter().flat_map(|resource_type| resource_type.schemas()) {
        if !all.iter().any(|other| other.id.eq_ignore_ascii_case(&schema.id)) {
            all.push(schema);
        }
    }
    list(all.into_iter().map(|schema| self::schema(base, schema)))
}

/// `GET /Schemas/{urn}` (RFC 7643 §7).
pub fn schema(base: &str, schema: &Schema) -> Value {
    let Schema { id, name, description, attributes } = schema;
    json!({
        "schemas": [SCHEMA_URN],
        "id": id,
        "name": name,
        "description": description,
        "attributes": attributes,
        "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{id}") },
    })
}

/// RFC 7644 §4: discovery answers whole lists, without paging.
fn list(resources: impl Iterator<Item = Value>) -> Value {
    let resources: Vec<Value> = resources.collect();
    let count = resources.len();
    json!({
        "schemas": [LIST_URN],
        "totalResults": count,
        "startIndex": 1,
        "itemsPerPage": count,
        "Resources": resources,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::schema::{ENTERPRISE_USER_URN, GROUP_URN, USER_URN};

    const BASE: &str = "https://id.example/realms/acme/scim/v2";

    fn types() -> [&'static ResourceType; 2] {
        [ResourceType::user(), ResourceType::group()]
    }

    #[test]
    fn the_configuration_has_every_mandatory_part() {
        let config = service_provider_config(
            BASE,
            &Bounds { page_sizes: PageSizes { default: 100, most: 1000 }, cursor_timeout: 3600, bulk_bytes: 10 << 20 },
            false,
        );
        for part in ["patch", "bulk", "filter", "changePassword", "sort", "etag"] {
            assert!(config[part]["supported"].is_boolean(), "{part}");
        }
        assert_eq!(config["filter"]["maxResults"], 1000);
        assert_eq!(config["pagination"]["maxPageSize"], 1000);
        assert_eq!(config["bulk"]["maxPayloadSize"], 10 << 20);
        assert_eq!(config["authenticationSchemes"][0]["type"], "oauthbearertoken");
        assert_eq!(config["authenticationSchemes"].as_array().map(Vec::len), Some(1));
        assert_eq!(config["meta"]["location"], format!("{BASE}/ServiceProviderConfig"));
    }

    #[test]
    fn resource_types_name_their_schemas() {
        let listed = resource_types(BASE, &types());
        assert_eq!(listed["totalResults"], 2);
        let user = &listed["Resources"][0];
        assert_eq!(user["endpoint"], "/Users");
        assert_eq!(user["schemaExtensions"][0], json!({ "schema": ENTERPRISE_USER_URN, "required": false }));
        assert_eq!(user["meta"]["location"], format!("{BASE}/ResourceTypes/User"));
        assert_eq!(listed["Resources"][1]["schemaExtensions"], json!([]));
    }

    #[test]
    fn schemas_tell_the_characteristics() {
        let listed = schemas(BASE, &types());
        let ids: Vec<_> = listed["Resources"].as_array().unwrap().iter().map(|schema| &schema["id"]).collect();
        assert_eq!(ids, [USER_URN, ENTERPRISE_USER_URN, GROUP_URN]);
        assert_eq!(
            listed["Resources"][0]["attributes"][0],
            json!({
                "name": "userName", "type": "string", "multiValued": false, "required": true, "caseExact": false,
                "description": "Name by which the user is known to the service; unique within the realm, in any case of letters.",
                "mutability": "readWrite", "returned": "default", "uniqueness": "server",
            })
        );
        assert_eq!(listed["Resources"][2]["meta"]["location"], format!("{BASE}/Schemas/{GROUP_URN}"));
    }
}
