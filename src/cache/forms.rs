//! Stored bodies in other codings, made when somebody first asks for one.
//!
//! Kept apart from the entries, which never change: by body, so that a 304 that
//! renews an entry keeps its forms, and bounded by what they weigh. A form that was
//! evicted is made again; a body that would not get smaller is remembered as such.
//! At most [`MAX_CODERS`] threads code at a time: a crowd that finds a form missing
//! waits for one of them without a thread of its own.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::coding::Coding;
use super::entry::{Body, BodyId};

/// Forms of any number of bodies.
pub struct Forms {
    made: moka::sync::Cache<(BodyId, Coding), Option<Body>>,
    turns: Arc<Semaphore>,
}

/// How many forms are made at a time.
const MAX_CODERS: usize = 4;

/// What all forms of one [`Forms`] may weigh, in bytes.
const MAX_FORMS_BYTES: u64 = 64 * 1024 * 1024;

/// What is remembered of a form beside its bytes.
const FORM_OVERHEAD_BYTES: usize = 256;

impl Forms {
    /// `body` in this coding, made if need be; none if it would not get smaller. Dropped
    /// with its caller while it is made, the work goes on and is there for the next.
    pub async fn form(self: &Arc<Self>, body: &Body, coding: Coding) -> Option<Body> {
        if let Some(form) = self.ready(body, coding) {
            return form;
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        // Whoever had a turn before may have made it.
        if let Some(form) = self.ready(body, coding) {
            return form;
        }
        let (forms, body) = (Arc::clone(self), body.clone());
        let made = spawn_blocking(move || {
            let form = forms.make(&body, coding);
            drop(turn);
            form
        });
        made.await.unwrap_or_default()
    }

    /// The form if it has been made; the inner none is "would not get smaller".
    #[must_use]
    pub fn ready(&self, body: &Body, coding: Coding) -> Option<Option<Body>> {
        self.made.get(&(body.id(), coding))
    }

    /// Once for all who want it: takes time in proportion to the body, and so belongs on
    /// a thread that may block.
    fn make(&self, body: &Body, coding: Coding) -> Option<Body> {
        self.made.get_with((body.id(), coding), || coding.encode(body))
    }
}

impl Default for Forms {
    fn default() -> Self {
        let weigh = |form: &Option<Body>| form.as_ref().map_or(0, Body::weight) + FORM_OVERHEAD_BYTES;
        let made = moka::sync::Cache::builder()
            .max_capacity(MAX_FORMS_BYTES)
            .weigher(move |_, form| u32::try_from(weigh(form)).unwrap_or(u32::MAX))
            .build();
        Self { made, turns: Arc::new(Semaphore::new(MAX_CODERS)) }
    }
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forms({} bytes)", self.made.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_crowd_gets_one_form() {
        let forms = Arc::new(Forms::default());
        let body = Body::of(&[Bytes::from("weir ".repeat(50_000))]);
        let made = join_all((0..200).map(|_| forms.form(&body, Coding::Gzip))).await;
        let first = made[0].as_ref().unwrap().blocks()[0].as_ptr();
        assert!(made.iter().all(|form| form.as_ref().unwrap().blocks()[0].as_ptr() == first));
        assert_eq!(forms.turns.available_permits(), MAX_CODERS);
        let short = Body::of(&[Bytes::from_static(b"short")]);
        assert!(forms.form(&short, Coding::Gzip).await.is_none());
    }
}
