//! Short-lived tokens open SCIM next to static ones: those of the realm's own token endpoint, and those of issuers which
//! the realm trusts. None opens anything else.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    issuer::{APP, Issuer, Key},
    world::{Realm, Reply, USER, World, encoded},
};

fn token_path(realm: &str) -> String {
    format!("/realms/{realm}/protocol/openid-connect/token")
}

/// Creates a client and gives its path below the realm in the admin API.
async fn client(realm: &Realm, client: Value) -> String {
    let created = realm.admin.post("/clients", client).await;
    assert_eq!((created.status.as_u16(), created.bytes.len()), (201, 0), "{created}");
    let id = created.header("location").rsplit('/').next().unwrap_or_default().to_owned();
    format!("/clients/{id}")
}

async fn new_secret(realm: &Realm, client: &str) -> String {
    let reply = realm.admin.post(&format!("{client}/client-secret"), json!({})).await;
    assert_eq!((reply.status.as_u16(), reply.json()["type"].clone()), (200, "secret".into()), "{reply}");
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.text_at("value")
}

/// Asks for a token with id and secret in the body, and with empty fields, as clients of Keycloak do.
async fn ask(realm: &str, id: &str, secret: &str) -> Reply {
    let form = format!(
        "grant_type=client_credentials&code=&redirect_uri=&scope=scim&client_id={}&client_secret={}",
        encoded(id),
        encoded(secret)
    );
    World::shared().stranger().form(&token_path(realm), form).await
}

/// Asks with id and secret in the header, each encoded as a form first (RFC 6749 §2.3.1).
async fn ask_basic(realm: &str, id: &str, secret: &str) -> Reply {
    let credentials = BASE64_STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    let caller = World::shared().stranger().header("authorization", &format!("Basic {credentials}"));
    caller.form(&token_path(realm), "grant_type=client_credentials".into()).await
}

async fn ask_with_assertion(realm: &str, assertion: &str) -> Reply {
    let form = format!(
        "grant_type=client_credentials&client_assertion_type={}&client_assertion={assertion}",
        encoded("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    );
    World::shared().stranger().form(&token_path(realm), form).await
}

/// A realm with a client `entra` which has a secret.
async fn realm_with_client() -> (Realm, String, String) {
    let realm = World::realm().await;
    let path = client(&realm, json!({ "clientId": "entra", "serviceAccountsEnabled": true })).await;
    let secret = new_secret(&realm, &path).await;
    (realm, path, secret)
}

async fn opens(realm: &Realm, token: &str) -> u16 {
    realm.bearer(token).get("/Users?count=0").await.status.as_u16()
}

fn told(reply: &Reply) -> String {
    let body = reply.json();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", reply.status.as_u16(), text("error"), text("error_description"))
}

#[tokio::test]
async fn a_client_gets_a_token_which_opens_the_scim_of_its_realm_and_nothing_else() {
    let (realm, _, secret) = realm_with_client().await;
    let other = World::realm().await;
    let reply = ask(&realm.name, "entra", &secret).await;
    assert_eq!(reply.status, 200, "{reply}");
    assert_eq!(reply.header("cache-control"), "no-store");
    let answer = reply.json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(1800)));
    let token = reply.text_at("access_token");
    assert_eq!(opens(&realm, &token).await, 200);
    assert_eq!(realm.bearer(&token).get("/ServiceProviderConfig").await.status, 200);
    assert_eq!(opens(&other, &token).await, 401, "another realm");
    assert_eq!(realm.admin.bearer(&token).get("").await.status, 401, "the admin API");
    let operator = World::shared().stranger().sign_in(crate::world::ADMIN.0, crate::world::ADMIN.1).await;
    assert_eq!(opens(&realm, &operator.text_at("access_token")).await, 401, "an operator's token");
    assert_eq!(opens(&realm, &realm.token).await, 200, "the static token");

    let created = realm.bearer(&token).post("/Users", json!({ "schemas": [USER], "userName": "ada" })).await;
    assert_eq!(created.status, 201, "{created}");
    let row = World::shared()
        .superuser()
        .await
        .query_one(
            "SELECT o.actor ->> 'kind', (o.actor ->> 'id')::uuid = c.id FROM changes o JOIN realms r ON r.id = o.realm_id
               JOIN oauth_clients c ON c.realm_id = r.id WHERE r.name = $1 AND o.event = 'dsync.user.created'",
            &[&realm.name],
        )
        .await
        .expect("there is one event");
    assert_eq!((row.get::<_, String>(0).as_str(), row.get(1)), ("oauth_client", true));
}

