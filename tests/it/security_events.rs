//! Security event tokens (RFC 8417) with the SCIM events of RFC 9967: polled (RFC 8936), pushed (RFC 8935), and believed
//! by a public library which knows nothing but the realm's published keys.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};

use crate::{
    operators::Operator,
    process::python,
    receiver::{Answer, Receiver},
    world::{Caller, Realm, World},
};

const AUDIENCE: &str = "https://app.example/feeds/1";
const EVENT: &str = "urn:ietf:params:scim:event:prov:";

/// A stream, and who polls it.
struct Stream {
    id: String,
    receiver: Caller,
}

impl Stream {
    async fn create(realm: &Realm, wish: Value) -> Self {
        let mut stream = json!({ "name": "app", "audience": AUDIENCE });
        stream.as_object_mut().expect("a map").extend(wish.as_object().expect("a map").clone());
        let made = realm.admin.post("/event-streams", stream).await;
        assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"), "{made}");
        let (id, token) = (made.id(), made.text_at("token"));
        let path = format!("/realms/{}/security-events/{id}/poll", realm.name);
        assert!(made.text_at("poll_url").ends_with(&path), "{made}");
        assert!(token.starts_with("rge_"), "{token}");
        Self { receiver: realm.at_root().below(&path).bearer(&token), id }
    }

    /// Token by `jti`, and whether there are more.
    async fn poll(&self, ask: Value) -> (BTreeMap<String, String>, bool) {
        let reply = self.receiver.header("Content-Type", "application/json").post("", ask).await;
        assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, "no-store"), "{reply}");
        let answer = reply.json();
        let sets = serde_json::from_value(answer["sets"].clone()).expect("texts by name");
        (sets, answer["moreAvailable"].as_bool().expect("a truth value"))
    }

    async fn now(&self) -> BTreeMap<String, String> {
        self.poll(json!({ "returnImmediately": true })).await.0
    }

    async fn shown(&self, realm: &Realm) -> Value {
        let list = realm.admin.get("/event-streams").await.json();
        list.as_array().expect("a list").iter().find(|stream| stream["id"] == *self.id).expect("it is there").clone()
    }
}

/// What a token says, read and not believed.
fn claims(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

/// The tokens' claims in the order of the events, as PyJWT believes them.
async fn verified(world: &World, realm: &Realm, audience: &str, tokens: Vec<String>) -> Vec<Value> {
    let stranger = world.new_realm().await;
    Stream::create(&stranger, json!({})).await;
    let url = |realm: &Realm| format!("{}/realms/{}", world.public_url(), realm.name);
    let jwks = |realm: &Realm| format!("{}/protocol/openid-connect/certs", url(realm));
    let asked = json!({ "jwks_uri": jwks(realm), "foreign_jwks_uri": jwks(&stranger), "issuer": url(realm),
        "audience": audience, "tokens": tokens })
    .to_string();
    let output = tokio::task::spawn_blocking(move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/security_events.py");
        let mut command = Command::new(python("jwt, cryptography"));
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().expect("python starts");
        program.stdin.take().expect("it is piped").write_all(asked.as_bytes()).expect("it reads");
        program.wait_with_output().expect("it ends")
    });
    let output = output.await.expect("no panic");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut told: Vec<Value> = serde_json::from_slice(&output.stdout).expect("claims");
    told.sort_by_key(|claims| claims["seq"].as_i64());
    told
}

fn kinds(told: &[Value]) -> Vec<Vec<String>> {
    let uris = told.iter().map(|claims| claims["events"].as_object().expect("a map").keys());
    uris.map(|uris| uris.map(|uri| uri.replace(EVENT, "")).collect()).collect()
}

