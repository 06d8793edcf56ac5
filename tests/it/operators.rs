//! Operators: what each may do, service accounts, sessions, and what guessing leads to.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::{
    issuer::{APP, Issuer, Key},
    process::unique,
    world::{ADMIN, Caller, Realm, Reply, World, encoded},
};

const TOKEN: &str = "/realms/master/protocol/openid-connect/token";
const PASSWORD: &str = "pass word & =ü";

/// An operator made for a test.
pub struct Operator {
    id: String,
    name: String,
    /// At the root of the public listener.
    pub caller: Caller,
}

impl Operator {
    pub async fn new() -> Self {
        Self::of(World::shared()).await
    }

    async fn of(world: &World) -> Self {
        let name = format!("Op-{}", unique());
        let credential = json!({ "type": "password", "value": PASSWORD, "temporary": false });
        let user = json!({ "username": name, "enabled": true, "credentials": [credential] });
        let created = world.admin().await.post("/admin/realms/master/users", user).await;
        assert_eq!((created.status.as_u16(), created.bytes.len()), (201, 0), "{created}");
        let id = created.header("location").rsplit('/').next().expect("an id").to_owned();
        let caller = world.stranger().bearer(&signed_in(world, &name, PASSWORD).await.text_at("access_token"));
        Self { id, name, caller }
    }

    /// Gives or takes rights in a realm, as scripts for Keycloak do.
    pub async fn rights(&self, method: Method, realm: &Realm, rights: &[&str]) {
        let root = World::shared().admin().await;
        let client = client_of(&root, realm).await;
        let path = format!("/admin/realms/master/users/{}/role-mappings/clients/{client}", self.id);
        let roles: Vec<_> = rights.iter().map(|right| json!({ "name": right })).collect();
        let reply = root.send(method, &path, json!(roles).to_string().into()).await.expect("an answer");
        assert_eq!(reply.status, 204, "{reply}");
    }
}

async fn signed_in(world: &World, name: &str, password: &str) -> Reply {
    let reply = world.stranger().sign_in(name, password).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply
}

/// The id of the client which stands for the realm.
async fn client_of(root: &Caller, realm: &Realm) -> String {
    let found = root.get(&format!("/admin/realms/master/clients?clientId={}-realm", realm.name)).await.json();
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    found[0]["id"].as_str().expect("an id").to_owned()
}

fn names(list: &Value, key: &str) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|item| item[key].as_str().expect("a text").to_owned()).collect()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

async fn service_account(root: &Caller, secret: Option<&str>) -> (String, String) {
    let client_id = format!("batch-{}", unique());
    let client = json!({ "clientId": client_id, "serviceAccountsEnabled": true, "secret": secret });
    let created = root.post("/admin/realms/master/clients", client).await;
    assert_eq!((created.status.as_u16(), created.bytes.len()), (201, 0), "{created}");
    (created.header("location").rsplit('/').next().expect("an id").to_owned(), client_id)
}

async fn client_grant(client_id: &str, secret: &str) -> Reply {
    let form = format!(
        "client_id={}&client_secret={}&grant_type=client_credentials&code=&redirect_uri=&scope=openid",
        encoded(client_id),
        encoded(secret)
    );
    World::shared().stranger().form(TOKEN, form).await
}

