//! A realm's settings, users and groups come from elsewhere and go elsewhere, line by line.

use std::{collections::BTreeMap, fs, process::Stdio};

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cli::command_as,
    process::{folder, unique},
    world::{ADMIN, ENTERPRISE_USER, GROUP, Realm, Reply, USER, World},
};

/// Lines of JSON.
pub fn lines(lines: &[Value]) -> String {
    lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n")
}

/// The report on a batch.
pub async fn imported(realm: &Realm, query: &str, lines: &str) -> Value {
    let reply = import(realm, query, lines).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.json()
}

async fn import(realm: &Realm, query: &str, lines: &str) -> Reply {
    let admin = realm.admin.header("Content-Type", "application/jsonl");
    admin.send(Method::POST, &format!("/import{query}"), lines.to_owned().into()).await.expect("an answer")
}

async fn exported(realm: &Realm) -> Vec<Value> {
    let reply = realm.admin.get("/export").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/jsonl"), "{reply}");
    let text = String::from_utf8(reply.bytes.to_vec()).expect("it is text");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn user(id: Uuid, name: &str) -> Value {
    json!({ "type": "user", "id": id, "resource": { "schemas": [USER], "userName": name } })
}

fn group(id: Uuid, name: &str, members: &[Uuid]) -> Value {
    json!({ "type": "group", "id": id, "members": members, "resource": { "schemas": [GROUP], "displayName": name } })
}

/// What became of each line: `created`, or `refused: why`.
fn outcomes(report: &Value) -> Vec<String> {
    let lines = report["lines"].as_array().expect("a list");
    let outcome = |line: &Value| match line["reason"].as_str() {
        Some(reason) => format!("{}: {reason}", line["outcome"].as_str().unwrap_or_default()),
        None => line["outcome"].as_str().unwrap_or_default().to_owned(),
    };
    lines.iter().map(outcome).collect()
}

/// All that the database holds of a realm, and the realm itself, without what tells when.
async fn stored(realm: &Realm, ignored: &[&str]) -> BTreeMap<String, Vec<Value>> {
    let sql = World::shared().superuser().await;
    World::all_told(&sql, &realm.name).await;
    let id = sql.query_one("SELECT id FROM realms WHERE name = $1", &[&realm.name]).await.expect("it is there");
    let id: Uuid = id.get(0);
    let tables = "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                   WHERE a.attname = 'realm_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                     AND c.relnamespace = 'realmgate'::regnamespace";
    let tables = sql.query(tables, &[]).await.expect("the catalog");
    let mut stored = BTreeMap::new();
    for table in tables.iter().map(|row| row.get::<_, String>(0)).filter(|table| !ignored.contains(&table.as_str())) {
        let rows = format!("SELECT (to_jsonb(t) - 'realm_id')::text FROM {table} t WHERE realm_id = $1");
        let rows = sql.query(&rows, &[&id]).await.expect("the rows");
        let mut rows: Vec<Value> =
            rows.iter().map(|row| serde_json::from_str(row.get(0)).expect("it is JSON")).collect();
        rows.sort_by_key(Value::to_string);
        stored.insert(table, rows);
    }
    let row = sql.query_one("SELECT to_jsonb(r)::text FROM realms r WHERE id = $1", &[&id]).await.expect("it is there");
    stored.insert("realms".into(), vec![serde_json::from_str(row.get(0)).expect("it is JSON")]);
    stored
}

#[tokio::test]
async fn a_line_creates_then_changes_nothing_then_updates() {
    let realm = World::realm().await;
    let [ada, bob, engines] = [(); 3].map(|()| Uuid::new_v4());
    let batch = [
        json!({ "type": "policy", "policy": { "unknown_attributes": "ignore" } }),
        json!({ "type": "role", "name": "reader", "description": "May read" }),
        user(ada, "ada"),
        user(bob, "bob"),
        group(engines, "engines", &[ada]),
        json!({ "type": "members", "group": engines, "members": [bob] }),
    ];
    let report = imported(&realm, "", &lines(&batch)).await;
    assert_eq!(outcomes(&report), ["updated", "created", "created", "created", "created", "updated"]);
    assert_eq!(realm.members_of(&engines.to_string()).await.len(), 2);
    assert_eq!(realm.get(&format!("/Users/{ada}")).await.header("etag"), "W/\"1\"");

    let again = [batch[0].clone(), batch[1].clone(), batch[2].clone(), batch[5].clone()];
    let before = stored(&realm, &["audit_log"]).await;
    let report = imported(&realm, "", &lines(&again)).await;
    assert_eq!(outcomes(&report), ["unchanged"; 4]);
    let after = stored(&realm, &["audit_log"]).await;
    assert_eq!((&before["users"], &before["events"]), (&after["users"], &after["events"]));

    let changed = json!({ "type": "user", "id": ada, "roles": ["reader"],
        "resource": { "schemas": [USER], "userName": "Ada", "name": { "givenName": "Ada" } } });
    let report = imported(&realm, "", &lines(&[changed.clone(), group(engines, "Engines", &[bob]), changed])).await;
    assert_eq!(outcomes(&report), ["updated", "updated", "unchanged"]);
    assert_eq!(realm.get(&format!("/Users/{ada}")).await.json()["name"]["givenName"], "Ada");
    assert_eq!(realm.members_of(&engines.to_string()).await, [bob.to_string()]);
    let roles = realm.admin.get(&format!("/users/{ada}/role-mappings/realm")).await.json();
    assert!(roles.to_string().contains("reader"), "{roles}");
}

#[tokio::test]
async fn what_is_imported_is_told_like_everything_else() {
    let realm = World::realm().await;
    let [ada, engines] = [(); 2].map(|()| Uuid::new_v4());
    imported(&realm, "", &lines(&[user(ada, "ada"), group(engines, "engines", &[ada])])).await;
    let told = stored(&realm, &[]).await.remove("events").expect("a table");
    let told: Vec<_> = told.iter().filter(|row| row["event"] != "dsync.activated").collect();
    let mut events: Vec<_> = told.iter().map(|row| row["event"].as_str().expect("a word").to_owned()).collect();
    events.sort();
    assert_eq!(events, ["dsync.group.created", "dsync.group.user_added", "dsync.user.created"]);
    assert!(told.iter().all(|row| row["actor"]["kind"] == "admin"), "{told:?}");
    let audit = realm.admin.get("/audit-log?action=realm.import").await.json();
    assert_eq!(audit[0]["after"]["counts"]["created"], 2, "{audit}");
    let roles = realm.admin.get(&format!("/users/{ada}/role-mappings/realm")).await.json();
    assert!(roles.to_string().contains("scim-managed"), "{roles}");
}

#[tokio::test]
async fn a_conflict_is_told_for_its_line_and_the_rest_goes_on() {
    let (realm, other) = World::two_realms().await;
    let taken = format!("taken-{}.example", unique());
    assert_eq!(other.admin.post("/domains", json!({ "domain": taken })).await.status, 201);
    let there: Uuid = realm.user("ada").await.parse().expect("a UUID");
    let there_too: Uuid = realm.group("engines", &[]).await.parse().expect("a UUID");
    let [bob, cyd, nobody, group_id] = [(); 4].map(|()| Uuid::new_v4());
    let batch = [
        user(bob, "bob"),
        user(cyd, "ADA"),
        user(there_too, "dan"),
        user(Uuid::new_v4(), "bob"),
        json!({ "type": "user", "id": "00u1abc", "resource": { "userName": "eve" } }),
        json!({ "type": "user", "id": bob.to_string().to_uppercase(), "resource": { "userName": "eve" } }),
        json!({ "type": "user", "id": nobody, "resource": { "displayName": "no name" } }),
        json!({ "type": "user", "id": nobody, "resource": { "userName": "eve" }, "roles": ["nobody-made-me"] }),
        json!({ "type": "user", "id": nobody, "created": "2999-01-01T00:00:00Z", "resource": { "userName": "eve" } }),
        group(there, "crew", &[]),
        group(group_id, "Engines", &[]),
        group(group_id, "crew", &[bob, nobody]),
        json!({ "type": "members", "group": nobody, "members": [bob] }),
        json!({ "type": "domain", "domain": taken }),
        json!({ "type": "alias", "path": "/scim/v2" }),
        json!({ "type": "token", "format": "phc", "hash": "secret" }),
        json!({ "type": "policy", "policy": { "nothing": 1 } }),
        json!({ "type": "magic" }),
        json!({ "type": "assumed", "users": [nobody], "groups": [], "roles": [] }),
        group(group_id, "crew", &[bob]),
    ];
    let text = format!("{}{{\"type\":\n\n", lines(&batch));
    let report = imported(&realm, "", &text).await;
    let told = outcomes(&report);
    for (line, why) in [
        (1, "userName `ADA` is taken"),
        (2, "is the id of a group"),
        (3, "userName `bob` is taken"),
        (4, "`00u1abc` cannot be kept as an id"),
        (5, "cannot be kept as an id"),
        (6, "userName"),
        (7, "no role `nobody-made-me`"),
        (8, "future"),
        (9, "is the id of a user"),
        (10, "displayName `Engines` is taken"),
        (11, "no user or group"),
        (12, "there is no group"),
        (13, "belongs to a realm already"),
        (14, "cannot be an alias"),
        (15, "bcrypt"),
        (16, "nothing"),
        (17, "magic"),
        (18, "dry run"),
        (20, "JSON"),
    ] {
        assert!(told[line].starts_with("refused: ") && told[line].contains(why), "line {}: {}", line + 1, told[line]);
    }
    assert_eq!((told[0].as_str(), told[19].as_str(), told.len()), ("created", "created", 21));
    assert_eq!(report["counts"], json!({ "created": 2, "updated": 0, "unchanged": 0, "refused": 19 }));
    assert_eq!(realm.names("userName pr").await, ["ada", "bob"]);
    assert_eq!(realm.members_of(&group_id.to_string()).await, [bob.to_string()]);
}

#[tokio::test]
async fn a_dry_run_foretells_the_report_and_changes_nothing() {
    let realm = World::realm().await;
    let there: Uuid = realm.user("ada").await.parse().expect("a UUID");
    let [bob, engines, inner] = [(); 3].map(|()| Uuid::new_v4());
    let definition = json!({ "id": "urn:example:badge", "name": "Badge",
        "attributes": [{ "name": "number", "type": "string" }] });
    let batch = lines(&[
        json!({ "type": "schema", "resource_type": "User", "required": false, "definition": definition }),
        json!({ "type": "policy", "policy": { "initial_state": "active" } }),
        json!({ "type": "domain", "domain": format!("dry-{}.example", unique()) }),
        json!({ "type": "alias", "path": format!("/dry-{}", unique()) }),
        json!({ "type": "token", "format": "sha256", "hash": "ab".repeat(32) }),
        json!({ "type": "role", "name": "reader" , "description": null }),
        json!({ "type": "user", "id": there, "resource": { "userName": "Ada", "urn:example:badge": { "number": "1" } } }),
        user(bob, "bob"),
        user(Uuid::new_v4(), "BOB"),
        group(inner, "inner", &[bob]),
        group(engines, "engines", &[there, inner]),
        group(inner, "inner", &[engines]),
        group(Uuid::new_v4(), "Inner", &[]),
    ]);
    let before = stored(&realm, &["request_log", "signs"]).await;
    let foretold = imported(&realm, "?dryRun=true", &batch).await;
    assert_eq!(stored(&realm, &["request_log", "signs"]).await, before);
    let report = imported(&realm, "?dryRun=false", &batch).await;
    assert_eq!((&foretold["lines"], &foretold["counts"]), (&report["lines"], &report["counts"]));
    assert_eq!((&foretold["dry_run"], &report["dry_run"]), (&json!(true), &json!(false)));
    assert_eq!(report["counts"], json!({ "created": 8, "updated": 2, "unchanged": 0, "refused": 3 }), "{report}");
}

#[tokio::test]
async fn an_import_into_one_realm_touches_no_other() {
    let (acme, globex) = World::two_realms().await;
    let theirs: Uuid = globex.user("ada").await.parse().expect("a UUID");
    let their_group: Uuid = globex.group("engines", &[&theirs.to_string()]).await.parse().expect("a UUID");
    let before = stored(&globex, &["request_log", "signs"]).await;
    // Ids are a realm's own: the same ones may live in two.
    let report = imported(&acme, "", &lines(&[user(theirs, "eve"), group(their_group, "mine", &[theirs])])).await;
    assert_eq!(outcomes(&report), ["created", "created"]);
    let stranger = Uuid::new_v4();
    let their_member = globex.user("bob").await.parse().expect("a UUID");
    let report = imported(&acme, "", &lines(&[group(stranger, "theirs", &[their_member])])).await;
    assert!(outcomes(&report)[0].contains("no user or group"), "{report}");
    assert_eq!(acme.delete(&format!("/Users/{theirs}")).await.status, 204);
    let mut after = stored(&globex, &["request_log", "signs"]).await;
    after.get_mut("users").expect("a table").retain(|row| row["user_name_key"] != "bob");
    assert_eq!(
        (&after["users"], &after["groups"], &after["group_members"]),
        (&before["users"], &before["groups"], &before["group_members"])
    );
    assert_eq!(globex.names("userName eq \"ada\"").await, ["ada"]);
}

#[tokio::test]
async fn who_was_deleted_comes_back_under_the_same_id() {
    let realm = World::realm().await;
    let ada: Uuid = realm.user("ada").await.parse().expect("a UUID");
    let engines: Uuid = realm.group("engines", &[]).await.parse().expect("a UUID");
    for path in [format!("/Users/{ada}"), format!("/Groups/{engines}")] {
        assert_eq!(realm.delete(&path).await.status, 204);
    }
    let report = imported(&realm, "", &lines(&[user(ada, "ada"), group(engines, "engines", &[ada])])).await;
    assert_eq!(outcomes(&report), ["created", "created"]);
    // Versions go on, so that no client takes the old state for the new one.
    assert_eq!(realm.get(&format!("/Users/{ada}")).await.header("etag"), "W/\"3\"");
    for path in [format!("/Users/{ada}"), format!("/Groups/{engines}")] {
        assert_eq!(realm.delete(&path).await.status, 204, "and they can go again");
    }
}

#[tokio::test]
async fn members_who_are_yet_to_come_wait_where_the_policy_lets_them() {
    let realm = World::realm().await;
    realm.policy("unknown_members", "pending").await;
    let [ada, engines] = [(); 2].map(|()| Uuid::new_v4());
    let report = imported(&realm, "", &lines(&[group(engines, "engines", &[ada])])).await;
    assert_eq!(outcomes(&report), ["created"]);
    assert!(realm.members_of(&engines.to_string()).await.is_empty());
    imported(&realm, "", &lines(&[user(ada, "ada")])).await;
    assert_eq!(realm.members_of(&engines.to_string()).await, [ada.to_string()]);
}

/// A realm with something of everything.
async fn full_realm() -> Realm {
    let realm = World::realm().await;
    let definition = json!({ "id": "urn:example:badge", "name": "Badge", "description": "Who may enter where",
        "attributes": [{ "name": "number", "type": "string", "caseExact": true }] });
    assert_eq!(realm.admin.post("/scim/schemas?resourceType=User", definition).await.status, 201);
    realm.policy("user_name_follows_email", true).await;
    let rich = json!({
        "schemas": [USER, ENTERPRISE_USER, "urn:example:badge"], "userName": "Ada.Lovelace@Example.com",
        "externalId": "00u1", "displayName": "Ada", "name": { "givenName": "Ada", "familyName": "Lovelacé" },
        "emails": [{ "value": "ada@example.com", "primary": true }, { "value": "Ada@home.example" }],
        ENTERPRISE_USER: { "department": "Engines" }, "urn:example:badge": { "number": "X1" }, "custom": { "a": [1, 2.5] },
    });
    let ada = realm.create_user(rich).await.id();
    let bob = realm.create_user(json!({ "schemas": [USER], "userName": "bob", "active": false })).await.id();
    realm.operations(&format!("/Users/{bob}"), json!([{ "op": "remove", "path": "active" }])).await;
    let ids = realm.seed_users(1_200).await;
    let members: Vec<&str> = ids.iter().map(String::as_str).collect();
    let crowd = realm.group("crowd", &members).await;
    let inner = realm.group("inner", &[&ada]).await;
    realm.group("outer", &[&inner, &bob]).await;
    realm.group("empty", &[]).await;
    assert_eq!(realm.admin.post("/roles", json!({ "name": "reader", "description": "May read" })).await.status, 201);
    let reader = json!([{ "name": "reader" }]);
    for holder in [format!("/users/{ada}"), format!("/groups/{crowd}")] {
        let mapped = realm.admin.post(&format!("{holder}/role-mappings/realm"), reader.clone()).await;
        assert_eq!(mapped.status, 204, "{mapped}");
    }
    let slow = json!({ "format": "phc", "prefix": "sk_", "label": "old",
        "hash": "pbkdf2_sha256$1000$NaClNaCl$zsWRjusaYkvFQpNsxD5IVzhoFOMFkajF0H/jdv+pnKI=" });
    assert_eq!(realm.admin.post("/scim/tokens/import", slow).await.status, 201);
    realm
}

#[tokio::test]
async fn a_realm_which_was_exported_and_imported_is_the_same() {
    let realm = full_realm().await;
    let lines_out = exported(&realm).await;
    let (first, last) = (&lines_out[0], lines_out.last().expect("a last line"));
    assert_eq!((&first["type"], &first["realm"]), (&json!("export"), &json!(realm.name)));
    let until = &last["until"];
    assert_eq!(
        *last,
        json!({ "type": "end", "settings": 4, "roles": 1, "users": 1202, "groups": 4, "members": 1203, "until": until }),
    );
    let copy = World::realm().await;
    for part in lines_out.chunks(900) {
        let report = imported(&copy, "", &lines(part)).await;
        assert_eq!(report["counts"]["refused"], 0, "{}", outcomes(&report).join("\n"));
    }
    let [mut there, mut here] = [stored(&realm, &[]).await, stored(&copy, &[]).await];
    // What tells when, by whom, and what was made for the copy alone.
    for stored in [&mut there, &mut here] {
        for rows in stored.values_mut() {
            for row in rows.iter_mut().filter_map(Value::as_object_mut) {
                for key in ["version", "updated_at", "actor", "request_id", "activated_at", "last_used_at", "role_id"] {
                    row.remove(key);
                }
                // A set (RFC 7643 §3).
                if let Some(schemas) = row.get_mut("attributes").and_then(|doc| doc["schemas"].as_array_mut()) {
                    schemas.sort_by_key(Value::to_string);
                }
            }
        }
        for table in ["user_roles", "group_roles", "group_members", "scim_tokens"] {
            let rows = stored.get_mut(table).expect("a table").iter_mut().filter_map(Value::as_object_mut);
            rows.for_each(|row| drop(row.remove("created_at")));
        }
        let tokens = stored.get_mut("scim_tokens").expect("a table");
        tokens.iter_mut().filter_map(Value::as_object_mut).for_each(|row| drop(row.remove("id")));
    }
    for table in ["users", "user_emails", "user_roles", "groups", "group_roles", "group_members"] {
        let [mut there, mut here] = [&there, &here].map(|stored| stored[table].clone());
        there.sort_by_key(Value::to_string);
        here.sort_by_key(Value::to_string);
        assert_eq!(there.len(), here.len(), "{table}");
        for (there, here) in there.iter().zip(&here) {
            assert_eq!(there, here, "{table}");
        }
    }
    for token in &there["scim_tokens"] {
        assert!(here["scim_tokens"].contains(token), "{token}");
    }
    for key in ["policy", "extensions"] {
        assert_eq!(there["realms"][0][key], here["realms"][0][key]);
    }
    assert_eq!(copy.bearer(&realm.token).get("/Users?count=0").await.status, 200, "the token came along");
    assert_eq!(copy.bearer(&realm.token).get("/Users?count=0").await.json()["totalResults"], 1202);
}

#[tokio::test]
async fn a_batch_has_its_limits() {
    let realm = World::realm().await;
    let many: Vec<Value> = (0..1001).map(|n| user(Uuid::new_v4(), &format!("user-{n}"))).collect();
    let many = lines(&many);
    let reply = import(&realm, "", &many).await;
    assert_eq!(reply.status, 400, "{reply}");
    assert!(reply.text_at("errorMessage").contains("1000"), "{reply}");
    assert_eq!(import(&realm, "", "\n \n").await.json()["lines"], json!([]));
    assert_eq!(import(&realm, "?dryRun=maybe", "").await.status, 400);
    let text = realm.admin.header("Content-Type", "text/csv").send(Method::POST, "/import", "a;b".into()).await;
    assert_eq!(text.expect("an answer").status, 400);
    let nowhere = World::shared().admin().await.below("/admin/realms/nobody-knows-me");
    assert_eq!(nowhere.send(Method::POST, "/import", "".into()).await.expect("an answer").status, 404);
    assert_eq!(nowhere.get("/export").await.status, 404);
    let master = World::shared().admin().await.below("/admin/realms/master");
    let refused = master.header("Content-Type", "application/jsonl").send(Method::POST, "/import", "".into()).await;
    assert_eq!(refused.expect("an answer").status, 409);
}

/// Runs the program to its end: what it prints, and its exit code.
async fn run(arguments: String) -> (String, Option<i32>) {
    let mut command = command_as(ADMIN.1, &arguments);
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("the binary starts")).await.expect("no panic");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code())
}

