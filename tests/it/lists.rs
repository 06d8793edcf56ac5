//! A list hides nobody and repeats nobody, and shows what was asked for (RFC 7644 §3.4.2, §3.9).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{ENTERPRISE_USER, LIST_RESPONSE, USER, World};

fn ids(list: &Value) -> Vec<String> {
    let resources = list["Resources"].as_array().map_or(&[][..], Vec::as_slice);
    resources.iter().map(|r| r["id"].as_str().expect("a resource has an id").to_owned()).collect()
}

#[tokio::test]
async fn pages_cover_everyone_once() {
    let realm = World::realm().await;
    let mut created = BTreeSet::new();
    for n in 0..25 {
        created.insert(realm.user(&format!("user-{n}")).await);
    }
    let mut seen = Vec::new();
    for (start, length) in [(1, 10), (11, 10), (21, 5), (31, 0)] {
        let page = realm.get(&format!("/Users?startIndex={start}&count=10")).await.json();
        assert_eq!(page["schemas"], json!([LIST_RESPONSE]));
        assert_eq!((&page["totalResults"], &page["startIndex"]), (&json!(25), &json!(start)), "{page}");
        assert_eq!(page["itemsPerPage"], length);
        seen.extend(ids(&page));
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), created);
}

#[tokio::test]
async fn those_who_leave_while_pages_are_read_hide_nobody_else() {
    let realm = World::realm().await;
    let mut everyone = Vec::new();
    for n in 0..30 {
        everyone.push(realm.user(&format!("user-{n}")).await);
    }
    let first = ids(&realm.get("/Users?startIndex=1&count=10").await.json());
    for id in &first[..5] {
        assert_eq!(realm.delete(&format!("/Users/{id}")).await.status, 204);
    }
    let mut seen = first;
    for start in [11, 21] {
        seen.extend(ids(&realm.get(&format!("/Users?startIndex={start}&count=10")).await.json()));
    }
    seen.sort();
    everyone.sort();
    assert_eq!(seen, everyone);
}

#[tokio::test]
async fn a_count_below_one_asks_only_how_many_and_a_start_below_one_is_one() {
    let realm = World::realm().await;
    realm.user("ada").await;
    for query in ["count=0", "count=-1"] {
        let page = realm.get(&format!("/Users?{query}")).await.json();
        assert_eq!((&page["totalResults"], ids(&page).len()), (&json!(1), 0), "{query}: {page}");
    }
    for query in ["startIndex=99999999999999999999", "startIndex=9223372036854775807&count=1000"] {
        let page = realm.get(&format!("/Users?{query}")).await.json();
        assert_eq!((&page["totalResults"], ids(&page).len()), (&json!(1), 0), "{query}: {page}");
    }
    for query in ["startIndex=0", "startIndex=-7"] {
        let page = realm.get(&format!("/Users?{query}")).await.json();
        assert_eq!((&page["startIndex"], ids(&page).len()), (&json!(1), 1), "{query}: {page}");
    }
}

#[tokio::test]
async fn a_page_is_never_longer_than_the_promised_most() {
    let realm = World::realm().await;
    realm.user("ada").await;
    let page = realm.get("/Users?count=1000000").await;
    assert_eq!(page.status, 200, "{page}");
    for nonsense in ["count=many", "startIndex=first", "count=1.5"] {
        let reply = realm.get(&format!("/Users?{nonsense}")).await;
        assert_eq!(reply.summary(), "400 invalidValue", "{nonsense}: {reply}");
        reply.detail();
    }
}

#[tokio::test]
async fn an_empty_answer_has_numbers_and_no_people() {
    let realm = World::realm().await;
    let page = realm.get("/Users?filter=userName%20eq%20%22nobody%22").await;
    assert_eq!(page.status, 200);
    let page = page.json();
    assert_eq!((&page["totalResults"], ids(&page).len()), (&json!(0), 0));
    assert!(page["startIndex"].is_number() && page["itemsPerPage"].is_number(), "{page}");
}

#[tokio::test]
async fn attributes_chooses_what_is_shown_next_to_what_is_always_shown() {
    let realm = World::realm().await;
    let user = json!({
        "schemas": [USER, ENTERPRISE_USER], "userName": "ada", "title": "Countess", "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": "ada@example.com", "type": "work" }], ENTERPRISE_USER: { "department": "Engines", "costCenter": "7" }
    });
    let path = format!("/Users/{}", realm.create_user(user).await.id());
    let keys = |query: String| {
        let (realm, path) = (&realm, &path);
        async move {
            let reply = realm.get(&format!("{path}?{query}")).await;
            assert_eq!(reply.status, 200, "{query}: {reply}");
            let mut keys: Vec<_> =
                reply.json().as_object().expect("a user").keys().filter(|k| *k != "schemas").cloned().collect();
            keys.sort();
            (keys, reply.json())
        }
    };
    let (shown, _) = keys("attributes=userName".to_owned()).await;
    assert_eq!(shown, ["id", "userName"]);
    let (shown, body) = keys("attributes=NAME.givenname,emails.value".to_owned()).await;
    assert_eq!(shown, ["emails", "id", "name"]);
    assert_eq!(
        (&body["name"], &body["emails"]),
        (&json!({ "givenName": "Ada" }), &json!([{ "value": "ada@example.com" }]))
    );
    let (_, body) = keys(format!("attributes={ENTERPRISE_USER}:department")).await;
    assert_eq!(body[ENTERPRISE_USER], json!({ "department": "Engines" }));
    let (shown, body) = keys("excludedAttributes=emails,name.familyName,id".to_owned()).await;
    assert!(shown.contains(&"id".to_owned()) && !shown.contains(&"emails".to_owned()), "{shown:?}");
    assert_eq!(body["name"], json!({ "givenName": "Ada" }));
    let page = realm.get("/Users?attributes=userName").await.json();
    assert!(page["Resources"][0].get("title").is_none(), "{page}");
}

#[tokio::test]
async fn attributes_and_excluded_attributes_together_are_refused() {
    let realm = World::realm().await;
    let reply = realm.get("/Users?attributes=userName&excludedAttributes=emails").await;
    assert_eq!(reply.status, 400, "{reply}");
    reply.detail();
}

#[tokio::test]
async fn a_query_parameter_which_we_do_not_know_harms_nothing() {
    let realm = World::realm().await;
    realm.user("ada").await;
    let page = realm.get("/Users?aadOptscim062020&count=1&_=x").await;
    assert_eq!(page.status, 200, "{page}");
    assert_eq!(page.json()["totalResults"], 1);
}
