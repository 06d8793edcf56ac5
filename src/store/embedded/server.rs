//! One run of the server process: started or taken over, asked whether it answers, ended. And the making of the
//! cluster, which is a run of `initdb`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    time::{self, Instant},
};
use tokio_postgres::{Client, NoTls, error::SqlState};

use super::{
    Error, Result,
    folder::{Folder, PORT, ROLE, SUPERUSER, failed},
    install::Installation,
};

/// How often a starting server is asked whether it answers, and an ending one whether it is gone.
const BEAT: Duration = Duration::from_millis(20);
/// How often a server that is not our child is asked whether it lives.
const WATCH: Duration = Duration::from_millis(100);
/// How long a server may be silent while it starts. One that says it is recovering has all the time it needs.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a fast shutdown, which writes a checkpoint, may take.
const FAST_SHUTDOWN: Duration = Duration::from_secs(30);
/// How long processes may take that were told to drop everything.
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(5);

/// Settings without which the server would not be ours. The rest is PostgreSQL's default (128 MB of shared buffers, 100
/// connections, 1 GB of WAL), for the operator to change in `postgresql.conf`.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    // Statements are short and many; compiling them costs more than it saves.
    ("jit", "off"),
    // The gateway tells its own errors. Here they would fill the disk, with names and addresses of users.
    ("log_min_messages", "log"),
    ("log_min_error_statement", "panic"),
    ("log_checkpoints", "off"),
];

/// The server process (PostgreSQL calls it the postmaster). Dropping it asks it to stop.
#[derive(Debug)]
pub struct Server {
    pid: Pid,
    /// `None` when it was started by a gateway before this one.
    child: Option<Child>,
    mark: String,
}

/// Makes the cluster, in a folder of another name until it is whole.
pub async fn initialize(install: &Installation, folder: &Folder) -> Result<()> {
    let program = install.initdb();
    let new = folder.begin_cluster()?;
    let mut initdb = folder.command(&program)?;
    initdb.arg("-D").arg(folder.seen(&new)).args(["--username", SUPERUSER, "--auth", "scram-sha-256"]);
    initdb.arg("--pwfile").arg(folder.seen(&folder.password_file()));
    initdb.args(["--encoding", "UTF8", "--locale", "C", "--data-checksums"]);
    let output = initdb.kill_on_drop(true).output().await.map_err(failed("run", &program))?;
    if !output.status.success() {
        return Err(Error::Failed { program, output: String::from_utf8_lossy(&output.stderr).trim().to_owned() });
    }
    folder.finish_cluster(&new)
}

impl Server {
    pub fn spawn(install: &Installation, folder: &Folder, settings: &[(String, String)]) -> Result<Self> {
        let program = install.postgres();
        let log = folder.begin_log()?;
        let mut command = folder.command(&program)?;
        command.arg("-D").arg(folder.seen(&folder.cluster()));
        let mut set = |name: &str, value: &str| {
            command.arg("-c").arg(format!("{name}={value}"));
        };
        set("cluster_name", folder.mark());
        set("port", &PORT.to_string());
        set("unix_socket_directories", &folder.seen(folder.socket_dir()).to_string_lossy());
        for (name, value) in SETTINGS {
            set(name, value);
        }
        // After a crash the server first makes sure of the data folder: one call, rather than one for each of the
        // thousand files that the partitions have, which can take longer than the recovery itself.
        if cfg!(target_os = "linux") {
            set("recovery_init_sync_method", "syncfs");
        }
        for (name, value) in settings {
            set(name, value);
        }
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(failed("run", &program))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let pid = pid.expect("a child that was not waited for has an id, and no id is zero or negative");
        Ok(Self { pid, child: Some(child), mark: folder.mark().to_owned() })
    }

