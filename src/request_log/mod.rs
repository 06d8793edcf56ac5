//! The request log: what each realm's IdP sent, what became of it, and which known fault that shows.
//!
//! Lives here: the queue between the requests and the log, the task which writes it, what may be kept (`redact`), what
//! a request did (`operations`), what is wrong with it (`diagnosis`), how long it is kept (`retention`), and reading
//! it. Not here: HTTP, SQL.
//!
//! **Invariant:** no request waits for its entry. What is costly is done by the writer; if that cannot keep up, entries
//! are dropped and counted.

pub mod diagnosis;
mod operations;
mod overview;
mod reads;
mod redact;
mod retention;
mod writer;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tracing::warn;
use uuid::Uuid;

pub use overview::overview;
use reads::Reads;

use crate::{
    access::Reason,
    model::{
        Actor, RealmId,
        realm::Realm,
        request_log::{Entry, Outcome, Query},
        token::TokenHash,
    },
    store::{Store, error::Result, request_log},
    telemetry::{self, Dropped},
};

/// Largest body which is looked into. What is more is told by its size.
const LARGEST_BODY: usize = 256 << 10;
/// Bytes of bodies which may wait for the writer.
const WAITING_BODIES: usize = 32 << 20;

/// How the log is written.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Entries which may wait for the writer.
    pub queue: usize,
    /// How often it is looked for what is too old.
    pub sweep_every: Duration,
    /// Successful reads of a realm which are written in a second, on a node; 0 is all of them.
    pub reads_per_second: u32,
}

/// Where requests leave their entries. Cheap to clone.
#[derive(Clone)]
pub struct RequestLog {
    queue: mpsc::Sender<Arrival>,
    waiting: Arc<AtomicUsize>,
    reads: Arc<Reads>,
}

/// The task which writes the log.
pub struct Writer {
    task: JoinHandle<()>,
    stop: Arc<Notify>,
}

/// What those on the way of a request leave behind for its entry.
#[derive(Debug, Default)]
pub struct Trail(Mutex<Left>);

#[derive(Debug, Default)]
pub struct Left {
    actor: Option<Actor>,
    body: Option<Bytes>,
    /// Bytes of the body, also of one which is too large to wait.
    size: Option<usize>,
    outcomes: Vec<Outcome>,
}

/// A request which has ended. It owns what it says, in few pieces of memory: a part of what the connection has read would
/// keep all of that, and whatever waits for the writer is no longer at hand for the next request.
pub struct Arrival {
    pub realm: Arc<Realm>,
    pub id: Uuid,
    pub at: Timestamp,
    pub method: Method,
    pub route: &'static str,
    /// A line each: the request's id, its path with the query, its user agent. None of them can hold a line break.
    pub said: Box<str>,
    pub status: u16,
    pub duration: Duration,
    pub failure: Option<Box<Failed>>,
    pub left: Left,
}

/// Why a request was not served.
#[derive(Debug)]
pub struct Failed {
    pub scim_type: Option<&'static str>,
    pub detail: String,
    /// Of a 401.
    pub reason: Option<Reason>,
    /// The token which the realm does not know.
    pub presented: Option<TokenHash>,
}

impl Trail {
    /// Who was let in.
    pub fn actor(&self, actor: &Actor) {
        self.with(|left| left.actor = Some(actor.clone()));
    }

    /// What was sent.
    pub fn body(&self, body: &Bytes) {
        self.with(|left| (left.body, left.size) = (Some(body.clone()), Some(body.len())));
    }

    /// What became of the operations.
    pub fn outcomes(&self, outcomes: Vec<Outcome>) {
        self.with(|left| left.outcomes = outcomes);
    }

    /// All that was left.
    pub fn take(&self) -> Left {
        self.with(std::mem::take)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Left) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestLog(..)")
    }
}

impl RequestLog {
    /// Starts the writer, and whoever deletes what is too old.
    pub fn start(store: &Store, options: Options) -> (Self, Writer) {
        let (queue, arrivals) = mpsc::channel(options.queue);
        let reads = Arc::new(Reads::new(options.reads_per_second));
        let (log, stop) = (Self { queue, waiting: Arc::default(), reads }, Arc::new(Notify::new()));
        tokio::spawn(retention::sweep(store.clone(), options.sweep_every));
        let task = writer::Task::new(store.clone(), arrivals, log.waiting.clone());
        (log, Writer { task: tokio::spawn(task.run(stop.clone())), stop })
    }

    /// Is there room for the entry of a successful read? If not, it is counted.
    pub fn has_room_for_read(&self, realm: RealmId) -> bool {
        let has_room = self.reads.take(realm);
        if !has_room {
            telemetry::request_log_dropped(Dropped::Spared, 1);
        }
        has_room
    }

    /// Leaves an entry with the writer, if there is room. Those whom nobody let in have half of it.
    pub fn leave(&self, mut arrival: Arrival) {
        let stranger = arrival.failure.as_ref().is_some_and(|failed| failed.reason.is_some());
        if stranger && self.queue.capacity() * 2 < self.queue.max_capacity() {
            return telemetry::request_log_dropped(Dropped::Full, 1);
        }
        let waiting = self.waiting.load(Ordering::Relaxed);
        let body = arrival.left.body.take().filter(|b| b.len() <= LARGEST_BODY && waiting + b.len() <= WAITING_BODIES);
        arrival.left.body = body.map(|body| Bytes::copy_from_slice(&body));
        let body = arrival.left.body.as_ref().map_or(0, Bytes::len);
        self.waiting.fetch_add(body, Ordering::Relaxed);
        if self.queue.try_send(arrival).is_err() {
            self.waiting.fetch_sub(body, Ordering::Relaxed);
            telemetry::request_log_dropped(Dropped::Full, 1);
        }
    }
}

impl Writer {
    /// Takes nothing more, and returns when what was left is written, or `limit` is over.
    pub async fn finish(mut self, limit: Duration) {
        self.stop.notify_one();
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            warn!("the database did not take the end of the request log in time");
            self.task.abort();
        }
    }
}

/// Entries of a realm, newest first.
pub async fn list(store: &Store, realm: &Realm, query: &Query) -> Result<Vec<Entry>> {
    request_log::list(store.enter(realm.id, realm.epoch).await?, query).await
}

/// The entry of that id.
pub async fn find(store: &Store, realm: &Realm, id: Uuid) -> Result<Option<Entry>> {
    request_log::find(store.enter(realm.id, realm.epoch).await?, id).await
}
