//! What one node changes, every node forgets.
//!
//! A change of a realm is told to all nodes by the transaction which makes it. A node which could not listen for a
//! while forgets everything when it listens again.

use tokio::sync::broadcast::error::RecvError;

use super::Access;

impl Access {
    /// Forgets what others change, for as long as the store lives.
    pub async fn follow_changes(self) {
        let mut heard = self.shared.store.pulse().listen();
        // What was heard matters less than that something was: see `forget`.
        while let Ok(_) | Err(RecvError::Lagged(_)) = heard.recv().await {
            self.forget();
        }
    }
}
