use super::*;

fn with_basic(pair: &str) -> HeaderMap {
    let value = format!("Basic {}", STANDARD.encode(pair));
    [(AUTHORIZATION, HeaderValue::from_str(&value).unwrap())].into_iter().collect()
}

/// The pairs that were found, or the error's code.
fn asked(of: OAuth, headers: &HeaderMap, form: &str) -> String {
    match of.asked(headers, form.as_bytes()) {
        Ok(Asked::Credentials(pairs)) => {
            let told: Vec<_> = pairs.iter().map(|(id, s)| format!("{id}={}", s.expose())).collect();
            told.join(" ")
        }
        Ok(Asked::Refresh(token)) => format!("refresh {}", token.expose()),
        Err(error) => error.as_str().to_owned(),
    }
}

#[test]
fn consumers_ask_as_they_ask_the_vendor() {
    use OAuth::{CatchpointV1, Privx};
    let (none, basic) = (HeaderMap::new(), with_basic("web:t:1"));
    for (of, headers, form, wanted) in [
        (CatchpointV1, &none, "grant_type=client_credentials&client_id=web&client_secret=t%2B1", "web=t+1"),
        (CatchpointV1, &none, "client_secret=t&client_id=web&grant_type=client_credentials", "web=t"),
        (CatchpointV1, &basic, "grant_type=client_credentials", "web=t:1"),
        (CatchpointV1, &none, "grant_type=client_credentials&client_id=web", "invalid_request"),
        (
            CatchpointV1,
            &none,
            "grant_type=client_credentials&client_id=a&client_id=b&client_secret=t",
            "invalid_request",
        ),
        (CatchpointV1, &none, "client_id=web&client_secret=t", "invalid_request"),
        (CatchpointV1, &none, "grant_type=password&username=web&password=t", "unsupported_grant_type"),
        (CatchpointV1, &none, "", "invalid_request"),
        (Privx, &basic, "grant_type=password&username=api&password=s", "api=s web=t:1"),
        (Privx, &none, "grant_type=password&username=api&password=s", "api=s"),
        (Privx, &basic, "grant_type=client_credentials", "web=t:1"),
        (Privx, &none, "grant_type=client_credentials&client_id=a&client_secret=s", "a=s"),
        (Privx, &basic, "grant_type=refresh_token&refresh_token=r", "refresh r"),
        (Privx, &none, "grant_type=refresh_token", "invalid_request"),
        (Privx, &none, "grant_type=authorization_code&code=x", "unsupported_grant_type"),
    ] {
        assert_eq!(asked(of, headers, form), wanted, "{of:?} {form}");
    }
}

#[test]
fn the_vendor_is_asked_in_its_own_way() {
    let secret = |text: &str| Secret::new(text.to_owned());
    let client = |via| Client { id: secret("id"), secret: secret("s&1"), via };
    let told = |of: OAuth, client: &Client| {
        let sign_in = of.sign_in(client).unwrap();
        let basic = basic(&sign_in.headers).map(|(user, password)| format!("{user}:{}", password.expose()));
        (sign_in.path, sign_in.form.expose().to_owned(), basic)
    };
    assert_eq!(
        told(OAuth::CatchpointV1, &client(None)),
        ("/ui/api/token", "grant_type=client_credentials&client_id=id&client_secret=s%261".into(), None)
    );
    let via = Via { id: secret("privx-external"), secret: secret("o") };
    assert_eq!(
        told(OAuth::Privx, &client(Some(via))),
        (
            "/auth/api/v1/oauth/token",
            "grant_type=password&username=id&password=s%261".into(),
            Some("privx-external:o".into())
        )
    );
    assert_eq!(
        told(OAuth::Privx, &client(None)),
        ("/auth/api/v1/oauth/token", "grant_type=client_credentials".into(), Some("id:s&1".into()))
    );
    let colon = Client { id: secret("a:b"), ..client(None) };
    assert!(OAuth::Privx.sign_in(&colon).is_err());
}

#[test]
fn tokens_are_read_from_what_vendors_send() {
    let granted = |body: &str| {
        let granted = OAuth::Privx.granted(body.as_bytes())?;
        Some((granted.access.expose().to_owned(), granted.lifetime.as_secs()))
    };
    for (body, wanted) in [
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":300}"#, Some(("a", 300))),
        (r#"{"access_token":"a","expires_in":"60","refresh_token":"r"}"#, Some(("a", 60))),
        (r#"{"access_token":"a"}"#, Some(("a", 300))),
        (r#"{"access_token":"a","expires_in":-1}"#, Some(("a", 300))),
        (r#"{"access_token":"a","expires_in":1e300}"#, Some(("a", 2_592_000))),
        (r#"{"access_token":""}"#, None),
        (r#"{"access_token":"a b"}"#, None),
        (r#"{"error":"x"}"#, None),
        ("<html>", None),
    ] {
        assert_eq!(granted(body), wanted.map(|(token, secs)| (token.to_owned(), secs)), "{body}");
    }
    assert!(OAuth::CatchpointV1.says_expired(br#"{"Message":"The Expired Token was refused"}"#));
    assert!(!OAuth::CatchpointV1.says_expired(br#"{"Message":"no such test"}"#));
    assert!(!OAuth::CatchpointV1.says_expired(b"Expired Token"));
}

#[test]
fn answers_and_errors_have_the_vendors_shape() {
    let token = |text: &str| Secret::new(text.to_owned());
    let answer = OAuth::CatchpointV1.answer(&token("t"), Duration::from_secs(60), None);
    assert_eq!(answer, r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#);
    let answer = OAuth::Privx.answer(&token("t"), Duration::from_secs(60), Some(&token("r")));
    assert_eq!(answer, r#"{"access_token":"t","token_type":"Bearer","expires_in":60,"refresh_token":"r"}"#);
    let error = OAuth::CatchpointV1.error_body(GrantError::Client, "no");
    assert_eq!(error.bytes, r#"{"Message":"no"}"#);
    let error = OAuth::Privx.error_body(GrantError::Client, "no");
    assert_eq!(error.bytes, r#"{"error":"invalid_client","error_description":"no"}"#);
    assert!(OAuth::Privx.is_token_path("/Auth/api/v1/oauth/token/"));
    assert!(!OAuth::Privx.is_token_path("/ui/api/token"));
}
