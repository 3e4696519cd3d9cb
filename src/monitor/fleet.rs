//! The socket of `logknock-fleet`, the one process with the network, and what passes through it.
//!
//! In: grants of other gateways and ends of claims, as the agent says them; what opens and closes here. Out: grants
//! for the table, decided knocks, grants to publish. The agent can ask for nothing else: [`Fleet`] decides which of
//! its messages count. It is the only client, root's or its own user's; a new one takes the place of the old.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the agent's socket, and the file of what was closed before its end"
)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::lchown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use rustix::event::PollFlags;
use rustix::net::sockopt::socket_peercred;

use super::control::{ControlError, bind_to, check_directory, make_room};
use super::heard::WARNING_INTERVAL;
use super::{Monitor, records, report};
use crate::accounts::user_number;
use crate::clock;
use crate::engine::door::{Door, Sharing};
use crate::engine::event::{Event, EventKind, RefusedReason};
use crate::engine::finding::Knocked;
use crate::engine::time::{Pause, Time};
use crate::fleet::message::{Bus, FromAgent, MAX_LINE, ToAgent, line};
use crate::fleet::{Decided, Fleet, Refused, Rules, Verdict};
use crate::protocol::{FleetRefusal, FleetStatus, PeerStatus};

/// How much is read from the agent in one turn.
const BLOCK_SIZE: usize = 16 * 1024;
/// An agent that leaves so much unread is hung up on; everything is sent to it again when it comes back.
const MAX_UNWRITTEN: usize = 64 * 1024 * 1024;

/// What the configuration says of the fleet.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Which grants of others count.
    pub rules: Rules,
    /// What signs ours.
    pub key: SigningKey,
    /// How the agent reaches the bus; how far it reads back is worked out from the doors.
    pub bus: Bus,
    /// The agent's socket.
    pub socket: PathBuf,
    /// The user that it runs as.
    pub user: Box<str>,
    /// Where is kept what was closed before its end; nowhere without a state directory.
    pub closed: Option<PathBuf>,
}

/// This gateway's side of the fleet.
pub(super) struct Member {
    state: Fleet,
    bus: Bus,
    listener: UnixListener,
    socket: PathBuf,
    user: u32,
    agent: Option<Agent>,
    closed: Option<PathBuf>,
    /// What tells this boot in the ids of our grants.
    boot: String,
    /// The first message to the agent.
    greeted: Option<Bus>,
    /// Grants that were refused, and codes that were used elsewhere.
    refusals: Pause,
    lost_claims: Pause,
}

/// The agent that is connected.
struct Agent {
    stream: UnixStream,
    unread: Vec<u8>,
    unwritten: Vec<u8>,
}

