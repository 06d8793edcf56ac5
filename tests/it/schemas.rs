//! A realm's own schema extension is as good as one of the RFC: discovered, enforced, filtered and patched by its URN
//! (RFC 7643 §3.3, §7).

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{Realm, USER, World, encoded};

const BADGE: &str = "urn:acme:params:scim:schemas:extension:badge:1.0:User";

fn schema() -> Value {
    json!({
        "id": BADGE, "name": "Badge", "description": "What opens doors",
        "attributes": [
            { "name": "number", "type": "integer", "required": true },
            { "name": "colour", "type": "string", "canonicalValues": ["red", "blue"] },
            { "name": "code", "type": "string", "caseExact": true },
            { "name": "validUntil", "type": "dateTime" },
            { "name": "issuedFor", "type": "string", "mutability": "immutable" },
            { "name": "secretHint", "type": "string", "returned": "request" },
            { "name": "doors", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "value", "type": "string" }, { "name": "floor", "type": "integer" },
                { "name": "primary", "type": "boolean" }] },
        ],
    })
}

async fn with_badges() -> Realm {
    let realm = World::realm().await;
    let added = realm.admin.post("/scim/schemas", schema()).await;
    assert_eq!(added.status, 201, "{added}");
    realm
}

fn ada(badge: &Value) -> Value {
    json!({ "schemas": [USER, BADGE], "userName": "ada", BADGE: badge })
}

#[tokio::test]
async fn it_appears_in_discovery_of_its_realm_alone() {
    let (realm, other) = (with_badges().await, World::realm().await);
    let found = realm.get(&format!("/Schemas/{BADGE}")).await;
    assert_eq!(found.status, 200, "{found}");
    let number = &found.json()["attributes"][0];
    assert_eq!(
        (&number["type"], &number["required"], &number["mutability"]),
        (&json!("integer"), &json!(true), &json!("readWrite"))
    );
    let types = realm.get("/ResourceTypes/User").await.json();
    assert!(types["schemaExtensions"].as_array().unwrap().contains(&json!({ "schema": BADGE, "required": false })));
    assert_eq!(realm.get("/Schemas").await.json()["totalResults"], 4);
    assert_eq!(other.get(&format!("/Schemas/{BADGE}")).await.status, 404);
    assert_eq!(other.get("/Schemas").await.json()["totalResults"], 3);
}

#[tokio::test]
async fn it_is_enforced_when_users_are_written() {
    let realm = with_badges().await;
    for wrong in [
        json!({ "number": "seven" }),
        json!({ "number": 7, "validUntil": "soon" }),
        json!({ "number": 7, "doors": "all" }),
        json!(7),
    ] {
        let reply = realm.post("/Users", ada(&wrong)).await;
        assert_eq!(reply.summary(), "400 invalidValue", "{wrong}");
        assert!(reply.detail().contains("badge") || reply.detail().contains("number"), "{reply}");
    }
    let created = realm.create_user(ada(&json!({ "NUMBER": 7, "Doors": [{ "value": "north" }] }))).await.json();
    assert_eq!(
        created[BADGE],
        json!({ "number": 7, "doors": [{ "value": "north" }] }),
        "names become the schema's own"
    );
    assert_eq!(created["schemas"], json!([USER, BADGE]));
}

#[tokio::test]
async fn users_are_found_by_it() {
    let realm = with_badges().await;
    for (name, badge) in [
        (
            "ada",
            json!({ "number": 7, "colour": "Red", "code": "aB", "validUntil": "2030-01-01T00:00:00+02:00", "doors": [{ "value": "North", "floor": 1 }] }),
        ),
        (
            "bob",
            json!({ "number": 30, "colour": "blue", "code": "ab", "doors": [{ "value": "south", "floor": 2 }, { "value": "north", "floor": 3 }] }),
        ),
    ] {
        realm.create_user(json!({ "schemas": [USER, BADGE], "userName": name, BADGE: badge })).await;
    }
    realm.user("eve").await;
    for (filter, expected) in [
        ("number gt 7", vec!["bob"]),
        ("number le 30", vec!["ada", "bob"]),
        ("colour eq \"RED\"", vec!["ada"]),
        ("code eq \"ab\"", vec!["bob"]),
        ("validUntil lt \"2029-12-31T23:00:00Z\"", vec!["ada"]),
        ("doors[value eq \"NORTH\" and floor eq 3]", vec!["bob"]),
        ("doors.value co \"north\"", vec!["ada", "bob"]),
        ("number pr", vec!["ada", "bob"]),
    ] {
        assert_eq!(realm.names(&format!("{BADGE}:{filter}")).await, expected, "{filter}");
    }
    let unknown = realm.get(&format!("/Users?filter={}", encoded(&format!("{BADGE}:size eq 1")))).await;
    assert_eq!(unknown.summary(), "400 invalidFilter");
}

