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
        assert!(
            place.column >= 1 && !place.excerpt.caret.is_empty(),
            "{said}"
        );
        assert!(place.excerpt.text.chars().count() <= 200, "{said}");
        let line = place.excerpt.text.trim_start().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("sequence") {
            assert!(!value.contains(|c: char| c.is_ascii_digit()), "{said}");
        }
    }
}
