//! Tables and times for people.
//!
//! In: rows of cells. Out: lines with aligned columns; a column of numbers is aligned to the right. The styles are
//! always written: the stream removes them where there is no terminal.

use std::fmt::Display;

use anstyle::Style;

pub(super) use crate::render::span;

/// Between two columns.
const GAP: &str = "  ";

/// One cell.
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a style.
    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        let text = text.into();
        Self { text, style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text.to_string(), Style::new())
    }
}

/// The lines of a table with `head` above its `rows`.
pub(super) fn lines<const N: usize>(head: [&str; N], rows: &[[Cell; N]]) -> Vec<String> {
    let head = head.map(|text| Cell::styled(text, Style::new().dimmed()));
    let columns: Vec<Column> = (0..N).map(|number| column(number, &head, rows)).collect();
    let rows = std::iter::once(&head).chain(rows);
    rows.map(|row| line(row, &columns)).collect()
}

struct Column {
    width: usize,
    is_numbers: bool,
}

fn column<const N: usize>(number: usize, head: &[Cell; N], rows: &[[Cell; N]]) -> Column {
    let cells = || rows.iter().filter_map(|row| row.get(number));
    let widths = cells().chain(head.get(number)).map(Cell::width);
    Column {
        width: widths.max().unwrap_or(0),
        is_numbers: cells().all(|cell| cell.text.bytes().all(|byte| byte.is_ascii_digit())),
    }
}

fn line(row: &[Cell], columns: &[Column]) -> String {
    let cells = row.iter().zip(columns).map(|(cell, column)| {
        let pad = " ".repeat(column.width.saturating_sub(cell.width()));
        let Cell { text, style } = cell;
        if column.is_numbers {
            format!("{pad}{style}{text}{style:#}")
        } else {
            format!("{style}{text}{style:#}{pad}")
        }
    });
    let line = cells.collect::<Vec<_>>().join(GAP);
    line.trim_end().to_owned()
}

/// How many columns and rows the terminal has that standard output is, if it is one.
pub(super) fn terminal() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    let size = (usize::from(size.ws_col), usize::from(size.ws_row));
    Some(size).filter(|&(columns, rows)| columns > 0 && rows > 0)
}

/// How many columns standard output has: the terminal's, or `other`.
pub(super) fn width_or(other: usize) -> usize {
    terminal().map_or(other, |(columns, _)| columns)
}

/// `1 knock`, `2 knocks`.
pub(super) fn counted<T: Copy + Display + PartialEq + From<u8>>(count: T, what: &str) -> String {
    let end = if count == T::from(1) { "" } else { "s" };
    format!("{count} {what}{end}")
}

/// Words and how often each, in brackets behind a number; nothing when there are none.
pub(super) fn counts<W: Display, C: Display>(words: impl IntoIterator<Item = (W, C)>) -> String {
    let words = words.into_iter();
    let words: Vec<_> = words
        .map(|(word, count)| format!("{word} {count}"))
        .collect();
    match words.as_slice() {
        [] => String::new(),
        words => format!(" ({})", words.join(", ")),
    }
}

/// How many columns a text with styles takes.
fn columns_of(text: &str) -> usize {
    anstream::adapter::strip_str(text)
        .to_string()
        .chars()
        .count()
}

/// `line` without what is behind `width` columns, its styles kept.
pub(super) fn clip(line: &str, width: usize) -> String {
    let whole = anstream::adapter::strip_str(line)
        .to_string()
        .chars()
        .count();
    let room = if whole > width {
        width.saturating_sub(1)
    } else {
        width
    };
    let (mut kept, mut count, mut is_style) = (String::new(), 0, false);
    for character in line.chars() {
        is_style |= character == '\x1b';
        count += usize::from(!is_style);
        if is_style || count <= room {
            kept.push(character);
        } else if count == room + 1 {
            kept.push('…');
        }
        is_style &= character != 'm';
    }
    kept
}

/// `text` in lines of at most `width` columns, broken between words where that is possible.
pub(super) fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if columns_of(line) + 1 + columns_of(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
