//! Builds every part once and hands it to the next; starts them, and stops them in the other order.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tower::Service as _;
use tracing::info;

use crate::{
    access::{
        self, Access,
        foreign::source::Sources,
        invalidate::Bus,
        keys::Keys,
        oauth::Issuing,
        operator::{self, Lives, Operators, external::External},
        quota::Quotas,
    },
    config::{self, Config},
    feed::{
        self, Feed,
        webhook::{self, Webhooks},
    },
    http::{
        self, Edge, Settings,
        exchange::Request,
        layer::bounds::Shares,
        ops::{Ops, Phase},
        scim::walk::Walks,
        server::{self, Patience},
    },
    model::{
        Actor, Cause,
        identity::{InvalidIdentity, Issuer},
        lockout::Lockout,
        policy::RateLimit,
        realm::{MASTER, Realm},
        token::PlainToken,
    },
    outbound::{self, Outbound, Reach},
    provision::{self, realms, tokens},
    request_log::{self, RequestLog},
    scim::list::PageSizes,
    secret::{DataKey, KeyRing},
    store::{self, Store, embedded::Embedded, migrate},
    telemetry,
};

/// What an answer of a server which an operator names may take.
const OUTBOUND: outbound::Limits = outbound::Limits { time: Duration::from_secs(5), body: 512 * 1024 };

/// The realm which a first start in embedded mode comes with.
const DEMO: &str = "demo";

/// How long the last entries of the request log may take to be written.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the last attempts to send to webhooks may take, and to be written.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(4);

/// The file in `data_dir` with the key under which secrets are kept in embedded mode.
const KEY_FILE: &str = "secret_keys";

/// Runs the gateway until SIGTERM or SIGINT.
pub async fn run(config: Config, ready_file: Option<PathBuf>) -> Result<()> {
    let metrics = telemetry::start_metrics();
    let public = bind(config.listen).await?;
    let management = bind(config.management_listen).await?;
    let public_url = config.public_url(public.local_addr()?);
    let management_url = format!("http://{}", management.local_addr()?);

    let database = Database::open(&config).await?;
    migrate::run(&database.config).await.context("the schema could not be brought up to date")?;
    let store = Store::new(&database.config, store_options(&config)).context("the store could not be opened")?;

    let issuer = format!("{public_url}/realms/{MASTER}");
    let (lives, oauth_life) = (lives(&config), config.tokens.oauth_life);
    let keys = Keys::start(store.clone(), lives.longest().max(oauth_life)).await;
    let keys = Arc::new(keys.context("the keys that sign tokens could not be made")?);
    let sources = Sources::new(outbound(&config, OUTBOUND)?);
    let external = external(&config, &sources).context("[admin.oidc] cannot be used")?;
    let operators = Operators::new(&store, issuer, lives, lockout(&config), keys.clone(), external);
    tokio::spawn(operators.clone().follow_changes());
    let bus = config.redis_url.as_ref().map(|url| Bus::open(url.reveal())).transpose();
    let bus = bus.context("redis_url (REALMGATE_REDIS_URL) is not a Redis URL")?;
    let quotas = Quotas::new(rate_limit(&config), bus.clone()).context("Redis cannot be used to count requests")?;
    let issuing = Issuing::new(keys, public_url.clone(), oauth_life);
    let access = Access::new(store.clone(), bus.clone(), sources, issuing, &access_options(&config, &public_url));
    // Shown at once: what it holds is nowhere else. The listener is open already, so what it says works.
    if let Some(welcome) = first_start(&store, &config, database.embedded.is_some()).await? {
        welcome.print(&public_url)?;
    }
    access.forget();
    tokio::spawn(access.clone().follow_changes());

    let (phase_tx, phase) = watch::channel(Phase::Serving);
    let mut stopping = phase.clone();
    let settings = Arc::new(settings(&config, &public_url));
    let shares = Shares::of(settings.max_requests_in_flight);
    let (log, writer) = match config.request_log {
        config::RequestLog { enabled: false, .. } => (None, None),
        config::RequestLog { queue, sweep_every, reads_per_second, .. } => {
            let (log, writer) =
                RequestLog::start(&store, request_log::Options { queue, sweep_every, reads_per_second });
            (Some(log), Some(writer))
        }
    };
    let places = config.limits.max_requests_in_flight;
    let options =
        feed::Options { sweep_every: config.events.sweep_every, waiting: places.div_ceil(4), live: places.div_ceil(8) };
    let feed = Feed::start(&store, options);
    let ring = key_ring(&config, database.embedded.is_some())?;
    let (webhooks, sending) =
        Webhooks::start(&store, &feed, ring.clone(), outbound(&config, webhook::LIMITS)?, public_url.clone());
    let edge = Edge {
        store: store.clone(),
        access,
        operators,
        quotas,
        shares,
        walks: Walks::new(),
        feed,
        webhooks,
        ring,
        log,
        settings,
        phase: phase.clone(),
    };
    let ops = Ops { store: store.clone(), bus, phase: phase.clone(), metrics: Arc::new(metrics.clone()) };
    tokio::spawn(upkeep(metrics));
    tokio::spawn(watch_tokens(store.clone()));
    let serving = serve(&config, edge, ops, public, management, phase);

    if let Some(file) = ready_file {
        announce(&file, &public_url, &management_url)?;
    }
    info!(public_url, management_url, "ready");
    tokio::spawn(async move {
        let signal = stop_signal().await;
        info!(signal, "stopping: finishing what is under way");
        phase_tx.send_replace(Phase::Draining);
    });
    let sending = async {
        // The phase is told for as long as the process lives.
        let _ = stopping.wait_for(|phase| *phase == Phase::Draining).await;
        sending.finish(WEBHOOK_TIMEOUT).await;
    };
    tokio::join!(serving, sending);
    if let Some(writer) = writer {
        writer.finish(LOG_TIMEOUT).await;
    }
    store.close();
    database.close().await;
    info!("stopped");
    Ok(())
}