#[tokio::test]
async fn what_happens_is_polled_as_tokens_which_the_realms_published_keys_verify() {
    let realm = World::realm().await;
    let stream = Stream::create(&realm, json!({ "from": 1 })).await;
    let ada = realm.user("ada").await;
    let engines = realm.group("engines", &[&ada]).await;
    let off = json!([{ "op": "replace", "value": { "active": false, "title": "Countess" } }]);
    let reply = realm.header("X-Request-Id", "r-17").operations(&format!("/Users/{ada}"), off).await;
    assert_eq!(reply.status, 200, "{reply}");
    let on = json!([{ "op": "replace", "path": "active", "value": true }, { "op": "remove", "path": "title" }]);
    assert_eq!(realm.operations(&format!("/Users/{ada}"), on).await.status, 200);
    assert_eq!(realm.admin.post("/roles", json!({ "name": "editor" })).await.status, 201);
    assert_eq!(realm.delete(&format!("/Users/{ada}")).await.status, 204);
    World::all_told(&World::shared().superuser().await, &realm.name).await;

    let sets = stream.now().await;
    let told = verified(World::shared(), &realm, AUDIENCE, sets.values().cloned().collect()).await;
    assert_eq!(
        kinds(&told),
        [
            vec!["create:full"],
            vec!["create:full"],
            vec!["patch:full"],
            vec!["patch:full", "deactivate"],
            vec!["patch:full", "activate"],
            vec!["patch:full"],
            vec!["delete"],
        ],
        "roles have no word in SCIM"
    );
    let events = realm.admin.get("/events?limit=100").await.json();
    for claims in &told {
        let of = |event: &&Value| event["seq"] == claims["seq"];
        let event = events["events"].as_array().expect("a list").iter().find(of).expect("the same numbers");
        assert_eq!((&claims["jti"], &claims["txn"]), (&event["id"], &event["request_id"]));
        assert!(sets.contains_key(claims["jti"].as_str().expect("a text")));
    }
    let (created, updated) = (&told[0], &told[3]);
    assert_eq!(created["sub_id"], json!({ "format": "scim", "uri": format!("/Users/{ada}") }));
    let data = &created["events"][format!("{EVENT}create:full")]["data"];
    assert_eq!((&data["id"], &data["userName"]), (&json!(ada), &json!("ada")));
    assert_eq!(updated["txn"], "r-17");
    let patch = &updated["events"][format!("{EVENT}patch:full")];
    assert_eq!(patch["version"], reply.header("etag"));
    // What is told is good SCIM: a second directory can be told the same.
    let replica = World::realm().await;
    let bob = replica.user("ada").await;
    let taken = replica.patch(&format!("/Users/{bob}"), patch["data"].clone()).await;
    assert_eq!((taken.status.as_u16(), &taken.json()["title"]), (200, &json!("Countess")), "{taken}");
    let joined = &told[2]["events"][format!("{EVENT}patch:full")]["data"]["Operations"][0];
    assert_eq!((&told[2]["sub_id"]["uri"], &joined["op"]), (&json!(format!("/Groups/{engines}")), &json!("add")));
    assert_eq!(joined["value"][0]["value"], ada);
    let left = &told[5]["events"][format!("{EVENT}patch:full")]["data"]["Operations"][0];
    assert_eq!(*left, json!({ "op": "remove", "path": format!("members[value eq \"{ada}\"]") }));
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_whatever_the_order() {
    let realm = World::realm().await;
    let stream = Stream::create(&realm, json!({ "events": ["dsync.user.*"] })).await;
    for n in 0..5 {
        realm.user(&format!("ada-{n}")).await;
    }
    World::all_told(&World::shared().superuser().await, &realm.name).await;
    let names = |sets: &BTreeMap<String, String>| {
        let mut told: Vec<(i64, String)> =
            sets.iter().map(|(jti, token)| (claims(token)["seq"].as_i64().expect("a number"), jti.clone())).collect();
        told.sort();
        told
    };
    let (sets, more) = stream.poll(json!({ "maxEvents": 2 })).await;
    let first = names(&sets);
    assert_eq!((first.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), more), (vec![2, 3], true));
    assert_eq!(names(&stream.poll(json!({ "maxEvents": 2 })).await.0), first, "nothing was acknowledged");

    // The second, not the first; then what was never handed out, which counts for nothing.
    let (sets, _) = stream.poll(json!({ "maxEvents": 3, "ack": [first[1].1] })).await;
    assert_eq!(names(&sets).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2, 4, 5]);
    let later = names(&stream.now().await);
    assert_eq!(later.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2, 4, 5, 6]);
    let nonsense = json!({ "maxEvents": 0, "ack": ["nonsense", "0198c0de-0000-7000-8000-000000000000"] });
    assert_eq!(stream.poll(nonsense).await, (BTreeMap::new(), true));
    assert_eq!(stream.shown(&realm).await["cursor"], 1);

    let wrong = json!({ "err": "invalid_key", "description": "no such key" });
    let ask = json!({ "maxEvents": 0, "ack": [first[0].1, later[2].1], "setErrs": { (&later[1].1): wrong } });
    assert_eq!(stream.poll(ask).await, (BTreeMap::new(), true), "only what is done with is told");
    let shown = stream.shown(&realm).await;
    assert_eq!((&shown["cursor"], &shown["last_error"]["error"]), (&json!(5), &wrong), "{shown}");
    assert!(shown["acknowledged_at"].is_string() && shown.get("token").is_none(), "{shown}");
    let rest = names(&stream.now().await);
    assert_eq!(rest.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [6]);
    let (sets, more) = stream.poll(json!({ "returnImmediately": true, "ack": [rest[0].1] })).await;
    assert_eq!((sets.len(), more), (0, false));
    // It waits for what comes.
    let (waiting, _) = tokio::join!(stream.poll(json!({})), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        realm.user("eve").await
    });
    assert_eq!(names(&waiting.0)[0].0, 7);
}

