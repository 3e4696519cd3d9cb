use std::collections::BTreeSet;

use super::*;
use crate::firewall::Backend;
use crate::firewall::rules::Tool;

fn host(firewall: Tool, has_ipset: bool) -> Host {
    Host {
        firewall,
        has_ipset,
        ssh: BTreeSet::from([22, 2222]),
        has_sshd: true,
        taken: BTreeSet::new(),
        session: None,
        source: SourceSpec::Nflog(100),
        interfaces: Vec::new(),
        is_systemd: false,
    }
}

#[test]
fn what_is_written_is_a_configuration_without_a_warning_whatever_the_firewall() {
    for (firewall, has_ipset, backend) in [
        (Tool::Nft, true, Backend::Nft),
        (Tool::Iptables, true, Backend::Ipset),
        (Tool::Iptables, false, Backend::Iptables),
        (Tool::Firewalld, true, Backend::Nft),
        (Tool::Openwrt, false, Backend::Nft),
    ] {
        let host = host(firewall, has_ipset);
        let sequence = secret::sequence().unwrap();
        let text = configuration(&host, &secret::prefix().unwrap(), &sequence);
        let config = config::parse("x.toml", &text).unwrap();
        assert_eq!(config.warnings, []);
        assert_eq!(config.log.sources, std::slice::from_ref(&host.source));
        let written = config.firewall.unwrap();
        assert_eq!(written.backend, backend);
        assert_eq!(written.guarded().len(), 2);
        assert!(config.log.prefix.is_some_and(|prefix| prefix.is_secret()));
        let crate::engine::door::Rule::Sequence(rule) = &config.doors[0].rule else {
            panic!("no sequence")
        };
        assert_eq!(rule.sequence.steps(), sequence);
        // Its one comment with a key holds what may be written there.
        let text = text.replace("# always_allow", "always_allow");
        config::parse("x.toml", &text).unwrap();
    }
}

#[test]
fn a_file_that_is_there_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/logknock.toml");
    write(&path, "first").unwrap();
    let refused = write(&path, "second").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(path.metadata().unwrap().len(), 5);
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
