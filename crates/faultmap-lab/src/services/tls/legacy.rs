//! Hand-made TLS records: alerts of any code, and the first flight of a server that speaks only TLS 1.0 or 1.1, which no
//! current library will speak. It never completes a handshake: no probe of ours can either.

use rustls_pki_types::CertificateDer;

use super::hello::ClientHello;

/// Fatal alert `protocol_version` (RFC 8446 section 6.2).
pub(crate) const PROTOCOL_VERSION: u8 = 70;

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 section 3.3).
const RENEGOTIATION_SCSV: u16 = 0x00ff;

/// One alert record, level fatal. Its record version is TLS 1.2's, as servers send it before a version is agreed.
pub(crate) fn alert(code: u8) -> Vec<u8> {
    record(21, 0x0303, &[2, code])
}

/// What a server answers whose highest version is `limit` (0x0301 is TLS 1.0, 0x0302 TLS 1.1).
///
/// A client that starts above and is not downgraded gets the alert. One whose *highest* offer is within reach gets
/// ServerHello, Certificate and ServerHelloDone for TLS_RSA_WITH_AES_128_CBC_SHA.
pub(crate) fn answer(hello: &ClientHello, limit: u16, chain: &[CertificateDer<'_>]) -> Result<Vec<u8>, u8> {
    let version = hello.highest_version();
    if version > limit || version < 0x0300 {
        return Err(PROTOCOL_VERSION);
    }
    let suite = 0x002f_u16; // TLS_RSA_WITH_AES_128_CBC_SHA, mandatory in RFC 4346 and RFC 5246
    let mut server_hello = version.to_be_bytes().to_vec();
    server_hello.extend([0x5a; 32]);
    server_hello.push(0);
    server_hello.extend(suite.to_be_bytes());
    server_hello.push(0);
    if hello.suites.contains(&RENEGOTIATION_SCSV) {
        // An empty renegotiation_info, without which OpenSSL 3 would stop for that reason instead (RFC 5746 section 3.6).
        server_hello.extend([0, 5, 0xff, 1, 0, 1, 0]);
    }
    let list: Vec<u8> = chain.iter().flat_map(|der| [&u24(der.len())[..], der].concat()).collect();
    let certificate = [&u24(list.len())[..], &list].concat();
    let flight = [message(2, &server_hello), message(11, &certificate), message(14, &[])];
    Ok(flight.iter().flat_map(|m| m.chunks(16_000).flat_map(|part| record(22, version, part))).collect())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u24(body.len()), body].concat()
}

fn record(kind: u8, version: u16, body: &[u8]) -> Vec<u8> {
    let [major, minor] = version.to_be_bytes();
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[kind, major, minor][..], &len, body].concat()
}

fn u24(n: usize) -> [u8; 3] {
    let [.., a, b, c] = n.to_be_bytes();
    [a, b, c]
}
