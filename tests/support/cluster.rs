//! A cluster of real redis-servers: three that share the slots, and one that stands by.

use std::time::Duration;

use super::load::pause;
use super::redis::{Redis, free_port};

const SLOTS: u32 = 16_384;
/// Of silence, until a node counts as gone.
const TIMEOUT_MS: &str = "1000";

pub(crate) struct Cluster {
    /// The first three have a third of the slots each.
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    /// One in which `stands_by_for` tells whose replica the fourth is, by a key that it has.
    pub(crate) async fn start(stands_by_for: &str) -> Self {
        Self::start_with(stands_by_for, &[]).await
    }

    /// The same, each node with these words more.
    pub(crate) async fn start_with(stands_by_for: &str, more: &[String]) -> Self {
        let cluster = Self { nodes: (0..4).map(|_| node(more)).collect() };
        let nodes = &cluster.nodes;
        for (at, node) in nodes[..3].iter().enumerate() {
            let bound = |at: usize| SLOTS * u32::try_from(at).unwrap() / 3;
            let (from, to) = (bound(at).to_string(), (bound(at + 1) - 1).to_string());
            says_ok(node, &["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
        }
        for node in &nodes[1..] {
            let port = node.address().port().to_string();
            says_ok(&nodes[0], &["CLUSTER", "MEET", "127.0.0.1", &port, &bus_of(node)]);
        }
        cluster.until(|node| node.command(&["CLUSTER", "NODES"]).matches("connected").count() == 4).await;
        cluster.until(is_up).await;
        let master = id_of(&nodes[cluster.owner(stands_by_for)]);
        says_ok(&nodes[3], &["CLUSTER", "REPLICATE", &master]);
        cluster.until(|node| node.command(&["CLUSTER", "NODES"]).contains(&format!("slave {master}"))).await;
        let synced = |node: &Redis| node.command(&["INFO", "replication"]).contains("master_link_status:up");
        while !synced(&nodes[3]) {
            pause(Duration::from_millis(50)).await;
        }
        cluster
    }

    /// Which of the first three has `key`.
    pub(crate) fn owner(&self, key: &str) -> usize {
        let slot: u32 = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).parse().unwrap();
        usize::try_from((slot * 3 + 2) / SLOTS).unwrap()
    }

    /// Moves the slot of `key` from one node to another, as `redis-cli --cluster reshard` does.
    pub(crate) async fn move_slot(&self, key: &str, (from, to): (usize, usize)) {
        let slot = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]);
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let (from_id, to_id) = (id_of(from), id_of(to));
        says_ok(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        says_ok(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let port = to.address().port().to_string();
        loop {
            // One at a time, so that somebody asks while half of them have gone.
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]);
            let Some(key) = keys.lines().next() else { break };
            let moved = from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"]);
            assert!(["OK", "NOKEY"].contains(&moved.as_str()), "{moved}");
            pause(Duration::from_millis(30)).await;
        }
        says_ok(to, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        says_ok(from, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }

    async fn until(&self, all: impl Fn(&Redis) -> bool) {
        for _ in 0..400 {
            if self.nodes.iter().all(&all) {
                return;
            }
            pause(Duration::from_millis(50)).await;
        }
        panic!("{}", self.nodes[0].command(&["CLUSTER", "NODES"]));
    }
}

pub(crate) fn is_up(node: &Redis) -> bool {
    node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
}

fn node(more: &[String]) -> Redis {
    let bus = free_port().to_string();
    let words = [
        ["--cluster-enabled", "yes"],
        ["--cluster-node-timeout", TIMEOUT_MS],
        ["--cluster-port", &bus],
        // A third of the slots may be gone: the others go on.
        ["--cluster-require-full-coverage", "no"],
        // It may stand in at once, however old what it has is: what is lost is told again.
        ["--cluster-replica-validity-factor", "0"],
        ["--repl-diskless-sync-delay", "0"],
    ];
    let words = words.as_flattened().iter().map(|word| (*word).to_owned());
    Redis::start_with(words.chain(more.iter().cloned()).collect())
}

fn says_ok(node: &Redis, words: &[&str]) {
    assert_eq!(node.command(words), "OK", "{words:?}");
}

fn id_of(node: &Redis) -> String {
    node.command(&["CLUSTER", "MYID"])
}

fn bus_of(node: &Redis) -> String {
    let port = node.command(&["CONFIG", "GET", "cluster-port"]);
    port.lines().last().unwrap().to_owned()
}
