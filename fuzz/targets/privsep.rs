//! Any bytes as a message between monitor and detector: none, or one that is read again as it was said.

use logknock::privsep::{ToDetector, ToMonitor};

pub(crate) fn run(data: &[u8]) {
    if let Some(message) = ToMonitor::decode(data) {
        let again = message.encode().unwrap_or_default();
        assert_eq!(ToMonitor::decode(&again), Some(message));
    }
    if let Some(message) = ToDetector::decode(data) {
        // Escapes may make it longer than what was read.
        if let Some(again) = message.encode() {
            assert_eq!(ToDetector::decode(&again), Some(message));
        }
    }
}
