//! The way to a vendor: through a proxy, over IPv6, with a certificate of weir's own.

use base64::Engine as _;
use tempfile::TempDir;
use weir::emulator::{Emulator, Options, Vendor};

use crate::support::pki::Authority;
use crate::support::relay::{self, Proxy};
use crate::support::{VENDOR_KEY, Weir, hash_line, token_of};

/// A vendor with TLS, known as `vendor.test`, which no resolver knows.
struct Scene {
    folder: TempDir,
    authority: Authority,
    vendor: Emulator,
    address: std::net::SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ca");
        let options = Options { vendor: Vendor::Generic, limits: Some(Vec::new()), ..Options::default() };
        let vendor = Emulator::start(options).await.unwrap();
        let names = ["vendor.test", "127.0.0.1", "::1", "localhost"];
        let pair = authority.issue(folder.path(), "vendor", &names);
        let address = relay::decrypt(("127.0.0.1:0", &vendor.url()), &pair, None).await.unwrap();
        Self { folder, authority, vendor, address }
    }

    /// weir in front of `url`, with one request a minute.
    fn weir(&self, url: &str, more: &str, env: &[(&str, &str)]) -> Weir {
        let config = format!(
            "[upstreams.far]\ndialect = \"generic\"\nurl = \"{url}\"\nca = {:?}\nkeys.main.value = \"{VENDOR_KEY}\"\n\
             max_wait = \"0s\"\nlimits.minute = \"1/1m\"\n{more}\n[consumers.team]\n{}\naccess.far = {{}}\n",
            self.authority.path,
            hash_line(&token_of("team"))
        );
        Weir::start_with(&config, env)
    }
}

/// Nothing printed holds the proxy's credentials, in any of their forms.
fn assert_hidden(output: &str) {
    let encoded = base64::engine::general_purpose::STANDARD.encode("corp:pr0xy secret");
    for form in ["pr0xy secret", "pr0xy%20secret", &encoded] {
        assert!(!output.contains(form), "{form} in {output}");
    }
}

#[tokio::test]
async fn connect_with_credentials_from_config_or_environment() {
    let scene = Scene::new().await;
    let proxy = Proxy::to(scene.address).await;
    let url = format!("http://corp:pr0xy%20secret@{}", proxy.address);
    let apart = format!(
        "proxy = {{ url = \"http://{}\", user = \"corp\", password = {{ env = \"CORP_PASSWORD\" }} }}",
        proxy.address
    );
    for (more, env) in [
        ("proxy = { env = \"CORP_PROXY\" }", ("CORP_PROXY", url.as_str())),
        (apart.as_str(), ("CORP_PASSWORD", "pr0xy secret")),
        ("", ("HTTPS_PROXY", url.as_str())),
    ] {
        let before = proxy.heads().len();
        let weir = scene.weir("https://vendor.test", more, &[env]);
        let reply = weir.caller(&token_of("team")).get("/x").await;
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{more}: {reply:?}");
        let head = proxy.heads()[before].to_lowercase();
        assert!(head.starts_with("connect vendor.test:443 http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nhost: vendor.test:443\r\n"), "{head}");
        let wanted = "proxy-authorization: basic y29ycdpwcjb4esbzzwnyzxq=";
        assert!(head.contains(wanted), "{head}");
        // What goes through is TLS: the proxy sees neither request nor key.
        assert_eq!(proxy.first_bytes()[before][..2], [0x16, 0x03]);
        assert_hidden(&weir.stop());
    }
    assert_eq!(scene.vendor.requests().len(), 3);
}

