//! What the follower asks, one by one.
//!
//! In: an [`Ask`]. Out: what the book lets through to [`Runner`](crate::runner::Runner), what only this
//! process can do, and an answer to what is refused.

use std::os::unix::process::ExitStatusExt;

use rustix::io::Errno;

use super::book::Refused;
use super::{Journal, Supervisor, report};
use crate::clock;
use crate::engine::action::{Command, GrantId, Outcome};
use crate::privsep::{Ask, Read, Tell};
use crate::systemd;

impl Supervisor {
    /// Does what is asked, or not.
    pub(super) fn asked(&mut self, ask: Ask) {
        let now = clock::boot_now();
        let action = match ask {
            Ask::Started => {
                self.has_started = true;
                return;
            }
            // Said before, by whoever calls this.
            Ask::Done => return,
            Ask::Reload => return self.reload(),
            Ask::Notice(notice) => return systemd::tell(&notice),
            Ask::Journal { source, read } => return self.start_journal(source, &read),
            Ask::JournalEnd { source, latest } => return self.end_journal((source, latest)),
            Ask::Open {
                grant,
                knock,
                deadline,
                spend,
                last,
            } => {
                let book = &mut self.book;
                let opened = book.open(grant, &knock, deadline, spend, last, now);
                if opened.is_err() {
                    self.answer_failed(GrantId(grant), Command::Open);
                }
                opened
            }
            Ask::Run { knock, spend, last } => self.book.run(&knock, spend, last, now),
            Ask::Spend { door, spend } => self.book.spend(&door, spend),
            Ask::Refresh(knock) => self.book.refresh(&knock),
            Ask::Extend {
                grant,
                deadline,
                last,
            } => self.book.extend(grant, deadline, last, now),
            Ask::Close(grant) => {
                let closed = self.book.close(grant);
                match closed {
                    // To close what is not open is done.
                    Err(Refused::Grant) => {
                        let (command, outcome) = (Command::Close, Outcome::Done);
                        return self.tell(Tell::finished(GrantId(grant), command, outcome), None);
                    }
                    // The end of that is told to it.
                    Err(Refused::Closing) => return,
                    closed => closed,
                }
            }
            Ask::Forget(grant) => self.book.forget(grant),
        };
        match action {
            Ok(action) => self.runner.submit(action),
            Err(why) => report::refused(why),
        }
    }

    fn answer_failed(&mut self, grant: GrantId, command: Command) {
        self.tell(Tell::finished(grant, command, Outcome::Failed), None);
    }

    fn start_journal(&mut self, source: u16, read: &Read) {
        let key = (source, *read == Read::Latest);
        self.running.retain(|(other, _)| *other != key);
        let started = if self.journals.contains(&source) {
            (self.journal)(read)
        } else {
            Err(Errno::PERM.into())
        };
        match started {
            Ok(Journal { output, end }) => {
                // No copy stays here: it ends when its only reader does.
                self.tell(Tell::Journal(source), Some(output));
                self.running.push((key, end));
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
                self.tell(Tell::NoJournal(source, errno), None);
            }
        }
    }

    fn end_journal(&mut self, key: (u16, bool)) {
        let mut running = self.running.iter_mut();
        let journal = running.find(|(other, _)| *other == key);
        let how = journal.and_then(|(_, end)| end());
        let how = how.map(ExitStatusExt::into_raw);
        self.running.retain(|(other, _)| *other != key);
        self.tell(Tell::JournalEnded(key.0, how), None);
    }
}
