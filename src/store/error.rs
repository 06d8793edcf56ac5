//! What can go wrong in the store, with its meaning kept (DESIGN 8).

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The realm has moved on from the epoch under which the caller was let in, or is gone. Nothing was read or
    /// written; authenticate anew.
    #[error("the realm has moved on")]
    Stale,
    /// A unique value is in use; names the constraint.
    #[error("a unique value is taken ({0})")]
    Taken(String),
    /// A row which this one refers to is not there, or no longer.
    #[error("a referenced row is not there ({0})")]
    Dangling(String),
    /// Two transactions waited for each other; this one was ended and may be tried again.
    #[error("the transaction was ended by a deadlock")]
    Deadlock,
    /// The statement took longer than a statement may, and was ended.
    #[error("a statement took longer than it may")]
    TooLong,
    /// The database is away, busy, or did not answer in time. Whether a write took effect is unknown.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A statement of ours is wrong, or the schema is not the one that it was written for.
    #[error("the database refused a statement")]
    Refused(#[source] tokio_postgres::Error),
}

impl Error {
    /// The word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Error::Stale => "stale",
            Error::Taken(_) => "taken",
            Error::Dangling(_) => "dangling",
            Error::Deadlock => "deadlock",
            Error::TooLong => "too_long",
            Error::Unavailable(_) => "unavailable",
            Error::Refused(_) => "refused",
        }
    }

    /// Is this the unique violation of the index over `column`? Partitions name their indexes themselves, with the
    /// columns in the name.
    pub fn is_taken(&self, column: &str) -> bool {
        matches!(self, Error::Taken(constraint) if constraint.contains(column))
    }
}

/// SQLSTATE of `enter`, see `0001_realms.sql`.
const STALE: &str = "RG001";

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            // No answer of the server: the connection is lost, or never was. A parameter of the wrong type is the
            // other case without one, and that is a fault of ours.
            return match std::error::Error::source(&error) {
                Some(source) if source.is::<tokio_postgres::types::WrongType>() => Error::Refused(error),
                _ => Error::Unavailable(error.to_string()),
            };
        };
        let constraint = || db.constraint().unwrap_or_default().to_owned();
        match db.code() {
            code if code.code() == STALE => Error::Stale,
            &SqlState::UNIQUE_VIOLATION => Error::Taken(constraint()),
            // The realm was deleted after the transaction had entered it.
            &SqlState::FOREIGN_KEY_VIOLATION if constraint().ends_with("_realm_id_fkey") => Error::Stale,
            &SqlState::FOREIGN_KEY_VIOLATION => Error::Dangling(constraint()),
            &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE => Error::Deadlock,
            &SqlState::QUERY_CANCELED => Error::TooLong,
            // 08 connection, 53 resources, 57 operator intervention, 58 system: not about what was asked.
            code if ["08", "53", "57", "58"].iter().any(|class| code.code().starts_with(class)) => {
                Error::Unavailable(db.message().to_owned())
            }
            &SqlState::READ_ONLY_SQL_TRANSACTION
            | &SqlState::LOCK_NOT_AVAILABLE
            // This node was frozen in the middle of a transaction.
            | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
                Error::Unavailable(db.message().to_owned())
            }
            _ => Error::Refused(error),
        }
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Error::Unavailable(error.to_string()),
            other => Error::Unavailable(other.to_string()),
        }
    }
}
