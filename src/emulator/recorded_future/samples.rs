//! Samples: how they come in, how they make progress, what is told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clock::UnixTime;

use super::super::answer::Ask;
use super::super::chance::mix;
use super::super::times;
use super::{Problem, bad, json_body, multipart};

const SAMPLES: usize = 10_000;
/// 2026-01-01T00:00:00Z; those there are at the start came a minute apart before it.
const START_SECS: u64 = 1_767_225_600;

/// How far an analysis has come, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Pending,
    StaticAnalysis,
    Scheduled,
    Running,
    Processing,
    Reported,
}

/// One sample.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) id: String,
    pub(super) state: State,
    /// RFC 3339 with microseconds: what pages are turned by.
    pub(super) submitted: String,
    /// The label of the key that submitted it; none of those at the start.
    pub(super) owner: Option<String>,
    pub(super) score: u64,
    kind: &'static str,
    /// File name or URL.
    target: String,
    /// Of a file that was uploaded.
    upload: Option<Bytes>,
    looks: u32,
}

/// All samples, by the time of their submission.
#[derive(Debug)]
pub(super) struct Samples(BTreeMap<String, Sample>);

impl State {
    const ALL: [Self; 6] = [
        Self::Pending,
        Self::StaticAnalysis,
        Self::Scheduled,
        Self::Running,
        Self::Processing,
        Self::Reported,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::StaticAnalysis => "static_analysis",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Processing => "processing",
            Self::Reported => "reported",
        }
    }
}

impl Samples {
    pub(super) fn new(seed: u64, count: u32) -> Self {
        let make = |index: u32| {
            let chance = mix(seed, u64::from(index));
            let at = UnixTime::from_secs(START_SECS) - Duration::from_secs(60) * (index + 1);
            let sample = Sample {
                id: format!("251231-{chance:010x}"),
                state: State::Reported,
                submitted: times::spell(at, 6),
                owner: None,
                score: chance % 10 + 1,
                kind: "file",
                target: format!("invoice-{index}.exe"),
                upload: None,
                looks: 0,
            };
            (sample.submitted.clone(), sample)
        };
        Self((0..count).map(make).collect())
    }

    pub(super) fn newest(&self) -> impl Iterator<Item = &Sample> {
        self.0.values().rev()
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut Sample> {
        self.0.values_mut().find(|sample| sample.id == id)
    }

    pub(super) fn add(&mut self, sample: Sample) -> Result<(), Problem> {
        if self.0.len() >= SAMPLES {
            return Err(bad("there may be no more samples"));
        }
        self.0.insert(sample.submitted.clone(), sample);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.0.retain(|_, sample| sample.id != id);
    }
}

impl Sample {
    pub(super) fn value(&self) -> Value {
        let mut value = json!({"id": self.id, "status": self.state.as_str(), "kind": self.kind,
            "private": self.owner.is_some(), "submitted": self.submitted, "tasks": []});
        let target = if self.kind == "url" { "url" } else { "filename" };
        value[target] = json!(self.target);
        if let Some(upload) = &self.upload {
            value["size"] = json!(upload.len());
            value["sha256"] = json!(HEXLOWER.encode(&Sha256::digest(upload)));
        }
        if self.state == State::Reported {
            value["tasks"] = json!([{"id": "behavioral1", "status": "reported", "score": self.score}]);
            value["completed"] = json!(self.submitted);
        }
        value
    }

    pub(super) fn matches(&self, wanted: &str) -> bool {
        self.target.contains(wanted) || self.id == wanted
    }

    /// Somebody has looked; after `polls` looks it is reported.
    pub(super) fn progress(&mut self, polls: u32) {
        self.looks = self.looks.saturating_add(1);
        let steps = State::ALL.len() - 1;
        let looks = usize::try_from(self.looks.min(polls)).unwrap_or(steps);
        let reached = if self.looks >= polls { steps } else { looks.min(steps - 1) };
        self.state = self.state.max(State::ALL[reached]);
    }

    /// What a stream tells from now on; whoever reads it has seen the end.
    pub(super) fn run_to_its_end(&mut self) -> Vec<Value> {
        let ahead = State::ALL.into_iter().filter(|state| *state >= self.state).collect::<Vec<_>>();
        let tell = |state: State| {
            self.state = state;
            self.value()
        };
        ahead.into_iter().map(tell).collect()
    }

    /// The file itself.
    pub(super) fn content(&self) -> Bytes {
        self.upload.clone().unwrap_or_else(|| Bytes::from(format!("MZ content of {}\n", self.target)))
    }
}

/// A file in `multipart/form-data`, or JSON that names a URL.
pub(super) fn submit(ask: &Ask, owner: &str) -> Result<Sample, Problem> {
    let made = |kind, target: String, upload| Sample {
        id: format!("{:06}-{:010x}", ask.now.as_secs() % 1_000_000, mix(ask.now.as_nanos(), ask.sequence)),
        state: State::Pending,
        submitted: times::spell(ask.now, 6),
        owner: Some(owner.to_owned()),
        score: ask.sequence % 10 + 1,
        kind,
        target,
        upload,
        looks: 0,
    };
    if let Some(parts) = multipart::parts(&ask.headers, &ask.body) {
        let file =
            parts.into_iter().find(|part| part.name == "file").ok_or_else(|| invalid("no part 'file'"))?;
        let name = file.filename.unwrap_or_else(|| "sample".to_owned());
        return Ok(made("file", name, Some(file.content)));
    }
    let body = json_body(ask)?;
    match (body["kind"].as_str(), body["url"].as_str()) {
        (Some(kind @ ("url" | "fetch")), Some(url)) if url.contains("://") => {
            Ok(made(if kind == "url" { "url" } else { "file" }, url.to_owned(), None))
        }
        _ => Err(invalid("kind must be url or fetch, with a url, or a file be uploaded")),
    }
}

fn invalid(why: &str) -> Problem {
    (StatusCode::BAD_REQUEST, "INVALID", why.to_owned())
}
