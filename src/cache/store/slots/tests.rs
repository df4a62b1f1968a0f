use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cache::store::tests::{entry, key};

#[derive(Clone, Debug)]
enum Deed {
    Put(usize, usize),
    Use(usize, u64),
    Remove(usize),
    Shrink(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let which = || 0..12_usize;
    prop_oneof![
        4 => (which(), 0..3_000_usize).prop_map(|(at, bytes)| Deed::Put(at, bytes)),
        4 => (which(), 0..4_u64).prop_map(|(at, second)| Deed::Use(at, second)),
        1 => which().prop_map(Deed::Remove),
        1 => (0..40_000_u64).prop_map(Deed::Shrink),
    ]
}

/// The same as a list, the one used last in front: key, weight, second in which it came there.
#[derive(Default)]
struct Model(Vec<(usize, u64, u32)>);

impl Model {
    fn take(&mut self, which: usize) -> Option<(usize, u64, u32)> {
        let at = self.0.iter().position(|(is, _, _)| *is == which)?;
        Some(self.0.remove(at))
    }

    fn weight(&self) -> u64 {
        self.0.iter().map(|(_, weight, _)| weight).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is kept, what it weighs and what goes first is as in a list; and the index
    /// knows the same keys.
    #[test]
    fn slots_are_a_list_in_the_order_of_use(deeds in proptest::collection::vec(deed(), 1..80)) {
        let keys: Vec<Key> = (0..12).map(|number| key("a", &format!("/{number}"))).collect();
        let (mut slots, mut model) = (Slots::default(), Model::default());
        for deed in deeds {
            match deed {
                Deed::Put(which, bytes) => {
                    let one = entry(&keys[which], bytes);
                    let weight = one.weight_bytes() as u64;
                    let old = slots.put(&keys[which], Variants::from_elem(one, 1));
                    let before = model.take(which);
                    prop_assert_eq!(old.len(), usize::from(before.is_some()));
                    model.0.insert(0, (which, weight, before.map_or(0, |(_, _, second)| second)));
                }
                Deed::Use(which, after) => {
                    let now = Moment::ZERO + Duration::from_millis(after * 1_000 + 500);
                    let found = slots.look(&keys[which], now).map(|(variants, is_due)| {
                        assert!(variants.iter().all(|entry| entry.key() == &keys[which]));
                        is_due
                    });
                    let at = model.0.iter().position(|(is, _, _)| *is == which);
                    let is_due = at.map(|at| u64::from(model.0[at].2) != after);
                    prop_assert_eq!(found, is_due);
                    if is_due == Some(true) {
                        slots.touch(&keys[which], now);
                        let (_, weight, _) = model.take(which).unwrap();
                        model.0.insert(0, (which, weight, second(now)));
                    }
                }
                Deed::Remove(which) => {
                    let gone = slots.remove(&keys[which]);
                    prop_assert_eq!(gone.len(), usize::from(model.take(which).is_some()));
                }
                Deed::Shrink(max) => {
                    let gone: Vec<Key> =
                        slots.shrink(max).iter().map(|variants| variants[0].key().clone()).collect();
                    let mut expected = Vec::new();
                    while model.weight() > max {
                        expected.extend(model.0.pop().map(|(which, _, _)| keys[which].clone()));
                    }
                    prop_assert_eq!(gone, expected);
                }
            }
            prop_assert_eq!(slots.len(), model.0.len());
            prop_assert_eq!(slots.indexed(), model.0.len());
            prop_assert_eq!(slots.weight_bytes(), model.weight());
            for (which, key) in keys.iter().enumerate() {
                let is_there = model.0.iter().any(|(is, _, _)| *is == which);
                prop_assert_eq!(slots.variants(key).len(), usize::from(is_there));
            }
        }
    }
}
