//! Packets to flows, findings and observations: what a capture tells about the network that it was taken from.
//!
//! The way of a packet: [`packet`] (from a file or a live interface) → `faultmap_wire::dissect` → capture quality → the flow that it belongs to →
//! the conversation in the flow → [`finding`]s. [`analysis`] is the whole of it. At the end flows and findings become a verdict, in the words of the
//! model's causes. Time is that of the packets; nothing here reads a clock, but the live reader.

pub mod analysis;
pub mod app;
pub mod bpf;
pub mod columns;
pub mod dolls;
pub mod file;
pub mod filter;
pub mod finding;
pub mod flow;
#[doc(hidden)]
pub mod fuzzing;
pub mod keys;
pub mod live;
pub mod packet;
pub mod pcapng;
pub mod pipeline;
pub mod quic;
pub mod report;
pub mod verdict;
