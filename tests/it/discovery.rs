//! What we say that we can is what we can (RFC 7644 §4).

use serde_json::{Value, json};

use crate::world::{ENTERPRISE_USER, GROUP, LIST_RESPONSE, USER, World};

#[tokio::test]
async fn the_service_provider_config_promises_what_is_kept() {
    let realm = World::realm().await;
    let reply = realm.get("/ServiceProviderConfig").await;
    assert_eq!(reply.status, 200, "{reply}");
    let config = reply.json();
    assert_eq!(config["schemas"], json!(["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"]));
    for feature in ["patch", "bulk", "filter", "changePassword", "sort", "etag"] {
        assert!(config[feature]["supported"].is_boolean(), "{feature}: {config}");
    }
    assert_eq!(config["patch"]["supported"], true);
    assert_eq!(config["filter"]["supported"], true);
    assert_eq!(config["etag"]["supported"], true);
    assert_eq!(config["changePassword"]["supported"], false);
    assert_eq!(config["filter"]["maxResults"], 1000);
    assert_eq!(config["authenticationSchemes"][0]["type"], "oauthbearertoken");
    let bulk = realm
        .post("/Bulk", json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [] }))
        .await;
    assert_eq!(config["bulk"]["supported"] == true, bulk.status != 404 && bulk.status != 501, "{bulk}");
    realm.user("b").await;
    realm.user("a").await;
    assert_eq!(config["sort"]["supported"], true);
    let sorted = realm.get("/Users?sortBy=userName").await.json();
    assert_eq!((&sorted["Resources"][0]["userName"], &sorted["Resources"][1]["userName"]), (&json!("a"), &json!("b")));
}

#[tokio::test]
async fn how_lists_are_paged_is_told_as_it_is() {
    let world = World::with(&[("REALMGATE_LIMITS_PAGE_DEFAULT", "2"), ("REALMGATE_LIMITS_PAGE_MAX", "3")]);
    let realm = world.new_realm().await;
    let config = realm.get("/ServiceProviderConfig").await.json();
    assert_eq!(
        config["pagination"],
        json!({ "cursor": true, "index": true, "defaultPaginationMethod": "index", "defaultPageSize": 2,
                "maxPageSize": 3, "cursorTimeout": 3600 })
    );
    assert_eq!(config["filter"]["maxResults"], 3);
    for name in ["a", "b", "c", "d"] {
        realm.user(name).await;
    }
    for (query, most) in [("", 2), ("?count=9", 3), ("?cursor", 2), ("?cursor&count=3", 3)] {
        let list = realm.get(&format!("/Users{query}")).await.json();
        assert_eq!((&list["totalResults"], &list["itemsPerPage"]), (&json!(4), &json!(most)), "{query}");
        assert_eq!(list.get("startIndex").is_none(), query.contains("cursor"), "{query}: {list}");
    }
    assert_eq!(realm.get("/Users?cursor&count=4").await.summary(), "400 invalidCount");
}

#[tokio::test]
async fn users_and_groups_are_the_resource_types_with_their_extension() {
    let realm = World::realm().await;
    let list = realm.get("/ResourceTypes").await;
    assert_eq!(list.status, 200, "{list}");
    let list = list.json();
    assert_eq!((&list["schemas"], &list["totalResults"]), (&json!([LIST_RESPONSE]), &json!(2)));
    let user = realm.get("/ResourceTypes/User").await.json();
    assert_eq!((&user["endpoint"], &user["schema"]), (&json!("/Users"), &json!(USER)));
    assert_eq!(user["schemaExtensions"][0]["schema"], ENTERPRISE_USER);
    let group = realm.get("/ResourceTypes/Group").await.json();
    assert_eq!((&group["endpoint"], &group["schema"]), (&json!("/Groups"), &json!(GROUP)));
    assert_eq!(realm.get("/ResourceTypes/Teapot").await.summary(), "404 Not Found");
}

#[tokio::test]
async fn each_schema_is_told_with_all_characteristics_of_its_attributes() {
    let realm = World::realm().await;
    let list = realm.get("/Schemas").await.json();
    let ids: Vec<_> = list["Resources"].as_array().expect("a list").iter().filter_map(|s| s["id"].as_str()).collect();
    for urn in [USER, ENTERPRISE_USER, GROUP] {
        assert!(ids.contains(&urn), "{urn} in {ids:?}");
        let schema = realm.get(&format!("/Schemas/{urn}")).await.json();
        assert_eq!(schema["id"], urn);
        each_attribute(&schema["attributes"], &mut |attribute| {
            for key in ["name", "type", "multiValued", "required", "mutability", "returned"] {
                assert!(attribute.get(key).is_some(), "{key} of {attribute}");
            }
        });
    }
    assert_eq!(realm.get("/Schemas/urn:example:nothing").await.summary(), "404 Not Found");
    let user = realm.get(&format!("/Schemas/{USER}")).await.json();
    let user_name = user["attributes"].as_array().expect("a list").iter().find(|a| a["name"] == "userName");
    let user_name = user_name.expect("it is the one required attribute");
    assert_eq!(
        (&user_name["required"], &user_name["caseExact"], &user_name["uniqueness"]),
        (&json!(true), &json!(false), &json!("server"))
    );
}

fn each_attribute(attributes: &Value, check: &mut impl FnMut(&Value)) {
    for attribute in attributes.as_array().map_or(&[][..], Vec::as_slice) {
        check(attribute);
        each_attribute(&attribute["subAttributes"], check);
    }
}

#[tokio::test]
async fn discovery_refuses_a_filter_as_the_rfc_demands() {
    let realm = World::realm().await;
    for endpoint in ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"] {
        let reply = realm.get(&format!("{endpoint}?filter=id%20pr")).await;
        assert_eq!(reply.status, 403, "{endpoint}: {reply}");
        reply.detail();
    }
}

#[tokio::test]
async fn discovery_needs_a_token() {
    let realm = World::realm().await;
    for endpoint in ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"] {
        assert_eq!(realm.anonymous().get(endpoint).await.status, 401, "{endpoint}");
    }
}

#[tokio::test]
async fn me_is_nobody_because_a_token_is_no_user() {
    let realm = World::realm().await;
    let reply = realm.get("/Me").await;
    assert!([404, 501].contains(&reply.status.as_u16()), "{reply}");
    reply.detail();
}
