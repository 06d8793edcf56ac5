//! What a test needs: a gateway, a realm of its own in it, and callers whose type says who asks.

use std::{
    fmt, fs,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use uuid::Uuid;

use crate::process::{self, Cluster, Gateway, Postgres};

pub const ADMIN: (&str, &str) = ("root-of-it", "correct horse battery staple");
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
pub const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// All that was ever told, in order: what is an event already, and what still waits for its place.
const CHANGES: &str = "
    CREATE TEMP VIEW changes AS
    SELECT realm_id, place AS id, event, resource_id, version, member_id, attributes, previous, facts, actor, request_id
      FROM events
    UNION ALL
    SELECT realm_id, id + (1::bigint << 60), event, resource_id, version, member_id, attributes, previous, facts, actor,
           request_id
      FROM outbox";

/// A gateway and its data. Callers made from it find it again after a restart.
pub struct World {
    gateway: Option<Gateway>,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    address: Address,
    admin_token: Mutex<Option<(String, Instant)>>,
}

/// Where the gateway listens now; it changes with each start.
#[derive(Clone, Default)]
struct Address(Arc<RwLock<String>>);

/// A tenant made for one test, its SCIM switched on. Derefs to the realm's IdP: a caller with the realm's token.
pub struct Realm {
    pub name: String,
    pub token: String,
    /// An operator, at `/admin/realms/{realm}`.
    pub admin: Caller,
    idp: Caller,
}

/// Someone who sends requests: below which path, with which credential.
#[derive(Clone)]
pub struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    address: Address,
    base: String,
    bearer: Option<String>,
    headers: Vec<(String, String)>,
}

/// An answer.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
    pub took: Duration,
}

