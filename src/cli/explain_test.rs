#![expect(
    clippy::disallowed_methods,
    reason = "an arrangement of files in a directory of its own"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

const KNOCKER: &str = "203.0.113.7";
/// Ports and prefix of every fixture.
const SECRETS: [&str; 4] = ["7101", "8202", "9303", "lk-4f9a"];

/// A fixture: the text before its first `---`, its configuration, its log or the daemon's story, its picture.
fn story(text: &str) -> Story {
    let parts: Vec<_> = text.split("\n---\n").collect();
    let [config, log, ..] = parts[..] else {
        panic!("no line of ---");
    };
    if log.starts_with('{') {
        return serde_json::from_str(log).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), format!("{text}\n")).unwrap();
        std::fs::set_permissions(path(name), Permissions::from_mode(0o600)).unwrap();
    };
    write(
        "logknock.toml",
        &config.replace("@DIR@", dir.path().to_str().unwrap()),
    );
    write("kern.log", log);
    write("codes", "7101,8202,9303\n7101,8202,9304");
    let global = Global {
        config: path("logknock.toml"),
        state_dir: path("state"),
        control: None,
        prefix: None,
        prefix_file: None,
        accept_forgeable: true,
        json: false,
    };
    let drawn = from_logs(KNOCKER.parse().unwrap(), &[path("kern.log")], &global);
    drawn.unwrap_or_else(|failure| panic!("{failure:?}"))
}

fn drawn(story: &Story, width: usize) -> String {
    let mut out = Vec::new();
    draw(&mut out, story, width, Zone::Fixed(time::UtcOffset::UTC)).unwrap();
    anstream::adapter::strip_str(str::from_utf8(&out).unwrap()).to_string()
}

fn fixtures() -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/explain");
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).unwrap());
    paths.into_iter().map(read).collect()
}

#[test]
fn each_failure_is_drawn_as_its_fixture_says() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 12, "the fixtures are missing");
    let mut wrong = Vec::new();
    for (path, text) in &fixtures {
        let drawn = drawn(&story(text), 80);
        let (given, expected) = text.rsplit_once("\n---\n").unwrap();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, format!("{given}\n---\n{drawn}")).unwrap();
        } else if drawn != expected {
            wrong.push(format!("{}:\n{drawn}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_picture_keeps_to_its_width_and_shows_no_secret() {
    for (path, text) in fixtures() {
        let story = story(&text);
        for width in [80, 81, 120, 200] {
            let drawn = drawn(&story, width);
            let longest = drawn.lines().map(|line| line.chars().count()).max();
            assert!(
                longest <= Some(width),
                "{}: {width}\n{drawn}",
                path.display()
            );
            for secret in SECRETS {
                assert!(!drawn.contains(secret), "{}\n{drawn}", path.display());
            }
        }
    }
}
