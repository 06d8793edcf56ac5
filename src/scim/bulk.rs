//! The plan of a bulk request (RFC 7644 §3.7): what its operations are, and in which order they can be done.
//!
//! An operation may refer to what another one of the request creates by `bulkId:…`, wherever that one stands. Not here:
//! doing them, and counting failures.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    error::{Error, Result},
    limits::MAX_BULK_OPERATIONS,
};

/// URN of the request (RFC 7644 §8.2).
pub const BULK_REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// URN of the answer (RFC 7644 §8.2).
pub const BULK_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// How a reference to what another operation creates begins.
const REFERENCE: &str = "bulkId:";

/// A bulk request.
#[derive(Debug, Clone, PartialEq)]
pub struct Bulk {
    /// After so many failures the rest is left undone; `None` does all.
    pub fail_on_errors: Option<usize>,
    pub operations: Vec<Operation>,
}

/// One operation of a bulk request.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// As it was written, for the answer.
    pub method: String,
    pub bulk_id: Option<String>,
    /// The version which the client wants to change, as `If-Match` has it.
    pub version: Option<String>,
    /// What is to be done, or what is wrong with it.
    pub call: Result<Call>,
}

/// What an operation is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub verb: Verb,
    pub endpoint: Endpoint,
    /// `id` of the resource; empty for [`Verb::Create`].
    pub id: String,
    /// Body of the request; `null` for [`Verb::Delete`].
    pub data: Value,
}

/// `method` of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Replace,
    Patch,
    Delete,
}

/// Where `path` of an operation leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Users,
    Groups,
}

/// In which order the operations can be done, as places in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub possible: Vec<usize>,
    /// These wait for each other, or for one that does.
    pub circular: Vec<usize>,
}

impl Bulk {
    /// Reads the body of a bulk request. What is wrong with one operation is told with that operation; what leaves open
    /// which operations there are is told of the whole.
    pub fn parse(body: Value) -> Result<Self> {
        let Value::Object(body) = body else {
            return Err(Error::invalid_syntax("The body must be a JSON object with `schemas` and `Operations`"));
        };
        let (mut schemas, mut fail_on_errors, mut operations) = (None, None, None);
        for (key, value) in body {
            match key.to_ascii_lowercase().as_str() {
                "schemas" => schemas = Some(value),
                "failonerrors" => fail_on_errors = limit_of_errors(&value)?,
                "operations" => operations = Some(value),
                _ => {}
            }
        }
        let declared =
            schemas.as_ref().and_then(Value::as_array).is_some_and(|urns| urns.contains(&BULK_REQUEST_URN.into()));
        if !declared {
            return Err(Error::invalid_syntax(format!("`schemas` must contain `{BULK_REQUEST_URN}`")));
        }
        let Some(Value::Array(operations)) = operations else {
            return Err(Error::invalid_syntax("`Operations` must be an array of operations"));
        };
        if operations.len() > MAX_BULK_OPERATIONS {
            return Err(Error::too_large(format!(
                "A bulk request may have at most {MAX_BULK_OPERATIONS} operations; send the rest in further requests"
            )));
        }
        let operations = operations.into_iter().map(Operation::parse).collect::<Result<Vec<_>>>()?;
        let mut seen = HashSet::new();
        if let Some(twice) = operations.iter().filter_map(|o| o.bulk_id.as_deref()).find(|id| !seen.insert(*id)) {
            return Err(Error::invalid_value(format!("`bulkId` `{twice}` is given to two operations")));
        }
        Ok(Self { fail_on_errors, operations })
    }

    /// The order of the request, but nothing before what it refers to.
    pub fn order(&self) -> Order {
        let creators: HashMap<&str, usize> = self.operations.iter().enumerate().filter_map(creator).collect();
        let needs: Vec<HashSet<usize>> = self.operations.iter().map(|operation| operation.needs(&creators)).collect();
        let mut waiting: Vec<usize> = (0..needs.len()).collect();
        let mut done = vec![false; needs.len()];
        let mut possible = Vec::with_capacity(needs.len());
        while let Some(at) = waiting.iter().position(|next| needs[*next].iter().all(|need| done[*need])) {
            let next = waiting.remove(at);
            done[next] = true;
            possible.push(next);
        }
        Order { possible, circular: waiting }
    }
}

