//! The runner's loop: actions and ends of commands in, commands and reports out.
//!
//! Everything that has come in since the last turn is taken together: its grants go on disk with a
//! single sync, then what may start is started, then what is done is reported. Meanwhile the next
//! turn's messages gather. Only this thread touches the ledger and the queue; each command that runs
//! has a thread, which ends with it.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use super::job::{Job, Task, Way};
use super::ledger::{Ledger, Trouble};
use super::queue::Queue;
use super::spare::Spare;
use super::{Carried, Ended, How, NotStarted, exec, list, orphans};
use crate::clock;
use crate::engine::action::{Action, Command, Outcome};
use crate::engine::command::{Facts, Invocation};
use crate::engine::door::{Door, PerFamily};
use crate::engine::one_time::{Token, Used};
use crate::engine::time::Time;

/// No more commands than this wait to open: further ones fail. Closes are never refused; there are no
/// more of them than grants.
pub(super) const MAX_WAITING: usize = 16 * 1024;

/// Messages taken in one turn: the grants of so many share a sync.
const BATCH: usize = 1024;

/// What comes in.
#[derive(Debug)]
pub(super) enum Message {
    Do(Action),
    Ended(IpAddr, Task, Ended),
    /// Nothing more is submitted; whatever is not over at this time is to end.
    Stop(Time),
}

pub(super) struct Dispatcher {
    way: Way,
    ledger: Ledger,
    queue: Queue<Job>,
    spare: Spare,
    inbox: Sender<Message>,
    /// Actions that were submitted and not taken yet.
    waiting: Arc<AtomicUsize>,
    /// Jobs of this turn, in order, that wait for the ledger.
    admitted: Vec<(IpAddr, Job)>,
    /// Reports of this turn.
    reports: Vec<Carried>,
    /// What was last reported of the disk.
    trouble: Option<Trouble>,
    stop: Option<Time>,
    unfinished: usize,
}

impl Dispatcher {
    /// One that runs so many commands at a time; `queues` are the way to itself, and how many wait there.
    pub(super) fn new(
        way: Way,
        places: usize,
        ledger: Ledger,
        queues: (Sender<Message>, Arc<AtomicUsize>),
    ) -> Self {
        let (inbox, waiting) = queues;
        Self {
            way,
            ledger,
            queue: Queue::new(places),
            spare: Spare::default(),
            inbox,
            waiting,
            admitted: Vec::new(),
            reports: Vec::new(),
            trouble: None,
            stop: None,
            unfinished: 0,
        }
    }

    /// Runs until it is stopped; returns how many commands could not end by themselves.
    pub(super) fn run(
        mut self,
        messages: &Receiver<Message>,
        mut reports: impl FnMut(Carried),
    ) -> usize {
        while !self.is_over() {
            self.prepare();
            let first = self.wait(messages);
            for message in first.into_iter().chain(messages.try_iter().take(BATCH)) {
                self.handle(message);
            }
            self.commit();
            if self.stop.is_some_and(|stop| stop <= clock::monotonic_now()) {
                self.cut_short();
            }
            self.start_ready();
            self.reports.drain(..).for_each(&mut reports);
        }
        self.ledger.retry_now();
        self.commit();
        self.reports.drain(..).for_each(&mut reports);
        self.unfinished
    }