/// Brings the database's schema up to date, and does nothing else.
pub async fn migrate(config: &Config) -> Result<()> {
    let database = Database::open(config).await?;
    let applied = migrate::run(&database.config).await;
    database.close().await;
    println!("{} migrations applied", applied?);
    Ok(())
}

/// Serves both listeners until the process drains and the last request is answered. The management listener stays
/// until the public one is empty, so that whoever balances sees why.
async fn serve(
    config: &Config,
    edge: Edge,
    ops: Ops,
    public: TcpListener,
    management: TcpListener,
    phase: watch::Receiver<Phase>,
) {
    let gateway = http::gateway(&edge);
    let patience = patience(config);
    let proxies = config.trusted_proxies.clone();
    let trusts = move |from: SocketAddr| proxies.iter().any(|network| network.contains(from.ip()));
    let answer = move |request: Request| {
        let mut gateway = gateway.clone();
        async move {
            let Ok(reply) = gateway.call(request).await;
            reply
        }
    };
    let (done, emptied) = watch::channel(Phase::Serving);
    let public = async {
        server::serve(public, telemetry::Listener::Public, patience.clone(), trusts, phase, answer).await;
        done.send_replace(Phase::Draining);
    };
    let answer = move |request: Request| {
        let ops = ops.clone();
        async move { ops.answer(&request) }
    };
    let management =
        server::serve(management, telemetry::Listener::Management, patience.clone(), |_| false, emptied, answer);
    tokio::join!(public, management);
}

/// The database and, in embedded mode, the server which runs it.
struct Database {
    config: tokio_postgres::Config,
    embedded: Option<Embedded>,
}

impl Database {
    async fn open(config: &Config) -> Result<Self> {
        if let Some(url) = &config.database_url {
            let config = url.reveal().parse().context("database_url (REALMGATE_DATABASE_URL) is not a Postgres URL")?;
            return Ok(Self { config, embedded: None });
        }
        let options = store::embedded::Options {
            data_dir: config.data_dir()?,
            postgres_bin_dir: config.postgres_bin_dir.clone(),
            settings: Vec::new(),
        };
        let embedded = store::embedded::start(&options).await?;
        Ok(Self { config: embedded.config().clone(), embedded: Some(embedded) })
    }

