//! The operator sees what the IdP really sent, what became of it, and the name of what is wrong; and nothing that must
//! not be kept.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::{
    cli,
    process::python,
    world::{ADMIN, Caller, GROUP, PATCH_OP, Realm, Reply, USER, World, encoded},
};

const SECRET: &str = "t1meMa$heen";
/// The writer gathers a quarter of a second; a machine which does other things takes its time.
const SOON: Duration = Duration::from_secs(20);

/// What the log answers to `query` once there is `count` of it.
async fn entries(realm: &Realm, query: &str, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let reply = realm.admin.get(&format!("/scim/requests?{query}")).await;
        assert_eq!(reply.status, 200, "{reply}");
        let Value::Array(found) = reply.json() else { panic!("a list and not {reply}") };
        if found.len() >= count {
            assert_eq!(found.len(), count, "{query}: {found:?}");
            return found;
        }
        assert!(begun.elapsed() < SOON, "{query}: {count} wanted, {} there: {found:?}", found.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The whole entry of an answer's request.
async fn entry(realm: &Realm, reply: &Reply) -> Value {
    let found = entries(realm, &format!("request_id={}", reply.header("x-request-id")), 1).await;
    let id = found[0]["id"].as_str().expect("an entry has an id");
    let whole = realm.admin.get(&format!("/scim/requests/{id}")).await;
    assert_eq!(whole.status, 200, "{whole}");
    whole.json()
}

/// Operations with their outcomes, in one line.
fn outcomes(entry: &Value) -> String {
    let operations = entry["operations"].as_array().expect("a list").iter();
    let line = |o: &Value| [&o["op"], &o["path"], &o["outcome"]].map(|v| v.as_str().unwrap_or("-")).join(" ");
    operations.map(line).collect::<Vec<_>>().join(", ")
}

fn diagnosis(entry: &Value) -> &str {
    entry["diagnosis"]["name"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_created_user_is_one_entry() {
    let realm = World::realm().await;
    let user = json!({ "schemas": [USER], "userName": "ada@example.com", "externalId": "701984", "password": SECRET });
    let reply = realm.idp().header("User-Agent", "Okta SCIM Client 1.0.0").post("/Users", user.clone()).await;
    assert_eq!(reply.status, 201, "{reply}");
    let entry = entry(&realm, &reply).await;
    assert_eq!(entry["status"], 201);
    assert_eq!(entry["method"], "POST");
    assert_eq!(entry["route"], "/realms/{realm}/scim/v2/Users");
    assert_eq!(entry["path"], realm.path("/Users"));
    assert_eq!(entry["user_agent"], "Okta SCIM Client 1.0.0");
    assert_eq!(entry["actor"]["kind"], "scim_token");
    let token = realm.admin.get("/scim").await.json()["tokens"][0]["id"].clone();
    assert_eq!(entry["actor"]["id"], token);
    assert_eq!(entry["body_size"], user.to_string().len());
    assert!(entry["duration_ms"].as_f64().expect("a number") > 0.0, "{entry}");
    assert_eq!(outcomes(&entry), "post /Users applied");
    let body: Value = serde_json::from_str(entry["body"].as_str().expect("it is kept")).expect("it is JSON");
    let kept = json!({ "schemas": [USER], "userName": "a***@example.com", "externalId": "701984", "password": "***" });
    assert_eq!(body, kept);
    assert_eq!((&entry["error"], &entry["diagnosis"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn each_operation_of_a_patch_is_told_with_its_outcome() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    let patch = json!([
        { "op": "replace", "path": "title", "value": "Countess" },
        { "op": "replace", "path": "password", "value": SECRET },
        { "op": "add", "value": { "userName": "ada" } },
        { "op": "replace", "path": "title", "value": "Countess" },
        { "op": "remove", "path": "title" },
    ]);
    let reply = realm.operations(&path, patch).await;
    assert_eq!(reply.status, 200, "{reply}");
    assert_eq!(
        outcomes(&entry(&realm, &reply).await),
        "replace title applied, replace password no-op, add userName no-op, replace title no-op, remove title applied"
    );

    let patch = json!([
        { "op": "replace", "path": "title", "value": "Dr" },
        { "op": "replace", "path": "emails[value sw \"ada\"].display", "value": "ada@example.com" },
    ]);
    let reply = realm.operations(&path, patch).await;
    assert_eq!(reply.summary(), "400 noTarget", "{reply}");
    let entry = entry(&realm, &reply).await;
    let refused = "replace emails[value sw \"ada\"].display refused";
    assert_eq!(outcomes(&entry), format!("replace title refused, {refused}"));
    assert_eq!(entry["error"]["scim_type"], "noTarget");
    assert!(entry["error"]["detail"].as_str().expect("a text").starts_with("Operation 2:"), "{entry}");
    assert_eq!(diagnosis(&entry), "no_target");
}

#[tokio::test]
async fn a_put_which_says_nothing_new_is_a_no_op() {
    let realm = World::realm().await;
    let user = json!({ "schemas": [USER], "userName": "ada", "title": "Countess" });
    let path = format!("/Users/{}", realm.create_user(user.clone()).await.id());
    let same = realm.put(&path, user).await;
    let other = realm.put(&path, json!({ "schemas": [USER], "userName": "ada" })).await;
    assert_eq!(outcomes(&entry(&realm, &same).await), format!("put {path} no-op"));
    assert_eq!(outcomes(&entry(&realm, &other).await), format!("put {path} applied"));
    let gone = realm.delete(&path).await;
    assert_eq!(outcomes(&entry(&realm, &gone).await), format!("delete {path} applied"));
    let missing = realm.delete(&path).await;
    assert_eq!(outcomes(&entry(&realm, &missing).await), format!("delete {path} refused"));
    let read = realm.get("/Users?count=1").await;
    assert_eq!(outcomes(&entry(&realm, &read).await), "");
}

#[tokio::test]
async fn who_came_and_who_was_there_already_is_told() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let path = format!("/Groups/{}", realm.group("staff", &[]).await);
    let members = |op: &str| json!([{ "op": op, "path": "members", "value": [{ "value": ada }] }]);
    for (op, outcome) in [("add", "applied"), ("add", "no-op"), ("remove", "applied"), ("remove", "no-op")] {
        let reply = realm.operations(&path, members(op)).await;
        assert_eq!(reply.status, 204, "{reply}");
        assert_eq!(outcomes(&entry(&realm, &reply).await), format!("{op} members {outcome}"));
    }
    let nobody = json!([{ "op": "add", "path": "members", "value": [{ "value": "nobody-knows-me" }] }]);
    let entry = entry(&realm, &realm.operations(&path, nobody).await).await;
    assert_eq!((outcomes(&entry).as_str(), diagnosis(&entry)), ("add members refused", "unknown_member"));
}

#[tokio::test]
async fn what_the_leaver_guard_holds_is_told_as_held() {
    let realm = World::realm().await;
    let users = [realm.user("ada").await, realm.user("bob").await];
    realm.policy("leaver_guard", json!({ "count": 0, "window": "1h" })).await;
    let leave = json!([{ "op": "replace", "path": "active", "value": false }]);
    let reply = realm.operations(&format!("/Users/{}", users[0]), leave).await;
    assert_eq!(outcomes(&entry(&realm, &reply).await), "replace active held");
    let path = format!("/Users/{}", users[1]);
    let reply = realm.delete(&path).await;
    assert_eq!(outcomes(&entry(&realm, &reply).await), format!("delete {path} held"));
}

#[tokio::test]
async fn each_operation_of_a_bulk_request_is_told() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let operations = json!([
        { "method": "POST", "path": "/Users", "bulkId": "1", "data": { "schemas": [USER], "userName": "bob" } },
        { "method": "PUT", "path": format!("/Users/{ada}"), "data": { "schemas": [USER], "userName": "ada" } },
        { "method": "POST", "path": "/Users", "bulkId": "2", "data": { "schemas": [USER], "userName": "ADA" } },
        { "method": "DELETE", "path": format!("/Users/{ada}") },
    ]);
    let bulk = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "failOnErrors": 1, "Operations": operations });
    let reply = realm.post("/Bulk", bulk).await;
    assert_eq!(reply.status, 200, "{reply}");
    let expected =
        format!("post /Users applied, put /Users/{ada} no-op, post /Users refused, delete /Users/{ada} skipped");
    assert_eq!(outcomes(&entry(&realm, &reply).await), expected);
}

#[tokio::test]
async fn the_true_reason_of_a_401_is_told_to_the_operator_alone() {
    let (realm, other) = World::two_realms().await;
    let old = realm.token.clone();
    let doubled = realm.anonymous().header("Authorization", &format!("Bearer Bearer {old}"));
    let basic = realm.anonymous().header("Authorization", "Basic YTpi");
    let rotated = realm.admin.post("/scim/rotate", json!({})).await;
    let good = realm.bearer(&rotated.text_at("token"));
    let nobodys = realmgate::model::token::PlainToken::generate();
    for (caller, reason, name) in [
        (&realm.anonymous(), "no_token", "no_token"),
        (&doubled, "doubled_prefix", "doubled_bearer_prefix"),
        (&basic, "malformed", "malformed_header"),
        (&realm.bearer("rgs_lost"), "not_a_token", "wrong_token"),
        (&realm.bearer(nobodys.reveal()), "unknown_token", "wrong_token"),
        (&realm.bearer(&old), "unknown_token", "old_token"),
        (&realm.bearer(&other.token), "unknown_token", "wrong_realm"),
    ] {
        let reply = caller.get("/Users").await;
        assert_eq!(reply.status, 401, "{reply}");
        let entry = entry(&realm, &reply).await;
        assert_eq!((entry["error"]["reason"].as_str(), diagnosis(&entry)), (Some(reason), name), "{entry}");
        assert_eq!(entry["actor"], Value::Null);
        let text = entry.to_string();
        assert!(![&old, &other.token, &other.name].into_iter().any(|word| text.contains(word.as_str())), "{text}");
        let ended = entry["error"]["token_ended_at"].is_string();
        assert_eq!(
            ended && entry["diagnosis"]["cause"].as_str().expect("a text").contains(" UTC"),
            name == "old_token"
        );
    }
    assert_eq!(good.get("/Users").await.status, 200);
    assert_eq!(realm.admin.put("", json!({ "realm": realm.name, "enabled": false })).await.status, 204);
    assert_eq!(diagnosis(&entry(&realm, &good.get("/Users").await).await), "realm_disabled");
    assert_eq!(realm.admin.put("", json!({ "realm": realm.name, "enabled": true })).await.status, 204);
    assert_eq!(realm.admin.post("/scim/disable", json!({})).await.status, 204);
    assert_eq!(diagnosis(&entry(&realm, &good.get("/Users").await).await), "scim_disabled");
}

#[tokio::test]
async fn a_refusal_is_named_with_its_cure() {
    let realm = World::realm().await;
    realm.user("ada").await;
    realm.policy("unknown_attributes", "reject").await;
    let odd = json!({ "schemas": [USER], "userName": "bob", "shoeSize": 44 });
    let large = realm.send(Method::POST, "/Users", vec![b' '; 2 << 20].into()).await.expect("the gateway answers");
    for (reply, status, name) in [
        (realm.post("/Users", json!({ "schemas": [USER], "displayName": "Ada" })).await, 400, "missing_user_name"),
        (realm.post("/Users", odd).await, 400, "strict_attribute"),
        (realm.post("/Users", json!({ "schemas": [USER], "userName": "ADA" })).await, 409, "name_conflict"),
        (realm.get("/users/v1/me").await, 404, "wrong_path"),
        (large, 413, "body_too_large"),
        (realm.get("/Users/nobody").await, 404, ""),
        (realm.send(Method::DELETE, "/Users", "".into()).await.expect("an answer"), 405, ""),
    ] {
        assert_eq!(reply.status, status, "{name}: {reply}");
        let entry = entry(&realm, &reply).await;
        assert_eq!((entry["status"].as_u64(), diagnosis(&entry)), (Some(status.into()), name), "{entry}");
        let told = ["cause", "cure"].iter().all(|key| entry["diagnosis"][key].is_string());
        assert_eq!(told, !name.is_empty());
    }
}

#[tokio::test]
async fn no_password_and_no_token_is_ever_in_the_database() {
    let realm = World::realm().await;
    let user = json!({ "schemas": [USER], "userName": "ada", "password": SECRET, "urn:x:y": { "apiToken": SECRET } });
    let path = format!("/Users/{}", realm.create_user(user.clone()).await.id());
    realm.put(&path, user.clone()).await;
    realm.operations(&path, json!([{ "op": "replace", "path": "password", "value": SECRET }])).await;
    realm.operations(&path, json!([{ "op": "replace", "value": { "PassWord": SECRET } }])).await;
    realm.send(Method::POST, "/Users", format!("{{\"password\":\"{SECRET}\",").into()).await.expect("an answer");
    let operation = json!({ "method": "POST", "path": "/Users", "bulkId": "1", "data": user });
    let bulk = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [operation] });
    realm.post("/Bulk", bulk).await;
    realm.get(&format!("/Users?filter={}&access_token={}", encoded("userName eq \"lovelace\""), realm.token)).await;
    realm.get(&format!("/Users/{}", realm.token)).await;
    let last = realm.idp().header("User-Agent", &realm.token).get("/Users").await;
    entry(&realm, &last).await;
    entries(&realm, "limit=1000", 9).await;
    let sql = World::shared().superuser().await;
    let query = "SELECT l::text FROM request_log l JOIN realms r ON r.id = l.realm_id WHERE r.name = $1";
    let rows = sql.query(query, &[&realm.name]).await.expect("the table is there");
    for row in rows {
        let text: String = row.get(0);
        assert!(![SECRET, &realm.token, "lovelace"].iter().any(|word| text.contains(word)), "{text}");
    }
}

#[tokio::test]
async fn nobody_sees_the_requests_of_another_realm() {
    let (acme, globex) = World::two_realms().await;
    let theirs = entry(&globex, &globex.get("/Users").await).await;
    let ours = entry(&acme, &acme.get("/Users").await).await;
    for query in ["limit=1000".to_owned(), format!("request_id={}", theirs["request_id"].as_str().expect("a text"))] {
        let seen = acme.admin.get(&format!("/scim/requests?{query}")).await.json();
        assert!(!seen.to_string().contains(&globex.name), "{seen}");
    }
    let id = theirs["id"].as_str().expect("a text");
    assert_eq!(acme.admin.get(&format!("/scim/requests/{id}")).await.status, 404);
    // Nor does the gateway's own role, but for who stands in the realm.
    let sql = World::shared().as_the_gateway().await;
    let count = "SELECT count(*) FROM request_log";
    assert_eq!(sql.query_one(count, &[]).await.expect("it may ask").get::<_, i64>(0), 0);
    let enter = "SELECT set_config('realmgate.realm', id::text, false) FROM realms WHERE name = $1";
    sql.query_one(enter, &[&acme.name]).await.expect("the realm is there");
    let id = ours["id"].as_str().expect("a text");
    let rows = sql.query("SELECT id::text FROM request_log", &[]).await.expect("it may ask");
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), [id]);
    sql.execute("UPDATE request_log SET path = 'x'", &[]).await.expect_err("nobody edits the log");
}