#[tokio::test]
async fn what_is_there_must_fit_before_a_schema_comes() {
    let realm = World::realm().await;
    let id = realm.create_user(ada(&json!({ "number": "seven" }))).await.id();
    let refused = realm.admin.post("/scim/schemas", schema()).await;
    assert_eq!(refused.status, 409, "{refused}");
    assert!(refused.text_at("errorMessage").contains(&id), "{refused}");
    assert_eq!(realm.put(&format!("/Users/{id}"), ada(&json!({ "number": 7, "colour": "Grün" }))).await.status, 200);
    let added = realm.admin.post("/scim/schemas", schema()).await;
    assert_eq!(added.status, 201, "{added}");
    assert_eq!(realm.names(&format!("{BADGE}:colour eq \"GRÜN\"")).await, ["ada"], "it compares as the schema says");
}

#[tokio::test]
async fn it_goes_by_force_alone_while_users_have_it() {
    let realm = with_badges().await;
    let id = realm.create_user(ada(&json!({ "number": 7 }))).await.id();
    let path = format!("/scim/schemas/{BADGE}");
    let refused = realm.admin.delete(&path).await;
    assert_eq!(refused.status, 409, "{refused}");
    assert_eq!(realm.get(&format!("/Schemas/{BADGE}")).await.status, 200);
    assert_eq!(realm.admin.delete(&format!("{path}?force=true")).await.status, 204);
    assert_eq!(realm.get(&format!("/Schemas/{BADGE}")).await.status, 404);
    assert_eq!(realm.get(&format!("/Users/{id}")).await.json()[BADGE], json!({ "number": 7 }), "nothing is lost");
    assert_eq!(realm.admin.delete(&path).await.status, 404);
}

#[tokio::test]
async fn a_schema_nobody_uses_goes_without_force() {
    let realm = with_badges().await;
    assert_eq!(realm.admin.get("/scim/schemas").await.json()[0]["id"], BADGE);
    assert_eq!(realm.admin.get(&format!("/scim/schemas/{BADGE}")).await.json()["resourceType"], "User");
    assert_eq!(realm.admin.delete(&format!("/scim/schemas/{BADGE}")).await.status, 204);
    assert_eq!(realm.admin.get("/scim/schemas").await.json(), json!([]));
}

#[tokio::test]
async fn a_schema_which_cannot_be_kept_to_is_refused() {
    let realm = with_badges().await;
    assert_eq!(realm.admin.post("/scim/schemas", schema()).await.status, 409, "it is there already");
    for (wrong, named) in [
        (json!({ "id": "badge", "name": "x", "attributes": [{ "name": "a" }] }), "URN"),
        (json!({ "id": "urn:acme:x", "name": "x", "attributes": [{ "name": "a", "type": "float" }] }), "float"),
        (
            json!({ "id": "urn:acme:x", "name": "x", "attributes": [{ "name": "a", "type": "complex" }] }),
            "subAttributes",
        ),
        (json!([]), "object"),
    ] {
        let reply = realm.admin.post("/scim/schemas", wrong.clone()).await;
        assert_eq!(reply.status, 400, "{wrong}: {reply}");
        assert!(reply.text_at("errorMessage").contains(named), "{wrong}: {reply}");
    }
    assert_eq!(realm.admin.post("/scim/schemas?resourceType=Device", schema()).await.status, 400);
}

#[tokio::test]
async fn groups_are_extended_the_same_way() {
    let realm = World::realm().await;
    let schema = json!({ "id": "urn:acme:team:1.0:Group", "name": "Team", "attributes": [{ "name": "budget", "type": "decimal" }] });
    let added = realm.admin.post("/scim/schemas?resourceType=Group", schema).await;
    assert_eq!(added.status, 201, "{added}");
    let group =
        |name: &str, budget: Value| json!({ "displayName": name, "urn:acme:team:1.0:Group": { "budget": budget } });
    assert_eq!(realm.post("/Groups", group("a", json!("x"))).await.summary(), "400 invalidValue");
    assert_eq!(realm.post("/Groups", group("a", json!(10.5))).await.status, 201);
    let found = realm.get(&format!("/Groups?filter={}", encoded("urn:acme:team:1.0:Group:budget gt 10"))).await.json();
    assert_eq!(found["totalResults"], 1, "{found}");
}

