//! `POST /api/v1/cache/purge`.

use http::Method;
use serde_json::Value;

use weir::emulator::Options;

use super::House;
use super::keyed::Keyed;
use crate::support::{Caller, Reply};

impl House {
    /// The operator.
    pub(super) fn admin(&self) -> Caller {
        Caller::at(format!("http://{}", self.weir.admin_address()), None)
    }

    /// What the disk's level says of itself.
    pub(super) fn disk(&self) -> Value {
        let admin = self.weir.admin_address();
        let text = crate::support::blocking_get(admin, "/api/v1/status");
        serde_json::from_str::<Value>(&text).unwrap()["cache"]["disk"].clone()
    }

    pub(super) async fn purge(&self, body: &str) -> Reply {
        let json = [("content-type", "application/json")];
        self.admin().ask(Method::POST, "/api/v1/cache/purge", &json, body).await
    }
}

#[tokio::test]
async fn what_is_named_is_gone_and_counted() {
    let house = House::new().await;
    let caller = house.caller();
    let paths = ["/a", "/a?x=1", "/a/b", "/c"];
    for path in ["/a", "/a/b", "/c"] {
        house.says(path, "x");
    }
    for (body, gone) in [
        (r#"{"upstream":"echo"}"#, 4),
        (r#"{"upstream":"echo","path":"/A/"}"#, 2),
        (r#"{"upstream":"echo","path":"/none"}"#, 0),
        (r#"{"upstream":"echo","prefix":"/a/"}"#, 1),
        (r#"{"upstream":"echo","prefix":"/"}"#, 4),
    ] {
        for path in paths {
            caller.get(path).await;
        }
        let purged = house.purge(body).await;
        assert_eq!((purged.status.as_u16(), &purged.json()["purged"]), (200, &gone.into()), "{body}");
        let mut paid = 0;
        for path in paths {
            paid += caller.get(path).await.price();
        }
        // Without limits nothing has a price: the origin counts.
        assert_eq!(paid, 0);
    }
    assert_eq!(house.asked(), 4 + 4 + 2 + 1 + 4);
}

#[tokio::test]
async fn mistakes_are_told_and_purge_nothing() {
    let house = House::new().await;
    house.says("/a", "x");
    house.caller().get("/a").await;
    for (body, status, words) in [
        ("", 400, "EOF"),
        ("{}", 400, "missing field `upstream`"),
        (r#"{"upstream":"nope"}"#, 404, "there is no such upstream; there are: echo"),
        (r#"{"upstream":"echo","division":"web"}"#, 404, "there is no such division"),
        (r#"{"upstream":"echo","paths":"/a"}"#, 400, "unknown field `paths`"),
        (r#"{"upstream":"echo","path":"/a","prefix":"/"}"#, 400, "name one of path, prefix and division"),
        (r#"{"upstream":"echo","path":"a"}"#, 400, "path: "),
        (r#"{"upstream":"echo","path":"/a/../b"}"#, 400, "path: "),
        (r#"{"upstream":"echo","path":"/a?x=1"}"#, 400, "a path goes for any query"),
    ] {
        let reply = house.purge(body).await;
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(reply.status.as_u16() == status && error.contains(words), "{body}: {} {error}", reply.status);
    }
    let purge = "/api/v1/cache/purge";
    let admin = house.admin();
    let form = [("content-type", "text/plain")];
    assert_eq!(admin.ask(Method::POST, purge, &form, r#"{"upstream":"echo"}"#).await.status, 415);
    let foreign = [("content-type", "application/json"), ("origin", "http://evil.example")];
    assert_eq!(admin.ask(Method::POST, purge, &foreign, r#"{"upstream":"echo"}"#).await.status, 403);
    assert_eq!(admin.get(purge).await.status, 405);
    house.caller().get("/a").await;
    assert_eq!(house.asked(), 1);
}

/// What is stored belongs to a key: it goes for all divisions that share that one.
#[tokio::test]
async fn a_division_is_purged_with_all_that_share_its_key_and_no_other() {
    let rule = "[[upstreams.echo.cache]]\nmatch = \"GET /**\"\nttl = \"1h\"\n";
    let house = Keyed::with(Options::default(), rule).await;
    let prices = async || {
        let mut prices = Vec::new();
        for name in ["web", "ops", "api"] {
            for path in ["/a", "/b"] {
                prices.push(house.caller(name).get(path).await.price());
            }
        }
        prices
    };
    assert_eq!(prices().await, [1, 1, 0, 0, 1, 1]);
    assert_eq!(prices().await, [0; 6]);
    let gone = house.purge(r#"{"upstream":"echo","division":"ops"}"#).await;
    assert_eq!((gone.status.as_u16(), gone.json()["purged"].as_u64()), (200, Some(2)), "{gone:?}");
    assert_eq!(prices().await, [1, 1, 0, 0, 0, 0]);
    let gone = house.purge(r#"{"upstream":"echo","division":"api"}"#).await;
    assert_eq!(gone.json()["purged"], 2);
    assert_eq!(prices().await, [0, 0, 0, 0, 1, 1]);
}
