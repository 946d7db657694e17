//! Whether the body of an answer that is declared as JSON is some (RFC 8259), followed byte by byte: nothing of it is kept but the brackets that are open. It is
//! lenient where parsers differ (numbers, characters in strings, NaN, several values one after the other), and gives up on what may be meant otherwise.

/// Brackets open at a time; deeper texts are let go.
const DEEPEST: usize = 256;
/// Bytes of a body that are followed; longer ones are let go.
const LONGEST: u64 = 64 * 1024;
/// Words that are values. Two of them are JavaScript's, and some programs write and read them.
const WORDS: [&[u8]; 5] = [b"true", b"false", b"null", b"NaN", b"Infinity"];

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    None,
    /// The bool: a backslash came.
    Text(bool),
    Number,
    /// Which word, and how much of it came.
    Word(usize, usize),
}

/// JSON as its bytes come.
#[derive(Debug)]
pub(super) struct Json {
    open: Vec<u8>,
    next: Next,
    token: Token,
    seen: u64,
    broken: Option<u64>,
    given_up: bool,
    /// A bracket was opened.
    begun: bool,
}

impl Default for Json {
    fn default() -> Self {
        Self { open: Vec::new(), next: Next::Value, token: Token::None, seen: 0, broken: None, given_up: false, begun: false }
    }
}

impl Json {
    /// Takes in the next bytes of the body.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.given_up || self.broken.is_some() {
                return;
            }
            self.seen += 1;
            self.given_up |= self.seen > LONGEST || self.open.len() > DEEPEST;
            self.step(*byte);
        }
    }

    /// What is wrong with a body that is complete now.
    pub(super) fn wrong(&self) -> Option<String> {
        let inside = !self.open.is_empty() || matches!(self.token, Token::Text(_) | Token::Word(..));
        match self.broken {
            _ if self.given_up => None,
            Some(at) => Some(format!("it does not parse at byte {at}")),
            None if self.begun && inside => Some(format!("it ends in the middle, after {} bytes", self.seen)),
            None => None,
        }
    }

    fn step(&mut self, byte: u8) {
        match self.token {
            Token::Text(true) => self.token = Token::Text(false),
            Token::Text(false) => match byte {
                b'\\' => self.token = Token::Text(true),
                b'"' => self.ended(),
                _ => {}
            },
            Token::Number if matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') => {}
            // -Infinity
            Token::Number if byte == b'I' => self.token = Token::Word(4, 1),
            Token::Number => {
                self.ended();
                self.between(byte);
            }
            Token::Word(word, have) => match WORDS.get(word).and_then(|word| word.get(have)) {
                Some(expected) if *expected == byte => {
                    self.token = Token::Word(word, have + 1);
                    if WORDS.get(word).is_some_and(|word| word.len() == have + 1) {
                        self.ended();
                    }
                }
                _ => self.fail(),
            },
            Token::None => self.between(byte),
        }
    }

    /// A value or a key is whole.
    fn ended(&mut self) {
        self.token = Token::None;
        self.next = match (self.next, self.open.is_empty()) {
            (Next::Key | Next::KeyOrEnd, _) => Next::Colon,
            (_, false) => Next::CommaOrEnd,
            (_, true) => Next::Value,
        };
    }

    fn between(&mut self, byte: u8) {
        let inside = self.open.last().copied();
        match (byte, self.next) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            // A byte order mark, which some writers put first and some readers take.
            (0xef | 0xbb | 0xbf, Next::Value) if self.seen <= 3 => {}
            (b'"', Next::Key | Next::KeyOrEnd | Next::Value | Next::ValueOrEnd) => self.begin(Token::Text(false)),
            (b'0'..=b'9' | b'-', Next::Value | Next::ValueOrEnd) => self.begin(Token::Number),
            (b'[' | b'{', Next::Value | Next::ValueOrEnd) => {
                self.open.push(byte);
                (self.begun, self.next) = (true, if byte == b'[' { Next::ValueOrEnd } else { Next::KeyOrEnd });
            }
            (b']', Next::ValueOrEnd | Next::CommaOrEnd) if inside == Some(b'[') => self.close(),
            (b'}', Next::KeyOrEnd | Next::CommaOrEnd) if inside == Some(b'{') => self.close(),
            (b',', Next::CommaOrEnd) => self.next = if inside == Some(b'[') { Next::Value } else { Next::Key },
            (b':', Next::Colon) => self.next = Next::Value,
            // A name without quotes is JavaScript's: written for who evaluates it.
            (b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$', Next::Key | Next::KeyOrEnd) => self.given_up = true,
            (_, Next::Value | Next::ValueOrEnd) => match WORDS.iter().position(|word| word.first() == Some(&byte)) {
                Some(word) => self.begin(Token::Word(word, 1)),
                None => self.fail(),
            },
            _ => self.fail(),
        }
    }

    fn begin(&mut self, token: Token) {
        self.token = token;
        // A word alone may be the beginning of a script.
        self.begun |= !self.open.is_empty();
    }

    fn close(&mut self) {
        self.open.pop();
        self.next = Next::Value;
        self.ended();
    }

    /// What breaks the rules outside of any bracket may be a guard against scripts, a script, or another value of a stream.
    fn fail(&mut self) {
        if self.open.is_empty() {
            self.given_up = true;
        } else {
            self.broken = Some(self.seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wrong(body: &[u8]) -> Option<String> {
        let (mut whole, mut pieces) = (Json::default(), Json::default());
        whole.take(body);
        body.chunks(1).for_each(|piece| pieces.take(piece));
        assert_eq!(whole.wrong(), pieces.wrong());
        whole.wrong()
    }

    #[test]
    fn a_text_that_breaks_the_rules_or_off_is_no_json() {
        for body in [
            &br#"{"items": [1, 2, NaN, }"#[..],
            br#"{"a": 1,}"#,
            br#"[1 2]"#,
            br#"{"a" 1}"#,
            br#"{'a': 1}"#,
            br#"{"a": tru}"#,
            br#"{"a": [1, 2"#,
            br#"{"a": "x"#,
            br#"[1, undefined]"#,
        ] {
            assert!(wrong(body).is_some(), "{}", body.escape_ascii());
        }
        assert_eq!(wrong(br#"{"a": 1,}"#).as_deref(), Some("it does not parse at byte 9"));
    }

    #[test]
    fn what_parsers_take_and_what_is_meant_otherwise_is_not_blamed() {
        for body in [
            &b""[..],
            b"  \n",
            b"null",
            b"-1.5e+3",
            br#"{"a": [1, {"b": "\"]}"}, [], {}], "c": NaN, "d": -Infinity}"#,
            b"\xef\xbb\xbf{}",
            b"{\"a\":1}\n{\"b\":2}\n",
            b")]}',\n{\"a\":1}",
            b"while(1);{\"a\":1}",
            b"callback({\"a\":1})",
            b"{e:\"x\",c:1}",
            b"OK",
        ] {
            assert_eq!(wrong(body), None, "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn whatever_a_serializer_writes_is_json(text in "[^\\x00]{0,40}", number in any::<f32>(), deep in 0_usize..40) {
            let inner = serde_json::json!({"text": text, "number": number, "list": [null, true, {}, []]});
            let nested = (0..deep).fold(inner, |inner, _| serde_json::json!([inner]));
            prop_assert_eq!(wrong(nested.to_string().as_bytes()), None);
        }

        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = wrong(&body);
        }
    }
}
