//! How connections to an upstream are made: proxy, roots, a certificate of our own.

use std::path::PathBuf;

use http::Uri;

use super::listeners;
use crate::config::mistake::Walk;
use crate::config::proxy::{self, ProxyValue};
use crate::config::raw;
use crate::config::read::Field;
use crate::config::url;
use crate::config::{ClientPair, Origin, Proxy, Scheme, Transport};

pub(super) fn transport(raw: &raw::Upstream, origin: Option<&Origin>, walk: &mut Walk<'_>) -> Transport {
    let plain = origin.is_some_and(|origin| origin.scheme == Scheme::Http);
    if plain {
        without_tls(raw, walk);
    }
    let ca = raw.ca.given().map(|at| at.value.0.as_slice()).unwrap_or_default();
    for file in ca {
        listeners::roots(file, walk);
    }
    if let (Some(at), true) = (raw.system_roots.given(), raw.ca.is_missing()) {
        walk.wrong(
            &at.place,
            "has no meaning without `ca`: the system's roots are trusted anyway; remove it",
        );
    }
    Transport {
        ca: ca.iter().map(|at| PathBuf::from(&at.value)).collect(),
        system_roots: raw.system_roots.or(false),
        client: client(raw, walk),
        proxy: origin.filter(|_| !plain).and_then(|origin| proxy(raw, origin, walk)),
    }
}

/// Over http:// (to loopback) none of this can matter.
fn without_tls(raw: &raw::Upstream, walk: &mut Walk<'_>) {
    let through = raw.proxy.given().filter(|at| !matches!(at.value, ProxyValue::Direct));
    let given = [
        through.map(|at| &at.place),
        raw.ca.given().map(|at| &at.place),
        raw.client_cert.given().map(|at| &at.place),
    ];
    for place in given.into_iter().flatten() {
        walk.wrong(place, "http:// leads to loopback, without a proxy and without TLS; remove it");
    }
}

fn client(raw: &raw::Upstream, walk: &mut Walk<'_>) -> Option<ClientPair> {
    match (&raw.client_cert, &raw.client_key) {
        (Field::Given(cert), Field::Given(key)) => {
            listeners::pair((cert, key), walk);
            Some(ClientPair { cert: PathBuf::from(&cert.value), key: PathBuf::from(&key.value) })
        }
        (Field::Given(at), Field::Missing) => {
            walk.wrong(&at.place, "its key is not said; write client_key = \"FILE\" beside it");
            None
        }
        (Field::Missing, Field::Given(at)) => {
            walk.wrong(&at.place, "its certificate is not said; write client_cert = \"FILE\" beside it");
            None
        }
        _ => None,
    }
}

fn proxy(raw: &raw::Upstream, origin: &Origin, walk: &mut Walk<'_>) -> Option<Proxy> {
    match &raw.proxy {
        Field::Given(at) => match &at.value {
            ProxyValue::Direct => None,
            ProxyValue::Through(proxy) => Some(proxy.clone()),
        },
        Field::Wrong => None,
        Field::Missing => {
            let parts =
                Uri::builder().scheme("https").authority(origin.authority.clone()).path_and_query("/");
            let url = parts.build().ok().filter(|_| !url::is_loopback(origin.authority.host()))?;
            proxy::of_environment(&url, &raw.place, walk)
        }
    }
}
