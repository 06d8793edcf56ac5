//! The promises of the gateway, each a file, each test a sentence, kept by the real binary over real sockets.
//!
//! Ordinary tests share one gateway with an embedded Postgres, and have a realm each: tenancy is tested all day.
//! Tests which kill, freeze or starve something have a gateway of their own. To add a promise, add a file here.

mod issuer;
mod process;
mod receiver;
mod world;

mod admin;
mod aliases;
mod architecture;
mod bulk;
mod cli;
mod concurrency;
mod conformance;
mod corpus;
mod crash;
mod cursors;
mod cut_over;
mod dialects;
mod discovery;
mod etag;
mod events;
mod fairness;
mod filter_agreement;
mod filters;
mod first_start;
mod follower;
mod foreign_tokens;
mod groups;
mod history;
mod hostile;
mod http;
mod isolation;
mod keycloak_clients;
mod large_groups;
mod leaver_guard;
mod lists;
mod live;
mod local_people;
mod moving;
mod nodes;
mod oauth;
mod operators;
mod outage;
mod pending_members;
mod people;
mod policy;
mod rate_limit;
mod replay;
mod request_log;
mod revocation;
mod roles;
mod schemas;
mod search;
mod security_events;
mod sign_in;
mod sorting;
mod time_to_revoke;
mod tokens;
mod undo;
mod users;
mod webhooks;
