//! Processes and folders of the tests: started here, and gone when the tests are, however they end.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    ops::Deref,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Clears up when this process is gone, be it by a panic, Ctrl-C or SIGKILL: its standard input ends then.
/// `+ PID` and `- PID` tell it what to stop; every Postgres below the folder goes with the folder.
const JANITOR: &str = r#"
root=$1
pids=
while read -r sign pid; do
  case $sign in
    +) pids="$pids $pid" ;;
    -) rest=; for p in $pids; do [ "$p" = "$pid" ] || rest="$rest $p"; done; pids=$rest ;;
  esac
done
alive() { for p in $pids; do kill -0 "$p" 2>/dev/null && return; done; return 1; }
for p in $pids; do kill -TERM "$p" 2>/dev/null; kill -CONT "$p" 2>/dev/null; done
tries=0
while alive && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
for p in $pids; do kill -KILL "$p" 2>/dev/null; done
find "$root" -name postmaster.pid | while read -r file; do
  postmaster=$(head -n 1 "$file")
  kill -QUIT "$postmaster" 2>/dev/null
  kill -CONT "$postmaster" 2>/dev/null
done
sleep 0.5
rm -rf "$root"
"#;

struct Janitor {
    root: PathBuf,
    child: Mutex<Child>,
}

static JANITOR_OF_THIS_RUN: LazyLock<Janitor> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("realmgate-it-{}", std::process::id()));
    fs::create_dir_all(&root).expect("the temporary folder is writable");
    let mut command = Command::new("sh");
    command.args(["-c", JANITOR, "janitor"]).arg(&root).stdin(Stdio::piped()).stdout(Stdio::null());
    let child = Mutex::new(in_group_of_its_own(&mut command).spawn().expect("sh starts"));
    Janitor { root, child }
});

impl Janitor {
    fn tell(&self, sign: char, pid: u32) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let stdin = child.stdin.as_mut().expect("its input is a pipe");
        writeln!(stdin, "{sign} {pid}").expect("the janitor lives as long as we do");
    }
}

/// So that Ctrl-C reaches the tests alone, and they bring down the rest in order.
fn in_group_of_its_own(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0)
}

/// For tests which measure time with a gateway of their own: one at a time, so that they do not measure each other.
pub async fn turn() -> impl Drop {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// A number which no other call in this process gets.
pub fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A new folder, removed at the end of the run.
pub fn folder(purpose: &str) -> PathBuf {
    let folder = JANITOR_OF_THIS_RUN.root.join(format!("{purpose}-{}", unique()));
    fs::create_dir(&folder).expect("the name is unique");
    folder
}

/// A Python which has these modules; `tests/run` sees to it.
pub fn python(modules: &str) -> PathBuf {
    let import = format!("import {modules}");
    let has_them =
        |python: &Path| Command::new(python).args(["-c", &import]).output().is_ok_and(|output| output.status.success());
    let of_tests_run = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python3");
    let known = [PathBuf::from("python3"), of_tests_run];
    known.into_iter().find(|python| has_them(python)).unwrap_or_else(|| panic!("python3 with {modules}: see tests/run"))
}

/// Sends a signal by its name, for example `KILL`. A process which is gone already is no error.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\" 2>/dev/null", "kill", name, &pid.to_string()]).status();
}

/// Waits until `condition` gives a value, looking every few milliseconds; panics with `what` after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// `realmgate serve`, ready.
pub struct Gateway {
    child: Child,
    pub public: SocketAddr,
    pub management: SocketAddr,
    /// From the start of the process to its ready file.
    pub ready_after: Duration,
    printed: PathBuf,
    log: PathBuf,
}

