//! A story → for each door what this address did there, in order, and what would help.
//!
//! In: what is remembered of an address, from the daemon or from logs. Out: a [`Lane`] for each door with its
//! [`Mark`]s: the data behind the picture of `explain`, and of any other page that shows the time line of an
//! address. Every sentence for people is made here, once. Steps have numbers; their ports are never shown.

use std::time::Duration;

use crate::engine::reason::Reason;
use crate::protocol::{GrantStatus, Happening, Phase, Seen, Story};

/// Every sentence that has nothing of the story in it.
const WORDS: &str = include_str!("words.txt");
/// A step too early is what failed only so long after anything else that did.
const SAME_TRY: i64 = 30_000_000;

/// What an address did at one door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// The door; `None` for hits at ports that no door has.
    pub door: Option<String>,
    /// How many steps it takes.
    pub of: usize,
    /// What happened, the oldest first.
    pub marks: Vec<Mark>,
    /// What it came to: `did not open: step 2 of 3 was the last`.
    pub outcome: String,
    /// Whether it is open, or did open.
    pub opened: bool,
    /// One sentence: what to do.
    pub advice: String,
}

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// When, in UTC (RFC 3339), where that is known.
    pub time: Option<String>,
    /// When, in microseconds on the story's own clock.
    pub at_us: i64,
    /// Of which kind.
    pub kind: Kind,
    /// Steps that are done after it.
    pub stage: usize,
    /// What it means.
    pub words: String,
    /// The file, and the line if there is one.
    pub whence: Option<String>,
    /// What the advice goes by.
    cause: String,
    left: Option<u64>,
}

/// What sort of thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A step was right.
    Step,
    /// The door opened, or stays open for longer.
    Open,
    /// It closed.
    Close,
    /// The attempt is over, or the knock was not answered.
    Failed,
    /// A packet or line did not count.
    Rejected,
    /// It changed nothing, and does no harm.
    #[default]
    Ignored,
    /// Lines are missing.
    Lost,
}

/// What the story comes to, door by door; the last lane is for hits that are no step of a door.
pub fn lanes(story: &Story) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    let happenings = &story.happenings;
    for happening in happenings {
        for (door, of) in doors(happening) {
            let known = lanes.iter_mut().find(|lane| lane.door.as_deref() == door);
            match known {
                Some(lane) => lane.of = lane.of.max(of),
                None => lanes.push(Lane {
                    door: door.map(str::to_owned),
                    of,
                    ..Lane::default()
                }),
            }
        }
    }
    let is_lost = |happening: &Happening| happening.event == "lost";
    if lanes.is_empty() && happenings.iter().any(is_lost) {
        lanes.push(Lane::default());
    }
    lanes.sort_by_key(|lane| lane.door.is_none());
    for lane in &mut lanes {
        let mut stage = 0;
        let mut last = None;
        for happening in happenings {
            let Some(mark) = mark(lane, happening, happenings, stage, last) else {
                continue;
            };
            stage = mark.stage;
            if mark.kind == Kind::Step {
                last = Some(mark.at_us);
            }
            lane.marks.push(mark);
        }
        conclude(lane, story);
    }
    lanes
}

/// The doors that a happening is about, and how many steps they take; `None` where it is about no door.
fn doors(happening: &Happening) -> Vec<(Option<&str>, usize)> {
    let mut doors: Vec<_> = happening
        .seen
        .iter()
        .map(|seen| (Some(seen.door.as_str()), seen.of))
        .collect();
    if let Some(door) = &happening.door {
        doors.push((Some(door), happening.of.unwrap_or(0)));
    }
    if doors.is_empty() && happening.event != "lost" {
        doors.push((None, 0));
    }
    doors
}

