//! A path reads back as itself, and what it names has that name.

use realmgate::scim::{
    limits::MAX_FILTER_BYTES,
    path::{AttrPath, Path},
};

use super::{
    RESOURCE_TYPES,
    filter::{is_of_limits, reads_back},
};

pub fn keeps_its_promises(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(attr) = text.parse::<AttrPath>() {
        assert_eq!(attr.to_string(), text);
        names_itself(&attr);
    }
    if let Ok(path) = text.parse::<Path>() {
        holds_for_a_path(&path, text);
    }
}

fn holds_for_a_path(path: &Path, text: &str) {
    assert!(text.len() <= MAX_FILTER_BYTES);
    let Some(filter) = &path.filter else {
        assert_eq!(path.to_string(), text);
        return;
    };
    reads_back(filter);
    assert_eq!(path.attr.sub, None, "the sub-attribute stands behind the brackets");
    match path.to_string().parse::<Path>() {
        Ok(again) => assert_eq!(again, *path),
        Err(error) => assert!(is_of_limits(&error.detail), "{path}: {error}"),
    }
}

fn names_itself(attr: &AttrPath) {
    for resource_type in RESOURCE_TYPES.all() {
        if let Some(found) = resource_type.resolve(attr) {
            assert!(found.attribute.name.eq_ignore_ascii_case(&attr.name));
            assert_eq!(found.sub.map(|sub| sub.name.to_lowercase()), attr.sub.as_ref().map(|sub| sub.to_lowercase()));
        }
        if let Some(schema) = resource_type.schema_at(attr) {
            assert!(schema.id.eq_ignore_ascii_case(&attr.to_string()));
        }
    }
}
