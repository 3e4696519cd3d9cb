//! What administrators ask, and what only the detector knows of it.
//!
//! In: requests of the control socket, the detector's answers, ends of commands, time. Out: replies, and the metrics.
//! The detector is asked with a deadline: if it is silent, a client waits for a second and then gets what is known
//! without it. `open` is answered when the open command has ended.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::control::{ClientId, failed};
use super::{Ended, Monitor, records, report};
use crate::clock;
use crate::engine::grant::{Answer, Grant, NotOpened, Outcome, Phase, Task};
use crate::engine::time::Time;
use crate::metrics;
use crate::privsep::{Piece, Question, ToDetector};
use crate::protocol::{
    DoorStatus, GrantStatus, Happening, MAX_GRANTS, MAX_REPLY, Reply, Request, Status, Story, Whose,
};
use crate::systemd;

/// How long the detector may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two writings of the metrics.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);
/// Questions that wait for the detector.
const MAX_QUESTIONS: usize = 32;

/// Requests that wait for something.
#[derive(Debug)]
pub(super) struct Requests {
    started: Time,
    questions: Vec<Pending>,
    last: u32,
    /// A client that waits for the ends of commands, and for how many; the first failure is its answer.
    awaited: HashMap<(Task, IpAddr), Vec<ClientId>>,
    waiting: HashMap<ClientId, usize>,
    /// Clients that wait until the detector has taken the configuration, and until when they do.
    reloads: Vec<ClientId>,
    reload_until: Option<Time>,
    metrics: Option<PathBuf>,
    metrics_due: Option<Time>,
    /// The metrics could not be written the last time.
    metrics_failed: bool,
    failed_commands: BTreeMap<String, u64>,
}

/// A question that the detector was asked.
#[derive(Debug)]
struct Pending {
    number: u32,
    asker: Asker,
    /// What has come of the answer.
    text: String,
    until: Time,
}

#[derive(Clone, Copy, Debug)]
enum Asker {
    Status(ClientId),
    Explain(ClientId, IpAddr),
    Metrics,
}

impl Requests {
    fn await_end(&mut self, client: ClientId, task: Task, src: IpAddr) {
        self.awaited.entry((task, src)).or_default().push(client);
        *self.waiting.entry(client).or_default() += 1;
    }

    pub(super) fn new(now: Time, metrics: Option<PathBuf>) -> Self {
        Self {
            started: now,
            questions: Vec::new(),
            last: 0,
            awaited: HashMap::new(),
            waiting: HashMap::new(),
            reloads: Vec::new(),
            reload_until: None,
            metrics_due: metrics.is_some().then_some(now),
            metrics,
            metrics_failed: false,
            failed_commands: BTreeMap::new(),
        }
    }

    /// When [`Monitor::handle_requests`] has something to do.
    pub(super) fn due(&self) -> Option<Time> {
        let questions = self.questions.iter().map(|question| question.until);
        let dues = [self.reload_until, self.metrics_due];
        questions.chain(dues.into_iter().flatten()).min()
    }

    /// Whether metrics are still to be written.
    pub(super) fn awaits_metrics(&self) -> bool {
        let mut questions = self.questions.iter();
        questions.any(|question| matches!(question.asker, Asker::Metrics))
    }
}

impl Monitor {
    /// Does what a client asks.
    pub(super) fn asked(&mut self, client: ClientId, request: Request) {
        let now = clock::boot_now();
        match request {
            Request::Status => self.ask(Question::Status, Asker::Status(client)),
            Request::Explain(src) => {
                let src = src.to_canonical();
                self.ask(Question::Explain(src), Asker::Explain(client, src));
            }
            Request::Open { door, src } => {
                report::asked("open");
                self.open(client, &door, src.to_canonical(), now);
            }
            Request::Close(whose) => {
                report::asked("close");
                let src = match whose {
                    Whose::Everybody => None,
                    Whose::Of(src) => Some(src),
                };
                let count = self.executor.grants.close_all(src, now);
                // What has been answered outlives a kill, also as a grant of the fleet that is closed here.
                self.carry_out(now);
                self.reply(client, &Reply::Done { count });
            }
            Request::PutBack => {
                report::asked("put_back");
                self.put_back(client, now);
            }
            Request::Reload => {
                report::asked("reload");
                self.requests.reloads.push(client);
                self.requests.reload_until = Some(now.after(ANSWER_TIMEOUT));
                self.reload();
            }
        }
    }

