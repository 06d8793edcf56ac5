//! The keys under which secrets are kept that must be read back: webhook secrets, signing keys, tokens of connectors.
//!
//! AES-256-GCM. What is sealed belongs to one owner (a realm) and one column: brought anywhere else, it does not open.
//! It begins with a version, the name of its key and the nonce, so that keys can change: the first of the ring seals,
//! all of them open. The keys are kept outside of the database, so that a copy of it opens nothing.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    str::FromStr,
    sync::Arc,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest, rand,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::Secret;

/// The layout of what is sealed: this byte, the key's name, the nonce, the ciphertext, the tag.
const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
const NAME_LEN: usize = 4;
const HEAD_LEN: usize = 1 + NAME_LEN + NONCE_LEN;

/// The keys of this installation. Cheap to clone.
#[derive(Clone, Default)]
pub struct KeyRing {
    keys: Arc<[NamedKey]>,
}

struct NamedKey {
    /// The beginning of a hash of the key.
    name: [u8; NAME_LEN],
    key: RandomizedNonceKey,
}

/// 256 random bits; as text, base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKey(Secret<[u8; KEY_LEN]>);

/// Why a text is not a key. Does not show the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 random bytes in base64; `openssl rand -base64 32` makes one")]
pub struct InvalidKey;

/// Why a secret could not be kept, or read back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "there is no key to encrypt secrets with: set `secret_keys` (REALMGATE_SECRET_KEYS), the same on every node; \
         `openssl rand -base64 32` makes a key"
    )]
    NoKey,
    #[error(
        "the secret is encrypted with a key that this node does not have: add it to `secret_keys` \
         (REALMGATE_SECRET_KEYS), behind the first one"
    )]
    UnknownKey,
    #[error("the encrypted secret is damaged, or does not belong where it was found")]
    Broken,
    #[error("the key in `{0}` cannot be read or made")]
    File(String, #[source] io::Error),
}

impl KeyRing {
    /// The first key seals, all of them open.
    ///
    /// # Panics
    /// Never: a key has the length which the cipher needs.
    pub fn new(keys: &[DataKey]) -> Self {
        let named = |DataKey(key): &DataKey| {
            let hash = digest::digest(&digest::SHA256, key.reveal());
            let mut name = [0; NAME_LEN];
            name.copy_from_slice(&hash.as_ref()[..NAME_LEN]);
            let key = RandomizedNonceKey::new(&AES_256_GCM, key.reveal()).expect("the key has the cipher's length");
            NamedKey { name, key }
        };
        Self { keys: keys.iter().map(named).collect() }
    }

    /// Encrypts what only `column` of `owner` may hold.
    pub fn seal(&self, owner: Uuid, column: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let NamedKey { name, key } = self.keys.first().ok_or(Error::NoKey)?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(context(owner, column), &mut sealed).map_err(|_| Error::Broken)?;
        Ok([&[VERSION], &name[..], nonce.as_ref(), &sealed].concat())
    }

    /// Decrypts what stands in `column` of `owner`.
    pub fn open(&self, owner: Uuid, column: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let (head, rest) = sealed.split_at_checked(HEAD_LEN).ok_or(Error::Broken)?;
        let (&version, head) = head.split_first().ok_or(Error::Broken)?;
        let (wanted, nonce) = head.split_at(NAME_LEN);
        if version != VERSION {
            return Err(Error::Broken);
        }
        let missing = if self.keys.is_empty() { Error::NoKey } else { Error::UnknownKey };
        let NamedKey { key, .. } = self.keys.iter().find(|key| key.name == wanted).ok_or(missing)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Broken)?;
        let mut plain = rest.to_vec();
        let length = key.open_in_place(nonce, context(owner, column), &mut plain).map_err(|_| Error::Broken)?.len();
        plain.truncate(length);
        Ok(Secret::new(plain))
    }

    /// Like [`KeyRing::open`], for text.
    pub fn open_text(&self, owner: Uuid, column: &str, sealed: &[u8]) -> Result<Secret<String>, Error> {
        let plain = self.open(owner, column, sealed)?;
        std::str::from_utf8(plain.reveal()).map(|text| Secret::new(text.to_owned())).map_err(|_| Error::Broken)
    }
}

