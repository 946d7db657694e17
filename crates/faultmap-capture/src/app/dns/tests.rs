//! DNS written by hand.

use crate::app::End;
use crate::app::testkit::{C, Line, S, exchanges, rules, told, told_of_datagrams};

/// A question, or the answer to it with this code and these addresses.
fn message(id: u16, name: &str, qtype: u16, flags: u16, addresses: &[[u8; 4]], ttl: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [id, flags, 1, addresses.len() as u16, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(qtype.to_be_bytes());
    bytes.extend([0, 1]);
    for address in addresses {
        bytes.extend([0xc0, 12]);
        bytes.extend(qtype.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend([0, 4]);
        bytes.extend(address);
    }
    bytes
}

fn ask(id: u16, name: &str) -> Vec<u8> {
    message(id, name, 1, 0x0100, &[], 0)
}

fn say(id: u16, name: &str, rcode: u16) -> Vec<u8> {
    message(id, name, 1, 0x8180 | rcode, &[], 0)
}

fn give(id: u16, name: &str, last: u8, ttl: u32) -> Vec<u8> {
    message(id, name, 1, 0x8180, &[[10, 0, 0, last]], ttl)
}

#[track_caller]
fn check(lines: &[Line<'_>], end_ms: u64, expect: &[&str]) {
    assert_eq!(rules(&told_of_datagrams(53, lines, end_ms)), expect);
}

#[test]
fn a_healthy_lookup_gives_no_finding() {
    let (question, answer) = (ask(1, "shop.test"), give(1, "SHOP.test", 9, 60));
    let sink = told_of_datagrams(53, &[(C, 0, &question), (S, 30, &answer)], 60_000);
    assert_eq!((rules(&sink), exchanges(&sink)), (vec![], vec!["A shop.test > NOERROR, 1 record".to_owned()]));
    assert_eq!(sink.exchanges[0].wait_ms, Some(30.0));
}

#[test]
fn every_code_has_its_meaning() {
    let question = ask(1, "shop.test");
    check(&[(C, 0, &question), (S, 30, &say(1, "shop.test", 2))], 60_000, &["dns.servfail fault l7.dns-servfail"]);
    check(&[(C, 0, &question), (S, 30, &say(1, "shop.test", 3))], 60_000, &["dns.nxdomain warning l7.dns-nxdomain"]);
    check(&[(C, 0, &question), (S, 30, &say(1, "shop.test", 5))], 60_000, &["dns.refused fault l7.dns-refused"]);
    check(&[(C, 0, &question), (S, 30, &say(1, "shop.test", 0))], 60_000, &["dns.nodata warning l7.dns-no-address"]);
    check(&[(C, 0, &question), (S, 30, &give(1, "shop.test", 9, 0))], 60_000, &["dns.ttl0 warning l7.dns-ttl-zero"]);
    check(&[(C, 0, &question), (S, 2, &give(1, "shop.test", 9, 0))], 60_000, &["dns.ttl0 note l7.dns-ttl-zero"]);
    check(&[(C, 0, &question), (S, 1700, &give(1, "shop.test", 9, 60))], 60_000, &["dns.slow warning l7.dns-slow"]);
}

#[test]
fn silence_is_a_timeout_once_the_client_asked_again_or_waited_long() {
    let question = ask(1, "shop.test");
    check(&[(C, 0, &question), (C, 1000, &question)], 1000, &["dns.timeout fault l7.dns-timeout"]);
    check(&[(C, 0, &question)], 6000, &["dns.timeout fault l7.dns-timeout"]);
    check(&[(C, 0, &question)], 300, &["dns.unanswered note -"]);
    check(&[(C, 0, &question), (C, 2000, &question), (S, 2030, &give(1, "shop.test", 9, 60))], 9000, &["dns.retry warning l7.dns-slow"]);
}

#[test]
fn a_second_answer_is_a_copy_or_a_contradiction() {
    let (question, one, other) = (ask(1, "shop.test"), give(1, "shop.test", 9, 60), give(1, "shop.test", 66, 60));
    check(&[(C, 0, &question), (S, 30, &one), (S, 31, &one)], 900, &["dns.duplicate-response note -"]);
    check(&[(C, 0, &question), (S, 30, &one), (S, 31, &other)], 900, &["dns.conflicting-answers warning l7.dns-disagreement"]);
    check(&[(C, 0, &question), (C, 500, &question), (S, 530, &one), (S, 531, &other)], 900, &["dns.retry warning l7.dns-slow"]);
}

#[test]
fn a_name_of_a_search_list_and_a_family_that_a_name_lacks_are_nobodys_fault() {
    let (long, short) = (ask(1, "shop.test.corp.test"), ask(2, "shop.test"));
    let lines: [Line<'_>; 4] =
        [(C, 0, &long), (S, 30, &say(1, "shop.test.corp.test", 3)), (C, 31, &short), (S, 50, &give(2, "shop.test", 9, 60))];
    check(&lines, 900, &["dns.nxdomain note l7.dns-nxdomain"]);
    let (four, six) = (ask(1, "shop.test"), message(2, "shop.test", 28, 0x0100, &[], 0));
    let (none, some) = (say(1, "shop.test", 0), message(2, "shop.test", 28, 0x8180, &[[1, 2, 3, 4]], 60));
    check(&[(C, 0, &four), (C, 0, &six), (S, 30, &none), (S, 31, &some)], 900, &["dns.nodata note l7.dns-no-address"]);
    let reverse = message(1, "1.0.0.10.in-addr.arpa", 12, 0x0100, &[], 0);
    let missing = message(1, "1.0.0.10.in-addr.arpa", 12, 0x8183, &[], 0);
    check(&[(C, 0, &reverse), (S, 30, &missing)], 900, &["dns.nxdomain note l7.dns-nxdomain"]);
}

#[test]
fn over_tcp_messages_have_their_length_before_them() {
    let framed = |message: Vec<u8>| [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    let (question, answer) = (framed(ask(1, "shop.test")), framed(say(1, "shop.test", 2)));
    let sink = told(53, &[(C, 0, &question), (S, 30, &answer)], End::Closed, 900);
    assert_eq!((sink.protocol, rules(&sink)), (Some("dns"), vec!["dns.servfail fault l7.dns-servfail".to_owned()]));
}

#[test]
fn questions_to_a_whole_group_are_not_followed() {
    assert_eq!(told_of_datagrams(5353, &[(C, 0, &ask(0, "printer.local"))], 60_000).exchanges, []);
}

#[test]
fn what_left_a_queue_twice_at_once_is_one_question() {
    let question = ask(1, "shop.test");
    check(&[(C, 0, &question), (C, 1, &question), (S, 3, &give(1, "shop.test", 9, 60)), (S, 4, &give(1, "shop.test", 8, 60))], 900, &[]);
}

#[test]
fn answers_under_ids_that_nobody_asked_with_are_guesses_from_the_third_on() {
    let (question, answer) = (ask(1, "shop.test"), give(1, "shop.test", 9, 60));
    let guesses: Vec<Vec<u8>> = (10..13).map(|id| give(id, "shop.test", 66, 60)).collect();
    let mut lines: Vec<Line<'_>> = vec![(C, 0, &question), (S, 30, &answer), (S, 31, &guesses[0])];
    check(&lines, 900, &[]);
    lines.extend([(S, 32, &guesses[1][..]), (S, 33, &guesses[2])]);
    check(&lines, 900, &["dns.wrong-id warning l7.dns-disagreement"]);
}

#[test]
fn a_client_that_asks_again_after_an_answer_did_not_take_it() {
    let (question, answer, other) = (ask(1, "shop.test"), give(1, "shop.test", 9, 60), ask(2, "www.test"));
    check(&[(C, 0, &question), (S, 3, &answer), (C, 1000, &question)], 1100, &["dns.answer-not-taken fault -"]);
    // The other question of the pair has no answer yet: both are asked again.
    let pair = [(C, 0, &question[..]), (C, 0, &other), (S, 3, &answer), (C, 5000, &question), (C, 5000, &other)];
    let told = rules(&told_of_datagrams(53, &pair, 5100));
    assert!(!told.iter().any(|rule| rule.starts_with("dns.answer-not-taken")), "{told:?}");
}

#[test]
fn a_resolver_that_knows_an_invalid_name_answers_for_what_does_not_exist() {
    let question = ask(1, "a1b2.invalid");
    let rewritten = ["dns.nxdomain-rewritten warning l7.dns-disagreement"];
    check(&[(C, 0, &question), (S, 30, &give(1, "a1b2.invalid", 9, 60))], 900, &rewritten);
    let told = told_of_datagrams(53, &[(C, 0, &question), (S, 30, &say(1, "a1b2.invalid", 3))], 900);
    assert_eq!(rules(&told), ["dns.nxdomain warning l7.dns-nxdomain"]);
}

#[test]
fn the_first_fragment_of_an_answer_is_no_silence() {
    let asked = message(1, "big.test", 16, 0x0100, &[], 0);
    let mut answer = message(1, "big.test", 16, 0x8180, &[], 0);
    // One answer is announced, and stands in another fragment.
    answer[7] = 1;
    check(&[(C, 0, &asked), (S, 30, &answer)], 9000, &[]);
    check(&[(C, 0, &asked)], 9000, &["dns.timeout fault l7.dns-timeout"]);
}
