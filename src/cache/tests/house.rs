//! What DESIGN adds to the RFC: who outranks whom, and staleness by rule.

use super::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_rule_outranks_the_dialect_outranks_the_vendor() {
    let mut world = World::new(Sharing::Private).with_rule(|rule| rule.ttl = Some(secs(60)));
    world.default_ttl = Some(secs(20));
    for vendor in ["cc: no-cache", "cc: no-store", "cc: max-age=1", "cc: private", "expires: 0", "x: y"] {
        let entry = world.fetch(0, "", &format!("200 | {vendor}")).unwrap();
        assert_eq!(entry.freshness().source(), freshness::Source::Rule);
        assert_eq!((world.ask(59, ""), world.ask(60, "")), ("fresh", "stale"), "{vendor}");
    }
    world.rule = None;
    for vendor in ["cc: no-cache", "cc: max-age=1", "cc: must-revalidate", "expires: 0", "x: y"] {
        world.fetch(0, "", &format!("200 | {vendor}")).unwrap();
        assert_eq!((world.ask(19, ""), world.ask(20, "")), ("fresh", "stale"), "{vendor}");
    }
    assert_eq!(world.fetch(0, "", "200 | cc: no-store").unwrap_err(), NotStored::NoStore);
    world.default_ttl = None;
    assert_eq!(world.fetch(0, "", "200 | cc: no-cache").unwrap_err(), NotStored::NoUse);
}

#[test]
fn zero_is_do_not_cache() {
    let mut world = World::new(Sharing::Private).with_rule(|rule| rule.ttl = Some(secs(0)));
    assert_eq!(world.fetch(0, "", "200 | cc: max-age=60").unwrap_err(), NotStored::Rule);
    world.rule = None;
    world.default_ttl = Some(secs(0));
    assert_eq!(world.fetch(0, "", "200 | cc: max-age=60").unwrap_err(), NotStored::Dialect);
}

#[test]
fn rules_and_dialects_speak_of_answers_not_of_errors() {
    let mut world = World::new(Sharing::Private).with_rule(|rule| {
        rule.ttl = Some(secs(60));
        rule.negative = vec![(StatusCode::NOT_FOUND, secs(5)), (StatusCode::TOO_MANY_REQUESTS, secs(5))];
    });
    world.default_ttl = Some(secs(60));
    assert_eq!(world.fetch(0, "", "500").unwrap_err(), NotStored::Status);
    assert_eq!(world.fetch(0, "", "401 | cc: max-age=60").unwrap_err(), NotStored::AboutTheKey);
    assert_eq!(world.fetch(0, "", "429").unwrap_err(), NotStored::Status);
    world.fetch(0, "", "404 | cc: no-store").unwrap();
    assert_eq!((world.ask(4, ""), world.ask(5, "")), ("fresh", "stale"));
}

#[test]
fn a_rule_says_how_long_never_for_whom() {
    // Law 10.
    let world = World::new(Sharing::Shared).with_rule(|rule| rule.ttl = Some(secs(60)));
    let refused = |request, response| world.fetch(0, request, response).unwrap_err();
    assert_eq!(refused("", "200 | cc: private"), NotStored::Private);
    assert_eq!(refused("authorization: x", "200 | cc: max-age=5"), NotStored::Authorization);
    assert_eq!(refused("", "200 | vary: *"), NotStored::Vary);
    assert_eq!(refused("", "200 | set-cookie: a=b"), NotStored::SetCookie);
    world.fetch(0, "accept: a", "200 | cc: no-store | vary: accept").unwrap();
    assert_eq!(world.ask(1, "accept: b"), "vary-miss");
}

#[test]
fn a_rule_counts_from_receipt() {
    // A CDN's `Age` or a vendor's slow clock must not eat up the operator's time.
    let world = World::new(Sharing::Private).with_rule(|rule| rule.ttl = Some(secs(60)));
    world.fetch(0, "", "200 | age: 600 | date: @-900").unwrap();
    let hit = world.hit(59, "");
    assert_eq!((hit.age, hit.ttl), (secs(959), 1), "the age told is honest all the same");
    assert_eq!(world.ask(60, ""), "stale");
}

