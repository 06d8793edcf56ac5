//! A list is in the order which RFC 7644 §3.4.2.3 says, whatever it is sorted by and however it is read.

use std::{cmp::Ordering, time::Duration};

use jiff::Timestamp;
use realmgate::{
    model::{RealmId, listing::Listed},
    scim::{
        filter,
        lenient::Dialect,
        list::Page,
        resource::fold,
        schema::{Kind, Resolved, ResourceType, instant},
        sort::{MAX_KEY_CHARS, Sort},
    },
    store::{Options, Store, list::Plan},
};
use serde_json::{Map, Number, Value, json};
use uuid::Uuid;

use crate::{
    filter_agreement::{Dice, Filters, Populated, Row, paths},
    world::{ENTERPRISE_USER, Realm, World, encoded},
};

/// A value as the order sees it.
#[derive(Debug, Clone, PartialEq)]
enum Key {
    Flag(bool),
    Whole(i128),
    Float(f64),
    Instant(Timestamp),
    Text(String),
}

impl Key {
    fn order(&self, other: &Self) -> Ordering {
        let float = |key: &Self| match key {
            #[expect(clippy::cast_precision_loss, reason = "next to a float which is not whole")]
            Key::Whole(n) => *n as f64,
            Key::Float(n) => *n,
            other => panic!("{other:?} is no number"),
        };
        match (self, other) {
            (Key::Flag(a), Key::Flag(b)) => a.cmp(b),
            (Key::Whole(a), Key::Whole(b)) => a.cmp(b),
            (Key::Instant(a), Key::Instant(b)) => a.cmp(b),
            (Key::Text(a), Key::Text(b)) => a.cmp(b),
            (a, b) => float(a).partial_cmp(&float(b)).expect("finite"),
        }
    }

    fn number(number: &Number) -> Self {
        let float = number.as_f64().expect("a number");
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
        match number.as_i128() {
            Some(whole) => Key::Whole(whole),
            None if float.fract() == 0.0 && float.abs() < 1e37 => Key::Whole(float as i128),
            None => Key::Float(float),
        }
    }
}

/// What a resource is sorted by: the slow way, from its answer.
fn key_of(found: Resolved, answer: &Map<String, Value>) -> Option<Key> {
    let holder = match found.extension {
        Some(urn) => answer.get(urn)?.as_object()?,
        None => answer,
    };
    let element = match holder.get(&found.attribute.name)? {
        Value::Array(elements) => elements.iter().find(|e| e["primary"] == true).or(elements.first())?,
        one => one,
    };
    match (found.leaf().kind, found.value_of(element)?) {
        (Kind::Boolean, Value::Bool(flag)) => Some(Key::Flag(*flag)),
        (Kind::Integer | Kind::Decimal, Value::Number(number)) => Some(Key::number(number)),
        (Kind::DateTime, Value::String(text)) => instant(text).map(Key::Instant),
        (_, Value::String(text)) => {
            let text = if found.leaf().ignores_case() { fold(text) } else { text.clone() };
            Some(Key::Text(text.chars().take(MAX_KEY_CHARS).collect()))
        }
        (kind, other) => panic!("{other} for {kind:?}"),
    }
}

