//! What comes back for a question, against a small server on loopback.

use super::responder::{Asked, Responder, Script, add_ede};
use super::{DnsAsk, query, query_with_fallback};
use faultmap_model::observation::{DnsAnswer, DnsOutcome, DnsQuery, IcmpError, RecordType, Role, Transport};
use hickory_proto::op::ResponseCode;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;

const NAME: &str = "shop.test";
/// Longer than any answer here takes, shorter than anyone waits for a failing test.
const PLENTY: Duration = Duration::from_secs(10);

fn ask(resolver: SocketAddr, wait: Duration) -> DnsAsk {
    DnsAsk { wait, ..DnsAsk::new(resolver, Role::Resolver, Transport::Udp, NAME, RecordType::A) }
}

/// Asks a server that follows `script`, changing the question with `change`.
async fn asked(script: Script, with_tcp: bool, change: impl FnOnce(&mut DnsAsk)) -> Vec<DnsQuery> {
    let responder = Responder::bind(with_tcp).await;
    let mut ask = ask(responder.address, PLENTY);
    change(&mut ask);
    tokio::select! {
        queries = query_with_fallback(&ask) => queries,
        () = responder.serve(script) => unreachable!(),
    }
}

/// The only query, which must hold an answer.
async fn answer(script: Script) -> DnsAnswer {
    let queries = asked(script, false, |_| {}).await;
    assert_eq!(queries.len(), 1, "{queries:?}");
    answer_of(&queries[0])
}

fn answer_of(query: &DnsQuery) -> DnsAnswer {
    match &query.outcome {
        DnsOutcome::Answer(answer) => answer.clone(),
        other => panic!("no answer: {other:?}"),
    }
}

