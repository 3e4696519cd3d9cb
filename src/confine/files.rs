//! Files: Landlock. What is not named cannot be opened; nothing can be written by its path, made, renamed,
//! removed or executed; no abstract socket and no process outside can be reached.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::{Needs, Strength};

/// What is asked of the kernel; an older one does what it knows of it.
const ASKED: ABI = ABI::V6;

/// Confines the calling thread and those that it makes.
pub(super) fn confine(needs: &Needs) -> Strength {
    let status = restricted(needs);
    match status.unwrap_or(RulesetStatus::NotEnforced) {
        RulesetStatus::FullyEnforced => Strength::Full,
        RulesetStatus::PartiallyEnforced => Strength::Partial,
        RulesetStatus::NotEnforced => Strength::None,
    }
}

fn restricted(needs: &Needs) -> Result<RulesetStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ASKED))?
        .handle_access(AccessNet::from_all(ASKED))?
        .scope(Scope::from_all(ASKED))?
        .create()?;
    for path in &needs.read {
        ruleset = beneath(ruleset, path, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Allows `access` to `path` and all beneath it, if it is there.
fn beneath(
    ruleset: RulesetCreated,
    path: &std::path::Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else {
        return Ok(ruleset);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(ASKED)
    };
    ruleset.add_rule(PathBeneath::new(place, access))
}
