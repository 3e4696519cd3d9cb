//! `logknock rules --load`, `--try`, `--confirm`, `--install` and `--remove`: loads, tries, keeps and removes the
//! printed rules.
//!
//! In: the text of the rules and what loads it. Out: rules in the kernel, with what is open in them; a unit and an
//! include that load them again; or all of that gone. A trial is undone by a process outside our session: systemd's
//! timer, or else a process of ours. It acts only if its file still exists, so one `unlink` confirms the rules. Rules
//! that are loaded for good into our nft table are also kept in a file, for `heal`. A trial or a removal leaves no
//! file.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "writes the unit, the include and what undoes a trial, and waits for its end"
)]

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::exit::{Code, Failure, tell};
use super::settings::Global;
use super::{ask, tool};
use crate::config::Config;
use crate::firewall::OWN_TABLES;
use crate::firewall::kernel::{Form, Knocker};
use crate::firewall::rules::{Rules, Tool};
use crate::protocol::{Reply, Request};
use crate::rights::quoted;

/// What undoes a trial, while there is one, and the table that it tries.
const UNDO: &str = "/run/logknock-rules/undo";
const TRIED: &str = "/run/logknock-rules/tried.nft";
/// The table that was loaded last, in the state directory.
const LOADED: &str = "loaded.nft";
/// The unit, and the timer of a trial, as systemd names them.
const UNIT: &str = "logknock-rules.service";
const TRIAL: &str = "logknock-rules-trial";
/// Where an administrator's units are.
const UNIT_FILE: &str = "/etc/systemd/system/logknock-rules.service";
const UNIT_TEXT: &str = include_str!("../../packaging/systemd/logknock-rules.service");
/// What the unit runs as packaged.
const UNIT_COMMAND: &str = "/usr/bin/logknock rules --load";
/// What Debian's nftables.service loads, and the rules that it includes.
const NFTABLES: &str = "/etc/nftables.conf";
const INCLUDED: &str = "/etc/logknock/rules.nft";
const INCLUDE: &str = "include \"/etc/logknock/rules.nft\"";

/// Where netfilter-persistent keeps the rules of a boot.
pub(super) const SAVED: &str = "/etc/iptables";

/// Rules to load.
pub(super) struct Text {
    /// What `--for` calls their tool.
    pub(super) name: &'static str,
    /// The program that reads them, and its arguments.
    pub(super) reader: &'static [&'static str],
    pub(super) load: String,
    pub(super) remove: String,
    /// Our nft table, if that is part of them.
    pub(super) table: Option<String>,
}

/// The table that was loaded last. While this is held, nobody else loads or removes rules.
pub(super) struct Loaded {
    text: String,
    path: PathBuf,
    _lock: File,
}

impl Loaded {
    /// Reads it, if rules were loaded for good and not removed since.
    pub(super) fn read(state_dir: &Path) -> Option<Self> {
        let path = state_dir.join(LOADED);
        let mut file = File::open(&path).ok()?;
        flock(&file, FlockOperation::LockExclusive).ok()?;
        // The last holder of the lock may have removed it.
        (file.metadata().ok()?.nlink() > 0).then_some(())?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        Some(Self {
            text,
            path,
            _lock: file,
        })
    }

    /// Nothing is loaded again from now on. On a read-only disk it may be, which keeps no rule from coming or going.
    fn forget(state_dir: &Path) -> Option<Self> {
        let loaded = Self::read(state_dir)?;
        if let Err(error) = fs::remove_file(&loaded.path) {
            let path = loaded.path.display();
            tell(&format!(
                "warning: heal may load what is kept in {path}: {error}"
            ));
        }
        Some(loaded)
    }

    /// Loads it again, with what is open.
    pub(super) fn load_again(&self, config: &Config, global: &Global) -> Result<(), String> {
        tool::run("nft", &["-f", "-"], &self.text)?;
        put_back(config, global);
        Ok(())
    }
}

/// Keeps a table for `heal`. The rules are in the kernel, so a missing state directory is not a failure.
fn keep(table: Option<&String>, state_dir: &Path) {
    let Some(table) = table else { return };
    if let Err(error) = write_private(&state_dir.join(LOADED), table) {
        let path = state_dir.display();
        let why = format!("warning: heal cannot restore these rules: {path}: {error}");
        tell(&why);
    }
}

impl Text {
    fn is_nft(&self) -> bool {
        self.reader == ["nft", "-f", "-"]
    }

    fn feed(&self, text: &str) -> Result<(), Failure> {
        feed(self.reader, text)
    }
}

fn run(reader: &[&str], text: &str) -> Result<(), String> {
    let (program, arguments) = reader.split_first().unwrap_or((&"sh", &[]));
    tool::run(program, arguments, text)
}

