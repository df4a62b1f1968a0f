//! What is wrong with a configuration, where, and the words that fix it.
//!
//! Contract: no value that was typed is ever repeated, so that a secret in the
//! wrong place stays unseen; key names, numbers worked out and names of other
//! things are. The one exception is the name of an environment variable, and
//! only when it looks like one (`secrets`).

use std::collections::BTreeMap;
use std::fmt;

/// Where something was typed: the line of the file, or the variable that overrides it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spot {
    /// 1 is the first.
    Line(usize),
    /// Its name.
    Variable(String),
}

/// Where something was typed, with the path of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) spot: Spot,
    /// `upstreams.catchpoint.limits.minute`; empty for the file itself.
    pub(super) path: String,
}

impl Place {
    /// The file itself.
    pub(super) fn root() -> Self {
        Self { spot: Spot::Line(1), path: String::new() }
    }

    /// The place of `key` under this one, typed at `spot`.
    pub(super) fn child(&self, key: &str, spot: Spot) -> Self {
        let key = printable_key(key);
        let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
        Self { spot, path }
    }

    /// The place of the entry at `index` of this list, typed at `spot`.
    pub(super) fn entry(&self, index: usize, spot: Spot) -> Self {
        Self { spot, path: format!("{}[{index}]", self.path) }
    }
}

/// Longer keys are cut in messages.
const MAX_KEY_CHARS: usize = 60;

/// A key as a message may carry it: one line, of bounded length.
fn printable_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.len() <= MAX_KEY_CHARS && key.chars().all(bare) {
        return key.into();
    }
    let cut: String = key.chars().take(MAX_KEY_CHARS).flat_map(char::escape_default).collect();
    format!("\"{cut}\"")
}

/// One sentence about one place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remark {
    place: Place,
    words: String,
}

impl Remark {
    fn line(&self, file: &str) -> String {
        let spot = match &self.place.spot {
            Spot::Line(line) => format!("{file}:{line}"),
            Spot::Variable(name) => name.clone(),
        };
        match self.place.path.as_str() {
            "" => format!("{spot}: {}", self.words),
            path => format!("{spot}: {path}: {}", self.words),
        }
    }
}

/// Every mistake of one configuration, in the order of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    lines: Vec<String>,
}

impl Mistakes {
    /// One sentence each: `file:line: key: what is wrong; what to write`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// A mistake about the file as a whole.
    pub(super) fn whole_file(file: &str, words: &str) -> Self {
        Self { lines: vec![format!("{file}: {words}")] }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// What the one walk over a configuration carries with it and brings back.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    /// The environment, for secrets that name a variable.
    pub(super) env: &'a BTreeMap<String, String>,
    /// Files that secrets were read from.
    pub(super) files: Vec<std::path::PathBuf>,
    mistakes: Vec<Remark>,
    warnings: Vec<Remark>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(env: &'a BTreeMap<String, String>) -> Self {
        Self { env, files: Vec::new(), mistakes: Vec::new(), warnings: Vec::new() }
    }

    /// Notes a mistake.
    pub(super) fn wrong(&mut self, place: &Place, words: impl Into<String>) {
        self.mistakes.push(Remark { place: place.clone(), words: words.into() });
    }

    /// Notes what is allowed but worth saying.
    pub(super) fn warn(&mut self, place: &Place, words: impl Into<String>) {
        self.warnings.push(Remark { place: place.clone(), words: words.into() });
    }

    /// How many mistakes were noted so far.
    pub(super) fn count(&self) -> usize {
        self.mistakes.len()
    }

    /// The warnings of a configuration without mistakes, or the mistakes.
    pub(super) fn finish(self, file: &str) -> Result<Vec<String>, Mistakes> {
        if self.mistakes.is_empty() {
            Ok(lines(self.warnings, file))
        } else {
            Err(Mistakes { lines: lines(self.mistakes, file) })
        }
    }
}

fn lines(mut remarks: Vec<Remark>, file: &str) -> Vec<String> {
    remarks.sort_by(|a, b| (&a.place.spot, &a.place.path).cmp(&(&b.place.spot, &b.place.path)));
    remarks.dedup();
    remarks.iter().map(|remark| remark.line(file)).collect()
}

/// `; did you mean "x"?` for the candidate nearest to `typed`, or nothing.
pub(super) fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are no typing errors, and comparing them costs their square.
    if typed.len() > MAX_KEY_CHARS {
        return None;
    }
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `"a", "b" or "c"`.
pub(super) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