#[tokio::test]
async fn a_right_holds_in_one_realm_and_for_what_it_says() {
    let (acme, globex) = World::two_realms().await;
    acme.user("ada").await;
    let operator = Operator::new().await;
    assert_eq!(operator.caller.get("/admin/realms").await.json(), json!([]));
    operator.rights(Method::POST, &acme, &["view-users"]).await;

    let users = operator.caller.get(&format!("/admin/realms/{}/users", acme.name)).await;
    assert_eq!(names(&users.json(), "username"), ["ada"], "{users}");
    let listed = operator.caller.get("/admin/realms").await.json();
    assert_eq!(names(&listed, "realm"), std::slice::from_ref(&acme.name), "only its realms");

    let (acme_at, globex_at) = (format!("/admin/realms/{}", acme.name), format!("/admin/realms/{}", globex.name));
    let user = json!({ "username": "eve" });
    let refusals = [
        operator.caller.post(&format!("{acme_at}/users"), user).await,
        operator.caller.get(&format!("{acme_at}/scim/policy")).await,
        operator.caller.patch(&format!("{acme_at}/scim/policy"), json!({ "on_delete": "purge" })).await,
        operator.caller.post(&format!("{acme_at}/scim/rotate"), json!({})).await,
        operator.caller.get(&format!("{acme_at}/audit-log")).await,
        operator.caller.get(&format!("{globex_at}/users")).await,
        operator.caller.get(&globex_at).await,
        operator.caller.get("/admin/realms/nobody-knows-me/users").await,
        operator.caller.get("/admin/realms/nobody-knows-me").await,
        operator.caller.post("/admin/realms", json!({ "realm": "mine" })).await,
        operator.caller.delete(&acme_at).await,
        operator.caller.get("/admin/audit-log").await,
        operator.caller.get("/admin/realms/master/users").await,
        operator.caller.get("/admin/realms/master/audit-log").await,
    ];
    for reply in &refusals {
        assert_eq!((reply.status.as_u16(), reply.json()), (403, refusals[0].json()), "one answer for all: {reply}");
    }
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_gone_with_the_answer() {
    let realm = World::realm().await;
    let operator = Operator::new().await;
    let path = format!("/admin/realms/{}/users", realm.name);
    for _ in 0..3 {
        operator.rights(Method::POST, &realm, &["manage-users"]).await;
        assert_eq!(operator.caller.get(&path).await.status, 200, "who may manage may look");
        operator.rights(Method::DELETE, &realm, &["manage-users"]).await;
        assert_eq!(operator.caller.get(&path).await.status, 403);
    }
}

#[tokio::test]
async fn whoever_creates_a_realm_has_all_rights_in_it_and_in_no_other() {
    let other = World::realm().await;
    let operator = Operator::new().await;
    let root = World::shared().admin().await;
    let mapped = format!("/admin/realms/master/users/{}/role-mappings", operator.id);
    let role = root.get("/admin/realms/master/roles/create-realm").await.json();
    assert_eq!(root.post(&format!("{mapped}/realm"), json!([role])).await.status, 204);
    let name = format!("own-{}", unique());
    let created = operator.caller.post("/admin/realms", json!({ "realm": name })).await;
    assert_eq!(created.status, 201, "{created}");
    let policy = format!("/admin/realms/{name}/scim/policy");
    assert_eq!(operator.caller.patch(&policy, json!({ "on_delete": "purge" })).await.status, 200);
    assert_eq!(operator.caller.get(&format!("/admin/realms/{}", other.name)).await.status, 403);
    let held = root.get(&mapped).await.json();
    assert_eq!(names(&held["realmMappings"], "name"), ["create-realm"], "{held}");
    let in_it = &held["clientMappings"][format!("{name}-realm")];
    assert_eq!(in_it["mappings"].as_array().map(Vec::len), Some(5), "{held}");
    let access = signed_in(World::shared(), &operator.name, PASSWORD).await.text_at("access_token");
    let told = claims(&access);
    assert_eq!(told["realm_access"]["roles"], json!(["create-realm"]), "{told}");
    assert_eq!(told["resource_access"][format!("{name}-realm")]["roles"].as_array().map(Vec::len), Some(5), "{told}");
}

#[tokio::test]
async fn an_operator_is_found_changed_and_deleted() {
    let (root, operator) = (World::shared().admin().await, Operator::new().await);
    let folded = operator.name.to_lowercase();
    for query in [format!("search={folded}"), format!("username={folded}&exact=True&max=1&first=0")] {
        let found = root.get(&format!("/admin/realms/master/users?{query}")).await.json();
        assert_eq!(names(&found, "id"), std::slice::from_ref(&operator.id), "{query}: {found}");
    }
    assert_eq!(root.get(&format!("/admin/realms/master/users/count?search={folded}")).await.json(), json!(1));
    assert_eq!(root.get("/admin/realms/master/users?email=a@b.example").await.json(), json!([]), "nobody has one");
    let path = format!("/admin/realms/master/users/{}", operator.id);
    assert_eq!(root.get(&path).await.json()["username"], operator.name);
    let twice = root.post("/admin/realms/master/users", json!({ "username": folded })).await;
    assert_eq!(
        (twice.status.as_u16(), twice.text_at("errorMessage").as_str()),
        (409, "User exists with same username")
    );

    assert_eq!(root.put(&path, json!({ "enabled": false })).await.status, 204);
    assert_eq!(operator.caller.get("/admin/me").await.status, 401, "at once");
    let refused = root.anonymous().sign_in(&operator.name, PASSWORD).await;
    assert_eq!((refused.status.as_u16(), refused.text_at("error_description").as_str()), (400, "Account disabled"));
    assert_eq!(root.put(&path, json!({ "enabled": true, "username": format!("{folded}-2") })).await.status, 204);
    assert_eq!(operator.caller.get("/admin/me").await.text_at("username"), format!("{folded}-2"));
    assert_eq!(root.delete(&path).await.status, 204);
    assert_eq!(operator.caller.get("/admin/me").await.status, 401);
    assert_eq!(root.get(&path).await.text_at("error"), "User not found");
    let log = root.get("/admin/realms/master/audit-log?action=operator.&limit=1000").await.json();
    let of_it = log
        .as_array()
        .expect("a list")
        .iter()
        .filter(|e| e["target"].as_str().is_some_and(|t| t.to_lowercase().starts_with(&folded)));
    let words: Vec<&str> = of_it.map(|entry| entry["action"].as_str().expect("a word")).collect();
    assert_eq!(words, ["operator.delete", "operator.update", "operator.update", "operator.create"]);
}

#[tokio::test]
async fn the_last_admin_cannot_go() {
    let world = World::with(&[]);
    let root = world.admin().await;
    let me = root.get("/admin/me").await.id();
    let path = format!("/admin/realms/master/users/{me}");
    let role = root.get("/admin/realms/master/roles/admin").await.json();
    let tries = async |status: u16| {
        let roles = format!("{path}/role-mappings/realm");
        let disabled = root.put(&path, json!({ "enabled": false })).await;
        let revoked = root.send(Method::DELETE, &roles, json!([role]).to_string().into()).await.expect("an answer");
        let deleted = root.delete(&path).await;
        for reply in [disabled, revoked, deleted] {
            assert_eq!(reply.status, status, "{reply}");
            assert!(reply.text_at("errorMessage").contains("last enabled operator"), "{reply}");
        }
    };
    tries(409).await;
    let second = Operator::of(&world).await;
    let roles = format!("/admin/realms/master/users/{}/role-mappings/realm", second.id);
    assert_eq!(root.post(&roles, json!([role])).await.status, 204);
    // Two who take the role from each other at once: one of them keeps it.
    let mine = format!("{path}/role-mappings/realm");
    let body = || bytes::Bytes::from(json!([role]).to_string());
    let (a, b) =
        tokio::join!(root.send(Method::DELETE, &roles, body()), second.caller.send(Method::DELETE, &mine, body()),);
    let mut statuses = [a.expect("an answer").status.as_u16(), b.expect("an answer").status.as_u16()];
    statuses.sort_unstable();
    assert!([[204, 403], [204, 409]].contains(&statuses), "{statuses:?}");
}

#[tokio::test]
async fn a_password_is_changed_by_its_owner_and_ends_his_sessions() {
    let operator = Operator::new().await;
    let world = World::shared();
    let other_session = signed_in(world, &operator.name, PASSWORD).await;
    let wrong = operator.caller.put("/admin/me/password", json!({ "current": "wrong", "new": "x" })).await;
    assert_eq!(wrong.status, 400, "{wrong}");
    let changed = operator.caller.put("/admin/me/password", json!({ "current": PASSWORD, "new": "another one" })).await;
    assert_eq!(changed.status, 204, "{changed}");
    assert_eq!(operator.caller.get("/admin/me").await.status, 401, "the session which asked has ended as well");
    let refresh = format!("grant_type=refresh_token&refresh_token={}", other_session.text_at("refresh_token"));
    let refused = world.stranger().form(TOKEN, refresh).await;
    assert_eq!((refused.status.as_u16(), refused.text_at("error_description").as_str()), (400, "Session not active"));
    assert_eq!(world.stranger().sign_in(&operator.name, PASSWORD).await.status, 401);
    signed_in(world, &operator.name, "another one").await;

    let root = world.admin().await;
    let path = format!("/admin/realms/master/users/{}/reset-password", operator.id);
    let password = |temporary: bool, value: &str| json!({ "type": "password", "value": value, "temporary": temporary });
    assert_eq!(root.put(&path, password(false, PASSWORD)).await.status, 204);
    signed_in(world, &operator.name, PASSWORD).await;
    assert!(root.put(&path, password(true, "x")).await.text_at("errorMessage").contains("temporary"));
    assert_eq!(root.put(&path, password(false, "")).await.status, 400);
}

#[tokio::test]
async fn a_session_ends_with_logout_and_with_revocation() {
    let (world, operator) = (World::shared(), Operator::new().await);
    for end in ["logout", "revoke"] {
        let session = signed_in(world, &operator.name, PASSWORD).await;
        let (access, refresh) = (session.text_at("access_token"), session.text_at("refresh_token"));
        assert_eq!(world.stranger().bearer(&access).get("/admin/me").await.status, 200);
        let form = format!("client_id=admin-cli&refresh_token={refresh}&token={refresh}");
        let ended = world.stranger().form(&format!("/realms/master/protocol/openid-connect/{end}"), form).await;
        assert!(ended.status.is_success(), "{end}: {ended}");
        assert_eq!(world.stranger().bearer(&access).get("/admin/me").await.status, 401, "{end}");
        let form = format!("grant_type=refresh_token&client_id=admin-cli&refresh_token={refresh}");
        assert_eq!(world.stranger().form(TOKEN, form).await.text_at("error_description"), "Session not active");
    }
    assert_eq!(operator.caller.get("/admin/me").await.status, 200, "another session of his goes on");
    let nothing = world.stranger().form("/realms/master/protocol/openid-connect/revoke", "token=x".into()).await;
    assert_eq!(nothing.status, 200, "RFC 7009: nothing to revoke is no error");
}

#[tokio::test]
async fn a_service_account_signs_in_with_whatever_secret_it_was_given() {
    let (root, realm) = (World::shared().admin().await, World::realm().await);
    let secret = "s3c+/=: &ü";
    let (id, client_id) = service_account(&root, Some(secret)).await;
    let user = root.get(&format!("/admin/realms/master/clients/{id}/service-account-user")).await;
    assert_eq!(user.text_at("username"), format!("service-account-{client_id}"));
    let rights =
        format!("/admin/realms/master/users/{}/role-mappings/clients/{}", user.id(), client_of(&root, &realm).await);
    assert_eq!(root.post(&rights, json!([{ "name": "view-users" }])).await.status, 204);

    let in_form = client_grant(&client_id, secret).await;
    assert_eq!(in_form.status, 200, "{in_form}");
    let body = in_form.json();
    assert!(body["refresh_token"].is_null() && body["expires_in"] == 3600, "{body}");
    let basic = STANDARD.encode(format!("{}:{}", encoded(&client_id), encoded(secret)));
    let by_basic = root.anonymous().header("Authorization", &format!("Basic {basic}"));
    let by_basic = by_basic.form(TOKEN, "grant_type=client_credentials".into()).await;
    assert_eq!(by_basic.status, 200, "the client's id is in the header alone: {by_basic}");
    let account = root.anonymous().bearer(&by_basic.text_at("access_token"));
    assert_eq!(account.get(&format!("/admin/realms/{}/users", realm.name)).await.status, 200);
    assert_eq!(account.get("/admin/audit-log").await.status, 403);
    assert_eq!(claims(&by_basic.text_at("access_token"))["azp"], client_id);

    for (id, secret) in [(client_id.as_str(), "wrong"), ("nobody", secret), ("admin-cli", ""), ("admin-cli", "x")] {
        let refused = client_grant(id, secret).await;
        assert_eq!((refused.status.as_u16(), refused.text_at("error").as_str()), (401, "invalid_client"), "{id}");
        assert_eq!(refused.text_at("error_description"), "Invalid client or Invalid client credentials");
    }
    assert_eq!(root.anonymous().sign_in(&format!("service-account-{client_id}"), secret).await.status, 401);
    let as_person = root.delete(&format!("/admin/realms/master/users/{id}")).await;
    assert_eq!(as_person.status, 409, "{as_person}");
}

#[tokio::test]
async fn a_new_secret_ends_what_the_old_one_began() {
    let root = World::shared().admin().await;
    let (id, client_id) = service_account(&root, Some("first")).await;
    let path = format!("/admin/realms/master/clients/{id}");
    let first = root.anonymous().bearer(&client_grant(&client_id, "first").await.text_at("access_token"));
    assert_eq!(first.get("/admin/me").await.status, 200);
    let renewed = root.post(&format!("{path}/client-secret"), json!({})).await;
    assert_eq!((&renewed.json()["type"], renewed.header("cache-control")), (&json!("secret"), "no-store"));
    assert_eq!(first.get("/admin/me").await.status, 401);
    assert_eq!(client_grant(&client_id, "first").await.status, 401);
    let second = client_grant(&client_id, &renewed.text_at("value")).await;
    assert_eq!(second.status, 200, "{second}");
    assert_eq!(root.get(&format!("{path}/client-secret")).await.status, 404, "it is not known any more");

    assert_eq!(root.put(&path, json!({ "enabled": false })).await.status, 204);
    let second = root.anonymous().bearer(&second.text_at("access_token"));
    assert_eq!(second.get("/admin/me").await.status, 401);
    assert_eq!(client_grant(&client_id, &renewed.text_at("value")).await.status, 401);
    assert_eq!(root.delete(&path).await.status, 204);
    assert_eq!(root.get(&path).await.status, 404);
    for reserved in ["acme-realm", "admin-cli"] {
        let refused = root.post("/admin/realms/master/clients", json!({ "clientId": reserved })).await;
        assert_eq!(refused.status, 400, "{refused}");
    }
}

#[tokio::test]
async fn a_service_account_may_sign_for_itself() {
    let (root, key) = (World::shared().admin().await, Key::generate("batch"));
    let client_id = format!("signer-{}", unique());
    let attributes = json!({ "jwks.string": key.jwks() });
    let client = json!({ "clientId": client_id, "clientAuthenticatorType": "client-jwt", "attributes": attributes });
    let created = root.post("/admin/realms/master/clients", client).await;
    assert_eq!(created.status, 201, "{created}");
    let discovery = root.get("/realms/master/.well-known/openid-configuration").await;
    let signed = |more: Value| {
        let now = jiff::Timestamp::now().as_second();
        let mut claims = json!({ "iss": client_id, "sub": client_id, "aud": discovery.text_at("token_endpoint"),
            "iat": now, "exp": now + 60, "jti": unique() });
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        format!(
            "grant_type=client_credentials&client_assertion={}&client_assertion_type={}",
            key.sign(&claims),
            encoded("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        )
    };
    let reply = root.anonymous().form(TOKEN, signed(json!({}))).await;
    assert_eq!(reply.status, 200, "{reply}");
    let account = root.anonymous().bearer(&reply.text_at("access_token"));
    assert_eq!(account.get("/admin/me").await.text_at("username"), format!("service-account-{client_id}"));
    for wrong in [json!({ "aud": "https://elsewhere.example" }), json!({ "exp": 1 }), json!({ "sub": "another" })] {
        assert_eq!(root.anonymous().form(TOKEN, signed(wrong.clone())).await.status, 401, "{wrong}");
    }
}

#[tokio::test]
async fn the_client_of_a_realm_has_its_rights_as_roles() {
    let (root, realm) = (World::shared().admin().await, World::realm().await);
    let path = format!("/admin/realms/master/clients/{}", client_of(&root, &realm).await);
    assert_eq!(root.get(&path).await.text_at("clientId"), format!("{}-realm", realm.name));
    let roles = root.get(&format!("{path}/roles")).await.json();
    assert_eq!(names(&roles, "name"), ["view-realm", "manage-realm", "view-users", "manage-users", "view-events"]);
    let role = root.get(&format!("{path}/roles/view-users")).await;
    assert_eq!(
        (role.id().as_str(), role.json()["clientRole"].as_bool()),
        (roles[2]["id"].as_str().unwrap(), Some(true))
    );
    let operator = Operator::new().await;
    let user = format!("/admin/realms/master/users/{}/role-mappings", operator.id);
    let clients = path.rsplit('/').next().expect("an id");
    let unknown = root.post(&format!("{user}/clients/{clients}"), json!([{ "name": "fly" }])).await;
    assert_eq!((unknown.status.as_u16(), unknown.text_at("error").as_str()), (404, "Role not found"));
    let by_id = json!([{ "id": roles[3]["id"] }]);
    assert_eq!(root.post(&format!("{user}/clients/{clients}"), by_id).await.status, 204);
    let effective = root.get(&format!("{user}/clients/{clients}/composite")).await.json();
    assert_eq!(names(&effective, "name"), ["view-users", "manage-users"]);
    assert_eq!(root.get(&format!("{user}/realm")).await.json(), json!([]));
}

#[tokio::test]
async fn others_verify_tokens_with_the_published_keys() {
    let world = World::shared();
    let at = world.stranger().get("/realms/master/.well-known/openid-configuration").await;
    let told = at.json();
    let path = |key: &str| {
        let url = told[key].as_str().unwrap_or_else(|| panic!("{key} in {told}"));
        url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned())).expect("a path")
    };
    assert_eq!(path("token_endpoint"), TOKEN);
    let keys = world.stranger().get(&path("jwks_uri")).await;
    assert!(keys.header("cache-control").contains("max-age"), "{keys}");
    let token = signed_in(world, ADMIN.0, ADMIN.1).await.text_at("access_token");
    let kid = jsonwebtoken::decode_header(&token).expect("a header").kid.expect("a kid");
    let keys = keys.json();
    let key = keys["keys"].as_array().expect("a list").iter().find(|key| key["kid"] == kid).expect("the key is there");
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
    let part = |name: &str| key[name].as_str().expect("a text");
    let key = DecodingKey::from_ec_components(part("x"), part("y")).expect("a point");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[told["issuer"].as_str().expect("a text")]);
    validation.set_audience(&["realmgate-admin-api"]);
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).expect("it verifies").claims;
    assert_eq!((&claims["preferred_username"], &claims["realm_access"]["roles"]), (&json!(ADMIN.0), &json!(["admin"])));
    let info = world.stranger().bearer(&token).get(&path("userinfo_endpoint")).await;
    assert_eq!(
        (info.text_at("preferred_username"), info.json()["sub"].clone()),
        (ADMIN.0.into(), claims["sub"].clone())
    );
    assert_eq!(world.stranger().get(&path("userinfo_endpoint")).await.status, 401);
}

