//! Random histories of one URL, well-formed and not.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A request is forwarded, whatever is stored, and answered after some seconds.
    Forward {
        request: String,
        response: String,
        delay: u64,
    },
    Ask {
        request: String,
    },
    /// A HEAD that is sent on if it is not answered from what is stored.
    Head {
        request: String,
        response: String,
    },
    /// A request of another method is answered; `location` may be empty.
    Write {
        method: &'static str,
        path: &'static str,
        status: u16,
        location: &'static str,
    },
    Tick(u64),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let forward = (requests(), responses(), 0..8_u64).prop_map(|(request, response, delay)| Step::Forward {
        request,
        response,
        delay,
    });
    let step = prop_oneof![
        3 => forward,
        4 => requests().prop_map(|request| Step::Ask { request }),
        1 => (requests(), head_responses()).prop_map(|(request, response)| Step::Head { request, response }),
        2 => (0..40_u64).prop_map(Step::Tick),
        1 => writes(),
    ];
    proptest::collection::vec(step, 2..14)
}

fn writes() -> impl Strategy<Value = Step> {
    let methods = ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "OPTIONS"];
    let locations =
        ["", "", "/a", "https://API.example:443/a?q", "https://elsewhere.example/a", "a", "/b", "mailto:a"];
    let fields = (
        proptest::sample::select(methods.to_vec()),
        proptest::sample::select(vec!["/a", "/b"]),
        proptest::sample::select(vec![200, 204, 303, 404, 500]),
        proptest::sample::select(locations.to_vec()),
    );
    fields.prop_map(|(method, path, status, location)| Step::Write { method, path, status, location })
}

const RESPONSE_DIRECTIVES: &[&str] = &[
    "max-age=60",
    "max-age=60",
    "max-age=5",
    "MAX-AGE=30",
    "max-age=\"40\"",
    "max-age=0",
    "max-age=x",
    "max-age",
    "max-age=-1",
    "s-maxage=90",
    "s-maxage=3",
    "s-maxage=",
    "no-cache",
    "no-cache=\"x-a, x-b\"",
    "no-store",
    "private",
    "private=\"x-a\"",
    "public",
    "public",
    "public=1",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "stale-while-revalidate=20",
    "stale-if-error=20",
    "stale-if-error=x",
    "immutable",
    "ext=\"no-store, private\"",
    "",
];

const REQUEST_DIRECTIVES: &[&str] = &[
    "no-cache",
    "no-store",
    "max-age=20",
    "max-age=0",
    "max-age=x",
    "min-fresh=10",
    "min-fresh=x",
    "max-stale",
    "max-stale=15",
    "max-stale=x",
    "only-if-cached",
    "Max-Stale=40",
    "ext",
];

fn directives(pool: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    let line = proptest::collection::vec(proptest::sample::select(pool), 1..4)
        .prop_map(|members| format!("cc: {}", members.join(", ")));
    proptest::collection::vec(line, 0..=most)
}

fn one_of(pool: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::select(pool)
        .prop_map(|text| if text.is_empty() { vec![] } else { vec![text.to_owned()] })
}

/// None, one or two lines of a date.
fn dates(name: &'static str) -> impl Strategy<Value = Vec<String>> {
    let one = (-60..200_i64).prop_map(move |at| vec![format!("{name}: @{at}")]);
    prop_oneof![
        4 => Just(vec![]),
        4 => one.clone(),
        1 => one.prop_map(|line| [line.clone(), line].concat()),
        1 => Just(vec![format!("{name}: 0")]),
    ]
}

fn requests() -> impl Strategy<Value = String> {
    let fields = (
        directives(REQUEST_DIRECTIVES, 1),
        one_of(&["", "", "accept: a", "accept: b", "accept: a, b", "accept: a ,b"]),
        one_of(&["", "", "", "authorization: x"]),
        one_of(&["", "", "", "pragma: no-cache"]),
    );
    fields.prop_map(|(a, b, c, d)| [a, b, c, d].concat().join(" | "))
}

fn responses() -> impl Strategy<Value = String> {
    let first = (
        proptest::sample::select(&["200", "200", "200", "200", "404", "500", "206", "302", "410", "599"][..]),
        directives(RESPONSE_DIRECTIVES, 2),
        dates("expires"),
        dates("date"),
    );
    let second = (
        one_of(&["", "", "age: 10", "age: 30, 1", "age: x"]),
        one_of(&["", "", "vary: accept", "vary: Accept, x-other", "vary: *"]),
        one_of(&["", "etag: \"a\"", "last-modified: @-900"]),
        one_of(&["", "", "", "set-cookie: a=b"]),
        one_of(TARGETED),
    );
    (first, second).prop_map(|((status, a, b, c), (d, e, f, g, h))| {
        [vec![status.to_owned()], a, b, c, d, e, f, g, h].concat().join(" | ")
    })
}

/// RFC 9213, well-formed and not.
const TARGETED: &[&str] = &[
    "",
    "",
    "",
    "",
    "",
    "",
    "cdn-cache-control: max-age=30",
    "cdn-cache-control: max-age=30, must-revalidate",
    "cdn-cache-control: max-age=5, stale-while-revalidate=20",
    "cdn-cache-control: no-store",
    "cdn-cache-control: no-cache, max-age=60",
    "cdn-cache-control: private, max-age=60",
    "cdn-cache-control: s-maxage=40",
    "cdn-cache-control: ext",
    "cdn-cache-control: max-age=x",
    "cdn-cache-control: max-age=5 6",
    "cdn-cache-control: MAX-AGE=60",
    "cdn-cache-control: no-store,",
];

/// What a HEAD is answered: without `Vary`, so that it is about what was selected.
fn head_responses() -> impl Strategy<Value = String> {
    let fields = (
        proptest::sample::select(&["200", "200", "200", "200", "404"][..]),
        directives(RESPONSE_DIRECTIVES, 1),
        dates("expires"),
        dates("date"),
        one_of(&["", "", "", "age: 10"]),
        one_of(&["", "", "etag: \"a\"", "etag: \"b\"", "last-modified: @-900", "last-modified: @-800"]),
        one_of(&["", "", "", "", "content-length: 1"]),
        one_of(TARGETED),
    );
    fields.prop_map(|(status, a, b, c, d, e, f, g)| {
        [vec![status.to_owned()], a, b, c, d, e, f, g].concat().join(" | ")
    })
}
