//! A filter's text to words and signs, each with its place.

use super::{FilterError, MOST_TEXT};

/// A word or sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, number or address, as written.
    Word(String),
    /// In double quotes; the quotes are gone.
    Text(Vec<u8>),
    And,
    Or,
    Not,
    Open,
    Close,
    /// `{` of a set.
    OpenSet,
    CloseSet,
    Comma,
    Op(Op),
    In,
    Contains,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
}

const SIGNS: [(&str, Token); 16] = [
    ("&&", Token::And),
    ("||", Token::Or),
    ("===", Token::Op(Op::Equal)),
    ("==", Token::Op(Op::Equal)),
    ("!=", Token::Op(Op::NotEqual)),
    ("~=", Token::Op(Op::NotEqual)),
    ("<=", Token::Op(Op::AtMost)),
    (">=", Token::Op(Op::AtLeast)),
    ("<", Token::Op(Op::Less)),
    (">", Token::Op(Op::More)),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    ("{", Token::OpenSet),
    ("}", Token::CloseSet),
    (",", Token::Comma),
];

/// All tokens with the byte where each begins.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    if text.len() > MOST_TEXT {
        return Err(FilterError::at("", 0, format!("longer than {MOST_TEXT} bytes")));
    }
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let blank = rest.len() - rest.trim_start().len();
        if blank > 0 {
            at += blank;
            continue;
        }
        let (token, len) = token(text, at, rest)?;
        tokens.push((at, token));
        at += len;
    }
    Ok(tokens)
}

fn token(text: &str, at: usize, rest: &str) -> Result<(Token, usize), FilterError> {
    if let Some((sign, token)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
        return Ok((token.clone(), sign.len()));
    }
    if rest.starts_with('"') {
        return quoted(text, at, rest);
    }
    let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"._:-/".contains(c)).unwrap_or(rest.len());
    let word = rest.get(..len).unwrap_or_default();
    let token = match word.to_ascii_lowercase().as_str() {
        "" if rest.starts_with('=') => return Err(FilterError::at(text, at, "to compare, write ==")),
        "" if rest.starts_with('&') => return Err(FilterError::at(text, at, "for \"and\", write && or and")),
        "" if rest.starts_with('|') => return Err(FilterError::at(text, at, "for \"or\", write || or or")),
        "" => return Err(FilterError::at(text, at, "this sign has no meaning here")),
        "and" => Token::And,
        "or" => Token::Or,
        "not" => Token::Not,
        "in" => Token::In,
        "contains" => Token::Contains,
        "eq" => Token::Op(Op::Equal),
        "ne" => Token::Op(Op::NotEqual),
        "lt" => Token::Op(Op::Less),
        "le" => Token::Op(Op::AtMost),
        "gt" => Token::Op(Op::More),
        "ge" => Token::Op(Op::AtLeast),
        _ => Token::Word(word.to_owned()),
    };
    Ok((token, len))
}

/// Text in quotes, with `\"`, `\\`, `\r`, `\n`, `\t` and `\xNN`.
fn quoted(text: &str, at: usize, rest: &str) -> Result<(Token, usize), FilterError> {
    let (mut bytes, mut chars) = (Vec::new(), rest.char_indices().skip(1));
    while let Some((here, c)) = chars.next() {
        let escaped = match c {
            '"' => return Ok((Token::Text(bytes), here + 1)),
            '\\' => chars.next().map(|(_, c)| c),
            c => {
                bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        let byte = match escaped {
            Some('n') => Some(b'\n'),
            Some('r') => Some(b'\r'),
            Some('t') => Some(b'\t'),
            Some(c @ ('"' | '\\')) => Some(c as u8),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                u8::from_str_radix(&digits, 16).ok()
            }
            _ => None,
        };
        bytes.push(byte.ok_or_else(|| FilterError::at(text, at + here, "after \\ only \" \\ n r t or xNN are known"))?);
    }
    Err(FilterError::at(text, at, "this quotation has no end"))
}