#[tokio::test]
async fn a_stream_opens_to_its_token_and_to_whoever_may_see_events() {
    let (realm, other) = World::two_realms().await;
    let (stream, another) = (Stream::create(&realm, json!({})).await, Stream::create(&other, json!({})).await);
    let second = Stream::create(&realm, json!({ "name": "second" })).await;
    let root = World::shared().admin().await;
    let ask = || json!({ "returnImmediately": true });
    let at = |caller: &Caller| stream.receiver.bearer(caller.bearer_token());
    assert_eq!(at(&root).post("", ask()).await.status, 200, "an operator");
    let onlooker = Operator::new().await;
    onlooker.rights(Method::POST, &realm, &["view-events"]).await;
    assert_eq!(at(&onlooker.caller).post("", ask()).await.status, 200);
    for taking in [json!({ "maxEvents": 0, "ack": ["x"] }), json!({ "maxEvents": 0, "setErrs": { "x": {} } })] {
        assert_eq!(at(&onlooker.caller).post("", taking).await.status, 403, "to look is not to take");
    }
    for wrong in [&another.receiver, &second.receiver, &realm.idp()] {
        assert_eq!(at(wrong).post("", ask()).await.status, 401);
    }
    assert_eq!(stream.receiver.anonymous().post("", ask()).await.status, 401);
    for wrong in [json!({ "maxEvents": -1 }), json!({ "ack": 7 }), json!({ "returnImmediately": "yes" })] {
        assert_eq!(stream.receiver.post("", wrong.clone()).await.status, 400, "{wrong}");
    }
    let bad = realm.admin.post("/event-streams", json!({ "name": "a", "audience": "b", "events": ["x"] })).await;
    assert_eq!(bad.status, 400, "{bad}");
    let path = format!("/event-streams/{}", stream.id);
    assert_eq!(other.admin.delete(&path).await.status, 404);
    assert_eq!(realm.admin.delete(&path).await.status, 204);
    assert_eq!(stream.receiver.post("", ask()).await.status, 401, "it is gone");
    let log = realm.admin.get("/audit-log?action=event-stream.").await;
    assert_eq!(log.json().as_array().map(Vec::len), Some(3), "{log}");
}

#[tokio::test]
async fn who_was_away_for_too_long_is_told_so() {
    let realm = World::realm().await;
    let stream = Stream::create(&realm, json!({})).await;
    realm.user("ada").await;
    realm.user("eve").await;
    let sql = World::shared().superuser().await;
    World::all_told(&sql, &realm.name).await;
    let cut = "UPDATE feeds f SET oldest = 3 FROM realms r WHERE r.id = f.realm_id AND r.name = $1";
    sql.execute(cut, &[&realm.name]).await.expect("the row is there");
    let gone = stream.receiver.post("", json!({})).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["oldest"]), (410, &json!(3)), "{gone}");
}

