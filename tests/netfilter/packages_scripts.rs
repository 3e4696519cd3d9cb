//! The scripts and recipes that packages start with, run as far as they run here: OpenWrt's and `OpenRC`'s under busybox with
//! stand-ins for what these systems have, Arch's packaging, the Ansible role on a copy of this machine.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::booted::Files;
use crate::need::need;
use crate::process::{command, finish, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn shellcheck_has_nothing_to_say_about_the_scripts_of_packages_tests_and_ci() {
    if !need(&["shellcheck"]) {
        return;
    }
    let mut scripts = Vec::new();
    for directory in ["packaging", "tests", ".ci"] {
        find_scripts(&Path::new(ROOT).join(directory), &mut scripts);
    }
    assert!(scripts.len() >= 12, "{scripts:?}");
    run(
        "shellcheck",
        ["--external-sources".into()].into_iter().chain(scripts),
    );
}

/// Files that begin as a script does, or say to shellcheck what they are.
fn find_scripts(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_scripts(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let first = text.lines().next().unwrap_or_default();
            let is_shell =
                first.starts_with("#!") && (first.contains("sh") || first.contains("openrc"));
            if is_shell || first.starts_with("# shellcheck shell=") {
                found.push(path);
            }
        }
    }
}

/// procd's functions, which print what they are given.
const PROCD: &str = r#"
procd_open_instance() { echo open; }
procd_set_param() { echo "set $*"; }
procd_close_instance() { echo close; }
"#;