impl Agent {
    fn say(&mut self, message: &ToAgent) -> io::Result<()> {
        self.unwritten.extend(line(message));
        if self.unwritten.len() > MAX_UNWRITTEN {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(length) => drop(self.unwritten.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The messages that have come whole; an error where nothing more can come.
    fn hear(&mut self) -> io::Result<Vec<FromAgent>> {
        let mut room = [0; BLOCK_SIZE];
        match self.stream.read(&mut room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.unread.extend(room.iter().take(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let end = memchr::memrchr(b'\n', &self.unread).map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.unread.drain(..end).collect();
        let lines = whole
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        let messages = lines.map(|line| {
            let message = (line.len() <= MAX_LINE).then(|| serde_json::from_slice(line).ok());
            message.flatten().ok_or(io::ErrorKind::InvalidData)
        });
        let messages = messages.collect::<Result<_, _>>()?;
        if self.unread.len() > MAX_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(messages)
    }
}

impl Member {
    /// Makes the socket.
    pub(super) fn start(plan: Membership) -> Result<Self, ControlError> {
        let user = user_number(&plan.user).ok_or(ControlError::NoUser)?;
        let listener = listen(&plan.socket, user)?;
        let mut state = Fleet::new(plan.rules, plan.key);
        let closed = plan.closed.as_ref();
        let closed = closed.and_then(|path| fs::read_to_string(path).ok());
        for line in closed.iter().flat_map(|text| text.lines()) {
            if let Some((end, id)) = line.split_once(' ')
                && let Ok(end) = end.parse()
            {
                state.restore_closed(id.to_owned(), end);
            }
        }
        let boot = clock::boot_id()?;
        Ok(Self {
            state,
            bus: plan.bus,
            listener,
            socket: plan.socket,
            user,
            agent: None,
            closed: plan.closed,
            boot: boot.chars().take(8).collect(),
            greeted: None,
            refusals: Pause::new(clock::boot_now(), WARNING_INTERVAL),
            lost_claims: Pause::new(clock::boot_now(), WARNING_INTERVAL),
        })
    }

    /// Takes what the configuration says now. What is remembered stays.
    fn reload(&mut self, plan: Membership) -> Result<(), ControlError> {
        let user = user_number(&plan.user).ok_or(ControlError::NoUser)?;
        if plan.socket != self.socket {
            self.listener = listen(&plan.socket, user)?;
            drop(fs::remove_file(&self.socket));
            self.socket = plan.socket;
        } else if user != self.user {
            lchown(&self.socket, Some(user), None)?;
        }
        self.user = user;
        self.bus = plan.bus;
        self.closed = plan.closed;
        self.state.handle_reload(plan.rules, plan.key);
        Ok(())
    }

    /// What is to be watched, and for what.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let agent = self.agent.iter().map(|agent| {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, !agent.unwritten.is_empty());
            (agent.stream.as_fd(), flags)
        });
        agent.chain([(self.listener.as_fd(), PollFlags::IN)])
    }

    /// When a claim has waited for too long.
    pub(super) fn due(&self) -> Option<Time> {
        self.state.poll_timeout()
    }

    /// Takes a new agent, if one has come. Whether there is one.
    fn accept(&mut self) -> bool {
        let mut is_new = false;
        while let Ok((stream, _)) = self.listener.accept() {
            let owners = [0, self.user];
            let may =
                socket_peercred(&stream).is_ok_and(|peer| owners.contains(&peer.uid.as_raw()));
            if may && stream.set_nonblocking(true).is_ok() {
                is_new = true;
                self.agent = Some(Agent {
                    stream,
                    unread: Vec::new(),
                    unwritten: Vec::new(),
                });
            }
        }
        is_new
    }

    fn say(&mut self, message: &ToAgent) -> bool {
        let said = self.agent.as_mut().map(|agent| agent.say(message));
        !matches!(said, Some(Err(_)))
    }

    fn keep_closed(&mut self) {
        let Some(path) = &self.closed else { return };
        let lines = self.state.closed().map(|(id, end)| format!("{end} {id}\n"));
        let text: String = lines.collect();
        let kept = records::replace(path, &text).and_then(|()| fs::File::open(path)?.sync_all());
        if let Err(error) = kept {
            report::not_written(path, &error);
        }
    }
}

/// The agent's socket.
fn listen(path: &Path, user: u32) -> Result<UnixListener, ControlError> {
    check_directory(path)?;
    make_room(path)?;
    let listener = UnixListener::from(bind_to(path, None)?);
    lchown(path, Some(user), None)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.socket));
    }
}

impl Monitor {
    /// Takes what the agent says.
    pub(super) fn hear_agent(&mut self) {
        let Some(member) = &mut self.fleet else {
            return;
        };
        if member.accept() {
            // The bus may have changed hands.
            self.bus_is(false);
            self.greet();
        }
        let Some(agent) = self.fleet.as_mut().and_then(|member| member.agent.as_mut()) else {
            return;
        };
        let heard = agent.flush().and_then(|()| agent.hear());
        match heard {
            Ok(messages) => messages
                .into_iter()
                .for_each(|message| self.agent_said(message)),
            Err(_) => self.lose_agent(),
        }
    }

    fn lose_agent(&mut self) {
        if let Some(member) = &mut self.fleet {
            member.agent = None;
        }
        self.bus_is(false);
    }

    /// How the bus is reached, and how far back a grant may be open still.
    fn hello(&self) -> Option<Bus> {
        let holds = self.doors.iter().filter(|door| door.fleet == Sharing::Open);
        let back = holds.map(|door| door.grant.hold).max().unwrap_or_default();
        self.fleet.as_ref().map(|member| Bus {
            back: u64::try_from(back.as_millis()).unwrap_or(u64::MAX),
            ..member.bus.clone()
        })
    }

