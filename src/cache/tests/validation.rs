//! Validation: what is asked, and what a 304 makes of what is stored.

use super::*;

fn refresh(world: &World, entry: &Entry, at: u64, response: &str) -> Refreshed {
    let (method, caller) = parse_request("");
    let exchange = Exchange { sent: now(at).at, received: now(at) };
    entry.refresh(&world.policy(), &asked(&method, &caller), &parse_response(response), &exchange)
}

#[test]
fn the_stored_validators_are_asked_with() {
    // Section 4.3.1.
    let world = World::new(Sharing::Private);
    let caller =
        "if-none-match: \"mine\" | if-modified-since: @-9 | range: bytes=0-1 | if-range: \"x\" | accept: a";
    for (response, sent) in [
        ("200 | cc: max-age=60 | etag: W/\"a\"", "accept: a | if-none-match: W/\"a\""),
        ("200 | cc: max-age=60 | last-modified: @-5", "accept: a | if-modified-since: @-5"),
        (
            "200 | cc: max-age=60 | etag: \"a\" | last-modified: @-5",
            "accept: a | if-none-match: \"a\" | if-modified-since: @-5",
        ),
        ("200 | cc: max-age=60", "accept: a"),
        ("404 | cc: max-age=60 | etag: \"a\"", "accept: a"),
    ] {
        let entry = world.fetch(0, "", response).unwrap();
        let mut headers = fields(caller);
        assert_eq!(entry.condition(&mut headers), fields(sent).len() > 1, "{response}");
        assert_eq!(headers, fields(sent), "{response}");
    }
}

#[test]
fn a_304_renews_what_it_means() {
    // Sections 4.3.4 and 3.2.
    let world = World::new(Sharing::Private);
    let entry = world
        .fetch(0, "", "200 | cc: max-age=60 | etag: \"a\" | x: old | link: 1 | link: 2 | content-encoding: gzip | y: kept")
        .unwrap();
    let response = "304 | etag: \"a\" | x: new | link: 3 | content-encoding: br | content-length: 0 | z: added \
                    | date: @70 | set-cookie: a=b | connection: hop | hop: 1 | retry-after: 5";
    let Refreshed::Updated(updated) = refresh(&world, &entry, 70, response) else { panic!() };
    let mut expected = fields(
        "cc: max-age=60 | etag: \"a\" | x: new | link: 3 | content-encoding: gzip | y: kept | z: added | date: @70",
    );
    expected.insert("date", http_date(70).parse().unwrap());
    assert_eq!(updated.headers(), expected);
    assert_eq!(updated.status(), StatusCode::OK);
    assert_eq!(updated.body().blocks()[0].as_ptr(), entry.body().blocks()[0].as_ptr(), "one body");
    world.cache.insert(world.cache.ticket(), EntryArc::new(updated));
    assert_eq!((world.ask(129, ""), world.ask(130, "")), ("fresh", "stale"));
}

/// The bytes that are kept may be the vendor's in another coding.
#[test]
fn a_304_makes_no_weak_tag_strong() {
    let world = World::new(Sharing::Private);
    for (stored, said, kept) in
        [("W/\"a\"", "\"a\"", "W/\"a\""), ("\"a\"", "W/\"a\"", "W/\"a\""), ("\"a\"", "\"a\"", "\"a\"")]
    {
        let entry = world.fetch(0, "", &format!("200 | cc: max-age=60 | etag: {stored}")).unwrap();
        let refreshed = refresh(&world, &entry, 70, &format!("304 | etag: {said}"));
        let Refreshed::Updated(updated) = refreshed else { panic!("{refreshed:?}") };
        assert_eq!(updated.headers()["etag"], kept, "{stored} / {said}");
    }
}

