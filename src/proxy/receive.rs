//! The vendor's answer, from its head to its last byte: passed on to whoever
//! listens, edited as it streams in, and stored before the flight ends.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::Lane;
use super::edit::Edit;
use super::fault::Fault;
use super::fetch::{FetchLead, Sent, Told};
use super::headers;
use super::wish::Wish;
use super::written;
use crate::cache::answer;
use crate::cache::validate::Refreshed;
use crate::cache::{Cache, EntryArc, Head, MAX_SHARED_BYTES, NotStored, Pushed, Storable, Ticket};
use crate::dialect::{Keeping, Rewritten};
use crate::upstream::UpstreamBody;

/// What is known of an answer when its body begins.
struct Begun {
    storable: Result<Storable, NotStored>,
    ticket: Ticket,
    edit: Edit,
    body: UpstreamBody,
}

/// The head has come: a 304 renews what is stored, anything else is passed on.
pub(super) async fn receive(
    wish: &Wish,
    stale: Option<&EntryArc>,
    response: Response<UpstreamBody>,
    mut sent: Sent,
    mut lead: FetchLead,
) {
    let (parts, body) = response.into_parts();
    let lane = &wish.lane;
    let mut head = Head { status: parts.status, headers: parts.headers };
    written::answered(wish, head.status, &head.headers).await;
    headers::from_vendor(&mut head.headers, lane.is_keyless());
    rewrite_location(lane, &mut head.headers);
    let upstream_time = sent.exchange.received.at.since(sent.exchange.sent);
    let price = lane.price_there(&head.headers);
    let told = |not_stored| {
        let (granted, status, route) = (sent.granted, parts.status, Some(sent.route));
        Told { granted, upstream_time, status, not_stored, price, route }
    };
    if let (Some(stale), StatusCode::NOT_MODIFIED) = (stale, head.status) {
        let _ = lead.shared().told.set(told(None));
        if wish.undoes_gzip {
            answer::forget_bytes(&mut head.headers);
        }
        return renew(wish, stale, &head, &sent, lead);
    }
    let edits = lane.config.dialect.edits(wish.target.path(), &head.headers, &lane.links);
    let edit = Edit::of(&mut head.headers, wish.undoes_gzip, edits);
    if let (Some(stale), &Method::HEAD) = (stale, &wish.method) {
        learn_from_head(wish, stale, &head, &sent);
    }
    let policy = wish.policy();
    let storable = match (wish.shareable, lane.config.dialect.may_keep(head.status)) {
        (true, true) => policy.admit(&wish.asked(), &head, &sent.exchange),
        (true, false) => Err(NotStored::Dialect),
        (false, _) => Err(NotStored::Method),
    };
    let fate = policy.fate(&storable);
    // What no end of the body can prove whole is shared while it streams, but not kept.
    let unproven = !edit.is_judged() && lane.config.dialect.keeping(None) != Keeping::May;
    let not_stored = storable.as_ref().err().copied().or(unproven.then_some(NotStored::Dialect));
    let _ = lead.shared().told.set(told(not_stored));
    if let Some(claim) = sent.claim.as_mut().filter(|_| not_stored.is_some() || is_too_long(&head.headers)) {
        claim.alone();
    }
    lead.head(head, fate, lane.clock.now());
    let begun = Begun { storable, ticket: sent.ticket, edit, body };
    pump(wish, begun, lead).await;
}

/// Whether other replicas would not find it in Redis.
fn is_too_long(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: u64| length > MAX_SHARED_BYTES)
}

