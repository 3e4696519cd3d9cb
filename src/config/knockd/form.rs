//! Is a config knockd's or TOML?
//!
//! In: a file's name and text. Out: which. The name is asked first: `.toml` is TOML, and
//! `knockd….conf` is knockd's. Any other name says nothing; then a table `[door.NAME]` is TOML's, and
//! else one value that is written as only knockd writes it makes the file knockd's. A file that says
//! nothing of either is TOML, whose errors explain more.

use std::path::Path;

use super::Key;
use super::lines::{Line, lines};

/// Whether the file called `name` that says `text` is to be read as knockd reads it.
pub(in crate::config) fn is_knockd(name: &str, text: &str) -> bool {
    let name = Path::new(name);
    let ends = |end: &str| name.extension().is_some_and(|found| found == end);
    let stem = name.file_stem().unwrap_or_default().as_encoded_bytes();
    if ends("toml") {
        return false;
    }
    if ends("conf") && stem.starts_with(b"knockd") {
        return true;
    }
    let lines = lines(text);
    let toml = |line: &Line<'_>| match line {
        Line::Section(name) => {
            let word = name.text.trim_start_matches(['[', ' ']);
            word.starts_with("door.")
        }
        _ => false,
    };
    !lines.iter().any(toml) && lines.iter().any(is_knockds_way)
}

/// Whether `line` has a key of knockd's with a value that no TOML could have.
fn is_knockds_way(line: &Line<'_>) -> bool {
    let Line::Directive { key, value } = line else {
        return false;
    };
    let Some(key) = Key::of(key.text) else {
        return false;
    };
    let Some(value) = value else {
        return key == Key::UseSyslog;
    };
    let first = value.text.chars().next().unwrap_or(' ');
    match key {
        Key::Sequence => first.is_ascii_digit(),
        Key::TcpFlags => first.is_ascii_alphabetic() || first == '!',
        Key::LogFile | Key::PidFile | Key::OneTimeSequences => first == '/',
        Key::Interface => first.is_ascii_alphabetic(),
        Key::Target => first.is_ascii_hexdigit(),
        Key::SeqTimeout | Key::CmdTimeout | Key::UseSyslog => false,
        _ => first.is_ascii_alphanumeric() || "/{(".contains(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOCKD: &str = "[options]\n\tUseSyslog\n[a]\n\tsequence = 7001,8002\n";
    const TOML: &str = "[door.a]\nsequence = [7001, 8002]\nstart_command = \"x\"\n";

    #[test]
    fn the_name_decides_before_the_text() {
        assert!(is_knockd("/etc/knockd.conf", TOML));
        assert!(is_knockd("knockd-test.conf", ""));
        assert!(!is_knockd("x/knockd.toml", KNOCKD));
    }

    #[test]
    fn the_text_decides_where_the_name_does_not() {
        for text in [
            KNOCKD,
            "[log]\nSEQUENCE=7001:udp,8002\n",
            "[a]\nsequence = 7001\ncommand = /bin/x\n",
            "[options]\n logfile = /var/log/x\n",
        ] {
            assert!(is_knockd("/tmp/doors", text), "{text}");
        }
        for text in [
            TOML,
            "",
            "[log]\nprefix = \"x\"\n",
            "[door.a]\nsequence = 7001, 8002\n",
            " [ door.a ]\ntcpflags = syn\n",
            "[defaults]\nstart_command = \"x\"\nseq_timeout = 5\ntarget = \"192.0.2.1\"\n",
        ] {
            assert!(!is_knockd("/tmp/doors", text), "{text}");
        }
    }
}
