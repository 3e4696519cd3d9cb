//! Tests of the library and of the binary that need neither root nor a network.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests touch real files and processes, and fail by panicking"
)]

#[path = "integration/answered.rs"]
mod answered; // one knock, one answer, whoever of the daemon is killed
#[path = "integration/attacks.rs"]
mod attacks; // lines that the kernel did not write
#[path = "integration/attacks_live.rs"]
mod attacks_live; // … old ones and floods, at the real daemon
#[path = "integration/attacks_packet.rs"]
mod attacks_packet; // packets that are no knock
#[path = "../src/engine/chained_test.rs"]
mod chained; // detection and grants in one process, as in the engine's own tests
#[path = "integration/cli.rs"]
mod cli; // every command: what it says, and how it ends
#[path = "integration/cli_daemon.rs"]
mod cli_daemon; // the daemon on a log file: signals, crashes, reloads
#[path = "integration/cli_knockd.rs"]
mod cli_knockd; // a knockd.conf on the command line, as it is and converted
#[path = "integration/cli_logs.rs"]
mod cli_logs; // parse and replay, to the letter
#[path = "integration/config.rs"]
mod config; // fixtures/config: what is accepted, and exactly what is said of what is not
#[path = "integration/config_secrecy.rs"]
mod config_secrecy; // damaged configs, searched for their secrets
#[path = "integration/control.rs"]
mod control; // the running daemon and the commands that ask it: who may, and what
#[path = "integration/crashes.rs"]
mod crashes; // kill -9 at any instant, many times
#[path = "integration/daemon.rs"]
mod daemon; // a real daemon that is asked, stopped and killed
#[path = "integration/dependencies.rs"]
mod dependencies; // they are those that deny.toml lets in
#[path = "integration/differential.rs"]
mod differential; // the packet reader against regular expressions
#[path = "integration/docs.rs"]
mod docs; // documents that cannot go stale
#[path = "integration/docs_site.rs"]
mod docs_site; // docs/: its pages, their commands and configurations, and the generated reference
#[path = "integration/ending.rs"]
mod ending; // what systemd is told, and how the daemon ends at a signal
#[path = "integration/engine.rs"]
mod engine; // properties of the detection, on random knocks
#[path = "../src/engine/example_test.rs"]
mod example; // a plain door, the same as in the engine's own tests
#[path = "integration/faults.rs"]
mod faults; // disks, clocks and signals that fail the daemon
#[path = "integration/follow.rs"]
mod follow; // a followed file through rotation, step by step
#[path = "integration/follow_busy.rs"]
mod follow_busy; // … by one that cannot look
#[path = "integration/follow_damage.rs"]
mod follow_damage; // … through truncation, holes, and other things in its place
#[path = "integration/follow_files.rs"]
mod follow_files; // … where a pattern names many
#[path = "integration/follow_history.rs"]
mod follow_history; // random histories of a file against a model
#[path = "integration/follow_live.rs"]
mod follow_live; // a followed file by a thread that inotify wakes
#[path = "integration/follow_model.rs"]
mod follow_model; // … the model of these histories
#[path = "integration/follow_mounts.rs"]
mod follow_mounts; // … whose file system goes, over thousands of rotations, and idle: by that thread
#[path = "integration/follow_restart.rs"]
mod follow_restart; // a follower that ends and begins again
#[path = "integration/followed.rs"]
mod followed; // the fixture of those without a thread
#[path = "integration/follower.rs"]
mod follower; // the real thread and inotify, for those that follow live
#[path = "integration/forger.rs"]
mod forger; // a forged sequence in front of a genuine one
#[path = "integration/formats.rs"]
mod formats; // fixtures/formats: other firewalls' lines, by the regex of their config
#[path = "integration/fuzz.rs"]
mod fuzz; // the fuzz targets, on a bounded number of inputs
#[path = "../benches/bench/generate.rs"]
mod generate; // the logs of the benchmarks
#[path = "integration/grammar.rs"]
mod grammar; // what must hold for every line
#[path = "integration/guesses.rs"]
mod guesses; // how many guesses a code stands
#[path = "integration/held.rs"]
mod held; // a process that stands still
#[path = "integration/imports.rs"]
mod imports; // who may import whom
#[path = "integration/jumps.rs"]
mod jumps; // a wall clock that was set while the daemon ran
#[path = "integration/kernel_rules.rs"]
mod kernel_rules; // rules that need no daemon: what is printed, and what is refused
#[path = "integration/knock.rs"]
mod knock; // the client on loopback
#[path = "integration/knock_files.rs"]
mod knock_files; // … and the files it reads
#[path = "integration/knockd_conf.rs"]
mod knockd_conf; // fixtures/knockd: what becomes of them, and whether the real knockd agrees
#[path = "integration/knocks.rs"]
mod knocks; // random doors and knocks, and an engine to try them on
#[path = "integration/lines.rs"]
mod lines; // fixtures/lines: log lines with their reading
#[path = "integration/local_user.rs"]
mod local_user; // what another user of the host can count of a daemon
#[path = "integration/logknock.rs"]
mod logknock; // the real binary with any command, in a directory of its own
#[path = "integration/logrotate.rs"]
mod logrotate; // the real logrotate
#[path = "integration/logrotate_rsyslogd.rs"]
mod logrotate_rsyslogd; // … with real syslog daemons
#[path = "integration/logs.rs"]
mod logs; // fixtures/logs: whole logs through the real replay
#[path = "integration/many.rs"]
mod many; // floods and bursts, in small
#[path = "integration/namespace.rs"]
mod namespace; // one test again where it may lower limits and mount
#[path = "integration/need.rs"]
mod need; // what a test needs from its surroundings
#[path = "integration/netfilter_line.rs"]
mod netfilter_line; // packet lines made by the grammar
#[path = "integration/netfilter_transport.rs"]
mod netfilter_transport; // … from PROTO= on
#[path = "integration/networks.rs"]
mod networks; // an IPv6 network as one knocker
#[path = "integration/notify.rs"]
mod notify; // [notify]: what is told, and what does not wait for it
#[path = "integration/one_time.rs"]
mod one_time; // sequences that open once: replayed, after a crash, from a list
#[path = "integration/opens_once.rs"]
mod opens_once; // what must hold of these, over any order and restarts
#[path = "integration/privileges.rs"]
mod privileges; // what each of the daemon's two processes can do
#[path = "integration/processes.rs"]
mod processes; // the processes of a daemon
#[path = "integration/random.rs"]
mod random; // chance that a seed repeats
#[path = "integration/report.rs"]
mod report; // replay --report: what the page holds, and in a browser
#[path = "integration/restart.rs"]
mod restart; // the daemon that ends and begins again on the same log
#[path = "integration/rsyslogd.rs"]
mod rsyslogd; // a real one, for the tests above
#[path = "integration/run_as.rs"]
mod run_as; // commands as another user
#[path = "integration/samples.rs"]
mod samples; // every line of fixtures/samples gets the reading it must get
#[path = "integration/scans.rs"]
mod scans; // port scans, which open nothing
#[path = "integration/scenarios.rs"]
mod scenarios; // fixtures/scenarios: timed knocks and what they do
#[path = "integration/screens.rs"]
mod screens; // fixtures/screens: what stands on a terminal of 80 and of 200 columns
#[path = "integration/several_sources.rs"]
mod several_sources; // one kernel's lines through two sources at once
#[path = "integration/slow_commands.rs"]
mod slow_commands; // commands that hang, wait, or cannot be started
#[path = "integration/sockets.rs"]
mod sockets; // syslog datagrams over UNIX and UDP
#[path = "integration/stdin.rs"]
mod stdin; // the daemon on standard input, to its end
#[path = "integration/terminal.rs"]
mod terminal; // a real terminal, in tmux
#[path = "integration/time.rs"]
mod time; // what clocks, zones and calendars can do to a knock
#[path = "integration/told.rs"]
mod told; // what the daemon tells of itself: status, stories, metrics, events
#[path = "integration/totp.rs"]
mod totp; // the secret of a door, and its ports of the moment
#[path = "integration/trust.rs"]
mod trust; // sources that are refused, by check and by the daemon in the same words
#[path = "integration/unit.rs"]
mod unit; // how much systemd lets the packaged unit do
#[path = "integration/watch.rs"]
mod watch;
#[path = "integration/words.rs"]
mod words; // how the documents read: short sentences, one word for one thing // … in which the status is watched
