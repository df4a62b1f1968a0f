//! What clients speak: HTTP/2 and HTTP/1.1, TLS 1.2 and 1.3, with and without SNI.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Scene, curl, last_line, text, with_token};
use crate::support::{Wire, token_of};

#[tokio::test]
async fn curl_speaks_http2_and_http1() {
    let scene = Scene::new().await;
    let weir = scene.weir("", &with_token("grafana"));
    let (url, ca) = (format!("https://{}/x", weir.address()), text(&scene.authority.path));
    let bearer = format!("Authorization: Bearer {}", token_of("grafana"));
    for (flag, want) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        let output = curl(&[flag, "--cacert", ca, "-H", &bearer, &url]).await;
        assert_eq!(last_line(&output), want, "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("/x"), "{output:?}");
    }
    // A caller who does not trust the authority finds out before it has said anything.
    let distrustful = curl(&["-H", &bearer, &url]).await;
    assert_eq!(distrustful.status.code(), Some(60), "{distrustful:?}");
    // And plain HTTP at the TLS door is no request.
    let mut plain = Wire::connect(weir.address()).await;
    plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(plain.breaks().await);
    assert_eq!(scene.vendor.requests().len(), 2);
}

#[tokio::test]
async fn requests_of_python_works_unchanged() {
    let scene = Scene::new().await;
    let weir = scene.weir("", &with_token("script"));
    let script = "\
import requests, sys
url, ca, token = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.verify = ca
session.headers['Authorization'] = 'Bearer ' + token
for path in ('/a', '/a?x=1', '/a'):
    answer = session.get(url + path, timeout=20)
    print(answer.status_code, answer.headers['weir-price'])
";
    // Debian's own, for which tests/run installs python3-requests.
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", script, &format!("https://{}", weir.address())]);
    python.args([text(&scene.authority.path), &token_of("script")]);
    let output = tokio::task::spawn_blocking(move || python.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200 0\n200 0\n200 0\n");
    assert_eq!(scene.vendor.requests().len(), 3);
}

/// `openssl s_client` with these flags asks once; gives all that it printed.
fn openssl(address: std::net::SocketAddr, ca: &str, flags: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-CAfile", ca, "-ign_eof"])
        .args(["-verify_return_error"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = format!(
        "GET /y HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        token_of("grafana")
    );
    // One whose handshake was refused reads nothing any more.
    let _ = client.stdin.take().unwrap().write_all(request.as_bytes());
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn either_version_of_tls_and_no_older_one() {
    let scene = Scene::new().await;
    let weir = scene.weir("", &with_token("grafana"));
    let (address, ca) = (weir.address(), text(&scene.authority.path).to_owned());
    tokio::task::spawn_blocking(move || {
        for (flags, version) in [
            (&["-tls1_2", "-servername", "weir.test"][..], "TLSv1.2"),
            (&["-tls1_3", "-servername", "weir.test"], "TLSv1.3"),
            (&["-tls1_2", "-noservername"], "TLSv1.2"),
            (&["-tls1_3", "-noservername"], "TLSv1.3"),
        ] {
            let said = openssl(address, &ca, flags);
            assert!(said.contains(&format!("New, {version}")), "{flags:?}: {said}");
            assert!(said.contains("HTTP/1.1 200"), "{flags:?}: {said}");
        }
        let old = openssl(address, &ca, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
        assert!(!old.contains("HTTP/1.1 200") && old.contains("alert"), "{old}");
        // A client of another protocol is told so (RFC 7301, section 3.2).
        let other = openssl(address, &ca, &["-alpn", "smtp"]);
        assert!(other.contains("no application protocol"), "{other}");
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn plain_and_secure_side_by_side_and_upstreams_by_mount_or_host() {
    let scene = Scene::new().await;
    let crate::support::pki::Pair { cert, key, .. } = &scene.server;
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\
         tls = {{ listen = \"127.0.0.1:0\", cert = {cert:?}, key = {key:?} }}\n{}{}{}{}\n{}\n",
        scene.upstream("mounted", "mount = \"/m\""),
        scene.upstream("hosted", "host = \"weir.test\""),
        "[consumers.both]\n",
        crate::support::hash_line(&token_of("both")),
        "access.mounted = {}\naccess.hosted = {}"
    );
    let weir = crate::support::Weir::start(&config);
    let secure = weir.logged(|line| line["message"] == "listening with TLS").await;
    let secure: std::net::SocketAddr = secure[0]["address"].as_str().unwrap().parse().unwrap();
    assert_ne!(secure, weir.address());
    let bearer = format!("Authorization: Bearer {}", token_of("both"));
    let ca = text(&scene.authority.path);
    let here = format!("weir.test:{}:127.0.0.1", secure.port());
    for (url, upstream) in [
        (format!("http://{}/m/1", weir.address()), "mounted"),
        (format!("https://{secure}/m/2"), "mounted"),
        (format!("https://weir.test:{}/m/3", secure.port()), "hosted"),
        (format!("https://weir.test:{}/4", secure.port()), "hosted"),
    ] {
        let output = curl(&["--cacert", ca, "--resolve", &here, "-H", &bearer, &url]).await;
        assert!(last_line(&output).ends_with(" 200"), "{output:?}");
        let path = url.rsplit_once('/').unwrap().1.to_owned();
        let logged = weir.logged(|line| line["route"].as_str().is_some_and(|p| p.ends_with(&path))).await;
        assert_eq!(logged[0]["upstream"], upstream, "{logged:?}");
    }
    let nowhere = curl(&["--cacert", ca, "-H", &bearer, &format!("https://{secure}/else")]).await;
    assert_eq!(last_line(&nowhere), "2 404", "{nowhere:?}");
}
