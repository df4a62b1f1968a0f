//! Consumers, what proves them and their seats in the upstreams' plans.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use ipnet::IpNet;

use super::bounds::{self, Between};
use super::divisions::Division;
use super::portions::{self, Sibling};
use super::upstream::{Draft, Seat};
use crate::config::mistake::{Place, Walk, did_you_mean, one_of};
use crate::config::raw;
use crate::config::read::{At, Field};
use crate::config::scalar::{FingerprintText, Per};
use crate::config::{Access, CertificateProof, ClientCacheControl, Consumer, Proof, Rate};
use crate::pattern::Pattern;
use crate::quota::{ConsumerPlan, Quantity, Share};

pub(super) fn consumers(file: &raw::File, drafts: &mut [Draft], walk: &mut Walk<'_>) -> Vec<Consumer> {
    let typed = file.consumers.things();
    apart(typed, walk);
    vendor_keys_as_tokens(typed, drafts, walk);
    let mut consumers = Vec::new();
    for (name, At { value: raw, place }) in typed {
        let proof = proof(raw, place, asks_certificates(file), walk);
        let inbound = inbound(raw, walk);
        let accesses = raw.access.things();
        if raw.access.is_missing() {
            walk.warn(place, format!("may ask nothing yet; write [consumers.{name}.access.UPSTREAM]"));
        }
        let access = accesses
            .iter()
            .filter_map(|(upstream, at)| self::access(name, upstream, (at, file), drafts, walk))
            .collect();
        if let Ok(name) = name.parse() {
            consumers.push(Consumer { name, proof, inbound, access });
        }
    }
    consumers
}

fn proof(raw: &raw::Consumer, place: &Place, certificates_asked: bool, walk: &mut Walk<'_>) -> Proof {
    let from: Vec<IpNet> = raw.from.entries().iter().map(|at| at.value.0).collect();
    if let Some(at) = raw.from.given().filter(|at| at.value.is_empty) {
        walk.wrong(&at.place, "an empty list admits no address; write [\"127.0.0.1/32\"], or leave it out");
    }
    if raw.token.is_missing() && raw.from.is_missing() && raw.certificate.is_missing() {
        walk.wrong(place, "nothing proves it; write token = { sha256 = \"…\" } (`weir token NAME` prints it), or from = [\"ADDRESS\"]");
    }
    if let (Some(at), false) = (raw.certificate.given(), certificates_asked) {
        walk.wrong(
            &at.place,
            "callers are asked for no certificate; write client_ca = \"FILE\" in [server] tls",
        );
    }
    let certificate = raw.certificate.value().and_then(|raw| certificate(raw, walk));
    Proof { token: raw.token.value().map(|token| token.0), from, certificate }
}

fn certificate(raw: &raw::Certificate, walk: &mut Walk<'_>) -> Option<CertificateProof> {
    match (&raw.san, &raw.sha256) {
        (Field::Given(san), Field::Missing) => Some(CertificateProof::San(san.value.0.clone())),
        (Field::Missing, Field::Given(print)) => Some(CertificateProof::Sha256(print.value.0)),
        (Field::Wrong, _) | (_, Field::Wrong) => None,
        _ => {
            walk.wrong(&raw.place, "must name one thing; write { san = \"…\" } or { sha256 = \"…\" }");
            None
        }
    }
}

/// Whether callers can be known by a certificate; what is wrong otherwise may have meant so.
fn asks_certificates(file: &raw::File) -> bool {
    let server = match &file.server {
        Field::Missing => return false,
        Field::Wrong => return true,
        Field::Given(at) => &at.value,
    };
    match &server.tls {
        Field::Missing => false,
        Field::Wrong => true,
        Field::Given(at) => !at.value.client_ca.is_missing(),
    }
}

/// No two consumers with one proof.
fn apart(typed: &[(String, At<raw::Consumer>)], walk: &mut Walk<'_>) {
    let mut tokens: HashMap<[u8; 32], &str> = HashMap::new();
    let mut nets: HashMap<IpNet, &str> = HashMap::new();
    let mut certificates: HashMap<String, &str> = HashMap::new();
    for (name, At { value: raw, .. }) in typed {
        if let Some(token) = raw.token.given() {
            if let Some(other) = tokens.insert(*token.value.0.as_bytes(), name) {
                walk.wrong(
                    &token.place,
                    format!(
                        "is the token of consumer {other} too; make one for each with `weir token {name}`"
                    ),
                );
            }
            continue;
        }
        if !raw.token.is_missing() {
            continue;
        }
        if let Some(at) = raw.certificate.given() {
            if let Some(other) = known_as(&at.value).and_then(|known| certificates.insert(known, name)) {
                walk.wrong(&at.place, format!("is the certificate of consumer {other} too; give one of them a token, or a certificate of its own"));
            }
            continue;
        }
        if !raw.certificate.is_missing() {
            continue;
        }
        for at in raw.from.entries() {
            if let Some(other) = nets.insert(at.value.0, name).filter(|other| other != name) {
                walk.wrong(&at.place, format!("is the only proof of consumer {other} too; give one of them a token, or another address"));
            }
        }
    }
}

