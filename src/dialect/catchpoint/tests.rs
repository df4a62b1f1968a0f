use std::collections::BTreeSet;

use http::header::CONTENT_TYPE;

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_769_853_600); // 2026-01-31T10:00:00Z

fn class(method: &Method, path: &str) -> RouteClass {
    route(method, path).class
}

/// A path below `/api/v2` with numbers and tokens filled in.
fn filled(path: &str) -> String {
    format!("/api/v2/{}", path.replace("{ids}", "12,3").replace("{token}", "aB3-x"))
}

fn check_with(dialect: &Catchpoint, target: &str) -> Verdict {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let target = Target::parse(path, Some(query)).unwrap();
    dialect.check(route(&Method::GET, target.path()), &target)
}

fn check(target: &str) -> Verdict {
    check_with(&Catchpoint::default(), target)
}

fn fresh(target: &str) -> Option<u64> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let target = Target::parse(path, Some(query)).unwrap();
    freshness(route(&Method::GET, path), &target, NOW).map(|d| d.as_secs())
}

/// As UPSTREAMS has it, word for word.
const ANALYTIC_ROUTES: &[&str] = &[
    "tests/alerts",
    "tests/alerts/{ids}",
    "endpoints/device/explorer/raw",
    "endpoints/device/explorer/aggregated",
    "instanttests/{ids}",
    "iw/outages",
    "nodes/all",
    "nodes/testrun/{ids}",
    "realuser/favoritechart/data/{ids}",
    "realuser/favoritechart/defaultdata/{ids}",
    "realuser/explorer/data/{ids}",
    "tests/errors/raw",
    "tests/errors/raw/{ids}",
    "tests/records/waterfall/{ids}",
    "tests/records/waterfall/data/{token}",
    "tests/records/waterfall/screenshot/{token}",
    "tests/records/waterfall/filmstrip/{token}",
    "tests/explorer/raw",
    "tests/explorer/aggregated",
    "tests/explorer/favoritechart/data/{ids}",
    "tests/explorer/favoritechart/defaultdata/{ids}",
];

#[test]
fn every_documented_get_has_its_class() {
    let listed: BTreeSet<&str> = routes::GETS.iter().map(|get| get.path).collect();
    assert_eq!(listed.len(), routes::GETS.len(), "a route stands there twice");
    for get in routes::GETS {
        let wanted = if ANALYTIC_ROUTES.contains(&get.path) { ANALYTIC } else { PLAIN };
        for path in
            [filled(get.path), filled(get.path).replace("v2", "V3.3").to_uppercase(), filled(get.path) + "/"]
        {
            assert_eq!(class(&Method::GET, &path), wanted, "{path}");
            assert_eq!(class(&Method::HEAD, &path), wanted, "{path}");
        }
        // No earlier line of the table takes the request away.
        let found = route(&Method::GET, &filled(get.path)).get.unwrap();
        assert!(found.path == get.path, "{} is hidden by {}", get.path, found.path);
    }
    assert!(ANALYTIC_ROUTES.iter().all(|path| listed.contains(path)));
}

#[test]
fn the_named_plain_routes_are_plain() {
    for path in [
        "tests",
        "tests/{ids}",
        "nodes",
        "nodes/{ids}",
        "products",
        "folders",
        "labels",
        "contacts",
        "divisions",
        "commandcontrol",
        "slo",
        "enumerations",
        "tests/explorer/enumeration",
    ] {
        assert_eq!(class(&Method::GET, &filled(path)), PLAIN, "{path}");
    }
    for (method, path) in [
        (Method::POST, "tests"),
        (Method::POST, "instanttests"),
        (Method::POST, "instanttests/{ids}"),
        (Method::POST, "tests/scriptconvert"),
        (Method::PATCH, "tests/alerts"),
        (Method::PATCH, "tests/{ids}"),
        (Method::PATCH, "insights/{ids}/{token}"),
        (Method::DELETE, "tests/{ids}"),
        (Method::DELETE, "labels/{ids}"),
        (Method::POST, "workflow/{token}"),
    ] {
        assert_eq!(class(&method, &filled(path)), PLAIN, "{method} {path}");
    }
}

