//! In front of another weir a request waits there: the time-out has to outlast that.

use std::time::Duration;

use crate::config::mistake::Walk;
use crate::config::raw;
use crate::config::scalar::spell;
use crate::config::{Consumer, Upstream};

/// What the weir behind may need after the wait: its connection, its vendor's
/// time-out (10 s and 30 s by default), and the way back.
const AFTER_THE_WAIT: Duration = Duration::from_secs(45);

pub(super) fn outlast(
    upstreams: &mut [Upstream],
    consumers: &[Consumer],
    file: &raw::File,
    walk: &mut Walk<'_>,
) {
    for (index, upstream) in upstreams.iter_mut().enumerate() {
        if !upstream.dialect.is_weir() {
            continue;
        }
        let accesses = consumers.iter().flat_map(|consumer| &consumer.access);
        let waits = accesses.filter(|access| access.upstream == index).filter_map(|access| access.max_wait);
        let longest = waits.fold(upstream.max_wait, Duration::max);
        let typed = file.upstreams.things().iter().find(|(name, _)| name == upstream.name.as_str());
        match typed.and_then(|(_, at)| at.value.timeout.given()) {
            None => upstream.timeout = longest + AFTER_THE_WAIT,
            Some(at) if upstream.timeout <= longest => walk.warn(
                &at.place,
                format!(
                    "may end before the wait of up to {} in the weir behind; write at least \"{}\", or leave it out",
                    spell(longest),
                    spell(longest + AFTER_THE_WAIT)
                ),
            ),
            Some(_) => {}
        }
    }
}