fn feed(reader: &[&str], text: &str) -> Result<(), Failure> {
    run(reader, text)
        .map_err(|error| Failure::new(Code::Failed, format!("the rules are not loaded: {error}")))
}

/// Loads them for good, and what is open with them.
pub(super) fn load(text: &Text, config: &Config, global: &Global) -> Result<(), Failure> {
    let held = Loaded::forget(&global.state_dir);
    let done = load_now(text, config, global);
    let kept = match done {
        Ok(()) => text.table.as_ref(),
        Err(_) => held.as_ref().map(|held| &held.text),
    };
    keep(kept, &global.state_dir);
    done
}

fn load_now(text: &Text, config: &Config, global: &Global) -> Result<(), Failure> {
    text.feed(&text.load)?;
    if text.load.contains(Rules::UNTIMED) {
        // A file that the system loads at boot may have kept what was open when it was written.
        feed(&["sh"], Rules::CLOSE)?;
    }
    put_back(config, global);
    Ok(())
}

/// Has the daemon open again what it holds open: the rules may have been taken away with it. That is no failure
/// where no daemon runs. Only the daemon can do it in turn with the closes.
fn put_back(config: &Config, global: &Global) {
    if config.firewall.is_some()
        && let Ok(Reply::Failed { message }) = ask::ask(global, &Request::PutBack)
    {
        tell(&message);
    }
}

/// Loads them for `within`, unless they are confirmed.
pub(super) fn on_trial(
    text: &Text,
    within: Duration,
    config: &Config,
    global: &Global,
) -> Result<(), Failure> {
    if Path::new(UNDO).exists() {
        let message =
            "rules are on trial already\nkeep them with 'logknock rules --confirm', or wait";
        return Err(Failure::new(Code::Busy, message));
    }
    let held = Loaded::forget(&global.state_dir);
    let undo = what_undoes(text, held.as_ref());
    write_private(Path::new(UNDO), &undo)?;
    if let Some(table) = &text.table {
        write_private(Path::new(TRIED), table)?;
    }
    let begun = start_timer(within).and_then(|()| load_now(text, config, global));
    if begun.is_err() {
        let _ = end_trial();
        // It keeps again what was kept.
        let _ = feed(&["sh"], &undo);
        return begun;
    }
    let seconds = within.as_secs();
    say(&format!(
        "The rules are loaded. In {seconds} s the previous state is restored.\n\
         Knock from another host now. If you get in:  logknock rules --confirm"
    ))
}

/// Keeps what is on trial.
pub(super) fn confirm(global: &Global) -> Result<(), Failure> {
    let table = fs::read_to_string(TRIED).ok();
    end_trial().map_err(|_| Failure::new(Code::Failed, "no rules are on trial"))?;
    keep(table.as_ref(), &global.state_dir);
    say("The rules stay. To keep them over a reboot:  logknock rules --install")
}

/// Nothing is undone any more; an error where there is no trial.
fn end_trial() -> io::Result<()> {
    let _ = fs::remove_file(TRIED);
    fs::remove_file(UNDO)?;
    if is_systemd() {
        let _ = tool::run("systemctl", &["stop", &format!("{TRIAL}.timer")], "");
    }
    Ok(())
}

/// A script for `sh` that puts back what is there now, and what was kept of it.
fn what_undoes(text: &Text, kept: Option<&Loaded>) -> String {
    let mut before = String::new();
    for table in OWN_TABLES {
        let words = format!("list table {table}");
        if let Some(listed) = tool::said("nft", &words.split(' ').collect::<Vec<_>>()) {
            before += &here("nft -f -", &without_rates(&listed));
        }
    }
    if let Some(sets) = tool::said("ipset", &["save"]) {
        let is_ours = |line: &str| {
            let set = line.split(' ').nth(1);
            set.is_some_and(|set| set.starts_with("logknock"))
        };
        before += &here("ipset -exist restore", &lines(&sets, is_ours));
    }
    for family in ["iptables", "ip6tables"] {
        if let Some(saved) = tool::said(&format!("{family}-save"), &[])
            && saved.contains("LOGKNOCK")
        {
            before += &here(&format!("{family}-restore -n -w 5"), &own_lines(&saved));
        }
    }
    let script = |text: &str| format!("(\n{text}\n)\n"); // which may end itself
    let tried = if text.is_nft() {
        here("nft -f -", &text.remove)
    } else {
        script(&text.remove)
    };
    let undo = if before.is_empty() || text.name == "openwrt" {
        tried
    } else {
        // All of ours goes before it comes back. Settings that were given to ufw and firewalld before stay in place.
        let nft = Rules::remove(Tool::Nft) + &Knocker::remove(Form::Nft);
        let chains = [Rules::remove(Tool::Iptables), Knocker::remove(Form::Recent)];
        here("nft -f -", &nft) + &chains.map(|text| script(&text)).concat()
    };
    if let Some(kept) = kept {
        let command = format!("umask 077; cat >{}", quoted(&kept.path));
        before += &here(&command, &kept.text);
    }
    format!("#!/bin/sh\n{undo}{before}rm -f {UNDO} {TRIED}\n")
}

