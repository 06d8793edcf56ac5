//! What one node changes, every node forgets.
//!
//! A change of a realm is told to all nodes by the transaction which makes it, and by Redis where there is one: it
//! reaches nodes whose way to Postgres leads through a pooler, which swallows notifications. Neither is trusted to
//! arrive: the store asks for the epoch again, and a node which could not listen for a while forgets everything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use redis::{
    Client, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::Access;
use crate::telemetry;

const CHANNEL: &str = "realmgate:realms";
/// What is published when nothing has changed, so that silence means that Redis is away.
const BEAT: &str = "beat";
const CHANGE: &str = "change";
const BEAT_EVERY: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_millis(2_500);
const RETRY: Duration = Duration::from_millis(500);
/// How long a realm is known without asking again, while Redis is away.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The way to the other nodes. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    hearing: Arc<AtomicBool>,
}

impl Bus {
    /// Says whether `url` is one. Connects when it is followed.
    pub fn open(url: &str) -> RedisResult<Self> {
        Ok(Self { client: Client::open(url)?, hearing: Arc::default() })
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Would this node have heard of a change?
    pub fn is_hearing(&self) -> bool {
        self.hearing.load(Ordering::Acquire)
    }

    async fn publish(&self, publisher: &mut ConnectionManager, what: &str) {
        let mut message = redis::cmd("PUBLISH");
        message.arg(CHANNEL).arg(what);
        match timeout(SILENCE, message.query_async::<i64>(publisher)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(%error, "Redis did not take a message"),
            Err(_) => debug!("Redis did not take a message in time"),
        }
    }

    /// Hears until the connection breaks or is silent.
    async fn hear(&self, access: &Access) -> RedisResult<()> {
        let subscribed = async {
            let mut messages = self.client.get_async_pubsub().await?;
            messages.subscribe(CHANNEL).await?;
            RedisResult::Ok(messages)
        };
        let Ok(messages) = timeout(SILENCE, subscribed).await else { return Ok(()) };
        let mut messages = messages?;
        let mut messages = messages.on_message();
        // Nobody knows what was said while nobody listened.
        access.forget_here();
        while let Ok(Some(message)) = timeout(SILENCE, messages.next()).await {
            if !self.hearing.swap(true, Ordering::AcqRel) {
                telemetry::redis(true);
                info!("Redis tells what other nodes change");
            }
            if message.get_payload_bytes() == CHANGE.as_bytes() {
                access.forget_here();
            }
        }
        Ok(())
    }
}

impl Access {
    /// Forgets what others change, and tells them of changes here, for as long as the process lives.
    pub async fn follow_changes(self) {
        tokio::join!(self.follow_store(), self.follow_bus(), self.feed_bus(), self.shorten_life());
    }

    async fn follow_store(&self) {
        let mut heard = self.shared.store.pulse().listen();
        // That a realm was changed is enough to know: see `forget`.
        while let Ok(()) | Err(RecvError::Lagged(_)) = heard.recv().await {
            self.forget_here();
        }
    }

    async fn follow_bus(&self) {
        let Some(bus) = &self.shared.bus else { return };
        loop {
            let outcome = bus.hear(self).await;
            telemetry::redis(false);
            if bus.hearing.swap(false, Ordering::AcqRel) {
                self.forget_here();
                warn!(
                    "Redis is away: this node counts requests alone, and asks the database whether a realm has changed"
                );
            }
            if let Err(error) = outcome {
                debug!(%error, "Redis cannot be reached");
            }
            sleep(RETRY).await;
        }
    }

    /// While this node cannot hear the others, nothing that it knows of realms is older than [`SHORT_LIFE`].
    async fn shorten_life(&self) {
        let Some(bus) = &self.shared.bus else { return };
        loop {
            sleep(SHORT_LIFE).await;
            if !bus.is_hearing() {
                self.forget_here();
            }
        }
    }

    async fn feed_bus(&self) {
        let Some(bus) = &self.shared.bus else { return };
        let config =
            ConnectionManagerConfig::new().set_connection_timeout(Some(SILENCE)).set_response_timeout(Some(SILENCE));
        loop {
            let Ok(mut publisher) = ConnectionManager::new_with_config(bus.client.clone(), config.clone()).await else {
                sleep(RETRY).await;
                continue;
            };
            loop {
                let what = match timeout(BEAT_EVERY, self.shared.changed.notified()).await {
                    Ok(()) => CHANGE,
                    Err(_) => BEAT,
                };
                bus.publish(&mut publisher, what).await;
            }
        }
    }
}
