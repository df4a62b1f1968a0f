//! What a configuration means, for whoever wrote it (`weir check`).
//!
//! The amounts: in a span (a minute, a day) a limit of N per W lets through at
//! most N * max(1, span / W). Of each limit a consumer is sure of its share of
//! its division's share, or of its reserve if that is more; and may take what
//! the smallest cap above it leaves. The tightest limit decides, for a request
//! that all limits count.

mod amounts;
mod text;

use std::fmt::Write as _;

use amounts::{Contention, parked_a_day};
use text::{count, quantities, table};

use super::build::percent;
use super::scalar::spell;
use super::{ClientAuth, Config, Mode, Mount, Scheme, Upstream};
use crate::id::ConsumerName;
use crate::quota::{Calendar, Pace, Routes, Scope, Window};
use crate::secret::TokenHash;

/// The lines of a file that make a consumer known by a token of this hash.
#[must_use]
pub fn consumer_lines(name: &ConsumerName, token: TokenHash) -> String {
    format!("[consumers.{name}]\ntoken = {{ sha256 = \"{}\" }}\n", token.to_hex())
}

/// What was understood and what it means in requests per minute and day.
/// Never a secret; ends without a line break.
#[must_use]
pub fn report(config: &Config) -> String {
    let mut out = String::new();
    if let Some(listen) = config.server.listen {
        line(&mut out, &format!("consumers   http://{listen}"));
    }
    if let Some(tls) = &config.server.tls {
        let certificates = match tls.clients.as_ref().map(|clients| clients.auth) {
            None => "",
            Some(ClientAuth::Required) => " with a client certificate",
            Some(ClientAuth::Optional) => " with or without a client certificate",
        };
        line(&mut out, &format!("consumers   https://{}{certificates}", tls.listen));
    }
    let token = if config.admin.token.is_some() { "with a token" } else { "without a token" };
    line(&mut out, &format!("operators   http://{} {token}", config.admin.listen));
    line(&mut out, &format!("state       {}", config.store.path.display()));
    if let Some(otlp) = &config.otlp {
        let (scheme, origin) = (otlp.origin.scheme.as_str(), &otlp.origin);
        let part = f64::from(otlp.sample_per_million) / 10_000.0;
        line(
            &mut out,
            &format!("traces      {scheme}://{}{}, {part}% of requests", origin.authority, origin.base_path),
        );
    }
    for (index, upstream) in config.upstreams.iter().enumerate() {
        section(&mut out, config, index, upstream);
    }
    if !config.warnings.is_empty() {
        line(&mut out, "\nworth knowing");
        for warning in &config.warnings {
            line(&mut out, &format!("  {warning}"));
        }
    }
    out.trim_end().replace("\n\n\n", "\n\n")
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn section(out: &mut String, config: &Config, index: usize, upstream: &Upstream) {
    let at = match &upstream.mount {
        Mount::Prefix(prefix) if prefix.is_empty() => "/".to_owned(),
        Mount::Prefix(prefix) => prefix.clone(),
        Mount::Host(host) => format!("host {host}"),
    };
    let scheme = match upstream.origin.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    line(out, &format!("\nupstream {} ({})", upstream.name, upstream.dialect.name()));
    line(
        out,
        &format!("  {at} leads to {scheme}://{}{}", upstream.origin.authority, upstream.origin.base_path),
    );
    line(out, &format!("  {}", manner(upstream)));
    if let Some(proxy) = &upstream.transport.proxy {
        let how = if proxy.credentials.is_some() { "with" } else { "without" };
        line(out, &format!("  through the proxy {}, {how} credentials", proxy.authority));
    }
    if upstream.transport.client.is_some() {
        line(out, "  shows a client certificate");
    }
    line(out, "");
    limits(out, upstream);
    keys(out, upstream);
    divisions(out, upstream);
    consumers(out, config, index, upstream);
    rules(out, upstream);
}

fn manner(upstream: &Upstream) -> String {
    let pace = match upstream.plan.pace {
        Pace::Exact => "exact",
        Pace::Even => "even",
        Pace::Auto => "auto",
    };
    let mode = match upstream.mode {
        Mode::Enforce => "",
        Mode::Observe => "; observed only: nothing is delayed or refused",
    };
    format!(
        "waits up to {}, gives up on the vendor after {}, pace {pace}{mode}",
        spell(upstream.max_wait),
        spell(upstream.timeout)
    )
}

fn limits(out: &mut String, upstream: &Upstream) {
    if upstream.plan.limits.is_empty() {
        line(out, "  no limits: everything is let through\n");
        return;
    }
    let rows = upstream.plan.limits.iter().map(|limit| {
        let routes = match &limit.routes {
            Routes::All => "all requests".into(),
            Routes::Class(class) => format!("{} requests", class.0),
            Routes::Patterns(patterns) => {
                patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
        };
        let over = match limit.scope {
            Scope::Account => "the account",
            Scope::Address => "each egress address",
        };
        vec![
            limit.name.to_string(),
            count(limit.requests.get().into()),
            window(&limit.window),
            routes,
            over.into(),
        ]
    });
    table(out, &["limit", "#requests", "in", "counts", "over"], rows.collect());
    if let Some(aside) = &upstream.aside {
        let each = aside.plan.limits.iter().enumerate().map(|(at, limit)| {
            let requests = if aside.lacking.contains(at) { 0 } else { limit.requests.get() };
            format!("{} {requests}", limit.name)
        });
        let each = each.collect::<Vec<_>>().join(", ");
        line(out, &format!("  besides, each replica keeps for the time without Redis: {each}\n"));
    }
}

fn window(window: &Window) -> String {
    match window {
        Window::Sliding(length) => format!("any {}", spell(*length)),
        Window::Calendar(Calendar::Every(length)) => match spell(*length).as_str() {
            "1d" => "each day, 00:00 UTC".into(),
            length => format!("each {length} of UTC"),
        },
        Window::Calendar(Calendar::Daily { at, zone }) => format!("each day, {}", edge(*at, zone)),
        Window::Calendar(Calendar::Monthly { at, zone }) => format!("each month, {}", edge(*at, zone)),
    }
}

fn edge(at: jiff::civil::Time, zone: &jiff::tz::TimeZone) -> String {
    format!("{} {}", at.strftime("%H:%M"), zone.iana_name().unwrap_or("UTC"))
}

fn keys(out: &mut String, upstream: &Upstream) {
    let rows = upstream.keys.iter().flat_map(|key| {
        key.values.iter().map(|value| {
            let expires =
                value.expires.map_or_else(|| "not said".into(), |at| at.to_string()[..10].to_owned());
            vec![key.name.to_string(), expires]
        })
    });
    table(out, &["key", "expires"], rows.collect());
}

fn divisions(out: &mut String, upstream: &Upstream) {
    let plan = &upstream.plan;
    let total: u64 = plan.divisions.iter().map(|division| u64::from(division.share.0)).sum();
    let rows = plan.divisions.iter().zip(&upstream.division_keys).map(|(division, key)| {
        let key = key.map_or_else(|| "none".into(), |key| upstream.keys[key].name.to_string());
        let share = u64::from(division.share.0) * 1_000_000 / total.max(1);
        let parked = parked_a_day(plan, &division.reserve);
        vec![
            division.name.to_string(),
            key,
            percent(share),
            quantities(&division.reserve, plan),
            parked.map_or_else(|| "0".into(), |parked| parked.to_string()),
            quantities(&division.caps, plan),
        ]
    });
    table(out, &["division", "key", "#share", "reserve", "#parks a day", "caps"], rows.collect());
}

fn consumers(out: &mut String, config: &Config, index: usize, upstream: &Upstream) {
    let contention = Contention::of(&upstream.plan);
    let mut rows = Vec::new();
    for consumer in &config.consumers {
        for access in consumer.access.iter().filter(|access| access.upstream == index) {
            let amounts = contention.amounts(access.seat);
            let division = &upstream.plan.divisions[upstream.plan.consumers[access.seat].division];
            let may_ask = match &access.allow {
                None => "reads".to_owned(),
                Some(patterns) => patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            };
            let mut row = vec![consumer.name.to_string(), division.name.to_string()];
            row.extend(amounts.columns());
            row.push(may_ask);
            rows.push(row);
        }
    }
    if rows.is_empty() {
        line(out, "  no consumer may ask it\n");
        return;
    }
    let header =
        ["consumer", "division", "#sure a minute", "#sure a day", "#most a minute", "#most a day", "may ask"];
    table(out, &header, rows);
    if !upstream.plan.limits.is_empty() {
        line(out, "  sure: when everybody wants all at once; most: when everybody else is quiet\n");
    }
}

fn rules(out: &mut String, upstream: &Upstream) {
    let rows = upstream.cache.iter().map(|rule| {
        let lasting =
            |length: Option<std::time::Duration>, none: &str| length.map_or_else(|| none.to_owned(), spell);
        let mut stale = String::new();
        for (what, length) in [
            ("while renewed", rule.stale_while_revalidate),
            ("on errors", rule.stale_if_error),
            ("when limited", rule.stale_if_limited),
        ] {
            if let Some(length) = length {
                let comma = if stale.is_empty() { "" } else { ", " };
                // Writing to a String cannot fail.
                let _ = write!(stale, "{comma}{} {what}", spell(length));
            }
        }
        vec![rule.pattern.to_string(), lasting(rule.ttl, "as the dialect says"), stale]
    });
    table(out, &["cached", "fresh for", "stale for"], rows.collect());
}
