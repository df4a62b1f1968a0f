//! Edits of a JSON body while it streams through, byte by byte.
//!
//! Feed chunks of any size to an [`Editor`]; what comes out does not depend on
//! how they were cut. It never re-formats what it does not edit, and holds back
//! only what a decision still hangs on, within the bounds below.
//!
//! * One top-level member may be left out, comma included, and is handed over at the end.
//! * `next` and `previous`, at the top and in the top-level `data`, are links:
//!   rewritten if they point to the upstream itself, `null` if they do not.
//! * `completed` and `status` at the top are observed.
//!
//! From the byte on that makes the body no JSON text (RFC 8259), all passes as it
//! came, what was held back included, and [`Observed::wellformed`] is false: such
//! a body may be shown, but not kept. Names are compared after unescaping. Bytes
//! within strings are not checked to be UTF-8.

mod canonical;
mod member;
mod scanner;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use self::member::Member;
use self::scanner::{Scanner, Token};
use super::links::{Links, Rewritten};

pub use self::canonical::canonical;
pub use self::scanner::MAX_DEPTH;

/// The longest link that is looked at, with quotes and escapes; a longer one becomes `null`.
pub const MAX_LINK_BYTES: usize = 8 * 1024;
/// The longest member left out that is handed over; a longer one is only left out.
pub const MAX_REMOVED_BYTES: usize = 64 * 1024;
/// The longest name, with quotes and escapes, that can be one we know.
pub const MAX_NAME_BYTES: usize = 128;
/// The longest `status` that is observed.
pub const MAX_STATUS_BYTES: usize = 64;
/// The most white space between a comma and a name that is held back. After more,
/// a member to be left out becomes `null` instead, since its comma has gone out.
pub const MAX_GAP_BYTES: usize = 1024;
/// What is told of a foreign link, without its query.
pub const MAX_FOREIGN_BYTES: usize = 200;

/// What to change in a body.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// The top-level member to leave out.
    pub leave_out: Option<&'static str>,
    /// How to rewrite links; none leaves them alone.
    pub links: Option<Arc<Links>>,
}

/// What a body turned out to be, known at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether it was one whole JSON text, at most [`MAX_DEPTH`] deep.
    pub wellformed: bool,
    /// The top-level `completed`; false if it ever was.
    pub completed: Option<bool>,
    /// The top-level `status`, if it is a short text.
    pub status: Option<String>,
    /// The value that was left out, as it came.
    pub removed: Option<Bytes>,
    /// Links that now lead through weir.
    pub links_rewritten: u32,
    /// Links that were replaced by `null`.
    pub links_dropped: u32,
    /// The first of those, without its query and cut short.
    pub foreign: Option<String>,
}

/// One body under way.
#[derive(Debug)]
pub struct Editor {
    edits: Edits,
    scanner: Scanner,
    held: Vec<u8>,
    hold: Hold,
    /// The member whose value comes next.
    member: Member,
    /// Inside the top-level member `data`, which is an object.
    in_data: bool,
    /// A top-level member has gone out, so that the next needs its comma.
    kept: bool,
    /// That comma has gone out already.
    comma_out: bool,
    observed: Observed,
}

/// What is held back, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Nothing,
    /// A top-level comma and white space.
    Gap,
    /// The same and a name, which begins at this index.
    Name(usize),
    /// A text under decision.
    Text(Member),
    /// A member that will be left out; its value begins at this index.
    Removed(usize),
    /// Nothing: the rest of a top-level value goes away.
    Skip,
    /// Nothing: the rest of a string goes away.
    SkipText,
}

impl Editor {
    /// For a body that has not begun.
    #[must_use]
    pub fn new(edits: Edits) -> Self {
        Self {
            edits,
            scanner: Scanner::new(),
            held: Vec::new(),
            hold: Hold::Nothing,
            member: Member::Other,
            in_data: false,
            kept: false,
            comma_out: false,
            observed: Observed::default(),
        }
    }

