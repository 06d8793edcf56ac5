//! What real identity providers send is answered as they expect, step by step.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::world::World;

/// Recorded scenarios, and the program which replays them.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/idp-traffic")
}

/// A Python which has `httpx`; `tests/run` sees to it.
fn python() -> PathBuf {
    let has_httpx = |python: &Path| {
        Command::new(python).args(["-c", "import httpx"]).output().is_ok_and(|output| output.status.success())
    };
    let of_tests_run = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python3");
    let known = [PathBuf::from("python3"), of_tests_run];
    known.into_iter().find(|python| has_httpx(python)).expect("python3 with httpx: `tests/run` installs it")
}

#[tokio::test]
async fn every_step_of_every_recorded_scenario_passes() {
    let realm = World::realm().await;
    let base_url = format!("http://{}{}", World::shared().address(), realm.path(""));
    let (fixtures, python, token) = (fixtures(), python(), realm.token.clone());
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
