//! A Redis Cluster: weir is told of one node, and what it needs is at another, which dies,
//! or hands it on.

use super::loss::{Load, mends, warm};
use super::*;
use crate::support::cluster::Cluster;
use crate::support::load::{alone, pause};
use crate::support::pki::Authority;
use crate::support::redis::tls;

const LEDGER: &str = "{weir:catchpoint}";
const CACHE: &str = "{weir:cache}";

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_in_a_cluster_is_found_where_it_is_and_never_too_much_leaves() {
    let _alone = alone().await;
    let (mut cluster, vendor) = (Cluster::start(LEDGER).await, vendor().await);
    let owner = cluster.owner(LEDGER);
    let (named, third) = ((owner + 1) % 3, (owner + 2) % 3);
    let fleet = fleet(&config(&vendor, &cluster.nodes[named].url(), "", 12), 3).await;
    assert_ne!(cluster.nodes[owner].command(&["KEYS", "{weir:catchpoint}*"]), "");
    warm(&fleet).await;
    let load: Vec<Load> = fleet.iter().enumerate().map(|(at, weir)| Load::on(weir, at * 4)).collect();
    pause(WINDOW).await;
    let none_refused = |what: &str| assert_eq!(vendor.refused(), 0, "{what}: {}", outputs(&fleet));

    // Its replica takes over: it may know less, and is told.
    cluster.nodes[owner].kill();
    mends(&fleet).await;
    none_refused("its node has died");
    // What weir was told of is gone: it knows the others by now.
    cluster.nodes[named].kill();
    pause(WINDOW).await;
    // Key by key to another node, while all want it.
    cluster.move_slot(LEDGER, (3, third)).await;
    mends(&fleet).await;
    assert_ne!(cluster.nodes[third].command(&["KEYS", "{weir:catchpoint}*"]), "");
    assert_eq!(cluster.nodes[3].command(&["KEYS", "{weir:catchpoint}*"]), "");
    let before = vendor.requests().len();
    pause(WINDOW * 2).await;
    let used = vendor.requests().len() - before;
    drop(load);
    none_refused("it was handed on");
    assert!(used >= usize::try_from(REQUESTS).unwrap(), "all of it is used again: {used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_and_the_tokens_are_found_in_a_cluster_too() {
    let cluster = Cluster::start(CACHE).await;
    let owner = cluster.owner(CACHE);
    let named = &cluster.nodes[(owner + 1) % 3];
    super::tokens::signs_in_once(named, &cluster.nodes[owner]).await;
    super::sharing::reach_every_replica(&named.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_spoken_to_over_tls() {
    let _alone = alone().await;
    let (folder, vendor) = (tempfile::tempdir().unwrap(), vendor().await);
    let authority = Authority::new(folder.path(), "ca");
    let pair = authority.issue(folder.path(), "redis", &["127.0.0.1"]);
    let mut cluster = Cluster::start_with(LEDGER, &tls(&pair, &authority.path)).await;
    let owner = cluster.owner(LEDGER);
    let named = cluster.nodes[(owner + 1) % 3].url().replace("redis:", "rediss:");
    let ca = format!("\", ca = {:?} }}\n", authority.path);
    let fleet = fleet(&config(&vendor, &named, "", 2).replacen("\" }\n", &ca, 1), 2).await;
    mends(&fleet).await;
    assert_ne!(cluster.nodes[owner].command(&["KEYS", "{weir:catchpoint}*"]), "");
    cluster.nodes[owner].kill();
    mends(&fleet).await;
    assert!(cluster.nodes[3].command(&["INFO", "replication"]).contains("role:master"));
    assert_eq!(vendor.refused(), 0, "{}", outputs(&fleet));
}
