//! The command line. `serve` and `migrate` are only named here; all else is a client of the admin API of a running
//! server, so that there is one door and one record of what was done. `conformance` is a client of its SCIM as well.
//!
//! To add a noun, give it a file with its `Verb` and `run`, and a line in [`Manage`].

mod admin;
mod alias;
mod audit;
mod client;
mod conformance;
mod domain;
mod event;
mod event_stream;
mod export;
mod group;
mod guard;
mod import;
mod issuer;
mod log;
mod login;
mod oauth_client;
mod output;
mod policy;
mod realm;
mod role;
mod schema;
mod scim;
mod sign_in;
mod undo;
mod user;
mod webhook;

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use client::{Client, Server};
use output::Format;

const AFTER_HELP: &str = "\
Management commands talk to a running server as REALMGATE_ADMIN_USERNAME with REALMGATE_ADMIN_PASSWORD, as the service
account REALMGATE_ADMIN_CLIENT_ID with REALMGATE_ADMIN_CLIENT_SECRET, or as whoever ran `realmgate login`.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 not allowed, 6 partly done, 69 server not available.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "realmgate", version, about, after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(Serve),
    /// Bring the database to the schema of this version, and end
    Migrate(Migrate),
    #[command(flatten)]
    Manage(Manage),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Settings that differ from the defaults
    #[arg(long, value_name = "FILE", env = "REALMGATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Write the addresses to this file, as JSON, once the server is ready
    #[arg(long, value_name = "FILE", env = "REALMGATE_READY_FILE")]
    pub ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Migrate {
    /// Settings that differ from the defaults
    #[arg(long, value_name = "FILE", env = "REALMGATE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// What is done through the admin API.
#[derive(Debug, Subcommand)]
pub enum Manage {
    /// Realms: the tenants
    Realm(Noun<realm::Verb>),
    /// Identity sync of a realm: SCIM and its token
    Scim(Noun<scim::Verb>),
    /// Custom domains of a realm
    Domain(Noun<domain::Verb>),
    /// Paths of another product which lead to a realm
    Alias(Noun<alias::Verb>),
    /// Sync policy of a realm
    Policy(Noun<policy::Verb>),
    /// Leaver guard of a realm: departures which are held
    Guard(Noun<guard::Verb>),
    /// Users of a realm
    User(Noun<user::Verb>),
    /// Groups of a realm
    Group(Noun<group::Verb>),
    /// Roles of a realm, and what they are mapped to
    Role(Noun<role::Verb>),
    /// Extension schemas of a realm
    Schema(Noun<schema::Verb>),
    /// What operators changed, newest first
    Audit(Plain<audit::Read>),
    /// What a realm's identity provider sent, and what became of it
    Log(log::Log),
    /// Where events of a realm are sent
    Webhook(Noun<webhook::Verb>),
    /// Clients which get short-lived tokens for the SCIM of a realm
    Client(Noun<oauth_client::Verb>),
    /// Issuers whose access tokens open the SCIM of a realm
    Issuer(Noun<issuer::Verb>),
    /// What happened in a realm, in order
    Event(Noun<event::Verb>),
    /// Streams from which receivers poll a realm's security event tokens
    EventStream(Noun<event_stream::Verb>),
    /// Who signs the users of a realm in
    SignIn(Noun<sign_in::Verb>),
    /// Operators of this server, and what each may do
    Admin(Noun<admin::Verb>),
    /// Bring a realm's settings, users and groups from a file
    Import(import::Import),
    /// Write a realm's settings, users and groups to a file
    Export(export::Export),
    /// Take back what a request did, or what was done in a span of time
    Undo(Plain<undo::Undo>),
    /// Check a running server against the RFCs, in a throw-away realm like the one named
    Conformance(conformance::Conformance),
    /// Sign in, and stay signed in for later commands
    Login(login::Login),
    /// Forget what `login` stored
    Logout(login::Logout),
}

/// A noun with what may be done to it. The options may stand anywhere after the noun.
#[derive(Debug, Args)]
pub struct Noun<V: Subcommand> {
    #[command(subcommand)]
    verb: V,
    #[command(flatten)]
    server: ServerOption,
    /// How to answer: for people or for scripts
    #[arg(long, short, global = true, value_enum, default_value_t, env = "REALMGATE_OUTPUT")]
    output: Format,
}

/// A command which needs no verb.
#[derive(Debug, Args)]
pub struct Plain<A: Args> {
    #[command(flatten)]
    arguments: A,
    #[command(flatten)]
    server: ServerOption,
    /// How to answer: for people or for scripts
    #[arg(long, short, value_enum, default_value_t, env = "REALMGATE_OUTPUT")]
    output: Format,
}

#[derive(Debug, Clone, Args)]
struct ServerOption {
    /// The server to talk to
    #[arg(
        long = "server",
        value_name = "URL",
        global = true,
        env = "REALMGATE_SERVER",
        default_value = "http://127.0.0.1:8080"
    )]
    url: Server,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    /// What to do about it.
    hint: Option<String>,
}

