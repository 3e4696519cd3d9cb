use super::*;

#[test]
fn every_reason_has_its_own_counter_and_word() {
    let mut tally = Tally::default();
    for &reason in Reason::ALL {
        tally.add(reason);
    }
    assert!(
        tally
            .iter()
            .map(|(_, count)| count)
            .eq([1; Reason::ALL.len()])
    );
    let words: std::collections::HashSet<_> =
        Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
}
