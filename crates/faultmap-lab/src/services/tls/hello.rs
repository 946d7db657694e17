//! Reads a TLS ClientHello (RFC 8446 section 4.1.2) as far as the lab's servers must know it before they choose how to
//! misbehave. Pure: bytes in, meaning out; it never judges whether the hello is acceptable.

/// Largest hello we wait for; real ones are below 2 kB even with post-quantum key shares.
pub(crate) const MAX_HELLO: usize = 64 * 1024;

const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXT_SERVER_NAME: u16 = 0;
const EXT_ALPN: u16 = 16;
const EXT_SUPPORTED_VERSIONS: u16 = 43;

/// What a client offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// Versions offered, as code points (0x0303 is TLS 1.2); GREASE (RFC 8701) left out.
    pub(crate) versions: Vec<u16>,
    /// Cipher suites offered, as code points.
    pub(crate) suites: Vec<u16>,
    /// Server name, lower case.
    pub(crate) sni: Option<String>,
    /// Application protocols offered.
    pub(crate) alpn: Vec<Vec<u8>>,
    /// Bytes on the wire, with record headers.
    pub(crate) size: usize,
}

impl ClientHello {
    /// The highest version offered, or 0.
    pub(crate) fn highest_version(&self) -> u16 {
        self.versions.iter().copied().max().unwrap_or(0)
    }
}

/// What the bytes read so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// A prefix of a hello.
    NeedMore,
    /// Not TLS, or not a hello.
    NotTls,
    /// A whole hello.
    Hello(ClientHello),
}

/// Looks for a whole ClientHello at the start of `bytes`, over as many records as it takes.
pub(crate) fn scan(bytes: &[u8]) -> Scan {
    let mut message = Vec::new();
    let mut at = 0;
    loop {
        match bytes.get(at) {
            Some(&RECORD_HANDSHAKE) => {}
            Some(_) => return Scan::NotTls,
            None => return Scan::NeedMore,
        }
        // The record's major version is 3 in every TLS and in SSL 3.0.
        if bytes.get(at + 1).is_some_and(|major| *major != 3) {
            return Scan::NotTls;
        }
        let Some(len) = read_u16(bytes, at + 3) else {
            return Scan::NeedMore;
        };
        let Some(fragment) = bytes.get(at + 5..at + 5 + usize::from(len)) else {
            return Scan::NeedMore;
        };
        message.extend_from_slice(fragment);
        at += 5 + usize::from(len);
        match message_body(&message) {
            Body::Whole(body) => {
                return parse(body).map_or(Scan::NotTls, |hello| Scan::Hello(ClientHello { size: at, ..hello }));
            }
            Body::Partial if at < MAX_HELLO && len > 0 => {}
            Body::Partial | Body::Other => return Scan::NotTls,
        }
    }
}

enum Body<'a> {
    Whole(&'a [u8]),
    Partial,
    Other,
}

fn message_body(message: &[u8]) -> Body<'_> {
    match message {
        [CLIENT_HELLO, a, b, c, rest @ ..] => {
            let len = (usize::from(*a) << 16) | (usize::from(*b) << 8) | usize::from(*c);
            rest.get(..len).map_or(Body::Partial, Body::Whole)
        }
        [CLIENT_HELLO, ..] | [] => Body::Partial,
        _ => Body::Other,
    }
}

fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut r = Reader(body);
    let legacy_version = r.u16()?;
    r.take(32)?; // random
    r.vec8()?; // session id
    let suites = code_points(r.vec16()?);
    r.vec8()?; // compression methods
    let mut hello = ClientHello { versions: vec![legacy_version], suites, ..ClientHello::default() };
    // A hello without extensions ends here (RFC 5246 section 7.4.1.2).
    if !r.0.is_empty() {
        let mut extensions = Reader(r.vec16()?);
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let data = extensions.vec16()?;
            read_extension(&mut hello, kind, data)?;
        }
    }
    Some(hello)
}