/// The mark of a happening in a lane that has reached `stage` at `last`; `None` if it is about other doors.
fn mark(
    lane: &Lane,
    happening: &Happening,
    all: &[Happening],
    stage: usize,
    last: Option<i64>,
) -> Option<Mark> {
    let door = lane.door.as_deref();
    let seen = happening
        .seen
        .iter()
        .find(|seen| Some(seen.door.as_str()) == door);
    let place = |other: &Happening| (other.file.clone(), other.line);
    // An event of one door is also shown at the other doors that its packet concerns: once, and where it is no event
    // too.
    let of_line = || all.iter().filter(|other| place(other) == place(happening));
    let is_told = || {
        of_line().any(|other| other.door.as_deref() == door)
            || !of_line()
                .next_back()
                .is_some_and(|last| std::ptr::eq(last, happening))
    };
    let is_about_none = doors(happening) == [(None, 0)];
    let (kind, stage, cause, words) = match (&happening.door, seen) {
        _ if happening.event == "lost" => {
            let lines = match happening.lines {
                Some(lines) => format!("{lines} lines are missing"),
                None => "lines are missing".to_owned(),
            };
            (Kind::Lost, stage, "lost".to_owned(), lines)
        }
        (Some(name), seen) if Some(name.as_str()) == door => {
            event(happening, lane, seen, stage, last)
        }
        (_, Some(_)) if happening.door.is_none() || !is_told() => packet(happening, seen, stage),
        (None, None) if door.is_none() && is_about_none => packet(happening, seen, stage),
        _ => return None,
    };
    let times = match (happening.times, happening.since_us) {
        (0 | 1, _) => String::new(),
        (times, Some(since)) if happening.at_us > since => {
            let within = span(happening.at_us - since);
            format!(" ({times} times in {within})")
        }
        (times, _) => format!(" ({times} times)"),
    };
    Some(Mark {
        time: happening.time.clone(),
        at_us: happening.at_us,
        kind,
        stage,
        words: words + &times,
        whence: happening.file.as_ref().map(|file| match happening.line {
            Some(number) => format!("{file}:{number}"),
            None => file.clone(),
        }),
        cause,
        left: seen.and_then(|seen| seen.left_seconds),
    })
}

/// What is said of a happening: its kind, the steps that are done then, its cause and its words.
type Said = (Kind, usize, String, String);

/// An event of the lane's own door.
fn event(
    happening: &Happening,
    lane: &Lane,
    seen: Option<&Seen>,
    before: usize,
    last: Option<i64>,
) -> Said {
    let stage = happening.stage.unwrap_or(0);
    let reason = happening.reason.as_deref().unwrap_or("");
    let since = last.map(|last| span(happening.at_us - last));
    let of = lane.of;
    let said = || {
        words("event", &happening.event)
            .unwrap_or_default()
            .to_owned()
    };
    let (kind, done, cause, words) = match happening.event.as_str() {
        "stage" => {
            let failed = lane.marks.last().filter(|mark| mark.kind == Kind::Failed);
            let words = match since {
                _ if failed.is_some_and(|mark| mark.at_us == happening.at_us) => {
                    format!("which is step {stage} of {of} of the next attempt")
                }
                Some(since) if before > 0 => format!("step {stage} of {of}, {since} later"),
                _ => format!("step {stage} of {of}"),
            };
            (Kind::Step, stage, "step", words)
        }
        "open" | "refresh" => (Kind::Open, 0, "opened", said()),
        "close" => (Kind::Close, before, "close", said()),
        "locked_out" => (Kind::Failed, 0, "locked_out", said()),
        "codes_refused" => (Kind::Failed, 0, "failed_codes", said()),
        "refused" => {
            let why = words("refused", reason).unwrap_or(reason);
            let words = format!("right, but refused: {why}");
            (Kind::Failed, 0, reason, words)
        }
        "reset" => {
            let (cause, why) = why_reset(reason, stage, happening, seen);
            let words = match since {
                Some(since) => format!("reset {since} after step {stage}: {why}"),
                None => format!("reset after step {stage}: {why}"),
            };
            (Kind::Failed, 0, cause, words)
        }
        other => (Kind::Ignored, before, other, other.to_owned()),
    };
    (kind, done, cause.to_owned(), words)
}

fn why_reset<'a>(
    reason: &'a str,
    stage: usize,
    happening: &Happening,
    seen: Option<&Seen>,
) -> (&'a str, String) {
    let why = match reason {
        "wrong_port" => match (seen, &happening.port, happening.seen.first()) {
            (
                Some(Seen {
                    step: Some(step),
                    reason,
                    ..
                }),
                ..,
            ) => match reason.as_deref() {
                Some("transport") => {
                    return (
                        "transport",
                        format!("the port of step {step}, by the wrong protocol"),
                    );
                }
                _ => {
                    return (
                        "order",
                        format!("step {step}, but step {} was due", stage + 1),
                    );
                }
            },
            (Some(_), ..) => return ("code", "a port of another code".to_owned()),
            (None, Some(port), _) => format!("another port ({port})"),
            (None, None, Some(other)) => format!("another port (of door {})", other.door),
            (None, None, None) => "another port".to_owned(),
        },
        other => words("reset", other).unwrap_or(other).to_owned(),
    };
    (reason, why)
}

