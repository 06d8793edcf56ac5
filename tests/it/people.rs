//! Operators find the users and groups of a realm in Keycloak's words.

use serde_json::{Value, json};

use crate::world::{ENTERPRISE_USER, Realm, Reply, USER, World, encoded};

/// Asserts an admin error and gives its message.
fn message(reply: &Reply) -> String {
    let body = reply.json();
    assert_eq!(body["error"], body["errorMessage"], "{reply}");
    body["errorMessage"].as_str().unwrap_or_else(|| panic!("errorMessage in {reply}")).to_owned()
}

/// What a list holds under `key`, in its order.
async fn all(realm: &Realm, path: &str, key: &str) -> Vec<String> {
    let reply = realm.admin.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {reply}");
    let list = reply.json();
    let list = list.as_array().unwrap_or_else(|| panic!("a bare array: {reply}"));
    list.iter().map(|item| item[key].as_str().expect("it is a text").to_owned()).collect()
}

async fn usernames(realm: &Realm, query: &str) -> String {
    all(realm, &format!("/users?{query}"), "username").await.join(" ")
}

async fn person(realm: &Realm, user_name: &str, first: &str, last: &str, email: &str) -> String {
    let user = json!({
        "schemas": [USER], "userName": user_name, "externalId": format!("x-{user_name}"),
        "name": { "givenName": first, "familyName": last }, "emails": [{ "value": email, "primary": true }],
    });
    realm.create_user(user).await.id()
}

async fn three(realm: &Realm) -> [String; 3] {
    [
        person(realm, "Ada", "Ada", "Lovelace", "ada@example.com").await,
        person(realm, "grace", "Grace", "Hopper", "ghopper@navy.example").await,
        person(realm, "Straße", "Élodie", "Müller", "e.mueller@example.com").await,
    ]
}

#[tokio::test]
async fn a_search_finds_the_beginnings_of_names_and_addresses() {
    let (realm, other) = World::two_realms().await;
    three(&realm).await;
    other.user("ada").await;
    for (search, found) in [
        ("", "ada grace strasse"),
        ("*", "ada grace strasse"),
        ("ad", "ada"),
        ("AD*", "ada"),
        ("lov", "ada"),
        ("gho", "grace"),
        ("hop", "grace"),
        ("opper", ""),
        ("*opper*", "grace"),
        ("*MÜLL*", "strasse"),
        ("müll", "strasse"),
        ("éLO", "strasse"),
        ("strasse", "strasse"),
        ("\"hopper\"", "grace"),
        ("\"hop\"", ""),
        ("\"ghopper@navy.example\"", "grace"),
        ("ada lov", "ada"),
        ("ada hop", ""),
        ("*a* *e*", "ada grace strasse"),
        ("a_a", ""),
        ("%", ""),
    ] {
        assert_eq!(usernames(&realm, &format!("search={}", encoded(search))).await, found, "{search:?}");
        let count = realm.admin.get(&format!("/users/count?search={}", encoded(search))).await.json();
        assert_eq!(count, json!(found.split_whitespace().count()), "{search:?}");
    }
}

#[tokio::test]
async fn fields_are_parts_unless_they_are_to_be_exact() {
    let realm = World::realm().await;
    let [ada, ..] = three(&realm).await;
    for (query, found) in [
        ("username=ra", "grace strasse"),
        ("username=ra&exact=True", ""),
        ("username=GRACE&exact=true", "grace"),
        ("username=ada&max=1&exact=True", "ada"),
        ("email=example.com", "ada strasse"),
        ("email=ada%40example.com&exact=true&max=10", "ada"),
        ("firstName=ra", "grace"),
        ("lastName=lovelace&exact=TRUE", "ada"),
        ("firstName=ada&lastName=hopper", ""),
        ("enabled=true", "ada grace strasse"),
        ("enabled=False", ""),
        ("emailVerified=true", ""),
        ("emailVerified=false&max=1", "ada"),
        ("q=externalId%3Ax-grace", "grace"),
        ("q=externalId%3AX-GRACE", ""),
        ("q=scimUserName%3AAda", "ada"),
        ("q=scimUserName%3Aada", ""),
        ("q=state%3Ashadow+externalId%3Ax-Ada", "ada"),
        ("q=nothing%3Aat-all", ""),
        ("first=1&max=1", "grace"),
        ("first=2", "strasse"),
        ("max=0", ""),
        ("max=-1&first=-1", "ada grace strasse"),
        ("userProfileMetadata=False&populateHierarchy=x", "ada grace strasse"),
        (&format!("search=id%3A{ada}"), "ada"),
        ("search=id%3Anobody", ""),
    ] {
        assert_eq!(usernames(&realm, query).await, found, "{query}");
    }
    for bad in ["exact=perhaps", "first=one", "max=10001", "state=asleep"] {
        let reply = realm.admin.get(&format!("/users?{bad}")).await;
        assert_eq!(reply.status, 400, "{bad}: {reply}");
        assert!(message(&reply).contains(bad.split('=').next().unwrap_or_default()), "{reply}");
    }
}

