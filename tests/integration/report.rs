//! `replay --report`: the page says what `replay --json` says, and a browser shows it without asking anybody.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use regex::Regex;
use serde_json::{Value, json};

use super::logknock::{Logknock, files};
use super::need;

/// The events of each address, as rows of the page's tables.
type Rows = BTreeMap<String, Vec<[String; 4]>>;

/// A replay of a log of `fixtures/logs` with its page: what `--json` said, the page, and how many files there were.
fn replayed(name: &str) -> (String, String, Vec<String>) {
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs");
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let logs = ["log.1", "log"].map(|end| logs.join(format!("{name}.{end}")));
    let logs = logs.iter().filter(|path| path.exists());
    let logs: Vec<_> = logs.map(|path| path.display().to_string()).collect();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_logknock"));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/logs/{name}.toml"));
    replay
        .args(["replay", "--json", "--config"])
        .arg(config)
        .arg("--report")
        .arg(&page);
    let output = replay.args(&logs).env("TZ", "UTC0").output().unwrap();
    assert!(output.status.success(), "{name}: {output:?}");
    let json = String::from_utf8(output.stdout).unwrap();
    (json, fs::read_to_string(page).unwrap(), logs)
}

/// What the rows of the page are to be.
fn expected(json: &str, files: &[String]) -> Rows {
    let mut rows = Rows::new();
    for event in json.lines() {
        let event: Value = serde_json::from_str(event).unwrap();
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let step = || format!("{}/{}", event["stage"], event["of"]);
        let what = match event["event"].as_str().unwrap() {
            "stage" => format!("stage {}", step()),
            "reset" => format!("reset at {} ({})", step(), text("reason")),
            "refused" => format!("refused ({})", text("reason")),
            other => other.to_owned(),
        };
        let file = files.iter().position(|file| *file == text("file"));
        let line = match (event["line"].as_u64(), file) {
            (Some(line), Some(file)) if files.len() > 1 => format!("{}:{line}", file + 1),
            (Some(line), _) => line.to_string(),
            (None, _) => String::new(),
        };
        let row = [text("time"), text("door"), what, line];
        rows.entry(text("src")).or_default().push(row);
    }
    rows
}

/// The rows that the page has.
fn shown(page: &str) -> Rows {
    let row = Regex::new(
        r#"<tr><th scope="row">(?:<time>(.*?)</time>)?</th><td>[^<]*</td><td>(.*?)</td><td><span class="[a-z_]+">(.*?)</span></td><td>([0-9:]*)</td></tr>"#,
    );
    let row = row.unwrap();
    let articles = page.split("<article ").skip(1);
    let rows = articles.map(|article| {
        let (_, src) = article.split_once("<h3>").unwrap();
        let (src, _) = src.split_once("</h3>").unwrap();
        let rows = row.captures_iter(article).map(|row| {
            let cell = |number| row.get(number).map_or("", |cell| cell.as_str()).to_owned();
            [1, 2, 3, 4].map(cell)
        });
        (src.to_owned(), rows.collect())
    });
    rows.collect()
}

