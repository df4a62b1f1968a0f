//! Where a request goes, as a dialect knows it.

use super::catchpoint::Get;
use crate::quota::RouteClass;

/// What a dialect knows of a method and a path: found once for a request, and handed to
/// all that ask of it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Which limits count it; what the dialect does not know belongs to its dearest.
    pub class: RouteClass,
    /// The documented GET, of a dialect that has a list of them.
    pub(super) get: Option<&'static Get>,
}

impl From<RouteClass> for Route {
    /// One of which nothing but its class is known.
    fn from(class: RouteClass) -> Self {
        Self { class, get: None }
    }
}
