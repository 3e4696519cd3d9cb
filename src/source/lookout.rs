//! New files under the followed name, opened in the moment in which they get it.
//!
//! In: inotify's events. Out: those files, in the order in which they came, and whether one came and
//! went too fast for that. Who follows may be waiting in a full sink, and a file that is rotated away
//! meanwhile is under no name any more that it could find; an open descriptor keeps it.
#![expect(
    clippy::disallowed_types,
    reason = "files are opened ahead of their being read"
)]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind};

use super::file_id::FileId;
use super::tail;

/// How many files are held open ahead.
const MOST: usize = 8;

/// Shared by the thread that gets the events and the one that follows.
#[derive(Clone, Debug)]
pub(super) struct Lookout {
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What a file is called when it gets the name: as the path does, or the link's target.
    names: Vec<OsString>,
    ahead: VecDeque<File>,
    last: Option<FileId>,
    has_missed: bool,
    overflows: u64,
    has_changed: bool,
}

impl Lookout {
    /// For the file at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: Arc::default(),
        }
    }

    /// These are the names by which files come to the path now.
    pub(super) fn set_names(&self, names: Vec<OsString>) {
        self.seen().names = names;
    }

    /// The next file that had the name.
    pub(super) fn next(&self) -> Option<File> {
        self.seen().ahead.pop_front()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.seen().ahead.is_empty()
    }

    /// Whether a file has had the name that could not be opened in time; told once.
    pub(super) fn take_missed(&self) -> bool {
        std::mem::take(&mut self.seen().has_missed)
    }

    /// Whether a file has come, gone or been renamed in a watched directory; told once.
    pub(super) fn take_changed(&self) -> bool {
        std::mem::take(&mut self.seen().has_changed)
    }

    /// How often the kernel had more events than room for them, since the last call.
    pub(super) fn take_overflows(&self) -> u64 {
        std::mem::take(&mut self.seen().overflows)
    }

    /// Looks at an event.
    pub(super) fn see(&self, event: &Event) {
        let is_name = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        let is_overflow = event.need_rescan();
        if is_name || is_overflow {
            let mut seen = self.seen();
            seen.has_changed = true;
            seen.overflows += u64::from(is_overflow);
        }
        let is_new = match event.kind {
            EventKind::Create(CreateKind::File) => true,
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => false,
            _ => return,
        };
        let mut seen = self.seen();
        let mut names = event.paths.iter().filter_map(|path| path.file_name());
        if !names.any(|name| seen.names.iter().any(|known| known == name)) {
            return;
        }
        let Ok(file) = tail::open_regular(&self.path) else {
            return;
        };
        let Ok(id) = file.metadata().map(|metadata| FileId::of(&metadata)) else {
            return;
        };
        // A file was made, and the name already leads to another one that was made after it.
        let is_skipped = is_new && seen.last == Some(id);
        let is_full = seen.ahead.len() == MOST;
        seen.has_missed |= is_skipped || is_full;
        seen.last = Some(id);
        if !is_full && !is_skipped {
            seen.ahead.push_back(file);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fill(path: &std::path::Path, text: &str) {
        let mut file = File::create(path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    fn created(path: &std::path::Path) -> Event {
        Event::new(EventKind::Create(CreateKind::File)).add_path(path.to_owned())
    }

    fn lookout() -> (tempfile::TempDir, PathBuf, Lookout) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kern.log");
        let lookout = Lookout::new(path.clone());
        lookout.set_names(vec!["kern.log".into()]);
        (dir, path, lookout)
    }

    #[test]
    fn each_new_file_is_held_though_its_name_is_gone() {
        let (_dir, path, lookout) = lookout();
        for text in ["one", "two"] {
            fill(&path, text);
            lookout.see(&created(&path));
            fs::remove_file(&path).unwrap();
        }
        for text in ["one", "two"] {
            let file = lookout.next().unwrap();
            assert_eq!(std::io::read_to_string(file).unwrap(), text);
        }
        assert!(lookout.next().is_none() && !lookout.take_missed());
    }

    #[test]
    fn two_events_that_lead_to_one_file_are_a_file_that_was_missed() {
        let (_dir, path, lookout) = lookout();
        fill(&path, "two");
        lookout.see(&created(&path));
        assert!(!lookout.take_missed());
        lookout.see(&created(&path));
        assert!(lookout.take_missed() && !lookout.take_missed());
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        lookout.see(&Event::new(moved).add_path(path));
        assert!(!lookout.take_missed(), "renamed away and back");
    }

    #[test]
    fn no_more_files_are_held_than_there_is_room_for() {
        let (_dir, path, lookout) = lookout();
        for number in 0..=MOST {
            assert!(!lookout.take_missed(), "{number}");
            fill(&path, "x");
            lookout.see(&created(&path));
            fs::remove_file(&path).unwrap();
        }
        assert!(lookout.take_missed());
        assert_eq!(std::iter::from_fn(|| lookout.next()).count(), MOST);
    }

    #[test]
    fn other_files_and_what_is_no_file_are_left_alone() {
        let (dir, path, lookout) = lookout();
        let other = dir.path().join("auth.log");
        fill(&other, "x");
        lookout.see(&created(&other));
        fs::create_dir(&path).unwrap();
        lookout.see(&created(&path));
        assert!(lookout.next().is_none() && !lookout.take_missed());
    }

    #[test]
    fn an_overflow_is_counted() {
        let (_dir, _, lookout) = lookout();
        let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        lookout.see(&overflow);
        assert_eq!((lookout.take_overflows(), lookout.take_overflows()), (1, 0));
    }
}
