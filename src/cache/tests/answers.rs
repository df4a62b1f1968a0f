//! Forms of one stored answer: 304, 206, 416, HEAD.

use http_body::Body as _;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::super::answer::is_not_modified;
use super::*;

/// A stored answer of 26 bytes in three blocks, with both validators.
fn stored(response: &str) -> Hit {
    let world = World::new(Sharing::Private);
    let (method, caller) = parse_request("");
    let exchange = Exchange { sent: now(0).at, received: now(0) };
    let storable =
        world.policy().admit(&asked(&method, &caller), &parse_response(response), &exchange).unwrap();
    let body = Body::of(&[Bytes::from_static(b"abcdefghijklmnopqrstuvwxyz")]);
    Hit::at(EntryArc::new(storable.entry(&key(&method), body).unwrap()), now(5))
}

fn answer(hit: &Hit, request: &str) -> (u16, String, HeaderMap) {
    let (method, caller) = parse_request(request);
    let mut answer = hit.answer(&method, &caller, Shape::Stored);
    // As hyper frames it.
    if method != Method::HEAD && !matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        let length = answer.body.size_hint().exact().unwrap();
        assert!(answer.headers.insert("content-length", length.into()).is_none(), "said once");
    }
    let body = pollster(answer.body);
    (answer.status.as_u16(), body, answer.headers)
}

/// The body is in memory: collecting it never waits.
fn pollster(body: AnswerBody) -> String {
    let mut collected = std::pin::pin!(body.collect());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match collected.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(Ok(body)) => String::from_utf8(body.to_bytes().to_vec()).unwrap(),
        _ => panic!("a stored body waited"),
    }
}

const WHOLE: &str = "200 | cc: max-age=60 | etag: \"a\" | last-modified: @-100 | content-type: text/plain | date: @0 \
     | vary: accept | access-control-allow-origin: * | content-length: 26";

#[test]
fn whole_answers_have_age_and_length() {
    let (status, body, headers) = answer(&stored(WHOLE), "");
    assert_eq!((status, body.as_str()), (200, "abcdefghijklmnopqrstuvwxyz"));
    assert_eq!(
        (&headers["age"], &headers["content-length"]),
        (&"5".parse().unwrap(), &"26".parse().unwrap())
    );
    let (status, body, headers) = answer(&stored(WHOLE), "HEAD | range: bytes=0-1");
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(headers["content-length"], "26", "RFC 9110, section 8.6");
    assert!(!answer(&stored("204 | cc: max-age=60"), "").2.contains_key("content-length"));
}

#[test]
fn conditions_are_answered_here() {
    // RFC 9111, section 4.3.2; RFC 9110, sections 13.1.2 and 13.1.3.
    for (request, status) in [
        ("if-none-match: \"a\"", 304),
        ("if-none-match: W/\"a\"", 304),
        ("if-none-match: \"x\", W/\"y,\", \"a\"", 304),
        ("if-none-match: \"x\" | if-none-match: \"a\"", 304),
        ("if-none-match: *", 304),
        ("HEAD | if-none-match: \"a\"", 304),
        ("if-none-match: \"b\"", 200),
        ("if-none-match: \"x, \\\"a\\\"\"", 200),
        ("if-none-match: a", 200),
        ("if-modified-since: @-100", 304),
        ("if-modified-since: @0", 304),
        ("if-modified-since: @-101", 200),
        ("if-modified-since: yesterday", 200),
        ("if-modified-since: @0 | if-modified-since: @0", 200),
        ("if-none-match: \"b\" | if-modified-since: @0", 200),
        ("if-none-match: \"a\" | range: bytes=0-1", 304),
        ("if-match: \"b\"", 200),
        ("if-unmodified-since: @-1000", 200),
    ] {
        assert_eq!(answer(&stored(WHOLE), request).0, status, "{request}");
    }
    // Without Last-Modified the Date stands in; errors have no conditions.
    let by_date = stored("200 | cc: max-age=60 | date: @0");
    assert_eq!(answer(&by_date, "if-modified-since: @0").0, 304);
    assert_eq!(answer(&by_date, "if-modified-since: @-1").0, 200);
    assert_eq!(answer(&by_date, "if-none-match: \"a\"").0, 200);
    assert_eq!(answer(&stored("404 | cc: max-age=60 | etag: \"a\""), "if-none-match: \"a\"").0, 404);
}

