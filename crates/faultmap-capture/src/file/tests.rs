//! Files as tools write them, and as disks and networks leave them behind.

use super::*;
use crate::pcapng::PcapNgWriter;
use proptest::prelude::*;
use std::io::{Cursor, Write};

/// What a reading gives: times, lengths and bytes of the packets, and the errors.
type Reading = (Vec<(i64, u32, Vec<u8>)>, Vec<String>, Notes);

fn read(bytes: &[u8]) -> Reading {
    drain(&mut Files::from_reader("t", Box::new(Cursor::new(bytes.to_vec()))))
}

fn drain(files: &mut Files) -> Reading {
    let (mut packets, mut errors) = (Vec::new(), Vec::new());
    loop {
        match files.next() {
            Ok(Some(packet)) => packets.push((packet.at.0, packet.wire_len, packet.bytes.to_vec())),
            Ok(None) => return (packets, errors, files.notes().clone()),
            Err(error) => errors.push(error.to_string()),
        }
    }
}

fn u32s(big: bool, fields: &[u32]) -> Vec<u8> {
    fields.iter().flat_map(|field| if big { field.to_be_bytes() } else { field.to_le_bytes() }).collect()
}

fn pcap(magic: u32, big: bool, link: u32, extra: usize) -> Vec<u8> {
    let version = if big { 0x0002_0004 } else { 0x0004_0002 };
    let mut out = u32s(big, &[magic, version, 0, 0, 65_535, link]);
    out.extend(u32s(big, &[1_000, 5, 4, 60]));
    out.extend(vec![0; extra]);
    out.extend([1, 2, 3, 4]);
    out
}

fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let total = (body.len().next_multiple_of(4) + 12) as u32;
    let mut out = u32s(big, &[kind, total]);
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(u32s(big, &[total]));
    out
}

fn section(big: bool) -> Vec<u8> {
    let mut body = u32s(big, &[0x1a2b_3c4d]);
    body.extend(if big { [0, 1, 0, 0] } else { [1, 0, 0, 0] });
    body.extend([0xff; 8]);
    block(big, 0x0a0d_0d0a, &body)
}

fn interface(big: bool, link: u16, resolution: Option<u8>, offset_s: Option<u64>) -> Vec<u8> {
    let two = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut body = Vec::from(two(link));
    body.extend([0; 6]);
    if let Some(resolution) = resolution {
        body.extend([two(9), two(1), [resolution, 0], [0, 0]].concat());
    }
    if let Some(offset) = offset_s {
        body.extend([two(14), two(8)].concat());
        body.extend(if big { offset.to_be_bytes() } else { offset.to_le_bytes() });
    }
    if resolution.is_some() || offset_s.is_some() {
        body.extend([0; 4]);
    }
    block(big, 1, &body)
}

fn enhanced(big: bool, interface: u32, units: u64) -> Vec<u8> {
    let mut body = u32s(big, &[interface, (units >> 32) as u32, units as u32, 3, 99]);
    body.extend([7, 8, 9]);
    block(big, 6, &body)
}

#[test]
fn a_pcap_is_read_in_either_byte_order_resolution_and_format() {
    let rows = [
        (0xa1b2_c3d4, false, 0, 1_000_000_005_000),
        (0xa1b2_c3d4, true, 0, 1_000_000_005_000),
        (0xa1b2_3c4d, false, 0, 1_000_000_000_005),
        (0xa1b2_3c4d, true, 0, 1_000_000_000_005),
        (0xa1b2_cd34, false, 8, 1_000_000_005_000),
        (0xa1b2_cd34, true, 8, 1_000_000_005_000),
    ];
    for (magic, big, extra, at) in rows {
        let (packets, errors, _) = read(&pcap(magic, big, 1, extra));
        assert_eq!((packets, errors), (vec![(at, 60, vec![1, 2, 3, 4])], vec![]), "{magic:x} big {big}");
    }
}

#[test]
fn the_length_of_a_check_sequence_is_no_part_of_the_link_type() {
    assert_eq!(read(&pcap(0xa1b2_c3d4, false, 0x5400_0001, 0)).1, Vec::<String>::new());
}

#[test]
fn sections_have_their_own_byte_order_and_interfaces_their_own_clock() {
    let mut file = [section(false), interface(false, 1, None, None), interface(false, 101, Some(9), None)].concat();
    file.extend([enhanced(false, 0, 2_000_000), enhanced(false, 1, 3_000_000_000)].concat());
    file.extend([section(true), interface(true, 1, Some(0x80 | 10), Some(5)), enhanced(true, 0, 1024)].concat());
    let (packets, errors, notes) = read(&file);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(packets.iter().map(|packet| packet.0).collect::<Vec<_>>(), [2_000_000_000, 3_000_000_000, 6_000_000_000]);
    assert!(packets.iter().all(|packet| packet.1 == 99 && packet.2 == [7, 8, 9]));
    assert_eq!(notes.links, BTreeSet::from([1, 101]));
}