/// A packet that is no event of the lane's door: it leaves the stage as it is.
fn packet(happening: &Happening, seen: Option<&Seen>, stage: usize) -> Said {
    let step = seen.and_then(|seen| seen.step);
    let what = match (seen, step) {
        (None, _) => String::new(),
        (Some(_), None) => "a knock ".to_owned(),
        (Some(_), Some(step)) => format!("step {step} "),
    };
    let reason = happening.reason.as_deref().unwrap_or("");
    let left = seen.and_then(|seen| seen.left_seconds);
    let barred = seen.and_then(|seen| seen.reason.as_deref());
    match (happening.event.as_str(), reason, barred) {
        ("rejected", "duplicate" | "logged_twice", _) => {
            let why = words("again", reason).unwrap_or(reason);
            let words = format!("{what}again: {why}; ignored");
            (Kind::Ignored, stage, reason.to_owned(), words)
        }
        ("rejected", ..) => {
            let why = match happening.late_ms {
                Some(late) if reason == "stale" => {
                    let late = i64::try_from(late).unwrap_or(i64::MAX);
                    format!("the line is {} old", span(late.saturating_mul(1000)))
                }
                _ => match Reason::of(reason) {
                    Some(reason) => reason.meaning().to_owned(),
                    None => reason.to_owned(),
                },
            };
            let words = format!("{what}did not count: {why}");
            (Kind::Rejected, stage, reason.to_owned(), words)
        }
        (_, _, Some(barred)) => {
            let why = words("door", barred).unwrap_or(barred);
            let left = left.map(|left| format!(", {} left", span(micros(left))));
            let words = format!("{what}did not count: {why}{}", left.unwrap_or_default());
            (Kind::Rejected, stage, barred.to_owned(), words)
        }
        (_, _, None) => match (seen, step) {
            (None, _) => {
                let port = happening.port.as_deref().unwrap_or("a packet");
                let words = format!("{port}: no step of any door");
                (Kind::Ignored, stage, "no_step".to_owned(), words)
            }
            (_, Some(step)) if step <= stage => {
                let words = format!("step {step} again; ignored");
                (Kind::Ignored, stage, "again".to_owned(), words)
            }
            (_, Some(step)) => {
                let words = format!("step {step} did not count: step {} was due", stage + 1);
                (Kind::Rejected, stage, "order".to_owned(), words)
            }
            (_, None) => {
                let words = "a knock of its kind, but not the one that was due".to_owned();
                (Kind::Rejected, stage, "code".to_owned(), words)
            }
        },
    }
}

/// What a lane comes to.
fn conclude(lane: &mut Lane, story: &Story) {
    let grant = story
        .grants
        .iter()
        .find(|grant| Some(&grant.door) == lane.door.as_ref());
    let marks = &lane.marks;
    let stage = marks.last().map_or(0, |mark| mark.stage);
    let (cause, decisive) = decide(marks, stage);
    let left = decisive.and_then(|place| marks.get(place)?.left);
    let before = decisive.and_then(|place| marks.get(place.checked_sub(1)?));
    let due = before.map_or(0, |mark| mark.stage).max(stage) + 1;
    let opened = marks.iter().rposition(|mark| mark.kind == Kind::Open);
    let tries = marks.iter().skip(opened.map_or(0, |place| place + 1));
    let reached = tries.map(|mark| mark.stage).max().unwrap_or(0);
    let not = match opened {
        Some(_) => "opened before, but now did not open",
        None => "did not open",
    };
    let is_open = grant.is_some_and(|grant| grant.phase == Phase::Open);
    let is_closed = marks.last().is_some_and(|mark| mark.kind == Kind::Close);
    lane.opened = is_open || cause == "opened";
    lane.outcome = match grant {
        Some(grant) if is_open => {
            let left = span(micros(grant.left_seconds));
            format!("open{}, {left} left", opened_by(grant))
        }
        Some(grant) if grant.failed > 0 => "open: its close command fails".to_owned(),
        Some(_) => "closing".to_owned(),
        None if lane.opened && is_closed => "opened, and closed again".to_owned(),
        None if lane.opened => "opened".to_owned(),
        None if cause == "waiting" => format!("waits for step {due} of {}", lane.of),
        None if lane.door.is_none() && marks.iter().all(|mark| mark.kind == Kind::Lost) => {
            "no packet is known".to_owned()
        }
        None if lane.door.is_none() => "no step of any door".to_owned(),
        None if reached == 0 => format!("{not}: no step counted"),
        None => format!("{not}: {reached} of {} steps", lane.of),
    };
    lane.advice = match grant {
        Some(_) => advice("opened", None, due),
        None => advice(&cause, left, due),
    };
}

