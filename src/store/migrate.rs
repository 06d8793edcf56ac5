//! Brings the schema up to what this binary was written for: numbered files, each applied once, by one node at a time.

use std::{fmt::Write as _, time::Duration};

use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};
use tracing::info;

use super::{APP_ROLE, SCHEMA, tls_of, without_tls};

/// Number, name, SQL. A file is never edited once it was released; its checksum is compared.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "realms", include_str!("migrations/0001_realms.sql")),
    (2, "tokens", include_str!("migrations/0002_tokens.sql")),
    (3, "roles", include_str!("migrations/0003_roles.sql")),
    (4, "users", include_str!("migrations/0004_users.sql")),
    (5, "groups", include_str!("migrations/0005_groups.sql")),
    (6, "outbox", include_str!("migrations/0006_outbox.sql")),
    (7, "admins", include_str!("migrations/0007_admins.sql")),
    (8, "extensions", include_str!("migrations/0008_extensions.sql")),
    (9, "pending_members", include_str!("migrations/0009_pending_members.sql")),
    (10, "sort_keys", include_str!("migrations/0010_sort_keys.sql")),
    (11, "audit_log", include_str!("migrations/0011_audit_log.sql")),
    (12, "operators", include_str!("migrations/0012_operators.sql")),
    (13, "role_mappings", include_str!("migrations/0013_role_mappings.sql")),
    (14, "identity", include_str!("migrations/0014_identity.sql")),
    (15, "cut_over", include_str!("migrations/0015_cut_over.sql")),
    (16, "request_log", include_str!("migrations/0016_request_log.sql")),
    (17, "token_expiry", include_str!("migrations/0017_token_expiry.sql")),
    (18, "leaver_guard", include_str!("migrations/0018_leaver_guard.sql")),
    (19, "events", include_str!("migrations/0019_events.sql")),
    (20, "webhooks", include_str!("migrations/0020_webhooks.sql")),
    (21, "security_events", include_str!("migrations/0021_security_events.sql")),
    (22, "history", include_str!("migrations/0022_history.sql")),
];

/// Held by the node which migrates, for as long as its transaction lasts.
const LOCK: i64 = 0x7265_616c_6d67;

/// How long the database may take to let a node in when it starts.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database did not answer within {} s: is its address right?", CONNECT.as_secs())]
    Silent,
    #[error("PostgreSQL {found} is too old: realmgate needs 14 or newer")]
    TooOld { found: String },
    #[error("the database's schema is at {found}, this binary knows {known}: run the newer realmgate")]
    Newer { found: i32, known: i32 },
    #[error("migration {number} `{name}` was edited after it was applied: run a released realmgate")]
    Edited { number: i32, name: String },
    #[error(
        "the role `{APP_ROLE}` is missing and the database user may not create or take it; as an administrator run: \
         CREATE ROLE {APP_ROLE} NOLOGIN; GRANT {APP_ROLE} TO \"{user}\";"
    )]
    NoRole { user: String },
    #[error("the role `{APP_ROLE}` could read past row-level security: ALTER ROLE {APP_ROLE} NOSUPERUSER NOBYPASSRLS")]
    RoleBypasses,
    #[error(transparent)]
    Store(#[from] super::Error),
    #[error("the database refused the migration: {}", .0.as_db_error().map_or_else(|| .0.to_string(), ToString::to_string))]
    Database(#[from] tokio_postgres::Error),
}

/// Applies what is missing, all of it or nothing. Answers how many files were applied.
pub async fn run(config: &Config) -> Result<usize, Error> {
    let mut client = timeout(CONNECT, connect(config)).await.map_err(|_| Error::Silent)??;
    let version: String = client.query_one("SHOW server_version_num", &[]).await?.get(0);
    if version.parse::<u32>().unwrap_or(0) < 140_000 {
        return Err(Error::TooOld { found: version });
    }
    ensure_role(&client).await?;
    let tx = client.transaction().await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    tx.batch_execute(&format!(
        "SET LOCAL client_min_messages = warning;
         CREATE SCHEMA IF NOT EXISTS {SCHEMA};
         SET LOCAL search_path = {SCHEMA};
         GRANT USAGE ON SCHEMA {SCHEMA} TO {APP_ROLE};
         CREATE TABLE IF NOT EXISTS migrations (
             number int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL)"
    ))
    .await?;
    let applied = tx.query("SELECT number, checksum FROM migrations ORDER BY number", &[]).await?;
    let known = MIGRATIONS.last().map_or(0, |(number, ..)| *number);
    let mut count = 0;
    if let Some(found) = applied.last().map(|row| row.get::<_, i32>(0)).filter(|found| *found > known) {
        return Err(Error::Newer { found, known });
    }
    for (number, name, sql) in MIGRATIONS {
        let checksum = checksum(sql);
        match applied.iter().find(|row| row.get::<_, i32>(0) == *number) {
            Some(row) if row.get::<_, String>(1) == checksum => {}
            Some(_) => return Err(Error::Edited { number: *number, name: (*name).to_owned() }),
            None => {
                tx.batch_execute(sql).await?;
                tx.execute("INSERT INTO migrations VALUES ($1, $2, $3, now())", &[number, name, &checksum]).await?;
                count += 1;
            }
        }
    }
    tx.commit().await?;
    info!(applied = count, schema = known, "the schema is up to date");
    Ok(count)
}

async fn connect(config: &Config) -> Result<Client, Error> {
    if let Some(tls) = tls_of(config)? {
        let (client, connection) = config.connect(tls).await?;
        tokio::spawn(connection);
        Ok(client)
    } else {
        let (client, connection) = without_tls(config).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// The application's role exists, this user may take it, and it cannot read past row-level security.
async fn ensure_role(client: &Client) -> Result<(), Error> {
    let user: String = client.query_one("SELECT current_user::text", &[]).await?.get(0);
    let find = "SELECT rolsuper OR rolbypassrls, pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = $1";
    let mut found = client.query_opt(find, &[&APP_ROLE]).await?;
    if found.is_none() {
        // Another node, or another database of the same server, may be creating it at this moment: look again.
        let created = client.batch_execute(&format!("CREATE ROLE {APP_ROLE} NOLOGIN")).await;
        if created.is_ok() {
            // A superuser may take any role; others must be granted it (and are, on creation, from PostgreSQL 16 on).
            let _ = client.batch_execute(&format!("GRANT {APP_ROLE} TO CURRENT_USER")).await;
        }
        found = client.query_opt(find, &[&APP_ROLE]).await?;
    }
    match found.map(|row| (row.get::<_, bool>(0), row.get::<_, bool>(1))) {
        Some((true, _)) => Err(Error::RoleBypasses),
        Some((false, true)) => Ok(()),
        Some((false, false)) | None => Err(Error::NoRole { user }),
    }
}

fn checksum(sql: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sql.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // A String takes whatever it is given.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
