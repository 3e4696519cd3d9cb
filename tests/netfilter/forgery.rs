//! Lines that look like the kernel's knock lines, made with the real parts by somebody who knows the
//! prefix and the sequence. Each test first sees the forgery stand in the log, then the door closed.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::kmsg::Kmsg;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::need::skip;
use crate::process::{self, eventually};
use crate::rsyslog::{Module, Rsyslog};
use crate::turn::Ring;

const SEQUENCE: [u16; 3] = [7000, 8000, 9000];
const DOOR: &str = "7000, 8000, 9000";
/// Who is to be let in by forged lines.
const KNOCKER: &str = "192.0.2.2";

/// The kernel's line for a SYN, as it is logged behind the lab's prefix.
fn line(lab: &Lab, port: u16) -> String {
    format!(
        "{}IN=eth0 OUT= MAC= SRC={KNOCKER} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID={port} DF \
         PROTO=TCP SPT=4{port} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 ",
        lab.prefix
    )
}

#[test]
fn a_program_that_crashes_under_the_name_of_a_whole_log_line_opens_nothing() {
    let Some(mut lab) = Lab::new(Ring::Shared, &["cc", "setpriv"]) else {
        return;
    };
    // Of a program's name the kernel shows 15 bytes in front: here the prefix and `IN`.
    let secret = lab.prefix.trim_start_matches("lk-");
    lab.prefix = format!("lk-{}: ", secret.get(..8).expect("a long secret"));
    firewall::nft(&lab);
    let mut kernel = Kmsg::from_now();
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door(DOOR, "10s", "3s"));
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let crash = dir.path().join("crash");
    let null = "int main(void) { *(volatile int *)0 = 0; return 0; }\n";
    compile(&crash, null, &[]);
    let mut told = Vec::new();
    for port in SEQUENCE {
        let named = dir.path().join(line(&lab, port));
        fs::copy(&crash, &named).expect("a name may be long");
        // The kernel tells of ten crashes in five seconds at most, of the whole machine's.
        eventually("the kernel tells of the crash", PATIENCE, || {
            let status = Command::new("setpriv")
                .args(["--reuid=65534", "--clear-groups"])
                .arg(&named)
                .stderr(Stdio::null())
                .status();
            assert!(!status.expect("it starts").success(), "it did not crash");
            told.extend(kernel.lines(&lab.prefix));
            told.iter()
                .any(|text| text.contains("segfault") && text.contains(&format!("DPT={port} ")))
        });
    }
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed, "{told:#?}");
    knock_until_open(&lab);
}

fn compile(binary: &Path, text: &str, options: &[&str]) {
    let source = binary.with_extension("c");
    fs::write(&source, text).expect("a file");
    let mut cc = process::command("cc");
    process::finish(cc.args(options).arg("-o").arg(binary).arg(source));
}

/// Where any prefix counts, the kernel's own text in front of a program's name is one, and what it prints behind
/// the name can be the value of a last field. Only the kernel's exact grammar tells it from a packet.
#[test]
fn where_any_prefix_counts_a_program_that_crashes_under_the_name_of_a_packet_opens_nothing() {
    let Some(lab) = Lab::new(Ring::Alone, &["cc", "setpriv"]) else {
        return;
    };
    if !cfg!(target_arch = "x86_64") {
        return skip("a processor of whose invalid instructions the kernel tells");
    }
    firewall::nft(&lab);
    assert!(
        Daemon::start(&lab, "kmsg", &nft_door(DOOR, "60s", "3s"))
            .stop()
            .success()
    );
    let config = fs::read_to_string(lab.path("logknock.toml")).expect("it was started on it");
    let prefix = format!("prefix = \"{}\"", lab.prefix);
    lab.write(
        "logknock.toml",
        &config.replace(&prefix, "accept_forgeable = true"),
    );
    let mut daemon = Daemon::restart(&lab);
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let crash = dir.path().join("crash");
    // Mapped so low that what is printed behind the name, `[78,10000+1000]`, fits into the name of an interface.
    let low = "-nostdlib -static -no-pie -Wl,-Ttext-segment=0x10000 -Wl,-z,max-page-size=0x1000";
    let low: Vec<_> = low.split(' ').collect();
    compile(&crash, "void _start(void) { __builtin_trap(); }\n", &low);
    let mut kernel = Kmsg::from_now();
    let mut told = Vec::new();
    for port in SEQUENCE {
        let ports = format!("PROTO=TCP SPT=4{port} DPT={port}");
        let addresses = format!("SRC={KNOCKER} DST=192.0.2.1");
        let head =
            format!("IN=eth0 OUT= MAC= {addresses} LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID={port} DF");
        for name in [
            format!("IN=eth0 OUT= {addresses} {ports} WINDOW=1 SYN URGP=0 PHYSIN="),
            format!("{head} {ports} WINDOW=64240 RES=0x00 SYN URGP=0 PHYSIN="),
            format!("{head} {ports} WINDOW=64240 RES=0x00 SYN URGP=0 MARK="),
            format!("{head} {ports} WINDOW=64240 RES=0x00 SYN URGP=0 "),
        ] {
            let named = dir.path().join(&name);
            fs::copy(&crash, &named).expect("a name may be long");
            eventually("the kernel tells of the crash", PATIENCE, || {
                let status = Command::new("setpriv")
                    .args(["--reuid=65534", "--clear-groups"])
                    .arg(&named)
                    .stderr(Stdio::null())
                    .status();
                assert!(!status.expect("it starts").success(), "it did not crash");
                told.extend(kernel.lines("traps: "));
                let printed = "trap invalid opcode ip:";
                let tail = format!(" in {name}[");
                told.iter()
                    .any(|line| line.contains(printed) && line.contains(&tail))
            });
        }
    }
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed, "{told:#?}");
    knock_until_open(&lab);
}

