//! What is written behind: one order after another, so that whoever hears that a fetch
//! has landed finds its answer.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::log::Position;
use super::{Shared, records};
use crate::cache::entry::EntryArc;
use crate::redis::{Connection, Gone, Script};

/// How long one order may take.
const ORDER_WITHIN: Duration = Duration::from_millis(500);
/// What may wait to be written, in bytes.
const MAX_QUEUED_BYTES: u64 = 32 << 20;

/// Something to be written.
#[derive(Debug)]
pub(super) enum Order {
    Keep {
        entry: EntryArc,
        at: Position,
    },
    Forget(Vec<u8>),
    Release {
        key: Vec<u8>,
        arguments: Vec<Vec<u8>>,
    },
    Note {
        key: Vec<u8>,
        arguments: Vec<Vec<u8>>,
    },
    /// All before it is written.
    Last(oneshot::Sender<()>),
}

/// Until nobody gives orders any more.
pub(super) async fn write(shared: Weak<Shared>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut link = None;
    while let Some(order) = orders.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        shared.carry_out(order, &mut link).await;
    }
}

impl Shared {
    pub(super) fn order(&self, order: Order) {
        // Nobody takes orders once weir stops.
        let _ = self.orders.send(order);
    }

    /// Takes the answer to write it behind, if it may be of use to others.
    pub(super) fn keep_behind(&self, entry: &EntryArc) {
        let Some(at) = self.log.lock().position() else { return };
        let bytes = entry.weight_bytes() as u64;
        if entry.body.len() > records::MAX_SHARED_BYTES {
            return;
        }
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_QUEUED_BYTES {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.order(Order::Keep { entry: EntryArc::clone(entry), at });
    }

    async fn carry_out(&self, order: Order, link: &mut Option<Connection>) {
        match order {
            Order::Keep { entry, at } => {
                self.queued_bytes.fetch_sub(entry.weight_bytes() as u64, Ordering::Relaxed);
                // Another generation: what came between nobody can tell.
                let is_known = self.log.lock().position().is_some_and(|now| now.generation == at.generation);
                let Some(record) = self.record(&entry, at).filter(|_| is_known) else { return };
                if !self.write(link, &self.scripts.keep, &record.keys, &record.arguments).await {
                    self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Order::Forget(key) => {
                self.write(link, &self.scripts.forget, &[key], &[]).await;
            }
            Order::Release { key, arguments } => {
                self.write(link, &self.scripts.release, &[key], &arguments).await;
            }
            Order::Note { key, arguments } => {
                self.write(link, &self.scripts.note, &[key], &arguments).await;
            }
            Order::Last(told) => {
                // Who asked may not wait any more.
                let _ = told.send(());
            }
        }
    }

    /// Whether it was done. Not tried while Redis is left alone.
    async fn write(
        &self,
        link: &mut Option<Connection>,
        script: &Script,
        keys: &[Vec<u8>],
        arguments: &[Vec<u8>],
    ) -> bool {
        if !self.link.is_up() {
            *link = None;
            return false;
        }
        if link.is_none() {
            *link = self.server.connect(&self.base, ORDER_WITHIN).await.ok();
        }
        let Some(connection) = link.as_mut() else { return false };
        match connection.call(script, keys, arguments, ORDER_WITHIN).await {
            Ok(_) => true,
            Err(Gone::Refused(why)) => {
                tracing::debug!(why, "redis does not keep it");
                false
            }
            Err(gone) => {
                tracing::debug!(%gone, "redis did not take what was to be shared");
                *link = None;
                self.link.rest(self.clock.now());
                false
            }
        }
    }
}
