//! What must not be seen: values that never print, and the keys under which secrets are kept ([`KeyRing`]).

mod ring;

use std::fmt;

use serde::Deserialize;

pub use ring::{DataKey, Error, InvalidKey, KeyRing};

/// A value that no log and no error can show. Reading it is a word in the code: [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place which needs it.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Some(Secret::new("s3cret"))), "Some(Secret(..))");
    }
}
