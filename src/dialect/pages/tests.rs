//! Pages of each vendor, good ones and all the ways in which they go wrong.

use proptest::prelude::*;

use super::*;

fn walk(pages: Pages, from: u64, bodies: &[&str]) -> Result<(Vec<Next>, String), NotAPage> {
    let mut walk = Walk::new(pages, from);
    let mut turns = Vec::new();
    for body in bodies {
        turns.push(walk.take(&Bytes::copy_from_slice(body.as_bytes()))?);
    }
    let whole = walk.whole().map(|whole| String::from_utf8(whole.to_vec()).unwrap());
    Ok((turns, whole.unwrap_or_default()))
}

fn set(name: &'static str, to: &str) -> Next {
    Next::Set(name, to.to_owned())
}

const UNTIL: Pages = Pages::Until { list: "data", skip: "skip" };

#[test]
fn an_envelope_of_catchpoint() {
    let one = r#"{ "data": {"tests":[{"n":1.0}, {"n": 12345678901234567890123}],"hasMore":true,"next":"/t?pageNumber=2","previous":null},"completed":true,"traceId":"a"}"#;
    let two = r#"{"data":{"tests":[3],"hasMore":false,"next":null,"previous":"/t"},"completed":true,"traceId":"b"}"#;
    let (turns, whole) = walk(Pages::Envelope, 0, &[one, two]).unwrap();
    assert_eq!(turns, [Next::Link("/t?pageNumber=2".into()), Next::End]);
    assert_eq!(
        whole,
        r#"{"data":{"tests":[{"n":1.0},{"n": 12345678901234567890123},3],"hasMore":false,"next":null,"previous":null},"completed":true,"traceId":"a"}"#
    );
}

