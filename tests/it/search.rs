//! A query over all resource types at once, and a query by POST (RFC 7644 §3.4.2.1, §3.4.3).

use serde_json::{Value, json};

use crate::world::{LIST_RESPONSE, Realm, Reply, World, encoded};

const SEARCH_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

fn resources(list: &Value) -> &[Value] {
    list["Resources"].as_array().map_or(&[], Vec::as_slice)
}

/// `userName` or `displayName` of each resource, in the order of the answer.
fn names(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply}");
    let name = |resource: &Value| {
        let name = resource["userName"].as_str().or(resource["displayName"].as_str());
        name.unwrap_or_else(|| panic!("no name in {resource}")).to_owned()
    };
    resources(&reply.json()).iter().map(name).collect()
}

async fn search(realm: &Realm, path: &str, mut request: Value) -> Reply {
    request["schemas"] = json!([SEARCH_REQUEST]);
    realm.post(path, request).await
}

/// ada, then the group Engines with her in it, then bob, then the group Sales.
async fn users_and_groups() -> Realm {
    let realm = World::realm().await;
    let ada = realm.create_user(json!({ "userName": "ada", "displayName": "Lovelace", "externalId": "x" })).await.id();
    realm.group("Engines", &[&ada]).await;
    realm.create_user(json!({ "userName": "bob", "displayName": "Builder" })).await;
    realm.group("Sales", &[]).await;
    realm
}

#[tokio::test]
async fn at_the_root_all_resources_are_one_list() {
    let realm = users_and_groups().await;
    for root in ["", "/"] {
        let list = realm.get(root).await;
        assert_eq!(names(&list), ["ada", "Engines", "bob", "Sales"], "`{root}`");
        let list = list.json();
        assert_eq!((&list["schemas"], &list["totalResults"]), (&json!([LIST_RESPONSE]), &json!(4)));
        for resource in resources(&list) {
            let (kind, id) = (resource["meta"]["resourceType"].as_str(), resource["id"].as_str().expect("an id"));
            let endpoint = if resource.get("userName").is_some() { "User" } else { "Group" };
            assert_eq!(kind, Some(endpoint), "{resource}");
            let location = resource["meta"]["location"].as_str().expect("a location");
            assert!(location.ends_with(&format!("/scim/v2/{endpoint}s/{id}")), "{location}");
        }
        assert_eq!(resources(&list)[1]["members"][0]["value"], resources(&list)[0]["id"]);
        assert_eq!(resources(&list)[0]["groups"][0]["value"], resources(&list)[1]["id"]);
    }
    assert_eq!(realm.anonymous().get("").await.status, 401);
}

#[tokio::test]
async fn pages_and_order_are_those_of_the_union() {
    let realm = users_and_groups().await;
    for (query, expected) in [
        ("sortBy=displayName", &["bob", "Engines", "ada", "Sales"][..]),
        ("sortBy=displayName&sortOrder=descending", &["Sales", "ada", "Engines", "bob"]),
        ("sortBy=userName", &["ada", "bob", "Engines", "Sales"]),
        ("sortBy=meta.resourceType", &["Engines", "Sales", "ada", "bob"]),
        ("sortBy=id&sortOrder=descending", &["Sales", "bob", "Engines", "ada"]),
    ] {
        assert_eq!(names(&realm.get(&format!("?{query}")).await), expected, "{query}");
        let (mut paged, mut start) = (Vec::new(), 1);
        while start <= 4 {
            let page = realm.get(&format!("?{query}&count=3&startIndex={start}")).await;
            assert_eq!(page.json()["totalResults"], 4);
            paged.extend(names(&page));
            start += 3;
        }
        assert_eq!(paged, expected, "{query}, page by page");
        for skipped in 0..4 {
            let page = names(&realm.get(&format!("?{query}&count=3&startIndex={}", skipped + 1)).await);
            assert_eq!(page, expected[skipped..4.min(skipped + 3)], "{query}, behind {skipped}");
        }
    }
}

