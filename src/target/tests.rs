use proptest::prelude::*;

use super::*;

fn spelt(path: &str, query: &str) -> String {
    Target::parse(path, Some(query)).unwrap().to_string()
}

fn refused(path: &str) -> BadTarget {
    Target::parse(path, None).unwrap_err()
}

#[test]
fn paths_have_one_spelling() {
    assert_eq!(spelt("/", ""), "/");
    assert_eq!(spelt("/api/%76%32/T%65sts/", ""), "/api/v2/Tests/");
    assert_eq!(spelt("/a%2cb%7E,%c3%a4", ""), "/a%2Cb~,%C3%A4");
    assert_eq!(spelt("/a.b/...", ""), "/a.b/...");
    assert_eq!(spelt("/a!$&'()*+,;=:@", ""), "/a!$&'()*+,;=:@");
    assert_eq!(spelt("/100%25", ""), "/100%25");
}

#[test]
fn ambiguous_paths_are_refused() {
    use BadTarget as Bad;
    for (path, why) in [
        ("", Bad::Relative),
        ("*", Bad::Relative),
        ("a/b", Bad::Relative),
        ("/./a", Bad::DotSegment),
        ("/a/..", Bad::DotSegment),
        ("/a/%2e", Bad::DotSegment),
        ("/a/.%2E/b", Bad::DotSegment),
        ("/a/..;x=1/b", Bad::DotSegment),
        ("/a/.%3bx", Bad::DotSegment),
        ("//", Bad::EmptySegment),
        ("/a//b", Bad::EmptySegment),
        ("/a//", Bad::EmptySegment),
        ("//a", Bad::EmptySegment),
        ("/a%2fb", Bad::HiddenSlash),
        ("/a%2F", Bad::HiddenSlash),
        ("/a%5cb", Bad::HiddenSlash),
        ("/a\\b", Bad::HiddenSlash),
        ("/a\nb", Bad::Control),
        ("/a\u{7f}", Bad::Control),
        ("/a%00", Bad::Control),
        ("/a%0D%0Ab", Bad::Control),
        ("/a%7f", Bad::Control),
        ("/a%", Bad::Escape),
        ("/a%2", Bad::Escape),
        ("/a%2g", Bad::Escape),
        ("/a%%41", Bad::Escape),
        ("/a b", Bad::Character),
        ("/ä", Bad::Character),
        ("/a[1]", Bad::Character),
        ("/a|b", Bad::Character),
        ("/a\"b", Bad::Character),
        ("/a<b>", Bad::Character),
        ("/a{b}", Bad::Character),
        ("/a#b", Bad::Character),
        ("/a?b", Bad::Character),
        ("/%252e%252e/a", Bad::EncodedTwice),
        ("/a%25%32%46", Bad::EncodedTwice),
        ("/a%252F", Bad::EncodedTwice),
        ("/a%25255c", Bad::EncodedTwice),
        ("/%c0%ae", Bad::NotUtf8),
        ("/%e4", Bad::NotUtf8),
    ] {
        assert_eq!(refused(path), why, "{path:?}");
    }
    assert_eq!(refused(&format!("/{}", "a".repeat(MAX_TARGET_BYTES))), Bad::TooLong);
    assert_eq!(Target::parse("/", Some(&"|".repeat(MAX_TARGET_BYTES / 2))), Err(Bad::TooLong));
}

#[test]
fn queries_have_one_spelling() {
    for (raw, canonical) in [
        ("", "/"),
        ("&", "/"),
        ("b=2&a=1", "/?a=1&b=2"),
        ("b=2&a=1&b=1", "/?a=1&b=2&b=1"),
        ("a=1&&b=2&", "/?a=1&b=2"),
        ("t=09%3a30%2c%2F%40%41", "/?t=09:30,/@A"),
        ("a=%2b%26%3d+", "/?a=%2B%26%3D+"),
        ("a", "/?a"),
        ("a=", "/?a="),
        ("a=b=c", "/?a=b=c"),
        ("=x", "/?=x"),
        ("a;b=1;c", "/?a;b=1;c"),
        ("f[x]=|{}^`\"<>\\", "/?f%5Bx%5D=%7C%7B%7D%5E%60%22%3C%3E%5C"),
        ("a=?/", "/?a=?/"),
        ("a=%0a%e4", "/?a=%0A%E4"),
        // Whoever takes two of these for one name must see them in the order they came.
        ("%24a=2&b=3&$a=1", "/?%24a=2&$a=1&b=3"),
        ("a+b=3&a%20b=2&a%2Bb=1", "/?a+b=3&a%20b=2&a%2Bb=1"),
    ] {
        assert_eq!(spelt("/", raw), canonical, "{raw}");
    }
    for (raw, why) in [
        ("a=%", BadTarget::Escape),
        ("a=%zz", BadTarget::Escape),
        ("a=\n", BadTarget::Control),
        ("a=ä", BadTarget::Character),
        ("a=b c", BadTarget::Character),
        ("a=#", BadTarget::Character),
    ] {
        assert_eq!(Target::parse("/", Some(raw)), Err(why), "{raw}");
    }
}

