//! Whole captures through the engine: packets of any bytes, lengths and times become flows, conversations and findings without a panic, within bounds.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::LinkType;

/// A record: link type, milliseconds since the last one as a signed byte, bytes cut from its end, length (two bytes), the bytes.
fn record(data: &[u8]) -> Option<(u8, i8, u8, &[u8], &[u8])> {
    let ([link, step, cut, high, low], rest) = data.split_first_chunk::<5>()?;
    let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (bytes, rest) = rest.split_at_checked(len)?;
    Some((*link, step.cast_signed(), *cut, bytes, rest))
}

faultmap_fuzz::target!(|data| {
    let limits = Limits { max_flows: 8, max_records: 4, max_findings: 16, max_waiting_of_flow: 4096, max_waiting: 8192 };
    let mut analysis = Analysis::new(limits);
    let (mut rest, mut number, mut at) = (data, 0, 0_i64);
    while let Some((link, step, cut, bytes, further)) = record(rest) {
        rest = further;
        number += 1;
        at = at.wrapping_add(i64::from(step) << (u32::from(cut) % 58));
        let wire_len = bytes.len() as u32 + u32::from(cut);
        analysis.packet(&Captured { number: PacketNo(number), at: Stamp(at), link: LinkType(link.into()), wire_len, bytes });
        assert!(analysis.open_flows() <= 8);
        // Watched now and then, and told the time.
        if cut & 1 == 1 {
            assert!(analysis.flows_now().len() <= 8);
            let _ = analysis.take_findings();
        }
        if cut & 2 == 2 {
            analysis.clock(Stamp(at.saturating_add(4_000_000_000)));
        }
    }
    let outcome = analysis.finish();
    assert!(outcome.flows.len() <= 4 && outcome.findings.len() <= 16);
});