    /// Takes the next bytes of the body and appends to `out` what may go on.
    pub fn push(&mut self, chunk: &[u8], out: &mut BytesMut) {
        let mut rest = chunk;
        // How much of `rest` goes out as it is; zero while anything is held.
        let mut passed = 0;
        while passed < rest.len() {
            let quiet = self.scanner.quiet_run(&rest[passed..]);
            if quiet > 0 && self.hold == Hold::Nothing {
                passed += quiet;
            } else if quiet > 0 {
                self.keep(&rest[..quiet], out);
                rest = &rest[quiet..];
            } else {
                let byte = rest[passed];
                let token = self.scanner.step(byte);
                if token != Token::Malformed && self.is_out_of_reach() {
                    passed += 1;
                    continue;
                }
                out.put_slice(&rest[..passed]);
                self.on(token, byte, out);
                rest = &rest[passed + 1..];
                passed = 0;
            }
        }
        out.put_slice(rest);
    }

    /// The end of the body: appends what was still held, says what it was.
    #[must_use]
    pub fn finish(mut self, out: &mut BytesMut) -> Observed {
        self.observed.wellformed = self.scanner.is_whole();
        if !self.observed.wellformed {
            self.give_up(out);
        }
        self.observed
    }

    /// Nothing that follows before the next closing bracket can be edited.
    fn is_out_of_reach(&self) -> bool {
        let depth = self.scanner.depth();
        self.hold == Hold::Nothing
            && self.member == Member::Other
            && (depth > 2 || (depth == 2 && !self.in_data))
    }

    fn on(&mut self, token: Token, byte: u8, out: &mut BytesMut) {
        let depth = self.scanner.depth();
        match token {
            Token::Malformed => {
                self.give_up(out);
                out.put_u8(byte);
                return;
            }
            Token::NameStart if depth == 1 || (depth == 2 && self.in_data) => self.start_name(),
            Token::Comma if depth == 1 && self.scanner.in_object() => return self.on_comma(byte, out),
            Token::Close if depth == 0 => self.end_removed(),
            Token::Close if depth == 1 => self.in_data = false,
            Token::Open | Token::TextStart | Token::Scalar => self.start_value(token, byte, out),
            _ => {}
        }
        self.keep(&[byte], out);
        match token {
            Token::NameEnd => self.end_name(out),
            // The left-out member's own colon: others lie deeper.
            Token::Colon if depth == 1 => self.value_follows(),
            Token::TextEnd => self.end_text(out),
            _ => {}
        }
    }

    /// Holds `bytes` back or lets them out, as the state of things is.
    fn keep(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let (used, most) = match self.hold {
            Hold::Nothing => return out.put_slice(bytes),
            Hold::Skip | Hold::SkipText => return,
            Hold::Gap => (self.held.len(), MAX_GAP_BYTES),
            Hold::Name(start) => (self.held.len() - start, MAX_NAME_BYTES),
            Hold::Text(_) => (self.held.len(), MAX_LINK_BYTES),
            Hold::Removed(_) => (self.held.len(), MAX_REMOVED_BYTES),
        };
        if used + bytes.len() <= most {
            self.held.extend_from_slice(bytes);
        } else {
            self.overflow(bytes, out);
        }
    }

    /// More is under decision than may be held: decides without it.
    fn overflow(&mut self, bytes: &[u8], out: &mut BytesMut) {
        match self.hold {
            Hold::Text(Member::Link) => {
                self.drop_link(None, out);
                self.hold = Hold::SkipText;
            }
            Hold::Removed(_) => {
                self.held.clear();
                self.hold = Hold::Skip;
            }
            Hold::Name(_) => {
                self.release(out);
                self.end_of_gap();
                out.put_slice(bytes);
            }
            Hold::Gap => {
                self.release(out);
                self.comma_out = true;
                out.put_slice(bytes);
            }
            _ => {
                self.release(out);
                out.put_slice(bytes);
            }
        }
    }

    /// Lets out what is held.
    fn release(&mut self, out: &mut BytesMut) {
        out.put_slice(&self.held);
        self.held.clear();
        self.hold = Hold::Nothing;
    }

    /// No JSON: from here on all goes out as it comes.
    fn give_up(&mut self, out: &mut BytesMut) {
        self.release(out);
        self.member = Member::Other;
    }

