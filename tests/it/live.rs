//! Live feeds: a realm's events as they happen, over any node, without gaps.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::{
    process::Postgres,
    world::{Caller, Realm, USER, World},
};

/// An open stream, read as browsers read it.
struct Live {
    body: Incoming,
    text: String,
    last: i64,
}

#[derive(Debug, PartialEq)]
struct Message {
    id: i64,
    event: String,
    data: Value,
}

impl Live {
    /// Begins behind `after`; with what happens from now on, if it is `None`.
    async fn open(admin: &Caller, query: &str, after: Option<i64>) -> Self {
        let mut caller = admin.header("Accept", "text/event-stream");
        if let Some(after) = after {
            caller = caller.header("Last-Event-ID", &after.to_string());
        }
        let (head, body) = caller.open(&format!("/events{query}")).await.into_parts();
        assert_eq!((head.status.as_u16(), &head.headers["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        let mut live = Self { body, text: String::new(), last: -1 };
        assert_eq!(live.block().await.and_then(|block| message(&block, &mut live.last)), None, "where it begins");
        assert!(after.is_none_or(|after| live.last == after) && live.last >= 0);
        live
    }

    /// The next event; `None` if the stream ends.
    async fn next(&mut self) -> Option<Message> {
        while let Some(block) = self.block().await {
            if let Some(message) = message(&block, &mut self.last) {
                return Some(message);
            }
        }
        None
    }

    async fn some(&mut self, count: usize) -> Vec<Message> {
        let mut read = Vec::new();
        while read.len() < count {
            read.push(self.next().await.expect("the stream goes on"));
        }
        read
    }

    /// The lines up to the next empty one.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.body.frame()).await.expect("it is alive");
            let data = frame?.ok()?.into_data().expect("there are no trailers");
            self.text.push_str(std::str::from_utf8(&data).expect("each part is whole"));
        }
    }
}

fn message(block: &str, last: &mut i64) -> Option<Message> {
    let (mut event, mut data) = (String::new(), String::new());
    for line in block.lines() {
        match line.split_once(": ").expect("a name and a value") {
            ("id", id) => *last = id.parse().expect("a number"),
            ("event", name) => name.clone_into(&mut event),
            ("data", text) => data.push_str(text),
            ("" | "retry", _) => {}
            (other, _) => panic!("`{other}` in {block}"),
        }
    }
    let data = if data.is_empty() { None } else { Some(serde_json::from_str(&data).expect("JSON")) };
    data.map(|data| Message { id: *last, event, data })
}

async fn head(realm: &Realm) -> i64 {
    realm.admin.get("/events?limit=1").await.json()["head"].as_i64().expect("a number")
}

#[tokio::test]
async fn who_comes_back_goes_on_where_it_was() {
    let realm = World::realm().await;
    let mut live = Live::open(&realm.admin, "", Some(0)).await;
    let write = async {
        for n in 0..30 {
            realm.user(&format!("ada-{n}")).await;
        }
    };
    let read = async {
        let mut told = live.some(5).await;
        for part in [1, 20, 5] {
            // The URL stays as it was; where the client stood counts.
            live = Live::open(&realm.admin, "?after=0", told.last().map(|message| message.id)).await;
            told.extend(live.some(part).await);
        }
        told
    };
    let ((), told) = tokio::join!(write, read);
    let answer = realm.admin.get("/events?limit=1000").await.json();
    let events = answer["events"].as_array().expect("a list");
    assert_eq!((told.len(), events.len()), (31, 31));
    for (n, (message, event)) in (1..).zip(told.iter().zip(events)) {
        assert_eq!((message.id, &message.data), (n, event), "the same JSON, and no gap");
        assert_eq!(event["event"], message.event.as_str());
    }
}

#[tokio::test]
async fn a_stream_begins_with_what_is_yet_to_come_unless_it_is_told_where() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    World::all_told(&World::shared().superuser().await, &realm.name).await;
    let mut first = Live::open(&realm.admin, "?after=1", None).await;
    assert_eq!(first.some(1).await[0].event, "dsync.user.created");
    let mut live = Live::open(&realm.admin, "", None).await;
    let mut groups = Live::open(&realm.admin, "?types=dsync.group.*", None).await;
    assert_eq!((live.last, groups.last), (2, 2));
    realm.user("eve").await;
    realm.group("engines", &[&ada]).await;
    assert_eq!(live.some(1).await[0].data["data"]["username"], "eve");
    let told = groups.some(2).await;
    assert_eq!((told[0].id, told[0].event.as_str()), (4, "dsync.group.created"));
    assert_eq!((told[1].id, told[1].event.as_str()), (5, "dsync.group.user_added"));
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_before_it_begins() {
    let realm = World::realm().await;
    for name in ["ada", "bob", "eve"] {
        realm.user(name).await;
    }
    let sql = World::shared().superuser().await;
    World::all_told(&sql, &realm.name).await;
    let head = head(&realm).await;
    let stream = realm.admin.header("Accept", "application/json;q=0.5, Text/Event-Stream");
    let (ahead, behind) = ((head + 1).to_string(), stream.header("Last-Event-ID", "1"));
    for (caller, query, status) in [
        (stream.header("Last-Event-ID", &ahead), "", 400),
        (stream.header("Last-Event-ID", "x"), "", 400),
        (stream.clone(), "?after=99", 400),
        (stream.clone(), "?types=dsync.nothing", 400),
        (stream.anonymous(), "", 401),
        (stream.bearer(&realm.token), "", 401),
    ] {
        let reply = caller.get(&format!("/events{query}")).await;
        assert_eq!(reply.status, status, "{query}: {reply}");
    }
    let cut = "UPDATE feeds f SET oldest = 3 FROM realms r WHERE r.id = f.realm_id AND r.name = $1";
    sql.execute(cut, &[&realm.name]).await.expect("the row is there");
    let gone = behind.get("/events").await;
    assert_eq!((gone.status.as_u16(), gone.json()["oldest"].clone()), (410, 3.into()), "{gone}");
}

#[tokio::test]
async fn a_stream_ends_with_its_realm() {
    let realm = World::realm().await;
    World::all_told(&World::shared().superuser().await, &realm.name).await;
    let mut live = Live::open(&realm.admin, "", None).await;
    realm.policy("unknown_attributes", "reject").await;
    realm.user("ada").await;
    assert_eq!(live.some(1).await[0].event, "dsync.user.created", "a change of the realm ends nothing");
    assert_eq!(realm.admin.delete("").await.status, 204);
    while let Some(message) = live.next().await {
        assert_eq!(message.data["realm"], realm.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_tells_what_another_has_taken_in_and_ends_its_streams_when_it_stops() {
    let postgres = Postgres::start();
    let (mut here, there) = (World::on(&postgres), World::on(&postgres));
    let realm = there.new_realm().await;
    let admin = here.admin().await.below(&format!("/admin/realms/{}", realm.name));
    let mut live = Live::open(&admin, "", Some(0)).await;
    for n in 0..20 {
        realm.user(&format!("ada-{n}")).await;
    }
    let told = live.some(21).await;
    assert_eq!(told.iter().map(|message| message.id).collect::<Vec<_>>(), (1..=21).collect::<Vec<_>>());

    let waiting = tokio::spawn(async move { admin.get("/events?after=21&wait=25").await });
    let ending = tokio::spawn(async move { (live.next().await, live.last) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ended = tokio::task::block_in_place(|| here.gateway().terminate());
    assert!(ended.success(), "{ended}");
    assert!(!here.log().contains("cut off"), "nothing had to be cut off");
    assert_eq!(waiting.await.expect("an answer").status, 200, "who waits is answered");
    let (None, last) = ending.await.expect("it ends") else { panic!("there was nothing more") };
    realm.user("eve").await;
    let mut elsewhere = Live::open(&realm.admin, "", Some(last)).await;
    assert_eq!(elsewhere.some(1).await[0].data["data"]["username"], "eve");
}

#[tokio::test]
async fn streams_stand_in_nobodys_way_and_end_with_the_token() {
    let world = World::with(&[
        ("REALMGATE_LIMITS_MAX_REQUESTS_IN_FLIGHT", "64"),
        ("REALMGATE_DATABASE_POOL_SIZE", "4"),
        ("REALMGATE_ADMIN_ACCESS_TOKEN_LIFE", "10s"),
    ]);
    let realm = world.new_realm().await;
    let stream = realm.admin.header("Accept", "text/event-stream");
    let long = "x".repeat(100_000);
    let ada = realm.user("ada").await;
    let mut silent = Vec::new();
    for _ in 0..7 {
        silent.push(stream.open("/events?after=0").await);
    }
    let mut live = Live::open(&realm.admin, "?types=dsync.group.*", None).await;
    let one_more = stream.get("/events").await;
    assert_eq!((one_more.status.as_u16(), one_more.header("retry-after")), (503, "1"), "there is no place");
    for n in 0..120 {
        let user = json!({ "schemas": [USER], "userName": "ada", "title": n.to_string(), "note": long });
        assert_eq!(realm.put(&format!("/Users/{ada}"), user).await.status, 200);
    }
    realm.group("engines", &[&ada]).await;
    assert_eq!(live.some(1).await[0].event, "dsync.group.created", "while seven do not read");
    let metrics = world.management().get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.bytes).into_owned();
    assert!(metrics.lines().any(|line| line == "realmgate_live_feeds 8"), "{metrics}");
    drop(silent);
    while let Some(message) = live.next().await {
        assert_eq!(message.event, "dsync.group.user_added");
    }
    assert_eq!(realm.admin.get("/events").await.status, 401, "its token has run out");
}