/// Why the last attempt, which is at `stage` now, came to what it did; and by which mark, if it was one.
fn decide(marks: &[Mark], stage: usize) -> (String, Option<usize>) {
    let decides = |mark: &&Mark| matches!(mark.kind, Kind::Open | Kind::Failed | Kind::Rejected);
    // What follows a failed step is out of order too, and is not why.
    let is_late =
        |mark: &Mark| mark.kind == Kind::Rejected && matches!(&*mark.cause, "order" | "code");
    let mut last = marks
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, mark)| decides(mark));
    let failed = last.clone().find(|(_, mark)| !is_late(mark));
    let late = last.find(|(_, mark)| is_late(mark));
    let decisive = match (failed, late) {
        (Some((_, failed)), Some((_, late_mark))) if late_mark.at_us - failed.at_us > SAME_TRY => {
            late
        }
        _ => failed.or(late),
    };
    let is_first = |mark: &Mark| mark.kind == Kind::Step && mark.stage == 1;
    let begun = marks.iter().rposition(is_first).unwrap_or(0);
    let begun_at = marks.get(begun).map_or(0, |mark| mark.at_us);
    // What failed before the attempt that is under way is not why.
    let decisive = decisive.filter(|(_, mark)| stage == 0 || mark.at_us >= begun_at);
    let mut attempt = marks.iter().skip(begun);
    let is_lost = attempt.clone().any(|mark| mark.kind == Kind::Lost);
    let is_repeated = attempt.any(|mark| mark.cause == "duplicate");
    let cause = match decisive.map(|(_, mark)| &*mark.cause) {
        Some("timeout" | "gap" | "order") | None if is_lost => "lost",
        Some("timeout" | "gap") if is_repeated => "waited",
        Some(cause) => cause,
        None if stage > 0 => "waiting",
        None => marks.last().map_or("", |mark| &mark.cause),
    };
    (cause.to_owned(), decisive.map(|(place, _)| place))
}

/// One sentence for what failed.
fn advice(cause: &str, left: Option<u64>, due: usize) -> String {
    let left = left.map_or(String::new(), |left| {
        format!(" ({} left)", span(micros(left)))
    });
    let text = words("advice", cause).or(words("advice", "other"));
    let text = text.unwrap_or_default().replace("{left}", &left);
    text.replace("{due}", &due.to_string())
}

/// The sentence of [`WORDS`] about `what`, for this reason.
fn words(what: &str, reason: &str) -> Option<&'static str> {
    let mut lines = WORDS.lines();
    lines.find_map(|line| {
        let (key, sentence) = line.split_once(": ")?;
        (key.split_once(' ') == Some((what, reason))).then_some(sentence)
    })
}

/// `, opened by GATEWAY`, where another one did.
pub fn opened_by(grant: &GrantStatus) -> String {
    let by = grant.origin.as_ref();
    by.map_or(String::new(), |by| format!(", opened by {by}"))
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000)
}

/// A number of microseconds: `120 ms`, `4.2 s`, `40 s`, `12 min`, `5 h`.
pub fn span(micros: i64) -> String {
    let time = Duration::from_micros(micros.max(0).unsigned_abs());
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1..=19 => format!("{:.1} s", time.as_secs_f32()),
        seconds @ 20..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
#[path = "picture_test.rs"]
mod tests;
