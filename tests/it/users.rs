//! A user lives as RFC 7644 §3 says, and reads back as its IdP wrote it.

use serde_json::{Value, json};

use crate::world::{ENTERPRISE_USER, USER, World};

fn ada() -> Value {
    json!({
        "schemas": [USER, ENTERPRISE_USER],
        "externalId": "00u1ADA",
        "userName": "Ada.Lovelace@Example.com",
        "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "displayName": "Ada Lovelace",
        "emails": [{ "value": "Ada.Lovelace@Example.com", "type": "work", "primary": true }],
        "active": true,
        "locale": "en-GB",
        ENTERPRISE_USER: { "department": "Engines", "employeeNumber": "1815" }
    })
}

#[tokio::test]
async fn a_created_user_reads_back_as_it_was_written() {
    let realm = World::realm().await;
    let created = realm.create_user(ada()).await;
    let read = realm.get(&format!("/Users/{}", created.id())).await;
    assert_eq!(read.status, 200, "{read}");
    assert_eq!(created.json(), read.json());
    let (mut read, wanted) = (read.json(), ada());
    for (key, value) in wanted.as_object().expect("it is written above") {
        assert_eq!(&read[key], value, "{key}");
        read.as_object_mut().expect("a user is an object").remove(key);
    }
    let rest: Vec<_> = read.as_object().expect("a user is an object").keys().cloned().collect();
    assert!(rest.iter().all(|key| ["id", "meta", "groups"].contains(&key.as_str())), "we add nothing else: {rest:?}");
}

#[tokio::test]
async fn a_created_user_tells_where_it_is() {
    let realm = World::realm().await;
    let created = realm.create_user(ada()).await;
    let meta = &created.json()["meta"];
    let location = meta["location"].as_str().expect("meta.location is a text");
    assert!(location.ends_with(&realm.path(&format!("/Users/{}", created.id()))), "{location}");
    assert_eq!(created.header("location"), location);
    assert_eq!(meta["resourceType"], "User");
    assert_eq!(meta["created"], meta["lastModified"]);
    let created_at: jiff::Timestamp = meta["created"].as_str().expect("a text").parse().expect("RFC 3339 in UTC");
    assert!(created_at.as_second() > 0);
    assert!(created.header("content-type").starts_with("application/scim+json"));
}

#[tokio::test]
async fn a_user_without_a_name_is_refused() {
    let realm = World::realm().await;
    for user in [
        json!({ "schemas": [USER] }),
        json!({ "schemas": [USER], "userName": "" }),
        json!({ "schemas": [USER], "userName": null }),
    ] {
        let reply = realm.post("/Users", user.clone()).await;
        assert_eq!(reply.summary(), "400 invalidValue", "{user}");
        assert!(reply.detail().contains("userName"), "{reply}");
    }
    assert!(realm.names("userName pr").await.is_empty());
}

#[tokio::test]
async fn a_name_is_taken_in_whatever_case_and_width_it_is_written() {
    let realm = World::realm().await;
    realm.user("Straße@example.com").await;
    for taken in ["Straße@example.com", "STRASSE@EXAMPLE.COM", "straße@Example.com", "ｓｔｒａｓｓｅ@example.com"]
    {
        let reply = realm.post("/Users", json!({ "schemas": [USER], "userName": taken })).await;
        assert_eq!(reply.summary(), "409 uniqueness", "{taken}: {reply}");
        assert!(reply.detail().contains("userName"), "{reply}");
    }
    assert_eq!(realm.names("userName pr").await, ["Straße@example.com"]);
}

#[tokio::test]
async fn a_user_may_not_take_the_name_of_another_by_put_or_patch() {
    let realm = World::realm().await;
    realm.user("ada").await;
    let path = format!("/Users/{}", realm.user("bob").await);
    let put = realm.put(&path, json!({ "schemas": [USER], "userName": "ADA" })).await;
    assert_eq!(put.summary(), "409 uniqueness");
    let patch = realm.operations(&path, json!([{ "op": "replace", "path": "userName", "value": "Ada" }])).await;
    assert_eq!(patch.summary(), "409 uniqueness");
    assert_eq!(realm.names("userName pr").await, ["ada", "bob"]);
}

