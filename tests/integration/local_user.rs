//! What any local user can count does not tell a right knock from a wrong one.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use super::daemon::{Daemon, PORTS};
use super::logknock::{Logknock, eventually};
use super::need;
use super::processes;
use super::random::Random;

/// Hits of each kind.
const HITS: u8 = 30;
/// What the scheduler may add or leave out in one run.
const NOISE: u64 = 10;

/// How often the threads of both processes have slept until they were woken.
fn wake_ups(daemon: &Daemon) -> u64 {
    let processes = processes::daemons(daemon.pid()).into_iter();
    let tasks = processes.flat_map(|pid| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        tasks.into_iter().flatten().flatten()
    });
    let counts = tasks.filter_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let (_, count) = status.split_once("\nvoluntary_ctxt_switches:\t")?;
        count.lines().next()?.parse::<u64>().ok()
    });
    counts.sum()
}

#[test]
fn a_right_knock_wakes_the_daemon_as_often_as_a_wrong_one() {
    let daemons = [(); 2].map(|()| {
        let daemon = Daemon::start("");
        let config = daemon.config();
        daemon.set_config(&config.replace("seq_timeout = \"20s\"", "seq_timeout = \"1s\""));
        daemon.says(&["reload"]);
        daemon
    });
    let [right, wrong] = &daemons;
    // A loaded machine can disturb one run. Deadlines of attempts would add one wake-up a hit to every run.
    let mut runs = (0..3).map(|_| {
        let before = [right, wrong].map(wake_ups);
        for number in 0..HITS {
            let src = format!("203.0.113.{number}");
            // The second of the two has the machine to itself, so they take turns.
            let hits = [(right, PORTS[0]), (wrong, PORTS[0] + 1)];
            for turn in 0..2 {
                let (daemon, port) = hits[usize::from((number + turn) % 2)];
                daemon.knock(&src, &[port]);
            }
            thread::sleep(Duration::from_millis(70));
        }
        // Every attempt is over: the window, the time that a line may be late, and the next tick.
        thread::sleep(Duration::from_secs(4));
        let mut counts = before.into_iter().zip([right, wrong].map(wake_ups));
        let mut next = || counts.next().map(|(before, after)| after - before).unwrap();
        [next(), next()]
    });
    let differs = |&[right, wrong]: &[u64; 2]| right.abs_diff(wrong) > NOISE;
    let seen: Vec<_> = runs.by_ref().take_while(differs).collect();
    assert!(seen.len() < 3, "right and wrong: {seen:?}");
}

/// A number that somebody without any right can read, by its place.
type Name = (String, usize);

/// All such numbers of these processes, and of a file that the daemon writes for everybody.
fn seen(processes: &[i32], metrics: &Path) -> BTreeMap<Name, i64> {
    let mut numbers = BTreeMap::new();
    let mut read = |name: &str, path: &Path| {
        let Ok(text) = fs::read_to_string(path) else {
            return;
        };
        let words = text.split(|c: char| !(c.is_ascii_digit() || c == '-'));
        let found = words.filter_map(|word| word.parse().ok());
        numbers.extend(
            found
                .enumerate()
                .map(|(place, number)| ((name.to_owned(), place), number)),
        );
        if let Ok(file) = path.metadata() {
            let changed = file.mtime() * 1000 + file.mtime_nsec() / 1_000_000;
            let size = i64::try_from(file.len()).unwrap();
            numbers.insert((format!("{name}, changed"), 0), changed);
            numbers.insert((format!("{name}, size"), 0), size);
        }
    };
    read("metrics", metrics);
    for path in ["/proc/stat", "/proc/locks", "/proc/sys/fs/file-nr"] {
        read(path, Path::new(path));
    }
    for (pid, role) in processes.iter().zip(["monitor", "detector"]) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let id = task.file_name().into_string().unwrap();
            for file in ["stat", "status", "statm", "schedstat"] {
                read(&format!("{role}/{id}/{file}"), &task.path().join(file));
            }
        }
    }
    numbers
}

