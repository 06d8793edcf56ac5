//! Every change is told once, in order, without gaps.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{GROUP, PATCH_OP, Realm, Reply, USER, World};

/// The events of a page.
fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{reply}");
    reply.json()["events"].as_array().expect("a list").clone()
}

/// All events of the realm up to now, read page by page.
async fn all(realm: &Realm) -> Vec<Value> {
    World::all_told(&World::shared().superuser().await, &realm.name).await;
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let page = realm.admin.get(&format!("/events?limit=7&after={after}")).await;
        let found = events(&page);
        if found.is_empty() {
            return read;
        }
        read.extend(found);
        after = page.json()["next"].as_i64().expect("a number");
    }
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().expect("a name")).collect()
}

fn patch(operations: &Value) -> Value {
    json!({ "schemas": [PATCH_OP], "Operations": operations })
}

#[tokio::test]
async fn each_change_has_the_next_number_of_its_realm() {
    let (realm, other) = World::two_realms().await;
    let ada = realm.user("ada").await;
    other.user("eve").await;
    let engines = realm.group("engines", &[&ada]).await;
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    assert_eq!(realm.patch(&format!("/Users/{ada}"), patch(&off)).await.status, 200);
    let group = json!({ "schemas": [GROUP], "displayName": "Engines" });
    assert_eq!(realm.put(&format!("/Groups/{engines}"), group).await.status, 200);
    assert_eq!(realm.delete(&format!("/Users/{ada}")).await.status, 204);
    let told = all(&realm).await;
    assert_eq!(
        names(&told),
        [
            "dsync.activated",
            "dsync.user.created",
            "dsync.group.created",
            "dsync.group.user_added",
            "dsync.user.updated",
            "dsync.group.updated",
            "dsync.group.user_removed",
            "dsync.user.deleted",
        ]
    );
    let numbers: Vec<i64> = told.iter().map(|event| event["seq"].as_i64().expect("a number")).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<i64>>());
    assert!(told.iter().all(|event| event["realm"] == realm.name), "nothing of another realm");
    assert_eq!(told[3]["data"]["user"]["id"], ada);
    assert_eq!(told[3]["data"]["group"]["id"], engines);
}

#[tokio::test]
async fn an_event_of_a_user_tells_what_it_is_now_and_what_changed() {
    let realm = World::realm().await;
    let user = json!({ "schemas": [USER], "userName": "ada@example.com", "externalId": "okta-1", "displayName": "Ada",
        "name": { "givenName": "Ada", "familyName": "Lovelace" }, "locale": "en-GB",
        "emails": [{ "value": "ada@example.com", "type": "work", "primary": true }] });
    let ada = realm.create_user(user).await.id();
    let engines = realm.group("engines", &[&ada]).await;
    let off = json!([{ "op": "replace", "value": { "active": false, "displayName": "Countess" } }]);
    assert_eq!(realm.patch(&format!("/Users/{ada}"), patch(&off)).await.status, 200);
    let told = all(&realm).await;
    let (created, updated) = (&told[1], &told[4]);
    let data = &created["data"];
    assert_eq!(
        (&data["id"], &data["idp_id"], &data["state"], &data["active"]),
        (&json!(ada), &json!("okta-1"), &json!("shadow"), &json!(true))
    );
    assert_eq!(
        (&data["username"], &data["first_name"], &data["last_name"]),
        (&json!("ada@example.com"), &json!("Ada"), &json!("Lovelace"))
    );
    assert_eq!(data["emails"], json!([{ "value": "ada@example.com", "type": "work", "primary": true }]));
    assert_eq!(data["raw_attributes"]["locale"], "en-GB");
    assert_eq!(data["raw_attributes"]["groups"], json!([]));
    assert!(data.get("previous_attributes").is_none(), "{data}");

    let data = &updated["data"];
    assert_eq!(updated["event"], "dsync.user.updated");
    assert_eq!((&data["state"], &data["active"]), (&json!("disabled"), &json!(false)));
    assert_eq!(data["raw_attributes"]["active"], false, "in both places");
    assert_eq!(data["raw_attributes"]["groups"], json!([{ "value": engines }]));
    assert_eq!(data["previous_attributes"], json!({ "active": true, "displayName": "Ada" }), "only what changed");
    assert_eq!(data["display_name"], "Ada", "the application's own does not follow, by the policy");
    assert_eq!(data["raw_attributes"]["displayName"], "Countess");
    assert_eq!(updated["actor"]["kind"], "scim_token");
}

#[tokio::test]
async fn who_waits_hears_of_a_change_when_it_is_made() {
    let realm = World::realm().await;
    let head = all(&realm).await.len();
    let waiting = format!("/events?after={head}&wait=20");
    let (reply, _) = tokio::join!(realm.admin.get(&waiting), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        realm.user("ada").await
    });
    assert_eq!(names(&events(&reply)), ["dsync.user.created"]);
    assert!(reply.took < Duration::from_secs(15), "it did not wait to the end");
}

#[tokio::test]
async fn who_was_away_for_too_long_is_told_where_the_events_begin() {
    let realm = World::realm().await;
    for name in ["ada", "bob", "eve"] {
        realm.user(name).await;
    }
    all(&realm).await;
    let sql = World::shared().superuser().await;
    sql.execute(
        "WITH gone AS (DELETE FROM events e USING realms r WHERE r.id = e.realm_id AND r.name = $1 AND e.seq < 3)
         UPDATE feeds f SET oldest = 3 FROM realms r WHERE r.id = f.realm_id AND r.name = $1",
        &[&realm.name],
    )
    .await
    .expect("the rows are there");
    let gone = realm.admin.get("/events?after=1").await;
    assert_eq!((gone.status.as_u16(), gone.json()["oldest"].clone()), (410, 3.into()), "{gone}");
    let kept = realm.admin.get("/events?after=2").await;
    assert_eq!(kept.json()["events"][0]["seq"], 3, "{kept}");
    assert_eq!(realm.admin.get("/events").await.json()["events"][0]["seq"], 3, "what is kept");
    assert_eq!(realm.admin.get("/events?after=99").await.status, 400, "that is yet to come");
}

