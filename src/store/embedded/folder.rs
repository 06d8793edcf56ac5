//! What lies on disk: the cluster, its password, its socket, the lock; and the account which all of it belongs to.
//!
//! ```text
//! DATA_DIR/lock                  held by the gateway while it runs
//! DATA_DIR/postgres/             0700, of the account that PostgreSQL runs as
//!                   data/        the cluster
//!                   password     0600, of both roles
//!                   log, log.1   this run of the server, and the one before
//!                   .s.PGSQL.5432
//! ```

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    process::Stdio,
};

use aws_lc_rs::rand;
use rustix::{
    fs::{FlockOperation, flock},
    process::geteuid,
};
use tokio::process::Command;

use super::{Error, Result};

/// The gateway's role, and its database.
pub const ROLE: &str = "realmgate";
/// The superuser, for the operator's `psql` and for making the role above.
pub const SUPERUSER: &str = "postgres";
/// Names the socket, nothing else: the server listens on no TCP port.
pub const PORT: u16 = 5432;
/// Our folder as a program sees it that may not walk to it: a descriptor that it was started with.
const DOOR: &str = "/proc/self/fd/3";
/// `sun_path` holds 108 bytes, the last of them zero (on macOS 104).
const LONGEST_SOCKET_PATH: usize = 103;

/// Where the gateway keeps its data unless told otherwise: `/var/lib/realmgate` for root, whose home PostgreSQL's account
/// cannot enter; else `realmgate` in the user's data folder of the XDG specification.
pub fn default_data_dir() -> PathBuf {
    if geteuid().is_root() {
        return "/var/lib/realmgate".into();
    }
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(env::temp_dir)
        .join("realmgate")
}

/// The opened data folder. Whoever has one holds the lock.
#[derive(Debug)]
pub struct Folder {
    /// `DATA_DIR/postgres`, absolute, without symbolic links.
    path: PathBuf,
    socket_dir: PathBuf,
    password: String,
    mark: String,
    account: Option<Account>,
    /// Whether the account can walk the path: a folder above may be closed to it.
    reachable: bool,
    _lock: File,
}

