//! One stored answer for callers who take gzip, br, zstd or nothing.

use std::io::{Read, Write};

use http::Method;
use weir::emulator::{Coding, Emulator, Options, Vendor};

use super::{canned, consumer, echo, generic, vendor_with};
use crate::support::{Caller, VENDOR_KEY, Weir, token_of};

fn text() -> String {
    (0..2_000).map(|n| format!("{{\"id\":{n}}},\n")).collect()
}

fn undone(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(body, 4_096).read_to_end(&mut plain),
        "zstd" => ruzstd::decoding::StreamingDecoder::new(body).unwrap().read_to_end(&mut plain),
        other => {
            assert_eq!(other, "");
            return body.to_vec();
        }
    };
    read.unwrap();
    plain
}

async fn front(fields: &[(&'static str, &str)]) -> (Emulator, Weir, Caller) {
    let vendor = echo().await;
    vendor.script("/doc", canned(200, fields, &text())).unwrap();
    let weir = Weir::start(&(generic("echo", &vendor, "") + &consumer("all", &["echo"])));
    let caller = weir.caller(&token_of("all"));
    (vendor, weir, caller)
}

const FIELDS: [(&str, &str); 3] =
    [("etag", "\"v1\""), ("cache-control", "max-age=60"), ("content-type", "application/json")];

#[tokio::test]
async fn one_entry_serves_every_coding() {
    let (vendor, _weir, all) = front(&FIELDS).await;
    let cold = all.get("/doc").await;
    assert_eq!((cold.header("content-encoding"), cold.header("vary")), ("", "Accept-Encoding"));
    for (accept, coding, tag) in [
        ("gzip", "gzip", "\"v1--gzip\""),
        ("gzip, br, zstd", "br", "\"v1--br\""),
        ("zstd, gzip;q=0.5", "zstd", "\"v1--zstd\""),
        ("identity", "", "\"v1\""),
        ("gzip;q=0", "", "\"v1\""),
        ("identity;q=0, *", "br", "\"v1--br\""),
    ] {
        let reply = all.get_with("/doc", &[("accept-encoding", accept)]).await;
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 0), "{accept}");
        assert_eq!((reply.header("content-encoding"), reply.header("etag")), (coding, tag), "{accept}");
        assert_eq!(reply.header("vary"), "Accept-Encoding", "{accept}");
        assert_eq!(reply.header("content-length"), reply.body.len().to_string(), "{accept}");
        assert_eq!(undone(coding, &reply.body), text().as_bytes(), "{accept}");
        // The validator is that of the form: of another form it says nothing.
        let again = [("accept-encoding", accept), ("if-none-match", tag)];
        let same = all.get_with("/doc", &again).await;
        assert_eq!((same.status.as_u16(), same.header("etag")), (304, tag), "{accept}");
        assert_eq!(same.header("vary"), "Accept-Encoding", "{accept}");
        let other = [("accept-encoding", accept), ("if-none-match", "\"v1--other\"")];
        assert_eq!(all.get_with("/doc", &other).await.status, 200, "{accept}");
        let head = all.ask(Method::HEAD, "/doc", &[("accept-encoding", accept)], "").await;
        assert_eq!(head.header("content-length"), reply.header("content-length"), "{accept}");
    }
    // A part is of the identity, whatever else the caller takes.
    let part = all.get_with("/doc", &[("accept-encoding", "gzip"), ("range", "bytes=0-9")]).await;
    assert_eq!(
        (part.status.as_u16(), part.header("content-encoding"), part.header("etag")),
        (206, "", "\"v1\"")
    );
    assert_eq!(part.body, text().as_bytes()[..10]);
    assert_eq!(vendor.requests().len(), 1);
}

fn gzipped(text: &str) -> bytes::Bytes {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    coder.write_all(text.as_bytes()).unwrap();
    coder.finish().unwrap().into()
}

/// An origin that answers in gzip if it is asked for it, or whatever it is asked for.
async fn gzipping(unasked: bool) -> (Emulator, Weir, Caller) {
    let coding = if unasked { Coding::Identity } else { Coding::Gzip };
    let vendor = vendor_with(Options { vendor: Vendor::Generic, coding, ..Options::default() }).await;
    let said = if unasked { ("content-encoding", "gzip") } else { ("x-asked", "1") };
    let mut answer =
        canned(200, &[&FIELDS[..], &[said, ("content-digest", "of the bytes")]].concat(), &text());
    if unasked {
        answer.body = gzipped(&text());
    }
    vendor.script("/doc", answer).unwrap();
    let weir = Weir::start(&(generic("echo", &vendor, "") + &consumer("all", &["echo"])));
    let caller = weir.caller(&token_of("all"));
    (vendor, weir, caller)
}

