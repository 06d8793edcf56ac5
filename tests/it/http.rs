//! What HTTP asks of a service provider besides the resources: methods, media types, addresses (RFC 7644 §3, RFC 9110).

use http::Method;
use serde_json::json;

use crate::world::{USER, World};

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    for (method, path, allowed) in [
        (Method::PUT, "/Users".to_owned(), vec!["GET", "POST"]),
        (Method::POST, format!("/Users/{id}"), vec!["DELETE", "GET", "PATCH", "PUT"]),
        (Method::DELETE, "/Schemas".to_owned(), vec!["GET"]),
        (Method::GET, "/Bulk".to_owned(), vec!["POST"]),
        (Method::POST, "/ServiceProviderConfig".to_owned(), vec!["GET"]),
    ] {
        let reply = realm.send(method.clone(), &path, json!({}).to_string().into()).await.expect("an answer");
        assert_eq!(reply.status, 405, "{method} {path}: {reply}");
        reply.detail();
        let mut told: Vec<&str> = reply.header("allow").split(", ").filter(|name| *name != "HEAD").collect();
        told.sort_unstable();
        assert_eq!(told, allowed, "{method} {path}");
    }
    let stranger =
        realm.anonymous().send(Method::PUT, "/Users", json!({}).to_string().into()).await.expect("an answer");
    assert_eq!(stranger.status, 401, "a stranger does not even learn that");
}

#[tokio::test]
async fn the_client_chooses_between_two_media_types() {
    let realm = World::realm().await;
    realm.user("ada").await;
    for (accept, answered) in [
        ("application/scim+json", "application/scim+json"),
        ("application/json", "application/json"),
        ("application/json;q=0.1, application/scim+json", "application/scim+json"),
        ("*/*", "application/scim+json"),
    ] {
        for path in ["/Users", "/Schemas"] {
            let reply = realm.header("Accept", accept).get(path).await;
            assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, answered), "{accept} {path}");
        }
    }
    let reply = realm.header("Accept", "text/html").get("/Users").await;
    assert_eq!(reply.status, 406, "{reply}");
    reply.detail();
    let changed =
        realm.header("Accept", "text/html").post("/Users", json!({ "schemas": [USER], "userName": "eve" })).await;
    assert_eq!(changed.status, 406);
    assert_eq!(realm.names("userName pr").await, ["ada"], "nothing happens whose answer is not wanted");
}

#[tokio::test]
async fn a_body_is_json_in_utf_8() {
    let realm = World::realm().await;
    let body = json!({ "schemas": [USER], "userName": "ada" }).to_string();
    for media_type in ["text/plain", "application/xml", "application/json; charset=utf-16"] {
        let reply = realm.header("Content-Type", media_type).send(Method::POST, "/Users", body.clone().into()).await;
        assert_eq!(reply.expect("an answer").status, 415, "{media_type}");
    }
    for (at, media_type) in ["application/json", "application/scim+json; charset=utf-8"].into_iter().enumerate() {
        let body = json!({ "schemas": [USER], "userName": format!("ada{at}") }).to_string();
        let reply = realm.header("Content-Type", media_type).send(Method::POST, "/Users", body.into()).await;
        assert_eq!(reply.expect("an answer").status, 201, "{media_type}");
    }
}

#[tokio::test]
async fn me_is_not_offered_and_says_so() {
    let realm = World::realm().await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let reply = realm.send(method.clone(), "/Me", json!({}).to_string().into()).await.expect("an answer");
        assert_eq!(reply.status, 501, "{method}: {reply}");
        reply.detail();
    }
    assert_eq!(realm.anonymous().get("/Me").await.status, 401);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    for path in [format!("/Users/{id}"), "/Users".to_owned(), "/ServiceProviderConfig".to_owned()] {
        let (head, get) =
            (realm.send(Method::HEAD, &path, "".into()).await.expect("an answer"), realm.get(&path).await);
        assert_eq!((head.status, head.bytes.len()), (get.status, 0), "{path}");
        for name in ["content-type", "content-length", "etag", "content-location"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
    assert_eq!(realm.send(Method::HEAD, "/Users/nobody", "".into()).await.expect("an answer").status, 404);
}

#[tokio::test]
async fn a_resource_says_where_it_is_by_whichever_host_it_is_asked_for() {
    let realm = World::realm().await;
    let host = format!("id.{}.example", realm.name);
    assert_eq!(realm.admin.post("/domains", json!({ "domain": host })).await.status, 201);
    let port = World::shared().address().rsplit(':').next().expect("a port").to_owned();
    let path = format!("/realms/{}/scim/v2", realm.name);
    for (caller, base) in [
        (realm.idp(), format!("http://{}{path}", World::shared().address())),
        (realm.idp().header("Host", &host), format!("http://{host}:{port}{path}")),
        (realm.idp().at_root().below("/scim/v2").header("Host", &host), format!("http://{host}:{port}{path}")),
    ] {
        let created = caller.post("/Users", json!({ "schemas": [USER], "userName": "ada" })).await;
        assert_eq!(created.status, 201, "{created}");
        let (body, location) = (created.json(), format!("{base}/Users/{}", created.id()));
        assert_eq!(body["meta"]["location"], location);
        assert_eq!((created.header("location"), created.header("content-location")), (&*location, &*location));
        let read = caller.get(&format!("/Users/{}", created.id())).await;
        assert_eq!((read.json(), read.header("content-location")), (body, &*location));
        let listed = caller.get("/Users").await.json();
        assert_eq!(listed["Resources"][0]["meta"]["location"], location);
        assert_eq!(caller.delete(&format!("/Users/{}", created.id())).await.status, 204);
    }
}
