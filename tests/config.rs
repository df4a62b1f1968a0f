//! The configuration from outside: every mistake with the exact sentence it
//! produces, the examples we ship, and what must never be printed.

use std::fs;
use std::path::{Path, PathBuf};

use weir::config;

/// What the fixtures and examples may refer to.
const ENV: &[(&str, &str)] = &[
    ("CATCHPOINT_API_KEY", "vendor-key-1"),
    ("CATCHPOINT_KEY_WEB", "vendor-key-2"),
    ("CATCHPOINT_KEY_PLATFORM", "vendor-key-3"),
    ("CATCHPOINT_KEY_CLIENT", "vendor-key-4"),
    ("EMPTY_VALUE", ""),
    ("GRAFANA_TOKEN", "grafana-token-0123456789"),
    ("WEIR_TOKEN_GRAFANA", "grafana-token-0123456789"),
    ("WEIR_TOKEN_WEB_EXPORTER", "web-exporter-token-0123456789"),
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
    for example in ["config/minimal.toml", "config/weir.toml"] {
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
