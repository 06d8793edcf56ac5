//! Filters as SQL.

use tokio_postgres::types::{ToSql, Type};

#[derive(Debug)]
pub struct Condition {
    pub sql: String,
    pub params: Vec<Param>,
    pub indexed: bool,
}

#[derive(Debug)]
pub struct Param;

impl Param {
    pub fn bound(&self) -> (&(dyn ToSql + Sync), Type) {
        (&0i32, Type::INT4)
    }
}
