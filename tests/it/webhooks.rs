//! Webhooks: every event, signed, in order and at least once, to each endpoint in its own time (DESIGN 10, SECURITY 2,
//! row 11).

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    process::{Postgres, python},
    receiver::{Answer, Received, Receiver},
    world::{Caller, Realm, Reply, World},
};

/// A webhook of a realm, as its operator has it.
struct Hook {
    admin: Caller,
    id: String,
    secret: String,
    /// Where it began.
    start: i64,
}

impl Hook {
    async fn create(realm: &Realm, settings: Value) -> Self {
        let made = realm.admin.post("/webhooks", settings).await;
        assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"), "{made}");
        let admin = realm.admin.below(&format!("/webhooks/{}", made.id()));
        let start = made.json()["cursor"].as_i64().expect("a number");
        Self { admin, id: made.id(), secret: made.text_at("secret"), start }
    }

    /// The same webhook, by the operator of another node.
    async fn on(&self, node: &World, realm: &Realm) -> Self {
        let admin = node.admin().await.below(&format!("/admin/realms/{}/webhooks/{}", realm.name, self.id));
        Self { admin, id: self.id.clone(), secret: self.secret.clone(), start: self.start }
    }

    async fn to(realm: &Realm, receiver: &Receiver) -> Self {
        Self::create(realm, json!({ "url": receiver.url })).await
    }

    async fn shown(&self) -> Value {
        let reply = self.admin.get("").await;
        assert_eq!(reply.status, 200, "{reply}");
        reply.json()
    }

    /// Waits until the webhook is shown so.
    async fn is(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let shown = self.shown().await;
            if condition(&shown) {
                return shown;
            }
            assert!(tokio::time::Instant::now() < end, "it is never {what}: {shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_in_state(&self, state: &str) -> Value {
        self.is(state, |shown| shown["state"] == state).await
    }

    /// All that happened is acknowledged and written down.
    async fn has_all(&self) -> Value {
        self.is("done", |shown| shown["behind"] == 0).await
    }

    /// The last event of the realm is of that kind, and all is acknowledged.
    async fn has_up_to(&self, realm: &Realm, name: &str) -> i64 {
        loop {
            let events = realm.admin.get("/events?limit=1000").await.json();
            let last = events["events"].as_array().and_then(|events| events.last());
            if last.is_some_and(|last| last["event"] == name) {
                return self.has_all().await["head"].as_i64().expect("a number");
            }
        }
    }

    async fn deliveries(&self, query: &str) -> Vec<Value> {
        let reply = self.admin.get(&format!("/deliveries?{query}")).await;
        assert_eq!(reply.status, 200, "{reply}");
        reply.json().as_array().expect("a list").clone()
    }

    async fn does(&self, verb: &str, body: Value) -> Reply {
        let reply = self.admin.post(&format!("/{verb}"), body).await;
        assert_eq!(reply.status, 200, "{reply}");
        reply
    }
}

fn seqs(received: &[Received]) -> Vec<i64> {
    received.iter().map(Received::seq).collect()
}

fn names(received: &[Received]) -> Vec<String> {
    received.iter().map(|one| one.json()["event"].as_str().expect("a name").to_owned()).collect()
}

/// A request as the programs in `tests/clients` read it.
fn recorded(received: &Received, secret: &str) -> Value {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Value = names.into_iter().map(|name| (name.to_owned(), json!(received.header(name)))).collect();
    json!({ "secret": secret, "headers": headers, "body": String::from_utf8_lossy(&received.body) })
}

async fn are_verified(mut verifier: Command, recorded: &[Value]) {
    let (input, count) = (serde_json::to_vec(recorded).expect("it is JSON"), recorded.len());
    let output = tokio::task::spawn_blocking(move || {
        verifier.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = verifier.spawn().expect("it starts");
        std::io::Write::write_all(&mut child.stdin.take().expect("it is piped"), &input).expect("it reads");
        child.wait_with_output().expect("it ends")
    });
    let output = output.await.expect("it does not panic");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{count} verified"));
}

#[tokio::test]
async fn events_are_signed_as_the_public_libraries_verify_it_by_two_secrets_while_they_overlap() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    let hook = Hook::to(&realm, &receiver).await;
    realm.user("ada").await;
    hook.has_up_to(&realm, "dsync.user.created").await;
    let before = receiver.received();
    let rotated = hook.does("rotate-secret", json!({ "overlap": "24h" })).await;
    let secret = rotated.text_at("secret");
    assert_ne!(secret, hook.secret);
    assert!(rotated.json()["previous_secret_until"].is_string(), "{rotated}");
    realm.user("grace").await;
    let both = receiver.after(before.len() + 1).await[before.len()..].to_vec();
    let chosen = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(hook.does("rotate-secret", json!({ "secret": chosen })).await.text_at("secret"), chosen);
    let tested = hook.does("test", json!({})).await;
    let after = receiver.received().pop().expect("the test came");
    assert_eq!(tested.text_at("event_id"), after.header("webhook-id"));

