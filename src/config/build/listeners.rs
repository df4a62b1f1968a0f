//! `[server]`, `[admin]` and `[store]`, and the PEM files that they and upstreams name.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bounds::{self, Between};
use super::redis;
use crate::config::mistake::{Place, Walk};
use crate::config::raw;
use crate::config::read::{At, Field};
use crate::config::{Admin, ClientAuth, ClientCertificates, OnEmpty, Server, ServerTls, Store};
use crate::pem::{self, BadPem};
use crate::secret::Secret;

const DEFAULT_PORT: u16 = 8_080;
const DEFAULT_ADMIN_PORT: u16 = 9_090;
const SMALLEST_CACHE: u64 = 1 << 20;
const LARGEST_CACHE: u64 = 1 << 40;
const MIN_TOKEN_KEY_BYTES: usize = 32;
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

pub(super) fn server(raw: Option<&raw::Server>, walk: &mut Walk<'_>) -> Server {
    let default = loopback(DEFAULT_PORT);
    let Some(raw) = raw else {
        let listen = Some(default);
        let (tls, token_key) = (None, None);
        return Server { listen, tls, public_url: None, shutdown_grace: DEFAULT_GRACE, token_key };
    };
    // With TLS, plain HTTP is served only where it is said.
    let plain = raw.tls.is_missing().then_some(default);
    Server {
        listen: raw.listen.value().map(|listen| listen.0).or(plain),
        tls: raw.tls.value().and_then(|raw| tls(raw, walk)),
        public_url: raw.public_url.value().map(|url| url.0.clone()),
        shutdown_grace: bounds::duration(
            &raw.shutdown_grace,
            Between(Duration::ZERO, Duration::from_secs(3_600)),
            walk,
        )
        .unwrap_or(DEFAULT_GRACE),
        token_key: token_key(raw, walk),
    }
}

/// Who finds the key can make tokens of everybody's, without ever asking weir.
fn token_key(raw: &raw::Server, walk: &mut Walk<'_>) -> Option<Secret> {
    let at = raw.token_key.given()?;
    if at.value.0.expose().len() < MIN_TOKEN_KEY_BYTES {
        walk.warn(
            &at.place,
            "this key is short enough to be guessed; `openssl rand -hex 32` makes one that is not",
        );
    }
    Some(at.value.0.clone())
}

fn tls(raw: &raw::Tls, walk: &mut Walk<'_>) -> Option<ServerTls> {
    let place = &raw.place;
    let listen = raw.listen.required(place, "its address is not said; write listen = \"0.0.0.0:8443\"", walk);
    let cert = raw.cert.required(
        place,
        "its certificate is not said; write cert = \"FILE\", the chain in PEM, leaf first",
        walk,
    );
    let key = raw.key.required(place, "its key is not said; write key = \"FILE\" in PEM", walk);
    let pair = cert.zip(key).map(|(cert, key)| {
        pair((cert, key), walk);
        (PathBuf::from(&cert.value), PathBuf::from(&key.value))
    });
    if let (Some(at), true) = (raw.client_auth.given(), raw.client_ca.is_missing()) {
        walk.wrong(&at.place, "no certificate is asked for; write client_ca = \"FILE\" beside it");
    }
    let clients = raw.client_ca.given().map(|at| {
        roots(at, walk);
        let auth = raw.client_auth.value().map_or(ClientAuth::Required, |word| word.0);
        ClientCertificates { ca: PathBuf::from(&at.value), auth }
    });
    let (cert, key) = pair?;
    Some(ServerTls { listen: listen?.value.0, cert, key, clients })
}

/// Two files that must be a certificate and its key.
pub(super) fn pair((cert, key): (&At<String>, &At<String>), walk: &mut Walk<'_>) {
    let mut read =
        |at: &At<String>| pem::read(Path::new(&at.value)).map_err(|bad| unfit(&at.place, bad, walk)).ok();
    let (chain, secret) = (read(cert), read(key));
    if let (Some(chain), Some(secret)) = (chain, secret)
        && let Err(bad) = pem::pair(&chain, &secret)
    {
        unfit(if bad.is_about_the_key() { &key.place } else { &cert.place }, bad, walk);
    }
}

/// A file that must hold certificates to trust.
pub(super) fn roots(at: &At<String>, walk: &mut Walk<'_>) {
    let mut roots = rustls::RootCertStore::empty();
    let read = pem::read(Path::new(&at.value));
    if let Err(bad) = read.and_then(|file| pem::add_roots(&mut roots, &file)) {
        unfit(&at.place, bad, walk);
    }
}