    fn on_comma(&mut self, byte: u8, out: &mut BytesMut) {
        self.end_removed();
        if self.kept {
            self.hold = Hold::Gap;
            self.keep(&[byte], out);
        }
    }

    /// A top-level value is over; if it was to be left out, it has been.
    fn end_removed(&mut self) {
        if let Hold::Removed(value) = self.hold {
            self.observed.removed = Some(Bytes::copy_from_slice(self.held[value..].trim_ascii()));
            self.held.clear();
        }
        self.hold = Hold::Nothing;
    }

    fn start_name(&mut self) {
        self.hold = Hold::Name(self.held.len());
    }

    fn end_name(&mut self, out: &mut BytesMut) {
        let Hold::Name(start) = self.hold else { return };
        self.member = Member::called(&self.held[start..], self.scanner.depth() == 1, &self.edits);
        if self.member == Member::LeaveOut && self.comma_out {
            self.member = Member::Null;
        }
        if self.member == Member::LeaveOut {
            self.member = Member::Other;
            self.hold = Hold::Removed(self.held.len());
        } else {
            self.release(out);
            self.end_of_gap();
        }
    }

    /// A name has gone out, and its comma with it.
    fn end_of_gap(&mut self) {
        if self.scanner.depth() == 1 {
            self.kept = true;
            self.comma_out = false;
        }
    }

    fn value_follows(&mut self) {
        if let Hold::Removed(value) = &mut self.hold {
            *value = self.held.len();
        }
    }

    fn start_value(&mut self, token: Token, byte: u8, out: &mut BytesMut) {
        let member = std::mem::replace(&mut self.member, Member::Other);
        match (member, token) {
            (Member::Null, _) => {
                out.put_slice(b"null");
                self.hold = Hold::Skip;
            }
            (Member::Data, Token::Open) => self.in_data = self.scanner.in_object(),
            (Member::Link | Member::Status, Token::TextStart) => self.hold = Hold::Text(member),
            (Member::Status, _) => self.observed.status = None,
            (Member::Completed, _) => self.observe_completed(byte),
            _ => {}
        }
    }

    fn observe_completed(&mut self, first: u8) {
        let before = self.observed.completed;
        match first {
            b'f' => self.observed.completed = Some(false),
            b't' => self.observed.completed = Some(before.unwrap_or(true)),
            _ => {}
        }
    }

    fn end_text(&mut self, out: &mut BytesMut) {
        match self.hold {
            Hold::Text(Member::Link) => self.end_link(out),
            Hold::Text(_) => {
                let status = serde_json::from_slice::<String>(&self.held).ok();
                self.observed.status = status.filter(|text| text.len() <= MAX_STATUS_BYTES);
                self.release(out);
            }
            Hold::SkipText => self.hold = Hold::Nothing,
            _ => {}
        }
    }

    fn end_link(&mut self, out: &mut BytesMut) {
        let link = serde_json::from_slice::<String>(&self.held).ok();
        let rewritten = match (&link, &self.edits.links) {
            (Some(link), Some(links)) => links.rewrite(link),
            _ => Rewritten::Foreign,
        };
        match rewritten {
            Rewritten::Same => self.release(out),
            Rewritten::To(to) => {
                self.observed.links_rewritten = self.observed.links_rewritten.saturating_add(1);
                out.put_slice(serde_json::Value::String(to).to_string().as_bytes());
                self.held.clear();
            }
            Rewritten::Foreign => self.drop_link(link, out),
        }
        self.hold = Hold::Nothing;
    }

    fn drop_link(&mut self, link: Option<String>, out: &mut BytesMut) {
        out.put_slice(b"null");
        self.held.clear();
        self.observed.links_dropped = self.observed.links_dropped.saturating_add(1);
        let told = link.as_deref().unwrap_or("a link that is too long, or no text");
        let told = &told[..told.find(['?', '#']).unwrap_or(told.len())];
        let cut = &told[..told.floor_char_boundary(MAX_FOREIGN_BYTES)];
        self.observed.foreign.get_or_insert_with(|| cut.to_owned());
    }
}

#[cfg(test)]
mod tests;