#[test]
fn envelopes_that_are_no_page() {
    let one = r#"{"data":{"tests":[1],"hasMore":true,"next":"/t?2"}}"#;
    for (bodies, why) in [
        (&[r#"{"data":null,"completed":false}"#][..], NotAPage::Unfinished),
        (&["<html>"], NotAPage::Json),
        (&["[1]"], NotAPage::Json),
        (&[r#"{"data":[1]}"#], NotAPage::NoList),
        (&[r#"{"data":{"a":[1],"b":[2]}}"#], NotAPage::NoList),
        (&[r#"{"data":{"a":[1],"hasMore":true,"next":null}}"#], NotAPage::NoNext),
        (&[one, r#"{"data":{"tests":[1],"other":[],"hasMore":false}}"#], NotAPage::Changed),
        (&[one, r#"{"data":{"nodes":[1],"hasMore":false}}"#], NotAPage::Changed),
        (&[one, r#"{"data":{"tests":[1]}}"#], NotAPage::Changed),
        (&[one, r#"{"data":{"tests":[],"hasMore":true}}"#], NotAPage::NoNext),
        (&[one, one], NotAPage::Loop),
        (&[one, r#"{"data":{"tests":[2],"hasMore":false},"completed":false}"#], NotAPage::Unfinished),
    ] {
        assert_eq!(walk(Pages::Envelope, 0, bodies), Err(why), "{bodies:?}");
    }
}

#[test]
fn offsets_of_recorded_future() {
    let one = r#"{"data":[{"id":"a"}],"next":"2020-09-23T07:26:26.000000Z"}"#;
    let (turns, whole) = walk(Pages::Offset, 0, &[one, r#"{"data":[{"id":"b"}]}"#]).unwrap();
    assert_eq!(turns, [set("offset", "2020-09-23T07:26:26.000000Z"), Next::End]);
    assert_eq!(whole, r#"{"data":[{"id":"a"},{"id":"b"}]}"#);
    assert_eq!(walk(Pages::Offset, 0, &[one, one]), Err(NotAPage::Loop));
    assert_eq!(walk(Pages::Offset, 0, &[r#"{"data":[],"next":7}"#]), Err(NotAPage::NoNext));
    assert_eq!(walk(Pages::Offset, 0, &[r#"{"id":"a","status":"reported"}"#]), Err(NotAPage::NoList));
}

#[test]
fn counts_of_privx() {
    let page = |items: &str, count: u32| format!(r#"{{"count":{count},"items":[{items}]}}"#);
    let (one, two) = (page("1,2", 3), page("3", 3));
    let (turns, whole) = walk(Pages::Counted, 0, &[&one, &two]).unwrap();
    assert_eq!(turns, [set("offset", "2"), Next::End]);
    assert_eq!(whole, page("1,2,3", 3));
    let (turns, _) = walk(Pages::Counted, 1, &[&page("2,3", 3)]).unwrap();
    assert_eq!(turns, [Next::End], "the caller left one out");
    let (turns, _) = walk(Pages::Counted, 9, &[&page("", 3)]).unwrap();
    assert_eq!(turns, [Next::End]);
    assert_eq!(walk(Pages::Counted, 0, &[&one, &page("", 3)]), Err(NotAPage::Moved));
    assert_eq!(walk(Pages::Counted, 0, &[&one, &page("3", 2)]), Err(NotAPage::Moved));
    assert_eq!(walk(Pages::Counted, 0, &[r#"{"items":[1]}"#]), Err(NotAPage::Changed));
}

#[test]
fn netskope_has_ended_where_a_page_is_shorter() {
    let page = |items: &str| format!(r#"{{"status":"success","msg":"","data":[{items}]}}"#);
    let (full, less, none) = (page("1,2"), page("3"), page(""));
    let (turns, whole) = walk(UNTIL, 10, &[&full, &full, &less]).unwrap();
    assert_eq!(turns, [set("skip", "12"), set("skip", "14"), Next::End]);
    assert_eq!(whole, page("1,2,1,2,3"));
    let (turns, _) = walk(UNTIL, 0, &[&full, &none]).unwrap();
    assert_eq!(turns, [set("skip", "2"), Next::End]);
    let error = r#"{"status":"error","errorCode":"x","data":[]}"#;
    assert_eq!(walk(UNTIL, 0, &[&full, error]), Err(NotAPage::Unfinished));
}

#[test]
fn the_old_catchpoint_has_no_pages() {
    let (turns, whole) = walk(Pages::Whole, 0, &[r#"{"items":[1, 2]}"#]).unwrap();
    assert_eq!((turns, whole.as_str()), (vec![Next::End], r#"{"items":[1,2]}"#));
}

proptest! {
    /// However a list is cut into pages, the whole is the list.
    #[test]
    fn a_list_cut_into_pages_is_whole_again(
        list in prop::collection::vec(".*", 0..40),
        cuts in prop::collection::vec(1_usize..7, 1..40),
    ) {
        let mut pages = Vec::new();
        let mut rest = &list[..];
        for cut in cuts.iter().copied().chain(std::iter::repeat(50)) {
            let (page, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            let next = (!rest.is_empty()).then(|| pages.len().to_string());
            let more = next.is_some();
            pages.push(serde_json::json!({"data": {"list": page, "hasMore": more, "next": next}}).to_string());
            if !more {
                break;
            }
        }
        let bodies: Vec<&str> = pages.iter().map(String::as_str).collect();
        let (turns, whole) = walk(Pages::Envelope, 0, &bodies).unwrap();
        prop_assert_eq!(turns.iter().filter(|turn| **turn == Next::End).count(), 1);
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        prop_assert_eq!(&whole["data"]["list"], &serde_json::json!(list));
        prop_assert_eq!(&whole["data"]["hasMore"], &serde_json::json!(false));
    }

    /// Nothing that is read makes it panic.
    #[test]
    fn nonsense_is_an_error_or_a_list(body in prop::collection::vec(any::<u8>(), 0..80)) {
        for pages in [Pages::Envelope, Pages::Whole, Pages::Offset, Pages::Counted, UNTIL] {
            let mut walk = Walk::new(pages, 0);
            if walk.take(&Bytes::from(body.clone())).is_ok() {
                prop_assert!(walk.whole().is_some());
            }
        }
    }
}