#[tokio::test]
async fn users_are_reviewed_by_state() {
    let realm = World::realm().await;
    let [ada, ..] = three(&realm).await;
    let disable = json!([{ "op": "replace", "path": "active", "value": false }]);
    assert_eq!(realm.operations(&format!("/Users/{ada}"), disable).await.status, 200);
    realm.policy("initial_state", "active").await;
    realm.user("zoe").await;
    for (state, found) in [("shadow", "grace strasse"), ("active", "zoe"), ("disabled", "ada")] {
        assert_eq!(usernames(&realm, &format!("state={state}")).await, found);
        assert_eq!(usernames(&realm, &format!("q=state%3A{state}")).await, found);
    }
    assert_eq!(usernames(&realm, "enabled=true").await, "grace strasse zoe");
}

#[tokio::test]
async fn a_user_has_keycloaks_form() {
    let realm = World::realm().await;
    let user = json!({
        "schemas": [USER, ENTERPRISE_USER], "userName": "Ada", "externalId": "42", "title": "Countess",
        "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": "home@example.com" }, { "value": "ada@example.com", "primary": true }],
        ENTERPRISE_USER: { "department": "Engines" },
    });
    let id = realm.create_user(user).await.id();
    let reply = realm.admin.get(&format!("/users/{id}?userProfileMetadata=False")).await;
    assert_eq!(reply.header("content-type"), "application/json");
    let mut shown = reply.json();
    let created = shown["createdTimestamp"].take().as_i64().expect("milliseconds");
    assert!(created > 1_700_000_000_000, "{created}");
    assert_eq!(
        shown,
        json!({
            "id": id, "username": "ada", "firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com",
            "emailVerified": false, "enabled": true, "createdTimestamp": null,
            "attributes": {
                "externalId": ["42"], "title": ["Countess"], format!("{ENTERPRISE_USER}:department"): ["Engines"],
                "state": ["shadow"], "scimUserName": ["Ada"],
            },
            "totp": false, "disableableCredentialTypes": [], "requiredActions": [], "notBefore": 0,
            "access": { "manageGroupMembership": true, "view": true, "mapRoles": true, "impersonate": false, "manage": false },
        })
    );
    let brief = realm.admin.get("/users?briefRepresentation=True").await.json();
    assert!(brief[0]["attributes"].is_null() && brief[0]["email"] == "ada@example.com", "{brief}");
    for nobody in ["nope", "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"] {
        for path in
            [format!("/users/{nobody}"), format!("/users/{nobody}/groups"), format!("/users/{nobody}/role-mappings")]
        {
            let missing = realm.admin.get(&path).await;
            assert_eq!((missing.status.as_u16(), message(&missing)), (404, "User not found".into()), "{path}");
        }
    }
}