/// What a script is told. 69 is `EX_UNAVAILABLE` of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    NotAllowed = 5,
    /// Done, but not all of it.
    Partly = 6,
    Unavailable = 69,
}

/// Carries out a management command and tells on stdout or stderr what came of it.
pub async fn run(command: Manage) -> ExitCode {
    match Box::pin(answer(command)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

async fn answer(command: Manage) -> Result<(), Failure> {
    let (report, format) = match command {
        Manage::Realm(noun) => (realm::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Scim(noun) => (scim::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Domain(noun) => (domain::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Alias(noun) => (alias::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Policy(noun) => (policy::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Guard(noun) => (guard::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::User(noun) => (user::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Group(noun) => (group::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Role(noun) => (role::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Schema(noun) => (schema::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Audit(plain) => (audit::run(plain.arguments, &plain.server.sign_in().await?).await?, plain.output),
        Manage::Log(log) => return log.run().await,
        Manage::Webhook(noun) => (webhook::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Client(noun) => (oauth_client::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Issuer(noun) => (issuer::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Event(noun) => return event::run(noun).await,
        Manage::EventStream(noun) => (event_stream::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::SignIn(noun) => (sign_in::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Admin(noun) => (admin::run(noun.verb, &noun.server.sign_in().await?).await?, noun.output),
        Manage::Undo(plain) => (undo::run(plain.arguments, &plain.server.sign_in().await?).await?, plain.output),
        Manage::Import(import) => return import.run().await,
        Manage::Export(export) => return export.run().await,
        Manage::Conformance(conformance) => return conformance.run().await,
        Manage::Login(login) => (login.run().await?, Format::Table),
        Manage::Logout(logout) => (logout.run()?, Format::Table),
    };
    report.print(format)
}

impl ServerOption {
    async fn sign_in(self) -> Result<Client, Failure> {
        Client::sign_in(self.url).await
    }
}

impl Failure {
    fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    /// With advice, unless there is some already.
    fn hint(mut self, advice: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| advice.into());
        self
    }

    /// With advice for this kind of failure; others stay as they are.
    fn hint_on(self, exit: Exit, advice: impl FnOnce() -> String) -> Self {
        if self.exit == exit { self.hint(advice()) } else { self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", output::printable(&self.message))?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace()).map(|arguments| arguments.command)
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_may_stand_after_the_verb_or_before_it() {
        for line in ["realmgate realm list --output json", "realmgate realm -o json list"] {
            let Ok(Command::Manage(Manage::Realm(noun))) = parse(line) else { panic!("{line}") };
            assert_eq!(noun.output, Format::Json);
        }
    }

    #[test]
    fn a_name_that_no_realm_can_have_is_wrong_usage() {
        let error = parse("realmgate realm show Acme/1").unwrap_err();
        assert_eq!(error.exit_code(), i32::from(Exit::Usage as u8));
        assert!(error.to_string().contains("a realm name has 1 to 63"), "{error}");
    }

    #[test]
    fn every_command_of_the_manual_is_understood() {
        for line in [
            "serve --config a.toml --ready-file b.json",
            "migrate --config a.toml",
            "realm create acme --display-name Acme",
            "realm enable acme",
            "realm disable acme",
            "realm delete acme --yes",
            "scim enable acme",
            "scim rotate acme --yes",
            "scim rotate acme --overlap 24h --expires-in 90d",
            "scim enable acme --expires-in 90d",
            "scim revoke acme 01890000-0000-7000-8000-000000000000",
            "scim disable acme",
            "scim status acme",
            "scim diagnose acme",
            "log acme --status 4xx --since 1h --limit 10 --follow",
            "log acme --id 0198 -o json",
            "domain add acme id.acme.example",
            "domain remove acme id.acme.example",
            "domain list acme",
            "alias add acme /scim/v2/acme",
            "alias remove acme /scim/v2/acme",
            "alias list acme",
            "policy show acme",
            "policy set acme on_delete=purge user_name_follows_email=true",
            "guard status acme",
            "guard apply acme --yes",
            "guard discard acme -y",
            "user list acme --search al --state shadow --max 10",
            "user show acme alice@example.com",
            "user roles acme alice@example.com --why admin",
            "group list acme --search eng",
            "group members acme engineering --max 1000",
            "group roles acme engineering",
            "role list acme",
            "role create acme admin --description Everything",
            "role delete acme admin --yes",
            "role map acme admin --group engineering",
            "role unmap acme admin --user alice@example.com",
            "audit",
            "audit acme --action scim. --limit 10 --output json",
            "event time-to-revoke acme --since 7d",
            "webhook list acme",
            "webhook create acme https://app.example/hooks --event dsync.user.* --event role.created --from 1",
            "webhook show acme 0198",
            "webhook update acme 0198 --url https://app.example/new --enabled false --all-events",
            "webhook delete acme 0198 --yes",
            "webhook rotate-secret acme 0198 --overlap 24h",
            "webhook test acme 0198",
            "webhook redeliver acme 0198 --from 17",
            "webhook redeliver acme 0198 --seq 17",
            "webhook resume acme 0198",
            "webhook deliveries acme 0198 --failed --limit 10",
            "client create acme entra --name Entra",
            "client create acme okta --jwks-uri https://acme.example/keys",
            "client secret acme entra --yes",
            "client disable acme entra",
            "client delete acme entra --yes",
            "client list acme",
            "issuer add acme --issuer https://sts.example --audience scim --claim tid=1",
            "issuer remove acme https://sts.example",
            "issuer list acme",
            "event list acme --after 7 --types dsync.user.*,role.created --limit 10 -o json",
            "event tail acme --types dsync.user.deleted",
            "event-stream list acme",
            "event-stream create acme app --audience https://app.example --event dsync.user.* --from 1",
            "event-stream delete acme 0198 --yes",
            "webhook create acme https://app.example/secevents --format set",
            "sign-in show acme",
            "sign-in set acme --issuer https://login.example --audience a --audience b --match upn=userName",
            "sign-in clear acme",
            "undo acme --request-id r-1",
            "undo acme --request 01890000-0000-7000-8000-000000000000 --apply",
            "undo acme --from 2026-01-31T12:00:00Z --to 2026-01-31T13:00:00Z --actor 7 -o json",
            "user history acme alice@example.com --limit 10",
            "import acme dump.jsonl --dry-run --report report.jsonl",
            "export acme",
            "export acme acme.jsonl",
            "conformance acme --output json",
            "admin list",
            "admin create ada",
            "admin password",
            "admin password ada",
            "admin grant ada admin",
            "admin revoke ada view-users manage-users --realm acme",
            "admin disable ada",
            "admin unlock ada",
            "admin delete ada --yes",
            "login --username admin --server https://scim.example.com",
            "logout",
        ] {
            parse(&format!("realmgate {line}")).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn a_failure_ends_with_what_to_do() {
        let failure = Failure::new(Exit::Conflict, "SCIM is enabled").hint_on(Exit::Conflict, || "rotate".into());
        assert_eq!(failure.to_string(), "error: SCIM is enabled\nhint: rotate");
        assert_eq!(failure.hint_on(Exit::Failed, || "give up".into()).hint.as_deref(), Some("rotate"));
    }
}
