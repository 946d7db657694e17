//! The algorithms that both sides of SSH offer in the open (RFC 4253 §7.1), and which kind of them they have not one of in common: then neither side may go on.

use crate::app::packets::Cursor;
use crate::app::text;

/// Message number of an offer, and its random bytes.
pub(super) const KEXINIT: u8 = 20;
const COOKIE: usize = 16;
/// Lists that must agree, as they come.
const KINDS: [&str; 8] = [
    "key exchange method",
    "host key type",
    "cipher from the client",
    "cipher from the server",
    "MAC from the client",
    "MAC from the server",
    "compression from the client",
    "compression from the server",
];
/// The first of the MACs, and how far before it its ciphers stand.
const MACS: std::ops::Range<usize> = 4..6;
const CIPHER_OF_MAC: usize = 2;
/// Characters of a list that are shown.
const MOST_SHOWN: usize = 120;

/// What one side offers: names behind commas, for each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer([Vec<u8>; KINDS.len()]);

impl Offer {
    /// Reads an offer behind its message number.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        cursor.take(COOKIE)?;
        let mut lists: [Vec<u8>; KINDS.len()] = Default::default();
        for list in &mut lists {
            let len = cursor.u32()?;
            *list = cursor.take(usize::try_from(len).ok()?)?.to_vec();
        }
        Some(Self(lists))
    }

    /// The first kind of which this client and that server have none in common, in words.
    pub(super) fn differs(&self, server: &Self) -> Option<String> {
        let agreed: Vec<Option<&[u8]>> = self.0.iter().zip(&server.0).map(|(ours, theirs)| first_of(ours, theirs)).collect();
        // A cipher that authenticates needs no MAC.
        let needless = |kind: usize| {
            let cipher = kind.checked_sub(CIPHER_OF_MAC).and_then(|cipher| *agreed.get(cipher)?);
            MACS.contains(&kind) && cipher.is_some_and(authenticates)
        };
        let kind = (0..KINDS.len()).find(|kind| agreed.get(*kind).is_some_and(Option::is_none) && !needless(*kind))?;
        let (ours, theirs) = (self.0.get(kind)?, server.0.get(kind)?);
        let shown = |list: &[u8]| text::printable(list, MOST_SHOWN);
        Some(format!("no {} in common: the client offers {}, the server {}", KINDS.get(kind)?, shown(ours), shown(theirs)))
    }
}

/// The client's first choice among what the server knows.
fn first_of<'a>(ours: &'a [u8], theirs: &[u8]) -> Option<&'a [u8]> {
    let names = |list: &'a [u8]| list.split(|byte| *byte == b',').filter(|name| !name.is_empty());
    names(ours).find(|name| theirs.split(|byte| *byte == b',').any(|other| other == *name))
}

fn authenticates(cipher: &[u8]) -> bool {
    let has = |part: &[u8]| cipher.windows(part.len()).any(|window| window == part);
    has(b"gcm") || has(b"GCM") || has(b"poly1305")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The body of an offer of these lists.
    pub(crate) fn body(lists: [&str; 8]) -> Vec<u8> {
        let lists = lists.into_iter().chain(["", ""]);
        let lists = lists.flat_map(|list| [&(list.len() as u32).to_be_bytes()[..], list.as_bytes()].concat());
        [7; COOKIE].into_iter().chain(lists).chain([0; 5]).collect()
    }

    pub(crate) const MODERN: [&str; 8] =
        ["curve25519-sha256,ext-info-c", "ssh-ed25519", "aes256-ctr", "aes256-ctr", "hmac-sha2-256", "hmac-sha2-256", "none", "none"];

    fn differs(client: [&str; 8], server: [&str; 8]) -> Option<String> {
        Offer::read(&body(client)).expect("whole").differs(&Offer::read(&body(server)).expect("whole"))
    }

    fn but(kind: usize, list: &'static str) -> [&'static str; 8] {
        let mut lists = MODERN;
        lists[kind] = list;
        lists
    }

    #[test]
    fn each_kind_needs_one_in_common() {
        assert_eq!(differs(MODERN, MODERN), None);
        assert_eq!(differs(MODERN, but(0, "a,curve25519-sha256,b")), None);
        for (kind, name) in KINDS.iter().enumerate() {
            let told = differs(MODERN, but(kind, "old")).unwrap_or_default();
            assert!(told.starts_with(&format!("no {name} in common")) && told.ends_with("the server old"), "{told}");
        }
        // Words that only one side says.
        assert!(differs(but(0, "a,ext-info-c"), but(0, "b,ext-info-s")).is_some());
    }

    #[test]
    fn a_cipher_that_authenticates_needs_no_mac() {
        let mut client = but(4, "hmac-a");
        client[2] = "chacha20-poly1305@openssh.com,aes256-ctr";
        let mut server = but(4, "hmac-b");
        server[2] = "aes256-ctr,chacha20-poly1305@openssh.com";
        assert_eq!(differs(client, server), None);
        client[2] = "aes256-ctr";
        assert!(differs(client, server).is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(offer) = Offer::read(&bytes) {
                prop_assert_eq!(offer.differs(&offer).is_some(), offer.0.iter().any(|list| list.iter().all(|byte| *byte == b',')));
            }
        }
    }
}