#[test]
fn what_is_not_documented_is_dear() {
    for path in [
        "/",
        "/api",
        "/api/v2",
        "/api/v2/",
        "/v2/tests",
        "/api/tests",
        "/api/vx/tests",
        "/api/v2./tests",
        "/ui/api/v1/tests",
        "/api/v2/tests/new",
        "/api/v2/tests/1x",
        "/api/v2/nodes/all/1",
        "/api/v2/tests/1/2",
        "/api/v2/nodes/unknown/1",
        "/api/v2/\u{212a}nodes",
        "/api/v2/%E2%84%AA",
    ] {
        assert_eq!(class(&Method::GET, path), ANALYTIC, "{path}");
    }
    assert_eq!(class(&Method::PUT, "/api/v2/tests"), ANALYTIC);
    assert_eq!(class(&Method::DELETE, "/api/v2/nodes/1"), ANALYTIC);
    assert_eq!(class(&Method::OPTIONS, "/api/v2/tests"), ANALYTIC);
    assert_eq!(class(&Method::GET, "/api/v2/%74ests/1%2C2"), PLAIN);
}

#[test]
fn default_limits_are_the_documented_ones() {
    let limits = default_limits();
    let told: Vec<(&str, u32, u64, Scope)> = limits
        .iter()
        .map(|l| (l.name.as_str(), l.requests.get(), l.window.length().as_secs(), l.scope))
        .collect();
    assert_eq!(
        told,
        [
            ("second", 7, 1, Scope::Address),
            ("minute", 20, 60, Scope::Account),
            ("hour", 500, 3_600, Scope::Account),
            ("day", 2_000, 86_400, Scope::Account),
        ]
    );
    assert_eq!(limits[0].routes, Routes::All);
    assert!(limits[1..].iter().all(|l| l.routes == Routes::Class(ANALYTIC)));
    assert!(limits.iter().all(|l| l.slack == l.window.default_slack()));
    assert!(matches!(limits[3].window, Window::Calendar(Calendar::Every(_))));
}

#[test]
fn only_reads_are_reads() {
    assert!(reads(&Method::GET, "/anything") && reads(&Method::HEAD, "/api/v2/tests"));
    assert!(
        reads(&Method::POST, "/api/v4/Tests/ScriptConvert")
            && reads(&Method::POST, "/api/v2/nodes/chromeversions/")
    );
    assert!(!reads(&Method::POST, "/api/v2/tests") && !reads(&Method::POST, "/tests/scriptconvert"));
    assert!(
        !reads(&Method::DELETE, "/api/v2/tests/1") && !reads(&Method::PATCH, "/api/v2/tests/scriptconvert")
    );
}

#[test]
fn versions_are_warned_about_and_refused() {
    let dialect = Catchpoint { warn: vec!["v2".into()], refuse: vec!["v1".into(), "v3.3".into()] };
    assert!(matches!(check_with(&dialect, "/API/V1/tests"), Verdict::Forbidden(why) if why.contains("v1")));
    assert!(matches!(check_with(&dialect, "/api/v3.3/tests?pageSize=x"), Verdict::Forbidden(_)));
    assert!(matches!(check_with(&dialect, "/api/v2/tests"), Verdict::Warn(why) if why.contains("v2")));
    assert!(matches!(check_with(&dialect, "/api/v2/tests?pageSize=101"), Verdict::Invalid(_)));
    for path in ["/api/v3/tests", "/api/v33/tests", "/api/v2.0/tests", "/v1/tests", "/"] {
        assert_eq!(check_with(&dialect, path), Verdict::Pass, "{path}");
    }
}

