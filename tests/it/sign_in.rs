//! Whoever signs in at the realm's identity provider is one of the realm's users, active from the first time on, and
//! nobody whom the IdP has disabled (M054, M056-M060).

use std::time::Duration;

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    issuer::{APP, Issuer, Key},
    world::{Realm, Reply, USER, World},
};

/// A realm whose users sign in at an issuer of its own.
async fn realm_with_issuer() -> (Realm, Issuer) {
    let (realm, issuer) = (World::realm().await, Issuer::start().await);
    set(&realm, json!({ "provider": { "issuer": issuer.url, "audiences": [APP] } })).await;
    (realm, issuer)
}

async fn set(realm: &Realm, settings: Value) {
    let reply = realm.admin.put("/sign-in", settings).await;
    assert_eq!(reply.status, 204, "{reply}");
}

async fn sign_in(realm: &Realm, id_token: &str) -> Reply {
    let path = format!("/realms/{}/sign-ins", realm.name);
    World::shared().stranger().post(&path, json!({ "id_token": id_token })).await
}

/// Status, error and its description.
fn told(reply: &Reply) -> String {
    let body = reply.json();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", reply.status.as_u16(), text("error"), text("error_description"))
}

async fn user(realm: &Realm, name: &str, external_id: &str) -> String {
    let user = json!({
        "schemas": [USER], "userName": name, "externalId": external_id, "displayName": "Ada",
        "emails": [{ "value": name, "primary": true }],
    });
    realm.create_user(user).await.id()
}