#[tokio::test]
async fn a_reader_of_few_kinds_moves_on_all_the_same() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    realm.group("engines", &[&ada]).await;
    all(&realm).await;
    let groups = realm.admin.get("/events?types=dsync.group.*").await;
    assert_eq!(names(&events(&groups)), ["dsync.group.created", "dsync.group.user_added"]);
    let deleted = realm.admin.get("/events?types=dsync.user.deleted,dsync.group.deleted").await;
    assert_eq!((events(&deleted).len(), &deleted.json()["next"]), (0, &json!(4)));
    for wrong in ["types=dsync.nothing", "limit=0", "limit=1001", "after=-1", "after=x", "wait=x"] {
        assert_eq!(realm.admin.get(&format!("/events?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn the_operator_reads_all_realms_by_one_cursor() {
    let root = World::shared().admin().await;
    let cursor = root.get("/admin/events?after=latest").await.text_at("next");
    let (acme, globex) = World::two_realms().await;
    for n in 0..5 {
        acme.user(&format!("ada-{n}")).await;
        globex.user(&format!("eve-{n}")).await;
    }
    let (mut mine, mut after): (Vec<Value>, _) = (Vec::new(), cursor);
    while mine.len() < 12 {
        let page = root.get(&format!("/admin/events?after={after}&limit=3&wait=20")).await;
        let found = events(&page);
        mine.extend(
            found.into_iter().filter(|event| [&acme.name, &globex.name].iter().any(|name| event["realm"] == ***name)),
        );
        after = page.text_at("next");
    }
    for realm in [&acme, &globex] {
        let of_realm: Vec<&Value> = mine.iter().filter(|event| event["realm"] == realm.name).collect();
        let numbers: Vec<i64> = of_realm.iter().map(|event| event["seq"].as_i64().expect("a number")).collect();
        assert_eq!(numbers, (1..=6).collect::<Vec<i64>>(), "once each, in order");
    }
    assert_eq!(root.get("/admin/events?after=nonsense").await.status, 400);
    assert_eq!(acme.get("/admin/events").await.status, 404, "not below SCIM");
}

#[tokio::test]
async fn roles_and_their_mappings_are_told() {
    let realm = World::realm().await;
    let ada = realm.user("ada").await;
    let engines = realm.group("engines", &[]).await;
    assert_eq!(realm.admin.post("/roles", json!({ "name": "editor" })).await.status, 201);
    let role = realm.admin.get("/roles/editor").await.json();
    for holder in [format!("/users/{ada}"), format!("/groups/{engines}")] {
        let mapped = realm.admin.post(&format!("{holder}/role-mappings/realm"), json!([role])).await;
        assert_eq!(mapped.status, 204, "{mapped}");
    }
    assert_eq!(realm.admin.put("/roles/editor", json!({ "name": "author" })).await.status, 204);
    assert_eq!(realm.admin.delete("/roles/author").await.status, 204);
    let told = all(&realm).await;
    assert_eq!(
        names(&told)[3..],
        ["role.created", "dsync.user.role_added", "dsync.group.role_added", "role.updated", "role.deleted"]
    );
    assert_eq!(told[4]["data"]["role"], json!({ "id": role["id"], "name": "editor" }));
    assert_eq!(told[6]["data"]["previous_attributes"], json!({ "name": "editor" }));
}

#[tokio::test]
async fn events_are_kept_for_as_long_as_the_policy_says() {
    let world = World::with(&[("REALMGATE_EVENTS_SWEEP_EVERY", "100ms")]);
    let (realm, brief) = (world.new_realm().await, world.new_realm().await);
    for name in ["ada", "bob"] {
        realm.user(name).await;
        brief.user(name).await;
    }
    brief.policy("events_keep", "1s").await;
    let since = Instant::now();
    while brief.admin.get("/events").await.json()["oldest"] != 4 {
        assert!(since.elapsed() < Duration::from_secs(20), "what is older than a second is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(brief.admin.get("/events?after=0").await.status, 410);
    let kept = brief.admin.get("/events").await.json();
    assert_eq!((&kept["head"], &kept["oldest"], &kept["next"]), (&json!(3), &json!(4), &json!(3)), "{kept}");
    brief.user("eve").await;
    let next = brief.admin.get("/events?after=3&wait=20").await;
    assert_eq!(events(&next)[0]["seq"], 4, "the numbers go on");
    assert_eq!(events(&realm.admin.get("/events").await).len(), 3, "another realm keeps its own");
}

#[tokio::test]
async fn whoever_leaves_a_group_and_is_deleted_at_the_same_time_leaves_it_once() {
    let realm = World::realm().await;
    for round in 0..20 {
        let user = realm.user(&format!("user-{round}")).await;
        let group = realm.group(&format!("group-{round}"), &[&user]).await;
        let leave = patch(&json!([{ "op": "remove", "path": format!("members[value eq \"{user}\"]") }]));
        let (path, gone) = (format!("/Groups/{group}"), format!("/Users/{user}"));
        let (left, deleted) = tokio::join!(realm.patch(&path, leave), realm.delete(&gone));
        assert!(left.status.is_success(), "{left}");
        assert_eq!(deleted.status, 204);
    }
    let told = all(&realm).await;
    assert_eq!(names(&told).iter().filter(|name| **name == "dsync.group.user_removed").count(), 20);
}
