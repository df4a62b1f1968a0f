//! Small secrets that all replicas use: the vendor's tokens. Sealed like answers, kept
//! for as long as they are good, and got rid of by whoever finds them bad.

use std::time::Duration;

use zeroize::Zeroizing;

use super::outbox::Order;
use super::{Shared, millis};

/// What a note is called: where it is, and what it is bound to.
type Place = (Vec<u8>, Vec<u8>);

impl Shared {
    /// The note under `label`; none if there is none, or no answer in time.
    pub async fn note(&self, label: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (key, bond) = self.place(label);
        let found = self.look_up(&self.scripts.note, key, &[b"get".to_vec(), Vec::new()]).await?;
        self.sealer.open(&bond, found.bytes()?)
    }

    /// Keeps a note for `life`, in the place of the one before; does not wait. `id` tells
    /// it from others.
    pub fn keep_note(&self, label: &[u8], id: &[u8], text: &[u8], life: Duration) {
        let (key, bond) = self.place(label);
        // Without randomness nothing is shared; whoever needs it makes its own.
        let Ok(sealed) = self.sealer.seal(&bond, text) else { return };
        let arguments = vec![b"put".to_vec(), self.identity(id), sealed, millis(life)];
        self.order(Order::Note { key, arguments });
    }

    /// Removes the note if it is this one; does not wait.
    pub fn drop_note(&self, label: &[u8], id: &[u8]) {
        let (key, _) = self.place(label);
        self.order(Order::Note { key, arguments: vec![b"drop".to_vec(), self.identity(id)] });
    }

    fn place(&self, label: &[u8]) -> Place {
        let name = self.sealer.name(&[b"note\0", label].concat());
        (self.key("t", &name), [b"note\0".as_slice(), &name].concat())
    }

    fn identity(&self, id: &[u8]) -> Vec<u8> {
        let name = self.sealer.name(&[b"identity\0", id].concat());
        data_encoding::HEXLOWER.encode(&name[..16]).into_bytes()
    }
}