#[tokio::test]
async fn the_first_sign_in_turns_a_shadow_user_active_once() {
    let (realm, issuer) = realm_with_issuer().await;
    let id = user(&realm, "ada@acme.example", "sub-1").await;
    let group = realm.group("Engineers", &[&id]).await;
    let first = sign_in(&realm, &issuer.token(json!({ "sub": "sub-1", "nonce": "n-1" }))).await;
    assert_eq!(first.status, 200, "{first}");
    assert_eq!(
        first.json(),
        json!({
            "user": {
                "id": id, "userName": "ada@acme.example", "externalId": "sub-1", "state": "active",
                "displayName": "Ada", "emails": [{ "value": "ada@acme.example", "primary": true }],
            },
            "roles": ["scim-managed"],
            "groups": [{ "id": group, "displayName": "Engineers" }],
            "first": true,
            "nonce": "n-1",
        })
    );
    assert_eq!(first.header("cache-control"), "no-store");
    let again = sign_in(&realm, &issuer.token(json!({ "sub": "sub-1" }))).await;
    assert_eq!((again.json()["first"].clone(), again.json()["user"]["state"].clone()), (false.into(), "active".into()));

    let events = World::shared()
        .superuser()
        .await
        .query(
            "SELECT event, previous::text, actor::text FROM changes o JOIN realms r ON r.id = o.realm_id
              WHERE r.name = $1 AND o.resource_id::text = $2 ORDER BY o.id OFFSET 1",
            &[&realm.name, &id],
        )
        .await
        .expect("the outbox is readable");
    let events: Vec<(String, Option<String>, Value)> = events
        .iter()
        .map(|row| (row.get(0), row.get(1), serde_json::from_str(row.get(2)).expect("the actor is JSON")))
        .collect();
    let actor = json!({ "kind": "issuer", "id": issuer.url });
    assert_eq!(events, [("dsync.user.updated".into(), Some(r#"{"state": "shadow"}"#.into()), actor)]);
}

#[tokio::test]
async fn roles_of_groups_around_groups_count_and_local_users_sign_in_too() {
    let (realm, issuer) = realm_with_issuer().await;
    let id = user(&realm, "ada", "sub-1").await;
    let inner = realm.group("Engineers", &[&id]).await;
    let outer = realm.group("Everybody", &[&inner]).await;
    assert_eq!(realm.admin.post("/roles", json!({ "name": "reader" })).await.status, 201);
    let role = realm.admin.get("/roles/reader").await.json();
    let mapped = realm.admin.post(&format!("/groups/{outer}/role-mappings/realm"), json!([role])).await;
    assert_eq!(mapped.status, 204, "{mapped}");
    let token = issuer.token(json!({ "sub": "sub-1" }));
    assert_eq!(sign_in(&realm, &token).await.json()["roles"], json!(["reader", "scim-managed"]));

    let local = realm.admin.post("/users", json!({ "username": "bob@acme.example", "enabled": true })).await;
    assert_eq!(local.status, 201, "{local}");
    let token = issuer.token(json!({ "sub": "x", "email": "bob@acme.example", "email_verified": true }));
    let reply = sign_in(&realm, &token).await;
    assert_eq!((reply.status.as_u16(), reply.json()["roles"].clone()), (200, json!([])), "{reply}");
}

#[tokio::test]
async fn first_sign_ins_at_the_same_time_are_one_change() {
    let (realm, issuer) = realm_with_issuer().await;
    user(&realm, "ada", "sub-1").await;
    let token = issuer.token(json!({ "sub": "sub-1" }));
    let replies = futures_util::future::join_all((0..8).map(|_| sign_in(&realm, &token))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{}", replies[0]);
    assert_eq!(replies.iter().filter(|reply| reply.json()["first"] == true).count(), 1);
}

#[tokio::test]
async fn a_disabled_user_does_not_come_in_and_returns_to_what_he_was() {
    let (realm, issuer) = realm_with_issuer().await;
    let id = user(&realm, "ada", "sub-1").await;
    let token = issuer.token(json!({ "sub": "sub-1" }));
    assert_eq!(sign_in(&realm, &token).await.status, 200);
    let set_active = async |active: bool| {
        let operations = json!([{ "op": "replace", "path": "active", "value": active }]);
        assert_eq!(realm.operations(&format!("/Users/{id}"), operations).await.status, 200);
    };
    set_active(false).await;
    assert_snapshot!(told(&sign_in(&realm, &token).await), @"403 user_disabled: the identity provider has disabled this user");
    set_active(true).await;
    let back = sign_in(&realm, &token).await;
    assert_eq!((back.status.as_u16(), back.json()["first"].clone()), (200, false.into()));
}

#[tokio::test]
async fn a_user_is_found_by_subject_or_by_an_address_that_is_verified() {
    let (realm, issuer) = realm_with_issuer().await;
    let id = user(&realm, "Ada@Acme.example", "another").await;
    let with = async |claims: Value| sign_in(&realm, &issuer.token(claims)).await;
    let unknown = with(json!({ "sub": "sub-1" })).await;
    assert_snapshot!(told(&unknown), @"403 user_unknown: no user of this realm has what the id token says: is the user assigned, and provisioned over SCIM?");
    for email_verified in [json!(false), json!(null), json!("no"), json!(1)] {
        let claims = json!({ "sub": "sub-1", "email": "ada@acme.example", "email_verified": email_verified });
        assert_eq!(with(claims).await.status, 403);
    }
    let verified = json!({ "sub": "sub-1", "email": "ADA@acme.example", "email_verified": true });
    assert_eq!(with(verified).await.json()["user"]["id"], id);
    for odd in [json!({ "sub": "" }), json!({ "sub": "a\0b" }), json!({ "sub": 7 }), json!({ "sub": null })] {
        assert_eq!(with(odd.clone()).await.status, 403, "{odd}");
    }

    set(
        &realm,
        json!({
            "provider": { "issuer": issuer.url, "audiences": [APP] },
            "match": [{ "claim": "oid", "attribute": "externalId" }],
        }),
    )
    .await;
    assert_eq!(with(json!({ "sub": "sub-1", "oid": "another" })).await.json()["user"]["id"], id);
    user(&realm, "bob", "another").await;
    assert!(told(&with(json!({ "oid": "another" })).await).starts_with("403 user_ambiguous"));
}

#[tokio::test]
async fn what_is_no_good_token_is_refused_with_its_reason() {
    let (realm, issuer) = realm_with_issuer().await;
    user(&realm, "ada", "sub-1").await;
    let now = Timestamp::now().as_second();
    let refused = async |token: &str| told(&sign_in(&realm, token).await);
    let with = |more: Value| issuer.token(more);
    assert_snapshot!(refused("rubbish").await, @"401 invalid_token: the id token is not accepted: it is not a signed JWT");
    assert_snapshot!(refused(&with(json!({ "exp": now - 61 }))).await, @"401 invalid_token: the id token is not accepted: it has expired");
    assert_snapshot!(refused(&with(json!({ "iat": now + 120 }))).await, @"401 invalid_token: the id token is not accepted: it is not valid yet");
    assert_snapshot!(refused(&with(json!({ "aud": "other" }))).await, @"401 invalid_token: the id token is not accepted: it is for another audience");
    assert_snapshot!(refused(&with(json!({ "iss": "https://evil.example" }))).await, @"401 invalid_token: the id token is not accepted: it is of another issuer");
    assert_snapshot!(refused(&with(json!({ "exp": null }))).await, @"401 invalid_token: the id token is not accepted: its claims are not those that are asked for");
    let logout = json!({ "sub": "sub-1", "events": { "http://schemas.openid.net/event/backchannel-logout": {} } });
    assert!(refused(&with(logout)).await.starts_with("401 "));
    let claims = json!({ "iss": issuer.url, "aud": APP, "sub": "sub-1", "exp": now + 300 });
    assert_snapshot!(refused(&Key::generate("first").sign(&claims)).await, @"401 invalid_token: the id token is not accepted: its signature is wrong");
    assert_snapshot!(refused(&Key::generate("other").sign(&claims)).await, @"401 invalid_token: the id token is not accepted: its issuer publishes no key of that name for that algorithm");
    let path = format!("/realms/{}/sign-ins", realm.name);
    let nothing = World::shared().stranger().post(&path, json!({})).await;
    assert!(told(&nothing).starts_with("400 invalid_request"), "{nothing}");
}

#[tokio::test]
async fn realms_without_a_sign_in_cannot_be_told_from_those_of_others() {
    let (realm, issuer) = realm_with_issuer().await;
    let (other, elsewhere) = realm_with_issuer().await;
    let none = World::realm().await;
    for realm in [&realm, &other] {
        user(realm, "ada", "sub-1").await;
    }
    let token = issuer.token(json!({ "sub": "sub-1" }));
    assert_eq!(sign_in(&realm, &token).await.status, 200);
    assert_eq!(sign_in(&other, &elsewhere.token(json!({ "sub": "sub-1" }))).await.status, 200);
    let answer = told(&sign_in(&other, &token).await);
    assert_eq!(told(&sign_in(&none, &token).await), answer);
    let unknown = World::shared().stranger().post("/realms/no-such-realm/sign-ins", json!({ "id_token": token })).await;
    assert_eq!(told(&unknown), answer);
    let off = realm.admin.put("", json!({ "realm": realm.name, "enabled": false })).await;
    assert_eq!(off.status, 204, "{off}");
    assert_eq!(told(&sign_in(&realm, &token).await), answer, "a disabled realm");
}

#[tokio::test]
async fn a_new_key_is_found_and_known_keys_outlive_their_server() {
    let (realm, issuer) = realm_with_issuer().await;
    user(&realm, "ada", "sub-1").await;
    let token = || issuer.token(json!({ "sub": "sub-1" }));
    let old = token();
    assert_eq!(sign_in(&realm, &old).await.status, 200);
    issuer.rotate("second");
    assert_eq!(sign_in(&realm, &token()).await.status, 200, "with the new key, at once");
    assert_eq!(sign_in(&realm, &old).await.status, 401, "the old key has gone");
    let asked = issuer.asked();
    issuer.set_up(false);
    assert_eq!(sign_in(&realm, &token()).await.status, 200, "the server is away");
    for n in 0..20 {
        let claims =
            json!({ "iss": issuer.url, "aud": APP, "sub": "sub-1", "exp": Timestamp::now().as_second() + 300 });
        assert_eq!(sign_in(&realm, &Key::generate(&format!("invented-{n}")).sign(&claims)).await.status, 401);
    }
    assert!(issuer.asked() <= asked + 2, "invented keys are not looked for again and again");
}

#[tokio::test]
async fn without_any_keys_there_is_no_verdict() {
    let (realm, issuer) = realm_with_issuer().await;
    issuer.set_up(false);
    let reply = sign_in(&realm, &issuer.token(json!({ "sub": "sub-1" }))).await;
    assert_snapshot!(told(&reply), @"503 temporarily_unavailable: the public keys of the realm's identity provider cannot be fetched at the moment; try again shortly");
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn keys_are_not_fetched_from_the_inside() {
    let (realm, issuer) = realm_with_issuer().await;
    for jwks_uri in ["http://169.254.169.254/keys", "https://10.0.0.1/keys", "https://[::1]/keys", "http://0xa000001/"]
    {
        set(&realm, json!({ "provider": { "issuer": issuer.url, "audiences": [APP], "jwks_uri": jwks_uri } })).await;
        let reply = sign_in(&realm, &issuer.token(json!({ "sub": "sub-1" }))).await;
        assert_eq!(reply.status, 503, "{jwks_uri}: {reply}");
        assert!(reply.took < Duration::from_secs(2), "{jwks_uri}: nothing was waited for");
    }
}

#[tokio::test]
async fn keys_may_be_written_down() {
    let (realm, issuer) = realm_with_issuer().await;
    user(&realm, "ada", "sub-1").await;
    set(&realm, json!({ "provider": { "issuer": issuer.url, "audiences": [APP], "jwks": issuer.keys() } })).await;
    assert_eq!(sign_in(&realm, &issuer.token(json!({ "sub": "sub-1" }))).await.status, 200);
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn settings_are_read_changed_and_taken_away() {
    let realm = World::realm().await;
    assert_eq!(realm.admin.get("/sign-in").await.status, 404);
    let provider = json!({ "issuer": "https://login.example", "audiences": [APP] });
    set(&realm, json!({ "provider": provider })).await;
    let usual = json!([{ "claim": "sub", "attribute": "externalId" }, { "claim": "email", "attribute": "userName" }]);
    assert_eq!(realm.admin.get("/sign-in").await.json(), json!({ "provider": provider, "match": usual }));
    for (wrong, key) in [
        (json!({ "provider": { "issuer": "https://login.example", "audiences": [] } }), "provider.audiences"),
        (json!({ "provider": { "issuer": "acme", "audiences": [APP] } }), "provider.issuer"),
        (json!({ "provider": provider, "match": [{ "claim": "sub", "attribute": "id" }] }), "id"),
        (json!({}), "provider"),
    ] {
        let reply = realm.admin.put("/sign-in", wrong.clone()).await;
        assert_eq!(reply.status, 400, "{wrong}: {reply}");
        assert!(reply.text_at("error").contains(key), "{reply}");
    }
    assert_eq!(realm.admin.delete("/sign-in").await.status, 204);
    assert_eq!(realm.admin.get("/sign-in").await.status, 404);
    let log = realm.admin.get("/audit-log?action=sign-in").await.json();
    assert_eq!(log.as_array().map(Vec::len), Some(2), "{log}");
}
