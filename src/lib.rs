#![doc = include_str!("ARCHITECTURE.md")]

pub mod scim;
pub mod model;
pub mod store;
