//! Open Sesamy's `counts` and `port`, and the `lockout` of a door.
//!
//! The counts are a password and the port is half of one: a report names the number of a group and
//! never its count.

use std::time::Duration;

use toml::de::DeValue;

use crate::engine::door::Lockout;
use crate::engine::sequence::{Step, Transport};

use super::problem::Problem;
use super::report::{Report, Span};
use super::steps;
use super::value::{Value, Written, integer};

/// Most groups, and most hits in one: each is a digit.
const MOST: usize = 9;

/// Hits in each window, first to last.
#[derive(Clone)]
pub(super) struct Counts(pub(super) Box<[u8]>);

impl Value for Counts {
    const SECRET: bool = true;

    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let items = written.few("groups", MOST, "an array of counts", report)?;
        if items.len() == 0 {
            return written.refuse(Problem::NoCount, report);
        }
        let counts: Vec<Option<u8>> = items
            .enumerate()
            .map(|(index, item)| {
                let count = integer(item.value).and_then(|count| u8::try_from(count).ok());
                let number = index + 1;
                count
                    .filter(|count| (1..=9).contains(count))
                    .or_else(|| item.refuse(Problem::Count { number }, report))
            })
            .collect();
        Some(Self(counts.into_iter().collect::<Option<Vec<_>>>()?.into()))
    }
}

/// The port that is counted, and its transport if only one counts.
#[derive(Clone, Copy)]
pub(super) struct CountedPort(pub(super) (u16, Option<Transport>));

impl Value for CountedPort {
    const SECRET: bool = true;

    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        match steps::step(written.value) {
            Ok(Step { port, transport }) => {
                let named = matches!(written.value, DeValue::String(text) if text.contains(':'));
                Some(Self((port, named.then_some(transport))))
            }
            Err(flaw) => written.refuse(Problem::Step { number: 1, flaw }, report),
        }
    }
}

impl Value for Lockout {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        const EXPECTED: &str = "a table such as { fails = 5, within = \"10m\", for = \"1h\" }";
        let DeValue::Table(table) = written.value else {
            return written.wrong_type(EXPECTED, report);
        };
        let (mut fails, mut within, mut time) = (None, None, None);
        for (key, value) in table {
            let at = |span: std::ops::Range<usize>| Span {
                document: written.span.document,
                start: span.start,
                end: span.end,
            };
            let item = Written {
                value: value.get_ref(),
                span: at(value.span()),
            };
            match key.get_ref().as_ref() {
                "fails" => {
                    let count = integer(item.value)
                        .and_then(|count| u32::try_from(count).ok())
                        .filter(|count| (1..=1000).contains(count));
                    fails = Some(count.or_else(|| {
                        item.refuse(
                            Problem::Range {
                                least: 1,
                                most: 1000,
                            },
                            report,
                        )
                    })?);
                }
                "within" => within = Some(Duration::read(item, report)?),
                "for" => time = Some(Duration::read(item, report)?),
                _ => {
                    return Written {
                        span: at(key.span()),
                        ..item
                    }
                    .refuse(Problem::LockoutKeys, report);
                }
            }
        }
        match (fails, within, time) {
            (Some(fails), Some(within), Some(time)) => Some(Self {
                fails,
                within,
                time,
            }),
            _ => written.refuse(Problem::LockoutKeys, report),
        }
    }
}
