use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn it_may_have_every_one_of_the_last(
        room in 1_usize..40,
        all in prop::collection::vec(any::<u64>(), 0..200),
    ) {
        let mut filter = BloomFilter::new(room);
        for (place, &identity) in all.iter().enumerate() {
            filter.add(identity);
            let last = all.get(place.saturating_sub(room - 1)..=place).unwrap_or_default();
            prop_assert!(last.iter().all(|&identity| filter.may_have(identity)));
        }
    }
}

#[test]
fn it_has_few_of_the_others() {
    let mut filter = BloomFilter::new(1000);
    let identity = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..5_500).for_each(|number| filter.add(identity(number)));
    let others = (1_000_000..1_010_000).filter(|&number| filter.may_have(identity(number)));
    assert!(others.count() < 2_500, "at most one in four");
    assert!(
        !filter.may_have(identity(1)),
        "what is long ago is forgotten"
    );
}
