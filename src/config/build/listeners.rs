//! `[server]`, `[admin]` and `[store]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::bounds::{self, Between};
use crate::config::mistake::Walk;
use crate::config::raw;
use crate::config::read::Field;
use crate::config::{Admin, OnEmpty, Server, Store};
use crate::secret::Secret;

const DEFAULT_PORT: u16 = 8_080;
const DEFAULT_ADMIN_PORT: u16 = 9_090;
const MIN_TOKEN_KEY_BYTES: usize = 32;
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

pub(super) fn server(raw: Option<&raw::Server>, walk: &mut Walk<'_>) -> Server {
    let default = loopback(DEFAULT_PORT);
    let Some(raw) = raw else {
        return Server {
            listen: Some(default),
            public_url: None,
            shutdown_grace: DEFAULT_GRACE,
            token_key: None,
        };
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

pub(super) fn store(raw: Option<&raw::Store>) -> Store {
    let Some(raw) = raw else { return Store { path: PathBuf::from("data"), on_empty: OnEmpty::Trust } };
    Store {
        path: raw.path.value().map_or_else(|| PathBuf::from("data"), PathBuf::from),
        on_empty: raw.on_empty.value().map_or(OnEmpty::Trust, |word| word.0),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
