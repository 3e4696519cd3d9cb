//! The packages as `packaging/build` makes them: what is in them, and what installing, upgrading and removing them does.
//!
//! The .deb and the .rpm hold the binary that these tests are built with, so nothing is compiled twice; the static one is
//! compiled here, without optimization. The .deb lives on a bare Debian.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::booted::{Booted, Files};
use crate::debian::debian;
use crate::lab::PATIENCE;
use crate::need::need;
use crate::process::{Running, command, eventually, finish, run};
use crate::turn::{LogAllNetns, Ring, Turn};

const BINARY: &str = env!("CARGO_BIN_EXE_logknock");
pub(crate) const PREFIX: &str = "lk-9d2f6b1c: ";
/// How long the door stays open that an upgrade passes.
const HOLD: Duration = Duration::from_secs(40);

// ── the .deb ──

const CONFIG: &str = r#"
[log]
sources = ["kmsg", "/var/log/knock.log"]
prefix = "@PREFIX@"

[daemon]
on_exit = "keep"

[firewall]
backend = "nft"

[door.ssh]
sequence = [7101, 8202, 9303]
opens = ["22:tcp"]
cmd_timeout = "1h"

[door.file]
sequence = [7104, 8202, 9303]
start_command = "mkdir /var/lib/logknock/door"
stop_command = "rmdir /var/lib/logknock/door"
cmd_timeout = "@HOLD@s"
"#;
/// Another host, from which it is knocked.
const CLIENT: &str = "\
set -e
ip link set lo up
ip netns add client
ip link add veth-here type veth peer name veth-client netns client
ip addr add 192.0.2.1/24 dev veth-here
ip link set veth-here up
ip -n client addr add 192.0.2.7/24 dev veth-client
ip -n client link set veth-client up
";
/// All files but those that dpkg, systemd and this test keep of a package's life.
const FILES: &str = "find / -xdev \\( -path /new -o -path /var/lib/dpkg -o -path /var/cache -o -path /var/tmp \
     -o -path /var/lib/systemd -o -path /var/log/dpkg.log -o -path /var/log/journal \\) -prune -o -print";

