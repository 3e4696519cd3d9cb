use super::*;

fn sequence(ports: &[u16]) -> Sequence {
    let step = |&port| Step {
        port,
        transport: Transport::Tcp,
    };
    Sequence::new(ports.iter().map(step).collect::<Vec<_>>()).unwrap()
}

fn stages(ports: &[u16], knocks: &[u16]) -> Vec<usize> {
    let sequence = sequence(ports);
    let mut matched = 0;
    knocks
        .iter()
        .map(|&port| {
            matched = sequence.advance(
                matched,
                Step {
                    port,
                    transport: Transport::Tcp,
                },
            );
            let stage = matched;
            if matched == sequence.len() {
                matched = 0;
            }
            stage
        })
        .collect()
}

#[test]
fn the_knock_that_breaks_a_match_may_begin_the_next() {
    assert_eq!(stages(&[7, 8, 9], &[7, 8, 7, 8, 9]), [1, 2, 1, 2, 3]);
}

#[test]
fn a_repeated_first_step_keeps_the_longest_match() {
    assert_eq!(stages(&[7, 7, 8], &[7, 7, 7, 8]), [1, 2, 2, 3]);
}

#[test]
fn the_other_transport_is_another_step() {
    let udp = Step {
        port: 7,
        transport: Transport::Udp,
    };
    assert_eq!(sequence(&[7, 8]).advance(0, udp), 0);
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
