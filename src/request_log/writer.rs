//! Takes what requests left, makes entries of it, and writes them, many at once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep},
};
use tracing::{debug, error};

use super::{
    Arrival, Failed, Left,
    diagnosis::{self, Refused},
    operations::Request,
    redact::{self, cut},
};
use crate::{
    model::{
        RealmId, policy,
        realm::Realm,
        request_log::{Entry, Refusal, Sign},
    },
    scim::json,
    store::{Store, error::Error, request_log, tokens},
    telemetry::{self, Dropped},
};

/// Entries of one statement. With more of them waiting the processor has to fetch their memory anew.
const BATCH: usize = 500;
/// How long an entry waits for others, so how far the log lags behind.
const GATHER: Duration = Duration::from_millis(250);
/// How often it is looked meanwhile whether they are enough. Were the writer woken by each, requests would pay for it.
const LOOK: Duration = Duration::from_millis(25);
/// Time between two attempts while the database is away.
const RETRY: Duration = Duration::from_millis(500);
/// Entries of a realm in a minute for those whom nobody let in: anybody can make such requests, and nobody reads more.
const STRANGERS: u32 = 100;
/// How exactly it is known when a sign was last seen.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(15);

/// Longest texts that are kept, in bytes.
const LONGEST_BODY: usize = 16 << 10;
const LONGEST_PATH: usize = 2 << 10;
const LONGEST_DETAIL: usize = 1 << 10;
const LONGEST_AGENT: usize = 256;

pub(super) struct Task {
    store: Store,
    arrivals: mpsc::Receiver<Arrival>,
    /// Bytes of the bodies which wait.
    waiting: Arc<AtomicUsize>,
    /// In which minute it is counted, and how many strangers came to each realm in it.
    strangers: (i64, HashMap<RealmId, u32>),
    /// When each sign was last written down.
    noted: HashMap<(RealmId, Sign), Timestamp>,
}

impl Task {
    pub fn new(store: Store, arrivals: mpsc::Receiver<Arrival>, waiting: Arc<AtomicUsize>) -> Self {
        Self { store, arrivals, waiting, strangers: (0, HashMap::new()), noted: HashMap::new() }
    }

