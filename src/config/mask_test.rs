//! What of a config file is shown beside a mistake, and what is masked.

use super::super::document::Document;
use super::super::document::Text;
use super::super::report::Report;

/// The 1-based line `number` of `text`, masked.
fn shown(text: &str, number: usize) -> String {
    named("x.toml", text)
        .lines()
        .nth(number - 1)
        .unwrap()
        .to_owned()
}

/// The file called `name` that says `text`, masked.
fn named(name: &str, text: &str) -> String {
    let file = Text::new(name, text.as_bytes());
    let report = Report::default();
    let document = Document::parse(0, &file, &report);
    let masked = document.masked();
    assert_eq!(masked.len(), text.len(), "places stay what they are");
    assert_eq!(masked.chars().count(), text.chars().count());
    masked.to_string()
}
#[test]
fn values_of_secret_keys_are_hidden_and_columns_kept() {
    let text =
        "[log]\nprefix = \"lk-4f9a1c7e: \" # 7000\n[door.ssh]\nsequence = [7000, \"8000:udp\"]\n";
    assert_eq!(shown(text, 2), "prefix = *************** ******");
    assert_eq!(shown(text, 4), "sequence = [****, **********]");
}

#[test]
fn comments_are_hidden_to_their_last_word() {
    let text = "[log]\naccept_forgeable = true # door [7000] = log\n";
    assert_eq!(
        shown(text, 2),
        "accept_forgeable = true *******************"
    );
}

#[test]
fn other_values_are_shown() {
    let text = "[door.ssh]\nseq_timeout = \"15x\"\nstart_command = [\"/usr/sbin/nft\", \"%IP%\"]\n";
    assert_eq!(shown(text, 1), "[door.ssh]");
    assert_eq!(shown(text, 2), "seq_timeout = \"15x\"");
    assert_eq!(
        shown(text, 3),
        "start_command = [\"/usr/sbin/nft\", \"%IP%\"]"
    );
}

#[test]
fn every_line_of_a_long_array_is_hidden() {
    let text = "[door.ssh]\nsequence = [\n  7000, # first\n  \"8000:udp\",\n]\nstrict = true\n";
    assert_eq!(shown(text, 3), "  ****, *******");
    assert_eq!(shown(text, 4), "  **********,");
    assert_eq!(shown(text, 5), "]");
    assert_eq!(shown(text, 6), "strict = true");
}

#[test]
fn a_misspelt_key_hides_its_value() {
    let text = "[door.ssh]\nsequenc = [7000]\n[lgo]\nprefix = \"lk\"\n";
    assert_eq!(shown(text, 2), "sequenc = [****]");
    assert_eq!(shown(text, 4), "prefix = ****");
}

#[test]
fn a_secret_in_the_place_of_a_name_is_hidden() {
    let text = "[log]\n7000 = 1\n\"lk-4f: \" = 2\n[door.\"lk 4f\"]\nstrict = true\n";
    assert_eq!(shown(text, 2), "**** = *");
    assert_eq!(shown(text, 3), "********* = *");
    assert_eq!(shown(text, 4), "[door.*******]");
}

#[test]
fn a_value_that_its_key_cannot_have_is_hidden() {
    let text = "[door.ssh]\ntcpflags = [7000, \"syn\"]\nallow = [\"8000:udp\", \"192.0.2.0/24\"]\n";
    assert_eq!(shown(text, 2), "tcpflags = [****, \"syn\"]");
    assert_eq!(shown(text, 3), "allow = [**********, \"192.0.2.0/24\"]");
}

#[test]
fn a_number_that_could_be_a_port_is_hidden() {
    let text = "[door.ssh]\nseq_timeout = 7000\nmin_gap = \"7000\"\ncmd_timeout = \"90s\"\n";
    assert_eq!(shown(text, 2), "seq_timeout = ****");
    assert_eq!(shown(text, 3), "min_gap = ******");
    assert_eq!(shown(text, 4), "cmd_timeout = \"90s\"");
}

#[test]
fn a_value_that_has_swallowed_a_line_is_hidden() {
    let text = "[door.ssh]\nseq_timeout = \"sequence = [7000, \"\nmin_gap = \"7000, \"\n";
    assert_eq!(shown(text, 2), "seq_timeout = ********************");
    assert_eq!(shown(text, 3), "min_gap = ********");
}

#[test]
fn addresses_are_shown() {
    let text = "[door.ssh]\ntarget = \"2001:db8::1\"\nallow = [\"2001::/16\", \"192.0.2.1\"]\n";
    assert_eq!(shown(text, 2), "target = \"2001:db8::1\"");
    assert_eq!(shown(text, 3), "allow = [\"2001::/16\", \"192.0.2.1\"]");
}

#[test]
fn a_second_header_shows_its_section() {
    let text = "[door.a]\nstrict = true\n[door.b]\nstrict = true\n";
    assert_eq!(shown(text, 3), "[door.b]");
}