#[test]
fn the_deb_installs_upgrades_and_leaves_without_losing_a_door_or_leaving_a_file() {
    let tools = ["debootstrap", "dpkg-deb", "dpkg-shlibdeps", "lintian"];
    let Some(put) = Files::new(&tools) else {
        return;
    };
    let Some(root) = debian() else { return };
    for revision in ["1", "2"] {
        put.put_package(
            &format!("new/{revision}.deb"),
            "deb",
            &[("REVISION", revision)],
        );
    }
    let deb = put.place("new/1.deb");
    run(
        "lintian",
        ["--fail-on", "error,warning", "--allow-root", path(&deb)],
    );
    let told = run(
        "dpkg-deb",
        ["--field", path(&deb), "Architecture", "Depends"],
    );
    let machine = run("dpkg", ["--print-architecture"]);
    assert!(told.contains(&format!("Architecture: {machine}")), "{told}");
    assert!(told.contains("libc6 (>= "), "{told}");
    let conffiles = run("dpkg-deb", ["--info", path(&deb), "conffiles"]);
    assert_eq!(conffiles, "/etc/logrotate.d/logknock\n");
    put.put("new/client", CLIENT);
    let config = CONFIG.replace("@PREFIX@", PREFIX);
    let config = config.replace("@HOLD@", &HOLD.as_secs().to_string());
    put.put("new/logknock.toml", config);
    let _ring = Turn::at_ring(Ring::Shared);
    let _switch = LogAllNetns::on();
    let system = put.boot(&root, "basic.target");
    let before = files(&system);

    // Installed, it waits for a configuration.
    system.run("dpkg -i /new/1.deb");
    system.run("test \"$(systemctl is-enabled logknock)\" = enabled");
    system.run("test \"$(systemctl is-active logknock)\" = inactive");
    system.run("logknock --version && logknock demo | grep -q 'exit status: 0'");
    system.run("logrotate --debug /etc/logrotate.d/logknock");

    // Set up, it opens for a knock from another host.
    system.run("install -m 600 /new/logknock.toml /etc/logknock/ && install -m 600 /dev/null /var/log/knock.log");
    system.run("sh /new/client && logknock rules --for nft | nft -f -");
    system.run("systemctl start logknock");
    knock(&system, 7101);
    eventually("ssh is open", PATIENCE, || is_let_in(&system));
    let knocked = Instant::now();
    knock(&system, 7104);
    let door = "test -d /var/lib/logknock/door";
    let is_open = || system.try_run(door).status.success();
    eventually("the other is open", PATIENCE, is_open);

    // Upgraded, it has its doors and closes them when they are due.
    let pid = "systemctl show --property MainPID --value logknock";
    let first = system.run(pid);
    system.run("dpkg -i /new/2.deb && systemctl is-active logknock");
    assert_ne!(system.run(pid), first, "the old one runs still");
    assert_eq!(
        system
            .run("logknock status --json")
            .matches(r#""phase":"open""#)
            .count(),
        2
    );
    assert!(knocked.elapsed() < HOLD, "too slow a machine");
    system.run(door);
    eventually("it closes", HOLD + PATIENCE, || !is_open());
    assert!(knocked.elapsed() >= HOLD, "{:?}", knocked.elapsed());

    // Removed, it has closed its doors, those too that `on_exit` would keep.
    knock(&system, 7104);
    eventually("it is open again", PATIENCE, is_open);
    let said = system.run("dpkg --remove logknock");
    assert!(!is_open() && !is_let_in(&system), "{said}");
    assert!(said.contains("logknock's rules are "), "{said}");
    system.run("test ! -e /usr/bin/logknock && test -s /etc/logknock/logknock.toml");
    assert!(
        !system
            .try_run("systemctl is-active logknock")
            .status
            .success()
    );

    // Purged, it has never been here, but for what the administrator has made.
    system.run("dpkg --purge logknock && rm /var/log/knock.log");
    let left: Vec<_> = files(&system).difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn knock(system: &Booted, first: u16) {
    system.run(&format!(
        "ip netns exec client logknock knock 192.0.2.1 {first} 8202 9303"
    ));
}

fn is_let_in(system: &Booted) -> bool {
    // The table goes with the package.
    system
        .run("nft list ruleset | sed -n '/set open4 {/,/^\t}/p'")
        .contains("192.0.2.7 ")
}

pub(crate) fn files(system: &Booted) -> BTreeSet<String> {
    system.run(FILES).lines().map(str::to_owned).collect()
}

#[test]
fn the_same_source_and_binary_give_the_same_packages_in_another_directory() {
    if !need(&["rpmbuild", "dpkg-deb", "dpkg-shlibdeps", "sha256sum"]) {
        return;
    }
    let time = [("SOURCE_DATE_EPOCH", "1700000000")];
    for what in ["deb", "rpm"] {
        let sums = [(), ()].map(|()| {
            let dir = tempfile::tempdir().expect("a directory");
            let package = build(what, dir.path(), &time);
            let sum = run("sha256sum", [path(&package)]);
            sum.split(' ').next().expect("a sum").to_owned()
        });
        assert_eq!(sums[0], sums[1], "{what}");
    }
}

// ── the .rpm ──

#[test]
fn the_rpm_has_the_files_of_the_deb_and_scriptlets_that_a_shell_reads() {
    if !need(&["rpm", "rpmbuild", "dpkg-deb", "dpkg-shlibdeps", "busybox"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let rpm = build("rpm", dir.path(), &[]);
    let query = |what: &str| run("rpm", ["--query", "--package", what, path(&rpm)]);
    let listed = query("--list");
    let deb = build("deb", dir.path(), &[]);
    let tar = finish(command("sh").args([
        "-c",
        "dpkg-deb --fsys-tarfile \"$1\" | tar t",
        "sh",
        path(&deb),
    ]));
    let plain = |file: &str| {
        let file = file.replace("vendor-completions", "site-functions");
        format!(
            "/{}",
            file.trim_start_matches("./")
                .replace("lib/systemd", "usr/lib/systemd")
        )
    };
    let files = tar.lines().filter(|file| !file.ends_with('/')).map(plain);
    let common = files.filter(|file| !file.contains("/doc/") && !file.contains("/lintian/"));
    let common: Vec<_> = common.collect();
    assert!(common.len() > 7, "{tar}");
    for file in common {
        assert!(
            listed.lines().any(|other| other == file),
            "{file}: {listed}"
        );
    }
    assert_eq!(query("--configfiles"), "/etc/logrotate.d/logknock\n");
    assert_eq!(query("--licensefiles").lines().count(), 2);
    let scripts = query("--scripts");
    for script in ["postinstall", "preuninstall", "postuninstall"] {
        assert!(
            scripts.contains(&format!("{script} scriptlet (using /bin/sh):")),
            "{scripts}"
        );
    }
    let script = dir.path().join("scriptlets");
    let lines = scripts.lines().filter(|line| !line.contains(" scriptlet "));
    fs::write(&script, lines.collect::<Vec<_>>().join("\n")).expect("a file");
    run("sh", ["-n", path(&script)]);
    run("rpm", ["--checksig", "--nosignature", path(&rpm)]);

    let next = build("rpm", dir.path(), &[("REVISION", "2")]);
    let root = dir.path().join("root");
    make_root(&root);
    let does = |words: &[&str]| {
        let _ = fs::remove_file(root.join("calls"));
        run(
            "rpm",
            [&["--root", path(&root), "--nodeps"], words].concat(),
        );
        fs::read_to_string(root.join("calls")).unwrap_or_default()
    };
    assert!(does(&["--install", path(&rpm)]).contains("preset logknock.service"));
    assert!(root.join("usr/bin/logknock").exists());
    let called = does(&["--upgrade", path(&next)]);
    let kept = "is-active logknock.service\nkill --kill-who=main --signal=KILL logknock.service\nrestart logknock.service\n";
    assert!(called.contains(kept), "{called}");
    assert!(!called.contains("disable"), "{called}");
    let called = does(&["--erase", "logknock"]);
    assert!(
        called.contains("disable --now logknock.service"),
        "{called}"
    );
    let found = run("find", [path(&root), "-name", "*logknock*"]);
    assert_eq!(found, "", "nothing is left");
}

/// Where scriptlets run: a shell, and a systemctl that writes down how it is called.
pub(crate) fn make_root(root: &Path) {
    for directory in ["bin", "dev", "run/systemd/system"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    let busybox = crate::process::find("busybox").expect("needed");
    fs::copy(busybox, root.join("bin/sh")).expect("a copy");
    let systemctl = root.join("bin/systemctl");
    let script =
        "#!/bin/sh\ncase $1 in --quiet | --no-reload) shift ;; esac\necho \"$*\" >>/calls\n";
    fs::write(&systemctl, script).expect("a file");
    fs::set_permissions(&systemctl, Permissions::from_mode(0o755)).expect("it is ours");
    run("rpm", ["--root", path(root), "--initdb"]);
}

// ── the static binary ──

const STATIC_CONFIG: &str = r#"
[log]
sources = ["/tmp/kern.log"]
prefix = "lk-9d2f6b1c: "

[daemon]
control = "/tmp/control.sock"

[door.ssh]
sequence = [7101, 8202, 9303]
start_command = "/bin/touch /tmp/door"
stop_command = "/bin/rm /tmp/door"
cmd_timeout = "2s"
"#;

#[test]
fn the_static_binary_runs_where_there_is_nothing_else() {
    if !need(&["busybox", "chroot", "mount", "cc"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let empty = Empty::with_static_binary(&dir);
    let version = empty.run(&["--version"]);
    assert_eq!(
        version,
        concat!("logknock ", env!("CARGO_PKG_VERSION"), "\n")
    );
    // The demonstration's doors are opened by a shell.
    for tool in ["sh", "rm", "touch"] {
        empty.put(
            &format!("bin/{tool}"),
            &crate::process::find("busybox").expect("needed"),
        );
    }
    let shown = empty.run(&["demo"]);
    assert!(shown.contains("(exit status: 0)"), "{shown}");

    let log = empty.root.join("tmp/kern.log");
    fs::write(&log, "").expect("a log");
    fs::write(empty.root.join("tmp/logknock.toml"), STATIC_CONFIG).expect("a file");
    run(
        "chmod",
        [
            "600",
            path(&log),
            path(&empty.root.join("tmp/logknock.toml")),
        ],
    );
    let options = [
        "--config",
        "/tmp/logknock.toml",
        "--state-dir",
        "/tmp/state",
    ];
    let mut daemon = Running::start("logknock", empty.argv(&options), |_| ());
    eventually("it follows", PATIENCE, || {
        daemon.must_run();
        let told = empty.try_run(&["--config", "/tmp/logknock.toml", "status", "--json"]);
        String::from_utf8_lossy(&told.stdout).contains(r#""health":"following""#)
    });
    let lines = [7101, 8202, 9303].map(|port| {
        format!(
            "kernel: {PREFIX}IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC=203.0.113.7 DST=192.0.2.1 \
             LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID={port} DF PROTO=TCP SPT=40001 DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 \n"
        )
    });
    fs::write(&log, lines.concat()).expect("the log is written");
    let door = empty.root.join("tmp/door");
    eventually("the door opens", PATIENCE, || door.exists());
    eventually("the door closes", PATIENCE, || !door.exists());
}

/// A root directory with the binary, `/proc`, `/dev/null` and a `/tmp`.
struct Empty {
    root: PathBuf,
}

impl Empty {
    fn with_static_binary(dir: &TempDir) -> Self {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
        let archive = build(
            "static",
            &out,
            &[
                ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
                ("CARGO_PROFILE_RELEASE_LTO", "off"),
                ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
            ],
        );
        let unpacked = dir.path().join("unpacked");
        fs::create_dir(&unpacked).expect("a directory");
        let one = "--strip-components=1";
        run("tar", ["xf", path(&archive), "-C", path(&unpacked), one]);
        for file in ["README.md", "LICENSE-MIT", "usr/share/man/man8/logknock.8"] {
            assert!(unpacked.join(file).exists(), "{file}");
        }
        // Two builds in two directories give the same bits only without their names.
        let binary = fs::read(unpacked.join("usr/bin/logknock")).expect("a binary");
        let home = std::env::var("CARGO_HOME")
            .or_else(|_| std::env::var("HOME"))
            .expect("a home");
        for place in [env!("CARGO_MANIFEST_DIR"), &format!("{home}/.cargo")] {
            let found = memchr::memmem::find(&binary, place.as_bytes());
            assert_eq!(found, None, "{place} is in the binary");
        }
        let sum = archive.with_file_name(format!(
            "{}.sha256",
            archive.file_name().expect("a name").display()
        ));
        finish(
            command("sha256sum")
                .args(["--check", path(&sum)])
                .current_dir(&out),
        );
        let root = dir.path().join("root");
        for place in ["proc", "dev", "tmp", "bin"] {
            fs::create_dir_all(root.join(place)).expect("a directory");
        }
        fs::write(root.join("dev/null"), "").expect("a file");
        let empty = Self { root };
        empty.put("bin/logknock", &unpacked.join("usr/bin/logknock"));
        empty
    }

    fn put(&self, name: &str, file: &Path) {
        fs::copy(file, self.root.join(name)).expect("a copy");
    }

    fn argv<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mounts = "mount -t proc proc \"$0/proc\" && mount --bind /dev/null \"$0/dev/null\" && exec chroot \"$0\" \"$@\"";
        let before = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            mounts,
            path(&self.root),
            "/bin/logknock",
        ];
        before
            .into_iter()
            .chain(arguments.iter().copied())
            .collect()
    }

    fn try_run(&self, arguments: &[&str]) -> Output {
        let argv = self.argv(arguments);
        let (tool, rest) = argv.split_first().expect("not empty");
        command(tool).args(rest).output().expect("it starts")
    }

    fn run(&self, arguments: &[&str]) -> String {
        let done = self.try_run(arguments);
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {error}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

// ── both ──

/// The package that `packaging/build` says it has made.
pub(crate) fn build(what: &str, out: &Path, environment: &[(&str, &str)]) -> PathBuf {
    let mut build = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/build"));
    build.arg(what).env("BINARY", BINARY).env("OUT", out);
    #[cfg(feature = "fleet")]
    build.env("FLEET_BINARY", env!("CARGO_BIN_EXE_logknock-fleet"));
    // Packed fast.
    build.env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    let said = finish(build.envs(environment.iter().copied()).stdin(Stdio::null()));
    said.lines().last().expect("it says which").into()
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
