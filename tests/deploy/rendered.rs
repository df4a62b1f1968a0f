//! Chart, compose file and image, looked at by the tools that read them: helm, the
//! schemas of Kubernetes, docker-compose, hadolint. And by weir: what they set has to be
//! a configuration.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::deploy;

const SERVICE: &str = "deploy/helm/weir/templates/_weir.tpl";

pub(super) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a tool says; it is there, or `tests/run` has not been run.
pub(super) fn tool(name: &str, args: &[&str]) -> Output {
    Command::new(name).args(args).output().unwrap_or_else(|error| panic!("{name}, see tests/run: {error}"))
}

fn rendered(chart: &Path, more: &[&str]) -> String {
    let args = [&["template", "edge", chart.to_str().unwrap(), "--namespace", "gateways"], more].concat();
    let output = tool("helm", &args);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Kubernetes's own schemas, unknown fields refused.
fn validated(text: &str) {
    let mut command = Command::new("kubernetes-validate");
    command.args(["--strict", "/dev/stdin"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut validate = command.spawn().expect("kubernetes-validate is installed by tests/run");
    validate.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = validate.wait_with_output().unwrap();
    assert!(output.status.success() && said(&output).contains("passed"), "{}\n{text}", said(&output));
}

/// `weir check` of a config with variables; files in `/run/secrets` are looked for in `folder`.
pub(super) fn checked(config: &str, env: &[(String, String)], folder: &Path) -> String {
    let here = |text: &str| text.replace("/run/secrets", folder.to_str().unwrap());
    let file = folder.join("weir.toml");
    std::fs::write(&file, here(config)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["check", "--config"]).arg(file);
    let output = command.envs(env.iter().map(|(name, value)| (name, here(value)))).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// The config in a rendered ConfigMap.
fn config_in(text: &str) -> String {
    let after = text.split_once("weir.toml: |-\n").unwrap().1;
    after
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|l| format!("{l}\n"))
        .collect()
}

/// `WEIR__…` and its value, in a rendered container.
fn env_in(text: &str) -> Vec<(String, String)> {
    let starts = text.match_indices("name: WEIR__").map(|(at, _)| &text[at + "name: ".len()..]);
    let pair = |rest: &str| {
        let name = rest.split([',', '\n']).next().unwrap();
        let line = rest.split_once("value: ").unwrap().1.lines().next().unwrap();
        let value = line.trim_end_matches('}').trim().trim_matches(['"', '\'']);
        (name.to_owned(), value.to_owned())
    };
    starts.map(pair).collect()
}

pub(super) fn secrets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("weir")).unwrap();
    for name in ["weir/admin_token", "weir/catchpoint_key", "admin_token"] {
        std::fs::write(folder.path().join(name), "a-secret-of-this-test").unwrap();
    }
    folder
}

#[test]
fn the_chart_renders_what_kubernetes_takes_and_weir_understands() {
    let (chart, secrets) = (deploy("helm/weir"), secrets());
    let lint = tool("helm", &["lint", "--strict", chart.to_str().unwrap()]);
    assert!(lint.status.success(), "{}", said(&lint));
    let service = rendered(&chart, &[]);
    validated(&service);
    let env = env_in(&service);
    assert_eq!(env.len(), 5, "{env:?}");
    let meaning = checked(&config_in(&service), &env, secrets.path());
    assert!(meaning.contains("operators   http://0.0.0.0:9090 with a token"), "{meaning}");
    assert!(service.contains("\"edge-weir.gateways.svc\""), "a scrape by the service's name is answered");
    // What an operator's kind of monitoring wants is no kind of Kubernetes's own.
    let monitored = rendered(&chart, &["--set", "monitor=true"]);
    let (before, monitor) = monitored.split_once("apiVersion: monitoring.coreos.com/v1").unwrap();
    validated(before.rsplit_once("---").unwrap().0);
    assert!(monitor.contains("key: admin_token") && monitor.contains("port: weir-admin"), "{monitor}");
    // Two ledgers of one account would spend it twice.
    let path = chart.to_str().unwrap();
    let refused = tool("helm", &["template", "edge", path, "--set", "replicas=2"]);
    assert!(!refused.status.success() && said(&refused).contains("[store] redis"), "{}", said(&refused));
    let shared = "config=[store]\nredis = { url = \"rediss://redis\" }";
    validated(&rendered(&chart, &["--set", "replicas=2", "--set-string", shared]));
}

/// As the chart's own words tell another chart to take it in.
#[test]
fn another_chart_has_it_as_a_sidecar() {
    let (folder, secrets) = (tempfile::tempdir().unwrap(), secrets());
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("Chart.yaml", "apiVersion: v2\nname: team\nversion: 1.0.0\n");
    write("values.yaml", "weir: { sidecar: true }\n");
    let words = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SERVICE)).unwrap();
    let lines =
        |word: &str| words.lines().find(|line| line.trim().starts_with(word)).unwrap().trim().to_owned();
    write(
        "templates/pod.yaml",
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: team }}\nspec:\n  {}\n  {}\n",
            lines("containers:"),
            lines("volumes:")
        ),
    );
    std::fs::create_dir(folder.path().join("charts")).unwrap();
    let to = folder.path().join("charts/weir");
    assert!(
        tool("cp", &["-r", deploy("helm/weir").to_str().unwrap(), to.to_str().unwrap()]).status.success()
    );
    let text = rendered(folder.path(), &[]);
    validated(&text);
    assert!(!text.contains("kind: StatefulSet") && text.contains("emptyDir"), "{text}");
    let env = env_in(&text);
    assert!(env.contains(&("WEIR__SERVER__LISTEN".into(), "127.0.0.1:8080".into())), "{env:?}");
    checked(&config_in(&text), &env, secrets.path());
}

