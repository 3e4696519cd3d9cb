//! Any bytes as a knockd.conf: refused with mistakes that can be shown, or doors that mean the same
//! when they are converted. No port of a sequence is told.

use logknock::config::{self, Diagnostic};
use logknock::engine::door::Rule;

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let as_it_is = config::parse("knockd.conf", &text);
    let (toml, warnings) = match config::convert("knockd.conf", data, None) {
        Ok(converted) => converted,
        Err(errors) => {
            assert!(!errors.diagnostics.is_empty(), "refused without a reason");
            is_presentable(&errors.diagnostics, &text);
            return;
        }
    };
    is_presentable(&warnings, &text);
    let converted =
        config::parse("x.toml", &toml).unwrap_or_else(|errors| panic!("{errors}\n{toml}"));
    let as_it_is = as_it_is.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(as_it_is.doors, converted.doors, "{toml}");
    assert_eq!(as_it_is.daemon, converted.daemon, "{toml}");
    for door in &as_it_is.doors {
        assert!(matches!(door.rule, Rule::Sequence(_) | Rule::OneTime(_)));
        assert!(door.grant.open.v4.is_some() || door.grant.open.v6.is_some());
    }
}

fn is_presentable(diagnostics: &[Diagnostic], text: &str) {
    assert!(diagnostics.len() <= 101, "{}", diagnostics.len());
    let lines = text.lines().count();
    for diagnostic in diagnostics {
        let said = diagnostic.to_string();
        let control = |character: char| character.is_control() && character != '\n';
        assert!(!said.contains(control), "{said:?}");
        let Some(place) = &diagnostic.place else {
            continue;
        };
        assert!((1..=lines.max(1) + 1).contains(&place.line), "{said}");
        assert!(place.column >= 1 && said.contains('^'), "{said}");
        let quoted = said.lines().filter_map(|line| line.split_once("| "));
        for (key, value) in quoted.filter_map(|(_, line)| line.split_once('=')) {
            let is_sequence = key.trim().to_ascii_lowercase().starts_with("sequence");
            let is_digit = |c: char| c.is_ascii_digit();
            assert!(!is_sequence || !value.contains(is_digit), "{said}");
        }
    }
}
