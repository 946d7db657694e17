//! Link types that cannot be read, by name, so that the error says what the capture was taken from.

use faultmap_wire::WireError;
use faultmap_wire::dissect::{LinkType, dissect};

/// Whether frames of this type can be taken apart.
pub(crate) fn is_known(link: LinkType) -> bool {
    if link == LinkType::ETHERNET || link == LinkType::RAW {
        return true;
    }
    !matches!(dissect(link, &[], 0).problem, Some(WireError::Malformed { header: "link layer", .. }))
}

/// What the tcpdump group calls it.
pub(crate) const fn name(link: LinkType) -> &'static str {
    match link.0 {
        6 => "Token Ring",
        7 => "ARCNET",
        8 => "SLIP",
        9 => "PPP",
        10 => "FDDI",
        50 => "PPP in HDLC-like framing",
        51 => "PPPoE",
        99 => "Symantec Enterprise Firewall",
        100 => "ATM, RFC 1483",
        104 => "Cisco HDLC",
        105 => "IEEE 802.11",
        107 => "Frame Relay",
        109 => "OpenBSD encapsulating",
        114 => "LocalTalk",
        117 => "OpenBSD pflog",
        119 => "IEEE 802.11 with a Prism header",
        122 => "IP over Fibre Channel",
        123 => "SunATM",
        127 => "IEEE 802.11 with a radiotap header",
        129 => "ARCNET, Linux",
        138 => "IP over IEEE 1394",
        140..=142 => "SS7",
        143 => "DOCSIS",
        144 => "IrDA",
        147..=162 => "reserved for private use",
        163 => "IEEE 802.11 with an AVS header",
        166 => "PPP of pppd",
        187 => "Bluetooth HCI",
        189 | 220 => "USB of Linux",
        192 => "PPI",
        195 | 215 | 230 | 283 => "IEEE 802.15.4",
        197 => "ERF",
        201 => "Bluetooth HCI with direction",
        203 => "LAPD",
        206 => "PPP with direction",
        224 => "Fibre Channel",
        225 | 226 => "Fibre Channel or IPNET",
        227 => "CAN bus",
        235 => "DVB-CI",
        239 => "Netfilter log",
        245 => "NFC",
        247 => "InfiniBand",
        248 => "SCTP",
        249 => "USBPcap",
        251 | 256 => "Bluetooth Low Energy",
        252 => "Wireshark's exported PDUs",
        253 => "netlink",
        254 => "Bluetooth monitor of Linux",
        258 => "PKTAP",
        265 => "nordic BLE sniffer",
        272 => "vsock",
        _ => "no name that faultmap knows",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_is_read_and_usb_is_not() {
        assert!(is_known(LinkType::ETHERNET) && is_known(LinkType::RAW));
        assert!(!is_known(LinkType(220)));
        assert_eq!(name(LinkType(220)), "USB of Linux");
    }
}
