//! What goes wrong meanwhile.

use super::*;

#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Fault {
    Flush,
    Snapshot,
    Restore,
    Crash(usize),
    /// It begins anew as a version of weir with this schema.
    Version(usize, u32),
    Cut(usize, Duration),
    Freeze(Duration),
    ClockBack(Duration),
    ClockForward(Duration),
}

/// Copies all keys of one prefix to another, in the place of what is there.
pub(super) const COPY: &str = "
for _, key in ipairs(redis.call('KEYS', ARGV[1]:match('|(.*)') .. ':*')) do redis.call('DEL', key) end
local from, to = ARGV[1]:match('^(.*)|(.*)$')
for _, key in ipairs(redis.call('KEYS', from .. ':*')) do
  redis.call('COPY', key, to .. key:sub(#from + 1))
end";

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
        self.waiting.retain(|_, waiting| waiting.node != index);
        let node = self.node();
        self.nodes[index] = node;
    }
}
