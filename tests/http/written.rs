//! Writes make reads fresh: what a write touched, names, or a rule says, and nothing else.

use http::Method;
use weir::emulator::{Emulator, Options, Vendor};

use super::{OTHER_KEY, canned, consumer, echo, generic};
use crate::support::{Caller, Weir, hash_line, token_of};

const KEPT: [(&str, &str); 1] = [("cache-control", "max-age=600")];

/// Asks for all of `paths` and says which were paid for.
async fn paid<'a>(caller: &Caller, paths: &[&'a str]) -> Vec<&'a str> {
    let mut paid = Vec::new();
    for path in paths {
        if caller.get(path).await.price() > 0 {
            paid.push(*path);
        }
    }
    paid
}

#[tokio::test]
async fn what_a_write_touches_is_fetched_anew_under_every_version_and_key() {
    let vendor = echo().await;
    let touched = [
        "/api/v2/things",
        "/api/v2/things/2",
        "/api/v4/Things/1,2",
        "/api/v2/things/2/parts",
        "/api/v1/slo/9",
    ];
    let others = ["/api/v2/things/3", "/api/v2/boxes", "/api/v4/things/1,12"];
    for path in touched.iter().chain(&others) {
        vendor.script(path, canned(200, &KEPT, "x")).unwrap();
    }
    let rule = format!(
        "keys.other.value = \"{OTHER_KEY}\"\ndivisions.a.key = \"main\"\ndivisions.b.key = \"other\"\n\
         [[upstreams.echo.cache]]\nmatch = \"PUT|DELETE /api/*/things/**\"\ninvalidates = [\"/api/*/slo/**\"]\n"
    );
    let config = generic("echo", &vendor, &rule)
        + &format!(
            "[consumers.writer]\n{}\naccess.echo = {{ division = \"a\", allow = [\"* /**\"] }}\n\
             [consumers.reader]\n{}\naccess.echo = {{ division = \"b\" }}\n",
            hash_line(&token_of("writer")),
            hash_line(&token_of("reader")),
        );
    let weir = Weir::start(&config);
    let (writer, reader) = (weir.caller(&token_of("writer")), weir.caller(&token_of("reader")));
    let all = [&touched[..], &others].concat();
    for caller in [&writer, &reader] {
        assert_eq!(paid(caller, &all).await, all);
        assert!(paid(caller, &all).await.is_empty());
    }
    let written = writer.ask(Method::PUT, "/api/v2/things/2", &[], "{}").await;
    assert_eq!((written.status.as_u16(), written.price()), (200, 1));
    for caller in [&writer, &reader] {
        assert_eq!(paid(caller, &all).await, touched);
    }
}

#[tokio::test]
async fn what_the_answer_names_is_fetched_anew_and_errors_change_nothing() {
    let vendor = echo().await;
    let made = [("location", "/api/things/7"), ("content-location", "summary")];
    vendor.script("/api/things", canned(201, &made, "")).unwrap();
    vendor.script("/api/refused/7", canned(422, &[], "")).unwrap();
    let named = ["/api/things/7", "/api/summary"];
    let others = ["/api/boxes", "/api/refused"];
    for path in named.iter().chain(&others) {
        vendor.script(path, canned(200, &KEPT, "x")).unwrap();
    }
    let all = [&named[..], &others].concat();
    let config = generic("echo", &vendor, "") + &consumer("all", &["echo"]);
    let weir = Weir::start(&config.replace("access.echo = {}", "access.echo = { allow = [\"* /**\"] }"));
    let caller = weir.caller(&token_of("all"));
    assert_eq!(paid(&caller, &all).await, all);
    assert_eq!(caller.ask(Method::DELETE, "/api/refused/7", &[], "").await.status, 422);
    assert!(paid(&caller, &all).await.is_empty());
    assert_eq!(caller.ask(Method::POST, "/api/things", &[], "{}").await.status, 201);
    assert_eq!(paid(&caller, &all).await, named);
}

/// Catchpoint has POSTs that read: they are no writes, and make nothing untrue.
#[tokio::test]
async fn a_post_that_reads_drops_nothing() {
    let vendor = super::vendor().await;
    let (_weir, grafana) = super::front(&vendor, "");
    let all = [
        "/api/v2/tests",
        "/api/v2/tests/100001",
        "/api/v2/tests/scriptconvert",
        "/api/v2/nodes",
        "/api/v2/nodes/all",
        "/api/v2/nodes/chromeversions",
    ];
    let kept = paid(&grafana, &all).await;
    let again = paid(&grafana, &all).await;
    let json = [("content-type", "application/json")];
    for path in ["/api/v2/tests/scriptconvert", "/api/v2/nodes/chromeversions"] {
        let read = grafana.ask(Method::POST, path, &json, "{}").await;
        assert_eq!((read.status.as_u16(), read.price()), (200, 1), "{path}: {read:?}");
    }
    assert_eq!(paid(&grafana, &all).await, again);
    assert!(kept.len() > again.len() + 3, "{kept:?} {again:?}");
}

/// RFC 9111, section 4.4, and no more: a plain cache knows nothing of collections.
#[tokio::test]
async fn a_plain_cache_drops_the_target_alone() {
    let open = Options { vendor: Vendor::Generic, limits: Some(Vec::new()), ..Options::default() };
    let vendor = Emulator::start(open).await.unwrap();
    let all = ["/a", "/a/1", "/a/2"];
    for path in all {
        vendor.script(path, canned(200, &KEPT, "x")).unwrap();
    }
    let config = format!(
        "[upstreams.echo]\ndialect = \"generic\"\nurl = \"{}\"\n\
         [consumers.all]\nfrom = [\"127.0.0.1/32\"]\naccess.echo = {{ allow = [\"* /**\"] }}\n",
        vendor.url()
    );
    let weir = Weir::start(&config);
    let caller = Caller::at(format!("http://{}", weir.address()), None);
    let is_hit = async |path| caller.get(path).await.header("cache-status").starts_with("weir;hit");
    for path in all {
        assert!(!is_hit(path).await, "{path}");
        // The last byte may be here a moment before the whole is kept.
        let mut looks = 1;
        while !is_hit(path).await {
            looks += 1;
            assert!(looks < 100, "{path}");
        }
    }
    assert_eq!(caller.ask(Method::PATCH, "/a/1", &[], "").await.status, 200);
    assert!(!is_hit("/a/1").await && is_hit("/a").await && is_hit("/a/2").await);
}
