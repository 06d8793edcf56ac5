//! The outbox: every change and who made it, written by the statement which makes the change, read by the sequencer.

use jiff::Timestamp;
use tokio_postgres::types::Json;

use crate::model::{Actor, Cause};

/// Who changes, by which request, and when: the parameters which every writing statement has in common.
#[derive(Debug)]
pub struct Origin<'a> {
    pub actor: Json<&'a Actor>,
    pub request_id: &'a str,
    /// To the millisecond, as answers show it.
    pub at: Timestamp,
}

impl<'a> Origin<'a> {
    pub fn of(cause: &'a Cause) -> Self {
        Self { actor: Json(&cause.actor), request_id: &cause.request_id, at: cause.at }
    }
}