#[test]
fn an_icmp_error_that_quotes_a_knock_opens_nothing() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let logged = format!(
        "insert rule inet lab input icmp type destination-unreachable log prefix \"{}\"",
        lab.prefix
    );
    process::finish(lab.server.command("nft").arg(logged));
    let mut kernel = Kmsg::from_now();
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door(DOOR, "10s", "3s"));
    let mut told = Vec::new();
    for port in SEQUENCE {
        send_icmp_error(&lab, port);
        eventually(
            "the kernel logs the error and what it quotes",
            PATIENCE,
            || {
                told.extend(kernel.lines(&lab.prefix));
                let quoted = format!("DPT={port} ");
                told.iter()
                    .any(|text| text.contains("PROTO=ICMP TYPE=3") && text.contains(&quoted))
            },
        );
    }
    daemon.settle(&lab, &lab.near, Family::V4);
    for client in [&lab.near, &lab.far] {
        assert_eq!(ssh(client, Family::V4), Reach::Closed, "{told:#?}");
    }
    knock_until_open(&lab);
}

/// A destination-unreachable from the near host that quotes a SYN of another's to `port`.
fn send_icmp_error(lab: &Lab, port: u16) {
    let server = Ipv4Addr::new(192, 0, 2, 1);
    let quoted_source: Ipv4Addr = KNOCKER.parse().expect("an address");
    let mut error = vec![3, 3, 0, 0, 0, 0, 0, 0];
    error.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    error.extend(quoted_source.octets());
    error.extend(server.octets());
    error.extend(40_000_u16.to_be_bytes());
    error.extend(port.to_be_bytes());
    error.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0]);
    let sum = checksum(&error).to_be_bytes();
    error[2..4].copy_from_slice(&sum);
    lab.near.inside(|| {
        let raw =
            socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).expect("root may");
        let to = SocketAddr::V4(SocketAddrV4::new(server, 0));
        sendto(&raw, &error, SendFlags::empty(), &to).expect("an ICMP packet leaves");
    });
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(0)
}

#[test]
fn what_users_send_to_syslog_is_not_in_the_file_of_the_kernels_lines() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd"]) else {
        return;
    };
    firewall::nft(&lab);
    let mut syslog = Rsyslog::start(&lab, Module::Imklog);
    let source = syslog.log().display().to_string();
    let mut daemon = Daemon::start(&lab, &source, &nft_door(DOOR, "10s", "3s"));
    let forged = forge(&lab, &syslog, "kernel: ");
    syslog.catch_up(&lab);
    let forgery = format!("{}IN=eth0 ", lab.prefix);
    assert!(
        forged.contains(&forgery) && !syslog.text().contains(&forgery),
        "{forged}"
    );
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    knock_until_open(&lab);
}

