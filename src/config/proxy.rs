//! The HTTP proxy on the way to a vendor: as config names it, or as the environment does.

use std::collections::BTreeMap;

use http::Uri;
use http::uri::Authority;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::mistake::{Place, Spot, Walk};
use super::read::{Field, Read, tables, text};
use super::secrets::SecretValue;
use super::transport::Proxy;
use super::tree::{Node, Value};
use crate::secret::Secret;

/// `"http://proxy:3128"`, the same by reference, a table, or `false` for none.
#[derive(Clone, Debug)]
pub(super) enum ProxyValue {
    /// None, whatever the environment says.
    Direct,
    Through(Proxy),
}

tables! {
    /// An HTTP proxy whose credentials stand apart from its URL.
    ProxyTable {
        /// Where it is, such as http://proxy:3128.
        url: String,
        /// The user that it knows weir by.
        user: String,
        /// The user's password.
        password: SecretValue,
    }
}

/// Variables that name a proxy for https:// URLs; the first that is set counts.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

const HELP: &str =
    "\"http://proxy:3128\", { env = \"NAME\" }, or { url = …, user = …, password = { env = \"NAME\" } }";

impl Read for ProxyValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let place = node.place.clone();
        let proxy = match &node.value {
            Value::Bool(false) => return Some(Self::Direct),
            Value::Table(keys) if keys.contains_key("env") || keys.contains_key("file") => {
                let whole = SecretValue::read(node, walk)?;
                parse(whole.0.expose())
            }
            Value::Table(_) => return table(node, walk).map(Self::Through),
            _ => {
                let from_variable = node.typed.is_some() || matches!(place.spot, Spot::Variable(_));
                let typed = text(node, HELP, walk)?;
                let proxy = parse(&typed);
                if proxy.as_ref().is_ok_and(|proxy| proxy.credentials.is_some()) && !from_variable {
                    walk.warn(&place, format!("a password stands in the file; write {HELP}"));
                }
                proxy
            }
        };
        proxy.map(Self::Through).map_err(|words| walk.wrong(&place, words)).ok()
    }
}

impl JsonSchema for ProxyValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Proxy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "const": false },
            generator.subschema_for::<SecretValue>(),
            generator.subschema_for::<ProxyTable>(),
        ] })
    }
}

fn table(node: Node, walk: &mut Walk<'_>) -> Option<Proxy> {
    let table = ProxyTable::read(node, walk)?;
    let url =
        table.url.required(&table.place, "its url is not said; write url = \"http://proxy:3128\"", walk)?;
    let proxy = parse(&url.value).map_err(|words| walk.wrong(&url.place, words)).ok()?;
    if proxy.credentials.is_some() {
        walk.wrong(&url.place, "holds a user already; leave it out here, or leave out `user` and `password`");
        return None;
    }
    match (&table.user, &table.password) {
        (Field::Missing, Field::Missing) => Some(proxy),
        (Field::Given(user), Field::Given(password)) if !user.value.contains(':') => {
            let both = format!("{}:{}", user.value, password.value.0.expose());
            Some(Proxy { credentials: Some(Secret::new(both)), ..proxy })
        }
        (Field::Given(user), Field::Given(_)) => {
            walk.wrong(&user.place, "a user name with a ':' ends there for the proxy; write one without");
            None
        }
        (Field::Wrong, _) | (_, Field::Wrong) => None,
        _ => {
            walk.wrong(&table.place, "`user` and `password` go together; write both, or none");
            None
        }
    }
}

/// The proxy that the environment names for an https:// `url`, as other programs on
/// this machine read it: `NO_PROXY` exempts hosts, and loopback is never proxied.
pub(super) fn of_environment(url: &Uri, at: &Place, walk: &mut Walk<'_>) -> Option<Proxy> {
    let env: &BTreeMap<String, String> = walk.env;
    let (name, value) =
        VARIABLES.iter().find_map(|name| Some((*name, env.get(*name).filter(|value| !value.is_empty())?)))?;
    let exempt = env.get("NO_PROXY").or_else(|| env.get("no_proxy")).cloned().unwrap_or_default();
    let all = Matcher::builder().https("http://any").no(exempt).build();
    all.intercept(url)?;
    // Without a scheme, as curl takes it.
    let whole = if value.contains("://") { value.clone() } else { format!("http://{value}") };
    let place = Place { spot: Spot::Variable(name.to_owned()), path: at.path.clone() };
    parse(&whole).map_err(|words| walk.wrong(&place, words)).ok()
}

