#![doc = include_str!("ARCHITECTURE.md")]

pub mod config;
pub mod model;
pub mod outbound;
pub mod scim;
pub mod secret;
pub mod store;
pub mod telemetry;