/// A user that PostgreSQL runs as when the gateway is root.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Folder {
    /// Makes what is missing and takes the lock.
    pub async fn open(data_dir: &Path) -> Result<Self> {
        let root = geteuid().is_root();
        if !data_dir.exists() {
            // The account of PostgreSQL must get through; what is secret has a folder of its own.
            let mode = if root { 0o711 } else { 0o700 };
            DirBuilder::new().recursive(true).mode(mode).create(data_dir).map_err(failed("make", data_dir))?;
        }
        let data_dir = data_dir.canonicalize().map_err(failed("find", data_dir))?;
        let lock = lock(&data_dir)?;

        let path = data_dir.join("postgres");
        let account = if root { Some(Account::of(&[&path, &data_dir]).await?) } else { None };
        make_private(&path, account)?;
        let reachable = match account {
            None => true,
            Some(account) => {
                account.reaches(&path).await || {
                    open_to_others(&data_dir)?;
                    account.reaches(&path).await
                }
            }
        };
        let metadata = path.metadata().map_err(failed("read", &path))?;
        let mark = format!("realmgate-{:x}-{:x}", metadata.dev(), metadata.ino());
        let socket_dir = socket_dir(&path, &mark, account)?;
        let password = password(&path, account)?;
        Ok(Self { path, socket_dir, password, mark, account, reachable, _lock: lock })
    }

    /// Hexadecimal digits only.
    pub fn password(&self) -> &str {
        &self.password
    }

    pub fn cluster(&self) -> PathBuf {
        self.path.join("data")
    }

    pub fn password_file(&self) -> PathBuf {
        self.path.join("password")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// What PostgreSQL calls the file that names its process.
    pub fn pid_file(&self) -> PathBuf {
        self.cluster().join("postmaster.pid")
    }

    /// A name which tells this cluster's processes from all others: PostgreSQL writes it into their titles.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Major version of the cluster, or `None` before there is one.
    pub fn made_by(&self) -> Result<Option<u32>> {
        let path = self.cluster().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| failed("understand", &path)(io::ErrorKind::InvalidData.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// How the gateway connects.
    pub fn config(&self) -> tokio_postgres::Config {
        self.config_of(ROLE)
    }

    /// How to connect as a role to the database of the same name.
    pub fn config_of(&self, role: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket_dir).port(PORT).user(role).password(&self.password).dbname(role);
        config
    }

    pub fn url(&self) -> String {
        let host: String = self.socket_dir.as_os_str().as_bytes().iter().copied().map(percent_encoded).collect();
        format!("postgres://{ROLE}:{}@/{ROLE}?host={host}&port={PORT}", self.password)
    }

    /// A new folder for a cluster in the making. A killed first run may have left others; they go.
    pub fn begin_cluster(&self) -> Result<PathBuf> {
        for entry in fs::read_dir(&self.path).map_err(failed("read", &self.path))?.flatten() {
            if entry.file_name().as_bytes().starts_with(b"data.new") {
                // An orphaned initdb may still write there and make this fail; the name differs, so it does no harm.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let new = self.path.join(format!("data.new.{}", std::process::id()));
        make_private(&new, self.account)?;
        Ok(new)
    }

    /// Makes the finished folder the cluster: all of it or, when the power fails here, nothing.
    pub fn finish_cluster(&self, new: &Path) -> Result<()> {
        fs::rename(new, self.cluster()).map_err(failed("rename", new))?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed("sync", &self.path))
    }

    /// A new log for a new run of the server.
    pub fn begin_log(&self) -> Result<File> {
        let log = self.log();
        // Missing before the first run.
        let _ = fs::rename(&log, self.path.join("log.1"));
        OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(failed("open", &log))
    }

    /// A command that runs `program` as the account, in a process group of its own, so that a Ctrl-C for the gateway
    /// does not reach it, and with nothing of the gateway's environment. Paths for it go through [`Folder::seen`].
    pub fn command(&self, program: &Path) -> Result<Command> {
        let mut command;
        if self.reachable {
            command = Command::new(program);
            command.current_dir(&self.path).stdin(Stdio::null());
        } else {
            // The program starts with our folder already open, as DOOR: the kernel checks the way to a folder only
            // when it is walked.
            let folder = File::open(&self.path).map_err(failed("open", &self.path))?;
            command = Command::new("/bin/sh");
            command.current_dir("/").stdin(folder);
            command.args(["-c", r#"exec 3<&0 </dev/null && exec "$@""#, "sh"]).arg(program);
        }
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        let kept = ["PATH", "LD_LIBRARY_PATH"].map(|name| (name, env::var_os(name)));
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
        command.envs(kept.into_iter().filter_map(|(name, value)| Some((name, value?))));
        command.process_group(0);
        Ok(command)
    }

    /// A path of ours as a [`Folder::command`] can use it.
    pub fn seen(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.path) {
            Ok(below) if !self.reachable => Path::new(DOOR).join(below),
            _ => path.to_owned(),
        }
    }

    /// PostgreSQL's own lock on its socket.
    pub fn socket_lock(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{PORT}.lock"))
    }

    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }
}

impl Account {
    /// Who PostgreSQL runs as when the gateway is root: the first owner among `paths` who is not root, else the user
    /// `postgres`.
    async fn of(paths: &[&Path]) -> Result<Self> {
        let owners = paths.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.uid());
        match owners.into_iter().find(|uid| *uid != 0) {
            Some(uid) => Self::find(&uid.to_string()).await.ok_or(Error::UnknownOwner(uid)),
            None => Self::find("postgres").await.ok_or(Error::NoAccount),
        }
    }

    /// Asks the passwd database for a user by name or id.
    async fn find(key: &str) -> Option<Self> {
        let output = Command::new("getent").args(["passwd", key]).output().await.ok()?;
        let entry = String::from_utf8(output.stdout).ok()?;
        let mut fields = entry.trim_end().split(':').skip(2);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }

    /// Whether the account can walk to `path`: asks the kernel, which knows of access lists and the like.
    async fn reaches(self, path: &Path) -> bool {
        let status = Command::new("/bin/sh").args(["-c", ":"]).current_dir(path).uid(self.uid).gid(self.gid).status();
        status.await.is_ok_and(|status| status.success())
    }
}

/// Takes the lock on the data folder: two gateways on one cluster would each stop and start it under the other.
fn lock(data_dir: &Path) -> Result<File> {
    let path = data_dir.join("lock");
    let mut options = OpenOptions::new();
    let mut lock = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open", &path))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = fs::read_to_string(&path).ok().filter(|pid| !pid.is_empty());
        let holder = holder.map_or_else(String::new, |pid| format!(" (process {})", pid.trim()));
        return Err(Error::InUse { folder: data_dir.to_owned(), holder });
    }
    // For the message above alone.
    lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed("write", &path))?;
    Ok(lock)
}