fn bytes(message: &hickory_proto::op::Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

fn one_address(asked: &Asked) -> Vec<Vec<u8>> {
    vec![bytes(&asked.with_records(&[("shop.test.", 300, "10.1.0.7")]))]
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_is_read_with_its_ttl() {
    let answer = answer(one_address).await;
    assert_eq!((answer.rcode, answer.records, answer.min_ttl_s), (0, 1, Some(300)));
    assert_eq!(answer.addresses, ["10.1.0.7".parse::<std::net::IpAddr>().unwrap()]);
    assert!(answer.recursion_available && !answer.truncated && !answer.authoritative && !answer.authentic);
    assert!(answer.cnames.is_empty() && answer.ede.is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn a_name_that_does_not_exist_is_rcode_3() {
    let answer = answer(|asked| vec![bytes(&asked.with_rcode(ResponseCode::NXDomain))]).await;
    assert_eq!((answer.rcode, answer.records, answer.min_ttl_s), (3, 0, None));
}

#[tokio::test(flavor = "current_thread")]
async fn a_failing_resolver_says_why_in_extended_errors() {
    let answer = answer(|asked| {
        let mut failure = asked.with_rcode(ResponseCode::ServFail);
        add_ede(&mut failure, 6, b"signature \x1b[31mexpired\0");
        add_ede(&mut failure, 22, b"");
        vec![bytes(&failure)]
    })
    .await;
    assert_eq!(answer.rcode, 2);
    assert_eq!(answer.ede, [(6, "signature \\u{1b}[31mexpired".to_owned()), (22, String::new())]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_high_rcode_needs_the_opt_record() {
    let answer = answer(|asked| {
        let mut failure = asked.with_rcode(ResponseCode::BADCOOKIE);
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_rcode_high(1);
        failure.set_edns(edns);
        vec![bytes(&failure)]
    })
    .await;
    assert_eq!(answer.rcode, 23);
}

#[tokio::test(flavor = "current_thread")]
async fn a_cname_chain_is_followed_in_whatever_order_it_comes() {
    let answer = answer(|asked| {
        vec![bytes(&asked.with_records(&[
            ("b.cdn.test.", 60, "10.1.0.7"),
            ("other.test.", 30, "10.9.9.9"),
            ("a.cdn.test.", 20, "b.cdn.test."),
            ("SHOP.test.", 300, "a.cdn.test."),
            ("b.cdn.test.", 60, "10.1.0.8"),
        ]))]
    })
    .await;
    assert_eq!(answer.cnames, ["a.cdn.test", "b.cdn.test"]);
    assert_eq!(answer.addresses, ["10.1.0.7", "10.1.0.8"].map(|one| one.parse::<std::net::IpAddr>().unwrap()));
    assert_eq!((answer.records, answer.min_ttl_s), (5, Some(20)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_cname_chain_that_bites_its_tail_ends() {
    let answer = answer(|asked| {
        vec![bytes(&asked.with_records(&[("shop.test.", 5, "a.test."), ("a.test.", 5, "b.test."), ("b.test.", 5, "shop.test.")]))]
    })
    .await;
    assert_eq!(answer.cnames, ["a.test", "b.test"]);
    assert!(answer.addresses.is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn a_ttl_of_zero_is_seen() {
    let answer = answer(|asked| vec![bytes(&asked.with_records(&[("shop.test.", 0, "10.1.0.7")]))]).await;
    assert_eq!(answer.min_ttl_s, Some(0));
}

#[tokio::test(flavor = "current_thread")]
async fn ipv6_addresses_are_read() {
    let script: Script = |asked| vec![bytes(&asked.with_records(&[("shop.test.", 60, "2001:db8::7")]))];
    let queries = asked(script, false, |ask| ask.record_type = RecordType::Aaaa).await;
    assert_eq!(answer_of(&queries[0]).addresses, ["2001:db8::7".parse::<std::net::IpAddr>().unwrap()]);
}

fn truncated_over_udp(asked: &Asked) -> Vec<Vec<u8>> {
    let mut answer = asked.with_records(&[("shop.test.", 300, "10.1.0.7")]);
    answer.metadata.truncation = !asked.over_tcp;
    vec![bytes(&answer)]
}

#[tokio::test(flavor = "current_thread")]
async fn a_truncated_answer_is_asked_again_over_tcp() {
    let queries = asked(truncated_over_udp, true, |_| {}).await;
    assert_eq!(queries.iter().map(|query| query.transport).collect::<Vec<_>>(), [Transport::Udp, Transport::Tcp]);
    assert!(answer_of(&queries[0]).truncated);
    let over_tcp = answer_of(&queries[1]);
    assert_eq!((over_tcp.truncated, over_tcp.addresses.len(), queries[1].sent), (false, 1, 1));
}

#[tokio::test(flavor = "current_thread")]
async fn a_truncated_answer_and_a_closed_tcp_port_are_both_told() {
    let queries = asked(truncated_over_udp, false, |_| {}).await;
    assert!(answer_of(&queries[0]).truncated);
    assert_eq!(queries[1].outcome, DnsOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: None });
    assert_eq!(queries[1].sent, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_truncated_answer_may_break_off_within_a_record() {
    let script: Script = |asked| {
        let mut whole = truncated_over_udp(asked).remove(0);
        if !asked.over_tcp {
            whole.truncate(whole.len() - 3);
        }
        vec![whole]
    };
    let queries = asked(script, true, |_| {}).await;
    assert_eq!(answer_of(&queries[0]).records, 0);
    assert_eq!(answer_of(&queries[1]).records, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_tcp_server_that_hangs_up_without_answering_is_named() {
    let queries = asked(|_| Vec::new(), true, |ask| ask.transport = Transport::Tcp).await;
    assert_eq!(queries.len(), 1);
    assert_eq!(queries[0].outcome, DnsOutcome::Failed { errno: "EOF".to_owned(), icmp: None });
}

#[tokio::test(flavor = "current_thread")]
async fn what_does_not_match_is_passed_over_until_the_answer_comes() {
    let script: Script = |asked| {
        let mut wrong_id = asked.with_records(&[("shop.test.", 1, "10.66.6.6")]);
        wrong_id.metadata.id ^= 1;
        let mut wrong_question = asked.with_records(&[("evil.test.", 1, "10.66.6.6")]);
        wrong_question.queries.clear();
        wrong_question.add_query(hickory_proto::op::Query::query(
            hickory_proto::rr::Name::from_ascii("evil.test.").unwrap(),
            hickory_proto::rr::RecordType::A,
        ));
        let no_question_yet_an_answer = {
            let mut message = asked.with_records(&[("shop.test.", 1, "10.66.6.6")]);
            message.queries.clear();
            message
        };
        let mut all = vec![b"garbage".to_vec(), Vec::new(), asked.bytes.clone()];
        all.extend([wrong_id, wrong_question, no_question_yet_an_answer].iter().map(bytes));
        all.extend(one_address(asked));
        all
    };
    for transport in [Transport::Udp, Transport::Tcp] {
        let queries = asked(script, true, |ask| ask.transport = transport).await;
        assert_eq!(answer_of(&queries[0]).addresses, ["10.1.0.7".parse::<std::net::IpAddr>().unwrap()]);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_answer_behind_a_hundred_forged_ones_is_found() {
    let answer = answer(|asked| {
        let mut all = vec![b"garbage".to_vec(); 100];
        all.extend(one_address(asked));
        all
    })
    .await;
    assert_eq!(answer.records, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn answers_that_never_match_leave_silence_with_their_count() {
    let script: Script = |asked| {
        let mut wrong_id = asked.answer();
        wrong_id.metadata.id ^= 1;
        vec![bytes(&wrong_id), b"garbage".to_vec()]
    };
    let queries = asked(script, false, |ask| ask.wait = Duration::from_millis(300)).await;
    assert!(matches!(queries[0].outcome, DnsOutcome::Silent { mismatched: 2, .. }), "{queries:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_silent_resolver_is_asked_again_after_a_second() {
    let silent = |_: &Asked| Vec::new();
    let queries = asked(silent, false, |ask| ask.wait = Duration::from_millis(1_500)).await;
    assert_eq!(queries[0].sent, 2);
    assert!(matches!(queries[0].outcome, DnsOutcome::Silent { mismatched: 0, .. }), "{queries:?}");
    let lossy: Script = |asked| if asked.number == 0 { Vec::new() } else { one_address(asked) };
    let queries = asked(lossy, false, |_| {}).await;
    assert_eq!((queries[0].sent, answer_of(&queries[0]).records), (2, 1));
}

#[tokio::test(flavor = "current_thread")]
async fn a_resolver_that_does_not_know_edns_is_asked_without_it() {
    let script: Script = |asked| match asked.message().edns {
        Some(_) => {
            let mut refusal = asked.with_rcode(ResponseCode::FormErr);
            refusal.queries.clear();
            vec![bytes(&refusal)]
        }
        None => one_address(asked),
    };
    let queries = asked(script, false, |_| {}).await;
    assert_eq!((queries.len(), queries[0].sent, answer_of(&queries[0]).rcode), (1, 2, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn a_resolver_that_refuses_every_form_keeps_its_rcode() {
    assert_eq!(answer(|asked| vec![bytes(&asked.with_rcode(ResponseCode::FormErr))]).await.rcode, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn the_question_carries_what_was_asked_for() {
    let script: Script = |asked| {
        let question = asked.message();
        assert!(question.metadata.checking_disabled && !question.metadata.recursion_desired && question.metadata.authentic_data);
        assert_eq!(question.edns.as_ref().map(hickory_proto::op::Edns::max_payload), Some(1400));
        assert_eq!(u16::from(question.queries[0].query_type()), 15);
        vec![bytes(&asked.answer())]
    };
    let change = |ask: &mut DnsAsk| {
        (ask.checking_disabled, ask.recursion, ask.max_payload) = (true, false, 1400);
        (ask.record_type, ask.other_type) = (RecordType::Other, 15);
    };
    let queries = asked(script, false, change).await;
    assert!(queries[0].checking_disabled);
    assert_eq!(answer_of(&queries[0]).rcode, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_closed_port_is_an_icmp_error_with_its_sender() {
    for (local, icmp_type, code) in [("127.0.0.1:0", 3, 3), ("[::1]:0", 1, 4)] {
        let closed = UdpSocket::bind(local).await.unwrap().local_addr().unwrap();
        let queried = query(&ask(closed, PLENTY)).await;
        let icmp = IcmpError { icmp_type, code, from: closed.ip(), mtu: None };
        assert_eq!(queried.outcome, DnsOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: Some(icmp) });
        assert_eq!(queried.sent, 1);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_name_that_is_none_is_never_sent() {
    let long = format!("{}.test", "a".repeat(64));
    let deep = ["abcdefg"; 32].join(".");
    for name in ["", "a..b", ".test", "caf\u{e9}.test", "a b.test", "a\n.test", &long, &deep] {
        let ask = DnsAsk { name: name.to_owned(), ..ask(([127, 0, 0, 1], 9).into(), PLENTY) };
        let queried = query(&ask).await;
        assert_eq!(queried.outcome, DnsOutcome::Failed { errno: "EINVAL".to_owned(), icmp: None }, "{name:?}");
        assert_eq!(queried.sent, 0);
    }
}
