//! The command line does what the admin API does, for people and for scripts.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::{
    process::{binary, folder, unique},
    receiver::{Answer, Receiver},
    world::{ADMIN, World},
};

/// Runs the real program against the shared gateway, as the operator.
pub async fn run(arguments: &str) -> Output {
    run_as(ADMIN.1, arguments).await
}

async fn run_as(password: &str, arguments: &str) -> Output {
    let mut command = command_as(password, arguments);
    tokio::task::spawn_blocking(move || command.output().expect("the binary starts")).await.expect("no panic")
}

/// The real program, about to talk to the shared gateway as the operator with this password.
pub fn command_as(password: &str, arguments: &str) -> Command {
    let mut command = binary();
    command
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .env("REALMGATE_SERVER", format!("http://{}", World::shared().address()))
        .env("REALMGATE_ADMIN_USERNAME", ADMIN.0)
        .env("REALMGATE_ADMIN_PASSWORD", password);
    command
}

/// What a script gets. `null` when nothing is printed.
async fn json_of(arguments: &str) -> Value {
    let output = run(&format!("{arguments} --output json")).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {}: {errors}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    if text.trim().is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments}: {e}: {text}"))
    }
}

/// What a command says when it fails.
async fn failure_of(arguments: &str) -> String {
    let output = run(arguments).await;
    assert!(!output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty(), "errors go to standard error");
    String::from_utf8(output.stderr).expect("it is text")
}

fn new_name() -> String {
    format!("cli-{}", unique())
}

#[tokio::test]
async fn a_realm_is_created_and_listed() {
    let name = new_name();
    let created = json_of(&format!("realm create {name}")).await;
    assert_eq!(created["realm"], name, "{created}");
    let list = json_of("realm list").await;
    assert!(list.as_array().expect("an array").iter().any(|realm| realm["realm"] == name), "{list}");
    let table = run("realm list").await;
    let table = String::from_utf8(table.stdout).expect("it is text");
    assert!(table.contains(&name) && serde_json::from_str::<Value>(&table).is_err(), "a table for people: {table}");
}

#[tokio::test]
async fn a_webhook_is_created_tested_and_deleted() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    let name = &realm.name;
    let made = json_of(&format!("webhook create {name} {} --event dsync.user.*", receiver.url)).await;
    let (id, secret) = (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    let tested = json_of(&format!("webhook test {name} {id}")).await;
    assert_eq!((&tested["delivered"], receiver.received().len()), (&json!(true), 1), "{tested}");
    receiver.will_answer([Answer::Status(500)]);
    assert!(failure_of(&format!("webhook test {name} {id}")).await.contains("it answered 500"));
    let rotated = json_of(&format!("webhook rotate-secret {name} {id} --overlap 1h")).await;
    assert!(rotated["secret"] != secret && rotated["previous_secret_until"].is_string(), "{rotated}");
    let moved = json_of(&format!("webhook redeliver {name} {id} --from 1")).await;
    assert_eq!((&moved["cursor"], &moved["state"]), (&json!(0), &json!("active")), "{moved}");
    let disabled = json_of(&format!("webhook update {name} {id} --enabled false --all-events")).await;
    assert_eq!((&disabled["state"], &disabled["events"]), (&json!("disabled"), &json!([])), "{disabled}");
    let failed = json_of(&format!("webhook deliveries {name} {id} --failed")).await;
    assert_eq!(failed[0]["status"], 500, "{failed}");
    let table = String::from_utf8(run(&format!("webhook list {name}")).await.stdout).expect("it is text");
    assert!(table.contains(id) && table.contains("disabled"), "{table}");
    assert_eq!(json_of(&format!("webhook delete {name} {id} --yes")).await["id"], id);
    assert!(failure_of(&format!("webhook show {name} {id}")).await.contains("webhook list"));
}

