//! Who asked what, what it cost, what was saved; over a restart, and by the command line.

use std::process::Command;

use weir::emulator::{Emulator, Key, Options};

use crate::support::{VENDOR_KEY, Weir, catchpoint, token_of};

async fn vendor() -> Emulator {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    Emulator::start(Options { keys, ..Options::default() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_kept_over_a_restart_and_shown_in_every_form() {
    let vendor = vendor().await;
    let two = [("grafana", "web", ""), ("terraform", "ops", "")];
    let weir = Weir::start(&catchpoint(&vendor.url(), "", &two));
    let (grafana, terraform) = (weir.caller(&token_of("grafana")), weir.caller(&token_of("terraform")));
    for _ in 0..3 {
        assert_eq!(grafana.get("/api/v2/tests/alerts").await.status, 200);
    }
    assert_eq!(terraform.get("/api/v2/tests/alerts").await.status, 200);
    assert_eq!(terraform.get("/api/v2/nodes/12345").await.price(), 1);
    assert_eq!(terraform.ask(http::Method::DELETE, "/api/v2/tests/1", &[], "").await.status, 403);
    // A clean end, then another process on the same store, where one consumer is gone.
    weir.signal(rustix::process::Signal::TERM);
    let (status, output, folder) = weir.ended();
    assert!(status.success(), "{output}");
    std::fs::write(folder.path().join("weir.toml"), catchpoint(&vendor.url(), "", &two[..1])).unwrap();
    let weir = Weir::again(folder);
    let admin = weir.admin();
    let usage = admin.get("/api/v1/usage?by=consumer,route&since=1d").await.json();
    let row = |consumer: &str, route: &str| {
        let rows = usage["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["consumer"] == consumer && row["route"] == route);
        row.unwrap_or_else(|| panic!("no {consumer} {route} in {usage}")).clone()
    };
    let (alerts, nodes) = ("/api/v2/tests/alerts", "/api/v2/nodes/*");
    let mine = row("grafana", alerts);
    assert_eq!(
        (&mine["asked"], &mine["paid"], &mine["from_cache"], &mine["saved"]),
        (&3.into(), &1.into(), &2.into(), &2.into())
    );
    let theirs = row("terraform", alerts);
    assert_eq!((&theirs["asked"], &theirs["paid"], &theirs["saved"]), (&1.into(), &0.into(), &1.into()));
    assert_eq!(row("terraform", nodes)["paid"], 1);
    assert_eq!(row("terraform", "_other")["rejected"], 1, "a path that was not allowed gets no name");
    assert_eq!((&usage["total"]["asked"], &usage["total"]["paid"]), (&6.into(), &2.into()));
    let history = admin.get("/api/v1/history?upstream=catchpoint").await.json();
    let minutes = history[0]["minutes"].as_array().unwrap();
    assert_eq!(minutes.iter().map(|minute| minute["paid"].as_u64().unwrap()).sum::<u64>(), 2, "{history}");
    assert!(minutes[0]["allowance"]["allowed"].as_u64().unwrap() == 2_000, "{history}");

    let csv = admin.get_with("/api/v1/usage?by=division", &[("accept", "text/csv")]).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let text = String::from_utf8(csv.body.to_vec()).unwrap();
    assert!(text.starts_with("division,asked,from_cache,fresh,stale,joined,paid,"), "{text}");
    assert!(text.contains("\nweb,3,2,2,0,0,1,"), "{text}");
    for wrong in ["by=nothing", "since=yesterday", "format=xml", "from=1d"] {
        assert_eq!(admin.get(&format!("/api/v1/usage?{wrong}")).await.status, 400, "{wrong}");
    }

    let base = admin.base().to_owned();
    let run = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_weir")).args(args).args(["--admin", &base]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run(&["usage", "--by", "consumer"]);
    assert!(table.contains("grafana") && table.contains("terraform") && table.contains("total"), "{table}");
    assert_eq!(run(&["usage", "--by", "division", "--csv"]).trim(), text.trim());
    let table = run(&["status"]);
    assert!(table.contains("catchpoint") && table.contains("minute") && table.contains("grafana"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&run(&["status", "--json"])).unwrap();
    assert_eq!(json["upstreams"][0]["name"], "catchpoint");
    weir.stop();
}