#[tokio::test]
async fn what_is_published_of_a_realm_does_not_tell_whether_it_is_there() {
    let (world, realm) = (World::shared(), World::realm().await);
    for suffix in ["", "/.well-known/openid-configuration", "/protocol/openid-connect/certs"] {
        let answer = async |name: &str| {
            let reply = world.stranger().get(&format!("/realms/{name}{suffix}")).await;
            (reply.status, String::from_utf8_lossy(&reply.bytes).replace(name, "NAME"))
        };
        assert_eq!(answer(&realm.name).await, answer("nobody-knows-me").await, "{suffix}");
        assert_eq!(answer(&realm.name).await.0, 200, "{suffix}");
        assert_eq!(world.stranger().get(&format!("/realms/No%20Name{suffix}")).await.status, 404);
    }
}

#[tokio::test]
async fn guessing_is_answered_with_waiting() {
    let settings = [("REALMGATE_ADMIN_LOGIN_FAILURES", "3"), ("REALMGATE_ADMIN_LOGIN_WAIT", "15m")];
    let mut world = World::with(&settings);
    let (target, other) = (Operator::of(&world).await, Operator::of(&world).await);
    let stranger = world.stranger();
    // Two failures and a good sign-in begin anew.
    for password in ["wrong", "wrong", PASSWORD, "wrong", "wrong", PASSWORD] {
        let status = stranger.sign_in(&target.name, password).await.status;
        assert_eq!(status, if password == PASSWORD { 200 } else { 401 });
    }
    let mut refusals = Vec::new();
    for name in [target.name.as_str(), "nobody-has-this-name"] {
        for _ in 0..3 {
            refusals.push(stranger.sign_in(&name.to_uppercase(), "wrong").await);
        }
    }
    refusals.push(stranger.sign_in(&target.name, PASSWORD).await);
    for reply in &refusals {
        assert_eq!((reply.status, reply.json()), (refusals[0].status, refusals[0].json()), "nobody learns of it");
    }
    signed_in(&world, &other.name, PASSWORD).await;
    assert_eq!(target.caller.get("/admin/me").await.status, 200, "who is signed in already works on");
    assert!(world.log().contains("too many failed sign-ins of an operator"));
    let metrics = world.management().get("/metrics").await;
    assert!(String::from_utf8_lossy(&metrics.bytes).contains("realmgate_login_locks_total{of=\"operator\"} 1"));

    world.gateway().kill();
    world.start();
    assert_eq!(stranger.sign_in(&target.name, PASSWORD).await.status, 401, "a restart forgives nothing");
    let root = stranger.bearer(&signed_in(&world, ADMIN.0, ADMIN.1).await.text_at("access_token"));
    let path = format!("/admin/realms/master/attack-detection/brute-force/users/{}", target.id);
    let status = root.get(&path).await.json();
    assert_eq!((&status["numFailures"], &status["disabled"]), (&json!(3), &json!(true)));
    assert_eq!(root.delete(&path).await.status, 204);
    signed_in(&world, &target.name, PASSWORD).await;

    let (_, client_id) = service_account(&root, Some("secret")).await;
    for guess in ["a", "b", "c", "secret"] {
        let form = format!("grant_type=client_credentials&client_id={client_id}&client_secret={guess}");
        assert_eq!(stranger.form(TOKEN, form).await.status, 401, "{guess}");
    }
}