/// A watcher who is nobody: each time that it is asked it tells what it sees.
fn watcher(processes: Vec<i32>, metrics: PathBuf) -> (Sender<()>, Receiver<BTreeMap<Name, i64>>) {
    let (ask, asked) = channel();
    let (tell, told) = channel();
    thread::spawn(move || {
        // Of this thread alone, by the kernel's own call.
        set_thread_groups(&[]).unwrap();
        set_thread_gid(Gid::from_raw(65_534)).unwrap();
        set_thread_uid(Uid::from_raw(65_534)).unwrap();
        while let Ok(()) = asked.recv() {
            if tell.send(seen(&processes, &metrics)).is_err() {
                break;
            }
        }
    });
    (ask, told)
}

/// How often each value was seen after a wrong and after a right hit.
type Histogram = BTreeMap<i64, [u32; 2]>;

/// The chance that two samples of one distribution have ranks so far apart (Wilcoxon, Mann and Whitney; normal,
/// with ties).
fn chance(histogram: &Histogram) -> f64 {
    let [wrong, right] = [0, 1].map(|kind| {
        let counts = histogram.values().map(|counts| f64::from(counts[kind]));
        counts.sum::<f64>()
    });
    let all = wrong + right;
    let (mut below, mut ranks, mut ties) = (0.0, 0.0, 0.0);
    for &[wrong, right] in histogram.values() {
        let here = f64::from(wrong + right);
        ranks += f64::from(right) * (below + here / 2.0 + 0.5);
        ties += here.powi(3) - here;
        below += here;
    }
    let variance = wrong * right / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = (ranks - right * (all + 1.0) / 2.0).abs() / variance.sqrt();
    // Abramowitz and Stegun, 7.1.26.
    let t = 1.0 / (1.0 + 0.327_591_1 * distance / f64::sqrt(2.0));
    let terms = [
        1.061_405_429,
        -1.453_152_027,
        1.421_413_741,
        -0.284_496_736,
        0.254_829_592,
    ];
    let sum = terms.into_iter().fold(0.0, |sum, term| (sum + term) * t);
    sum * (-distance * distance / 2.0).exp()
}

/// Nanoseconds of the processor are finer than what is promised: they are shown, and not judged.
fn is_judged((name, place): &Name) -> bool {
    !(name.ends_with("/schedstat") && *place < 2)
}

/// Sends hits, right and wrong ones by chance, and gives the chance for each number that ever changed.
fn compare(daemon: &Daemon, metrics: &Path, hits: u32, random: &mut Random) -> Vec<(f64, Name)> {
    let processes = vec![daemon.pid(), processes::detector(daemon.pid()).unwrap()];
    let (ask, told) = watcher(processes, metrics.to_owned());
    let look = || {
        ask.send(()).unwrap();
        told.recv().unwrap()
    };
    let mut histograms: BTreeMap<Name, Histogram> = BTreeMap::new();
    let (mut src, mut step) = (0_u32, 0);
    for _ in 0..2 * hits {
        let is_right = random.below(2) == 1;
        let port = PORTS[step] + u16::from(!is_right);
        let before = look();
        daemon.knock(&Ipv4Addr::from(0xc612_0000 + src).to_string(), &[port]);
        // The time itself is what is looked at.
        for (when, millis) in [("at once", 5), ("later", 20)] {
            thread::sleep(Duration::from_millis(millis));
            for ((name, place), number) in look() {
                let Some(first) = before.get(&(name.clone(), place)) else {
                    continue;
                };
                let histogram = histograms
                    .entry((format!("{when}: {name}"), place))
                    .or_default();
                histogram.entry(number - first).or_default()[usize::from(is_right)] += 1;
            }
        }
        // The second of a knock after the first; the third would open.
        if is_right && step == 0 {
            step = 1;
        } else {
            (src, step) = (src + 1, 0);
        }
    }
    histograms.retain(|_, histogram| histogram.len() > 1);
    let chances = histograms
        .iter()
        .map(|(name, seen)| (chance(seen), name.clone()));
    let mut chances: Vec<_> = chances.collect();
    chances.sort_by(|one, other| one.0.total_cmp(&other.0));
    chances
}