#[tokio::test]
async fn the_log_is_searched_and_paged() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    realm.get(&format!("/Users/{id}")).await;
    realm.post("/Users", json!({ "schemas": [USER], "userName": "ada" })).await;
    realm.post("/Groups", json!({ "schemas": [GROUP], "displayName": "Tour Guides" })).await;
    realm.anonymous().get("/Groups").await;
    let all = entries(&realm, "", 5).await;
    let ids = |found: &[Value]| found.iter().map(|e| e["id"].as_str().expect("a text").to_owned()).collect::<Vec<_>>();
    let ids_of_all = ids(&all);
    assert!(ids_of_all.is_sorted_by(|newer, older| newer > older), "{ids_of_all:?}");
    let first = entries(&realm, "limit=2", 2).await;
    let rest = entries(&realm, &format!("before={}", ids(&first)[1]), 3).await;
    assert_eq!([ids(&first), ids(&rest)].concat(), ids_of_all);
    for (query, count) in [
        ("status=4xx", 2),
        ("status=409", 1),
        ("method=get", 2),
        ("path=/Groups", 2),
        ("path=/Groups&method=POST", 1),
        ("diagnosis=no_token", 1),
        ("q=tour+guides", 1),
        (&format!("q={id}"), 1),
        ("since=2020-01-01T00:00:00Z", 5),
        ("since=2120-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(entries(&realm, query, count).await.len(), count, "{query}");
    }
    for wrong in ["status=abc", "limit=0", "before=x", "since=now", "diagnosis=bad_luck"] {
        let reply = realm.admin.get(&format!("/scim/requests?{wrong}")).await;
        assert_eq!(reply.status, 400, "{wrong}: {reply}");
    }
}