    let mut all: Vec<Value> = before.iter().map(|one| recorded(one, &hook.secret)).collect();
    for one in &both {
        assert_eq!(one.header("webhook-signature").split(' ').count(), 2, "one by each secret");
        all.extend([recorded(one, &hook.secret), recorded(one, &secret)]);
    }
    assert_eq!(after.header("webhook-signature").split(' ').count(), 1, "the old ones are over");
    all.push(recorded(&after, chosen));

    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut verifier = Command::new(python("standardwebhooks"));
    verifier.arg(clients.join("webhooks.py"));
    are_verified(verifier, &all).await;
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm");
    assert!(packages.join("node_modules/standardwebhooks").is_dir(), "no packages of npm: see tests/run");
    let mut verifier = Command::new("node");
    verifier.arg(clients.join("webhooks.mjs")).arg(packages);
    are_verified(verifier, &all).await;
}

#[tokio::test]
async fn every_event_comes_once_in_order_and_is_the_one_of_the_events_api() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    let hook = Hook::to(&realm, &receiver).await;
    let ada = realm.user("ada").await;
    realm.group("engines", &[&ada]).await;
    assert_eq!(realm.delete(&format!("/Users/{ada}")).await.status, 204);
    hook.has_up_to(&realm, "dsync.user.deleted").await;

    let received = receiver.received();
    let events = realm.admin.get("/events?limit=1000").await.json();
    let told: Vec<Value> = received.iter().map(Received::json).collect();
    let after = usize::try_from(hook.start).expect("it is a count");
    assert_eq!(told, events["events"].as_array().expect("a list")[after..]);
    for one in &received {
        assert_eq!(one.header("webhook-id"), one.json()["id"]);
        assert_eq!(one.header("content-type"), "application/json");
        assert!(one.header("user-agent").starts_with("realmgate/"));
    }
    let shown = hook.has_all().await;
    assert_eq!((&shown["cursor"], &shown["state"]), (&events["head"], &json!("active")));
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_under_its_id_before_anything_else() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    let hook = Hook::create(&realm, json!({ "url": receiver.url, "events": ["dsync.user.created"] })).await;
    receiver.will_answer([Answer::Status(500), Answer::With(429, "retry-after", "1".into())]);
    for name in ["ada", "grace", "edsger"] {
        realm.user(name).await;
    }
    let shown = hook.is_in_state("failing").await;
    assert!(shown["next_attempt_at"].as_str() > shown["since"].as_str(), "{shown}");
    assert_eq!((&shown["attempts"], receiver.received().len()), (&json!(1), 1), "the others wait behind it");
    // Five seconds later it is tried again by itself; then an operator is quicker than the schedule.
    receiver.after(2).await;
    hook.is("failing twice", |shown| shown["attempts"] == 2).await;
    hook.does("resume", json!({})).await;
    let received = receiver.after(5).await;
    hook.has_all().await;

    let ids: Vec<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3] && ids.len() == 5, "{ids:?}");
    let mut in_order = seqs(&received);
    in_order.dedup();
    assert!(in_order.is_sorted() && in_order.len() == 3, "{in_order:?}");

    let deliveries = hook.deliveries("limit=1000").await;
    let statuses: Vec<_> = deliveries.iter().map(|one| one["status"].as_i64().unwrap_or_default()).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 500], "newest first");
    assert_eq!(deliveries[3]["attempt"], 2, "{deliveries:?}");
    assert_eq!(deliveries[4]["error"], "it answered 500 Internal Server Error");
    let failed = hook.deliveries("failed=true&limit=1").await;
    assert_eq!(failed, deliveries[3..4]);
    let older = hook.deliveries(&format!("before={}", deliveries[3]["id"].as_str().expect("an id"))).await;
    assert_eq!(older, deliveries[4..]);
}

