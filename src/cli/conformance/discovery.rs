//! Discovery (RFC 7643 §5-§7, RFC 7644 §4): the documents, their form, and that they agree with each other.

use http::Method;
use serde_json::{Value, json};

use super::{
    Unmet, Verdict, checks,
    provider::{Answer, expect},
    urn,
};

/// Data types of attributes (RFC 7643 §2.3).
const TYPES: [&str; 8] = ["string", "boolean", "decimal", "integer", "dateTime", "binary", "reference", "complex"];

checks! {
    "RFC 7644 §4", "GET /ServiceProviderConfig describes the service provider" => |p| {
        let config = p.get("/ServiceProviderConfig").await?;
        config.is(200)?.has("/schemas", json!(["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"]))?;
        config.has("/meta/resourceType", "ServiceProviderConfig")?;
        config.has("/meta/location", format!("{}/ServiceProviderConfig", p.base_url))?;
    }
    "RFC 7643 §5", "ServiceProviderConfig says of each feature whether it is supported" => |p| {
        for feature in ["patch", "bulk", "filter", "changePassword", "sort", "etag"] {
            let supported = &p.config[feature]["supported"];
            expect(supported.is_boolean(), || format!("expected a boolean at {feature}.supported, found {supported}"))?;
        }
    }
    "RFC 7643 §5", "ServiceProviderConfig tells the limits of bulk requests and of filters" => |p| {
        for limit in ["/bulk/maxOperations", "/bulk/maxPayloadSize", "/filter/maxResults"] {
            let found = p.config.pointer(limit).unwrap_or(&Value::Null);
            expect(found.is_u64(), || format!("expected an integer at {limit}, found {found}"))?;
        }
    }
    "RFC 7643 §5", "ServiceProviderConfig names an authentication scheme, with type, name and description" => |p| {
        for part in ["type", "name", "description"] {
            let found = &p.config["authenticationSchemes"][0][part];
            expect(found.is_string(), || format!("expected authenticationSchemes[0].{part}, found {found}"))?;
        }
    }
    "RFC 7643 §5", "ServiceProviderConfig names at most one primary authentication scheme" => |p| {
        let schemes = p.config["authenticationSchemes"].as_array().map_or(&[][..], Vec::as_slice);
        let primary = schemes.iter().filter(|scheme| scheme["primary"] == true).count();
        expect(primary <= 1, || format!("found {primary}"))?;
    }
    "RFC 9865 §4", "ServiceProviderConfig tells how lists are paged, where cursors are offered" => |p| {
        let pagination = &p.config["pagination"];
        expect(!pagination.is_null(), String::new).map_err(|_| Unmet::unsupported("pagination"))?;
        for method in ["cursor", "index"] {
            expect(pagination[method].is_boolean(), || format!("expected a boolean at pagination.{method}"))?;
        }
    }
    "RFC 7644 §4", "GET /ResourceTypes lists User and Group" => |p| {
        let list = p.get("/ResourceTypes").await?;
        list.is(200)?.has("/schemas", json!([urn::LIST]))?;
        expect(["User", "Group"].iter().all(|name| list.each("name").contains(name)), || "expected both".into())?;
    }
    "RFC 7643 §6", "A resource type tells its endpoint and its schema" => |p| {
        for (name, endpoint, schema) in [("User", "/Users", urn::USER), ("Group", "/Groups", urn::GROUP)] {
            let found = p.get(&format!("/ResourceTypes/{name}")).await?;
            found.is(200)?.has("/name", name)?.has("/endpoint", endpoint)?.has("/schema", schema)?;
            found.has("/schemas", json!(["urn:ietf:params:scim:schemas:core:2.0:ResourceType"]))?;
            found.has("/meta/location", format!("{}/ResourceTypes/{name}", p.base_url))?;
        }
    }
    "RFC 7643 §6", "Each schema which a resource type names is in /Schemas" => |p| {
        let schemas = p.get("/Schemas").await?;
        for resource_type in p.get("/ResourceTypes").await?.resources() {
            let extensions = resource_type["schemaExtensions"].as_array().into_iter().flatten();
            for urn in extensions.map(|extension| &extension["schema"]).chain([&resource_type["schema"]]) {
                let listed = schemas.resources().iter().any(|schema| schema["id"] == *urn);
                expect(listed, || format!("{urn} is not listed"))?;
            }
        }
    }
    "RFC 7643 §6", "A schema extension tells whether it is required" => |p| {
        for resource_type in p.get("/ResourceTypes").await?.resources() {
            for extension in resource_type["schemaExtensions"].as_array().into_iter().flatten() {
                expect(extension["required"].is_boolean(), || format!("expected `required` in {extension}"))?;
            }
        }
    }
    "RFC 7644 §4", "GET /Schemas lists User, its enterprise extension, and Group" => |p| {
        let list = p.get("/Schemas").await?;
        list.is(200)?.has("/schemas", json!([urn::LIST]))?.has("/totalResults", list.resources().len())?;
        let ids = list.each("id");
        let all = [urn::USER, urn::ENTERPRISE, urn::GROUP];
        expect(all.iter().all(|id| ids.contains(id)), || format!("found {ids:?}"))?;
    }
    "RFC 7644 §4", "GET /Schemas/<URN> gives one schema" => |p| {
        for schema in p.get("/Schemas").await?.resources() {
            let id = schema["id"].as_str().unwrap_or_default();
            let one = p.get(&format!("/Schemas/{id}")).await?;
            one.is(200)?.has("/id", id)?.has("/attributes", schema["attributes"].clone())?;
        }
    }
    "RFC 7643 §7", "Each attribute tells all of its characteristics" => |p| {
        for schema in p.get("/Schemas").await?.resources() {
            each_attribute(schema, &mut |attribute| {
                let text = |key: &str, words: &[&str]| {
                    let found = attribute[key].as_str();
                    expect(found.is_some_and(|word| words.contains(&word)), || format!("`{key}` of {attribute}"))
                };
                expect(attribute["multiValued"].is_boolean(), || format!("`multiValued` of {attribute}"))?;
                expect(attribute["required"].is_boolean(), || format!("`required` of {attribute}"))?;
                expect(attribute["caseExact"].is_boolean(), || format!("`caseExact` of {attribute}"))?;
                text("type", &TYPES)?;
                text("mutability", &["readOnly", "readWrite", "immutable", "writeOnly"])?;
                text("returned", &["always", "never", "default", "request"])?;
                text("uniqueness", &["none", "server", "global"])
            })?;
        }
    }
    "RFC 7643 §2.3.8", "A complex attribute has sub-attributes, none of them complex" => |p| {
        for schema in p.get("/Schemas").await?.resources() {
            for attribute in schema["attributes"].as_array().into_iter().flatten() {
                let parts = attribute["subAttributes"].as_array().map_or(&[][..], Vec::as_slice);
                expect((attribute["type"] == "complex") != parts.is_empty(), || format!("found {attribute}"))?;
                expect(parts.iter().all(|part| part["type"] != "complex"), || format!("found {attribute}"))?;
            }
        }
    }
    "RFC 7643 §4.1", "userName is required, unique, and does not heed case" => |p| {
        let schema = p.get(&format!("/Schemas/{}", urn::USER)).await?;
        let name = attribute(&schema, "userName")?;
        expect(name["required"] == true && name["uniqueness"] == "server", || format!("found {name}"))?;
        expect(name["caseExact"] == false, || format!("found {name}"))?;
    }
    "RFC 7643 §4.1.1", "password is writeOnly and never returned" => |p| {
        let schema = p.get(&format!("/Schemas/{}", urn::USER)).await?;
        let password = attribute(&schema, "password")?;
        let hidden = password["mutability"] == "writeOnly" && password["returned"] == "never";
        expect(hidden, || format!("found {password}"))?;
    }
    "RFC 7644 §4", "Discovery is read only: other methods are refused" => |p| {
        for path in ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                p.ask(method, path).json(&json!({})).send().await?.refused(405, "")?;
            }
        }
    }
    "RFC 7644 §4", "Discovery refuses a filter with 403" => |p| {
        for path in ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"] {
            p.get(&format!("{path}?filter=id%20pr")).await?.refused(403, "")?;
        }
    }
    "RFC 7644 §4", "Discovery lists come whole, whatever page is asked for" => |p| {
        let whole = p.get("/Schemas").await?.resources().len();
        p.get("/Schemas?startIndex=2&count=1").await?.is(200)?.has("/totalResults", whole)?;
    }
    "RFC 7644 §4", "An unknown schema or resource type is 404" => |p| {
        p.get("/Schemas/urn:ietf:params:scim:schemas:core:2.0:Teapot").await?.refused(404, "")?;
        p.get("/ResourceTypes/Teapot").await?.refused(404, "")?;
    }
}

/// Runs `check` on each attribute and sub-attribute of a schema.
fn each_attribute(schema: &Value, check: &mut dyn FnMut(&Value) -> Verdict) -> Verdict {
    for attribute in schema["attributes"].as_array().into_iter().flatten() {
        check(attribute)?;
        attribute["subAttributes"].as_array().into_iter().flatten().try_for_each(&mut *check)?;
    }
    Ok(())
}

fn attribute<'a>(schema: &'a Answer, name: &str) -> Verdict<&'a Value> {
    let mut all = schema.body["attributes"].as_array().into_iter().flatten();
    all.find(|attribute| attribute["name"] == name).ok_or_else(|| Unmet::fail(format_args!("expected `{name}`")))
}
