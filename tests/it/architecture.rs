//! Who may import whom: the straight layers of the program, kept by reading its source.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each module and what it may import. `main → app → http → provision → store → model → scim`; `sync` stands above
/// `provision`, `access` and `feed` beside it. `telemetry`, the names of metrics, is open to all from `store` up.
const MAY_IMPORT: [(&str, &[&str]); 15] = [
    ("scim", &[]),
    ("model", &["scim"]),
    // A setting may be a secret, which its type keeps out of logs.
    ("config", &["secret"]),
    ("telemetry", &[]),
    ("outbound", &[]),
    ("secret", &[]),
    ("store", &["model", "scim", "telemetry"]),
    ("access", &["store", "model", "outbound", "telemetry"]),
    // What is kept encrypted is encrypted by the verb which keeps it.
    ("provision", &["store", "model", "scim", "secret", "telemetry"]),
    // Why a caller was refused is told to the operator alone.
    ("request_log", &["access", "store", "model", "scim", "telemetry"]),
    // What is sent is signed.
    ("feed", &["store", "model", "outbound", "secret", "telemetry"]),
    ("sync", &["provision", "store", "model", "scim", "outbound", "secret", "telemetry"]),
    // A password which must not show.
    ("cli", &["config", "outbound", "model", "secret"]),
    // The handle of the key ring, which verbs take.
    ("http", &["provision", "access", "feed", "sync", "model", "scim", "telemetry", "store", "request_log", "secret"]),
    (
        "app",
        &[
            "scim",
            "model",
            "config",
            "telemetry",
            "outbound",
            "secret",
            "store",
            "access",
            "provision",
            "request_log",
            "feed",
            "sync",
            "cli",
            "http",
        ],
    ),
];

/// What the pure modules must never know: clocks, sockets, databases, runtimes.
const IMPURE: [&str; 8] =
    ["tokio", "hyper", "deadpool", "Timestamp::now", "SystemTime", "Instant::now", "std::net", "std::fs"];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file: the module it belongs to, its path, and its code without comments and tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let (mut folders, mut sources) = (vec![src()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("the source is there").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let own = path.strip_prefix(src()).expect("it lies below src").to_owned();
                let module = own.components().next().expect("a file has a name").as_os_str().to_string_lossy();
                let module = module.trim_end_matches(".rs").to_owned();
                if !own.ends_with("tests.rs") {
                    sources.push((module, own, code_of(&fs::read_to_string(&path).expect("it is text"))));
                }
            }
        }
    }
    assert!(!sources.is_empty());
    sources
}

fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules named right after `crate::`, those in braces (`crate::{model::X, scim}`) included.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // Not a longer word which ends the same, as `pub(in crate::…)` never is and `mycrate::` would be.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(heads(group));
        } else {
            found.insert(word(rest));
        }
    }
    found
}

/// The first words of the entries of a `use` group, which begins behind its brace.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut expected, mut heads) = (1, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => expected = true,
            c if expected && depth == 1 && !c.is_whitespace() => {
                heads.push(word(&group[at..]));
                expected = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn each_module_imports_only_what_stands_below_it() {
    let mut arrows = Vec::new();
    for (module, path, code) in sources().iter().filter(|(module, ..)| !["main", "lib"].contains(&module.as_str())) {
        let allowed = MAY_IMPORT.iter().find(|(name, _)| name == module);
        let (_, allowed) =
            allowed.unwrap_or_else(|| panic!("{}: `{module}` has no place in the table", path.display()));
        for import in imports(code).iter().filter(|import| *import != module && !allowed.contains(&import.as_str())) {
            arrows.push(format!("{}: `{module}` must not import `{import}`", path.display()));
        }
    }
    assert!(arrows.is_empty(), "{arrows:#?}");
}

#[test]
fn of_the_store_the_edge_knows_the_handle_alone() {
    let mut seen = Vec::new();
    for (_, path, code) in sources().iter().filter(|(module, ..)| module == "http") {
        for (at, found) in code.match_indices("store::") {
            let item = word(&code[at + found.len()..]);
            // The one mapping from errors to statuses has to know them all.
            let allowed = item == "Store" || (item == "error" && path.ends_with("layer/rescue.rs"));
            let of_ours = code[..at].ends_with("crate::") || code[..at].trim_end().ends_with(['{', ',']);
            if of_ours && !allowed {
                seen.push(format!("{}: store::{item}", path.display()));
            }
        }
    }
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn the_protocol_and_the_nouns_are_pure() {
    for (module, path, code) in sources().iter().filter(|(module, ..)| ["scim", "model"].contains(&module.as_str())) {
        for word in IMPURE {
            assert!(!code.contains(word), "{}: `{module}` must not know `{word}`", path.display());
        }
    }
}

#[test]
fn sql_is_spoken_in_the_store_alone() {
    for (module, path, code) in sources().iter().filter(|(module, ..)| module != "store") {
        for word in ["SELECT ", "INSERT INTO", "DELETE FROM"] {
            assert!(!code.contains(word), "{}: `{module}` speaks SQL: `{word}`", path.display());
        }
    }
}

#[test]
fn no_file_outgrows_six_hundred_lines() {
    for (_, path, _) in sources() {
        let lines = fs::read_to_string(src().join(&path)).expect("read before").lines().count();
        assert!(lines <= 600, "{}: {lines} lines", path.display());
    }
}

#[test]
fn groups_of_imports_are_read_to_their_ends() {
    let code = "use crate::{\n    model::{Scope, user::User},\n    scim,\n};\nfn f() { crate::store::begin() }";
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), ["model", "scim", "store"]);
}
