//! Any text as a config: doors that can open, or mistakes that can be shown on a terminal.

use logknock::config::{self, Config, Errors, Severity};

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match config::parse("logknock.toml", &text) {
        Ok(config) => is_usable(&config),
        Err(errors) => is_presentable(&errors, text.lines().count()),
    }
}

fn is_usable(config: &Config) {
    assert!(!config.doors.is_empty());
    for door in &config.doors {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!((1..=64).contains(&door.name.len()) && door.name.bytes().all(valid));
        let opens = door.grant.open.v4.is_some() || door.grant.open.v6.is_some();
        assert!(opens, "a door that runs nothing");
    }
    let warning = |diagnostic: &config::Diagnostic| diagnostic.severity == Severity::Warning;
    assert!(config.warnings.iter().all(warning));
}

fn is_presentable(errors: &Errors, lines: usize) {
    let error = |diagnostic: &config::Diagnostic| diagnostic.severity == Severity::Error;
    assert!(
        errors.diagnostics.iter().any(error),
        "refused without a reason"
    );
    assert!(
        errors.diagnostics.len() <= 101,
        "{}",
        errors.diagnostics.len()
    );
    for diagnostic in &errors.diagnostics {
        let Some(place) = &diagnostic.place else {
            continue;
        };
        assert!((1..=lines.max(1) + 1).contains(&place.line), "{diagnostic}");
        let said = diagnostic.to_string();
        assert!(place.column >= 1 && said.contains('^'), "{said}");
    }
    let control = |character: char| character.is_control() && character != '\n';
    assert!(
        !errors.to_string().contains(control),
        "{:?}",
        errors.to_string()
    );
}
