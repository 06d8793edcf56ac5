//! Settings: `config/default.toml`, then a file, then `REALMGATE_*` variables; a later layer wins.
//!
//! To add a setting, write it with its default and a comment in `config/default.toml`, and give it a field here. The
//! variable comes by itself.

mod value;

use std::{
    collections::BTreeMap,
    env,
    io::{self, IsTerminal as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::{Table, Value};

use crate::secret::{DataKey, Secret};
pub use value::Network;

const DEFAULTS: &str = include_str!("../../config/default.toml");
const PREFIX: &str = "REALMGATE_";

/// Variables with our prefix that are not settings: the command line's, the first start's, the tests'.
const OTHER_VARIABLES: [&str; 7] = ["SERVER", "OUTPUT", "CONFIG", "READY_FILE", "ADMIN_", "BOOTSTRAP_", "TEST_"];

/// Every setting; `config/default.toml` tells what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(deserialize_with = "value::listener")]
    pub listen: SocketAddr,
    #[serde(deserialize_with = "value::listener")]
    pub management_listen: SocketAddr,
    /// Without a slash at its end. For the address to show, see [`Config::public_url`].
    #[serde(deserialize_with = "value::base_url")]
    pub public_url: Option<String>,
    /// `None` until [`Config::data_dir`] chooses one.
    #[serde(deserialize_with = "value::path")]
    pub data_dir: Option<PathBuf>,
    /// `None` is embedded mode.
    #[serde(deserialize_with = "value::secret")]
    pub database_url: Option<Secret<String>>,
    #[serde(deserialize_with = "value::secret")]
    pub redis_url: Option<Secret<String>>,
    #[serde(deserialize_with = "value::path")]
    pub postgres_bin_dir: Option<PathBuf>,
    pub trusted_proxies: Vec<Network>,
    pub secret_keys: Vec<DataKey>,
    pub log: String,
    pub log_format: LogFormat,
    pub database: Database,
    pub limits: Limits,
    pub tokens: Tokens,
    pub request_log: RequestLog,
    pub events: Events,
    pub admin: Admin,
    pub outbound: Outbound,
    pub rate_limit: RateLimit,
    /// The first admin, from `REALMGATE_BOOTSTRAP_ADMIN_USERNAME` and `_PASSWORD`.
    #[serde(skip)]
    pub bootstrap_admin: Option<BootstrapAdmin>,
    /// `REALMGATE_*` variables that nothing reads, most often misspelt: worth a warning.
    #[serde(skip)]
    pub unknown_variables: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

impl LogFormat {
    /// Is JSON wanted? Logs go to stderr, so that is the terminal which counts.
    pub fn is_json(self) -> bool {
        match self {
            Self::Auto => !io::stderr().is_terminal(),
            Self::Text => false,
            Self::Json => true,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    #[serde(deserialize_with = "value::count")]
    pub pool_size: usize,
    #[serde(deserialize_with = "value::duration")]
    pub connect_timeout: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub wait_timeout: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub statement_timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes.
    #[serde(deserialize_with = "value::size")]
    pub body: usize,
    /// Bytes.
    #[serde(deserialize_with = "value::size")]
    pub large_body: usize,
    /// At least 8 KiB: hyper takes no less.
    #[serde(deserialize_with = "value::size")]
    pub header_bytes: usize,
    #[serde(deserialize_with = "value::duration")]
    pub request_timeout: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub body_timeout: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub header_timeout: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub idle_timeout: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub drain_timeout: Duration,
    #[serde(deserialize_with = "value::count")]
    pub max_connections: usize,
    #[serde(deserialize_with = "value::count")]
    pub max_requests_in_flight: usize,
    #[serde(deserialize_with = "value::count")]
    pub max_h2_streams: u32,
    #[serde(deserialize_with = "value::count")]
    pub page_default: i64,
    #[serde(deserialize_with = "value::count")]
    pub page_max: i64,
    #[serde(deserialize_with = "value::duration")]
    pub cursor_timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    #[serde(deserialize_with = "value::duration")]
    pub cache_ttl: Duration,
    #[serde(deserialize_with = "value::count")]
    pub cache_entries: u64,
    #[serde(deserialize_with = "value::duration")]
    pub unknown_ttl: Duration,
    #[serde(deserialize_with = "value::count")]
    pub unknown_entries: u64,
    #[serde(deserialize_with = "value::duration")]
    pub oauth_life: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLog {
    pub enabled: bool,
    #[serde(deserialize_with = "value::count")]
    pub queue: usize,
    #[serde(deserialize_with = "value::duration")]
    pub sweep_every: Duration,
    pub reads_per_second: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    #[serde(deserialize_with = "value::duration")]
    pub sweep_every: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    #[serde(deserialize_with = "value::duration")]
    pub access_token_life: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub refresh_token_life: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub service_token_life: Duration,
    #[serde(deserialize_with = "value::count")]
    pub login_failures: u32,
    #[serde(deserialize_with = "value::duration")]
    pub login_wait: Duration,
    #[serde(deserialize_with = "value::duration")]
    pub login_wait_max: Duration,
    pub oidc: AdminOidc,
}

/// An issuer whose tokens open the admin API; none if `issuer` is empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminOidc {
    pub issuer: String,
    pub audience: String,
    pub jwks_uri: String,
    pub username_claim: String,
    pub roles_claim: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    pub allow: Vec<Network>,
}

/// Of a realm whose policy says nothing. Both zero: no limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    #[serde(deserialize_with = "value::number")]
    pub requests_per_second: u32,
    #[serde(deserialize_with = "value::number")]
    pub burst: u32,
}

/// The admin whom a first start creates, when the operator wants no generated password.
#[derive(Debug, Clone)]
pub struct BootstrapAdmin {
    pub username: String,
    pub password: Secret<String>,
}

/// Why the settings cannot be used. Says where the mistake stands and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the configuration file `{path}`")]
    Unreadable { path: PathBuf, source: io::Error },
    // NB: the parser's own text quotes the line, which may hold a password.
    #[error("line {line} of `{path}` is not TOML: {reason}")]
    Syntax { path: PathBuf, line: usize, reason: String },
    #[error("{origin}: `{key}` is no setting: {remedy}")]
    Unknown { origin: String, key: String, remedy: String },
    #[error("{origin}: setting `{key}`: {reason}")]
    Invalid { origin: String, key: String, reason: String },
    #[error("`limits.page_default` ({0}) is more than `limits.page_max` ({1}): lower the one or raise the other")]
    Pages(i64, i64),
    #[error("`limits.header_bytes` is {0}: write at least 8KiB")]
    Headers(usize),
    #[error(
        "of `rate_limit.requests_per_second` ({0}) and `rate_limit.burst` ({1}) one is 0: set both, or none for no limit"
    )]
    RateLimit(u32, u32),
    #[error("REALMGATE_BOOTSTRAP_ADMIN_USERNAME is set without REALMGATE_BOOTSTRAP_ADMIN_PASSWORD: set both or none")]
    BootstrapPassword,
    #[error("there is no home for the data: set `data_dir` (REALMGATE_DATA_DIR), or the variable HOME")]
    NoDataDir,
}

