//! What was acknowledged is there after a crash, whole; what was not is there whole or not at all (SECURITY 2, row 1).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    process::{Postgres, turn},
    world::{Caller, PATCH_OP, Realm, Reply, USER, World},
};

const WRITERS: usize = 8;

/// Few rounds by default; a hundred when `REALMGATE_TEST_LONG` is set.
pub fn rounds() -> usize {
    if std::env::var_os("REALMGATE_TEST_LONG").is_some() { 100 } else { 3 }
}

/// What the gateway has acknowledged of one user.
#[derive(Debug, Default, Clone)]
pub struct Acknowledged {
    title: Option<String>,
    member: bool,
    deleted: bool,
    /// A later request had no answer, so it may have happened or not.
    unknown: bool,
}

#[derive(Default)]
struct Ledger(Mutex<BTreeMap<String, Acknowledged>>);

impl Ledger {
    fn note(&self, id: &str, change: impl FnOnce(&mut Acknowledged)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default());
    }

    fn entries(&self) -> BTreeMap<String, Acknowledged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Eight writers who create, change, add to a group, and delete, until they are stopped.
pub struct Writers {
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Writers {
    pub fn start(realm: &Realm, group: &str, round: usize) -> Self {
        Self::at(&[realm.idp()], group, round)
    }

    /// The callers in turn.
    pub fn at(idps: &[Caller], group: &str, round: usize) -> Self {
        let (ledger, stop) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            let (ledger, stop, idp, group) =
                (ledger.clone(), stop.clone(), idps[writer % idps.len()].clone(), group.to_owned());
            tasks.spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let name = format!("user-{round}-{writer}-{number}");
                    if write(&idp, &group, &name, number, &ledger).await.is_none() {
                        // No use in asking thousands of times a second, which would only slow the recovery.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            });
        }
        Self { ledger, stop, tasks }
    }

    /// Returns when so many further users have been acknowledged: the load is on.
    pub async fn until_written(&self, users: usize) {
        let (begun, wanted) = (Instant::now(), self.ledger.entries().len() + users);
        while self.ledger.entries().len() < wanted {
            assert!(begun.elapsed() < Duration::from_secs(30), "the writers make no progress");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn finish(mut self) -> BTreeMap<String, Acknowledged> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(task) = self.tasks.join_next().await {
            task.expect("a writer met an answer that is neither success nor 503");
        }
        self.ledger.entries()
    }
}

/// The life of one user, noted as far as it was acknowledged; `None` if it was cut short.
async fn write(idp: &Caller, group: &str, name: &str, number: usize, ledger: &Ledger) -> Option<()> {
    let user = json!({ "schemas": [USER], "userName": name });
    let id = acknowledged(idp, Method::POST, "/Users", &user).await?.id();
    ledger.note(&id, |_| {});
    let path = format!("/Users/{id}");
    let title = patch(&json!({ "op": "add", "path": "title", "value": name }));
    let membership = patch(&json!({ "op": "add", "path": "members", "value": [{ "value": id }] }));
    let steps = [
        (Method::PATCH, path.clone(), title),
        (Method::PATCH, format!("/Groups/{group}"), membership),
        (Method::DELETE, path, Value::Null),
    ];
    for (step, (method, path, body)) in steps.into_iter().enumerate().take(2 + usize::from(number.is_multiple_of(3))) {
        ledger.note(&id, |it| it.unknown = true);
        acknowledged(idp, method, &path, &body).await?;
        ledger.note(&id, |it| {
            it.unknown = false;
            match step {
                0 => it.title = Some(name.to_owned()),
                1 => it.member = true,
                _ => it.deleted = true,
            }
        });
    }
    Some(())
}

fn patch(operation: &Value) -> Value {
    json!({ "schemas": [PATCH_OP], "Operations": [operation] })
}

/// The answer if it acknowledges. `None` for 503 or none at all; no other status may come.
async fn acknowledged(idp: &Caller, method: Method, path: &str, body: &Value) -> Option<Reply> {
    let bytes = if body.is_null() { String::new() } else { body.to_string() };
    let reply = idp.send(method.clone(), path, bytes.into()).await.ok()?;
    match reply.status.as_u16() {
        200..300 => Some(reply),
        503 => None,
        _ => panic!("{method} {path}: {reply}"),
    }
}

/// Compares what was acknowledged with what is stored.
async fn check(world: &World, realm: &Realm, ledger: &BTreeMap<String, Acknowledged>) {
    let sql = world.superuser().await;
    let stored = sql
        .query(
            "SELECT u.id::text, u.attributes ->> 'title',
                    EXISTS (SELECT FROM group_members m WHERE m.realm_id = u.realm_id AND m.user_id = u.id)
               FROM users u JOIN realms r ON r.id = u.realm_id WHERE r.name = $1",
            &[&realm.name],
        )
        .await
        .expect("the tables are there");
    let stored: BTreeMap<String, (Option<String>, bool)> =
        stored.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    for (id, wanted) in ledger {
        match stored.get(id) {
            None => assert!(wanted.deleted || (wanted.unknown && wanted.member), "{id} is missing: {wanted:?}"),
            Some((title, member)) => {
                assert!(!wanted.deleted, "{id} is back: {wanted:?}");
                assert!(wanted.title.is_none() || title == &wanted.title, "{id} has {title:?}: {wanted:?}");
                assert!(!wanted.member || *member, "{id} is no member: {wanted:?}");
            }
        }
    }
    for (what, query) in HALVES {
        let rows = sql.query(query, &[&realm.name]).await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        let ids: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(ids.is_empty(), "{what}: {ids:?}");
    }
}

/// What no crash may leave behind. Each query gives the ids of the resources concerned.
const HALVES: [(&str, &str); 6] = [
    (
        "users without the role scim-managed",
        "SELECT u.id::text FROM users u JOIN realms r ON r.id = u.realm_id WHERE r.name = $1 AND NOT EXISTS (
            SELECT FROM user_roles m JOIN roles o ON o.realm_id = m.realm_id AND o.id = m.role_id
             WHERE m.realm_id = u.realm_id AND m.user_id = u.id AND o.name = 'scim-managed')",
    ),
    (
        "users without exactly one event of creation",
        "SELECT u.id::text FROM users u JOIN realms r ON r.id = u.realm_id WHERE r.name = $1 AND 1 <> (
            SELECT count(*) FROM changes o
             WHERE o.realm_id = u.realm_id AND o.resource_id = u.id AND o.event = 'dsync.user.created')",
    ),
    (
        "users whose last event is not of their version",
        "SELECT u.id::text FROM users u JOIN realms r ON r.id = u.realm_id WHERE r.name = $1 AND u.version <> (
            SELECT max(o.version) FROM changes o WHERE o.realm_id = u.realm_id AND o.resource_id = u.id)",
    ),
    (
        "events of creation without a user or an event of deletion",
        "SELECT c.resource_id::text FROM changes c JOIN realms r ON r.id = c.realm_id
          WHERE r.name = $1 AND c.event = 'dsync.user.created'
            AND NOT EXISTS (SELECT FROM users u WHERE u.realm_id = c.realm_id AND u.id = c.resource_id)
            AND 1 <> (SELECT count(*) FROM changes d WHERE d.realm_id = c.realm_id AND d.resource_id = c.resource_id
                         AND d.event = 'dsync.user.deleted')",
    ),
    (
        "events of deletion whose user is there",
        "SELECT d.resource_id::text FROM changes d JOIN realms r ON r.id = d.realm_id
           JOIN users u ON u.realm_id = d.realm_id AND u.id = d.resource_id
          WHERE r.name = $1 AND d.event = 'dsync.user.deleted'",
    ),
    (
        "members without an event of joining",
        "SELECT m.member_id::text FROM group_members m JOIN realms r ON r.id = m.realm_id
          WHERE r.name = $1 AND NOT EXISTS (
            SELECT FROM changes o WHERE o.realm_id = m.realm_id AND o.resource_id = m.group_id
               AND o.member_id = m.member_id AND o.event = 'dsync.group.user_added')",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_loses_nothing_that_it_acknowledged() {
    let _turn = turn().await;
    let mut world = World::alone();
    let realm = world.new_realm().await;
    let group = realm.group("engines", &[]).await;
    for round in 0..rounds() {
        let writers = Writers::start(&realm, &group, round);
        writers.until_written(20).await;
        world.gateway().kill();
        let ledger = writers.finish().await;
        world.start();
        let ready_after = world.gateway().ready_after;
        assert!(ready_after < Duration::from_secs(5), "round {round}: ready after {ready_after:?}");
        check(&world, &realm, &ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_creation_can_be_tried_again_and_makes_one_user() {
    let _turn = turn().await;
    let mut world = World::alone();
    let realm = world.new_realm().await;
    let mut creations: JoinSet<_> = (0..32)
        .map(|n| {
            let idp = realm.idp();
            let user = json!({ "schemas": [USER], "userName": format!("user-{n}") }).to_string();
            async move { idp.send(Method::POST, "/Users", user.into()).await.is_ok() }
        })
        .collect();
    // The first answer is here, the others are under way.
    creations.join_next().await;
    world.gateway().kill();
    creations.join_all().await;
    world.start();
    for n in 0..32 {
        let retry = realm.post("/Users", json!({ "schemas": [USER], "userName": format!("user-{n}") })).await;
        assert!([201, 409].contains(&retry.status.as_u16()), "{retry}");
        assert_eq!(realm.names(&format!("userName eq \"user-{n}\"")).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_embedded_postgres_comes_back_with_all_that_was_acknowledged() {
    let _turn = turn().await;
    let world = World::alone();
    let realm = world.new_realm().await;
    let group = realm.group("engines", &[]).await;
    for round in 0..rounds() {
        let writers = Writers::start(&realm, &group, round);
        writers.until_written(20).await;
        world.cluster().kill();
        world.database_is_back().await;
        let back = Instant::now();
        writers.until_written(1).await;
        assert!(back.elapsed() < Duration::from_secs(2), "round {round}: no write for {:?}", back.elapsed());
        writers.until_written(10).await;
        check(&world, &realm, &writers.finish().await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backend_or_server_of_the_operators_postgres_loses_nothing() {
    let _turn = turn().await;
    let postgres = Postgres::start();
    let world = World::on(&postgres);
    let realm = world.new_realm().await;
    let group = realm.group("engines", &[]).await;
    for round in 0..rounds() {
        let writers = Writers::start(&realm, &group, round);
        writers.until_written(20).await;
        assert!(postgres.kill_a_backend(), "a backend serves the gateway");
        writers.until_written(20).await;
        postgres.kill();
        postgres.resume();
        writers.until_written(10).await;
        check(&world, &realm, &writers.finish().await).await;
    }
}
