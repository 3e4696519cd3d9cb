//! A finished log → what is in it, block by block and in order.
//!
//! In: a log. Out: [`Findings`]. A short log is read where it is asked for. From the second piece on a
//! thread reads, as many as there are cores find, and only the order of the answers is kept. What is
//! under way is bounded, and its room is used again, so memory does not grow with the log.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::blocks::Blocks;
use super::findings::Findings;
use crate::dialect::Reader;

/// One log's findings.
pub(super) struct Feed {
    state: State,
}

enum State {
    /// Read here; so many more bytes until it is worth threads.
    Here(Blocks, usize),
    There {
        /// In the order of the blocks, where each one's findings will come.
        answers: Receiver<io::Result<Receiver<Findings>>>,
        /// What has been used goes back.
        used: Sender<Findings>,
    },
    Ended,
}

/// Findings whose block is to be read, and where they go then.
type Job = (Findings, SyncSender<Findings>);

/// The threads that find, for all logs together; started when the first log is worth it.
pub(super) struct Finders {
    form: Arc<Reader>,
    count: usize,
    jobs: Option<SyncSender<Job>>,
}

impl Finders {
    /// At most `count` of them, for lines that are read by `form`.
    pub(super) fn new(form: &Reader, count: usize) -> Self {
        Self {
            form: Arc::new(form.clone()),
            count,
            jobs: None,
        }
    }

    fn jobs(&mut self) -> io::Result<SyncSender<Job>> {
        if let Some(jobs) = &self.jobs {
            return Ok(jobs.clone());
        }
        let (jobs, todo) = sync_channel::<Job>(self.count);
        let todo = Arc::new(Mutex::new(todo));
        for number in 0..self.count {
            let (todo, form) = (Arc::clone(&todo), Arc::clone(&self.form));
            let next = move || todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let find = move || {
                while let Ok((mut findings, answer)) = next() {
                    findings.read(&form);
                    // Nobody waits for it when the replay has ended early.
                    let _ = answer.send(findings);
                }
            };
            thread::Builder::new()
                .name(format!("finder-{number}"))
                .spawn(find)?;
        }
        self.jobs = Some(jobs.clone());
        Ok(jobs)
    }
}

impl Feed {
    /// The feed of `input`, which is read `piece` bytes at a time.
    pub(super) fn new(input: Box<dyn Read + Send>, piece: usize) -> Self {
        Self {
            state: State::Here(Blocks::new(input, piece), piece),
        }
    }

    /// The findings in the next block; `None` after the last. The room of those before is used again.
    pub(super) fn next(
        &mut self,
        finders: &mut Finders,
        mut used: Findings,
    ) -> io::Result<Option<Findings>> {
        if let State::Here(blocks, left) = &mut self.state {
            if *left > 0 || finders.count < 2 {
                let is_more = blocks.fill(&mut used.block)?;
                *left = left.saturating_sub(used.block.bytes().len());
                used.read(&finders.form);
                return Ok(is_more.then_some(used));
            }
            let State::Here(blocks, _) = std::mem::replace(&mut self.state, State::Ended) else {
                return Ok(None);
            };
            self.state = start(blocks, finders)?;
        }
        let State::There {
            answers,
            used: returned,
        } = &self.state
        else {
            return Ok(None);
        };
        // The reader has ended when it does not take it.
        let _ = returned.send(used);
        let Ok(answer) = answers.recv() else {
            self.state = State::Ended;
            return Ok(None);
        };
        let findings = answer?.recv();
        findings
            .map(Some)
            .map_err(|_| io::Error::other("a thread of the replay has died"))
    }
}

/// Lets a thread read the blocks.
fn start(mut blocks: Blocks, finders: &mut Finders) -> io::Result<State> {
    let jobs = finders.jobs()?;
    let (queue, answers) = sync_channel(finders.count);
    let (used, returned) = channel::<Findings>();
    let read = move || {
        loop {
            let mut findings = returned.try_recv().unwrap_or_default();
            let (answer, answered) = sync_channel(1);
            let said = match blocks.fill(&mut findings.block) {
                Ok(false) => break,
                Ok(true) => queue.send(Ok(answered)),
                Err(error) => queue.send(Err(error)),
            };
            if said.is_err() || jobs.send((findings, answer)).is_err() {
                break; // the replay has ended early
            }
        }
    };
    thread::Builder::new().name("reader".into()).spawn(read)?;
    Ok(State::There { answers, used })
}
