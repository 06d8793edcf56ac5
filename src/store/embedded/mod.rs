//! A PostgreSQL of our own in the data folder, for a first run without a database at hand.
//!
//! `install` finds the programs, `folder` keeps what lies on disk, `server` is one run of the server process; here is
//! what holds them together: a keeper which starts the server again whenever it dies. The server outlives a gateway
//! that is killed, and the next gateway takes it over; an orderly stop ends both.
//! The operator's own clients reach it through its socket, as root or as its user:
//! `PGPASSWORD=$(cat DATA_DIR/postgres/password) psql -h DATA_DIR/postgres -U realmgate`.
//! NB: durability is PostgreSQL's own: `fsync` and `full_page_writes` stay on.

mod folder;
mod install;
mod server;

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time,
};
use tracing::{error, info, warn};

use folder::Folder;
pub use folder::default_data_dir;
use install::Installation;
use server::Server;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The longest pause between two attempts to start the server again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the gateway's own data; the cluster lies in `postgres/` in it. Made when missing.
    pub data_dir: PathBuf,
    /// Folder of `postgres` and `initdb`; searched for when absent.
    pub postgres_bin_dir: Option<PathBuf>,
    /// Further server settings (`postgres -c name=value`); they win over ours.
    pub settings: Vec<(String, String)>,
}

/// What keeps a PostgreSQL of our own from running. The texts tell the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "No PostgreSQL server found ({oldest} or newer). Install one — Debian/Ubuntu: `apt-get install postgresql`; \
         macOS: `brew install postgresql@17`; RHEL: `dnf install postgresql-server` — then run this command again. \
         Or point to a database: `REALMGATE_DATABASE_URL=postgres://…`. Looked in: {looked_in}",
        oldest = install::OLDEST
    )]
    NotInstalled { looked_in: String },
    #[error(
        "The data in {folder} was made by PostgreSQL {made_by}, which is not installed here (found: {found}). \
         Install PostgreSQL {made_by}, or move the data to the newer version with pg_upgrade.",
        folder = .folder.display()
    )]
    OtherMajor { folder: PathBuf, made_by: u32, found: String },
    #[error(
        "Another realmgate{} runs on the data folder {}. Stop it, or give this one a folder of its own with \
         REALMGATE_DATA_DIR.", .holder, .folder.display()
    )]
    InUse { folder: PathBuf, holder: String },
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` to run it as. Make one — `useradd --system \
         --user-group --home-dir /var/lib/postgresql --shell /usr/sbin/nologin postgres` — or start realmgate as an \
         ordinary user."
    )]
    NoAccount,
    #[error(
        "The data folder belongs to the user id {0}, which has no entry in the passwd database, and PostgreSQL cannot run \
         without one. Give the folder to a user that exists (`chown`), or point to a database: \
         `REALMGATE_DATABASE_URL=postgres://…`."
    )]
    UnknownOwner(u32),
    #[error(
        "The database in {} does not accept the password in {}. Put the right file back.",
        .cluster.display(), .password.display()
    )]
    WrongPassword { cluster: PathBuf, password: PathBuf },
    #[error("{} failed:\n{output}", .program.display())]
    Failed { program: PathBuf, output: String },
    #[error("PostgreSQL ended while it was starting. Its last words (all of them in {}):\n{last_words}", .log.display())]
    Ended { log: PathBuf, last_words: String },
    #[error("PostgreSQL runs but answered no connection within {} s", .waited.as_secs())]
    Silent { waited: Duration, source: tokio_postgres::Error },
    #[error("PostgreSQL refused to make the gateway's database")]
    Database(#[from] tokio_postgres::Error),
    #[error("cannot {what} {}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// Whether the server can be talked to right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs, as the process with this id, and has answered a connection.
    Up { pid: u32 },
    /// It died and is being started again.
    Down,
}

