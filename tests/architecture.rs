//! The arrows between parts point down only: reads every `crate::part` that a
//! source file names and fails on any that DESIGN, "Parts and who may know whom", does not draw.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LEAVES: &[&str] = &["quota", "clock", "id", "secret", "redis", "target", "pattern", "token", "pem"];

/// Who may import whom, leaves aside (leaves may be imported by everybody).
fn allowed(part: &str) -> &'static [&'static str] {
    match part {
        "main" => &["cli"],
        "cli" => &["app", "demo", "config", "emulator", "telemetry"],
        "demo" => &["app", "admin", "emulator", "config", "telemetry"],
        "app" => {
            &["proxy", "admin", "cache", "budget", "consumer", "upstream", "dialect", "config", "telemetry"]
        }
        "proxy" | "admin" => &["cache", "budget", "consumer", "upstream", "dialect", "config", "telemetry"],
        "cache" | "budget" | "consumer" | "upstream" => &["config", "dialect"],
        "config" => &["dialect"],
        // The judge shares nothing with the defendant but the clock and the type of a secret.
        "emulator" | "dialect" | "telemetry" => &[],
        leaf if LEAVES.contains(&leaf) => &[],
        other => panic!("part '{other}' is not on the map: add it to DESIGN and here"),
    }
}

/// What one part may import of the leaves.
fn leaf_allowed(part: &str, leaf: &str) -> bool {
    match part {
        "emulator" => matches!(leaf, "clock" | "secret"),
        "clock" | "id" | "secret" | "pattern" | "target" | "pem" => false,
        "token" => matches!(leaf, "clock" | "secret"),
        "quota" => matches!(leaf, "clock" | "id" | "pattern"),
        _ => true,
    }
}

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    let files = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(files.len() > 10, "the sources were not found");
    for (file, part) in &files {
        let root = if part == "main" { "weir::" } else { "crate::" };
        for (number, import) in imports(&fs::read_to_string(file).unwrap(), root) {
            let fine = import == *part
                || if LEAVES.contains(&import.as_str()) {
                    leaf_allowed(part, &import)
                } else {
                    allowed(part).contains(&import.as_str())
                };
            if !fine {
                wrong.push(format!("{}:{number}: {part} must not know {import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_entry_points_stay_small() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let mut long = Vec::new();
    for (file, _) in sources(root) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        let name = file.strip_prefix(root).unwrap();
        let most = if name == Path::new("main.rs") || name == Path::new("cli.rs") { 60 } else { 400 };
        if lines > most {
            long.push(format!("{}: {lines} lines, at most {most}", name.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Every source file with the part that it belongs to.
fn sources(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && path != root.join("lib.rs") {
                let inside = path.strip_prefix(root).unwrap();
                let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
                found.insert(path.clone(), first.trim_end_matches(".rs").to_owned());
            }
        }
    }
    found
}

/// Every part named behind `root` outside comments and test modules, with its line.
fn imports(text: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // Tests stand last in a file and may look wherever they like.
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => {
                    list.split(['}', ',']).map(|item| item.trim().split("::").next().unwrap()).collect()
                }
                None => vec![rest],
            };
            for name in names {
                let name: String = name.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                if !name.is_empty() {
                    found.push((index + 1, name));
                }
            }
        }
    }
    found
}
