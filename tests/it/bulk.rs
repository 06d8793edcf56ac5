//! A bulk request is the same as its operations one by one, told of one by one (RFC 7644 §3.7).

use serde_json::{Value, json};

use crate::world::{GROUP, PATCH_OP, Realm, Reply, USER, World};

const BULK_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const BULK_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

async fn bulk(realm: &Realm, operations: Value) -> Reply {
    realm.post("/Bulk", json!({ "schemas": [BULK_REQUEST], "Operations": operations })).await
}

fn user(bulk_id: &str, name: &str) -> Value {
    json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": { "schemas": [USER], "userName": name } })
}

fn group(bulk_id: &str, name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|value| json!({ "value": value })).collect();
    json!({ "method": "POST", "path": "/Groups", "bulkId": bulk_id,
            "data": { "schemas": [GROUP], "displayName": name, "members": members } })
}

/// `bulkId status scimType` of each operation of the answer.
fn told(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply}");
    let body = reply.json();
    assert_eq!(body["schemas"], json!([BULK_RESPONSE]));
    let operations = body["Operations"].as_array().expect("the answer lists operations").clone();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    operations
        .iter()
        .map(|o| format!("{} {} {}", word(&o["bulkId"]), word(&o["status"]), word(&o["response"]["scimType"])))
        .collect()
}

#[tokio::test]
async fn a_group_may_come_before_the_users_in_it() {
    let realm = World::realm().await;
    let reply =
        bulk(&realm, json!([group("g", "Crew", &["bulkId:a", "bulkId:b"]), user("a", "ada"), user("b", "bob")])).await;
    assert_eq!(told(&reply), ["g 201 -", "a 201 -", "b 201 -"]);
    let operations = reply.json()["Operations"].clone();
    let id = |at: usize| {
        operations[at]["location"].as_str().expect("a location").rsplit('/').next().expect("an id").to_owned()
    };
    let mut users = vec![id(1), id(2)];
    users.sort();
    assert_eq!(realm.members_of(&id(0)).await, users);
    let ada = realm.get(&format!("/Users/{}", id(1))).await.json();
    assert_eq!(
        (&operations[1]["location"], &operations[1]["version"]),
        (&ada["meta"]["location"], &ada["meta"]["version"])
    );
}

#[tokio::test]
async fn all_verbs_work_on_what_the_same_request_creates() {
    let realm = World::realm().await;
    let leaver = realm.user("leaver").await;
    let reply = bulk(
        &realm,
        json!([
            { "method": "PATCH", "path": "/Groups/bulkId:g", "data": { "schemas": [PATCH_OP],
              "Operations": [{ "op": "remove", "path": "members[value eq \"bulkId:b\"]" }] } },
            { "method": "PUT", "path": "/Users/bulkId:a", "data": { "schemas": [USER], "userName": "ada.l", "title": "Countess" } },
            { "method": "DELETE", "path": format!("/Users/{leaver}") },
            user("a", "ada"),
            user("b", "bob"),
            group("g", "Crew", &["bulkId:a", "bulkId:b"]),
        ]),
    )
    .await;
    assert_eq!(told(&reply), ["- 204 -", "- 200 -", "- 204 -", "a 201 -", "b 201 -", "g 201 -"]);
    assert_eq!(realm.names("title eq \"countess\"").await, ["ada.l"]);
    assert_eq!(realm.get(&format!("/Users/{leaver}")).await.status, 404);
    let group = reply.json()["Operations"][5]["location"]
        .as_str()
        .expect("a location")
        .rsplit('/')
        .next()
        .expect("an id")
        .to_owned();
    assert_eq!(realm.members_of(&group).await.len(), 1);
}

#[tokio::test]
async fn what_fails_fails_alone() {
    let realm = World::realm().await;
    realm.user("taken").await;
    let reply = bulk(
        &realm,
        json!([
            user("a", "TAKEN"),
            group("g", "Crew", &["bulkId:a"]),
            user("b", "bob"),
            { "method": "POST", "path": "/Users", "data": {} },
            { "method": "DELETE", "path": "/Users/0190b6f0-0000-7000-8000-000000000000" },
            { "method": "GET", "path": "/Users" },
        ]),
    )
    .await;
    assert_eq!(
        told(&reply),
        ["a 409 uniqueness", "g 400 invalidValue", "b 201 -", "- 400 invalidSyntax", "- 404 -", "- 400 invalidSyntax"]
    );
    let operations = reply.json()["Operations"].clone();
    assert!(operations[0]["response"]["detail"].as_str().expect("a detail").contains("TAKEN"));
    assert!(operations[0].get("location").is_none() && operations[4]["location"].is_string());
    assert_eq!(realm.names("userName pr").await, ["bob", "taken"]);
}

