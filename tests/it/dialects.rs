//! Each habit of IdPs against the RFC is taken for what is meant where the realm's dialect is lenient, and refused, or
//! taken by the letter, where it is strict.

use http::Method;
use realmgate::scim::lenient::Habit;
use serde_json::{Value, json};

use crate::world::{ENTERPRISE_USER, GROUP, PATCH_OP, Realm, Reply, USER, World, encoded};

/// One request of an IdP, as it is really sent. `{ada}` stands for the id of a user with a name and a home address,
/// `{staff}` for that of a group of which she is the member.
struct Row {
    habit: Habit,
    idp: &'static str,
    request: (Method, &'static str, Value),
    /// What is there afterwards: where, at which JSON pointer, and which value.
    lenient: (&'static str, &'static str, Value),
    strict: Strict,
}

/// What the strict dialect makes of the request.
enum Strict {
    Refuses(&'static str),
    /// Accepts it by the letter; then this is there, where the lenient dialect has something else.
    Reads(Value),
}

use Strict::{Reads, Refuses};

#[expect(clippy::needless_pass_by_value, reason = "`json!` reads best without `&`")]
fn patch(path: &'static str, operations: Value) -> (Method, &'static str, Value) {
    (Method::PATCH, path, json!({ "schemas": [PATCH_OP], "Operations": operations }))
}

#[expect(clippy::too_many_lines, reason = "it is one table")]
fn rows() -> Vec<Row> {
    let manager = format!("{ENTERPRISE_USER}:manager");
    let row = |habit, idp, request, lenient, strict| Row { habit, idp, request, lenient, strict };
    vec![
        row(
            Habit::BooleanAsText,
            "Entra ID",
            patch("/Users/{ada}", json!([{ "op": "replace", "path": "active", "value": "False" }])),
            ("/Users/{ada}", "/active", json!(false)),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::BooleanAsText,
            "Entra ID",
            patch(
                "/Users/{ada}",
                json!([{ "op": "add", "path": "roles[primary eq \"True\"].value", "value": "admin" }]),
            ),
            ("/Users/{ada}", "/roles/0/value", json!("admin")),
            Refuses("400 invalidFilter"),
        ),
        row(
            Habit::BooleanAsText,
            "Entra ID",
            (Method::GET, "/Users?filter=active eq \"True\" and userName eq \"ada\"", Value::Null),
            ("reply", "/totalResults", json!(1)),
            Refuses("400 invalidFilter"),
        ),
        row(
            Habit::NumberAsText,
            "Entra ID",
            patch("/Users/{ada}", json!([{ "op": "replace", "path": "urn:acme:desk:1.0:User:floor", "value": "42" }])),
            ("/Users/{ada}", "/urn:acme:desk:1.0:User/floor", json!(42)),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::BareValue,
            "Entra ID",
            patch(
                "/Users/{ada}",
                json!([{ "op": "add", "path": "phoneNumbers", "value": { "type": "work", "value": "1" } }]),
            ),
            ("/Users/{ada}", "/phoneNumbers", json!([{ "type": "work", "value": "1" }])),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::BareValue,
            "Entra ID",
            patch("/Groups/{staff}", json!([{ "op": "add", "path": "members", "value": { "value": "{ada}" } }])),
            ("/Groups/{staff}", "/members/0/value", json!("{ada}")),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::ListedValue,
            "SAP Identity Provisioning",
            patch(
                "/Users/{ada}",
                json!([{ "op": "replace", "path": "emails[value eq \"ada@home.example\"]",
                "value": [{ "value": "ada@home.example", "primary": true }] }]),
            ),
            ("/Users/{ada}", "/emails/0/primary", json!(true)),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::ComplexAsText,
            "Entra ID",
            (
                Method::PATCH,
                "/Users/{ada}",
                json!({ "schemas": [PATCH_OP],
                "Operations": [{ "op": "add", "path": manager, "value": "26118915" }] }),
            ),
            (
                "/Users/{ada}",
                "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/manager/value",
                json!("26118915"),
            ),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::BareMember,
            "Google Workspace, by a workflow tool",
            (
                Method::PUT,
                "/Groups/{staff}",
                json!({ "schemas": [GROUP], "displayName": "staff", "members": ["{ada}"] }),
            ),
            ("/Groups/{staff}", "/members/0/value", json!("{ada}")),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::MemberType,
            "PingFederate",
            (
                Method::PUT,
                "/Groups/{staff}",
                json!({ "schemas": [GROUP], "displayName": "staff",
                "members": [{ "value": "{ada}", "type": "value" }] }),
            ),
            ("/Groups/{staff}", "/members/0/type", json!("User")),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::FreeName,
            "Okta",
            (Method::POST, "/Users", json!({ "schemas": [USER], "userName": "bob", "acme.shoe.size": 44 })),
            ("reply", "/acme.shoe.size", json!(44)),
            Refuses("400 invalidSyntax"),
        ),
        row(
            Habit::FreeName,
            "Okta",
            patch("/Users/{ada}", json!([{ "op": "replace", "path": "acme.shoe.size", "value": 44 }])),
            ("/Users/{ada}", "/acme.shoe.size", json!(44)),
            Refuses("400 invalidPath"),
        ),
        row(
            Habit::OtherSchemas,
            "Entra ID",
            (
                Method::POST,
                "/Groups",
                json!({
                "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
                "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", "displayName": "displayName",
                "meta": { "resourceType": "Group" } }),
            ),
            ("reply", "/displayName", json!("displayName")),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::OtherSchemas,
            "authentik",
            (Method::POST, "/Groups", json!({ "displayName": "ak group" })),
            ("reply", "/displayName", json!("ak group")),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::ReadOnlySubAttribute,
            "Okta, Entra ID",
            (
                Method::PATCH,
                "/Users/{ada}",
                json!({ "schemas": [PATCH_OP],
                "Operations": [{ "op": "add", "path": format!("{manager}.displayName"), "value": "John" }] }),
            ),
            (
                "/Users/{ada}",
                "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/manager/displayName",
                json!("John"),
            ),
            Refuses("400 mutability"),
        ),
        row(
            Habit::OtherPatchSchema,
            "Entra ID's validator",
            (
                Method::PATCH,
                "/Users/{ada}",
                json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:PatchOp"],
                "Operations": [{ "op": "replace", "path": "title", "value": "Countess" }] }),
            ),
            ("/Users/{ada}", "/title", json!("Countess")),
            Refuses("400 invalidSyntax"),
        ),
        row(
            Habit::CapitalOperation,
            "Entra ID",
            patch("/Users/{ada}", json!([{ "op": "Add", "path": "nickName", "value": "Babs" }])),
            ("/Users/{ada}", "/nickName", json!("Babs")),
            Refuses("400 invalidSyntax"),
        ),
        row(
            Habit::PathAsKey,
            "Entra ID with aadOptscim062020",
            patch("/Users/{ada}", json!([{ "op": "replace", "value": { "name.familyName": "King" } }])),
            ("/Users/{ada}", "/name", json!({ "givenName": "Ada", "familyName": "King" })),
            Refuses("400 invalidPath"),
        ),
        row(
            Habit::PathAsKey,
            "Entra ID with aadOptscim062020",
            patch(
                "/Users/{ada}",
                json!([{ "op": "add", "value": {
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "Sales" } }]),
            ),
            ("/Users/{ada}", "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/department", json!("Sales")),
            Refuses("400 invalidPath"),
        ),
        row(
            Habit::ReadOnlyAlong,
            "Okta",
            patch("/Groups/{staff}", json!([{ "op": "replace", "value": { "id": "{staff}", "displayName": "crew" } }])),
            ("/Groups/{staff}", "/displayName", json!("crew")),
            Refuses("400 mutability"),
        ),
        row(
            Habit::RemoveWithValue,
            "Entra ID",
            patch(
                "/Groups/{staff}",
                json!([{ "op": "remove", "path": "members", "value": [{ "$ref": null,
                "value": "2819c223-7f76-453a-919d-413861904646" }] }]),
            ),
            ("/Groups/{staff}", "/members/0/value", json!("{ada}")),
            Refuses("400 invalidValue"),
        ),
        row(
            Habit::RemoveOfNothing,
            "Entra ID",
            patch("/Users/{ada}", json!([{ "op": "remove", "path": "emails[type eq \"work\"].value" }])),
            ("/Users/{ada}", "/emails", json!([{ "type": "home", "value": "ada@home.example" }])),
            Refuses("400 noTarget"),
        ),
        row(
            Habit::ValueFromFilter,
            "Entra ID",
            patch(
                "/Users/{ada}",
                json!([{ "op": "replace", "path": "emails[type eq \"work\"].value",
                "value": "updated@microsoft.example" }]),
            ),
            ("/Users/{ada}", "/emails/1", json!({ "type": "work", "value": "updated@microsoft.example" })),
            Refuses("400 noTarget"),
        ),
        row(
            Habit::NoHusk,
            "Entra ID",
            patch("/Users/{ada}", json!([{ "op": "remove", "path": "emails[type eq \"home\"].value" }])),
            ("/Users/{ada}", "/emails", Value::Null),
            Reads(json!([{ "type": "home" }])),
        ),
        row(
            Habit::ComparisonBehindBrackets,
            "Entra ID",
            (Method::GET, "/Users?filter=emails[type eq \"home\"].value eq \"ada@home.example\"", Value::Null),
            ("reply", "/totalResults", json!(1)),
            Refuses("400 invalidFilter"),
        ),
    ]
}