#[tokio::test]
async fn a_realm_is_deleted_by_whoever_means_it() {
    let name = new_name();
    json_of(&format!("realm create {name}")).await;
    assert!(failure_of(&format!("realm delete {name}")).await.contains("--yes"));
    assert_eq!(json_of(&format!("realm show {name}")).await["realm"], name);
    assert_eq!(json_of(&format!("realm delete {name} --yes")).await, json!({ "realm": name, "deleted": true }));
    assert!(failure_of(&format!("realm show {name}")).await.contains("not found"));
    assert!(failure_of("realm delete master --yes").await.contains("cannot be deleted"));
}

#[tokio::test]
async fn scim_is_switched_on_rotated_and_off() {
    let name = new_name();
    json_of(&format!("realm create {name}")).await;
    let enabled = json_of(&format!("scim enable {name}")).await;
    let (base_url, token) = (enabled["base_url"].as_str().expect("a text"), enabled["token"].as_str().expect("a text"));
    assert!(base_url.ends_with(&format!("/realms/{name}/scim/v2")), "{base_url}");
    let idp = World::shared().stranger().below(&format!("/realms/{name}/scim/v2"));
    assert_eq!(idp.bearer(token).get("/Users").await.status, 200);
    let rotated = json_of(&format!("scim rotate {name}")).await;
    let new = rotated["token"].as_str().expect("a text");
    assert_eq!(idp.bearer(token).get("/Users").await.status, 401);
    assert_eq!(idp.bearer(new).get("/Users").await.status, 200);
    let status = json_of(&format!("scim status {name}")).await;
    assert_eq!((&status["realm"], &status["enabled"]), (&json!(name), &json!(true)), "{status}");
    json_of(&format!("scim disable {name}")).await;
    assert_eq!(json_of(&format!("scim status {name}")).await["enabled"], false);
    assert_eq!(idp.bearer(new).get("/Users").await.status, 401);
}

#[tokio::test]
async fn people_see_the_token_once_and_where_to_put_it() {
    let name = new_name();
    json_of(&format!("realm create {name}")).await;
    let output = run(&format!("scim enable {name}")).await;
    let text = String::from_utf8(output.stdout).expect("it is text");
    assert!(text.contains("rgs_") && text.contains(&format!("/realms/{name}/scim/v2")), "{text}");
    let status = run(&format!("scim status {name}")).await;
    let token = &text[text.find("rgs_").expect("seen above")..][..53];
    assert!(!String::from_utf8_lossy(&status.stdout).contains(token));
}

#[tokio::test]
async fn domains_and_policy_are_kept() {
    let name = new_name();
    json_of(&format!("realm create {name}")).await;
    let domain = format!("id.{name}.example");
    json_of(&format!("domain add {name} {domain}")).await;
    assert_eq!(json_of(&format!("domain list {name}")).await, json!([domain]));
    json_of(&format!("domain remove {name} {domain}")).await;
    assert_eq!(json_of(&format!("domain list {name}")).await, json!([]));
    json_of(&format!("policy set {name} on_delete=purge user_name_follows_email=true")).await;
    let policy = json_of(&format!("policy show {name}")).await;
    assert_eq!((&policy["on_delete"], &policy["user_name_follows_email"]), (&json!("purge"), &json!(true)));
}

#[tokio::test]
async fn a_failure_says_why_and_ends_with_a_status() {
    let name = new_name();
    json_of(&format!("realm create {name}")).await;
    assert!(!failure_of(&format!("realm create {name}")).await.is_empty());
    assert!(failure_of(&format!("policy set {name} on_delete=shred")).await.contains("shred"));
    assert!(failure_of("scim status nobody-knows-me").await.contains("nobody-knows-me"));
    assert!(!failure_of("scim fly").await.is_empty());
    let wrong = run_as("wrong", "realm list").await;
    assert!(!wrong.status.success());
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("credentials"), "it names what to put right: {said}");
}

#[tokio::test]
async fn a_gateway_which_is_not_there_is_named() {
    let mut command = binary();
    command.args(["realm", "list"]).env("REALMGATE_SERVER", "http://127.0.0.1:1");
    command.env("REALMGATE_ADMIN_USERNAME", "a").env("REALMGATE_ADMIN_PASSWORD", "b");
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("the binary starts")).await.expect("no panic");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("http://127.0.0.1:1"));
}

