use http::HeaderValue;
use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use proptest::prelude::*;

use super::*;

fn scope(upstream: &str, key: Option<&str>) -> Scope {
    Scope { upstream: upstream.parse().unwrap(), key: key.map(|key| key.parse().unwrap()) }
}

fn key(scope: Scope, method: &Method, path: &str, query: Option<&str>) -> Key {
    Key::new(&scope, method, &Target::parse(path, query).unwrap(), &HeaderMap::new(), None)
}

#[test]
fn get_and_head_share_a_key_but_no_flight() {
    let get = key(scope("u", None), &Method::GET, "/a", None);
    let head = key(scope("u", None), &Method::HEAD, "/a", None);
    assert_eq!(get, head);
    assert_eq!(get.hash(), head.hash());
    let [get, head] = [get, head].map(|key| key.flight(&HeaderMap::new()));
    assert_ne!(get.hash(), head.hash());
    assert_ne!(get, head);
}

#[test]
fn parts_do_not_run_into_each_other() {
    let all = [
        key(scope("a", Some("bc")), &Method::GET, "/d", None),
        key(scope("ab", Some("c")), &Method::GET, "/d", None),
        key(scope("abc", None), &Method::GET, "/d", None),
        key(scope("a", Some("bc")), &Method::GET, "/d", Some("e")),
        key(scope("a", Some("bc")), &Method::GET, "/de", None),
        key(scope("a", Some("bc")), &Method::POST, "/d", None),
    ];
    for (i, one) in all.iter().enumerate() {
        for other in &all[i + 1..] {
            assert_ne!(one.hash(), other.hash(), "{one:?} {other:?}");
        }
    }
}

#[test]
fn flights_tell_apart_whatever_is_sent() {
    let key = key(scope("u", None), &Method::GET, "/a", None);
    let mut one = HeaderMap::new();
    one.insert(ACCEPT, HeaderValue::from_static("a/b"));
    one.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
    let mut same = HeaderMap::new();
    same.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
    same.insert(ACCEPT, HeaderValue::from_static("a/b"));
    assert_eq!(key.flight(&one).hash(), key.flight(&same).hash());
    assert_eq!(key.flight(&one), key.flight(&same));
    same.append(ACCEPT, HeaderValue::from_static("c/d"));
    assert_ne!(key.flight(&one).hash(), key.flight(&same).hash());
    assert_ne!(key.flight(&one), key.flight(&same));
}

#[test]
fn selectors_mean_what_they_say() {
    let key = key(scope("cp", Some("main")), &Method::GET, "/api/v4/Tests/", Some("a=1"));
    let up = |name: &str| name.parse::<UpstreamName>().unwrap();
    for yes in [
        Selector::All,
        Selector::Upstream(up("cp")),
        Selector::Scope(scope("cp", Some("main"))),
        Selector::Path(up("cp"), "/api/v4/tests".into()),
        Selector::Prefix(up("cp"), "/API/v4/".into()),
    ] {
        assert!(yes.selects(key.text()), "{yes:?}");
    }
    for no in [
        Selector::Upstream(up("c")),
        Selector::Scope(scope("cp", None)),
        Selector::Path(up("cp"), "/api/v4".into()),
        Selector::Path(up("x"), "/api/v4/tests".into()),
        Selector::Prefix(up("cp"), "/api/v5".into()),
    ] {
        assert!(!no.selects(key.text()), "{no:?}");
    }
}

#[test]
fn what_is_too_long_is_listed_without_its_query() {
    let long = "a=1&b=".to_owned() + &"x".repeat(1_000);
    for (query, whole) in [("a=1", true), (long.as_str(), false)] {
        let key = key(scope("cp", Some("main")), &Method::GET, "/a/b", Some(query));
        let listed = key.text().to_listed();
        assert_eq!(listed == *key.text(), whole, "{query}");
        assert_eq!(
            (listed.scope(), listed.method(), listed.path()),
            (key.text().scope(), Method::GET, "/a/b")
        );
        assert!(key.text().is_listed_as(&Text::listed(&listed.scope(), &Method::GET, "/a/b")));
        assert!(!key.text().is_listed_as(&Text::listed(&listed.scope(), &Method::GET, "/a/")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Law 10: two scopes never share a key, whatever is asked.
    #[test]
    fn scopes_never_meet(
        (a, b) in ("[ab]{1,3}", "[ab]{1,3}"),
        (ka, kb) in (proptest::option::of("[ab]{1,3}"), proptest::option::of("[ab]{1,3}")),
        path in "/[ab]{0,3}",
    ) {
        let one = key(scope(&a, ka.as_deref()), &Method::GET, &path, None);
        let two = key(scope(&b, kb.as_deref()), &Method::GET, &path, None);
        prop_assert_eq!(one.hash() == two.hash(), a == b && ka == kb);
    }
}
