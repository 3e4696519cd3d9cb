//! What the daemon answers when it is asked.
//!
//! In: a request from the control socket, between two turns of the loop. Out: its reply, at once:
//! commands are ordered here and carried out by the runner.

use std::sync::mpsc::SyncSender;

use super::{Daemon, report, status};
use crate::clock;
use crate::engine::NotOpened;
use crate::protocol::{MAX_GRANTS, Reply, Request, Status, Story, Whose};

impl Daemon {
    /// Does what is asked. Whoever asks for a reload is answered when the runner has read the files.
    pub(super) fn asked(&mut self, request: Request, reply: SyncSender<Reply>) {
        let answer = match request {
            Request::Reload => {
                report::asked("reload");
                if self.hands.reload() {
                    self.awaiting.push(reply);
                    return;
                }
                Reply::Failed {
                    message: "a dry run is told to reload by SIGHUP".to_owned(),
                }
            }
            request => self.answer(request),
        };
        // A client that has gone does not want to know.
        drop(reply.try_send(answer));
    }

    fn answer(&mut self, request: Request) -> Reply {
        let now = clock::boot_now();
        match request {
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::Explain(src) => {
                let src = src.to_canonical();
                let theirs = self.engine.standing().filter(|grant| grant.src == src);
                let theirs = theirs.take(MAX_GRANTS);
                Reply::Story(Story {
                    src,
                    happenings: self.memory.of(src, |source| self.name_of(source)),
                    grants: theirs.map(|grant| status::grant(&grant, now)).collect(),
                })
            }
            Request::Open { door, src } => {
                report::asked("open");
                match self.engine.handle_open(now, &door, src) {
                    Ok(()) => Reply::Done { count: 1 },
                    Err(why) => refused(why),
                }
            }
            Request::Close(whose) => {
                report::asked("close");
                let src = match whose {
                    Whose::Everybody => None,
                    Whose::Of(src) => Some(src),
                };
                let count = self.engine.handle_close_all(now, src);
                Reply::Done { count }
            }
            // Not answered at once: see above.
            Request::Reload => Reply::Busy,
        }
    }

    /// How we are.
    pub(super) fn status(&self) -> Status {
        let now = clock::boot_now();
        let status = self.counts.status(&self.engine, &self.sources, now);
        Status {
            confined: self.confined.as_ref().map(status::confined),
            restarts: self.restarts,
            ..status
        }
    }

    fn name_of(&self, source: u16) -> Option<String> {
        let followed = self.sources.get(usize::from(source))?;
        Some(followed.spec.to_string())
    }
}

fn refused(why: NotOpened) -> Reply {
    let message = match why {
        NotOpened::NoSuchDoor => "no door has this name; 'logknock status' lists them",
        NotOpened::NoCommand => "this door has no open command for addresses of this family",
        NotOpened::NotAllowed => "this door does not let that address in ('allow' and 'deny')",
        NotOpened::Nobody => "no single host can have this address",
    };
    Reply::Failed {
        message: message.to_owned(),
    }
}
