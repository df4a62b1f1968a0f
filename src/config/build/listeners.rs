//! `[server]`, `[admin]` and `[store]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::bounds::{self, Between};
use crate::config::mistake::Walk;
use crate::config::raw;
use crate::config::read::Field;
use crate::config::{Admin, OnEmpty, Server, Store};

const DEFAULT_PORT: u16 = 8_080;
const DEFAULT_ADMIN_PORT: u16 = 9_090;
const SMALLEST_CACHE: u64 = 1 << 20;
const LARGEST_CACHE: u64 = 1 << 40;
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

pub(super) fn server(raw: Option<&raw::Server>, walk: &mut Walk<'_>) -> Server {
    let default = loopback(DEFAULT_PORT);
    let Some(raw) = raw else {
        return Server { listen: Some(default), public_url: None, shutdown_grace: DEFAULT_GRACE };
    };
    Server {
        listen: Some(raw.listen.value().map_or(default, |listen| listen.0)),
        public_url: raw.public_url.value().map(|url| url.0.clone()),
        shutdown_grace: bounds::duration(
            &raw.shutdown_grace,
            Between(Duration::ZERO, Duration::from_secs(3_600)),
            walk,
        )
        .unwrap_or(DEFAULT_GRACE),
    }
}

pub(super) fn admin(raw: Option<&raw::Admin>, walk: &mut Walk<'_>) -> Admin {
    let default = loopback(DEFAULT_ADMIN_PORT);
    let Some(raw) = raw else { return Admin { listen: default, token: None } };
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
    Admin { listen, token: raw.token.value().map(|token| token.0.clone()) }
}

/// Two listeners cannot have one address.
pub(super) fn apart(server: &Server, admin: &Admin, file: &raw::File, walk: &mut Walk<'_>) {
    let Some(listen) = server.listen else { return };
    let overlap = listen.ip() == admin.listen.ip()
        || listen.ip().is_unspecified()
        || admin.listen.ip().is_unspecified();
    if listen.port() != 0 && listen.port() == admin.listen.port() && overlap {
        let typed = |field: &Field<_>| field.given().map(|at: &crate::config::read::At<_>| at.place.clone());
        let place = file
            .admin
            .value()
            .and_then(|admin| typed(&admin.listen))
            .or_else(|| file.server.value().and_then(|server| typed(&server.listen)))
            .unwrap_or_else(|| file.place.clone());
        walk.wrong(&place, "server.listen and admin.listen are one address; give each its own port");
    }
}

pub(super) fn store(raw: Option<&raw::Store>, walk: &mut Walk<'_>) -> Store {
    let default = Store {
        path: PathBuf::from("data"),
        cache_memory_bytes: 256 << 20,
        cache_disk_bytes: Some(1 << 30),
        on_empty: OnEmpty::Trust,
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
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