/// The path is not repeated: it might be the key itself, put in the wrong place.
fn unfit(place: &Place, bad: BadPem, walk: &mut Walk<'_>) {
    walk.wrong(place, format!("the file that it names {bad}"));
}

pub(super) fn admin(raw: Option<&raw::Admin>, walk: &mut Walk<'_>) -> Admin {
    let default = loopback(DEFAULT_ADMIN_PORT);
    let Some(raw) = raw else { return Admin { listen: default, token: None, hosts: Vec::new() } };
    let listen = raw.listen.value().map_or(default, |listen| listen.0);
    if let (Some(at), true) = (raw.listen.given(), raw.token.is_missing())
        && !listen.ip().is_loopback()
    {
        walk.wrong(
            &at.place,
            "off loopback the admin listener needs a token; write token = { env = \"ADMIN_TOKEN\" }, \
             or listen on 127.0.0.1",
        );
    }
    let hosts = raw.hosts.entries().iter().map(|at| at.value.0.clone()).collect();
    Admin { listen, token: raw.token.value().map(|token| token.0.clone()), hosts }
}

/// No two listeners at one address.
pub(super) fn apart(server: &Server, admin: &Admin, file: &raw::File, walk: &mut Walk<'_>) {
    let typed = file.server.value();
    let tls = typed.and_then(|server| server.tls.value());
    let plain = typed.and_then(|server| place(&server.listen));
    let secure = tls.and_then(|tls| place(&tls.listen));
    let operators = file.admin.value().and_then(|admin| place(&admin.listen));
    let listeners = [
        ("server.listen", server.listen, plain),
        ("server.tls.listen", server.tls.as_ref().map(|tls| tls.listen), secure),
        ("admin.listen", Some(admin.listen), operators),
    ];
    for (at, (one, first, here)) in listeners.iter().enumerate() {
        for (other, second, there) in &listeners[at + 1..] {
            let (Some(first), Some(second)) = (first, second) else { continue };
            if overlap(*first, *second) {
                // The later one is at fault, unless it was not typed.
                let place = there.as_ref().or(here.as_ref()).unwrap_or(&file.place);
                walk.wrong(place, format!("{one} and {other} are one address; give each its own port"));
            }
        }
    }
}

fn place<T>(field: &Field<T>) -> Option<Place> {
    field.given().map(|at| at.place.clone())
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let one_network = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && one_network
}

/// Replicas share only what they can seal.
pub(super) fn shared(server: &Server, file: &raw::File, walk: &mut Walk<'_>) {
    let redis = file.store.value().and_then(|store| store.redis.given());
    let is_missing =
        server.token_key.is_none() && file.server.value().is_none_or(|raw| raw.token_key.is_missing());
    if let Some(at) = redis.filter(|_| is_missing) {
        walk.warn(
            &at.place,
            "the ledger is shared, but without server.token_key the cache and the vendors' tokens are not; give all replicas the same key (`openssl rand -hex 32` makes one)",
        );
    }
}

pub(super) fn store(raw: Option<&raw::Store>, walk: &mut Walk<'_>) -> Store {
    let default = Store {
        path: PathBuf::from("data"),
        cache_memory_bytes: 256 << 20,
        cache_disk_bytes: Some(1 << 30),
        on_empty: OnEmpty::Trust,
        redis: None,
    };
    let Some(raw) = raw else { return default };
    let memory = bounds::bytes(&raw.cache_memory, SMALLEST_CACHE, LARGEST_CACHE, walk);
    // Nothing is the one size below the smallest.
    let disk = match raw.cache_disk.value() {
        Some(size) if size.0 == 0 => None,
        Some(_) => bounds::bytes(&raw.cache_disk, SMALLEST_CACHE, LARGEST_CACHE, walk),
        None => default.cache_disk_bytes,
    };
    Store {
        path: raw.path.value().map_or(default.path, PathBuf::from),
        cache_memory_bytes: memory.unwrap_or(default.cache_memory_bytes),
        cache_disk_bytes: disk,
        on_empty: raw.on_empty.value().map_or(OnEmpty::Trust, |word| word.0),
        redis: raw.redis.value().and_then(|raw| redis::redis(raw, walk)),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
