//! What the fuzzer once found, and what it begins with, keeps the promises of the pure core.

#[path = "../fuzz/promises/mod.rs"]
mod promises;

use std::{fs, path::Path};

/// Each file of a folder of `tests/fuzz/corpus` keeps the promises. The name of the one which does not is the last that
/// is printed.
fn keeps(folder: &str, promises: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(folder);
    let files = fs::read_dir(folder).expect("the corpus is there").map(|entry| entry.expect("it is read").path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        promises(&fs::read(&file).expect("it is a file"));
    }
}

#[test]
fn a_filter_reads_back_and_is_answered() {
    keeps("filter", promises::filter::keeps_its_promises);
}

#[test]
fn what_the_door_lets_in_is_admitted_again_as_it_is() {
    keeps("json", promises::json::keeps_its_promises);
}

#[test]
fn what_patch_makes_is_a_resource_and_its_changes_are_all() {
    keeps("patch", promises::patch::keeps_its_promises);
}

#[test]
fn a_path_reads_back_and_names_itself() {
    keeps("path", promises::path::keeps_its_promises);
}
