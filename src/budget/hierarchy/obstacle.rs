//! What stands in a request's way, and whose it is.

use crate::quota::{Plan, Scope};

use super::super::refusal::Node;
use super::{Books, NodeIndex};

/// What stands in a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Obstacle {
    pub(in crate::budget) place: Place,
    pub(in crate::budget) limit: usize,
}

/// At which level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::budget) enum Place {
    Account,
    Node(NodeIndex),
}

impl Books {
    /// The most requests that the limit in the way allows in one window.
    pub(in crate::budget) fn most_at(&self, obstacle: Obstacle) -> u32 {
        match obstacle.place {
            Place::Account => self.windows[obstacle.limit].requests(),
            Place::Node(node) => self.most(node, obstacle.limit),
        }
    }

    /// Whose limit `obstacle` is, in the operator's words.
    pub(in crate::budget) fn name(&self, obstacle: Obstacle, plan: &Plan) -> Node {
        match obstacle.place {
            Place::Account if self.scopes[obstacle.limit] == Scope::Address => Node::Address,
            Place::Account => Node::Account,
            Place::Node(node) if node < self.divisions => Node::Division(plan.divisions[node].name.clone()),
            Place::Node(node) => Node::Consumer(plan.consumers[node - self.divisions].name.clone()),
        }
    }
}