#[tokio::test]
async fn who_is_gone_is_parked_at_once_and_goes_on_when_an_operator_says_so() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    receiver.will_answer([Answer::Status(410)]);
    let hook = Hook::to(&realm, &receiver).await;
    realm.user("ada").await;
    let parked = hook.is_in_state("parked").await;
    assert!(parked["reason"].as_str().is_some_and(|reason| reason.contains("410")), "{parked}");
    assert_eq!(parked["cursor"], hook.start, "nothing was taken");
    realm.user("grace").await;

    // The realm is told.
    let parked = loop {
        let events = realm.admin.get("/events?types=dsync.webhook.parked&wait=10").await.json();
        if let Some(event) = events["events"].get(0) {
            break event.clone();
        }
    };
    assert_eq!(parked["data"]["reason"], "gone", "{parked}");
    assert_eq!(receiver.received().len(), 1, "nothing is sent");
    hook.does("resume", json!({})).await;
    hook.has_all().await;
    let mut all = seqs(&receiver.received());
    all.dedup();
    let head = hook.shown().await["head"].as_i64().expect("a number");
    assert_eq!(all, (hook.start + 1..=head).collect::<Vec<_>>(), "nothing is lost");
}

#[tokio::test]
async fn redelivery_begins_where_it_is_told_or_sends_one_event_out_of_line() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    realm.user("ada").await;
    realm.user("grace").await;
    let first = Receiver::start().await;
    let past = Hook::create(&realm, json!({ "url": first.url, "from": 1 })).await;
    realm.group("engines", &[]).await;
    let head = past.has_up_to(&realm, "dsync.group.created").await;
    assert_eq!(seqs(&first.received()), (1..=head).collect::<Vec<_>>(), "from the first one on");

    let hook = Hook::to(&realm, &receiver).await;
    assert_eq!(hook.shown().await["cursor"], head, "from now on");
    hook.does("redeliver", json!({ "from": 2 })).await;
    hook.has_all().await;
    // At least once: what was sent while the word came may come again.
    let received: BTreeSet<i64> = seqs(&receiver.received()).into_iter().collect();
    assert_eq!(received, (2..=head).collect());
    let again = hook.does("redeliver", json!({ "seq": 1 })).await.json();
    assert_eq!((&again["delivered"], &again["seq"], &again["status"]), (&json!(true), &json!(1), &json!(200)));
    let received = receiver.received();
    let (once, last) = (first.received(), received.last().expect("it came"));
    assert_eq!((last.header("webhook-id"), &last.body), (once[0].header("webhook-id"), &once[0].body));
    assert_eq!(hook.shown().await["cursor"], head, "out of line");

    for wrong in [json!({ "from": 0 }), json!({ "from": head + 2 }), json!({ "seq": head + 1 }), json!({})] {
        let reply = hook.admin.post("/redeliver", wrong.clone()).await;
        assert_eq!(reply.status, 400, "{wrong}: {reply}");
    }
}

#[tokio::test]
async fn who_is_further_behind_than_events_are_kept_is_told_so_and_goes_on_with_the_oldest() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    let hook = Hook::create(&realm, json!({ "url": receiver.url, "from": 1, "enabled": false })).await;
    realm.group("engines", &[]).await;
    realm.group("wheels", &[]).await;
    while realm.admin.get("/events").await.json()["head"].as_i64() < Some(2) {}
    let forget =
        "WITH gone AS (DELETE FROM events e USING realms r WHERE r.id = e.realm_id AND r.name = $1 AND seq < 2)
                  UPDATE feeds f SET oldest = 2 FROM realms r WHERE r.id = f.realm_id AND r.name = $1";
    World::shared().superuser().await.execute(forget, &[&realm.name]).await.expect("the rows are there");
    assert_eq!(hook.admin.put("", json!({ "enabled": true })).await.status, 200);
    let parked = hook.is_in_state("parked").await;
    assert!(parked["reason"].as_str().is_some_and(|reason| reason.contains("older than the realm keeps")), "{parked}");
    assert!(receiver.received().is_empty());
    hook.does("resume", json!({})).await;
    hook.has_all().await;
    assert_eq!(seqs(&receiver.received())[0], 2);
}

#[tokio::test]
async fn an_endpoint_gets_the_kinds_of_events_that_it_wants() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    let hook = Hook::create(&realm, json!({ "url": receiver.url, "events": ["dsync.group.*"] })).await;
    let ada = realm.user("ada").await;
    realm.group("engines", &[&ada]).await;
    hook.has_up_to(&realm, "dsync.group.user_added").await;
    assert_eq!(names(&receiver.received()), ["dsync.group.created", "dsync.group.user_added"]);
    let wrong = realm.admin.post("/webhooks", json!({ "url": receiver.url, "events": ["user.created"] })).await;
    assert!(wrong.status == 400 && wrong.text_at("error").contains("dsync.user.created"), "{wrong}");
    let wider = hook.admin.put("", json!({ "events": [] })).await;
    assert!(wider.status == 200 && wider.json().get("secret").is_none(), "{wider}");
    realm.user("grace").await;
    hook.has_all().await;
    assert!(names(&receiver.after(3).await)[2..].contains(&"dsync.user.created".to_owned()));
}

