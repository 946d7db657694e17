//! Sockets as instruments: options, the error queue, `TCP_INFO`, ping sockets, a tap below the firewall.
//!
//! Nothing here knows a question or its meaning; that is `crate::questions`.

pub(crate) mod datagram;
pub(crate) mod errno;
pub(crate) mod error_queue;
pub(crate) mod keep_alive;
pub(crate) mod link_layer;
pub(crate) mod options;
pub(crate) mod packet;
pub(crate) mod ping;
pub(crate) mod syn;
mod tap;
pub(crate) mod tcp_info;
pub(crate) mod watched;

pub use tap::AnswerTap;
pub use tcp_info::{no_delay_dup, tcp_health};