    /// Does what is due.
    pub(super) fn handle_requests(&mut self, now: Time) {
        let late = |question: &Pending| now >= question.until;
        while let Some(at) = self.requests.questions.iter().position(late) {
            let question = self.requests.questions.swap_remove(at);
            self.settle(question.asker, Err("it does not answer"));
        }
        if self.requests.reload_until.is_some_and(|until| now >= until) {
            self.reloaded();
        }
        if self.requests.metrics_due.is_some_and(|due| now >= due) {
            self.requests.metrics_due = Some(now.after(METRICS_INTERVAL));
            self.ask_for_metrics();
        }
    }

    /// Has the metrics written, if there are any, once the detector has said its part.
    pub(super) fn ask_for_metrics(&mut self) {
        if self.requests.metrics.is_some() {
            self.ask(Question::Status, Asker::Metrics);
        }
    }

    /// Takes a piece of an answer.
    pub(super) fn answered(&mut self, to: u32, piece: &Piece) {
        let mut questions = self.requests.questions.iter_mut();
        let Some(at) = questions.position(|question| question.number == to) else {
            return; // it came too late
        };
        let Some(question) = self.requests.questions.get_mut(at) else {
            return;
        };
        question.text.push_str(&piece.text);
        if piece.more && question.text.len() <= MAX_REPLY {
            return;
        }
        let question = self.requests.questions.swap_remove(at);
        self.settle(question.asker, Ok(&question.text));
    }

    /// There is no detector any more to answer.
    pub(super) fn unanswered(&mut self) {
        for question in std::mem::take(&mut self.requests.questions) {
            self.settle(question.asker, Err("it has ended"));
        }
        if self.requests.reload_until.is_some() {
            self.reloaded();
        }
    }

    /// The configuration is taken.
    pub(super) fn reloaded(&mut self) {
        let count = self.doors.len();
        self.settle_reload(&Reply::Done { count });
    }

    /// The configuration is not taken.
    pub(super) fn not_reloaded(&mut self, why: &str) {
        self.settle_reload(&failed(why));
    }

    /// A command has ended.
    pub(super) fn command_ended(&mut self, task: &Task, door: &str, src: IpAddr, ended: &Ended) {
        let word = match task {
            Task::Open(_) => "open",
            Task::Close(_) => "close",
            Task::Run(_) | Task::Mark(_) => "run",
        };
        let reply = if ended.outcome() == Outcome::Done {
            Reply::Done { count: 1 }
        } else {
            let counts = &mut self.requests.failed_commands;
            *counts.entry(word.to_owned()).or_default() += 1;
            failed(format!("{door}: {ended}{}", said(ended)))
        };
        let clients = self.requests.awaited.remove(&(task.clone(), src));
        for client in clients.into_iter().flatten() {
            let Some(left) = self.requests.waiting.get_mut(&client) else {
                continue;
            };
            *left -= 1;
            if *left == 0 || matches!(reply, Reply::Failed { .. }) {
                self.requests.waiting.remove(&client);
                self.reply(client, &reply);
            }
        }
    }

    fn open(&mut self, client: ClientId, name: &str, src: IpAddr, now: Time) {
        let Some(door) = self.door(name) else {
            let why = "no door has this name; 'logknock status' lists them";
            return self.reply(client, &failed(why));
        };
        let task = match self.executor.grants.handle_open(&door, src, now) {
            Ok(Answer::Opening(id)) => Task::Open(id),
            Ok(Answer::Running) => Task::Run(Arc::clone(&door.name)),
            Ok(Answer::Extended | Answer::Ignored) => {
                return self.reply(client, &Reply::Done { count: 1 });
            }
            Ok(Answer::Refused(_)) => {
                return self.reply(client, &failed("too many doors are open"));
            }
            Err(why) => return self.reply(client, &failed(refusal(why))),
        };
        self.requests.await_end(client, task, src);
    }

    fn put_back(&mut self, client: ClientId, now: Time) {
        let mut count = 0;
        for door in &self.doors {
            for src in self.executor.grants.handle_put_back(door, now) {
                count += 1;
                let task = Task::Run(Arc::clone(&door.name));
                self.requests.await_end(client, task, src);
            }
        }
        if count == 0 {
            self.reply(client, &Reply::Done { count });
        }
    }

    fn reply(&mut self, client: ClientId, reply: &Reply) {
        if let Some(control) = &mut self.control {
            control.reply(client, reply);
        }
    }

    fn settle_reload(&mut self, reply: &Reply) {
        // A daemon that is not ready yet must not say so because of a reload.
        if self.is_ready {
            systemd::ready();
        }
        self.requests.reload_until = None;
        for client in std::mem::take(&mut self.requests.reloads) {
            self.reply(client, reply);
        }
    }