#[tokio::test]
async fn a_secret_may_come_in_the_header_and_may_have_been_chosen() {
    let (realm, path, secret) = realm_with_client().await;
    assert_eq!(ask_basic(&realm.name, "entra", &secret).await.status, 200);
    let chosen = "s3c+/= ü&";
    let changed = realm.admin.put(&path, json!({ "clientId": "a:b", "secret": chosen })).await;
    assert_eq!(changed.status, 204, "{changed}");
    assert_eq!(ask_basic(&realm.name, "a:b", chosen).await.status, 200);
    assert_eq!(ask(&realm.name, "a:b", chosen).await.status, 200);
    assert_eq!(ask(&realm.name, "a:b", &secret).await.status, 401, "the former secret");
    let stored = World::shared()
        .superuser()
        .await
        .query_one(
            "SELECT c::text FROM oauth_clients c JOIN realms r ON r.id = c.realm_id WHERE r.name = $1",
            &[&realm.name],
        )
        .await
        .expect("there is one client");
    let stored: String = stored.get(0);
    assert!(stored.contains("$argon2id$") && !stored.contains("s3c"), "{stored}");
}

#[tokio::test]
async fn whoever_is_no_client_reads_the_same_answer() {
    let (realm, path, secret) = realm_with_client().await;
    client(&realm, json!({ "clientId": "bare" })).await;
    let refused = async |realm: &str, id: &str, secret: &str| told(&ask(realm, id, secret).await);
    let answer = refused(&realm.name, "entra", "wrong").await;
    assert_snapshot!(answer, @"401 invalid_client: Invalid client or Invalid client credentials");
    for (name, id, secret) in [
        (realm.name.as_str(), "nobody", secret.as_str()),
        (&realm.name, "bare", ""),
        (&realm.name, "bare", "x"),
        (&realm.name, "a\0b", &secret),
        (&realm.name, "", ""),
        ("no-such-realm", "entra", &secret),
        (&World::realm().await.name, "entra", &secret),
    ] {
        assert_eq!(refused(name, id, secret).await, answer, "{name} {id}");
    }
    assert_eq!(realm.admin.put(&path, json!({ "enabled": false })).await.status, 204);
    assert_eq!(refused(&realm.name, "entra", &secret).await, answer, "a disabled client");
    let stranger = World::shared().stranger();
    for credentials in ["Basic !", "Bearer abc", "Basic YWJj"] {
        let caller = stranger.header("authorization", credentials);
        let reply = caller.form(&token_path(&realm.name), "grant_type=client_credentials".into()).await;
        assert_eq!(told(&reply), answer, "{credentials}");
        assert!(reply.header("www-authenticate").starts_with("Basic "));
    }
    for (form, word) in [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=password&username=a&password=b", "unsupported_grant_type"),
        ("grant_type=client_credentials&client_assertion=a.b.c", "invalid_request"),
    ] {
        let reply = stranger.form(&token_path(&realm.name), form.into()).await;
        assert!(told(&reply).starts_with(&format!("400 {word}")), "{form}: {reply}");
    }
}

#[tokio::test]
async fn what_is_taken_from_a_client_or_its_realm_ends_its_tokens_at_once() {
    let (realm, path, secret) = realm_with_client().await;
    let token = ask(&realm.name, "entra", &secret).await.text_at("access_token");
    let set = async |enabled: bool| {
        assert_eq!(realm.admin.put(&path, json!({ "enabled": enabled })).await.status, 204);
    };
    assert_eq!(opens(&realm, &token).await, 200);
    set(false).await;
    assert_eq!(opens(&realm, &token).await, 401, "disabled");
    set(true).await;
    assert_eq!(opens(&realm, &token).await, 200, "enabled again");
    assert_eq!(realm.admin.post("/scim/disable", json!({})).await.status, 204);
    assert_eq!(opens(&realm, &token).await, 401, "SCIM is off");
    assert_snapshot!(told(&ask(&realm.name, "entra", &secret).await), @"400 unauthorized_client: SCIM is switched off for this realm");
    assert_eq!(realm.admin.post("/scim/enable", json!({})).await.status, 200);
    assert_eq!(opens(&realm, &token).await, 200);
    assert_eq!(realm.admin.delete(&path).await.status, 204);
    assert_eq!(opens(&realm, &token).await, 401, "deleted");
}

