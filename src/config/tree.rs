//! The untyped tree: what was typed, each value with the place it stands at.

use std::collections::BTreeMap;

use super::mistake::Place;

/// One value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
    /// A scalar's own spelling, when it came from an environment variable:
    /// `007` is a number there only until somebody asks for text.
    pub(super) typed: Option<String>,
}

/// A value as TOML has them; dates are text.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Int(i128),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Value {
    /// What it is, in words for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}
