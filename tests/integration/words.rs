//! How the texts of this project read, as far as a machine can judge it: short sentences, and one word for one
//! thing. `typos` beside it looks for misspelt words.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use logknock::cli;

/// The most words in a sentence of a document. Twenty-five are many already.
const MAX_WORDS: usize = 30;

/// What is not said here, and what is said in its place.
const NOT_SAID: [(&str, &str); 22] = [
    ("is warned of", "causes a warning"),
    ("are warned of", "cause a warning"),
    ("is no harm", "is harmless"),
    ("are no harm", "are harmless"),
    ("what is no ", "name what it is"),
    ("who has knocked", "an address that has knocked"),
    ("whoever ", "anybody who, or a name"),
    ("nobody vouches", "the source cannot prove"),
    ("by hand what", "name the command"),
    ("built to doubt", "fails closed"),
    ("as it looks", "name the difference"),
    ("back to the start", "reset"),
    ("beside it:", "for comparison:"),
    ("said once", "reported once"),
    ("and its kin", "and related systems"),
    ("supervisor", "monitor"),
    ("follower", "detector, or file source"),
    ("lookout", "pending files"),
    ("haste", "busy poll"),
    ("succession", "respawn"),
    ("sieve", "Bloom filter"),
    ("forgetful", "faulty"),
];

#[test]
fn the_documents_use_the_words_of_the_project() {
    let mut found = Vec::new();
    for (place, text) in documents() {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.to_lowercase();
            for (phrase, better) in NOT_SAID {
                if line.contains(phrase) {
                    found.push(format!("{place}:{number}: \"{phrase}\"; say: {better}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_sentences_of_the_documents_are_short() {
    let mut long = Vec::new();
    for (place, text) in documents() {
        for sentence in sentences(&text) {
            let words = sentence.split_whitespace().count();
            if words > MAX_WORDS {
                long.push(format!("{place}: {words} words: {sentence}"));
            }
        }
    }
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

/// Every document with where it stands, the help of every command among them.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = markdown(root);
    for folder in ["docs", "packaging", "benches"] {
        files.extend(markdown(&root.join(folder)));
    }
    assert!(files.len() > 8, "{files:?}");
    let mut documents: Vec<_> = files
        .iter()
        .map(|file| {
            let place = file.strip_prefix(root).unwrap().display().to_string();
            (place, fs::read_to_string(file).unwrap())
        })
        .collect();
    let mut definitions = cli::definitions();
    for command in
        std::iter::once(&mut definitions.clone()).chain(definitions.get_subcommands_mut())
    {
        let place = format!("help of {}", command.get_name());
        let about = command.get_about().map(ToString::to_string);
        let arguments = command.get_arguments().filter_map(clap::Arg::get_help);
        let text = about.into_iter().chain(arguments.map(ToString::to_string));
        let text: Vec<_> = text.map(|text| format!("* {text}")).collect();
        documents.push((place, text.join("\n")));
    }
    documents
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    files.sort();
    files
}

/// The sentences of a text in Markdown. Headings, tables, code and the marks of lists are none, and end one.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut paragraph = String::new();
    let mut in_code = false;
    for line in text.lines().chain([""]) {
        let line = line.trim();
        let is_fence = line.starts_with("```");
        in_code ^= is_fence;
        let is_apart = in_code || is_fence || line.starts_with(['#', '|', '>']);
        let item = ["* ", "- "].iter().find_map(|mark| line.strip_prefix(mark));
        let number = line
            .split_once(". ")
            .filter(|(number, _)| number.parse::<u8>().is_ok());
        let begun = item.or(number.map(|(_, rest)| rest));
        if is_apart || line.is_empty() || begun.is_some() {
            split(&std::mem::take(&mut paragraph), &mut sentences);
        }
        if !is_apart {
            paragraph.push_str(begun.unwrap_or(line));
            paragraph.push(' ');
        }
    }
    sentences
}

/// A colon and a semicolon end a thought as a full stop does. What stands between backticks is one word.
fn split(paragraph: &str, sentences: &mut Vec<String>) {
    let mut sentence = String::new();
    let paragraph = paragraph.replace("**", "");
    for (number, part) in paragraph.split('`').enumerate() {
        if number % 2 == 1 {
            let _ = write!(sentence, "`{}`", part.replace(' ', "_"));
            continue;
        }
        let mut rest = part;
        while let Some(end) = [". ", ": ", "; ", "? ", "! "]
            .iter()
            .filter_map(|end| rest.find(end))
            .min()
        {
            sentence.push_str(&rest[..=end]);
            sentences.push(std::mem::take(&mut sentence).trim().to_owned());
            rest = &rest[end + 2..];
        }
        sentence.push_str(rest);
    }
    if !sentence.trim().is_empty() {
        sentences.push(sentence.trim().to_owned());
    }
}

#[test]
fn a_sentence_ends_at_a_stop_a_list_item_or_a_heading() {
    let text = "# A heading\nOne two.\nThree `a b c` four: five\n\n* six\n* seven\n```\ncode\n```\n1. eight";
    let expected = [
        "One two.",
        "Three `a_b_c` four:",
        "five",
        "six",
        "seven",
        "eight",
    ];
    assert_eq!(sentences(text), expected);
}
