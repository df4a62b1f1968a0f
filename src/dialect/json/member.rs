//! The members of an envelope that mean something to an editor.

use super::Edits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Other,
    LeaveOut,
    /// To be left out, but its comma has gone out.
    Null,
    Data,
    Link,
    Completed,
    Status,
}

impl Member {
    /// The member whose name, with quotes and escapes, is `quoted`; `top` says
    /// that it stands in the outermost object.
    pub(super) fn called(quoted: &[u8], top: bool, edits: &Edits) -> Self {
        let unescaped: String;
        let name = if quoted.contains(&b'\\') {
            match serde_json::from_slice(quoted) {
                Ok(text) => unescaped = text,
                Err(_) => return Self::Other,
            }
            unescaped.as_bytes()
        } else {
            &quoted[1..quoted.len() - 1]
        };
        match name {
            b"next" | b"previous" if edits.links.is_some() => Self::Link,
            b"data" if top => Self::Data,
            b"completed" if top => Self::Completed,
            b"status" if top => Self::Status,
            name if top && edits.leave_out.is_some_and(|out| out.as_bytes() == name) => Self::LeaveOut,
            _ => Self::Other,
        }
    }
}
