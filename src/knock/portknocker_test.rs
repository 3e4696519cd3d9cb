use super::*;

fn read(text: &str) -> Result<Settings, SettingsError> {
    parse(text, &Services::of("https 443/tcp\nhttps 443/udp\n"))
}

#[test]
fn both_published_forms_are_read() {
    let settings = read("192.0.2.1 22 1234 3000\n").unwrap();
    assert_eq!(settings.server, "192.0.2.1");
    assert_eq!(settings.step.port, 22);
    assert_eq!(settings.step.transport, Transport::Udp);
    assert_eq!(settings.counts.groups(), [1, 2, 3, 4]);
    assert_eq!(settings.window, Duration::from_secs(3));
    let long = read("192.0.2.1 22 1234 3000 1 00:00:5E:00:53:01");
    assert_eq!(long.unwrap(), settings);
}

#[test]
fn words_may_stand_on_lines_of_their_own() {
    let lines = read("\u{feff}192.0.2.1\r\n22\r\n1234\r\n3000\r\n").unwrap();
    assert_eq!(lines, read("192.0.2.1 22 1234 3000").unwrap());
}

#[test]
fn a_protocol_may_be_said() {
    let settings = read("home https:tcp 1234 3000").unwrap();
    assert_eq!(settings.step.transport, Transport::Tcp);
}

#[test]
fn what_is_wrong_is_named_and_not_shown() {
    for (text, expected) in [
        ("", "found 0 words"),
        ("home 22 1234", "found 3 words"),
        ("home 22 1234 3000 1", "found 5 words"),
        ("home 70001 7395 3000", "the port, second word: ports are"),
        ("home 22 73950 3000", "the sequence, third word: counts are"),
        ("home 22 7395 3s", "the window, fourth word: not a number"),
        ("home 22 7395 100", "the window, fourth word: a window is"),
    ] {
        let said = read(text).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
        assert!(!said.contains("7395") && !said.contains("70001"), "{said}");
    }
}
