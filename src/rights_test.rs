//! Whose directories and symlinks on the way to a file are a flaw.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use tempfile::TempDir;

use super::*;

/// A directory with `a/b/file` in it, all of them private.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.path("a/b")).unwrap();
        let file = tempfile::NamedTempFile::new_in(tree.0.path()).unwrap();
        file.persist(tree.path("a/b/file")).unwrap();
        for name in ["a", "a/b"] {
            tree.chmod(name, 0o755);
        }
        tree.chmod("a/b/file", 0o600);
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn flaws(&self, name: &str, role: Role) -> Vec<Flaw> {
        flaws(&self.path(name), role, &Trusted::ours())
    }
}

#[test]
fn a_private_file_in_private_directories_has_no_flaw() {
    let tree = Tree::new();
    assert_eq!(tree.flaws("a/b/file", Role::File), []);
    assert_eq!(tree.flaws("a/b", Role::Directory), []);
    assert_eq!(tree.flaws("a/b/later", Role::File), []);
    assert_eq!(tree.flaws("nowhere/at/all", Role::File), []);
}

#[test]
fn every_directory_on_the_way_counts() {
    for name in ["a", "a/b", ""] {
        for mode in [0o777, 0o775] {
            let tree = Tree::new();
            tree.chmod(name, mode);
            let flaws = tree.flaws("a/b/file", Role::File);
            let path = tree.path(name);
            assert!(flaws[0].path() == path.components().collect::<PathBuf>());
            assert!(matches!(flaws[0], Flaw::Writable(_)), "{name} {mode:o}");
        }
    }
}

#[test]
fn no_other_user_may_write_the_file() {
    for mode in [0o620, 0o602, 0o666] {
        let tree = Tree::new();
        tree.chmod("a/b/file", mode);
        let file = tree.path("a/b/file");
        assert_eq!(tree.flaws("a/b/file", Role::File), [Flaw::Writable(file)]);
    }
}

#[test]
fn a_sticky_directory_guards_what_is_there_and_not_what_is_put_there() {
    let tree = Tree::new();
    tree.chmod("a", 0o1777);
    assert_eq!(tree.flaws("a/b/file", Role::File), []);
    assert_eq!(tree.flaws("a/b", Role::Directory), []);
    let later = tree.path("a/later");
    assert_eq!(tree.flaws("a/later", Role::File), [Flaw::Missing(later)]);
    let directory = tree.path("a");
    assert_eq!(
        tree.flaws("a", Role::Directory),
        [Flaw::Writable(directory)]
    );
}

#[test]
fn what_lies_behind_a_symlink_counts_and_where_it_lies() {
    let (tree, other) = (Tree::new(), Tree::new());
    symlink(other.path("a"), tree.path("a/link")).unwrap();
    assert_eq!(tree.flaws("a/link/b/file", Role::File), []);
    symlink("../a/link", tree.path("a/chain")).unwrap();
    assert_eq!(tree.flaws("a/chain/b/file", Role::File), []);
    other.chmod("", 0o777);
    assert!(!tree.flaws("a/chain/b/file", Role::File).is_empty());
    other.chmod("", 0o755);
    tree.chmod("a", 0o1777);
    let link = tree.path("a/link");
    assert_eq!(
        tree.flaws("a/link/b/file", Role::File),
        [Flaw::Symlink(link)]
    );
}

#[test]
fn a_ring_of_symlinks_ends() {
    let tree = Tree::new();
    symlink("two", tree.path("a/one")).unwrap();
    symlink("one", tree.path("a/two")).unwrap();
    assert_eq!(tree.flaws("a/one/file", Role::File), []);
}

#[test]
fn what_belongs_to_somebody_else_is_a_flaw() {
    let tree = Tree::new();
    let trusted = Trusted {
        owners: vec![0],
        ..Trusted::ours()
    };
    // Only root can give files away; elsewhere our own are those of somebody who is not trusted.
    if rustix::process::geteuid().is_root() {
        chown(tree.path("a"), Some(65_534), None).unwrap();
    }
    let found = flaws(&tree.path("a/b/file"), Role::File, &trusted);
    assert!(found.iter().any(|flaw| matches!(flaw, Flaw::Owner { .. })));
}

#[test]
fn a_group_that_is_trusted_may_write() {
    let tree = Tree::new();
    tree.chmod("a/b/file", 0o660);
    let path = tree.path("a/b/file");
    let group = path.metadata().unwrap().gid();
    let with = |groups| {
        let trusted = Trusted {
            groups,
            ..Trusted::ours()
        };
        flaws(&path, Role::File, &trusted)
    };
    assert_eq!(with(vec![group]), []);
    assert_eq!(with(vec![group + 1]), [Flaw::Writable(path.clone())]);
}

#[test]
fn everybody_reads_only_what_everybody_reaches() {
    let tree = Tree::new();
    tree.chmod("", 0o755);
    tree.chmod("a/b/file", 0o644);
    assert!(is_read_by_everybody(&tree.path("a/b/file")));
    tree.chmod("a", 0o750);
    assert!(!is_read_by_everybody(&tree.path("a/b/file")));
}