#[test]
fn what_the_documents_refuse_costs_nothing() {
    for (bad, good) in [
        ("tests?pageSize=101", "tests?pageSize=100"),
        ("tests?pageSize=99999999999999999999", "tests?pageSize=1"),
        ("tests?pageSize=ten", "tests?pageSize="),
        ("tests?pageSize=1.5", "tests?pagesize=101"),
        ("tests/errors/raw?pageSize=201", "tests/errors/raw?pageSize=200"),
        ("nodes/all?pageSize=101", "nodes?pageSize=101"),
        ("tests?pageNumber=0", "tests?pageNumber=1"),
        ("tests?pageNumber=-1", "tests?pageNumber=9999"),
        ("tests?pageNumber=x", "tests?PageNumber=x"),
        ("tests?pageNumber=1&pageNumber=0", "tests/1?pageNumber=0"),
        ("tests/alerts?startTimeUtc=yesterday", "tests/alerts?startTimeUtc=2026-01-30T00:00:00"),
        ("tests/alerts?endTimeUtc=1769853600", "tests/alerts?endTimeUtc="),
        ("tests/alerts?startTimeUtc=01/30/2026", "tests/alerts?starttimeutc=01/30/2026"),
        ("tests/explorer/raw?startTimeUtc=2026-02-30T00:00:00", "tests/explorer/raw?startTimeUtc=2026-01-30"),
        ("slo/violations?startTime=x", "slo/violations?startTimeUtc=x"),
        ("slapurgeitems?endTime=x", "slo?endTime=x"),
        ("instances/hardware/1?startDate=x", "instances/hardware/1?startDate=2026-01-30T00:00"),
        (
            "nodes/testrun/1?startTimeUtc=2026-01-30T00:00:00&endTimeUtc=2026-01-30T01:00:01",
            "nodes/testrun/1?startTimeUtc=2026-01-30T00:00:00&endTimeUtc=2026-01-30T01:00:00",
        ),
        (
            "nodes/runrate/1?startTimeUtc=2026-01-01T00:00:00&endTimeUtc=2026-01-08T00:00:01",
            "nodes/runrate/1?startTimeUtc=2026-01-01T00:00:00&endTimeUtc=2026-01-08T00:00:00",
        ),
        (
            "instances/hardware/1?startDate=2026-01-01T00:00&endDate=2026-01-08T00:01",
            "instances/hardware/1?startDate=2026-01-01T00:00&endDate=2026-01-08T00:00",
        ),
    ] {
        assert!(matches!(check(&format!("/api/v2/{bad}")), Verdict::Invalid(_)), "{bad}");
        assert_eq!(check(&format!("/api/v2/{good}")), Verdict::Pass, "{good}");
    }
    // Longer windows are fine where no range is documented; an end before its start is the vendor's to judge.
    for unsure in [
        "/api/v2/tests/explorer/raw?startTimeUtc=2025-01-01T00:00:00&endTimeUtc=2026-01-01T00:00:00",
        "/api/v2/nodes/testrun/1?startTimeUtc=2026-01-30T02:00:00&endTimeUtc=2026-01-30T01:00:00",
        "/api/v2/nodes/testrun/1?startTimeUtc=2026-01-30T00:00:00",
        "/api/v2/nodes/testrun/1?startTimeUtc=2026-01-30T00:00:00-05:00&endTimeUtc=2026-01-30T03:00:00",
        "/api/v2/unknown?pageSize=x&startTimeUtc=x",
        "/other?pageSize=x",
    ] {
        assert_eq!(check(unsure), Verdict::Pass, "{unsure}");
    }
    for path in ["nodes/capacityutilization/1", "nodes/errors/1", "nodes/testruncount/1", "nodes/testtime/1"]
    {
        let query = "startTimeUtc=2026-01-01T00:00:00&endTimeUtc=2026-01-09T00:00:00";
        assert!(
            matches!(check(&format!("/api/v2/{path}?{query}")), Verdict::Invalid(why) if why.contains("7 days")),
            "{path}"
        );
    }
    let target = Target::parse("/api/v2/tests", Some("pageSize=x")).unwrap();
    assert_eq!(Catchpoint::default().check(route(&Method::POST, target.path()), &target), Verdict::Pass);
}

