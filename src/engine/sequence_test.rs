use super::*;

fn sequence(ports: &[u16]) -> Sequence {
    let step = |&port| Step {
        port,
        transport: Transport::Tcp,
    };
    Sequence::new(ports.iter().map(step).collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_sequence_that_repeats_its_beginning_leaves_a_shorter_match_at_a_wrong_knock() {
    let overlaps = |ports: &[u16]| {
        let sequence = sequence(ports);
        let matched = (0..=sequence.len()).filter(|&matched| sequence.begins_again_within(matched));
        matched.collect::<Vec<_>>()
    };
    assert_eq!(overlaps(&[7, 8, 7, 8, 9]), [3, 4]);
    assert_eq!(overlaps(&[7, 7, 8]), [2]);
    assert_eq!(overlaps(&[7, 8, 9]), Vec::<usize>::new());
}

#[test]
fn the_other_transport_is_another_step() {
    let udp = Step {
        port: 7,
        transport: Transport::Udp,
    };
    assert!(!sequence(&[7, 8]).has(udp));
}

#[test]
fn debug_says_nothing_of_the_ports() {
    let text = format!(
        "{:?} {:?}",
        sequence(&[7001, 8002]),
        Step {
            port: 9003,
            transport: Transport::Udp
        }
    );
    assert_eq!(text, "Sequence(2 steps) Step(*)");
}

#[test]
fn empty_and_endless_sequences_do_not_exist() {
    let step = Step {
        port: 1,
        transport: Transport::Tcp,
    };
    assert_eq!(Sequence::new([]), None);
    assert!(Sequence::new(vec![step; MAX_STEPS]).is_some());
    assert_eq!(Sequence::new(vec![step; MAX_STEPS + 1]), None);
}
