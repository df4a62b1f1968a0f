//! Plans that follow each other on the same books, and how the indices of an
//! older one translate to the newest.
//!
//! Whoever began under an older plan (a request under way over a reload) goes on
//! speaking in its indices; at the desk's edge they become those of the present.

use std::collections::HashMap;

use super::log::Seat;
use crate::quota::{Limit, LimitSet, Plan, Window};

/// One plan's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Era(u64);

/// From one plan's indices to a later one's.
#[derive(Clone, Debug)]
pub(super) struct Map {
    /// By seat.
    seats: Vec<Option<Seat>>,
    /// By limit.
    limits: Vec<Option<usize>>,
    /// Limits that the earlier plan did not have.
    news: LimitSet,
}

/// The present era, and the way to it from each that is still spoken.
#[derive(Clone, Debug)]
pub(super) struct Eras {
    now: Era,
    maps: HashMap<Era, Map>,
}

impl Era {
    /// The first.
    pub(super) const FIRST: Self = Self(0);
}

impl Map {
    /// Limits and consumers are known again by their names.
    pub(super) fn between(old: &Plan, new: &Plan) -> Self {
        let seat_in_new: HashMap<_, _> =
            new.consumers.iter().enumerate().map(|(i, c)| (&c.name, i)).collect();
        let seat = |name| seat_in_new.get(name).and_then(|&index| Seat::try_from(index).ok());
        let limit = |known: &Limit| new.limits.iter().position(|limit| limit.name == known.name);
        let is_new = |limit: &Limit| old.limits.iter().all(|known| known.name != limit.name);
        Self {
            seats: old.consumers.iter().map(|consumer| seat(&consumer.name)).collect(),
            limits: old.limits.iter().map(limit).collect(),
            news: new.limits.iter().enumerate().filter(|(_, l)| is_new(l)).map(|(index, _)| index).collect(),
        }
    }

    pub(super) fn seat(&self, seat: Seat) -> Option<Seat> {
        self.seats.get(seat as usize).copied().flatten()
    }

    pub(super) fn limit(&self, limit: usize) -> Option<usize> {
        self.limits.get(limit).copied().flatten()
    }

    /// Whether what is new counts a request cannot be told from `set`: it does.
    pub(super) fn set(&self, set: LimitSet) -> LimitSet {
        set.iter().filter_map(|limit| self.limit(limit)).fold(self.news, LimitSet::with)
    }

    /// Where in the earlier plan `limit` of the later one was.
    pub(super) fn limit_before(&self, limit: usize) -> Option<usize> {
        self.limits.iter().position(|now| *now == Some(limit))
    }

    /// Where in the earlier plan each of `seats` consumers was.
    pub(super) fn seats_before(&self, seats: usize) -> Vec<Option<usize>> {
        let mut before = vec![None; seats];
        for (old, new) in self.seats.iter().enumerate() {
            if let Some(place) = new.and_then(|new| before.get_mut(new as usize)) {
                *place = Some(old);
            }
        }
        before
    }

    fn then(&self, next: &Self) -> Self {
        Self {
            seats: self.seats.iter().map(|seat| seat.and_then(|seat| next.seat(seat))).collect(),
            limits: self.limits.iter().map(|limit| limit.and_then(|limit| next.limit(limit))).collect(),
            news: next.set(self.news),
        }
    }
}

impl Eras {
    pub(super) fn new() -> Self {
        Self { now: Era::FIRST, maps: HashMap::new() }
    }

    /// Another plan begins, `step` away from the present one.
    pub(super) fn begin(&mut self, step: Map) -> Era {
        for map in self.maps.values_mut() {
            *map = map.then(&step);
        }
        self.maps.insert(self.now, step);
        self.now = Era(self.now.0 + 1);
        self.now
    }

    /// Nobody speaks of `era` any more.
    pub(super) fn forget(&mut self, era: Era) {
        self.maps.remove(&era);
    }

    /// The seat now; none if its consumer is gone.
    pub(super) fn seat(&self, era: Era, seat: Seat) -> Option<Seat> {
        self.maps.get(&era).map_or(Some(seat), |map| map.seat(seat))
    }

    pub(super) fn limit(&self, era: Era, limit: usize) -> Option<usize> {
        self.maps.get(&era).map_or(Some(limit), |map| map.limit(limit))
    }

    pub(super) fn limits(&self, era: Era, set: LimitSet) -> LimitSet {
        self.maps.get(&era).map_or(set, |map| map.set(set))
    }
}

/// Whether all that `new` counts has been counted by `old`, for as long.
pub(super) fn is_covered(new: &Limit, old: &Limit) -> bool {
    let lasts = match (&new.window, &old.window) {
        (Window::Sliding(new_length), Window::Sliding(old_length)) => {
            *new_length + new.slack <= *old_length + old.slack
        }
        (new_window, old_window) => new_window == old_window,
    };
    lasts && new.routes == old.routes && new.scope == old.scope
}