#[tokio::test]
async fn a_put_replaces_all_that_the_idp_may_write() {
    let realm = World::realm().await;
    let created = realm.create_user(ada()).await;
    let path = format!("/Users/{}", created.id());
    let put = realm.put(&path, json!({ "schemas": [USER], "userName": "ada", "active": true, "id": "not-hers" })).await;
    assert_eq!(put.status, 200, "{put}");
    let (old, new) = (created.json(), put.json());
    assert_eq!((&new["id"], &new["userName"]), (&old["id"], &json!("ada")));
    assert_eq!(new["meta"]["created"], old["meta"]["created"]);
    for gone in ["name", "emails", "externalId", "locale", ENTERPRISE_USER] {
        assert!(new.get(gone).is_none(), "{gone} in {put}");
    }
    assert_eq!(realm.get(&path).await.json(), new);
}

#[tokio::test]
async fn a_patch_with_one_wrong_operation_changes_nothing() {
    let realm = World::realm().await;
    let created = realm.create_user(ada()).await;
    let path = format!("/Users/{}", created.id());
    for (wrong, why) in [
        (json!({ "op": "replace", "path": "emails[type eq \"home\"].value", "value": { "a": 7 } }), "invalidValue"),
        (json!({ "op": "replace", "path": "name..givenName", "value": "x" }), "invalidPath"),
        (json!({ "op": "replace", "path": "active", "value": "perhaps" }), "invalidValue"),
        (json!({ "op": "frobnicate", "path": "title", "value": "x" }), "invalidSyntax"),
        (json!({ "op": "remove" }), "noTarget"),
        (json!({ "op": "remove", "path": "userName" }), "mutability"),
    ] {
        let reply = realm
            .operations(&path, json!([{ "op": "replace", "path": "name.givenName", "value": "Augusta" }, wrong]))
            .await;
        assert_eq!(reply.summary(), format!("400 {why}"), "{wrong}: {reply}");
        reply.detail();
        assert_eq!(realm.get(&path).await.json(), created.json(), "{wrong}");
    }
}

#[tokio::test]
async fn a_patch_may_not_change_what_is_read_only() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    for path in ["id", "meta.created"] {
        let reply =
            realm.operations(&format!("/Users/{id}"), json!([{ "op": "replace", "path": path, "value": "x" }])).await;
        assert_eq!(reply.summary(), "400 mutability", "{path}: {reply}");
    }
    let read = realm.get(&format!("/Users/{id}")).await;
    assert_eq!(read.id(), id);
}

#[tokio::test]
async fn a_user_is_disabled_by_true_false_and_by_the_words_for_them() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    for (value, active) in [
        (json!(false), false),
        (json!("True"), true),
        (json!("False"), false),
        (json!(true), true),
        (json!("false"), false),
    ] {
        let by_path = json!([{ "op": "Replace", "path": "active", "value": value }]);
        let reply = realm.operations(&path, by_path).await;
        assert!(reply.status.is_success(), "{value}: {reply}");
        assert_eq!(realm.get(&path).await.json()["active"], active, "{value}");
        let without_path = json!([{ "op": "replace", "value": { "active": !active } }]);
        assert!(realm.operations(&path, without_path).await.status.is_success());
        assert_eq!(realm.get(&path).await.json()["active"], !active, "{value}");
    }
}

