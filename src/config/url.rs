//! Addresses of upstreams, and the paths and hosts under which weir offers them.

use std::net::IpAddr;

use http::Uri;
use http::uri::Authority;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::Scheme;
use super::mistake::Walk;
use super::read::{Read, text};
use super::scalar::schema_of;
use super::tree::Node;

macro_rules! urls {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty) = $parse:path, like $example:literal;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(super) struct $name(pub(super) $inner);

        impl Read for $name {
            fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
                let place = node.place.clone();
                let typed = text(node, concat!('"', $example, '"'), walk)?;
                $parse(&typed).map(Self).map_err(|words: &str| walk.wrong(&place, words)).ok()
            }
        }

        schema_of!($name, { "type": "string", "examples": [$example] });
    )*};
}

urls! {
    /// Scheme, authority and base path of an upstream.
    UrlText(Url) = url, like "https://io.catchpoint.com";
    /// Scheme, authority and base path of a collector of traces.
    EndpointText(Url) = endpoint, like "http://127.0.0.1:4318";
    /// Scheme and authority under which callers know weir.
    PublicUrlText(String) = public_url, like "https://weir.internal";
    /// A path prefix, `/` as the empty text.
    MountText(String) = mount, like "/catchpoint";
    /// A host name without a port, in lower case.
    HostText(String) = host, like "catchpoint.weir.internal";
}

/// An upstream's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) base_path: String,
}

fn url(text: &str) -> Result<Url, &'static str> {
    let (scheme, uri) = parts(text)?;
    let authority = uri.authority().cloned().ok_or("the host is missing; write \"https://HOST\"")?;
    if scheme == Scheme::Http && !is_loopback(authority.host()) {
        return Err("http:// only to loopback, since keys do not travel in clear text; write https://");
    }
    whole(text, scheme, authority, &uri)
}

/// Names and numbers are sent there, never a secret; so a collector in the same network may be plain.
fn endpoint(text: &str) -> Result<Url, &'static str> {
    let help = "not the URL of a collector; write one such as \"http://127.0.0.1:4318\"";
    let (scheme, uri) = match text.split_once("://") {
        Some(("http" | "https", _)) => parts(text)?,
        _ => return Err(help),
    };
    if uri.path().ends_with("/v1/traces") {
        return Err("weir adds /v1/traces itself; leave it out");
    }
    let authority = uri.authority().cloned().ok_or(help)?;
    whole(text, scheme, authority, &uri)
}

fn whole(text: &str, scheme: Scheme, authority: Authority, uri: &Uri) -> Result<Url, &'static str> {
    if text.contains(['?', '#']) {
        return Err("a URL here has no query and no fragment; leave out what follows the path");
    }
    let base_path =
        prefix(uri.path()).ok_or("the path has dot segments, '//' or escapes; write it plainly")?;
    Ok(Url { scheme, authority, base_path })
}

fn public_url(text: &str) -> Result<String, &'static str> {
    let (scheme, uri) = parts(text)?;
    if text.contains(['?', '#']) || !matches!(uri.path(), "" | "/") {
        return Err("only scheme and host are put into links; write it without a path");
    }
    let authority = uri.authority().ok_or("the host is missing; write \"https://HOST\"")?;
    let scheme = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    Ok(format!("{scheme}://{authority}"))
}

fn parts(text: &str) -> Result<(Scheme, Uri), &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("the scheme is missing; write https:// in front")?;
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err("only https:// (and http:// to loopback) is spoken; write https://"),
    };
    if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        return Err("a URL here has no user name and no password; put keys under `keys`");
    }
    let uri = text.parse().map_err(|_| "not a URL; write one such as \"https://io.catchpoint.com\"")?;
    Ok((scheme, uri))
}

pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn mount(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("a mount begins with '/'; write \"/\" or \"/catchpoint\"");
    }
    prefix(text).ok_or("a mount is a plain path: no query, no escapes, no '//', no dot segments, no '*'")
}

/// `/a/b/` as `/a/b`, `/` as nothing; none if it is not plain.
fn prefix(path: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path.split('/').skip(1);
    let ok = path.bytes().all(plain) && segments.all(|segment| !matches!(segment, "" | "." | ".."));
    ok.then(|| path.to_owned())
}

fn host(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let name = text.trim_end_matches('.');
    if name.is_empty() || name.len() > 253 || !name.bytes().all(plain) {
        return Err(
            "not a host name; write one without scheme, port and path, such as \"catchpoint.weir.internal\"",
        );
    }
    Ok(name.to_ascii_lowercase())
}