impl Config {
    /// Reads the settings of this process: the file, if there is one, and the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, Error> {
        let file = file.map(|path| match std::fs::read_to_string(path) {
            Ok(text) => Ok((path, text)),
            Err(source) => Err(Error::Unreadable { path: path.to_owned(), source }),
        });
        let variables = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty());
        Self::layered(file.transpose()?, variables.collect())
    }

    fn layered(file: Option<(&Path, String)>, mut variables: BTreeMap<String, String>) -> Result<Self, Error> {
        let mut layers = Layers::defaults();
        if let Some((path, text)) = file {
            let origin = path.display().to_string();
            for (key, value) in leaves(&parse(path, &text)?) {
                layers.set(&origin, &key, value)?;
            }
        }
        for (key, default) in leaves(&layers.0) {
            let name = variable(&key);
            if let Some(text) = variables.remove(&name) {
                let value = value::of_text(&text, &default);
                layers.set(&name, &key, value)?;
            }
        }
        let mut config = layers.read().expect("each value was read when it was set");
        config.bootstrap_admin = bootstrap_admin(&mut variables)?;
        config.unknown_variables = variables.into_keys().filter(|name| !is_of_another(name)).collect();
        config.check()?;
        Ok(config)
    }

    /// What no single setting can tell.
    fn check(&self) -> Result<(), Error> {
        let limits = &self.limits;
        if limits.page_default > limits.page_max {
            return Err(Error::Pages(limits.page_default, limits.page_max));
        }
        if limits.header_bytes < 8 * 1024 {
            return Err(Error::Headers(limits.header_bytes));
        }
        let RateLimit { requests_per_second, burst } = self.rate_limit;
        if (requests_per_second == 0) != (burst == 0) {
            return Err(Error::RateLimit(requests_per_second, burst));
        }
        Ok(())
    }

    /// The address to show and to build links with, once the listener is `bound`. No slash at its end.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        let reachable = match bound {
            SocketAddr::V4(a) if a.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, a.port()).into(),
            SocketAddr::V6(a) if a.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, a.port()).into(),
            other => other,
        };
        self.public_url.clone().unwrap_or_else(|| format!("http://{reachable}"))
    }

    /// Where the embedded database and other files of this node live. Nothing is created here.
    pub fn data_dir(&self) -> Result<PathBuf, Error> {
        if let Some(set) = &self.data_dir {
            return Ok(set.clone());
        }
        if runs_as_root() {
            return Ok("/var/lib/realmgate".into());
        }
        xdg("XDG_DATA_HOME", ".local/share").ok_or(Error::NoDataDir)
    }
}