#[test]
fn freshness_follows_the_data() {
    let window =
        |end: &str| fresh(&format!("/api/v2/tests/alerts?startTimeUtc=2026-01-30T00:00:00&endTimeUtc={end}"));
    assert_eq!(window("2026-01-31T09:45:00"), Some(86_400));
    assert_eq!(window("2026-01-31T09:45:01"), Some(30));
    assert_eq!(window("2027-01-01T00:00:00"), Some(30));
    assert_eq!(window("2026-01-30"), Some(30));
    assert_eq!(fresh("/api/v2/tests/alerts?endTimeUtc=2026-01-30T00:00:00"), Some(30));
    assert_eq!(
        fresh("/api/v2/tests/errors/raw/1?startTimeUtc=2026-01-01T00:00:00&endTimeUtc=2026-01-02T00:00:00"),
        Some(30)
    );
    assert_eq!(fresh("/api/v2/tests/explorer/aggregated"), Some(30));
    assert_eq!(fresh("/api/v2/instanttests/5"), Some(3));
    assert_eq!(fresh("/api/v2/nodes/status/5"), Some(15));
    assert_eq!(fresh("/api/V4/Tests"), Some(60));
    assert_eq!(fresh("/api/v2/tests/enumeration"), Some(3_600));
    assert_eq!(fresh("/api/v2/tests/records/waterfall/data/x"), Some(86_400));
    assert_eq!(fresh("/api/v2/unknown"), None);
    let target = Target::parse("/api/v2/tests", None).unwrap();
    assert_eq!(freshness(route(&Method::POST, target.path()), &target, NOW), None);
}

#[test]
fn headers_are_what_the_vendor_wants() {
    let accept = |given: Option<&'static str>| {
        let from: HeaderMap =
            given.map(|value| (ACCEPT, HeaderValue::from_static(value))).into_iter().collect();
        let (mut shaped, mut supplied) = (HeaderMap::new(), from.clone());
        shape(&from, &mut shaped);
        supply(&mut supplied);
        assert_eq!(shaped.get(ACCEPT), supplied.get(ACCEPT));
        assert!(supplied.contains_key(http::header::USER_AGENT));
        shaped[ACCEPT].to_str().unwrap().to_owned()
    };
    for json in [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("text/html"),
        Some("text/html,*/*;q=0.8"),
        Some(""),
    ] {
        assert_eq!(accept(json), "application/json", "{json:?}");
    }
    assert_eq!(accept(Some("text/plain")), "text/plain");
    assert_eq!(accept(Some("text/*")), "text/json");
    let mut shaped = HeaderMap::new();
    shape(&[(CONTENT_TYPE, JSON)].into_iter().collect(), &mut shaped);
    assert_eq!(shaped, [(ACCEPT, JSON)].into_iter().collect());
    let mut own = HeaderMap::new();
    own.insert(http::header::USER_AGENT, HeaderValue::from_static("terraform"));
    supply(&mut own);
    assert_eq!(own[http::header::USER_AGENT], "terraform");
}

#[test]
fn errors_wear_the_envelope() {
    let body = error_body("say \"when\"", "id-1");
    assert_eq!(
        body.bytes,
        r#"{"data":null,"messages":[],"errors":[{"message":"say \"when\""}],"completed":false,"traceId":"id-1"}"#
    );
    assert_eq!(body.content_type, "application/json");
}

#[test]
fn unfinished_and_odd_answers_are_not_kept() {
    let seen =
        |completed, wellformed| keeping(Some(&Observed { completed, wellformed, ..Observed::default() }));
    assert_eq!(seen(Some(true), true), Keeping::May);
    assert_eq!(seen(None, true), Keeping::May);
    assert_eq!(seen(Some(false), true), Keeping::Unfinished);
    assert_eq!(seen(Some(true), false), Keeping::Malformed);
    assert_eq!(keeping(None), Keeping::Malformed);

    let links = Arc::new(Links {
        scheme: "https".into(),
        authority: "io.catchpoint.com".into(),
        base_path: String::new(),
        mount: String::new(),
        public_url: None,
    });
    let edited = |typed: Option<&'static str>| {
        let answer: HeaderMap =
            typed.map(|value| (CONTENT_TYPE, HeaderValue::from_static(value))).into_iter().collect();
        edits(&answer, &links).is_some_and(|edits| edits.leave_out == Some("usageLimits"))
    };
    for envelope in
        [None, Some("application/json; charset=utf-8"), Some("Text/Plain"), Some("application/problem+json")]
    {
        assert!(edited(envelope), "{envelope:?}");
    }
    assert!(!edited(Some("text/html")) && !edited(Some("image/png")));
}
