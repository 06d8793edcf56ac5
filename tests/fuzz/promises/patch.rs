//! What PATCH makes of a resource is a resource, its changes are all that is different, and no member is told two things.

use std::{iter, sync::LazyLock};

use realmgate::scim::{
    json,
    limits::MAX_MEMBERS,
    patch::{self, Change, MembersDelta, Patched},
    resource::{Admission, Admitted, Resource, UnknownAttributes, admit, check_immutable},
    schema::{GROUP_URN, ResourceType},
};
use serde_json::{Map, Value};

use super::{ADMISSIONS, RESOURCE_TYPES, example, holds_for_a_resource};

/// A resource to be changed, and the policy under which it came to be.
struct Subject {
    resource_type: &'static ResourceType,
    admission: Admission,
    before: Resource,
}

static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let of = |resource_type| ADMISSIONS.map(|admission| Subject::new(resource_type, admission));
    RESOURCE_TYPES.all().into_iter().flat_map(of).collect()
});

impl Subject {
    fn new(resource_type: &'static ResourceType, admission: Admission) -> Self {
        let mut tolerant = admission;
        if admission.unknown_attributes == UnknownAttributes::Reject {
            tolerant.unknown_attributes = UnknownAttributes::Ignore;
        }
        let before = admit(resource_type, example(resource_type), &tolerant).expect("a valid example").resource;
        Self { resource_type, admission, before }
    }
}

pub fn keeps_its_promises(bytes: &[u8]) {
    let Ok(body) = json::parse(bytes) else { return };
    for Subject { resource_type, admission, before } in SUBJECTS.iter() {
        let Ok(operations) = patch::parse(body.clone(), admission) else { continue };
        let Ok(patched) = patch::apply(resource_type, before, &operations, admission) else { continue };
        let Patched { resource, members, changes, effects } = patched;
        assert_eq!(changes.is_empty(), resource == *before);
        assert_eq!(effects.len(), operations.len());
        assert!(changes.is_empty() || effects.iter().any(|effect| effect.changed), "nobody changed it");
        check_immutable(resource_type, before, &resource).expect("what is immutable stays");
        assert_eq!(carried_out(&changes, before, &resource), resource);
        holds_for_members(&members, resource_type);
        holds_for_a_resource(resource_type, *admission, &Admitted { resource, members: None });
    }
}

/// `before`, with the changes which lead to `after`.
fn carried_out(changes: &[Change], before: &Resource, after: &Resource) -> Resource {
    let mut resource = before.clone();
    for change in changes {
        assert_ne!(change.previous, change.current);
        let (extension, name) = place_of(change, &resource, after).unwrap_or_else(|| panic!("it is true: {change:?}"));
        let holder = match extension {
            None => &mut resource.0,
            Some(urn) => {
                let holder = resource.0.entry(urn).or_insert_with(|| Value::Object(Map::new()));
                holder.as_object_mut().expect("an extension is an object")
            }
        };
        match &change.current {
            Some(value) => holder.insert(name.to_owned(), value.clone()),
            None => holder.shift_remove(name),
        };
        let is_empty = holder.is_empty();
        if let Some(urn) = extension.filter(|_| is_empty) {
            resource.0.shift_remove(urn);
        }
    }
    resource
}

/// In which extension, if in any, an attribute went from what the change says in `from` to what it says in `to`.
fn place_of<'a>(change: &'a Change, from: &Resource, to: &Resource) -> Option<(Option<&'a str>, &'a str)> {
    let behind = |urn: &String| {
        let name = change.path.strip_prefix(urn.as_str())?.strip_prefix(':')?;
        Some((Some(&change.path[..urn.len()]), name))
    };
    let in_extensions = from.0.keys().chain(to.0.keys()).filter_map(behind);
    iter::once((None, &*change.path)).chain(in_extensions).find(|(extension, name)| {
        let held = |resource: &'_ Resource| match extension {
            None => resource.0.get(*name).cloned(),
            Some(urn) => resource.0.get(*urn)?.get(name).cloned(),
        };
        held(from) == change.previous && held(to) == change.current
    })
}

fn holds_for_members(members: &MembersDelta, resource_type: &ResourceType) {
    let MembersDelta { clear, add, remove } = members;
    assert!(members.is_empty() || resource_type.schema.id == GROUP_URN, "only a group has members");
    assert!(add.len() + remove.len() <= MAX_MEMBERS);
    assert!(!clear || remove.is_empty(), "who is cleared need not be removed");
    assert!(add.iter().all(|(value, member)| *value == member.value && !remove.contains(value)));
}