#[test]
fn not_modified_keeps_what_guides_and_drops_what_describes() {
    // RFC 9110, section 15.4.5.
    let (_, body, headers) = answer(&stored(WHOLE), "if-none-match: \"a\"");
    assert_eq!(body, "");
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["access-control-allow-origin", "age", "cache-control", "date", "etag", "vary"]);
    let head = parse_response(WHOLE);
    assert!(is_not_modified(&fields("if-none-match: \"a\""), head.status, &head.headers));
    assert!(!is_not_modified(&fields("if-none-match: \"b\""), head.status, &head.headers));
}

#[test]
fn ranges_are_cut_from_the_whole() {
    // RFC 9110, sections 14.1.2, 14.2 and 15.5.17.
    for (range, status, body, content_range) in [
        ("bytes=0-2", 206, "abc", "bytes 0-2/26"),
        ("bytes=24-", 206, "yz", "bytes 24-25/26"),
        ("bytes=-3", 206, "xyz", "bytes 23-25/26"),
        ("bytes=-99", 206, "abcdefghijklmnopqrstuvwxyz", "bytes 0-25/26"),
        ("bytes=20-99999999999999999999", 206, "uvwxyz", "bytes 20-25/26"),
        ("Bytes=0-0", 206, "a", "bytes 0-0/26"),
        ("bytes=26-", 416, "", "bytes */26"),
        ("bytes=-0", 416, "", "bytes */26"),
        ("bytes=99999999999999999999-", 416, "", "bytes */26"),
    ] {
        let (is, text, headers) = answer(&stored(WHOLE), &format!("range: {range}"));
        assert_eq!(
            (is, text.as_str(), &headers["content-range"]),
            (status, body, &content_range.parse().unwrap()),
            "{range}"
        );
        assert_eq!(headers["content-length"], body.len().to_string(), "{range}");
    }
    for whole in [
        "bytes=2-1",
        "bytes=a-",
        "bytes=1",
        "bytes=",
        "items=0-1",
        "bytes=0-1,3-4",
        "bytes=-",
        "0-1",
        "bytes=0-+1",
    ] {
        assert_eq!(answer(&stored(WHOLE), &format!("range: {whole}")).0, 200, "{whole}");
    }
    assert_eq!(answer(&stored(WHOLE), "range: bytes=0-1 | range: bytes=2-3").0, 200);
    assert_eq!(answer(&stored("404 | cc: max-age=60"), "range: bytes=0-1").0, 404);
}

#[test]
fn ranges_hold_only_for_the_same_representation() {
    // RFC 9110, section 13.1.5.
    for (if_range, status) in
        [("\"a\"", 206), ("\"b\"", 200), ("W/\"a\"", 200), ("@-100", 206), ("@0", 200), ("x", 200)]
    {
        assert_eq!(
            answer(&stored(WHOLE), &format!("range: bytes=0-1 | if-range: {if_range}")).0,
            status,
            "{if_range}"
        );
    }
    let weak = stored("200 | cc: max-age=60 | etag: W/\"a\" | last-modified: @0 | date: @0");
    assert_eq!(answer(&weak, "range: bytes=0-1 | if-range: W/\"a\"").0, 200);
    assert_eq!(answer(&weak, "range: bytes=0-1 | if-range: @0").0, 200, "too young to be strong");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// A range of a body in blocks is that range of its bytes.
    #[test]
    fn ranges_cross_blocks(sizes in proptest::collection::vec(1_usize..200_000, 1..5), a in 0_usize..800_000, n in 1_usize..400_000) {
        let pieces: Vec<Bytes> = sizes.iter().zip(b'a'..).map(|(n, byte)| Bytes::from(vec![byte; *n])).collect();
        let whole = pieces.concat();
        let world = World::new(Sharing::Private).with_rule(|rule| rule.max_bytes = 1 << 20);
        let (method, caller) = parse_request("");
        let exchange = Exchange { sent: now(0).at, received: now(0) };
        let head = parse_response("200 | cc: max-age=60");
        let storable = world.policy().admit(&asked(&method, &caller), &head, &exchange).unwrap();
        let hit = Hit::at(EntryArc::new(storable.entry(&key(&method), Body::of(pieces.as_slice())).unwrap()), now(0));
        let (status, body, _) = answer(&hit, &format!("range: bytes={a}-{}", a + n - 1));
        if a < whole.len() {
            prop_assert_eq!(status, 206);
            prop_assert!(body.as_bytes() == &whole[a..(a + n).min(whole.len())]);
        } else {
            prop_assert_eq!(status, 416);
        }
    }
}
