//! A model of a log file and of what is done to it: every file is a byte vector, and the follower
//! remembers all that it has read of each.

use std::time::Duration;

use logknock::engine::reason::Reason;
use logknock::source::assembler::MAX_LINE;
use logknock::source::tail::Options;

/// How many files without the name are read on.
pub(crate) const MAX_RETIRED: usize = 8;

/// What came out: a line with its newline, or why one did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Line(String),
    Dropped(Reason),
}

/// One step of a history. File numbers count the files in the order in which they were made.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Append to a file, which need not have the name any more.
    Write(usize, Vec<u8>),
    /// Rename the file away, so that nothing has the name.
    Rename,
    /// Give the name to an empty file.
    Create,
    /// Rename and create.
    Rotate,
    /// Put a new file with this content over the name.
    Replace(Vec<u8>),
    /// Put a link to a new file with this content over the name.
    Relink(Vec<u8>),
    /// Give the name back to a file that was renamed.
    RenameBack(usize),
    /// Cut a file to this size.
    Truncate(usize, usize),
    /// Cut a file to nothing and fill it with this.
    Refill(usize, Vec<u8>),
    /// Cut a file to nothing and let a writer that does not append go on where it was.
    Hole(usize, Vec<u8>),
    /// Delete; the writer may keep the file open or close it.
    Delete { is_closed: bool },
    /// Make a directory of the name.
    Obstruct,
    /// Rename the file's directory and make it anew.
    ReplaceDirectory,
    /// Let time pass, and look.
    Look(Duration),
}

impl Step {
    pub(crate) fn makes_a_file(&self) -> bool {
        matches!(
            self,
            Self::Create | Self::Rotate | Self::Replace(_) | Self::Relink(_)
        )
    }
}

/// One file of the model: what it holds, and what the follower knows of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inode {
    pub(crate) content: Vec<u8>,
    pub(crate) is_writable: bool,
    pub(crate) is_aside: bool,
    read: Vec<u8>,
    begun: Vec<u8>,
    is_unwanted: bool,
    lines: usize,
    active: Duration,
}

impl Inode {
    pub(crate) fn new(content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            is_writable: true,
            ..Self::default()
        }
    }

    pub(crate) fn forget(&mut self, now: Duration) {
        self.read.clear();
        self.begun.clear();
        self.is_unwanted = false;
        self.lines = 0;
        self.active = now;
    }

    pub(crate) fn discard(&mut self, got: &mut Vec<Got>) {
        if !self.begun.is_empty() {
            got.push(Got::Dropped(Reason::Partial));
        }
        self.begun.clear();
        self.is_unwanted = false;
    }

    pub(crate) fn look(&mut self, now: Duration, got: &mut Vec<Got>) {
        if !self.content.starts_with(&self.read) {
            self.discard(got);
            self.read.clear();
        }
        for &byte in &self.content[self.read.len()..] {
            self.active = now;
            match byte {
                b'\n' if self.is_unwanted => self.is_unwanted = false,
                b'\n' => {
                    self.begun.push(byte);
                    let line = std::mem::take(&mut self.begun);
                    got.push(Got::Line(String::from_utf8_lossy(&line).into()));
                    self.lines += 1;
                }
                0 if self.begun.is_empty() => {}
                _ if self.is_unwanted => {}
                _ if self.begun.len() == MAX_LINE => {
                    got.push(Got::Dropped(Reason::TooLong));
                    self.begun.clear();
                    self.is_unwanted = true;
                }
                byte => self.begun.push(byte),
            }
        }
        self.read.clone_from(&self.content);
    }
}

/// What has the followed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Nothing,
    Directory,
    File(usize),
    Link(usize),
}

impl Named {
    pub(crate) fn file(self) -> Option<usize> {
        match self {
            Self::File(file) | Self::Link(file) => Some(file),
            Self::Nothing | Self::Directory => None,
        }
    }
}

/// The model side.
pub(crate) struct Model {
    pub(crate) inodes: Vec<Inode>,
    pub(crate) named: Named,
    pub(crate) current: Option<usize>,
    pub(crate) retired: Vec<usize>,
    pub(crate) now: Duration,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            inodes: Vec::new(),
            named: Named::Nothing,
            current: None,
            retired: Vec::new(),
            now: Duration::from_secs(1),
        }
    }

    pub(crate) fn make(&mut self, content: &[u8]) -> usize {
        self.inodes.push(Inode::new(content));
        self.inodes.len() - 1
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Write(file, bytes) => self.inodes[*file].content.extend(bytes),
            Step::Rename | Step::Rotate => {
                // A renamed link is still no file of its own.
                if let Named::File(file) = self.named {
                    self.inodes[file].is_aside = true;
                }
                self.named = Named::Nothing;
                if matches!(step, Step::Rotate) {
                    self.named = Named::File(self.make(b""));
                }
            }
            Step::Create => self.named = Named::File(self.make(b"")),
            Step::Replace(content) => self.named = Named::File(self.make(content)),
            Step::Relink(content) => self.named = Named::Link(self.make(content)),
            Step::RenameBack(file) => {
                self.inodes[*file].is_aside = false;
                self.named = Named::File(*file);
            }
            Step::Truncate(file, size) => self.inodes[*file].content.truncate(*size),
            Step::Refill(file, bytes) => self.inodes[*file].content.clone_from(bytes),
            Step::Hole(file, bytes) => {
                let content = &mut self.inodes[*file].content;
                content.fill(0);
                content.extend(bytes);
            }
            Step::Delete { is_closed } => {
                if *is_closed && let Some(file) = self.named.file() {
                    self.inodes[file].is_writable = false;
                }
                self.named = Named::Nothing;
            }
            Step::Obstruct => self.named = Named::Directory,
            Step::ReplaceDirectory => self.named = Named::Nothing,
            Step::Look(passed) => self.now += *passed,
        }
    }

    pub(crate) fn look(&mut self) -> Vec<Got> {
        let mut got = Vec::new();
        if self.current != self.named.file() {
            self.change_over(&mut got);
        }
        for &file in self.retired.iter().chain(&self.current) {
            self.inodes[file].look(self.now, &mut got);
        }
        let mut succeeded = self.current.is_some_and(|file| self.inodes[file].lines > 0);
        for at in (0..self.retired.len()).rev() {
            let inode = &mut self.inodes[self.retired[at]];
            let is_quiet = self.now.saturating_sub(inode.active) >= Options::default().rotate_wait;
            let may_go = succeeded && is_quiet;
            succeeded |= inode.lines > 0;
            if may_go {
                inode.discard(&mut got);
                self.retired.remove(at);
            }
        }
        got
    }

    pub(crate) fn change_over(&mut self, got: &mut Vec<Got>) {
        if let Some(old) = self.current.take() {
            self.inodes[old].active = self.now;
            self.retired.push(old);
            if self.retired.len() > MAX_RETIRED {
                let first = self.retired.remove(0);
                self.inodes[first].discard(got);
            }
        }
        self.current = self.named.file();
        if let Some(new) = self.current {
            match self.retired.iter().position(|&old| old == new) {
                Some(at) => drop(self.retired.remove(at)),
                None => self.inodes[new].forget(self.now),
            }
        }
    }
}