/// What a consumer's certificate is looked up by.
fn known_as(raw: &raw::Certificate) -> Option<String> {
    let print = |at: &At<FingerprintText>| data_encoding::HEXLOWER.encode(&at.value.0);
    raw.san.value().map(|san| san.0.clone()).or_else(|| raw.sha256.given().map(print))
}

/// A team that kept its copy of the vendor's key as its token still holds the key.
fn vendor_keys_as_tokens(typed: &[(String, At<raw::Consumer>)], drafts: &[Draft], walk: &mut Walk<'_>) {
    let keys: HashSet<[u8; 32]> = drafts.iter().flat_map(Draft::key_hashes).collect();
    for token in typed.iter().filter_map(|(_, at)| at.value.token.given()) {
        if keys.contains(token.value.0.as_bytes()) {
            walk.warn(
                &token.place,
                "is a vendor key: whoever has this token can go around weir; make one with `weir token NAME`",
            );
        }
    }
}

fn inbound(raw: &raw::Consumer, walk: &mut Walk<'_>) -> Option<Rate> {
    let at = raw.inbound.given()?;
    let requests = u32::try_from(at.value.0.requests).ok().map(NonZeroU32::new);
    let words = match (requests, at.value.0.per) {
        (Some(Some(requests)), Per::Length(per)) => return Some(Rate { requests, per }),
        (Some(None), _) => {
            "a rate of 0 lets nothing in; write at least \"1/1s\", or leave it out for no bound".into()
        }
        (_, Per::Month) => "a rate needs a fixed length; write one such as \"50/1s\"".into(),
        (None, _) => format!("more requests than weir can count; write at most {}", u32::MAX),
    };
    walk.wrong(&at.place, words);
    None
}

/// One consumer's access to one upstream; takes the seat in its plan.
fn access(
    consumer: &str,
    upstream: &str,
    (at, file): (&At<raw::Access>, &raw::File),
    drafts: &mut [Draft],
    walk: &mut Walk<'_>,
) -> Option<Access> {
    let raw = &at.value;
    let allow = allow(raw, walk);
    let max_wait = bounds::duration(&raw.max_wait, Between::WAIT, walk);
    let index = drafts.iter().position(|draft| draft.name == upstream);
    if index.is_none() && !file.upstreams.may_mention(upstream) {
        let names = || drafts.iter().map(|draft| draft.name.as_str());
        let fix = match did_you_mean(upstream, names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if drafts.is_empty() => "write [upstreams.NAME] first".into(),
            None => format!("write {}", one_of(names())),
        };
        walk.wrong(&at.place, format!("there is no upstream of this name; {fix}"));
    }
    let index = index?;
    let draft = &mut drafts[index];
    let reserve = portions::reserve(&raw.reserve, &draft.limits, walk);
    let caps = portions::caps(&raw.caps, &draft.limits, walk);
    portions::within_caps(&reserve, &caps, &at.place, &draft.limits, walk);
    let division = division(raw, at, draft, walk)?;
    let plan = ConsumerPlan { name: consumer.parse().ok()?, division, share: Share(0), reserve, caps };
    draft.seats.push(Seat { place: at.place.clone(), share: raw.share.clone(), plan });
    Some(Access {
        upstream: index,
        seat: draft.seats.len() - 1,
        allow,
        max_wait,
        client_cache_control: raw
            .client_cache_control
            .value()
            .map_or(ClientCacheControl::Honour, |word| word.0),
    })
}

fn allow(raw: &raw::Access, walk: &mut Walk<'_>) -> Option<Vec<Pattern>> {
    let at = raw.allow.given()?;
    if at.value.is_empty {
        walk.wrong(&at.place, "an empty list allows nothing; leave it out for reads, or write [\"GET /**\"]");
    }
    Some(at.value.entries.iter().map(|at| at.value.0.clone()).collect())
}

