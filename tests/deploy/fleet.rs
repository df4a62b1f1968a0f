//! Three weirs, a Valkey and a balancer: looked at by docker-compose and haproxy, and
//! the rights of their user by a real server.

use std::path::Path;

use crate::support::redis::Redis;
use crate::support::{Caller, Weir};

use super::deploy;
use super::rendered::{checked, said, secrets, tool};

#[test]
fn the_compose_file_of_a_fleet_is_sound() {
    let (folder, secrets) = (tempfile::tempdir().unwrap(), secrets());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copied = tool("cp", &["-r", root.join("deploy").to_str().unwrap(), folder.path().to_str().unwrap()]);
    assert!(copied.status.success());
    let here = folder.path().join("deploy");
    let keys = "WEIR_TOKEN_KEY=0123456789abcdef0123456789abcdef\nREDIS_URL=redis://weir:secret@valkey:6379\n";
    for (file, text) in [
        ("keys.env", keys),
        ("valkey.env", "REDISCLI_AUTH=secret\n"),
        ("admin_token", "a"),
        ("valkey.acl", ""),
    ] {
        std::fs::write(here.join(file), text).unwrap();
    }
    let file = here.join("compose.fleet.yml");
    let output = tool("docker-compose", &["-f", file.to_str().unwrap(), "config"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for service in ["weir-1:", "weir-2:", "weir-3:", "valkey:", "balancer:"] {
        assert!(text.lines().any(|line| line.trim() == service), "{service} in\n{text}");
    }
    assert!(text.contains("condition: service_healthy") && text.contains("valkey-cli"), "{text}");
    // What one of the three is told is a configuration.
    let one = text.split("  weir-1:\n").nth(1).unwrap().split("  weir-2:\n").next().unwrap();
    let pairs = one.lines().map(str::trim).filter_map(|line| line.split_once(": "));
    let env = pairs.filter(|(name, _)| name.starts_with("WEIR_") || *name == "REDIS_URL");
    let env: Vec<_> =
        env.map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect();
    assert_eq!(env.len(), 8, "{env:?}");
    let config = "[upstreams.echo]\ndialect = \"generic\"\nurl = \"https://echo.example\"\n";
    let meaning = checked(config, &env, secrets.path());
    assert!(!meaning.contains("are not shared") && !meaning.contains("token_key the cache"), "{meaning}");
    let haproxy = tool("haproxy", &["-c", "-f", deploy("haproxy.cfg").to_str().unwrap()]);
    assert!(haproxy.status.success(), "{}", said(&haproxy));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_in_users_acl_are_enough() {
    let redis = Redis::start();
    let rules = std::fs::read_to_string(deploy("users.acl")).unwrap();
    let rule = rules.lines().find_map(|line| line.strip_prefix("user weir ")).unwrap();
    let rule = rule.replace("#SHA256_OF_THE_PASSWORD", ">secret");
    let words: Vec<&str> = ["ACL", "SETUSER", "weir"].into_iter().chain(rule.split(' ')).collect();
    assert_eq!(redis.command(&words), "OK");
    let url = redis.url().replace("redis://", "redis://weir:secret@");
    let (_vendor, fleet, callers): (_, Vec<Weir>, Vec<Caller>) = crate::fleet::sharing::pair(&url).await;
    let first = callers[0].get("/things/1").await;
    let second = callers[1].get("/things/1").await;
    assert_eq!((first.price(), second.price()), (1, 0), "{second:?}");
    let written = callers[0].ask(http::Method::PUT, "/things/1", &[], "new").await;
    assert_eq!(written.status, 200);
    let again = callers[1].get("/things/1").await;
    assert_eq!(again.price(), 1, "{again:?}");
    let denied = redis.command(&["ACL", "LOG"]);
    assert_eq!(denied, "", "{}", fleet[0].output());
}