#[tokio::test]
async fn what_it_requires_is_demanded_and_cannot_be_taken_away() {
    let realm = World::realm().await;
    let before = format!("/Users/{}", realm.user("before").await);
    let added = realm.admin.post("/scim/schemas?required=true", schema()).await;
    assert_eq!(added.status, 201, "{added}");
    for wrong in [json!({ "userName": "ada" }), json!({ "userName": "ada", BADGE: { "colour": "red" } })] {
        let reply = realm.post("/Users", wrong).await;
        assert_eq!(reply.summary(), "400 invalidValue");
        assert!(reply.detail().contains(BADGE), "{reply}");
    }
    let path = format!("/Users/{}", realm.create_user(ada(&json!({ "number": 7, "colour": "red" }))).await.id());
    assert_eq!(realm.put(&path, json!({ "userName": "ada" })).await.summary(), "400 invalidValue");
    for (at, outcome) in [("", "400 mutability"), (":number", "400 mutability"), (":colour", "200 OK")] {
        let remove = json!([{ "op": "remove", "path": format!("{BADGE}{at}") }]);
        assert_eq!(realm.operations(&path, remove).await.summary(), outcome, "{at}");
    }
    let disable = json!([{ "op": "replace", "path": "active", "value": false }]);
    assert_eq!(realm.operations(&before, disable).await.summary(), "200 OK", "a leaver who came before it leaves");
}

#[tokio::test]
async fn what_is_returned_on_request_is_answered_where_it_is_named() {
    let realm = with_badges().await;
    let created = realm.create_user(ada(&json!({ "number": 7, "secretHint": "blue door" }))).await;
    let path = format!("/Users/{}", created.id());
    assert_eq!(created.json()[BADGE], json!({ "number": 7 }));
    for (query, badge) in [
        (String::new(), json!({ "number": 7 })),
        ("?excludedAttributes=userName".to_owned(), json!({ "number": 7 })),
        (format!("?attributes={BADGE}:secretHint"), json!({ "secretHint": "blue door" })),
        (format!("?excludedAttributes={BADGE}:number"), Value::Null),
    ] {
        assert_eq!(realm.get(&format!("{path}{query}")).await.json()[BADGE], badge, "{query}");
        assert_eq!(realm.get(&format!("/Users{query}")).await.json()["Resources"][0][BADGE], badge, "{query}");
    }
}

#[tokio::test]
async fn what_it_requires_must_be_there() {
    let realm = with_badges().await;
    assert_eq!(realm.post("/Users", ada(&json!({ "colour": "red" }))).await.summary(), "400 invalidValue");
    let strict = World::realm().await;
    let added = strict.admin.post("/scim/schemas?required=true", schema()).await;
    assert_eq!(added.status, 201, "{added}");
    let without = strict.post("/Users", json!({ "schemas": [USER], "userName": "bob" })).await;
    assert_eq!(without.summary(), "400 invalidValue");
    assert!(without.detail().contains(BADGE), "{without}");
    strict.create_user(ada(&json!({ "number": 1 }))).await;
}

#[tokio::test]
async fn it_is_patched_by_its_urn() {
    let realm = with_badges().await;
    let id = realm.create_user(ada(&json!({ "number": 7 }))).await.id();
    let path = format!("/Users/{id}");
    let patched = realm
        .operations(
            &path,
            json!([
                { "op": "replace", "path": format!("{BADGE}:number"), "value": 8 },
                { "op": "add", "path": format!("{BADGE}:doors"), "value": [{ "value": "north", "floor": 1 }] },
                { "op": "add", "value": { BADGE: { "colour": "blue" } } },
            ]),
        )
        .await;
    assert_eq!(
        patched.json()[BADGE],
        json!({ "number": 8, "doors": [{ "value": "north", "floor": 1 }], "colour": "blue" }),
        "{patched}"
    );
    let wrong =
        realm.operations(&path, json!([{ "op": "replace", "path": format!("{BADGE}:number"), "value": "x" }])).await;
    assert_eq!(wrong.summary(), "400 invalidValue");
    let gone = realm.operations(&path, json!([{ "op": "remove", "path": format!("{BADGE}:doors[floor eq 1]") }])).await;
    assert!(gone.json()[BADGE].get("doors").is_none(), "{gone}");
    let required = realm.operations(&path, json!([{ "op": "remove", "path": format!("{BADGE}:number") }])).await;
    assert_eq!(required.summary(), "400 mutability", "what is required stays");
}

