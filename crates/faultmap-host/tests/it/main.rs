//! The crate against a real kernel: each test builds its own network namespace without privilege
//! (`unshare -Urn`) and reads it. Nothing leaves those namespaces.

// Clippy knows the test functions, not their helpers; a skip is told on stderr.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod namespace;

mod flows;
mod links;
mod neighbors;
mod router;
mod routes;
