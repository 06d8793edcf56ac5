//! Cursors (RFC 9865), and that a walk through a list loses nobody, whoever comes or goes meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Caller, Realm, Reply, USER, World, encoded};

async fn page(caller: &Caller, query: &str) -> Value {
    let reply = caller.get(query).await;
    assert_eq!(reply.status, 200, "{query}: {reply}");
    reply.json()
}

fn names(list: &Value) -> Vec<&str> {
    let users = list["Resources"].as_array().map_or(&[][..], Vec::as_slice);
    users.iter().map(|user| user["userName"].as_str().expect("it is required")).collect()
}

async fn letters(letters: &str) -> Realm {
    let realm = World::realm().await;
    for letter in letters.chars() {
        realm.user(&letter.to_string()).await;
    }
    realm
}

#[tokio::test]
async fn cursors_lead_forwards_to_the_end_and_back_to_the_beginning() {
    let realm = letters("abcdefg").await;
    for (sort, expected) in
        [("", "abcdefg"), ("&sortBy=userName&sortOrder=descending", "gfedcba"), ("&sortBy=title", "abcdefg")]
    {
        let (mut seen, mut lists, mut query) = (String::new(), Vec::new(), "/Users?cursor".to_owned());
        loop {
            let list = page(&realm, &format!("{query}&count=3{sort}")).await;
            assert!(list.get("startIndex").is_none(), "{list}");
            assert_eq!((&list["totalResults"], &list["itemsPerPage"]), (&json!(7), &json!(names(&list).len())));
            seen.extend(names(&list));
            query = list["nextCursor"].as_str().map(|next| format!("/Users?cursor={next}")).unwrap_or_default();
            lists.push(list);
            if query.is_empty() {
                break;
            }
        }
        assert_eq!((seen.as_str(), lists.len()), (expected, 3), "{sort}");
        assert!(lists[0].get("previousCursor").is_none(), "{}", lists[0]);

        let (mut seen, mut list) = (Vec::new(), lists.pop().expect("three pages"));
        while let Some(previous) = list["previousCursor"].as_str() {
            assert!(previous.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)), "{previous}");
            list = page(&realm, &format!("/Users?cursor={previous}&count=3{sort}")).await;
            assert_eq!(list["totalResults"], 7);
            assert!(list["nextCursor"].is_string(), "{list}");
            seen.splice(0..0, names(&list).into_iter().map(str::to_owned));
        }
        assert_eq!(seen.concat(), expected[..6], "{sort}");
    }
}

#[tokio::test]
async fn a_list_of_one_page_has_no_cursors_and_an_empty_one_has_none() {
    let realm = letters("ab").await;
    for query in ["/Users?cursor&count=2", "/Users?cursor=", "/Users?cursor&filter=title%20pr", "/Groups?cursor"] {
        let list = page(&realm, query).await;
        assert!(list.get("nextCursor").is_none() && list.get("previousCursor").is_none(), "{query}: {list}");
    }
    let by_index = page(&realm, "/Users?count=1").await;
    assert!(by_index.get("nextCursor").is_none() && by_index["startIndex"] == 1, "{by_index}");
}