#[tokio::test]
async fn fail_on_errors_ends_the_work() {
    let realm = World::realm().await;
    realm.user("taken").await;
    let operations = json!([user("a", "taken"), user("b", "bob"), user("c", "taken"), user("d", "dora")]);
    let reply =
        realm.post("/Bulk", json!({ "schemas": [BULK_REQUEST], "failOnErrors": 2, "Operations": operations })).await;
    assert_eq!(told(&reply), ["a 409 uniqueness", "b 201 -", "c 409 uniqueness"]);
    assert_eq!(realm.names("userName pr").await, ["bob", "taken"]);
}

#[tokio::test]
async fn circles_are_told_and_the_rest_is_done() {
    let realm = World::realm().await;
    let reply =
        bulk(&realm, json!([group("x", "X", &["bulkId:y"]), group("y", "Y", &["bulkId:x"]), user("a", "ada")])).await;
    assert_eq!(told(&reply), ["x 409 -", "y 409 -", "a 201 -"]);
    assert_eq!(realm.get("/Groups").await.json()["totalResults"], 0);
}

#[tokio::test]
async fn a_version_binds_an_operation() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    let put = |version: &str| {
        json!({ "method": "PUT", "path": format!("/Users/{id}"), "version": version,
                "data": { "schemas": [USER], "userName": "ada", "title": version } })
    };
    let reply = bulk(&realm, json!([put("W/\"1\""), put("W/\"1\"")])).await;
    assert_eq!(told(&reply), ["- 200 -", "- 412 -"]);
    assert_eq!(reply.json()["Operations"][0]["version"], "W/\"2\"");
}

#[tokio::test]
async fn a_request_which_is_too_large_or_unclear_does_nothing() {
    let realm = World::realm().await;
    let many: Vec<Value> = (0..1001).map(|at| user(&at.to_string(), &format!("user{at}"))).collect();
    assert_eq!(bulk(&realm, many.into()).await.summary(), "413 Payload Too Large");
    assert_eq!(bulk(&realm, json!([user("a", "ada"), user("a", "bob")])).await.summary(), "400 invalidValue");
    assert_eq!(bulk(&realm, json!({})).await.summary(), "400 invalidSyntax");
    assert_eq!(realm.post("/Bulk", json!({ "Operations": [user("a", "ada")] })).await.summary(), "400 invalidSyntax");
    assert_eq!(realm.get("/Users").await.json()["totalResults"], 0);
}

#[tokio::test]
async fn a_bulk_request_may_be_larger_than_others() {
    let realm = World::realm().await;
    let operations: Vec<Value> = (0..20)
        .map(|at| {
            let mut user = user(&at.to_string(), &format!("user{at}"));
            user["data"]["nickName"] = "x".repeat(200_000).into();
            user
        })
        .collect();
    assert_eq!(told(&bulk(&realm, operations.into()).await).iter().filter(|o| o.contains("201")).count(), 20);
}

#[tokio::test]
async fn a_change_of_the_realm_in_the_middle_is_no_end_while_the_token_is_good() {
    let realm = World::realm().await;
    let operations: Vec<Value> = (0..300).map(|at| user(&at.to_string(), &format!("user{at}"))).collect();
    let meanwhile = async {
        for n in 0..5 {
            realm.policy("user_name_follows_email", n % 2 == 0).await;
        }
    };
    let (reply, ()) = tokio::join!(bulk(&realm, operations.into()), meanwhile);
    assert_eq!(told(&reply).iter().filter(|told| told.contains("201")).count(), 300);
}

#[tokio::test]
async fn what_people_say_is_no_reference() {
    let realm = World::realm().await;
    let mut ada = user("a", "ada");
    (ada["data"]["title"], ada["data"]["nickName"]) = ("see [\"bulkId:a\"]".into(), "bulkId:z".into());
    assert_eq!(told(&bulk(&realm, json!([ada])).await), ["a 201 -"]);
    assert_eq!(realm.names("title eq \"see [\\\"bulkId:a\\\"]\" and nickName eq \"bulkId:z\"").await, ["ada"]);
}
