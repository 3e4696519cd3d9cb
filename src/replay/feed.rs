//! A finished log → what is in it, block by block and in order.
//!
//! In: a log. Out: [`Findings`]. A short log is read where it is asked for. From the second piece on there are as
//! many threads as cores. Each reads a block and finds what is in it, so that the block is in its own cache; they
//! take turns at reading, and the order in which they did is that of the findings. What is under way is bounded, and
//! its room is used again, so memory does not grow with the log.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::Pace;
use super::blocks::{Block, Blocks};
use super::findings::{Findings, Form};

/// One log's findings.
pub(super) struct Feed {
    form: Form,
    /// Threads, when it is worth it.
    finders: usize,
    state: State,
}

enum State {
    Here {
        blocks: Blocks,
        block: Block,
        /// Bytes until threads are worth it.
        left: usize,
    },
    There {
        /// In the order of the blocks, where each one's findings will come.
        answers: Receiver<io::Result<Receiver<Findings>>>,
        /// What has been used goes back.
        used: Sender<Findings>,
    },
    Ended,
}

impl Feed {
    /// The feed of `input`, whose lines are read by `form`.
    pub(super) fn new(input: Box<dyn Read + Send>, form: Form, pace: Pace) -> Self {
        Self {
            form,
            finders: pace.finders,
            state: State::Here {
                blocks: Blocks::new(input, pace.piece),
                block: Block::default(),
                left: pace.piece,
            },
        }
    }

    /// The findings in the next block; `None` after the last. The room of those before is used again.
    pub(super) fn next(&mut self, mut used: Findings) -> io::Result<Option<Findings>> {
        if let State::Here {
            blocks,
            block,
            left,
        } = &mut self.state
        {
            if *left > 0 || self.finders < 2 {
                let is_more = blocks.fill(block)?;
                *left = left.saturating_sub(block.bytes().len());
                used.read(block, &mut self.form);
                return Ok(is_more.then_some(used));
            }
            let State::Here { blocks, .. } = std::mem::replace(&mut self.state, State::Ended)
            else {
                return Ok(None);
            };
            self.state = start(blocks, &self.form, self.finders)?;
        }
        let State::There {
            answers,
            used: returned,
        } = &self.state
        else {
            return Ok(None);
        };
        // They have ended when they do not take it.
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

/// What the finders of one log take their turns at.
struct Turn {
    blocks: Blocks,
    /// Where it is said whose findings are next; `None` after the last block.
    queue: Option<SyncSender<io::Result<Receiver<Findings>>>>,
    returned: Receiver<Findings>,
}

impl Turn {
    /// Fills `block` with the next lines; room for its findings, and where they go then. `None` after the last, or
    /// when the replay has ended early.
    fn take(&mut self, block: &mut Block) -> Option<(Findings, SyncSender<Findings>)> {
        let queue = self.queue.take()?;
        let (answer, answered) = sync_channel(1);
        match self.blocks.fill(block) {
            Ok(false) => return None,
            Ok(true) => queue.send(Ok(answered)).ok()?,
            Err(error) => {
                let _ = queue.send(Err(error)); // the same
                return None;
            }
        }
        self.queue = Some(queue);
        Some((self.returned.try_recv().unwrap_or_default(), answer))
    }
}

/// Lets `count` threads read the blocks.
fn start(blocks: Blocks, form: &Form, count: usize) -> io::Result<State> {
    let (queue, answers) = sync_channel(count);
    let (used, returned) = channel();
    let turn = Arc::new(Mutex::new(Turn {
        blocks,
        queue: Some(queue),
        returned,
    }));
    for number in 0..count {
        let (turn, mut form) = (Arc::clone(&turn), form.clone());
        let find = move || {
            let mut block = Block::default();
            let next = |block: &mut Block| {
                let turn = turn.lock();
                turn.unwrap_or_else(PoisonError::into_inner).take(block)
            };
            while let Some((mut findings, answer)) = next(&mut block) {
                findings.read(&block, &mut form);
                // There is no receiver when the replay has ended early.
                let _ = answer.send(findings);
            }
        };
        thread::Builder::new()
            .name(format!("finder-{number}"))
            .spawn(find)?;
    }
    Ok(State::There { answers, used })
}
