use super::*;

fn generic(credential: Credential) -> Generic {
    Generic { credential: Some(credential) }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn target(query: &str) -> Target {
    Target::parse("/x", Some(query)).unwrap()
}

fn token(dialect: &Generic, lines: &[(&'static str, &'static str)], query: &str) -> Option<String> {
    let (headers, target) = (headers(lines), target(query));
    dialect.presented(&headers, &target).map(|token| String::from_utf8(token.into_owned()).unwrap())
}

#[test]
fn tokens_stand_where_the_credential_would() {
    let some = |text: &str| Some(text.to_owned());
    let bearer = generic(Credential::Bearer);
    assert_eq!(token(&bearer, &[("authorization", "Bearer abc")], ""), some("abc"));
    assert_eq!(token(&bearer, &[("authorization", "bEARER  abc ")], ""), some("abc"));
    for bad in ["Bearer", "Bearer ", "Bearerabc", "Basic YTpi", "Bear"] {
        assert_eq!(token(&bearer, &[("authorization", bad)], "token=x"), None, "{bad}");
    }
    assert_eq!(token(&bearer, &[("authorization", "Bearer a"), ("authorization", "Bearer b")], ""), None);
    assert_eq!(token(&Generic { credential: None }, &[("authorization", "Bearer abc")], ""), some("abc"));

    let header = generic(Credential::Header(HeaderName::from_static("x-api-key")));
    assert_eq!(token(&header, &[("x-api-key", " abc "), ("authorization", "Bearer x")], ""), some("abc"));
    assert_eq!(token(&header, &[("authorization", "Bearer x")], ""), None);
    assert_eq!(token(&header, &[("x-api-key", "a"), ("x-api-key", "b")], ""), None);

    let query = generic(Credential::Query("token".into()));
    assert_eq!(token(&query, &[], "a=1&tok%65n=a%2Bb"), some("a+b"));
    assert_eq!(token(&query, &[], "token="), None);
    assert_eq!(token(&query, &[], "token=a&token=b"), None);

    let basic = generic(Credential::Basic);
    for (plain, presented) in
        [("any:abc", Some("abc")), ("abc:", Some("abc")), (":a:c", Some("a:c")), (":", None), ("abc", None)]
    {
        let value = format!("basic {}", STANDARD.encode(plain));
        let mut map = HeaderMap::new();
        map.insert(AUTHORIZATION, value.parse().unwrap());
        let found = basic.presented(&map, &target("")).map(|t| String::from_utf8(t.into_owned()).unwrap());
        assert_eq!(found.as_deref(), presented, "{plain}");
    }
    assert_eq!(token(&basic, &[("authorization", "Basic ???")], ""), None);
}

#[test]
fn nothing_of_the_callers_credential_is_left() {
    let lines = [("authorization", "Bearer weir_t"), ("x-api-key", "weir_t"), ("accept", "*/*")];
    for credential in [
        Credential::Bearer,
        Credential::Basic,
        Credential::Query("token".into()),
        Credential::Header(HeaderName::from_static("x-api-key")),
    ] {
        let dialect = generic(credential.clone());
        let mut headers = headers(&lines);
        let left = dialect.strip(&mut headers, target("a=1&token=weir_t&t%6Fken=weir_t"));
        assert!(!headers.contains_key(AUTHORIZATION) && headers.contains_key(ACCEPT));
        match credential {
            Credential::Query(_) => assert_eq!(left.query(), Some("a=1")),
            Credential::Header(name) => assert!(!headers.contains_key(name)),
            _ => {}
        }
    }
}

#[test]
fn keys_go_where_config_says_or_nowhere() {
    let key = |text: &str| Secret::new(text.into());
    let signed = |credential, value: &str| {
        let mut headers = headers(&[("authorization", "Bearer old")]);
        let signed = generic(credential).sign(&mut headers, &target("b=2"), &key(value));
        (headers, signed)
    };
    let (headers, _) = signed(Credential::Bearer, "k-1");
    assert_eq!(headers[AUTHORIZATION], "Bearer k-1");
    assert!(headers[AUTHORIZATION].is_sensitive());
    let (headers, _) = signed(Credential::Header(HeaderName::from_static("x-api-key")), "k 1");
    assert_eq!(headers["x-api-key"], "k 1");
    let (headers, _) = signed(Credential::Basic, "user:pässword");
    assert_eq!(headers[AUTHORIZATION], format!("Basic {}", STANDARD.encode("user:pässword")));
    match signed(Credential::Query("api key".into()), "k&1=é").1.unwrap() {
        Signed::InQuery(query) => assert_eq!(query.expose(), "b=2&api%20key=k%261%3D%C3%A9"),
        other => panic!("the key belongs in the query: {other:?}"),
    }

    for (credential, bad) in [
        (Credential::Bearer, "a b"),
        (Credential::Bearer, "a\n"),
        (Credential::Bearer, ""),
        (Credential::Header(HeaderName::from_static("x")), "é"),
        (Credential::Header(HeaderName::from_static("x")), " a"),
        (Credential::Basic, "nocolon"),
        (Credential::Basic, "a:\n"),
        (Credential::Query("k".into()), ""),
    ] {
        assert!(!generic(credential.clone()).accepts_key(&key(bad)), "{bad:?}");
        let (headers, signed) = signed(credential, bad);
        assert_eq!(signed.unwrap_err(), UnusableKey);
        assert_eq!(headers[AUTHORIZATION], "Bearer old");
    }
}

#[test]
fn with_a_key_few_fields_shape_an_answer() {
    let from = headers(&[
        ("accept", "Application/JSON"),
        ("accept-language", "de, EN;q=0.5"),
        ("content-type", "application/json; charset=UTF-8"),
        ("x-forwarded-for", "10.0.0.1"),
    ]);
    let mut to = HeaderMap::new();
    generic(Credential::Bearer).shape(&from, &mut to);
    assert_eq!(
        to,
        headers(&[
            ("accept", "application/json"),
            ("accept-language", "de, en;q=0.5"),
            ("content-type", "application/json;charset=UTF-8"),
        ])
    );
    let mut to = HeaderMap::new();
    Generic { credential: None }.shape(&from, &mut to);
    assert_eq!(to, from);
}

#[test]
fn errors_are_problems() {
    let body = error_body(StatusCode::TOO_MANY_REQUESTS, "say \"when\"", "id-1");
    assert_eq!(body.content_type, "application/problem+json");
    assert_eq!(
        body.bytes,
        r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"say \"when\"","request_id":"id-1"}"#
    );
}