    async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// What a first start shows, once.
struct Welcome {
    admin: operator::Bootstrapped,
    demo: Option<(Realm, PlainToken)>,
}

/// Makes what must be there: the realm `master`, a first operator and, in embedded mode, a realm to try.
async fn first_start(store: &Store, config: &Config, embedded: bool) -> Result<Option<Welcome>> {
    let cause = Cause { actor: Actor::System, request_id: "first-start".into(), at: Timestamp::now() };
    made(realms::create(store, MASTER, None, true, &cause).await)?;
    // The operator comes last: a start that is cut off before is a first start again.
    let demo = if embedded && operator::is_missing(store).await? {
        made(realms::create(store, DEMO, Some("Demo"), true, &cause).await)?;
        tokens::disable(store, DEMO, &cause).await?;
        Some(tokens::enable(store, DEMO, None, &cause).await?)
    } else {
        None
    };
    let chosen = config.bootstrap_admin.as_ref();
    let (username, password) = (chosen.map(|a| a.username.clone()), chosen.map(|a| a.password.reveal().clone()));
    let admin = operator::bootstrap(store, username, password).await?;
    Ok(admin.map(|admin| Welcome { admin, demo }))
}

/// It is as good if somebody else has made it.
fn made(outcome: provision::Result<Realm>) -> provision::Result<()> {
    match outcome {
        Ok(_) | Err(provision::Error::Exists(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

impl Welcome {
    fn print(&self, public_url: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nrealmgate is ready at {public_url}\n")?;
        writeln!(out, "  admin      {}", self.admin.username)?;
        if let Some(password) = &self.admin.generated_password {
            writeln!(out, "  password   {password}   (shown this once)")?;
        }
        if let Some((realm, token)) = &self.demo {
            let base_url = format!("{public_url}/realms/{}/scim/v2", realm.name);
            let token = token.reveal();
            writeln!(out, "\nThe realm `{}` takes users and groups from an identity provider:\n", realm.name)?;
            writeln!(out, "  base URL   {base_url}")?;
            writeln!(out, "  token      {token}   (shown this once)")?;
            writeln!(out, "\nCreate a first user:\n")?;
            writeln!(out, "  curl -sS {base_url}/Users \\")?;
            writeln!(out, "    -H 'Authorization: Bearer {token}' \\")?;
            writeln!(out, "    -H 'Content-Type: application/scim+json' \\")?;
            writeln!(
                out,
                r#"    -d '{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"alice@example.com","displayName":"Alice"}}'"#
            )?;
        }
        writeln!(out)?;
        Ok(out.flush()?)
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Tells whoever started us where we are: the file is there, whole, once requests are answered.
fn announce(file: &Path, public_url: &str, management_url: &str) -> Result<()> {
    let partial = file.with_extension("partial");
    let text = json!({ "public_url": public_url, "management_url": management_url }).to_string();
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, file))
        .with_context(|| format!("the ready file {} could not be written", file.display()))
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut due = tokio::time::interval(telemetry::UPKEEP);
    loop {
        due.tick().await;
        metrics.run_upkeep();
    }
}

/// Looks every minute which tokens end soon.
async fn watch_tokens(store: Store) {
    let mut due = tokio::time::interval(Duration::from_secs(60));
    loop {
        due.tick().await;
        if let Err(error) = tokens::warn_of_expiry(&store, Timestamp::now()).await {
            info!(%error, "tokens which end soon were not looked for");
        }
    }
}

async fn stop_signal() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// The way to servers which operators name.
fn outbound(config: &Config, limits: outbound::Limits) -> Result<Outbound> {
    let allowed = config.outbound.allow.clone();
    let inside = Arc::new(move |address| allowed.iter().any(|network| network.contains(address)));
    Outbound::new(limits, Reach::Public { inside }).context("the way out cannot be opened")
}

/// The keys that are set; in embedded mode also the one of the data folder, made if none is set.
fn key_ring(config: &Config, embedded: bool) -> Result<KeyRing> {
    let mut keys = config.secret_keys.clone();
    if embedded {
        let file = config.data_dir()?.join(KEY_FILE);
        if keys.is_empty() || file.exists() {
            keys.push(DataKey::in_file(&file)?);
        }
    }
    Ok(KeyRing::new(&keys))
}

fn store_options(config: &Config) -> store::Options {
    let database = &config.database;
    store::Options {
        pool_size: database.pool_size,
        wait_timeout: database.wait_timeout,
        connect_timeout: database.connect_timeout,
        statement_timeout: database.statement_timeout,
    }
}

fn access_options(config: &Config, public_url: &str) -> access::Options {
    let tokens = &config.tokens;
    let authority = public_url.split_once("://").map_or(public_url, |(_, authority)| authority);
    access::Options {
        platform: access::realm::domain_of(authority),
        ttl: tokens.cache_ttl,
        entries: tokens.cache_entries,
        unknown_ttl: tokens.unknown_ttl,
        unknown_entries: tokens.unknown_entries,
    }
}

fn rate_limit(config: &Config) -> Option<RateLimit> {
    RateLimit::new(config.rate_limit.requests_per_second, config.rate_limit.burst)
}

fn lives(config: &Config) -> Lives {
    let admin = &config.admin;
    Lives { access: admin.access_token_life, refresh: admin.refresh_token_life, service: admin.service_token_life }
}

fn external(config: &Config, sources: &Sources) -> Result<Option<External>, InvalidIdentity> {
    let oidc = config.admin.oidc.clone();
    if oidc.issuer.is_empty() {
        return Ok(None);
    }
    let issuer = Issuer {
        issuer: oidc.issuer,
        audiences: Some(oidc.audience).filter(|audience| !audience.is_empty()).into_iter().collect(),
        jwks_uri: Some(oidc.jwks_uri).filter(|uri| !uri.is_empty()),
        jwks: None,
        claims: BTreeMap::new(),
    };
    External::new(issuer, oidc.username_claim, oidc.roles_claim, sources.clone()).map(Some)
}

fn lockout(config: &Config) -> Lockout {
    let admin = &config.admin;
    Lockout { failures: admin.login_failures, wait: admin.login_wait, wait_max: admin.login_wait_max }
}

fn settings(config: &Config, public_url: &str) -> Settings {
    let limits = &config.limits;
    Settings {
        public_url: public_url.to_owned(),
        body: limits.body,
        large_body: limits.large_body,
        body_timeout: limits.body_timeout,
        request_timeout: limits.request_timeout,
        max_requests_in_flight: limits.max_requests_in_flight,
        page_sizes: PageSizes { default: limits.page_default, most: limits.page_max },
        cursor_timeout: limits.cursor_timeout,
    }
}

fn patience(config: &Config) -> Patience {
    let limits = &config.limits;
    Patience {
        header_bytes: limits.header_bytes,
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
        drain_timeout: limits.drain_timeout,
        max_connections: limits.max_connections,
        max_h2_streams: limits.max_h2_streams,
    }
}