    /// Until `stop` is told and all is written.
    pub async fn run(mut self, stop: Arc<Notify>) {
        let mut arrived = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                arrivals = self.arrivals.recv_many(&mut arrived, BATCH) => if arrivals == 0 { return },
                () = stop.notified() => {
                    self.arrivals.close();
                    continue;
                }
            }
            let until = Instant::now() + GATHER;
            while arrived.len() + self.arrivals.len() < BATCH && !self.arrivals.is_closed() && Instant::now() < until {
                tokio::select! {
                    () = sleep(LOOK) => {}
                    () = stop.notified() => self.arrivals.close(),
                }
            }
            while arrived.len() < BATCH
                && let Ok(arrival) = self.arrivals.try_recv()
            {
                arrived.push(arrival);
            }
            let mut entries = Vec::with_capacity(arrived.len());
            for arrival in arrived.drain(..) {
                entries.extend(self.entry(arrival).await);
                // Other tasks have their turn between two bodies.
                tokio::task::consume_budget().await;
            }
            self.write(&entries, &stop).await;
        }
    }

    /// Writes a batch as soon as the database takes it. Meanwhile the queue fills, and then overflows.
    async fn write(&mut self, entries: &[Entry], stop: &Notify) {
        while !entries.is_empty() {
            match request_log::insert(&self.store, entries).await {
                // Taken: an attempt whose answer was lost has written all of it.
                Ok(()) | Err(Error::Taken(_)) => return,
                Err(Error::Unavailable(_) | Error::TooLong | Error::Deadlock) if !self.arrivals.is_closed() => {
                    tokio::select! {
                        () = sleep(RETRY) => {}
                        () = stop.notified() => self.arrivals.close(),
                    }
                }
                Err(cause) => {
                    error!(error = %cause, ?cause, entries = entries.len(), "entries of the request log were lost");
                    return telemetry::request_log_dropped(Dropped::Lost, entries.len());
                }
            }
        }
    }

    async fn entry(&mut self, arrival: Arrival) -> Option<Entry> {
        let Left { actor, body, size, outcomes } = arrival.left;
        self.waiting.fetch_sub(body.as_ref().map_or(0, Bytes::len), Ordering::Relaxed);
        let realm = &*arrival.realm;
        if arrival.failure.as_ref().is_some_and(|failed| failed.reason.is_some()) && self.is_flood(realm.id, arrival.at)
        {
            telemetry::request_log_dropped(Dropped::Flood, 1);
            return None;
        }
        let document = body.and_then(|body| json::parse(&body).ok());
        let mut said = arrival.said.splitn(3, '\n');
        let [request_id, path, agent] = [(); 3].map(|()| said.next().unwrap_or_default());
        let request = Request {
            method: arrival.method.as_str(),
            path: below_base(path.split_once('?').map_or(path, |(path, _)| path)),
            body: document.as_ref(),
            status: arrival.status,
            outcomes: &outcomes,
        };
        let operations = request.operations();
        let signs = if actor.is_some() { request.signs() } else { BTreeSet::new() };
        let (error, diagnosis) = match arrival.failure {
            None => (None, None),
            Some(failed) => {
                let (error, elsewhere) = self.refusal(realm, *failed).await;
                let diagnosis = diagnosis::of_request(&Refused {
                    path: request.path,
                    status: request.status,
                    error: &error,
                    body: request.body,
                    elsewhere,
                });
                (Some(error), diagnosis)
            }
        };
        let entry = Entry {
            realm: realm.id,
            id: arrival.id,
            at: arrival.at,
            request_id: request_id.to_owned(),
            method: arrival.method.to_string(),
            route: arrival.route.to_owned(),
            path: cut(redact::text(path), LONGEST_PATH),
            user_agent: (!agent.is_empty()).then(|| cut(redact::text(agent), LONGEST_AGENT)),
            actor,
            status: arrival.status,
            duration_us: i64::try_from(arrival.duration.as_micros()).unwrap_or(i64::MAX),
            body_size: size.and_then(|size| i64::try_from(size).ok()),
            body: document
                .filter(|_| realm.policy.request_log == policy::RequestLog::Full)
                .map(|document| cut(redact::document(document).to_string(), LONGEST_BODY)),
            operations,
            error,
            diagnosis: diagnosis.map(str::to_owned),
        };
        self.note(realm, &signs, arrival.at).await;
        Some(entry)
    }

    /// What is told of a failure, and whether its token is another realm's.
    async fn refusal(&self, realm: &Realm, failed: Failed) -> (Refusal, bool) {
        let (mut ended_at, mut elsewhere) = (None, false);
        if let Some(hash) = &failed.presented {
            let found = async { tokens::find_stray(self.store.enter(realm.id, realm.epoch).await?, hash).await };
            match found.await {
                Ok(tokens::Stray::Ended(at)) => ended_at = Some(at),
                Ok(tokens::Stray::Elsewhere) => elsewhere = true,
                Ok(tokens::Stray::Unknown) => {}
                Err(error) => debug!(%error, "nobody could say whose token it was"),
            }
        }
        let refusal = Refusal {
            scim_type: failed.scim_type.map(str::to_owned),
            detail: cut(redact::text(&failed.detail), LONGEST_DETAIL),
            reason: failed.reason.map(|reason| reason.as_str().to_owned()),
            token_ended_at: ended_at,
        };
        (refusal, elsewhere)
    }

    fn is_flood(&mut self, realm: RealmId, at: Timestamp) -> bool {
        let minute = at.as_second() / 60;
        if self.strangers.0 != minute {
            self.strangers = (minute, HashMap::new());
        }
        let count = self.strangers.1.entry(realm).or_default();
        *count += 1;
        *count > STRANGERS
    }

    /// Writes down what is not known of the realm yet, or not so late.
    async fn note(&mut self, realm: &Realm, signs: &BTreeSet<Sign>, at: Timestamp) {
        let known = |sign: &Sign| {
            self.noted.get(&(realm.id, *sign)).is_some_and(|noted| at.duration_since(*noted) < NOTED_EVERY)
        };
        let new: Vec<Sign> = signs.iter().copied().filter(|sign| !known(sign)).collect();
        if new.is_empty() {
            return;
        }
        let noted = async { request_log::note(self.store.enter(realm.id, realm.epoch).await?, &new, at).await };
        match noted.await {
            Ok(()) => self.noted.extend(new.into_iter().map(|sign| ((realm.id, sign), at))),
            // The next request tells it again.
            Err(error) => debug!(%error, realm.name = %realm.name, "what an IdP does was not written down"),
        }
    }
}

/// The path behind the SCIM base URL.
fn below_base(path: &str) -> &str {
    path.split_once("/scim/v2").map_or(path, |(_, below)| below)
}
