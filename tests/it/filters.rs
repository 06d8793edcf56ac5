//! A filter finds exactly those whom RFC 7644 §3.4.2.2 says it finds, or is refused; never 200 with a wrong set.

use serde_json::json;

use crate::world::{ENTERPRISE_USER, Realm, USER, World, encoded};

const NOBODY: [&str; 0] = [];

/// Three people who differ in every kind of attribute.
async fn ada_bob_and_cyd() -> Realm {
    let realm = World::realm().await;
    realm
        .create_user(json!({
            "schemas": [USER, ENTERPRISE_USER], "userName": "Ada@Example.com", "externalId": "X-1", "active": true,
            "displayName": "Ada Lovelace", "name": { "givenName": "Ada", "familyName": "Lovelace" }, "title": "Countess",
            "emails": [{ "value": "ada@example.com", "type": "work", "primary": true }, { "value": "ada@home.example", "type": "home" }],
            ENTERPRISE_USER: { "department": "Engines", "employeeNumber": "10" }
        }))
        .await;
    realm
        .create_user(json!({
            "schemas": [USER, ENTERPRISE_USER], "userName": "bob@example.com", "externalId": "x-1", "active": false,
            "displayName": "Bob", "name": { "givenName": "Bob" },
            "emails": [{ "value": "bob@home.example", "type": "work" }, { "value": "ada@example.com", "type": "home" }],
            ENTERPRISE_USER: { "department": "Sales" }
        }))
        .await;
    realm
        .create_user(json!({ "schemas": [USER], "userName": "cyd_1%\\", "active": true, "displayName": "李小龍" }))
        .await;
    realm
}

const ADA: &str = "Ada@Example.com";
const BOB: &str = "bob@example.com";
const CYD: &str = "cyd_1%\\";

