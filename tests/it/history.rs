//! What a user or group was at a moment, and who changed what of it.

use serde_json::{Value, json};

use crate::world::{Realm, Reply, World, encoded};

/// All events of the realm up to now.
async fn told(realm: &Realm) -> Vec<Value> {
    World::all_told(&World::shared().superuser().await, &realm.name).await;
    let events = realm.admin.get("/events?limit=1000").await.json();
    events["events"].as_array().expect("a list").clone()
}

async fn at(realm: &Realm, path: &str, time: &Value) -> Reply {
    realm.admin.get(&format!("{path}?at={}", encoded(time.as_str().expect("a time")))).await
}

async fn replace(realm: &Realm, path: &str, value: Value) -> String {
    let reply = realm.operations(path, json!([{ "op": "replace", "value": value }])).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.header("x-request-id").to_owned()
}

async fn history(realm: &Realm, user: &str, query: &str) -> Vec<Value> {
    let reply = realm.admin.get(&format!("/users/{user}/history{query}")).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.json().as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_user_can_be_seen_as_it_was_at_any_moment() {
    let realm = World::realm().await;
    realm.user("eve").await;
    let ada = realm.user("ada").await;
    let long_ago = at(&realm, &format!("/users/{ada}"), &json!("-009999-01-02T01:59:59Z")).await;
    assert_eq!(long_ago.status, 404, "{long_ago}");
    let path = format!("/Users/{ada}");
    replace(&realm, &path, json!({ "title": "Countess", "userName": "lovelace" })).await;
    replace(&realm, &path, json!({ "active": false })).await;
    replace(&realm, &path, json!({ "active": true, "title": "Enchantress" })).await;
    assert_eq!(realm.delete(&path).await.status, 204);
    let events = told(&realm).await;
    let times: Vec<&Value> = events[1..].iter().map(|event| &event["created_at"]).collect();
    let [before, created, renamed, off, on, gone] = times[..] else { panic!("{events:?}") };

    let path = format!("/users/{ada}");
    assert_eq!(at(&realm, &path, before).await.status, 404, "it was not there");
    let user = at(&realm, &path, created).await.json();
    assert_eq!((&user["username"], &user["attributes"]["title"]), (&json!("ada"), &Value::Null));
    assert_eq!((&user["enabled"], &user["attributes"]["state"][0]), (&json!(true), &json!("shadow")));
    let user = at(&realm, &path, renamed).await.json();
    assert_eq!((&user["username"], &user["attributes"]["title"][0]), (&json!("lovelace"), &json!("Countess")));
    let user = at(&realm, &path, off).await.json();
    assert_eq!((&user["enabled"], &user["attributes"]["state"][0]), (&json!(false), &json!("disabled")));
    let user = at(&realm, &path, on).await.json();
    assert_eq!((&user["enabled"], &user["attributes"]["title"][0]), (&json!(true), &json!("Enchantress")));
    assert_eq!(at(&realm, &path, gone).await.status, 404);
    assert_eq!(at(&realm, &path, &json!("yesterday")).await.status, 400);
}

#[tokio::test]
async fn what_is_no_longer_known_is_said_to_be_gone() {
    let realm = World::realm().await;
    let (ada, bob) = (realm.user("ada").await, realm.user("bob").await);
    replace(&realm, &format!("/Users/{ada}"), json!({ "title": "Countess" })).await;
    replace(&realm, &format!("/Users/{ada}"), json!({ "title": "Enchantress" })).await;
    let events = told(&realm).await;
    let sql = World::shared().superuser().await;
    sql.execute(
        "WITH gone AS (DELETE FROM events e USING realms r WHERE r.id = e.realm_id AND r.name = $1 AND e.seq < 5)
         UPDATE feeds f SET oldest = 5 FROM realms r WHERE r.id = f.realm_id AND r.name = $1",
        &[&realm.name],
    )
    .await
    .expect("the rows are there");
    let (created, changed, now) = (&events[2]["created_at"], &events[3]["created_at"], &events[4]["created_at"]);
    let ada = format!("/users/{ada}");
    assert_eq!(at(&realm, &ada, changed).await.status, 410);
    let user = at(&realm, &ada, now).await.json();
    assert_eq!(user["attributes"]["title"][0], "Enchantress");
    let bob = at(&realm, &format!("/users/{bob}"), created).await;
    assert_eq!((bob.status.as_u16(), bob.json()["username"].clone()), (200, json!("bob")), "unchanged since");
}

#[tokio::test]
async fn a_group_can_be_seen_with_its_members_as_it_was() {
    let realm = World::realm().await;
    let (ada, bob) = (realm.user("ada").await, realm.user("bob").await);
    let engines = realm.group("engines", &[&ada]).await;
    let path = format!("/Groups/{engines}");
    let come_and_go = json!([
        { "op": "add", "path": "members", "value": [{ "value": bob }] },
        { "op": "remove", "path": format!("members[value eq \"{ada}\"]") },
        { "op": "replace", "path": "displayName", "value": "Looms" },
    ]);
    assert_eq!(realm.operations(&path, come_and_go).await.status, 204);
    assert_eq!(realm.delete(&path).await.status, 204);
    let events = told(&realm).await;
    let time = |name: &str| &events.iter().find(|event| event["event"] == name).expect(name)["created_at"];
    let path = format!("/groups/{engines}");
    let group = at(&realm, &path, time("dsync.group.created")).await.json();
    assert_eq!((&group["name"], &group["members"]), (&json!("engines"), &json!([ada])));
    let group = at(&realm, &path, time("dsync.group.updated")).await.json();
    assert_eq!((&group["name"], &group["members"]), (&json!("Looms"), &json!([bob])));
    assert_eq!(at(&realm, &path, time("dsync.group.deleted")).await.status, 404);
}

#[tokio::test]
async fn the_history_of_a_user_tells_who_changed_what_by_which_request() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let path = format!("/Users/{ada}");
    let renamed = replace(&realm, &path, json!({ "title": "Countess" })).await;
    replace(&realm, &path, json!({ "title": "Enchantress", "nickName": "Ada" })).await;
    let engines = realm.group("engines", &[&ada]).await;
    assert_eq!(realm.admin.post("/roles", json!({ "name": "editor" })).await.status, 201);
    let mappings = format!("/users/{ada}/role-mappings/realm");
    assert_eq!(realm.admin.post(&mappings, json!([{ "name": "editor" }])).await.status, 204);
    assert_eq!(realm.delete(&path).await.status, 204);
    told(&realm).await;
    let logged = format!("/scim/requests?request_id={renamed}");
    let entry = loop {
        match realm.admin.get(&logged).await.json().as_array().map(Vec::as_slice) {
            Some([entry]) => break entry["id"].clone(),
            _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    let all = history(&realm, &ada, "").await;
    let changes: Vec<Value> = all
        .iter()
        .map(|entry| json!([entry["event"].as_str().expect("a name").trim_start_matches("dsync."), entry["changes"]]))
        .collect();
    let was = |attribute: &str, from: Value, to: Value| json!({ "attribute": attribute, "from": from, "to": to });
    let null = Value::Null;
    assert_eq!(changes[1], json!(["group.user_removed", [was("groups", json!(engines), null.clone())]]));
    assert_eq!(changes[2], json!(["user.role_added", [was("roles", null.clone(), json!("editor"))]]));
    assert_eq!(changes[3], json!(["group.user_added", [was("groups", null.clone(), json!(engines))]]));
    let both = [was("title", json!("Countess"), json!("Enchantress")), was("nickName", null.clone(), json!("Ada"))];
    assert_eq!(changes[4][0], "user.updated");
    assert!(both.iter().all(|one| changes[4][1].as_array().expect("a list").contains(one)), "{}", changes[4]);
    assert_eq!(changes[5], json!(["user.updated", [was("title", null.clone(), json!("Countess"))]]));
    assert_eq!((all.len(), &changes[0][0], &changes[6][0]), (7, &json!("user.deleted"), &json!("user.created")));

    assert_eq!((&all[5]["request_id"], &all[5]["request"]), (&json!(renamed), &entry));
    assert_eq!((&all[5]["actor"]["kind"], &all[2]["actor"]["kind"]), (&json!("scim_token"), &json!("admin")));
    assert_eq!(all[2]["request"], null, "an operator's requests are not in the log");

    let first = history(&realm, &ada, "?limit=3").await;
    let rest = history(&realm, &ada, &format!("?before={}", first[2]["seq"])).await;
    assert_eq!([first, rest].concat(), all, "page by page");
    assert_eq!(realm.admin.get(&format!("/users/{engines}/history?limit=0")).await.status, 400);
    let nobody = "01890000-0000-7000-8000-000000000000";
    assert_eq!(realm.admin.get(&format!("/users/{nobody}/history")).await.status, 404);
}
