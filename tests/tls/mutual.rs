//! Client certificates: who is let into the handshake, and who is known by one.

use super::{Scene, consumer, curl, last_line, text, with_token};
use crate::support::pki::{Authority, Pair};
use crate::support::{hash_line, token_of};

/// Asks with a certificate, and with a token if there is one.
async fn ask(scene: &Scene, url: &str, pair: Option<&Pair>, token: Option<&str>) -> std::process::Output {
    ask_with(&[], (scene, url), pair, token).await
}

/// The same with more flags of curl.
async fn ask_with(
    flags: &[&str],
    (scene, url): (&Scene, &str),
    pair: Option<&Pair>,
    token: Option<&str>,
) -> std::process::Output {
    let mut args = [flags, &["--cacert", text(&scene.authority.path)]].concat();
    if let Some(Pair { cert, key, .. }) = pair {
        args.extend(["--cert", text(cert), "--key", text(key)]);
    }
    let bearer = token.map(|token| format!("Authorization: Bearer {}", token_of(token)));
    if let Some(bearer) = &bearer {
        args.extend(["-H", bearer]);
    }
    args.push(url);
    curl(&args).await
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused_in_the_handshake() {
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let weir = scene.weir(&format!(", client_ca = {:?}", scene.authority.path), &with_token("grafana"));
    let url = format!("https://{}/x", weir.address());
    let known = scene.authority.issue(folder, "known", &["grafana.internal"]);
    let foreign = Authority::new(folder, "foreign").issue(folder, "theirs", &["grafana.internal"]);
    for pair in [None, Some(&foreign)] {
        let refused = ask(&scene, &url, pair, Some("grafana")).await;
        assert!(!refused.status.success() && last_line(&refused).ends_with(" 000"), "{refused:?}");
        // With TLS 1.2 the client's own handshake is not over before it is told.
        let at = (&scene, url.as_str());
        let refused = ask_with(&["--tls-max", "1.2"], at, pair, Some("grafana")).await;
        let told = String::from_utf8_lossy(&refused.stderr).contains("alert");
        assert!(!refused.status.success() && told, "{refused:?}");
    }
    assert_eq!(last_line(&ask(&scene, &url, Some(&known), Some("grafana")).await), "2 200");
    // The certificate alone is nobody's here.
    assert_eq!(last_line(&ask(&scene, &url, Some(&known), None).await), "2 401");
    assert_eq!(scene.vendor.requests().len(), 1);
}

#[tokio::test]
async fn a_certificate_tells_who_asks() {
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let by_name = scene.authority.issue(folder, "name", &["other.internal", "Grafana.Internal"]);
    let by_uri = scene.authority.issue(folder, "uri", &["spiffe://corp/terraform"]);
    let by_print = scene.authority.issue(folder, "print", &["grafana.internal"]);
    let wild = scene.authority.issue(folder, "wild", &["*.internal"]);
    let consumers = [
        consumer("grafana", "certificate = { san = \"grafana.internal\" }"),
        consumer("terraform", "certificate = { san = \"spiffe://corp/terraform\" }"),
        // Upper case and colons, as openssl prints it.
        consumer("pinned", &format!("certificate = {{ sha256 = \"{}\" }}", colons(&by_print.sha256))),
        consumer(
            "both",
            &format!("{}\ncertificate = {{ san = \"other.internal\" }}", hash_line(&token_of("both"))),
        ),
        with_token("token"),
    ];
    let tls = format!(", client_ca = {:?}, client_auth = \"optional\"", scene.authority.path);
    let weir = scene.weir(&tls, &consumers.concat());
    for (at, (pair, token, want)) in [
        (Some(&by_name), None, Ok("grafana")),
        (Some(&by_uri), None, Ok("terraform")),
        (Some(&by_print), None, Ok("pinned")),
        (Some(&by_print), Some("token"), Ok("token")),
        (Some(&by_name), Some("both"), Ok("both")),
        // Its token alone, or with another's certificate, does not prove it.
        (Some(&by_uri), Some("both"), Err("wrong_certificate")),
        (None, Some("both"), Err("wrong_certificate")),
        (None, Some("token"), Ok("token")),
        (Some(&wild), None, Err("no_credential")),
        (None, None, Err("no_credential")),
    ]
    .into_iter()
    .enumerate()
    {
        let output = ask(&scene, &format!("https://{}/{at}", weir.address()), pair, token).await;
        let logged = weir.logged(|line| line["route"] == format!("/{at}")).await;
        match want {
            Ok(name) => {
                assert_eq!(last_line(&output), "2 200", "{at}: {output:?}");
                assert_eq!(logged[0]["consumer"], name, "{at}: {logged:?}");
            }
            Err(reason) => {
                assert_eq!(last_line(&output), "2 401", "{at}: {output:?}");
                assert_eq!(logged[0]["reason"], reason, "{at}: {logged:?}");
            }
        }
    }
}

fn colons(hex: &str) -> String {
    let bytes: Vec<&str> = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]).collect();
    bytes.join(":").to_uppercase()
}
