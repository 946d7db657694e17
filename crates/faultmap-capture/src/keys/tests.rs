//! Key logs as they are and as they should not be.

use super::*;
use proptest::prelude::*;

const RANDOM: &str = "cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7";

fn read(text: &str) -> KeysSeen {
    let keys = Keys::default();
    keys.read(text.as_bytes());
    keys.end_of_log();
    keys.seen().expect("something was given")
}

#[test]
fn lines_are_read_as_programs_write_them_and_others_are_counted() {
    let secret = "ab".repeat(32);
    for (text, secrets, unreadable) in [
        (format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {secret}\n"), 1, 0),
        // The last line without its end; the line ends of Windows; blanks around.
        (format!("CLIENT_RANDOM {RANDOM} {}", "cd".repeat(48)), 1, 0),
        (format!("  SERVER_TRAFFIC_SECRET_0\t{} {secret} \r\n\r\n", RANDOM.to_uppercase()), 1, 0),
        // Comments, and secrets that open no record.
        (format!("# SSL/TLS secrets log file\nEXPORTER_SECRET {RANDOM} {secret}\nECH_CONFIG {RANDOM} 00\n"), 0, 0),
        // Too short, too long, no digits, half a line, another kind of file.
        (format!("CLIENT_RANDOM {RANDOM} {}\n", "cd".repeat(31)), 0, 1),
        (format!("CLIENT_RANDOM {RANDOM} {}\n", "cd".repeat(49)), 0, 1),
        (format!("CLIENT_RANDOM {} {secret}\n", "zz".repeat(32)), 0, 1),
        (format!("CLIENT_RANDOM {RANDOM}\nGET / HTTP/1.1\n"), 0, 2),
        (format!("{}\nCLIENT_TRAFFIC_SECRET_0 {RANDOM} {secret}\n", "x".repeat(100_000)), 1, 1),
        (String::new(), 0, 0),
    ] {
        let seen = read(&text);
        assert_eq!((seen.secrets, seen.unreadable_lines), (secrets, unreadable), "{}", &text[..text.len().min(80)]);
    }
}

#[test]
fn what_is_written_of_a_connection_is_what_was_read() {
    let (keys, log) = (Keys::default(), format!("CLIENT_RANDOM {RANDOM} {}\n", "0f".repeat(48)));
    keys.read(log.as_bytes());
    assert!(keys.take_used().is_empty(), "nothing was opened");
    let random = *keys.ring().order.front().expect("one");
    keys.served(&random, Served::Opened);
    assert_eq!(keys.take_used().as_slice(), log.as_bytes());
    assert!(keys.take_used().is_empty(), "each once");
}

#[test]
fn secrets_have_no_printable_form() {
    let keys = Keys::default();
    keys.read(format!("CLIENT_RANDOM {RANDOM} {}\n", "0f".repeat(48)).as_bytes());
    assert_eq!(format!("{keys:?}"), "Keys");
}

#[test]
fn of_too_many_connections_the_oldest_are_let_go() {
    let keys = Keys::default();
    for number in 0..MOST_CONNECTIONS + 10 {
        keys.read(format!("CLIENT_RANDOM {number:064x} {}\n", "0f".repeat(48)).as_bytes());
    }
    let seen = keys.seen().expect("given");
    assert_eq!((seen.connections, seen.let_go), (MOST_CONNECTIONS as u64, 10));
}

#[test]
fn a_log_that_grows_is_read_on_from_where_it_ended() {
    let folder = std::env::temp_dir().join(format!("faultmap-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("keys.log");
    let line = |label: &str| format!("{label} {RANDOM} {}\n", "ab".repeat(32));
    let (one, two) = (line("CLIENT_TRAFFIC_SECRET_0"), line("SERVER_TRAFFIC_SECRET_0"));
    std::fs::write(&path, &one[..50]).expect("written");
    let (keys, mut file) = (Keys::default(), KeyFile::open(&path).expect("open"));
    file.read_into(&keys).expect("read");
    assert_eq!(keys.seen().expect("given").secrets, 0, "half a line is none");
    std::fs::write(&path, format!("{one}{two}")).expect("written");
    file.read_into(&keys).expect("read");
    assert_eq!(keys.seen().expect("given").secrets, 2);
    // Begun anew.
    std::fs::write(&path, &two).expect("written");
    file.read_into(&keys).expect("read");
    assert_eq!(keys.seen().expect("given").secrets, 3);
    std::fs::remove_dir_all(&folder).expect("removed");
}

proptest! {
    #[test]
    fn no_log_makes_it_panic_and_its_cuts_do_not_matter(text in "([A-Z_0-9]{0,30}[ \t]{0,2}[0-9a-fg]{0,70} [0-9a-f]{0,100}[\r\n]{0,2}){0,8}", size in 1usize..50) {
        let (whole, cut) = (Keys::default(), Keys::default());
        whole.read(text.as_bytes());
        text.as_bytes().chunks(size).for_each(|piece| cut.read(piece));
        if !text.is_empty() {
            prop_assert_eq!(whole.seen(), cut.seen());
        }
    }
}
