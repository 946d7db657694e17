//! The capture crate from the outside: packets in, findings and verdicts out. Packets made by hand tell what each rule says (`rules`, `paths`, `echoes`,
//! `lookups`, `leases`, `early`); recordings of the lab and captures of others tell what is said of whole files (`lab`, `snap`, `captures`, `mutation`) and
//! written of them (`columns`).

#![allow(clippy::expect_used, reason = "helpers of tests")]

mod captures;
mod columns;
mod common;
mod early;
mod echoes;
mod lab;
mod leases;
mod lookups;
mod mutation;
mod paths;
mod queue;
mod rules;
mod snap;
mod wanted;
