use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn links() -> Arc<Links> {
    Arc::new(Links {
        scheme: "https".into(),
        authority: "io.example.com".into(),
        base_path: String::new(),
        mount: "/cp".into(),
        public_url: None,
    })
}

fn edits() -> Edits {
    Edits { leave_out: Some("usageLimits"), links: Some(links()) }
}

/// The body after its edits, fed in pieces of the given sizes, over and over.
fn edited(body: &[u8], sizes: &[usize]) -> (Vec<u8>, Observed) {
    let mut editor = Editor::new(edits());
    let mut out = BytesMut::new();
    let mut rest = body;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at((*size).clamp(1, rest.len()));
        editor.push(chunk, &mut out);
        rest = after;
    }
    let observed = editor.finish(&mut out);
    (out.to_vec(), observed)
}

fn text(body: &str) -> String {
    let whole = edited(body.as_bytes(), &[usize::MAX]);
    assert_eq!(whole, edited(body.as_bytes(), &[1]), "{body}");
    String::from_utf8(whole.0).unwrap()
}

fn seen(body: &str) -> Observed {
    edited(body.as_bytes(), &[3]).1
}

#[test]
fn usage_limits_are_left_out_wherever_they_stand() {
    for (body, without) in [
        (r#"{"usageLimits":{"a":[1,{}]},"b":2}"#, r#"{"b":2}"#),
        (r#"{"a":1,"usageLimits":null,"b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1,"usageLimits":"x,}]"}"#, r#"{"a":1}"#),
        (r#"{"usageLimits":5}"#, r#"{}"#),
        (r#"{ "usageLimits" : 5 , "b" : 2 }"#, r#"{  "b" : 2 }"#),
        (r#"{"a":1 , "usageLimits" : [ 5 ] }"#, r#"{"a":1 }"#),
        (r#"{"usageLimits":1,"usageLimits":2,"a":3,"usageLimits":4}"#, r#"{"a":3}"#),
        (r#"{"a":1,"usage\u004cimits":2}"#, r#"{"a":1}"#),
        (
            r#"{"usagelimits":1,"data":{"usageLimits":2},"b":[{"usageLimits":3}]}"#,
            r#"{"usagelimits":1,"data":{"usageLimits":2},"b":[{"usageLimits":3}]}"#,
        ),
        (r#"[{"usageLimits":1}]"#, r#"[{"usageLimits":1}]"#),
    ] {
        assert_eq!(text(body), without);
    }
    assert_eq!(seen(r#"{"a":1,"usageLimits": {"b" : 2} ,"c":3}"#).removed.unwrap(), r#"{"b" : 2}"#);
    assert_eq!(seen(r#"{"a":1}"#).removed, None);
}

#[test]
fn links_lead_through_weir() {
    for (body, rewritten) in [
        (
            r#"{"data":{"next":"\/api\/v2\/tests?a=1\u0026b=2"}}"#,
            r#"{"data":{"next":"/cp/api/v2/tests?a=1&b=2"}}"#,
        ),
        (r#"{"next":"https://io.example.com/x?q=\u00e4\"","a":1}"#, r#"{"next":"/cp/x?q=ä\"","a":1}"#),
        (
            r#"{"data":{"a":{"next":"/x"},"previous":null,"n\u0065xt" : "/y"}}"#,
            r#"{"data":{"a":{"next":"/x"},"previous":null,"n\u0065xt" : "/cp/y"}}"#,
        ),
        (
            r#"{"data":[{"next":"/x"}],"next":{"next":"/z"},"previous":"?page=1\u0026a"}"#,
            r#"{"data":[{"next":"/x"}],"next":{"next":"/z"},"previous":"?page=1\u0026a"}"#,
        ),
        (r#"{"data":{"next":"https://evil.example/x?token=1"}}"#, r#"{"data":{"next":null}}"#),
        (r#"{"data":{"next":"\ud800"}}"#, r#"{"data":{"next":null}}"#),
        (r#"{"other":{"next":"/x"}}"#, r#"{"other":{"next":"/x"}}"#),
    ] {
        assert_eq!(text(body), rewritten);
    }
    let observed = seen(r#"{"data":{"next":"https://evil.example/x?token=1","previous":"/x"}}"#);
    assert_eq!((observed.links_dropped, observed.links_rewritten), (1, 1));
    assert_eq!(observed.foreign.as_deref(), Some("https://evil.example/x"));
}

#[test]
fn the_envelope_is_observed() {
    let observed = seen(r#"{"data":{"completed":true,"status":"x"},"completed":false,"status":"don\u0065"}"#);
    assert_eq!((observed.completed, observed.status.as_deref()), (Some(false), Some("done")));
    assert_eq!(seen(r#"{"completed":false,"completed":true}"#).completed, Some(false));
    assert_eq!(
        seen(r#"{"completed":"false","status":3}"#),
        Observed { wellformed: true, ..Observed::default() }
    );
    assert_eq!(seen(r#"{"compl\u0065ted":true}"#).completed, Some(true));
    assert!(seen("\u{feff}{\"completed\":true}").wellformed);
}

#[test]
fn what_is_no_json_passes_as_it_came() {
    for body in [
        "",
        "<html>usageLimits</html>",
        r#"{"a":1,"usageLimits":{"b":}}"#,
        r#"{"a":1,"usageLimits":{"b":1"#,
        r#"{"a":1,"usageLim"#,
        r#"{"a":1, "#,
        r#"{"next":"/x"#,
        r#"{"a":1} x"#,
        r#"{"a":01}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":1,}"#,
        r#"["a":1]"#,
        r#"{"a":tru}"#,
    ] {
        assert_eq!(text(body), body);
        assert!(!seen(body).wellformed, "{body}");
    }
    let deep = "[".repeat(MAX_DEPTH as usize) + &"]".repeat(MAX_DEPTH as usize);
    assert!(seen(&deep).wellformed);
    assert!(!seen(&format!("[{deep}]")).wellformed);
    assert_eq!(text(&format!("[{deep}]")), format!("[{deep}]"));
}

#[test]
fn what_is_held_is_bounded() {
    let long = "x".repeat(MAX_LINK_BYTES);
    assert_eq!(text(&format!(r#"{{"next":"/{long}","a":1}}"#)), r#"{"next":null,"a":1}"#);
    let status = format!(r#"{{"status":"{long}","a":1}}"#);
    assert_eq!(text(&status), status);
    assert_eq!(seen(&format!(r#"{{"status":"{}"}}"#, &long[..65])).status, None);
    let name = format!(r#"{{"a":1,"{long}":"next","b":2}}"#);
    assert_eq!(text(&name), name);

    let much = "x".repeat(MAX_REMOVED_BYTES);
    let body = format!(r#"{{"a":1,"usageLimits":["{much}"],"b":2}}"#);
    assert_eq!(text(&body), r#"{"a":1,"b":2}"#);
    assert_eq!(seen(&body).removed, None);

    let gap = " ".repeat(MAX_GAP_BYTES);
    let body = format!(r#"{{"a":1,{gap}"usageLimits" : {{"b":1}} }}"#);
    assert_eq!(text(&body), format!(r#"{{"a":1,{gap}"usageLimits" : null}}"#));
    let body = format!(r#"{{"a":1,{gap}"b":2,"usageLimits":1,"c":3}}"#);
    assert_eq!(text(&body), format!(r#"{{"a":1,{gap}"b":2,"c":3}}"#));

    let mut editor = Editor::new(edits());
    let mut out = BytesMut::new();
    for piece in [r#"{"a":1, "usageLimits":[""#, &much, &much, r#""],"next":"#, &format!("\"{much}")] {
        editor.push(piece.as_bytes(), &mut out);
        assert!(editor.held.len() <= MAX_REMOVED_BYTES);
    }
}

/// Documents rich in the names that matter, as serde_json would write them.
fn document() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        2 => prop::sample::select(vec!["usageLimits", "data", "next", "previous", "completed", "status", "a"]),
        1 => prop::sample::select(vec!["", "b\"\\/", "ünï", "next ", "\u{1}"]),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "/api/v2/tests?a=1&b=2",
            "https://io.example.com/x/\"y\"",
            "https://evil.example/",
            "?p=2",
            "",
            "done",
            "\\u0041\u{7}ß/",
        ])
        .prop_map(Value::from),
    ];
    let object = |members: Vec<(&'static str, Value)>| {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let names = name.clone();
    let any = leaf.prop_recursive(3, 30, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::vec((names.clone(), inner), 0..6).prop_map(object),
        ]
    });
    prop_oneof![
        1 => any.clone(),
        6 => prop::collection::vec((name, any), 0..7).prop_map(object),
    ]
}

/// `value` as JSON, with the members of each object turned by `by` places.
fn spelt(value: &Value, by: usize) -> String {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let one = |(name, value): (&String, &Value)| {
                format!("{}:{}", Value::from(name.as_str()), spelt(value, by))
            };
            let mut members: Vec<String> = members.iter().map(one).collect();
            let by = by % members.len();
            members.rotate_left(by);
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| spelt(item, by)).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

/// The same edits on the parsed document.
fn oracle(document: &mut Value) {
    let links = links();
    let rewrite = |object: &mut Value| {
        for name in ["next", "previous"] {
            if let Some(value) = object.get_mut(name)
                && let Some(link) = value.as_str()
            {
                match links.rewrite(link) {
                    Rewritten::Same => {}
                    Rewritten::To(to) => *value = to.into(),
                    Rewritten::Foreign => *value = Value::Null,
                }
            }
        }
    };
    if let Some(top) = document.as_object_mut() {
        top.remove("usageLimits");
        top.get_mut("data").map(rewrite);
        rewrite(document);
    }
}

/// `json` with white space between its parts and letters of strings escaped, as `picks` says.
fn respell(json: &str, picks: &[u8]) -> String {
    let mut picks = picks.iter().cycle().copied();
    let (mut out, mut in_string, mut escape) = (String::new(), false, 0);
    for c in json.chars() {
        let pick = picks.next().unwrap_or(0);
        if !in_string {
            let word = c.is_ascii_alphanumeric() || "-+.".contains(c);
            out.push_str(if word { "" } else { ["", " ", "\n\t", ""][usize::from(pick % 4)] });
        }
        let plain = in_string && escape == 0 && c != '\\' && c != '"';
        match pick % 5 {
            1 if plain && c == '/' => out.push_str("\\/"),
            1 if plain && c.is_ascii() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            _ => out.push(c),
        }
        in_string ^= c == '"' && escape == 0;
        escape = match (escape, c) {
            (0, '\\') if in_string => 1,
            (1, 'u') => 4,
            (left, _) => u8::saturating_sub(left, 1),
        };
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn editing_streams_is_editing_documents(
        document in document(), picks in prop::collection::vec(0u8..20, 1..30), sizes in prop::collection::vec(1usize..12, 1..8),
    ) {
        let body = respell(&spelt(&document, sizes[0]), &picks);
        let (out, observed) = edited(body.as_bytes(), &[usize::MAX]);
        prop_assert_eq!(&edited(body.as_bytes(), &sizes), &(out.clone(), observed.clone()), "chunking shows");
        let mut wanted: Value = document.clone();
        oracle(&mut wanted);
        prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), wanted.clone(), "{}", body);
        prop_assert!(observed.wellformed);
        let removed = observed.removed.map(|raw| serde_json::from_slice::<Value>(&raw).unwrap());
        prop_assert_eq!(removed.as_ref(), document.as_object().and_then(|top| top.get("usageLimits")));
        prop_assert_eq!(observed.completed, document.get("completed").filter(|_| document.is_object()).and_then(Value::as_bool));
        if wanted == document {
            prop_assert_eq!(out, body.as_bytes(), "re-formatted");
        }
    }

    #[test]
    fn wellformed_is_what_serde_json_takes(
        document in document(), hits in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]|\n|\u{1}"), 0..3), cut in any::<prop::sample::Index>(), sizes in prop::collection::vec(1usize..9, 1..5),
    ) {
        let mut body = document.to_string().into_bytes();
        for (at, with) in hits {
            let at = at.index(body.len());
            body[at] = with.as_bytes()[0];
        }
        body.truncate(body.len() - cut.index(body.len() + 1) / 4);
        let (out, observed) = edited(&body, &sizes);
        prop_assert_eq!(observed.wellformed, serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok(), "{}", String::from_utf8_lossy(&body));
        prop_assert_eq!(&(out, observed), &edited(&body, &[usize::MAX]));
    }

    #[test]
    fn without_edits_every_byte_passes(body in prop::collection::vec(any::<u8>(), 0..80), json in document(), sizes in prop::collection::vec(1usize..9, 1..5)) {
        for body in [body, json.to_string().into_bytes()] {
            let mut editor = Editor::new(Edits::default());
            let mut out = BytesMut::new();
            for chunk in body.chunks(sizes[0]) {
                editor.push(chunk, &mut out);
            }
            let _ = editor.finish(&mut out);
            prop_assert_eq!(out.to_vec(), body);
        }
    }
}
