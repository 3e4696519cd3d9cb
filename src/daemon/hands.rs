//! Who carries out what the engine decides: the runner, which is another process, or in a dry run
//! nobody.
//!
//! In: actions, and what else only the runner may do. Out: nothing; what comes of it comes to the
//! inbox. Nobody waits here.

use std::io;
use std::time::Duration;

use super::inbox::{Message, Outlet};
use super::plan::{Reload, Rules};
use crate::engine::action::Action;
use crate::privsep::{Ask, Journals, Link, Notice};
use crate::runner::Runner;
use crate::systemd;

/// One of the two.
pub(super) enum Hands {
    /// This process, which runs nothing.
    Dry { runner: Runner, reload: Reload },
    /// The other process.
    Runner { link: Link, reload: Reload },
}

impl Hands {
    /// Those of a dry run.
    pub(super) fn dry(reload: Reload, inbox: &Outlet) -> io::Result<Self> {
        let carried = inbox.clone();
        let runner = Runner::dry(move |done| {
            // Nobody listens only once we have stopped.
            let _ = carried.send(Message::Carried(done));
        })?;
        Ok(Self::Dry { runner, reload })
    }

    /// Begins to send and to receive. No thread runs before.
    pub(super) fn start(&mut self, inbox: &Outlet) -> io::Result<()> {
        let heard = inbox.clone();
        match self {
            Self::Dry { .. } => Ok(()),
            Self::Runner { link, .. } => link.start(move |said| {
                // Nobody listens only once we have stopped.
                let _ = heard.send(Message::Heard(said));
            }),
        }
    }

    /// Who starts journalctls, where this process may not.
    pub(super) fn journals(&self) -> Option<Journals> {
        match self {
            Self::Dry { .. } => None,
            Self::Runner { link, .. } => Some(link.journals()),
        }
    }

    /// Has an action carried out.
    pub(super) fn submit(&self, action: Action) {
        match self {
            Self::Dry { runner, .. } => runner.submit(action),
            Self::Runner { link, .. } => link.ask(Ask::of(action)),
        }
    }

    /// The sources are followed.
    pub(super) fn started(&self) {
        if let Self::Runner { link, .. } = self {
            link.ask(Ask::Started);
        }
    }

    /// Has the configuration read again; whether it will be heard of.
    pub(super) fn reload(&self) -> bool {
        match self {
            Self::Dry { .. } => false,
            Self::Runner { link, .. } => {
                link.ask(Ask::Reload);
                true
            }
        }
    }

    /// The rules that a text says; without one, what the files say.
    pub(super) fn read(&mut self, text: &str) -> Result<Rules, String> {
        let (Self::Dry { reload, .. } | Self::Runner { reload, .. }) = self;
        reload(text)
    }

    /// Who tells the service manager.
    pub(super) fn notify(&self) -> Box<dyn Fn(Notice)> {
        match self {
            Self::Dry { .. } => Box::new(|notice| systemd::tell(&notice)),
            Self::Runner { link, .. } => {
                let asks = link.asks();
                // Who has gone need not be told.
                Box::new(move |notice| drop(asks.send(Ask::Notice(notice))))
            }
        }
    }

    /// Nothing more is to be done.
    pub(super) fn stop(self, within: Duration) {
        match self {
            Self::Dry { runner, .. } => {
                runner.stop(within);
            }
            Self::Runner { link, .. } => link.finish(),
        }
    }
}
