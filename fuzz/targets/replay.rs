//! Any bytes as a log: `replay` comes to its end, and what it opened it closed.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use logknock::calendar::Zone;
use logknock::config;
use logknock::dialect::{Format, Reader};
use logknock::engine::event::EventKind;
use logknock::engine::knock::KnockerPrefix;
use logknock::engine::reading::Expected;
use logknock::engine::time::Time;
use logknock::replay::{self, Input};

/// Two doors of few ports, so that chance finds the way through them.
const CONFIG: &str = r#"
[door.held]
sequence = [7000, "8000:udp"]
knock_timeout = "20s"
start_command = "/bin/open %IP%"
stop_command = "/bin/close %IP%"
[door.reopened]
sequence = [7000]
strict = false
cmd_timeout = "3s"
on_repeat = "reopen"
start_command = "/bin/open %IP%"
stop_command = "/bin/close %IP%"
"#;

/// Some day in 2026, as the last moment of a log.
const WRITTEN: Time = Time::from_secs(1_795_000_000);

pub(crate) fn run(data: &[u8]) {
    let doors = config::parse("logknock.toml", CONFIG)
        .unwrap_or_else(|errors| panic!("{errors}"))
        .doors;
    // As two files, to be merged, where there is a NUL.
    let logs = data.split(|&byte| byte == 0).take(2);
    let inputs = logs.map(|log| Input {
        content: Box::new(Cursor::new(log.to_vec())),
        written: WRITTEN,
        own: None,
    });
    let mut open: HashMap<(Arc<str>, std::net::IpAddr), bool> = HashMap::new();
    let mut opens = 0;
    let summary = replay::run(
        inputs.collect(),
        &Reader::new(Format::Kernel, Expected::AnyPrefix),
        doors,
        KnockerPrefix::default(),
        Zone::Local,
        &mut |shown| {
            let is_open = open.entry((shown.event.door, shown.event.src)).or_default();
            match shown.event.kind {
                EventKind::Open => {
                    assert!(!std::mem::replace(is_open, true), "opened twice");
                    opens += 1;
                }
                EventKind::Close => {
                    assert!(std::mem::replace(is_open, false), "closed twice");
                }
                EventKind::Refresh => assert!(*is_open, "refreshed while closed"),
                _ => {}
            }
            Ok(())
        },
    );
    let summary = summary.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(summary.opens, opens);
    assert!(open.values().all(|is_open| !is_open), "left open: {open:?}");
}
