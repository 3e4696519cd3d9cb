//! The thread that follows the files of a directory whose names match a pattern.
//!
//! In: wake-ups from inotify, and a tick when there are none. Out: every line of every file, once. It lists
//! the directory when a name in it has changed, and gives each file a [`Tail`] of its own. A file is what it
//! is and not what it is called: under two names it is read once, and a file that is renamed from one
//! matching name to another is read on. What a link leads to in another directory is looked at only at the
//! tick.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use super::file::{One, Subject};
use super::file_id::FileId;
use super::outbox::Outbox;
use super::stream;
pub use super::tail::Options;
use super::tail::{Pace, Tail};
use super::watch::Watch;
use super::{Closed, Handle, Report, Trouble};

/// How many files are followed at once.
const MOST: usize = 64;
/// How often the directory is listed though nothing is known to have changed.
const LIST_TICK: Duration = Duration::from_secs(1);
/// A file whose name is gone is let go when it has been quiet for so long.
const GONE_WAIT: Duration = Duration::from_secs(60);

/// Follows the files in `directory` whose names are `meant`, in a thread of its own. Those that are there
/// are followed from their ends on, those that appear later from their first lines.
pub fn spawn(
    source: u16,
    directory: PathBuf,
    meant: impl Fn(&OsStr) -> bool + Send + 'static,
    options: Options,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> io::Result<Handle> {
    let watched = directory.join("*");
    let many = Many {
        source,
        directory,
        meant: Box::new(meant),
        options,
        files: Vec::new(),
        is_first: true,
        list_at: Duration::ZERO,
        trouble: None,
    };
    super::file::start(source, watched, many, sink)
}

/// The files that match.
struct Many {
    source: u16,
    directory: PathBuf,
    meant: Box<dyn Fn(&OsStr) -> bool + Send>,
    options: Options,
    files: Vec<One>,
    /// The directory was not listed yet: what is in it was there before us.
    is_first: bool,
    list_at: Duration,
    trouble: Option<Trouble>,
}

impl Subject for Many {
    fn follow<S: FnMut(Report) -> Result<(), Closed>>(
        &mut self,
        now: Duration,
        watch: &Watch,
        outbox: &mut Outbox<S>,
    ) -> Pace {
        let mut pace = self.read(now, outbox);
        // Behind the reading: a file that was renamed is without a name by now, and known.
        if watch.lookout().take_changed() || now >= self.list_at {
            self.list_at = now + LIST_TICK;
            let before = self.files.len();
            self.files.retain(|file| !file.tail.is_gone(now, GONE_WAIT));
            self.trouble = self.list().err();
            if self.files.len() > before {
                pace = pace.max(self.read(now, outbox));
            }
        }
        pace
    }

    fn trouble(&self) -> Option<Trouble> {
        let of_one = || {
            let mut files = self.files.iter();
            files.find_map(|file| match file.tail.trouble()? {
                // Its name is gone: other files have names.
                Trouble::Missing => None,
                trouble => Some(Trouble::Of(file.path.clone(), Box::new(trouble.clone()))),
            })
        };
        self.trouble.clone().or_else(of_one)
    }

    fn is_draining(&self, now: Duration) -> bool {
        self.files.iter().any(|file| file.tail.is_draining(now))
    }
}

impl Many {
    fn read<S: FnMut(Report) -> Result<(), Closed>>(
        &mut self,
        now: Duration,
        outbox: &mut Outbox<S>,
    ) -> Pace {
        let mut pace = Pace::CaughtUp;
        for file in &mut self.files {
            pace = pace.max(file.read(now, outbox));
            // The sink may have closed: the caller sees that when it sends for itself.
            let _ = outbox.flush();
        }
        pace
    }

    /// Takes up the files that are not followed yet.
    fn list(&mut self) -> Result<(), Trouble> {
        let names = match self.names() {
            Ok(names) => names,
            Err(error) => {
                let trouble = Trouble::from(stream::errno(&error));
                // What is in a directory that may not be read was there before.
                self.is_first &= trouble != Trouble::Missing;
                return Err(trouble);
            }
        };
        let mut is_full = false;
        for path in &names {
            if self.files.iter().any(|file| file.path == *path) {
                continue;
            }
            let Ok(found) = fs::metadata(path) else {
                continue;
            };
            if found.is_file() && !self.is_followed(FileId::of(&found)) {
                is_full |= self.files.len() == MOST;
                if !is_full {
                    self.take_up(path, FileId::of(&found));
                }
            }
        }
        self.is_first = false;
        match names.as_slice() {
            _ if is_full => Err(Trouble::TooMany(MOST)),
            [] => Err(Trouble::NoMatch),
            _ => Ok(()),
        }
    }

    fn names(&self) -> io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if (self.meant)(&name) {
                names.push(self.directory.join(name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether it has another name that it is followed under.
    fn is_followed(&self, id: FileId) -> bool {
        self.files.iter().any(|file| file.tail.is_at(id))
    }

    fn take_up(&mut self, path: &Path, id: FileId) {
        let mut files = self.files.iter_mut();
        let renamed = files.find_map(|file| file.tail.give_up(id));
        let options = self.options.clone();
        let mut tail = Tail::new(path.to_owned(), options);
        if let Some(renamed) = renamed {
            tail.take_over(renamed);
        } else if !self.is_first {
            tail.take_as_new();
        }
        self.files
            .push(One::new(self.source, path.to_owned(), tail));
    }
}
