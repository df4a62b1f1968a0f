//! A slow, literal reading of RFC 9111 that shares no code with the cache: lists
//! of strings, whole seconds, every condition in the RFC's order. Random
//! histories of one URL must be decided alike.

use proptest::prelude::*;

use super::histories::{Step, steps};
use super::*;

/// One field line.
type Line = (String, String);

#[derive(Clone)]
struct Message {
    status: u16,
    lines: Vec<Line>,
}

struct StoredResponse {
    request: Message,
    /// What counts of it here.
    response: Message,
    /// All of it.
    received: Message,
    request_time: i64,
    response_time: i64,
}

/// A cache as the RFC describes it.
struct Oracle {
    shared: bool,
    stored: Vec<StoredResponse>,
}

impl Message {
    fn parse(text: &str) -> Self {
        let mut parts = text.split('|').map(str::trim).filter(|part| !part.is_empty()).peekable();
        let status = parts.peek().and_then(|first| first.parse().ok());
        if status.is_some() {
            parts.next();
        }
        let line = |part: &str| {
            let (name, value) = part.split_once(':').unwrap();
            let name = if name == "cc" { "cache-control" } else { name };
            (name.to_owned(), value.trim().to_owned())
        };
        Self { status: status.unwrap_or(0), lines: parts.map(line).collect() }
    }

    /// RFC 9213, section 2.2: a targeted field that is well-formed and not empty counts in
    /// the place of `Cache-Control` and `Expires`, where the cache is of its target.
    fn as_seen(&self, shared: bool) -> Self {
        let targeted = self.values("cdn-cache-control").join(",");
        let mut members = targeted.split(',').map(str::trim);
        let is_key = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase());
        if !shared || targeted.is_empty() || !members.all(|member| is_key(member) && !member.contains(' ')) {
            return self.clone();
        }
        let mut seen = self.clone();
        seen.lines.retain(|(name, _)| name != "cache-control" && name != "expires");
        seen.lines.push(("cache-control".to_owned(), targeted));
        seen
    }

    fn values(&self, name: &str) -> Vec<&str> {
        self.lines.iter().filter(|(is, _)| is == name).map(|(_, value)| value.as_str()).collect()
    }

    fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    /// All Cache-Control directives, in order: names folded, arguments unquoted.
    fn directives(&self) -> Vec<(String, Option<String>)> {
        let mut members = vec![String::new()];
        for c in self.values("cache-control").join(",").chars() {
            let last = members.len() - 1;
            let in_quotes = members[last].matches('"').count() % 2 == 1;
            if c == ',' && !in_quotes { members.push(String::new()) } else { members[last].push(c) }
        }
        members
            .iter()
            .map(|member| match member.trim().split_once('=') {
                None => (member.trim().to_lowercase(), None),
                Some((name, value)) => (name.to_lowercase(), Some(value.trim_matches('"').to_owned())),
            })
            .filter(|(name, _)| !name.is_empty())
            .collect()
    }

    fn directive(&self, name: &str) -> Vec<Option<String>> {
        self.directives().into_iter().filter(|(is, _)| is == name).map(|(_, argument)| argument).collect()
    }

    fn says(&self, name: &str) -> bool {
        !self.directive(name).is_empty()
    }

    fn says_unqualified(&self, name: &str) -> bool {
        self.directive(name).iter().any(Option::is_none)
    }

    /// A lifetime in a response: contradictions and what is no number are stale.
    fn lifetime(&self, name: &str) -> Option<i64> {
        let all = self.directive(name);
        let first = all.first()?;
        let number = first.as_ref().and_then(|text| number(text));
        Some(if all.iter().all(|one| one == first) { number.unwrap_or(0) } else { 0 })
    }

    /// A demand in a request: all of them hold, what is no number is the worst.
    fn demands(&self, name: &str, worst: i64) -> Vec<i64> {
        let seconds = |argument: Option<String>| argument.and_then(|text| number(&text)).unwrap_or(worst);
        self.directive(name).into_iter().map(seconds).collect()
    }
}

fn number(text: &str) -> Option<i64> {
    (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).then(|| text.parse().unwrap())
}

/// `@N` is N seconds after the start; everything else in these histories is no date.
fn date(text: &str) -> Option<i64> {
    text.strip_prefix('@').map(|offset| offset.parse().unwrap())
}

impl StoredResponse {
    fn new(shared: bool, request: Message, received: Message, (sent, came): (i64, i64)) -> Self {
        let response = received.as_seen(shared);
        Self { request, response, received, request_time: sent, response_time: came }
    }

    /// Section 4.2.3, in its own names.
    fn current_age(&self, now: i64) -> i64 {
        let age = self.response.values("age").join(",");
        let age_value = age.split(',').next().and_then(|first| number(first.trim())).unwrap_or(0);
        let apparent_age = (self.response_time - self.date_value()).max(0);
        let response_delay = self.response_time - self.request_time;
        let corrected_age_value = age_value + response_delay;
        let corrected_initial_age = apparent_age.max(corrected_age_value);
        let resident_time = now - self.response_time;
        corrected_initial_age + resident_time
    }

