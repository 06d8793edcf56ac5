//! A realm which keeps the gateway as busy as it can leaves connections and places to the others (PAINS N7).

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    process::Postgres,
    world::{Realm, World},
};

/// So many clients want to change a user whom somebody else holds: `waiting` of them come as far as the database.
async fn stuck(world: &World, realm: &Realm, clients: usize, waiting: i64) -> (tokio_postgres::Client, JoinSet<u16>) {
    let user = realm.user("ada").await;
    let sql = world.superuser().await;
    sql.batch_execute("BEGIN").await.expect("the session is open");
    let lock = "SELECT 1 FROM users WHERE id = $1::text::uuid FOR UPDATE";
    sql.execute(lock, &[&user]).await.expect("the user is there");
    let mut requests = JoinSet::new();
    for n in 0..clients {
        let (idp, path) = (realm.idp(), format!("/Users/{user}"));
        requests.spawn(async move {
            let title = json!([{ "op": "replace", "path": "title", "value": n.to_string() }]);
            idp.operations(&path, title).await.status.as_u16()
        });
    }
    let begun = Instant::now();
    let look = world.superuser().await;
    let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'";
    loop {
        let blocked: i64 = look.query_one(query, &[]).await.expect("it answers").get(0);
        if blocked == waiting {
            return (sql, requests);
        }
        assert!(blocked < waiting, "{blocked} connections for one realm");
        assert!(begun.elapsed() < Duration::from_secs(30), "{blocked} wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_realm_whose_requests_are_stuck_in_the_database_leaves_connections_to_the_others() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let world = World::with(&[("REALMGATE_DATABASE_URL", url.as_str()), ("REALMGATE_DATABASE_POOL_SIZE", "4")]);
    let (noisy, quiet) = (world.new_realm().await, world.new_realm().await);
    let (lock, requests) = stuck(&world, &noisy, 10, 3).await;
    for n in 0..20 {
        quiet.user(&format!("u{n}")).await;
    }
    lock.batch_execute("ROLLBACK").await.expect("the session is open");
    let statuses = requests.join_all().await;
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_realm_with_too_many_requests_in_flight_is_told_to_come_back_and_the_others_are_served() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let world =
        World::with(&[("REALMGATE_DATABASE_URL", url.as_str()), ("REALMGATE_LIMITS_MAX_REQUESTS_IN_FLIGHT", "8")]);
    let (noisy, quiet) = (world.new_realm().await, world.new_realm().await);
    let (lock, requests) = stuck(&world, &noisy, 6, 6).await;
    let further = noisy.get("/Users").await;
    assert_eq!((further.status.as_u16(), further.header("retry-after")), (503, "1"), "{further}");
    for n in 0..20 {
        quiet.user(&format!("u{n}")).await;
    }
    lock.batch_execute("ROLLBACK").await.expect("the session is open");
    assert_eq!(requests.join_all().await, [200; 6]);
}
