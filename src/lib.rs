#![doc = include_str!("ARCHITECTURE.md")]

pub mod access;
pub mod app;
pub mod cli;
pub mod config;
pub mod feed;
pub mod http;
pub mod model;
pub mod outbound;
pub mod provision;
pub mod request_log;
pub mod scim;
pub mod secret;
pub mod store;
pub mod telemetry;
