//! No config, however damaged, makes `parse` panic or show a secret.
//!
//! A good config with marked ports and a marked prefix is damaged at random, as hands and disks do;
//! whatever comes out of it is searched for the marks. What a mark has lost a character of is no
//! secret any more.

use logknock::config::parse;
use proptest::prelude::*;

/// As ports of the sequences, and in comments about them.
const PORTS: [&str; 3] = ["48151", "62342", "17653"];

/// In the prefix.
const PREFIX: &str = "Zq4f9a1c7e";

/// What damage is done with: everything that means something to TOML, and some that does not.
const CHARACTERS: [char; 22] = [
    '"', '\'', '[', ']', '{', '}', '=', ',', '.', '#', '\n', '\r', ' ', '\t', '\\', '_', '-', ':',
    '7', 'x', '\0', 'é',
];

/// A good config; `layout` chooses among the ways to write it.
fn config(layout: u8) -> String {
    let [one, two, three] = PORTS;
    let sequence = match layout % 4 {
        0 => format!("sequence = [{one}, \"{two}:udp\", {three}]"),
        1 => format!(
            "sequence = [\n  {one}, # first {one}\n  \"{two}:udp\",\n  '{three}',\n] # {three}"
        ),
        2 => format!("\"sequence\"=[\"{one}\",{two},\n{three}]"),
        _ => format!("# was [{one}]\nsequence = [ 1_0, {one}, {two}, {three} ]"),
    };
    let log = format!(
        "[log]\nsources = [\"journald\"]\nprefix = \"{PREFIX}: \" # {PREFIX}\nmax_line_age = \"5s\"\n"
    );
    let door = format!(
        "[door.ssh]\nseq_timeout = \"15s\"\n{sequence}\ntcpflags = [\n  \"syn\",\n]\nstrict = true\n\
         start_command = [\"/bin/open\", \"%IP%\"]\nstop_command = \"/bin/close\"\ncmd_timeout = 30\n"
    );
    let inline =
        format!("[door]\nweb = {{ sequence = [{two}, {one}], start_command = \"/bin/open\" }}\n");
    match layout / 4 % 3 {
        0 => format!("{log}\n{door}"),
        1 => format!("{door}\n{log}"),
        _ => format!("{log}\n{inline}"),
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Insert(usize, char),
    Replace(usize, char),
    /// So many characters, but not over the end of the line.
    Delete(usize, usize),
    DeleteNewline(usize),
    DeleteLine(usize),
    RepeatLine(usize),
    Truncate(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0..10_000_usize;
    let character = || proptest::sample::select(&CHARACTERS[..]);
    prop_oneof![
        (at(), character()).prop_map(|(at, character)| Damage::Insert(at, character)),
        (at(), character()).prop_map(|(at, character)| Damage::Replace(at, character)),
        (at(), 1..12_usize).prop_map(|(at, count)| Damage::Delete(at, count)),
        at().prop_map(Damage::DeleteNewline),
        at().prop_map(Damage::DeleteLine),
        at().prop_map(Damage::RepeatLine),
        at().prop_map(Damage::Truncate),
    ]
}

fn damaged(text: &str, damage: &Damage) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if characters.is_empty() {
        return String::new();
    }
    let (length, line_count) = (characters.len(), lines.len());
    match *damage {
        Damage::Insert(at, character) => characters.insert(at % length, character),
        Damage::Replace(at, character) => characters[at % length] = character,
        Damage::Delete(at, count) => {
            for _ in 0..count {
                if characters
                    .get(at % length)
                    .is_some_and(|&next| next != '\n')
                {
                    characters.remove(at % length);
                }
            }
        }
        Damage::DeleteNewline(at) => {
            lines[at % line_count] = lines[at % line_count].trim_end_matches('\n');
            return lines.concat();
        }
        Damage::DeleteLine(at) => {
            lines.remove(at % line_count);
            return lines.concat();
        }
        Damage::RepeatLine(at) => {
            lines.insert(at % line_count, lines[at % line_count]);
            return lines.concat();
        }
        Damage::Truncate(at) => characters.truncate(at % length),
    }
    characters.into_iter().collect()
}

/// Everything that can be seen of what `text` says.
fn seen(text: &str) -> String {
    match parse("x.toml", text) {
        Ok(config) => {
            let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
            format!("{config:?}\n{}", warnings.join("\n"))
        }
        Err(errors) => format!("{errors}\n{errors:?}"),
    }
}

#[test]
fn the_configs_to_be_damaged_are_good() {
    for layout in 0..12 {
        let text = config(layout);
        if let Err(errors) = parse("x.toml", &text) {
            panic!("{text}\n{errors}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_damage_brings_a_secret_to_light(
        layout in 0..12_u8,
        damages in proptest::collection::vec(damage(), 1..5),
    ) {
        let text = damages.iter().fold(config(layout), |text, damage| damaged(&text, damage));
        let seen = seen(&text);
        for secret in PORTS.into_iter().chain([PREFIX]) {
            prop_assert!(!seen.contains(secret), "{text}\n---\n{seen}");
        }
    }

    #[test]
    fn no_text_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        seen(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_toml_makes_it_panic(pieces in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        seen(&text);
    }
}

/// What a config is made of, to be put together in any order.
const PIECES: [&str; 40] = [
    "[log]\n",
    "[daemon]\n",
    "[defaults]\n",
    "[door.a]\n",
    "[door.b]\n",
    "[door]\n",
    "[[door]]\n",
    "sources",
    "prefix",
    "sequence",
    "seq_timeout",
    "min_gap",
    "tcpflags",
    "allow",
    "deny",
    "target",
    "start_command",
    "stop_command_6",
    "shell",
    "max_commands",
    " = ",
    " = [",
    "]\n",
    "\n",
    ", ",
    "\"syn\"",
    "\"::/0\"",
    "\"%IP%\"",
    "\"15s\"",
    "\"\"",
    "'",
    "7",
    "-1",
    "1e400",
    "nan",
    "true",
    "99999999999999999999",
    "\"unix:/x\"",
    "{ a = 1 }",
    "# x\n",
];