#[tokio::test]
async fn the_policy_says_what_is_kept() {
    let realm = World::realm().await;
    realm.policy("request_log", "bare").await;
    let reply = realm.post("/Users", json!({ "schemas": [USER], "userName": "ada" })).await;
    let bare = entry(&realm, &reply).await;
    assert_eq!((&bare["body"], outcomes(&bare).as_str()), (&Value::Null, "post /Users applied"));
    realm.policy("request_log", "off").await;
    assert_eq!(realm.get("/Users").await.status, 200);
    realm.policy("request_log", "full").await;
    entry(&realm, &realm.get("/Groups").await).await;
    entries(&realm, "", 2).await;
}

#[tokio::test]
async fn clean_traffic_has_no_diagnosis() {
    let realm = World::realm().await;
    let base_url = format!("http://{}{}", World::shared().address(), realm.path(""));
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/idp-traffic");
    let (python, token) = (python("httpx"), realm.token.clone());
    let replayed = tokio::task::spawn_blocking(move || {
        let mut replay = std::process::Command::new(python);
        replay.arg(fixtures.join("replay.py")).args([&base_url, &token]).arg(&fixtures).output().expect("python3 runs")
    });
    assert!(replayed.await.expect("it does not panic").status.success());
    entry(&realm, &realm.get("/Me").await).await;
    let (mut before, mut served) = (String::new(), 0);
    loop {
        let page = realm.admin.get(&format!("/scim/requests?limit=1000{before}")).await.json();
        let Some(last) = page.as_array().and_then(|page| page.last()) else { break };
        before = format!("&before={}", last["id"].as_str().expect("a text"));
        for entry in page.as_array().into_iter().flatten() {
            let is_served = entry["status"].as_u64().is_some_and(|status| status < 400);
            assert!(!is_served || entry["diagnosis"].is_null(), "{entry}");
            // What the IdPs expect to be refused is a look for what is gone, or a name that is taken.
            assert!(
                ["", "name_conflict", "no_token", "malformed_header", "wrong_token"].contains(&diagnosis(entry)),
                "{entry}"
            );
            served += usize::from(is_served);
        }
    }
    assert!(served > 100, "{served}");
    let faults = realm.admin.get("/scim/diagnosis").await.json()["faults"].clone();
    assert_eq!(faults, json!([]), "an IdP which does all it can is well");
}

