#![doc = include_str!("ARCHITECTURE.md")]

pub mod access;
pub mod model;
pub mod provision;
pub mod scim;
pub mod store;
pub mod telemetry;
