//! Where the inputs begin: the fixtures, cut to what each target takes.

use std::fs;
use std::path::{Path, PathBuf};

use logknock::engine::line;

/// Every target by name.
pub(crate) const TARGETS: [&str; 14] = [
    "command", "config", "control", "dialect", "engine", "format", "framing", "knockd", "ledger",
    "netlink", "nflog", "packet", "privsep", "replay",
];

/// The inputs that `target` begins with. `root` is the directory that holds `fixtures`.
pub(crate) fn of(target: &str, root: &Path) -> Vec<Vec<u8>> {
    match target {
        "framing" | "dialect" => lines(root),
        "packet" => {
            let lines = lines(root);
            let packets = lines.iter().map(|line| packet(line));
            packets.chain([BLANK_BEHIND_PREFIX.to_vec()]).collect()
        }
        "config" => configs(root),
        "knockd" => ["fixtures/knockd", "fixtures/knockd/bad"]
            .into_iter()
            .flat_map(|directory| files(root, directory, "conf"))
            .collect(),
        "command" => COMMANDS.map(|text| text.as_bytes().to_vec()).into(),
        "engine" => (0..=u8::MAX).map(schedule).collect(),
        "format" => formats(root),
        "replay" => logs(root),
        "nflog" => datagrams(),
        "netlink" => batches(),
        "privsep" => MESSAGES.map(|text| text.as_bytes().to_vec()).into(),
        "control" => frames(),
        "ledger" => JOURNALS.map(|text| text.as_bytes().to_vec()).into(),
        other => panic!("there is no target called {other}"),
    }
}

/// What ulogd writes behind a log prefix that ends in a blank itself.
const BLANK_BEHIND_PREFIX: &[u8] =
    b"\xfflk-4f9a1c7e:  IN=eth0 OUT= SRC=192.0.2.7 DST=192.0.2.1 LEN=112 TOS=0x00 PREC=0xC0 TTL=64 ID=4976 PROTO=2 ";

/// A TCP packet over IPv4, and one over IPv6 behind two extension headers, as the kernel sends them.
fn datagrams() -> Vec<Vec<u8>> {
    let tcp = [
        0x9c, 0x40, 0x1b, 0x58, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 2, 0xfa, 0xf0, 0, 0, 0, 0,
    ];
    let v4 = [
        0x45, 0, 0, 60, 0x12, 0x34, 0x40, 0, 52, 6, 0, 0, 203, 0, 113, 7, 192, 0, 2, 1,
    ];
    let v6 = [0x60, 0, 0, 7, 0, 44, 0, 52];
    let addresses = [[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]; 2].concat();
    let chain = [
        44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 9,
    ];
    let v4 = [v4.as_slice(), &tcp].concat();
    let v6 = [v6.as_slice(), &addresses, &chain, &tcp].concat();
    let attribute = |kind: u16, value: &[u8]| {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let datagram = |(family, packet): (u8, Vec<u8>)| {
        let body = [
            vec![family, 0, 0, 5],
            attribute(1, &[8, 0, 1, 0]),
            attribute(10, b"lk-4f9a1c7e: \0"),
            attribute(4, &[0, 0, 0, 2]),
            attribute(9, &packet),
            attribute(12, &[0, 0, 0, 9]),
        ];
        let body = body.concat();
        let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
        let head = [length.to_ne_bytes(), [0, 4, 0, 0], [0; 4], [0; 4]].concat();
        [head, body].concat()
    };
    vec![datagram((2, v4)), datagram((10, v6))]
}

/// Commands of the nft backend, each with an acknowledgement and a refusal.
fn batches() -> Vec<Vec<u8>> {
    let gone = |set: &str, key: &str| {
        ["add", "delete"].map(|verb| format!("{verb} element inet logknock {set} {{ {key} }}"))
    };
    let of = |set: &str, key: &str| {
        let gone = gone(set, key).join("; ");
        [
            format!("nft\n{gone}; add element inet logknock {set} {{ {key} timeout 30s }}"),
            format!("/bin/sh\n-c\nnft '{gone}' || {{ false; }}"),
        ]
    };
    let commands = [
        of("open4", "203.0.113.7 . tcp . 22"),
        of("open6", "2001:db8::7 . udp . 51820"),
    ];
    let answer = |error: i32| {
        let mut bytes = 36_u32.to_ne_bytes().to_vec();
        bytes.extend([2_u16.to_ne_bytes(), [0; 2]].concat());
        bytes.extend([0; 8]);
        bytes.extend(error.to_ne_bytes());
        bytes.extend([0; 16]);
        bytes
    };
    let answers = [answer(0), answer(-2)].concat();
    let commands = commands.iter().flatten();
    commands
        .map(|command| [command.as_bytes(), b"\0", &answers].concat())
        .collect()
}

/// Requests and a reply as they are on the control socket.
fn frames() -> Vec<Vec<u8>> {
    let bodies = [
        r#""status""#,
        r#""reload""#,
        r#"{"open":{"door":"ssh","src":"203.0.113.7"}}"#,
        r#"{"close":"everybody"}"#,
        r#"{"close":{"of":"2001:db8::7"}}"#,
        r#"{"explain":"203.0.113.7"}"#,
        r#"{"done":{"count":1}}"#,
        r#"{"failed":{"message":"no such door"}}"#,
    ];
    let frame = |body: &str| {
        let json = format!("{{\"version\":1,\"body\":{body}}}");
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes(), json.as_bytes()].concat()
    };
    bodies.map(frame).into()
}

