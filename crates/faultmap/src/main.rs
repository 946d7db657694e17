//! `faultmap`: names the layer that failed, and the cause. This file only hands over; it decides nothing.

mod cli;
mod commands;
mod render;
mod terminal;

fn main() {
    // A lab worker calls unshare(2), which wants a process with one thread: before anything else.
    let code = match commands::lab::worker() {
        Some(code) => code,
        None => cli::parse().map_or_else(|code| code, commands::run),
    };
    // Not a return: a thread that still waits in getaddrinfo must not delay the end.
    std::process::exit(code)
}