/// A folder of ours by the XDG base directory rules: `$VARIABLE/realmgate`, else `$HOME/<fallback>/realmgate`.
pub fn xdg(variable: &str, fallback: &str) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(fallback)))?;
    Some(base.join("realmgate"))
}

/// The settings as a tree of TOML, which has every key from the start.
struct Layers(Table);

impl Layers {
    fn defaults() -> Self {
        Self(DEFAULTS.parse().expect("a test reads the file"))
    }

    /// Puts a value in place and reads the whole again, so that a mistake is told with its key and its origin.
    fn set(&mut self, origin: &str, key: &str, value: Value) -> Result<(), Error> {
        let unknown = |remedy| Error::Unknown { origin: origin.into(), key: key.into(), remedy };
        let (section, name) = key.rsplit_once('.').map_or((None, key), |(section, name)| (Some(section), name));
        let table = match section {
            None => Some(&mut self.0),
            Some(path) => path.split('.').try_fold(&mut self.0, |table, name| table.get_mut(name)?.as_table_mut()),
        };
        let table = table.ok_or_else(|| unknown("see config/default.toml for all there are".into()))?;
        match table.get_mut(name) {
            Some(Value::Table(_)) => return Err(unknown(format!("it is a section, write `[{name}]`"))),
            Some(slot) => *slot = value,
            None => {
                let known: Vec<_> = table.keys().map(String::as_str).collect();
                return Err(unknown(format!("there are {}", known.join(", "))));
            }
        }
        let invalid = |e: toml::de::Error| e.message().to_owned();
        self.read().map(drop).map_err(|e| Error::Invalid { origin: origin.into(), key: key.into(), reason: invalid(e) })
    }

    fn read(&self) -> Result<Config, toml::de::Error> {
        self.0.clone().try_into()
    }
}

fn parse(path: &Path, text: &str) -> Result<Table, Error> {
    text.parse().map_err(|e: toml::de::Error| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Error::Syntax { path: path.to_owned(), line, reason: e.message().to_owned() }
    })
}

/// Every value of a tree with its dotted key.
fn leaves(table: &Table) -> Vec<(String, Value)> {
    let leaf = |(key, value): (&String, &Value)| match value {
        Value::Table(section) => {
            leaves(section).into_iter().map(|(name, value)| (format!("{key}.{name}"), value)).collect()
        }
        value => vec![(key.clone(), value.clone())],
    };
    table.iter().flat_map(leaf).collect()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

fn is_of_another(variable: &str) -> bool {
    let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
    OTHER_VARIABLES.iter().any(|other| if other.ends_with('_') { name.starts_with(other) } else { name == *other })
}

fn bootstrap_admin(variables: &mut BTreeMap<String, String>) -> Result<Option<BootstrapAdmin>, Error> {
    let username = variables.remove("REALMGATE_BOOTSTRAP_ADMIN_USERNAME");
    match (username, variables.remove("REALMGATE_BOOTSTRAP_ADMIN_PASSWORD")) {
        (Some(_), None) => Err(Error::BootstrapPassword),
        (_, None) => Ok(None),
        (username, Some(password)) => Ok(Some(BootstrapAdmin {
            username: username.unwrap_or_else(|| "admin".into()),
            password: Secret::new(password),
        })),
    }
}

/// Linux tells by the owner of `/proc/self`; elsewhere nobody counts as root.
fn runs_as_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests;
