//! The memory: the only SQL of the program. Each statement stands inside the typed function that binds it.
//!
//! Lives here: the pool, the way into a realm ([`RealmTx`]), one file for each noun, migrations, the embedded
//! server. Not here: rules of the protocol (`scim`), what a change means to others (`provision`).
//! To add a noun: a migration which ends in `CALL tenant_table(…)`, a file with its statements, a line below.
//!
//! **Invariant:** `$1` of every statement in a realm is the realm, bound by [`RealmTx`] and by nobody else.

pub mod admins;
pub mod audit;
pub mod clients;
pub mod embedded;
pub mod error;
pub mod events;
pub mod export;
pub mod extensions;
pub mod filter_sql;
pub mod groups;
pub mod guard;
pub mod history;
pub mod import;
pub mod json;
pub mod list;
pub mod login_failures;
pub mod members;
pub mod migrate;
pub mod outbox;
pub mod people;
pub mod pulse;
pub mod realm_keys;
pub mod realms;
pub mod request_log;
pub mod revocations;
pub mod roles;
pub mod senders;
pub mod sign_in;
pub mod signing_keys;
pub mod sort_sql;
pub mod streams;
pub mod tokens;
pub mod tx;
pub mod undo;
pub mod users;
pub mod webhooks;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use moka::future::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{Config, NoTls, Row, config::SslMode, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    model::{RealmId, Scope},
    telemetry,
};
use error::{Error, Result};
use outbox::Written;
use pulse::Pulse;
use tx::RealmTx;

/// The role which every connection of the pool takes: not the owner of the tables, no `BYPASSRLS`.
pub const APP_ROLE: &str = "realmgate_app";

/// The schema which holds all tables.
pub const SCHEMA: &str = "realmgate";

/// A realm which has not used the database for so long has no share of the pool; far longer than any transaction.
const SHARE_IDLE: Duration = Duration::from_secs(10 * 60);

/// How the store connects and how long it waits.
#[derive(Debug, Clone)]
pub struct Options {
    pub pool_size: usize,
    /// For a free connection of the pool.
    pub wait_timeout: Duration,
    /// For a new connection.
    pub connect_timeout: Duration,
    /// For one statement, told to Postgres, and for a flight of statements, kept here.
    pub statement_timeout: Duration,
}

/// A handle to the database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    /// What each realm may have of the pool: however busy it is, the others find a connection.
    shares: Cache<RealmId, Arc<Semaphore>>,
    pulse: Pulse,
    written: Written,
    options: Options,
}