    /// Hangs up on an agent that got another configuration; it comes back, and gets the new one.
    pub(super) fn greet_again(&mut self) {
        let hello = self.hello();
        let is_other = |member: &Member| member.agent.is_some() && member.greeted != hello;
        if self.fleet.as_ref().is_some_and(is_other) {
            self.lose_agent();
        }
    }

    /// Tells a new agent how the bus is reached, and what is open.
    fn greet(&mut self) {
        let Some(bus) = self.hello() else { return };
        if let Some(member) = &mut self.fleet {
            member.greeted = Some(bus.clone());
        }
        self.say_to_agent(&ToAgent::Hello(Box::new(bus)));
        let grants = self.executor.grants.iter();
        let open = grants.filter(|(_, grant)| grant.opened.is_some());
        let open: Vec<_> = open
            .map(|(_, grant)| (Arc::clone(&grant.door), grant.src))
            .collect();
        for (door, src) in open {
            self.publish(&door, src);
        }
    }

    fn say_to_agent(&mut self, message: &ToAgent) {
        if let Some(member) = &mut self.fleet
            && !member.say(message)
        {
            self.lose_agent();
        }
    }

    fn agent_said(&mut self, message: FromAgent) {
        let now = clock::boot_now();
        let Some(member) = &mut self.fleet else {
            return;
        };
        match message {
            FromAgent::Connected(is_connected) => self.bus_is(is_connected),
            FromAgent::Published(id) => member.state.handle_published(&id, now),
            FromAgent::Claimed(number, is_won) => {
                let decided = member.state.handle_claimed(number, is_won);
                if let Some(decided) = decided {
                    self.decided(&decided);
                }
            }
            FromAgent::Grant(from, grant) => {
                let unix = unix_millis();
                let mut doors = self.doors.iter();
                let door = doors.find(|door| *door.name == *grant.door).cloned();
                let taken = member
                    .state
                    .handle_grant(&from, &grant, door.as_deref(), unix);
                match (taken, door) {
                    (Ok(end), Some(door)) if self.end.is_none() => {
                        let left = u64::try_from(end - unix).unwrap_or(0);
                        let until = now.after(Duration::from_millis(left));
                        let origin = Arc::from(grant.origin.as_str());
                        let grants = &mut self.executor.grants;
                        // Whether it may be opened for this address has been looked at.
                        let _ = grants.handle_granted(&door, grant.src, until, &origin, now);
                    }
                    (Err(why), _) => self.warn_of(why, &from, now),
                    _ => {}
                }
            }
        }
    }

    fn warn_of(&mut self, why: Refused, from: &str, now: Time) {
        if let Some(member) = &mut self.fleet
            && !why.is_usual()
            && member.refusals.add(1, now).is_some()
        {
            report::grant_refused(from, why);
        }
    }

    fn bus_is(&mut self, is_connected: bool) {
        let Some(member) = &mut self.fleet else {
            return;
        };
        if member.state.is_connected != is_connected {
            report::bus(is_connected);
        }
        let decided = member.state.handle_connected(is_connected);
        for decided in &decided {
            self.decided(decided);
        }
    }

    /// Takes a knock. A knock with a code waits until the code is claimed.
    pub(super) fn open_or_claim(&mut self, door: &Arc<Door>, knocked: Knocked, now: Time) {
        let Some(member) = self.fleet.as_mut().filter(|_| knocked.used.is_some()) else {
            self.executor.grants.handle_knocked(door, &knocked, now);
            return;
        };
        let mut random = [0; 8];
        // Without random bytes the claim is still this gateway's.
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
        let nonce = u64::from_ne_bytes(random);
        match member.state.handle_knocked(door, knocked, now, nonce) {
            Ok(decided) => self.decided(&decided),
            Err(claim) => self.say_to_agent(&claim),
        }
    }