#[test]
fn of_a_broken_file_only_keys_headers_and_plain_words_are_shown() {
    let text = "\
[door.ssh]
sequence = [7000 8000]
prefix = \"door-4f: \"
seq_timeout = 15s
min_gap = \"7000
start_command = [\"a\" \"b\"]
7000 = , 8000]
  9000,
# sequence = 7000
[door.7000, 8000]
[log
";
    assert_eq!(shown(text, 1), "[door.ssh]");
    assert_eq!(shown(text, 2), "sequence = [**** ****]");
    assert_eq!(shown(text, 3), "prefix = ***********");
    assert_eq!(shown(text, 4), "seq_timeout = 15s");
    assert_eq!(shown(text, 5), "min_gap = *****");
    assert_eq!(shown(text, 6), "start_command = [*** ***]");
    assert_eq!(shown(text, 7), "**** = , ****]");
    assert_eq!(shown(text, 8), "  ****,");
    assert_eq!(shown(text, 9), "*****************");
    assert_eq!(shown(text, 10), "[****.****, ****]");
    assert_eq!(shown(text, 11), "[log");
}

#[test]
fn nothing_behind_a_long_string_of_a_broken_file_is_shown() {
    let text = "prefix = \"\"\"\nstrict = 7000\n";
    assert_eq!(shown(text, 2), "*************");
}

#[test]
fn ports_that_a_door_opens_are_no_secret() {
    let text = "[firewall]\npublic = [443]\n[door.ssh]\nopens = [2222, \"60001:udp\"]\nsequence = [7000]\n";
    assert_eq!(shown(text, 2), "public = [443]");
    assert_eq!(shown(text, 4), "opens = [2222, \"60001:udp\"]");
    assert_eq!(shown(text, 5), "sequence = [****]");
    let broken = text.replace("[7000]", "[7000");
    assert_eq!(shown(&broken, 4), "opens = [****, ***********]");
}

#[test]
fn an_array_that_lost_its_bracket_ends_at_the_next_key() {
    let text = "[door.ssh]\nsequence = [7000,\n 8000\nstrict = true\nmin_gap = \"7000\"\n";
    assert_eq!(shown(text, 3), " ****");
    assert_eq!(shown(text, 4), "strict = true");
    assert_eq!(shown(text, 5), "min_gap = ******");
}

#[test]
fn tables_in_tables_show_their_keys_alone() {
    let text = "[door.x]\nlockout = { fails = 5, for = \"1h\" }\ntotp.secret = \"MFRGG\"\n[log.format]\nregex = '^x$'\n";
    assert_eq!(shown(text, 2), "lockout = { fails = *, for = **** }");
    assert_eq!(shown(text, 3), "totp.secret = *******");
    assert_eq!(shown(text, 4), "[log.format]");
    assert_eq!(shown(text, 5), "regex = *****");
    let deep = format!("x = {}\n", "{ a = ".repeat(10_000));
    assert!(shown(&deep, 1).starts_with("x = { a = { a"));
}

#[test]
fn characters_of_several_bytes_keep_their_places() {
    let text = "[log]\nprefix = \"é→𝄞x: \"\n";
    assert_eq!(shown(text, 2), "prefix = *×∗𝄪****");
}

#[test]
fn of_a_knockd_conf_commands_are_shown_and_sequences_masked() {
    let text = "#logknock: prefix-file = /etc/p\n[A]\n sequence = 7000,8000 # x\n command = /bin/x %IP% # 7000\n seqence = 7000\n";
    let masked = named("knockd.conf", text);
    let expected = "#logknock: prefix-file = /etc/p\n[A]\n sequence = *************\n command = /bin/x %IP% # 7000\n seqence = ****\n";
    assert_eq!(masked, expected);
}

fn said(text: &str) -> String {
    let errors = super::super::parse("x.toml", text).unwrap_err();
    errors.to_string()
}

#[test]
fn terminal_escapes_do_not_reach_the_terminal() {
    let said = said("[door.ssh]\ninterface = \"\u{9b}31m\u{202e}eth0\"\tx = 1\n")
        + &said("[door.ssh]\ninterface = \"\u{9b}31m\u{202e}eth0\"\n");
    assert!(!said.contains(['\u{9b}', '\u{202e}', '\t']), "{said}");
}

#[test]
fn a_long_line_is_cut_around_what_is_wrong() {
    let text = format!("[door.ssh]\ninterface = \"{}\" \n", "x".repeat(5000));
    let said = said(&text);
    assert!(said.contains(" --> x.toml:2:13\n"), "{said}");
    assert!(said.lines().all(|line| line.len() < 200), "{said}");
}

#[test]
fn a_huge_line_costs_no_more_than_its_length() {
    let name = "a".repeat(100_000);
    let said = said(&format!("door.{name}.x = 1\ndoor.{name}.y = 1\n"));
    assert!(said.len() < 20_000, "{}", said.len());
}
