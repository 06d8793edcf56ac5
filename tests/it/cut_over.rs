//! A customer comes over from another product, and its IdP is told nothing: the old token on the old path finds the same
//! ids.

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::{
    foreign_tokens::hex_of,
    moving::{imported, lines},
    process::unique,
    replay,
    world::{GROUP, Realm, USER, World},
};

/// What the IdP keeps.
struct Old {
    realm: Realm,
    path: String,
    token: String,
}

/// A realm which has come over with `rest`, and which has no token of ours.
async fn come_over(rest: Vec<Value>) -> Old {
    let realm = World::realm().await;
    assert_eq!(realm.admin.post("/scim/disable", json!({})).await.status, 204);
    let (path, token) = (format!("/api/scim/v2.0/tenant-{}", unique()), format!("old_{}", realm.name));
    let settings = [
        json!({ "type": "token", "format": "sha256", "hash": hex_of(&digest::SHA256, &token), "label": "Okta" }),
        json!({ "type": "alias", "path": path }),
    ];
    let all: Vec<Value> = settings.into_iter().chain(rest).collect();
    let report = imported(&realm, "", &lines(&all)).await;
    assert_eq!(
        report["counts"],
        json!({ "created": all.len(), "updated": 0, "unchanged": 0, "refused": 0 }),
        "{report}"
    );
    Old { realm, path, token }
}

#[tokio::test]
async fn recorded_traffic_passes_with_the_old_token_on_the_old_path() {
    let old = come_over(Vec::new()).await;
    let base_url = format!("http://{}{}", World::shared().address(), old.path);
    replay::every_scenario_passes(base_url, old.token).await;
}

#[tokio::test]
async fn the_idp_finds_its_users_and_groups_under_the_ids_that_it_remembers() {
    // Version 4, as most products have them, and an external id as Okta sends it.
    let (ada, bob, group) = (
        "3f2b8c9e-5d1a-4c7e-9b0f-1a2b3c4d5e6f",
        "9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d",
        "0c1d2e3f-4a5b-4c6d-8e7f-9a0b1c2d3e4f",
    );
    let old = come_over(vec![
        json!({ "type": "user", "id": ada, "created": "2021-03-04T05:06:07.089Z", "state": "active",
                "resource": { "schemas": [USER], "userName": "ada@example.com", "externalId": "00u1", "active": true } }),
        json!({ "type": "user", "id": bob, "resource": { "schemas": [USER], "userName": "bob@example.com", "active": false } }),
        json!({ "type": "group", "id": group, "members": [ada],
                "resource": { "schemas": [GROUP], "displayName": "Engineering" } }),
    ])
    .await;
    let idp = old.realm.at_root().below(&old.path).bearer(&old.token);
    // Okta looks a user up by name, then goes on by the id which it has.
    let found = idp.get("/Users?filter=userName%20eq%20%22ada%40example.com%22&startIndex=1&count=100").await.json();
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(ada)));
    assert_eq!(found["Resources"][0]["meta"]["created"], "2021-03-04T05:06:07.089Z");
    // Entra disables by PATCH of the id, and adds members to the group by its id.
    let disable = json!([{ "op": "Replace", "path": "active", "value": "False" }]);
    assert_eq!(idp.operations(&format!("/Users/{ada}"), disable).await.json()["active"], false);
    let added = json!([{ "op": "Add", "path": "members", "value": [{ "value": bob }] }]);
    assert_eq!(idp.operations(&format!("/Groups/{group}"), added).await.status, 204);
    let members = idp.get(&format!("/Groups/{group}")).await.json();
    let mut ids: Vec<_> = members["members"].as_array().expect("two").iter().map(|m| m["value"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, [json!(ada), json!(bob)]);
    assert_eq!(idp.get(&format!("/Users/{bob}")).await.json()["active"], false);
    // Made here, under the rules of here.
    let created = idp.post("/Users", json!({ "schemas": [USER], "userName": "cyd@example.com" })).await;
    assert_eq!(created.status, 201, "{created}");
    assert!(created.header("location").contains(&old.path), "{}", created.header("location"));
    let again = idp.post("/Users", json!({ "schemas": [USER], "userName": "ADA@example.com" })).await;
    assert_eq!(again.summary(), "409 uniqueness");
}