impl Store {
    /// A store over `config`. Connects when it is first used; [`Store::pulse`] tells whether the database answers.
    pub fn new(config: &Config, options: Options) -> Result<Self> {
        // A plan which is kept may be older than the table's size: reading all of a small table must not stay the plan
        // when the table has grown. Every statement of ours finds its rows by an index that begins with the realm.
        // Nor is one worth compiling: that took a second where the work took fifteen milliseconds.
        let setup: Arc<str> = format!(
            "SET search_path = {SCHEMA}; SET ROLE {APP_ROLE}; SET plan_cache_mode = force_generic_plan; \
             SET enable_seqscan = off; SET jit = off; SET statement_timeout = {0}; \
             SET idle_in_transaction_session_timeout = {0}; SET timezone = 'UTC'",
            options.statement_timeout.as_millis()
        )
        .into();
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match tls_of(config)? {
            Some(tls) => Manager::from_config(config.clone(), tls, recycling),
            None => Manager::from_config(without_tls(config), NoTls, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(options.pool_size)
            .wait_timeout(Some(options.wait_timeout))
            .create_timeout(Some(options.connect_timeout))
            .recycle_timeout(Some(options.connect_timeout))
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(move |client, _| {
                let setup = setup.clone();
                Box::pin(async move { client.batch_execute(&setup).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|e| Error::Unavailable(e.to_string()))?;
        let pulse = Pulse::start(config.clone(), pool.clone(), options.connect_timeout);
        // Kept for as long as the realm is in use, so that the permits of a share are those of one semaphore.
        let shares = Cache::builder().time_to_idle(SHARE_IDLE).build();
        Ok(Self { shared: Arc::new(Shared { pool, shares, pulse, written: Written::default(), options }) })
    }

    /// Whether the database answers, and what other nodes changed.
    pub fn pulse(&self) -> &Pulse {
        &self.shared.pulse
    }

    /// Which realms' outboxes this node has written to.
    pub fn written(&self) -> &Written {
        &self.shared.written
    }

    /// Ends the use of the database: nothing is asked of it from here on.
    pub fn close(&self) {
        self.shared.pool.close();
        self.shared.pulse.stop();
    }

    /// State of the pool, for the metrics.
    pub fn pool_status(&self) -> deadpool_postgres::Status {
        self.shared.pool.status()
    }

    /// A transaction which stands in `realm`, at the epoch that is known of it. Nothing is sent before its first
    /// statement.
    pub async fn enter(&self, realm: RealmId, epoch: i64) -> Result<RealmTx> {
        let share = self.share(realm).await?;
        Ok(RealmTx::new(self.connection().await?, share, self.clone(), realm, epoch))
    }

    /// A transaction which stands in the realm of `scope`.
    pub async fn begin(&self, scope: &Scope) -> Result<RealmTx> {
        self.enter(scope.realm.id, scope.realm.epoch).await
    }

    /// One statement outside of any realm: the register of realms, the operators.
    async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let client = self.connection().await?;
        let flight = async { client.query(&client.prepare_cached(sql).await?, params).await };
        match self.bounded(flight).await {
            Ok(rows) => Ok(rows?),
            Err(away) => {
                drop(Object::take(client));
                Err(away)
            }
        }
    }

    /// Two statements in one transaction, in one flight: the first makes it stand where it must, the answer is the
    /// second's.
    async fn query_from(
        &self,
        place: (&str, &[&(dyn ToSql + Sync)]),
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let client = self.connection().await?;
        let flight = async {
            let (entering, statement) = (client.prepare_cached(place.0).await?, client.prepare_cached(sql).await?);
            // Each future queues its message when it is first polled, so `join!` sends them in this order.
            let (begun, entered, rows, ended) = tokio::join!(
                client.batch_execute("BEGIN"),
                client.query(&entering, place.1),
                client.query(&statement, params),
                client.batch_execute("COMMIT"),
            );
            begun.and(entered)?;
            let rows = rows?;
            ended.map(|()| rows)
        };
        match self.bounded(flight).await {
            Ok(rows) => Ok(rows?),
            Err(away) => {
                drop(Object::take(client));
                Err(away)
            }
        }
    }

    /// A place in the realm's share of the pool: three quarters of it. Those of one realm wait for each other in line.
    async fn share(&self, realm: RealmId) -> Result<OwnedSemaphorePermit> {
        let most = (self.shared.options.pool_size * 3).div_ceil(4);
        let share = self.shared.shares.get_with(realm, async { Arc::new(Semaphore::new(most)) }).await;
        if let Ok(place) = share.clone().try_acquire_owned() {
            return Ok(place);
        }
        let asked = Instant::now();
        let place = tokio::time::timeout(self.shared.options.wait_timeout, share.acquire_owned());
        match self.shared.pulse.or_away(place).await? {
            Ok(Ok(place)) => {
                telemetry::store_pool_wait(asked);
                Ok(place)
            }
            _ => Err(Error::Unavailable("the realm has too much for the database to do".into())),
        }
    }

    async fn connection(&self) -> Result<Object> {
        self.shared.pulse.check()?;
        let asked = Instant::now();
        match self.shared.pulse.or_away(self.shared.pool.get()).await? {
            Ok(client) => {
                telemetry::store_pool_wait(asked);
                Ok(client)
            }
            Err(error) => {
                self.shared.pulse.suspect();
                Err(error.into())
            }
        }
    }

    /// Waits for `flight`, but no longer than the statement time and a little, and not once the database is known to
    /// be away. What became of the flight is unknown then, so its connection must not be used again.
    async fn bounded<T>(&self, flight: impl Future<Output = T>) -> Result<T> {
        let limit = self.shared.options.statement_timeout + Duration::from_millis(500);
        match tokio::time::timeout(limit, self.shared.pulse.or_away(flight)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Unavailable("the database did not answer in time".into())),
        }
    }
}

/// TLS if the URL demands it (`sslmode=require`): verified against the system's roots.
fn tls_of(config: &Config) -> Result<Option<MakeRustlsConnect>> {
    use rustls_platform_verifier::ConfigVerifierExt;
    if config.get_ssl_mode() != SslMode::Require {
        return Ok(None);
    }
    let tls = rustls::ClientConfig::with_platform_verifier().map_err(|e| Error::Unavailable(e.to_string()))?;
    Ok(Some(MakeRustlsConnect::new(tls)))
}

fn without_tls(config: &Config) -> Config {
    let mut config = config.clone();
    config.ssl_mode(SslMode::Disable);
    config
}
