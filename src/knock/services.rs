//! Names of ports, from `/etc/services`.
//!
//! In: its lines, `name port/protocol aliases… # comment`. Out: a port. The file is read when the
//! first name is asked for; where it is missing, no name has a port. Directory services (NIS, LDAP)
//! are not asked.
#![expect(
    clippy::disallowed_types,
    reason = "the names of ports are in a file of the system"
)]

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};

use crate::engine::sequence::Transport;

const PATH: &str = "/etc/services";

/// The file is some 20 kB; nobody needs more than this.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The names of ports.
#[derive(Debug, Default)]
pub struct Services {
    text: OnceCell<String>,
}

impl Services {
    /// Those of a file with this text.
    pub fn of(text: &str) -> Self {
        Self {
            text: OnceCell::from(text.to_owned()),
        }
    }

    /// The port of the service that has this name or alias.
    pub fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        let text = self.text.get_or_init(|| read().unwrap_or_default());
        text.lines().find_map(|line| port_in(line, name, transport))
    }
}

fn port_in(line: &str, name: &str, transport: Transport) -> Option<u16> {
    let entry = line.split('#').next()?;
    let mut words = entry.split_ascii_whitespace();
    let (official, port) = (words.next()?, words.next()?);
    let (port, protocol) = port.split_once('/')?;
    let is_named = official == name || words.any(|alias| alias == name);
    if !is_named || protocol != transport.as_str() {
        return None;
    }
    port.parse().ok().filter(|port| *port > 0)
}

fn read() -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(PATH)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
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
}