#[tokio::test]
async fn what_one_type_lacks_has_no_value_there() {
    let realm = users_and_groups().await;
    for (filter, found) in [
        (r#"displayName eq "sales""#, &["Sales"][..]),
        (r#"displayName co "e""#, &["ada", "Engines", "bob", "Sales"]),
        (r#"userName eq "ada""#, &["ada"]),
        (r#"userName ne "ada""#, &["Engines", "bob", "Sales"]),
        ("userName eq null", &["Engines", "Sales"]),
        ("not (userName pr) and members pr", &["Engines"]),
        (r#"userName sw "b" or members pr"#, &["Engines", "bob"]),
        (r#"emails[value eq "x"]"#, &[]),
        (r#"externalId eq "x""#, &["ada"]),
        (r#"meta.resourceType eq "Group""#, &["Engines", "Sales"]),
        (r#"groups.display eq "Engines""#, &["ada"]),
    ] {
        let reply = realm.get(&format!("?filter={}", encoded(filter))).await;
        assert_eq!(names(&reply), found, "{filter}");
        assert_eq!(reply.json()["totalResults"], found.len(), "{filter}");
    }
    for filter in [r#"shoeSize eq "44""#, r#"userName eq "ada" or shoeSize pr"#, "userName eq 7", ""] {
        let reply = realm.get(&format!("?filter={}", encoded(filter))).await;
        assert_eq!(reply.summary(), "400 invalidFilter", "{filter}");
        reply.detail();
    }
}

#[tokio::test]
async fn a_search_answers_what_the_query_answers() {
    let realm = users_and_groups().await;
    let all = search(&realm, "/.search", json!({ "filter": r#"displayName co "e""#, "sortBy": "displayName" })).await;
    assert_eq!(names(&all), ["bob", "Engines", "ada", "Sales"]);
    assert_eq!(names(&search(&realm, "/Users/.search", json!({})).await), ["ada", "bob"]);
    assert_eq!(
        names(&search(&realm, "/Groups/.search", json!({ "sortBy": "id", "sortOrder": "descending" })).await),
        ["Sales", "Engines"]
    );
    let page = search(&realm, "/.search", json!({ "startIndex": 2, "count": 2, "attributes": ["displayName"] })).await;
    let list = page.json();
    assert_eq!(
        (&list["totalResults"], &list["startIndex"], &list["itemsPerPage"]),
        (&json!(4), &json!(2), &json!(2)),
        "{page}"
    );
    let keys: Vec<_> = resources(&list)[0].as_object().expect("a group").keys().collect();
    assert_eq!(keys, ["id", "schemas", "displayName"]);
    let without = search(&realm, "/.search", json!({ "excludedAttributes": ["members", "meta"] })).await.json();
    assert!(resources(&without).iter().all(|r| r.get("members").or(r.get("meta")).is_none()), "{without}");
}

#[tokio::test]
async fn a_search_goes_on_by_cursor_whether_by_post_or_get() {
    let realm = users_and_groups().await;
    let first = search(&realm, "/.search", json!({ "cursor": "", "count": 3 })).await;
    assert_eq!(names(&first), ["ada", "Engines", "bob"]);
    let cursor = first.text_at("nextCursor");
    let second = search(&realm, "/.search", json!({ "cursor": cursor, "count": 3 })).await;
    assert_eq!(names(&second), ["Sales"]);
    assert_eq!(names(&realm.get(&format!("?cursor={cursor}&count=3")).await), ["Sales"]);
    assert_eq!(realm.get(&format!("/Users?cursor={cursor}")).await.summary(), "400 invalidCursor");
}

#[tokio::test]
async fn a_search_which_cannot_be_meant_is_refused() {
    let realm = users_and_groups().await;
    for (request, expected) in [
        (json!({ "filters": "userName pr" }), "400 invalidSyntax"),
        (json!({ "filter": 7 }), "400 invalidValue"),
        (json!({ "filter": "userName" }), "400 invalidFilter"),
        (json!({ "count": "10" }), "400 invalidValue"),
        (json!({ "count": 1.5 }), "400 invalidValue"),
        (json!({ "attributes": "userName" }), "400 invalidValue"),
        (json!({ "attributes": ["userName"], "excludedAttributes": ["id"] }), "400 invalidValue"),
        (json!({ "sortBy": "shoeSize" }), "400 invalidValue"),
        (json!({ "cursor": "", "count": 0 }), "400 invalidCount"),
        (json!({ "cursor": "", "startIndex": 1 }), "400 invalidValue"),
    ] {
        let reply = search(&realm, "/.search", request.clone()).await;
        assert_eq!(reply.summary(), expected, "{request}");
        reply.detail();
    }
    for body in [json!({}), json!({ "schemas": ["urn:example:other"] })] {
        assert_eq!(realm.post("/.search", body).await.summary(), "400 invalidSyntax");
    }
    assert_eq!(realm.get("/Users/.search").await.status, 405);
}