/// A command with its input; nothing where there is none.
fn here(command: &str, input: &str) -> String {
    if input.is_empty() {
        return String::new();
    }
    format!("{command} <<'LOGKNOCK'\n{input}LOGKNOCK\n")
}

/// Those lines of a text.
fn lines(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let mut kept = String::new();
    for line in text.lines().filter(|line| wanted(line)) {
        kept += line;
        kept.push('\n');
    }
    kept
}

/// A table without the addresses that have been logged lately: nft does not load what it lists of these.
fn without_rates(listed: &str) -> String {
    let (mut text, mut is_rates, mut is_elements) = (String::new(), false, false);
    for line in listed.lines() {
        let word = line.trim();
        if word.starts_with("set ") {
            is_rates = word.starts_with("set logged");
        }
        is_elements |= is_rates && word.starts_with("elements = ");
        if !is_elements {
            text += line;
            text.push('\n');
        }
        is_elements &= !word.ends_with('}');
    }
    text
}

/// Selects our chains from the output of `iptables-save`, with the jumps to them as the first rules, without open doors:
/// no timeout would end a rule whose door has closed meanwhile.
fn own_lines(saved: &str) -> String {
    let mut text = String::new();
    for line in saved.lines() {
        if line.starts_with('*')
            || line == "COMMIT"
            || line.starts_with(":LOGKNOCK")
            || line.starts_with("-A LOGKNOCK") && !line.starts_with("-A LOGKNOCK -s ")
        {
            text += line;
        } else if let Some(jump) = line.strip_prefix("-A ")
            && jump.contains("-j LOGKNOCK")
        {
            text += "-I ";
            text += jump;
        } else {
            continue;
        }
        text.push('\n');
    }
    text
}

