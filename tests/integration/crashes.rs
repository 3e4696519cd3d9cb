//! `kill -9` at any instant of open, wait, close and restart: what was opened is closed, once, and a knock
//! is answered once.
//!
//! Several daemons at once live through runs of their own: knocks, a kill at an instant drawn from a
//! seed (of the process that runs, of the one that reads, of all, with the commands or without), a start,
//! perhaps another kill in the middle of it. A door is a file, and another one only counts, so at the end
//! nobody has to be believed. `LOGKNOCK_LONG=1` makes it 500 runs, `LOGKNOCK_SEED=n` other ones.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use logknock::clock;
use rustix::process::{Pid, Signal, kill_process};

use super::daemon::{Daemon, PATIENCE, eventually};
use super::processes::{daemons, descendants, is_daemon};
use super::random::Random;

/// How long a door stays open.
const HOLD: Duration = Duration::from_millis(300);
/// Daemons at once.
const DAEMONS: u8 = 5;
/// The clock of the commands (`/proc/uptime`) counts hundredths of a second and rounds down.
const TICK: f64 = 0.011;
/// A command that the daemon had started when it was killed may begin so much later on a busy machine.
const BEGUN: f64 = 0.25;

#[test]
fn after_any_kill_every_open_is_closed_and_nothing_is_opened_twice() {
    let runs = if std::env::var_os("LOGKNOCK_LONG").is_some_and(|long| long == "1") {
        100
    } else {
        5
    };
    let seed = std::env::var("LOGKNOCK_SEED").map_or(1, |seed| seed.parse().unwrap());
    let lives: Vec<_> = thread::scope(|scope| {
        let start = |number| scope.spawn(move || Life::new(number, seed).live(runs));
        let lives: Vec<_> = (0..DAEMONS).map(start).collect();
        lives.into_iter().map(|life| life.join().unwrap()).collect()
    });
    let mut tally = Tally::default();
    for life in &lives {
        life.check(&mut tally);
    }
    eprintln!("{} runs: {tally:?}", runs * usize::from(DAEMONS));
    assert!(tally.opened > 0 && tally.cut_while_open > 0);
    assert!(tally.ran > 0 && tally.kills_of_the_detector > 0);
}

/// What the runs met, in numbers of grants.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    kills_while_starting: usize,
    kills_of_the_detector: usize,
    knocks: usize,
    opened: usize,
    ran: usize,
    cut_before_opening: usize,
    cut_while_opening: usize,
    cut_while_open: usize,
    /// The close had run, and its end was not on disk yet.
    closed_again: usize,
    /// Seconds from when it could have been closed first.
    latest_close: f64,
}

/// One daemon through many deaths.
struct Life {
    number: u8,
    chance: Random,
    daemon: Daemon,
    /// When each address knocked, in seconds of the boot clock.
    knocks: BTreeMap<String, Vec<f64>>,
    /// How often each address knocked at the door that only runs a command.
    asked_to_run: BTreeMap<String, usize>,
    kills: Vec<f64>,
    kills_while_starting: usize,
    kills_of_the_detector: usize,
    /// Who knocked last.
    knocker: String,
    /// The processes of the daemon that runs.
    members: Vec<i32>,
    /// When a daemon was there that nobody killed while it started.
    starts: Vec<f64>,
}

impl Life {
    fn new(number: u8, seed: u64) -> Self {
        let mut life = Self {
            number,
            chance: Random(seed * 1000 + u64::from(number)),
            daemon: Daemon::start(""),
            knocks: BTreeMap::new(),
            asked_to_run: BTreeMap::new(),
            kills: Vec::new(),
            kills_while_starting: 0,
            kills_of_the_detector: 0,
            knocker: String::new(),
            members: Vec::new(),
            starts: Vec::new(),
        };
        life.daemon.stop();
        let dir = life.daemon.dir().display();
        // The command of an even address outlives the deadline, and the daemon if that is killed.
        let open = format!(
            "read t _ </proc/uptime; echo open %IP% $t >>{dir}/commands; \
             case %IP% in *[02468]) sleep 0.4;; esac; \
             : >{dir}/doors/%IP%; echo opened %IP% 0 >>{dir}/commands"
        );
        let close = format!(
            "rm -f {dir}/doors/%IP%; read t _ </proc/uptime; \
             echo close %IP% $t >>{dir}/commands"
        );
        let config = format!(
            "[log]\nprefix = \"lk-4f9a1c7e: \"\n[door.ssh]\nsequence = [7101, 8202, 9303]\n\
             cmd_timeout = \"{}ms\"\nshell = true\nstart_command = \"{open}\"\nstop_command = \"{close}\"\n\
             [door.ping]\nsequence = [7301, 8402]\nshell = true\nstart_command = \"echo %IP% >>{dir}/runs\"\n",
            HOLD.as_millis()
        );
        life.daemon.set_config(&config);
        fs::create_dir(life.daemon.dir().join("doors")).unwrap();
        life
    }

