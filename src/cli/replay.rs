//! `logknock replay`: run the detection over finished logs, on their own time; execute nothing.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

use super::exit::{Code, Failure, tell};
use super::settings::Settings;
use super::{Format, expect, input, results};
use crate::calendar::Zone;
use crate::render::Row;
use crate::replay::{self, Input, Seen, Shown, Summary};
use crate::report::{self, Report};

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The logs, merged by time, also as `.gz` or `.zst`; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Compare the events with FILE (the output of `replay` or `replay --json`); if they differ, print the difference and exit 1
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write a page for a browser to FILE: who knocked, how far, and what did not count; then events are listed only with --json
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Logs of at least this size get a progress bar: about what takes a second.
const LARGE: u64 = 256 * 1024 * 1024;

/// Runs `replay`.
pub(super) fn run(args: &Args, settings: &Settings, format: Format) -> Result<(), Failure> {
    let files = args.files.iter();
    let names: Vec<_> = files.map(|path| path.display().to_string()).collect();
    let bar = progress_bar(&args.files);
    let inputs = args.files.iter().map(|path| open(path, settings, &bar));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let doors = &settings.config.doors;
    let width = doors.iter().map(|door| door.name.len()).max().unwrap_or(0);
    let expected = args.expect.as_deref().map(expect::Expected::read);
    let mut expected = expected.transpose()?;
    let format = expected.as_ref().map_or(format, |expected| expected.format);
    // Before the work, which may take long.
    let page = args.report.as_deref().map(new_page).transpose()?;
    let mut report = Report::default();
    let is_listed = page.is_none() || format == Format::Json;

    let mut out = results();
    let mut written = Ok(());
    let mut show = |shown: Shown| {
        let Shown { event, time } = &shown;
        let file = event
            .whence
            .and_then(|whence| names.get(usize::from(whence.source)));
        let row = Row {
            event,
            time: *time,
            file: file.map(String::as_str),
        };
        let line = match format {
            Format::Json => row.json()?,
            Format::Text => row.text(width),
        };
        match &mut expected {
            Some(expected) => expected.got(&line),
            None if is_listed => written = bar.suspend(|| writeln!(out, "{line}")),
            None => {}
        }
        match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(error.kind().into()),
        }
    };
    let (reader, doors) = (&settings.readers.usual, doors.clone());
    let knockers = settings.config.log.knocker_prefix;
    let summary = if page.is_some() {
        replay::watch(inputs, reader, doors, knockers, Zone::Local, &mut |seen| {
            report.see(&seen);
            match seen {
                Seen::Event(shown) => show(shown),
                Seen::Packet { .. } | Seen::Line { .. } => Ok(()),
            }
        })
    } else {
        replay::run(inputs, reader, doors, knockers, Zone::Local, &mut show)
    };
    bar.finish_and_clear();
    written?;
    let summary = summary.map_err(|error| Failure::new(Code::Unavailable, error))?;
    out.flush()?;
    if let (Some(mut file), Some(path)) = (page, &args.report) {
        let page = report::page(&report, &summary, &names);
        let written = file
            .write_all(page.as_bytes())
            .and_then(|()| Ok(file.persist(path)?));
        written.map_err(|error| unwritable(path, &error))?;
    }
    if format == Format::Text && expected.is_none() {
        write_summary(&summary)?;
        if let Some((whence, reason, column)) = summary.unread {
            let file = names.get(usize::from(whence.source));
            let file = file.map_or("", String::as_str);
            let line = whence.line;
            tell(&format!(
                "{file}:{line}: the log prefix stands at column {column}: {}",
                reason.meaning()
            ));
        }
    }
    expected.map_or(Ok(()), |expected| expected.verdict(&mut out))
}

/// A new file beside `path`, which is put in its place when it is whole. Its owner alone may read it: it says who
/// knocked.
fn new_page(path: &Path) -> Result<NamedTempFile, Failure> {
    let there = path.symlink_metadata();
    if there.is_ok_and(|there| !there.is_file()) {
        let shown = path.display();
        let message = format!("{shown}: is no regular file, and is not replaced");
        return Err(Failure::new(Code::Failed, message));
    }
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = directory.unwrap_or(Path::new("."));
    NamedTempFile::new_in(directory).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied => Code::Permission,
        _ => Code::Failed,
    };
    let path = path.display();
    Failure::new(code, format!("{path}: cannot be written: {error}"))
}

fn open(path: &Path, settings: &Settings, bar: &ProgressBar) -> Result<Input, Failure> {
    let (content, written) = input::open_seen(path, bar)?;
    let named = Named {
        content,
        name: path.display().to_string(),
    };
    Ok(Input {
        content: Box::new(named),
        written,
        own: settings.readers.of_file(path),
    })
}

/// A log that says which one it is when it cannot be read.
struct Named {
    content: Box<dyn Read + Send>,
    name: String,
}

impl Read for Named {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.content.read(room).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("{}: {error}", self.name)),
        })
    }
}

/// A bar on a terminal, when the input is large.
fn progress_bar(files: &[PathBuf]) -> ProgressBar {
    let size = |path: &PathBuf| path.metadata().map_or(0, |meta| meta.len());
    let size = files.iter().map(size).sum();
    if size < LARGE || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size);
    let template = "{bar:30} {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_draw_target(indicatif::ProgressDrawTarget::stderr_with_hz(5));
    bar
}

fn write_summary(summary: &Summary) -> io::Result<()> {
    let rejected = super::rejected(&summary.rejected);
    let Summary {
        lines, hits, opens, ..
    } = summary;
    let mut out = anstream::stderr();
    writeln!(
        out,
        "{lines} lines: {hits} hits, {rejected}; {opens} opened"
    )
}