#[tokio::test]
async fn a_work_email_is_made_where_there_is_none_as_entra_expects() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.user("ada").await);
    let by_filter = json!([{ "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "ada@example.com" }]);
    assert!(realm.operations(&path, by_filter).await.status.is_success());
    assert_eq!(realm.get(&path).await.json()["emails"], json!([{ "type": "work", "value": "ada@example.com" }]));
}

#[tokio::test]
async fn an_extension_is_patched_by_its_urn() {
    let realm = World::realm().await;
    let path = format!("/Users/{}", realm.create_user(ada()).await.id());
    let operation = json!([{ "op": "add", "path": format!("{ENTERPRISE_USER}:department"), "value": "Analytics" }]);
    assert!(realm.operations(&path, operation).await.status.is_success());
    let read = realm.get(&path).await.json();
    assert_eq!(read[ENTERPRISE_USER], json!({ "department": "Analytics", "employeeNumber": "1815" }));
}

#[tokio::test]
async fn attribute_names_are_found_in_any_case_and_answered_in_their_own() {
    let realm = World::realm().await;
    let created =
        realm.create_user(json!({ "SCHEMAS": [USER], "USERNAME": "Ada", "Name": { "GIVENNAME": "Ada" } })).await;
    let body = created.json();
    assert_eq!((&body["userName"], &body["name"]), (&json!("Ada"), &json!({ "givenName": "Ada" })));
}

#[tokio::test]
async fn a_password_is_accepted_and_kept_nowhere() {
    let realm = World::realm().await;
    let secret = "hunter2-is-not-a-secret";
    let created = realm.create_user(json!({ "schemas": [USER], "userName": "ada", "password": secret })).await;
    let path = format!("/Users/{}", created.id());
    let patch = json!([{ "op": "replace", "path": "password", "value": secret }]);
    let patched = realm.operations(&path, patch).await;
    assert!(patched.status.is_success(), "{patched}");
    for reply in [created, patched, realm.get(&path).await, realm.get(&format!("{path}?attributes=password")).await] {
        assert!(!String::from_utf8_lossy(&reply.bytes).contains("hunter2"), "{reply}");
    }
    assert!(!World::shared().log().contains("hunter2"));
}

#[tokio::test]
async fn a_deleted_user_is_gone_from_everywhere_and_leaves_the_name() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    let group = realm.group("engines", &[&id]).await;
    let path = format!("/Users/{id}");
    let deleted = realm.delete(&path).await;
    assert_eq!((deleted.status.as_u16(), deleted.bytes.len()), (204, 0));
    for reply in [realm.get(&path).await, realm.delete(&path).await, realm.put(&path, ada()).await] {
        assert_eq!(reply.summary(), "404 Not Found");
        assert!(reply.detail().contains(&id), "{reply}");
    }
    assert!(realm.names("userName eq \"ada\"").await.is_empty());
    assert!(realm.members_of(&group).await.is_empty());
    realm.user("ADA").await;
}

#[tokio::test]
async fn a_user_shows_its_groups_and_cannot_set_them() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    let group = realm.group("engines", &[&id]).await;
    let path = format!("/Users/{id}");
    let groups = realm.get(&path).await.json()["groups"].clone();
    assert_eq!((&groups[0]["value"], &groups[0]["display"]), (&json!(group), &json!("engines")), "{groups}");
    let put = realm.put(&path, json!({ "schemas": [USER], "userName": "ada", "groups": [] })).await;
    assert_eq!(put.status, 200, "{put}");
    assert_eq!(realm.members_of(&group).await, [id]);
}

#[tokio::test]
async fn an_external_id_is_text_and_never_an_id_of_ours() {
    let realm = World::realm().await;
    let victim = realm.user("victim").await;
    let created = realm.create_user(json!({ "schemas": [USER], "userName": "ada", "externalId": victim })).await;
    assert_ne!(created.id(), victim);
    assert_eq!(realm.get(&format!("/Users/{victim}")).await.json()["userName"], "victim");
}

#[tokio::test]
async fn names_of_any_script_and_ids_of_any_form_find_their_answer() {
    let realm = World::realm().await;
    for name in ["Ἀρχιμήδης", "李小龍", "🦀@example.com", "أحمد", "a'b\"c\\d%_", "İstanbul"] {
        let id = realm.user(name).await;
        assert_eq!(realm.get(&format!("/Users/{id}")).await.json()["userName"], name);
    }
    for id in ["1", "nobody", "00000000-0000-0000-0000-000000000000", "%F0%9F%A6%80", "a%27b"] {
        assert_eq!(realm.get(&format!("/Users/{id}")).await.summary(), "404 Not Found", "{id}");
    }
}