#[test]
fn ignored_fields_are_not_seen() {
    let ignore = |names: &[&str]| {
        World::new(Sharing::Private)
            .with_rule(|rule| rule.ignore = names.iter().map(|name| name.parse().unwrap()).collect())
    };
    let world = ignore(&["cache-control"]);
    world.fetch(0, "", "200 | cc: no-store | expires: @60").unwrap();
    assert_eq!(world.ask(59, ""), "fresh");
    let world = ignore(&["vary", "age", "expires"]);
    world.fetch(0, "accept: a", "200 | cc: max-age=60 | vary: * | age: 90 | expires: 0").unwrap();
    assert_eq!(world.ask(59, "accept: b"), "fresh");
}

#[test]
fn posts_are_kept_where_a_rule_says_so() {
    let world = World::new(Sharing::Private).with_rule(|rule| rule.methods = vec![Method::POST]);
    world.fetch(0, "POST", "200 | cc: max-age=60").unwrap();
    assert_eq!((world.ask(1, "POST"), world.ask(1, "GET")), ("fresh", "uri-miss"));
}

#[test]
fn bodies_over_the_bound_are_not_kept() {
    let world = World::new(Sharing::Private).with_rule(|rule| rule.max_bytes = 30);
    assert_eq!(
        world.fetch(0, "", "200 | cc: max-age=60 | content-length: 31").unwrap_err(),
        NotStored::TooLarge
    );
    let long = format!("200 | cc: max-age=60 | x: {}", "y".repeat(30));
    assert_eq!(world.fetch(0, "", &long).unwrap_err(), NotStored::TooLarge);
    assert!(world.fetch(0, "", "200 | cc: max-age=60").is_ok());
}

/// Whether a stale answer may be given on each occasion, in their order.
fn windows(world: &World, at: u64, request: &str) -> [bool; 3] {
    let stale = world.stale(at, request);
    [Occasion::Revalidating, Occasion::Error, Occasion::Limited]
        .map(|on| stale.may_serve(on, now(at)).is_some())
}

#[test]
fn staleness_by_header_ends_on_time_and_where_forbidden() {
    // RFC 5861, sections 3 and 4; RFC 9111, section 4.2.4.
    let fetched = |cc: &str, sharing| {
        let world = World::new(sharing);
        world.fetch(0, "", &format!("200 | etag: \"a\" | cc: max-age=60, {cc}")).unwrap();
        world
    };
    let both = "stale-while-revalidate=10, stale-if-error=20";
    let world = fetched(both, Sharing::Shared);
    assert_eq!(windows(&world, 70, ""), [true, true, false]);
    assert_eq!(windows(&world, 71, ""), [false, true, false]);
    assert_eq!(windows(&world, 81, ""), [false, false, false]);
    for forbidden in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let world = fetched(&format!("{both}, {forbidden}"), Sharing::Shared);
        assert_eq!(windows(&world, 61, ""), [false; 3], "{forbidden}");
    }
    let world = fetched(&format!("{both}, proxy-revalidate"), Sharing::Private);
    assert_eq!(windows(&world, 61, ""), [true, true, false]);
    // The caller may ask for it, and may refuse it.
    let world = fetched("x", Sharing::Shared);
    assert_eq!(windows(&world, 65, "cc: stale-if-error=5"), [false, true, false]);
    assert_eq!(windows(&world, 66, "cc: stale-if-error=5"), [false; 3]);
    let world = fetched(both, Sharing::Shared);
    for refuses in ["no-cache", "max-age=600", "min-fresh=1", "max-age=0"] {
        assert_eq!(windows(&world, 61, &format!("cc: {refuses}")), [false; 3], "{refuses}");
    }
    assert_eq!(world.ask(61, "cc: only-if-cached"), "stale", "may be answered while it is renewed");
}