#[tokio::test]
async fn a_cursor_whose_page_is_empty_by_now_leads_back() {
    let realm = letters("abcd").await;
    let first = page(&realm, "/Users?cursor&count=2").await;
    let next = first["nextCursor"].as_str().expect("there is more");
    let second = page(&realm, &format!("/Users?cursor={next}&count=2")).await;
    let previous = second["previousCursor"].as_str().expect("it is the second");
    let delete = |list: Value| {
        let realm = &realm;
        async move {
            for user in list["Resources"].as_array().expect("a list") {
                assert_eq!(realm.delete(&format!("/Users/{}", user["id"].as_str().expect("an id"))).await.status, 204);
            }
        }
    };
    delete(second.clone()).await;
    let empty = page(&realm, &format!("/Users?cursor={next}&count=2")).await;
    assert!(names(&empty).is_empty() && empty.get("nextCursor").is_none(), "{empty}");
    let back = empty["previousCursor"].as_str().expect("it was not the first page");
    assert_eq!(names(&page(&realm, &format!("/Users?cursor={back}&count=2")).await), ["a", "b"]);

    let realm_two = ["e", "f"];
    for name in realm_two {
        realm.user(name).await;
    }
    delete(first.clone()).await;
    let empty = page(&realm, &format!("/Users?cursor={previous}&count=2")).await;
    assert!(names(&empty).is_empty() && empty.get("previousCursor").is_none(), "{empty}");
    let on = empty["nextCursor"].as_str().expect("it was not the last page");
    assert_eq!(names(&page(&realm, &format!("/Users?cursor={on}&count=2")).await), realm_two);
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_alone() {
    let (realm, other) = (letters("abc").await, letters("abc").await);
    let filter = encoded("userName pr");
    let query = format!("/Users?count=1&filter={filter}&sortBy=userName");
    let cursor =
        page(&realm, &format!("{query}&cursor")).await["nextCursor"].as_str().expect("there is more").to_owned();
    assert_eq!(names(&page(&realm, &format!("{query}&cursor={cursor}&attributes=userName")).await), ["b"]);
    let refused = |caller: Caller, query: String| async move {
        let reply = caller.get(&query).await;
        assert_eq!(reply.summary(), "400 invalidCursor", "{query}");
        reply.detail();
    };
    for query in [
        format!("/Users?cursor={cursor}"),
        format!("/Users?filter={filter}&cursor={cursor}"),
        format!("/Users?filter={}&sortBy=userName&cursor={cursor}", encoded("id pr")),
        format!("/Users?filter={filter}&sortBy=id&cursor={cursor}"),
        format!("/Users?filter={filter}&sortBy=userName&sortOrder=descending&cursor={cursor}"),
        format!("?filter={filter}&sortBy=userName&cursor={cursor}"),
        format!("/Groups?cursor={cursor}"),
        "/Users?cursor=x".to_owned(),
        "/Users?cursor=%00".to_owned(),
        format!("/Users?cursor={}", "A".repeat(8_000)),
        format!("{query}&cursor={cursor}="),
        format!("{query}&cursor={cursor}A"),
    ] {
        refused(realm.idp(), query).await;
    }
    refused(other.idp(), format!("{query}&cursor={cursor}")).await;
    for at in (0..cursor.len()).step_by(7) {
        let mut forged = cursor.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        refused(realm.idp(), format!("{query}&cursor={}", String::from_utf8(forged).expect("ASCII"))).await;
    }
}

#[tokio::test]
async fn a_cursor_does_not_outlive_the_schema_of_what_the_list_is_sorted_by() {
    let realm = World::realm().await;
    let schema = |kind: &str| {
        let attributes = json!([{ "name": "level", "type": kind }]);
        realm.admin.post("/scim/schemas", json!({ "id": "urn:acme:badge", "name": "Badge", "attributes": attributes }))
    };
    assert!(schema("string").await.status.is_success());
    for (name, level) in [("a", "high"), ("b", "low")] {
        realm.create_user(json!({ "userName": name, "urn:acme:badge": { "level": level } })).await;
    }
    let sorted = "sortBy=urn:acme:badge:level&count=1";
    for query in [format!("/Users?cursor&{sorted}"), format!("/Users?{sorted}")] {
        assert_eq!(names(&page(&realm, &query).await), ["a"]);
    }
    let cursor = page(&realm, &format!("/Users?cursor&{sorted}")).await["nextCursor"].as_str().expect("b").to_owned();
    for id in page(&realm, "/Users").await["Resources"].as_array().expect("a list").iter().map(|user| &user["id"]) {
        let gone = realm.delete(&format!("/Users/{}", id.as_str().expect("an id"))).await;
        assert_eq!(gone.status, 204, "{gone}");
    }
    assert!(realm.admin.delete("/scim/schemas/urn:acme:badge").await.status.is_success());
    assert!(schema("integer").await.status.is_success());
    assert_eq!(realm.get(&format!("/Users?cursor={cursor}&{sorted}")).await.summary(), "400 invalidCursor");
    assert_eq!(realm.get(&format!("/Users?startIndex=2&{sorted}")).await.status, 200);
}

#[tokio::test]
async fn a_page_by_cursor_is_as_long_as_it_may_be_or_refused() {
    let realm = letters("abc").await;
    for count in ["0", "-1", "1001", "1.5", "many", ""] {
        let reply = realm.get(&format!("/Users?cursor&count={count}")).await;
        assert_eq!(reply.summary(), "400 invalidCount", "{count}");
        reply.detail();
    }
    let reply = realm.get("/Users?cursor&startIndex=1").await;
    assert_eq!(reply.summary(), "400 invalidValue");
    reply.detail();
    let cursor = page(&realm, "/Users?cursor&count=1").await["nextCursor"].as_str().expect("there is more").to_owned();
    assert_eq!(names(&page(&realm, &format!("/Users?cursor={cursor}&count=2")).await), ["b", "c"], "a longer page");
}

#[tokio::test]
async fn a_cursor_ages_and_its_life_is_told() {
    let world = World::with(&[("REALMGATE_LIMITS_CURSOR_TIMEOUT", "1s")]);
    let realm = world.new_realm().await;
    let config = realm.get("/ServiceProviderConfig").await.json();
    assert_eq!(config["pagination"]["cursorTimeout"], 1);
    for name in ["a", "b"] {
        realm.user(name).await;
    }
    let cursor = page(&realm, "/Users?cursor&count=1").await["nextCursor"].as_str().expect("there is more").to_owned();
    let begun = std::time::Instant::now();
    let reply = loop {
        let reply = realm.get(&format!("/Users?cursor={cursor}&count=1")).await;
        if reply.status != 200 {
            break reply;
        }
        assert!(begun.elapsed().as_secs() < 30, "it is good for a second");
    };
    assert_eq!(reply.summary(), "400 expiredCursor");
    reply.detail();
}

/// Walks, and what each page is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    Index,
    Cursor(&'static str),
    Backwards,
}

impl Walk {
    /// Where the first page is.
    fn first(self) -> String {
        match self {
            Walk::Index => "/Users?startIndex=1".to_owned(),
            Walk::Cursor(sort) => format!("/Users?cursor{sort}"),
            Walk::Backwards => "/Users?cursor&sortBy=id&sortOrder=descending".to_owned(),
        }
    }

    /// Where the page behind `list` is; `None` behind the last.
    fn next(self, list: &Value) -> Option<String> {
        match self {
            Walk::Index => {
                let number = |key: &str| list[key].as_i64().expect("a number");
                let next = number("startIndex") + number("itemsPerPage");
                let more = number("itemsPerPage") > 0 && next <= number("totalResults");
                more.then(|| format!("/Users?startIndex={next}"))
            }
            Walk::Cursor(sort) => Some(format!("/Users?cursor={}{sort}", list["nextCursor"].as_str()?)),
            Walk::Backwards => {
                Some(format!("/Users?cursor={}&sortBy=id&sortOrder=descending", list["nextCursor"].as_str()?))
            }
        }
    }
}

/// Counts how often each user is seen by a walk, while some leave and others come.
async fn walked(realm: &Realm, walk: Walk, leaving: &mut Vec<String>, coming: usize) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut next, mut arrived) = (Some(walk.first()), 0);
    while let Some(query) = next {
        let churn = async {
            for _ in 0..4 {
                if let Some(id) = leaving.pop() {
                    assert_eq!(realm.delete(&format!("/Users/{id}")).await.status, 204);
                }
                if arrived < coming {
                    arrived += 1;
                    realm.user(&format!("{arrived}-{walk:?}-late")).await;
                }
            }
        };
        let query = format!("{query}&count=1000&attributes=userName");
        let (list, ()) = tokio::join!(page(realm, &query), churn);
        for user in list["Resources"].as_array().expect("a list") {
            *seen.entry(user["id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        next = walk.next(&list);
    }
    assert_eq!((leaving.len(), arrived), (0, coming), "{walk:?} was long enough for all of that");
    seen
}

#[tokio::test]
async fn a_walk_sees_everyone_who_is_there_throughout_exactly_once() {
    const USERS: usize = 20_000;
    const CHANGES: usize = 50;
    let realm = World::realm().await;
    let mut everyone: BTreeSet<String> = realm.seed_users(USERS).await.into_iter().collect();
    for walk in [Walk::Index, Walk::Cursor(""), Walk::Cursor("&sortBy=userName"), Walk::Backwards] {
        let mut leaving: Vec<String> = everyone.iter().step_by(everyone.len() / CHANGES).cloned().collect();
        leaving.truncate(CHANGES);
        for id in &leaving {
            everyone.remove(id);
        }
        let seen = walked(&realm, walk, &mut leaving, CHANGES).await;
        let wrong: Vec<_> = everyone.iter().filter(|id| seen.get(*id) != Some(&1)).collect();
        assert!(wrong.is_empty(), "{walk:?}: {} of {} not once", wrong.len(), everyone.len());
        assert!(seen.values().all(|times| *times == 1), "{walk:?} repeats somebody");
    }
}

#[tokio::test]
async fn a_walk_by_previous_cursor_loses_nobody_either() {
    let realm = World::realm().await;
    let everyone = realm.seed_users(2_000).await;
    let mut list = page(&realm, "/Users?cursor&count=100&attributes=userName").await;
    while let Some(next) = list["nextCursor"].as_str() {
        list = page(&realm, &format!("/Users?cursor={next}&count=100&attributes=userName")).await;
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    let mut victims = everyone.iter().step_by(40);
    loop {
        for user in list["Resources"].as_array().expect("a list") {
            *seen.entry(user["id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        let Some(previous) = list["previousCursor"].as_str() else { break };
        let churn = async {
            for id in victims.by_ref().take(3) {
                assert_eq!(realm.delete(&format!("/Users/{id}")).await.status, 204);
                gone.insert(id.clone());
                realm.user(&format!("late-{}", Uuid::now_v7())).await;
            }
        };
        let query = format!("/Users?cursor={previous}&count=100&attributes=userName");
        (list, ()) = tokio::join!(page(&realm, &query), churn);
    }
    assert_eq!(gone.len(), 50);
    let wrong: Vec<_> = everyone.iter().filter(|id| !gone.contains(*id) && seen.get(*id) != Some(&1)).collect();
    assert!(wrong.is_empty(), "{} not once", wrong.len());
    assert!(seen.values().all(|times| *times == 1), "somebody is repeated");
}

#[tokio::test]
async fn a_page_ends_where_it_would_grow_too_large_and_the_walk_goes_on() {
    const USERS: usize = 40;
    const MOST_BYTES: usize = 20 << 20;
    let realm = World::realm().await;
    let large = "0123456789abcdef".repeat(900 * 64);
    let mut everyone = Vec::new();
    for n in 0..USERS {
        let user = json!({ "schemas": [USER], "userName": format!("user-{n:02}"), "nickName": large });
        everyone.push(realm.create_user(user).await.id());
    }
    for walk in [Walk::Index, Walk::Cursor(""), Walk::Cursor("&sortBy=userName"), Walk::Backwards] {
        let (mut seen, mut pages, mut next) = (Vec::new(), 0, Some(walk.first()));
        while let Some(query) = next {
            let reply: Reply = realm.get(&format!("{query}&count=1000")).await;
            assert!(reply.status == 200 && reply.bytes.len() < MOST_BYTES, "{walk:?}: {} bytes", reply.bytes.len());
            let list = reply.json();
            let ids = list["Resources"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|u| u["id"].as_str().expect("an id").to_owned());
            let before = seen.len();
            seen.extend(ids);
            assert_eq!((&list["itemsPerPage"], &list["totalResults"]), (&json!(seen.len() - before), &json!(USERS)));
            assert!(seen.len() > before, "{walk:?}: each page brings somebody");
            pages += 1;
            next = walk.next(&list);
        }
        if walk == Walk::Backwards {
            seen.reverse();
        }
        assert_eq!(seen, everyone, "{walk:?}");
        assert!(pages > 1, "{walk:?}: {pages} pages");
    }
}