#[test]
fn a_304_without_a_date_is_of_now() {
    let world = World::new(Sharing::Shared);
    let entry = world.fetch(0, "", "200 | cc: max-age=60 | etag: \"a\" | date: @0").unwrap();
    let Refreshed::Updated(updated) = refresh(&world, &entry, 70, "304 | set-cookie: a=b") else { panic!() };
    assert_eq!(updated.freshness().age(now(70)), Duration::ZERO);
    assert_eq!(updated.headers()["date"], http_date(70));
}

#[test]
fn a_304_means_what_its_validators_say() {
    let world = World::new(Sharing::Private);
    for (stored, response, means) in [
        ("etag: \"a\"", "etag: \"a\"", true),
        ("etag: \"a\"", "etag: W/\"a\"", true),
        ("etag: W/\"a\"", "etag: W/\"a\"", true),
        ("etag: \"a\"", "etag: \"b\"", false),
        ("etag: \"a\"", "x: y", true),
        ("etag: \"a\" | last-modified: @-5", "last-modified: @-5", true),
        ("etag: \"a\" | last-modified: @-5", "last-modified: @-4", false),
        ("last-modified: @-5", "last-modified: @-5", true),
        ("last-modified: @-5", "etag: \"b\" | last-modified: @-5", true),
        ("last-modified: @-5", "last-modified: @-4", false),
    ] {
        let entry = world.fetch(0, "", &format!("200 | cc: max-age=60 | {stored}")).unwrap();
        let refreshed = refresh(&world, &entry, 70, &format!("304 | {response}"));
        assert_eq!(matches!(refreshed, Refreshed::Updated(_)), means, "{stored} / {response}: {refreshed:?}");
    }
}

#[test]
fn a_304_may_end_a_storage() {
    let world = World::new(Sharing::Private);
    let entry = world.fetch(0, "", "200 | cc: max-age=60 | etag: \"a\"").unwrap();
    let Refreshed::Once(once, why) =
        refresh(&world, &entry, 70, "304 | cc: no-store | set-cookie: a=b | age: 3 | connection: close")
    else {
        panic!()
    };
    assert_eq!(why, NotStored::NoStore);
    assert_eq!(once.headers()["cache-control"], "no-store");
    for gone in ["set-cookie", "age", "connection"] {
        assert!(!once.headers().contains_key(gone), "{gone}");
    }
    world.cache.remove(&entry);
    assert_eq!(world.ask(70, ""), "uri-miss");
    assert!(world.cache.is_empty());
}

#[test]
fn a_head_renews_or_ends() {
    // Section 4.3.5.
    let world = World::new(Sharing::Private);
    let entry = world.fetch(0, "", "200 | cc: max-age=60 | etag: \"a\"").unwrap();
    let by_head = |response: &str| {
        let (method, caller) = parse_request("HEAD");
        let exchange = Exchange { sent: now(70).at, received: now(70) };
        entry.refresh_by_head(&world.policy(), &asked(&method, &caller), &parse_response(response), &exchange)
    };
    let length = entry.body().len();
    assert!(matches!(
        by_head(&format!("200 | etag: \"a\" | content-length: {length}")),
        Refreshed::Updated(_)
    ));
    assert!(matches!(by_head("200 | etag: \"b\""), Refreshed::Mismatch));
    assert!(matches!(by_head("200 | etag: \"a\" | content-length: 5"), Refreshed::Mismatch));
    assert!(matches!(by_head("404"), Refreshed::Mismatch));
}

#[test]
fn writes_invalidate_if_they_succeed() {
    // Section 4.4.
    for (method, status, does) in [
        (Method::POST, 200, true),
        (Method::DELETE, 204, true),
        (Method::PUT, 303, true),
        (Method::POST, 400, false),
        (Method::POST, 500, false),
        (Method::GET, 200, false),
        (Method::OPTIONS, 200, false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(crate::cache::invalidate::invalidates(&method, status), does, "{method} {status}");
    }
    assert!(validate::is_error(StatusCode::BAD_GATEWAY) && !validate::is_error(StatusCode::NOT_IMPLEMENTED));
}