/// Why there was no answer: the connection was refused, or lost on the way.
#[derive(Debug)]
pub struct NoReply(#[expect(dead_code, reason = "read by Debug, in the message of a failed test")] pub String);

/// Its tests run identity providers on loopback.
static SHARED: LazyLock<World> = LazyLock::new(|| World::with(&[("REALMGATE_OUTBOUND_ALLOW", "127.0.0.1")]));

impl World {
    /// The gateway of all ordinary tests.
    pub fn shared() -> &'static World {
        &SHARED
    }

    /// A realm of the shared gateway, for this test only.
    pub async fn realm() -> Realm {
        Self::shared().new_realm().await
    }

    pub async fn two_realms() -> (Realm, Realm) {
        (Self::realm().await, Self::realm().await)
    }

    /// A gateway of the test's own, with an embedded Postgres.
    pub fn alone() -> World {
        Self::with(&[])
    }

    /// As `alone`, with settings of its own.
    pub fn with(settings: &[(&str, &str)]) -> World {
        let admin = [("REALMGATE_BOOTSTRAP_ADMIN_USERNAME", ADMIN.0), ("REALMGATE_BOOTSTRAP_ADMIN_PASSWORD", ADMIN.1)];
        let settings = admin.iter().chain(settings).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut world = World {
            gateway: None,
            folder: process::folder("world"),
            settings,
            address: Address::default(),
            admin_token: Mutex::default(),
        };
        world.start();
        world
    }

    /// A node on a database which the test itself runs; call it twice for two nodes.
    pub fn on(postgres: &Postgres) -> World {
        Self::with(&[("REALMGATE_DATABASE_URL", &postgres.url())])
    }

    /// Starts the gateway again on the data that it left behind.
    pub fn start(&mut self) {
        let gateway = Gateway::start(&self.folder, &self.settings);
        *self.address.0.write().unwrap_or_else(PoisonError::into_inner) = gateway.public.to_string();
        self.gateway = Some(gateway);
    }

    pub fn gateway(&mut self) -> &mut Gateway {
        self.gateway.as_mut().expect("it is started with the world")
    }

    /// What the gateway has logged since the first start.
    pub fn log(&self) -> String {
        self.gateway.as_ref().expect("it is started with the world").log()
    }

    /// `host:port` of the public listener.
    pub fn address(&self) -> String {
        self.address.get()
    }

    /// What the gateway says of itself: it was told no other address than the one at which it listens.
    pub fn public_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A stranger, at the root of the public listener.
    pub fn stranger(&self) -> Caller {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Caller { client, address: self.address.clone(), base: String::new(), bearer: None, headers: Vec::new() }
    }

    /// Anyone, at the root of the management listener.
    pub fn management(&self) -> Caller {
        let address = self.gateway.as_ref().expect("it is started with the world").management.to_string();
        Caller { address: Address(Arc::new(RwLock::new(address))), ..self.stranger() }
    }

    /// The operator, at the root of the public listener.
    pub async fn admin(&self) -> Caller {
        let caller = self.stranger();
        let token = self.admin_token(&caller).await;
        caller.bearer(&token)
    }

    async fn admin_token(&self, caller: &Caller) -> String {
        const FRESH: Duration = Duration::from_secs(20);
        let known = self.admin_token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((token, made)) = known
            && made.elapsed() < FRESH
        {
            return token;
        }
        let reply = caller.sign_in(ADMIN.0, ADMIN.1).await;
        assert_eq!(reply.status, 200, "{reply}");
        let token = reply.text_at("access_token");
        *self.admin_token.lock().unwrap_or_else(PoisonError::into_inner) = Some((token.clone(), Instant::now()));
        token
    }

    pub async fn new_realm(&self) -> Realm {
        let name = format!("it-{}", process::unique());
        let root = self.admin().await;
        let created = root.post("/admin/realms", json!({ "realm": name, "enabled": true })).await;
        assert_eq!(created.status, 201, "{created}");
        let admin = root.below(&format!("/admin/realms/{name}"));
        let enabled = admin.post("/scim/enable", json!({})).await;
        assert_eq!(enabled.status, 200, "{enabled}");
        let token = enabled.text_at("token");
        let idp = self.stranger().below(&format!("/realms/{name}/scim/v2")).bearer(&token);
        Realm { name, token, admin, idp }
    }

    /// A session of the gateway's database which sees all rows of all realms, to check what is really stored.
    pub async fn superuser(&self) -> tokio_postgres::Client {
        let (client, connection) = self.database().connect(tokio_postgres::NoTls).await.expect("Postgres answers");
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path = realmgate; {CHANGES}")).await.expect("the session is open");
        client
    }

    /// Returns once each change of the realm is an event.
    pub async fn all_told(sql: &tokio_postgres::Client, realm: &str) {
        let waiting = "SELECT count(*) FROM outbox o JOIN realms r ON r.id = o.realm_id WHERE r.name = $1";
        while sql.query_one(waiting, &[&realm]).await.expect("a count").get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns once the database accepts connections again.
    pub async fn database_is_back(&self) {
        let begun = Instant::now();
        while let Err(error) = self.database().connect(tokio_postgres::NoTls).await {
            assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn database(&self) -> tokio_postgres::Config {
        let setting = self.settings.iter().find(|(key, _)| key == "REALMGATE_DATABASE_URL");
        setting.map_or_else(|| self.embedded(), |(_, url)| url.parse().expect("it worked for the gateway"))
    }

    /// A session with the rights of the gateway's own connections, standing in no realm.
    pub async fn as_the_gateway(&self) -> tokio_postgres::Client {
        let client = self.superuser().await;
        client.batch_execute("SET ROLE realmgate_app").await.expect("the migrations made the role");
        client
    }

    /// The embedded Postgres, for tests which harm it.
    pub fn cluster(&self) -> Cluster {
        Cluster::at(self.folder.join("data/postgres/data"))
    }

    fn embedded(&self) -> tokio_postgres::Config {
        let folder = self.folder.join("data/postgres");
        let password = fs::read_to_string(folder.join("password")).expect("the embedded Postgres has been made");
        let mut config = tokio_postgres::Config::new();
        config.host_path(folder).user("postgres").password(password.trim()).dbname("realmgate");
        config
    }
}

impl Address {
    fn get(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Deref for Realm {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.idp
    }
}

impl Realm {
    /// The path of a resource, as the raw tests need it.
    pub fn path(&self, rest: &str) -> String {
        format!("/realms/{}/scim/v2{rest}", self.name)
    }

    /// The realm's IdP, seen by a new connection pool.
    pub fn idp(&self) -> Caller {
        self.idp.clone()
    }

    /// Creates a user by name and gives its id.
    pub async fn user(&self, user_name: &str) -> String {
        self.create_user(json!({ "schemas": [USER], "userName": user_name })).await.id()
    }

    pub async fn create_user(&self, user: Value) -> Reply {
        let reply = self.post("/Users", user).await;
        assert_eq!(reply.status, 201, "{reply}");
        reply
    }

    /// Puts so many users into the database, past the gateway, `user-0` and on. Gives their ids, in their order.
    pub async fn seed_users(&self, count: usize) -> Vec<String> {
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        let seeded = World::shared()
            .superuser()
            .await
            .execute(
                "WITH made AS (
                     INSERT INTO users (realm_id, id, version, created_at, updated_at, active, user_name_key, attributes)
                     SELECT r.id, t.id, 1, now(), now(), true, 'user-' || t.n - 1,
                            jsonb_build_object('schemas', jsonb_build_array($3::text), 'userName', 'user-' || t.n - 1, 'active', true)
                       FROM realms r, unnest($2::uuid[]) WITH ORDINALITY AS t (id, n) WHERE r.name = $1
                     RETURNING realm_id, id)
                 INSERT INTO user_roles (realm_id, user_id, role_id, created_at)
                 SELECT m.realm_id, m.id, r.id, now()
                   FROM made m JOIN roles r ON r.realm_id = m.realm_id AND r.name = 'scim-managed'",
                &[&self.name, &ids, &USER],
            )
            .await;
        assert_eq!(seeded.expect("the rows are sound"), count as u64);
        ids.iter().map(Uuid::to_string).collect()
    }

    /// Creates a group with these members and gives its id.
    pub async fn group(&self, display_name: &str, members: &[&str]) -> String {
        let members: Vec<_> = members.iter().map(|id| json!({ "value": id })).collect();
        let group = json!({ "schemas": [GROUP], "displayName": display_name, "members": members });
        let reply = self.post("/Groups", group).await;
        assert_eq!(reply.status, 201, "{reply}");
        reply.id()
    }

    /// The ids of a group's members, sorted.
    pub async fn members_of(&self, group: &str) -> Vec<String> {
        let reply = self.get(&format!("/Groups/{group}")).await;
        assert_eq!(reply.status, 200, "{reply}");
        let json = reply.json();
        let members = json["members"].as_array().map_or(&[][..], Vec::as_slice);
        let mut ids: Vec<_> =
            members.iter().map(|m| m["value"].as_str().expect("a member has a value").to_owned()).collect();
        ids.sort();
        ids
    }

    /// Changes one key of the sync policy.
    pub async fn policy(&self, key: &str, value: impl Into<Value>) {
        let reply = self.admin.patch("/scim/policy", json!({ key: value.into() })).await;
        assert_eq!(reply.status, 200, "{reply}");
    }

    /// `userName` of everyone whom the filter finds, sorted.
    pub async fn names(&self, filter: &str) -> Vec<String> {
        let reply = self.get(&format!("/Users?count=1000&filter={}", encoded(filter))).await;
        assert_eq!(reply.status, 200, "{filter}: {reply}");
        let json = reply.json();
        let found = json["Resources"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(json["totalResults"], found.len(), "{filter}");
        let mut names: Vec<_> =
            found.iter().map(|u| u["userName"].as_str().expect("it is required").to_owned()).collect();
        names.sort();
        names
    }
}

impl Caller {
    /// The same caller at a path further down.
    pub fn below(&self, path: &str) -> Caller {
        Caller { base: format!("{}{path}", self.base), ..self.clone() }
    }

    /// The same caller at the SCIM root of another realm.
    pub fn at(&self, realm: &Realm) -> Caller {
        Caller { base: realm.idp.base.clone(), ..self.clone() }
    }

    /// The same caller at another node.
    pub fn on(&self, node: &World) -> Caller {
        Caller { address: node.address.clone(), ..self.clone() }
    }

    /// The same caller at the root of the listener.
    pub fn at_root(&self) -> Caller {
        Caller { base: String::new(), ..self.clone() }
    }

    pub fn bearer(&self, token: &str) -> Caller {
        Caller { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// The credential of this caller.
    pub fn bearer_token(&self) -> &str {
        self.bearer.as_deref().unwrap_or_default()
    }

    pub fn anonymous(&self) -> Caller {
        Caller { bearer: None, ..self.clone() }
    }

    /// A header of each request; `Host` too.
    pub fn header(&self, name: &str, value: &str) -> Caller {
        let mut caller = self.clone();
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.expect(Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.expect(Method::DELETE, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.expect(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.expect(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.expect(Method::PATCH, path, Some(body)).await
    }

    /// PATCH with SCIM operations (RFC 7644 §3.5.2).
    pub async fn operations(&self, path: &str, operations: Value) -> Reply {
        self.patch(path, json!({ "schemas": [PATCH_OP], "Operations": operations })).await
    }

    /// The password grant of the `master` realm.
    pub async fn sign_in(&self, username: &str, password: &str) -> Reply {
        let form = format!(
            "grant_type=password&client_id=admin-cli&username={}&password={}",
            encoded(username),
            encoded(password)
        );
        self.form("/realms/master/protocol/openid-connect/token", form).await
    }

    /// POST of `application/x-www-form-urlencoded`.
    pub async fn form(&self, path: &str, form: String) -> Reply {
        let caller = self.at_root().header("Content-Type", "application/x-www-form-urlencoded");
        caller.send(Method::POST, path, form.into()).await.unwrap_or_else(|e| panic!("POST {path}: {e:?}"))
    }

    async fn expect(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        self.send(method.clone(), path, bytes).await.unwrap_or_else(|e| panic!("{method} {path}: {e:?}"))
    }

    /// The head of an answer, and its body on the way.
    pub async fn open(&self, path: &str) -> Response<Incoming> {
        let answer = self.client.request(self.request(Method::GET, path, Bytes::new()));
        tokio::time::timeout(Duration::from_secs(60), answer).await.expect("no request hangs").expect("an answer")
    }

    /// The request, or why it had no answer: for tests which take something down meanwhile.
    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, NoReply> {
        let request = self.request(method, path, body);
        let begun = Instant::now();
        let exchange = async {
            let (head, body) = self.client.request(request).await.map_err(|e| NoReply(format!("{e:?}")))?.into_parts();
            let bytes = body.collect().await.map_err(|e| NoReply(format!("{e:?}")))?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, bytes, took: begun.elapsed() })
        };
        tokio::time::timeout(Duration::from_secs(60), exchange).await.expect("no request hangs for a minute")
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{}{path}", self.address.get(), self.base);
        let mut request = Request::builder().method(method).uri(&uri);
        let has = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if !body.is_empty() && !has("content-type") {
            request = request.header(header::CONTENT_TYPE, "application/scim+json");
        }
        if let Some(token) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).unwrap_or_else(|e| panic!("{uri}: {e}"))
    }
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e} in the answer {self}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("our headers are ASCII"))
    }

    /// A text of the body, by key.
    pub fn text_at(&self, key: &str) -> String {
        self.json()[key].as_str().unwrap_or_else(|| panic!("`{key}` is a text in {self}")).to_owned()
    }

    pub fn id(&self) -> String {
        self.text_at("id")
    }

    /// Status and what SCIM says about it: `201 Created`, `400 invalidFilter`, `401 Unauthorized`.
    pub fn summary(&self) -> String {
        let body: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        let word = body["scimType"].as_str().or(self.status.canonical_reason()).unwrap_or_default();
        format!("{} {word}", self.status.as_u16())
    }

    /// Asserts that this is a SCIM error (RFC 7644 §3.12) which tells the admin something, and gives its detail.
    pub fn detail(&self) -> String {
        let media_type = self.header("content-type");
        assert!(media_type.starts_with("application/scim+json"), "Content-Type `{media_type}` of {self}");
        let body = self.json();
        assert_eq!(body["schemas"], json!([ERROR]), "{self}");
        assert_eq!(body["status"], self.status.as_str(), "{self}");
        let detail = body["detail"].as_str().unwrap_or_else(|| panic!("no detail in {self}"));
        assert!(!detail.is_empty(), "{self}");
        detail.to_owned()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.status, String::from_utf8_lossy(&self.bytes).chars().take(600).collect::<String>())
    }
}

/// Percent-encodes all but letters and digits, for one value in a path or a query.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        use fmt::Write as _;
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes all");
        }
        out
    })
}

/// Bytes as they are, over a connection of their own, and all that comes back until the gateway closes it or has
/// answered. For requests which no HTTP library would send.
pub async fn raw(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the gateway listens");
    // A gateway which refuses early may close before all is written.
    let _ = stream.write_all(request).await;
    read_answer(&mut stream, Duration::from_secs(10)).await
}

/// Reads until a whole answer has come, the other side closes, or `limit` is over.
pub async fn read_answer(stream: &mut TcpStream, limit: Duration) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(limit, async {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..n]);
            if is_whole(&answer) {
                break;
            }
        }
    })
    .await;
    answer
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    length.is_some_and(|length| body.len() >= length)
}

/// Status and body of an answer read by [`raw`]; status 0 if there was none.
pub fn parsed(answer: &[u8]) -> (u16, Value) {
    let text = String::from_utf8_lossy(answer);
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
    (status, body.unwrap_or_default())
}
