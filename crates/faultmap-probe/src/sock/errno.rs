//! Names of errno values, as a manual page writes them. Judges none of them.

use nix::errno::Errno;
use std::io;

/// `ECONNREFUSED` and the like; `errno 1234` for a number that has no name.
pub(crate) fn name(raw: i32) -> String {
    match Errno::from_raw(raw) {
        Errno::UnknownErrno => format!("errno {raw}"),
        known => format!("{known:?}"),
    }
}

/// The errno of an I/O error; `EIO` when the error carries none, which no system call does.
pub(crate) fn of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn errno_values_carry_the_names_of_the_manual() {
        for (raw, expected) in [(111, "ECONNREFUSED"), (113, "EHOSTUNREACH"), (101, "ENETUNREACH"), (24, "EMFILE"), (99_999, "errno 99999")]
        {
            assert_eq!(name(raw), expected);
        }
    }
}
