//! What a request asked for, operation by operation, and what became of each. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::redact;
use crate::model::request_log::{Operation, Outcome, Sign};

/// Longest path of an operation, in bytes.
const PATH: usize = 256;

/// A request as far as its operations depend on it.
pub struct Request<'a> {
    pub method: &'a str,
    /// Behind the SCIM base URL: `/Users/2819c223`.
    pub path: &'a str,
    pub body: Option<&'a Value>,
    pub status: u16,
    /// As the handler told them, in their order; empty if it did not get there.
    pub outcomes: &'a [Outcome],
}

impl Request<'_> {
    /// The operations of a request which is to change something; none of one which only reads.
    pub fn operations(&self) -> Vec<Operation> {
        match self.method {
            _ if self.path.ends_with("/.search") => Vec::new(),
            "POST" if self.is_bulk() => {
                self.numbered(|operation| (lower(member(operation, "method")), text_of(operation, "path")))
            }
            "PATCH" => self.numbered(|operation| (lower(member(operation, "op")), aims(operation))),
            "POST" | "PUT" | "DELETE" => {
                let outcome = self.outcomes.first().copied().unwrap_or(self.otherwise());
                vec![Operation { op: self.method.to_ascii_lowercase(), path: shown(self.path), outcome }]
            }
            _ => Vec::new(),
        }
    }

    /// What the IdP has shown that it does: only what was done counts.
    pub fn signs(&self) -> BTreeSet<Sign> {
        let mut signs = BTreeSet::new();
        if !(200..300).contains(&self.status) {
            return signs;
        }
        signs.insert(Sign::Request);
        if self.is_bulk() {
            for (at, operation) in self.listed().iter().enumerate() {
                if self.outcomes.get(at).is_some_and(|outcome| is_wanted(*outcome)) {
                    let method = lower(member(operation, "method")).to_ascii_uppercase();
                    let path = member(operation, "path").and_then(Value::as_str).unwrap_or_default();
                    signs.extend(sign_of(&method, path, member(operation, "data")));
                }
            }
        } else if self.outcomes.is_empty() || self.outcomes.iter().any(|outcome| is_wanted(*outcome)) {
            signs.extend(sign_of(self.method, self.path, self.body));
        }
        signs
    }

    fn is_bulk(&self) -> bool {
        self.path.trim_end_matches('/').eq_ignore_ascii_case("/Bulk")
    }

    /// `Operations` of the body.
    fn listed(&self) -> &[Value] {
        self.body.and_then(|body| member(body, "Operations")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn numbered(&self, read: impl Fn(&Value) -> (String, Option<String>)) -> Vec<Operation> {
        let numbered = self.listed().iter().enumerate().map(|(at, operation)| {
            let (op, path) = read(operation);
            Operation { op, path, outcome: self.outcomes.get(at).copied().unwrap_or(self.otherwise()) }
        });
        numbered.collect()
    }

    /// What the status says of an operation of which nobody told.
    const fn otherwise(&self) -> Outcome {
        match self.status {
            ..400 => Outcome::Applied,
            499.. => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }
}

/// Did the IdP want something else than there was, and may it?
const fn is_wanted(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Applied | Outcome::Held)
}

fn sign_of(method: &str, path: &str, body: Option<&Value>) -> Option<Sign> {
    let kind = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match (kind, method) {
        ("Users", "POST") if !path.ends_with("/.search") => Some(Sign::UserCreated),
        ("Users", "DELETE") => Some(Sign::UserLeft),
        ("Users", "PUT" | "PATCH") if body.is_some_and(deactivates) => Some(Sign::UserLeft),
        ("Users", "PUT" | "PATCH") => Some(Sign::UserUpdated),
        ("Groups", "POST" | "PUT" | "PATCH" | "DELETE") if !path.ends_with("/.search") => Some(Sign::GroupWritten),
        _ => None,
    }
}

/// Does it say `active: false`, in any of the ways in which IdPs do?
fn deactivates(body: &Value) -> bool {
    let no = |value: &Value| {
        *value == Value::Bool(false) || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("false"))
    };
    let operation = |operation: &Value| {
        let value = member(operation, "value");
        let path = member(operation, "path").and_then(Value::as_str).unwrap_or_default();
        let named = path.rsplit(':').next().is_some_and(|name| name.eq_ignore_ascii_case("active"));
        value.is_some_and(|value| (named && no(value)) || member(value, "active").is_some_and(no))
    };
    let operations = member(body, "Operations").and_then(Value::as_array);
    operations.is_some_and(|all| all.iter().any(operation)) || member(body, "active").is_some_and(no)
}

