//! The server's first flight in the clear: records, ServerHello, alerts (RFC 8446 5.1, 4.1.3, 6). Decrypts nothing, never reads a socket.

/// Most bytes of handshake messages that a ServerHello may take; real ones are under 1 KiB.
const MOST: usize = 16 * 1024;

/// What the first flight begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FirstFlight {
    /// A ServerHello (or HelloRetryRequest): version and cipher suite chosen.
    ServerHello {
        /// Wire code, `0x0304` for TLS 1.3.
        version: u16,
        /// Code point.
        cipher: u16,
    },
    /// A fatal alert.
    Alert(u8),
    /// An orderly goodbye.
    CloseNotify,
    /// Needs more bytes.
    Partial,
    /// No TLS record.
    NotTls,
    /// TLS records, but not a ServerHello.
    Malformed(&'static str),
}

/// Reads the beginning of a server's answer to a ClientHello.
pub(crate) fn first_flight(bytes: &[u8]) -> FirstFlight {
    let mut handshake: Vec<u8> = Vec::new();
    let mut rest = bytes;
    loop {
        let Some((kind, body, after)) = record(rest) else {
            return if super::greeting::may_be_tls(rest) { FirstFlight::Partial } else { FirstFlight::NotTls };
        };
        match (kind, body) {
            (21, [_, 0, ..]) => return FirstFlight::CloseNotify,
            // RFC 5246 7.2: a warning (unrecognized_name from old Apache and Java) does not end the handshake.
            (21, [1, ..]) => {}
            (21, [_, code, ..]) => return FirstFlight::Alert(*code),
            (22, _) => handshake.extend_from_slice(body),
            _ => return FirstFlight::Malformed("a record that is no handshake and no alert"),
        }
        if let Some(done) = server_hello(&handshake) {
            return done;
        }
        if handshake.len() > MOST {
            return FirstFlight::Malformed("a ServerHello without end");
        }
        rest = after;
    }
}

/// Splits off one record: type, body, what follows.
fn record(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [kind @ 20..=24, 3, _, high, low, rest @ ..] = bytes else { return None };
    let (body, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    Some((*kind, body, after))
}

/// Reads the first handshake message; `None` when it is not complete.
fn server_hello(bytes: &[u8]) -> Option<FirstFlight> {
    let (kind, rest) = bytes.split_first()?;
    if *kind != 2 {
        return Some(FirstFlight::Malformed("the first handshake message is no ServerHello"));
    }
    let (length, rest) = rest.split_at_checked(3)?;
    let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    if length > MOST {
        return Some(FirstFlight::Malformed("a ServerHello without end"));
    }
    let body = rest.get(..length)?;
    Some(hello_body(body).unwrap_or(FirstFlight::Malformed("a ServerHello that ends early")))
}

fn hello_body(body: &[u8]) -> Option<FirstFlight> {
    let mut input = Input(body);
    let legacy_version = input.u16()?;
    input.take(32)?;
    let session = input.u8()?;
    input.take(usize::from(session))?;
    let cipher = input.u16()?;
    input.u8()?;
    let version = input.u16().and_then(|length| supported_version(input.take(usize::from(length))?)).unwrap_or(legacy_version);
    Some(FirstFlight::ServerHello { version, cipher })
}

/// `supported_versions` (43) of a ServerHello: RFC 8446 4.2.1.
fn supported_version(extensions: &[u8]) -> Option<u16> {
    let mut input = Input(extensions);
    loop {
        let kind = input.u16()?;
        let length = input.u16()?;
        let body = input.take(usize::from(length))?;
        if kind == 43 {
            return Input(body).u16();
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|b| b.first().copied())
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes)
    }
}

/// The name of a version's wire code.
pub(crate) fn version_name(code: u16) -> String {
    match code {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301 => "TLS 1.0".to_owned(),
        0x0302 => "TLS 1.1".to_owned(),
        0x0303 => "TLS 1.2".to_owned(),
        0x0304 => "TLS 1.3".to_owned(),
        other => format!("version {other:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(legacy: u16, cipher: u16, version: Option<u16>) -> Vec<u8> {
        let mut body = legacy.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(cipher.to_be_bytes());
        body.push(0);
        if let Some(version) = version {
            body.extend([0, 12, 0, 5, 0, 2, 9, 9, 0, 43, 0, 2]);
            body.extend(version.to_be_bytes());
        }
        let mut message = vec![2, 0, 0, u8::try_from(body.len()).unwrap()];
        message.extend(body);
        message
    }

    fn records(message: &[u8], most: usize) -> Vec<u8> {
        message.chunks(most).flat_map(|part| [&[22, 3, 3, 0, u8::try_from(part.len()).unwrap()], part].concat()).collect()
    }

    #[test]
    fn the_first_flight_says_what_the_server_chose() {
        let tls12 = FirstFlight::ServerHello { version: 0x0303, cipher: 0xc02f };
        let tls13 = FirstFlight::ServerHello { version: 0x0304, cipher: 0x1301 };
        let warning = [&[21, 3, 3, 0, 2, 1, 112][..], &records(&hello(0x0303, 0xc02f, None), 200)].concat();
        let cases: &[(&[u8], FirstFlight)] = &[
            (&records(&hello(0x0303, 0xc02f, None), 200), tls12.clone()),
            (&records(&hello(0x0303, 0x1301, Some(0x0304)), 200), tls13.clone()),
            (&records(&hello(0x0303, 0x1301, Some(0x0304)), 7), tls13),
            (&warning, tls12),
            (&[21, 3, 1, 0, 2, 2, 70], FirstFlight::Alert(70)),
            (&[21, 3, 3, 0, 2, 1, 0], FirstFlight::CloseNotify),
            (&[22, 3, 3, 0, 200, 2], FirstFlight::Partial),
            (&[], FirstFlight::Partial),
            (b"HTTP/1.1 400", FirstFlight::NotTls),
            (&[22, 3, 3, 0, 4, 11, 0, 0, 0], FirstFlight::Malformed("the first handshake message is no ServerHello")),
            (&[22, 3, 3, 0, 5, 2, 0, 0, 1, 3], FirstFlight::Malformed("a ServerHello that ends early")),
        ];
        for (bytes, expected) in cases {
            assert_eq!(first_flight(bytes), *expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), tls in any::<bool>()) {
            let bytes = if tls { [&[22, 3, 3, 0, 255][..], &bytes].concat() } else { bytes };
            let _ = first_flight(&bytes);
        }

        #[test]
        fn a_hello_in_any_fragments_reads_the_same(cipher in any::<u16>(), version in any::<Option<u16>>(), most in 1_usize..250) {
            let read = first_flight(&records(&hello(0x0303, cipher, version), most));
            prop_assert_eq!(read, FirstFlight::ServerHello { version: version.unwrap_or(0x0303), cipher });
        }
    }
}
