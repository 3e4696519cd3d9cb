//! Commands of the nft backend as bytes, and answers of the kernel, whatever they are.

use proptest::prelude::*;

use super::*;
use crate::engine::command::{Facts, Invocation};
use crate::engine::sequence::Step;
use crate::firewall::{Backend, commands};

fn invocation(
    src: &str,
    of: fn(&crate::firewall::Commands) -> &crate::engine::door::PerFamily,
) -> Invocation {
    let ports = [(22, Transport::Tcp), (51820, Transport::Udp)];
    let ports = ports.map(|(port, transport)| Step { port, transport });
    let commands = commands(Backend::Nft, "ssh", &ports).unwrap();
    let src: IpAddr = src.parse().unwrap();
    let facts = Facts {
        src,
        dst: src,
        step: ports[0],
        interface: "eth0".into(),
        door: "ssh".into(),
        hold: Some(Duration::from_millis(29_500)),
    };
    of(&commands).of(src).unwrap().expand(&facts)
}

#[test]
fn the_open_and_close_commands_of_the_nft_backend_are_batches() {
    for (src, family) in [("203.0.113.7", Family::V4), ("2001:db8::7", Family::V6)] {
        let open = Batch::of(&invocation(src, |commands| &commands.open).argv).unwrap();
        assert_eq!((open.family, open.opens), (family, true));
        let verbs: Vec<_> = open.changes.iter().map(|change| change.adds).collect();
        assert_eq!(verbs, [true, false, true]);
        let last = &open.changes[2].elements;
        assert_eq!(last.len(), 2);
        assert_eq!(last[1].timeout, Some(Duration::from_secs(30)));
        let close = Batch::of(&invocation(src, |commands| &commands.close).argv).unwrap();
        assert!(!close.opens);
        assert_eq!(close.changes[..], open.changes[..2]);
    }
}

#[test]
fn any_other_command_is_not_a_batch() {
    for argv in [
        &["nft", "flush ruleset"][..],
        &[
            "nft",
            "add element inet logknock open4 { 203.0.113.7 . tcp . 22 }; flush ruleset",
        ],
        &[
            "nft",
            "add element inet other open4 { 203.0.113.7 . tcp . 22 }",
        ],
        &[
            "nft",
            "add element inet logknock open4 { 2001:db8::7 . tcp . 22 }",
        ],
        &[
            "nft",
            "add element inet logknock open4 { 203.0.113.7 . sctp . 22 }",
        ],
        &[
            "nft",
            "add element inet logknock open4 { 203.0.113.7 . tcp . 70000 }",
        ],
        &[
            "/usr/sbin/nft",
            "add element inet logknock open4 { 203.0.113.7 . tcp . 22 }",
        ],
        &["/bin/sh", "-c", "nft 'flush ruleset' || true"],
        &["nft"],
        &[],
    ] {
        let argv: Vec<_> = argv.iter().map(ToString::to_string).collect();
        assert_eq!(Batch::of(&argv), None, "{argv:?}");
    }
}

#[test]
fn a_close_of_what_is_not_there_is_done_and_an_open_is_refused() {
    let answer = |error: i32| {
        let mut bytes = 36_u32.to_ne_bytes().to_vec();
        bytes.extend(ERROR.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend((-error).to_ne_bytes());
        bytes.extend([0; 16]);
        bytes
    };
    let open = Batch::of(&invocation("203.0.113.7", |commands| &commands.open).argv).unwrap();
    let close = Batch::of(&invocation("203.0.113.7", |commands| &commands.close).argv).unwrap();
    assert_eq!(open.verdict(&answer(0)), Some(Verdict::Done));
    assert_eq!(open.verdict(&answer(2)), Some(Verdict::Refused(2)));
    assert_eq!(
        open.verdict(&[answer(0), answer(1)].concat()),
        Some(Verdict::Refused(1))
    );
    assert_eq!(close.verdict(&answer(2)), Some(Verdict::Done));
    assert_eq!(close.verdict(&answer(1)), Some(Verdict::Refused(1)));
    assert_eq!(close.verdict(&[]), None);
}

proptest! {
    #[test]
    fn whatever_is_answered_is_read_to_its_end(answers in proptest::collection::vec(any::<u8>(), 0..200)) {
        let open = Batch::of(&invocation("203.0.113.7", |commands| &commands.open).argv).unwrap();
        let _ = open.verdict(&answers);
    }
}