    /// The server that a gateway before this one left running on the cluster, if it did.
    pub fn running(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.pid_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let pid = text.lines().next().and_then(|line| Pid::from_raw(line.trim().parse().ok().filter(|pid| *pid > 0)?));
        // The file may be older than the machine's last start, and the id be another program's by now.
        Ok(pid.filter(|pid| Process(*pid).is_marked(folder.mark())).map(|pid| Self {
            pid,
            child: None,
            mark: folder.mark().to_owned(),
        }))
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Returns when the process is gone. May be called again, and dropped half-way.
    pub async fn ended(&mut self) {
        match &mut self.child {
            // An error means that somebody else reaped it: gone as well.
            Some(child) => drop(child.wait().await),
            None => {
                while self.is_alive() {
                    time::sleep(WATCH).await;
                }
            }
        }
    }

    /// Waits until the server answers, and makes the gateway's role and database if they are not there.
    pub async fn ready(&mut self, folder: &Folder) -> Result<()> {
        let mut heard = Instant::now();
        let client = loop {
            let last = tokio::select! {
                biased;
                () = self.ended() => return Err(Error::Ended { log: folder.log(), last_words: last_words(&folder.log()) }),
                connected = connect(folder) => match connected {
                    Ok(client) => break client,
                    Err(error) => error,
                }
            };
            match last.code() {
                // Starting up, in recovery, or shutting down: it will come to an end.
                Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => heard = Instant::now(),
                Some(code) if *code == SqlState::INVALID_PASSWORD => {
                    return Err(Error::WrongPassword { cluster: folder.cluster(), password: folder.password_file() });
                }
                _ if heard.elapsed() > SILENCE => return Err(Error::Silent { waited: SILENCE, source: last }),
                _ => {}
            }
            time::sleep(BEAT).await;
        };
        make_database(&client, folder).await
    }

    /// Stops the server and returns when it is gone: politely, then less so.
    pub async fn shut_down(mut self) {
        let steps =
            [(Signal::INT, FAST_SHUTDOWN), (Signal::QUIT, IMMEDIATE_SHUTDOWN), (Signal::KILL, IMMEDIATE_SHUTDOWN)];
        for (signal, patience) in steps {
            self.signal(signal);
            if time::timeout(patience, self.ended()).await.is_ok() {
                return;
            }
            tracing::warn!(postgres.pid = self.pid(), "PostgreSQL did not stop within {patience:?}");
        }
    }

    fn is_alive(&self) -> bool {
        match &self.child {
            // Without an id it has been reaped, and the number may be another's.
            Some(child) => child.id().is_some(),
            None => Process(self.pid).is_marked(&self.mark),
        }
    }

    fn signal(&self, signal: Signal) {
        if self.is_alive() {
            Process(self.pid).signal(signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::INT);
    }
}

/// Ends what a dead server left: backends in the middle of a statement still hold its shared memory, and no new server
/// starts until they are gone. Call only when no server runs.
pub async fn clear_remains(folder: &Folder) -> Result<()> {
    for signal in [Signal::QUIT, Signal::KILL] {
        let remains = Process::all_marked(folder.mark());
        for process in &remains {
            process.signal(signal);
        }
        let gone = async {
            while remains.iter().any(|process| process.is_marked(folder.mark())) {
                time::sleep(BEAT).await;
            }
        };
        if time::timeout(IMMEDIATE_SHUTDOWN, gone).await.is_ok() {
            break;
        }
    }
    if !Path::new("/proc/self").exists() {
        // Where processes cannot be looked at, only PostgreSQL can tell whether its file is stale.
        return Ok(());
    }
    // The lock of the socket names the dead server as well, and its id may be somebody else's by now.
    for stale in [folder.pid_file(), folder.socket_lock()] {
        match fs::remove_file(&stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &stale)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// A process, known by its id. What is asked of it is open to every user, so that a root without the capability to
/// trace others can ask as well.
#[derive(Debug, Clone, Copy)]
struct Process(Pid);

impl Process {
    /// Every process of the cluster with this mark.
    fn all_marked(mark: &str) -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
        pids.map(Self).filter(|process| process.is_marked(mark)).collect()
    }

    /// Whether it lives and belongs to the cluster: the server has the mark among its arguments, backends in their title.
    fn is_marked(self, mark: &str) -> bool {
        let line = self.command_line();
        let title = line.strip_prefix("postgres: ").is_some_and(|title| title.starts_with(mark));
        let program = line.split('\0').next().is_some_and(|program| program.ends_with("/postgres"));
        title || program && line.split('\0').any(|argument| argument.strip_prefix("cluster_name=") == Some(mark))
    }

    /// Arguments, each ended by a zero. Empty when the process is gone.
    fn command_line(self) -> String {
        let path = PathBuf::from(format!("/proc/{}/cmdline", self.0.as_raw_nonzero()));
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    fn signal(self, signal: Signal) {
        // It fails when the process is gone, which is what the signal is for.
        let _ = kill_process(self.0, signal);
    }
}

/// Connects as superuser to the database that every cluster has.
async fn connect(folder: &Folder) -> Result<Client, tokio_postgres::Error> {
    let mut config = folder.config_of(SUPERUSER);
    config.connect_timeout(Duration::from_secs(2));
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Makes the role, which may make further roles but is no superuser, and its database.
async fn make_database(client: &Client, folder: &Folder) -> Result<()> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
                    EXISTS (SELECT FROM pg_database WHERE datname = $1)",
            &[&ROLE],
        )
        .await?;
    if !row.get::<_, bool>(0) {
        let password = folder.password();
        client.batch_execute(&format!("CREATE ROLE {ROLE} LOGIN CREATEROLE PASSWORD '{password}'")).await?;
    }
    if !row.get::<_, bool>(1) {
        client.batch_execute(&format!("CREATE DATABASE {ROLE} OWNER {ROLE}")).await?;
    }
    Ok(())
}

/// The end of the log, for a message.
fn last_words(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
