//! Builds a ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2). It is for asking only: the key share's private half is never kept, so no
//! handshake can be completed with it.

use super::offer::TlsVersion;
use ring::rand::{SecureRandom, SystemRandom};

/// TLS 1.3 suites.
pub(super) const TLS13: &[u16] = &[0x1302, 0x1301, 0x1303];

/// What an ordinary client of today offers for TLS 1.2: forward secrecy and AEAD only. The same as our default handshake.
pub(super) const MODERN: &[u16] = &[0xc02c, 0xc02b, 0xcca9, 0xc030, 0xc02f, 0xcca8];

/// What clients of TLS 1.2 offered in its time.
pub(super) const TLS12: &[u16] = &[
    0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xccaa, 0xc023, 0xc027, 0xc024, 0xc028, 0xc009, 0xc013, 0xc00a, 0xc014, 0x009e, 0x009f,
    0x0067, 0x006b, 0x0033, 0x0039, 0x009c, 0x009d, 0x003c, 0x003d, 0x002f, 0x0035, 0xc008, 0xc012, 0x0016, 0x000a,
];

/// What clients of TLS 1.0 and 1.1 offered in theirs.
pub(super) const OLD: &[u16] = &[
    0xc009, 0xc013, 0xc00a, 0xc014, 0x0033, 0x0039, 0x0032, 0x0038, 0x002f, 0x0035, 0x0041, 0x0084, 0x0045, 0x0088, 0x0096, 0xc008, 0xc012,
    0x0016, 0x0013, 0x000a, 0xc007, 0xc011, 0x0005, 0x0004,
];

/// Suites of niches: CCM, CAMELLIA, ARIA, static ECDH, single DES.
pub(super) const RARE: &[u16] = &[
    0x1304, 0x1305, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xc09c, 0xc09d, 0xc09e, 0xc09f, 0xc072, 0xc073, 0xc076, 0xc077, 0x00ba, 0x00be, 0x00c0,
    0x00c4, 0xc050, 0xc051, 0xc05c, 0xc05d, 0xc060, 0xc061, 0xc004, 0xc005, 0xc00e, 0xc00f, 0xc02d, 0xc02e, 0xc031, 0xc032, 0x00a2, 0x00a3,
    0x0040, 0x006a, 0x0009, 0x0015,
];

/// What a ClientHello offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello<'a> {
    pub(super) versions: Vec<TlsVersion>,
    pub(super) ciphers: Vec<u16>,
    pub(super) sni: Option<&'a str>,
    pub(super) alpn: &'a [&'a str],
    /// Fill it up to a record of so many bytes (RFC 7685); 0: as long as it is.
    pub(super) fill_to: usize,
}

impl Hello<'_> {
    fn offers(&self, version: TlsVersion) -> bool {
        self.versions.contains(&version)
    }

    /// The record that carries it.
    pub(super) fn record(&self) -> Vec<u8> {
        let bare = self.filled_by(None);
        // The extension's own head has four bytes.
        let room = self.fill_to.saturating_sub(bare.len());
        if room < 4 { bare } else { self.filled_by(Some(room - 4)) }
    }

    fn filled_by(&self, padding: Option<usize>) -> Vec<u8> {
        let highest = self.versions.iter().max().copied().unwrap_or(TlsVersion::V12);
        let mut body = highest.min(TlsVersion::V12).code().to_be_bytes().to_vec();
        body.extend(random());
        // RFC 8446 appendix D.4: a session id makes TLS 1.3 look like a resumption to middleboxes.
        let session = if self.offers(TlsVersion::V13) { random().to_vec() } else { Vec::new() };
        vector8(&mut body, &session);
        vector16(&mut body, &codes(&self.ciphers));
        vector8(&mut body, &[0]);
        let mut extensions = self.extensions();
        if let Some(bytes) = padding {
            extension(&mut extensions, 21, &vec![0; bytes]);
        }
        vector16(&mut body, &extensions);
        let mut message = vec![1, 0];
        vector16(&mut message, &body);
        // Old servers refuse a record version that they do not know.
        let mut record = vec![22, 3, 1];
        vector16(&mut record, &message);
        record
    }

    fn extensions(&self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(name) = self.sni {
            let mut entry = vec![0];
            vector16(&mut entry, name.as_bytes());
            extension(&mut all, 0, &framed16(&entry));
        }
        extension(&mut all, 10, &framed16(&codes(&[0x001d, 0x0017, 0x0018])));
        extension(&mut all, 11, &[1, 0]);
        if self.versions.iter().any(|version| *version >= TlsVersion::V12) {
            let schemes = [0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201];
            extension(&mut all, 13, &framed16(&codes(&schemes)));
        }
        if !self.alpn.is_empty() {
            let mut names = Vec::new();
            for name in self.alpn {
                vector8(&mut names, name.as_bytes());
            }
            extension(&mut all, 16, &framed16(&names));
        }
        extension(&mut all, 23, &[]);
        extension(&mut all, 0xff01, &[0]);
        if self.offers(TlsVersion::V13) {
            let mut versions = Vec::new();
            vector8(&mut versions, &codes(&self.versions.iter().map(|v| v.code()).collect::<Vec<_>>()));
            extension(&mut all, 43, &versions);
            extension(&mut all, 45, &[1, 1]);
            // Any 32 bytes are an X25519 share.
            let mut share = vec![0, 0x1d];
            vector16(&mut share, &random());
            extension(&mut all, 51, &framed16(&share));
        }
        all
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0x5a; 32];
    // Nothing secret hangs on it: without entropy the fixed bytes serve as well.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

fn codes(list: &[u16]) -> Vec<u8> {
    list.iter().flat_map(|code| code.to_be_bytes()).collect()
}

fn vector8(out: &mut Vec<u8>, body: &[u8]) {
    let body = body.get(..255).unwrap_or(body);
    out.extend(u8::try_from(body.len()));
    out.extend(body);
}

fn vector16(out: &mut Vec<u8>, body: &[u8]) {
    let body = body.get(..65_535).unwrap_or(body);
    out.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(body);
}

fn framed16(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    vector16(&mut out, body);
    out
}

fn extension(out: &mut Vec<u8>, kind: u16, body: &[u8]) {
    out.extend(kind.to_be_bytes());
    vector16(out, body);
}