#[test]
fn parameters_can_be_read_and_left_out() {
    let target = Target::parse("/x", Some("tok%65n=a%2Bb&_=1&a=1&a=2&flag")).unwrap();
    assert_eq!(
        target.pairs().collect::<Vec<_>>(),
        [("_", "1"), ("a", "1"), ("a", "2"), ("flag", ""), ("token", "a%2Bb")]
    );
    assert_eq!(target.values("token").collect::<Vec<_>>(), ["a+b"]);
    assert_eq!(target.values("a").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(target.without(&["_", "token", "A"]).to_string(), "/x?a=1&a=2&flag");
    assert_eq!(target.without(&["_", "token", "a", "flag"]).query(), None);
    assert_eq!(target.without(&["_", "token"]).query_with("k y", "ä&b"), "a=1&a=2&flag&k%20y=%C3%A4%26b");
    assert!(!format!("{target:?}").contains("a%2Bb"), "a value may be a token");
}

#[test]
fn mounts_come_off_and_bases_go_on() {
    let target = Target::parse("/cp/api", Some("a=1")).unwrap();
    assert_eq!(target.strip_mount("/cp").unwrap().to_string(), "/api?a=1");
    assert_eq!(target.strip_mount("").unwrap(), target);
    assert_eq!(target.strip_mount("/cp/api").unwrap().to_string(), "/?a=1");
    assert_eq!(target.strip_mount("/c"), None);
    assert_eq!(target.strip_mount("/CP"), None);
    assert_eq!(target.with_prefix("/base").unwrap().to_string(), "/base/cp/api?a=1");
    assert_eq!(target.with_prefix("/base/.."), Err(BadTarget::DotSegment));
    assert_eq!(target.path_and_query().as_str(), "/cp/api?a=1");
}

/// What a server could make of a target: decoded segments, and decoded
/// parameters by name, each name's values in order (with whether it had a `=`).
#[derive(Debug, PartialEq)]
struct Meaning {
    segments: Vec<Vec<u8>>,
    parameters: Vec<Parameter>,
}

/// A name and its values.
type Parameter = (Vec<u8>, Vec<(bool, Vec<u8>)>);

fn meaning(path: &str, query: &str) -> Meaning {
    // `+` is told from `%2B` and from a blank: a server may see three things.
    let decode = |text: &str| -> Vec<u8> {
        percent_encoding::percent_decode_str(&text.replace('+', "%FF%FF")).collect()
    };
    let mut parameters: Vec<Parameter> = Vec::new();
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let value = (piece.contains('='), decode(value));
        match parameters.iter_mut().find(|(is, _)| *is == decode(name)) {
            Some((_, values)) => values.push(value),
            None => parameters.push((decode(name), vec![value])),
        }
    }
    parameters.sort();
    Meaning { segments: path.split('/').map(decode).collect(), parameters }
}

/// Any text that may reach us, rich in what matters.
fn raw_path() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        4 => "[a-c]", 2 => Just("/".to_owned()), 1 => "[.~_;,:@+=&!$|\\[\\\\ä\u{1}]",
        2 => "%[0-7c][0-9a-fA-F]", 1 => "%(2[eEfF5]|5[cC]|252[eF]|25|[g-z]|C3%A4)",
    ];
    prop::collection::vec(atom, 0..10).prop_map(|atoms| format!("/{}", atoms.concat()))
}

fn raw_query() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        4 => "[a-c]", 2 => Just("&".to_owned()), 2 => Just("=".to_owned()), 1 => "[+;,:/@?\\[| #$]",
        2 => "%[0-9a-f][0-9a-fA-F]", 1 => "%(2[bB6]|3[dDaA]|20)",
    ];
    prop::collection::vec(atom, 0..14).prop_map(|atoms| atoms.concat())
}