/// The ids in the order which is right.
fn sorted(rows: &[(Option<Resolved>, &Row)], descending: bool) -> Vec<Uuid> {
    let mut keyed: Vec<_> =
        rows.iter().map(|(found, row)| (found.and_then(|found| key_of(found, &row.answer)), row.id)).collect();
    keyed.sort_by(|(a, a_id), (b, b_id)| {
        let keys = match (a, b) {
            (Some(a), Some(b)) => a.order(b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        keys.then(a_id.cmp(b_id))
    });
    if descending {
        keyed.reverse();
    }
    keyed.into_iter().map(|(_, id)| id).collect()
}

/// How a list is read.
#[derive(Debug, Clone, Copy)]
enum Way {
    Forwards,
    Backwards,
    /// In one page, behind so many others.
    Behind(usize),
}

struct Reader {
    store: Store,
    realm: RealmId,
}

impl Reader {
    async fn ids(&self, plan: &Plan, limit: i64, way: Way) -> Vec<Uuid> {
        let (backwards, offset) = match way {
            Way::Forwards => (false, 0),
            Way::Backwards => (true, 0),
            Way::Behind(offset) => (false, i64::try_from(offset).expect("small")),
        };
        let mut page = Page { offset, limit, after: None, backwards, total: None };
        let mut ids = Vec::new();
        loop {
            let mut tx = self.store.enter(self.realm, 1).await.expect("the server is up");
            let listing = plan.page(&mut tx, &page, None).await.unwrap_or_else(|e| panic!("{plan:#?}\n{e:?}"));
            let mut found: Vec<Uuid> = listing.resources.iter().map(id_of).collect();
            if backwards {
                found.reverse();
            }
            ids.extend(found);
            let (first, last) = listing.ends.unzip();
            page.after = if backwards { first } else { last };
            page.total = Some(listing.total);
            if !listing.more || matches!(way, Way::Behind(_)) {
                if backwards {
                    ids.reverse();
                }
                return ids;
            }
        }
    }
}

fn id_of(listed: &Listed) -> Uuid {
    match listed {
        Listed::User(user) => user.document.id,
        Listed::Group(group) => group.document.id,
    }
}

#[tokio::test]
async fn sql_sorts_as_the_reference_does() {
    let Populated { database, user_type, group_type, users, groups, postgres } = Populated::new().await;
    let options = Options {
        pool_size: 1,
        wait_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(30),
    };
    let store = Store::new(&postgres.url().parse().expect("a URL"), options).expect("no TLS is wanted");
    let reader = Reader { store, realm: RealmId(database.realm) };
    let (all, mut dice) = ([&user_type, &group_type], Dice(11));
    let mut filters =
        Filters { dice: Dice(5), resource_type: &user_type, paths: paths(&user_type), known: vec!["a".into()] };
    let (mut walked, mut told_apart) = (0, 0);
    for by in paths(&user_type) {
        for types in [&all[..1], &all[1..], &all[..]] {
            let sort = Sort { by: by.clone(), descending: dice.one_in(2) };
            let Ok(keys) = sort.keys(types) else { continue };
            let filter = dice.one_in(4).then(|| filters.next(1));
            let Ok(plan) = Plan::new(types, filter.as_ref(), Some(&sort), Dialect::Strict) else { continue };
            let of = |resource_type: &ResourceType| if *resource_type == user_type { &users } else { &groups };
            let rows: Vec<(Option<Resolved>, &Row)> = types
                .iter()
                .zip(&keys)
                .flat_map(|(kind, key)| of(kind).iter().map(move |row| (*kind, *key, row)))
                .filter(|(kind, _, row)| filter.as_ref().is_none_or(|f| filter::matches(f, kind, &row.answer)))
                .map(|(_, key, row)| (key, row))
                .collect();
            let expected = sorted(&rows, sort.descending);
            let way = match dice.below(3) {
                0 => Way::Forwards,
                1 => Way::Backwards,
                _ => Way::Behind(dice.below(expected.len() + 2)),
            };
            let limit = 20 + dice.below(200);
            let mut expected = expected.as_slice();
            if let Way::Behind(offset) = way {
                expected = &expected[offset.min(expected.len())..];
                expected = &expected[..limit.min(expected.len())];
            }
            let found = reader.ids(&plan, i64::try_from(limit).expect("small"), way).await;
            assert_eq!(found, expected, "{sort:?} {way:?} by {limit}, {filter:?}\n{plan:#?}");
            walked += 1;
            told_apart += usize::from(found.len() > 1 && !found.is_sorted());
        }
    }
    assert!(walked > 200 && told_apart > 100, "{walked} walks, {told_apart} in another order than that of ids");
}

async fn names(realm: &Realm, query: &str) -> Vec<String> {
    let reply = realm.get(&format!("/Users?{query}")).await;
    assert_eq!(reply.status, 200, "{query}: {reply}");
    let json = reply.json();
    let users = json["Resources"].as_array().expect("a list");
    users.iter().map(|user| user["userName"].as_str().expect("it is required").to_owned()).collect()
}

async fn four_people() -> Realm {
    let realm = World::realm().await;
    for user in [
        json!({ "userName": "bob", "title": "b", "name": { "familyName": "Zuse" }, "active": false,
                "emails": [{ "value": "z@x", "type": "home" }, { "value": "a@x", "type": "work", "primary": true }],
                ENTERPRISE_USER: { "employeeNumber": "10" } }),
        json!({ "userName": "Ada", "title": "A", "name": { "familyName": "lovelace" }, "externalId": "a",
                "emails": [{ "value": "c@x" }, { "value": "b@x" }], ENTERPRISE_USER: { "employeeNumber": "9" } }),
        json!({ "userName": "cyd", "title": "", "externalId": "B" }),
        json!({ "userName": "dan", "title": "B" }),
    ] {
        realm.create_user(user).await;
    }
    realm
}

#[tokio::test]
async fn text_is_sorted_as_its_schema_says_and_who_has_none_comes_last() {
    let realm = four_people().await;
    assert_eq!(names(&realm, "sortBy=userName").await, ["Ada", "bob", "cyd", "dan"]);
    assert_eq!(names(&realm, "sortBy=userName&sortOrder=ascending").await, ["Ada", "bob", "cyd", "dan"]);
    assert_eq!(names(&realm, "sortBy=userName&sortOrder=descending").await, ["dan", "cyd", "bob", "Ada"]);
    assert_eq!(names(&realm, "sortBy=title").await, ["Ada", "bob", "dan", "cyd"]);
    assert_eq!(names(&realm, "sortBy=title&sortOrder=descending").await, ["cyd", "dan", "bob", "Ada"]);
    assert_eq!(names(&realm, "sortBy=externalId").await, ["cyd", "Ada", "bob", "dan"]);
    assert_eq!(names(&realm, "sortBy=NAME.familyname").await, ["Ada", "bob", "cyd", "dan"]);
    assert_eq!(names(&realm, &format!("sortBy={ENTERPRISE_USER}:employeeNumber")).await, ["bob", "Ada", "cyd", "dan"]);
}

#[tokio::test]
async fn of_several_values_the_primary_one_counts_and_else_the_first() {
    let realm = four_people().await;
    assert_eq!(names(&realm, "sortBy=emails").await, ["bob", "Ada", "cyd", "dan"]);
    assert_eq!(names(&realm, "sortBy=emails.value").await, ["bob", "Ada", "cyd", "dan"]);
    assert_eq!(names(&realm, "sortBy=emails.type").await, ["bob", "Ada", "cyd", "dan"]);
}

#[tokio::test]
async fn other_types_are_sorted_by_what_they_mean() {
    let realm = four_people().await;
    assert_eq!(names(&realm, "sortBy=active&sortOrder=descending").await, ["dan", "cyd", "Ada", "bob"]);
    assert_eq!(names(&realm, "sortBy=id").await, ["bob", "Ada", "cyd", "dan"]);
    assert_eq!(names(&realm, "sortBy=id&sortOrder=descending").await, ["dan", "cyd", "Ada", "bob"]);
    for by in ["meta.created", "meta.lastModified", "meta.location"] {
        assert_eq!(names(&realm, &format!("sortBy={by}")).await, ["bob", "Ada", "cyd", "dan"], "{by}");
    }
    let definition = json!({ "id": "urn:acme:badge", "name": "Badge", "attributes": [
        { "name": "weight", "type": "decimal" }, { "name": "since", "type": "dateTime" }] });
    let added = realm.admin.post("/scim/schemas", definition).await;
    assert!(added.status.is_success(), "{added}");
    for (name, weight, since) in [
        ("e", json!(10), "2011-05-13T04:42:34Z"),
        ("f", json!(9.5), "2011-05-13T05:42:34+02:00"),
        ("g", json!(-1), "2010-01-01T00:00:00Z"),
    ] {
        let badge = json!({ "weight": weight, "since": since });
        realm.create_user(json!({ "userName": name, "urn:acme:badge": badge })).await;
    }
    assert_eq!(names(&realm, "sortBy=urn:acme:badge:weight&count=3").await, ["g", "f", "e"]);
    assert_eq!(names(&realm, "sortBy=urn:acme:badge:since&count=3").await, ["g", "f", "e"]);
}

#[tokio::test]
async fn a_sorted_list_is_filtered_and_paged_like_any_other() {
    let realm = four_people().await;
    let filter = encoded(r#"title pr or userName sw "c""#);
    assert_eq!(
        names(&realm, &format!("sortBy=userName&sortOrder=descending&filter={filter}")).await,
        ["dan", "cyd", "bob", "Ada"]
    );
    let mut seen = Vec::new();
    for start in 1..=4 {
        seen.extend(names(&realm, &format!("sortBy=title&count=1&startIndex={start}")).await);
    }
    assert_eq!(seen, ["Ada", "bob", "dan", "cyd"]);
    // Begun in the middle, so nothing is known of a page before; the last one is past all who have a title.
    assert_eq!(names(&realm, "sortBy=title&count=10&startIndex=3").await, ["dan", "cyd"]);
    assert_eq!(names(&realm, "sortBy=externalId&count=10&startIndex=4").await, ["dan"]);
    assert_eq!(names(&realm, "sortBy=title&count=2&startIndex=9").await, [""; 0]);
}

#[tokio::test]
async fn groups_are_sorted_too() {
    let realm = World::realm().await;
    for name in ["sales", "Engines", "Ops"] {
        realm.group(name, &[]).await;
    }
    let list = realm.get("/Groups?sortBy=displayName&attributes=displayName").await.json();
    let names: Vec<_> =
        list["Resources"].as_array().expect("a list").iter().map(|group| &group["displayName"]).collect();
    assert_eq!(names, ["Engines", "Ops", "sales"]);
}

#[tokio::test]
async fn what_cannot_be_sorted_by_is_refused_and_named() {
    let realm = four_people().await;
    for (by, named) in [
        ("shoeSize", "shoeSize"),
        ("", "sortBy"),
        ("a..b", "sortBy"),
        ("name", "name"),
        ("meta", "meta"),
        ("groups", "groups"),
        ("x509Certificates", "x509Certificates"),
        ("password", "password"),
        ("department", "department"),
    ] {
        let reply = realm.get(&format!("/Users?sortBy={by}")).await;
        assert_eq!(reply.summary(), "400 invalidValue", "{by}: {reply}");
        assert!(reply.detail().contains(named), "{by}: {reply}");
    }
    assert_eq!(realm.get("/Groups?sortBy=members").await.summary(), "400 invalidValue");
    assert_eq!(realm.get("/Users?sortBy=userName&sortOrder=up").await.summary(), "400 invalidValue");
    assert_eq!(names(&realm, "sortOrder=descending").await, ["bob", "Ada", "cyd", "dan"], "there is nothing to order");
}
