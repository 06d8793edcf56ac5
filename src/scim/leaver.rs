//! Does a request take somebody's access away? Told from the request alone, without the resource which it changes.
//!
//! A user who is deleted or set to `active: false`, and members who are removed from a group, deleted groups included.
//! Not here: a group which is replaced, as only its state before tells who leaves it.

use serde_json::{Map, Value};

use super::{
    bulk::{Endpoint, Verb},
    lenient::{self, Habit},
    patch::{self, Op, Operation},
    path::AttrPath,
    resource::Admission,
    schema::USER_URN,
};

/// `body` is that of the request, `null` if it has none. A body which is not understood takes nobody's access away.
pub fn takes_access_away(endpoint: Endpoint, verb: Verb, body: Value, admission: Admission) -> bool {
    match (verb, endpoint, body) {
        (Verb::Delete, _, _) => true,
        (Verb::Replace, Endpoint::Users, Value::Object(user)) => deactivates(&user, admission),
        (Verb::Patch, endpoint, body) => {
            let operations = patch::parse(body, &admission).unwrap_or_default();
            operations.iter().any(|operation| match endpoint {
                Endpoint::Users => operation.deactivates(admission),
                Endpoint::Groups => operation.removes_members(),
            })
        }
        (Verb::Create | Verb::Replace, _, _) => false,
    }
}

impl Operation {
    fn deactivates(&self, admission: Admission) -> bool {
        if self.op == Op::Remove {
            // Who takes `active` away changes nobody's state.
            return false;
        }
        match (&self.path, &self.value) {
            (Some(path), Some(value)) if is_active(&path.attr) => is_false(value, admission),
            (Some(path), Some(Value::Object(user))) if path.to_string().eq_ignore_ascii_case(USER_URN) => {
                deactivates(user, admission)
            }
            (None, Some(Value::Object(user))) => deactivates(user, admission),
            _ => false,
        }
    }

    fn removes_members(&self) -> bool {
        let members = |attr: &AttrPath| attr.name.eq_ignore_ascii_case("members");
        self.op == Op::Remove && self.path.as_ref().is_some_and(|path| members(&path.attr))
    }
}

/// Do these attributes of a user say so? A key may be a path, as Entra ID writes it.
fn deactivates(user: &Map<String, Value>, admission: Admission) -> bool {
    user.iter().any(|(key, value)| match value {
        Value::Object(user) if key.eq_ignore_ascii_case(USER_URN) => deactivates(user, admission),
        value => is_false(value, admission) && key.parse().is_ok_and(|attr| is_active(&attr)),
    })
}

fn is_active(attr: &AttrPath) -> bool {
    let is_core = attr.urn.as_ref().is_none_or(|urn| urn.eq_ignore_ascii_case(USER_URN));
    is_core && attr.sub.is_none() && attr.name.eq_ignore_ascii_case("active")
}

fn is_false(value: &Value, admission: Admission) -> bool {
    match value {
        Value::Bool(active) => !active,
        Value::String(text) if admission.allows(Habit::BooleanAsText) => lenient::boolean(text) == Some(false),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::lenient::Dialect;

    const LENIENT: Admission =
        Admission { unknown_attributes: crate::scim::resource::UnknownAttributes::Keep, dialect: Dialect::Lenient };

    fn put(user: Value) -> bool {
        takes_access_away(Endpoint::Users, Verb::Replace, user, LENIENT)
    }

    fn patch(endpoint: Endpoint, operations: &Value, admission: Admission) -> bool {
        let body = json!({ "schemas": [patch::PATCH_OP_URN], "Operations": operations });
        takes_access_away(endpoint, Verb::Patch, body, admission)
    }

    #[test]
    fn a_put_which_says_that_the_user_is_not_active() {
        assert!(put(json!({ "userName": "ada", "active": false })));
        assert!(put(json!({ "userName": "ada", "Active": "False" })));
        for user in
            [json!({ "active": true }), json!({ "active": null }), json!({ "active": "no" }), json!({}), json!(1)]
        {
            assert!(!put(user.clone()), "{user}");
        }
        let group = json!({ "displayName": "g", "active": false });
        assert!(!takes_access_away(Endpoint::Groups, Verb::Replace, group, LENIENT));
    }

    #[test]
    fn a_patch_in_every_form_in_which_it_deactivates() {
        for operation in [
            json!({ "op": "replace", "path": "active", "value": false }),
            json!({ "op": "Replace", "path": "active", "value": "False" }),
            json!({ "op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false }),
            json!({ "op": "replace", "value": { "active": false } }),
            json!({ "op": "Replace", "value": { "title": "x", "ACTIVE": "false" } }),
            json!({ "op": "replace", "value": { "urn:ietf:params:scim:schemas:core:2.0:User:active": false } }),
            json!({ "op": "replace", "value": { "urn:ietf:params:scim:schemas:core:2.0:User": { "active": false } } }),
            json!({ "op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User", "value": { "active": false } }),
        ] {
            assert!(patch(Endpoint::Users, &json!([operation]), LENIENT), "{operation}");
            let among_others = json!([{ "op": "replace", "path": "title", "value": "x" }, operation]);
            assert!(patch(Endpoint::Users, &among_others, LENIENT), "{operation}");
        }
    }

    #[test]
    fn a_patch_which_does_not() {
        for operation in [
            json!({ "op": "replace", "path": "active", "value": true }),
            json!({ "op": "remove", "path": "active" }),
            json!({ "op": "replace", "path": "title", "value": "False" }),
            json!({ "op": "replace", "path": "urn:example:2.0:User:active", "value": false }),
            json!({ "op": "replace", "path": "emails[type eq \"work\"].active", "value": false }),
            json!({ "op": "replace", "value": { "name.active": false } }),
            json!({ "op": "replace", "value": false }),
            json!({ "op": "nonsense", "path": "active", "value": false }),
        ] {
            assert!(!patch(Endpoint::Users, &json!([operation]), LENIENT), "{operation}");
        }
        let strict = Admission { dialect: Dialect::Strict, ..LENIENT };
        assert!(!patch(Endpoint::Users, &json!([{ "op": "replace", "path": "active", "value": "False" }]), strict));
    }

    #[test]
    fn members_who_are_removed_and_none_who_are_added() {
        let away = |operation: Value| patch(Endpoint::Groups, &json!([operation]), LENIENT);
        assert!(away(json!({ "op": "remove", "path": "members[value eq \"1\"]" })));
        assert!(away(json!({ "op": "Remove", "path": "members", "value": [{ "value": "1" }] })));
        assert!(away(json!({ "op": "remove", "path": "members" })));
        assert!(!away(json!({ "op": "add", "path": "members", "value": [{ "value": "1" }] })));
        assert!(!away(json!({ "op": "remove", "path": "externalId" })));
        assert!(!away(json!({ "op": "replace", "path": "active", "value": false })));
    }

    #[test]
    fn a_deletion_does_and_a_creation_never_does() {
        for endpoint in [Endpoint::Users, Endpoint::Groups] {
            assert!(takes_access_away(endpoint, Verb::Delete, Value::Null, LENIENT));
            assert!(!takes_access_away(endpoint, Verb::Create, json!({ "active": false }), LENIENT));
        }
    }
}