/// `text` with some unreserved characters escaped, in either case, as `picks` says.
fn respell(text: &str, picks: &[u8], also: &str) -> String {
    let mut picks = picks.iter().cycle();
    let mut in_escape = 0;
    let mut out = String::new();
    for c in text.chars() {
        in_escape = if c == '%' { 3 } else { in_escape };
        let pick = picks.next().copied().unwrap_or(0);
        let may = in_escape == 0 && (c.is_ascii_alphanumeric() || "-._~".contains(c) || also.contains(c));
        match pick % 3 {
            1 if may => out.push_str(&format!("%{:02x}", u32::from(c))),
            2 if may => out.push_str(&format!("%{:02X}", u32::from(c))),
            1 if in_escape > 0 => out.push(c.to_ascii_lowercase()),
            _ => out.push(c),
        }
        in_escape = u8::saturating_sub(in_escape, 1);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_comes_out_means_the_same_and_is_clean(path in raw_path(), query in raw_query()) {
        let Ok(target) = Target::parse(&path, Some(&query)) else { return Ok(()) };
        prop_assert_eq!(meaning(target.path(), target.query().unwrap_or("")), meaning(&path, &query));
        prop_assert_eq!(&Target::parse(target.path(), target.query()).unwrap(), &target);
        prop_assert_eq!(target.path_and_query().to_string(), target.to_string());

        let decoded: Vec<u8> = percent_encoding::percent_decode_str(target.path()).collect();
        let slashes = |bytes: &[u8]| bytes.iter().filter(|&&b| b == b'/').count();
        prop_assert_eq!(slashes(&decoded), slashes(target.path().as_bytes()));
        prop_assert!(!decoded.iter().any(|b| *b == b'\\' || b.is_ascii_control()));
        prop_assert!(!decoded.split(|&b| b == b'/').any(|s| s == b"." || s == b".."));
        let twice: Vec<u8> = percent_encoding::percent_decode(&decoded).collect();
        prop_assert!(slashes(&twice) == slashes(&decoded) && !twice.contains(&b'\\'));
        let stands = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}[]#".contains(&b);
        prop_assert!(target.to_string().bytes().all(stands));
    }

    #[test]
    fn other_spellings_of_a_request_are_the_same_target(
        path in raw_path(), query in raw_query(), picks in prop::collection::vec(0u8..3, 1..20), rotate in 0usize..5,
    ) {
        let Ok(target) = Target::parse(&path, Some(&query)) else { return Ok(()) };
        // Names that somebody might take for one keep their order; whole groups move.
        let mut groups: Vec<(Vec<u8>, Vec<&str>)> = Vec::new();
        for piece in query.split('&').filter(|piece| !piece.is_empty()) {
            let name = piece.split('=').next().unwrap_or(piece).replace('+', "%20").replace("%2b", "%20").replace("%2B", "%20");
            let name: Vec<u8> = percent_encoding::percent_decode_str(&name).collect();
            match groups.iter_mut().find(|(is, _)| *is == name) {
                Some((_, pieces)) => pieces.push(piece),
                None => groups.push((name, vec![piece])),
            }
        }
        let by = rotate % groups.len().max(1);
        groups.rotate_left(by);
        let moved: Vec<&str> = groups.into_iter().flat_map(|(_, pieces)| pieces).collect();
        let other = Target::parse(
            &respell(&path, &picks, ""),
            Some(&respell(&moved.join("&"), &picks, ":,/@")),
        );
        prop_assert_eq!(other.unwrap(), target);
    }

    #[test]
    fn different_requests_never_collide(
        path in raw_path(),
        pieces in prop::collection::vec("(a|b|%61|\\$a|%24a|a%20b|a\\+b|a%2Bb|A|)(|=|=1|=%31|=2|=\\+|=%2B|=%20)", 1..6),
        swap in any::<(prop::sample::Index, prop::sample::Index)>(),
        change in prop::option::of((any::<prop::sample::Index>(), "(a|%24a|\\$a)(|=|=1|=2)")),
        other_path in raw_path(),
        same in prop::bool::weighted(0.9),
    ) {
        let mut others = pieces.clone();
        others.swap(swap.0.index(pieces.len()), swap.1.index(pieces.len()));
        if let Some((at, piece)) = change {
            *at.get_mut(&mut others) = piece;
        }
        let (query, other_query) = (pieces.join("&"), others.join("&"));
        let (path, other_path) = if same { ("/x".to_owned(), "/x".to_owned()) } else { (path, other_path) };
        let both = (Target::parse(&path, Some(&query)), Target::parse(&other_path, Some(&other_query)));
        if let (Ok(one), Ok(other)) = both {
            let alike = meaning(&path, &query) == meaning(&other_path, &other_query);
            prop_assert!(alike || one != other, "{query} {other_query}");
            // Under form decoding, `+` and a blank are one name: their order counts too.
            let form = |query: &str| meaning("", &query.replace('+', "%20"));
            prop_assert!(form(&query) == form(&other_query) || one != other, "{query} {other_query}");
            let literal = |query: &str| meaning("", &query.replace('+', "%2B"));
            prop_assert!(literal(&query) == literal(&other_query) || one != other, "{query} {other_query}");
        }
    }
}
