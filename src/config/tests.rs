use insta::assert_snapshot;

use super::*;

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Config::layered(Some((Path::new("realmgate.toml"), file.into())), variables)
}

fn mistake(file: &str, variables: &[(&str, &str)]) -> String {
    load(file, variables).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_whole() {
    let config = Config::layered(None, BTreeMap::new()).unwrap();
    assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.limits.body, 1024 * 1024);
    assert_eq!(config.limits.request_timeout, Duration::from_secs(15));
    assert!(config.database_url.is_none() && config.trusted_proxies.is_empty());
}

#[test]
fn a_variable_wins_over_the_file_and_the_file_over_the_default() {
    let file = "listen = '0.0.0.0:80'\n[limits]\nbody = 2048\npage_max = 500";
    let config = load(file, &[("REALMGATE_LIMITS_BODY", "4KiB"), ("REALMGATE_DATABASE_POOL_SIZE", "7")]).unwrap();
    assert_eq!(config.listen, "0.0.0.0:80".parse().unwrap());
    assert_eq!((config.limits.body, config.limits.page_max, config.database.pool_size), (4096, 500, 7));
}

#[test]
fn a_mistake_names_key_value_and_remedy() {
    assert_snapshot!(mistake("lisen = 1", &[]), @"realmgate.toml: `lisen` is no setting: there are admin, data_dir, database, database_url, events, limits, listen, log, log_format, management_listen, outbound, postgres_bin_dir, public_url, rate_limit, redis_url, request_log, secret_keys, tokens, trusted_proxies");
    assert_snapshot!(mistake("[tokens]\nttl = '1s'", &[]), @"realmgate.toml: `tokens.ttl` is no setting: there are cache_entries, cache_ttl, oauth_life, unknown_entries, unknown_ttl");
    assert_snapshot!(mistake("tokens = 1", &[]), @"realmgate.toml: `tokens` is no setting: it is a section, write `[tokens]`");
    assert_snapshot!(mistake("[sync]\npace = 1", &[]), @"realmgate.toml: `sync.pace` is no setting: see config/default.toml for all there are");
    assert_snapshot!(mistake("[limits]\nrequest_timeout = '15'", &[]), @"realmgate.toml: setting `limits.request_timeout`: `15` does not fit: write a time above zero and below a year, such as `500ms`, `15s` or `5m`");
    assert_snapshot!(mistake("[limits]\nbody = '1 megabyte'", &[]), @"realmgate.toml: setting `limits.body`: `1 megabyte` does not fit: write a size above zero, such as `512KiB`, `1MiB` or a number of bytes");
    assert_snapshot!(mistake("", &[("REALMGATE_LISTEN", "localhost")]), @"REALMGATE_LISTEN: setting `listen`: `localhost` does not fit: write an IP address and a port, such as `127.0.0.1:8080` or `[::]:8080`");
    assert_snapshot!(mistake("", &[("REALMGATE_DATABASE_POOL_SIZE", "many")]), @"REALMGATE_DATABASE_POOL_SIZE: setting `database.pool_size`: `many` does not fit: write a whole number from 1 to 1000000000");
    assert_snapshot!(mistake("", &[("REALMGATE_PUBLIC_URL", "scim.example.com/x")]), @"REALMGATE_PUBLIC_URL: setting `public_url`: `scim.example.com/x` does not fit: write a URL of scheme and host alone, such as `https://scim.example.com`");
    assert_snapshot!(mistake("", &[("REALMGATE_TRUSTED_PROXIES", "10.0.0.1, 10.0.0.0/33")]), @"REALMGATE_TRUSTED_PROXIES: setting `trusted_proxies`: `10.0.0.0/33` is neither an IP address nor a network: write for example `10.0.0.5` or `10.0.0.0/8`");
    assert_snapshot!(mistake("", &[("REALMGATE_SECRET_KEYS", "c2hvcnQ=")]), @"REALMGATE_SECRET_KEYS: setting `secret_keys`: a key is 32 random bytes in base64; `openssl rand -base64 32` makes one");
    assert_snapshot!(mistake("log_format = 'xml'", &[]), @"realmgate.toml: setting `log_format`: unknown variant `xml`, expected one of `auto`, `text`, `json`");
    assert_snapshot!(mistake("[limits]\npage_max = 50", &[]), @"`limits.page_default` (100) is more than `limits.page_max` (50): lower the one or raise the other");
    assert_snapshot!(mistake("[limits]\nheader_bytes = 100", &[]), @"`limits.header_bytes` is 100: write at least 8KiB");
    assert_snapshot!(mistake("[rate_limit]\nburst = 50", &[]), @"of `rate_limit.requests_per_second` (0) and `rate_limit.burst` (50) one is 0: set both, or none for no limit");
    assert_snapshot!(mistake("[rate_limit]\nburst = -1", &[]), @"realmgate.toml: setting `rate_limit.burst`: `-1` does not fit: write a whole number from 0 to 1000000000");
}