    fn ask(&mut self, question: Question, asker: Asker) {
        if self.detector.is_none() {
            return self.settle(asker, Err("it is being started"));
        }
        if self.requests.questions.len() >= MAX_QUESTIONS {
            return self.settle(asker, Err("it has too many requests to answer"));
        }
        self.requests.last = self.requests.last.wrapping_add(1);
        let number = self.requests.last;
        self.requests.questions.push(Pending {
            number,
            asker,
            text: String::new(),
            until: clock::boot_now().after(ANSWER_TIMEOUT),
        });
        self.tell(&ToDetector::Ask(number, question), None);
    }

    fn settle(&mut self, asker: Asker, answer: Result<&str, &str>) {
        match asker {
            Asker::Status(client) => {
                let status = self.status(answer);
                self.reply(client, &Reply::Status(Box::new(status)));
            }
            Asker::Explain(client, src) => {
                let happenings = answer.ok().and_then(|text| serde_json::from_str(text).ok());
                let happenings: Option<Vec<Happening>> = happenings;
                let reply = match happenings {
                    Some(happenings) => Reply::Story(Story {
                        src,
                        happenings,
                        grants: self.grants(Some(src)),
                        refused: self.fleet_refusals(src),
                    }),
                    None => failed("the detector does not answer"),
                };
                self.reply(client, &reply);
            }
            Asker::Metrics => {
                let text = metrics::render(&self.status(answer));
                let Some(path) = self.requests.metrics.clone() else {
                    return;
                };
                let written = records::replace(&path, &text);
                if let (Err(error), false) = (&written, self.requests.metrics_failed) {
                    report::not_written(&path, error);
                }
                self.requests.metrics_failed = written.is_err();
            }
        }
    }

    /// All that is known: the detector's part, as it has said it or as much as is known without it.
    fn status(&self, answer: Result<&str, &str>) -> Status {
        let malformed = |_| "its answer is malformed";
        let told = answer.and_then(|text| serde_json::from_str::<Status>(text).map_err(malformed));
        let trouble = told.as_ref().err().map(|why| (*why).to_owned());
        let told = told.unwrap_or_else(|_| Status {
            doors: self.doors.iter().map(|door| door_status(door)).collect(),
            ..Status::default()
        });
        let now = clock::boot_now();
        let grants = &self.executor.grants;
        let open = grants
            .iter()
            .filter(|(_, grant)| grant.phase == Phase::Open);
        let grants_open = open.count();
        let unix = clock::wall_now().as_nanos() / 1_000_000_000;
        let codes_refused = grants.used().filter_map(|(name, used)| {
            let door = self.door(name)?;
            Some((
                name.to_string(),
                door.rule.origin()?.refused_for(used, unix)?,
            ))
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now.since(self.requests.started).as_secs(),
            grants: self.grants(None),
            grants_open,
            grants_closing: grants.len() - grants_open,
            given_up: grants.given_up().cloned().collect(),
            codes_refused: codes_refused.collect(),
            failed_commands: self.requests.failed_commands.clone(),
            fleet: self.fleet_status(),
            restarts: self.starts.saturating_sub(1),
            firewall: self.firewall.status(now),
            jump: self.jumps.status(now),
            detector_trouble: trouble,
            disk_trouble: self.executor.trouble.map(|trouble| trouble.to_string()),
            ..told
        }
    }

    /// What is open or being closed, of one address or of all.
    fn grants(&self, src: Option<IpAddr>) -> Vec<GrantStatus> {
        let now = clock::boot_now();
        let grants = self.executor.grants.iter().map(|(_, grant)| grant);
        let theirs = grants.filter(|grant| src.is_none_or(|src| grant.src == src));
        let theirs = theirs.take(MAX_GRANTS);
        theirs.map(|grant| grant_status(grant, now)).collect()
    }
}

fn door_status(door: &crate::engine::door::Door) -> DoorStatus {
    DoorStatus {
        name: door.name.to_string(),
        steps: door.rule.knocks(),
        attempts: 0,
    }
}

fn grant_status(grant: &Grant, now: Time) -> GrantStatus {
    let left = grant
        .timer()
        .map_or(Duration::ZERO, |until| until.since(now));
    GrantStatus {
        door: grant.door.to_string(),
        src: grant.src,
        origin: grant.origin.as_deref().map(str::to_owned),
        phase: grant.phase,
        left_seconds: left.as_secs(),
        failed: grant.failed,
        words: grant.words.to_string(),
    }
}

/// The last line that a command wrote, behind how it ended.
fn said(ended: &Ended) -> String {
    if ended.output.is_empty() {
        String::new()
    } else {
        format!(": {}", ended.last_words())
    }
}

fn refusal(why: NotOpened) -> &'static str {
    match why {
        NotOpened::NoCommand => "this door has no open command for addresses of this family",
        NotOpened::NotAllowed => "this door does not let that address in ('allow' and 'deny')",
        NotOpened::Nobody => "no single host can have this address",
    }
}