#[test]
fn staleness_by_rule_holds_whatever_the_vendor_says() {
    let world = World::new(Sharing::Private).with_rule(|rule| {
        rule.stale_while_revalidate = Some(secs(10));
        rule.stale_if_error = Some(secs(20));
        rule.stale_if_limited = Some(secs(30));
    });
    for vendor in ["no-cache, max-age=60", "must-revalidate, max-age=60, stale-if-error=900"] {
        world.fetch(0, "", &format!("200 | cc: {vendor}")).unwrap();
        assert_eq!(windows(&world, 70, ""), [true, true, true], "{vendor}");
        assert_eq!(windows(&world, 80, ""), [false, true, true], "{vendor}");
        assert_eq!(windows(&world, 90, ""), [false, false, true], "{vendor}");
        assert_eq!(windows(&world, 91, ""), [false; 3], "{vendor}");
        assert_eq!(windows(&world, 61, "cc: no-cache"), [false; 3], "{vendor}");
    }
    let stale = world.stale(70, "");
    let hit = stale.may_serve(Occasion::Limited, now(85)).unwrap();
    assert_eq!((hit.age, hit.ttl), (secs(85), -25), "asked again when the time has come");
}

#[test]
fn flights_are_shared_as_far_as_they_may() {
    let fate = |sharing, request: &str, response: &str| {
        let world = World::new(sharing);
        let (method, caller) = parse_request(request);
        let exchange = Exchange { sent: now(0).at, received: now(0) };
        let admitted = world.policy().admit(&asked(&method, &caller), &parse_response(response), &exchange);
        let fate = world.policy().fate(&admitted);
        (
            fate.keep_bytes.is_some(),
            fate.followers,
            fate.open_until.map(|at| at.since(now(0).at)),
            fate.lasting,
        )
    };
    let (shared, private) = (Sharing::Shared, Sharing::Private);
    let minute = Some(secs(60));
    assert_eq!(fate(shared, "", "200 | cc: max-age=60"), (true, true, minute, false));
    assert_eq!(fate(shared, "", "200 | cc: private, max-age=60"), (false, false, None, true));
    assert_eq!(fate(shared, "authorization: x", "200 | cc: max-age=60"), (false, false, None, true));
    assert_eq!(fate(shared, "", "200 | cc: no-cache | etag: \"a\""), (true, false, None, true));
    assert_eq!(fate(shared, "", "503"), (false, false, None, false));
    assert_eq!(fate(private, "", "200 | cc: max-age=60 | age: 10"), (true, true, Some(secs(50)), false));
    assert_eq!(fate(private, "", "200 | cc: no-cache | etag: \"a\""), (true, true, None, false));
    assert_eq!(fate(private, "", "200 | cc: no-store"), (false, true, None, true));
    assert_eq!(fate(private, "", "503"), (false, true, None, false));
    let large = format!("200 | cc: max-age=60 | content-length: {}", policy::DEFAULT_MAX_BYTES + 1);
    assert_eq!(fate(shared, "", &large), (false, true, None, true));
}

#[test]
fn followers_do_not_see_what_is_about_the_asker() {
    let world = World::new(Sharing::Private);
    let mut headers = fields("set-cookie: a=b | retry-after: 5 | x: y");
    world.policy().strip_for_followers(&mut headers);
    assert_eq!(headers, fields("x: y"));
}

#[test]
fn callers_whose_directives_do_not_count_are_not_heard() {
    let world = World::new(Sharing::Private);
    world.fetch(0, "", "200 | cc: max-age=60").unwrap();
    let caller = fields("cc: no-cache, no-store");
    let asked = Asked::new(&Method::GET, &caller, &caller, ClientCacheControl::Ignore);
    assert!(asked.directives.allow_joining());
    let lookup = world.cache.lookup(&key(&Method::GET), &world.policy(), &asked, now(1));
    assert!(matches!(lookup, Lookup::Fresh(_)));
    for alone in ["no-cache", "no-store", "max-age=0"] {
        assert!(
            !self::asked(&Method::GET, &fields(&format!("cc: {alone}"))).directives.allow_joining(),
            "{alone}"
        );
    }
}