fn parse(url: &str) -> Result<Proxy, &'static str> {
    let help = "not the URL of an HTTP proxy; write one such as \"http://proxy:3128\"";
    let (scheme, rest) = url.split_once("://").ok_or(help)?;
    match scheme {
        "http" => {}
        "https" => {
            return Err(
                "TLS to the proxy itself is not spoken (what goes through it is TLS in any case); write http://",
            );
        }
        _ => return Err("only HTTP proxies are spoken to, by CONNECT; write \"http://proxy:3128\""),
    }
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let authority: Authority = place.strip_suffix('/').unwrap_or(place).parse().map_err(|_| help)?;
    if authority.host().is_empty() {
        return Err(help);
    }
    let credentials = user.map(credentials).transpose()?;
    Ok(Proxy { authority, credentials })
}

/// `user:password`, each decoded once.
fn credentials(typed: &str) -> Result<Secret, &'static str> {
    let (user, password) = typed.split_once(':').unwrap_or((typed, ""));
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
        (!text.chars().any(char::is_control)).then_some(text)
    };
    match (decoded(user).filter(|user| !user.contains(':')), decoded(password)) {
        (Some(user), Some(password)) => Ok(Secret::new(format!("{user}:{password}"))),
        _ => Err(
            "its user or password cannot be sent; percent-encode them as UTF-8, without control characters",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(url: &str) -> Result<(String, Option<String>), &'static str> {
        let proxy = parse(url)?;
        Ok((proxy.authority.to_string(), proxy.credentials.map(|both| both.expose().to_owned())))
    }

    #[test]
    fn urls_of_proxies() {
        let some = |place: &str, both: &str| Ok((place.to_owned(), Some(both.to_owned())));
        assert_eq!(said("http://proxy:3128"), Ok(("proxy:3128".into(), None)));
        assert_eq!(said("http://[::1]:3128/"), Ok(("[::1]:3128".into(), None)));
        assert_eq!(said("http://u:p%40ss@proxy"), some("proxy", "u:p@ss"));
        assert_eq!(said("http://u:p@ss@proxy"), some("proxy", "u:p@ss"), "the last @ divides");
        assert_eq!(said("http://u@proxy"), some("proxy", "u:"));
        for bad in
            ["proxy:3128", "http://", "http:///", "http://a b", "socks5://x", "https://x", "http://u:%00@x"]
        {
            assert!(said(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_environment_is_read_as_others_read_it() {
        let through = |env: &[(&str, &str)], url: &str| {
            let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let mut walk = Walk::new(&env);
            let proxy = of_environment(&url.parse().unwrap(), &Place::root(), &mut walk);
            (proxy.map(|proxy| proxy.authority.to_string()), walk.count())
        };
        let vendor = "https://io.catchpoint.com/x";
        let proxy = (Some("proxy:3128".to_owned()), 0);
        assert_eq!(through(&[("HTTPS_PROXY", "http://proxy:3128")], vendor), proxy);
        assert_eq!(through(&[("https_proxy", "proxy:3128")], vendor), proxy);
        assert_eq!(through(&[("HTTP_PROXY", "http://proxy:3128")], vendor), (None, 0));
        assert_eq!(through(&[("HTTPS_PROXY", "")], vendor), (None, 0));
        assert_eq!(through(&[("HTTPS_PROXY", "ftp://x")], vendor), (None, 1));
        for exempt in ["*", "catchpoint.com", ".catchpoint.com", "a, io.catchpoint.com"] {
            let env = [("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", exempt)];
            assert_eq!(through(&env, vendor), (None, 0), "{exempt}");
        }
        let env = [("HTTPS_PROXY", "http://proxy:3128"), ("no_proxy", "10.0.0.0/8,other.example")];
        assert_eq!(through(&env, vendor), proxy);
        assert_eq!(through(&env, "https://10.1.2.3/"), (None, 0));
    }
}