#[tokio::test]
async fn schemas_come_and_go() {
    let name = new_name();
    json_of(&format!("realm create {name}")).await;
    let file = folder("schema").join("badge.json");
    let schema = json!({ "id": "urn:acme:badge:1.0:User", "name": "Badge", "attributes": [{ "name": "number", "type": "integer" }] });
    std::fs::write(&file, schema.to_string()).expect("the folder is ours");
    let added = json_of(&format!("schema add {name} {}", file.display())).await;
    assert_eq!((&added["id"], &added["resourceType"]), (&schema["id"], &json!("User")), "{added}");
    assert!(failure_of(&format!("schema add {name} {}", file.display())).await.contains("urn:acme:badge:1.0:User"));
    let listed = json_of(&format!("schema list {name}")).await;
    assert_eq!(listed[0]["attributes"][0]["type"], "integer", "{listed}");
    let shown = run(&format!("schema show {name} urn:acme:badge:1.0:User")).await;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("number"), "a table of attributes");
    json_of(&format!("schema remove {name} urn:acme:badge:1.0:User")).await;
    assert_eq!(json_of(&format!("schema list {name}")).await, json!([]));
    assert!(failure_of(&format!("schema add {name} /no/such/file")).await.contains("/no/such/file"));
}

#[tokio::test]
async fn what_was_changed_is_read_back() {
    let name = new_name();
    json_of(&format!("realm create {name}")).await;
    json_of(&format!("scim enable {name} --expires-in 90d")).await;
    json_of(&format!("policy set {name} leaver_guard={{\"count\":20,\"window\":\"1h\"}}")).await;
    let log = json_of(&format!("audit {name}")).await;
    let words: Vec<&Value> = log.as_array().expect("a list").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(words, ["policy.update", "scim.enable", "realm.create"]);
    let shown = run(&format!("audit {name} --action policy.")).await;
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains(ADMIN.0) && shown.contains("\"count\":20"), "{shown}");
    let guard = json_of(&format!("guard status {name}")).await;
    assert_eq!((&guard["held"], &guard["policy"]["count"]), (&json!(0), &json!(20)));
    assert!(failure_of(&format!("guard apply {name} --yes")).await.contains("nothing is held"));
}

#[tokio::test]
async fn whose_word_a_realm_takes_is_set_by_the_command_line() {
    let realm = new_name();
    json_of(&format!("realm create {realm}")).await;
    let made = json_of(&format!("client create {realm} entra --name Entra")).await;
    assert!(made["secret"].as_str().is_some_and(|secret| secret.starts_with("rgc_")), "{made}");
    let again = json_of(&format!("client secret {realm} entra --yes")).await;
    assert_ne!(made["secret"], again["secret"]);
    json_of(&format!("client disable {realm} entra")).await;
    assert_eq!(json_of(&format!("client list {realm}")).await[0]["enabled"], false);
    json_of(&format!("client delete {realm} entra --yes")).await;
    assert!(failure_of(&format!("client enable {realm} entra")).await.contains("has no client `entra`"));

    let issuer = "--issuer https://sts.example --audience scim --claim tid=1";
    json_of(&format!("issuer add {realm} {issuer}")).await;
    assert_eq!(json_of(&format!("issuer list {realm}")).await[0]["claims"]["tid"], "1");
    assert_eq!(json_of(&format!("issuer remove {realm} https://sts.example")).await, json!([]));

    json_of(&format!("sign-in set {realm} {issuer} --match upn=userName")).await;
    assert_eq!(json_of(&format!("sign-in show {realm}")).await["match"][0]["claim"], "upn");
    json_of(&format!("sign-in clear {realm}")).await;
    assert!(failure_of(&format!("sign-in show {realm}")).await.contains("sign-in set"));
}

