//! The page about containers, followed by a user without any rights, and `compose.yaml`, with the real Podman.
//!
//! The commands are taken out of the page. Three things are put in their place: the image, which is built from the tools
//! of this machine, the service to guard, and the network where this Podman has no pasta.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::host::{Host, Reach};
use crate::lab::{Family, Lab, PATIENCE, ssh};
use crate::process::{Running, command, eventually, finish};
use crate::readme::{blocks, inline};
use crate::turn::Ring;

const LOGKNOCK: &str = env!("CARGO_BIN_EXE_logknock");
const PAGE: &str = include_str!("../../docs/container.md");

const COMPOSE: &str = include_str!("../../packaging/container/compose.yaml");

/// A session on a machine whose disk is thrown away, with the image `logknock`: `$1` is where, `$2` our binary, `$3` what
/// is typed, `$4` by whom.
const SESSION: &str = r#"
set -e
umask 022
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir -p image/bin image/tmp image/var/lib/logknock etc work home run
cp "$2" "$(command -v busybox)" "$(command -v nft)" image/bin
for tool in image/bin/*; do ldd "$tool" || true; done 2>&1 | sed -n 's|^[^/]*\(/[^ ]*\) (.*|\1|p' | sort -u |
    while read -r library; do
        mkdir -p "image${library%/*}"
        cp "$library" "image$library"
    done
chroot image /bin/busybox --install -s /bin
tar -C image -cf image.tar .
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" /etc
echo "reader:x:54321:54321::$1/home:/bin/sh" >>/etc/passwd
echo reader:x:54321: >>/etc/group
echo reader:543210000:65536 | tee -a /etc/subuid >>/etc/subgid
mknod -m 666 tun c 10 200
mount --bind tun /dev/net/tun
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
printf '[containers]\ncgroups = "disabled"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >containers.conf
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/home/store"\nrunroot = "%s/run/store"\n' "$1" "$1" >storage.conf
chown "$4:$4" home run
cd home
# The first process stays root's: a change of user would forget that it dies with the test.
setpriv --reuid "$4" --regid "$4" --clear-groups env -i HOME="$1/home" PATH="$PATH:/usr/sbin:/sbin" \
    XDG_RUNTIME_DIR="$1/run" CONTAINERS_CONF="$1/containers.conf" CONTAINERS_STORAGE_CONF="$1/storage.conf" \
    sh -exc "podman import -q -c 'ENTRYPOINT [\"/bin/logknock\"]' ../image.tar logknock; $3; echo ready; sleep 1000"
"#;
/// What [`SESSION`] needs.
const TOOLS: [&str; 6] = [
    "podman",
    "slirp4netns",
    "newuidmap",
    "busybox",
    "ldd",
    "tee",
];
/// The service in place of the reader's own.
const SERVICE: &str = "--entrypoint nc logknock -ll -p 22 -e /bin/echo hello";
/// A reboot: what is in the kernel is gone, and all containers start again, the service after the line that waits.
const REBOOT: &str = "podman stop -t 1 --all; until podman start door; do sleep 0.2; done";
const SERVICE_AGAIN: &str = "podman start --all";
/// From here on a knock counts.
const FOLLOWS: &str = "until podman exec door logknock status | grep following; do sleep 0.2; done";

/// A session that goes on, with the directory that it is in and the file of what it has said.
struct Session {
    said: PathBuf,
    _running: Running,
    _place: TempDir,
}

impl Session {
    /// Types the lines on the lab's server; returns when they are done.
    fn start(lab: &Lab, user: &str, typed: &[&str]) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        let said = lab.path("said");
        let file = File::create(&said).expect("a file");
        let own = "unshare --mount --pid --fork --kill-child --mount-proc --propagation private";
        let at = place.path().to_str().expect("plain");
        let argv = ["ip", "netns", "exec", lab.server.namespace()].into_iter();
        let argv = argv
            .chain(own.split(' '))
            .chain(["sh", "-c", SESSION, "sh", at]);
        let typed = typed.join("\n");
        let argv = argv.chain([LOGKNOCK, &typed, user]);
        let mut running = Running::start("podman", argv, |command| {
            let errors = file.try_clone().expect("a second handle");
            command.stdout(file).stderr(errors);
        });
        let told = || fs::read_to_string(&said).expect("what was said");
        eventually("the containers run", PATIENCE * 3, || {
            assert!(running.ended().is_none(), "{}", told());
            told().contains("\nready\n")
        });
        Self {
            said,
            _running: running,
            _place: place,
        }
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.said).expect("what was said")
    }
}

/// A shut port that opens for the one address that knocks, and is shut again.
fn is_guarded(lab: &Lab, session: &Session, is_open: fn(&Host) -> bool) {
    assert!(!is_open(&lab.near), "before any knock: {}", session.told());
    let knock = format!("knock {} 7000 8000:udp 9000", Family::V4.server(0).ip());
    finish(lab.near.command(LOGKNOCK).args(knock.split(' ')));
    eventually("the door opens", PATIENCE, || is_open(&lab.near));
    assert!(!is_open(&lab.far), "another address: {}", session.told());
    eventually("the door closes", PATIENCE, || !is_open(&lab.near));
}

fn greets(client: &Host) -> bool {
    let to = SocketAddr::from((Family::V4.server(0).ip(), 2222));
    client.inside(|| {
        // The forwarder may accept what the container then drops, so the service itself has to answer.
        let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_millis(500)) else {
            return false;
        };
        let patience = Some(Duration::from_millis(500));
        stream.set_read_timeout(patience).expect("it can be set");
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).is_ok() && greeting == *b"hello"
    })
}

#[test]
fn the_page_about_containers_leads_a_user_of_rootless_podman_to_a_guarded_port() {
    let Some(lab) = Lab::new(Ring::Shared, &TOOLS) else {
        return;
    };
    let [image, run] = ["# In a container", "## Rootless Podman"].map(|at| blocks(PAGE, at));
    let init = image.concat().into_iter().nth(1).expect("init");
    let sequence = inline(PAGE, "sequence = ");
    let settings = format!(
        "sed -i 's/^sequence.*/{sequence}/; s/^cmd_timeout.*/cmd_timeout = \"3s\"/' door/logknock.toml"
    );
    let run = run.concat();
    let wait = run.iter().find(|line| line.starts_with("until "));
    let wait = wait.expect("a line that waits");
    let version = finish(command("podman").arg("--version"));
    let has_pasta = !["3.", "4.0", "4.1", "4.2", "4.3"]
        .iter()
        .any(|old| version.contains(&format!("version {old}")));
    let mut run = run.join("\n").replace("YOUR-SERVICE", SERVICE);
    if !has_pasta {
        run = run.replace("--network=pasta", inline(PAGE, "--network=slirp4netns:"));
    }
    // Pasta takes the address of the interface that leads on.
    lab.server.ip("route add default via 192.0.2.2");
    let session = Session::start(
        &lab,
        "54321",
        &[init, &settings, &run, REBOOT, wait, SERVICE_AGAIN, FOLLOWS],
    );
    let told = session.told();
    assert!(
        told.contains("; no sshd is found, so 22/tcp is taken;"),
        "{told}"
    );
    is_guarded(&lab, &session, greets);
}

