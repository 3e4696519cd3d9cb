//! Which files are taken for a knockd.conf.

use super::*;

const KNOCKD: &str = "[options]\n\tUseSyslog\n[a]\n\tsequence = 7001,8002\n";
const TOML: &str = "[door.a]\nsequence = [7001, 8002]\nstart_command = \"x\"\n";

#[test]
fn the_name_decides_before_the_text() {
    assert!(is_knockd("/etc/knockd.conf", TOML));
    assert!(is_knockd("knockd-test.conf", ""));
    assert!(!is_knockd("x/knockd.toml", KNOCKD));
}

#[test]
fn the_text_decides_where_the_name_does_not() {
    for text in [
        KNOCKD,
        "[log]\nSEQUENCE=7001:udp,8002\n",
        "[a]\nsequence = 7001\ncommand = /bin/x\n",
        "[options]\n logfile = /var/log/x\n",
    ] {
        assert!(is_knockd("/tmp/doors", text), "{text}");
    }
    for text in [
        TOML,
        "",
        "[log]\nprefix = \"x\"\n",
        "[door.a]\nsequence = 7001, 8002\n",
        " [ door.a ]\ntcpflags = syn\n",
        "[defaults]\nstart_command = \"x\"\nseq_timeout = 5\ntarget = \"192.0.2.1\"\n",
    ] {
        assert!(!is_knockd("/tmp/doors", text), "{text}");
    }
}
