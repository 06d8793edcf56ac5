//! One command on a machine with nothing set up leads to a first user, and nothing is lost afterwards.

use std::{process::Command, time::Duration};

use serde_json::json;

use crate::{
    process::wait_for,
    world::{USER, World},
};

/// The command which the banner tells to paste: from the line with `curl` to the first which does not go on.
fn printed_curl(banner: &str) -> String {
    let mut lines = banner.lines().skip_while(|line| !line.trim_start().starts_with("curl"));
    let mut command = String::new();
    for line in &mut lines {
        command += line;
        command += "\n";
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    assert!(!command.is_empty(), "no curl in:\n{banner}");
    command
}

/// The token which is printed for the IdP.
fn printed_token(banner: &str) -> String {
    let from = banner.find("rgs_").unwrap_or_else(|| panic!("no token in:\n{banner}"));
    banner[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[tokio::test]
async fn the_first_start_prints_a_command_that_creates_a_user_and_the_next_does_not() {
    let mut world = World::alone();
    // It is printed once the gateway is ready, so a moment after the ready file.
    let banner = wait_for("the banner", Duration::from_secs(5), || {
        Some(world.gateway().printed()).filter(|text| text.contains("curl") && text.ends_with("\n\n"))
    });
    let base_url = format!("http://{}/realms/demo/scim/v2", world.address());
    assert!(banner.contains(&base_url), "{banner}");
    let output = Command::new("sh").args(["-c", &printed_curl(&banner)]).output().expect("sh is there");
    assert!(output.status.success(), "{output:?}");
    let demo = world.stranger().below("/realms/demo/scim/v2").bearer(&printed_token(&banner));
    let users = demo.get("/Users").await;
    assert_eq!(users.json()["totalResults"], 1, "{users}\n{}", String::from_utf8_lossy(&output.stdout));

    let status = world.gateway().terminate();
    assert!(status.success(), "{status}");
    world.start();
    let since = world.gateway().printed()[banner.len()..].to_owned();
    assert!(!since.contains("rgs_"), "the token is shown once: {since}");
    assert!(!world.log().contains("rgs_"), "and never logged");
    let again = demo.get("/Users").await;
    assert_eq!((again.status.as_u16(), &again.json()["totalResults"]), (200, &json!(1)), "{again}");
    assert!(world.gateway().ready_after < Duration::from_secs(5));
}

#[tokio::test]
async fn a_killed_gateway_takes_up_the_database_which_it_left_running() {
    let mut world = World::alone();
    let realm = world.new_realm().await;
    let id = realm.user("ada").await;
    let postmaster = world.cluster().postmaster();
    world.gateway().kill();
    world.start();
    assert_eq!(world.cluster().postmaster(), postmaster, "the same server");
    assert!(world.gateway().ready_after < Duration::from_secs(5), "{:?}", world.gateway().ready_after);
    assert_eq!(realm.get(&format!("/Users/{id}")).await.json()["userName"], "ada");
    let second = realm.post("/Users", json!({ "schemas": [USER], "userName": "ADA" })).await;
    assert_eq!(second.summary(), "409 uniqueness");
}

#[tokio::test]
async fn health_and_metrics_are_on_the_management_listener_alone() {
    let realm = World::realm().await;
    realm.user("ada").await;
    let management = World::shared().management();
    for path in ["/health/live", "/health/ready", "/health/started"] {
        let reply = management.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {reply}");
    }
    let metrics = management.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let text = String::from_utf8(metrics.bytes.to_vec()).expect("Prometheus text");
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(!names.is_empty() && names.iter().all(|name| name.starts_with("realmgate_")), "{names:?}");
    assert!(text.lines().any(|line| line.starts_with("realmgate_") && line.contains("requests")), "{text}");
    assert!(!text.contains(&realm.token) && !text.contains("ada"), "no secret and nobody's name is a label");
    for path in ["/metrics", "/health/live", "/health/ready"] {
        assert_eq!(World::shared().stranger().get(path).await.status, 404, "{path} on the public listener");
    }
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_what_to_write_instead() {
    for (key, value) in
        [("REALMGATE_LIMITS_BODY", "much"), ("REALMGATE_LISTEN", "everywhere"), ("REALMGATE_DATABASE_URL", "mysql://x")]
    {
        let mut command = crate::process::binary();
        command.arg("serve").env("REALMGATE_DATA_DIR", crate::process::folder("wrong")).env(key, value);
        let output =
            tokio::task::spawn_blocking(move || command.output().expect("the binary starts")).await.expect("no panic");
        assert!(!output.status.success(), "{key}={value}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(key) || said.contains(&key.trim_start_matches("REALMGATE_").to_lowercase()),
            "{key}: {said}"
        );
    }
}
