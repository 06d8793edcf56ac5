//! A group may be as large as it likes: what is done to it costs what it names, and it is answered whole or visibly not
//! at all.

use std::{collections::BTreeSet, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::world::{Realm, World, encoded};

/// Members of a group which is answered in many pieces.
fn many() -> usize {
    if std::env::var_os("REALMGATE_TEST_LONG").is_some() { 1_000_000 } else { 20_000 }
}

/// More than the buffers between a server and a client who does not read can hold.
const MORE_THAN_FITS: usize = 40_000;

/// A group of so many new users.
async fn group_of(realm: &Realm, name: &str, members: usize) -> String {
    let group = realm.group(name, &[]).await;
    let sql = World::shared().superuser().await;
    // Without the checks of foreign keys, which would take most of the time.
    sql.batch_execute(&format!(
        "SET session_replication_role = replica;
         WITH arrived AS (
             INSERT INTO users (realm_id, id, version, created_at, updated_at, active, user_name_key, attributes)
             SELECT r.id, gen_random_uuid(), 1, now(), now(), true, '{name} ' || n,
                    jsonb_build_object('schemas', jsonb_build_array('{user}'), 'userName', '{name} ' || n)
               FROM realms r, generate_series(1, {members}) n WHERE r.name = '{realm}'
             RETURNING realm_id, id)
         INSERT INTO group_members (realm_id, group_id, member_id, user_id, created_at)
         SELECT realm_id, '{group}', id, id, now() FROM arrived",
        realm = realm.name,
        user = crate::world::USER,
    ))
    .await
    .expect("the rows fit the tables");
    group
}

fn values(members: &Value) -> Vec<&str> {
    let members = members.as_array().map_or(&[][..], Vec::as_slice);
    members.iter().map(|member| member["value"].as_str().expect("a member has a value")).collect()
}

/// A client who asks for a group and reads no more than the beginning of the answer.
struct Hesitant {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Hesitant {
    async fn asks(realm: &Realm, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.set_recv_buffer_size(4096).expect("it is allowed");
        let address = World::shared().address();
        let mut stream = socket.connect(address.parse().expect("an address")).await.expect("the gateway listens");
        let (path, token) = (realm.path(path), &realm.token);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("the gateway reads");
        let mut read = vec![0; 1000];
        stream.read_exact(&mut read).await.expect("the gateway answers");
        assert!(read.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&read));
        Self { stream, read }
    }

    /// The whole of the answer, and whether it says itself that it is whole.
    async fn reads_on(mut self) -> (String, bool) {
        let rest = self.stream.read_to_end(&mut self.read);
        let _broken = timeout(Duration::from_secs(60), rest).await.expect("the answer ends");
        let whole = self.read.ends_with(b"\r\n0\r\n\r\n");
        (String::from_utf8_lossy(&self.read).into_owned(), whole)
    }
}

#[tokio::test]
async fn a_large_group_is_answered_whole() {
    let realm = World::realm().await;
    let group = group_of(&realm, "crowd", many()).await;
    let reply = realm.get(&format!("/Groups/{group}")).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-length"), reply.header("etag")), (200, "", "W/\"1\""));
    let answered = reply.json();
    let ids = values(&answered["members"]);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (many(), many()));
    let first = &answered["members"][0];
    let location = realm.get(&format!("/Users/{}", ids[0])).await.json()["meta"]["location"].clone();
    assert_eq!((&first["$ref"], &first["type"]), (&location, &json!("User")));
    assert!(first.get("display").is_none(), "it is answered on request: {first}");
    assert_eq!(answered["displayName"], "crowd");
}

#[tokio::test]
async fn a_small_group_is_answered_in_one_piece() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    for members in [&[][..], &[ada.as_str()]] {
        let reply = realm.get(&format!("/Groups/{}", realm.group(&format!("{members:?}"), members).await)).await;
        assert_eq!(reply.header("content-length"), reply.bytes.len().to_string());
        assert_eq!(values(&reply.json()["members"]), members);
    }
}

