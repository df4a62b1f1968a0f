//! One spelling for all JSON texts that say the same, to key a request by its body
//! and to send (DESIGN, law 11).
//!
//! Members are sorted by their decoded names, blanks go, strings are escaped no
//! more than they must be. Numbers stay as they are written: 1, 1.0 and 1e0 are
//! three keys, because what a vendor makes of them is not ours to guess, and none
//! loses a digit. A name that stands twice in one object has no agreed meaning
//! (RFC 8259, section 4), so such a text has no canonical form.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// The canonical form; none if `text` is no JSON text, or one with a name twice or
/// half a surrogate pair. Nesting is bounded by the parser (128 levels).
#[must_use]
pub fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len());
    value(text.trim_start_matches(BLANK), &mut out)?;
    Some(out.into_bytes())
}

const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

/// Writes the value that `text` begins with; what follows it. The text is known to
/// be well formed.
fn value<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    match text.as_bytes().first()? {
        b'{' => object(&text[1..], out),
        b'[' => array(&text[1..], out),
        b'"' => {
            let (string, rest) = string(text)?;
            out.push_str(&spell(&string));
            Some(rest)
        }
        _ => {
            let end = text.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(text.len());
            out.push_str(&text[..end]);
            Some(&text[end..])
        }
    }
}

fn object<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let mut members: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = text.trim_start_matches(BLANK);
    while !rest.starts_with('}') {
        let (name, after) = string(rest)?;
        let after = after.trim_start_matches(BLANK).strip_prefix(':')?;
        let mut written = String::new();
        let after = value(after.trim_start_matches(BLANK), &mut written)?;
        if members.insert(name, written).is_some() {
            return None;
        }
        rest = next(after);
    }
    let spelt: Vec<String> = members.iter().map(|(name, value)| format!("{}:{value}", spell(name))).collect();
    out.push('{');
    out.push_str(&spelt.join(","));
    out.push('}');
    Some(&rest[1..])
}

fn array<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    out.push('[');
    let mut rest = text.trim_start_matches(BLANK);
    while !rest.starts_with(']') {
        rest = next(value(rest, out)?);
        if !rest.starts_with(']') {
            out.push(',');
        }
    }
    out.push(']');
    Some(&rest[1..])
}

/// Past a comma, if there is one.
fn next(text: &str) -> &str {
    let text = text.trim_start_matches(BLANK);
    text.strip_prefix(',').unwrap_or(text).trim_start_matches(BLANK)
}

/// The string that `text` begins with, decoded, and what follows it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let inner = text.strip_prefix('"')?;
    let end = inner.find(|c| match c {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        c => c == '"',
    })?;
    let decoded = serde_json::from_str(&text[..end + 2]).ok()?;
    Some((decoded, &text[end + 2..]))
}

fn spell(string: &str) -> String {
    serde_json::Value::from(string).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn spelt(text: &str) -> Option<String> {
        canonical(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn one_spelling() {
        for (text, is) in [
            (" {\"b\" : [1, 2 ,{}],\n\"a\":\"\\u0041\\/\" } ", r#"{"a":"A/","b":[1,2,{}]}"#),
            ("[ ]", "[]"),
            ("1.0", "1.0"),
            ("[1,1.0,1e0,-0,12345678901234567890]", "[1,1.0,1e0,-0,12345678901234567890]"),
            ("\"a\\\"}b\\\\\"", "\"a\\\"}b\\\\\""),
            ("null", "null"),
        ] {
            assert_eq!(spelt(text).as_deref(), Some(is), "{text}");
        }
        for none in
            ["", "{", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":1}", "[1] 2", "\"\\ud800\"", "\u{feff}1"]
        {
            assert_eq!(spelt(none), None, "{none}");
        }
        assert_eq!(canonical(b"\"\xff\""), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_means_the_same_however_it_was_written(value in json()) {
            let (short, long) = (value.to_string(), serde_json::to_string_pretty(&value).unwrap());
            let is = spelt(&short).unwrap();
            prop_assert_eq!(&spelt(&long).unwrap(), &is);
            prop_assert_eq!(&spelt(&is).unwrap(), &is);
            prop_assert_eq!(serde_json::from_str::<Value>(&is).unwrap(), value);
        }
    }
}
