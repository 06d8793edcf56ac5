//! With the database away nobody hears anything but 503, and soon; with it back, everything is good again
//! (SECURITY 2, rows 2 and 3).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use crate::{
    process::{Postgres, turn, unique},
    world::{Caller, PATCH_OP, Realm, USER, World, parsed, read_answer},
};

/// The latest that an answer may come while the database is away, and the latest return to good answers after it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const GOOD_WITHIN: Duration = Duration::from_secs(2);

/// One exchange, as a client saw it.
#[derive(Debug)]
struct Seen {
    sent: Instant,
    answered: Instant,
    what: &'static str,
    status: u16,
    /// `Retry-After` and the SCIM error body, which each 503 has.
    told_properly: bool,
    created: Option<String>,
}

/// Clients who use the gateway in every way, over and over.
struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Seen>>,
}

impl Clients {
    fn start(realm: &Realm, user: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let patch =
            json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "replace", "path": "title", "value": "T" }] });
        let ways = [
            ("read", Method::GET, format!("/Users/{user}"), String::new()),
            ("miss", Method::GET, "/Users?filter=userName%20eq%20%22nobody%22".to_owned(), String::new()),
            ("list", Method::GET, "/Groups?count=10".to_owned(), String::new()),
            ("change", Method::PATCH, format!("/Users/{user}"), patch.to_string()),
            ("create", Method::POST, "/Users".to_owned(), String::new()),
        ];
        let mut tasks = JoinSet::new();
        for (what, method, path, body) in ways {
            let (stop, idp) = (stop.clone(), realm.idp());
            tasks.spawn(async move {
                let mut seen = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let new_user =
                        || json!({ "schemas": [USER], "userName": format!("user-{}", unique()) }).to_string();
                    let body = if what == "create" { new_user() } else { body.clone() };
                    seen.push(exchange(&idp, what, method.clone(), &path, body).await);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                seen
            });
        }
        Self { stop, tasks }
    }

    async fn finish(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

async fn exchange(idp: &Caller, what: &'static str, method: Method, path: &str, body: String) -> Seen {
    let sent = Instant::now();
    let reply = idp.send(method, path, body.into()).await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
    let told_properly =
        reply.status != 503 || (reply.header("retry-after").parse::<u32>().is_ok() && !reply.detail().is_empty());
    let created = (reply.status == 201).then(|| reply.id());
    Seen { sent, answered: Instant::now(), what, status: reply.status.as_u16(), told_properly, created }
}

/// Takes the database away for a while and brings it back, under load.
async fn an_outage(begin: impl FnOnce(&Postgres), end: impl FnOnce(&Postgres)) {
    let _turn = turn().await;
    let postgres = Postgres::start();
    let world = World::on(&postgres);
    let realm = world.new_realm().await;
    let user = realm.user("ada").await;
    let never_used = world.new_realm().await;
    let admin = realm.admin.clone();
    let clients = Clients::start(&realm, &user);

    tokio::task::block_in_place(|| begin(&postgres));
    let away_since = Instant::now();
    let uncached = never_used.get("/Users").await;
    assert_eq!(uncached.status, 503, "a good token which nobody could check: {uncached}");
    assert!(uncached.took < ANSWER_WITHIN, "{:?}", uncached.took);
    let operator = admin.get("/scim").await;
    assert_eq!(operator.status, 503, "{operator}");
    assert!(!operator.header("retry-after").is_empty());
    while world.management().get("/health/ready").await.status != 503 {
        assert!(away_since.elapsed() < Duration::from_secs(3), "still ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.management().get("/health/live").await.status, 200);
    // Long enough for every deadline on the way to pass at least once.
    tokio::time::sleep_until((away_since + Duration::from_secs(4)).into()).await;

    let back_since = Instant::now();
    tokio::task::block_in_place(|| end(&postgres));
    let accepts_since = Instant::now();
    tokio::time::sleep(GOOD_WITHIN + Duration::from_secs(1)).await;
    let seen = clients.finish().await;

    for it in &seen {
        assert!(it.status < 300 || it.status == 503, "{it:?}");
        assert!(it.told_properly, "{it:?}");
        assert!(it.answered - it.sent < ANSWER_WITHIN, "{it:?}");
        if it.sent > away_since && it.answered < back_since {
            assert_eq!(it.status, 503, "nothing can be known or kept while the database is away: {it:?}");
        }
        if it.sent > accepts_since + GOOD_WITHIN {
            assert!(it.status < 300, "good again, {:?} after the return: {it:?}", it.sent - accepts_since);
        }
    }
    for way in ["read", "miss", "list", "change", "create"] {
        let good = seen.iter().filter(|it| it.what == way && it.sent > accepts_since && it.status < 300).count();
        let refused = seen.iter().filter(|it| it.what == way && it.status == 503).count();
        assert!(good > 0 && refused > 0, "{way}: {good} good, {refused} refused");
    }
    assert_eq!(never_used.get("/Users").await.status, 200);
    for id in seen.iter().filter_map(|it| it.created.as_deref()) {
        assert_eq!(realm.get(&format!("/Users/{id}")).await.status, 200, "an acknowledged user");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_database_is_503_and_nothing_else() {
    an_outage(Postgres::stop, Postgres::resume).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_is_503_and_nothing_else() {
    an_outage(Postgres::kill, Postgres::resume).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_database_is_503_and_nothing_else() {
    an_outage(|postgres| postgres.freeze(), |postgres| postgres.thaw()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_database_is_good_again_at_once() {
    let _turn = turn().await;
    let postgres = Postgres::start();
    let world = World::on(&postgres);
    let realm = world.new_realm().await;
    let user = realm.user("ada").await;
    let clients = Clients::start(&realm, &user);
    for _ in 0..2 {
        tokio::task::block_in_place(|| {
            postgres.stop();
            postgres.resume();
        });
        let accepts_since = Instant::now();
        while realm.get(&format!("/Users/{user}")).await.status != 200 {
            assert!(accepts_since.elapsed() < GOOD_WITHIN, "no good answer yet");
        }
    }
    for it in clients.finish().await {
        assert!((it.status < 300 || it.status == 503) && it.told_properly, "{it:?}");
    }
}

#[tokio::test]
async fn a_gateway_told_to_stop_answers_what_is_under_way() {
    let _turn = turn().await;
    let mut world = World::alone();
    let realm = world.new_realm().await;
    let body = json!({ "schemas": [USER], "userName": "ada" }).to_string();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n",
        realm.path("/Users"),
        world.address(),
        realm.token,
        body.len()
    );
    let (first, rest) = body.split_at(10);
    let mut under_way = TcpStream::connect(world.address()).await.expect("the gateway listens");
    under_way.write_all((head + first).as_bytes()).await.expect("it reads");
    // A whole exchange later, the gateway has surely taken up the one before.
    assert_eq!(realm.get("/Users").await.status, 200);

    let told = Instant::now();
    crate::process::signal(world.gateway().pid(), "TERM");
    while TcpStream::connect(world.address()).await.is_ok() {
        assert!(told.elapsed() < Duration::from_secs(2), "it still takes new connections");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    under_way.write_all(rest.as_bytes()).await.expect("it still reads");
    let answer = read_answer(&mut under_way, Duration::from_secs(5)).await;
    assert_eq!(parsed(&answer).0, 201, "{}", String::from_utf8_lossy(&answer));
    let status = world.gateway().terminate();
    assert!(status.success(), "{status}");
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_gateway_told_to_stop_ends_in_time_even_when_clients_and_database_do_not_move() {
    let _turn = turn().await;
    let postgres = Postgres::start();
    let mut world = World::on(&postgres);
    let realm = world.new_realm().await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(world.address()).await.expect("the gateway listens");
        stream
            .write_all(format!("GET {} HTTP/1.1\r\nHost: x", realm.path("/Users")).as_bytes())
            .await
            .expect("it reads");
        silent.push(stream);
    }
    postgres.freeze();
    let told = Instant::now();
    let status = world.gateway().terminate();
    assert!(status.success(), "{status}");
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}
