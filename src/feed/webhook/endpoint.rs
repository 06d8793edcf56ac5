//! Sends to one endpoint: what stands behind its cursor, one event after the other.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, warn};

use super::{
    LIMITS, Shared,
    attempt::{self, Message, Target},
};
use crate::{
    model::{
        realm::Realm,
        webhook::{Attempt, Progress, Reason, State, Webhook},
    },
    store::{
        error::{Error, Result},
        realms,
        senders::Lease,
        webhooks,
    },
    telemetry,
};

/// Time between two attempts while the database is away.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct Endpoint {
    pub shared: Arc<Shared>,
    /// Ends with the lease.
    pub lease: watch::Receiver<Lease>,
    pub records: mpsc::Sender<Progress>,
    /// Where it stands: what this node has done may not be written down yet.
    pub place: Option<Place>,
}

/// Where sending stands, under a fence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    fence: i64,
    /// Of the order under which it was tried last.
    revision: i64,
    cursor: i64,
    state: State,
}

/// What an endpoint is sent to, as it was set when that was read.
struct Order {
    realm: Realm,
    webhook: Webhook,
    target: Target,
}

/// Why sending stops for now.
enum Stop {
    /// It has to be read anew what is to be done.
    Changed,
    Parked,
}

impl Endpoint {
    /// Until the lease ends.
    pub async fn run(mut self) {
        while self.lease.has_changed().is_ok() {
            let outcome = match self.read().await {
                Ok(Some((_, place))) if place.state.is_parked() => Ok(Stop::Parked),
                Ok(Some((order, mut place))) => self.send(&order, &mut place).await,
                // It is deleted, which ends the lease as well.
                Ok(None) => Ok(Stop::Parked),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Stop::Changed) => {}
                // An operator's word changes the lease; its end is seen above.
                Ok(Stop::Parked) => drop(self.lease.changed().await),
                Err(error) => rest(&error).await,
            }
        }
    }

    /// What is to be done now, and from where on.
    async fn read(&mut self) -> Result<Option<(Order, Place)>> {
        let lease = *self.lease.borrow_and_update();
        let store = &self.shared.store;
        // Nobody closes it.
        let _turn = self.shared.reading.acquire().await;
        let Some(realm) = realms::find(store, lease.realm).await? else { return Ok(None) };
        let mut tx = store.enter(realm.id, realm.epoch).await?;
        let found = webhooks::find(&mut tx, lease.webhook).await?;
        tx.commit().await?;
        let Some(kept) = found else { return Ok(None) };
        let mut place = self.place.filter(|place| place.fence == lease.fence).unwrap_or(Place {
            fence: lease.fence,
            revision: lease.revision,
            cursor: kept.standing.cursor,
            state: kept.standing.state,
        });
        if let State::Failing { due, .. } = &mut place.state
            && place.revision != lease.revision
        {
            // It was set otherwise, perhaps because it failed.
            *due = Timestamp::now();
        }
        place.revision = lease.revision;
        self.place = Some(place);
        let target = self.shared.target(&realm, &kept).await?;
        Ok(Some((Order { realm, webhook: kept.webhook, target }, place)))
    }

    async fn send(&mut self, order: &Order, place: &mut Place) -> Result<Stop> {
        let mut head = self.shared.feed.head(order.realm.id);
        let mut told = place.cursor;
        loop {
            let stretch = self.shared.after(&order.realm, place.cursor).await?;
            if stretch.oldest > place.cursor + 1 {
                place.state = State::Parked { at: Timestamp::now(), reason: Reason::Behind };
                self.record(order, place, None, None).await;
                return Ok(Stop::Parked);
            }
            for message in &stretch.events {
                if order.webhook.events.admits(&message.event.name) && order.target.tells_of(&message.event) {
                    if let Some(stop) = self.deliver(order, place, message).await {
                        return Ok(stop);
                    }
                    told = place.cursor;
                } else {
                    place.cursor = message.event.seq;
                    self.place = Some(*place);
                }
            }
            place.cursor = place.cursor.max(stretch.scanned);
            if place.cursor > told {
                self.record(order, place, None, None).await;
                told = place.cursor;
            }
            if stretch.events.is_empty() {
                tokio::select! {
                    // The feed lives as long as the process.
                    _ = head.wait_for(|head| *head > place.cursor) => {}
                    _ = self.lease.changed() => return Ok(Stop::Changed),
                }
            } else if self.lease.has_changed().unwrap_or(true) {
                return Ok(Stop::Changed);
            }
        }
    }

    /// Sends one event until it is taken; else why not.
    async fn deliver(&mut self, order: &Order, place: &mut Place, message: &Message) -> Option<Stop> {
        loop {
            if let State::Failing { due, .. } = place.state {
                let wait = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
                tokio::select! {
                    () = sleep(wait) => {}
                    _ = self.lease.changed() => return Some(Stop::Changed),
                }
            }
            let shared = self.shared.clone();
            let lane = if place.state == State::Active { &shared.healthy } else { &shared.failing };
            // Nobody closes it.
            let _turn = lane.acquire().await;
            self.may_send().await;
            if self.lease.has_changed().unwrap_or(true) {
                return Some(Stop::Changed);
            }
            let number = place.state.attempts() + 1;
            let (attempt, outcome) = tokio::select! {
                done = attempt::attempt(&shared.outbound, &order.target, message, number, LIMITS.time) => done,
                // Another node may send it again from here on, and what follows.
                () = self.is_out() => return Some(Stop::Changed),
            };
            let before = place.state;
            place.state = attempt::state_after(place.state, &attempt, outcome);
            if place.state == State::Active {
                place.cursor = message.event.seq;
                let took = Timestamp::now().duration_since(message.event.at);
                telemetry::webhook_latency(Duration::try_from(took).unwrap_or_default());
            }
            tell(order, before, place.state, &attempt);
            let is_taken = place.state == State::Active && message.event.revokes();
            self.record(order, place, Some(attempt), is_taken.then_some(message.event.seq)).await;
            match place.state {
                State::Active => return None,
                State::Failing { .. } => {}
                State::Parked { .. } => return Some(Stop::Parked),
            }
        }
    }

    /// Returns when the time of this node is over and was not renewed.
    async fn is_out(&self) {
        let until = self.shared.until.subscribe();
        loop {
            let end = *until.borrow();
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Waits until this node is sure that nobody else sends in its place.
    async fn may_send(&self) {
        let mut until = self.shared.until.subscribe();
        // It lives as long as we hold it.
        let _ = until.wait_for(|until| *until > Instant::now()).await;
    }

    /// Notes where the endpoint stands, to be written down; `revoked` is an event that it has taken, if somebody has lost
    /// access by it.
    async fn record(&mut self, order: &Order, place: &Place, attempt: Option<Attempt>, revoked: Option<i64>) {
        self.place = Some(*place);
        let progress = Progress {
            realm: order.realm.id,
            webhook: order.webhook.id,
            fence: place.fence,
            cursor: place.cursor,
            state: place.state,
            revoked: revoked.into_iter().map(|seq| (seq, Timestamp::now())).collect(),
            attempts: attempt.into_iter().collect(),
        };
        // If nobody writes any more, the process ends: the next one sends it again.
        let _ = self.records.send(progress).await;
    }
}

async fn rest(error: &Error) {
    // The realm has changed: it is read anew.
    if !matches!(error, Error::Stale) {
        debug!(%error, "a webhook waits for the database");
        sleep(RETRY).await;
    }
}

fn tell(order: &Order, before: State, after: State, attempt: &Attempt) {
    let (realm, webhook) = (&order.realm.name, order.webhook.id);
    let error = attempt.error.as_deref().unwrap_or_default();
    match (before, after) {
        (State::Active, State::Failing { .. }) => {
            warn!(realm.name = %realm, webhook.id = %webhook, error, "a webhook does not take its events; it is tried again");
        }
        (_, State::Parked { reason, .. }) => {
            warn!(realm.name = %realm, webhook.id = %webhook, error, "a webhook is parked: {reason}");
        }
        (State::Failing { .. }, State::Active) => {
            tracing::info!(realm.name = %realm, webhook.id = %webhook, "a webhook takes its events again");
        }
        _ => {}
    }
}
