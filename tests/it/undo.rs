//! What was done by mistake is taken back.

use serde_json::{Value, json};

use crate::{
    cli::run,
    world::{GROUP, Realm, USER, World},
};

const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

/// Tries it, then does it: both must tell the same.
async fn undone(realm: &Realm, what: Value) -> Value {
    let before = directory(realm).await;
    let tried = realm.admin.post("/undo", what.clone()).await;
    assert_eq!((tried.status.as_u16(), &tried.json()["dry_run"]), (200, &json!(true)), "{tried}");
    assert_eq!(directory(realm).await, before, "a dry run changes nothing");
    let mut really = what;
    really["dry_run"] = json!(false);
    let done = realm.admin.post("/undo", really).await;
    assert_eq!(done.status, 200, "{done}");
    let (tried, done) = (tried.json(), done.json());
    for key in ["events", "requests", "changes", "conflicts"] {
        assert_eq!(tried[key], done[key], "{key}");
    }
    done
}

/// A bulk request of these operations, by `X-Request-Id`. Gives the ids of what they are about.
async fn bulk(realm: &Realm, request_id: &str, operations: Value) -> Vec<String> {
    let sent = json!({ "schemas": [BULK], "Operations": operations });
    let reply = realm.header("X-Request-Id", request_id).post("/Bulk", sent).await;
    let done = reply.json()["Operations"].as_array().expect("a list").clone();
    let id = |one: &Value| {
        assert!(one["status"].as_str().is_some_and(|status| status.starts_with('2')), "{one}");
        one["location"].as_str().and_then(|location| location.rsplit('/').next()).expect("a place").to_owned()
    };
    done.iter().map(id).collect()
}

fn creates(bulk_id: &str, user_name: &str) -> Value {
    json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id,
            "data": { "schemas": [USER], "userName": user_name } })
}

fn patches(path: &str, operation: &Value) -> Value {
    json!({ "method": "PATCH", "path": path, "data": { "Operations": [operation],
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"] } })
}

fn renames(user: &str, name: &str) -> Value {
    patches(&format!("/Users/{user}"), &json!({ "op": "replace", "path": "userName", "value": name }))
}

async fn add_member(realm: &Realm, group: &str, member: &str) {
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": member }] }]);
    assert!(realm.operations(&format!("/Groups/{group}"), add).await.status.is_success());
}

/// Why it is left alone.
fn reason<'a>(report: &'a Value, id: &str) -> &'a str {
    let conflicts = report["conflicts"].as_array().expect("a list");
    let of = conflicts.iter().find(|conflict| conflict["id"] == id);
    of.unwrap_or_else(|| panic!("a conflict of {id} in {report}"))["reason"].as_str().expect("a text")
}

/// Users, groups, memberships and roles, as they are.
async fn directory(realm: &Realm) -> Vec<Value> {
    let export = realm.admin.get("/export").await;
    let text = String::from_utf8(export.bytes.to_vec()).expect("lines of JSON");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| ["user", "group", "members"].iter().any(|kind| line["type"] == **kind)).collect()
}

async fn replace(realm: &Realm, path: &str, value: Value) {
    let reply = realm.operations(path, json!([{ "op": "replace", "value": value }])).await;
    assert!(reply.status.is_success(), "{reply}");
}

async fn map_role(realm: &Realm, holder: &str) {
    realm.admin.post("/roles", json!({ "name": "editor" })).await;
    let mapped = realm.admin.post(&format!("{holder}/role-mappings/realm"), json!([{ "name": "editor" }])).await;
    assert_eq!(mapped.status, 204, "{mapped}");
}

/// The time of the realm's last event.
async fn last_time(realm: &Realm) -> String {
    World::all_told(&World::shared().superuser().await, &realm.name).await;
    let head = realm.admin.get("/events?limit=1").await.json()["head"].as_i64().expect("a number");
    let last = realm.admin.get(&format!("/events?after={}", head - 1)).await.json();
    last["events"][0]["created_at"].as_str().expect("a time").to_owned()
}

fn actions(report: &Value) -> Vec<(&str, &str)> {
    let steps = report["changes"].as_array().expect("a list");
    steps.iter().map(|step| (step["kind"].as_str().expect("a kind"), step["action"].as_str().expect("one"))).collect()
}

