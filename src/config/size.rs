//! Sizes in bytes, as `256MiB`.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::mistake::Walk;
use super::read::{Read, text};
use super::scalar::schema_of;
use super::tree::Node;

/// Bytes, in a unit of powers of two.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeText(pub(super) u64);

impl Read for SizeText {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let place = node.place.clone();
        let typed = text(node, "\"256MiB\"", walk)?;
        size(&typed).map(Self).map_err(|words| walk.wrong(&place, words)).ok()
    }
}

schema_of!(SizeText, { "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)$", "examples": ["256MiB"] });

const UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
/// More than any machine has.
const MOST: u64 = 1 << 50;

fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let Some(count) = count.parse::<u64>().ok().filter(|_| digits <= 12) else {
        return Err(help());
    };
    if let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) {
        let size = count.checked_mul(*bytes).filter(|size| *size <= MOST);
        return size.ok_or_else(|| "more than any machine has; write such as \"4GiB\"".into());
    }
    // `256 MB`, `256m`, `256Mi`
    let meant = unit.trim().chars().next().map(|letter| letter.to_ascii_uppercase());
    Err(match UNITS.iter().find(|(name, _)| name.chars().next() == meant) {
        Some((name, _)) => format!("wrong unit; write \"{count}{name}\""),
        None if unit.is_empty() => format!("a size needs a unit; write \"{count}MiB\""),
        None => help(),
    })
}

fn help() -> String {
    "not a size; write a whole number and one of KiB, MiB and GiB, such as \"256MiB\"".into()
}

/// A size as it is typed, in the largest unit that fits it whole.
pub(super) fn spell(bytes: u64) -> String {
    let fits = UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{}KiB", bytes >> 10), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_spelt() {
        for text in ["256MiB", "1GiB", "3KiB", "0KiB"] {
            assert_eq!(spell(size(text).unwrap()), text);
        }
        for (text, words) in [
            ("256", "a size needs a unit; write \"256MiB\""),
            ("256 MB", "wrong unit; write \"256MiB\""),
            ("2g", "wrong unit; write \"2GiB\""),
            ("big", "not a size; write a whole number and one of KiB, MiB and GiB, such as \"256MiB\""),
            ("999999999999GiB", "more than any machine has; write such as \"4GiB\""),
        ] {
            assert_eq!(size(text).unwrap_err(), words, "{text}");
        }
    }
}