/// A running PostgreSQL of our own. Dropping it asks the server to stop, without waiting: see [`Embedded::stop`].
#[derive(Debug)]
pub struct Embedded {
    config: tokio_postgres::Config,
    url: String,
    state: watch::Receiver<State>,
    stop: oneshot::Sender<()>,
    keeper: JoinHandle<()>,
}

/// Starts the server, or takes over the one that a killed gateway left running, and keeps it running from then on.
/// The first start makes the cluster, which takes about a second.
pub async fn start(options: &Options) -> Result<Embedded> {
    let folder = Folder::open(&options.data_dir).await?;
    let install = Installation::find(options.postgres_bin_dir.as_deref(), &folder).await?;
    if folder.made_by()?.is_none() {
        info!(folder = %folder.cluster().display(), postgres.version = %install.version, "making a PostgreSQL cluster");
        server::initialize(&install, &folder).await?;
    }
    let launch = Launch { install, folder, settings: options.settings.clone() };
    let server = launch.server().await?;

    let (config, url) = (launch.folder.config(), launch.folder.url());
    let (up, state) = watch::channel(State::Up { pid: server.pid() });
    let (stop, stopped) = oneshot::channel();
    let keeper = tokio::spawn(keep(launch, server, up, stopped));
    Ok(Embedded { config, url, state, stop, keeper })
}

impl Embedded {
    /// How to connect, over the server's unix socket. The role owns its database and is no superuser, so that row-level
    /// security holds for it as in any other database.
    pub fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// The same as a `postgres://` URL. Holds the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Process id of the server, or `None` while it is being started again.
    pub fn pid(&self) -> Option<u32> {
        match *self.state.borrow() {
            State::Up { pid } => Some(pid),
            State::Down => None,
        }
    }

    /// Tells when the server died and when it is back.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Stops the server (fast shutdown: connections are closed, nothing committed is lost) and returns when it is gone.
    pub async fn stop(self) {
        let Self { stop, keeper, .. } = self;
        drop(stop);
        if let Err(error) = keeper.await {
            error!(%error, "the keeper of the embedded PostgreSQL failed");
        }
    }
}

/// All that a start of the server needs, the first as well as the next. Holds the lock on the data folder.
struct Launch {
    install: Installation,
    folder: Folder,
    settings: Vec<(String, String)>,
}

impl Launch {
    /// A server that answers: the one still running if there is one, else a new one.
    async fn server(&self) -> Result<Server> {
        if let Some(mut server) = Server::running(&self.folder)? {
            match server.ready(&self.folder).await {
                Ok(()) => {
                    info!(postgres.pid = server.pid(), "took over the PostgreSQL that was still running");
                    return Ok(server);
                }
                // It was shutting down, as after a quick stop and start.
                Err(Error::Ended { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        server::clear_remains(&self.folder).await?;
        let mut server = Server::spawn(&self.install, &self.folder, &self.settings)?;
        server.ready(&self.folder).await?;
        info!(postgres.pid = server.pid(), postgres.version = %self.install.version, "PostgreSQL runs");
        Ok(server)
    }

    /// As [`Launch::server`], over and over until it succeeds.
    async fn server_at_last(&self) -> Server {
        let mut pause = Duration::from_millis(100);
        loop {
            match self.server().await {
                Ok(server) => return server,
                Err(error) => error!(%error, "PostgreSQL did not start; trying again in {pause:?}"),
            }
            time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

/// Watches over the server until the other end of `stop` is used or dropped.
async fn keep(launch: Launch, mut server: Server, state: watch::Sender<State>, mut stop: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => return server.shut_down().await,
            () = server.ended() => {}
        }
        warn!(postgres.pid = server.pid(), "PostgreSQL died; starting it again");
        state.send_replace(State::Down);
        server = tokio::select! {
            // A server that is half-way up is asked to stop when it is dropped here.
            _ = &mut stop => return,
            server = launch.server_at_last() => server,
        };
        state.send_replace(State::Up { pid: server.pid() });
    }
}

#[cfg(test)]
mod tests;