#[tokio::test]
async fn what_an_idp_never_does_is_told_in_time() {
    let realm = World::realm().await;
    realm.get("/Users?count=1").await;
    let probe = realm.get("/ServiceProviderConfig").await;
    entry(&realm, &probe).await;
    let names = || async {
        let reply = realm.admin.get("/scim/diagnosis").await;
        assert_eq!(reply.status, 200, "{reply}");
        let faults = reply.json()["faults"].as_array().expect("a list").clone();
        faults.iter().map(|fault| fault["name"].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, [""; 0], "it has just begun");
    let sql = World::shared().superuser().await;
    let age = |hours: i32| {
        let (sql, name) = (&sql, &realm.name);
        async move {
            let set = "UPDATE signs SET first_at = now() - make_interval(hours => $2)
                        WHERE realm_id = (SELECT id FROM realms WHERE name = $1)";
            sql.execute(set, &[name, &hours]).await.expect("the table is there");
        }
    };
    age(1).await;
    assert_eq!(names().await, ["no_users_yet"]);
    let created = realm.create_user(json!({ "schemas": [USER], "userName": "ada" })).await;
    entry(&realm, &created).await;
    assert_eq!(names().await, ["missing_fields"], "nobody has an e-mail address");
    let full = json!({ "schemas": [USER], "userName": "bob", "externalId": "1", "emails": [{ "value": "b@example.com" }],
        "name": { "givenName": "B", "familyName": "B" } });
    realm.create_user(full).await;
    age(24 * 31).await;
    assert_eq!(names().await, ["no_groups_ever", "no_updates_ever", "no_deactivation_ever"]);
    let lacking = realm.admin.get("/scim/diagnosis").await.json()["lacking"].clone();
    assert_eq!((&lacking[0]["attribute"], &lacking[0]["users"]), (&json!("externalId"), &json!(1)));
    assert_eq!(lacking[0]["examples"], json!([created.id()]), "told which users");
    realm.group("staff", &[]).await;
    let path = format!("/Users/{}", created.id());
    let gone = realm.operations(&path, json!([{ "op": "replace", "path": "active", "value": "False" }])).await;
    entry(&realm, &gone).await;
    assert_eq!(names().await, [""; 0]);
}

#[tokio::test]
async fn the_command_line_shows_the_log_and_what_is_wrong() {
    let realm = World::realm().await;
    let reply = realm.anonymous().get("/Users").await;
    let entry = entry(&realm, &reply).await;
    let text = |output: std::process::Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    };
    let id = entry["id"].as_str().expect("a text");
    let listed = text(cli::run(&format!("log {} --status 4xx --since 1h", realm.name)).await);
    assert!(listed.contains(id) && listed.contains("no_token") && listed.contains("401"), "{listed}");
    let whole = text(cli::run(&format!("log {} --id {id}", realm.name)).await);
    assert!(whole.contains("cure") && whole.contains("Authorization"), "{whole}");
    let json = text(cli::run(&format!("log {} --output json", realm.name)).await);
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON")[0]["id"], id);
    let faults = text(cli::run(&format!("scim diagnose {}", realm.name)).await);
    assert!(faults.contains("no_token (1 of the last day's requests)"), "{faults}");
}

