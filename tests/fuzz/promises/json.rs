//! What the door lets in is JSON, and a resource that was admitted is admitted again as it is.

use realmgate::scim::{
    json,
    resource::{Admitted, admit},
};
use serde_json::Value;

use super::{ADMISSIONS, RESOURCE_TYPES, document, holds_for_a_resource};

pub fn keeps_its_promises(bytes: &[u8]) {
    let Ok(body) = json::parse(bytes) else { return };
    let read = serde_json::from_slice::<Value>(bytes).expect("what the door lets in is JSON");
    assert_eq!(body, read);
    for resource_type in RESOURCE_TYPES.all() {
        for admission in ADMISSIONS {
            if let Ok(admitted) = admit(resource_type, body.clone(), &admission) {
                holds_for_a_resource(resource_type, admission, &admitted);
                passes_the_door(&document(resource_type, &admitted), &admitted);
            }
        }
    }
}

fn passes_the_door(document: &Value, admitted: &Admitted) {
    let text = document.to_string();
    assert_eq!(json::parse(text.as_bytes()).as_ref(), Ok(document), "{admitted:?}");
}