#[tokio::test]
async fn an_import_which_was_killed_is_run_again() {
    let (realm, folder) = (World::realm().await, folder("import"));
    let (file, report) = (folder.join("users.jsonl"), folder.join("report.jsonl"));
    let users = (0..4_000).map(|n| user(Uuid::new_v4(), &format!("user-{n}")).to_string());
    fs::write(&file, users.collect::<Vec<_>>().join("\n")).expect("it is written");
    let arguments = format!("import {} {}", realm.name, file.display());
    let mut command = command_as(ADMIN.1, &arguments);
    let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let count = async || realm.get("/Users?count=0").await.json()["totalResults"].as_u64().unwrap_or_default();
    while count().await == 0 {
        assert!(killed.try_wait().expect("it is ours").is_none(), "it ended before it had begun");
    }
    killed.kill().expect("it is ours");
    let _gone = killed.wait();
    let before = count().await;
    let (text, code) = run(format!("{arguments} --report {} --output json", report.display())).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(count().await, 4_000);
    let told: Value = serde_json::from_str(&text).expect("it is JSON");
    let counts = told["counts"].clone();
    assert_eq!(counts["created"].as_u64().zip(counts["unchanged"].as_u64()).map(|(a, b)| a + b), Some(4_000), "{told}");
    assert!(counts["unchanged"].as_u64() >= Some(before), "{told}");
    let report = fs::read_to_string(report).expect("it is written");
    let last: Value = serde_json::from_str(report.lines().last().expect("a line")).expect("it is JSON");
    assert_eq!((report.lines().count(), &last["line"], &last["outcome"]), (4_000, &json!(4_000), &json!("created")));
}