#[tokio::test]
async fn what_a_proxy_refuses_never_left() {
    let scene = Scene::new().await;
    let proxy = Proxy::to(scene.address).await;
    let more = format!("proxy = \"http://corp:pr0xy%20secret@{}\"", proxy.address);
    let weir = scene.weir("https://vendor.test", &more, &[]);
    let team = weir.caller(&token_of("team"));
    for (status, answer, error) in [
        (407, 502, "proxy_configuration_error"),
        (403, 502, "destination_ip_prohibited"),
        (502, 502, "destination_unavailable"),
        (504, 504, "connection_timeout"),
    ] {
        proxy.refuse(Some(status));
        let reply = team.get("/x").await;
        assert_eq!((reply.status.as_u16(), reply.price()), (answer, 0), "{reply:?}");
        assert!(reply.header("proxy-status").contains(&format!("error={error}")), "{reply:?}");
        weir.logged(|line| line["fault"].as_str().is_some_and(|f| f.contains(&format!("answered {status}"))))
            .await;
    }
    proxy.refuse(None);
    // The one request of this minute was refunded each time.
    let reply = team.get("/x").await;
    assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{reply:?}");
    assert_eq!(team.get("/y").await.status, 429);
    assert_eq!(scene.vendor.requests().len(), 1);
    assert_hidden(&weir.stop());
}

#[tokio::test]
async fn a_proxy_that_is_down_is_not_the_vendor() {
    let scene = Scene::new().await;
    let more = "proxy = \"http://127.0.0.1:1\"";
    let weir = scene.weir("https://vendor.test", more, &[]);
    let reply = weir.caller(&token_of("team")).get("/x").await;
    assert!(reply.header("proxy-status").contains("error=connection_refused"), "{reply:?}");
    weir.logged(|line| line["fault"].as_str().is_some_and(|fault| fault.contains("at the proxy: "))).await;
    // The environment's proxy is not for loopback, and `false` is for nobody.
    let env = [("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "")];
    for more in ["", "proxy = false"] {
        let weir = scene.weir(&format!("https://{}", scene.address), more, &env);
        assert_eq!(weir.caller(&token_of("team")).get("/x").await.status, 200);
    }
}

#[tokio::test]
async fn a_certificate_towards_the_vendor_and_more_authorities_than_one() {
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let theirs = Authority::new(folder, "theirs");
    let server = theirs.issue(folder, "picky", &["127.0.0.1"]);
    let clients = Authority::new(folder, "clients");
    let ours = clients.issue(folder, "ours", &["weir.internal"]);
    let picky = relay::decrypt(("127.0.0.1:0", &scene.vendor.url()), &server, Some(&clients)).await.unwrap();
    let config = |more: &str| {
        format!(
            "[upstreams.far]\ndialect = \"generic\"\nurl = \"https://{picky}\"\nkeys.main.value = \"{VENDOR_KEY}\"\n\
             ca = [{:?}, {:?}]\nlimits.minute = \"100/1m\"\n{more}\n[consumers.team]\n{}\naccess.far = {{}}\n",
            scene.authority.path,
            theirs.path,
            hash_line(&token_of("team"))
        )
    };
    let weir = Weir::start(&config(&format!("client_cert = {:?}\nclient_key = {:?}", ours.cert, ours.key)));
    assert_eq!(weir.caller(&token_of("team")).get("/x").await.status, 200);
    let without = Weir::start(&config(""));
    let refused = without.caller(&token_of("team")).get("/x").await;
    assert_eq!(refused.status, 502, "{refused:?}");
    assert_eq!(scene.vendor.requests().len(), 1);
}

#[tokio::test]
async fn ipv6_and_the_other_family_where_one_is_dead() {
    let scene = Scene::new().await;
    // Nobody listens at this port on ::1, if `localhost` means that too.
    let url = format!("https://localhost:{}", scene.address.port());
    let weir = scene.weir(&url, "", &[]);
    assert_eq!(weir.caller(&token_of("team")).get("/x").await.status, 200);
    let pair = scene.authority.issue(scene.folder.path(), "six", &["::1"]);
    match relay::decrypt(("[::1]:0", &scene.vendor.url()), &pair, None).await {
        Ok(six) => {
            let weir = scene.weir(&format!("https://{six}"), "", &[]);
            assert_eq!(weir.caller(&token_of("team")).get("/x").await.status, 200);
        }
        Err(error) => eprintln!("this machine has no IPv6 loopback ({error}): only IPv4 was shown"),
    }
}