#[tokio::test]
async fn a_request_which_locked_people_out_is_taken_back() {
    let realm = World::realm().await;
    let (ada, bob, eve) = (realm.user("ada").await, realm.user("bob").await, realm.user("eve").await);
    let engines = realm.group("engines", &[&ada, &bob, &eve]).await;
    map_role(&realm, &format!("/users/{bob}")).await;
    map_role(&realm, &format!("/groups/{engines}")).await;
    let before = directory(&realm).await;
    let version = realm.get(&format!("/Users/{bob}")).await.json()["meta"]["version"].clone();

    let off = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "active", "value": false }] });
    let mistake = json!({ "schemas": [BULK], "Operations": [
        { "method": "PATCH", "path": format!("/Users/{ada}"), "data": off },
        { "method": "DELETE", "path": format!("/Users/{bob}") },
        { "method": "DELETE", "path": format!("/Groups/{engines}") },
        { "method": "POST", "path": "/Users", "bulkId": "1", "data": { "schemas": [USER], "userName": "mallory" } },
    ] });
    let sent = realm.header("X-Request-Id", "mistake-1").post("/Bulk", mistake).await;
    assert_eq!(sent.status, 200, "{sent}");
    assert_eq!(realm.get(&format!("/Users/{bob}")).await.status, 404);

    let report = undone(&realm, json!({ "request_id": "mistake-1" })).await;
    assert_eq!(report["conflicts"], json!([]));
    let mut done = actions(&report);
    done.sort_unstable();
    assert_eq!(
        done,
        [
            ("group", "create"),
            ("group", "members"),
            ("group", "roles"),
            ("user", "create"),
            ("user", "delete"),
            ("user", "restore"),
            ("user", "roles"),
        ]
    );
    assert_eq!(directory(&realm).await, before, "as if nothing had happened");
    let back = realm.get(&format!("/Users/{bob}")).await.json();
    assert_eq!((&back["userName"], &version), (&json!("bob"), &json!("W/\"1\"")));
    assert_eq!(back["meta"]["version"], "W/\"3\"", "versions go on");
    assert_eq!(realm.names("active eq true").await, ["ada", "bob", "eve"]);

    World::all_told(&World::shared().superuser().await, &realm.name).await;
    let audit = realm.admin.get("/audit-log?action=undo").await.json();
    assert_eq!(
        (audit[0]["action"].as_str(), &audit[0]["after"]["what"]["request_id"]),
        (Some("undo"), &json!("mistake-1"))
    );
    let history = realm.admin.get(&format!("/users/{ada}/history")).await.json();
    let restored = history.as_array().expect("a list").iter().find(|entry| entry["event"] == "dsync.user.updated");
    assert_eq!(restored.expect("it is told")["actor"]["kind"], "admin", "the operator did it");
    let again = realm.admin.post("/undo", json!({ "request_id": "mistake-1" })).await.json();
    assert_eq!(again["changes"], json!([]), "all is as it was already");
}

#[tokio::test]
async fn whatever_was_done_in_a_span_of_time_is_taken_back() {
    let realm = World::realm().await;
    let mut users = Vec::new();
    for n in 0..6 {
        users.push(realm.user(&format!("user-{n}")).await);
    }
    let inner = realm.group("inner", &[&users[0], &users[1]]).await;
    let outer = realm.group("outer", &[&inner, &users[2]]).await;
    map_role(&realm, &format!("/users/{}", users[3])).await;
    replace(&realm, &format!("/Users/{}", users[4]), json!({ "title": "first", "locale": "en" })).await;
    let before = directory(&realm).await;
    let from = last_time(&realm).await;
    let from = from.parse::<jiff::Timestamp>().expect("a time") + jiff::SignedDuration::from_millis(1);

    replace(&realm, &format!("/Users/{}", users[4]), json!({ "title": "second" })).await;
    replace(&realm, &format!("/Users/{}", users[4]), json!({ "title": "third", "userName": "renamed" })).await;
    let stolen = realm.user("user-4").await;
    let only = json!({ "schemas": [GROUP], "displayName": "outermost", "members": [{ "value": stolen }] });
    assert_eq!(realm.put(&format!("/Groups/{outer}"), only).await.status, 200);
    assert_eq!(realm.delete(&format!("/Groups/{inner}")).await.status, 204);
    realm.group("inner", &[&users[5]]).await;
    assert_eq!(realm.delete(&format!("/Users/{}", users[3])).await.status, 204);
    assert_eq!(realm.delete(&format!("/Users/{}", users[0])).await.status, 204);
    assert_eq!(
        realm.put(&format!("/Users/{}", users[5]), json!({ "schemas": [USER], "userName": "other" })).await.status,
        200
    );
    let to = last_time(&realm).await;

    let span = json!({ "from": from, "to": to });
    let report = undone(&realm, span).await;
    assert_eq!(report["conflicts"], json!([]));
    assert_eq!(directory(&realm).await, before, "as if nothing had happened");
    let later = last_time(&realm).await.parse::<jiff::Timestamp>().expect("a time");
    let to = to.parse::<jiff::Timestamp>().expect("a time") + jiff::SignedDuration::from_millis(1);
    let redone = undone(&realm, json!({ "from": to, "to": later })).await;
    assert_eq!(redone["conflicts"], json!([]), "an undo can be undone");
    assert_eq!(realm.get(&format!("/Users/{}", users[3])).await.status, 404);
    assert_eq!(realm.get(&format!("/Users/{}", users[4])).await.json()["title"], "third");
}