#[test]
fn packets_without_a_time_get_that_of_the_one_before() {
    let mut file = [section(false), interface(false, 1, None, None), enhanced(false, 0, 4)].concat();
    file.extend(block(false, 3, &[u32s(false, &[3]), vec![1, 2, 3]].concat()));
    let (packets, _, _) = read(&file);
    assert_eq!(packets, [(4_000, 99, vec![7, 8, 9]), (4_000, 3, vec![1, 2, 3])]);
}

#[test]
fn the_obsolete_packet_block_is_read_with_its_drops() {
    let mut body = u32s(false, &[0x0005_0000, 0, 7, 2, 2]);
    body.extend([1, 2]);
    let (packets, errors, notes) =
        read(&[section(false), interface(false, 1, None, None), block(false, 2, &[body, vec![0; 4]].concat())].concat());
    assert_eq!((packets, errors), (vec![(7_000, 2, vec![1, 2])], vec![]));
    assert_eq!(notes.dropped, Some(5));
}

#[test]
fn drops_of_the_recorder_are_told_in_the_byte_order_of_the_section() {
    for big in [false, true] {
        let two = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let eight = |n: u64| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let statistics = |drops: u64| {
            let options = [&two(5)[..], &two(8), &eight(drops), &two(0), &two(0)].concat();
            block(big, 5, &[u32s(big, &[0, 0, 0]), options].concat())
        };
        let (_, errors, notes) = read(&[section(big), interface(big, 1, None, None), statistics(3), statistics(10)].concat());
        assert_eq!((errors, notes.dropped), (vec![], Some(10)), "big {big}: drops count from the beginning");
    }
}

#[test]
fn compressed_files_are_read_as_the_plain_ones() {
    let plain = pcap(0xa1b2_c3d4, false, 1, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).expect("to memory");
    let gzip = gzip.finish().expect("to memory");
    let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Uncompressed);
    for packed in [gzip.clone(), zstd.clone()] {
        assert_eq!(read(&packed).0, read(&plain).0);
    }
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd].concat();
    assert_eq!(read(&skipped).0, read(&plain).0, "a frame to be skipped comes first");
    let (_, errors, _) = read(&gzip[..gzip.len() - 12]);
    assert!(errors[0].starts_with("cannot read t beyond byte "), "{errors:?}");
}

#[test]
fn a_damaged_file_gives_what_stands_before_the_damage_and_says_where_it_is() {
    let good = pcap(0xa1b2_c3d4, false, 1, 0);
    let one = &good[24..];
    let rows: [(Vec<u8>, usize, &str); 8] = [
        (vec![], 0, "t is empty"),
        (b"GET / HTTP/1.1".to_vec(), 0, "t is neither pcap nor pcapng: it begins with 47 45 54 20 2f 20 48 54"),
        (good[..20].to_vec(), 0, "t ends at byte 0 in the middle of the file header: 20 of 24 bytes are there"),
        ([&good[..], &one[..18]].concat(), 1, "t ends at byte 44 in the middle of a packet: 18 of 20 bytes are there"),
        ([&good[..], &one[..3]].concat(), 1, "t ends at byte 44 in the middle of a record's header: 3 of 16 bytes are there"),
        ([&good[..], &[0xff; 16]].concat(), 1, "t is damaged at byte 44: a record claims a packet of 4294967295 bytes"),
        ([section(false), enhanced(false, 0, 1)].concat(), 0, "t is damaged at byte 28: a packet of interface 0, but only 0 interfaces"),
        (
            pcap(0xa1b2_c3d4, false, 220, 0),
            0,
            "t: 1 packets were not read, the first before byte 44: their link type is 220 (USB of Linux)",
        ),
    ];
    for (bytes, packets, expected) in rows {
        let (read, errors, _) = read(&bytes);
        assert_eq!((read.len(), errors.len()), (packets, 1), "{errors:?}");
        assert!(errors[0].starts_with(expected), "{}", errors[0]);
    }
}

