//! The configuration from outside: every mistake with the exact sentence it
//! produces, the examples we ship, and what must never be printed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::path::{Path, PathBuf};

use weir::config;

/// What the fixtures and examples may refer to.
const ENV: &[(&str, &str)] = &[
    ("CATCHPOINT_API_KEY", "vendor-key-1"),
    ("REDIS_URL", "redis://redis.internal:6379"),
    ("CATCHPOINT_KEY_WEB", "vendor-key-2"),
    ("CATCHPOINT_KEY_PLATFORM", "vendor-key-3"),
    ("CATCHPOINT_KEY_CLIENT", "vendor-key-4"),
    ("EMPTY_VALUE", ""),
    ("GRAFANA_TOKEN", "grafana-token-0123456789"),
    ("WEIR_TOKEN_GRAFANA", "grafana-token-0123456789"),
    ("WEIR_TOKEN_WEB_EXPORTER", "web-exporter-token-0123456789"),
    ("WEIR_TOKEN_SIDECAR", "sidecar-token-0123456789"),
    ("WEIR_TOKEN_TERRAFORM", "terraform-token-0123456789"),
    ("WEIR_TOKEN_ONCALL_BOT", "oncall-bot-token-0123456789"),
    ("WEIR_TOKEN_NIGHTLY_REPORT", "nightly-report-token-0123456789"),
];

fn env() -> impl Iterator<Item = (String, String)> {
    ENV.iter().map(|(name, value)| ((*name).into(), (*value).into()))
}

/// Each `NAME.toml` yields exactly `NAME.expected`: its mistakes, or its warnings
/// and report. `# env: NAME=VALUE` lines in it set variables. Run with
/// `WEIR_BLESS=1` to write what is produced, and read the diff.
#[test]
fn every_mistake_has_its_sentence() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut fixtures: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    fixtures.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    fixtures.sort();
    assert!(!fixtures.is_empty(), "no fixtures in {}", folder.display());
    let mut wrong = Vec::new();
    for path in fixtures {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let set = text.lines().filter_map(|line| line.strip_prefix("# env: ")?.split_once('='));
        let env = env().chain(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let said = match config::load_str(name, &text, env) {
            Ok(config) => config::report(&config),
            Err(mistakes) => mistakes.to_string(),
        };
        let said = said + "\n";
        let expected = path.with_extension("expected");
        if std::env::var_os("WEIR_BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if said != wanted {
            wrong.push(format!("{name} says:\n{said}instead of:\n{wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_we_ship_are_right() {
    for example in ["config/minimal.toml", "config/weir.toml", "config/sidecar-to-central.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(example);
        let config = config::load(&path, env()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.warnings, [""; 0], "{example}");
        assert!(!config.upstreams.is_empty() && !config.consumers.is_empty());
    }
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let error = config::load(Path::new("config/absent.toml"), env()).unwrap_err().to_string();
    assert!(error.starts_with("config/absent.toml: cannot be read ("), "{error}");
}

#[path = "config/laws.rs"]
mod laws;
#[path = "config/schema.rs"]
mod schema;

#[test]
fn a_new_token_is_known_by_the_lines_that_are_printed_with_it() {
    let token = weir::secret::Token::generate().unwrap();
    let lines = config::consumer_lines(&"grafana".parse().unwrap(), token.hash());
    let text = format!("[upstreams.a]\ndialect = \"generic\"\nurl = \"https://a.example\"\n\n{lines}");
    let config = config::load_str("weir.toml", &text, env()).unwrap();
    assert_eq!(config.consumers[0].name.as_str(), "grafana");
    assert_eq!(config.consumers[0].proof.token, Some(token.hash()));
}

#[test]
fn later_variables_lie_over_the_file_and_text_stays_text() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/minimal.toml")).unwrap();
    let set = [
        ("WEIR__UPSTREAMS__CATCHPOINT__KEYS__MAIN__VALUE", "0012345678"),
        ("WEIR__ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = config::load_str("weir.toml", &text, env().chain(set)).unwrap();
    assert_eq!(config.upstreams[0].keys[0].values[0].value.expose(), "0012345678");
    assert_eq!(config.admin.listen.port(), 0);
    assert_eq!(config.warnings, [""; 0]);
}