fn creator((at, operation): (usize, &Operation)) -> Option<(&str, usize)> {
    let creates = matches!(&operation.call, Ok(call) if call.verb == Verb::Create);
    operation.bulk_id.as_deref().filter(|_| creates).map(|id| (id, at))
}

fn limit_of_errors(value: &Value) -> Result<Option<usize>> {
    let limit = value.as_u64().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    match (value, limit) {
        (Value::Null, _) => Ok(None),
        (_, Some(limit)) => Ok(Some(limit)),
        _ => Err(Error::invalid_value("`failOnErrors` must be a whole number from 1 on")),
    }
}

impl Operation {
    fn parse(operation: Value) -> Result<Self> {
        let Value::Object(operation) = operation else {
            return Err(Error::invalid_syntax("An operation must be a JSON object"));
        };
        let (mut method, mut bulk_id, mut version, mut path, mut data) = (None, None, None, None, Value::Null);
        for (key, value) in operation {
            match key.to_ascii_lowercase().as_str() {
                "method" => method = text("method", value)?,
                "bulkid" => bulk_id = text("bulkId", value)?,
                "version" => version = text("version", value)?,
                "path" => path = text("path", value)?,
                "data" => data = value,
                _ => {}
            }
        }
        let method = method.ok_or_else(|| Error::invalid_syntax("An operation needs `method`"))?;
        let call = Call::of(&method, bulk_id.as_deref(), path.as_deref(), data);
        Ok(Self { method, bulk_id, version, call })
    }

    /// The operations which must be done before this one.
    fn needs(&self, creators: &HashMap<&str, usize>) -> HashSet<usize> {
        let mut needs = HashSet::new();
        if let Ok(call) = &self.call {
            call.each_reference(&mut |id| needs.extend(creators.get(id)));
        }
        needs
    }
}

fn text(name: &str, value: Value) -> Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if !text.is_empty() => Ok(Some(text)),
        _ => Err(Error::invalid_syntax(format!("`{name}` of an operation must be a string"))),
    }
}

impl Call {
    fn of(method: &str, bulk_id: Option<&str>, path: Option<&str>, data: Value) -> Result<Self> {
        let verb = match method.to_ascii_uppercase().as_str() {
            "POST" => Verb::Create,
            "PUT" => Verb::Replace,
            "PATCH" => Verb::Patch,
            "DELETE" => Verb::Delete,
            _ => return Err(Error::invalid_syntax("`method` must be POST, PUT, PATCH or DELETE")),
        };
        if verb == Verb::Create && bulk_id.is_none() {
            return Err(Error::invalid_syntax("A POST needs a `bulkId`, by which the answer names it"));
        }
        let path = path.ok_or_else(|| Error::invalid_syntax("An operation needs `path`"))?;
        let (endpoint, id) = match path.strip_prefix('/').unwrap_or(path).split_once('/') {
            Some((endpoint, id)) => (endpoint, id),
            None => (path.strip_prefix('/').unwrap_or(path), ""),
        };
        let endpoint = match endpoint {
            "Users" => Endpoint::Users,
            "Groups" => Endpoint::Groups,
            _ => {
                return Err(Error::invalid_path(
                    "`path` must be `/Users` or `/Groups`, or one of these with `/` and an id",
                ));
            }
        };
        match (verb, id.is_empty()) {
            (Verb::Create, false) => Err(Error::invalid_path("`path` of a POST must be `/Users` or `/Groups`")),
            (Verb::Replace | Verb::Patch | Verb::Delete, true) => {
                Err(Error::invalid_path("`path` must name the resource, such as `/Users/` with an id"))
            }
            (Verb::Create | Verb::Replace | Verb::Patch, _) if !data.is_object() => {
                Err(Error::invalid_syntax("`data` must be the JSON object which the request would have as its body"))
            }
            _ => Ok(Self { verb, endpoint, id: id.to_owned(), data }),
        }
    }

    /// Puts the ids of what was created in the place of the references to it. One to something that was not created is
    /// `invalidValue`.
    pub fn resolve(&mut self, created: &HashMap<String, String>) -> Result<()> {
        let mut missing = None;
        self.each_reference(&mut |id| {
            if !created.contains_key(id) {
                missing.get_or_insert_with(|| id.to_owned());
            }
        });
        if let Some(id) = missing {
            return Err(Error::invalid_value(format!("no operation of this request has created `{REFERENCE}{id}`")));
        }
        if let Some(id) = self.id.strip_prefix(REFERENCE).and_then(|id| created.get(id)) {
            self.id.clone_from(id);
        }
        replace(&mut self.data, created);
        Ok(())
    }