    fn date_value(&self) -> i64 {
        self.response.values("date").first().and_then(|text| date(text)).unwrap_or(self.response_time)
    }

    /// Section 4.2.1.
    fn freshness_lifetime(&self, shared: bool) -> i64 {
        if shared && self.response.says("s-maxage") {
            return self.response.lifetime("s-maxage").unwrap();
        }
        if self.response.says("max-age") {
            return self.response.lifetime("max-age").unwrap();
        }
        let expires = self.response.values("expires");
        match expires.first() {
            Some(first) if expires.iter().all(|one| one == first) => {
                date(first).map_or(0, |at| (at - self.date_value()).max(0))
            }
            _ => 0,
        }
    }

    /// Section 4.2.4.
    fn stale_prohibited(&self, shared: bool) -> bool {
        let says = |name| self.response.says(name);
        says("must-revalidate")
            || says_no_cache(&self.response)
            || (shared && (says("proxy-revalidate") || says("s-maxage")))
    }

    /// Section 4.1.
    fn selected_by(&self, request: &Message) -> bool {
        let vary = self.response.values("vary").join(",");
        let mut names = vary.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.all(|name| name != "*" && normal(&self.request, name) == normal(request, name))
    }
}

fn says_no_cache(response: &Message) -> bool {
    response.says_unqualified("no-cache")
}

fn normal(request: &Message, name: &str) -> Option<Vec<String>> {
    let values = request.values(&name.to_lowercase());
    let members = values.iter().flat_map(|value| value.split(',')).map(|member| member.trim().to_owned());
    (!values.is_empty()).then(|| members.collect())
}

impl Oracle {
    /// Section 3, then what this house adds.
    fn may_store(&self, new: &StoredResponse) -> bool {
        let (request, response) = (&new.request, &new.response);
        let understood = [200, 302, 404, 410, 500].contains(&response.status);
        if response.status == 206 || (response.says("must-understand") && !understood) {
            return false;
        }
        if response.says("no-store") && !response.says("must-understand") {
            return false;
        }
        if request.says("no-store") || (self.shared && response.says_unqualified("private")) {
            return false;
        }
        let for_all = response.says_unqualified("public") || response.says("s-maxage");
        if self.shared && request.has("authorization") && !for_all && !response.says("must-revalidate") {
            return false;
        }
        let explicit = response.says_unqualified("public")
            || (!self.shared && response.says("private"))
            || response.has("expires")
            || response.says("max-age")
            || (self.shared && response.says("s-maxage"));
        if !explicit && ![200, 404, 410].contains(&response.status) {
            return false;
        }
        self.house_keeps(new, for_all)
    }

    /// Not in the RFC: cookies, and what could never be used.
    fn house_keeps(&self, new: &StoredResponse, for_all: bool) -> bool {
        let response = &new.response;
        if self.shared && response.has("set-cookie") && !for_all {
            return false;
        }
        let fresh = new.freshness_lifetime(self.shared) > new.current_age(new.response_time);
        let validators = response.has("etag") || response.has("last-modified");
        let windows =
            ["stale-while-revalidate", "stale-if-error"].map(|name| response.lifetime(name).unwrap_or(0));
        (fresh && !says_no_cache(response))
            || (response.status == 200 && validators)
            || (windows.iter().any(|window| *window > 0) && !new.stale_prohibited(self.shared))
    }

    fn forward(&mut self, new: StoredResponse) {
        if new.response.values("vary").join(",").contains('*') || !self.may_store(&new) {
            return;
        }
        let names = |stored: &StoredResponse| stored.response.values("vary").join(",");
        self.stored.retain(|old| !(names(old) == names(&new) && old.selected_by(&new.request)));
        self.stored.push(new);
    }

    /// Section 4.3.5: of a 200 to a HEAD that could have been answered with a stored
    /// response, the header fields update it if the validators and the length agree, and
    /// otherwise it is made invalid.
    fn head(&mut self, request: &Message, response: &Message, now: i64) {
        let ("validate", Some(stored)) = self.ask(request, now) else { return };
        if response.status != 200 {
            return;
        }
        let at = self.stored.iter().position(|one| std::ptr::eq(one, stored)).unwrap();
        let old = self.stored.remove(at);
        let agrees = |name| !response.has(name) || response.values(name) == old.received.values(name);
        let same_length = !response.has("content-length");
        if old.received.status != 200 || !agrees("etag") || !agrees("last-modified") || !same_length {
            return;
        }
        // Section 3.2; what is about the message itself was not stored.
        let mut merged = old.received;
        let gone = |name: &str| ["age", "date", "set-cookie"].contains(&name) || response.has(name);
        merged.lines.retain(|(name, _)| !gone(name));
        merged.lines.extend(response.lines.iter().cloned());
        let new = StoredResponse::new(self.shared, request.clone(), merged, (now, now));
        if self.may_store(&new) {
            self.stored.push(new);
        }
    }

