//! The key of this node, and the public keys of all.
//!
//! **No signing secret is stored anywhere.** Each node makes an ES256 key pair of its own when it starts and every day
//! after. The private key never leaves its memory; only the public key goes to the table `signing_keys`, where every
//! node finds it by the `kid` of a token. So any node verifies the tokens of any other, a restart ends no session, and
//! whoever reads the database or a backup of it can sign nothing. (Whoever can write it can, but could as well give
//! himself a password.) A public key is kept until the last token that it verifies has expired.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use jsonwebtoken::DecodingKey;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep_until},
};

use super::jwt::{Kid, Signer};
use crate::store::{
    Store,
    error::Result,
    signing_keys::{self, SigningKey},
};

pub use crate::store::signing_keys::SigningKey as PublicKey;

/// How long a node signs with one key.
const SIGNS_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A ring older than this is read again before it is believed: a key taken out of the table is forgotten by then.
const RING_LIFE: Duration = Duration::from_secs(60);

/// Time between two readings of the table, however many tokens name keys that nobody knows.
const PAUSE: Duration = Duration::from_secs(1);

/// The keys that tokens are signed and verified with.
pub struct Keys {
    store: Store,
    /// The longest that a token lives.
    token_life: Duration,
    own: Mutex<Own>,
    ring: watch::Sender<Ring>,
    /// Held by the one who reads the table.
    turn: Mutex<()>,
}

struct Own {
    signer: Arc<Signer>,
    since: Timestamp,
}

/// The public keys of all nodes, as they stood in the table at `as_of`.
struct Ring {
    keys: HashMap<Kid, (DecodingKey, SigningKey)>,
    as_of: Instant,
}

impl Ring {
    fn add(&mut self, key: SigningKey) {
        self.keys.insert(key.kid, (DecodingKey::from_ec_der(&key.public_key), key));
    }
}

impl Keys {
    /// Makes a key for this node, publishes it, and reads those of the others.
    pub async fn start(store: Store, token_life: Duration) -> Result<Self> {
        let own = publish(&store, token_life).await?;
        let ring = watch::Sender::new(read(&store).await?);
        Ok(Self { store, token_life, own: Mutex::new(own), ring, turn: Mutex::new(()) })
    }

    /// What to sign with. A new key is made when the old one is a day old, or is missing from the table: a database
    /// brought back from a backup does not know it, and neither would the other nodes.
    pub async fn signer(&self) -> Result<Arc<Signer>> {
        let mut own = self.own.lock().await;
        let age = Timestamp::now().duration_since(own.since).unsigned_abs();
        if age >= SIGNS_FOR || self.find(own.signer.kid()).await?.is_none() {
            *own = publish(&self.store, self.token_life).await?;
            let key = public_half(&own.signer);
            self.ring.send_modify(|ring| ring.add(key));
        }
        Ok(own.signer.clone())
    }

    /// The public key `kid`, of whichever node.
    ///
    /// An unknown one may be that of a node which has just begun, so the table is read again; but once a [`PAUSE`],
    /// for all who wait together. Invented names thus cost the database one small query a second and nothing here,
    /// and never make a good token look bad.
    pub async fn find(&self, kid: Kid) -> Result<Option<DecodingKey>> {
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        self.refresh(Instant::now()).await?;
        Ok(self.ring.borrow().keys.get(&kid).map(|(key, _)| key.clone()))
    }

    /// The public keys of all nodes, as they stood in the table at most a [`PAUSE`] ago.
    pub async fn all(&self) -> Result<Vec<SigningKey>> {
        if self.ring.borrow().as_of.elapsed() >= PAUSE {
            self.refresh(Instant::now()).await?;
        }
        let mut keys: Vec<_> = self.ring.borrow().keys.values().map(|(_, key)| key.clone()).collect();
        keys.sort_by_key(|key| key.kid);
        Ok(keys)
    }

    fn known(&self, kid: Kid) -> Option<DecodingKey> {
        let ring = self.ring.borrow();
        ring.keys.get(&kid).filter(|_| ring.as_of.elapsed() < RING_LIFE).map(|(key, _)| key.clone())
    }

    /// Reads the table, unless that was begun after `asked`.
    async fn refresh(&self, asked: Instant) -> Result<()> {
        let _turn = self.turn.lock().await;
        let as_of = self.ring.borrow().as_of;
        if as_of < asked {
            sleep_until(as_of + PAUSE).await;
            self.ring.send_replace(read(&self.store).await?);
        }
        Ok(())
    }
}

/// Makes a key pair and tells its public half to all nodes, until the last token it can sign has expired.
async fn publish(store: &Store, token_life: Duration) -> Result<Own> {
    let (signer, since) = (Signer::generate(), Timestamp::now());
    let expires_at = since.checked_add(SIGNS_FOR.saturating_add(token_life)).unwrap_or(Timestamp::MAX);
    signing_keys::insert(store, &public_half(&signer), since, expires_at).await?;
    Ok(Own { signer: Arc::new(signer), since })
}

fn public_half(signer: &Signer) -> SigningKey {
    SigningKey { kid: signer.kid(), public_key: signer.public_key().to_vec() }
}

async fn read(store: &Store) -> Result<Ring> {
    // Before the query: what is published while it runs may be missing from its answer.
    let mut ring = Ring { keys: HashMap::new(), as_of: Instant::now() };
    signing_keys::list(store, Timestamp::now()).await?.into_iter().for_each(|key| ring.add(key));
    Ok(ring)
}
