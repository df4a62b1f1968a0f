use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_769_853_600);

fn target(text: &str) -> Target {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    Target::parse(path, Some(query)).unwrap()
}

#[test]
fn the_default_pace_is_the_documented_one() {
    let told: Vec<_> =
        default_limits().iter().map(|l| (l.name.to_string(), l.requests.get(), l.window.length())).collect();
    let secs = Duration::from_secs;
    assert_eq!(told, [("second".into(), 4, secs(1)), ("burst".into(), 24, secs(5))]);
}

#[test]
fn routes_are_told_apart() {
    for (method, path, reading, wanted) in [
        (Method::GET, "/api/v1/alerts", true, Manner::Shared),
        (Method::POST, "/API/v1/Events", true, Manner::Shared),
        (Method::POST, "/api/v1/report/", true, Manner::Shared),
        (Method::POST, "/api/v1/unknown", false, Manner::Shared),
        (Method::GET, "/api/v1/updateUrlList", false, Manner::Alone),
        (Method::GET, "/api/v1/quarantine", false, Manner::Alone),
        (Method::GET, "/api/v2/policy/urllist", true, Manner::Shared),
        (Method::POST, "/api/v2/policy/urllist", false, Manner::Shared),
        (Method::GET, "/api/v2/events/dataexport/events/alert", true, Manner::Alone),
        (Method::GET, "/api/v2/Events/DataExport/alerts/dlp/", true, Manner::Alone),
        (Method::GET, "/api/v2/events/data/alert", true, Manner::Shared),
        (Method::DELETE, "/api/v2/scim/Users/1", false, Manner::Shared),
    ] {
        assert_eq!(reads(&method, path), reading, "{method} {path}");
        assert_eq!(manner(path), wanted, "{path}");
    }
    assert_eq!((class("/api/v1/x"), class("/api/v2/x"), class("/x")), (V1, V2, V2));
}

#[test]
fn the_token_stands_where_each_version_has_it() {
    let headers: HeaderMap = [(TOKEN_HEADER, HeaderValue::from_static("in-header"))].into_iter().collect();
    let told = |headers: &HeaderMap, text: &str| presented(headers, &target(text)).map(Cow::into_owned);
    assert_eq!(told(&headers, "/api/v1/alerts?token=w%2B").as_deref(), Some(&b"w+"[..]));
    assert_eq!(told(&headers, "/api/v1/alerts"), None);
    assert_eq!(told(&headers, "/api/v1/alerts?token=a&token=b"), None);
    assert_eq!(told(&headers, "/api/v2/x?token=w").as_deref(), Some(&b"in-header"[..]));
    let mut stripped = headers.clone();
    assert_eq!(strip(&mut stripped, &target("/api/v1/alerts?a=1&token=w")).to_string(), "/api/v1/alerts?a=1");
    assert!(stripped.is_empty());

    let key = Secret::new("k+1".into());
    let signed = |text: &str, place| {
        let mut headers = HeaderMap::new();
        let signed = sign(&mut headers, &target(text), place, &key).unwrap();
        (headers.get(TOKEN_HEADER).map(|value| value.to_str().unwrap().to_owned()), signed)
    };
    let (header, how) = signed("/api/v1/alerts?a=1", Place::Query);
    assert!(header.is_none() && matches!(how, Signed::InQuery(q) if q.expose() == "a=1&token=k%2B1"));
    let (header, how) = signed("/api/v1/alerts", Place::Json);
    assert!(header.is_none() && matches!(how, Signed::InBody(Place::Json)));
    let (header, how) = signed("/api/v2/x", Place::Query);
    assert!(header.as_deref() == Some("k+1") && matches!(how, Signed::InHeader));
    assert!(
        sign(&mut HeaderMap::new(), &target("/api/v1/x"), Place::Query, &Secret::new(" ".into())).is_err()
    );
}

#[test]
fn errors_with_200_are_not_kept() {
    let seen = |status: Option<&str>, wellformed| {
        keeping(Some(&Observed { status: status.map(str::to_owned), wellformed, ..Observed::default() }))
    };
    assert_eq!(seen(Some("success"), true), Keeping::May);
    assert_eq!(seen(None, true), Keeping::May);
    assert_eq!(seen(Some("error"), true), Keeping::Unfinished);
    assert_eq!(seen(Some("success"), false), Keeping::Malformed);
    assert_eq!(keeping(None), Keeping::Malformed);
}

#[test]
fn freshness_follows_the_window() {
    let fresh = |text: &str| freshness(&Method::GET, &target(text), NOW).map(|fresh| fresh.as_secs());
    assert_eq!(fresh("/api/v1/events?timeperiod=3600"), Some(30));
    assert_eq!(fresh("/api/v1/events?starttime=1769846000&endtime=1769850000"), Some(3_600));
    assert_eq!(fresh("/api/v1/events?starttime=1769846000&endtime=1769850001"), Some(30));
    assert_eq!(fresh("/api/v2/events/data/alert"), Some(30));
    assert_eq!(fresh("/api/v2/events/dataexport/alerts/dlp"), None);
    assert_eq!(fresh("/api/v2/policy/urllist"), None);
    assert_eq!(freshness(&Method::POST, &target("/api/v1/events"), NOW), None);
}

#[test]
fn errors_have_the_documented_members() {
    assert_eq!(
        error_body(StatusCode::FORBIDDEN, "no").bytes,
        r#"{"status":"error","errorCode":"Forbidden","errors":["no"]}"#
    );
}