#[tokio::test]
async fn each_operator_finds_those_whom_the_rfc_says() {
    let realm = ada_bob_and_cyd().await;
    for (filter, found) in [
        (r#"userName eq "ada@EXAMPLE.com""#, &[ADA][..]),
        (r#"userName ne "ada@example.com""#, &[BOB, CYD]),
        (r#"userName co "EXAMPLE""#, &[ADA, BOB]),
        (r#"userName sw "BOB""#, &[BOB]),
        (r#"userName ew ".com""#, &[ADA, BOB]),
        (r#"userName gt "ada@example.com""#, &[BOB, CYD]),
        (r#"userName ge "ada@example.com""#, &[ADA, BOB, CYD]),
        (r#"userName lt "bob@example.com""#, &[ADA]),
        (r#"userName le "bob@example.com""#, &[ADA, BOB]),
        ("title pr", &[ADA]),
        ("not (title pr)", &[BOB, CYD]),
        (r#"title eq "countess""#, &[ADA]),
        (r#"USERNAME EQ "bob@example.com""#, &[BOB]),
    ] {
        assert_eq!(realm.names(filter).await, found, "{filter}");
    }
}

#[tokio::test]
async fn each_kind_of_attribute_can_be_asked_for() {
    let realm = ada_bob_and_cyd().await;
    let department = format!(r#"{ENTERPRISE_USER}:department eq "engines""#);
    let by_full_name = format!(r#"{USER}:userName eq "bob@example.com""#);
    for (filter, found) in [
        ("active eq true", &[ADA, CYD][..]),
        ("active eq false", &[BOB]),
        ("active ne true", &[BOB]),
        (r#"externalId eq "X-1""#, &[ADA]),
        (r#"externalId eq "x-1""#, &[BOB]),
        (r#"name.familyName eq "lovelace""#, &[ADA]),
        ("name pr", &[ADA, BOB]),
        (r#"emails.value eq "ADA@example.com""#, &[ADA, BOB]),
        (r#"emails eq "bob@home.example""#, &[BOB]),
        (r#"emails[type eq "work" and value co "home"]"#, &[BOB]),
        (r#"emails[type eq "work"].value eq "ada@example.com""#, &[ADA]),
        ("emails[primary eq true]", &[ADA]),
        (r#"emails[not (type eq "work")]"#, &[ADA, BOB]),
        ("emails pr", &[ADA, BOB]),
        (r#"emails.type eq "home""#, &[ADA, BOB]),
        (department.as_str(), &[ADA]),
        (by_full_name.as_str(), &[BOB]),
        (r#"displayName eq "李小龍""#, &[CYD]),
        (r#"displayName co "小""#, &[CYD]),
        (r#"meta.created gt "2000-01-01T00:00:00Z""#, &[ADA, BOB, CYD]),
        (r#"meta.lastModified lt "2000-01-01T00:00:00Z""#, &NOBODY),
        (r#"meta.resourceType eq "User""#, &[ADA, BOB, CYD]),
        ("nickName eq null", &[ADA, BOB, CYD]),
    ] {
        assert_eq!(realm.names(filter).await, found, "{filter}");
    }
}

#[tokio::test]
async fn and_binds_tighter_than_or_and_brackets_tighter_than_both() {
    let realm = ada_bob_and_cyd().await;
    for (filter, found) in [
        (r#"userName sw "bob" or userName sw "cyd" and active eq false"#, &[BOB][..]),
        (r#"(userName sw "bob" or userName sw "cyd") and active eq true"#, &[CYD]),
        (r#"not (userName sw "bob" or userName sw "cyd")"#, &[ADA]),
        ("not (active eq true) and not (title pr)", &[BOB]),
        (r#"userName sw "ada" or userName sw "bob" or userName sw "cyd""#, &[ADA, BOB, CYD]),
    ] {
        assert_eq!(realm.names(filter).await, found, "{filter}");
    }
}

#[tokio::test]
async fn what_is_special_to_the_database_is_only_text_here() {
    let realm = ada_bob_and_cyd().await;
    for (filter, found) in [
        (r#"userName eq "cyd_1%\\""#, &[CYD][..]),
        (r#"userName co "_1%""#, &[CYD]),
        (r#"userName sw "%""#, &NOBODY),
        (r#"userName sw "___""#, &NOBODY),
        (r#"userName ew "\\""#, &[CYD]),
        (r#"userName eq "' OR '1'='1""#, &NOBODY),
        (r#"userName eq "x'; DROP TABLE users; --""#, &NOBODY),
        (r#"userName co "$1""#, &NOBODY),
        (r#"userName eq "\u0041da@example.com""#, &[ADA]),
        (r#"externalId eq "*""#, &NOBODY),
    ] {
        assert_eq!(realm.names(filter).await, found, "{filter}");
    }
    assert_eq!(realm.names("userName pr").await, [ADA, BOB, CYD]);
}

#[tokio::test]
async fn a_filter_that_cannot_be_meant_is_refused_and_named() {
    let realm = ada_bob_and_cyd().await;
    for filter in [
        r#"shoeSize eq "44""#,
        r#"name.shoeSize eq "44""#,
        r#"urn:example:nothing:userName eq "x""#,
        r#"emails[shoeSize eq "44"]"#,
        "userName",
        "userName eq",
        "userName eq ada",
        r#"userName equals "ada""#,
        r#"userName eq "ada"#,
        r#"(userName eq "ada""#,
        r#"userName eq "ada")"#,
        r#"userName eq "ada" and"#,
        r#"not userName eq "ada""#,
        "active gt true",
        r#"active eq "perhaps""#,
        r#"meta.created gt "yesterday""#,
        "userName eq 7",
        r#"emails[type eq "work""#,
        r#"emails[emails[type eq "work"]]"#,
        r#"userName eq "a\u0000b""#,
        r#"userName eq "\ud800""#,
        "password pr",
        r#"password eq "x""#,
        "",
        " ",
        "§",
    ] {
        let reply = realm.get(&format!("/Users?filter={}", encoded(filter))).await;
        assert_eq!(reply.summary(), "400 invalidFilter", "{filter:?}: {reply}");
        reply.detail();
    }
}

#[tokio::test]
async fn groups_are_found_by_name_and_by_member() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let engines = realm.group("Engines", &[&ada]).await;
    realm.group("Sales", &[]).await;
    for filter in [
        r#"displayName eq "ENGINES""#.to_owned(),
        format!(r#"members.value eq "{ada}""#),
        format!(r#"members[value eq "{ada}"]"#),
        format!(r#"id eq "{engines}""#),
    ] {
        let found = realm.get(&format!("/Groups?filter={}", encoded(&filter))).await;
        assert_eq!(found.status, 200, "{filter}: {found}");
        let found = found.json();
        assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(engines)), "{filter}");
    }
}

#[tokio::test]
async fn groups_are_found_by_what_their_members_are() {
    let realm = World::realm().await;
    let (ada, bob) = (realm.user("ada").await, realm.user("bob").await);
    let inner = realm.group("inner", &[&ada]).await;
    let outer = realm.group("outer", &[&inner, &bob]).await;
    let empty = realm.group("empty", &[]).await;
    for (filter, found) in [
        (format!(r#"members.value eq "{inner}""#), &[&outer][..]),
        (format!(r#"members.value eq "{}""#, ada.to_uppercase()), &[&inner]),
        (format!(r#"members eq "{bob}""#), &[&outer]),
        (format!(r#"members[value eq "{inner}" and type eq "Group"]"#), &[&outer]),
        (format!(r#"members[value eq "{ada}" and type eq "Group"]"#), &[]),
        (format!(r#"members[value eq "{bob}" or value eq "{ada}"]"#), &[&inner, &outer]),
        (r#"members[type eq "User"]"#.to_owned(), &[&inner, &outer]),
        (r#"members[type eq "Group"]"#.to_owned(), &[&outer]),
        (r#"members.display eq "ADA""#.to_owned(), &[&inner]),
        ("members pr".to_owned(), &[&inner, &outer]),
        ("not (members pr)".to_owned(), &[&empty]),
        (format!(r#"not (members[value eq "{ada}"])"#), &[&outer, &empty]),
        (format!(r#"members.value eq "{bob}" and displayName eq "outer""#), &[&outer]),
        (format!(r#"members.value eq "{empty}""#), &[]),
        (r#"members.value eq "nobody""#.to_owned(), &[]),
    ] {
        let reply = realm.get(&format!("/Groups?attributes=id&filter={}", encoded(&filter))).await;
        assert_eq!(reply.status, 200, "{filter}: {reply}");
        let json = reply.json();
        let resources = json["Resources"].as_array().expect("it is a list").iter();
        let ids: Vec<_> = resources.map(|group| group["id"].as_str().expect("it has an id")).collect();
        assert_eq!(ids, found.to_vec(), "{filter}");
    }
}

#[tokio::test]
async fn a_change_is_found_by_when_it_was_made() {
    let realm = World::realm().await;
    let [ada, bob] = [realm.user("ada").await, realm.user("bob").await];
    let before = realm.get(&format!("/Users/{bob}")).await.json()["meta"]["lastModified"].clone();
    let patch = json!([{ "op": "replace", "path": "title", "value": "Countess" }]);
    assert!(realm.operations(&format!("/Users/{ada}"), patch).await.status.is_success());
    assert_eq!(realm.names(&format!("meta.lastModified gt {before}")).await, ["ada"]);
}
