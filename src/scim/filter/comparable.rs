//! Resources in the form in which a database can compare them by bytes, with no rule of Unicode or of calendars.
//!
//! What [`fold`] does to text cannot be said in SQL, nor what [`instant`] reads. Where either makes a difference that
//! lowering ASCII letters does not make, the resource is kept a second time with each value in its comparable form;
//! most resources need no second form.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::resource::{Resource, fold};
use super::super::schema::{Attribute, Kind, ResourceType, instant};

/// The resource with all text folded that is not `caseExact`, and all times as [`instant_key`]. `None` where the
/// resource itself does as well, once its ASCII letters are lowered.
pub fn comparable(resource_type: &ResourceType, resource: &Resource) -> Option<Map<String, Value>> {
    let mut form = Form { differs: false };
    let attributes = resource.0.iter().map(|(name, value)| {
        let value = match (resource_type.extensions.iter().find(|extension| extension.id == *name), value) {
            (Some(extension), Value::Object(parts)) => form.parts(&extension.attributes, parts),
            _ => match resource_type.schema.attribute(name) {
                Some(attribute) => form.value(attribute, value),
                None => value.clone(),
            },
        };
        (name.clone(), value)
    });
    let attributes = attributes.collect();
    form.differs.then_some(attributes)
}

/// Text whose order by bytes is the order of time.
pub fn instant_key(at: Timestamp) -> String {
    format!("{:021}", at.as_nanosecond() - Timestamp::MIN.as_nanosecond())
}

struct Form {
    /// Has a value become another than SQL would make of it?
    differs: bool,
}

impl Form {
    fn value(&mut self, attribute: &Attribute, value: &Value) -> Value {
        match value {
            Value::Array(elements) => elements.iter().map(|element| self.value(attribute, element)).collect(),
            Value::Object(parts) => self.parts(&attribute.sub_attributes, parts),
            Value::String(text) if attribute.ignores_case() => {
                let folded = fold(text);
                self.differs |= folded != text.to_ascii_lowercase();
                folded.into()
            }
            Value::String(text) if attribute.kind == Kind::DateTime && !text.is_empty() => {
                self.differs = true;
                // Text which is no time is a value, but equal to none and neither before nor after any.
                instant(text).map_or(Value::Bool(true), |at| instant_key(at).into())
            }
            other => other.clone(),
        }
    }

    fn parts(&mut self, attributes: &[Attribute], parts: &Map<String, Value>) -> Value {
        let part = |(name, value): (&String, &Value)| {
            let attribute = attributes.iter().find(|attribute| attribute.name == *name);
            (name.clone(), attribute.map_or_else(|| value.clone(), |attribute| self.value(attribute, value)))
        };
        Value::Object(parts.iter().map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Option<Map<String, Value>> {
        comparable(ResourceType::user(), &Resource(value.as_object().unwrap().clone()))
    }

    #[test]
    fn most_resources_need_no_second_form() {
        assert_eq!(of(json!({ "userName": "Ada", "emails": [{ "value": "A@x", "primary": true }] })), None);
        assert_eq!(of(json!({ "nickName": "müller", "profileUrl": "https://x/STRAẞE", "unknown": "Å" })), None);
    }

    #[test]
    fn text_is_folded_unless_it_is_exact() {
        let enterprise = crate::scim::schema::ENTERPRISE_USER_URN;
        assert_eq!(
            of(json!({ "title": "STRAẞE", "profileUrl": "https://x/Å", "name": { "givenName": "Ada" },
                       "roles": [{ "value": "Ω", "primary": true }], enterprise: { "department": "Ki\u{212a}" } }))
            .map(Value::Object),
            Some(json!({ "title": "strasse", "profileUrl": "https://x/Å", "name": { "givenName": "ada" },
                         "roles": [{ "value": "ω", "primary": true }], enterprise: { "department": "kik" } }))
        );
    }

    #[test]
    fn keys_of_instants_are_in_the_order_of_time() {
        let keys = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX].map(instant_key);
        assert!(keys.is_sorted() && keys.iter().all(|key| key.len() == 21), "{keys:?}");
    }

    proptest! {
        #[test]
        fn folded_text_has_no_ascii_letter_left_to_lower(text in "\\PC{0,20}") {
            let folded = fold(&text);
            prop_assert_eq!(folded.to_ascii_lowercase(), folded);
        }
    }
}
