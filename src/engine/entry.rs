//! The one connection that a `once` door lets in.

use super::door::{Door, Scope};
use super::grant::Grants;
use super::knock::Hit;

/// Whether `hit` begins a connection that `door` has let in, and is the last to: it closes now.
pub(super) fn is_last(door: &Door, hit: &Hit<'_>, grants: &Grants) -> bool {
    begins(door, hit) && is_let_in(door, hit, grants)
}

/// Whether `hit` begins a connection of which one is all that `door` lets in.
fn begins(door: &Door, hit: &Hit<'_>) -> bool {
    door.grant.once.contains(&hit.step) && Scope::default().admits(hit)
}

/// Whether `hit` came when `door` stood open for who sent it. A packet that was sent again counts as well: the
/// first one may have come too early to be let in. One that came while the open command ran may have been
/// dropped, so it does not count. Without the kernel's stamp the order of the lines decides.
fn is_let_in(door: &Door, hit: &Hit<'_>, grants: &Grants) -> bool {
    let since = grants.open_since(&door.name, hit.src);
    since.is_some_and(|since| hit.uptime.is_none() || hit.at >= since)
}