/// What a sealed text is bound to.
fn context(owner: Uuid, column: &str) -> Aad<Vec<u8>> {
    Aad::from([owner.as_bytes(), column.as_bytes()].concat())
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.len())
    }
}

impl DataKey {
    fn generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut key = [0; KEY_LEN];
        rand::fill(&mut key)?;
        Ok(Self(Secret::new(key)))
    }

    /// The key in the file, which is made if it is not there: for a node with a database of its own.
    pub fn in_file(path: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::File(path.display().to_string(), error);
        match fs::read_to_string(path) {
            Ok(text) => text.parse().map_err(|invalid: InvalidKey| failed(io::Error::other(invalid))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate().map_err(|error| failed(io::Error::other(error)))?;
                key.write(path).map_err(failed)?;
                Ok(key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Whole or not at all, and for nobody else to read.
    fn write(&self, path: &Path) -> io::Result<()> {
        let partial = path.with_extension("partial");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        writeln!(file, "{}", BASE64_STANDARD.encode(self.0.reveal()))?;
        file.sync_all()?;
        fs::rename(&partial, path)
    }
}

impl FromStr for DataKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| InvalidKey)?;
        Ok(Self(Secret::new(bytes.try_into().map_err(|_| InvalidKey)?)))
    }
}

impl<'de> Deserialize<'de> for DataKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const OWNER: Uuid = Uuid::from_u128(1);
    const COLUMN: &str = "webhooks.secrets";

    fn key() -> DataKey {
        DataKey::generate().unwrap()
    }

    #[test]
    fn what_is_sealed_opens_where_it_belongs_and_nowhere_else() {
        let ring = KeyRing::new(&[key()]);
        let sealed = ring.seal(OWNER, COLUMN, b"s3cret").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"s3cret"));
        assert_eq!(ring.open(OWNER, COLUMN, &sealed).unwrap().reveal(), b"s3cret");
        assert_ne!(sealed, ring.seal(OWNER, COLUMN, b"s3cret").unwrap(), "never twice the same");
        let elsewhere = [(Uuid::from_u128(2), COLUMN), (OWNER, "connectors.token")];
        for (owner, column) in elsewhere {
            assert!(matches!(ring.open(owner, column, &sealed), Err(Error::Broken)));
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(ring.open(OWNER, COLUMN, &damaged).is_err(), "byte {at}");
            assert!(ring.open(OWNER, COLUMN, &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, new) = (key(), key());
        let sealed = KeyRing::new(std::slice::from_ref(&old)).seal(OWNER, COLUMN, b"s3cret").unwrap();
        let both = KeyRing::new(&[new.clone(), old]);
        assert_eq!(both.open(OWNER, COLUMN, &sealed).unwrap().reveal(), b"s3cret");
        let only_new = KeyRing::new(&[new]);
        assert!(matches!(only_new.open(OWNER, COLUMN, &sealed), Err(Error::UnknownKey)));
        assert!(only_new.open(OWNER, COLUMN, &both.seal(OWNER, COLUMN, b"s3cret").unwrap()).is_ok());
        assert!(matches!(KeyRing::default().seal(OWNER, COLUMN, b""), Err(Error::NoKey)));
        assert!(matches!(KeyRing::default().open(OWNER, COLUMN, &sealed), Err(Error::NoKey)));
    }

    #[test]
    fn a_key_is_32_bytes_in_base64_and_never_shown() {
        let text = BASE64_STANDARD.encode([7; KEY_LEN]);
        assert!(text.parse::<DataKey>().is_ok() && format!(" {text}\n").parse::<DataKey>().is_ok());
        for wrong in ["", "AAAA", &text[1..], "not base64 at all"] {
            assert_eq!(wrong.parse::<DataKey>(), Err(InvalidKey), "{wrong}");
        }
        assert_eq!(format!("{:?} {:?}", key(), KeyRing::new(&[key()])), "DataKey(Secret(..)) KeyRing(1 keys)");
    }

    #[test]
    fn a_file_gets_one_key_which_stays() {
        let folder = std::env::temp_dir().join(format!("realmgate-key-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("secret_keys");
        let made = DataKey::in_file(&path).unwrap();
        assert_eq!(DataKey::in_file(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(DataKey::in_file(&path), Err(Error::File(..))));
        fs::remove_dir_all(folder).unwrap();
    }
}