#[tokio::test]
async fn an_address_which_guesses_many_names_waits_as_well() {
    let world = World::with(&[
        ("REALMGATE_ADMIN_LOGIN_FAILURES", "1"),
        ("REALMGATE_ADMIN_LOGIN_WAIT", "15m"),
        ("REALMGATE_TRUSTED_PROXIES", "127.0.0.1"),
    ]);
    let from = |address: &str| world.stranger().header("X-Forwarded-For", &format!("203.0.113.9, {address}"));
    for n in 0..10 {
        assert_eq!(from("198.51.100.1").sign_in(&format!("nobody-{n}"), "x").await.status, 401);
    }
    assert_eq!(from("198.51.100.1").sign_in(ADMIN.0, ADMIN.1).await.status, 401);
    assert_eq!(from("198.51.100.2").sign_in(ADMIN.0, ADMIN.1).await.status, 200, "from elsewhere it is good");
    assert!(world.log().contains("too many failed sign-ins from an address"));
}

#[tokio::test]
async fn another_issuer_signs_operators_in() {
    let issuer = Issuer::start().await;
    let world = World::with(&[
        ("REALMGATE_ADMIN_OIDC_ISSUER", &issuer.url),
        ("REALMGATE_ADMIN_OIDC_AUDIENCE", APP),
        ("REALMGATE_OUTBOUND_ALLOW", "127.0.0.1"),
    ]);
    let realm = world.new_realm().await;
    let token = |more: Value| {
        let mut claims = json!({ "sub": "7", "preferred_username": "ada@corp.example" });
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        issuer.token(claims)
    };
    let caller = |more: Value| world.stranger().bearer(&token(more));
    let viewer = caller(json!({ "realmgate": { realm.name.as_str(): ["view-users"] } }));
    assert_eq!(viewer.get("/admin/me").await.text_at("username"), "ada@corp.example");
    let users = format!("/admin/realms/{}/users", realm.name);
    assert_eq!(viewer.get(&users).await.status, 200);
    assert_eq!(viewer.post(&users, json!({ "username": "eve" })).await.status, 403);
    assert_eq!(viewer.get("/admin/realms/master/users").await.status, 403);
    let listed = caller(json!({ "realmgate": [format!("{}:manage-realm", realm.name)] }));
    let policy = format!("/admin/realms/{}/scim/policy", realm.name);
    assert_eq!(listed.patch(&policy, json!({ "group_names": "any" })).await.status, 200);
    let log = realm.admin.get("/audit-log").await.json();
    assert_eq!(log[0]["actor"], json!({ "kind": "external_admin", "id": "ada@corp.example" }), "{log}");
    assert_eq!(log[0]["username"], "ada@corp.example");
    assert_eq!(caller(json!({})).get("/admin/realms").await.json(), json!([]), "known, and without rights");
    assert_eq!(caller(json!({ "realmgate": ["admin"] })).get("/admin/realms/master/users").await.status, 200);
    for wrong in [json!({ "aud": "another" }), json!({ "exp": 1 }), json!({ "preferred_username": "" })] {
        assert_eq!(caller(wrong.clone()).get("/admin/me").await.status, 401, "{wrong}");
    }
}