#[test]
fn the_page_has_each_event_of_each_log_and_no_other() {
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs");
    let prefix = Regex::new("lk-[0-9a-f]+").unwrap();
    let mut compared = 0;
    for config in files(&logs, "toml") {
        let name = config.file_stem().unwrap().to_str().unwrap();
        let (json, page, files) = replayed(name);
        let expected = expected(&json, &files);
        compared += json.lines().count();
        assert_eq!(shown(&page), expected, "{name}");
        let text = fs::read_to_string(&config).unwrap();
        let prefix = prefix.find(&text).map(|prefix| prefix.as_str());
        assert!(prefix.is_none_or(|prefix| !page.contains(prefix)), "{name}");
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn the_page_can_be_read_aloud() {
    let (_, page, _) = replayed("two-doors-json");
    assert!(page.contains("<html lang=\"en\">") && page.contains("<title>Knocks in "));
    let count = |text: &str| page.matches(text).count();
    assert_eq!(count("<table>"), count("<caption>"));
    assert_eq!(count("<table>"), count("<thead><tr><th scope=\"col\">"));
    // The others are said beside them.
    assert_eq!(
        count("<svg"),
        count("role=\"img\" aria-label=\"Timeline") + count("aria-hidden=\"true\"")
    );
    assert_eq!(count("<h1>"), 1);
}

#[test]
fn a_page_takes_the_place_of_the_old_one_at_once_and_is_its_owners_alone() {
    let logknock = Logknock::new().door("").file("kern.log", "");
    logknock.write("page.html", "old");
    fs::set_permissions(
        logknock.path("page.html"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    logknock
        .run("replay --report page.html missing.log")
        .fails_with(69);
    assert_eq!(logknock.read("page.html"), "old");
    logknock
        .run("replay --report page.html kern.log")
        .succeeds()
        .prints_nothing();
    assert!(logknock.read("page.html").ends_with("</html>\n"));
    let mode = fs::metadata(logknock.path("page.html"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let left = fs::read_dir(logknock.path("")).unwrap().count();
    assert_eq!(left, 3, "the configuration, the log and the page");
    std::os::unix::fs::symlink("kern.log", logknock.path("link")).unwrap();
    for place in ["link", "/dev/full", "."] {
        let ended = logknock.run(&format!("replay --report {place} kern.log"));
        ended.fails_with(1).says(&format!(
            "logknock: {place}: is no regular file, and is not replaced\n"
        ));
    }
    logknock
        .run("replay --report nowhere/page.html kern.log")
        .fails_with(1);
}

#[test]
fn lost_messages_are_reported() {
    let lost = "2026-11-20T10:00:00+00:00 gw systemd-journald[231]: Missed 12 kernel messages\n\
                2026-11-20T10:00:01+00:00 gw kernel: net_ratelimit: 3 callbacks suppressed\n";
    let logknock = Logknock::new().door("").file("kern.log", lost);
    logknock
        .run("replay --report page.html kern.log")
        .succeeds();
    let page = logknock.read("page.html");
    assert!(
        page.contains("Times that the log says so: 2; messages, at least: 15."),
        "{page}"
    );
}

// ── in a browser ──

/// A headless Chromium with a page, driven over `WebDriver`.
struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(page: &Path) -> Self {
        let mut driver = Command::new("chromedriver");
        let driver = driver
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut driver = driver.spawn().unwrap();
        let said = BufReader::new(driver.stdout.take().unwrap());
        let port = said.lines().find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let profile = tempfile::tempdir().unwrap();
        let profile_option = format!("--user-data-dir={}", profile.path().display());
        let options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &profile_option,
        ];
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{}/session", port.unwrap()),
            _profile: profile,
        };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": options},
            "goog:loggingPrefs": {"performance": "ALL"},
        }}});
        let session = browser.ask("", &wanted);
        let id = session["sessionId"].as_str();
        let id = id.unwrap_or_else(|| panic!("no session: {session}"));
        browser.session = format!("{}/{id}", browser.session);
        let url = format!("file://{}", page.display());
        browser.ask("/url", &json!({"url": url}));
        browser
    }

    fn ask(&self, what: &str, body: &Value) -> Value {
        let mut curl = Command::new("curl");
        let curl = curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--noproxy",
            "*",
        ]);
        let curl = curl.args([
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            "@-",
        ]);
        let curl = curl.arg(format!("{}{what}", self.session));
        let mut curl = curl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        write!(curl.stdin.take().unwrap(), "{body}").unwrap();
        let answer = curl.wait_with_output().unwrap().stdout;
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["value"].take()
    }

    /// What a script in the page returns; it may be a promise.
    fn runs(&self, script: &str) -> Value {
        let body = json!({"script": format!("return (async () => {{ {script} }})()"), "args": []});
        self.ask("/execute/sync", &body)
    }

    fn press(&self, key: char) {
        let actions = ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key}));
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.ask("/actions", &json!({"actions": [keyboard]}));
    }

    fn emulate(&self, command: &str, parameters: &Value) {
        self.ask(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        );
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its browser ends with the session.
        let _ = Command::new("curl")
            .args([
                "--silent",
                "--max-time",
                "10",
                "--noproxy",
                "*",
                "--request",
                "DELETE",
                &self.session,
            ])
            .stdout(Stdio::null())
            .status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// What can be done in the page, in the order of the page.
const STOPS: &str = "const name = e => e.tagName + ' ' + (e.ariaLabel ?? e.textContent.trim());";

#[test]
fn a_browser_shows_the_page_reaches_all_of_it_by_keyboard_and_asks_nobody() {
    if !need::program("chromedriver") || !need::program("curl") {
        return;
    }
    let (json, page, files) = replayed("scan-with-one-knocker");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    fs::write(&path, &page).unwrap();
    let browser = Browser::open(&path);

    // Event for event, as it stands in the browser's own tree.
    let rows = browser.runs(
        "return Object.fromEntries([...document.querySelectorAll('article')].map(a => [a.querySelector('h3').textContent,
            [...a.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent)).map(([t, , d, e, l]) => [t, d, e, l])]))",
    );
    let rows: Rows = serde_json::from_value(rows).unwrap();
    assert_eq!(rows, expected(&json, &files));

    // Each place where something can be done is reached in order, and Enter does it.
    let stops = browser.runs(&format!(
        "{STOPS} return [...document.querySelectorAll('a, summary, [tabindex=\"0\"]')].filter(e => e.checkVisibility()).map(name)"
    ));
    let stops: Vec<String> = serde_json::from_value(stops).unwrap();
    assert!(stops.len() > 8, "{stops:?}");
    let reached = stops.iter().map(|_| {
        browser.press(TAB);
        let at = browser.runs(&format!("{STOPS} return name(document.activeElement)"));
        at.as_str().unwrap().to_owned()
    });
    let reached: Vec<_> = reached.collect();
    assert_eq!(reached, stops);
    browser.runs("document.querySelector('summary').focus()");
    browser.press(ENTER);
    assert_eq!(
        browser.runs("return document.querySelector('details').open"),
        true
    );
    browser.runs("document.querySelector('td a, th a').focus()");
    browser.press(ENTER);
    assert_eq!(
        browser.runs("return document.activeElement.tagName"),
        "ARTICLE"
    );

    // Light and dark, narrow, on paper.
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let scheme = |value: &str| {
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        browser.emulate("Emulation.setEmulatedMedia", &json!({"features": features}));
        browser.runs(ground)
    };
    assert_eq!(scheme("light"), "rgb(255, 255, 255)");
    assert_eq!(scheme("dark"), "rgb(13, 17, 23)");
    let narrow = json!({"width": 320, "height": 600, "deviceScaleFactor": 1, "mobile": true});
    browser.emulate("Emulation.setDeviceMetricsOverride", &narrow);
    assert_eq!(
        browser.runs("return document.documentElement.scrollWidth"),
        320
    );
    browser.emulate("Emulation.setEmulatedMedia", &json!({"media": "print"}));
    let printed = "document.querySelectorAll('details').forEach(d => d.open = false);
        return [...document.querySelectorAll('details td')].every(cell => cell.checkVisibility({contentVisibilityAuto: true}))";
    assert_eq!(browser.runs(printed), true);

    // It has asked for nothing but itself, and if somebody got something into it, that could not ask either.
    let log = browser.ask("/se/log", &json!({"type": "performance"}));
    let log = log.as_array().unwrap().iter();
    let messages = log.map(|entry| {
        let message = entry["message"].as_str().unwrap();
        serde_json::from_str::<Value>(message).unwrap()["message"].take()
    });
    let asked = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
    let asked = asked.map(|mut message| message["params"]["request"]["url"].take());
    // Before it is the browser's own first page.
    let asked = asked.skip_while(|url| {
        url.as_str()
            .is_some_and(|url| url.starts_with("chrome:") || url.starts_with("data:"))
    });
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [format!("file://{}", path.display())]
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let refused = browser.runs(&format!(
        "let refused = 0; document.addEventListener('securitypolicyviolation', () => refused++);
         const html = '<img src=\"{place}/a\"><link rel=stylesheet href=\"{place}/b\">';
         document.body.insertAdjacentHTML('beforeend', html); await fetch('{place}/c').catch(() => 0);
         while (refused < 3) await new Promise(done => setTimeout(done, 10)); return refused"
    ));
    assert_eq!(refused, 3);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}
