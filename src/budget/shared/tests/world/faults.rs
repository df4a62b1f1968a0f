//! What goes wrong in a [`World`].

use super::*;

impl World {
    pub(super) fn fail(&mut self, fault: Fault) {
        let snapshot = format!("snap-{}", self.slot);
        match fault {
            Fault::Flush => {
                let nothing = format!("nothing-{}", self.slot);
                self.redis.run(&self.copy, &[], &format!("{nothing}|{}", self.slot));
            }
            Fault::Snapshot => drop(self.redis.run(&self.copy, &[], &format!("{}|{snapshot}", self.slot))),
            Fault::Restore => drop(self.redis.run(&self.copy, &[], &format!("{snapshot}|{}", self.slot))),
            Fault::Crash(index) => self.begin_anew(index),
            Fault::Version(index, schema) => {
                self.schema = schema;
                self.begin_anew(index);
            }
            Fault::Cut(index, lasts) => self.nodes[index].cut_until = self.now + lasts,
            Fault::Freeze(lasts) => self.frozen_until = self.now + lasts,
            Fault::ClockBack(by) => self.redis_ahead -= i64::try_from(by.as_micros()).unwrap(),
            Fault::ClockForward(by) => self.redis_ahead += i64::try_from(by.as_micros()).unwrap(),
        }
    }

    /// Its process is gone with all that it knew, and another begins.
    fn begin_anew(&mut self, index: usize) {
        let gone: Vec<usize> = self.nodes[index].bids.values().copied().collect();
        self.waiting.retain(|caller| !gone.contains(caller));
        self.nodes[index] = self.node();
    }
}
