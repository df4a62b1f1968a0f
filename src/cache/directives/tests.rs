use super::*;

fn response(lines: &[&str]) -> ResponseDirectives {
    let lines: Vec<HeaderValue> = lines.iter().map(|line| line.parse().unwrap()).collect();
    ResponseDirectives::of(lines.iter())
}

fn request(lines: &[&str]) -> RequestDirectives {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(CACHE_CONTROL, line.parse().unwrap());
    }
    RequestDirectives::of(&headers)
}

fn secs(secs: u64) -> Delta {
    Delta::Is(Duration::from_secs(secs))
}

#[test]
fn names_fold_and_both_forms_count() {
    // RFC 9111, section 5.2.
    assert_eq!(response(&["Max-Age=60"]).max_age, secs(60));
    assert_eq!(response(&["max-age=\"60\""]).max_age, secs(60));
    assert!(response(&["a=\"x, no-store\", NO-STORE"]).no_store);
    assert!(!response(&["a=\"x, no-store\""]).no_store);
    assert!(!response(&["a=\"x\\\", no-store\""]).no_store);
    assert_eq!(response(&["public", "max-age=5"]), response(&["public,max-age=5"]));
    assert_eq!(response(&[",, max-age=5,"]).max_age, secs(5));
}

#[test]
fn malformed_lifetimes_are_zero() {
    // Sections 1.2.2 and 4.2.1.
    for bad in [
        "max-age",
        "max-age=",
        "max-age=-1",
        "max-age=1.5",
        "max-age=a",
        "max-age =5",
        "max-age= 5",
        "max-age=5 6",
        "max-age='5'",
        "max-age=\"5",
        "max-age=5, max-age=6",
    ] {
        assert_eq!(response(&[bad]).max_age, Delta::Malformed, "{bad}");
    }
    assert_eq!(response(&["max-age=5, max-age=5"]).max_age, secs(5));
    assert_eq!(response(&["max-age=99999999999999999999"]).max_age, secs(LONGEST_SECONDS));
}

#[test]
fn qualified_forms_name_fields() {
    // Sections 5.2.2.4 and 5.2.2.7.
    let name = HeaderName::from_static("x-a");
    assert!(response(&["no-cache=\"X-A, x-b\""]).no_cache.names(&name));
    assert!(response(&["private=x-a"]).private.names(&name));
    assert!(response(&["no-cache=\"\""]).no_cache.all());
    assert!(response(&["no-cache=\"x-a\", no-cache"]).no_cache.all());
    assert!(response(&["private=\"x a\""]).private.all());
    assert!(!response(&["public=yes"]).public);
}

#[test]
fn callers_demands_are_read_strictly() {
    let secs = Duration::from_secs;
    assert_eq!(request(&["max-age=9, max-age=5"]).max_age, Some(secs(5)));
    assert_eq!(request(&["max-age=x"]).max_age, Some(secs(0)));
    assert_eq!(request(&["min-fresh=5, min-fresh=x"]).min_fresh, Some(Duration::MAX));
    assert_eq!(request(&["max-stale"]).max_stale, Some(Duration::MAX));
    assert_eq!(request(&["max-stale=x"]).max_stale, Some(secs(0)));
    assert_eq!(request(&["max-stale, max-stale=3"]).max_stale, Some(secs(3)));
    assert!(request(&["Only-If-Cached"]).only_if_cached);
}

#[test]
fn pragma_counts_alone_only() {
    // Section 5.4.
    let mut headers = HeaderMap::new();
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    assert!(RequestDirectives::of(&headers).no_cache);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
    assert!(!RequestDirectives::of(&headers).no_cache);
}

#[test]
fn targeted_fields_are_dictionaries() {
    // RFC 9213, section 2.1.
    let of = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("cdn-cache-control", text.parse().unwrap());
        ResponseDirectives::targeted(&headers, "cdn-cache-control")
    };
    assert_eq!(of("max-age=5, no-store").unwrap().max_age, secs(5));
    assert!(of("max-age=5, no-store").unwrap().no_store);
    assert!(!of("no-store=?0").unwrap().no_store);
    assert_eq!(of("max-age=\"5\"").unwrap().max_age, Delta::Malformed);
    assert!(of("no-cache=\"x-a\"").unwrap().no_cache.names(&HeaderName::from_static("x-a")));
    assert_eq!(of("max-age=5 6"), None);
    assert_eq!(of(""), None);
}