/// The words with which Podman runs the service of `compose.yaml`, every one of its keys.
fn composed() -> String {
    let (_, service) = COMPOSE
        .split_once("    image: logknock\n")
        .expect("an image");
    let (service, _) = service.split_once("\nvolumes:").expect("volumes");
    let mut words = Vec::new();
    for line in service.lines().map(str::trim) {
        let Some((key, value)) = line.split_once(": ").filter(|_| !line.starts_with('#')) else {
            words.extend(
                line.strip_prefix("- ")
                    .map(|volume| format!("--volume={volume}")),
            );
            continue;
        };
        let values = value.trim_matches(['[', ']']).split(", ");
        let values = values.map(|value| value.trim_matches('"'));
        let option = match key {
            "network_mode" => "network",
            "restart" | "tmpfs" => key,
            "read_only" => "read-only",
            "devices" => "device",
            "cap_drop" => "cap-drop",
            "cap_add" => "cap-add",
            "security_opt" => "security-opt",
            "entrypoint" => {
                let argv = serde_json::json!(values.collect::<Vec<_>>());
                words.push(format!("'--entrypoint={argv}'"));
                continue;
            }
            key => panic!("{key}"),
        };
        words.extend(values.map(|value| format!("--{option}={value}")));
    }
    words.join(" ")
}

#[test]
fn the_rights_in_compose_yaml_are_enough_to_guard_a_port_of_the_host() {
    let Some(lab) = Lab::new(Ring::Shared, &TOOLS) else {
        return;
    };
    let config = format!(
        "[log]\nsources = [\"kmsg\"]\nprefix = \"{}\"\n[firewall]\nbackend = \"nft\"\n\
         [door.ssh]\nsequence = [7000, \"8000:udp\", 9000]\nopens = [\"22:tcp\"]\ncmd_timeout = \"3s\"\n",
        lab.prefix
    );
    let config = lab.write("logknock.toml", &config);
    let put = format!(
        "install -D -m 600 {} /etc/logknock/logknock.toml",
        config.display()
    );
    let run = format!("podman run -d --name door {} logknock", composed());
    let session = Session::start(&lab, "0", &[&put, &run, FOLLOWS]);
    is_guarded(&lab, &session, |client| {
        ssh(client, Family::V4) == Reach::Open
    });
}
