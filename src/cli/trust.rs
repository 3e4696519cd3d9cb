//! Which sources may be believed with the prefix at hand.

use super::exit::{Code, Failure};
use super::settings::Settings;
use crate::config::Prefix;
use crate::source_spec::SourceSpec;

/// Refuses sources whose lines anybody could have written, unless the prefix is a shared secret or the
/// operator accepts it.
pub(super) fn require(settings: &Settings, sources: &[SourceSpec]) -> Result<(), Failure> {
    let claimed = |source: &&SourceSpec| !matches!(source, SourceSpec::Kmsg | SourceSpec::Journald);
    let Some(source) = sources.iter().find(claimed) else {
        return Ok(());
    };
    let secret = settings
        .config
        .log
        .prefix
        .as_ref()
        .is_some_and(Prefix::is_secret);
    if secret || settings.config.log.accept_forgeable {
        return Ok(());
    }
    let why = match settings.config.log.prefix {
        None => "no log prefix is configured",
        Some(_) => "the log prefix can be guessed",
    };
    Err(Failure::new(
        Code::Config,
        format!(
            "logknock: any local user may write lines that end up in '{source}', and {why}\n\
             give [log] prefix (and the LOG rule) at least 8 random letters and digits, such as 'lk-' and the output of\n    \
             od -An -N4 -tx1 /dev/urandom | tr -d ' \\n'\n\
             and keep the log itself from others (chmod 0640); or set accept_forgeable = true to open doors for forged lines"
        ),
    ))
}