#[tokio::test]
async fn groups_are_found_by_name_path_and_member() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let inner = realm.group("Engines/North", &[&ada]).await;
    let outer = realm.group("engineering", &[&inner, &ada]).await;
    let empty = realm.group("zoo", &[]).await;
    let names = async |query: &str| all(&realm, &format!("/groups?{query}"), "name").await.join(", ");
    assert_eq!(names("").await, "engineering, Engines/North, zoo");
    assert_eq!(names("search=ENGI&max=20&first=0").await, "engineering, Engines/North");
    assert_eq!(names("search=zoo&exact=True").await, "zoo");
    assert_eq!(names("search=zo&exact=true").await, "");
    assert_eq!(names("first=1&max=1").await, "Engines/North");
    assert_eq!(realm.admin.get("/groups/count").await.json(), json!({ "count": 3 }));
    assert_eq!(realm.admin.get("/groups/count?search=engi").await.json(), json!({ "count": 2 }));
    let listed = realm.admin.get("/groups/").await.json();
    assert_eq!(
        listed[1],
        json!({ "id": inner, "name": "Engines/North", "path": "/Engines~/North", "subGroupCount": 0, "subGroups": [] })
    );
    for path in ["Engines~/North", "engines~/north"] {
        assert_eq!(realm.admin.get(&format!("/group-by-path/{path}")).await.id(), inner);
    }
    for path in ["Engines/North", "nobody"] {
        let missing = realm.admin.get(&format!("/group-by-path/{path}")).await;
        assert_eq!((missing.status.as_u16(), message(&missing)), (404, "Group path does not exist".into()));
    }
    let group = realm.admin.get(&format!("/groups/{outer}")).await.json();
    assert_eq!((&group["realmRoles"], &group["access"]["manage"]), (&json!([]), &json!(false)));
    assert_eq!(all(&realm, &format!("/groups/{outer}/members"), "username").await, ["ada"], "users alone");
    assert_eq!(all(&realm, &format!("/users/{ada}/groups?search=nor"), "name").await, ["Engines/North"]);
    assert_eq!(all(&realm, &format!("/users/{ada}/groups"), "name").await, ["engineering", "Engines/North"]);
    assert_eq!(realm.admin.get(&format!("/users/{ada}/groups/count")).await.json(), json!({ "count": 2 }));
    assert_eq!(realm.admin.get(&format!("/groups/{outer}/children")).await.json(), json!([]));
    let missing = realm.admin.get("/groups/nope").await;
    assert_eq!((missing.status.as_u16(), message(&missing)), (404, "Could not find group by id".into()));
    assert_eq!(all(&realm, &format!("/groups/{empty}/members"), "username").await, [""; 0]);
}

#[tokio::test]
async fn whoever_pages_by_a_hundred_meets_everybody_once() {
    let realm = World::realm().await;
    let mut ids = realm.seed_users(250).await;
    let refs: Vec<&str> = ids.iter().map(String::as_str).collect();
    let group = realm.group("all", &refs).await;
    ids.sort();
    for list in ["/users".to_owned(), format!("/groups/{group}/members")] {
        let mut met = Vec::new();
        loop {
            let page = all(&realm, &format!("{list}?max=100&first={}", met.len()), "id").await;
            let last = page.len() < 100;
            met.extend(page);
            if last {
                break;
            }
        }
        met.sort();
        assert_eq!(met, ids, "{list}");
        assert_eq!(all(&realm, &list, "id").await.len(), 100, "{list}: as many as Keycloak gives by itself");
    }
    assert_eq!(all(&realm, "/users?max=1000", "id").await.len(), 250);
    assert_eq!(realm.admin.get("/users/count").await.json(), json!(250));
}

#[tokio::test]
async fn few_and_many_are_found_by_the_same_words() {
    let realm = World::realm().await;
    realm.seed_users(2_500).await;
    person(&realm, "zoe", "User", "One", "zoe@example.com").await;
    for (search, count) in
        [("user-", 2_500), ("user", 2_501), ("user-1", 1_111), ("use zo", 1), ("user on", 1), ("zo", 1)]
    {
        let search = encoded(search);
        let found = all(&realm, &format!("/users?max=10000&search={search}"), "username").await;
        assert!(found.len() == count && found.is_sorted(), "{search}: {}", found.len());
        assert_eq!(realm.admin.get(&format!("/users/count?search={search}")).await.json(), json!(count), "{search}");
        assert_eq!(
            all(&realm, &format!("/users?first=1&max=1&search={search}"), "username").await,
            found.get(1..2.min(count)).unwrap_or_default()
        );
    }
}

#[tokio::test]
async fn looking_needs_the_right_to_look() {
    let (realm, other) = World::two_realms().await;
    let ada = realm.user("ada").await;
    for path in ["/users".to_owned(), format!("/users/{ada}"), "/groups".into(), "/roles".into()] {
        assert_eq!(realm.admin.anonymous().get(&path).await.status, 401, "{path}");
        assert_eq!(realm.admin.bearer(&realm.token).get(&path).await.status, 401, "{path}");
    }
    let foreign = other.admin.get(&format!("/users/{ada}")).await;
    assert_eq!((foreign.status.as_u16(), message(&foreign)), (404, "User not found".into()));
    let foreign: Value = other.admin.get(&format!("/users?search=id%3A{ada}")).await.json();
    assert_eq!(foreign, json!([]));
}
