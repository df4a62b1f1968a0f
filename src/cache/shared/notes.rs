//! Small secrets that all replicas use: the vendor's tokens. Sealed like answers, kept
//! for as long as they are good, and made by one replica at a time.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::claims::{Turn, Wait};
use super::link::micros;
use super::outbox::Order;
use super::{Shared, millis};

/// What another replica has noted.
#[derive(Debug)]
pub struct Note {
    /// It.
    pub text: Zeroizing<Vec<u8>>,
    /// How long ago it was true.
    pub age: Duration,
}

impl Shared {
    /// The note under `label`; none if there is none, or no answer in time.
    pub async fn note(&self, label: &[u8]) -> Option<Note> {
        let (key, bond) = self.place(label);
        let found = self.look_up(&self.scripts.note, key, &[]).await?;
        let text = self.sealer.open(&bond, found.bytes()?)?;
        let (since, text) = text.split_first_chunk()?;
        let now = (*self.time.lock())?.at_most(self.clock.now());
        let age = Duration::from_micros(now.saturating_sub(u64::from_be_bytes(*since)));
        Some(Note { text: Zeroizing::new(text.to_vec()), age })
    }

    /// Keeps a note that was true `age` ago for `life` from now, in the place of the one
    /// before; does not wait.
    pub fn keep_note(&self, label: &[u8], text: &[u8], (age, life): (Duration, Duration)) {
        let (key, bond) = self.place(label);
        let Some(time) = *self.time.lock() else { return };
        let since = time.at_least(self.clock.now()).saturating_sub(micros(age));
        let text = Zeroizing::new([&since.to_be_bytes(), text].concat());
        // Without randomness nothing is shared; whoever needs it makes its own.
        let Ok(sealed) = self.sealer.seal(&bond, &text) else { return };
        self.order(Order::Note { key, arguments: vec![sealed, millis(life)] });
    }

    /// Whether another replica is about to make the note; if not, this one may.
    pub async fn note_turn(self: &Arc<Self>, label: &[u8]) -> Turn {
        let (key, _) = self.place(label);
        let name = self.note_name(label);
        // Where there are no answers.
        let record = [key.as_slice(), b":none"].concat();
        let position = self.log.lock().position();
        let Some(at) = position else { return Turn::Unknown };
        self.turn_at(name, record, (at, 0), true).await.0
    }

    /// What is told from now on about the making of the note.
    #[must_use]
    pub fn note_wait(&self, label: &[u8]) -> Wait {
        self.wait(self.note_name(label))
    }

    fn note_name(&self, label: &[u8]) -> [u8; 32] {
        self.sealer.name(&[b"making\0", label].concat())
    }

    /// Where it is, and what it is bound to.
    fn place(&self, label: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let name = self.sealer.name(&[b"note\0", label].concat());
        (self.key("t", &name), [b"note\0".as_slice(), &[super::SCHEMA], &name].concat())
    }
}