/// Index of the division that an access names or need not name.
fn division(raw: &raw::Access, at: &At<raw::Access>, draft: &Draft, walk: &mut Walk<'_>) -> Option<usize> {
    let named: Vec<&str> = draft.divisions.iter().filter(|d| d.named).map(|d| d.name.as_str()).collect();
    match &raw.division {
        Field::Wrong => None,
        Field::Missing if !draft.divisions_known => None,
        Field::Missing if named.is_empty() => Some(0),
        Field::Missing => {
            walk.wrong(&at.place, format!("its division is not said; write division = {}", one_of(named)));
            None
        }
        Field::Given(typed) => {
            let found = draft.divisions.iter().position(|d| d.named && d.name == typed.value);
            if found.is_none() && draft.divisions_known {
                let fix = match did_you_mean(&typed.value, named.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None if named.is_empty() => "it has no divisions, so leave this out".into(),
                    None => format!("write {}", one_of(named)),
                };
                walk.wrong(
                    &typed.place,
                    format!("upstream {} has no division of this name; {fix}", draft.name),
                );
            }
            found
        }
    }
}

/// Once all seats are taken: shares within each division, reserves within the account.
pub(super) fn settle(draft: &mut Draft, walk: &mut Walk<'_>) {
    let mut held = Vec::new();
    for index in 0..draft.divisions.len() {
        let members: Vec<usize> =
            (0..draft.seats.len()).filter(|&seat| draft.seats[seat].plan.division == index).collect();
        let siblings: Vec<_> = members
            .iter()
            .map(|&seat| &draft.seats[seat])
            .map(|seat| Sibling { name: seat.plan.name.as_str(), place: &seat.place, share: &seat.share })
            .collect();
        let of_what = match draft.divisions[index].named {
            true => format!("the consumers of division {}", draft.divisions[index].name),
            false => format!("the consumers of upstream {}", draft.name),
        };
        let shares = portions::shares(&siblings, &of_what, walk);
        for (seat, share) in members.iter().zip(shares) {
            draft.seats[*seat].plan.share = share;
        }
        held.push(held_in(draft, index, &members, walk));
    }
    reserves_fit(draft, &held, walk);
}

/// What is held of each limit for a division and its consumers: the larger of
/// its own reserve and the sum of theirs.
fn held_in(draft: &Draft, index: usize, members: &[usize], walk: &mut Walk<'_>) -> Vec<u64> {
    let Division { plan: Some(plan), place, .. } = &draft.divisions[index] else { return Vec::new() };
    let on = |quantities: &[Quantity], limit| {
        quantities
            .iter()
            .find(|quantity| quantity.limit == limit)
            .map(|quantity| u64::from(quantity.requests.get()))
    };
    let mut held = Vec::new();
    for (limit, of) in draft.limits.list.iter().enumerate() {
        let theirs: u64 = members.iter().filter_map(|&seat| on(&draft.seats[seat].plan.reserve, limit)).sum();
        let own = on(&plan.reserve, limit);
        if let Some(own) = own.filter(|own| *own < theirs) {
            walk.warn(
                place,
                format!(
                    "its consumers' reserves on {} add up to {theirs}, its own is {own}; the larger counts",
                    of.name
                ),
            );
        }
        if let Some(cap) = on(&plan.caps, limit).filter(|cap| *cap < theirs) {
            walk.wrong(
                place,
                format!(
                    "its consumers' reserves on {} add up to {theirs}, its cap is {cap}; lower them",
                    of.name
                ),
            );
        }
        held.push(theirs.max(own.unwrap_or(0)));
    }
    held
}

/// `held` is per division and limit.
fn reserves_fit(draft: &Draft, held: &[Vec<u64>], walk: &mut Walk<'_>) {
    for (limit, of) in draft.limits.list.iter().enumerate() {
        let of_division = |held: &Vec<u64>| held.get(limit).copied().unwrap_or(0);
        let sum: u64 = held.iter().map(of_division).sum();
        let holders = draft.divisions.iter().zip(held).filter(|(_, held)| of_division(held) > 0);
        let count = holders.clone().count();
        let last = holders.map(|(division, _)| &division.place).max_by_key(|place| &place.spot);
        let (Some(last), whole) = (last, u64::from(of.requests.get())) else { continue };
        if sum > whole {
            walk.wrong(
                last,
                format!("the reserves on {} add up to {sum}, and there are {whole}; lower them", of.name),
            );
        } else if sum == whole && count < draft.divisions.len() {
            walk.warn(
                last,
                format!(
                    "the reserves take all of {}; whoever has none waits until they are released",
                    of.name
                ),
            );
        }
    }
}
