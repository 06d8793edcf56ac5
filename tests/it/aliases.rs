//! The paths of another product lead to the realm, so that its IdP keeps its URL.

use http::Method;
use serde_json::{Value, json};

use crate::{
    process::unique,
    world::{Caller, Realm, USER, World},
};

/// A path of another product, this test's own.
fn old_path() -> String {
    format!("/scim/v2/acme-{}", unique())
}

async fn add(realm: &Realm, path: &str) {
    let added = realm.admin.post("/aliases", json!({ "path": path })).await;
    assert_eq!((added.status.as_u16(), added.json()), (201, json!({ "path": path })), "{added}");
}

fn below(realm: &Realm, path: &str) -> Caller {
    realm.at_root().below(path)
}

#[tokio::test]
async fn an_alias_is_the_base_url_in_everything_that_is_answered() {
    for path in [old_path(), format!("/api/scim/v2.0/{}/x", unique()), format!("/old-{}", unique())] {
        let realm = World::realm().await;
        add(&realm, &path).await;
        let idp = below(&realm, &path);
        let base = format!("http://{}{path}", World::shared().address());
        let created = idp.post("/Users", json!({ "schemas": [USER], "userName": "ada" })).await;
        let id = created.id();
        assert_eq!(created.header("location"), format!("{base}/Users/{id}"));
        assert_eq!(created.json()["meta"]["location"], format!("{base}/Users/{id}"));
        let group = json!({ "displayName": "engines", "members": [{ "value": id }] });
        let group = idp.post("/Groups", group).await;
        assert_eq!(group.json()["members"][0]["$ref"], format!("{base}/Users/{id}"));
        let ada = idp.get(&format!("/Users/{id}?attributes=groups")).await.json();
        assert_eq!(ada["groups"][0]["$ref"], format!("{base}/Groups/{}", group.id()));
        let config = idp.get("/ServiceProviderConfig").await.json();
        assert_eq!(config["meta"]["location"], format!("{base}/ServiceProviderConfig"));
        let root = idp.get("").await.json();
        assert_eq!(root["totalResults"], 2, "{root}");
        // The realm's own path says its own.
        let own = realm.get(&format!("/Users/{id}")).await.json();
        assert_eq!(
            own["meta"]["location"],
            format!("http://{}{}", World::shared().address(), realm.path(&format!("/Users/{id}")))
        );
        let listed = realm.admin.get("/aliases").await.json();
        assert_eq!(listed, json!([path]));
        assert_eq!(realm.admin.delete(&format!("/aliases?path={path}")).await.status, 204);
        assert_eq!(idp.get("/Users").await.status, 404, "{path}: it is forgotten at once");
        assert_eq!(realm.admin.delete(&format!("/aliases?path={path}")).await.status, 404);
    }
}

#[tokio::test]
async fn an_alias_asks_for_the_realms_token_like_every_other_door() {
    let (acme, globex) = World::two_realms().await;
    let path = old_path();
    add(&acme, &path).await;
    for route in ["/Users", "/ServiceProviderConfig", "/Nothing", "/Nothing/at/all", ""] {
        let own = globex.at(&acme).get(route).await;
        let alias = globex.at_root().below(&path).get(route).await;
        assert_eq!((alias.status.as_u16(), alias.bytes), (401, own.bytes), "{route}");
        assert_eq!(alias.headers.get("www-authenticate"), own.headers.get("www-authenticate"), "{route}");
    }
    assert_eq!(below(&acme, &path).get("/Nothing").await.status, 404);
    for odd in ["//Users", "/../Users", "/%2e%2e/Users", "/Users%2F1"] {
        assert!([400, 404].contains(&below(&acme, &path).get(odd).await.status.as_u16()), "{odd}");
    }
}