#[test]
fn a_damaged_file_does_not_hide_the_next_one() {
    let folder = std::env::temp_dir().join(format!("faultmap-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let (first, second) = (folder.join("1.pcap"), folder.join("2.pcap"));
    let good = pcap(0xa1b2_c3d4, false, 1, 0);
    std::fs::write(&first, [&good[..], &[1]].concat()).expect("written");
    std::fs::write(&second, &good).expect("written");
    let mut files = Files::new(&[first, folder.join("absent"), second]);
    assert_eq!(files.progress().size, None, "one of them has no size");
    let (packets, errors, _) = drain(&mut files);
    assert_eq!((packets.len(), errors.len(), files.packets(), files.progress().read), (2, 2, 2, 89));
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn time_far_off_saturates() {
    let clock = |resolution, offset| pcapng::Clock::new(resolution, offset);
    assert_eq!(clock(0, 0).stamp(u64::MAX), Stamp(i64::MAX));
    assert_eq!(clock(127, 0).stamp(u64::MAX), Stamp(0), "no such resolution");
    assert_eq!(clock(6, i64::MAX).stamp(u64::MAX), Stamp(i64::MAX));
    assert_eq!(clock(6, i64::MIN).stamp(0), Stamp(i64::MIN));
}

#[test]
fn what_is_written_is_read_back() {
    let mut writer = PcapNgWriter::new(Vec::new()).expect("to memory");
    for (number, link) in [LinkType::ETHERNET, LinkType::RAW, LinkType::ETHERNET].into_iter().enumerate() {
        let bytes = vec![number as u8; number + 5];
        let packet =
            Captured { number: PacketNo(1), at: Stamp(1_700_000_000_123_456_789 + number as i64), link, wire_len: 1500, bytes: &bytes };
        let interface = writer.interface(link, "").expect("to memory");
        writer.packet(interface, &packet).expect("to memory");
    }
    let (packets, errors, notes) = read(&writer.into_inner().expect("to memory"));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(packets[2], (1_700_000_000_123_456_791, 1500, vec![2; 7]));
    assert_eq!(notes.links, BTreeSet::from([1, 101]));
}

/// The folder of public captures, if there is one here.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("FAULTMAP_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: FAULTMAP_CAPTURES names no folder of captures");
    }
    folder
}

#[test]
fn files_made_to_break_readers_give_as_many_packets_as_capinfos_counts() {
    let Some(folder) = captures() else { return };
    let counts: &[(&str, &str, u64)] = &[
        ("malformed", "ndpi-fuzz-2006-06-26-2594.pcap", 691),
        ("malformed", "tcpdump-arp-oobr.pcap", 2282),
        ("malformed", "tcpdump-resp_3_malicious.pcap", 163),
        ("malformed", "tcpdump-time_2107.pcapng", 1),
        ("malformed", "tcpdump-timestamp_invalid_micro.pcap", 3),
        ("malformed", "tcpdump-ipv6_jumbogram_invalid_length.pcap", 1),
        ("malformed", "tcpdump-empty.pcap", 0),
        ("pcapng-format", "pcapng-gen-output_le__advanced__test100.pcapng", 5),
        ("pcapng-format", "pcapng-gen-output_le__advanced__test101.pcapng", 4),
        ("pcapng-format", "pcapng-gen-output_le__advanced__test102.pcapng", 5),
        ("pcapng-format", "pcapng-gen-output_le__basic__test006.pcapng", 5),
        ("pcapng-format", "pcapng-gen-output_le__basic__test009.pcapng", 2),
        ("pcapng-format", "pcapng-gen-output_le__difficult__test200.pcapng", 0),
        ("pcapng-format", "pcapng-gen-output_le__difficult__test201.pcapng", 4),
        ("pcapng-format", "pcapng-gen-output_le__difficult__test202.pcapng", 8),
    ];
    for (place, name, expected) in counts {
        let mut files = Files::new(&[folder.join(place).join(name)]);
        let (_, errors, _) = drain(&mut files);
        assert_eq!(files.packets(), *expected, "{name}: {errors:?}");
    }
}

#[test]
fn no_file_of_the_folder_is_refused_without_a_reason() {
    let Some(folder) = captures() else { return };
    let mut read = 0;
    for place in ["malformed", "pcapng-format", "."] {
        for entry in std::fs::read_dir(folder.join(place)).expect("the folder of captures").flatten() {
            if !entry.path().to_string_lossy().contains(".pcap") {
                continue;
            }
            let mut files = Files::new(&[entry.path()]);
            let (_, errors, _) = drain(&mut files);
            let excused = |error: &String| error.contains("in the middle of") || error.contains("link type");
            assert!(errors.iter().all(excused), "{errors:?}");
            read += 1;
        }
    }
    assert!(read > 100, "{read} files");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_loop(bytes in prop::collection::vec(any::<u8>(), 0..400), begin in 0_usize..6) {
        let magic: [&[u8]; 6] = [&[], &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0], &[0x0a, 0x0d, 0x0d, 0x0a], &[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], &[0xa1, 0xb2, 0xcd, 0x34]];
        let _ = read(&[magic[begin], &bytes].concat());
        let _ = read(&[&section(false)[..], &interface(false, 1, Some(9), None), &bytes].concat());
    }
}
