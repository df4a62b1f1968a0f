//! One byte of JSON at a time: what it is, and whether it may stand there (RFC 8259).

/// The deepest nesting that is followed.
pub const MAX_DEPTH: u32 = 127;

/// Where we are in a JSON text.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// One bit per open container, the innermost lowest: 1 is an object.
    stack: u128,
    depth: u32,
}

/// What a byte turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// White space between other things (or a byte order mark before them).
    Space,
    /// `{` or `[`; counted in the depth already.
    Open,
    /// `}` or `]`; no longer counted.
    Close,
    Comma,
    Colon,
    /// The opening quote of a member's name.
    NameStart,
    /// The closing quote of a member's name.
    NameEnd,
    /// The opening quote of a value.
    TextStart,
    /// The closing quote of a value.
    TextEnd,
    /// Within a name or a text.
    Inside,
    /// A byte of a number, `true`, `false` or `null`.
    Scalar,
    /// No JSON text goes on like this. It stays so.
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This many bytes of a byte order mark have been read (RFC 8259, section 8.1:
    /// a reader may ignore one).
    Mark(u8),
    Value,
    ItemOrClose,
    NameOrClose,
    Name,
    Colon,
    CommaOrClose,
    Text {
        name: bool,
        within: Within,
    },
    Number(Number),
    /// What is left of `true`, `false` or `null`.
    Word(&'static [u8]),
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Plain,
    Escape,
    /// This many hex digits are missing.
    Hex(u8),
}

/// What the last byte of a number was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self { state: State::Mark(0), stack: 0, depth: 0 }
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// Whether the innermost open container is an object.
    pub(super) fn in_object(&self) -> bool {
        self.depth > 0 && self.stack & 1 == 1
    }

    /// Whether exactly one JSON text has been read.
    pub(super) fn is_whole(&self) -> bool {
        self.depth == 0
            && match self.state {
                State::CommaOrClose => true,
                State::Number(number) => number.may_end(),
                _ => false,
            }
    }

    /// How many of the next bytes are [`Token::Inside`] and need no step.
    pub(super) fn quiet_run(&self, bytes: &[u8]) -> usize {
        match self.state {
            State::Text { within: Within::Plain, .. } => {
                bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len())
            }
            // Nothing is JSON any more: all passes.
            State::Malformed => bytes.len(),
            _ => 0,
        }
    }

    pub(super) fn step(&mut self, byte: u8) -> Token {
        if let State::Number(number) = self.state {
            if let Some(next) = number.next(byte) {
                self.state = State::Number(next);
                return Token::Scalar;
            }
            // A number ends where something else begins.
            self.state = if number.may_end() { State::CommaOrClose } else { State::Malformed };
        }
        let token = match self.state {
            State::Text { name, within } => self.text(byte, name, within),
            State::Word(rest) => self.word(byte, rest),
            State::Mark(read) => self.mark(byte, read),
            State::Malformed | State::Number(_) => None,
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => Some(Token::Space),
            State::Value => self.value(byte),
            State::ItemOrClose if byte == b']' => self.close(),
            State::ItemOrClose => self.value(byte),
            State::NameOrClose if byte == b'}' => self.close(),
            State::NameOrClose | State::Name => self.name(byte),
            State::Colon => (byte == b':').then(|| self.go(State::Value, Token::Colon)),
            State::CommaOrClose => self.after_value(byte),
        };
        token.unwrap_or_else(|| self.go(State::Malformed, Token::Malformed))
    }

    fn go(&mut self, state: State, token: Token) -> Token {
        self.state = state;
        token
    }

    fn mark(&mut self, byte: u8, read: u8) -> Option<Token> {
        const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];
        if byte == MARK[usize::from(read)] {
            let next = if read == 2 { State::Value } else { State::Mark(read + 1) };
            return Some(self.go(next, Token::Space));
        }
        if read > 0 {
            return None;
        }
        self.state = State::Value;
        Some(self.step(byte))
    }

    fn value(&mut self, byte: u8) -> Option<Token> {
        Some(match byte {
            b'{' => return self.open(1, State::NameOrClose),
            b'[' => return self.open(0, State::ItemOrClose),
            b'"' => self.go(State::Text { name: false, within: Within::Plain }, Token::TextStart),
            b't' => self.go(State::Word(b"rue"), Token::Scalar),
            b'f' => self.go(State::Word(b"alse"), Token::Scalar),
            b'n' => self.go(State::Word(b"ull"), Token::Scalar),
            b'-' => self.go(State::Number(Number::Minus), Token::Scalar),
            b'0' => self.go(State::Number(Number::Zero), Token::Scalar),
            b'1'..=b'9' => self.go(State::Number(Number::Integer), Token::Scalar),
            _ => return None,
        })
    }

    fn name(&mut self, byte: u8) -> Option<Token> {
        let state = State::Text { name: true, within: Within::Plain };
        (byte == b'"').then(|| self.go(state, Token::NameStart))
    }

    fn open(&mut self, kind: u128, inside: State) -> Option<Token> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        self.stack = self.stack << 1 | kind;
        Some(self.go(inside, Token::Open))
    }

    fn close(&mut self) -> Option<Token> {
        self.depth -= 1;
        self.stack >>= 1;
        Some(self.go(State::CommaOrClose, Token::Close))
    }

    fn after_value(&mut self, byte: u8) -> Option<Token> {
        match byte {
            _ if self.depth == 0 => None,
            b',' if self.in_object() => Some(self.go(State::Name, Token::Comma)),
            b',' => Some(self.go(State::Value, Token::Comma)),
            b'}' if self.in_object() => self.close(),
            b']' if !self.in_object() => self.close(),
            _ => None,
        }
    }

    fn text(&mut self, byte: u8, name: bool, within: Within) -> Option<Token> {
        let next = match (within, byte) {
            (Within::Plain, b'"') if name => return Some(self.go(State::Colon, Token::NameEnd)),
            (Within::Plain, b'"') => return Some(self.go(State::CommaOrClose, Token::TextEnd)),
            (Within::Plain, b'\\') => Within::Escape,
            (Within::Plain, 0..0x20) => return None,
            (Within::Plain, _) => Within::Plain,
            (Within::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Within::Plain,
            (Within::Escape, b'u') => Within::Hex(4),
            (Within::Escape, _) => return None,
            (Within::Hex(1), b) if b.is_ascii_hexdigit() => Within::Plain,
            (Within::Hex(missing), b) if b.is_ascii_hexdigit() => Within::Hex(missing - 1),
            (Within::Hex(_), _) => return None,
        };
        Some(self.go(State::Text { name, within: next }, Token::Inside))
    }

    fn word(&mut self, byte: u8, rest: &'static [u8]) -> Option<Token> {
        let (first, rest) = rest.split_first()?;
        let next = if rest.is_empty() { State::CommaOrClose } else { State::Word(rest) };
        (byte == *first).then(|| self.go(next, Token::Scalar))
    }
}

impl Number {
    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Exponent)
    }

    /// The state after one more byte of the number; none if it cannot be part of it.
    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::E,
            (Self::E, b'+' | b'-') => Self::Sign,
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Self::Exponent,
            _ => return None,
        })
    }
}