#[tokio::test]
async fn a_list_has_large_small_and_empty_groups_each_with_its_own_members() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let mut expected = Vec::new();
    for (n, size) in [0, 2_000, 1, 0, 5_001, 1_999, 0].into_iter().enumerate() {
        let name = format!("group {n}");
        let group = match size {
            1 => realm.group(&name, &[&ada]).await,
            size => group_of(&realm, &name, size).await,
        };
        expected.push((group, size));
    }
    let listed = realm.get("/Groups?attributes=displayName,members.value,members.display").await.json();
    let resources = listed["Resources"].as_array().expect("it is a list").iter();
    let found: Vec<_> = resources.map(|g| (g["id"].as_str().unwrap_or(""), values(&g["members"]).len())).collect();
    assert_eq!(found, expected.iter().map(|(group, size)| (group.as_str(), *size)).collect::<Vec<_>>());
    for resource in listed["Resources"].as_array().expect("it is a list") {
        let own = resource["displayName"].as_str().expect("it is required");
        let members = resource["members"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(members.iter().all(|m| m["display"] == "ada" || m["display"].as_str().expect("text").starts_with(own)));
    }
}

#[tokio::test]
async fn of_many_members_only_that_is_told_which_was_asked_for() {
    let realm = World::realm().await;
    let group = group_of(&realm, "crowd", 5_000).await;
    for (query, keys) in [
        ("attributes=members.value", &["value"][..]),
        ("attributes=members.display,members.type", &["type", "display"]),
        ("excludedAttributes=members.display,members.$ref", &["value", "type"]),
        ("attributes=members", &["value", "$ref", "type", "display"]),
    ] {
        let answered = realm.get(&format!("/Groups/{group}?{query}")).await.json();
        let members = answered["members"].as_array().unwrap_or_else(|| panic!("{query}: no members"));
        assert_eq!(members.len(), 5_000, "{query}");
        for member in members {
            assert_eq!(member.as_object().expect("it is complex").keys().collect::<Vec<_>>(), keys, "{query}");
        }
    }
    for query in ["excludedAttributes=members", "attributes=displayName", "attributes=members.nonsense"] {
        let reply = realm.get(&format!("/Groups/{group}?{query}")).await;
        assert!(reply.json().get("members").is_none() && !reply.header("content-length").is_empty(), "{query}");
    }
    let patch = json!({ "schemas": [crate::world::PATCH_OP], "Operations": [{ "op": "add", "path": "externalId", "value": "x" }] });
    let patched = realm.patch(&format!("/Groups/{group}?attributes=members.value"), patch).await.json();
    assert_eq!(values(&patched["members"]).len(), 5_000);
}

#[tokio::test]
async fn a_head_of_a_large_group_has_no_body() {
    let realm = World::realm().await;
    let group = group_of(&realm, "crowd", 5_000).await;
    let reply = realm.send(Method::HEAD, &format!("/Groups/{group}"), "".into()).await.expect("the gateway answers");
    assert_eq!((reply.status.as_u16(), reply.header("etag"), reply.bytes.len()), (200, "W/\"1\"", 0));
}

#[tokio::test]
async fn those_who_stay_are_met_once_whoever_comes_and_goes_meanwhile() {
    let realm = World::realm().await;
    let group = group_of(&realm, "crowd", MORE_THAN_FITS).await;
    let path = format!("/Groups/{group}?attributes=members.value");
    let reply = realm.get(&path).await;
    assert_eq!(reply.status, 200, "{reply}");
    let everyone = reply.json();
    let mut stay: BTreeSet<_> = values(&everyone["members"]).into_iter().collect();
    let (first, last) = (*stay.first().expect("many"), *stay.last().expect("many"));
    let reader = Hesitant::asks(&realm, &format!("/Groups/{group}")).await;
    let mut operations: Vec<_> =
        (0..100).map(|n| json!({ "op": "add", "path": "members", "value": [{ "value": n }] })).collect();
    for operation in &mut operations {
        let user = realm.user(&format!("late {}", operation["value"][0]["value"])).await;
        operation["value"][0]["value"] = user.into();
    }
    for gone in [first, last] {
        stay.remove(gone);
        operations.push(json!({ "op": "remove", "path": format!("members[value eq \"{gone}\"]") }));
    }
    assert_eq!(realm.operations(&format!("/Groups/{group}"), Value::Array(operations)).await.status, 204);
    let (answer, whole) = reader.reads_on().await;
    assert!(whole);
    let mut met: Vec<&str> = answer
        .match_indices("{\"value\":\"")
        .filter_map(|(at, m)| answer.get(at + m.len()..at + m.len() + 36))
        .collect();
    // What the framing of the transfer cuts in two is not found here: one at most of each piece.
    let pieces = MORE_THAN_FITS / 2_000 + 1;
    met.retain(|id| stay.contains(id));
    let once: BTreeSet<_> = met.iter().copied().collect();
    assert_eq!(once.len(), met.len());
    assert!(stay.len() - once.len() <= pieces, "{} of {}", once.len(), stay.len());
}

