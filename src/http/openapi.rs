//! The OpenAPI document of the admin API (OpenAPI 3.1), made of the route table: what is not in the table is not in the
//! document, and the other way round.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::route::{Endpoint, Route};
use crate::model::admin::Need;

/// Names the schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What the document says of a route.
#[derive(Clone, Default)]
pub struct Operation {
    pub summary: &'static str,
    /// Parameters of the query: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// The body of the request.
    pub takes: Option<SchemaOf>,
    /// Status and body of the good answer.
    pub answers: Option<(u16, Option<SchemaOf>)>,
}

/// The schema of a `T`, by reference.
pub fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The document for `routes`, as far as they belong to the admin API; `version` is the program's.
pub fn document(routes: &[Route], version: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        if let Endpoint::Admin(need, _) = &route.endpoint {
            let method = route.method.as_str().to_ascii_lowercase();
            paths.entry(route.path).or_default().insert(method, operation(route, *need, &mut generator));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "realmgate admin API", "version": version },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "operator": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "An access token of /realms/master/protocol/openid-connect/token" }
            },
            "schemas": generator.take_definitions(true),
        },
        "security": [{ "operator": [] }],
    })
}

fn operation(route: &Route, need: Need, generator: &mut SchemaGenerator) -> Value {
    let says = &route.operation;
    let in_path = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        json!({ "name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let in_query = says.query.iter().map(|(name, meaning)| {
        json!({ "name": name, "in": "query", "description": meaning, "schema": { "type": "string" } })
    });
    let content = |schema: Schema| json!({ "application/json": { "schema": schema } });
    let mut operation = json!({
        "summary": says.summary,
        "description": needs(need),
        "operationId": operation_id(route),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {},
    });
    if let Some(takes) = says.takes {
        operation["requestBody"] = json!({ "content": content(takes(generator)) });
    }
    let (status, body) = says.answers.unwrap_or((200, None));
    let mut answer = json!({ "description": says.summary });
    if let Some(body) = body {
        answer["content"] = content(body(generator));
    }
    operation["responses"][status.to_string()] = answer;
    operation
}

/// `get_admin_realms_realm`: the method and the words of the path.
fn operation_id(route: &Route) -> String {
    let words = route.path.split('/').filter(|word| !word.is_empty());
    let words = words.map(|word| word.trim_matches(['{', '}', '*']).replace(['-', '.'], "_"));
    std::iter::once(route.method.as_str().to_ascii_lowercase()).chain(words).collect::<Vec<_>>().join("_")
}

fn needs(need: Need) -> String {
    match need {
        Need::Operator => "For every operator.".into(),
        Need::CreateRealm => "Needs the realm role `create-realm` or `admin` of `master`.".into(),
        Need::Everything => "Needs the realm role `admin` of `master`.".into(),
        Need::AnyRight => "Needs any role in the realm.".into(),
        Need::Right(right) => format!("Needs `{}` in the realm.", right.as_str()),
    }
}