    fn live(mut self, runs: usize) -> Self {
        for run in 0..runs {
            self.start();
            for one in 0..=self.chance.below(3) {
                self.knocker = format!("10.{}.{run}.{one}", self.number);
                self.knock();
            }
            self.wait_for_chance();
            self.kill();
            if self.chance.below(3) == 0 {
                // Whoever finds the door shut, or thinks so, knocks again.
                self.start();
                self.knock();
                self.wait_for_chance();
                self.kill();
            }
            if self.chance.below(3) == 0 {
                self.daemon.spawn();
                self.members = vec![self.daemon.pid()];
                self.sleep(60);
                self.kill();
                self.kills_while_starting += 1;
            }
        }
        self.start();
        let daemon = &mut self.daemon;
        daemon.wait_until("all is closed", |status| status.grants.is_empty());
        assert_eq!(daemon.stop().code(), Some(0));
        self
    }

    fn start(&mut self) {
        let now = seconds();
        self.daemon.restart();
        self.starts.push(now);
        self.members = daemons(self.daemon.pid());
        // What is a daemon only until it has become a command is not there any more.
        thread::sleep(Duration::from_millis(5));
        self.members.retain(|&pid| is_daemon(pid));
    }

    fn knock(&mut self) {
        let src = self.knocker.clone();
        self.knocks.entry(src.clone()).or_default().push(seconds());
        self.daemon.knock_stamped(&src, &[7101, 8202, 9303]);
        self.daemon.knock_stamped(&src, &[7301, 8402]);
        *self.asked_to_run.entry(src).or_default() += 1;
    }

    /// Most of the time is waiting, but most of what can go wrong is in the commands.
    fn wait_for_chance(&mut self) {
        match self.chance.below(3) {
            0 => self.sleep(80),
            1 => self.sleep(600),
            _ => {
                thread::sleep(HOLD);
                self.sleep(60);
            }
        }
    }

    fn sleep(&mut self, below_millis: usize) {
        let micros = self.chance.below(below_millis * 1000);
        thread::sleep(Duration::from_micros(micros.try_into().unwrap()));
    }