#[tokio::test]
async fn a_changed_token_is_no_token() {
    let (realm, _, secret) = realm_with_client().await;
    let token = ask(&realm.name, "entra", &secret).await.text_at("access_token");
    let parts: Vec<&str> = token.split('.').collect();
    let none = BASE64_STANDARD.encode(r#"{"alg":"none","typ":"JWT"}"#).replace('=', "");
    let unsigned = format!("{none}.{}.", parts[1]);
    let twice = format!("{token}.{token}");
    let cut = format!("{}.{}.{}", parts[0], parts[1], &parts[2][..80]);
    let own = format!("{}/realms/{}", World::shared().public_url(), realm.name);
    let claims = json!({
        "iss": own, "aud": format!("{own}/scim/v2"), "exp": Timestamp::now().as_second() + 300, "sub": "entra",
    });
    let forged = Key::generate("019a0000-0000-7000-8000-000000000000").sign(&claims);
    for wrong in [unsigned, twice, cut, forged, "a.b.c".into(), "..".into()] {
        assert_eq!(opens(&realm, &wrong).await, 401, "{wrong}");
    }
    assert_eq!(opens(&realm, &token).await, 200);
}

#[tokio::test]
async fn a_client_may_sign_for_itself_once() {
    let (realm, key) = (World::realm().await, Key::generate("own"));
    let attributes = json!({ "jwks.string": key.jwks() });
    let settings = json!({ "clientId": "okta", "clientAuthenticatorType": "client-jwt", "attributes": attributes });
    let path = client(&realm, settings).await;
    let issuer = format!("{}/realms/{}", World::shared().public_url(), realm.name);
    let endpoint = format!("{issuer}/protocol/openid-connect/token");
    let now = Timestamp::now().as_second();
    let signed = |audience: &str, more: Value| {
        let mut claims =
            json!({ "iss": "okta", "sub": "okta", "aud": audience, "exp": now + 300, "jti": encoded(audience) });
        claims.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        key.sign(&claims)
    };
    for audience in [&endpoint, &issuer] {
        let assertion = signed(audience, json!({}));
        let reply = ask_with_assertion(&realm.name, &assertion).await;
        assert_eq!(reply.status, 200, "{reply}");
        assert_eq!(opens(&realm, &reply.text_at("access_token")).await, 200);
        assert_eq!(ask_with_assertion(&realm.name, &assertion).await.status, 401, "it was used before");
    }
    for (wrong, why) in [
        (signed("https://evil.example", json!({})), "audience"),
        (signed(&endpoint, json!({ "sub": "entra" })), "subject"),
        (signed(&endpoint, json!({ "iss": "entra" })), "issuer"),
        (signed(&endpoint, json!({ "exp": now - 61 })), "expired"),
        (signed(&endpoint, json!({ "exp": now + 3700 })), "lives too long"),
        (signed(&endpoint, json!({ "exp": (now + 300).to_string() })), "no number"),
        (Key::generate("own").sign(&json!({ "iss": "okta", "sub": "okta", "aud": endpoint, "exp": now + 300 })), "key"),
        ("rubbish".into(), "form"),
    ] {
        let reply = ask_with_assertion(&realm.name, &wrong).await;
        assert_eq!(told(&reply), "401 invalid_client: Invalid client or Invalid client credentials", "{why}");
    }
    let secret = new_secret(&realm, &path).await;
    assert_eq!(ask(&realm.name, "okta", &secret).await.status, 401, "it signs, and has no use for a secret");
}

#[tokio::test]
async fn the_keys_of_a_client_may_be_where_it_says() {
    let (realm, server) = (World::realm().await, Issuer::start().await);
    let attributes = json!({ "jwks.url": format!("{}/keys", server.url), "use.jwks.url": "true" });
    let settings = json!({ "clientId": "okta", "clientAuthenticatorType": "client-jwt", "attributes": attributes });
    client(&realm, settings).await;
    let audience = format!("{}/realms/{}", World::shared().public_url(), realm.name);
    let claims = json!({ "iss": "okta", "sub": "okta", "aud": audience });
    server.set_up(false);
    assert_eq!(ask_with_assertion(&realm.name, &server.token(claims.clone())).await.status, 503);
    server.set_up(true);
    let begun = std::time::Instant::now();
    while ask_with_assertion(&realm.name, &server.token(claims.clone())).await.status == 503 {
        assert!(begun.elapsed().as_secs() < 20, "it is tried again soon");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    server.rotate("second");
    let reply = ask_with_assertion(&realm.name, &server.token(claims)).await;
    assert_eq!(reply.status, 200, "{reply}");
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_opens_scim_while_he_is_trusted() {
    let (realm, other, issuer) = (World::realm().await, World::realm().await, Issuer::start().await);
    let trust = json!({ "issuer": issuer.url, "audiences": [APP], "claims": { "tid": "acme", "roles": "scim" } });
    let token = issuer.token(json!({ "sub": "entra", "tid": "acme", "roles": ["x", "scim"] }));
    assert_eq!(opens(&realm, &token).await, 401, "not trusted yet");
    assert_eq!(issuer.asked(), 0);
    let set = async |issuers: Value| {
        let reply = realm.admin.put("/scim/issuers", json!({ "issuers": issuers })).await;
        assert_eq!(reply.status, 204, "{reply}");
    };
    set(json!([{ "issuer": "https://sts.example", "audiences": [APP] }, trust])).await;
    assert_eq!(opens(&realm, &token).await, 200);
    assert_eq!(realm.admin.get("/scim/issuers").await.json()["issuers"][1], trust);
    assert_eq!(opens(&other, &token).await, 401, "another realm");
    assert_eq!(realm.admin.bearer(&token).get("").await.status, 401, "the admin API");
    for wrong in [
        json!({ "tid": "globex", "roles": "scim" }),
        json!({ "tid": "acme" }),
        json!({ "tid": "acme", "roles": "scim", "aud": "other" }),
        json!({ "tid": "acme", "roles": "scim", "exp": Timestamp::now().as_second() - 61 }),
        json!({ "tid": "acme", "roles": "scim", "exp": "never" }),
    ] {
        assert_eq!(opens(&realm, &issuer.token(wrong.clone())).await, 401, "{wrong}");
    }
    set(json!([])).await;
    assert_eq!(opens(&realm, &token).await, 401, "trusted no longer");
    let wrong =
        realm.admin.put("/scim/issuers", json!({ "issuers": [{ "issuer": "acme", "audiences": [APP] }] })).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text_at("error").starts_with("issuer 1: issuer: it is no URL"), "{wrong}");
}

#[tokio::test]
async fn discovery_tells_of_oauth_where_there_is_any() {
    let realm = World::realm().await;
    let schemes = async || {
        let config = realm.get("/ServiceProviderConfig").await.json();
        let schemes = config["authenticationSchemes"].as_array().expect("it is a list").clone();
        schemes.iter().map(|scheme| scheme["type"].as_str().expect("it has a type").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(schemes().await, ["oauthbearertoken"]);
    let well_known = format!("/realms/{}/.well-known/openid-configuration", realm.name);
    let metadata = World::shared().stranger().get(&well_known).await.json();
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], methods);
    let path = client(&realm, json!({ "clientId": "entra" })).await;
    assert_eq!(schemes().await, ["oauthbearertoken", "oauth2"]);
    assert_eq!(realm.admin.delete(&path).await.status, 204);
    assert_eq!(schemes().await, ["oauthbearertoken"]);
}

#[tokio::test]
async fn clients_are_listed_changed_and_deleted_as_keycloak_does_it() {
    let realm = World::realm().await;
    let path =
        client(&realm, json!({ "clientId": "entra", "name": "Entra", "secret": "chosen", "protocol": "x" })).await;
    client(&realm, json!({ "clientId": "okta", "enabled": false })).await;
    let names = async |query: &str| {
        let list = realm.admin.get(&format!("/clients{query}")).await.json();
        let names = list.as_array().expect("it is a list").iter().map(|client| client["clientId"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["entra", "okta"]);
    assert_eq!(names("?clientId=okta").await, ["okta"]);
    assert_eq!(names("?first=1&max=1").await, ["okta"]);
    let shown = realm.admin.get(&path).await.json();
    for (key, value) in [
        ("clientId", json!("entra")),
        ("name", json!("Entra")),
        ("enabled", json!(true)),
        ("clientAuthenticatorType", json!("client-secret")),
        ("serviceAccountsEnabled", json!(true)),
    ] {
        assert_eq!(shown[key], value, "{shown}");
    }
    assert!(!shown.to_string().contains("chosen"), "{shown}");
    let secret = realm.admin.get(&format!("{path}/client-secret")).await;
    assert_eq!(secret.status, 404, "it is kept as a hash");
    assert_eq!(realm.admin.put(&path, json!({ "name": "" })).await.status, 204);
    assert_eq!(realm.admin.get(&path).await.json()["name"], Value::Null);
    for (wrong, status) in [
        (json!({ "clientId": "okta" }), 409),
        (json!({}), 400),
        (json!({ "clientId": "a b" }), 400),
        (json!({ "clientId": "c", "publicClient": true }), 400),
        (json!({ "clientId": "c", "clientAuthenticatorType": "client-jwt" }), 400),
        (json!({ "clientId": "c", "clientAuthenticatorType": "client-x509" }), 400),
        (json!({ "clientId": "c", "attributes": { "jwks.string": "{}" } }), 400),
    ] {
        let reply = realm.admin.post("/clients", wrong.clone()).await;
        assert_eq!(reply.status, status, "{wrong}: {reply}");
    }
    assert_eq!(realm.admin.delete(&path).await.status, 204);
    for path in [path.as_str(), "/clients/entra", "/clients/00000000-0000-0000-0000-000000000000"] {
        assert_eq!(realm.admin.get(path).await.status, 404, "{path}");
    }
    let log = realm.admin.get("/audit-log?action=client").await;
    assert!(!String::from_utf8_lossy(&log.bytes).contains("chosen"), "{log}");
    assert_eq!(log.json().as_array().map(Vec::len), Some(4), "{log}");
}
