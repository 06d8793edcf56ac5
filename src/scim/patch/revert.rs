//! What was changed, found and taken back by the paths of [`super::changes`]: an attribute, or one of an extension by
//! `urn:…:name`.
//!
//! NB: a top-level value under a URN which is no object, and which is not in the resource, is taken for an attribute of an
//! extension: nothing tells the two apart.

use serde_json::{Map, Value};

use crate::scim::resource::{Resource, is_urn};

/// The value at the path.
pub fn value_at<'a>(resource: &'a Resource, path: &str) -> Option<&'a Value> {
    match inner(resource, path) {
        Some((urn, name)) => resource.0.get(urn)?.get(name),
        None => resource.0.get(path),
    }
}

/// Puts the value at the path. `None` takes it away, and with the last of its attributes an extension.
pub fn set_at(resource: &mut Resource, path: &str, value: Option<Value>) {
    let Some((urn, name)) = inner(resource, path) else { return put(&mut resource.0, path, value) };
    let mut extension = resource.0.get(urn).and_then(Value::as_object).cloned().unwrap_or_default();
    put(&mut extension, name, value);
    put(
        &mut resource.0,
        urn,
        Some(Value::Object(extension)).filter(|extension| *extension != Value::Object(Map::new())),
    );
}

/// The resource as it was before a change; `previous` are the former values of what changed, `null` for none.
#[must_use]
pub fn reverted(after: &Resource, previous: &Map<String, Value>) -> Resource {
    let mut before = after.clone();
    for (path, value) in previous {
        set_at(&mut before, path, Some(value.clone()).filter(|value| !value.is_null()));
    }
    before
}

/// The extension and its attribute, if the path names one.
fn inner<'a>(resource: &Resource, path: &'a str) -> Option<(&'a str, &'a str)> {
    if !is_urn(path) || resource.0.contains_key(path) {
        return None;
    }
    path.rsplit_once(':').filter(|(urn, _)| resource.0.get(*urn).is_none_or(Value::is_object))
}

fn put(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value)),
        None => drop(map.shift_remove(name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::patch::changes;

    fn resource(value: Value) -> Resource {
        match value {
            Value::Object(map) => Resource(map),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn taking_changes_back_gives_what_was() {
        let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let states = [
            json!({ "userName": "ada" }),
            json!({ "userName": "ada", "title": "Countess", "active": false }),
            json!({ "userName": "ada", urn: { "department": "Engines" } }),
            json!({ "userName": "eve", urn: { "department": "Looms", "costCenter": "7" } }),
            json!({ "emails": [{ "value": "a@b.example" }], urn: { "manager": { "value": "1" } } }),
            json!({ "urn:example:note": "x", "name": { "givenName": "Ada" } }),
            json!({ "urn:example:note": "y" }),
        ];
        for before in &states {
            for after in &states {
                let (before, after) = (resource(before.clone()), resource(after.clone()));
                if before.0.contains_key("urn:example:note") && !after.0.contains_key("urn:example:note") {
                    continue;
                }
                let previous = changes(&before, &after)
                    .into_iter()
                    .map(|change| (change.path, change.previous.unwrap_or(Value::Null)))
                    .collect();
                assert_eq!(reverted(&after, &previous), before, "{after:?}");
                for change in changes(&before, &after) {
                    assert_eq!(value_at(&before, &change.path), change.previous.as_ref(), "{}", change.path);
                    assert_eq!(value_at(&after, &change.path), change.current.as_ref(), "{}", change.path);
                }
            }
        }
    }
}