#[test]
fn in_a_file_that_users_can_write_to_another_programs_tag_opens_nothing() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd"]) else {
        return;
    };
    firewall::nft(&lab);
    let syslog = Rsyslog::start(&lab, Module::Imklog);
    let source = syslog.log_of_users().display().to_string();
    let start = || {
        Daemon::start(
            &lab,
            &format!("{source}\", \"kmsg"),
            &nft_door(DOOR, "10s", "3s"),
        )
    };
    let mut daemon = start();
    for tag in [
        "sshd[4711]: Invalid user kernel: ",
        "su: ",
        "kernel[1]: ",
        "xkernel: ",
    ] {
        forge(&lab, &syslog, tag);
    }
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    // The limit of such a file, and why it wants a secret prefix: who knows it can pose as the kernel.
    forge(&lab, &syslog, "kernel: ");
    eventually("ssh opens to who knows the secret", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
}

/// By design: with `nf_log_all_netns` the kernel itself writes these lines, and nothing in them tells them from
/// its other ones. What is left is the prefix, and that `check` says so.
#[test]
fn where_the_kernel_logs_for_all_namespaces_a_user_with_the_secrets_can_knock_for_any_address() {
    let Some(lab) = Lab::new(Ring::Shared, &["bash"]) else {
        return;
    };
    if !as_nobody("unshare -Ur true").status.success() {
        return skip("user namespaces that any user may make");
    }
    firewall::nft(&lab);
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door(DOOR, "10s", "3s"));
    let configuration = lab.path("logknock.toml");
    let checked = process::command(env!("CARGO_BIN_EXE_logknock"))
        .args(["check", "--config"])
        .arg(configuration)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(said.contains("net.netfilter.nf_log_all_netns=0"), "{said}");

    forge_in_a_namespace("lk-guessed: ");
    daemon.settle(&lab, &lab.far, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    forge_in_a_namespace(&lab.prefix);
    eventually("ssh opens to who knows the secrets", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
}

/// In namespaces of a user without any right: a LOG rule with this prefix, and the sequence from the
/// knocker's address to one of its own.
fn forge_in_a_namespace(prefix: &str) {
    let rule = format!(
        "table inet forger {{ chain input {{ type filter hook input priority 0; \
         tcp flags & (fin | syn | rst | ack) == syn log prefix \\\"{prefix}\\\"; }}; }}"
    );
    let mut kernel = Kmsg::from_now();
    let ports = SEQUENCE.map(|port| port.to_string()).join(" ");
    let done = as_nobody(&format!(
        "unshare -Urn bash -ec 'ip link set lo up; ip addr add {KNOCKER}/32 dev lo; \
         ip route add local 203.0.113.67 dev lo src {KNOCKER} table local; nft \"{rule}\"; \
         for port in {ports}; do (: </dev/tcp/203.0.113.67/$port) 2>/dev/null || true; done'"
    ));
    assert!(done.status.success(), "{done:?}");
    let last = format!(" DPT={} ", SEQUENCE[2]);
    eventually("the kernel logs for the namespace", PATIENCE, || {
        let lines = kernel.lines(prefix);
        lines.iter().any(|line| line.contains(&last))
    });
}

/// Runs a line of shell without any right.
fn as_nobody(line: &str) -> Output {
    let words = "--reuid=65534 --regid=65534 --clear-groups sh -c";
    let mut command = process::command("setpriv");
    let command = command.args(words.split(' ')).arg(line);
    command.output().expect("setpriv runs")
}

/// Sends the sequence to syslog as a user can, behind `tag`, and waits until it is written.
fn forge(lab: &Lab, syslog: &Rsyslog, tag: &str) -> String {
    let socket = UnixDatagram::unbound().expect("a socket");
    let mut sent = String::new();
    for port in SEQUENCE {
        let text = format!("{tag}{}", line(lab, port));
        writeln!(sent, "{text}").expect("a string grows");
        let now = logknock::calendar::utc(logknock::clock::wall_now()).expect("a date");
        let (_, month, day) = now.to_calendar_date();
        let (hour, minute, second) = now.to_hms();
        let month = &month.to_string()[..3];
        let datagram = format!("<4>{month} {day:>2} {hour:02}:{minute:02}:{second:02} {text}");
        socket
            .send_to(datagram.as_bytes(), syslog.socket())
            .expect("rsyslogd listens");
    }
    let last = format!("{tag}{}", line(lab, SEQUENCE[2]));
    eventually("rsyslogd writes what users send", PATIENCE, || {
        fs::read_to_string(syslog.log_of_users()).is_ok_and(|text| text.contains(last.trim_end()))
    });
    sent
}

fn knock_until_open(lab: &Lab) {
    lab.hit(&lab.near, Family::V4, &SEQUENCE.map(Hit::Tcp));
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
}