#[tokio::test]
async fn people_groups_and_roles_are_shown_and_mapped() {
    let realm = World::realm().await;
    let (ada, name) = (realm.user("Ada").await, &realm.name);
    realm.group("engineering", &[&ada]).await;
    assert_eq!(json_of(&format!("role create {name} builder --description Builds")).await["name"], "builder");
    assert_eq!(json_of(&format!("role map {name} builder --group engineering")).await["mapped"], true);
    let roles = json_of(&format!("user roles {name} ADA")).await;
    assert_eq!((&roles[0]["name"], &roles[1]["name"]), (&json!("builder"), &json!("scim-managed")));
    assert_eq!(json_of(&format!("group roles {name} engineering")).await[0]["name"], "builder");
    let why = run(&format!("user roles {name} {ada} --why builder")).await;
    let why = String::from_utf8(why.stdout).expect("it is text");
    assert!(why.contains("`ada` is in `engineering`, to which the role is mapped"), "{why}");
    json_of(&format!("role unmap {name} builder --group engineering")).await;
    assert_eq!(json_of(&format!("user roles {name} {ada} --why builder")).await["granted"], false);
    assert_eq!(json_of(&format!("user list {name} --search ad --state shadow")).await[0]["id"], json!(ada));
    assert_eq!(json_of(&format!("user show {name} Ada")).await["username"], "ada");
    assert_eq!(json_of(&format!("group members {name} engineering")).await[0]["id"], json!(ada));
    let table = run(&format!("group list {name}")).await;
    assert!(String::from_utf8_lossy(&table.stdout).contains("engineering"), "a table for people");
    assert_eq!(json_of(&format!("role delete {name} builder --yes")).await["deleted"], true);
    assert_eq!(json_of(&format!("role list {name}")).await[0]["name"], "scim-managed");
    for (command, said) in [
        (format!("user show {name} nobody"), "there is no user `nobody`"),
        (format!("group members {name} nothing"), "there is no group `nothing`"),
        (format!("role map {name} nothing --user Ada"), "role list"),
        (format!("role map {name} scim-managed --user Ada"), "over SCIM"),
        (format!("role map {name} builder"), "--user"),
    ] {
        let failure = failure_of(&command).await;
        assert!(failure.contains(said), "{command}: {failure}");
    }
}

#[tokio::test]
async fn operators_and_service_accounts_are_given_rights() {
    let (realm, name) = (new_name(), new_name());
    json_of(&format!("realm create {realm}")).await;
    let mut create = command_as(ADMIN.1, &format!("admin create {name} --output json"));
    let mut child = create.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    child.stdin.take().expect("it is piped").write_all(b"a pass phrase\n").expect("it reads");
    let created = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic");
    assert!(created.expect("it ends").status.success());
    let granted = json_of(&format!("admin grant {name} view-users view-events --realm {realm}")).await;
    let held = &granted["roleMappings"]["clientMappings"][format!("{realm}-realm")]["mappings"];
    assert_eq!(held.as_array().map(Vec::len), Some(2), "{granted}");
    let table = run(&format!("admin show {name}")).await;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains(&realm) && table.contains("view-users, view-events"), "{table}");
    json_of(&format!("admin revoke {name} view-events --realm {realm}")).await;
    json_of(&format!("admin disable {name}")).await;
    assert!(json_of("admin list").await.as_array().expect("a list").iter().any(|o| o["username"] == name));
    assert!(failure_of(&format!("admin grant {name} fly")).await.contains("view-users"));
    assert!(failure_of(&format!("admin grant {name} view-users")).await.contains("--realm"));
    json_of(&format!("admin delete {name} --yes")).await;
    assert!(failure_of(&format!("admin show {name}")).await.contains(&name));

    let made = json_of(&format!("client create master {name}")).await;
    json_of(&format!("admin grant {name} view-realm --realm {realm}")).await;
    let mut command = binary();
    command.args(["realm", "list", "--output", "json"]).stdin(Stdio::null());
    command.env("REALMGATE_SERVER", format!("http://{}", World::shared().address()));
    command.env("REALMGATE_ADMIN_CLIENT_ID", &name);
    command.env("REALMGATE_ADMIN_CLIENT_SECRET", made["secret"].as_str().expect("it is shown"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["realm"]), (Some(1), &json!(realm)));
}
