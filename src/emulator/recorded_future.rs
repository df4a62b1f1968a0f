//! The Recorded Future Sandbox (tria.ge), v0.
//!
//! One API in three shapes of its paths: `/v0/…`, `/api/v0/…` and `/api/…`.
//! Errors have the documented codes and no others. A sample that is submitted
//! makes progress with each look at it, or as its event stream goes on, until it
//! is `reported`; what is about a finished analysis is 404 until then.

mod multipart;
mod samples;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{Answer, Ask, Content};
use super::options::Options;

use self::samples::{Sample, Samples, State};

/// The API and its data.
#[derive(Debug)]
pub(crate) struct RecordedFuture {
    samples: Samples,
    profiles: BTreeMap<String, Value>,
    polls: u32,
    event_pause: Duration,
}

/// Status, code and message of an error.
type Problem = (StatusCode, &'static str, String);
type Outcome = Result<Answer, Problem>;

const PROFILES: usize = 1_000;
const ARCHIVE_BYTES: usize = 1_024 * 1_024;

/// An error in this API's shape.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"error": code, "message": message}))
}

impl RecordedFuture {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            samples: Samples::new(options.seed, options.tests),
            profiles: BTreeMap::new(),
            polls: options.polls,
            event_pause: options.event_pause,
        }
    }

    /// Answers an authorized request; `owner` is the label of its key.
    pub(crate) fn answer(&mut self, ask: &Ask, owner: &str) -> Answer {
        self.outcome(ask, owner).unwrap_or_else(|(status, code, message)| error(status, code, &message))
    }

    fn outcome(&mut self, ask: &Ask, owner: &str) -> Outcome {
        let words = words(&ask.path);
        match (verb(&ask.method), &words[..]) {
            ("GET", ["samples"]) => self.list(ask, |sample| match ask.query.get("subset") {
                Some("public") => sample.owner.is_none(),
                _ => sample.owner.as_deref().is_none_or(|own| own == owner),
            }),
            ("GET", ["search"]) => {
                let wanted = ask.query.get("query").ok_or_else(|| bad("the parameter 'query' is missing"))?;
                self.list(ask, |sample| sample.matches(wanted))
            }
            ("POST", ["samples"]) => {
                let sample = samples::submit(ask, owner)?;
                let value = sample.value();
                self.samples.add(sample)?;
                Ok(Answer::json(StatusCode::OK, &value))
            }
            ("GET", ["samples", "events"]) => {
                let unfinished = self.samples.newest().filter(|sample| sample.state != State::Reported);
                let lines = unfinished.map(|sample| line(&sample.value())).collect();
                Ok(self.stream(lines))
            }
            (verb, ["samples", id, rest @ ..]) => self.one(verb, id, rest, ask),
            (verb, ["profiles", rest @ ..]) => self.profile(verb, rest, ask),
            (_, ["samples" | "search"]) => Err(wrong_method(ask)),
            _ => Err(missing("no such resource")),
        }
    }

    /// A page of the samples that are `seen`, the newest first.
    fn list(&self, ask: &Ask, seen: impl Fn(&Sample) -> bool) -> Outcome {
        let limit = match ask.query.get("limit").map(str::parse::<usize>) {
            None => 50,
            Some(Ok(limit)) if (1..=200).contains(&limit) => limit,
            Some(_) => return Err(bad("limit must be a number from 1 to 200")),
        };
        let after = ask.query.get("offset");
        if after.is_some_and(|offset| super::times::parse(offset).is_none()) {
            return Err(bad("offset is not one that was given out"));
        }
        let mut rows = self
            .samples
            .newest()
            .filter(|sample| seen(sample) && after.is_none_or(|after| sample.submitted.as_str() < after));
        let page: Vec<_> = rows.by_ref().take(limit).collect();
        let mut body = json!({"data": page.iter().map(|sample| sample.value()).collect::<Vec<_>>()});
        if let (Some(last), Some(_)) = (page.last(), rows.next()) {
            body["next"] = json!(last.submitted);
        }
        Ok(Answer::json(StatusCode::OK, &body))
    }

    fn one(&mut self, verb: &str, id: &str, rest: &[&str], ask: &Ask) -> Outcome {
        let (polls, pause) = (self.polls, self.event_pause);
        let sample = self.samples.find(id).ok_or_else(|| missing("no such sample"))?;
        match (verb, rest) {
            ("GET", []) => {
                let value = sample.value();
                sample.progress(polls);
                Ok(Answer::json(StatusCode::OK, &value))
            }
            ("GET", ["events"]) => {
                let lines = sample.run_to_its_end().iter().map(line).collect();
                Ok(Self::lines(lines, pause))
            }
            ("GET", ["sample"]) => Ok(bytes(sample.content())),
            ("GET", ["summary" | "overview.json" | "archive" | _]) if sample.state != State::Reported => {
                Err(missing("the analysis is not finished"))
            }
            ("GET", ["summary" | "overview.json"]) => {
                let tasks = json!({"behavioral1": {"kind": "behavioral", "score": sample.score}});
                let body =
                    json!({"sample": sample.value(), "analysis": {"score": sample.score}, "tasks": tasks});
                Ok(Answer::json(StatusCode::OK, &body))
            }
            ("GET", ["archive"]) => {
                let mut archive = sample.content().to_vec();
                archive.resize(ARCHIVE_BYTES, b'z');
                Ok(bytes(archive.into()))
            }
            ("GET", [task, "report_triage.json"]) if sample.state == State::Reported => Ok(Answer::json(
                StatusCode::OK,
                &json!({"version": "0.3", "task": task, "score": sample.score}),
            )),
            ("GET", [_, "logs", _] | [_, "dump.pcap"]) if sample.state == State::Reported => {
                Ok(bytes(sample.content()))
            }
            ("DELETE", []) => {
                let id = id.to_owned();
                self.samples.remove(&id);
                Ok(Answer::json(StatusCode::OK, &json!({})))
            }
            ("POST", ["profile"]) => {
                json_body(ask)?;
                Ok(Answer::json(StatusCode::OK, &json!({})))
            }
            (_, [] | ["events" | "sample" | "summary" | "overview.json" | "archive" | "profile"]) => {
                Err(wrong_method(ask))
            }
            _ => Err(missing("no such resource")),
        }
    }

    fn profile(&mut self, verb: &str, rest: &[&str], ask: &Ask) -> Outcome {
        let ok = |value: &Value| Ok(Answer::json(StatusCode::OK, value));
        match (verb, rest) {
            ("GET", []) => ok(&json!({"data": self.profiles.values().collect::<Vec<_>>()})),
            ("POST", []) => {
                let mut profile = json_body(ask)?;
                let named = profile["name"].as_str().is_some_and(|name| !name.is_empty());
                if !named || self.profiles.len() >= PROFILES {
                    return Err((StatusCode::BAD_REQUEST, "INVALID", "a profile needs a name".to_owned()));
                }
                let id = format!("00000000-0000-4000-8000-{:012x}", ask.sequence);
                profile["id"] = json!(id);
                self.profiles.insert(id, profile.clone());
                ok(&profile)
            }
            (_, [id]) => {
                let profile = self.profiles.get_mut(*id).ok_or_else(|| missing("no such profile"))?;
                match verb {
                    "GET" => ok(profile),
                    "PUT" => {
                        let mut renewed = json_body(ask)?;
                        renewed["id"] = json!(id);
                        *profile = renewed;
                        ok(&json!({}))
                    }
                    "DELETE" => {
                        self.profiles.remove(*id);
                        ok(&json!({}))
                    }
                    _ => Err(wrong_method(ask)),
                }
            }
            (_, []) => Err(wrong_method(ask)),
            _ => Err(missing("no such resource")),
        }
    }

    fn stream(&self, lines: VecDeque<Bytes>) -> Answer {
        Self::lines(lines, self.event_pause)
    }

    fn lines(lines: VecDeque<Bytes>, every: Duration) -> Answer {
        let mut answer = Answer::whole(StatusCode::OK, Bytes::new());
        answer.set(header::CONTENT_TYPE, "application/x-ndjson");
        answer.content = Content::Lines { lines, every };
        answer
    }
}

/// The words after the part in which the three shapes differ.
fn words(path: &str) -> Vec<&str> {
    let rest = ["/api/v0/", "/v0/", "/api/"].iter().find_map(|prefix| path.strip_prefix(prefix));
    rest.unwrap_or_default().split('/').filter(|word| !word.is_empty()).collect()
}

/// HEAD is a GET whose body is left away.
fn verb(method: &Method) -> &str {
    if method == Method::HEAD { "GET" } else { method.as_str() }
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

fn bytes(content: Bytes) -> Answer {
    let mut answer = Answer::whole(StatusCode::OK, content);
    answer.set(header::CONTENT_TYPE, "application/octet-stream");
    answer
}

fn json_body(ask: &Ask) -> Result<Value, Problem> {
    match serde_json::from_slice(&ask.body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(bad("the body is no JSON object")),
    }
}

fn bad(why: &str) -> Problem {
    (StatusCode::BAD_REQUEST, "BAD_REQUEST", why.to_owned())
}

fn missing(why: &str) -> Problem {
    (StatusCode::NOT_FOUND, "NOT_FOUND", why.to_owned())
}

fn wrong_method(ask: &Ask) -> Problem {
    let why = format!("{} is not allowed here", ask.method);
    (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", why)
}