#[tokio::test]
async fn the_command_line_moves_a_realm_and_tells_what_was_refused() {
    let (realm, copy, folder) = (full_realm().await, World::realm().await, folder("export"));
    let file = folder.join("realm.jsonl");
    let (text, code) = run(format!("export {} {}", realm.name, file.display())).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1202 users, 4 groups"), "{text}");
    // Groups stand in another batch than their members, and refer to them all the same.
    let arguments = format!("import {} {}", copy.name, file.display());
    let (text, code) = run(format!("{arguments} --dry-run --output json")).await;
    assert_eq!(code, Some(0), "{text}");
    let foretold: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(copy.get("/Users?count=0").await.json()["totalResults"], 0);
    let (text, code) = run(format!("{arguments} --output json")).await;
    assert_eq!(code, Some(0), "{text}");
    let told: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(foretold["counts"], told["counts"]);
    let (text, code) = run(arguments.clone()).await;
    assert_eq!(code, Some(0), "{text}");

    let whole = fs::read_to_string(&file).expect("it is written");
    fs::write(&file, format!("{whole}{}\n", json!({ "type": "user", "id": "no-uuid", "resource": {} })))
        .expect("it is written");
    let (text, code) = run(arguments.clone()).await;
    assert_eq!(code, Some(2), "what stands behind the end is no export: {text}");
    let (start, _) = whole.trim_end().rsplit_once('\n').expect("many lines");
    fs::write(&file, start).expect("it is written");
    let (text, code) = run(arguments.clone()).await;
    assert!(code == Some(2) && text.contains("cut off"), "{text}");
    fs::write(&file, format!("{}\n", json!({ "type": "user", "id": "no-uuid", "resource": {} })))
        .expect("it is written");
    let (text, code) = run(arguments).await;
    assert!(code == Some(6) && text.contains("line 1: `no-uuid` cannot be kept"), "{text}");
}
