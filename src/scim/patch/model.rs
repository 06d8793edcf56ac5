//! PATCH against a slow model which was written apart from it: random programs must lead both to the same end.
//!
//! The model keeps a user as plain Rust values, and a group's members as a set.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{MembersDelta, apply, changes, parse};
use crate::scim::{
    error::Kind,
    lenient::Dialect,
    resource::{Admission, Member, Resource, UnknownAttributes, admit},
    schema::ResourceType,
};

const STRICT: Admission = Admission { unknown_attributes: UnknownAttributes::Keep, dialect: Dialect::Strict };

#[derive(Debug, Clone, PartialEq, Default)]
struct User {
    nick_name: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
    emails: Vec<Email>,
}

#[derive(Debug, Clone, PartialEq)]
struct Email {
    value: Option<String>,
    kind: Option<String>,
    primary: Option<bool>,
}

#[derive(Debug, Clone)]
enum Step {
    SetNick(bool, String),
    RemoveNick,
    SetGiven(String),
    MergeName(bool, Option<String>, Option<String>),
    RemoveGiven,
    RemoveName,
    AddEmails(Vec<Email>),
    ReplaceEmails(Vec<Email>),
    RemoveEmails,
    RemoveEmailsOf(String),
    SetValueOf(String, String),
    SetPrimaryOf(String),
    ReplaceEmailsOf(String, Email),
    RemoveValueOf(String),
}

fn text() -> impl Strategy<Value = String> {
    "[a-c]"
}

fn kind() -> impl Strategy<Value = String> {
    prop_oneof![Just("work".to_owned()), Just("home".to_owned()), Just("other".to_owned())]
}

fn email() -> impl Strategy<Value = Email> {
    (text(), prop::option::of(kind())).prop_map(|(value, kind)| Email { value: Some(value), kind, primary: None })
}

fn emails() -> impl Strategy<Value = Vec<Email>> {
    let primary = prop::option::of(any::<prop::sample::Index>());
    (prop::collection::vec(email(), 1..4), primary).prop_map(|(mut emails, primary)| {
        if let Some(at) = primary {
            let at = at.index(emails.len());
            emails[at].primary = Some(true);
        }
        emails
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), text()).prop_map(|(add, text)| Step::SetNick(add, text)),
        Just(Step::RemoveNick),
        text().prop_map(Step::SetGiven),
        (any::<bool>(), prop::option::of(text()), prop::option::of(text()))
            .prop_map(|(add, given, family)| Step::MergeName(add, given, family)),
        Just(Step::RemoveGiven),
        Just(Step::RemoveName),
        emails().prop_map(Step::AddEmails),
        emails().prop_map(Step::ReplaceEmails),
        Just(Step::RemoveEmails),
        kind().prop_map(Step::RemoveEmailsOf),
        (kind(), text()).prop_map(|(kind, text)| Step::SetValueOf(kind, text)),
        kind().prop_map(Step::SetPrimaryOf),
        (kind(), email()).prop_map(|(kind, email)| Step::ReplaceEmailsOf(kind, email)),
        kind().prop_map(Step::RemoveValueOf),
    ]
}

impl Email {
    fn json(&self) -> Value {
        let mut json = Map::new();
        json.extend(self.value.clone().map(|value| ("value".to_owned(), value.into())));
        json.extend(self.kind.clone().map(|kind| ("type".to_owned(), kind.into())));
        json.extend(self.primary.map(|primary| ("primary".to_owned(), primary.into())));
        Value::Object(json)
    }

    fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

impl Step {
    fn operation(&self) -> Value {
        let word = |add: bool| if add { "add" } else { "replace" };
        let list = |emails: &[Email]| emails.iter().map(Email::json).collect::<Vec<_>>();
        let of = |kind: &str, sub: &str| format!("emails[type eq \"{kind}\"]{sub}");
        match self {
            Step::SetNick(add, text) => json!({ "op": word(*add), "path": "nickName", "value": text }),
            Step::RemoveNick => json!({ "op": "remove", "path": "NICKNAME" }),
            Step::SetGiven(text) => json!({ "op": "replace", "path": "name.givenName", "value": text }),
            Step::MergeName(add, given, family) => {
                let mut name = Map::new();
                name.extend(given.clone().map(|text| ("givenName".to_owned(), text.into())));
                name.extend(family.clone().map(|text| ("FAMILYNAME".to_owned(), text.into())));
                json!({ "op": word(*add), "value": { "name": name } })
            }
            Step::RemoveGiven => json!({ "op": "remove", "path": "name.givenName" }),
            Step::RemoveName => json!({ "op": "remove", "path": "name" }),
            Step::AddEmails(emails) => json!({ "op": "add", "path": "emails", "value": list(emails) }),
            Step::ReplaceEmails(emails) => json!({ "op": "replace", "path": "emails", "value": list(emails) }),
            Step::RemoveEmails => json!({ "op": "remove", "path": "emails" }),
            Step::RemoveEmailsOf(kind) => json!({ "op": "remove", "path": of(kind, "") }),
            Step::SetValueOf(kind, text) => json!({ "op": "replace", "path": of(kind, ".value"), "value": text }),
            Step::SetPrimaryOf(kind) => json!({ "op": "replace", "path": of(kind, ".primary"), "value": true }),
            Step::ReplaceEmailsOf(kind, email) => {
                json!({ "op": "replace", "path": of(kind, ""), "value": email.json() })
            }
            Step::RemoveValueOf(kind) => json!({ "op": "remove", "path": of(kind, ".value") }),
        }
    }
}

impl User {
    fn json(&self) -> Value {
        let mut name = Map::new();
        name.extend(self.given_name.clone().map(|text| ("givenName".to_owned(), text.into())));
        name.extend(self.family_name.clone().map(|text| ("familyName".to_owned(), text.into())));
        let emails: Vec<_> = self.emails.iter().map(Email::json).collect();
        json!({ "userName": "u", "nickName": self.nick_name, "name": name, "emails": emails })
    }

    fn take(&mut self, step: &Step) -> Result<(), Kind> {
        match step {
            Step::SetNick(_, text) => self.nick_name = Some(text.clone()),
            Step::RemoveNick => self.nick_name = None,
            Step::SetGiven(text) => self.given_name = Some(text.clone()),
            Step::MergeName(_, given, family) => {
                self.given_name = given.clone().or(self.given_name.take());
                self.family_name = family.clone().or(self.family_name.take());
            }
            Step::RemoveGiven => self.given_name = None,
            Step::RemoveName => (self.given_name, self.family_name) = (None, None),
            Step::AddEmails(emails) => emails.iter().for_each(|email| self.add(email)),
            Step::ReplaceEmails(emails) => self.emails.clone_from(emails),
            Step::RemoveEmails => self.emails.clear(),
            Step::RemoveEmailsOf(kind) => {
                self.found(kind)?;
                self.emails.retain(|email| !email.is(kind));
            }
            Step::SetValueOf(kind, text) => {
                for at in self.found(kind)? {
                    self.emails[at].value = Some(text.clone());
                }
            }
            Step::SetPrimaryOf(kind) => {
                let found = self.found(kind)?;
                if found.len() > 1 {
                    return Err(Kind::InvalidValue);
                }
                self.emails[found[0]].primary = Some(true);
                self.only_primary(found[0]);
            }
            Step::ReplaceEmailsOf(kind, email) => {
                let found = self.found(kind)?;
                self.emails[found[0]] = email.clone();
                for at in found[1..].iter().rev() {
                    self.emails.remove(*at);
                }
            }
            Step::RemoveValueOf(kind) => {
                self.found(kind)?;
                self.emails.iter_mut().filter(|email| email.is(kind)).for_each(|email| email.value = None);
            }
        }
        Ok(())
    }

    fn add(&mut self, email: &Email) {
        let same = |held: &Email| held.value == email.value && held.kind == email.kind;
        let at = self.emails.iter().position(same).unwrap_or_else(|| {
            self.emails.push(email.clone());
            self.emails.len() - 1
        });
        if email.primary == Some(true) {
            self.emails[at].primary = Some(true);
            self.only_primary(at);
        }
    }

    fn only_primary(&mut self, at: usize) {
        for (other, email) in self.emails.iter_mut().enumerate() {
            if other != at && email.primary == Some(true) {
                email.primary = Some(false);
            }
        }
    }

