//! Tokens to a tree: `or` binds least, then `and`, then `not`, then one test. Names are looked up and values read here, so that a filter that parses can be
//! asked.

use super::field::{self, Field, Kind};
use super::lex::{Op, Token, tokens};
use super::{FilterError, MOST_DEPTH};
use faultmap_model::Layer;
use faultmap_wire::Mac;
use std::net::IpAddr;

/// A tree of tests.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    /// The field is there; a flag: is set.
    Has(&'static Field),
    Compare(&'static Field, Op, Value),
    In(&'static Field, Vec<Item>),
    Contains(&'static Field, Vec<u8>),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    /// An address, and how many of its first bits count.
    Net(IpAddr, u8),
    Mac(Mac),
    Text(String),
    Layer(Layer),
}

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    One(Value),
    /// Both ends included.
    Range(u64, u64),
}

impl Expr {
    pub(super) fn each_field(&self, visit: &mut dyn FnMut(&'static Field)) {
        match self {
            Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| part.each_field(visit)),
            Expr::Not(part) => part.each_field(visit),
            Expr::Has(field) | Expr::Compare(field, ..) | Expr::In(field, _) | Expr::Contains(field, _) => visit(field),
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    if parser.tokens.is_empty() {
        return Err(FilterError::at(text, 0, "empty; an example: ip.addr == 10.0.0.1 && tcp.port == 443"));
    }
    let expr = parser.any()?;
    match parser.peek() {
        None => Ok(expr),
        Some(Token::Close) => Err(parser.error("this parenthesis closes nothing")),
        Some(_) => Err(parser.error("before this, \"and\" or \"or\" is missing")),
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn eat(&mut self, token: &Token) -> bool {
        let eaten = self.peek() == Some(token);
        self.at += usize::from(eaten);
        eaten
    }

    fn error(&self, what: impl Into<String>) -> FilterError {
        self.error_at(self.at, what)
    }

    fn error_at(&self, token: usize, what: impl Into<String>) -> FilterError {
        let byte = self.tokens.get(token).map_or(self.text.len(), |(at, _)| *at);
        FilterError::at(self.text, byte, what)
    }

    fn any(&mut self) -> Result<Expr, FilterError> {
        self.chain(&Token::Or, Self::all, Expr::Any)
    }

    fn all(&mut self) -> Result<Expr, FilterError> {
        self.chain(&Token::And, Self::not, Expr::All)
    }

    fn chain(
        &mut self,
        between: &Token,
        part: fn(&mut Self) -> Result<Expr, FilterError>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, FilterError> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.eat(between) {
            parts.push(part(self)?);
        }
        Ok(match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                join(parts)
            }
        })
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        if self.depth >= MOST_DEPTH {
            return Err(self.error(format!("nested deeper than {MOST_DEPTH}")));
        }
        self.depth += 1;
        let expr = if self.eat(&Token::Not) {
            Expr::Not(Box::new(self.not()?))
        } else if self.eat(&Token::Open) {
            let opened = self.at - 1;
            let inner = self.any()?;
            if !self.eat(&Token::Close) {
                return Err(match self.peek() {
                    None => self.error_at(opened, "this parenthesis is not closed"),
                    Some(_) => self.error("before this, \"and\" or \"or\" is missing"),
                });
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn test(&mut self) -> Result<Expr, FilterError> {
        let name = match self.peek() {
            Some(Token::Word(name)) => name.clone(),
            None => return Err(self.error("something is missing here")),
            Some(_) => return Err(self.error("here a field is expected, such as ip.addr or tcp.port")),
        };
        let Some(field) = field::find(&name) else {
            let hint = field::like(&name).map_or_else(String::new, |known| format!("; did you mean {known}?"));
            return Err(self.error(format!("{name} is not a field that is known here{hint}")));
        };
        self.at += 1;
        match self.peek() {
            Some(Token::Op(op)) => {
                let op = *op;
                self.comparable(field, op)?;
                self.at += 1;
                Ok(Expr::Compare(field, op, self.value(field)?))
            }
            Some(Token::In) if field.kind != Kind::Presence && field.kind != Kind::Bytes => {
                self.at += 1;
                self.set(field)
            }
            Some(Token::Contains) if matches!(field.kind, Kind::Bytes | Kind::Text) => {
                self.at += 1;
                self.contained(field)
            }
            Some(Token::In | Token::Contains) => Err(self.error(format!("{} has no value that could be asked so", field.name))),
            // Text, numbers and addresses by themselves are there or not, as in Wireshark.
            _ => Ok(Expr::Has(field)),
        }
    }

    fn comparable(&self, field: &Field, op: Op) -> Result<(), FilterError> {
        let ordered = matches!(field.kind, Kind::Number | Kind::Flag);
        match (field.kind, op) {
            (Kind::Presence, _) => Err(self.error(format!("{} is there or not; it has no value to compare", field.name))),
            (Kind::Bytes, _) => Err(self.error("bytes can only be searched: frame contains \"...\"")),
            (_, Op::Equal | Op::NotEqual) => Ok(()),
            _ if ordered => Ok(()),
            _ => Err(self.error(format!("{} has no order; only == and != make sense", field.name))),
        }
    }

    /// The value under the cursor, of the field's kind.
    fn value(&mut self, field: &Field) -> Result<Value, FilterError> {
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            Some(Token::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => return Err(self.error(format!("here a value is expected: {}", example(field.kind)))),
        };
        let value = value(field.kind, &word).ok_or_else(|| self.error(format!("{word} is not {}", example(field.kind))))?;
        self.at += 1;
        Ok(value)
    }

    fn contained(&mut self, field: &'static Field) -> Result<Expr, FilterError> {
        let bytes = match self.peek() {
            Some(Token::Text(bytes)) => bytes.clone(),
            Some(Token::Word(word)) => colon_bytes(word).unwrap_or_else(|| word.as_bytes().to_vec()),
            _ => return Err(self.error("after contains write text in quotes, or bytes as 0d:0a")),
        };
        if bytes.is_empty() {
            return Err(self.error("everything contains nothing"));
        }
        self.at += 1;
        Ok(Expr::Contains(field, bytes))
    }

    fn set(&mut self, field: &'static Field) -> Result<Expr, FilterError> {
        if !self.eat(&Token::OpenSet) {
            return Err(self.error("a set is written {1, 2, 10..20}"));
        }
        let mut items = Vec::new();
        while !self.eat(&Token::CloseSet) {
            if self.peek().is_none() {
                return Err(self.error("this set is not closed: } is missing"));
            }
            let range = match self.peek() {
                Some(Token::Word(word)) if field.kind == Kind::Number => word.split_once("..").map(|(a, b)| (number(a), number(b))),
                _ => None,
            };
            items.push(match range {
                Some((Some(from), Some(to))) => {
                    self.at += 1;
                    Item::Range(from, to)
                }
                Some(_) => return Err(self.error("a range is written 10..20")),
                None => Item::One(self.value(field)?),
            });
            self.eat(&Token::Comma);
        }
        match items.is_empty() {
            true => Err(self.error_at(self.at - 1, "nothing is in an empty set")),
            false => Ok(Expr::In(field, items)),
        }
    }
}

fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "a number, such as 443 or 0x1bb",
        Kind::Flag => "0 or 1",
        Kind::Addr => "an address or network, such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::1",
        Kind::Mac => "a MAC address, such as 02:00:00:00:00:01",
        Kind::Layer => "a layer, L1 to L7",
        Kind::Text | Kind::Bytes | Kind::Presence => "a text",
    }
}

fn value(kind: Kind, word: &str) -> Option<Value> {
    match kind {
        Kind::Number => number(word).map(Value::Number),
        Kind::Flag => match word.to_ascii_lowercase().as_str() {
            "0" | "false" => Some(Value::Number(0)),
            "1" | "true" => Some(Value::Number(1)),
            _ => None,
        },
        Kind::Addr => net(word),
        Kind::Mac => mac(word).map(Value::Mac),
        Kind::Layer => word.parse().ok().map(Value::Layer),
        Kind::Text => Some(Value::Text(word.to_owned())),
        Kind::Bytes | Kind::Presence => None,
    }
}

fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

fn net(word: &str) -> Option<Value> {
    let (addr, bits) = match word.split_once('/') {
        Some((addr, bits)) => (addr, Some(bits)),
        None => (word, None),
    };
    let addr: IpAddr = addr.parse().ok()?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
        None => most,
    };
    Some(Value::Net(addr, bits))
}

fn mac(word: &str) -> Option<Mac> {
    let bytes = colon_bytes(&word.replace('-', ":"))?;
    <[u8; 6]>::try_from(bytes).ok().map(Mac)
}

/// `0d:0a`.
fn colon_bytes(word: &str) -> Option<Vec<u8>> {
    if !word.contains(':') {
        return None;
    }
    word.split(':').map(|pair| if pair.len() == 2 { u8::from_str_radix(pair, 16).ok() } else { None }).collect()
}
