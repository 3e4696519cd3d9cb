use super::*;

fn read(word: &str) -> Result<(u16, Transport), StepError> {
    let services = Services::of("ssh 22/tcp\n3com-tsmux 106/tcp\n");
    parse(word, Transport::Tcp, &services).map(|step| (step.port, step.transport))
}

#[test]
fn a_port_is_tcp_unless_said() {
    assert_eq!(read("7000"), Ok((7000, Transport::Tcp)));
    assert_eq!(read("8000:udp"), Ok((8000, Transport::Udp)));
    let udp = parse("9000", Transport::Udp, &Services::of(""));
    assert_eq!(udp.map(|step| step.transport), Ok(Transport::Udp));
}

#[test]
fn the_case_of_the_protocol_does_not_matter() {
    assert_eq!(read("8000:UDP"), Ok((8000, Transport::Udp)));
    assert_eq!(read("8000:Tcp"), Ok((8000, Transport::Tcp)));
}

#[test]
fn a_service_has_a_port_under_its_own_protocol_only() {
    assert_eq!(read("ssh"), Ok((22, Transport::Tcp)));
    assert_eq!(read("ssh:tcp"), Ok((22, Transport::Tcp)));
    assert_eq!(read("3com-tsmux"), Ok((106, Transport::Tcp)));
    assert_eq!(read("ssh:udp"), Err(StepError::Service(Transport::Udp)));
}

#[test]
fn every_port_and_no_other_number() {
    assert_eq!(read("1"), Ok((1, Transport::Tcp)));
    assert_eq!(read("65535"), Ok((65535, Transport::Tcp)));
    for word in [
        "0",
        "65536",
        "99999",
        "184467440737095516160",
        "-1",
        "+1",
        "7000-7005",
    ] {
        assert_eq!(read(word), Err(StepError::Port), "{word}");
    }
}

#[test]
fn an_unknown_protocol_is_not_tcp() {
    for word in ["8000:xyz", "8000:", "8000:udp:tcp", "8000: udp", "ssh:sctp"] {
        assert_eq!(read(word), Err(StepError::Protocol), "{word}");
    }
    for word in ["", ":udp", "nosuch", " 7000", "7000,8000"] {
        assert!(read(word).is_err(), "{word}");
    }
}
