//! An application which keeps a copy of a realm's directory by its events, through crashes of whatever it reads from, has
//! in the end what the realm has: nothing missing, nothing twice, nothing in the wrong order (DESIGN 10).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::{
    crash::{Writers, rounds},
    process::{Postgres, signal, turn},
    world::{ADMIN, Caller, GROUP, Realm, USER, World},
};

/// What an application knows of a user or a group.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    version: i64,
    document: Value,
    state: Option<String>,
}

/// A copy of the directory, made of events and of nothing else.
#[derive(Debug, Default)]
struct Copy {
    seq: i64,
    ids: BTreeSet<String>,
    /// The last version of whatever ever was.
    versions: HashMap<String, i64>,
    users: BTreeMap<String, Known>,
    groups: BTreeMap<String, Known>,
    members: BTreeSet<(String, String)>,
}

impl Copy {
    fn take(&mut self, event: &Value) {
        assert_eq!(event["seq"], self.seq + 1, "no gap and no double: {event}");
        self.seq += 1;
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
        assert!(self.ids.insert(text(&event["id"])), "each event has an id of its own: {event}");
        let (name, data) = (text(&event["event"]), &event["data"]);
        let Some(("dsync", what)) = name.split_once('.') else { return };
        match what.split_once('.') {
            Some(("group", moved @ ("user_added" | "user_removed"))) => {
                let member = if data["user"].is_null() { &data["member_group"] } else { &data["user"] };
                let membership = (text(&data["group"]["id"]), text(&member["id"]));
                self.version(&membership.0, &data["group"]["version"], event);
                let is_news = match moved {
                    "user_added" => self.members.insert(membership),
                    _ => self.members.remove(&membership),
                };
                assert!(is_news, "nobody comes who is there, nor goes who is not: {event}");
            }
            Some((kind @ ("user" | "group"), word @ ("created" | "updated" | "deleted"))) => {
                let (id, version) = (text(&data["id"]), data["version"].as_i64().expect("a number"));
                self.version(&id, &data["version"], event);
                let of_kind = if kind == "user" { &mut self.users } else { &mut self.groups };
                let mut document = data["raw_attributes"].clone();
                let parts = document.as_object_mut().expect("an object");
                parts.remove("id");
                parts.remove("groups");
                let known = Known { version, document, state: data["state"].as_str().map(str::to_owned) };
                let before = match word {
                    "deleted" => of_kind.remove(&id),
                    _ => of_kind.insert(id, known),
                };
                assert_eq!(before.is_some(), word != "created", "created first, deleted last: {event}");
            }
            _ => {}
        }
    }

    /// Versions of a resource never go back.
    fn version(&mut self, id: &str, version: &Value, event: &Value) {
        let version = version.as_i64().unwrap_or_else(|| panic!("{event}"));
        let last = self.versions.entry(id.to_owned()).or_insert(0);
        assert!(version >= *last, "version {last} came before: {event}");
        *last = version;
    }

    /// Row by row, what the realm has.
    async fn compare(&self, sql: &Client, realm: &str) {
        for (table, copied) in [("users", &self.users), ("groups", &self.groups)] {
            let state = match table {
                "users" => {
                    "CASE WHEN NOT active THEN 'disabled' WHEN activated_at IS NULL THEN 'shadow' ELSE 'active' END"
                }
                _ => "NULL",
            };
            let query = format!(
                "SELECT t.id::text, t.version, t.attributes::text, {state}
                   FROM {table} t JOIN realms r ON r.id = t.realm_id WHERE r.name = $1"
            );
            let rows = sql.query(&query, &[&realm]).await.expect("the rows");
            let stored: BTreeMap<String, Known> = rows
                .iter()
                .map(|row| {
                    let document = serde_json::from_str(row.get(2)).expect("JSON");
                    (row.get(0), Known { version: row.get(1), document, state: row.get(3) })
                })
                .collect();
            let ids = |of: &BTreeMap<String, Known>| of.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(ids(&stored), ids(copied), "{table}");
            for (id, row) in &stored {
                let mut copy = copied[id].clone();
                copy.version = self.versions[id];
                assert_eq!(row, &copy, "{table} {id}");
            }
        }
        let members = "SELECT group_id::text, member_id::text FROM group_members m JOIN realms r ON r.id = m.realm_id
                        WHERE r.name = $1";
        let members = sql.query(members, &[&realm]).await.expect("the rows");
        let members: BTreeSet<(String, String)> = members.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(members, self.members);
    }
}

/// An application which follows a realm for as long as it is let, on whichever node answers.
struct Follower {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(Copy, Vec<Caller>)>,
}

