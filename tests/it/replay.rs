//! What real identity providers send is answered as they expect, step by step.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{process::python, world::World};

/// Recorded scenarios, and the program which replays them.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/idp-traffic")
}

/// Replays all scenarios against a SCIM base URL, with that token.
pub async fn every_scenario_passes(base_url: String, token: String) {
    let (fixtures, python) = (fixtures(), python("httpx"));
    let scenarios = fs::read_dir(&fixtures)
        .expect("the fixtures are part of the source")
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "jsonl"))
        .count();
    assert!(scenarios > 0);
    let output = tokio::task::spawn_blocking(move || {
        let mut replay = Command::new(python);
        replay.arg(fixtures.join("replay.py")).args([&base_url, &token]).arg(&fixtures);
        replay.args(["--list-failed", "--verbose", "--sources"]).output().expect("python3 runs")
    })
    .await
    .expect("it does not panic");
    let report = String::from_utf8_lossy(&output.stdout);
    let amiss: Vec<_> = report.lines().filter(|line| !line.starts_with("ok ")).collect();
    let problems = amiss.join("\n") + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problems}");
    assert!(report.contains(&format!("scenarios: {scenarios} of {scenarios} without a failure")), "{problems}");
    assert!(report.trim_end().ends_with("SKIPPED 0"), "a step was skipped:\n{problems}");
}

#[tokio::test]
async fn every_step_of_every_recorded_scenario_passes() {
    let realm = World::realm().await;
    let base_url = format!("http://{}{}", World::shared().address(), realm.path(""));
    every_scenario_passes(base_url, realm.token.clone()).await;
}
