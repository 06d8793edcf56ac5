//! Each way a SCIM request can be wrong (RFC 7644 §3.12): a `scimType` and a `detail` which tells the IdP's admin
//! what to do.

use serde_json::{Value, json};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// URN of the error message (RFC 7644 §3.12).
pub const ERROR_URN: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// What is wrong with a SCIM request. `detail` is shown to the client as it is, so it holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    pub kind: Kind,
    pub detail: String,
}

/// The `scimType` words of RFC 7644 §3.12 table 9 and of RFC 9865 §2.1, and the cases which have a status but no word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    InvalidFilter,
    TooMany,
    Uniqueness,
    Mutability,
    InvalidSyntax,
    InvalidPath,
    NoTarget,
    InvalidValue,
    /// RFC 9865 §2.1
    InvalidCursor,
    /// RFC 9865 §2.1
    ExpiredCursor,
    /// RFC 9865 §2.1
    InvalidCount,
    /// The request is larger than a limit allows: 413, no `scimType`.
    TooLarge,
}

impl Kind {
    /// HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Kind::Uniqueness => 409,
            Kind::TooLarge => 413,
            Kind::InvalidFilter
            | Kind::TooMany
            | Kind::Mutability
            | Kind::InvalidSyntax
            | Kind::InvalidPath
            | Kind::NoTarget
            | Kind::InvalidValue
            | Kind::InvalidCursor
            | Kind::ExpiredCursor
            | Kind::InvalidCount => 400,
        }
    }

    /// The word for `scimType`, where the RFC has one.
    pub const fn scim_type(self) -> Option<&'static str> {
        match self {
            Kind::InvalidFilter => Some("invalidFilter"),
            Kind::TooMany => Some("tooMany"),
            Kind::Uniqueness => Some("uniqueness"),
            Kind::Mutability => Some("mutability"),
            Kind::InvalidSyntax => Some("invalidSyntax"),
            Kind::InvalidPath => Some("invalidPath"),
            Kind::NoTarget => Some("noTarget"),
            Kind::InvalidValue => Some("invalidValue"),
            Kind::InvalidCursor => Some("invalidCursor"),
            Kind::ExpiredCursor => Some("expiredCursor"),
            Kind::InvalidCount => Some("invalidCount"),
            Kind::TooLarge => None,
        }
    }
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $(pub fn $name(detail: impl Into<String>) -> Self {
                Self { kind: Kind::$kind, detail: detail.into() }
            })*
        }
    };
}

constructors! {
    invalid_filter => InvalidFilter,
    too_many => TooMany,
    uniqueness => Uniqueness,
    mutability => Mutability,
    invalid_syntax => InvalidSyntax,
    invalid_path => InvalidPath,
    no_target => NoTarget,
    invalid_value => InvalidValue,
    invalid_cursor => InvalidCursor,
    expired_cursor => ExpiredCursor,
    invalid_count => InvalidCount,
    too_large => TooLarge,
}

/// The body of an error answer. RFC 7644 §3.12: `status` is a JSON string.
pub fn body(status: u16, scim_type: Option<&str>, detail: &str) -> Value {
    let mut body = json!({ "schemas": [ERROR_URN], "status": status.to_string() });
    if let Some(scim_type) = scim_type {
        body["scimType"] = scim_type.into();
    }
    body["detail"] = detail.into();
    body
}
