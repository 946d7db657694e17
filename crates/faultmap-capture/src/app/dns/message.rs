//! One DNS message (RFC 1035 §4): its header, its question and what faultmap needs of its records. Names are followed through compression only where they are
//! shown, and never in circles.

use crate::app::text;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::net::IpAddr;

/// Types by number (IANA registry of DNS parameters).
pub(super) const A: u16 = 1;
pub(super) const AAAA: u16 = 28;
const NS: u16 = 2;
const SOA: u16 = 6;
const OPT: u16 = 41;
/// Code of the EDNS option of extended errors (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
/// Records of one message that are looked at.
const MOST_RECORDS: usize = 256;
/// Addresses of one message that are remembered.
const MOST_ADDRESSES: usize = 8;
/// Longest name, bytes (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 255;

/// What faultmap reads of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u16,
    pub(super) response: bool,
    pub(super) opcode: u8,
    pub(super) authoritative: bool,
    pub(super) truncated: bool,
    /// Records are announced that are not here: the capture cut them off, or they are in another fragment.
    pub(super) cut: bool,
    pub(super) recursion_available: bool,
    /// With the upper bits of EDNS (RFC 6891 §6.1.3).
    pub(super) rcode: u16,
    /// The name asked for, printable, lower case.
    pub(super) name: String,
    pub(super) qtype: u16,
    /// Records in the answer section.
    pub(super) answers: u16,
    /// Records in the answer section of the type that was asked for.
    pub(super) wanted: u16,
    /// The smallest lifetime of an answer, seconds.
    pub(super) least_ttl: Option<u32>,
    /// Of the data of all answers, whatever their order.
    pub(super) content: u64,
    /// The first addresses among the answers, at most [`MOST_ADDRESSES`].
    pub(super) addresses: Vec<IpAddr>,
    /// An answer is an IPv4 address of the public internet.
    pub(super) public: bool,
    pub(super) start_of_authority: bool,
    pub(super) referral: bool,
    pub(super) edns: bool,
    /// Info code of an extended error.
    pub(super) extended_error: Option<u16>,
}

/// Why a message was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It ends early: cut by the capture, or not DNS.
    Short,
    /// It breaks the rules.
    Malformed(&'static str),
}

/// Reads a message.
pub(super) fn read(bytes: &[u8]) -> Result<Message, Unread> {
    let [a, b, flags, more, q0, q1, an0, an1, ns0, ns1, ar0, ar1, ..] = *bytes else { return Err(Unread::Short) };
    let counts = [[q0, q1], [an0, an1], [ns0, ns1], [ar0, ar1]].map(u16::from_be_bytes);
    let mut message = Message {
        id: u16::from_be_bytes([a, b]),
        response: flags & 0x80 != 0,
        opcode: (flags >> 3) & 15,
        authoritative: flags & 4 != 0,
        truncated: flags & 2 != 0,
        cut: false,
        recursion_available: more & 0x80 != 0,
        rcode: u16::from(more & 15),
        name: String::new(),
        qtype: 0,
        answers: counts[1],
        wanted: 0,
        least_ttl: None,
        content: 0,
        addresses: Vec::new(),
        public: false,
        start_of_authority: false,
        referral: false,
        edns: false,
        extended_error: None,
    };
    let mut at = 12;
    if counts[0] > 1 {
        return Err(Unread::Malformed("it has more than one question"));
    }
    if counts[0] == 1 {
        (message.name, at) = name(bytes, at)?;
        message.qtype = number(bytes, at)?;
        at += 4;
    }
    if bytes.len() < at {
        return Err(Unread::Short);
    }
    // The rest may have been left out (TC) or cut by the capture: what is there counts.
    match message.records(bytes, at, &counts[1..]) {
        Err(Unread::Malformed(why)) => Err(Unread::Malformed(why)),
        read => Ok(Message { cut: read.is_err(), ..message }),
    }
}

impl Message {
    fn records(&mut self, bytes: &[u8], mut at: usize, counts: &[u16]) -> Result<(), Unread> {
        let mut seen = 0;
        for (section, count) in counts.iter().enumerate() {
            for _ in 0..*count {
                seen += 1;
                if seen > MOST_RECORDS {
                    return Ok(());
                }
                at = skip_name(bytes, at)?;
                let fixed = bytes.get(at..at + 10).ok_or(Unread::Short)?;
                let [t0, t1, c0, _c1, l0, l1, l2, l3, d0, d1] = *fixed else { return Err(Unread::Short) };
                let (kind, ttl) = (u16::from_be_bytes([t0, t1]), u32::from_be_bytes([l0, l1, l2, l3]));
                let len = usize::from(u16::from_be_bytes([d0, d1]));
                let data = bytes.get(at + 10..at + 10 + len).ok_or(Unread::Short)?;
                at += 10 + len;
                let _ = c0;
                self.record(section, kind, ttl, data);
            }
        }
        Ok(())
    }

