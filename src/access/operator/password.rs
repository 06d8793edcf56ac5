//! Operators' passwords: Argon2id, off the async threads, two at a time.

use std::{sync::Arc, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use aws_lc_rs::rand;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use tracing::error;

use crate::{
    model::admin::PasswordHash,
    store::error::{Error, Result},
};

/// Longer passwords are nobody's, and cost nobody time.
pub const MAX_LENGTH: usize = 1024;

/// Said of a password that nobody may have.
pub const RULE: &str = "a password has 1 to 1024 bytes";

/// How many verifications run at once, each with 19 MiB and a processor of its own for some 30 ms.
const AT_ONCE: usize = 2;

const PATIENCE: Duration = Duration::from_secs(2);

/// A hash with the parameters of the real ones which no password has: looked at for names that nobody has, so that
/// the time of an answer does not tell which names exist.
const OF_NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cmVhbG1nYXRlLm5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Characters of a generated password: 26 of base62 hold 154 random bits.
const GENERATED_CHARS: usize = 26;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Verifies passwords. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    turns: Arc<Semaphore>,
    /// How long a sign-in waits for its turn.
    patience: Duration,
}

impl Verifier {
    pub fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), patience: PATIENCE }
    }

    /// Is it the password of `hash`? Takes as long when there is no hash. [`Error::Unavailable`] if too many ask.
    pub async fn verify(&self, password: &str, hash: Option<PasswordHash>) -> Result<bool> {
        let password = password.to_owned();
        self.turn(move || is_password_of(&password, hash.as_ref())).await
    }

    /// A new hash; `None` if the password is empty or too long. [`Error::Unavailable`] if too many ask.
    pub async fn hash(&self, password: &str) -> Result<Option<PasswordHash>> {
        if !is_possible(password) {
            return Ok(None);
        }
        let password = password.to_owned();
        self.turn(move || hash(&password)).await.map(Some)
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let busy = || Error::Unavailable("too many operators sign in at once".to_owned());
        let turn = timeout(self.patience, self.turns.clone().acquire_owned()).await.map_err(|_| busy())?;
        let work = spawn_blocking(move || {
            // Kept until the work is done, which goes on even if the client has gone.
            let _turn = turn;
            work()
        });
        work.await.map_err(|_| busy())
    }
}

/// Can it be anybody's password?
pub fn is_possible(password: &str) -> bool {
    (1..=MAX_LENGTH).contains(&password.len())
}

/// A new hash of `password`, 19 MiB, 2 passes, 1 lane (OWASP). Takes some 30 ms of processor time.
///
/// # Panics
/// If the system has no randomness.
pub fn hash(password: &str) -> PasswordHash {
    let hash: phc::PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .expect("a password of at most MAX_LENGTH fits Argon2, and the system's random source works");
    PasswordHash::from_phc(hash.to_string())
}

/// A password from the operating system's randomness.
///
/// # Panics
/// If the system has no randomness: no secret may be made then.
pub fn generate() -> String {
    let mut password = String::with_capacity(GENERATED_CHARS);
    while password.len() < GENERATED_CHARS {
        let mut byte = [0];
        rand::fill(&mut byte).expect("the system's random source works");
        // 248 = 4 * 62: above it the first characters would come more often.
        if byte[0] < 248 {
            password.push(char::from(ALPHABET[usize::from(byte[0] % 62)]));
        }
    }
    password
}

fn is_password_of(password: &str, hash: Option<&PasswordHash>) -> bool {
    let Ok(parsed) = phc::PasswordHash::new(hash.map_or(OF_NOBODY, PasswordHash::as_phc)) else {
        error!("the password hash of an operator is not in PHC form: set a new password");
        return false;
    };
    password.len() <= MAX_LENGTH
        && Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
        && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        let hash = hash("correct horse");
        assert!(hash.as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(is_password_of("correct horse", Some(&hash)));
        for wrong in ["", "correct hors", "Correct horse", "correct horse ", &"x".repeat(MAX_LENGTH + 1)] {
            assert!(!is_password_of(wrong, Some(&hash)));
        }
    }

    #[test]
    fn nobody_has_no_password_but_the_same_work() {
        assert!(!is_password_of("", None));
        let nobody = phc::PasswordHash::new(OF_NOBODY).unwrap();
        let somebody = hash("x");
        let somebody = phc::PasswordHash::new(somebody.as_phc()).unwrap();
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.salt.unwrap().len(), somebody.salt.unwrap().len());
        assert_eq!(nobody.hash.unwrap().len(), somebody.hash.unwrap().len());
    }

    #[test]
    fn a_broken_hash_opens_nothing() {
        for broken in ["", "plain", "$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1$cmVhbG1nYXRl"] {
            assert!(!is_password_of("plain", Some(&PasswordHash::from_phc(broken.to_owned()))));
        }
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, other) = (generate(), generate());
        assert_eq!(one.len(), GENERATED_CHARS);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(one, other);
    }

    #[tokio::test]
    async fn who_waits_too_long_for_a_turn_is_told_to_come_again() {
        let verifier = Verifier { patience: Duration::ZERO, ..Verifier::new() };
        let _taken = verifier.turns.clone().acquire_many_owned(2).await.unwrap();
        assert!(matches!(verifier.verify("x", None).await, Err(Error::Unavailable(_))));
    }
}
