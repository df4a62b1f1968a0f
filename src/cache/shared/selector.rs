//! A selector as bytes, for other replicas, who may run another version of weir.

use serde::{Deserialize, Serialize};

use crate::cache::key::{Scope, Selector};
use crate::dialect::Resource;

#[derive(Serialize, Deserialize)]
enum Told {
    All,
    Upstream(String),
    Scope(String, Option<String>),
    Path(String, String),
    Prefix(String, String),
    Resource(String, String),
    Matching(String, String),
}

/// What is told to others.
pub(super) fn written(selector: &Selector) -> Vec<u8> {
    let text = |name: &dyn std::fmt::Display| name.to_string();
    let told = match selector {
        Selector::All => Told::All,
        Selector::Upstream(upstream) => Told::Upstream(text(upstream)),
        Selector::Scope(Scope { upstream, key }) => {
            Told::Scope(text(upstream), key.as_ref().map(|key| text(key)))
        }
        Selector::Path(upstream, path) => Told::Path(text(upstream), path.clone()),
        Selector::Prefix(upstream, prefix) => Told::Prefix(text(upstream), prefix.clone()),
        Selector::Resource(upstream, resource) => Told::Resource(text(upstream), resource.path()),
        Selector::Matching(upstream, pattern) => Told::Matching(text(upstream), text(pattern)),
    };
    // Nothing in it can fail; were it so, everything is meant.
    serde_json::to_vec(&told).unwrap_or_default()
}

/// What another told. What is not understood means everything: to drop too much costs
/// requests, to drop too little is wrong.
pub(super) fn read(bytes: &[u8]) -> Selector {
    understood(bytes).unwrap_or(Selector::All)
}

fn understood(bytes: &[u8]) -> Option<Selector> {
    Some(match serde_json::from_slice(bytes).ok()? {
        Told::All => Selector::All,
        Told::Upstream(upstream) => Selector::Upstream(upstream.parse().ok()?),
        Told::Scope(upstream, key) => Selector::Scope(Scope {
            upstream: upstream.parse().ok()?,
            key: key.map(|key| key.parse()).transpose().ok()?,
        }),
        Told::Path(upstream, path) => Selector::Path(upstream.parse().ok()?, path),
        Told::Prefix(upstream, prefix) => Selector::Prefix(upstream.parse().ok()?, prefix),
        Told::Resource(upstream, path) => Selector::Resource(upstream.parse().ok()?, Resource::of(&path)),
        Told::Matching(upstream, pattern) => {
            Selector::Matching(upstream.parse().ok()?, pattern.parse().ok()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_understand_what_was_meant() {
        let up = || "cp".parse().unwrap();
        for selector in [
            Selector::All,
            Selector::Upstream(up()),
            Selector::Scope(Scope { upstream: up(), key: None }),
            Selector::Scope(Scope { upstream: up(), key: Some("main".parse().unwrap()) }),
            Selector::Path(up(), "/api/v2/tests".into()),
            Selector::Prefix(up(), "/API/".into()),
            Selector::Resource(up(), Resource::of("/api/v2/tests/5,7")),
            Selector::Resource(up(), Resource::of("/v2/v3/tests")),
            Selector::Resource(up(), Resource::of("/")),
            Selector::Matching(up(), "GET|POST /api/*/tests/**".parse().unwrap()),
        ] {
            assert_eq!(read(&written(&selector)), selector);
        }
        for other in [b"".as_slice(), b"{\"Cookies\":\"cp\"}", b"{\"Upstream\":\"No Name\"}", b"\x80"] {
            assert_eq!(read(other), Selector::All, "what is not understood");
        }
    }
}
