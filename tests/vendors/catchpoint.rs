//! Catchpoint v2, as its clients use it.

use http::Method;
use serde_json::{Value, json};
use weir::emulator::{Emulator, Key, Options};

use super::{ROOMY, front, unlimited};
use crate::support::{Reply, VENDOR_KEY, Weir, catchpoint, hash_line, token_of};

fn first_test(reply: &Reply) -> Value {
    reply.json()["data"]["tests"][0].clone()
}

#[tokio::test]
async fn a_list_is_paged_by_its_links() {
    let vendor = unlimited(Options { tests: 150, ..Options::default() }).await;
    let (_weir, grafana) = front(&vendor, "mount = \"/cp\"\n");
    let first = grafana.get("/cp/api/v2/tests?pageSize=100").await;
    let next = first.json()["data"]["next"].as_str().unwrap().to_owned();
    assert!(next.starts_with("/cp/api/v2/tests?"), "{next}");
    let second = grafana.get(&next).await;
    assert_eq!(second.json()["data"]["tests"].as_array().unwrap().len(), 50);
    assert_eq!(second.json()["data"]["hasMore"], false);
    let previous = second.json()["data"]["previous"].as_str().unwrap().to_owned();
    assert_eq!(first_test(&grafana.get(&previous).await), first_test(&first));
    assert_eq!((grafana.get(&next).await.price(), vendor.total()), (0, 3));
}

#[tokio::test]
async fn what_was_written_is_read_back() {
    let vendor = unlimited(Options::default()).await;
    let (_weir, grafana) = front(&vendor, "");
    let json = [("content-type", "application/json")];
    assert_eq!(first_test(&grafana.get("/api/v2/tests/100001,100002").await)["id"], 100_001);
    let patch = r#"[{"op":"replace","path":"/name","value":"Ours"}]"#;
    let written = grafana.ask(Method::PATCH, "/api/v2/tests/100001", &json, patch).await;
    assert_eq!((written.status.as_u16(), written.price()), (200, 1), "{written:?}");
    // Also where it stood among others.
    for path in ["/api/v2/tests/100001", "/api/v2/tests/100001,100002", "/api/v2/tests?pageSize=5"] {
        let read = grafana.get(path).await;
        assert_eq!((&first_test(&read)["name"], read.price()), (&json!("Ours"), 1), "{path}");
    }
    let made = grafana.ask(Method::POST, "/api/v2/tests", &json, r#"{"name":"New","productId":201}"#).await;
    let id = made.json()["data"]["id"].clone();
    assert_eq!(first_test(&grafana.get(&format!("/api/v2/tests/{id}")).await)["name"], "New");
    // The same search by its name, twice: one request.
    for price in [1, 0] {
        let found = grafana.get("/api/v2/tests?name=new").await;
        assert_eq!((&first_test(&found)["id"], found.price()), (&id, price));
    }
}

#[tokio::test]
async fn errors_of_the_vendor_and_of_weir_have_one_shape() {
    let vendor = unlimited(Options::default()).await;
    let (weir, grafana) = front(&vendor, "versions = { refuse = [\"v1\"] }\n");
    let json = [("content-type", "application/json")];
    let post = async |body: &str| grafana.ask(Method::POST, "/api/v2/tests", &json, body).await;
    let vendors = [
        (grafana.get("/api/v2/tests/1").await, 200, "No valid Test found for input '1'."),
        (grafana.get("/api/v2/tests/1").await, 200, "No valid Test found for input '1'."),
        (post("{\"name\":}").await, 400, "The payload could not be read at line 1, position 9."),
        (post("{}").await, 400, "The field 'name' is required."),
        (grafana.get("/api/v2/unknown").await, 404, "There is no resource at /api/v2/unknown."),
    ];
    assert_eq!(vendor.total(), 5, "what was not found is asked for again");
    let weirs = [
        (weir.caller("nobody's").get("/api/v2/tests").await, 401, "Invalid credentials"),
        (grafana.get("/api/v1/tests").await, 403, "version v1 of this API is not allowed here"),
        (grafana.get("/api//v2").await, 400, ""),
        (grafana.get("/api/v2/tests?pageSize=1000").await, 400, ""),
    ];
    assert_eq!(vendor.total(), 5, "what weir refuses costs nothing");
    for (reply, status, says) in vendors.into_iter().chain(weirs) {
        let body = reply.json();
        assert_eq!(reply.status, status, "{body}");
        assert!(reply.error().contains(says), "{body}");
        assert_eq!(
            (&body["data"], &body["completed"], &body["messages"]),
            (&json!(null), &json!(false), &json!([]))
        );
        assert!(body["traceId"].is_string() && body.get("usageLimits").is_none(), "{body}");
    }
    vendor.revoke("main");
    let revoked = grafana.get("/api/v2/nodes").await;
    assert_eq!((revoked.status.as_u16(), revoked.error().as_str()), (401, "Invalid credentials"));
}

#[tokio::test]
async fn the_limit_is_reached_and_never_passed() {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    let vendor = Emulator::start(Options { keys, ..Options::default() }).await.unwrap();
    let (_weir, grafana) = front(&vendor, "limits = {}\n");
    for n in 0..20 {
        let path = format!("/api/v2/tests/alerts?testIds={}&pageSize=1", 100_001 + n);
        assert_eq!(grafana.get(&path).await.status, 200);
    }
    let refused = grafana.get_with("/api/v2/nodes/all", &[("prefer", "wait=0")]).await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("proxy-status").contains("minute") && !refused.header("retry-after").is_empty());
    assert_eq!(refused.json()["completed"], false);
    assert_eq!((vendor.counted(), vendor.refused()), (20, 0));
}

/// Of two keys the first one ends in the middle of a run.
#[tokio::test]
async fn a_key_that_ends_is_succeeded_by_the_other() {
    let vendor = unlimited(Options::default()).await;
    vendor.issue(Key::client("next", "the-next-key"));
    let token = hash_line(&token_of("grafana"));
    let weir = Weir::start(&format!(
        "[upstreams.c]\ndialect = \"catchpoint\"\nurl = \"{}\"\n{ROOMY}\
         [[upstreams.c.keys.main]]\nvalue = \"{VENDOR_KEY}\"\n[[upstreams.c.keys.main]]\nvalue = \"the-next-key\"\n\
         [consumers.grafana]\n{token}\naccess.c = {{}}\n",
        vendor.url()
    ));
    let grafana = weir.caller(&token_of("grafana"));
    assert_eq!(grafana.get("/api/v2/tests/100001").await.status, 200);
    vendor.revoke("main");
    let after = grafana.get("/api/v2/tests/100002").await;
    assert_eq!((after.status.as_u16(), after.price()), (200, 2), "the refused try was paid for");
    assert_eq!(grafana.get("/api/v2/tests/100003").await.price(), 1);
}

/// What may not be kept is seen twice at the vendor.
#[tokio::test]
async fn divisions_do_not_see_each_others_answers() {
    let vendor = unlimited(Options::default()).await;
    vendor.issue(Key::division("web", "key-of-web"));
    let more = format!(
        "{ROOMY}keys.web.value = \"key-of-web\"\n[upstreams.catchpoint.divisions.web]\nkey = \"web\"\n"
    );
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &[("a", "web", ""), ("b", "all", "")]));
    let count = async |name: &str| {
        let reply = weir.caller(&token_of(name)).get("/api/v2/tests?pageSize=100").await;
        (reply.json()["data"]["tests"].as_array().unwrap().len(), reply.price())
    };
    assert_eq!((count("a").await.1, count("b").await), (1, (100, 1)));
    assert_eq!(vendor.total(), 2);
}
