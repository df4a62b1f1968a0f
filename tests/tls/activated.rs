//! Doors that a service manager holds: TLS and the operators' one.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use weir::clock::Clock;

use super::{Scene, curl, last_line, text, with_token};
use crate::support::pki::Pair;
use crate::support::{Caller, Weir, token_of};

/// By their names the first time, by their addresses the second. All the time somebody
/// opens connections to both, and none is refused.
#[tokio::test(flavor = "multi_thread")]
async fn tls_and_admin_sockets_outlive_a_restart() {
    let (clock, scene) = (Clock::system(), Scene::new().await);
    let (secure, admin) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (at, operators) = (secure.local_addr().unwrap(), admin.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let Pair { cert, key, .. } = &scene.server;
    let server = format!("[server]\ntls = {{ listen = \"{at}\", cert = {cert:?}, key = {key:?} }}\n");
    let config = server + &scene.upstream("echo", "mount = \"/\"") + &with_token("grafana");
    std::fs::write(folder.path().join("weir.toml"), config).unwrap();
    let mut weir = Weir::activated_with(&[("tls", &secure), ("admin", &admin)], folder.path(), &[]);
    assert_eq!((weir.address(), weir.admin_address()), (at, operators));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watching = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let operator = Caller::at(format!("http://{operators}"), Some("none".into()));
                match operator.try_get("/healthz").await {
                    Some(reply) if reply.status == 200 => {}
                    other => wrong.push(format!("{other:?}")),
                }
            }
            wrong
        }
    });
    let calling = tokio::spawn({
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        let (ca, bearer) = (
            text(&scene.authority.path).to_owned(),
            format!("Authorization: Bearer {}", token_of("grafana")),
        );
        async move {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let id = asked.fetch_add(1, Ordering::Relaxed);
                let url = format!("https://{at}/x?id={id}");
                let output = curl(&["--cacert", &ca, "--header", &bearer, &url]).await;
                if last_line(&output) != "2 200" {
                    wrong.push(format!("{output:?}"));
                }
            }
            wrong
        }
    });
    for _ in 0..2 {
        clock.sleep_until(clock.now() + Duration::from_millis(500)).await;
        let by_address = [("WEIR__ADMIN__LISTEN", &*operators.to_string())];
        let next = Weir::activated_with(&[("", &admin), ("", &secure)], folder.path(), &by_address);
        assert_eq!((next.address(), next.admin_address()), (at, operators));
        let old = std::mem::replace(&mut weir, next);
        old.signal(Signal::TERM);
        let (status, output, _) = tokio::task::spawn_blocking(move || old.ended()).await.unwrap();
        assert!(status.success() && !output.contains("connections were cut"), "{output}");
    }
    clock.sleep_until(clock.now() + Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    assert_eq!(
        (watching.await.unwrap(), calling.await.unwrap()),
        (Vec::<String>::new(), Vec::<String>::new())
    );
    assert!(asked.load(Ordering::Relaxed) > 10);
    weir.stop();
}
