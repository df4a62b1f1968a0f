//! The example of each vendor in `config/`, as `weir check` sees it.

use std::path::Path;
use std::process::Command;

/// Secrets that the examples name.
const VARIABLES: [&str; 22] = [
    "CATCHPOINT_API_KEY",
    "CATCHPOINT_KEY_CLIENT",
    "CATCHPOINT_KEY_PLATFORM",
    "CATCHPOINT_KEY_WEB",
    "CATCHPOINT_V1_SECRET",
    "EXPORTER_TOKEN",
    "GRAFANA_TOKEN",
    "INVENTORY_TOKEN",
    "NETSKOPE_V1_TOKEN",
    "NETSKOPE_V2_TOKEN",
    "NIGHTLY_TOKEN",
    "ONBOARDING_TOKEN",
    "POLICY_BOT_TOKEN",
    "PRIVX_API_CLIENT_SECRET",
    "PRIVX_OAUTH_CLIENT_SECRET",
    "SANDBOX_API_KEY",
    "SIEM_TOKEN",
    "SOAR_TOKEN",
    "WEATHER_API_KEY",
    "WEBSITE_TOKEN",
    "WEIR_TOKEN_KEY",
    "WEIR_TOKENS",
];

#[test]
fn every_example_is_understood_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "the-key-of-a-file").unwrap();
    let mut names = Vec::new();
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        if file.extension().is_none_or(|kind| kind != "toml") {
            continue;
        }
        let mut check = Command::new(env!("CARGO_BIN_EXE_weir"));
        check.arg("check").arg("--config").arg(&file);
        check.envs(VARIABLES.iter().map(|name| (*name, format!("{name}-{}", "0123456789".repeat(7)))));
        for team in ["GRAFANA", "WEB_EXPORTER", "TERRAFORM", "ONCALL_BOT", "NIGHTLY_REPORT", "SIDECAR"] {
            check.env(format!("WEIR_TOKEN_{team}"), format!("token-of-{team}-0123456789"));
        }
        if name == "sidecar" {
            // Its key is in a file that only its container has.
            check.env("WEIR__UPSTREAMS__CATCHPOINT__KEYS__MAIN__VALUE__FILE", secret.path());
        }
        let output = check.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
        assert!(said.contains("upstream ") && !said.contains("worth knowing"), "{name}: {said}");
        assert!(!said.contains("0123456789"), "{name} tells a secret: {said}");
        names.push(name);
    }
    for vendor in [
        "catchpoint-v1",
        "recorded-future-sandbox",
        "privx",
        "netskope",
        "generic",
        "sidecar",
        "sidecar-to-central",
        "weir",
        "minimal",
    ] {
        assert!(names.iter().any(|name| name == vendor), "no example of {vendor} among {names:?}");
    }
}