#[tokio::test]
async fn immutable_means_written_once() {
    let realm = with_badges().await;
    let path = format!("/Users/{}", realm.create_user(ada(&json!({ "number": 7, "issuedFor": "ada" }))).await.id());
    assert_eq!(realm.put(&path, ada(&json!({ "number": 8, "issuedFor": "ada" }))).await.status, 200);
    assert_eq!(realm.put(&path, ada(&json!({ "number": 8, "issuedFor": "eve" }))).await.summary(), "400 mutability");
    let patched = realm
        .operations(&path, json!([{ "op": "replace", "path": format!("{BADGE}:issuedFor"), "value": "eve" }]))
        .await;
    assert_eq!(patched.summary(), "400 mutability");
}

#[tokio::test]
async fn an_attribute_named_members_is_no_membership() {
    const TEAM: &str = "urn:acme:team:2.0:Group";
    let realm = World::realm().await;
    let schema = json!({ "id": TEAM, "name": "Team", "attributes": [{ "name": "members", "multiValued": true }] });
    assert_eq!(realm.admin.post("/scim/schemas?resourceType=Group", schema).await.status, 201);
    let ada = realm.user("ada").await;
    let group = realm.group("crew", &[&ada]).await;
    let path = format!("/Groups/{group}?attributes={TEAM}");
    let team = async |operations: Value| realm.operations(&path, operations).await.json()[TEAM]["members"].clone();
    let added = team(json!([{ "op": "add", "path": format!("{TEAM}:members"), "value": ["x", "y"] }])).await;
    assert_eq!(added, json!(["x", "y"]));
    assert_eq!(team(json!([{ "op": "remove", "path": format!("{TEAM}:members") }])).await, Value::Null);
    assert_eq!(team(json!([{ "op": "add", "value": { TEAM: { "members": ["q"] } } }])).await, json!(["q"]));
    assert_eq!(realm.members_of(&group).await, [ada], "who is in the group is another matter");
}

#[tokio::test]
async fn what_is_always_returned_stays_when_its_schema_is_excluded() {
    let realm = World::realm().await;
    let schema = json!({ "id": "urn:acme:desk:1.0:User", "name": "Desk", "attributes": [
        { "name": "room", "returned": "always" }, { "name": "lamp" }] });
    assert_eq!(realm.admin.post("/scim/schemas", schema).await.status, 201);
    let user = json!({ "userName": "ada", "urn:acme:desk:1.0:User": { "room": "1", "lamp": "green" } });
    let path = format!("/Users/{}", realm.create_user(user).await.id());
    for query in ["excludedAttributes=urn:acme:desk:1.0:User", "attributes=userName"] {
        let read = realm.get(&format!("{path}?{query}")).await.json();
        assert_eq!(read["urn:acme:desk:1.0:User"], json!({ "room": "1" }), "{query}");
    }
}

#[tokio::test]
async fn users_who_are_written_while_a_schema_comes_fit_it_or_it_does_not_come() {
    let realm = World::realm().await;
    for round in 0..6 {
        let urn = format!("urn:acme:late:{round}");
        let schema = json!({ "id": urn, "name": "Late", "attributes": [{ "name": "n", "type": "integer" }, { "name": "s", "returned": "never" }] });
        let users = (0..12).map(|n| {
            let user = json!({ "userName": format!("{round}-{n}"), &urn: { "n": "none", "s": "secret" } });
            realm.post("/Users", user)
        });
        let (added, _) = tokio::join!(realm.admin.post("/scim/schemas", schema), join_all(users));
        let found = realm
            .get(&format!("/Users?count=1000&filter={}", encoded(&format!("userName sw \"{round}-\""))))
            .await
            .json();
        let unfit =
            found["Resources"].as_array().expect("a list").iter().filter(|user| user.get(&urn).is_some()).count();
        assert!(added.status == 409 || (added.status == 201 && unfit == 0), "{added}: {unfit} users do not fit");
    }
}