/// A realm in which a row's request makes sense, and the ids which the request names.
struct Scene {
    realm: Realm,
    ada: String,
    staff: String,
}

impl Scene {
    async fn new() -> Self {
        let realm = World::realm().await;
        let desk = json!({ "id": "urn:acme:desk:1.0:User", "name": "Desk", "attributes": [{ "name": "floor", "type": "integer" }] });
        let added = realm.admin.post("/scim/schemas", desk).await;
        assert_eq!(added.status, 201, "{added}");
        let user = json!({ "schemas": [USER], "userName": "ada", "name": { "givenName": "Ada", "familyName": "Lovelace" },
            "emails": [{ "type": "home", "value": "ada@home.example" }] });
        let ada = realm.create_user(user).await.id();
        let staff = realm.group("staff", &[&ada]).await;
        Self { realm, ada, staff }
    }

    fn named(&self, text: &str) -> String {
        text.replace("{ada}", &self.ada).replace("{staff}", &self.staff)
    }

    async fn send(&self, row: &Row) -> Reply {
        let (method, path, body) = &row.request;
        let path = match path.split_once("filter=") {
            Some((path, filter)) => format!("{path}filter={}", encoded(filter)),
            None => self.named(path),
        };
        let body = if body.is_null() { String::new() } else { self.named(&body.to_string()) };
        self.realm.send(method.clone(), &path, body.into()).await.unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// What stands where the row looks.
    async fn found(&self, row: &Row, reply: &Reply) -> Value {
        let (place, pointer, _) = &row.lenient;
        let document = if *place == "reply" { reply.json() } else { self.realm.get(&self.named(place)).await.json() };
        document.pointer(pointer).cloned().unwrap_or_default()
    }
}

#[tokio::test]
async fn every_habit_is_understood_where_the_dialect_is_lenient() {
    for row in rows() {
        let scene = Scene::new().await;
        let reply = scene.send(&row).await;
        assert!(reply.status.is_success(), "{:?} of {}: {reply}", row.habit, row.idp);
        let expected: Value = serde_json::from_str(&scene.named(&row.lenient.2.to_string())).expect("it was JSON");
        assert_eq!(scene.found(&row, &reply).await, expected, "{:?} of {}", row.habit, row.idp);
    }
}

#[tokio::test]
async fn no_habit_passes_where_the_dialect_is_strict() {
    for row in rows() {
        let scene = Scene::new().await;
        scene.realm.policy("dialect", "strict").await;
        let reply = scene.send(&row).await;
        match &row.strict {
            Refuses(summary) => {
                assert_eq!(reply.summary(), *summary, "{:?} of {}: {reply}", row.habit, row.idp);
                reply.detail();
            }
            Reads(expected) => {
                assert!(reply.status.is_success(), "{:?} of {}: {reply}", row.habit, row.idp);
                assert_eq!(scene.found(&row, &reply).await, *expected, "{:?} of {}", row.habit, row.idp);
            }
        }
    }
}

#[test]
fn every_habit_has_a_row() {
    let rows = rows();
    let bare: Vec<_> = Habit::ALL.iter().filter(|habit| !rows.iter().any(|row| row.habit == **habit)).collect();
    assert!(bare.is_empty(), "no request shows {bare:?}");
}
