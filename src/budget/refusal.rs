//! The budget's honest no (DESIGN, law 7).

use std::fmt;
use std::time::Duration;

use crate::clock::Moment;
use crate::id::{ConsumerName, DivisionName, LimitName};

/// Why a caller was not admitted, and from when it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What ended the wait.
    pub reason: Reason,
    /// Whose limit stands in the way.
    pub node: Node,
    /// Which limit of that node.
    pub limit: LimitName,
    /// No earlier than this could it have been admitted; spread over a herd. Not rounded.
    pub retry_at: Moment,
    /// The same, counted from the refusal.
    pub retry_after: Duration,
}

/// What ended the wait for the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The earliest possible moment lies beyond the caller's deadline: refused at once.
    Limit,
    /// The caller's deadline came while it waited.
    WaitOver,
    /// As many of this consumer's callers wait as may.
    QueueFull,
    /// As many callers wait, over all consumers, as may.
    AllQueuesFull,
    /// What was charged before this process is not known yet.
    Loading,
    /// The ledger that replicas share cannot be reached.
    StoreLost,
}

/// An owner of limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// The vendor's account as a whole.
    Account,
    /// One egress address.
    Address,
    /// A division's cap.
    Division(DivisionName),
    /// A consumer's cap.
    Consumer(ConsumerName),
}

/// Why a caller has no place in a bid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The budget says no to this caller.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// All callers of this bid had gone, or its owner had: ask again with a new one.
    #[error("the bid was over")]
    Closed,
    /// A reload has taken this caller's consumer out of the plan.
    #[error("its consumer is gone")]
    Gone,
}

impl Reason {
    /// One word for log line, metric label and header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::WaitOver => "wait_over",
            Self::QueueFull => "queue_full",
            Self::AllQueuesFull => "all_queues_full",
            Self::Loading => "ledger_loading",
            Self::StoreLost => "store_lost",
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::Address => f.write_str("address"),
            Self::Division(name) => write!(f, "division {name}"),
            Self::Consumer(name) => write!(f, "consumer {name}"),
        }
    }
}

impl fmt::Display for Refusal {
    /// As in `Proxy-Status` details: `division web: minute`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.limit)
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