#[tokio::test]
async fn a_method_which_a_path_does_not_have_is_named_with_those_it_has() {
    let realm = World::realm().await;
    let reply = realm.delete("/Users").await;
    assert_eq!(reply.status, 405, "{reply}");
    assert!(reply.header("allow").contains("GET"), "{:?}", reply.headers);
    reply.detail();
}

#[tokio::test]
async fn only_the_word_true_brings_a_disabled_user_back() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    let path = format!("/Users/{id}");
    let active = async |body: Value| realm.put(&path, body).await.json()["active"].clone();
    assert_eq!(active(json!({ "userName": "ada", "active": false })).await, false);
    assert_eq!(active(json!({ "userName": "ada" })).await, false);
    assert_eq!(active(json!({ "userName": "ada", "active": null })).await, false);
    assert_eq!(active(json!({ "userName": "ada", "active": true })).await, true);
}

#[tokio::test]
async fn an_id_has_one_spelling() {
    let realm = World::realm().await;
    let id = realm.user("ada").await;
    for other in [id.to_uppercase(), id.replace('-', ""), format!("%7B{id}%7D"), format!("urn:uuid:{id}")] {
        assert_eq!(realm.get(&format!("/Users/{other}")).await.status, 404, "{other}");
    }
}

#[tokio::test]
async fn what_no_index_could_hold_is_refused() {
    let realm = World::realm().await;
    // Text which does not compress, or Postgres would make it fit.
    let long: String = (0..4_000u32)
        .map(|n| char::from(b'a' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 27).unwrap() % 26))
        .collect();
    for user in [
        json!({ "userName": "a", "externalId": long }),
        json!({ "userName": "a", "displayName": long }),
        json!({ "userName": "a", "emails": [{ "value": long }] }),
        json!({ "userName": "\u{20000}".repeat(1_024) }),
    ] {
        assert_eq!(realm.post("/Users", user).await.summary(), "400 invalidValue");
    }
    assert_eq!(realm.post("/Groups", json!({ "displayName": long })).await.summary(), "400 invalidValue");
}

#[tokio::test]
async fn a_name_that_follows_an_address_must_be_a_name() {
    let realm = World::realm().await;
    realm.policy("user_name_follows_email", true).await;
    let user = json!({ "userName": "ada@a.example", "emails": [{ "value": "ada@a.example", "type": "work" }] });
    let path = format!("/Users/{}", realm.create_user(user).await.id());
    let to = async |address: &str| {
        let operation = json!({ "op": "replace", "path": "emails[type eq \"work\"].value", "value": address });
        realm.operations(&path, json!([operation])).await
    };
    for odd in ["  ", "a\u{1}b", &"x".repeat(1_500)] {
        assert_eq!(to(odd).await.summary(), "400 invalidValue", "{odd:?}");
    }
    assert_eq!(to("ada@b.example").await.json()["userName"], "ada@b.example");
}

#[tokio::test]
async fn who_takes_active_away_changes_nobody_s_state() {
    let realm = World::realm().await;
    for active in [true, false] {
        let user =
            realm.create_user(json!({ "schemas": [USER], "userName": format!("{active}"), "active": active })).await;
        let path = format!("/Users/{}", user.id());
        let gone = realm.operations(&path, json!([{ "op": "remove", "path": "active" }])).await;
        assert_eq!((gone.status.as_u16(), gone.json().get("active")), (200, None), "{gone}");
        let sql = World::shared().superuser().await;
        let query = "SELECT active FROM users WHERE id = $1::text::uuid";
        let state = async || sql.query_one(query, &[&user.id()]).await.expect("the user is there").get::<_, bool>(0);
        assert_eq!(state().await, active);
        let put = realm.put(&path, json!({ "schemas": [USER], "userName": format!("{active}"), "title": "x" })).await;
        assert_eq!((put.json().get("active"), state().await), (None, active), "a PUT which is silent says no more");
    }
    assert!(realm.names("active pr").await.is_empty() && realm.names("active eq false").await.is_empty());
}
