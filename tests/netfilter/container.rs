//! The page about containers, followed by a user without any rights, with the real Podman.
//!
//! The commands are taken out of the page. Three things are put in their place: the image, which is built from the tools
//! of this machine, the service to guard, and the network where this Podman has no pasta.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::host::Host;
use crate::lab::{Family, Lab, PATIENCE};
use crate::process::{Running, eventually, finish};
use crate::readme::{blocks, inline};
use crate::turn::Ring;

const PAGE: &str = include_str!("../../docs/container.md");

/// An ordinary user's session on a machine whose disk is thrown away, with the files of an image: `$1` is where, `$2` our
/// binary, `$3` what the user types.
const SESSION: &str = r#"
set -e
umask 022
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir -p image/bin image/tmp image/var/lib home run
cp "$2" "$(command -v busybox)" "$(command -v nft)" image/bin
for tool in image/bin/*; do ldd "$tool" || true; done 2>&1 | sed -n 's|^[^/]*\(/[^ ]*\) (.*|\1|p' | sort -u |
    while read -r library; do
        mkdir -p "image${library%/*}"
        cp "$library" "image$library"
    done
chroot image /bin/busybox --install -s /bin
tar -C image -cf image.tar .
for file in passwd group subuid subgid; do
    cp /etc/$file .
    case $file in
        passwd) echo "reader:x:54321:54321::$1/home:/bin/sh" ;;
        group) echo reader:x:54321: ;;
        *) echo reader:543210000:65536 ;;
    esac >>$file
    mount --bind $file /etc/$file
done
mknod -m 666 tun c 10 200
mount --bind tun /dev/net/tun
mount -t cgroup2 cgroup2 /sys/fs/cgroup
printf '[containers]\ncgroups = "disabled"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >containers.conf
chown 54321:54321 home run
cd home
exec setpriv --reuid 54321 --regid 54321 --clear-groups env -i HOME="$1/home" PATH="$PATH:/usr/sbin:/sbin" \
    XDG_RUNTIME_DIR="$1/run" CONTAINERS_CONF="$1/containers.conf" STORAGE_DRIVER=vfs sh -exc "$3"
"#;
/// The image in place of the one that the recipe builds.
const IMPORT: &str = "podman import -q -c 'ENTRYPOINT [\"/bin/logknock\"]' ../image.tar logknock";
/// The service in place of the reader's own.
const SERVICE: &str = "--entrypoint nc logknock -ll -p 22 -e /bin/echo hello";
/// A reboot: what is in the kernel is gone, and all containers start again.
const REBOOT: &str = "podman stop -t 1 --all; until podman start --all; do sleep 0.2; done";

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
    let tools = ["podman", "slirp4netns", "newuidmap", "busybox", "ldd"];
    let Some(lab) = Lab::new(Ring::Shared, &tools) else {
        return;
    };
    let [image, run] = ["# In a container", "## Rootless Podman"].map(|at| blocks(PAGE, at));
    let init = image.concat().into_iter().nth(1).expect("init");
    let sequence = inline(PAGE, "sequence = ");
    let settings = format!(
        "sed -i 's/^sequence.*/{sequence}/; s/^cmd_timeout.*/cmd_timeout = \"3s\"/' door/logknock.toml"
    );
    let version = finish(crate::process::command("podman").arg("--version"));
    let has_pasta = !["3.", "4.0", "4.1", "4.2", "4.3"]
        .iter()
        .any(|old| version.contains(&format!("version {old}")));
    let mut run = run.concat().join("\n").replace("YOUR-SERVICE", SERVICE);
    if !has_pasta {
        run = run.replace("--network=pasta", inline(PAGE, "--network=slirp4netns:"));
    }
    let typed = [
        IMPORT,
        init,
        &settings,
        &run,
        REBOOT,
        "echo ready",
        "sleep 1000",
    ]
    .join("\n");

    // Pasta takes the address of the interface that leads on.
    lab.server.ip("route add default via 192.0.2.2");
    let place = tempfile::tempdir().expect("a directory");
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
    let said = lab.path("said");
    let file = File::create(&said).expect("a file");
    let own = "unshare --mount --pid --fork --kill-child --mount-proc --propagation private";
    let at = place.path().to_str().expect("plain");
    let argv = ["ip", "netns", "exec", lab.server.namespace()].into_iter();
    let argv = argv.chain(own.split(' '));
    let binary = env!("CARGO_BIN_EXE_logknock");
    let argv = argv.chain(["sh", "-c", SESSION, "sh", at, binary, &typed]);
    let mut session = Running::start("podman", argv, |command| {
        let errors = file.try_clone().expect("a second handle");
        command.stdout(file).stderr(errors);
    });
    let told = || fs::read_to_string(&said).expect("what was said");
    eventually("the containers run", PATIENCE * 3, || {
        assert!(session.ended().is_none(), "{}", told());
        told().contains("\nready\n")
    });
    assert!(
        told().contains("; no sshd is found, so 22/tcp is taken;"),
        "{}",
        told()
    );

    assert!(!greets(&lab.near), "before any knock: {}", told());
    let knock = format!("knock {} 7000 8000:udp 9000", Family::V4.server(0).ip());
    finish(lab.near.command(binary).args(knock.split(' ')));
    eventually("the door opens", PATIENCE, || greets(&lab.near));
    assert!(!greets(&lab.far), "another address: {}", told());
    eventually("the door closes", PATIENCE, || !greets(&lab.near));
}
