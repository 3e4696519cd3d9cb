use super::*;

const TEXT: &str = "\
# services
ssh\t\t22/tcp\t\t\t\t# SSH Remote Login Protocol
discard\t\t9/tcp\t\tsink null
discard\t\t9/udp\t\tsink null
syslog 514/udp
hidden # 99/tcp
zero 0/tcp
huge 70000/tcp
odd
worse 12
";

#[test]
fn a_name_and_its_aliases_have_a_port_for_each_protocol() {
    let services = Services::of(TEXT);
    assert_eq!(services.port("ssh", Transport::Tcp), Some(22));
    assert_eq!(services.port("ssh", Transport::Udp), None);
    assert_eq!(services.port("null", Transport::Udp), Some(9));
    assert_eq!(services.port("syslog", Transport::Udp), Some(514));
}

#[test]
fn comments_and_broken_lines_name_nothing() {
    let services = Services::of(TEXT);
    for name in [
        "SSH", "Remote", "hidden", "zero", "huge", "odd", "worse", "#", "",
    ] {
        assert_eq!(services.port(name, Transport::Tcp), None, "{name:?}");
    }
}