#[tokio::test]
async fn of_many_reads_some_are_written_and_of_all_else_each() {
    let world = World::with(&[("REALMGATE_REQUEST_LOG_READS_PER_SECOND", "1")]);
    let realm = world.new_realm().await;
    for _ in 0..40 {
        assert_eq!(realm.get("/ServiceProviderConfig").await.status, 200);
    }
    for n in 0..20 {
        realm.user(&format!("user-{n}")).await;
        assert_eq!(realm.get("/Users/nobody").await.status, 404);
    }
    let written = entries(&realm, "limit=1000&method=POST", 20).await;
    assert!(written.iter().all(|entry| entry["status"] == 201));
    entries(&realm, "limit=1000&status=404", 20).await;
    let reads = realm.admin.get("/scim/requests?limit=1000&path=/ServiceProviderConfig").await.json();
    let reads = reads.as_array().expect("a list").len();
    let metrics = world.management().get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.bytes).into_owned();
    let spared = metrics.lines().find_map(|line| line.split_once("reason=\"spared\"} ")).expect("they are counted").1;
    assert_eq!(reads + spared.parse::<usize>().expect("a number"), 40, "each is there or counted");
    assert!((10..30).contains(&reads), "{reads}");
}

#[tokio::test]
async fn what_is_too_old_goes_and_what_is_too_much_is_counted() {
    let mut world =
        World::with(&[("REALMGATE_REQUEST_LOG_QUEUE", "4"), ("REALMGATE_REQUEST_LOG_SWEEP_EVERY", "100ms")]);
    let (realm, brief) = (world.new_realm().await, world.new_realm().await);
    entry(&realm, &realm.get("/Users").await).await;
    entry(&brief, &brief.get("/Users").await).await;
    brief.policy("request_log_keep", "1s").await;
    let sql = world.superuser().await;
    let stored = |name: String| {
        let sql = &sql;
        async move {
            let count = "SELECT count(*) FROM request_log WHERE realm_id = (SELECT id FROM realms WHERE name = $1)";
            sql.query_one(count, &[&name]).await.expect("the table is there").get::<_, i64>(0)
        }
    };
    let begun = Instant::now();
    while stored(brief.name.clone()).await > 0 {
        assert!(begun.elapsed() < SOON, "what is older than a second is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stored(realm.name.clone()).await, 1, "another realm keeps its own for two weeks");

    // While nothing can be written, requests are served, and what finds no place is counted.
    sql.batch_execute("BEGIN; LOCK TABLE request_log IN ACCESS EXCLUSIVE MODE").await.expect("it is the superuser");
    for _ in 0..100 {
        assert_eq!(realm.get("/ServiceProviderConfig").await.status, 200);
    }
    let dropped = dropped(&world.management()).await;
    assert!((1..100).contains(&dropped), "{dropped}");
    sql.batch_execute("COMMIT").await.expect("it began");
    let found = entries_at_least(&realm, 2).await;
    assert!(found + dropped >= 101, "{found} and {dropped}: each request is there or counted");

    // What waits when the node stops is written first.
    let last = realm.get("/Users?count=1").await;
    assert!(world.gateway().terminate().success());
    world.start();
    let token = world.stranger().sign_in(ADMIN.0, ADMIN.1).await.text_at("access_token");
    let admin = world.stranger().bearer(&token).below(&format!("/admin/realms/{}", realm.name));
    let query = format!("/scim/requests?request_id={}", last.header("x-request-id"));
    let found = admin.get(&query).await;
    assert_eq!(found.status, 200, "{found}");
    assert_eq!(found.json().as_array().map(Vec::len), Some(1), "{found}");
}

async fn dropped(management: &Caller) -> usize {
    let text = management.get("/metrics").await.bytes;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("realmgate_request_log_dropped_total{reason=\"full\"} "));
    line.expect("something was dropped").parse().expect("a number")
}

/// Waits until the log has stopped growing, at `least` entries or more.
async fn entries_at_least(realm: &Realm, least: usize) -> usize {
    let (begun, mut before) = (Instant::now(), 0);
    loop {
        let found = realm.admin.get("/scim/requests?limit=1000").await.json().as_array().expect("a list").len();
        if found >= least && found == before {
            return found;
        }
        assert!(begun.elapsed() < SOON, "{found} of {least}");
        before = found;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_deleted_realm_takes_its_log_along() {
    let realm = World::realm().await;
    entry(&realm, &realm.get("/Users").await).await;
    let sql = World::shared().superuser().await;
    let id = sql.query_one("SELECT id FROM realms WHERE name = $1", &[&realm.name]).await.expect("it is there");
    let id: uuid::Uuid = id.get(0);
    // These are on their way to the log while the realm goes.
    let patch = json!({ "schemas": [PATCH_OP], "Operations": [] });
    let (gone, ..) = tokio::join!(realm.admin.delete(""), realm.patch("/Users/1", patch), realm.get("/Users"));
    assert_eq!(gone.status, 204, "{gone}");
    let other = World::realm().await;
    entry(&other, &other.get("/Users").await).await;
    let count: i64 =
        sql.query_one("SELECT count(*) FROM request_log WHERE realm_id = $1", &[&id]).await.expect("a count").get(0);
    assert_eq!(count, 0);
}
