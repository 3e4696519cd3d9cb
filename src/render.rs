//! Events as people and programs read them: one JSON object, or one line of a table.
//!
//! The keys of the JSON are stable; the text is for looking at. Neither holds a port of a sequence or
//! a prefix, because an [`Event`] has none.

use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::calendar::rfc3339;
use crate::engine::event::{Event, EventKind};
use crate::engine::time::Time;

/// An event as it is shown: with its wall time and the name of its file.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The event.
    pub event: &'a Event,
    /// When, from the Unix epoch.
    pub time: Option<Time>,
    /// The file of its line.
    pub file: Option<&'a str>,
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    event: &'static str,
    door: &'a str,
    src: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

impl Row<'_> {
    /// One JSON object.
    pub fn json(&self) -> serde_json::Result<String> {
        let (stage, of) = self.event.kind.progress().unzip();
        serde_json::to_string(&Json {
            time: self.time.map(rfc3339),
            event: self.event.kind.as_str(),
            door: &self.event.door,
            src: self.event.src,
            stage,
            of,
            reason: self.event.kind.reason(),
            file: self.event.whence.and(self.file),
            line: self.event.whence.map(|whence| whence.line),
        })
    }

    /// One line of a table whose door column is `width` wide.
    pub fn text(&self, width: usize) -> String {
        let time = self.time.map(rfc3339).unwrap_or_default();
        let what = what(self.event.kind);
        let whence = match (self.event.whence, self.file) {
            (Some(whence), Some(file)) => format!("{file}:{}", whence.line),
            _ => String::new(),
        };
        let style = style(self.event.kind);
        let src = self.event.src.to_string();
        // The address last but one: it alone may be of any length.
        let row = format!(
            "{time:<27}  {:<width$}  {style}{what:<25}{style:#}  {src:<15}  {whence}",
            self.event.door,
        );
        row.trim_end().to_owned()
    }
}

/// What happened, in a few words.
pub fn what(kind: EventKind) -> String {
    match kind {
        EventKind::Stage { stage, of } => format!("stage {stage}/{of}"),
        EventKind::Reset { stage, of, reason } => {
            format!("reset at {stage}/{of} ({})", reason.as_str())
        }
        EventKind::Refused { reason } => format!("refused ({})", reason.as_str()),
        kind => kind.as_str().to_owned(),
    }
}

/// A number of seconds: `0s`, `4m12s`, `3h`, `2d5h`; no more than two units.
pub fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(unit, _)| seconds >= *unit) else {
        return "0s".to_owned();
    };
    let mut left = seconds;
    let mut text = String::new();
    for (unit, letter) in units.iter().skip(first).take(2) {
        if left >= *unit {
            text += &(left / unit).to_string();
            text += letter;
        }
        left %= unit;
    }
    text
}

fn style(kind: EventKind) -> Style {
    match kind {
        EventKind::Open | EventKind::Refresh => AnsiColor::Green.on_default().bold(),
        EventKind::Close => AnsiColor::Yellow.on_default(),
        EventKind::Reset { .. } => Style::new().dimmed(),
        EventKind::Refused { .. } | EventKind::LockedOut | EventKind::CodesRefused => {
            AnsiColor::Red.on_default().bold()
        }
        EventKind::Stage { .. } => Style::new(),
    }
}
