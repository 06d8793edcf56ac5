//! Does the database answer? One connection of its own asks all the time, and listens for what other nodes change.
//!
//! A frozen database leaves every connection open and silent. The pulse notices within [`SILENCE`], ends the waiting
//! of all requests, and lets new ones fail at once; it notices the return as quickly.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::Pool;
use futures_util::{StreamExt, stream};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage};
use tracing::{info, warn};

use super::{
    error::{Error, Result},
    events, tls_of, without_tls,
};
use crate::model::RealmId;

/// The channel on which a change of a realm is told to all nodes, in the transaction which makes it.
pub const CHANNEL: &str = "realmgate_realms";

/// Time between two questions.
const BEAT: Duration = Duration::from_millis(500);
/// An answer that takes longer means that the database is away.
const SILENCE: Duration = Duration::from_secs(2);
/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

/// How this connection names itself, so that nodes can count one another.
const NAME: &str = "realmgate pulse";
/// The question: how many nodes are there?
const NODES: &str = "SELECT count(*) FROM pg_stat_activity
                      WHERE application_name = 'realmgate pulse' AND datname = current_database()";

/// Whether the database answers, and what other nodes changed. Cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    alive: watch::Receiver<bool>,
    alone: Arc<AtomicBool>,
    heard: broadcast::Sender<()>,
    /// How far realms have come; `None` where something may have been missed.
    came: broadcast::Sender<Option<(RealmId, i64)>>,
    suspect: Arc<Notify>,
    stopped: Arc<Notify>,
}

impl Pulse {
    pub(super) fn start(config: Config, pool: Pool, connect_timeout: Duration) -> Self {
        // Alive until shown otherwise, so that the first request need not wait for the first beat.
        let (alive_tx, alive) = watch::channel(true);
        let ((heard, _), (came, _)) = (broadcast::channel(1024), broadcast::channel(1024));
        let (suspect, alone) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let pulse = Self { alive, alone, heard, came, suspect, stopped: Arc::new(Notify::new()) };
        let task = Task { config, pool, connect_timeout, alive: alive_tx, pulse: pulse.clone() };
        let stopped = pulse.stopped.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = task.run() => {}
                () = stopped.notified() => {}
            }
        });
        pulse
    }

    /// Does the database answer?
    pub fn is_alive(&self) -> bool {
        *self.alive.borrow()
    }

    /// Is this the only node on the database, and would it hear if that changed? Then nobody else can have changed a
    /// realm, and what is cached of it is true.
    pub fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }

    /// Hears each time that this node or another changes a realm, and each time that something may have been missed.
    pub fn listen(&self) -> broadcast::Receiver<()> {
        self.heard.subscribe()
    }

    /// Hears up to which event each realm has come on other nodes, and `None` each time that something may have been
    /// missed.
    pub fn listen_to_events(&self) -> broadcast::Receiver<Option<(RealmId, i64)>> {
        self.came.subscribe()
    }

    pub(super) fn stop(&self) {
        self.stopped.notify_one();
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.is_alive() { Ok(()) } else { Err(away()) }
    }

    /// Somebody had trouble with a connection: look at once rather than at the next beat.
    pub(super) fn suspect(&self) {
        self.suspect.notify_one();
    }

    /// Waits for `work`, but not once the database is away.
    pub(super) async fn or_away<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let mut alive = self.alive.clone();
        tokio::select! {
            biased;
            done = work => Ok(done),
            _ = alive.wait_for(|alive| !alive) => Err(away()),
        }
    }
}

fn away() -> Error {
    Error::Unavailable("the database does not answer".into())
}

struct Task {
    config: Config,
    pool: Pool,
    connect_timeout: Duration,
    alive: watch::Sender<bool>,
    pulse: Pulse,
}

impl Task {
    async fn run(self) {
        loop {
            match timeout(self.connect_timeout, self.connect()).await {
                Ok(Ok(client)) => {
                    if !self.alive.send_replace(true) {
                        info!("the database answers again");
                    }
                    // Nobody knows what was said while nobody listened.
                    let _ = self.pulse.heard.send(());
                    let _ = self.pulse.came.send(None);
                    self.beat(&client).await;
                }
                Ok(Err(error)) => self.lost(&error.to_string()),
                Err(_) => self.lost("no connection in time"),
            }
            sleep(RETRY).await;
        }
    }

    fn lost(&self, why: &str) {
        self.pulse.alone.store(false, Ordering::Release);
        if self.alive.send_replace(false) {
            warn!(why, "the database does not answer: requests get 503 until it does");
        }
        // Connections from before are of no use, even those that look alive.
        self.pool.retain(|_, _| false);
    }

    /// Returns when the connection is lost or silent.
    async fn beat(&self, client: &Client) {
        loop {
            match timeout(SILENCE, client.simple_query(NODES)).await {
                Ok(Ok(answer)) => self.pulse.alone.store(is_one(&answer), Ordering::Release),
                Ok(Err(error)) => return self.broken(&error.to_string()),
                Err(_) => return self.lost("silent"),
            }
            tokio::select! {
                () = sleep(BEAT) => {}
                () = self.pulse.suspect.notified() => {}
            }
        }
    }

    /// The connection broke, which a restart of the database does as well: it is away only if it cannot be reached.
    fn broken(&self, why: &str) {
        info!(why, "the connection to the database broke");
        self.pulse.alone.store(false, Ordering::Release);
        self.pool.retain(|_, _| false);
    }

    async fn connect(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.application_name(NAME);
        if let Some(tls) = tls_of(&config)? {
            let (client, connection) = config.connect(tls).await?;
            self.forward(connection);
            self.subscribe(client).await
        } else {
            let (client, connection) = without_tls(&config).connect(NoTls).await?;
            self.forward(connection);
            self.subscribe(client).await
        }
    }

    async fn subscribe(&self, client: Client) -> Result<Client> {
        client.batch_execute(&format!("LISTEN {CHANNEL}; LISTEN {}", events::CHANNEL)).await?;
        Ok(client)
    }

    /// Drives the connection and hands on what it hears.
    fn forward<S, T>(&self, mut connection: tokio_postgres::Connection<S, T>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (heard, came) = (self.pulse.heard.clone(), self.pulse.came.clone());
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                match message {
                    AsyncMessage::Notification(told) if told.channel() == events::CHANNEL => {
                        let _ = came.send(place_from(told.payload()));
                    }
                    AsyncMessage::Notification(_) => {
                        let _ = heard.send(());
                    }
                    _ => {}
                }
            }
        });
    }
}

/// A realm and its last event, as a sequencer tells them.
fn place_from(payload: &str) -> Option<(RealmId, i64)> {
    let (realm, seq) = payload.split_once(' ')?;
    Some((RealmId(realm.parse().ok()?), seq.parse().ok()?))
}

fn is_one(answer: &[SimpleQueryMessage]) -> bool {
    answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("1")))
}