    fn record(&mut self, section: usize, kind: u16, ttl: u32, data: &[u8]) {
        match (section, kind) {
            (0, _) => {
                self.wanted += u16::from(kind == self.qtype || self.qtype == 255);
                self.least_ttl = Some(self.least_ttl.map_or(ttl, |least| least.min(ttl)));
                // Compressed names within may differ between equal answers; addresses never hold any.
                if matches!(kind, A | AAAA) {
                    self.content ^= FixedState::default().hash_one(data);
                    self.public |= is_public(data);
                    self.addresses.extend(address(data).filter(|_| self.addresses.len() < MOST_ADDRESSES));
                }
            }
            (1, SOA) => self.start_of_authority = true,
            (1, NS) => self.referral = !self.authoritative && self.answers == 0,
            (2, OPT) => {
                self.edns = true;
                self.rcode |= u16::try_from(ttl >> 24).unwrap_or_default() << 4;
                self.extended_error = extended_error(data);
            }
            _ => {}
        }
    }

    /// `A shop.test`
    pub(super) fn question(&self) -> String {
        format!("{} {}", type_name(self.qtype), if self.name.is_empty() { "." } else { &self.name })
    }
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => data.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => data.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

fn is_public(data: &[u8]) -> bool {
    let Some(ip) = data.first_chunk::<4>().filter(|_| data.len() == 4).map(|octets| std::net::Ipv4Addr::from(*octets)) else {
        return false;
    };
    !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_documentation())
}

fn extended_error(mut options: &[u8]) -> Option<u16> {
    while let [c0, c1, l0, l1, rest @ ..] = options {
        let data = rest.get(..usize::from(u16::from_be_bytes([*l0, *l1])))?;
        if u16::from_be_bytes([*c0, *c1]) == EXTENDED_ERROR {
            return number(data, 0).ok();
        }
        options = rest.get(data.len()..)?;
    }
    None
}

fn number(bytes: &[u8], at: usize) -> Result<u16, Unread> {
    match bytes.get(at..at + 2) {
        Some(&[a, b]) => Ok(u16::from_be_bytes([a, b])),
        _ => Err(Unread::Short),
    }
}

/// The name at `at`, and where what follows it begins.
fn name(bytes: &[u8], mut at: usize) -> Result<(String, usize), Unread> {
    let mut raw = Vec::new();
    let mut after = None;
    // A pointer must point back: so no circle is possible.
    let mut before = at;
    loop {
        match *bytes.get(at).ok_or(Unread::Short)? {
            0 => break,
            len @ 1..=63 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(len)).ok_or(Unread::Short)?;
                if !raw.is_empty() {
                    raw.push(b'.');
                }
                raw.extend(label.iter().map(u8::to_ascii_lowercase));
                at += 1 + label.len();
            }
            high @ 0xc0.. => {
                let low = *bytes.get(at + 1).ok_or(Unread::Short)?;
                after.get_or_insert(at + 2);
                at = usize::from(u16::from_be_bytes([high & 0x3f, low]));
                if at >= before {
                    return Err(Unread::Malformed("a name points forward"));
                }
                before = at;
            }
            _ => return Err(Unread::Malformed("a label of a kind that does not exist")),
        }
        if raw.len() > LONGEST_NAME {
            return Err(Unread::Malformed("a name longer than 255 bytes"));
        }
    }
    Ok((text::printable(&raw, LONGEST_NAME), after.unwrap_or(at + 1)))
}

fn skip_name(bytes: &[u8], mut at: usize) -> Result<usize, Unread> {
    loop {
        match *bytes.get(at).ok_or(Unread::Short)? {
            0 => return Ok(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            0xc0.. => return Ok(at + 2),
            _ => return Err(Unread::Malformed("a label of a kind that does not exist")),
        }
    }
}

/// The name of a type; its number where it is a rare one.
fn type_name(qtype: u16) -> String {
    let known = match qtype {
        A => "A",
        NS => "NS",
        5 => "CNAME",
        SOA => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        AAAA => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        257 => "CAA",
        other => return format!("TYPE{other}"),
    };
    known.to_owned()
}

/// The name of a response code (IANA registry of DNS RCODEs).
pub(super) fn rcode_name(rcode: u16) -> String {
    let known = match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        9 => "NOTAUTH",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        other => return format!("RCODE{other}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_points_at_itself_ends() {
        let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(read(&bytes), Err(Unread::Malformed("a name points forward")));
    }

    #[test]
    fn an_answer_is_read_with_its_extended_error_and_the_upper_bits_of_its_code() {
        let mut bytes = vec![0, 7, 0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 1];
        bytes.extend(b"\x04Shop\x04test\0\0\x01\0\x01");
        bytes.extend([0, 0, 41, 4, 0xd0, 1, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 9]);
        let message = read(&bytes).expect("a message");
        assert_eq!((message.rcode, message.extended_error, message.question().as_str()), (18, Some(9), "A shop.test"));
    }

    #[test]
    fn what_the_capture_cut_is_short_and_not_malformed() {
        let whole = b"\0\x07\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x0a\0\0\x01";
        assert_eq!(read(whole).map(|message| (message.wanted, message.least_ttl)), Ok((1, Some(0))));
        assert_eq!(read(&whole[..15]), Err(Unread::Short));
        assert_eq!(read(&whole[..30]).map(|message| message.wanted), Ok(0));
    }
}
