//! Bad input is refused early and told why; slow, silent and greedy clients harm nobody but themselves.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::process::turn;
use crate::world::{PATCH_OP, Realm, USER, World, encoded, parsed, raw, read_answer};

/// The longest that the gateway may think about something bad.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// A request below the realm's SCIM root, as bytes, with its token.
fn request(realm: &Realm, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let target = if path.starts_with('/') { realm.path(path) } else { path.to_owned() };
    let mut head = format!("{method} {target} HTTP/1.1\r\nAuthorization: Bearer {}\r\n", realm.token);
    let has = |name: &str| headers.iter().any(|header| header.to_lowercase().starts_with(name));
    let defaults = [
        ("host:", "Host: gateway.example".to_owned()),
        ("content-type:", "Content-Type: application/scim+json".to_owned()),
        ("content-length:", format!("Content-Length: {}", body.len())),
    ];
    for (name, header) in defaults {
        let is_moot = has(name) || name == "content-length:" && has("transfer-encoding:");
        if !is_moot {
            head = head + &header + "\r\n";
        }
    }
    for header in headers {
        head = head + header + "\r\n";
    }
    let mut bytes = (head + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn snapshot(realm: &Realm) -> (Value, Value) {
    (realm.get("/Users").await.json(), realm.get("/Groups").await.json())
}

/// Asserts that each request is refused with one of its statuses, in the SCIM error format, soon, with no trace.
async fn all_are_refused(realm: &Realm, rows: Vec<(String, Vec<u8>, &[u16])>) {
    let before = snapshot(realm).await;
    let mut accepted = Vec::new();
    for (what, bytes, statuses) in rows {
        let begun = Instant::now();
        let answer = raw(&World::shared().address(), &bytes).await;
        let took = begun.elapsed();
        let (status, body) = parsed(&answer);
        let text: String = String::from_utf8_lossy(&answer).chars().take(400).collect();
        let is_scim_error = body["schemas"] == json!([crate::world::ERROR])
            && body["status"] == status.to_string().as_str()
            && body["detail"].as_str().is_some_and(|detail| !detail.is_empty());
        let shows_insides =
            ["panicked", "tokio_postgres", "SQLSTATE", "src/", "serde"].iter().any(|word| text.contains(word));
        if !statuses.contains(&status) || !is_scim_error || shows_insides || took > REFUSED_WITHIN {
            accepted.push(format!("{what}: wanted {statuses:?}, got in {took:?}: {text}"));
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
    assert_eq!(snapshot(realm).await, before);
}

fn user_with(key: &str, value: &str) -> Vec<u8> {
    format!(r#"{{"schemas":["{USER}"],"userName":"eve",{key}:{value}}}"#).into_bytes()
}

#[tokio::test]
async fn a_body_that_is_not_a_user_is_refused() {
    let realm = World::realm().await;
    let deep = |n: usize| user_with("\"title\"", &("[".repeat(n) + &"]".repeat(n)));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a text", b"\"ada\"".to_vec()),
        ("null", b"null".to_vec()),
        ("half an object", br#"{"userName":"eve""#.to_vec()),
        ("two objects", br#"{"userName":"eve"}{"userName":"eve"}"#.to_vec()),
        ("a comma too many", br#"{"userName":"eve",}"#.to_vec()),
        ("a comment", br#"{"userName":"eve"/**/}"#.to_vec()),
        ("NaN", user_with("\"x\"", "NaN")),
        ("a number beyond measure", user_with("\"x\"", "1e999")),
        ("an integer beyond 64 bits", user_with("\"x\"", "123456789012345678901234567890")),
        ("wrong UTF-8", b"{\"userName\":\"e\xffve\"}".to_vec()),
        ("UTF-16", "{\"userName\":\"eve\"}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("NUL in a value", user_with("\"title\"", r#""a\u0000b""#)),
        ("NUL in a key", user_with(r#""a\u0000b""#, "1")),
        ("NUL in the name", br#"{"userName":"a\u0000b"}"#.to_vec()),
        ("a lone surrogate", user_with("\"title\"", r#""\ud800""#)),
        ("a lone surrogate in a key", user_with(r#""\udc00""#, "1")),
        ("a raw control character", b"{\"userName\":\"e\nve\"}".to_vec()),
        ("a key twice", user_with("\"userName\"", "\"eve2\"")),
        ("a key twice in another case", user_with("\"USERNAME\"", "\"eve2\"")),
        ("a nested key twice", user_with("\"name\"", r#"{"givenName":"a","givenname":"b"}"#)),
        ("depth 40", deep(40)),
        ("depth 100,000", deep(100_000)),
        ("depth without end", [br#"{"userName":"eve","x":"#.to_vec(), b"[".repeat(200_000)].concat()),
        ("objects without end", br#"{"a":"#.repeat(100_000)),
        ("501 attributes", {
            let many: Vec<_> = (0..501).map(|n| format!("\"a{n}\":1")).collect();
            format!("{{\"userName\":\"eve\",{}}}", many.join(",")).into_bytes()
        }),
        ("1,001 values of an attribute", {
            let many: Vec<_> = (0..1001).map(|n| format!("{{\"value\":\"{n}@example.com\"}}")).collect();
            user_with("\"emails\"", &format!("[{}]", many.join(",")))
        }),
        ("an object for a name", br#"{"userName":{"a":7}}"#.to_vec()),
        ("a list for a name", br#"{"userName":["eve"]}"#.to_vec()),
        ("a text for active", user_with("\"active\"", "\"perhaps\"")),
        ("a truth for emails", user_with("\"emails\"", "true")),
        ("a list for a complex attribute", user_with("\"name\"", "[1]")),
        ("a number in emails", user_with("\"emails\"", "[7]")),
        (
            "two primary emails",
            user_with("\"emails\"", r#"[{"value":"a","primary":true},{"value":"b","primary":true}]"#),
        ),
        ("schemas that are no list", br#"{"schemas":7,"userName":"eve"}"#.to_vec()),
        (
            "an extension that is no object",
            user_with("\"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User\"", "[]"),
        ),
    ];
    let rows = bodies
        .into_iter()
        .map(|(what, body)| (what.to_owned(), request(&realm, "POST", "/Users", &[], &body), &[400, 413][..]));
    all_are_refused(&realm, rows.collect()).await;
}

#[tokio::test]
async fn a_patch_that_cannot_be_meant_is_refused() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    let one = |operation: Value| json!([operation]);
    let operations: Vec<(&str, Value)> = vec![
        ("none", json!([])),
        ("null", Value::Null),
        ("an object", json!({})),
        ("a number", one(json!(7))),
        ("without op", one(json!({ "path": "title", "value": "x" }))),
        ("op of a wrong type", one(json!({ "op": 7, "path": "title", "value": "x" }))),
        ("path of a wrong type", one(json!({ "op": "add", "path": 7, "value": "x" }))),
        ("add without value", one(json!({ "op": "add", "path": "title" }))),
        ("no path and no object", one(json!({ "op": "add", "value": "x" }))),
        ("an object for a text", one(json!({ "op": "replace", "path": "title", "value": { "a": 1 } }))),
        ("an empty path", one(json!({ "op": "add", "path": "", "value": "x" }))),
        ("a path of dots", one(json!({ "op": "add", "path": "name..givenName", "value": "x" }))),
        ("a path too deep", one(json!({ "op": "add", "path": "name.givenName.first", "value": "x" }))),
        ("a path with NUL", one(json!({ "op": "add", "path": "ti\u{0}tle", "value": "x" }))),
        ("a value with NUL", one(json!({ "op": "add", "path": "title", "value": "a\u{0}b" }))),
        ("a bad filter in the path", one(json!({ "op": "add", "path": "emails[type eq].value", "value": "x" }))),
        ("a bomb of brackets in the path", one(json!({ "op": "add", "path": format!("emails[{}type eq \"x\"", "(".repeat(3000)), "value": "x" }))),
        ("replace where nothing matches", one(json!({ "op": "replace", "path": "emails[value eq \"nobody\"].display", "value": "x" }))),
        ("1,001 operations", (0..1001).map(|n| json!({ "op": "replace", "path": "title", "value": n.to_string() })).collect()),
        ("a thousand and one emails in steps", (0..1000).map(|n| json!({ "op": "add", "path": "emails", "value": [{ "value": format!("{n}@a") }, { "value": format!("{n}@b") }] })).collect()),
    ];
    let rows = operations.into_iter().map(|(what, operations)| {
        let body = json!({ "schemas": [PATCH_OP], "Operations": operations }).to_string();
        (what.to_owned(), request(&realm, "PATCH", &path, &[], body.as_bytes()), &[400, 413][..])
    });
    let mut rows: Vec<_> = rows.collect();
    let no_schema = json!({ "Operations": "all of them" }).to_string();
    rows.push(("a text for Operations".to_owned(), request(&realm, "PATCH", &path, &[], no_schema.as_bytes()), &[400]));
    all_are_refused(&realm, rows).await;
}

#[tokio::test]
async fn a_filter_that_is_a_bomb_is_refused() {
    let realm = World::realm().await;
    let filters = [
        ("5 KiB", format!("userName eq \"{}\"", "a".repeat(5000))),
        ("depth 21", "(".repeat(21) + "title pr" + &")".repeat(21)),
        ("depth 1,000", "(".repeat(1000) + "title pr" + &")".repeat(1000)),
        ("nots", "not (".repeat(100) + "title pr" + &")".repeat(100)),
        ("101 comparisons", vec!["title pr"; 101].join(" or ")),
    ];
    let rows = filters.iter().map(|(what, filter)| {
        let bytes = request(&realm, "GET", &format!("/Users?filter={}", encoded(filter)), &[], b"");
        ((*what).to_owned(), bytes, &[400, 414][..])
    });
    all_are_refused(&realm, rows.collect()).await;
}

#[tokio::test]
async fn a_path_in_disguise_leads_nowhere() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    let (name, root) = (&realm.name, realm.path(""));
    let targets = [
        format!("{root}/Users/../Users"),
        format!("{root}/./Users"),
        format!("{root}/%2e/Users"),
        format!("{root}/Users/%2e%2e/Groups"),
        format!("{root}/Users%2F{id}"),
        format!("{root}%2FUsers"),
        format!("{root}//Users"),
        format!("{root}/Users//{id}"),
        format!("{root}/users/{id}/extra"),
        format!("{root}/Users/{id}%00"),
        format!("{root}/Users/{id}%0d%0aX-Injected:%20yes"),
        format!("{root}/Users/%ff"),
        format!("{root}/Users/%zz"),
        format!("{root}/Users/{}", "a".repeat(5000)),
        format!("{root};x=1/Users"),
        format!("{root}/Users;x=1"),
        format!("{root}/Users\\{id}"),
        format!("/realms/{name}/scim/v1/Users"),
    ];
    let mut rows = Vec::new();
    for target in targets {
        // The whole target is written here, so that nothing puts it right on the way.
        let line = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {}\r\n\r\n", realm.token);
        rows.push((target, line.into_bytes(), &[400, 401, 404, 414][..]));
    }
    all_are_refused(&realm, rows).await;
}

#[tokio::test]
async fn a_request_of_the_wrong_kind_is_refused() {
    let realm = World::realm().await;
    let body = json!({ "schemas": [USER], "userName": "eve" }).to_string();
    let post = |headers: &[&str]| request(&realm, "POST", "/Users", headers, body.as_bytes());
    let get = |headers: &[&str], path: &str| request(&realm, "GET", path, headers, b"");
    let rows: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("text/plain", post(&["Content-Type: text/plain"]), &[415]),
        ("a form", post(&["Content-Type: application/x-www-form-urlencoded"]), &[415]),
        ("gzip", post(&["Content-Encoding: gzip"]), &[400, 415]),
        ("two hosts", post(&["Host: a.example", "Host: b.example"]), &[400]),
        ("a host that is none", post(&["Host: a b/c@d"]), &[400]),
        ("two tokens", post(&["Authorization: Bearer rgs_x"]), &[400, 401]),
        ("a method of its own", request(&realm, "BREW", "/Users", &[], b""), &[405, 501]),
        ("TRACE", request(&realm, "TRACE", "/Users", &[], b""), &[405, 501]),
        ("PATCH of all users", request(&realm, "PATCH", "/Users", &[], body.as_bytes()), &[405]),
        (
            "an If-Match that is none",
            request(&realm, "DELETE", "/Users/x", &["If-Match: nonsense"], b""),
            &[400, 404, 412],
        ),
        ("an escape cut short", get(&[], "/Users?filter=%"), &[400]),
        ("an escape of no UTF-8", get(&[], "/Users?filter=%ff"), &[400]),
        ("a filter twice", get(&[], "/Users?filter=title%20pr&filter=active%20pr"), &[400]),
    ];
    all_are_refused(
        &realm,
        rows.into_iter().map(|(what, bytes, statuses)| (what.to_owned(), bytes, statuses)).collect(),
    )
    .await;
}

#[tokio::test]
async fn what_is_not_http_is_turned_away_without_a_trace() {
    let realm = World::realm().await;
    let before = snapshot(&realm).await;
    let body = json!({ "schemas": [USER], "userName": "eve" }).to_string();
    let post = |headers: &[&str]| request(&realm, "POST", "/Users", headers, body.as_bytes());
    let many = vec!["X: y"; 2000];
    let long = format!("X-Long: {}", "y".repeat(100_000));
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("a length that is none", post(&["Content-Length: abc"])),
        ("a negative length", post(&["Content-Length: -1"])),
        ("two lengths", post(&["Content-Length: 5", "Content-Length: 500"])),
        ("a length beyond measure", post(&["Content-Length: 99999999999999999999999"])),
        ("a length and chunks", post(&["Content-Length: 5", "Transfer-Encoding: chunked"])),
        ("chunks that are none", [&post(&["Transfer-Encoding: chunked"])[..], b"zz\r\n"].concat()),
        ("an unknown coding", post(&["Transfer-Encoding: magic"])),
        ("2,000 headers", post(&many)),
        ("a header of 100 KB", post(&[&long])),
        ("a line folded", post(&["X-Folded: a\r\n b"])),
        ("a blank before the colon", post(&["X-Blank : a"])),
        ("a target of 100 KB", request(&realm, "GET", &format!("/Users?x={}", "y".repeat(100_000)), &[], b"")),
        ("HTTP/9", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n".to_vec()),
        (
            "without a host",
            format!("GET {} HTTP/1.1\r\nAuthorization: Bearer {}\r\n\r\n", realm.path("/Users"), realm.token)
                .into_bytes(),
        ),
    ];
    let mut accepted = Vec::new();
    for (what, bytes) in rows {
        let begun = Instant::now();
        let answer = raw(&World::shared().address(), &bytes).await;
        let (took, (status, _)) = (begun.elapsed(), parsed(&answer));
        let is_refused = answer.is_empty() || (400..500).contains(&status) || [501, 505].contains(&status);
        if !is_refused || took > REFUSED_WITHIN {
            accepted.push(format!("{what}: in {took:?}: {}", String::from_utf8_lossy(&answer)));
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
    assert_eq!(snapshot(&realm).await, before);
}

#[tokio::test]
async fn a_body_of_a_gigabyte_is_refused_before_it_is_taken() {
    let realm = World::realm().await;
    let chunked = request(&realm, "POST", "/Users", &["Transfer-Encoding: chunked"], b"");
    let announced = request(&realm, "POST", "/Users", &["Content-Length: 1073741824"], b"");
    for (what, head) in [("announced", announced), ("in chunks", chunked)] {
        let begun = Instant::now();
        let stream = TcpStream::connect(World::shared().address()).await.expect("the gateway listens");
        let (mut reader, mut writer) = stream.into_split();
        let in_chunks = what == "in chunks";
        let flood = tokio::spawn(async move {
            let block = vec![b' '; 64 * 1024];
            let mut taken = 0;
            let _ = writer.write_all(&head).await;
            while taken < 1 << 30 {
                let sent = async {
                    if in_chunks {
                        writer.write_all(b"10000\r\n").await?;
                    }
                    writer.write_all(&block).await?;
                    if in_chunks { writer.write_all(b"\r\n").await } else { Ok(()) }
                };
                if sent.await.is_err() {
                    break;
                }
                taken += block.len();
            }
            taken
        });
        let mut answer = vec![0; 4096];
        let length = tokio::time::timeout(Duration::from_secs(5), reader.read(&mut answer)).await;
        let length = length.unwrap_or_else(|_| panic!("{what}: no answer")).unwrap_or(0);
        let (status, _) = parsed(&answer[..length]);
        assert_eq!(status, 413, "{what}: {}", String::from_utf8_lossy(&answer[..length]));
        assert!(begun.elapsed() < REFUSED_WITHIN, "{what}: {:?}", begun.elapsed());
        let taken = tokio::time::timeout(Duration::from_secs(10), flood)
            .await
            .expect("the connection is closed")
            .expect("no panic");
        assert!(taken < 16 << 20, "{what}: {taken} bytes were taken");
    }
    assert!(realm.names("userName pr").await.is_empty());
}

#[tokio::test]
async fn a_location_never_carries_what_a_client_smuggled_in() {
    let realm = World::realm().await;
    let name = "eve\r\nX-Injected: yes";
    let reply = realm.post("/Users", json!({ "schemas": [USER], "userName": name })).await;
    assert!(reply.headers.get("x-injected").is_none());
    let answer =
        raw(&World::shared().address(), &request(&realm, "GET", "/Users/a%0d%0aX-Injected:%20yes", &[], b"")).await;
    let head = String::from_utf8_lossy(&answer).split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
    assert!(!head.contains("\nx-injected"), "{head}");
}

/// A gateway with short timeouts, and what a good client sees of it meanwhile.
async fn impatient() -> (World, Realm) {
    let world = World::with(&[
        ("REALMGATE_LIMITS_HEADER_TIMEOUT", "2s"),
        ("REALMGATE_LIMITS_BODY_TIMEOUT", "2s"),
        ("REALMGATE_LIMITS_IDLE_TIMEOUT", "2s"),
        ("REALMGATE_LIMITS_REQUEST_TIMEOUT", "3s"),
    ]);
    let realm = world.new_realm().await;
    (world, realm)
}

/// p99 of a good client's requests, one after the other.
async fn good_client_p99(realm: &Realm) -> Duration {
    let path = format!("/Users/{}", realm.user("good").await);
    let mut took = Vec::new();
    for _ in 0..200 {
        let reply = realm.get(&path).await;
        assert_eq!(reply.status, 200, "{reply}");
        took.push(reply.took);
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// Sockets which the gateway holds, its listeners included.
fn sockets(pid: u32) -> usize {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("these tests run on Linux").flatten();
    fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))).count()
}

async fn are_let_go(pid: u32, before: usize, limit: Duration) {
    let begun = Instant::now();
    // The pool to the database and the good client's connection may come and go.
    while sockets(pid) > before + 40 {
        assert!(begun.elapsed() < limit, "{} sockets, {before} before", sockets(pid));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_slow_and_silent_clients_leave_a_good_one_unharmed_and_are_let_go() {
    let _turn = turn().await;
    let (mut world, realm) = impatient().await;
    let pid = world.gateway().pid();
    let before = sockets(pid);
    let mut connections = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(world.address()).await.expect("the gateway listens");
        let post = request(&realm, "POST", "/Users", &["Content-Length: 1000"], b"{");
        let begun = match n % 4 {
            0 => Vec::new(),
            1 => b"GET /realms/x/scim/v2/Users HT".to_vec(),
            2 => b"GET /realms/x/scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_vec(),
            _ => post,
        };
        stream.write_all(&begun).await.expect("it reads");
        connections.push(stream);
    }
    // A byte now and then: each one alone looks alive.
    let dripping = tokio::spawn(async move {
        loop {
            for connection in connections.iter().skip(1).step_by(2) {
                let _ = connection.try_write(b"x");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let p99 = good_client_p99(&realm).await;
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
    are_let_go(pid, before, Duration::from_secs(15)).await;
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_who_never_read_their_answers_leave_a_good_one_unharmed_and_are_let_go() {
    let _turn = turn().await;
    let (mut world, realm) = impatient().await;
    for n in 0..50 {
        realm
            .create_user(json!({ "schemas": [USER], "userName": format!("user-{n}"), "title": "x".repeat(20_000) }))
            .await;
    }
    let pid = world.gateway().pid();
    let before = sockets(pid);
    let address = world.address().parse().expect("an address");
    let list = request(&realm, "GET", "/Users?count=1000", &[], b"").repeat(20);
    let mut greedy = Vec::new();
    for _ in 0..100 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("it may be small");
        let mut stream = socket.connect(address).await.expect("the gateway listens");
        stream.write_all(&list).await.expect("it reads the first of them");
        greedy.push(stream);
    }
    let p99 = good_client_p99(&realm).await;
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
    are_let_go(pid, before, Duration::from_secs(30)).await;
    drop(greedy);
}

#[tokio::test]
async fn a_thousand_connections_reset_half_way_leak_nothing() {
    let _turn = turn().await;
    let (mut world, realm) = impatient().await;
    let pid = world.gateway().pid();
    let before = sockets(pid);
    for n in 0..960 {
        let mut stream = TcpStream::connect(world.address()).await.expect("the gateway listens");
        let bytes = request(&realm, "GET", "/Users", &[], b"");
        stream.write_all(&bytes[..bytes.len() - n % 3]).await.expect("it reads");
        stream.set_zero_linger().expect("so that closing is a reset");
    }
    are_let_go(pid, before, Duration::from_secs(10)).await;
    assert_eq!(realm.get("/Users").await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_serves_the_next_request_and_is_closed_in_the_end() {
    let (world, realm) = impatient().await;
    let mut stream = TcpStream::connect(world.address()).await.expect("the gateway listens");
    for _ in 0..2 {
        stream.write_all(&request(&realm, "GET", "/Users", &[], b"")).await.expect("it reads");
        assert_eq!(parsed(&read_answer(&mut stream, Duration::from_secs(5)).await).0, 200);
    }
    let closed =
        tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0; 16])).await.expect("it is closed in time");
    assert_eq!(closed.unwrap_or(0), 0);
}