    /// Each `bulkId` which the operation refers to.
    fn each_reference(&self, found: &mut impl FnMut(&str)) {
        if let Some(id) = self.id.strip_prefix(REFERENCE) {
            found(id);
        }
        // What is found is left as it is, so a copy serves.
        each_text(
            &mut self.data.clone(),
            "",
            &mut |name, text| match (Place::of(name), text.strip_prefix(REFERENCE)) {
                (Place::Whole, Some(id)) => found(id),
                (Place::Quoted, _) => quoted(text).for_each(&mut *found),
                _ => {}
            },
        );
    }
}

/// Where a text may refer to what another operation creates.
enum Place {
    /// A text which is nothing else: `value` and `$ref` of members and managers, or these themselves, as some IdPs
    /// write them.
    Whole,
    /// In quotes, within the path of a PATCH operation: `members[value eq "bulkId:…"]`.
    Quoted,
    /// All else is said by people.
    Nowhere,
}

impl Place {
    fn of(name: &str) -> Self {
        match &*name.to_ascii_lowercase() {
            "value" | "$ref" | "members" | "manager" => Self::Whole,
            "path" => Self::Quoted,
            _ => Self::Nowhere,
        }
    }
}

/// Visits each text with the name under which it stands, alone or in a list.
fn each_text(value: &mut Value, name: &str, visit: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => visit(name, text),
        Value::Array(values) => values.iter_mut().for_each(|value| each_text(value, name, visit)),
        Value::Object(parts) => parts.iter_mut().for_each(|(name, value)| each_text(value, name, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let in_brackets = text.split_once('[').map_or("", |(_, filter)| filter);
    in_brackets.split('"').filter_map(|part| part.strip_prefix(REFERENCE))
}

fn replace(value: &mut Value, created: &HashMap<String, String>) {
    each_text(value, "", &mut |name, text| match Place::of(name) {
        Place::Whole => {
            if let Some(id) = text.strip_prefix(REFERENCE).and_then(|id| created.get(id)) {
                text.clone_from(id);
            }
        }
        Place::Quoted => {
            let named: Vec<&String> =
                quoted(text).filter_map(|id| created.get_key_value(id)).map(|(bulk_id, _)| bulk_id).collect();
            for bulk_id in named {
                *text = text.replace(&format!("\"{REFERENCE}{bulk_id}\""), &format!("\"{}\"", created[bulk_id]));
            }
        }
        Place::Nowhere => {}
    });
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bulk(operations: &Value) -> Result<Bulk> {
        Bulk::parse(json!({ "schemas": [BULK_REQUEST_URN], "Operations": operations }))
    }

    fn post(bulk_id: &str, refers_to: &[&str]) -> Value {
        let members: Vec<Value> = refers_to.iter().map(|id| json!({ "value": format!("bulkId:{id}") })).collect();
        json!({ "method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": { "members": members } })
    }

    fn order(operations: &Value) -> String {
        let Order { possible, circular } = bulk(operations).unwrap().order();
        format!("{possible:?} {circular:?}")
    }

    fn fault(operation: &Value) -> String {
        match bulk(&json!([operation])) {
            Ok(bulk) => bulk.operations[0].call.clone().map_or_else(|e| e.to_string(), |_| "fine".into()),
            Err(error) => format!("all: {error}"),
        }
    }

    #[test]
    fn what_is_referred_to_comes_first_and_all_else_stays_in_its_order() {
        assert_snapshot!(order(&json!([post("a", &[]), post("b", &[]), post("c", &[])])), @"[0, 1, 2] []");
        assert_snapshot!(order(&json!([post("a", &["c"]), post("b", &["a"]), post("c", &[]), post("d", &[])])), @"[2, 0, 1, 3] []");
        let patch = json!({ "method": "PATCH", "path": "/Groups/bulkId:b", "data": {
            "Operations": [{ "op": "remove", "path": "members[value eq \"bulkId:a\"]" }] } });
        assert_snapshot!(order(&json!([patch, post("a", &[]), post("b", &[])])), @"[1, 2, 0] []");
    }

    #[test]
    fn circles_are_told_with_all_that_waits_for_them() {
        assert_snapshot!(order(&json!([post("a", &["b"]), post("b", &["a"]), post("c", &["b"]), post("d", &[])])), @"[3] [0, 1, 2]");
        assert_snapshot!(order(&json!([post("a", &["a"])])), @"[] [0]");
    }

    #[test]
    fn a_fault_of_one_operation_is_that_operation_s_own() {
        assert_snapshot!(fault(&json!({ "method": "POST", "path": "/Users", "data": {} })), @"A POST needs a `bulkId`, by which the answer names it");
        assert_snapshot!(fault(&json!({ "method": "GET", "path": "/Users/1" })), @"`method` must be POST, PUT, PATCH or DELETE");
        assert_snapshot!(fault(&json!({ "method": "PUT", "path": "/Users", "data": {} })), @"`path` must name the resource, such as `/Users/` with an id");
        assert_snapshot!(fault(&json!({ "method": "DELETE", "path": "/Devices/1" })), @"`path` must be `/Users` or `/Groups`, or one of these with `/` and an id");
        assert_snapshot!(fault(&json!({ "method": "PATCH", "path": "/Users/1" })), @"`data` must be the JSON object which the request would have as its body");
        assert_snapshot!(fault(&json!({ "method": "DELETE", "path": "Groups/1" })), @"fine");
        assert_snapshot!(fault(&json!(1)), @"all: An operation must be a JSON object");
        assert_snapshot!(fault(&json!({ "path": "/Users" })), @"all: An operation needs `method`");
    }

    #[test]
    fn a_request_which_leaves_open_what_it_wants_is_refused() {
        let error = |body: Value| Bulk::parse(body).unwrap_err().to_string();
        assert_snapshot!(error(json!({ "Operations": [] })), @"`schemas` must contain `urn:ietf:params:scim:api:messages:2.0:BulkRequest`");
        assert_snapshot!(error(json!({ "schemas": [BULK_REQUEST_URN] })), @"`Operations` must be an array of operations");
        assert_snapshot!(error(json!({ "schemas": [BULK_REQUEST_URN], "failOnErrors": 0, "Operations": [] })), @"`failOnErrors` must be a whole number from 1 on");
        assert_snapshot!(bulk(&json!([post("a", &[]), post("a", &[])])).unwrap_err(), @"`bulkId` `a` is given to two operations");
    }

    #[test]
    fn references_become_ids() {
        let created = HashMap::from([("a".to_owned(), "1".to_owned())]);
        let mut call = bulk(&json!([{ "method": "PATCH", "path": "/Groups/bulkId:a", "data": {
            "Operations": [{ "op": "add", "path": "members[value eq \"bulkId:a\"]", "value": ["bulkId:a", "bulkId"] }],
            "title": "bulkId:a" } }]))
        .unwrap()
        .operations
        .remove(0)
        .call
        .unwrap();
        call.resolve(&created).unwrap();
        assert_eq!((call.id.as_str(), &call.data["Operations"][0]["value"]), ("1", &json!(["1", "bulkId"])));
        assert_eq!(call.data["Operations"][0]["path"], "members[value eq \"1\"]");
        assert_eq!(call.data["title"], "bulkId:a", "what people say is no reference");
        call.data = json!({ "members": ["bulkId:b"] });
        assert_snapshot!(call.resolve(&created).unwrap_err(), @"no operation of this request has created `bulkId:b`");
    }

    proptest! {
        #[test]
        fn each_operation_is_done_once_and_after_what_it_needs(references in prop::collection::vec(prop::collection::vec(0usize..12, 0..3), 1..12)) {
            let operations: Vec<Value> = references.iter().enumerate().map(|(at, needs)| {
                let needs: Vec<String> = needs.iter().map(usize::to_string).collect();
                post(&at.to_string(), &needs.iter().map(String::as_str).collect::<Vec<_>>())
            }).collect();
            let Order { possible, circular } = bulk(&operations.into()).unwrap().order();
            let mut all = [possible.clone(), circular.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..references.len()).collect::<Vec<_>>());
            for (place, at) in possible.iter().enumerate() {
                for need in references[*at].iter().filter(|need| **need < references.len()) {
                    prop_assert!(possible[..place].contains(need));
                }
            }
            for at in &circular {
                prop_assert!(references[*at].iter().any(|need| circular.contains(need)));
            }
        }
    }
}