/// What an operation of a PATCH is aimed at: its path, or the names in its value.
fn aims(operation: &Value) -> Option<String> {
    text_of(operation, "path").or_else(|| {
        let names: Vec<&str> = member(operation, "value")?.as_object()?.keys().map(String::as_str).collect();
        shown(&names.join(", "))
    })
}

/// A member of an object, its name compared as SCIM compares names.
fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn text_of(object: &Value, name: &str) -> Option<String> {
    member(object, name)?.as_str().and_then(shown)
}

fn lower(word: Option<&Value>) -> String {
    redact::cut(redact::text(&word.and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase()), 16)
}

fn shown(path: &str) -> Option<String> {
    (!path.is_empty()).then(|| redact::cut(redact::text(path), PATH))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request<'a>(method: &'a str, path: &'a str, body: &'a Value, status: u16) -> Request<'a> {
        Request { method, path, body: Some(body).filter(|body| !body.is_null()), status, outcomes: &[] }
    }

    fn seen(request: &Request<'_>) -> String {
        let line = |o: Operation| format!("{} {} {:?}", o.op, o.path.unwrap_or_default(), o.outcome);
        request.operations().into_iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_operation_of_a_patch_has_its_outcome() {
        let body = json!({ "Operations": [
            { "op": "Replace", "path": "emails[value eq \"ada@example.com\"].type", "value": "work" },
            { "op": "add", "value": { "title": "Dr", "nickName": "A" } },
        ] });
        let mut patch = request("PATCH", "/Users/1", &body, 200);
        patch.outcomes = &[Outcome::Applied, Outcome::NoOp];
        assert_eq!(
            seen(&patch),
            "replace emails[value eq \"a***@example.com\"].type Applied; add title, nickName NoOp"
        );
        assert_eq!(seen(&request("PATCH", "/Users/1", &body, 400)).matches("Refused").count(), 2);
        assert_eq!(seen(&request("PATCH", "/Users/1", &body, 503)).matches("Unknown").count(), 2);
    }

    #[test]
    fn other_requests_are_one_operation_or_none() {
        let none = Value::Null;
        assert_eq!(seen(&request("POST", "/Users", &none, 201)), "post /Users Applied");
        assert_eq!(seen(&request("DELETE", "/Users/1", &none, 404)), "delete /Users/1 Refused");
        assert_eq!(
            seen(&request("GET", "/Users", &none, 200)) + &seen(&request("POST", "/Users/.search", &none, 200)),
            ""
        );
    }

    #[test]
    fn an_idp_shows_by_what_it_does_what_it_can() {
        let signs = |method, path, body: Value, status| {
            request(method, path, &body, status).signs().into_iter().map(Sign::as_str).collect::<Vec<_>>().join(" ")
        };
        let patch = |operation: Value| json!({ "Operations": [operation] });
        assert_eq!(signs("GET", "/Users", Value::Null, 200), "request");
        assert_eq!(signs("POST", "/Users", json!({}), 201), "request user_created");
        assert_eq!(signs("POST", "/Users", json!({}), 409), "");
        assert_eq!(signs("POST", "/Users/.search", json!({}), 200), "request");
        assert_eq!(signs("PUT", "/Users/1", json!({ "active": false }), 200), "request user_left");
        assert_eq!(signs("PUT", "/Users/1", json!({ "active": true }), 200), "request user_updated");
        assert_eq!(signs("DELETE", "/Users/1", Value::Null, 204), "request user_left");
        assert_eq!(signs("PATCH", "/Groups/1", patch(json!({ "op": "add" })), 204), "request group_written");
        for leaving in [
            json!({ "op": "replace", "path": "active", "value": "False" }),
            json!({ "op": "replace", "value": { "active": false } }),
            json!({ "op": "Replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false }),
        ] {
            assert_eq!(signs("PATCH", "/Users/1", patch(leaving), 200), "request user_left");
        }
    }

    #[test]
    fn of_a_bulk_request_only_what_was_done_is_a_sign() {
        let body = json!({ "Operations": [
            { "method": "POST", "path": "/Users", "data": {} }, { "method": "DELETE", "path": "/Users/1" } ] });
        let mut bulk = request("POST", "/Bulk", &body, 200);
        bulk.outcomes = &[Outcome::Refused, Outcome::Applied];
        assert_eq!(seen(&bulk), "post /Users Refused; delete /Users/1 Applied");
        assert_eq!(bulk.signs().into_iter().collect::<Vec<_>>(), [Sign::Request, Sign::UserLeft]);
    }
}