impl Follower {
    fn start(mut doors: Vec<Caller>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let task = tokio::spawn(async move {
            let mut copy = Copy::default();
            for turn in 0.. {
                if asked.load(Ordering::SeqCst) {
                    break;
                }
                let node = turn % doors.len();
                if page(&mut doors[node], &mut copy, 2).await.is_none() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            (copy, doors)
        });
        Self { stop, task }
    }

    /// Reads what is left, to the end.
    async fn finish(self) -> Copy {
        self.stop.store(true, Ordering::SeqCst);
        let (mut copy, mut doors) = self.task.await.expect("each event was the next one");
        while page(&mut doors[0], &mut copy, 0).await != Some(0) {}
        copy
    }
}

/// Takes in a page; how many events were on it, if there was an answer.
async fn page(door: &mut Caller, copy: &mut Copy, wait: u8) -> Option<usize> {
    let path = format!("/events?after={}&limit=50&wait={wait}", copy.seq);
    let reply = door.send(Method::GET, &path, "".into()).await.ok()?;
    match reply.status.as_u16() {
        200 => {
            let events = reply.json()["events"].as_array().expect("a list").clone();
            for event in &events {
                copy.take(event);
            }
            Some(events.len())
        }
        // A node which has started anew is at another address, and so another issuer of tokens.
        401 => {
            let form = format!("grant_type=password&client_id=admin-cli&username={}&password={}", ADMIN.0, ADMIN.1);
            let stranger = door.at_root().anonymous().header("Content-Type", "application/x-www-form-urlencoded");
            let path = "/realms/master/protocol/openid-connect/token";
            let signed_in = stranger.send(Method::POST, path, form.replace(' ', "+").into()).await.ok()?;
            if signed_in.status == 200 {
                *door = door.bearer(&signed_in.text_at("access_token"));
            }
            None
        }
        503 => None,
        _ => panic!("{reply}"),
    }
}

async fn check(world: &World, realm: &Realm, follower: Follower) {
    let sql = world.superuser().await;
    World::all_told(&sql, &realm.name).await;
    let copy = follower.finish().await;
    copy.compare(&sql, &realm.name).await;
    assert!(copy.seq > 50, "there was something to follow: {}", copy.seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_has_the_same_directory_after_each_crash_of_the_gateway() {
    let _turn = turn().await;
    let mut world = World::alone();
    let realm = world.new_realm().await;
    let group = realm.group("engines", &[]).await;
    let follower = Follower::start(vec![realm.admin.clone()]);
    for round in 0..rounds() {
        let writers = Writers::start(&realm, &group, round);
        writers.until_written(20).await;
        world.gateway().kill();
        writers.finish().await;
        world.start();
    }
    check(&world, &realm, follower).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_has_the_same_directory_whichever_of_two_nodes_is_killed_cut_off_or_frozen() {
    let _turn = turn().await;
    let postgres = Postgres::start();
    let (mut here, mut there) = (World::on(&postgres), World::on(&postgres));
    let realm = here.new_realm().await;
    let group = realm.group("engines", &[]).await;
    let follower = Follower::start(vec![realm.admin.clone(), realm.admin.on(&there)]);
    let idps = [realm.idp(), realm.idp().on(&there)];
    for round in 0..rounds() {
        let writers = Writers::at(&idps, &group, round);
        writers.until_written(20).await;
        let node = if round % 2 == 0 { &mut here } else { &mut there };
        match round % 3 {
            0 => node.gateway().kill(),
            1 => signal(node.gateway().pid(), "STOP"),
            _ => assert!(postgres.kill_a_backend(), "a backend serves the nodes"),
        }
        writers.until_written(20).await;
        if round % 3 == 1 {
            signal(node.gateway().pid(), "CONT");
        }
        writers.finish().await;
        if round % 3 == 0 {
            node.start();
        }
    }
    check(&here, &realm, follower).await;
}

#[tokio::test]
async fn what_a_large_replacement_does_not_change_is_not_told() {
    let realm = World::realm().await;
    let users = realm.seed_users(3_000).await;
    let members = |of: &[String]| of.iter().map(|id| json!({ "value": id })).collect::<Vec<_>>();
    let group = json!({ "schemas": [GROUP], "displayName": "all", "members": members(&users[..2_000]) });
    let reply = realm.post("/Groups", group).await;
    assert_eq!(reply.status, 201);
    let id = reply.id();
    let sql = World::shared().superuser().await;
    World::all_told(&sql, &realm.name).await;
    let head = realm.admin.get("/events?limit=1").await.json()["head"].as_i64().expect("a number");
    let group = json!({ "schemas": [GROUP], "displayName": "all", "members": members(&users[500..2_500]) });
    assert_eq!(realm.put(&format!("/Groups/{id}"), group).await.status, 200);
    World::all_told(&sql, &realm.name).await;
    let mut moved = BTreeMap::new();
    let mut after = head;
    loop {
        let page = realm.admin.get(&format!("/events?limit=1000&after={after}")).await.json();
        let events = page["events"].as_array().expect("a list").clone();
        if events.is_empty() {
            break;
        }
        for event in events {
            *moved.entry(event["event"].to_string()).or_insert(0) += 1;
        }
        after = page["next"].as_i64().expect("a number");
    }
    let expected = [("\"dsync.group.user_added\"", 500), ("\"dsync.group.user_removed\"", 500)];
    assert_eq!(moved, expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert_eq!(realm.create_user(json!({ "schemas": [USER], "userName": "last" })).await.status, 201);
}