#[tokio::test]
async fn a_test_tells_what_came_of_it() {
    let (realm, receiver) = (World::realm().await, Receiver::start().await);
    let hook = Hook::create(&realm, json!({ "url": receiver.url, "enabled": false })).await;
    assert_eq!(hook.shown().await["state"], "disabled");
    receiver.will_answer([Answer::Status(204), Answer::Status(500)]);
    let good = hook.does("test", json!({})).await.json();
    assert_eq!((&good["delivered"], &good["status"], &good["error"]), (&json!(true), &json!(204), &Value::Null));
    let bad = hook.does("test", json!({})).await.json();
    assert_eq!((&bad["delivered"], &bad["status"]), (&json!(false), &json!(500)));
    let received = receiver.received();
    assert_eq!(names(&received), ["test", "test"]);
    assert_eq!(received[0].json()["realm"], realm.name.as_str());
    realm.user("ada").await;
    hook.does("resume", json!({})).await;
    receiver.after(3).await;
    assert_eq!(hook.has_all().await["state"], "active", "nothing was lost while it was disabled");
    assert_eq!(hook.deliveries("").await.iter().filter(|one| one["seq"].is_null()).count(), 2);
}

#[tokio::test]
async fn inside_addresses_are_refused_when_they_are_set_and_when_they_are_sent_to() {
    let realm = World::realm().await;
    for inside in [
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]:8443/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x0a000001/",
        "http://8.8.8.8/",
        "https://user:secret@127.0.0.1/",
        "https://127.0.0.1/#part",
        "ftp://127.0.0.1/",
        "nonsense",
    ] {
        let reply = realm.admin.post("/webhooks", json!({ "url": inside })).await;
        assert!(reply.status == 400 && reply.text_at("error").starts_with("url: "), "{inside}: {reply}");
    }
    // What a name leads to may change after it was looked at.
    let receiver = Receiver::start().await;
    let hook = Hook::to(&realm, &receiver).await;
    let moved = "UPDATE webhooks SET url = 'https://[::1]:8443/' WHERE id = $1::text::uuid";
    World::shared().superuser().await.execute(moved, &[&hook.id]).await.expect("the row is there");
    let tested = hook.does("test", json!({})).await.json();
    assert!(tested["delivered"] == false && tested["status"].is_null(), "{tested}");
    assert!(tested["error"].as_str().is_some_and(|error| error.contains("not public")), "{tested}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (realm, receiver, elsewhere) = (World::realm().await, Receiver::start().await, Receiver::start().await);
    let hook = Hook::to(&realm, &receiver).await;
    receiver.will_answer([301, 302, 307, 308].map(|status| Answer::With(status, "location", elsewhere.url.clone())));
    for _ in 0..4 {
        let tested = hook.does("test", json!({})).await.json();
        assert!(tested["delivered"] == false, "{tested}");
        assert!(tested["error"].as_str().is_some_and(|error| error.contains("redirects are not followed")), "{tested}");
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn who_hangs_delays_nobody_else() {
    let realm = World::realm().await;
    let receiver = Receiver::start().await;
    let mut hanging = Vec::new();
    for _ in 0..20 {
        let silent = Receiver::start().await;
        silent.will_answer(vec![Answer::Silence; 10]);
        hanging.push((Hook::to(&realm, &silent).await, silent));
    }
    let hook = Hook::to(&realm, &receiver).await;
    for n in 0..5 {
        realm.user(&format!("user-{n}")).await;
    }
    realm.group("engines", &[]).await;
    hook.has_up_to(&realm, "dsync.group.created").await;
    for (hook, silent) in &hanging {
        silent.after(1).await;
        assert_eq!(hook.shown().await["cursor"], hook.start, "nothing was taken");
        assert_eq!(hook.admin.delete("").await.status, 204);
    }
}

#[tokio::test]
async fn a_secret_is_shown_once_and_goes_to_no_other_url() {
    let (realm, receiver, other) = (World::realm().await, Receiver::start().await, Receiver::start().await);
    let hook = Hook::to(&realm, &receiver).await;
    assert!(hook.secret.starts_with("whsec_"));
    let moved = hook.admin.put("", json!({ "url": other.url })).await;
    let (status, secret) = (moved.status, moved.text_at("secret"));
    assert!(status == 200 && secret != hook.secret && moved.header("cache-control") == "no-store", "{moved}");
    hook.does("rotate-secret", json!({ "overlap": "1h" })).await;
    realm.user("ada").await;
    hook.has_up_to(&realm, "dsync.user.created").await;
    other.after(1).await;
    assert!(receiver.received().is_empty());

    let mut shown = hook.shown().await.to_string();
    for path in ["/webhooks", "/audit-log"] {
        shown += &realm.admin.get(path).await.json().to_string();
    }
    shown += &World::shared().log();
    let stored =
        "SELECT string_agg(w::text, ' ') || (SELECT string_agg(d::text, ' ') FROM deliveries d) FROM webhooks w";
    shown += &World::shared().superuser().await.query_one(stored, &[]).await.expect("rows").get::<_, String>(0);
    for secret in [&hook.secret, &secret] {
        let bare = secret.trim_start_matches("whsec_");
        assert!(!shown.contains(bare) && !shown.contains("from=realmgate\",\"webhook.create"), "a secret shows");
    }
    let audit = realm.admin.get("/audit-log?action=webhook.").await.json();
    let actions: Vec<_> = audit.as_array().into_iter().flatten().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, ["webhook.rotate-secret", "webhook.update", "webhook.create"]);
    assert!(!audit.to_string().contains("from=realmgate"), "nor the query of the URL: {audit}");

    for wrong in ["whsec_", "whsec_c2hvcnQ=", "secret", ""] {
        let reply = hook.admin.post("/rotate-secret", json!({ "secret": wrong })).await;
        assert!(reply.status == 400 && reply.text_at("error").starts_with("secret: "), "{reply}");
    }
    let (stranger, nobody) = (World::realm().await, "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b");
    let mine = stranger.admin.get(&format!("/webhooks/{}", hook.id)).await;
    let none = stranger.admin.get(&format!("/webhooks/{nobody}")).await;
    assert_eq!((mine.status.as_u16(), &mine.bytes), (404, &none.bytes), "another realm's is nobody's");
}

/// The settings of a node on that database.
fn node<'a>(url: &'a str, keys: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let settings = [("REALMGATE_DATABASE_URL", url), ("REALMGATE_OUTBOUND_ALLOW", "127.0.0.1")];
    settings.into_iter().chain(keys.map(|keys| ("REALMGATE_SECRET_KEYS", keys))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_takes_over_from_one_that_died_and_nothing_is_lost() {
    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let postgres = Postgres::start();
    let url = postgres.url();
    let mut here = World::with(&node(&url, Some(KEY)));
    let realm = here.new_realm().await;
    let receiver = Receiver::start().await;
    let hook = Hook::to(&realm, &receiver).await;
    realm.user("ada").await;
    hook.has_all().await;

    let (second, there) = (Receiver::start().await, World::with(&node(&url, Some(KEY))));
    let other = Hook::to(&realm, &second).await;
    let shared_by = "SELECT count(DISTINCT leased_by) FROM webhook_cursors";
    let sql = there.superuser().await;
    while sql.query_one(shared_by, &[]).await.expect("a number").get::<_, i64>(0) < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (idp, operator) = (realm.idp().on(&there), hook.on(&there, &realm).await);
    idp.post("/Users", json!({ "userName": "grace", "schemas": [crate::world::USER] })).await;
    operator.has_all().await;
    here.gateway().kill();
    for n in 0..5 {
        let made = idp.post("/Users", json!({ "userName": format!("u{n}"), "schemas": [crate::world::USER] })).await;
        assert_eq!(made.status, 201, "{made}");
    }
    let users = || names(&receiver.received()).iter().filter(|name| *name == "dsync.user.created").count();
    let shown = operator.is("done", |shown| shown["behind"] == 0 && users() >= 7).await;
    other.on(&there, &realm).await.has_all().await;
    let head = shown["head"].as_i64().expect("a number");
    for (receiver, hook) in [(&receiver, &hook), (&second, &other)] {
        let mut all = seqs(&receiver.received());
        all.dedup();
        assert_eq!(all, (hook.start + 1..=head).collect::<Vec<_>>(), "in order, none left out");
    }

    // A node without the key says what it needs.
    let keyless = World::with(&node(&url, None));
    let admin = keyless.admin().await.below(&format!("/admin/realms/{}/webhooks", realm.name));
    let refused = admin.post("", json!({ "url": receiver.url })).await;
    assert_eq!(refused.status, 409, "{refused}");
    let told = refused.text_at("error");
    assert!(told.contains("REALMGATE_SECRET_KEYS") && told.contains("openssl rand -base64 32"), "{told}");
    let tested = operator.on(&keyless, &realm).await.does("test", json!({})).await;
    assert!(tested.text_at("error").contains("REALMGATE_SECRET_KEYS"), "{tested}");
}