#[tokio::test]
async fn the_vendors_gzip_is_undone_once_for_all() {
    for unasked in [false, true] {
        let (vendor, _weir, all) = gzipping(unasked).await;
        for (number, (accept, coding, tag)) in [
            ("identity", "", "W/\"v1\""),
            ("identity", "", "W/\"v1\""),
            ("gzip", "gzip", "W/\"v1--gzip\""),
            ("br", "br", "W/\"v1--br\""),
            ("gzip;q=0", "", "W/\"v1\""),
        ]
        .into_iter()
        .enumerate()
        {
            let reply = all.get_with("/doc", &[("accept-encoding", accept)]).await;
            assert_eq!((reply.status.as_u16(), reply.price()), (200, u32::from(number == 0)), "{accept}");
            assert_eq!((reply.header("content-encoding"), reply.header("etag")), (coding, tag), "{accept}");
            assert_eq!(undone(coding, &reply.body), text().as_bytes(), "{accept}");
            assert_eq!(reply.header("vary"), "Accept-Encoding", "{accept}");
            assert_eq!(reply.header("content-digest"), "", "it was of other bytes");
        }
        let part = all.get_with("/doc", &[("accept-encoding", "gzip"), ("range", "bytes=5-9")]).await;
        assert_eq!((part.status.as_u16(), &part.body[..]), (206, &text().as_bytes()[5..10]));
        let sent = vendor.requests();
        assert_eq!((sent.len(), sent[0].header("accept-encoding")), (1, Some("gzip")));
        // Validated, it is still the same, and still weakly so.
        let now = [("accept-encoding", "identity"), ("cache-control", "no-cache")];
        let again = all.get_with("/doc", &now).await;
        assert_eq!((again.header("etag"), &again.body[..]), ("W/\"v1\"", text().as_bytes()));
        assert_eq!(vendor.requests()[1].header("if-none-match"), Some("W/\"v1\""));
    }
}

/// In a plain cache the coding is between caller and origin; and so it is where a rule
/// has it in the key.
#[tokio::test]
async fn who_has_the_coding_in_the_key_gets_what_the_vendor_makes_of_it() {
    let rule = "[[upstreams.echo.cache]]\nmatch = \"GET /**\"\nkey = { headers = [\"accept-encoding\"] }\n";
    for keyed in [true, false] {
        let options = Options { vendor: Vendor::Generic, coding: Coding::Gzip, ..Options::default() };
        let vendor = Emulator::start(Options { limits: Some(Vec::new()), ..options }).await.unwrap();
        let fields = [&FIELDS[..], &[("vary", "Accept-Encoding")]].concat();
        vendor.script("/doc", canned(200, &fields, &text())).unwrap();
        let config = generic("echo", &vendor, rule) + &consumer("all", &["echo"]);
        let key = format!("keys.main.value = \"{VENDOR_KEY}\"\n");
        let weir = Weir::start(&if keyed { config } else { config.replace(&key, "").replace(rule, "") });
        let all = weir.caller(&token_of("all"));
        for (accept, coding, price) in [("gzip", "gzip", 1), ("identity", "", 1), ("gzip", "gzip", 0)] {
            let reply = all.get_with("/doc", &[("accept-encoding", accept)]).await;
            assert_eq!(
                (reply.header("content-encoding"), reply.price()),
                (coding, price),
                "{keyed} {accept}"
            );
            assert_eq!(undone(coding, &reply.body), text().as_bytes());
        }
        let asked: Vec<_> =
            vendor.requests().iter().map(|seen| seen.header("accept-encoding").map(str::to_owned)).collect();
        assert_eq!(asked, [Some("gzip".to_owned()), Some("identity".to_owned())]);
    }
}

/// A broken coding breaks off the caller's answer, and is not kept.
#[tokio::test]
async fn gzip_that_cannot_be_undone_is_no_answer() {
    let (vendor, _weir, all) = gzipping(true).await;
    let mut broken = canned(200, &[&FIELDS[..], &[("content-encoding", "gzip")]].concat(), "");
    let whole = gzipped(&text());
    broken.body = whole.slice(..whole.len() - 9);
    vendor.script("/broken", broken).unwrap();
    for asked in [1, 2] {
        assert!(all.try_get("/broken").await.is_none());
        assert_eq!(vendor.requests().len(), asked);
    }
}

#[tokio::test]
async fn what_must_not_be_transformed_goes_as_it_came() {
    for (field, value) in [
        ("cache-control", "max-age=60, no-transform"),
        ("content-type", "image/png"),
        ("content-encoding", "br"),
    ] {
        let fields: Vec<_> =
            FIELDS.into_iter().filter(|(name, _)| *name != field).chain([(field, value)]).collect();
        let (_vendor, _weir, all) = front(&fields).await;
        for price in [1, 0] {
            let reply = all.get_with("/doc", &[("accept-encoding", "gzip")]).await;
            assert_eq!(
                (reply.price(), reply.header("etag"), reply.header("vary")),
                (price, "\"v1\"", ""),
                "{value}"
            );
            assert_eq!(reply.body, text().as_bytes(), "{value}");
        }
    }
}
