//! Runs one test again inside namespaces of its own, where it may lower limits and mount.

use std::process::Command;

use super::need;

/// Set inside.
const INSIDE: &str = "LOGKNOCK_INSIDE_NAMESPACE";

/// Whether this process is inside already. If not, runs the test called `name` there, after the
/// shell commands in `prepare`, and fails unless it passes; or says what it needs.
pub(crate) fn is_inside(name: &str, prepare: &str) -> bool {
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == name) {
        return true;
    }
    let unshare = |script: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, name)
            .output()
    };
    let possible = unshare(prepare).is_ok_and(|output| output.status.success());
    if need::met(possible, "user namespaces in which to prepare") {
        let output = unshare(&format!("{prepare} && exec \"$0\" \"$@\"")).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }
    false
}