/// The body, edited as it streams in; stored, if it may be, before the flight ends, and
/// before the last byte is handed on: who has all of it may come back at once.
async fn pump(wish: &Wish, begun: Begun, mut lead: FetchLead) {
    let Begun { storable, ticket, mut edit, mut body } = begun;
    // Of a body whose length was told; any other ends with the flight.
    let mut last = Bytes::new();
    while let Some(frame) = body.frame().await {
        let chunk = match frame.map(http_body::Frame::into_data) {
            Ok(Ok(chunk)) => chunk,
            // Trailers: nothing of theirs is passed on.
            Ok(Err(_)) => continue,
            Err(error) => return lead.fail(Fault::Body(error)),
        };
        for part in edit.parts(chunk) {
            let Ok(out) = edit.push(part) else { return lead.fail(Fault::Corrupt) };
            let out = if body.is_end_stream() { std::mem::replace(&mut last, out) } else { out };
            if !out.is_empty() && lead.push(out).await == Pushed::Nobody {
                return;
            }
        }
    }
    let Ok((rest, observed)) = edit.finish() else { return lead.fail(Fault::Corrupt) };
    if let Some(link) = observed.as_ref().and_then(|observed| observed.foreign.as_deref()) {
        tracing::warn!(upstream = %wish.lane.config.name, ?link, "a link to elsewhere was left out of an answer");
    }
    if let Some(removed) = observed.as_ref().and_then(|observed| observed.removed.as_ref()) {
        wish.lane.learn_usage(removed);
    }
    let tail = [last, rest];
    let keeping = wish.lane.config.dialect.keeping(observed.as_ref());
    if let (Ok(storable), Keeping::May, Some(body)) = (storable, keeping, lead.body(&tail)) {
        // A body that grew too large on the way is simply not kept.
        if let Ok(entry) = storable.entry(&wish.key, body) {
            wish.lane.cache.insert(ticket, entry.into());
        }
    }
    for piece in tail.into_iter().filter(|piece| !piece.is_empty()) {
        if lead.push(piece).await == Pushed::Nobody {
            return;
        }
    }
    lead.finish();
}

/// A 304 to what was stored (RFC 9111, section 4.3.4).
fn renew(wish: &Wish, stale: &EntryArc, head: &Head, sent: &Sent, lead: FetchLead) {
    let cache: &Cache = &wish.lane.cache;
    match stale.refresh(&wish.policy(), &wish.asked(), head, &sent.exchange) {
        Refreshed::Updated(entry) => {
            let entry = EntryArc::new(entry);
            cache.insert(sent.ticket, EntryArc::clone(&entry));
            lead.land(entry);
        }
        Refreshed::Once(entry, _) => {
            cache.remove(stale);
            lead.land(entry.into());
        }
        // Dropping the lead sends the callers back to look again: they find nothing
        // stored, and ask without conditions.
        Refreshed::Mismatch => cache.remove(stale),
    }
}

/// A HEAD's answer tells of what a GET stored: it is renewed, or dropped (RFC 9111,
/// section 4.3.5). Not where bodies are edited, whose length and tag are no longer
/// the vendor's.
fn learn_from_head(wish: &Wish, stale: &EntryArc, head: &Head, sent: &Sent) {
    let cache: &Cache = &wish.lane.cache;
    if head.status != StatusCode::OK || wish.lane.config.dialect.edits_bodies(wish.target.path()) {
        return;
    }
    match stale.refresh_by_head(&wish.policy(), &wish.asked(), head, &sent.exchange) {
        Refreshed::Updated(entry) => {
            cache.insert(sent.ticket, entry.into());
        }
        Refreshed::Once(..) | Refreshed::Mismatch => cache.remove(stale),
    }
}

/// A `Location` that points to the vendor leads back through weir; another is dropped.
fn rewrite_location(lane: &Lane, headers: &mut HeaderMap) {
    let mut all = headers.get_all(LOCATION).iter();
    let (Some(first), second) = (all.next(), all.next()) else { return };
    // Two, or one that is not text: who knows which host a client would read in it.
    let rewritten = match (first.to_str(), second) {
        (Ok(location), None) => lane.links.rewrite(location),
        _ => Rewritten::Foreign,
    };
    match rewritten {
        Rewritten::Same => {}
        Rewritten::To(link) => match HeaderValue::try_from(link) {
            Ok(link) => drop(headers.insert(LOCATION, link)),
            Err(_) => drop(headers.remove(LOCATION)),
        },
        Rewritten::Foreign => {
            tracing::warn!(upstream = %lane.config.name, "a Location to elsewhere was dropped");
            headers.remove(LOCATION);
        }
    }
}