/// Makes `path` a folder for the account alone, new or not.
fn make_private(path: &Path, account: Option<Account>) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => give(path, account),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = path.symlink_metadata().map_err(failed("read", path))?;
            let owner = account.map_or_else(|| geteuid().as_raw(), |account| account.uid);
            if metadata.is_dir() && metadata.uid() == 0 && owner != 0 {
                // A first run was killed between the two calls above.
                give(path, account)?;
            } else if !metadata.is_dir() || metadata.uid() != owner {
                return Err(failed("use, since it belongs to another user,", path)(error));
            }
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed("close to others", path))
        }
        Err(error) => Err(failed("make", path)(error)),
    }
}

fn give(path: &Path, account: Option<Account>) -> Result<()> {
    let Some(Account { uid, gid }) = account else { return Ok(()) };
    chown(path, Some(uid), Some(gid)).map_err(failed("give to the PostgreSQL user", path))
}

/// Lets others pass through the data folder. They cannot list it, and what lies in it is closed to them.
fn open_to_others(data_dir: &Path) -> Result<()> {
    let mode = data_dir.metadata().map_err(failed("read", data_dir))?.mode() | 0o011;
    fs::set_permissions(data_dir, Permissions::from_mode(mode)).map_err(failed("open to others", data_dir))
}

/// Where the socket goes: our folder, unless its path is too long for an address.
fn socket_dir(folder: &Path, mark: &str, account: Option<Account>) -> Result<PathBuf> {
    let name = format!("/.s.PGSQL.{PORT}");
    if folder.as_os_str().len() + name.len() <= LONGEST_SOCKET_PATH {
        return Ok(folder.to_owned());
    }
    let short = Path::new("/tmp").join(mark);
    make_private(&short, account)?;
    Ok(short)
}

/// The password of both roles, made before the cluster.
fn password(folder: &Path, account: Option<Account>) -> Result<String> {
    let path = folder.join("password");
    match fs::read_to_string(&path) {
        Ok(password) => return Ok(password.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", &path)(error)),
    }
    let mut random = [0; 16];
    rand::fill(&mut random).map_err(|_| failed("fill", &path)(io::Error::other("no random numbers")))?;
    let password = format!("{:032x}", u128::from_be_bytes(random));
    // Renamed when whole: a password cut short would lock us out of the cluster.
    let new = folder.join("password.new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{password}")?;
        file.sync_all()
    };
    write().map_err(failed("write", &new))?;
    give(&new, account)?;
    fs::rename(&new, &path).map_err(failed("rename", &new))?;
    Ok(password)
}

/// One byte of a URL's query.
fn percent_encoded(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// Turns an I/O error into ours: "cannot `what` `path`".
pub fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what, path: path.to_owned(), source }
}
