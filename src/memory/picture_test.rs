use strum::VariantArray;

use super::*;
use crate::engine::event::{RefusedReason, ResetReason};

#[test]
fn each_reason_has_its_sentence_and_its_advice() {
    for reason in ResetReason::VARIANTS.iter().map(|reason| reason.as_str()) {
        assert!(words("advice", reason).is_some(), "advice {reason}");
        // The sentence of this one names the port.
        let is_told = reason == "wrong_port" || words("reset", reason).is_some();
        assert!(is_told, "reset {reason}");
    }
    for reason in RefusedReason::VARIANTS.iter().map(|reason| reason.as_str()) {
        assert!(words("refused", reason).is_some(), "refused {reason}");
        assert!(words("advice", reason).is_some(), "advice {reason}");
    }
}