    /// Section 4.4, for the one URL `https://api.example/a` that is stored: "A cache
    /// MUST invalidate the target URI when it receives a non-error status code in
    /// response to an unsafe request method", and MAY what `Location` names.
    fn write(&mut self, method: &str, path: &str, status: u16, location: &str) {
        let is_safe = ["GET", "HEAD", "OPTIONS", "TRACE"].contains(&method);
        let is_error = !(200..400).contains(&status);
        let names_it = ["/a", "a", "https://API.example:443/a?q"].contains(&location);
        if !is_safe && !is_error && (path == "/a" || names_it) {
            self.stored.clear();
        }
    }

    /// Section 4: the decision, and which stored response it is about.
    fn ask(&self, request: &Message, now: i64) -> (&'static str, Option<&StoredResponse>) {
        let selected = self.stored.iter().filter(|stored| stored.selected_by(request));
        let none = if request.says("only-if-cached") { "504" } else { "miss" };
        // The last of equals is the one received last.
        let Some(stored) = selected.max_by_key(|stored| (stored.date_value(), stored.response_time)) else {
            return (none, None);
        };
        let validate = if request.says("only-if-cached") && !self.may_revalidate_behind(stored, request, now)
        {
            "504"
        } else {
            "validate"
        };
        let pragma = !request.has("cache-control") && request.values("pragma").join(",").contains("no-cache");
        if request.says("no-cache") || pragma || says_no_cache(&stored.response) {
            return (validate, Some(stored));
        }
        let (age, lifetime) = (stored.current_age(now), stored.freshness_lifetime(self.shared));
        if request.demands("max-age", 0).iter().any(|most| age > *most) {
            return (validate, Some(stored));
        }
        if request.demands("min-fresh", i64::MAX).iter().any(|least| (lifetime - age).max(0) < *least) {
            return (validate, Some(stored));
        }
        if lifetime > age {
            return ("fresh", Some(stored));
        }
        // Sections 4.2.4 and 5.2.1.2; `min-fresh` beside it asks for freshness.
        let tolerates = request.directive("max-stale").iter().all(|argument| match argument {
            None => true,
            Some(text) => age - lifetime <= number(text).unwrap_or(0),
        });
        let stale_allowed = request.says("max-stale") && tolerates && !request.says("min-fresh");
        if stale_allowed && !stored.stale_prohibited(self.shared) {
            return ("fresh", Some(stored));
        }
        (validate, Some(stored))
    }

    /// RFC 5861, section 3.
    fn may_revalidate_behind(&self, stored: &StoredResponse, request: &Message, now: i64) -> bool {
        let refuses = ["no-cache", "max-age", "min-fresh"].iter().any(|name| request.says(name));
        let window = stored.response.lifetime("stale-while-revalidate").unwrap_or(0);
        let staleness = stored.current_age(now) - stored.freshness_lifetime(self.shared);
        !refuses && window > 0 && staleness <= window && !stored.stale_prohibited(self.shared)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn decides_as_a_literal_reading_does(shared in any::<bool>(), steps in steps()) {
        let world = World::new(if shared { Sharing::Shared } else { Sharing::Private });
        let mut oracle = Oracle { shared, stored: Vec::new() };
        let mut at = 0_u64;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Tick(secs) => at += secs,
                Step::Write { method, path, status, location } => {
                    world.write(method, path, status, location);
                    oracle.write(method, path, status, location);
                }
                Step::Forward { request, response, delay } => {
                    let response = format!("{response} | x-number: {number}");
                    let _ = world.fetch_slowly(at, at + delay, &request, &response);
                    let (request, received) = (Message::parse(&request), Message::parse(&response));
                    let times = (at as i64, (at + delay) as i64);
                    oracle.forward(StoredResponse::new(shared, request, received, times));
                    at += delay;
                }
                Step::Head { request, response } => {
                    let response = format!("{response} | x-number: {number}");
                    world.head(at, &request, &response);
                    oracle.head(&Message::parse(&request), &Message::parse(&response), at as i64);
                }
                Step::Ask { request } => {
                    let (expected, stored) = oracle.ask(&Message::parse(&request), at as i64);
                    let (is, entry, age) = match world.lookup(at, &request) {
                        Lookup::Fresh(hit) => ("fresh", Some(hit.entry), Some(hit.age)),
                        Lookup::Stale(stale) => ("validate", Some(stale.entry), None),
                        Lookup::Miss(_) => ("miss", None, None),
                        Lookup::OnlyIfCached => ("504", None, None),
                    };
                    prop_assert_eq!(is, expected, "step {} at {}: {}", number, at, request);
                    if let Some(entry) = entry {
                        let stored = stored.unwrap();
                        prop_assert_eq!(&entry.headers()["x-number"], stored.response.values("x-number")[0]);
                        if let Some(age) = age {
                            prop_assert_eq!(age.as_secs() as i64, stored.current_age(at as i64));
                        }
                    }
                }
            }
        }
    }
}
