//! The operators' listener: health, readiness, metrics, status.

use weir::emulator::{Emulator, Key, Options};

use crate::support::{VENDOR_KEY, Weir, catchpoint, token_of};

#[tokio::test]
async fn what_was_spent_is_shown_and_no_secret() {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    let vendor = Emulator::start(Options { keys, ..Options::default() }).await.unwrap();
    let weir = Weir::start(&catchpoint(&vendor.url(), "", &[("grafana", "web", "")]));
    let (grafana, admin) = (weir.caller(&token_of("grafana")), weir.admin());
    for _ in 0..3 {
        assert_eq!(grafana.get("/api/v2/tests/alerts").await.status, 200);
    }
    assert_eq!(admin.get("/healthz").await.status, 200);
    assert_eq!(admin.get("/readyz").await.body, "ready\n");

    let status = admin.get("/api/v1/status").await;
    let upstream = &status.json()["upstreams"][0];
    assert_eq!((&upstream["name"], &upstream["vendor"]["sent"]), (&"catchpoint".into(), &1.into()));
    let minute =
        upstream["limits"].as_array().unwrap().iter().find(|limit| limit["name"] == "minute").unwrap();
    assert_eq!((&minute["used"], &minute["allowed"]), (&1.into(), &20.into()));
    assert_eq!(upstream["consumers"][0]["exchanges"]["fresh"], 2);

    let metrics = admin.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in [
        "weir_requests_total{upstream=\"catchpoint\",division=\"web\",consumer=\"grafana\",outcome=\"fresh\"} 2",
        "weir_upstream_requests_total{upstream=\"catchpoint\",status=\"200\"} 1",
        "weir_budget_used{upstream=\"catchpoint\",node=\"account\",limit=\"minute\"} 1",
        "weir_queue_length{upstream=\"catchpoint\"} 0",
    ] {
        assert!(text.lines().any(|is| is.starts_with(line)), "no {line} in\n{text}");
    }
    for shown in [status.body.to_vec(), metrics.body.to_vec()] {
        let shown = String::from_utf8(shown).unwrap();
        assert!(!shown.contains(VENDOR_KEY) && !shown.contains(&token_of("grafana")));
    }
}

#[tokio::test]
async fn another_site_and_the_consumers_listener_lead_nowhere() {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    let vendor = Emulator::start(Options { keys, ..Options::default() }).await.unwrap();
    let text = catchpoint(&vendor.url(), "", &[("grafana", "web", "")]);
    let weir = Weir::start_with(&text, &[("WEIR__ADMIN__TOKEN", "operators-only")]);
    let admin = weir.admin();
    let bearer = ("authorization", "Bearer operators-only");
    assert_eq!(admin.get("/api/v1/status").await.status, 401);
    assert_eq!(admin.get_with("/api/v1/status", &[("authorization", "Bearer guess")]).await.status, 401);
    assert_eq!(admin.get_with("/api/v1/status", &[bearer]).await.status, 200);
    let foreign = [bearer, ("origin", "http://evil.example")];
    assert_eq!(admin.get_with("/metrics", &foreign).await.status, 403);
    assert_eq!(admin.get("/readyz").await.status, 200, "health is open");
    let outside = weir.caller(&token_of("grafana")).get("/metrics").await;
    assert_ne!(outside.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

/// Names are whole, and change with the configuration.
#[tokio::test]
async fn a_configured_name_leads_to_the_admin_listener() {
    let vendor = Emulator::start(Options::default()).await.unwrap();
    let text = catchpoint(&vendor.url(), "", &[("grafana", "web", "")]);
    let weir = Weir::start(&format!("admin.hosts = [\"weir\", \"weir.monitoring.svc\"]\n{text}"));
    let admin = weir.admin();
    let asked_as = async |host: &str| admin.get_with("/metrics", &[("host", host)]).await.status.as_u16();
    for (host, status) in [("weir:9090", 200), ("weir.monitoring.svc", 200), ("weir.evil.example", 421)] {
        assert_eq!(asked_as(host).await, status, "{host}");
    }
    weir.rewrite(&format!("admin.hosts = [\"other\"]\n{text}"));
    assert_eq!(admin.post_json("/api/v1/reload", "{}").await.status, 200);
    assert_eq!((asked_as("weir:9090").await, asked_as("other").await), (421, 200));
}