fn is_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Starts what runs the undoing in time.
fn start_timer(within: Duration) -> Result<(), Failure> {
    let seconds = within.as_secs().max(1);
    if is_systemd() && tool::has("systemd-run") {
        let unit = format!("--unit={TRIAL}");
        let after = format!("--on-active={seconds}");
        let words = [
            "--quiet",
            "--collect",
            &unit,
            &after,
            "--timer-property=AccuracySec=1s",
            "/bin/sh",
            UNDO,
        ];
        if tool::run("systemd-run", &words, "").is_ok() {
            return Ok(());
        }
    }
    // It says a byte when it has left this session.
    let mut child = Command::new(std::env::current_exe()?)
        .args(["rules", "--undo-in", &seconds.to_string()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut ready = [0];
    let out = child.stdout.take();
    out.map_or(Ok(()), |mut out| out.read_exact(&mut ready))?;
    Ok(())
}

/// Is the process of our own that undoes a trial in time.
pub(super) fn undo_in(seconds: u64) -> Result<(), Failure> {
    // Held open, it is known from the file of a later trial.
    let mut undo = File::open(UNDO)?;
    rustix::process::setsid().map_err(io::Error::from)?;
    // Its reader may have gone.
    let _ = io::stdout()
        .write_all(b".")
        .and_then(|()| io::stdout().flush());
    std::thread::sleep(Duration::from_secs(seconds));
    if undo.metadata()?.nlink() == 0 {
        return Ok(());
    }
    let mut script = String::new();
    undo.read_to_string(&mut script)?;
    feed(&["sh"], &script)
}

/// Makes the system load them at each boot, and whenever its own rules are loaded again.
pub(super) fn install(text: &Text, config: &Config, global: &Global) -> Result<(), Failure> {
    // What fails here says why; of the unit, systemctl would only say that it failed.
    load(text, config, global)?;
    if text.name == "openwrt" {
        return say("fw4 loads the rules with its own.");
    }
    let mut said = Vec::new();
    if text.is_nft() && includes_after_a_flush(Path::new(NFTABLES))? {
        write_private(Path::new(INCLUDED), &text.load)?;
        let mut conf = fs::read_to_string(NFTABLES)?;
        if !conf.lines().any(|line| line.trim() == INCLUDE) {
            if !conf.ends_with('\n') {
                conf.push('\n');
            }
            conf += INCLUDE;
            conf.push('\n');
            replace(Path::new(NFTABLES), &conf)?;
        }
        said.push(format!(
            "{NFTABLES} includes {INCLUDED}: install again when prefix or doors change"
        ));
    } else if Path::new(NFTABLES).exists() {
        let until = "until the unit has run";
        let what = "a flush by another service leaves the ports open for a moment";
        said.push(format!("{until}, {what}"));
    }
    if text.load.contains("LOGKNOCK") && Path::new(SAVED).is_dir() {
        let why = "this unit loads these rules, and a saved set match fails at boot";
        said.push(format!(
            "after each 'netfilter-persistent save':  sed -i /LOGKNOCK/d {SAVED}/rules.*\n({why})"
        ));
    }
    if is_systemd() {
        let config = fs::canonicalize(&global.config).unwrap_or_else(|_| global.config.clone());
        let command = format!(
            "{} --config {} --state-dir {} rules --load --for {}",
            quoted(&std::env::current_exe()?),
            quoted(&config),
            quoted(&global.state_dir),
            text.name
        );
        let unit = UNIT_TEXT.replace(UNIT_COMMAND, &command);
        replace(Path::new(UNIT_FILE), &unit)?;
        for words in [
            &["daemon-reload"][..],
            &["enable", "--quiet", UNIT],
            &["restart", UNIT],
        ] {
            tool::run("systemctl", words, "").map_err(|error| Failure::new(Code::Failed, error))?;
        }
        said.insert(0, format!("{UNIT} is enabled and has loaded the rules"));
    } else {
        let next = "have 'logknock rules --load' run at boot, before the network";
        said.insert(0, format!("the rules are loaded; {next}"));
    }
    say(&said.join("\n"))
}

/// Whether what is loaded there flushes all other rules first.
fn includes_after_a_flush(conf: &Path) -> io::Result<bool> {
    let text = match fs::read_to_string(conf) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let mut lines = text.lines();
    Ok(lines.any(|line| line.trim().starts_with("flush ruleset")))
}

/// Takes away everything: what is on trial, what loads the rules again, and the rules of every kind. Where one of that
/// cannot be taken away, the others are: a port must not stay closed for a tool that fails.
pub(super) fn remove_all(global: &Global) -> Result<(), Failure> {
    let _ = end_trial();
    let _held = Loaded::forget(&global.state_dir);
    let hooks = remove_hooks().map_err(|error| error.to_string());
    let mut removals: Vec<(&[&str], String)> = Vec::new();
    if tool::has("firewall-cmd") && tool::said("firewall-cmd", &["--state"]).is_some() {
        removals.push((&["sh"], Rules::remove(Tool::Firewalld)));
    }
    if tool::has("fw4") {
        removals.push((&["sh"], Rules::remove(Tool::Openwrt)));
    }
    if tool::has("nft") {
        let both = Rules::remove(Tool::Nft) + &Knocker::remove(Form::Nft);
        removals.push((&["nft", "-f", "-"], both));
    }
    if tool::has("ufw") {
        removals.push((&["sh"], Rules::remove(Tool::Ufw)));
    } else if tool::has("iptables") {
        removals.push((&["sh"], Rules::remove(Tool::Iptables)));
    }
    if tool::has("iptables") {
        removals.push((&["sh"], Knocker::remove(Form::Recent)));
    }
    let removed = removals.iter().map(|(reader, text)| run(reader, text));
    let failed: Vec<_> = removed.chain([hooks]).filter_map(Result::err).collect();
    if !failed.is_empty() {
        let message = format!("not everything is removed: {}", failed.join("; "));
        return Err(Failure::new(Code::Failed, message));
    }
    say("All rules of logknock are removed. The other rules alone now decide which ports are open.")
}

/// Removes what loads the rules again.
fn remove_hooks() -> io::Result<()> {
    if is_systemd() {
        let _ = tool::run("systemctl", &["disable", "--now", "--quiet", UNIT], "");
    }
    if Path::new(UNIT_FILE).exists() {
        fs::remove_file(UNIT_FILE)?;
        let _ = tool::run("systemctl", &["daemon-reload"], "");
    }
    if let Ok(conf) = fs::read_to_string(NFTABLES)
        && conf.lines().any(|line| line.trim() == INCLUDE)
    {
        let conf = lines(&conf, |line| line.trim() != INCLUDE);
        replace(Path::new(NFTABLES), &conf)?;
    }
    if Path::new(INCLUDED).exists() {
        fs::remove_file(INCLUDED)?;
    }
    Ok(())
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Replaces a file that the system reads, with the mode it had.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let usual = Permissions::from_mode(0o644);
    let permissions = fs::metadata(path).map_or(usual, |old| old.permissions());
    let mut new = NamedTempFile::new_in(directory)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(permissions)?;
    new.persist(path)?;
    Ok(())
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(anstream::stdout(), "{text}")?)
}
