//! NTP and SNTP packets (RFC 5905 §7.3): the 48 bytes that every version shares. Pure.

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ntp {
    /// 0 to 3; 3 says that the clock is not set.
    pub leap: u8,
    /// Version.
    pub version: u8,
    /// 3 is a client, 4 a server.
    pub mode: u8,
    /// Distance from a reference clock; 0 in an answer is a refusal, 16 is "not set".
    pub stratum: u8,
    /// Where the server has its time from; letters if `stratum` is 0 or 1.
    pub reference: [u8; 4],
    /// Round trip and uncertainty to the reference clock, in 2⁻¹⁶ seconds.
    pub root: [u32; 2],
    /// Origin, receive and transmit time: seconds since 1900 and 2⁻³² seconds.
    pub times: [u64; 3],
}

impl Ntp {
    /// Reads a UDP payload; `None` if it is none: too short, or a version or mode that this is not.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Ntp> {
        let (first, rest) = bytes.split_first()?;
        let (version, mode) = ((first >> 3) & 7, first & 7);
        let word = |at: usize| bytes.get(at..)?.first_chunk::<8>().map(|time| u64::from_be_bytes(*time));
        let times = [word(24)?, word(32)?, word(40)?];
        let short = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|time| u32::from_be_bytes(*time));
        let root = [short(4)?, short(8)?];
        let reference = *bytes.get(12..)?.first_chunk::<4>()?;
        let sane = (1..=4).contains(&version) && (1..=5).contains(&mode);
        sane.then_some(Ntp { leap: first >> 6, version, mode, stratum: *rest.first()?, reference, root, times })
    }

    /// The word for the mode.
    #[must_use]
    pub const fn mode_name(&self) -> &'static str {
        match self.mode {
            1 => "symmetric active",
            2 => "symmetric passive",
            3 => "client",
            4 => "server",
            _ => "broadcast",
        }
    }

    /// How far the time may be off at most (RFC 5905 §11.2: root distance), seconds.
    #[must_use]
    pub fn root_distance(&self) -> f64 {
        let [delay, dispersion] = self.root.map(|time| f64::from(time) / 65_536.0);
        delay / 2.0 + dispersion
    }

    /// The letters of a "kiss of death" (RFC 5905 §7.4), by which a server refuses: `RATE`, `DENY`.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        let letters = self.mode == 4 && self.stratum == 0 && self.reference.iter().all(u8::is_ascii_uppercase);
        letters.then(|| std::str::from_utf8(&self.reference).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_refusal_is_read() {
        let mut bytes = [0; 48];
        bytes[0] = 0xe4;
        bytes[12..16].copy_from_slice(b"RATE");
        let ntp = Ntp::parse(&bytes).unwrap();
        assert_eq!((ntp.leap, ntp.version, ntp.mode_name(), ntp.refusal()), (3, 4, "server", Some("RATE")));
        assert_eq!(Ntp::parse(&bytes[..47]), None);
        assert_eq!(Ntp::parse(&[0xff; 48]), None);
    }
}
