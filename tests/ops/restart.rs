//! Stopping, and restarts that nobody notices.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use weir::clock::Clock;
use weir::emulator::{Emulator, Key, Latency, Limit, Options};

use crate::support::{Caller, VENDOR_KEY, Weir, catchpoint, token_of, until};

const LIMITS: &str = "timeout = \"3s\"\nlinger = \"100ms\"\nmax_wait = \"20s\"\n[upstreams.catchpoint.limits]\n\
                      second = \"500/1s\"\nhour = false\nday = false\n";

async fn vendor(per_second: u64, latency: Duration) -> Emulator {
    Emulator::start(Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(vec![
            Limit::address(500, Duration::from_secs(1)),
            Limit::analytic(per_second, Duration::from_secs(1)),
        ]),
        latency: Latency { least: latency / 2, most: latency },
        ..Options::default()
    })
    .await
    .unwrap()
}

fn config(vendor: &Emulator, minute: &str, grace: &str) -> String {
    let more = format!("{LIMITS}minute = \"{minute}\"\n");
    let text = catchpoint(&vendor.url(), &more, &[("grafana", "web", "")]);
    format!("[server]\nshutdown_grace = \"{grace}\"\n{text}")
}

#[tokio::test]
async fn who_hears_that_it_listens_may_stop_it_in_the_same_moment() {
    let vendor = vendor(500, Duration::ZERO).await;
    for _ in 0..12 {
        let said = Weir::start(&config(&vendor, "20/1m", "1s")).stop();
        assert!(said.contains("stopping"), "{said}");
    }
}

/// As a service manager does it: the socket is held by the parent; the successor is
/// started, then its predecessor told to stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_refuses_no_connection_and_no_request() {
    let (clock, vendor) = (Clock::system(), vendor(100, Duration::from_millis(10)).await);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weir.toml"), config(&vendor, "100/1s", "10s")).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", socket.local_addr().unwrap());
    let mut weir = Weir::activated(&socket, folder.path());
    assert_eq!(weir.address(), socket.local_addr().unwrap());
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers = (0..4).map(|_| {
        let (stop, asked, base) = (Arc::clone(&stop), Arc::clone(&asked), base.clone());
        tokio::spawn(async move {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let id = asked.fetch_add(1, Ordering::Relaxed);
                // A connection of its own each time: that is what could be refused.
                let caller = Caller::at(base.clone(), Some(token_of("grafana")));
                match caller.try_get(&format!("/api/v2/nodes/all?name=n{id}")).await {
                    Some(reply) if reply.status == 200 => {}
                    other => wrong.push(format!("{id}: {other:?}")),
                }
            }
            wrong
        })
    });
    let callers: Vec<_> = callers.collect();
    for _ in 0..3 {
        clock.sleep_until(clock.now() + Duration::from_millis(700)).await;
        let next = Weir::activated(&socket, folder.path());
        let old = std::mem::replace(&mut weir, next);
        old.signal(Signal::TERM);
        let (status, output, _) = tokio::task::spawn_blocking(move || old.ended()).await.unwrap();
        assert!(status.success(), "{output}");
        assert!(!output.contains("connections were cut"), "{output}");
    }
    clock.sleep_until(clock.now() + Duration::from_millis(700)).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Vec::<String>::new());
    }
    println!("3 restarts, {} requests", asked.load(Ordering::Relaxed));
    assert!(asked.load(Ordering::Relaxed) > 50);
    assert_eq!(vendor.refused(), 0);
    weir.stop();
}

/// What can be answered within the grace is; the rest is told so before it ends.
#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_answered_within_the_grace_is_told_to_go_elsewhere() {
    let vendor = vendor(500, Duration::from_millis(2)).await;
    let weir = Weir::start(&config(&vendor, "2/3s", "5s"));
    let grafana = weir.caller(&token_of("grafana"));
    let asked = (0..8).map(|n| {
        let caller = grafana.clone();
        tokio::spawn(async move { caller.get(&format!("/api/v2/nodes/all?name=n{n}")).await })
    });
    let asked: Vec<_> = asked.collect();
    let admin = weir.admin();
    let clock = Clock::system();
    // Two are answered at once, two after a window, two after another, and so on.
    for _ in 0..500 {
        let status = admin.get("/api/v1/status").await.json();
        if status["upstreams"][0]["waiting"] == 6 {
            break;
        }
        clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
    }
    weir.signal(Signal::TERM);
    until("it stops", || weir.output().contains("stopping")).await;
    assert_eq!(admin.get("/readyz").await.status, 503, "balancers are told while it drains");
    let mut told = Vec::new();
    for reply in asked {
        let reply = reply.await.unwrap();
        if reply.status == 503 {
            assert_eq!(reply.header("retry-after"), "1", "{reply:?}");
            assert!(reply.header("proxy-status").contains("stopping"), "{reply:?}");
        }
        told.push(reply.status.as_u16());
    }
    let (status, output, _) = weir.ended();
    assert!(status.success() && !output.contains("connections were cut"), "{output}");
    let answered = told.iter().filter(|status| **status == 200).count();
    assert_eq!((answered, told.len()), (4, 8), "{told:?}");
    assert_eq!(vendor.refused(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_nothing_is_forgotten() {
    let vendor = vendor(3, Duration::from_millis(1)).await;
    let weir = Weir::start(&config(&vendor, "3/1s", "60s"));
    let grafana = weir.caller(&token_of("grafana"));
    let asked = (0..9).map(|n| {
        let caller = grafana.clone();
        tokio::spawn(async move { caller.try_get(&format!("/api/v2/nodes/all?name=n{n}")).await.is_some() })
    });
    let asked: Vec<_> = asked.collect();
    until("the vendor has counted some", || vendor.tallies()[1].counted >= 3).await;
    weir.signal(Signal::TERM);
    until("it stops", || weir.output().contains("stopping")).await;
    weir.signal(Signal::TERM);
    let (_, output, folder) = tokio::task::spawn_blocking(move || weir.ended()).await.unwrap();
    assert!(output.contains("stopped at once"), "{output}");
    for reply in asked {
        let _ = reply.await.unwrap();
    }
    let weir = Weir::again(folder);
    let caller = weir.caller(&token_of("grafana"));
    for n in 0..4 {
        assert_eq!(caller.get(&format!("/api/v2/nodes/all?name=m{n}")).await.status, 200);
    }
    assert_eq!(vendor.refused(), 0);
    weir.stop();
}

/// `READY=1` once it can be asked, `STOPPING=1` when it ends, and the watchdog in between.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told() {
    let vendor = vendor(100, Duration::from_millis(1)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let weir = Weir::start_with(&config(&vendor, "100/1s", "5s"), &env);
    let admin = weir.admin();
    let mut told = Vec::new();
    let mut hear = |wanted: &str| {
        let mut buffer = [0; 512];
        for _ in 0..200 {
            let length = manager.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            told.push(text.clone());
            if text.contains(wanted) {
                return;
            }
        }
        panic!("no {wanted} in {told:?}");
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    assert_eq!(admin.post_json("/api/v1/reload", "{}").await.status, 200);
    hear("RELOADING=1");
    hear("READY=1");
    weir.signal(Signal::TERM);
    hear("STOPPING=1");
    let (status, output, _) = weir.ended();
    assert!(status.success(), "{output}");
}
