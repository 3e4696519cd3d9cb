//! `logknock status --watch`: the status, refreshed each second, until the user quits.
//!
//! In: keys, signals, and one request a second. Out: the tables of `status` and the last events, as many rows of each
//! as the terminal has room for. Bare escape sequences, which every terminal knows. The terminal is restored at every
//! end, except by SIGKILL.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstream::ColorChoice;
use anstyle::Style;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::ask::Asked;
use super::exit::{Code, Failure};
use super::settings::Global;
use super::status;
use super::table::{self, Cell, clip};
use crate::calendar::{self, Zone};
use crate::clock;
use crate::engine::time::Time;
use crate::memory::picture;
use crate::protocol::{GrantStatus, Happening, Status, Story};

/// Between two requests.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long one may take, in which no key is heard.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the open doors are sorted by.
#[derive(Clone, Copy)]
enum Sort {
    Opened,
    Left,
    Address,
    Door,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::Opened => Self::Left,
            Self::Left => Self::Address,
            Self::Address => Self::Door,
            Self::Door => Self::Opened,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Opened => "first opened",
            Self::Left => "time left",
            Self::Address => "address",
            Self::Door => "door",
        }
    }

    fn sort(self, grants: &mut [GrantStatus]) {
        match self {
            Self::Opened => {}
            Self::Left => grants.sort_by_key(|grant| grant.left_seconds),
            Self::Address => grants.sort_by_key(|grant| grant.src),
            Self::Door => grants.sort_by(|one, other| one.door.cmp(&other.door)),
        }
    }
}

/// Shows how the daemon is until `q`, Ctrl-C or a signal.
pub(super) fn run(global: &Global) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let message = "--watch needs a terminal; without one, repeat 'logknock status'";
        return Err(Failure::new(Code::Usage, message));
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGWINCH])?;
    // A daemon that is not running at the start is a failure; one that stops later may come back.
    let asked = Asked::of(global);
    let mut last = asked.status(PATIENCE)?;
    let mut trouble = None;
    let mut sort = Sort::Opened;
    let screen = Screen::open()?;
    let mut due = clock::monotonic_now().after(INTERVAL);
    loop {
        screen.draw(&last, trouble.as_deref(), sort)?;
        match wait(due)? {
            Key::None => {}
            Key::Quit => return Ok(()),
            Key::Sort => sort = sort.next(),
        }
        if signals.pending().any(|signal| signal != SIGWINCH) {
            return Ok(());
        }
        let now = clock::monotonic_now();
        if now >= due {
            due = now.after(INTERVAL);
            match asked.status(PATIENCE) {
                Ok(status) => (last, trouble) = (status, None),
                Err(failure) => trouble = Some(failure.message),
            }
        }
    }
}

enum Key {
    None,
    Sort,
    Quit,
}

/// Waits for a key, a signal, or `due`.
fn wait(due: Time) -> io::Result<Key> {
    let left = due.since(clock::monotonic_now());
    let left = Timespec::try_from(left).unwrap_or_default();
    let stdin = io::stdin();
    let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut ready, Some(&left)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Key::None),
        ended => ended?,
    };
    // Not through the buffer of the standard library, which the terminal knows nothing of.
    let mut bytes = [0; 16];
    let count = rustix::io::read(&stdin, &mut bytes)?;
    let read = bytes.get(..count).unwrap_or_default();
    Ok(match read {
        // The terminal is gone, or Ctrl-C, Ctrl-D.
        [] | [3 | 4, ..] => Key::Quit,
        _ if read.contains(&b'q') => Key::Quit,
        _ if read.contains(&b's') => Key::Sort,
        _ => Key::None,
    })
}

/// The terminal, as this needs it, until it is dropped.
struct Screen {
    before: Termios,
    is_coloured: bool,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let stdout = io::stdout();
        let before = tcgetattr(&stdout)?;
        let screen = Self {
            before: before.clone(),
            is_coloured: anstream::AutoStream::choice(&stdout) != ColorChoice::Never,
        };
        let mut raw = before;
        raw.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdout, OptionalActions::Now, &raw)?;
        // The other screen, without a cursor.
        write(b"\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    fn draw(&self, status: &Status, trouble: Option<&str>, sort: Sort) -> io::Result<()> {
        let (columns, rows) = table::terminal().unwrap_or((80, 24));
        let lines = frame(status, trouble, sort, rows);
        let mut text = String::from("\x1b[H");
        for (number, line) in lines.iter().take(rows).enumerate() {
            let line = clip(line, columns);
            let plain = || anstream::adapter::strip_str(&line).to_string();
            text += if number == 0 { "" } else { "\r\n" };
            text += "\x1b[2K";
            text += &if self.is_coloured {
                line.clone()
            } else {
                plain()
            };
        }
        write(text.as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone wants nothing back.
        drop(write(b"\x1b[?25h\x1b[?1049l"));
        _ = tcsetattr(io::stdout(), OptionalActions::Now, &self.before);
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// The lines for a screen of this height: of each table as many of its rows as fit.
fn frame(status: &Status, trouble: Option<&str>, sort: Sort, rows: usize) -> Vec<String> {
    let mut status = status.clone();
    sort.sort(&mut status.grants);
    let dim = Style::new().dimmed();
    let foot = match trouble {
        Some(trouble) => {
            let first = trouble.lines().next().unwrap_or("");
            format!("{dim}q{dim:#} quit  {first}")
        }
        None => format!("{dim}q{dim:#} quit  {dim}s{dim:#} sort: {}", sort.name()),
    };
    let room = rows.saturating_sub(1);
    let mut lines = Vec::new();
    for limit in (1..=room.max(1)).rev() {
        lines = body(&status, limit);
        if lines.len() <= room {
            break;
        }
    }
    lines.resize(room, String::new());
    lines.push(foot);
    lines
}

fn body(status: &Status, limit: usize) -> Vec<String> {
    let mut text = Vec::new();
    // Nothing keeps a buffer from being written to.
    drop(status::write(&mut text, status, limit));
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let recent = status.recent.iter().rev().take(limit);
    let rows: Vec<_> = recent.filter_map(event).collect();
    if !rows.is_empty() {
        lines.push(String::new());
        lines.extend(table::lines(["last events", "door", "address", ""], &rows));
    }
    lines
}

/// One of the last events.
fn event(happening: &Happening) -> Option<[Cell; 4]> {
    let (src, door) = (happening.src?, happening.door.as_ref()?);
    let time = happening.time.as_deref();
    let time = time.and_then(|time| calendar::millisecond(time, Zone::Local));
    let (_, time) = time.unwrap_or_default();
    let story = Story {
        src,
        happenings: vec![happening.clone()],
        grants: Vec::new(),
        refused: Vec::new(),
    };
    let lanes = picture::lanes(&story);
    let words = lanes.first().and_then(|lane| lane.marks.first());
    let words = words.map_or("", |mark| &mark.words);
    Some([time.into(), door.into(), src.into(), words.into()])
}
