//! Display filters as Wireshark writes them, for the common fields, and fields of our own for what the analysis found: `flow`, `layer`, `cause`, `rule`,
//! `finding`, `weight`, `server`. A filter is a pure question about a [`Subject`]: a packet, what is known of its flow, or both.
//!
//! A comparison with a field that the subject does not have is false, as in Wireshark. Fields with several values (`ip.addr`, `tcp.port`) match `==`, `<` and
//! the like if any of them does, and `!=` if none is equal.

mod eval;
mod field;
mod lex;
mod parse;

use crate::finding::{Finding, Party};
use crate::flow::{FlowId, FlowRecord, Protocol};
use crate::packet::Captured;
use faultmap_wire::dissect::Frame;
use std::net::SocketAddr;

/// Longest filter text, in bytes.
pub const MOST_TEXT: usize = 4096;
/// Deepest nest of parentheses and negations.
const MOST_DEPTH: usize = 64;

/// A filter that can be asked.
#[derive(Debug, Clone)]
pub struct Filter {
    root: parse::Expr,
}

/// What a filter needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asks {
    /// Fields that only packets have, such as `tcp.flags.syn`.
    pub packets: bool,
    /// Fields that only flows and findings have, such as `cause`.
    pub flows: bool,
}

/// Why a text is no filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter: {what}\n  {text}\n  {:width$}^", "", width = .column)]
pub struct FilterError {
    /// What is wrong, and what to write instead.
    pub what: String,
    /// The filter, printable.
    pub text: String,
    /// Where in `text`, in characters from 0.
    pub column: usize,
}

/// What is known of a flow, or of a finding. Everything has a default: unknown.
pub trait Facts {
    /// The flow's number.
    fn flow(&self) -> Option<FlowId> {
        None
    }
    /// What it speaks above IP.
    fn protocol(&self) -> Option<Protocol> {
        None
    }
    /// What is spoken in it: `tls`, `http`.
    fn application(&self) -> Option<&str> {
        None
    }
    /// It is spoken inside TLS that was opened.
    fn is_decrypted(&self) -> bool {
        false
    }
    /// Client and server.
    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        None
    }
    /// The name that the client asked for.
    fn server_name(&self) -> Option<&str> {
        None
    }
    /// Shows each finding, until told to stop by `true`.
    fn any_finding(&self, _matches: &mut dyn FnMut(&Finding) -> bool) -> bool {
        false
    }
}

/// A flow and the findings of its capture.
#[derive(Debug, Clone, Copy)]
pub struct FlowFacts<'a> {
    /// The flow.
    pub record: &'a FlowRecord,
    /// All findings; those of other flows are passed over.
    pub findings: &'a [Finding],
}

impl Facts for FlowFacts<'_> {
    fn flow(&self) -> Option<FlowId> {
        Some(self.record.id)
    }

    fn protocol(&self) -> Option<Protocol> {
        Some(self.record.protocol)
    }

    fn application(&self) -> Option<&str> {
        self.record.app
    }

    fn is_decrypted(&self) -> bool {
        self.record.decrypted
    }

    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.record.client, self.record.server))
    }

    fn server_name(&self) -> Option<&str> {
        self.record.server_name.as_deref()
    }

    fn any_finding(&self, matches: &mut dyn FnMut(&Finding) -> bool) -> bool {
        self.findings.iter().filter(|finding| finding.flow == Some(self.record.id)).any(matches)
    }
}

/// A finding, with its flow where it has one.
#[derive(Debug, Clone, Copy)]
pub struct FindingFacts<'a> {
    /// The finding.
    pub finding: &'a Finding,
    /// Its flow.
    pub record: Option<&'a FlowRecord>,
}

impl FindingFacts<'_> {
    /// Of a finding without a flow, whom it blames.
    fn blamed(&self) -> Option<(SocketAddr, SocketAddr)> {
        let party = match self.finding.blames? {
            Party::Host(host) => SocketAddr::new(host, 0),
            Party::Service(service) => service,
        };
        Some((party, party))
    }
}

impl Facts for FindingFacts<'_> {
    fn flow(&self) -> Option<FlowId> {
        self.finding.flow
    }

    fn protocol(&self) -> Option<Protocol> {
        self.record.map(|record| record.protocol)
    }

    fn application(&self) -> Option<&str> {
        self.record.and_then(|record| record.app)
    }

    fn is_decrypted(&self) -> bool {
        self.record.is_some_and(|record| record.decrypted)
    }

    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.record.map(|record| (record.client, record.server)).or_else(|| self.blamed())
    }

    fn server_name(&self) -> Option<&str> {
        self.record.and_then(|record| record.server_name.as_deref())
    }

    fn any_finding(&self, matches: &mut dyn FnMut(&Finding) -> bool) -> bool {
        matches(self.finding)
    }
}

/// What a filter is asked about.
#[derive(Clone, Copy, Default)]
pub struct Subject<'a> {
    /// A packet, taken apart.
    pub packet: Option<(&'a Captured<'a>, &'a Frame<'a>)>,
    /// What is known of its flow, or of a flow or finding by itself.
    pub facts: Option<&'a dyn Facts>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// If the text is none; the message shows where.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        Ok(Filter { root: parse::parse(text)? })
    }

    /// Whether the subject matches.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        eval::matches(&self.root, subject)
    }

    /// What it needs to know, to be asked in the right place.
    #[must_use]
    pub fn asks(&self) -> Asks {
        let mut asks = Asks::default();
        self.root.each_field(&mut |field| {
            asks.packets |= field.scope() == field::Scope::Packet;
            asks.flows |= field.scope() == field::Scope::Flow;
        });
        asks
    }
}

impl FilterError {
    pub(crate) fn at(text: &str, byte: usize, what: impl Into<String>) -> FilterError {
        let text: String = text.chars().take(MOST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let column = text.char_indices().take_while(|(at, _)| *at < byte).count();
        FilterError { what: what.into(), text, column }
    }
}

#[cfg(test)]
mod tests;
