use super::*;

#[test]
fn canonical_spelling() {
    let t = Target::parse("/api/%76%32/a%2cb%7E", Some("b=2&a=%41%2b%3a&&b=1")).unwrap();
    assert_eq!(t.to_string(), "/api/v2/a%2Cb~?a=A%2B:&b=2&b=1");
}