#[tokio::test]
async fn what_was_changed_again_since_is_left_alone() {
    let realm = World::realm().await;
    let (ada, bob, eve) = (realm.user("ada").await, realm.user("bob").await, realm.user("eve").await);
    let engines = realm.group("engines", &[&ada]).await;
    let mistake = realm.header("X-Request-Id", "mistake-2");
    let wrong = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "value": { "title": "wrong", "locale": "xx" } }] });
    assert_eq!(mistake.patch(&format!("/Users/{ada}"), wrong).await.status, 200);
    assert_eq!(mistake.delete(&format!("/Users/{bob}")).await.status, 204);
    let out = json!([{ "op": "remove", "path": "members", "value": [{ "value": ada }] }]);
    assert_eq!(mistake.operations(&format!("/Groups/{engines}"), out.clone()).await.status, 204);
    let new = mistake.post("/Users", json!({ "schemas": [USER], "userName": "new" })).await.id();
    assert_eq!(mistake.delete(&format!("/Users/{eve}")).await.status, 204);

    replace(&realm, &format!("/Users/{ada}"), json!({ "title": "right" })).await;
    let bob_again = realm.user("BOB").await;
    replace(&realm, &format!("/Users/{new}"), json!({ "title": "wanted by now" })).await;
    let back = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    assert_eq!(realm.operations(&format!("/Groups/{engines}"), back).await.status, 204);
    assert_eq!(realm.operations(&format!("/Groups/{engines}"), out).await.status, 204);

    let report = undone(&realm, json!({ "request_id": "mistake-2" })).await;
    let conflicts = report["conflicts"].as_array().expect("a list");
    let of = |id: &str| conflicts.iter().find(|conflict| conflict["id"] == id).map(|one| one["reason"].to_string());
    assert!(of(&ada).is_some_and(|why| why.contains("`title`")), "{report}");
    assert!(of(&bob).is_some_and(|why| why.contains("userName")), "{report}");
    assert!(of(&new).is_some_and(|why| why.contains("changed since")), "{report}");
    assert!(of(&engines).is_some_and(|why| why.contains(&ada)), "{report}");
    assert_eq!((conflicts.len(), actions(&report)), (4, vec![("user", "restore"), ("user", "create")]));
    let user = realm.get(&format!("/Users/{ada}")).await.json();
    assert_eq!((&user["title"], &user["locale"]), (&json!("right"), &Value::Null));
    assert_eq!(realm.get(&format!("/Users/{bob_again}")).await.json()["userName"], "BOB");
    assert_eq!(realm.names("userName pr").await, ["BOB", "ada", "eve", "new"]);
}