#[test]
fn procd_gets_a_command_to_run_once_there_is_a_configuration() {
    if !need(&["busybox"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("logknock.toml");
    let script = read("packaging/openwrt/logknock.init");
    let script = script.replace(
        "/etc/logknock/logknock.toml",
        config.to_str().expect("plain"),
    );
    let script = script.replace("/var/", &format!("{}/var/", dir.path().display()));
    let start = || busybox(dir.path(), &format!("{PROCD}{script}\nstart_service"));
    assert_eq!(start(), "", "nothing is to be run without a configuration");
    fs::write(config, "[log]\n").expect("a file");
    let told = start();
    assert!(
        told.starts_with("open\nset command /usr/bin/logknock --follow kmsg\n"),
        "{told}"
    );
    assert!(
        told.contains("set respawn 3600 2 0\n") && told.ends_with("close\n"),
        "{told}"
    );
}

/// openrc-run's functions, and a logknock that prints how it is called.
const OPENRC: &str = r#"
checkpath() { echo "checkpath $*"; }
ebegin() { echo "begin $*"; }
eend() { echo "end $*"; return "$1"; }
after() { :; }
use() { :; }
"#;

#[test]
fn openrc_makes_its_directories_supervises_it_and_reloads_it() {
    if !need(&["busybox"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (script, settings) = (
        read("packaging/alpine/logknock.initd"),
        read("packaging/alpine/logknock.confd"),
    );
    let told = busybox(
        dir.path(),
        &format!(
            "{OPENRC}{settings}{script}\ncommand=echo\ndepend\nstart_pre\nreload\ncheckconfig\n\
             echo \"$supervisor $command_args $required_files\""
        ),
    );
    for line in [
        "checkpath --directory --mode 0700 /var/lib/logknock",
        "checkpath --directory --mode 0755 /run/logknock",
        "begin Reloading logknock",
        "reload",
        "end 0",
        "--config /etc/logknock/logknock.toml check",
        "supervise-daemon --config /etc/logknock/logknock.toml  /etc/logknock/logknock.toml",
    ] {
        assert!(told.lines().any(|other| other == line), "{line}: {told}");
    }
}

#[test]
fn the_recipes_for_alpine_and_arch_package_the_common_files_with_their_own() {
    if !need(&["busybox", "bash"]) {
        return;
    }
    let version = concat!("pkgver=", env!("CARGO_PKG_VERSION"));
    for (recipe, shell, with, without) in [
        (
            "alpine/APKBUILD",
            "busybox sh",
            "etc/init.d/logknock",
            "usr/lib/systemd",
        ),
        (
            "arch/PKGBUILD",
            "bash",
            "usr/lib/systemd/system/logknock.service",
            "etc/init.d",
        ),
    ] {
        let text = read(&format!("packaging/{recipe}"));
        assert!(text.lines().any(|line| line == version), "{recipe}");
        let dir = tempfile::tempdir().expect("a directory");
        let source = dir
            .path()
            .join(concat!("logknock-", env!("CARGO_PKG_VERSION")));
        fs::create_dir_all(source.join("target/release")).expect("a directory");
        run(
            "cp",
            [
                "-r",
                &format!("{ROOT}/packaging"),
                &format!("{ROOT}/LICENSE-MIT"),
                &format!("{ROOT}/LICENSE-APACHE"),
                source.to_str().expect("plain"),
            ],
        );
        let binary = env!("CARGO_BIN_EXE_logknock");
        std::os::unix::fs::symlink(binary, source.join("target/release/logknock")).expect("a link");
        // abuild begins in the source, makepkg above it.
        let place = if shell == "bash" { dir.path() } else { &source };
        let script = format!(
            "set -e; . {ROOT}/packaging/{recipe}; pkgdir={}/out; package",
            dir.path().display()
        );
        let mut words = shell.split(' ');
        finish(
            command(words.next().expect("a shell"))
                .args(words)
                .args(["-c", &script])
                .current_dir(place),
        );
        let out = dir.path().join("out");
        for file in [
            with,
            "usr/bin/logknock",
            "usr/share/man/man8/logknock.8",
            "usr/share/licenses/logknock/LICENSE-MIT",
        ] {
            assert!(out.join(file).exists(), "{recipe}: {file}");
        }
        assert!(!out.join(without).exists(), "{recipe}: {without}");
    }
    let makefile = read("packaging/openwrt/Makefile");
    assert!(makefile.contains(concat!("PKG_VERSION:=", env!("CARGO_PKG_VERSION"), "\n")));
    let spec = read("packaging/rpm/logknock.spec");
    assert!(spec.contains(concat!(
        "%{!?crate_version:",
        env!("CARGO_PKG_VERSION"),
        "}"
    )));
}

#[test]
fn makepkg_reads_the_recipe_for_arch() {
    if !need(&["makepkg", "pacman", "setpriv"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["PKGBUILD", "logknock.install"] {
        fs::copy(
            format!("{ROOT}/packaging/arch/{name}"),
            dir.path().join(name),
        )
        .expect("a copy");
    }
    // It refuses to run as root.
    chown(dir.path(), Some(65_534), Some(65_534)).expect("root gives directories away");
    let words = "--reuid=65534 --regid=65534 --clear-groups makepkg --printsrcinfo";
    let told = finish(
        command("setpriv")
            .args(words.split(' '))
            .current_dir(dir.path()),
    );
    for line in [
        concat!("pkgver = ", env!("CARGO_PKG_VERSION")),
        "install = logknock.install",
        "backup = etc/logrotate.d/logknock",
        "arch = aarch64",
    ] {
        assert!(told.lines().any(|other| other.trim() == line), "{told}");
    }
}

/// What the Makefile of a package includes in a buildroot, as far as it uses it.
const BUILDROOT: [(&str, &str); 3] = [
    ("rules.mk", "INCLUDE_DIR:=$(TOPDIR)/include\n"),
    (
        "include/package.mk",
        "define BuildPackage\n$(info $(1): $(Package/$(1)))\n\
         $(info $(call Package/$(1)/install,ROOT))\n$(info $(call Package/$(1)/prerm))\nall: ;\nendef\n",
    ),
    (
        "feeds/packages/lang/rust/rust-package.mk",
        "RUST_ARCH_DEPENDS:=@rust\ndefine RustBinPackage\nendef\n",
    ),
];

#[test]
fn make_reads_the_recipe_for_openwrt_and_what_it_installs_is_there() {
    if !need(&["make"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in BUILDROOT {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("one")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let told = finish(
        command("make")
            .args(["-f", &format!("{ROOT}/packaging/openwrt/Makefile")])
            .arg(format!("TOPDIR={}", dir.path().display()))
            .args(["PKG_INSTALL_DIR=built", &format!("PKG_BUILD_DIR={ROOT}")])
            .args([
                "INSTALL_DIR=mkdir",
                "INSTALL_BIN=cp",
                "INSTALL_DATA=cp",
                "all",
            ]),
    );
    assert!(told.starts_with("logknock:"), "{told}");
    assert!(
        told.contains("[ -z \"${IPKG_INSTROOT}\" ] || exit 0\n"),
        "{told}"
    );
    let files: Vec<_> = told
        .lines()
        .filter_map(|line| line.trim().strip_prefix("cp "))
        .collect();
    assert_eq!(files.len(), 3, "{told}");
    for file in files {
        let from = file.split(' ').next().expect("a file");
        let is_built = from == "built/bin/logknock";
        assert!(is_built || Path::new(from).is_file(), "{from}");
    }
}

/// Builds the image from stand-ins for its two base images: busybox, a cargo that has built already, and an apk that
/// has installed already. `$1` is the source, `$2` our binary.
const IMAGE: &str = r#"
set -e
buildah() { command buildah --root "$PWD/store" --runroot "$PWD/run" --storage-driver vfs "$@"; }
export BUILDAH_ISOLATION=chroot
mkdir -p base/bin base/tmp base/var/lib
cp "$(command -v busybox)" base/bin
cp "$2" base/bin/built
ldd "$2" | sed -n 's|^[^/]*\(/[^ ]*\) (.*|\1|p' | while read -r library; do
    mkdir -p "base${library%/*}"
    cp "$library" "base$library"
done
printf '#!/bin/sh
set -e
[ "$*" = "build --release --locked" ]
mkdir -p target/release
cp /bin/built target/release/logknock
' >base/bin/cargo
printf '#!/bin/sh
[ "$*" = "add --no-cache nftables" ]
' >base/bin/apk
chmod 755 base/bin/*
base=$(buildah from scratch)
buildah copy -q "$base" base / >&2
buildah run "$base" /bin/busybox --install -s /bin
buildah commit -q "$base" localhost/rust:1-alpine >&2
buildah tag localhost/rust:1-alpine localhost/alpine:3
buildah bud --pull-never -q -t built -f "$1/packaging/container/Containerfile" "$1" >&2
image=$(buildah from --pull-never localhost/built)
buildah run "$image" -- /usr/bin/logknock --version
buildah run "$image" -- /usr/bin/logknock demo
buildah run "$image" -- stat -c %a /var/lib/logknock
buildah inspect --format '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Volumes}}' "$image"
"#;

#[test]
fn the_container_recipe_builds_an_image_in_which_the_demonstration_runs() {
    if !need(&["buildah", "busybox", "ldd"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let told = finish(
        command("sh")
            .args(["-c", IMAGE, "sh", ROOT, env!("CARGO_BIN_EXE_logknock")])
            .current_dir(dir.path()),
    );
    let version = concat!("logknock ", env!("CARGO_PKG_VERSION"), "\n");
    assert!(told.starts_with(version), "{told}");
    assert!(told.contains("(exit status: 0)"), "{told}");
    let end = "\n700\n[/usr/bin/logknock] [--follow kmsg] map[/var/lib/logknock:{}]";
    assert!(told.trim_end().ends_with(end), "{told}");
}

/// Twice the role, with the configuration given, and the service looked at.
const PLAY: &str = r#"
set -e
export ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_NOCOLOR=1 HOME=/tmp
play() {
    ansible-playbook -i localhost, -c local -e @/new/settings.json /new/ansible/site.yml
}
play
systemctl is-active logknock
test "$(stat -c %a /etc/logknock/logknock.toml)" = 600
play
"#;

const LINT: &str = "ansible-lint==25.9.2";

/// The linter of `PyPI` in a virtual environment that is made once; Debian's, which is older, where `PyPI` cannot be had.
fn ansible_lint() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(LINT);
    let lint = place.join("bin/ansible-lint");
    if !lint.exists() {
        let script =
            "python3 -m venv \"$1\" && \"$1/bin/pip\" install --quiet \"$2\" || rm -rf \"$1\"";
        let mut made = command("sh");
        made.args(["-c", script, "sh"]).arg(&place).arg(LINT);
        made.stdin(Stdio::null()).output().expect("a shell");
    }
    if lint.exists() {
        lint
    } else {
        "ansible-lint".into()
    }
}

#[test]
fn the_ansible_role_is_clean_installs_the_package_and_changes_nothing_the_second_time() {
    let tools = [
        "ansible-lint",
        "ansible-playbook",
        "dpkg-deb",
        "dpkg-shlibdeps",
    ];
    let Some(put) = Files::new(&tools) else {
        return;
    };
    finish(
        Command::new(ansible_lint())
            .args(["--offline", "--strict", "--profile", "production"])
            .current_dir(format!("{ROOT}/packaging/ansible")),
    );
    put.put_package("new/logknock.deb", "deb", &[]);
    let new = put.place("new/ansible");
    run(
        "cp",
        [
            "-r",
            &format!("{ROOT}/packaging/ansible"),
            new.to_str().expect("plain"),
        ],
    );
    let config = "[log]\nsources = [\"kmsg\"]\nprefix = \"lk-9d2f6b1c: \"\n[firewall]\nbackend = \"nft\"\n\
                  [door.ssh]\nsequence = [7101, 8202, 9303]\nopens = [\"22:tcp\"]\n";
    let settings =
        serde_json::json!({"logknock_package": "/new/logknock.deb", "logknock_config": config});
    put.put("new/settings.json", settings.to_string());
    put.put("new/play", PLAY);
    let system = put.boot(Path::new("/"), "basic.target");
    let said = system.run("sh /new/play");
    let ends: Vec<_> = said
        .lines()
        .filter(|line| line.contains("failed=0"))
        .collect();
    assert_eq!(ends.len(), 2, "{said}");
    assert!(!ends[0].contains("changed=0"), "{said}");
    assert!(ends[1].contains("changed=0"), "{said}");
}

fn busybox(directory: &Path, script: &str) -> String {
    let file = directory.join("script");
    fs::write(&file, script).expect("a file");
    finish(command("busybox").arg("sh").arg(file))
}

fn read(file: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{file}")).expect("it is there")
}