fn read_extension(hello: &mut ClientHello, kind: u16, data: &[u8]) -> Option<()> {
    let mut r = Reader(data);
    match kind {
        EXT_SERVER_NAME => {
            let mut list = Reader(r.vec16()?);
            while !list.0.is_empty() {
                let name_type = list.take(1)?;
                let name = list.vec16()?;
                if name_type == [0] {
                    hello.sni = Some(String::from_utf8_lossy(name).to_ascii_lowercase());
                }
            }
        }
        EXT_ALPN => {
            let mut list = Reader(r.vec16()?);
            while !list.0.is_empty() {
                hello.alpn.push(list.vec8()?.to_vec());
            }
        }
        EXT_SUPPORTED_VERSIONS => hello.versions = code_points(r.vec8()?),
        _ => {}
    }
    Some(())
}

/// Code points without GREASE values, which are 0x?A?A with equal bytes (RFC 8701).
fn code_points(bytes: &[u8]) -> Vec<u16> {
    let all = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    all.filter(|v| !(v & 0x0f0f == 0x0a0a && v >> 8 == v & 0xff)).collect()
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn u16(&mut self) -> Option<u16> {
        read_u16(self.take(2)?, 0)
    }

    fn vec8(&mut self) -> Option<&'a [u8]> {
        let len = *self.take(1)?.first()?;
        self.take(usize::from(len))
    }

    fn vec16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vec8(bytes: &[u8]) -> Vec<u8> {
        [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
    }

    fn vec16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn points(values: &[u16]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_be_bytes()).collect()
    }

    /// Writes a hello in records of at most `fragment` bytes.
    fn emit(hello: &ClientHello, fragment: usize) -> Vec<u8> {
        let mut extensions = Vec::new();
        let mut extension = |kind: u16, data: Vec<u8>| extensions.extend([&kind.to_be_bytes()[..], &vec16(&data)].concat());
        if let Some(sni) = &hello.sni {
            extension(EXT_SERVER_NAME, vec16(&[&[0][..], &vec16(sni.as_bytes())].concat()));
        }
        if !hello.alpn.is_empty() {
            extension(EXT_ALPN, vec16(&hello.alpn.iter().flat_map(|p| vec8(p)).collect::<Vec<_>>()));
        }
        extension(EXT_SUPPORTED_VERSIONS, vec8(&points(&hello.versions)));
        let body = [&[3, 3][..], &[7; 32], &vec8(&[]), &vec16(&points(&hello.suites)), &vec8(&[0]), &vec16(&extensions)].concat();
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[CLIENT_HELLO, len[1], len[2], len[3]][..], &body].concat();
        message.chunks(fragment).flat_map(|part| [&[RECORD_HANDSHAKE, 3, 1][..], &vec16(part)].concat()).collect()
    }

    fn not_grease(v: u16) -> bool {
        !(v & 0x0f0f == 0x0a0a && v >> 8 == v & 0xff)
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = scan(&bytes);
            let _ = scan(&[&[22, 3, 1][..], &vec16(&bytes)].concat());
        }

        #[test]
        fn what_is_emitted_is_read_back_in_any_fragmentation(
            suites in proptest::collection::vec(any::<u16>().prop_filter("grease", |v| not_grease(*v)), 1..20),
            versions in proptest::collection::vec(0x0301u16..0x0305, 1..5),
            sni in proptest::option::of("[a-z]{1,20}\\.lab"),
            alpn in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..8), 0..4),
            fragment in 1usize..400,
        ) {
            let mut hello = ClientHello { versions, suites, sni, alpn, size: 0 };
            let bytes = emit(&hello, fragment);
            hello.size = bytes.len();
            prop_assert_eq!(scan(&bytes[..bytes.len() - 1]), Scan::NeedMore);
            prop_assert_eq!(scan(&bytes), Scan::Hello(hello));
        }
    }

    #[test]
    fn an_http_request_is_not_a_hello() {
        assert_eq!(scan(b"GET / HTTP/1.1\r\n"), Scan::NotTls);
    }
}
