//! What a test needs from its surroundings. Where it is missing the test says so and is skipped;
//! with `LOGKNOCK_REQUIRE=1` it fails instead, so that a skip never passes unseen.

use std::process::{Command, Stdio};

/// Whether `program` can be started; says what is skipped if not.
pub(crate) fn program(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    met(found, program)
}

/// Whether the need called `name` is met; says what is skipped if not.
pub(crate) fn met(is_met: bool, name: &str) -> bool {
    if !is_met {
        let required = std::env::var_os("LOGKNOCK_REQUIRE").is_some_and(|value| value == "1");
        assert!(!required, "needs {name}");
        eprintln!("skipped: needs {name}");
    }
    is_met
}