#[tokio::test]
async fn an_entry_of_the_request_log_says_what_is_meant() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    replace(&realm, &format!("/Users/{ada}"), json!({ "title": "kept" })).await;
    replace(&realm, &format!("/Users/{ada}"), json!({ "locale": "xx" })).await;
    let entry = loop {
        let log = realm.admin.get("/scim/requests?method=PATCH").await.json();
        match log.as_array().map(Vec::as_slice) {
            Some([newest, _]) => break newest["id"].clone(),
            _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    let report = undone(&realm, json!({ "request": entry })).await;
    assert_eq!((actions(&report), &report["events"]), (vec![("user", "restore")], &json!(1)));
    let user = realm.get(&format!("/Users/{ada}")).await.json();
    assert_eq!((&user["title"], &user["locale"]), (&json!("kept"), &Value::Null));
}

#[tokio::test]
async fn a_request_is_taken_back_without_the_others_which_share_its_id() {
    let realm = World::realm().await;
    let (ada, bob) = (realm.user("ada").await, realm.user("bob").await);
    bulk(&realm, "same", json!([renames(&ada, "adda")])).await;
    realm.group("engines", &[&ada]).await;
    bulk(&realm, "same", json!([renames(&bob, "bobby")])).await;
    let entry = loop {
        let log = realm.admin.get("/scim/requests?request_id=same").await.json();
        match log.as_array().map(Vec::as_slice) {
            Some([_, oldest]) => break oldest["id"].clone(),
            _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    let report = undone(&realm, json!({ "request": entry })).await;
    assert_eq!((&report["events"], &report["requests"]), (&json!(1), &json!(1)));
    assert_eq!(realm.names("userName pr").await, ["ada", "bobby"]);
    let report = undone(&realm, json!({ "request_id": "same" })).await;
    assert_eq!(report["requests"], 2, "it says that others are meant, too");
    assert_eq!(realm.names("userName pr").await, ["ada", "bob"]);
}

#[tokio::test]
async fn whoever_was_given_a_group_or_a_role_since_is_not_deleted() {
    let realm = World::realm().await;
    let engines = realm.group("engines", &[]).await;
    let joins = json!({ "op": "add", "path": "members", "value": [{ "value": "bulkId:3" }] });
    let operations = json!([
        creates("1", "joined"),
        creates("2", "mapped"),
        creates("3", "alone"),
        { "method": "POST", "path": "/Groups", "bulkId": "4",
          "data": { "schemas": [GROUP], "displayName": "nested", "members": [{ "value": "bulkId:3" }] } },
        patches(&format!("/Groups/{engines}"), &joins),
    ]);
    let ids = bulk(&realm, "mistake-4", operations).await;
    let (joined, mapped, nested) = (&ids[0], &ids[1], &ids[3]);
    add_member(&realm, &engines, joined).await;
    add_member(&realm, &engines, nested).await;
    map_role(&realm, &format!("/users/{mapped}")).await;

    let report = undone(&realm, json!({ "request_id": "mistake-4" })).await;
    for id in [joined, mapped, nested] {
        assert_eq!(reason(&report, id), "it was created then, and has been given a group or a role since");
    }
    assert_eq!(actions(&report), [("user", "delete")], "what it was given by the same request holds nothing up");
    assert_eq!(realm.names("userName pr").await, ["joined", "mapped"]);

    let out = json!([{ "op": "remove", "path": "members", "value": [{ "value": joined }] }]);
    assert!(realm.operations(&format!("/Groups/{engines}"), out).await.status.is_success());
    let report = undone(&realm, json!({ "request_id": "mistake-4" })).await;
    assert_eq!(actions(&report), [("user", "delete")], "nobody else wants it any more");
    assert_eq!(realm.names("userName pr").await, ["mapped"]);
}

#[tokio::test]
async fn what_stays_keeps_what_it_was_given_when_it_was_created() {
    let realm = World::realm().await;
    let (ada, bob, engines) = (realm.user("ada").await, realm.user("bob").await, realm.group("engines", &[]).await);
    let joins = json!({ "op": "add", "path": "members", "value": [{ "value": "bulkId:1" }, { "value": ada }] });
    let operations = json!([
        creates("1", "new"),
        { "method": "POST", "path": "/Groups", "bulkId": "2",
          "data": { "schemas": [GROUP], "displayName": "fresh", "members": [{ "value": ada }, { "value": bob }] } },
        patches(&format!("/Groups/{engines}"), &joins),
    ]);
    let ids = bulk(&realm, "mistake-5", operations).await;
    let (new, fresh) = (&ids[0], &ids[1]);
    replace(&realm, &format!("/Users/{new}"), json!({ "title": "wanted by now" })).await;
    replace(&realm, &format!("/Groups/{fresh}"), json!({ "displayName": "wanted by now" })).await;

    let report = undone(&realm, json!({ "request_id": "mistake-5" })).await;
    assert!(reason(&report, new).contains("changed since") && reason(&report, fresh).contains("changed since"));
    assert_eq!(report["conflicts"].as_array().map(Vec::len), Some(2));
    assert_eq!(actions(&report), [("group", "members")]);
    assert_eq!(realm.members_of(fresh).await, [ada.as_str(), &bob]);
    assert_eq!(realm.members_of(&engines).await, [new.as_str()], "the others were there before");
}

#[tokio::test]
async fn names_are_given_back_in_the_order_in_which_they_become_free() {
    let realm = World::realm().await;
    let (p, q, r) = (realm.user("cp").await, realm.user("cq").await, realm.user("cr").await);
    let before = directory(&realm).await;
    bulk(&realm, "chain", json!([renames(&p, "cp2"), renames(&q, "cp"), renames(&r, "CQ")])).await;
    let report = undone(&realm, json!({ "request_id": "chain" })).await;
    assert_eq!((actions(&report), &report["conflicts"]), (vec![("user", "restore"); 3], &json!([])));
    assert_eq!(directory(&realm).await, before, "as if nothing had happened");

    bulk(&realm, "swap", json!([renames(&p, "x"), renames(&q, "cp"), renames(&p, "cq"), renames(&r, "CR")])).await;
    let report = undone(&realm, json!({ "request_id": "swap" })).await;
    assert!(reason(&report, &p).contains("each other's names") && reason(&report, &q).contains("each other's names"));
    assert_eq!(actions(&report), [("user", "restore")], "a name in other letters is in nobody's way");
    assert_eq!(realm.names("userName pr").await, ["cp", "cq", "cr"]);
    replace(&realm, &format!("/Users/{p}"), json!({ "userName": "y" })).await;
    undone(&realm, json!({ "request_id": "swap" })).await;
    assert_eq!(realm.get(&format!("/Users/{q}")).await.json()["userName"], "cq");
}

#[tokio::test]
async fn only_what_one_actor_did_is_taken_back_and_the_leaver_guard_holds_nothing_of_it() {
    let realm = World::realm().await;
    for n in 0..4 {
        realm.user(&format!("user-{n}")).await;
    }
    let local = realm.admin.post("/users", json!({ "username": "local", "enabled": true })).await;
    assert_eq!(local.status, 201, "{local}");
    realm.policy("leaver_guard", json!({ "count": 1, "window": "1h" })).await;
    let to = last_time(&realm).await;
    let events = realm.admin.get("/events?types=dsync.user.created").await.json();
    let idp = events["events"][0]["actor"]["id"].clone();
    let report = undone(&realm, json!({ "from": "2026-01-01T00:00:00Z", "to": to, "actor": idp })).await;
    assert_eq!(actions(&report), vec![("user", "delete"); 4]);
    assert_eq!(realm.names("userName pr").await, Vec::<String>::new());
    assert_eq!(realm.admin.get("/users/count").await.json(), 1, "the operators' own is not the IdP's doing");
    assert_eq!(realm.admin.get("/scim/leaver-guard").await.json()["held"], 0);
}

#[tokio::test]
async fn the_command_line_tells_what_it_would_do_and_does_it() {
    let realm = World::realm().await;
    let (ada, name) = (realm.user("ada").await, &realm.name);
    assert_eq!(realm.header("X-Request-Id", "mistake-3").delete(&format!("/Users/{ada}")).await.status, 204);
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let tried = run(&format!("undo {name} --request-id mistake-3")).await;
    assert!(text(&tried).contains("1 changes would be made"), "{tried:?}");
    assert_eq!(realm.get(&format!("/Users/{ada}")).await.status, 404);
    let done = run(&format!("undo {name} --request-id mistake-3 --apply --output json")).await;
    assert_eq!(serde_json::from_str::<Value>(&text(&done)).expect("JSON")["changes"][0]["action"], "create");
    assert_eq!(realm.get(&format!("/Users/{ada}")).await.status, 200);
    let history = run(&format!("user history {name} {ada}")).await;
    assert!(text(&history).contains("mistake-3"), "{history:?}");
    let report = run(&format!("event time-to-revoke {name} --since 1h")).await;
    assert!(text(&report).contains("revocations"), "{report:?}");
    let export = run(&format!("export {name}")).await;
    assert!(String::from_utf8_lossy(&export.stderr).contains("follow the events from"), "{export:?}");
    assert_eq!(run(&format!("undo {name} --request-id nobody-s")).await.status.code(), Some(3));
}

#[tokio::test]
async fn an_undo_says_what_it_needs_to_be_told() {
    let realm = World::realm().await;
    realm.user("ada").await;
    let time = "2026-01-01T00:00:00Z";
    for wrong in [
        json!({}),
        json!({ "from": time }),
        json!({ "from": "2026-01-02T00:00:00Z", "to": time }),
        json!({ "request_id": "x", "from": time, "to": time }),
        json!({ "request": "x" }),
        json!({ "requestId": "x" }),
    ] {
        assert_eq!(realm.admin.post("/undo", wrong.clone()).await.status, 400, "{wrong}");
    }
    assert_eq!(realm.admin.post("/undo", json!({ "request_id": "nobody-s" })).await.status, 404);
    let nothing = json!({ "request": "01890000-0000-7000-8000-000000000000" });
    assert_eq!(realm.admin.post("/undo", nothing).await.status, 404);
}
