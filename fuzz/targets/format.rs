//! A first line as somebody's own regex, the rest as a line of that firewall.

use logknock::dialect::{Format, Pattern, Reader};
use logknock::engine::reading::Expected;

pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let (Some(regex), line) = (parts.next(), parts.next().unwrap_or_default()) else {
        return;
    };
    let Ok(text) = str::from_utf8(regex) else {
        return;
    };
    match text.parse::<Pattern>() {
        Ok(pattern) => {
            let begins = text.starts_with('^') || text.starts_with(r"\A");
            assert!(begins, "a regex that could begin anywhere");
            reads_whole_packets(pattern, line);
        }
        Err(error) => assert!(
            !error.to_string().contains("lk-4f9a1c7e"),
            "an error shows the secret"
        ),
    }
}

fn reads_whole_packets(pattern: Pattern, line: &[u8]) {
    let expected = Expected::Prefix(b"lk-4f9a1c7e: ".as_slice().into());
    let has_prefix = pattern.has_prefix();
    let reader = Reader::new(Format::Pattern(pattern), expected);
    let opened = reader.open(line);
    if let Ok(Some((_, packet))) = reader.read(&opened) {
        assert!(
            packet.headers.ports.is_some(),
            "a packet of one's own format has ports"
        );
        assert!(
            !has_prefix || packet.prefix == b"lk-4f9a1c7e: ",
            "another prefix"
        );
    }
}
