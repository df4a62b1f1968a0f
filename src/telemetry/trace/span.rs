//! One span, as it is told.

use super::TraceId;
use crate::clock::UnixTime;

/// What a request is doing, or what is done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// All of it, from the head of the request to the head of the answer.
    Request,
    /// Which upstream, by which canonical target.
    Route,
    /// Who asks, whether it may, and whether the vendor would take it.
    Identify,
    /// A look into the cache.
    Lookup,
    /// A wait for the vendor's token, where a key is exchanged for one.
    SignIn,
    /// A wait for a fetch: its own, or one that is shared.
    Join,
    /// The answer is put into the form that was asked for.
    Answer,
    /// All of a fetch, from its beginning to the last byte of the answer.
    Fetch,
    /// A wait for the allowance.
    Admit,
    /// The vendor's key is put in.
    Sign,
    /// A connection is had, and the charge written down.
    Ready,
    /// From the first byte to the vendor's response head.
    Send,
    /// The body streams in, and is kept if it may be.
    Store,
}

/// A number or a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One of a closed set.
    Word(&'static str),
    /// A name from the configuration, or an id.
    Text(String),
    /// A number.
    Number(i64),
}

/// Points to a span of any trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: u64,
}

/// A stretch of time with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// In which trace.
    pub trace: TraceId,
    /// Itself; never 0.
    pub id: u64,
    /// What it is a part of.
    pub parent: Option<u64>,
    /// What it is.
    pub stage: Stage,
    /// What a request is called, if that is known: method and folded route.
    pub name: Option<String>,
    /// When it began.
    pub began: UnixTime,
    /// When it ended.
    pub ended: UnixTime,
    /// What else is known.
    pub attributes: Vec<(&'static str, Value)>,
    /// What it waited for.
    pub link: Option<Link>,
    /// Why it failed, in one word.
    pub error: Option<&'static str>,
}

impl Span {
    pub(super) fn begin(trace: TraceId, stage: Stage, parent: Option<u64>, at: UnixTime) -> Self {
        let id = rand::random::<u64>().max(1);
        let (name, attributes, link, error) = Default::default();
        Self { trace, id, parent, stage, name, began: at, ended: at, attributes, link, error }
    }
}

impl Stage {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Route => "route",
            Self::Identify => "identify",
            Self::Lookup => "lookup",
            Self::SignIn => "sign_in",
            Self::Join => "join",
            Self::Answer => "answer",
            Self::Fetch => "fetch",
            Self::Admit => "admit",
            Self::Sign => "sign",
            Self::Ready => "ready",
            Self::Send => "send",
            Self::Store => "store",
        }
    }
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Word(if truth { "yes" } else { "no" })
    }
}
