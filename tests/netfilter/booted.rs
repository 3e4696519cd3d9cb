//! A systemd of our own: on a copy of a root directory that is thrown away, in namespaces without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use tempfile::TempDir;

use crate::lab::PATIENCE;
use crate::need::need;
use crate::packages::build;
use crate::process::{Running, children, command, eventually, name};

/// What booting needs.
const TOOLS: [&str; 5] = ["systemd", "systemctl", "unshare", "nsenter", "mount"];

/// Makes a root directory out of `$3` and lets `$5` boot it, and boot it again after each reboot: the first process ends
/// by SIGHUP then. `$1` is where, `$2` what is put over it, `$4` what systemd starts.
const KEEP: &str = r#"
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$3,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
rm -rf etc/logknock var/lib/logknock var/log/logknock
cp -r "$2/." .
mkdir old
ended=129
while [ $ended = 129 ]; do
    ended=0
    setpriv --pdeathsig KILL unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child --propagation private \
        sh -c "$5" sh "$4" || ended=$?
done
exit $ended
"#;
/// Becomes the first process of the root directory that it is in. What systemd starts is `$1`.
const BOOT: &str = r#"
set -e
for type in proc sysfs cgroup2 tmpfs; do
    case $type in proc) on=proc ;; sysfs) on=sys ;; cgroup2) on=sys/fs/cgroup ;; tmpfs) on=run ;; esac
    mount -t $type $type $on
done
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
touch dev/console dev/ptmx
mount --bind /dev/null dev/console
mount --bind dev/pts/ptmx dev/ptmx
for node in null zero full random urandom tty kmsg; do
    touch dev/$node
    mount --bind /dev/$node dev/$node
done
pivot_root . old
umount -l /old
exec env -i container=lab SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=1 \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit="$1" --log-target=null --show-status=0
"#;
/// How long a boot or a reboot may take on a busy machine.
const BOOT_TIMEOUT: Duration = Duration::from_secs(90);

/// What is put over a root directory that is to be booted.
pub(crate) struct Files(TempDir);

impl Files {
    /// Nothing yet; `None` where the test is skipped, because it lacks one of `tools` or something to boot with.
    pub(crate) fn new(tools: &[&str]) -> Option<Self> {
        let is_possible = need(&TOOLS) && need(tools);
        is_possible.then(|| Self(tempfile::tempdir().expect("a directory")))
    }

    /// Where a path of the root directory is until then, in a directory that is there.
    pub(crate) fn place(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        path
    }

    pub(crate) fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.place(path), text).expect("a file");
    }

    /// Puts the package there that `packaging/build` makes.
    pub(crate) fn put_package(&self, path: &str, what: &str, environment: &[(&str, &str)]) {
        let out = tempfile::tempdir().expect("a directory");
        let package = build(what, out.path(), environment);
        fs::copy(package, self.place(path)).expect("a copy");
    }

    /// Boots `root` with them over it until `unit` is active.
    pub(crate) fn boot(&self, root: &Path, unit: &str) -> Booted {
        Booted::start(root, self.0.path(), unit)
    }
}

/// A machine with a systemd.
pub(crate) struct Booted {
    running: Running,
    first: Pid,
    unit: String,
    cgroup: PathBuf,
    _dir: TempDir,
}

impl Booted {
    fn start(root: &Path, files: &Path, unit: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("root");
        fs::create_dir(&place).expect("a directory");
        let number = dir.path().file_name().expect("it has a name");
        let cgroup = cgroups().join(format!("logknock-lab-{}", number.display()));
        fs::create_dir_all(&cgroup).expect("a control group");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.display());
        let [place, files, root] = [&place, files, root].map(|path| path.to_str().expect("plain"));
        let unshare = "unshare --mount --cgroup --propagation private";
        let argv = ["sh", "-c", &enter, "sh"]
            .into_iter()
            .chain(unshare.split(' '));
        let argv = argv.chain(["sh", "-c", KEEP, "sh", place, files, root, unit, BOOT]);
        let running = Running::start("systemd", argv, |_| ());
        let first = Self::booted(&running, unit, None);
        Self {
            running,
            first,
            unit: unit.to_owned(),
            cgroup,
            _dir: dir,
        }
    }

    /// Boots it again, with what is on its disk; all else is gone.
    pub(crate) fn reboot(&mut self) {
        // It may be gone before it has answered.
        self.try_run("systemctl reboot");
        self.first = Self::booted(&self.running, &self.unit, Some(self.first));
    }

    /// The first process, other than the one `before`, once `unit` is active.
    fn booted(running: &Running, unit: &str, before: Option<Pid>) -> Pid {
        let mut first = None;
        eventually("systemd is the first process", BOOT_TIMEOUT, || {
            let inner = children(running.pid()).into_iter();
            let mut firsts =
                inner.flat_map(|inner| children(inner.as_raw_nonzero().get().cast_unsigned()));
            first = firsts.find(|first| Some(*first) != before && name(*first) == "systemd");
            first.is_some()
        });
        let first = first.expect("it is there");
        let is_active = format!("systemctl is-active {unit}");
        eventually("the unit is active", BOOT_TIMEOUT, || {
            inside(first, &is_active).status.success()
        });
        first
    }

    /// Runs a line of shell in it.
    pub(crate) fn try_run(&self, line: &str) -> Output {
        inside(self.first, line)
    }

    /// The same; a failure fails the test with its words.
    pub(crate) fn run(&self, line: &str) -> String {
        let done = self.try_run(line);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{line}: {said}{error}");
        said
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // Its first process takes all others along.
        let _ = rustix::process::kill_process(self.first, rustix::process::Signal::KILL);
        eventually("systemd is gone", PATIENCE, || {
            self.running.ended().is_some()
        });
        let _ = command("find")
            .arg(&self.cgroup)
            .args(["-depth", "-type", "d", "-delete"])
            .stderr(Stdio::null())
            .status();
    }
}

/// Runs a line of shell where the process is.
fn inside(first: Pid, line: &str) -> Output {
    let first = first.as_raw_nonzero().to_string();
    let mut command = command("nsenter");
    command.args(["-a", "-r", "-w", "-t", &first, "sh", "-c", line]);
    command.stdin(Stdio::null()).output().expect("a shell")
}

/// Where the one hierarchy of control groups is, beside older ones or alone.
fn cgroups() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    let mut mounts = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let mount = mounts.next().expect("control groups of version 2");
    Path::new(mount.split(' ').nth(4).expect("a mount point")).to_owned()
}