#[tokio::test]
async fn an_alias_is_valid_on_the_realms_own_domains_and_on_no_others() {
    let (acme, globex) = World::two_realms().await;
    let (path, other) = (old_path(), format!("/api/{}", unique()));
    let [ours, theirs] = [&acme, &globex].map(|realm| format!("id.{}.example", realm.name));
    for (realm, domain) in [(&acme, &ours), (&globex, &theirs)] {
        assert_eq!(realm.admin.post("/domains", json!({ "domain": domain })).await.status, 201);
    }
    add(&acme, &path).await;
    add(&acme, &other).await;
    for path in [&path, &other] {
        let reply = below(&acme, path).header("Host", &ours).get("/ServiceProviderConfig").await;
        assert_eq!(reply.status, 200, "{reply}");
        let location = reply.json()["meta"]["location"].as_str().unwrap_or_default().to_owned();
        assert!(location.contains(&format!("//{ours}")) && location.contains(path.as_str()), "{location}");
        let elsewhere = below(&acme, path).header("Host", &theirs).get("/Users").await;
        let nowhere = below(&acme, &format!("{path}-no")).header("Host", &theirs).get("/Users").await;
        assert_eq!((elsewhere.status, elsewhere.bytes), (nowhere.status, nowhere.bytes), "as if it did not exist");
    }
    // What a domain serves by itself stays what it is.
    assert_eq!(globex.at_root().below("/scim/v2").header("Host", &theirs).get("/Users").await.status, 200);
}

#[tokio::test]
async fn an_alias_belongs_to_one_realm_with_all_that_lies_below_it() {
    let (acme, globex) = World::two_realms().await;
    let path = old_path();
    add(&acme, &path).await;
    for taken in [path.clone(), format!("{path}/eu"), format!("{path}/")] {
        let reply = globex.admin.post("/aliases", json!({ "path": taken })).await;
        assert_eq!(reply.status, 409, "{taken}: {reply}");
    }
    add(&globex, &format!("{path}-eu")).await;
    let inner = format!("/old-{}/x/y", unique());
    add(&globex, &inner).await;
    let above = inner.trim_end_matches("/y");
    assert_eq!(acme.admin.post("/aliases", json!({ "path": above })).await.status, 409);
    for ours in ["/scim/v2", "/scim/v2/Users", "/realms/x", "/admin", "/a b", "x", "", "/a/../b"] {
        let reply = acme.admin.post("/aliases", json!({ "path": ours })).await;
        assert_eq!(reply.status, 400, "{ours}: {reply}");
    }
    assert_eq!(globex.admin.delete(&format!("/aliases?path={path}")).await.status, 404, "it is not theirs to remove");
}

#[tokio::test]
async fn a_path_which_is_no_alias_answers_as_it_always_did() {
    let realm = World::realm().await;
    for path in ["/nothing/here", "/scim/v2/nobody/Users", "/wp-login.php", "/a/b/c/d/e/f/g/h/i/j"] {
        for method in [Method::GET, Method::POST] {
            let reply = realm.at_root().send(method, path, "".into()).await.expect("an answer");
            assert_eq!(reply.status, 404, "{path}: {reply}");
        }
    }
}

#[tokio::test]
async fn metrics_show_the_template_and_not_the_path() {
    let realm = World::realm().await;
    let path = format!("/secret-{}", unique());
    add(&realm, &path).await;
    assert_eq!(below(&realm, &path).get("/Users/nobody").await.status, 404);
    let metrics = World::shared().management().get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.bytes).into_owned();
    assert!(!metrics.contains(&path));
    assert!(metrics.contains(r#"route="/realms/{realm}/scim/v2/Users/{id}""#));
}

#[tokio::test]
async fn an_alias_goes_with_its_realm() {
    let (acme, globex) = World::two_realms().await;
    let path = old_path();
    add(&acme, &path).await;
    assert_eq!(acme.admin.delete("").await.status, 204);
    assert_eq!(below(&acme, &path).get("/Users").await.status, 404);
    add(&globex, &path).await;
    assert_eq!(below(&globex, &path).get("/Users").await.json()["totalResults"], Value::from(0));
}
