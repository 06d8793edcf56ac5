//! A realm's own schemas: what a resource must have because of them.

use serde_json::{Map, Value, json};

/// Stands for a text which no other resource has.
pub const UNIQUE: &str = "\u{1}unique";

/// The attributes that each resource of the type must have, by the extensions which are required of it. `schemas` are
/// the realm's own, as the admin API lists them.
pub fn demanded(schemas: &Value, resource_type: &str) -> Map<String, Value> {
    let required = |schema: &&Value| schema["resourceType"] == resource_type && schema["required"] == true;
    let all = schemas.as_array().into_iter().flatten().filter(required);
    all.filter_map(|schema| Some((schema["id"].as_str()?.to_owned(), sample_of_all(&schema["attributes"])))).collect()
}

/// What is required of the attributes; all that may be written if nothing is, so that the extension is there.
fn sample_of_all(attributes: &Value) -> Value {
    let attributes = attributes.as_array().map_or(&[][..], Vec::as_slice);
    let any_required = attributes.iter().any(|attribute| attribute["required"] == true);
    let wanted = attributes
        .iter()
        .filter(|attribute| attribute["mutability"] != "readOnly" && (!any_required || attribute["required"] == true));
    wanted.filter_map(|attribute| Some((attribute["name"].as_str()?.to_owned(), sample(attribute)))).collect()
}

fn sample(attribute: &Value) -> Value {
    let one = match attribute["type"].as_str().unwrap_or("string") {
        "boolean" => json!(true),
        "integer" => json!(1),
        "decimal" => json!(1.5),
        "dateTime" => json!("2011-05-13T04:42:34Z"),
        "binary" => json!("AA=="),
        "reference" => json!("https://example.com/"),
        "complex" => sample_of_all(&attribute["subAttributes"]),
        _ => attribute["canonicalValues"].get(0).cloned().unwrap_or_else(|| UNIQUE.into()),
    };
    if attribute["multiValued"] == true { json!([one]) } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_required_extension_demands_is_made_up_by_type() {
        let attribute = |name: &str, kind: &str, required: bool| json!({ "name": name, "type": kind, "required": required, "canonicalValues": [] });
        let schema = |urn: &str, resource_type: &str, required: bool, attributes: [Value; 2]| json!({ "id": urn, "resourceType": resource_type, "required": required, "attributes": attributes });
        let tags = json!({ "name": "tags", "multiValued": true, "required": true, "canonicalValues": ["x", "y"] });
        let schemas = json!([
            schema("urn:a", "User", true, [attribute("free", "string", false), tags]),
            schema("urn:b", "User", false, [attribute("m", "integer", true), attribute("n", "integer", true)]),
            schema("urn:c", "Group", true, [attribute("m", "integer", false), attribute("n", "string", false)]),
        ]);
        assert_eq!(Value::from(demanded(&schemas, "User")), json!({ "urn:a": { "tags": ["x"] } }));
        assert_eq!(Value::from(demanded(&schemas, "Group")), json!({ "urn:c": { "m": 1, "n": UNIQUE } }));
    }
}
