use super::*;

#[test]
fn the_port_of_a_session_is_the_one_that_its_client_came_to() {
    let way = way("2001:db8::7 50123 2001:db8::1 2222");
    assert_eq!(way, Some(("2001:db8::7".parse().unwrap(), 2222)));
    assert_eq!(super::way("192.0.2.7 50123"), None);
}

#[test]
fn sshd_says_all_its_ports() {
    let said = said_by_sshd("port 22\nport 2222\naddressfamily any\nportforwarding 1\n");
    assert_eq!(said, BTreeSet::from([22, 2222]));
}

#[test]
fn what_listens_on_the_loopback_interface_alone_is_known() {
    use std::net::{TcpListener, ToSocketAddrs as _};
    for (host, is) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("0.0.0.0", false),
        ("::", false),
    ] {
        let address = (host, 0).to_socket_addrs().unwrap().next().unwrap();
        let Ok(socket) = TcpListener::bind(address) else {
            continue;
        };
        let ours = socket.local_addr().unwrap().port();
        let table = listening_sockets();
        let mut all = table.lines().filter_map(listener);
        let mut is_found = |(address, port, _)| port == ours && is_loopback(address) == is;
        assert!(all.any(&mut is_found), "{host}\n{table}");
    }
}

#[test]
fn rules_of_docker_do_not_say_what_comes_in() {
    let docker = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n-A FORWARD -j DOCKER\nCOMMIT\n";
    assert!(!decides(docker));
    assert!(!decides("-A INPUT -j LOGKNOCK_GUARD\n"));
    assert!(decides(":INPUT DROP [0:0]\n"));
    assert!(decides(
        ":INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 25 -j DROP\n"
    ));
}
