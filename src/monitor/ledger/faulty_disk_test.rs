//! A disk in memory that fails, tears and forgets, on a schedule.
//!
//! Each operation takes the next byte of the schedule and does what it says; when there is none left it works. After
//! a loss of power, every name is where it was at some moment since the directory was last synced. Every file ends
//! somewhere between what was synced and what was written. What a failed sync should have written is gone for good,
//! though the next sync succeeds (as Linux does it).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

use super::{Disk, Journal};

#[derive(Clone, Default)]
pub(in crate::monitor) struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    /// As they were at the last sync, and after each change since.
    past_names: Vec<BTreeMap<String, usize>>,
    schedule: Vec<u8>,
    /// How many operations were made to fail.
    failed: usize,
}

#[derive(Clone, Default)]
struct Content {
    written: Vec<u8>,
    synced: usize,
    /// Dropped from memory by a sync that failed.
    lost: Vec<Range<usize>>,
}

enum Turn {
    Well,
    /// Does part of it.
    Short,
    /// Does part of it, then fails.
    Torn(io::Error),
    Fails(io::Error),
}

impl State {
    fn turn(&mut self) -> Turn {
        let turn = match self.schedule.pop().unwrap_or(0) % 16 {
            0..=9 => Turn::Well,
            10 | 11 => Turn::Short,
            12 | 13 => Turn::Torn(Errno::NOSPC.into()),
            14 => Turn::Fails(Errno::IO.into()),
            _ => Turn::Fails(Errno::ROFS.into()),
        };
        self.failed += usize::from(matches!(turn, Turn::Torn(_) | Turn::Fails(_)));
        turn
    }

    /// For operations that happen or do not happen.
    fn may(&mut self) -> io::Result<()> {
        match self.turn() {
            Turn::Well | Turn::Short => Ok(()),
            Turn::Torn(error) | Turn::Fails(error) => Err(error),
        }
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        let file = self.names.get(name).copied();
        file.ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename<T>(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>) -> T) {
        self.past_names.push(self.names.clone());
        change(&mut self.names);
    }
}

impl FaultyDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What the next operations do; none fails after the last.
    pub(in crate::monitor) fn schedule(&self, turns: &[u8]) {
        self.state().schedule = turns.iter().rev().copied().collect();
    }

    /// How many operations have failed so far.
    pub(in crate::monitor) fn failed(&self) -> usize {
        self.state().failed
    }

    pub(in crate::monitor) fn put(&self, name: &str, content: &[u8]) {
        let mut state = self.state();
        let file = state.files.len();
        state.files.push(Content {
            written: content.to_vec(),
            synced: content.len(),
            lost: Vec::new(),
        });
        state.names.insert(name.to_owned(), file);
    }

    pub(in crate::monitor) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.file(name).ok()?;
        Some(state.files[file].written.clone())
    }

    /// What another process would find if we were killed now.
    pub(in crate::monitor) fn clone_as_killed(&self) -> Self {
        let killed = Self::default();
        let names = self.state().names.clone();
        for name in names.keys() {
            killed.put(name, &self.content(name).unwrap());
        }
        killed
    }

    /// Pulls the plug. `chance` decides what survives.
    pub(in crate::monitor) fn lose_power(&self, mut chance: impl FnMut(usize) -> usize) {
        let mut state = self.state();
        let mut moments = std::mem::take(&mut state.past_names);
        moments.push(state.names.clone());
        state.names = moments.swap_remove(chance(moments.len()));
        state.schedule.clear();
        for file in &mut state.files {
            for lost in std::mem::take(&mut file.lost) {
                file.written[lost].fill(0);
            }
            let unsynced = file.written.len() - file.synced;
            let end = file.synced + chance(unsynced + 1);
            if chance(2) == 0 {
                file.written.truncate(end);
            } else {
                file.written[end..].fill(0); // the length survived, the bytes did not
            }
            file.synced = file.written.len();
        }
    }
}

impl Disk for FaultyDisk {
    fn read(&mut self, name: &str, limit: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file(name)?;
        let limit = usize::try_from(limit).unwrap();
        let content = &state.files[file].written;
        let content = content[..content.len().min(limit)].to_vec();
        match state.turn() {
            Turn::Well | Turn::Short => into.extend(content),
            Turn::Torn(error) => {
                into.extend(&content[..content.len() / 2]);
                return Err(error);
            }
            Turn::Fails(error) => return Err(error),
        }
        Ok(())
    }

    fn names(&mut self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.may()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn Journal>> {
        let mut state = self.state();
        state.may()?;
        let file = state.files.len();
        state.files.push(Content::default());
        state.rename(|names| names.insert(name.to_owned(), file));
        let disk = self.clone();
        Ok(Box::new(OpenFile { disk, file }))
    }

    fn link(&mut self, file: &str, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.may()?;
        let file = state.file(file)?;
        state.rename(|names| names.insert(name.to_owned(), file));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.may()?;
        let file = state.file(from)?;
        state.rename(|names| {
            names.remove(from);
            names.insert(to.to_owned(), file)
        });
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.may()?;
        state.file(name)?;
        state.rename(|names| names.remove(name));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state();
        state.may()?;
        state.past_names.clear();
        Ok(())
    }
}

struct OpenFile {
    disk: FaultyDisk,
    file: usize,
}

impl Write for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let turn = state.turn();
        let content = &mut state.files[self.file].written;
        let part = &bytes[..bytes.len().div_ceil(2)];
        match turn {
            Turn::Well => content.extend(bytes),
            Turn::Short => {
                content.extend(part);
                return Ok(part.len());
            }
            Turn::Torn(error) => {
                content.extend(part);
                return Err(error);
            }
            Turn::Fails(error) => return Err(error),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Journal for OpenFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let result = state.may();
        let file = &mut state.files[self.file];
        let unsynced = file.synced..file.written.len();
        if result.is_err() {
            file.lost.push(unsynced);
        }
        file.synced = file.written.len();
        result
    }
}