#[test]
fn a_broken_line_is_named_but_not_quoted() {
    let text = mistake("log = 'info'\nredis_url = 'redis://:s3cret@host", &[]);
    assert!(text.starts_with("line 2 of `realmgate.toml` is not TOML") && !text.contains("s3cret"), "{text}");
}

#[test]
fn urls_with_passwords_do_not_print() {
    let config = load("database_url = 'postgres://u:s3cret@h/d'", &[("REALMGATE_REDIS_URL", "redis://:s3cret@h")]);
    let shown = format!("{:?}", config.unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn only_variables_that_nothing_reads_are_reported() {
    let others = [
        ("REALMGATE_LISTENER", "x"),
        ("REALMGATE_SERVER", "x"),
        ("REALMGATE_ADMIN_PASSWORD", "x"),
        ("REALMGATE_TEST_DATABASE_URL", "x"),
    ];
    assert_eq!(load("", &others).unwrap().unknown_variables, ["REALMGATE_LISTENER"]);
}

#[test]
fn the_first_admin_needs_a_password() {
    const PASSWORD: (&str, &str) = ("REALMGATE_BOOTSTRAP_ADMIN_PASSWORD", "pw");
    const USERNAME: (&str, &str) = ("REALMGATE_BOOTSTRAP_ADMIN_USERNAME", "root");
    assert!(load("", &[]).unwrap().bootstrap_admin.is_none());
    assert_eq!(load("", &[PASSWORD]).unwrap().bootstrap_admin.unwrap().username, "admin");
    assert_eq!(load("", &[PASSWORD, USERNAME]).unwrap().bootstrap_admin.unwrap().username, "root");
    assert!(matches!(load("", &[USERNAME]), Err(Error::BootstrapPassword)));
}

#[test]
fn the_public_url_follows_the_listener_unless_it_is_set() {
    let bound = "0.0.0.0:4711".parse().unwrap();
    assert_eq!(load("", &[]).unwrap().public_url(bound), "http://127.0.0.1:4711");
    assert_eq!(
        load("public_url = 'https://scim.example.com/'", &[]).unwrap().public_url(bound),
        "https://scim.example.com"
    );
}

#[test]
fn a_network_holds_its_addresses() {
    let contains = |network: &str, ip: &str| network.parse::<Network>().unwrap().contains(ip.parse().unwrap());
    assert!(contains("10.0.0.5", "10.0.0.5") && !contains("10.0.0.5", "10.0.0.6"));
    assert!(contains("10.0.0.0/8", "10.255.1.1") && !contains("10.0.0.0/8", "11.0.0.0"));
    assert!(contains("10.0.0.0/8", "::ffff:10.1.1.1") && contains("0.0.0.0/0", "9.9.9.9"));
    assert!(contains("fd00::/8", "fd12::1") && contains("::/0", "2001:db8::1") && !contains("::/0", "9.9.9.9"));
}