#[tokio::test]
async fn an_answer_which_cannot_be_finished_is_broken_off() {
    let realm = World::realm().await;
    let group = group_of(&realm, "crowd", MORE_THAN_FITS).await;
    for path in [format!("/Groups/{group}"), "/Groups".to_owned()] {
        let (_, whole) = Hesitant::asks(&realm, &path).await.reads_on().await;
        assert!(whole, "nothing happened");
    }
    let [at_revocation, at_deletion] =
        [Hesitant::asks(&realm, "/Groups").await, Hesitant::asks(&realm, &format!("/Groups/{group}")).await];
    assert_eq!(realm.delete(&format!("/Groups/{group}")).await.status, 204);
    assert!(!at_deletion.reads_on().await.1);
    assert!(realm.admin.post("/scim/rotate", json!({})).await.status.is_success());
    assert!(!at_revocation.reads_on().await.1);
}

#[tokio::test]
async fn a_change_costs_what_it_names_and_not_what_the_group_holds() {
    let realm = World::realm().await;
    let group = group_of(&realm, "crowd", MORE_THAN_FITS).await;
    let user = realm.user("ada").await;
    let sql = World::shared().as_the_gateway().await;
    let owner = World::shared().superuser().await;
    let query = "SELECT id::text FROM realms WHERE name = $1";
    let id: String = owner.query_one(query, &[&realm.name]).await.expect("it is there").get(0);
    sql.batch_execute(&format!(
        "SET plan_cache_mode = force_generic_plan;
         PREPARE change (uuid, uuid, boolean, text[], uuid[], boolean[], boolean, boolean, timestamptz, jsonb, text) AS {}",
        realmgate::store::members::CHANGE
    ))
    .await
    .expect("it is a statement");
    for statistics in ["", "ANALYZE group_members, users, groups, pending_members"] {
        owner.batch_execute(statistics).await.expect("it is allowed");
        sql.batch_execute(&format!("BEGIN; SELECT set_config('realmgate.realm', '{id}', true)")).await.expect("it may");
        for comes in [true, false] {
            let explained = sql
                .simple_query(&format!(
                    "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE change ('{id}', '{group}', false, '{{{user}}}',
                     '{{{user}}}', '{{{comes}}}', false, false, now(), '{{}}', 'it')"
                ))
                .await
                .expect("it runs");
            let text = explained.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            let plan: Value = serde_json::from_str(text.expect("a plan")).expect("it is JSON");
            let top = &plan[0]["Plan"];
            let pages =
                top["Shared Hit Blocks"].as_i64().unwrap_or(0) + top["Shared Read Blocks"].as_i64().unwrap_or(0);
            assert!((1..300).contains(&pages), "{pages} pages, comes: {comes}, after `{statistics}`: {plan:#}");
        }
        sql.batch_execute("ROLLBACK").await.expect("the session is open");
    }
}

#[tokio::test]
async fn a_large_group_is_found_by_its_member() {
    let realm = World::realm().await;
    let group = group_of(&realm, "crowd", 5_000).await;
    let ada = realm.user("ada").await;
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    assert_eq!(realm.operations(&format!("/Groups/{group}"), add).await.status, 204);
    let filter = encoded(&format!("members.value eq \"{ada}\""));
    let found = realm.get(&format!("/Groups?attributes=id&filter={filter}")).await.json();
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(group)));
}
