//! One stored answer for callers who take gzip, br, zstd or nothing.

use std::io::Read;

use http::Method;

use super::{canned, consumer, echo, generic};
use crate::support::{Caller, Weir, token_of};

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

async fn front(fields: &[(&'static str, &str)]) -> (weir::emulator::Emulator, Weir, Caller) {
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
