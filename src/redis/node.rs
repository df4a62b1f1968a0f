//! Which server to speak to: the one of the configuration, or, where that is one of a
//! cluster, the node that has the keys.
//!
//! What one connection is for lies in one hash slot, so it goes to one node, and there is
//! no map of slots to keep true:
//! 1. It begins at a node that it knows: the one of the configuration, or, after an
//!    attempt that failed, the next of those that the cluster has named.
//! 2. It asks for a key there. Who does not have its slot says who does (`MOVED`).
//! 3. A slot that moves later, or whose node is succeeded by its replica: the call is not
//!    done, the answer is [`Gone::Moved`], and the next connection finds it anew.
//!
//! While a slot is on its way (`ASK`, `TRYAGAIN`) a script that needs all of its keys can be
//! run nowhere: it is refused until they have arrived.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisError, ServerErrorKind, Value, cmd,
    from_redis_value_ref,
};

use super::{Connection, Gone, Server, gone};

/// How often one is sent on before the cluster counts as undecided.
const MAX_HOPS: usize = 4;
/// How many nodes are remembered.
const MAX_NODES: usize = 128;

/// Host and port.
type Address = (String, u16);

/// The nodes of the cluster, as far as they are known; none where there is no cluster.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    named: Vec<Address>,
    /// How many attempts have failed.
    failed: usize,
}

impl Nodes {
    /// Where the next attempt begins; none at the one of the configuration.
    fn first(&self) -> Option<Address> {
        let at = self.failed % (self.named.len() + 1);
        at.checked_sub(1).map(|at| self.named[at].clone())
    }

    fn learn(&mut self, named: Vec<Address>) {
        if !named.is_empty() {
            self.named = named;
        }
    }
}

impl Server {
    /// Connects and signs in at the node that has `key`.
    ///
    /// # Errors
    /// It does not stand `within` that time, or not at all.
    pub async fn connect(&self, key: &str, within: Duration) -> Result<Connection, Gone> {
        let found = tokio::time::timeout(within, self.find(key, within)).await;
        let found = found.unwrap_or(Err(Gone::TimedOut(within)));
        self.begun(found.is_ok());
        found
    }

    /// Who speaks to any node, such as the next attempt begins at.
    pub(super) fn any(&self) -> Result<Client, Gone> {
        self.at(self.nodes.lock().first())
    }

    /// How an attempt has ended.
    pub(super) fn begun(&self, well: bool) {
        if !well {
            self.nodes.lock().failed += 1;
        }
    }

    async fn find(&self, key: &str, within: Duration) -> Result<Connection, Gone> {
        let first = self.nodes.lock().first();
        let mut link = self.link(first, within).await?;
        for _ in 0..MAX_HOPS {
            match cmd("EXISTS").arg(key).query_async::<Value>(&mut link).await {
                Ok(_) => {
                    self.look_around(&mut link).await;
                    return Ok(Connection { link });
                }
                Err(error) => match moved_to(&error) {
                    Some(to) => link = self.link(Some(self.whole(to)), within).await?,
                    None => return Err(gone(&error, within)),
                },
            }
        }
        Err(Gone::Moved)
    }

    async fn link(&self, to: Option<Address>, within: Duration) -> Result<MultiplexedConnection, Gone> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(within)).set_response_timeout(None);
        let link = self.at(to)?.get_multiplexed_async_connection_with_config(&config).await;
        link.map_err(|error| gone(&error, within))
    }

    /// Remembers who else there is. Who has no cluster says so; who may not ask has to do
    /// with the node of the configuration.
    async fn look_around(&self, link: &mut MultiplexedConnection) {
        let slots = cmd("CLUSTER").arg("SLOTS").query_async::<Value>(link).await;
        let named = slots.map(|slots| addresses(&slots)).unwrap_or_default();
        let named = named.into_iter().map(|to| self.whole(to)).collect();
        self.nodes.lock().learn(named);
    }

    /// The same in every other respect, elsewhere.
    fn at(&self, to: Option<Address>) -> Result<Client, Gone> {
        let Some((host, port)) = to else { return Ok(self.client.clone()) };
        let info = self.client.get_connection_info();
        let addr = match info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Client::open(info.clone().set_addr(addr)).map_err(|error| Gone::Broken(error.to_string()))
    }

    /// A node that does not know what it is called is where it was asked.
    fn whole(&self, (host, port): Address) -> Address {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(own, _) | ConnectionAddr::TcpTls { host: own, .. }
                if host.is_empty() || host == "?" =>
            {
                (own.clone(), port)
            }
            _ => (host, port),
        }
    }
}

/// Who has the slot.
fn moved_to(error: &RedisError) -> Option<Address> {
    if !matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved)) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

/// `[from, to, [host, port, …], …], …`: each node once.
fn addresses(slots: &Value) -> Vec<Address> {
    let nodes = parts(slots).iter().flat_map(|range| parts(range).iter().skip(2));
    let mut found: Vec<Address> = nodes.filter_map(address).collect();
    found.sort();
    found.dedup();
    found.truncate(MAX_NODES);
    found
}

fn address(node: &Value) -> Option<Address> {
    let [host, port, ..] = parts(node) else { return None };
    let host: Option<String> = from_redis_value_ref(host).ok()?;
    Some((host.unwrap_or_default(), from_redis_value_ref(port).ok()?))
}

fn parts(value: &Value) -> &[Value] {
    value.as_sequence().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn each_attempt_that_fails_begins_the_next_at_another_node() {
        let mut nodes = Nodes::default();
        nodes.failed += 1;
        assert_eq!(nodes.first(), None, "there is no other");
        nodes.learn(vec![("a".into(), 1), ("b".into(), 2)]);
        let mut firsts = Vec::new();
        for failed in 0..4 {
            nodes.failed = failed;
            firsts.push(nodes.first().map(|(host, _)| host));
        }
        assert_eq!(firsts, [None, Some("a".into()), Some("b".into()), None]);
        nodes.learn(Vec::new());
        assert_eq!(nodes.named.len(), 2, "no answer is no news");
    }

    #[test]
    fn the_nodes_of_all_slots_are_named_once() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let range = |nodes: Vec<Value>| Value::Array([vec![Value::Int(0), Value::Int(9)], nodes].concat());
        let slots = Value::Array(vec![
            range(vec![node(text("b"), 2), node(text("a"), 1)]),
            range(vec![node(Value::Nil, 3), node(text("a"), 1)]),
            Value::Array(vec![Value::Int(1)]),
        ]);
        assert_eq!(addresses(&slots), [(String::new(), 3), ("a".into(), 1), ("b".into(), 2)]);
        assert_eq!(addresses(&Value::Okay), []);
    }
}
