use super::*;
use crate::config;

fn said(kind: EventKind) -> Vec<String> {
    let text = "[S]\nsequence = 7001,8002\ncommand = /x -s %IP% %PORT%\nstop_command = /y\ncommand_6 =\ntcpflags = syn\n";
    let config = config::parse("knockd.conf", text).unwrap();
    let event = Event {
        at: Time::default(),
        door: "S".into(),
        src: IpAddr::from([192, 0, 2, 7]),
        kind,
        whence: None,
    };
    lines(&event, &config.doors)
}

#[test]
fn events_are_logged_in_knockds_words() {
    let reset = |reason| EventKind::Reset {
        stage: 1,
        of: 2,
        reason,
    };
    for (kind, expected) in [
        (
            EventKind::Stage { stage: 1, of: 2 },
            "192.0.2.7: S: Stage 1",
        ),
        (
            EventKind::Open,
            "192.0.2.7: S: OPEN SESAME|S: running command: /x -s 192.0.2.7 %PORT%",
        ),
        (EventKind::Refresh, "192.0.2.7: S: OPEN SESAME"),
        (
            EventKind::Close,
            "192.0.2.7: S: command timeout|S: running command: /y",
        ),
        (
            reset(ResetReason::Timeout),
            "192.0.2.7: S: sequence timeout (stage 1)",
        ),
        (reset(ResetReason::WrongPort), ""),
        (EventKind::LockedOut, ""),
    ] {
        assert_eq!(said(kind).join("|"), expected, "{kind:?}");
    }
}

#[test]
fn no_port_is_shown_where_a_command_has_it() {
    let text =
        "[door.S]\nsequence = [7001, 8002]\nstart_command = [\"/x\", \"%PORT%\", \"%IP%\"]\n";
    let config = config::parse("x.toml", text).unwrap();
    let src = IpAddr::from([192, 0, 2, 7]);
    let command = config.doors[0].grant.open.of(src).unwrap();
    assert_eq!(command.shown_to(src), "/x %PORT% 192.0.2.7");
}