#[tokio::test]
async fn tokens_are_pushed_to_whoever_acknowledges_them() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    receiver.will_answer([
        Answer::Body(400, r#"{"err":"invalid_key","description":"which key?"}"#.into()),
        Answer::Status(202),
        Answer::Status(202),
        Answer::Status(202),
    ]);
    let made = realm.admin.post("/webhooks", json!({ "url": receiver.url, "format": "set" })).await;
    assert_eq!((made.status.as_u16(), made.text_at("format")), (201, "set".into()), "{made}");
    assert_eq!(realm.admin.post("/roles", json!({ "name": "editor" })).await.status, 201);
    realm.user("ada").await;
    receiver.after(1).await;
    let hook = realm.admin.below(&format!("/webhooks/{}", made.id()));
    let refused = loop {
        let tried = hook.get("/deliveries").await.json();
        if let Some(first) = tried.get(0) {
            break first.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(refused["error"], "it answered 400 Bad Request: invalid_key");
    // Sooner than the schedule would.
    assert_eq!(hook.post("/resume", json!({})).await.status, 200);
    receiver.after(2).await;
    realm.user("eve").await;
    receiver.after(3).await;
    assert_eq!(hook.post("/test", json!({})).await.json()["delivered"], true);

    let received = receiver.received();
    for one in &received {
        assert_eq!(one.header("content-type"), "application/secevent+jwt");
        assert_eq!(one.header("accept"), "application/json");
    }
    let tokens = received.iter().map(|one| String::from_utf8(one.body.to_vec()).expect("text")).collect();
    let audience = receiver.url.split('?').next().expect("a URL");
    let told = verified(World::shared(), &realm, audience, tokens).await;
    assert!(told[0]["events"]["https://schemas.openid.net/secevent/ssf/event-type/verification"].is_object());
    assert_eq!(kinds(&told[1..]), vec![vec!["create:full"]; 3], "the role is told by none");
    assert_eq!(told[1]["jti"], told[2]["jti"], "what was refused is sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_realms_key_outlives_the_node_and_what_it_signed_outlives_the_key() {
    let mut world = World::alone();
    let mut realm = world.new_realm().await;
    let keys = async |realm: &Realm| realm.admin.get("/keys").await.json()["keys"].as_array().expect("a list").clone();
    assert!(keys(&realm).await.is_empty(), "nothing is made before it is needed");
    let stream = Stream::create(&realm, json!({})).await;
    realm.user("ada").await;
    let (before, _) = stream.poll(json!({})).await;
    tokio::task::block_in_place(|| world.gateway().terminate());
    world.start();
    realm.admin = world.admin().await.below(&format!("/admin/realms/{}", realm.name));
    let after = stream.now().await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "it comes again");

    let rotated = realm.admin.post("/keys/rotate", json!({})).await;
    assert_eq!(rotated.status, 200, "{rotated}");
    let status: Vec<_> = keys(&realm).await.iter().map(|key| key["status"].clone()).collect();
    assert_eq!(status, ["ACTIVE", "PASSIVE"]);
    let anew = stream.now().await;
    let head = |sets: &BTreeMap<String, String>| {
        sets.values().next().and_then(|token| token.split('.').next()).expect("a token").to_owned()
    };
    assert_eq!(head(&before), head(&after));
    assert_ne!(head(&after), head(&anew));
    let tokens = [before, after, anew].into_iter().flat_map(BTreeMap::into_values).collect::<Vec<_>>();
    let claimed = claims(&tokens[0])["iss"].as_str().expect("a text").to_owned();
    // The node listens elsewhere since it was started again, and has no other name.
    let issued_here: Vec<_> = tokens.iter().filter(|token| claims(token)["iss"] != claimed).cloned().collect();
    assert_eq!(verified(&world, &realm, AUDIENCE, issued_here).await.len(), 2);
    let stored = world.superuser().await;
    let rows = stored.query("SELECT private_key FROM realm_keys WHERE private_key IS NOT NULL", &[]).await;
    assert_eq!(rows.expect("the table is there").len(), 2, "of two realms one each: the former one is gone");
}