#[test]
fn the_compose_file_and_the_image_are_sound() {
    let (folder, secrets) = (tempfile::tempdir().unwrap(), secrets());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copied = tool("cp", &["-r", root.join("deploy").to_str().unwrap(), folder.path().to_str().unwrap()]);
    assert!(copied.status.success());
    let config = std::fs::read_to_string(root.join("config/weir.toml")).unwrap();
    let named =
        config.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once("env = \""));
    let keys: Vec<_> = named.map(|(_, rest)| rest.split('"').next().unwrap()).collect();
    assert!(keys.len() > 5, "{keys:?}");
    let set = keys.iter().map(|name| format!("{name}=secret-of-{name}\n"));
    std::fs::write(folder.path().join("deploy/keys.env"), set.collect::<String>()).unwrap();
    std::fs::write(folder.path().join("deploy/admin_token"), "a-token").unwrap();
    let file = folder.path().join("deploy/compose.yml");
    let output = tool("docker-compose", &["-f", file.to_str().unwrap(), "config"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(str::trim);
    let pairs = lines.filter(|line| line.starts_with("WEIR_") || line.starts_with("CATCHPOINT_"));
    let pairs = pairs.map(|line| line.split_once(": ").unwrap());
    let env: Vec<_> =
        pairs.map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect();
    assert_eq!(env.len(), 4 + keys.len(), "{env:?}");
    let meaning = checked(&config, &env, secrets.path());
    assert!(meaning.contains("consumers   http://0.0.0.0:8080"), "{meaning}");
    for mounted in text.lines().filter_map(|line| line.trim().strip_prefix("- /")?.split(':').next()) {
        let path = PathBuf::from(format!("/{mounted}"));
        let is_here = path.exists() || path.ends_with("config/weir.toml") || path.ends_with("tmp");
        assert!(is_here, "{} is mounted and not there", path.display());
    }
    let hadolint = tool("hadolint", &[deploy("Dockerfile").to_str().unwrap()]);
    assert!(hadolint.status.success(), "{}", said(&hadolint));
}