    /// Kills one process of the daemon, or all of them, with the commands or without; those that are
    /// left must not go on as if nothing had happened.
    fn kill(&mut self) {
        let first = self.daemon.pid();
        let daemons = daemons(first);
        let mut members = self.members.clone();
        members.retain(|pid| daemons.contains(pid));
        let victims = match self.chance.below(6) {
            0 => descendants(first),
            1..4 => vec![*self.chance.pick(&members)],
            _ => daemons.clone(),
        };
        for &victim in &victims {
            let pid = Pid::from_raw(victim).unwrap();
            // A command may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        if !victims.contains(&first) {
            // The monitor goes on, with another detector; until it is killed too.
            self.kills.push(seconds());
            self.kills_of_the_detector += 1;
            self.wait_for_chance();
            if self.chance.below(2) == 0 {
                self.knock();
                self.wait_for_chance();
            }
            for victim in descendants(first)
                .into_iter()
                .filter(|&pid| pid == first || is_daemon(pid))
            {
                let _ = kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL);
            }
        }
        self.daemon.ended();
        eventually("every process of it ends", || {
            !daemons.iter().any(|&pid| is_daemon(pid))
        });
        self.kills.push(seconds());
    }

    /// Every address: opened no more often than it knocked, never twice without a close between, never
    /// closed too early, closed at the end; and no second close but behind a kill.
    fn check(&self, tally: &mut Tally) {
        let doors = fs::read_dir(self.daemon.dir().join("doors")).unwrap();
        let doors: Vec<_> = doors.map(|door| door.unwrap().file_name()).collect();
        assert!(
            doors.is_empty(),
            "still open: {doors:?}\n{}",
            self.daemon.commands()
        );
        tally.kills += self.kills.len();
        tally.kills_while_starting += self.kills_while_starting;
        tally.kills_of_the_detector += self.kills_of_the_detector;
        tally.knocks += self.knocks.values().map(Vec::len).sum::<usize>();
        for (src, knocks) in &self.asked_to_run {
            let runs = self.runs();
            let count = runs.lines().filter(|ran| ran == src).count();
            tally.ran += count;
            assert!(
                count <= *knocks,
                "{src}: run {count} times for {knocks} knocks"
            );
        }
        let mut acts: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
        let commands = self.daemon.commands();
        for line in commands.lines() {
            let [act, src, at] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            acts.entry(src)
                .or_default()
                .push((act, at.parse().unwrap()));
        }
        for (src, acts) in acts {
            self.check_one(&self.knocks[src], &acts, tally)
                .unwrap_or_else(|why| panic!("{src}: {why}: {acts:?}\n{:?}", self.kills));
        }
    }

    fn runs(&self) -> String {
        fs::read_to_string(self.daemon.dir().join("runs")).unwrap_or_default()
    }

    fn check_one(
        &self,
        knocks: &[f64],
        acts: &[(&str, f64)],
        tally: &mut Tally,
    ) -> Result<(), &'static str> {
        let opens = acts.iter().filter(|(act, _)| *act == "open").count();
        if opens > knocks.len() {
            return Err("opened more often than knocked");
        }
        tally.opened += opens;
        let killed_within = |from: f64, to: f64| {
            self.kills
                .iter()
                .any(|&kill| (from - TICK..=to + TICK).contains(&kill))
        };
        let mut last = ("nothing", knocks[0]);
        let mut untold = 0;
        for &(act, at) in acts {
            match (last.0, act) {
                ("nothing" | "close", "open") | ("open", "opened") => {}
                ("open" | "opened", "close") => {
                    let killed = killed_within(last.1, at);
                    if last.0 == "open" && !killed {
                        return Err("closed before its open ended");
                    }
                    tally.cut_while_opening += usize::from(last.0 == "open");
                    tally.cut_while_open += usize::from(last.0 == "opened" && killed);
                    self.check_time(knocks, at, tally)?;
                }
                // On disk, and killed before the command ran: nobody can know that it did not.
                ("nothing", "close") if killed_within(last.1, at) => tally.cut_before_opening += 1,
                ("close", "close") if killed_within(last.1 - BEGUN, at) => tally.closed_again += 1,
                // An older close whose end a kill kept off the disk has waited until the newer grant was closed.
                ("close", "close") if untold > 0 => {
                    untold -= 1;
                    tally.closed_again += 1;
                }
                _ => return Err("commands out of order"),
            }
            untold += usize::from(act == "close" && killed_within(at, at + BEGUN));
            // When it ended is not told; what counts is when it began.
            last = (act, if act == "opened" { last.1 } else { at });
        }
        match last.0 {
            "close" => Ok(()),
            _ => Err("not closed"),
        }
    }

    fn check_time(&self, knocks: &[f64], at: f64, tally: &mut Tally) -> Result<(), &'static str> {
        let knock = knocks.iter().rfind(|&&knock| knock <= at + TICK);
        let due = knock.ok_or("closed before it was knocked")? + HOLD.as_secs_f64();
        // A second knock at a door in doubt has it closed at once.
        if at + TICK < due && knocks.len() == 1 {
            return Err("closed too early");
        }
        let start = self.starts.iter().rfind(|&&start| start <= at + TICK);
        let late = at - start.map_or(due, |start| due.max(*start));
        tally.latest_close = tally.latest_close.max(late);
        if late > PATIENCE.as_secs_f64() {
            return Err("closed too late");
        }
        Ok(())
    }
}

fn seconds() -> f64 {
    clock::boot_now()
        .since(logknock::engine::time::Time::default())
        .as_secs_f64()
}
