//! Causes of layer 5, session: how a conversation begins, is reused and ends.

mod close_wait_leak;
mod closed_without_answer;
mod hard_timeout;
pub(in crate::causes) mod held;
mod idle_close;
mod keepalive_race;
mod no_reuse;
mod proxy_refused;
#[cfg(test)]
mod proxy_tests;
mod proxy_unreachable;

use super::Cause;

/// In the order of `faultmap causes`.
pub static CAUSES: &[&Cause] = &[
    &closed_without_answer::CAUSE,
    &idle_close::CAUSE,
    &keepalive_race::CAUSE,
    &hard_timeout::CAUSE,
    &no_reuse::CAUSE,
    &close_wait_leak::CAUSE,
    &proxy_refused::CAUSE,
    &proxy_unreachable::CAUSE,
];