    fn decided(&mut self, decided: &Decided) {
        let now = clock::boot_now();
        let Decided {
            door,
            knocked,
            verdict,
        } = decided;
        if self.end.is_some() {
            return; // left to the next start
        }
        let grants = &mut self.executor.grants;
        let reason = match verdict {
            Verdict::Open => {
                grants.handle_knocked(door, knocked, now);
                return;
            }
            Verdict::Elsewhere => {
                let member = self.fleet.as_mut();
                let told = member.and_then(|member| member.lost_claims.add(1, now));
                if let Some(count) = told {
                    report::claimed_elsewhere(&door.name, knocked.facts.src, count);
                }
                RefusedReason::Elsewhere
            }
            Verdict::NoBus => RefusedReason::NoBus,
        };
        grants.handle_refused(door, knocked, reason, now);
    }

    /// Takes the place in a fleet that the configuration gives now, or leaves it. On an error nothing has changed.
    pub(super) fn reload_fleet(&mut self, plan: Option<Membership>) -> Result<(), ControlError> {
        match (&mut self.fleet, plan) {
            (None, None) => {}
            (None, Some(plan)) => self.fleet = Some(Member::start(plan)?),
            (Some(member), Some(plan)) => member.reload(plan)?,
            (Some(_), None) => {
                // Codes that wait are decided.
                self.lose_agent();
                self.fleet = None;
            }
        }
        Ok(())
    }

    /// Decides what has waited for too long.
    pub(super) fn handle_claims(&mut self, now: Time) {
        let late = self
            .fleet
            .as_mut()
            .map(|member| member.state.handle_timeout(now));
        let late = late.unwrap_or_default();
        for decided in &late {
            self.decided(decided);
        }
    }

    /// Publishes what is open for `src` at `door`, if the fleet is to know.
    pub(super) fn publish(&mut self, door: &Arc<str>, src: IpAddr) {
        let Some(member) = &mut self.fleet else {
            return;
        };
        let found = self.doors.iter().find(|known| known.name == *door);
        let open = self.executor.grants.open_at(door, src);
        let (Some(known), Some((id, grant))) = (found, open) else {
            return;
        };
        let clocks = (clock::boot_now(), unix_millis());
        let message = member.state.publish(id, grant, known, clocks, &member.boot);
        if let Some(message) = message {
            self.say_to_agent(&message);
        }
    }

    /// Takes what happened to a grant.
    pub(super) fn tell_fleet(&mut self, event: &Event) {
        match event.kind {
            EventKind::Refresh => self.publish(&event.door, event.src),
            EventKind::Close if self.end.is_none() => {
                if let Some(member) = &mut self.fleet
                    && member
                        .state
                        .handle_closed(&event.door, event.src, unix_millis())
                {
                    member.keep_closed();
                }
            }
            _ => {}
        }
    }

    /// The state of the fleet, in the form of the protocol.
    pub(super) fn fleet_status(&self) -> Option<FleetStatus> {
        let member = self.fleet.as_ref()?;
        let state = &member.state;
        let unix = unix_millis();
        let peers = state.peers().map(|(name, counts)| PeerStatus {
            name: name.to_owned(),
            grants: counts.taken,
            last_grant_seconds: counts
                .last
                .map(|at| ((unix - at) / 1000).max(0).unsigned_abs()),
            lag_ms: counts.lag,
            refused: counts
                .refused
                .iter()
                .map(|(why, count)| (why.as_str().to_owned(), *count))
                .collect(),
        });
        let claims = state.claim_counts;
        Some(FleetStatus {
            agent: member.agent.is_some(),
            connected: state.is_connected,
            peers: peers.collect(),
            unpublished: state.unpublished(clock::boot_now()),
            claims_won: claims.won,
            claims_lost: claims.lost,
            claims_without_bus: claims.without_bus,
        })
    }

    /// The grants of other gateways that would have opened a door for `src` and did not count.
    pub(super) fn fleet_refusals(&self, src: IpAddr) -> Vec<FleetRefusal> {
        let member = self.fleet.iter();
        let told = member.flat_map(|member| member.state.told(src));
        let unix = unix_millis();
        told.map(|told| FleetRefusal {
            seconds_ago: ((unix - told.at) / 1000).max(0).unsigned_abs(),
            gateway: told.from.clone(),
            door: told.door.clone(),
            reason: told.why.as_str().to_owned(),
        })
        .collect()
    }
}

fn unix_millis() -> i64 {
    clock::wall_now().as_nanos() / 1_000_000
}