    /// Gets ready what the next command would have to wait for.
    fn prepare(&mut self) {
        if let Way::Run { .. } = self.way {
            self.spare.prepare();
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_some() && self.queue.is_idle()
    }

    /// The next message, or none when it is time for something else.
    fn wait(&self, messages: &Receiver<Message>) -> Option<Message> {
        let now = clock::monotonic_now();
        // Once they have been told to stop, only their ends are waited for.
        let stop = self.stop.filter(|&stop| stop > now);
        match stop.into_iter().chain(self.ledger.retry_at()).min() {
            None => messages.recv().ok(),
            Some(until) => messages.recv_timeout(until.since(now)).ok(),
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Do(action) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                self.take(action);
            }
            Message::Ended(src, task, ended) => self.finish(src, task, ended),
            Message::Stop(until) => self.stop = Some(until),
        }
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Open {
                grant,
                door,
                facts,
                deadline,
                spend,
                last,
            } => {
                let task = Task::Open(grant);
                match self.admissible(&door, &facts, spend.as_ref()) {
                    Ok((open, Some(close))) => {
                        let (ledger, src) = (&mut self.ledger, facts.src);
                        ledger.begin(grant, &door.name, src, deadline, close);
                        self.admit(src, Job::after_disk(task, open, last));
                    }
                    Ok((_, None)) => self.refuse(task, NotStarted::NoCommand),
                    Err(why) => self.refuse(task, why),
                }
            }
            Action::Run {
                door,
                facts,
                spend,
                last,
            } => {
                let task = Task::Run(Arc::clone(&door.name), facts.src);
                match self.admissible(&door, &facts, spend.as_ref()) {
                    Ok((open, _)) if spend.is_some() => {
                        self.admit(facts.src, Job::after_disk(task, open, last));
                    }
                    Ok((open, _)) => self.admit(facts.src, Job::new(task, Some(open), last)),
                    Err(why) => self.refuse(task, why),
                }
            }
            Action::Spend(token) => {
                if let Err(why) = self.spend(&token) {
                    let door = token.door;
                    self.reports.push(Carried::NotSpent { door, why });
                }
            }
            Action::Refresh { door, facts } => {
                let task = Task::Run(Arc::clone(&door.name), facts.src);
                match self.expand(&door.grant.refresh, &facts) {
                    Ok(refresh) => self.admit(facts.src, Job::new(task, Some(refresh), None)),
                    Err(why) => self.refuse(task, why),
                }
            }
            Action::Close { grant } => match self.ledger.close_of(grant) {
                Some((src, _)) => {
                    self.ledger.closing(grant);
                    self.admit(src, Job::new(Task::Close(grant), None, None));
                }
                None => self.refuse(Task::Close(grant), NotStarted::NoGrant),
            },
            Action::Extend {
                grant,
                deadline,
                last,
            } => {
                self.ledger.extend(grant, deadline);
                self.ledger.answered_by(grant, last);
            }
            Action::Forget { grant } => self.ledger.closed(grant),
        }
    }

    /// The open command, and the close command if there is one, unless too many wait already; and what
    /// is spent for it is.
    fn admissible(
        &mut self,
        door: &Door,
        facts: &Facts,
        spend: Option<&Token>,
    ) -> Result<(Invocation, Option<Invocation>), NotStarted> {
        let open = self.expand(&door.grant.open, facts)?;
        spend.map_or(Ok(()), |token| self.spend(token))?;
        let close = door.grant.close.of(facts.src);
        Ok((open, close.map(|close| close.expand(facts))))
    }

    /// Has it put on disk that a sequence is used: in its file now, in the ledger with this turn.
    fn spend(&mut self, token: &Token) -> Result<(), NotStarted> {
        match (&self.way, &token.used) {
            (_, Used::Until(unix)) => self.ledger.spend(&token.door, *unix),
            (Way::Dry, Used::Line { .. }) => {}
            (Way::Run { .. }, Used::Line { file, number, text }) => {
                list::mark(file, *number, text)?;
            }
        }
        Ok(())
    }

    /// The command for the family of who knocked, unless too many wait already.
    fn expand(&self, command: &PerFamily, facts: &Facts) -> Result<Invocation, NotStarted> {
        if self.queue.opens() + self.admitted.len() >= MAX_WAITING {
            return Err(NotStarted::Crowded);
        }
        let command = command.of(facts.src).ok_or(NotStarted::NoCommand)?;
        Ok(command.expand(facts))
    }

    fn admit(&mut self, src: IpAddr, job: Job) {
        self.admitted.push((src, job));
    }

    fn refuse(&mut self, task: Task, why: NotStarted) {
        self.report(task, Ended::not_started(None, why));
    }

    /// Puts this turn on disk, then its jobs in the queue; without the disk, all that do not need it.
    fn commit(&mut self) {
        let on_disk = self.ledger.commit().is_ok();
        for (src, job) in std::mem::take(&mut self.admitted) {
            if job.awaits_disk && !on_disk {
                let ended = Ended::not_started(job.invocation.as_ref(), NotStarted::Ledger);
                self.report(job.task, ended);
            } else {
                self.queue.push(src, job.task.lane(), job);
            }
        }
        let trouble = self.ledger.trouble();
        if trouble.is_some() != self.trouble.is_some() {
            let report = trouble.map_or(Carried::Recovered, Carried::Degraded);
            self.reports.push(report);
            self.trouble = trouble;
        }
    }

    fn start_ready(&mut self) {
        let mut ready = Vec::new();
        while let Some((src, _, job)) = self.queue.start() {
            match &job.task {
                Task::Open(grant) => self.ledger.answered_by(*grant, job.last),
                Task::Run(door, src) => self.ledger.answered(door, *src, job.last),
                Task::Close(_) => {}
            }
            ready.push((src, job));
        }
        // Not before: of what only waited when all was killed nothing has run, and the knock is read again.
        // A disk that refuses has been told.
        let _ = self.ledger.commit();
        for (src, job) in ready {
            self.start(src, job);
        }
    }

    /// Has the end of the job sent to the inbox, now or when it comes.
    fn start(&mut self, src: IpAddr, job: Job) {
        let Job {
            task, invocation, ..
        } = job;
        let invocation = match task {
            Task::Close(grant) => self.ledger.close_of(grant).map(|(_, close)| close.clone()),
            Task::Open(_) | Task::Run(..) => invocation,
        };
        let inbox = self.inbox.clone();
        let end = move |task, ended| {
            // Nobody is left to hear it when the runner is gone.
            let _ = inbox.send(Message::Ended(src, task, ended));
        };
        let Some(mut invocation) = invocation else {
            return end(task, Ended::not_started(None, NotStarted::NoGrant));
        };
        match &self.way {
            Way::Dry => {
                let ended = Ended::new(&invocation, How::DryRun, Vec::new(), Duration::ZERO);
                self.reports.push(Carried::Would(invocation));
                end(task, ended);
            }
            Way::Run {
                timeout,
                mark,
                stopped,
                ..
            } => {
                let mark = mark
                    .iter()
                    .map(|mark| (orphans::VARIABLE.to_owned(), mark.clone()));
                invocation.env.extend(mark);
                let (timeout, stopped) = (*timeout, Arc::clone(stopped));
                let failed = Ended::not_started(Some(&invocation), NotStarted::Exhausted);
                let instead = (end.clone(), task.clone());
                let work = move || end(task, exec::run(&invocation, timeout, stopped.as_fd()));
                if self.spare.start(work).is_err() {
                    instead.0(instead.1, failed);
                }
            }
        }
    }

    fn finish(&mut self, src: IpAddr, task: Task, ended: Ended) {
        self.queue.ended(src, task.lane());
        match (&task, ended.outcome()) {
            (Task::Open(grant), Outcome::Done) => self.ledger.opened(*grant),
            (Task::Close(grant), Outcome::Done) => self.ledger.closed(*grant),
            _ => {}
        }
        self.report(task, ended);
    }

    /// Ends what runs and what waits.
    fn cut_short(&mut self) {
        if let Way::Run { stop, .. } = &mut self.way {
            *stop = None;
        }
        for job in self.queue.clear() {
            let ended = Ended::not_started(job.invocation.as_ref(), NotStarted::Stopped);
            self.report(job.task, ended);
        }
    }

    fn report(&mut self, task: Task, ended: Ended) {
        if let How::Stopped | How::NotStarted(NotStarted::Stopped) = ended.how {
            self.unfinished += 1;
        }
        let outcome = ended.outcome();
        let finished = |grant, command, ended| Carried::Finished {
            grant,
            command,
            outcome,
            ended,
        };
        self.reports.push(match task {
            Task::Open(grant) => finished(grant, Command::Open, ended),
            Task::Close(grant) => finished(grant, Command::Close, ended),
            Task::Run(door, src) => Carried::Ran { door, src, ended },
        });
    }
}

#[cfg(test)]
#[path = "model_test.rs"]
mod tests;