impl Gateway {
    /// Starts the binary with `folder` for its data and `settings` over the defaults of the tests.
    pub fn start(folder: &Path, settings: &[(String, String)]) -> Self {
        let ready_file = folder.join(format!("ready-{}.json", unique()));
        let [printed, log] = ["gateway.out", "gateway.log"].map(|name| folder.join(name));
        let open = |path| fs::File::options().create(true).append(true).open(path).expect("the folder is writable");
        let mut command = binary();
        command
            .args(["serve", "--ready-file"])
            .arg(&ready_file)
            .env("REALMGATE_LISTEN", "127.0.0.1:0")
            .env("REALMGATE_MANAGEMENT_LISTEN", "127.0.0.1:0")
            .env("REALMGATE_DATA_DIR", folder.join("data"))
            .envs(settings.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(open(&printed))
            .stderr(open(&log));
        let begun = Instant::now();
        let mut child = in_group_of_its_own(&mut command).spawn().expect("the binary starts");
        JANITOR_OF_THIS_RUN.tell('+', child.id());
        let ready: Value = wait_for("the gateway is ready", Duration::from_secs(60), || {
            if let Some(status) = child.try_wait().expect("it is our child") {
                panic!("the gateway ended with {status}:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            serde_json::from_slice(&fs::read(&ready_file).ok()?).ok()
        });
        let address = |key: &str| {
            let url = ready[key].as_str().unwrap_or_else(|| panic!("the ready file has `{key}`: {ready}"));
            url.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address and a port")
        };
        let (public, management) = (address("public_url"), address("management_url"));
        Self { child, public, management, ready_after: begun.elapsed(), printed, log }
    }

    /// What it has told its operator on standard output, since the first start on its folder.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.printed).expect("it was opened at the start")
    }

    /// All that it has logged since the first start on its folder.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("it was opened at the start")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("it is our child");
    }

    /// Has it ended, and how?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// SIGTERM; its exit status, once it has ended by itself.
    pub fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        wait_for("the gateway ends after SIGTERM", Duration::from_secs(15), || self.ended())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.ended().is_none() {
            signal(self.pid(), "TERM");
            let begun = Instant::now();
            while self.ended().is_none() && begun.elapsed() < Duration::from_secs(10) {
                thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        JANITOR_OF_THIS_RUN.tell('-', self.pid());
    }
}

/// The program under test, with nothing of the caller's own settings.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_realmgate"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("REALMGATE_")) {
        command.env_remove(key);
    }
    command
}

/// A running Postgres, whoever started it, and what can befall it.
pub struct Cluster {
    data: PathBuf,
}

impl Cluster {
    /// The one whose data folder this is.
    pub fn at(data: PathBuf) -> Self {
        Self { data }
    }

    /// SIGKILL for the postmaster and all its children: a power cut, as far as Postgres can tell.
    pub fn kill(&self) {
        let postmaster = self.postmaster();
        // Stopped first, so that it makes no further child meanwhile.
        signal(postmaster, "STOP");
        let backends = children_of(postmaster);
        signal(postmaster, "KILL");
        for backend in &backends {
            signal(*backend, "KILL");
        }
        for pid in backends.into_iter().chain([postmaster]) {
            wait_for("Postgres is gone", Duration::from_secs(10), || (!is_running(pid)).then_some(()));
        }
    }

    /// SIGKILL for one backend, on which Postgres restarts all of them. Tells whether there was one.
    pub fn kill_a_backend(&self) -> bool {
        let serves_a_client = |pid: &u32| {
            let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            title.contains("[local]") || title.contains("127.0.0.1(")
        };
        let backend = children_of(self.postmaster()).into_iter().find(serves_a_client);
        backend.inspect(|pid| signal(*pid, "KILL")).is_some()
    }

    /// Nothing of it runs, yet every connection stays open.
    pub fn freeze(&self) {
        let postmaster = self.postmaster();
        signal(postmaster, "STOP");
        for pid in children_of(postmaster) {
            signal(pid, "STOP");
        }
    }

    pub fn thaw(&self) {
        let postmaster = self.postmaster();
        for pid in children_of(postmaster) {
            signal(pid, "CONT");
        }
        signal(postmaster, "CONT");
    }

    /// Process id of the server.
    pub fn postmaster(&self) -> u32 {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).expect("Postgres runs");
        file.lines().next().and_then(|pid| pid.parse().ok()).expect("its first line is the process id")
    }
}

