//! Secrets as they are typed: by reference to a variable or a file, or (with a
//! warning) as they are. A token may also be typed as its hash.
//!
//! Nothing here ever repeats what was typed, whatever type it has.

use std::fs;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::mistake::{Place, Walk, did_you_mean};
use super::read::{Read, text};
use super::scalar::{HexText, schema_of};
use super::tree::{Node, Value};
use crate::secret::{Secret, TokenHash};

/// A secret's value.
#[derive(Clone, Debug)]
pub(super) struct SecretValue(pub(super) Secret);

/// What names a client to its vendor: no secret, but often kept beside one.
#[derive(Clone, Debug)]
pub(super) struct ClientIdValue(pub(super) Secret);

/// What a consumer's token is compared with.
#[derive(Clone, Debug)]
pub(super) struct TokenValue(pub(super) TokenHash);

/// Files that hold a secret are small; a larger one is another file.
const MAX_SECRET_FILE_BYTES: u64 = 65_536;

/// Tokens shorter than this can be found by trying.
const MIN_TOKEN_BYTES: usize = 16;

schema_of!(SecretValue, {
    "anyOf": [
        { "type": "string" },
        { "type": "object", "properties": { "env": { "type": "string" } }, "required": ["env"], "additionalProperties": false },
        { "type": "object", "properties": { "file": { "type": "string" } }, "required": ["file"], "additionalProperties": false },
    ],
});

schema_of!(ClientIdValue, {
    "anyOf": [
        { "type": "string" },
        { "type": "object", "properties": { "env": { "type": "string" } }, "required": ["env"], "additionalProperties": false },
        { "type": "object", "properties": { "file": { "type": "string" } }, "required": ["file"], "additionalProperties": false },
    ],
});

schema_of!(TokenValue, {
    "anyOf": [
        { "type": "string" },
        { "type": "object", "properties": { "sha256": { "type": "string", "pattern": "^[0-9a-fA-F]{64}$" } }, "required": ["sha256"], "additionalProperties": false },
        { "type": "object", "properties": { "env": { "type": "string" } }, "required": ["env"], "additionalProperties": false },
        { "type": "object", "properties": { "file": { "type": "string" } }, "required": ["file"], "additionalProperties": false },
    ],
});

impl Read for SecretValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let help = "{ env = \"NAME\" } or { file = \"PATH\" }";
        match node.value {
            Value::Table(_) => reference(node, &["env", "file"], help, walk).map(Self),
            _ => literal(node, help, walk).map(Self),
        }
    }
}

impl Read for ClientIdValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let help = "\"…\", { env = \"NAME\" } or { file = \"PATH\" }";
        let place = node.place.clone();
        match node.value {
            Value::Table(_) => reference(node, &["env", "file"], help, walk).map(Self),
            _ => text(node, help, walk).and_then(|value| kept(value, &place, walk)).map(Self),
        }
    }
}

impl Read for TokenValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let help = "{ sha256 = \"…\" }, { env = \"NAME\" } or { file = \"PATH\" }";
        let place = node.place.clone();
        let token = match node.value {
            Value::Table(mut keys) if keys.len() == 1 && keys.contains_key("sha256") => {
                return HexText::read(keys.remove("sha256")?, walk).map(|hex| Self(hex.0));
            }
            Value::Table(_) => reference(node, &["sha256", "env", "file"], help, walk)?,
            _ => literal(node, help, walk)?,
        };
        if token.expose().len() < MIN_TOKEN_BYTES {
            walk.warn(
                &place,
                "this token is short enough to be guessed; `weir token NAME` makes one that is not",
            );
        }
        Some(Self(TokenHash::of(token.expose().as_bytes())))
    }
}

fn literal(node: Node, help: &str, walk: &mut Walk<'_>) -> Option<Secret> {
    let place = node.place.clone();
    let from_variable = node.typed.is_some() || matches!(place.spot, super::mistake::Spot::Variable(_));
    let secret = text(node, help, walk).and_then(|value| kept(value, &place, walk))?;
    if !from_variable {
        walk.warn(&place, format!("the secret itself stands in the file; write {help}"));
    }
    Some(secret)
}

/// The secret that `{ env = … }` or `{ file = … }` names.
fn reference(node: Node, known: &[&str], help: &str, walk: &mut Walk<'_>) -> Option<Secret> {
    let place = node.place.clone();
    let Value::Table(mut keys) = node.value else { return None };
    let mut unknown = false;
    for (key, node) in keys.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
        let near = did_you_mean(key, known.iter().copied());
        let fix = near.map_or_else(|| format!("write {help}"), |near| format!("did you mean \"{near}\"?"));
        walk.wrong(&node.place, format!("unknown key; {fix}"));
        unknown = true;
    }
    if unknown {
        return None;
    }
    match (keys.remove("env"), keys.remove("file"), keys.is_empty()) {
        (Some(name), None, true) => of_variable(name, walk),
        (None, Some(path), true) => of_file(path, walk),
        _ => {
            walk.wrong(&place, format!("must name one source; write {help}"));
            None
        }
    }
}

fn of_variable(node: Node, walk: &mut Walk<'_>) -> Option<Secret> {
    let place = node.place.clone();
    let name = text(node, "the name of an environment variable", walk)?;
    match walk.env.get(&name) {
        Some(value) => kept(value.clone(), &place, walk),
        None => {
            let words = if looks_like_a_variable(&name) {
                format!("the environment variable {name} is not set; set it where weir is started")
            } else {
                "the environment variable that it names is not set; \
                 write the name of one here, never the secret itself"
                    .into()
            };
            walk.wrong(&place, words);
            None
        }
    }
}

/// Whether this is surely a name: someone may have put the secret where its
/// name belongs, and many a key is made of capitals and digits.
fn looks_like_a_variable(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    name.len() <= 64 && name.contains('_') && name.bytes().all(allowed) && digits * 4 <= name.len()
}

fn of_file(node: Node, walk: &mut Walk<'_>) -> Option<Secret> {
    let place = node.place.clone();
    let path = text(node, "the path of a file", walk)?;
    let read = fs::metadata(&path).and_then(|meta| match meta.len() {
        0..=MAX_SECRET_FILE_BYTES => fs::read(&path),
        _ => Err(std::io::Error::other("larger than 64 KiB")),
    });
    // Its path is not repeated: it might be the secret, put in the wrong place.
    let words = match read.map(String::from_utf8) {
        Ok(Ok(value)) => {
            walk.files.push(path.into());
            return kept(value, &place, walk);
        }
        Ok(Err(_)) => "the file that it names is not UTF-8 text".to_owned(),
        Err(error) => format!(
            "the file that it names cannot be read ({}); correct the path or its rights",
            reason(&error)
        ),
    };
    walk.wrong(&place, words);
    None
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        kind => kind.to_string(),
    }
}

/// A secret without the line end that editors put behind it.
fn kept(value: String, place: &Place, walk: &mut Walk<'_>) -> Option<Secret> {
    let value = zeroize::Zeroizing::new(value);
    let trimmed = value.trim_end_matches(['\r', '\n']);
    if trimmed.is_empty() {
        walk.wrong(place, "the secret is empty; put its value where this points to");
        return None;
    }
    if trimmed.chars().any(char::is_control) {
        walk.wrong(place, "the secret has a line break or another control character in it; keep one line with the secret alone");
        return None;
    }
    Some(Secret::new(trimmed.to_owned()))
}
