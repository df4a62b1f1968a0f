//! The vendor's token of one client, made by one replica for all of them.
//!
//! 1. It looks for a token that another has noted. One that it holds already, or that the
//!    vendor has refused it, is of no use.
//! 2. Otherwise it claims the sign-in; whoever comes second waits, and looks again.
//! 3. What the vendor grants is noted, sealed, for as long as it is good.
//!
//! Without Redis, or without a `token_key`, each replica signs in for itself.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::Lane;
use super::keys::Chosen;
use super::sign_in::Missed;
use crate::budget::Ask;
use crate::cache::{Claim, Note, Shared, Turn};
use crate::clock::Moment;
use crate::dialect::OAuth;
use crate::dialect::oauth::{Client, Granted};
use crate::secret::Secret;

/// A token as it is noted.
#[derive(Serialize, Deserialize)]
struct Noted {
    access: String,
    lifetime_ms: u64,
}

impl Lane {
    /// A token that is new to this replica, and when it was asked for.
    pub(super) async fn token(
        self: &Arc<Self>,
        (oauth, chosen): (OAuth, Chosen),
        client: &Client,
        ask: Ask,
    ) -> Result<(Granted, Moment), Missed> {
        let Some(shared) = self.cache.shared() else { return self.sign_in(oauth, client, ask).await };
        let Some(label) = self.label(oauth, client) else { return self.sign_in(oauth, client, ask).await };
        let (found, _claim) = self.found_or_claimed(shared, &label, chosen).await;
        if let Some(found) = found {
            return Ok(found);
        }
        let (granted, sent) = self.sign_in(oauth, client, ask).await?;
        note(shared, &label, &granted, self.clock.now().since(sent));
        Ok((granted, sent))
    }

    /// Another replica's token, or the right to ask for one.
    async fn found_or_claimed(
        &self,
        shared: &Arc<Shared>,
        label: &[u8],
        chosen: Chosen,
    ) -> (Option<(Granted, Moment)>, Option<Claim>) {
        let patience = self.clock.now() + self.config.connect_timeout + self.config.timeout;
        loop {
            // Before it is asked for: a word in between must not be missed.
            let mut wait = shared.note_wait(label);
            if let Some(found) = shared.note(label).await.and_then(|note| self.usable(&note, chosen)) {
                return (Some(found), None);
            }
            match shared.note_turn(label).await {
                Turn::Unknown => return (None, None),
                Turn::Free(claim) => {
                    // Whoever had it until now may have noted one since the look.
                    let again = shared.note(label).await.and_then(|note| self.usable(&note, chosen));
                    return (again, claim);
                }
                Turn::Theirs if self.clock.now() >= patience => return (None, None),
                // Whatever is heard, it looks again.
                Turn::Theirs => drop(wait.outcome(self.clock).await),
            }
        }
    }

    fn usable(&self, note: &Note, chosen: Chosen) -> Option<(Granted, Moment)> {
        let mut noted: Noted = serde_json::from_slice(&note.text).ok()?;
        let access = Secret::new(std::mem::take(&mut noted.access));
        let lifetime = Duration::from_millis(noted.lifetime_ms);
        // Nearly over, it would be renewed at once.
        let is_young = note.age < lifetime / 10 * 7;
        let now = self.clock.now().as_nanos();
        let age = u64::try_from(note.age.as_nanos()).unwrap_or(u64::MAX);
        let sent = Moment::from_nanos(now.checked_sub(age).filter(|_| is_young)?);
        (!self.tokens.knows(chosen, &access)).then_some((Granted { access, lifetime }, sent))
    }

    /// Whose token it is: of this vendor, for this id and secret. Only a hash of it is shown.
    fn label(&self, oauth: OAuth, client: &Client) -> Option<Zeroizing<Vec<u8>>> {
        let sign_in = oauth.sign_in(client).ok()?;
        let vendor = format!("{}\0{:?}\0{:?}\0", self.config.name, self.config.origin, sign_in.path);
        Some(Zeroizing::new([vendor.as_bytes(), sign_in.form.expose().as_bytes()].concat()))
    }
}

fn note(shared: &Shared, label: &[u8], granted: &Granted, age: Duration) {
    let lifetime_ms = u64::try_from(granted.lifetime.as_millis()).unwrap_or(u64::MAX);
    let mut noted = Noted { access: granted.access.expose().to_owned(), lifetime_ms };
    let text = serde_json::to_vec(&noted).map(Zeroizing::new);
    noted.access.zeroize();
    if let Ok(text) = text {
        shared.keep_note(label, &text, (age, granted.lifetime.saturating_sub(age)));
    }
}
