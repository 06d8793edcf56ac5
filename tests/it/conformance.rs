//! The protocol as others read it: the judgement of testers, over a realm of their own.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    cli::{command_as, run},
    process::{python, signal},
    world::{ADMIN, Realm, World},
};

#[tokio::test]
async fn scim2_tester_finds_no_error() {
    let realm = World::realm().await;
    let base_url = format!("http://{}{}", World::shared().address(), realm.path(""));
    let (python, token) = (python("httpx2, scim2_tester"), realm.token.clone());
    let tester = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance.py");
    let judged = move || Command::new(python).arg(tester).args([base_url, token]).output().expect("python3 runs");
    let output = tokio::task::spawn_blocking(judged).await.expect("it does not panic");
    let (report, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let amiss = report.split_inclusive('\n').filter(|line| !line.starts_with("success:")).collect::<String>();
    assert!(output.status.success(), "{amiss}{errors}");
}

/// What `realmgate conformance` says of a realm, as a script reads it, and how it ends.
async fn conformance(realm: &Realm) -> (Value, bool) {
    let output = run(&format!("conformance {} --output json", realm.name)).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
    (report, output.status.success())
}

/// The checks with this result, one on each line, with what was seen.
fn with(report: &Value, result: &str) -> String {
    let checks = report["checks"].as_array().expect("a list").iter().filter(|check| check["result"] == result);
    let told = checks.map(|check| format!("{} {}: {}", check["section"], check["requirement"], check["seen"]));
    told.collect::<Vec<_>>().join("\n")
}

/// Names of the realms which a run leaves behind.
async fn left_behind(realm: &Realm) -> Vec<String> {
    let path = format!("/admin/realms?search={}-conformance", realm.name);
    let found = World::shared().admin().await.get(&path).await.json();
    found.as_array().expect("a list").iter().map(|realm| realm["realm"].to_string()).collect()
}

#[tokio::test]
async fn every_requirement_of_the_rfcs_is_met_or_not_announced() {
    let realm = World::realm().await;
    let (report, success) = conformance(&realm).await;
    assert_eq!(with(&report, "fail"), "");
    assert!(success && report["passed"].as_u64() > Some(150), "{}", with(&report, "not supported"));
    assert_eq!(realm.names("userName pr").await, [""; 0], "the realm itself is left alone");
    assert_eq!(left_behind(&realm).await, [""; 0]);
}

#[tokio::test]
async fn the_requirements_are_met_under_every_policy_and_with_a_required_extension() {
    let realm = World::realm().await;
    for (key, value) in [
        ("unknown_attributes", json!("reject")),
        ("dialect", json!("strict")),
        ("group_names", json!("any")),
        ("on_delete", json!("purge")),
        ("display_name", json!("always")),
        ("initial_state", json!("active")),
        ("user_name_follows_email", json!(true)),
    ] {
        realm.policy(key, value).await;
    }
    let badge = json!({
        "id": "urn:example:badge", "name": "Badge", "attributes": [
            { "name": "number", "type": "string", "multiValued": false, "required": true },
            { "name": "floors", "type": "integer", "multiValued": true, "required": true },
            { "name": "note", "type": "string", "multiValued": false },
        ],
    });
    let added = realm.admin.post("/scim/schemas?required=true", badge).await;
    assert_eq!(added.status, 201, "{added}");
    let (report, success) = conformance(&realm).await;
    assert_eq!(with(&report, "fail"), "");
    assert!(success && with(&report, "pass").contains("A required schema extension is demanded"), "{report}");
    realm.policy("unknown_attributes", "ignore").await;
    assert_eq!(with(&conformance(&realm).await.0, "fail"), "");
}

#[tokio::test]
async fn a_run_that_is_interrupted_removes_its_realm() {
    let realm = World::realm().await;
    let mut command = command_as(ADMIN.1, &format!("conformance {}", realm.name));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    while left_behind(&realm).await.is_empty() {
        assert!(child.try_wait().expect("it is our child").is_none(), "it ended before it was interrupted");
    }
    signal(child.id(), "INT");
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().expect("it ends")).await.expect("no panic");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("interrupted"), "{said}");
    assert_eq!(left_behind(&realm).await, [""; 0]);
}

#[tokio::test]
async fn a_realm_which_is_not_there_is_named() {
    let output = run("conformance nobody-knows-me").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("realm list"), "it says what to do: {said}");
    assert_eq!(output.status.code(), Some(3));
}
