//! The protocol as others read it: the judgement of testers, over a realm of their own.

use std::{path::Path, process::Command};

use crate::{process::python, world::World};

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
