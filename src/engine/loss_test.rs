use super::*;

#[test]
fn each_says_it_in_its_own_words() {
    for (line, lost) in [
        (
            "4,7,5000001,-;net_ratelimit: 12 callbacks suppressed",
            Some(12),
        ),
        (
            "Nov 20 10:00:00 gw kernel: [    5.000001] net_ratelimit: 12 callbacks suppressed",
            Some(12),
        ),
        (
            "Nov 20 10:00:00 gw systemd-journald[231]: Missed 12 kernel messages",
            Some(12),
        ),
        (
            "Nov 20 10:00:00 gw systemd-journald[231]: Suppressed 12 messages from rsyslog.service",
            Some(12),
        ),
        (
            "2026-11-20T10:00:00.000001+00:00 gw rsyslogd: imjournal: 12 messages lost due to rate-limiting (20000 allowed within 600 seconds)",
            Some(12),
        ),
        (
            "Nov 20 10:00:00 gw rsyslogd: imjournal: begin to drop messages due to rate-limiting",
            None,
        ),
        (
            "Nov 20 10:00:00 gw rsyslogd: imuxsock[pid: 4711]: begin to drop messages due to rate-limiting",
            None,
        ),
        (
            "Nov 20 10:00:00 gw rsyslogd: imuxsock lost 12 messages from pid 4711 due to rate-limiting",
            Some(12),
        ),
    ] {
        assert_eq!(read(line.as_bytes()), Some(Loss { count: lost }), "{line}");
    }
}

#[test]
fn claims_of_other_programs_do_not_count() {
    for line in [
        "Nov 20 10:00:00 gw sshd[1]: Missed 12 kernel messages",
        "Nov 20 10:00:00 gw sshd[1]: net_ratelimit: 12 callbacks suppressed",
        "Nov 20 10:00:00 gw kernel: Missed 12 kernel messages",
        "Nov 20 10:00:00 gw kernel: a b: 12 callbacks suppressed",
        "Nov 20 10:00:00 gw kernel: net_ratelimit: many callbacks suppressed",
        "12,7,5000001,-;net_ratelimit: 12 callbacks suppressed",
        "Nov 20 10:00:00 gw systemd-journald[231]: Missed all kernel messages",
        "Nov 20 10:00:00 gw rsyslogd: begin to sing due to rate-limiting",
        "",
    ] {
        assert_eq!(read(line.as_bytes()), None, "{line}");
    }
}
