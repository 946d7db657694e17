//! Where `Alt-Svc` says that HTTP/3 is (RFC 7838 3). Pure.

/// Longest value that is read.
const LONGEST: usize = 4096;

/// The UDP port of HTTP/3 on the same host; `None` when there is none, or only on another host.
#[must_use]
pub fn http3_port(alt_svc: &str) -> Option<u16> {
    let value = alt_svc.get(..LONGEST).unwrap_or(alt_svc);
    value.split(',').find_map(|service| {
        let (protocol, authority) = service.split(';').next()?.split_once('=')?;
        let port = authority.trim().trim_matches('"').strip_prefix(':')?;
        (protocol.trim() == "h3").then(|| port.parse().ok()).flatten().filter(|port| *port != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_h3_of_the_same_host_counts() {
        let cases = [
            ("h3=\":443\"; ma=86400", Some(443)),
            ("h3-29=\":443\"; ma=2592000, h3=\":8443\"; persist=1", Some(8443)),
            ("h3=\"alt.test:443\"", None),
            ("h2=\":443\"", None),
            ("clear", None),
            ("h3=\":0\"", None),
            ("h3=\":99999\"", None),
            ("", None),
        ];
        for (value, port) in cases {
            assert_eq!(http3_port(value), port, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "[h3=\":;, a-z0-9äß]{0,200}", any in any::<String>()) {
            let _ = (http3_port(&value), http3_port(&any));
        }
    }
}