const MESSAGES: [&str; 9] = [
    r#""following""#,
    r#"{"knocked":{"door":"ssh","src":"203.0.113.7","dst":"192.0.2.1","port":9000,"udp":false,"interface":"eth0","used":{"until":1},"until":2,"last":{"kernel":3,"header":4,"port":5},"whence":[0,7]}}"#,
    r#"{"entered":{"door":"ssh","src":"2001:db8::7","whence":[0,1]}}"#,
    r#"{"overcount":{"door":"ssh","src":"203.0.113.7","whence":null}}"#,
    r#"{"alive":"following, 1 door open"}"#,
    r#"{"answer":{"to":1,"piece":{"more":false,"text":"{}"}}}"#,
    r#"{"journal":{"source":0,"wanted":{"from":"s=5c;i=1a2;b=-"}}}"#,
    r#"{"event":{"at":1,"door":"ssh","src":"203.0.113.7","kind":"open","whence":[0,7]}}"#,
    r#"{"journal_end":{"source":0,"latest":true}}"#,
];

const COMMANDS: [&str; 5] = [
    "/usr/sbin/nft\nadd\nelement\ninet\nfilter\nknocked%FAMILY%\n{ %IP% timeout %TIMEOUT%s }",
    "/usr/bin/logger\n%DOOR% %DST% %IN%\n%PORT%:%PROTO%",
    "/bin/open %IP%%IP%",
    "date\n+%H%M\n100%\n%%IP%%\n%ip%",
    "iptables -I INPUT -s %IP% -j ACCEPT",
];

/// The regexes of the configs that have one, each with every line of every format.
fn formats(root: &Path) -> Vec<Vec<u8>> {
    let configs = files(root, "fixtures/config/ok", "toml");
    let regexes: Vec<_> = configs
        .into_iter()
        .filter_map(|text| {
            let text = String::from_utf8(text).ok()?;
            let (_, regex) = text.split_once("regex = '")?;
            Some(regex.split('\'').next()?.as_bytes().to_vec())
        })
        .collect();
    let lines: Vec<_> = files(root, "fixtures/formats", "txt")
        .into_iter()
        .flat_map(|text| {
            text.split(|&byte| byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect();
    let pair = |regex: &Vec<u8>, line: &Vec<u8>| [regex.as_slice(), b"\n", line].concat();
    regexes
        .iter()
        .flat_map(|regex| lines.iter().map(move |line| pair(regex, line)))
        .collect()
}

const JOURNALS: [&str; 3] = [
    r#"{"record":"header","version":1,"next":9+
{"record":"begin","id":7,"door":"ssh","src":"192.0.2.7","due":{"boot":"this-boot","at":1,"deadline":2,"wall":3},"argv":["/bin/close"],"env":[]+
{"record":"opened","id":7+
{"record":"extend","id":7,"due":{"boot":"this-boot","at":1,"deadline":2000000000000,"wall":3}+
{"record":"begin","id":8,"door":"ssh","src":"2001:db8::7","due":{"boot":"that-boot","at":1,"deadline":2,"wall":3},"argv":["/bin/close"],"env":[["LOGKNOCK_IP","2001:db8::7"]]+
"#,
    r#"{"record":"header","version":1,"next":1+
{"record":"begin","id":1,"door":"ssh","src":"192.0.2.7","due":{"boot":"this-boot","at":1,"deadline":2,"wall":3},"argv":["/bin/close"],"env":[]+
{"record":"closed","id":1+
{"record":"header","version":2,"next":5+
"#,
    r#"{"record":"header","version":2,"next":5+
torn"#,
];

fn lines(root: &Path) -> Vec<Vec<u8>> {
    let samples = include_str!("../../fixtures/samples/lines.jsonl").lines();
    let samples = samples.filter_map(|case| {
        let case: serde_json::Value = serde_json::from_str(case).ok()?;
        Some(case.get("line")?.as_str()?.as_bytes().to_vec())
    });
    let own = [("fixtures/lines", "txt"), ("fixtures/logs", "log")];
    let own = own
        .into_iter()
        .flat_map(|(directory, end)| files(root, directory, end));
    let own = own.flat_map(|text| {
        let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
        lines.collect::<Vec<_>>()
    });
    samples.chain(own).filter(|line| line.len() > 20).collect()
}

/// The message of `line`, to be cut at two thirds.
fn packet(line: &[u8]) -> Vec<u8> {
    [&[170], line::read(line).message].concat()
}

fn configs(root: &Path) -> Vec<Vec<u8>> {
    let directories = [
        "fixtures/config/ok",
        "fixtures/config/bad",
        "fixtures/logs",
        "packaging/examples",
    ];
    let files = directories.map(|directory| files(root, directory, "toml"));
    files.into_iter().flatten().collect()
}

fn logs(root: &Path) -> Vec<Vec<u8>> {
    let lines = lines(root);
    let some = lines.chunks(8).map(|lines| lines.join(&b'\n'));
    files(root, "fixtures/logs", "log")
        .into_iter()
        .chain(some)
        .collect()
}

/// Bytes that differ from those of every other `number`.
fn schedule(number: u8) -> Vec<u8> {
    let byte = |place: u32| {
        let mixed = (place * 256 + u32::from(number)).wrapping_mul(0x9e37_79b1);
        (mixed ^ (mixed >> 15)).to_be_bytes()[1]
    };
    (0..400).map(byte).collect()
}

/// The content of every file in `directory` whose name ends in `end`, in order; none where there is
/// no such directory.
fn files(root: &Path, directory: &str, end: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(root.join(directory)).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == end));
    paths.sort();
    paths
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .collect()
}
