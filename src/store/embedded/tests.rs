//! Against real servers; as root and as an ordinary user alike.

use std::{
    env, fs,
    ops::Deref,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, NoTls};

use super::*;

/// A folder closed to others, as `mktemp -d` makes it, removed at the end.
struct Closed(PathBuf);

impl Closed {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("realmgate-{}-{name}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).expect("a new folder");
        Self(path)
    }
}

impl Deref for Closed {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn options(data_dir: &Path) -> Options {
    Options { data_dir: data_dir.to_owned(), postgres_bin_dir: None, settings: Vec::new() }
}

async fn start_in(data_dir: &Path) -> Embedded {
    start(&options(data_dir)).await.expect("PostgreSQL starts")
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn ask(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

async fn execute(postgres: &Embedded, sql: &str) {
    let client = connect(postgres.url()).await.expect("a connection");
    client.batch_execute(sql).await.expect(sql);
}

async fn count_of_t(postgres: &Embedded) -> String {
    let client = connect(postgres.url()).await.expect("a connection");
    ask(&client, "SELECT count(*)::text FROM t").await
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, Signal::KILL).expect("the process is there");
}

async fn is_back(postgres: &Embedded, killed: u32) -> u32 {
    let mut state = postgres.watch();
    let back = state.wait_for(|state| matches!(state, State::Up { pid } if *pid != killed));
    time::timeout(Duration::from_secs(30), back).await.expect("back in time").expect("the keeper lives");
    postgres.pid().expect("up")
}

#[tokio::test]
async fn what_was_written_is_there_after_a_stop_and_a_start() {
    let folder = Closed::new("restart");
    let postgres = start_in(&folder).await;
    let client = connect(postgres.url()).await.unwrap();
    assert_eq!(ask(&client, "SHOW fsync").await, "on");
    assert_eq!(ask(&client, "SHOW listen_addresses").await, "");
    assert_eq!(ask(&client, "SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user").await, "false");
    client.batch_execute("CREATE TABLE t AS SELECT 1").await.unwrap();
    assert_eq!(fs::metadata(folder.join("postgres")).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.join("postgres/password")).unwrap().mode() & 0o777, 0o600);
    postgres.stop().await;
    assert!(!folder.join("postgres/data/postmaster.pid").exists());

    let postgres = start_in(&folder).await;
    assert_eq!(count_of_t(&postgres).await, "1");
    postgres.stop().await;
}

#[tokio::test]
async fn a_folder_behind_a_closed_one_serves_as_well() {
    let closed = Closed::new("closed");
    let data_dir = closed.join("a folder/data");
    let postgres = start_in(&data_dir).await;
    execute(&postgres, "CREATE TABLE t AS SELECT 1").await;
    let killed = postgres.pid().unwrap();
    kill(killed);
    is_back(&postgres, killed).await;
    assert_eq!(count_of_t(&postgres).await, "1");
    postgres.stop().await;
    assert_eq!(fs::metadata(&*closed).unwrap().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_socket_elsewhere() {
    let closed = Closed::new("long");
    let data_dir = closed.join("x".repeat(100));
    let postgres = start_in(&data_dir).await;
    execute(&postgres, "CREATE TABLE t AS SELECT 1").await;
    assert_eq!(count_of_t(&postgres).await, "1");
    let Some(tokio_postgres::config::Host::Unix(socket_dir)) = postgres.config().get_hosts().first().cloned() else {
        panic!("a socket")
    };
    assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
    postgres.stop().await;
    fs::remove_dir(socket_dir).unwrap();
}

#[tokio::test]
async fn a_killed_server_is_started_again_and_has_all_that_was_committed() {
    let folder = Closed::new("killed");
    let postgres = start_in(&folder).await;
    execute(&postgres, "CREATE TABLE t (n int)").await;
    // A backend in the middle of a statement outlives its server and holds the shared memory.
    let busy = connect(postgres.url()).await.unwrap();
    let busy = tokio::spawn(async move { busy.batch_execute("SELECT sum(g) FROM generate_series(1, 1e11) g").await });
    let writer = connect(postgres.url()).await.unwrap();
    let writer = tokio::spawn(async move {
        let mut committed = 0;
        while writer.execute("INSERT INTO t VALUES ($1)", &[&committed]).await.is_ok() {
            committed += 1;
        }
        committed
    });
    time::sleep(Duration::from_millis(300)).await;

    let killed = postgres.pid().unwrap();
    let start = Instant::now();
    kill(killed);
    is_back(&postgres, killed).await;
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
    assert!(busy.await.unwrap().is_err());
    let committed: u64 = writer.await.unwrap().try_into().unwrap();
    let kept: u64 = count_of_t(&postgres).await.parse().unwrap();
    // The last one may have been committed and its answer lost.
    assert!((committed..=committed + 1).contains(&kept), "{committed} committed, {kept} kept");
    postgres.stop().await;
}

#[tokio::test]
async fn a_killed_backend_makes_the_same_server_recover() {
    let folder = Closed::new("backend");
    let postgres = start_in(&folder).await;
    execute(&postgres, "CREATE TABLE t AS SELECT 1").await;
    let client = connect(postgres.url()).await.unwrap();
    let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let before = postgres.pid();
    kill(backend.unsigned_abs());
    let recovered = async {
        while connect(postgres.url()).await.is_err() || !client.is_closed() {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    time::timeout(Duration::from_secs(30), recovered).await.expect("recovered in time");
    assert_eq!(count_of_t(&postgres).await, "1");
    assert_eq!(postgres.pid(), before);
    postgres.stop().await;
}

/// Not a promise but the gateway of the one below: another process, so that it can be killed.
#[tokio::test]
async fn gateway_to_be_killed() {
    let Ok(data_dir) = env::var("REALMGATE_TEST_GATEWAY") else { return };
    let _postgres = start_in(Path::new(&data_dir)).await;
    fs::write(Path::new(&data_dir).join("started"), "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_server_of_a_killed_gateway_is_taken_over_watched_and_stopped() {
    let folder = Closed::new("orphan");
    let mut gateway = Command::new(env::current_exe().unwrap())
        .args(["--exact", "store::embedded::tests::gateway_to_be_killed"])
        .env("REALMGATE_TEST_GATEWAY", &*folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !folder.join("started").exists() {
        assert!(gateway.try_wait().unwrap().is_none(), "the gateway ended");
        time::sleep(Duration::from_millis(50)).await;
    }
    let error = start(&options(&folder)).await.expect_err("the folder is in use");
    assert!(error.to_string().contains(&format!("(process {})", gateway.id())), "{error}");
    gateway.kill().unwrap();
    gateway.wait().unwrap();

    let pid_file = fs::read_to_string(folder.join("postgres/data/postmaster.pid")).unwrap();
    let orphan: u32 = pid_file.lines().next().unwrap().parse().unwrap();
    let postgres = start_in(&folder).await;
    assert_eq!(postgres.pid(), Some(orphan));
    execute(&postgres, "CREATE TABLE t AS SELECT 1").await;

    kill(orphan);
    let second = is_back(&postgres, orphan).await;
    assert_eq!(count_of_t(&postgres).await, "1");
    postgres.stop().await;
    assert!(!Path::new(&format!("/proc/{second}")).exists());
}

#[tokio::test]
async fn a_start_right_after_a_drop_waits_for_the_old_server() {
    let folder = Closed::new("drop");
    let postgres = start_in(&folder).await;
    execute(&postgres, "CREATE TABLE t AS SELECT generate_series(1, 100000)").await;
    drop(postgres);
    let postgres = loop {
        match start(&options(&folder)).await {
            Ok(postgres) => break postgres,
            Err(Error::InUse { .. }) => time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(count_of_t(&postgres).await, "100000");
    postgres.stop().await;
}

#[tokio::test]
async fn neither_a_stale_pid_file_nor_a_half_made_cluster_is_in_the_way() {
    let folder = Closed::new("stale");
    fs::create_dir_all(folder.join("postgres/data.new.1/base")).unwrap();
    start_in(&folder).await.stop().await;
    assert!(!folder.join("postgres/data.new.1").exists());
    // The id of a process that lives and is another: this one.
    fs::write(folder.join("postgres/data/postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
    start_in(&folder).await.stop().await;
}

#[tokio::test]
async fn settings_reach_the_server_and_a_bad_one_is_told() {
    let folder = Closed::new("settings");
    let mut options = options(&folder);
    options.settings = vec![("max_connections".into(), "23".into())];
    let postgres = start(&options).await.unwrap();
    let client = connect(postgres.url()).await.unwrap();
    assert_eq!(ask(&client, "SHOW max_connections").await, "23");
    postgres.stop().await;

    options.settings = vec![("max_connections".into(), "many".into())];
    let error = start(&options).await.expect_err("not a number").to_string();
    assert!(error.contains("invalid value for parameter \"max_connections\""), "{error}");
}

#[tokio::test]
async fn a_cluster_of_another_version_and_a_missing_installation_are_told() {
    let folder = Closed::new("versions");
    fs::create_dir_all(folder.join("postgres/data")).unwrap();
    fs::write(folder.join("postgres/data/PG_VERSION"), "9\n").unwrap();
    let error = start(&options(&folder)).await.expect_err("no such version").to_string();
    assert!(error.contains("was made by PostgreSQL 9, which is not installed here (found: "), "{error}");

    let mut options = options(&folder);
    options.postgres_bin_dir = Some("/nowhere".into());
    let error = start(&options).await.expect_err("nothing there").to_string();
    assert!(error.starts_with("No PostgreSQL server found (14 or newer). Install one"), "{error}");
    assert!(error.ends_with("Looked in: /nowhere"), "{error}");
}