/// A Postgres server of the test's own, which it may also stop and start.
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    cluster: Cluster,
    /// Our child, so that nothing is left of it once it ended.
    server: Mutex<Option<Child>>,
}

impl Postgres {
    pub fn start() -> Self {
        let folder = folder("postgres");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&folder));
        }
        let data = folder.join("data");
        let options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"];
        run(tool("initdb").args(options).arg(&data));
        let postgres = Self { folder, port, cluster: Cluster { data }, server: Mutex::default() };
        postgres.resume();
        postgres
    }

    /// For `REALMGATE_DATABASE_URL`: a superuser, so that the gateway can make its own role.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server again; returns when it accepts connections.
    pub fn resume(&self) {
        let log = self.folder.join("postgres.log");
        let output = fs::File::options().create(true).append(true).open(&log).expect("the folder is ours");
        let mut command = tool("postgres");
        command.arg("-D").arg(&self.data).arg("-k").arg(&self.folder);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).stdout(Stdio::null()).stderr(output);
        let mut server = command.spawn().expect("Postgres is installed");
        wait_for("Postgres accepts connections", Duration::from_secs(60), || {
            if let Some(status) = server.try_wait().expect("it is our child") {
                panic!("Postgres ended with {status}:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            // The last line of the file tells how far the server is; the first may still be that of the one before.
            let file = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
            let is_its_own = file.lines().next() == Some(&server.id().to_string());
            (is_its_own && file.lines().last()?.trim() == "ready").then_some(())
        });
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// A fast shutdown: transactions are rolled back, connections closed.
    pub fn stop(&self) {
        signal(self.postmaster(), "INT");
        self.reap();
    }

    /// As [`Cluster::kill`].
    pub fn kill(&self) {
        self.cluster.kill();
        self.reap();
    }

    fn reap(&self) {
        if let Some(mut server) = self.server.lock().unwrap_or_else(PoisonError::into_inner).take() {
            server.wait().expect("it is our child");
        }
    }
}

impl Deref for Postgres {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.data.join("postmaster.pid").exists() {
            signal(self.postmaster(), "QUIT");
            self.thaw();
            self.reap();
        }
    }
}

/// A Redis of the test's own, behind a socket in a folder.
pub struct Redis {
    socket: PathBuf,
    server: Child,
}

impl Redis {
    pub fn start() -> Self {
        let socket = folder("redis").join("s");
        let server = Self::server(&socket);
        Self { socket, server }
    }

    fn server(socket: &Path) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(socket);
        command.current_dir("/tmp").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = in_group_of_its_own(&mut command).spawn().expect("redis-server is installed");
        JANITOR_OF_THIS_RUN.tell('+', server.id());
        wait_for("Redis listens", Duration::from_secs(20), || UnixStream::connect(socket).ok());
        server
    }

    /// For `REALMGATE_REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    pub fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        JANITOR_OF_THIS_RUN.tell('-', self.server.id());
    }

    /// Starts it again where it was, empty.
    pub fn resume(&mut self) {
        self.server = Self::server(&self.socket);
    }

    /// Nothing of it runs, yet every connection stays open.
    pub fn freeze(&self) {
        signal(self.server.id(), "STOP");
    }

    pub fn thaw(&self) {
        signal(self.server.id(), "CONT");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of the newest Postgres on this machine. Postgres refuses root, so root becomes `postgres`.
fn tool(name: &str) -> Command {
    let newest = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .max_by_key(|path| path.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok()));
    let program = newest.map_or_else(|| PathBuf::from(name), |version| version.join("bin").join(name));
    let mut command = if is_root() { Command::new("setpriv") } else { Command::new(&program) };
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    }
    in_group_of_its_own(command.current_dir("/").stdin(Stdio::null())).env("LC_ALL", "C");
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs a command to its end.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

fn children_of(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("these tests run on Linux").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(_, ppid)| ppid == parent))
        .collect()
}

fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// State and parent of a process, from `/proc/PID/stat`: what follows the name in parentheses.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
