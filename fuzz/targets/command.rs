//! Any words as a command template: placeholders become values, once, and nothing else changes.
//!
//! The words are separated by newlines. What must come out is worked out again, character by
//! character; the door is called `%IP%` to tempt a second expansion.

use std::net::IpAddr;
use std::time::Duration;

use logknock::engine::command::{Facts, Invocation, Placeholder, Template};
use logknock::engine::sequence::{Step, Transport};

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words: Vec<&str> = text.split('\n').collect();
    for src in [
        IpAddr::from([192, 0, 2, 7]),
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7]),
    ] {
        let facts = facts(src);
        if let Ok(template) = Template::from_words(&words) {
            let Invocation { argv, env, .. } = template.expand(&facts);
            let wanted: Vec<_> = words.iter().map(|word| expanded(word, &facts)).collect();
            assert_eq!(argv, wanted);
            assert_eq!(env.len(), Placeholder::ALL.len());
            assert!(!argv.iter().any(|word| word.contains('\0')));
        }
        if let Ok(template) = Template::from_shell(&text) {
            let script = text.replace("%IP%", &src.to_string());
            assert_eq!(template.expand(&facts).argv, ["/bin/sh", "-c", &script]);
        }
    }
}

fn facts(src: IpAddr) -> Facts {
    Facts {
        src,
        dst: IpAddr::from([198, 51, 100, 1]),
        step: Step {
            port: 9000,
            transport: Transport::Udp,
        },
        interface: "eth0; reboot".into(),
        door: "%IP%".into(),
        hold: Some(Duration::from_millis(1500)),
    }
}

/// `word` with every placeholder's value in its place.
fn expanded(word: &str, facts: &Facts) -> String {
    let values = [
        ("%IP%", facts.src.to_string()),
        ("%DOOR%", facts.door.to_string()),
        ("%PORT%", "9000".to_owned()),
        ("%PROTO%", "udp".to_owned()),
        (
            "%FAMILY%",
            if facts.src.is_ipv4() { "4" } else { "6" }.to_owned(),
        ),
        ("%TIMEOUT%", "2".to_owned()),
        ("%DST%", facts.dst.to_string()),
        ("%IN%", facts.interface.to_string()),
    ];
    let mut out = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let found = values.iter().find(|(name, _)| rest.starts_with(name));
        let (name, value) = match found {
            Some((name, value)) => (name.len(), value.as_str()),
            None => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        out.push_str(value);
        rest = &rest[name..];
    }
    out
}
