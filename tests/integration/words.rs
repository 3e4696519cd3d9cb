//! How the texts of this project read, as far as a machine can judge it: short sentences, and one word for one
//! thing. Documents, `--help`, comments and messages are checked; `typos` looks for misspelt words.

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

/// The same in comments and messages. Documents may say some of these, as of a person who is told something.
const NOT_SAID_IN_CODE: [(&str, &str); 16] = [
    ("surpris", "state the fact"),
    ("is told", "gets, learns, or is reported to"),
    ("are told", "get, learn, or are reported to"),
    ("was told", "got, or was reported to"),
    ("told of", "reported, or got"),
    ("stands in", "is in, or replaces"),
    ("goes on", "continues"),
    ("go on with", "continue with"),
    (" anew", "again"),
    ("of what is", "name it"),
    ("so many ", "a number of"),
    ("for so long", "for a time"),
    ("in place of", "instead of, or replaces"),
    ("beside the", "in addition to, or next to"),
    ("all the same", "nevertheless, or still"),
    ("is not there", "does not exist, or is missing"),
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

// ── comments and messages ──

#[test]
fn the_comments_and_messages_use_the_words_of_the_project() {
    let mut found = Vec::new();
    for (place, text) in comments_and_messages() {
        let text = text.replace('\n', " ").to_lowercase();
        for (phrase, better) in NOT_SAID.into_iter().chain(NOT_SAID_IN_CODE) {
            if text.contains(phrase) {
                found.push(format!("{place}: \"{phrase}\"; say: {better}"));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_sentences_of_comments_and_messages_are_short() {
    let mut long = Vec::new();
    for (place, text) in comments_and_messages() {
        for sentence in sentences(&text) {
            let words = sentence.split_whitespace().count();
            if words > MAX_WORDS {
                long.push(format!("{place}: {words} words: {sentence}"));
            }
        }
    }
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

/// Every comment and string literal of the programs, with where it begins.
fn comments_and_messages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "fleet"] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 200, "{}", files.len());
    let mut all = Vec::new();
    for file in files {
        let place = file.strip_prefix(root).unwrap().display();
        for (line, text) in texts(&fs::read_to_string(&file).unwrap()) {
            all.push((format!("{place}:{line}"), text));
        }
    }
    all
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The comments and string literals of a Rust source with their lines. Comments on successive lines are one text.
fn texts(source: &str) -> Vec<(usize, String)> {
    let mut texts: Vec<(usize, String)> = Vec::new();
    let mut comment: Option<(usize, &str)> = None;
    let (mut at, mut line) = (0, 1);
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            let mark = ["//!", "///", "//"]
                .into_iter()
                .find(|mark| rest.starts_with(mark));
            let mark = mark.unwrap_or_default();
            let text = &rest[mark.len()..end];
            match (&comment, texts.last_mut()) {
                (Some((last, same)), Some((_, whole))) if *last + 1 == line && *same == mark => {
                    whole.push('\n');
                    whole.push_str(text);
                }
                _ => texts.push((line, text.to_owned())),
            }
            comment = Some((line, mark));
            at += end;
        } else if let Some((text, length)) = literal(rest) {
            texts.push((line, text));
            comment = None;
            line += rest[..length].matches('\n').count();
            at += length;
        } else {
            line += usize::from(first == '\n');
            at += first.len_utf8();
        }
    }
    texts
}

/// The text of a string literal at the beginning of `rest`, each of its lines a paragraph, and its length in the
/// source. A character literal is an empty text.
fn literal(rest: &str) -> Option<(String, usize)> {
    if let Some(after) = rest.strip_prefix("r#\"").or(rest.strip_prefix("r\"")) {
        let close = if rest.starts_with("r#") { "\"#" } else { "\"" };
        let end = after.find(close)?;
        let length = rest.len() - after.len() + end + close.len();
        return Some((after[..end].replace('\n', "\n\n"), length));
    }
    let quote = rest
        .chars()
        .next()
        .filter(|first| ['"', '\''].contains(first))?;
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => match chars.next()?.1 {
                'n' => text.push_str("\n\n"),
                '\n' => while chars.next_if(|(_, next)| next.is_whitespace()).is_some() {},
                other => text.push(other),
            },
            _ if char == quote => {
                let text = if quote == '"' { text } else { String::new() };
                return Some((text, at + 1));
            }
            '\n' => text.push_str("\n\n"),
            _ => text.push(char),
        }
        // A lifetime has no second quote.
        if quote == '\'' && text.chars().count() > 8 {
            return None;
        }
        if quote == '\'' && !rest[1..].starts_with('\\') && text.chars().count() > 1 {
            return None;
        }
    }
    None
}

#[test]
fn comments_and_string_literals_are_found_in_a_source() {
    let source = "//! One.\n//! Two.\nfn a<'a>(b: &'a str) { // three\n  f('\"', \"four \\\n     five\\nsix\", r#\"se\"ven\"#);\n}\n/// Eight.\n";
    let texts: Vec<_> = texts(source)
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let expected = [
        (1, " One.\n Two."),
        (3, " three"),
        (4, "four five\n\nsix"),
        (5, "se\"ven"),
        (7, " Eight."),
    ];
    let expected: Vec<_> = expected.map(|(line, text)| (line, text.to_owned())).into();
    assert_eq!(texts, expected);
}