#[test]
fn what_user_nobody_can_read_does_not_distinguish_a_right_hit_from_a_wrong_one() {
    if !need::met(rustix::process::geteuid().is_root(), "root") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let metrics = place.path().join("metrics");
    let daemon = Daemon::start(&format!("metrics_file = \"{}\"\n", metrics.display()));
    let config = daemon.config();
    daemon.set_config(&config.replace("seq_timeout = \"20s\"", "seq_timeout = \"1s\""));
    daemon.says(&["reload"]);
    let is_long = std::env::var_os("LOGKNOCK_LONG").is_some_and(|long| long == "1");
    let hits = if is_long { 10_000 } else { 100 };
    let mut random = Random(20_261_129);
    // One number in a hundred is so far off by luck alone, so all of them are weighed together; and one run in a
    // hundred, so it takes three.
    let mut found = Vec::new();
    for _ in 0..3 {
        let chances = compare(&daemon, &metrics, hits, &mut random);
        let judged: Vec<_> = chances.iter().filter(|(_, name)| is_judged(name)).collect();
        let names = ["status", "stat", "statm"]
            .map(|file| judged.iter().any(|(_, (name, _))| name.ends_with(file)));
        assert_eq!(names, [true; 3], "the watcher sees nothing");
        let least = judged[0].0 * f64::from(u32::try_from(judged.len()).unwrap());
        eprintln!(
            "{hits} hits of each, {} numbers, p = {:.3}: {:?}",
            judged.len(),
            least.min(1.0),
            &chances[..8]
        );
        if least > 0.01 {
            return;
        }
        found.push(chances.into_iter().take(8).collect::<Vec<_>>());
    }
    panic!("right and wrong hits differ: {found:#?}");
}

/// What everybody can read of the processes of a daemon.
fn shown(first: i32) -> String {
    let read = |pid: &i32| {
        ["cmdline", "comm", "stat"]
            .map(|file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default())
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat()
    };
    let processes = processes::descendants(first);
    assert!(processes.len() > 1, "the detector is one");
    processes.iter().map(read).collect()
}

#[test]
fn a_prefix_from_a_file_is_in_no_list_of_processes() {
    let conf = "[ssh]\n\tsequence = 7101,8202\n\ttcpflags = syn\n\tcommand = /bin/sleep 600\n";
    let run = |comment: &str, options: &str| {
        let logknock = Logknock::new();
        let prefix = logknock.path("prefix").display().to_string();
        let logknock = logknock.file("prefix", "lk-4f9a1c7e: ").file(
            "knockd.conf",
            format!("{}{conf}", comment.replace('@', &prefix)),
        );
        let running = logknock.follow(&format!("--config knockd.conf {options}"));
        let pid = running.pid();
        let mut seen = shown(pid);
        if options.starts_with("--prefix ") {
            return seen;
        }
        let lines = [7101, 8202].map(|port| logknock.packet("203.0.113.7", port));
        logknock.append("kern.log", &lines.concat());
        eventually(
            || {
                seen += &shown(pid);
                seen.contains("/bin/sleep")
            },
            || "its command runs".to_owned(),
        );
        seen
    };
    // What follows can see it where it is.
    assert!(run("", "--prefix lk-4f9a1c7e:").contains("4f9a1c7e"));
    let comment = "#logknock: prefix-file = @\n";
    for (comment, options) in [(comment, ""), ("", "--prefix-file prefix")] {
        let seen = run(comment, options);
        assert!(!seen.contains("4f9a1c7e"), "{seen}");
    }
}