    fn found(&self, kind: &str) -> Result<Vec<usize>, Kind> {
        let found: Vec<usize> = (0..self.emails.len()).filter(|at| self.emails[*at].is(kind)).collect();
        if found.is_empty() { Err(Kind::NoTarget) } else { Ok(found) }
    }
}

fn resource(user: &User) -> Resource {
    let lenient = Admission { dialect: Dialect::Lenient, ..STRICT };
    admit(ResourceType::user(), user.json(), &lenient).expect("the model makes users that are valid").resource
}

#[derive(Debug, Clone)]
enum Membership {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    RemoveWhere(Vec<u8>),
    Replace(Vec<u8>),
    Clear,
}

fn membership() -> impl Strategy<Value = Membership> {
    let some = || prop::collection::vec(0..6u8, 0..4);
    prop_oneof![
        4 => some().prop_map(Membership::Add),
        4 => some().prop_map(Membership::Remove),
        4 => prop::collection::vec(0..6u8, 1..4).prop_map(Membership::RemoveWhere),
        1 => some().prop_map(Membership::Replace),
        1 => Just(Membership::Clear),
    ]
}

impl Membership {
    fn operation(&self) -> Value {
        let list = |ids: &[u8]| ids.iter().map(|id| json!({ "value": id.to_string() })).collect::<Vec<_>>();
        match self {
            Membership::Add(ids) => json!({ "op": "add", "path": "members", "value": list(ids) }),
            Membership::Remove(ids) => json!({ "op": "remove", "path": "members", "value": list(ids) }),
            Membership::RemoveWhere(ids) => {
                let filter: Vec<_> = ids.iter().map(|id| format!("value eq \"{id}\"")).collect();
                json!({ "op": "remove", "path": format!("members[{}]", filter.join(" or ")) })
            }
            Membership::Replace(ids) => json!({ "op": "replace", "path": "members", "value": list(ids) }),
            Membership::Clear => json!({ "op": "remove", "path": "members" }),
        }
    }

    fn take(&self, members: &mut BTreeSet<String>) {
        match self {
            Membership::Add(ids) => members.extend(ids.iter().map(u8::to_string)),
            Membership::Remove(ids) | Membership::RemoveWhere(ids) => {
                members.retain(|member| !ids.iter().any(|id| id.to_string() == *member));
            }
            Membership::Replace(ids) => *members = ids.iter().map(u8::to_string).collect(),
            Membership::Clear => members.clear(),
        }
    }
}

/// What a store makes of a delta.
fn carried_out(delta: &MembersDelta, members: &BTreeSet<String>) -> BTreeSet<String> {
    let kept = members.iter().filter(|member| !delta.clear && !delta.remove.contains(*member)).cloned();
    kept.chain(delta.add.keys().cloned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn patch_does_what_the_model_does(before in emails(), steps in prop::collection::vec(step(), 1..8)) {
        let mut user = User { emails: before, ..User::default() };
        let start = resource(&user);
        let expected = steps.iter().try_for_each(|step| user.take(step));
        let operations: Vec<_> = steps.iter().map(Step::operation).collect();
        let body = json!({ "schemas": [super::PATCH_OP_URN], "Operations": operations });
        let operations = parse(body, &STRICT).unwrap();
        match (apply(ResourceType::user(), &start, &operations, &STRICT), expected) {
            (Ok(patched), Ok(())) => {
                prop_assert_eq!(&patched.resource, &resource(&user));
                prop_assert_eq!(patched.changes.is_empty(), patched.resource == start);
                prop_assert_eq!(changes(&patched.resource, &start).len(), patched.changes.len());
            }
            (Err(error), Err(kind)) => prop_assert_eq!(error.kind, kind),
            (patched, expected) => prop_assert!(false, "{patched:?} where the model has {expected:?}"),
        }
    }

    #[test]
    fn members_end_where_a_set_ends(
        before in prop::collection::btree_set((0..6u8).prop_map(|id| id.to_string()), 0..6),
        steps in prop::collection::vec(membership(), 1..10),
    ) {
        let group = admit(ResourceType::group(), json!({ "displayName": "g" }), &Admission::default()).unwrap().resource;
        let body = json!({ "Operations": steps.iter().map(Membership::operation).collect::<Vec<_>>() });
        let operations = parse(body, &Admission::default()).unwrap();
        let delta = apply(ResourceType::group(), &group, &operations, &Admission::default()).unwrap().members;
        let mut expected = before.clone();
        for step in &steps {
            step.take(&mut expected);
        }
        prop_assert_eq!(carried_out(&delta, &before), expected);
        let consistent = |(value, member): (&String, &Member)| *value == member.value && !delta.remove.contains(value);
        prop_assert!(delta.add.iter().all(consistent));
    }
}
