//! Stored bodies in other codings, made when somebody first asks for one.
//!
//! Kept apart from the entries, which never change: by body, so that a 304 that
//! renews an entry keeps its forms, and bounded by what they weigh. A form that was
//! evicted is made again; a body that would not get smaller is remembered as such.

use std::fmt;

use super::coding::Coding;
use super::entry::{Body, BodyId};

/// Forms of any number of bodies.
pub struct Forms {
    made: moka::sync::Cache<(BodyId, Coding), Option<Body>>,
}

/// What all forms of one [`Forms`] may weigh, in bytes.
const MAX_FORMS_BYTES: u64 = 64 * 1024 * 1024;

/// What is remembered of a form beside its bytes.
const FORM_OVERHEAD_BYTES: usize = 256;

impl Forms {
    /// The form if it has been made; the inner none is "would not get smaller".
    #[must_use]
    pub fn ready(&self, body: &Body, coding: Coding) -> Option<Option<Body>> {
        self.made.get(&(body.id(), coding))
    }

    /// The form, made if need be, once for all who want it: takes time in proportion
    /// to the body, and so belongs on a thread that may block.
    #[must_use]
    pub fn make(&self, body: &Body, coding: Coding) -> Option<Body> {
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
        Self { made }
    }
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forms({} bytes)", self.made.weighted_size())
    }
}
