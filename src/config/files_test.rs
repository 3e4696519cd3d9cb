//! Configuration files: whose they may be, who else may write them, and how drop-ins are put together.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::super::{Config, ErrorKind, Errors, Options, load, load_with, reread};
use super::*;

const DOOR: &str = "[door.ssh]\nsequence = [7001, 8002]\nstart_command = [\"/bin/true\"]\n";

/// A directory with a private config file.
struct Etc(TempDir);

impl Etc {
    fn new(text: &str) -> Self {
        let etc = Self(tempfile::tempdir().unwrap());
        etc.write("logknock.toml", text);
        etc
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        self.write_bytes(name, text.as_bytes());
        self.chmod(name, 0o600);
    }

    fn write_bytes(&self, name: &str, bytes: &[u8]) {
        let mut file = File::create(self.path(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn drop_in(&self, name: &str, text: &str) {
        self.write(&format!("conf.d/{name}"), text);
        self.chmod("conf.d", 0o755);
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self) -> Result<Config, Errors> {
        load(&self.path("logknock.toml"))
    }

    /// The diagnostics without the directory's name.
    fn errors(&self) -> String {
        let directory = format!("{}/", self.0.path().display());
        self.load().unwrap_err().to_string().replace(&directory, "")
    }
}

#[test]
fn a_file_that_everybody_can_read_is_warned_about() {
    let etc = Etc::new(DOOR);
    etc.chmod("logknock.toml", 0o644);
    let config = etc.load().unwrap();
    let [warning] = config.warnings.as_slice() else {
        panic!("{:?}", config.warnings)
    };
    assert!(warning.fix.as_ref().unwrap().starts_with("chmod 0600 /"));
}

#[test]
fn a_private_file_loads_without_a_word() {
    let config = Etc::new(DOOR).load().unwrap();
    assert_eq!(config.doors.len(), 1);
    assert_eq!(config.warnings, []);
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let etc = Etc::new(DOOR);
    etc.chmod("logknock.toml", 0o660);
    assert_eq!(etc.load().unwrap_err().kind, ErrorKind::Permission);
    assert!(etc.errors().contains("= fix: chmod go-w "));
}

#[test]
fn every_directory_on_the_way_to_the_file_is_looked_at() {
    let etc = Etc::new("");
    etc.write("a/b/logknock.toml", DOOR);
    assert!(load(&etc.path("a/b/logknock.toml")).is_ok());
    etc.chmod("a", 0o777);
    let errors = load(&etc.path("a/b/logknock.toml")).unwrap_err();
    assert_eq!(errors.kind, ErrorKind::Permission);
}

#[test]
fn a_drop_in_that_is_a_symlink_is_as_good_as_what_it_leads_to() {
    let (etc, elsewhere) = (Etc::new(DOOR), Etc::new(""));
    etc.drop_in("10.toml", "");
    elsewhere.write("a/extra.toml", "[log]\nprefix = \"x\"\n");
    symlink(elsewhere.path("a/extra.toml"), etc.path("conf.d/20.toml")).unwrap();
    assert!(etc.load().is_ok());
    elsewhere.chmod("a", 0o777);
    assert_eq!(etc.load().unwrap_err().kind, ErrorKind::Permission);
}

#[test]
fn the_directories_of_a_secret_file_and_of_a_list_count_too() {
    let totp = "totp = { secret_file = \"DIR/a/named\" }";
    let list = "one_time_sequences = \"DIR/a/named\"";
    let contents = ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n", "7001,8002\n"];
    for (key, content) in [totp, list].into_iter().zip(contents) {
        let etc = Etc::new("");
        let key = key.replace("DIR", etc.0.path().to_str().unwrap());
        etc.write("a/named", content);
        etc.write(
            "logknock.toml",
            &format!("[door.x]\n{key}\nstart_command = \"x\"\n"),
        );
        assert!(etc.load().is_ok(), "{}", etc.errors());
        etc.chmod("a", 0o777);
        assert_eq!(etc.load().unwrap_err().kind, ErrorKind::Permission, "{key}");
    }
}

#[test]
fn a_prefix_file_stands_in_place_of_the_prefix_also_where_no_file_is_read() {
    let etc = Etc::new(&format!("[log]\nprefix = \"written: \"\n{DOOR}"));
    etc.write("prefix", "lk-4f9a1c7e: \n");
    let path = etc.path("prefix");
    let options = Options {
        prefix_file: Some(&path),
        is_to_run: false,
    };
    let config = load_with(&etc.path("logknock.toml"), options).unwrap();
    assert_eq!(config.log.prefix.unwrap().as_bytes(), b"lk-4f9a1c7e: ");
    fs::remove_file(&path).unwrap();
    let again = reread(&config.written).unwrap();
    assert_eq!(again.log.prefix.unwrap().as_bytes(), b"lk-4f9a1c7e: ");
    let errors = load_with(&etc.path("logknock.toml"), options).unwrap_err();
    assert!(
        errors.to_string().contains("there is no such file"),
        "{errors}"
    );
}

#[test]
fn a_knockd_conf_names_the_file_of_its_prefix_in_a_comment() {
    let etc = Etc::new("");
    etc.write("prefix", "lk-4f9a1c7e: \n");
    let path = etc.path("prefix");
    let text = format!(
        "#logknock: prefix-file = {}\n[A]\nsequence = 7001,8002\ntcpflags = syn\ncommand = /bin/x\n",
        path.display()
    );
    etc.write("knockd.conf", &text);
    let config = load(&etc.path("knockd.conf")).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.log.prefix.unwrap().as_bytes(), b"lk-4f9a1c7e: ");
    etc.write("prefix", "two\nlines\n");
    let errors = load(&etc.path("knockd.conf")).unwrap_err().to_string();
    assert!(
        errors.contains("control character") && !errors.contains("lines"),
        "{errors}"
    );
    etc.write("knockd.conf", &text.replace("prefix-file", "prefix"));
    let errors = load(&etc.path("knockd.conf")).unwrap_err().to_string();
    assert!(
        errors.contains("write #logknock: prefix-file = /PATH"),
        "{errors}"
    );
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let etc = Etc::new(DOOR);
    fs::set_permissions(etc.0.path(), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(etc.load().unwrap_err().kind, ErrorKind::Permission);
}

#[test]
fn the_directory_behind_a_symlink_is_looked_at_too() {
    let (etc, elsewhere) = (Etc::new(""), Etc::new(DOOR));
    fs::remove_file(etc.path("logknock.toml")).unwrap();
    symlink(elsewhere.path("logknock.toml"), etc.path("logknock.toml")).unwrap();
    assert!(etc.load().is_ok());
    fs::set_permissions(elsewhere.0.path(), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(etc.load().unwrap_err().kind, ErrorKind::Permission);
}

#[test]
fn a_drop_in_that_others_can_write_is_refused() {
    let etc = Etc::new(DOOR);
    etc.drop_in("10.toml", "");
    assert!(etc.load().is_ok());
    etc.chmod("conf.d/10.toml", 0o606);
    assert_eq!(etc.load().unwrap_err().kind, ErrorKind::Permission);
    etc.chmod("conf.d/10.toml", 0o600);
    etc.chmod("conf.d", 0o1777);
    assert_eq!(etc.load().unwrap_err().kind, ErrorKind::Permission);
}

#[test]
fn only_regular_files_are_read() {
    let etc = Etc::new(DOOR);
    let missing = load(&etc.path("missing.toml")).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::Missing);
    assert_eq!(
        load(etc.0.path()).unwrap_err().kind,
        ErrorKind::Invalid,
        "a directory"
    );
    let fifo = etc.path("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(load(&fifo).is_err());
}

#[test]
fn drop_ins_are_read_in_the_order_of_their_names() {
    let etc = Etc::new("[log]\nprefix = \"one: \"\naccept_forgeable = true\n");
    etc.drop_in("20-b.toml", "[log]\nprefix = \"three: \"\n");
    etc.drop_in("10-a.toml", &format!("[log]\nprefix = \"two: \"\n{DOOR}"));
    etc.drop_in(".30-c.toml", "[log]\nprefix = \"hidden: \"\n");
    etc.drop_in("40-d.toml~", "[log]\nprefix = \"backup: \"\n");
    let config = etc.load().unwrap();
    assert_eq!(config.log.prefix.unwrap().as_bytes(), b"three: ");
    assert!(config.log.accept_forgeable, "keys are merged one by one");
    assert_eq!(config.doors.len(), 1);
}

#[test]
fn a_default_in_a_drop_in_holds_for_doors_of_every_file() {
    let etc = Etc::new(DOOR);
    etc.drop_in("10.toml", "[defaults]\nstop_command = [\"/bin/false\"]\n");
    let config = etc.load().unwrap();
    assert!(config.doors[0].grant.close.v4.is_some());
}

#[test]
fn a_door_in_two_files_names_both() {
    let etc = Etc::new(DOOR);
    etc.drop_in("10.toml", DOOR);
    let errors = etc.errors();
    assert!(
        errors.starts_with(
            "error: door 'ssh' is already in 'logknock.toml'\n --> conf.d/10.toml:1:7\n"
        ),
        "{errors}"
    );
}

#[test]
fn errors_of_all_files_are_shown_at_once() {
    let etc = Etc::new("[log]\nprefx = \"x\"\n");
    etc.drop_in("10.toml", "[door.a]\nstrict = 1\n");
    let errors = load(&etc.path("logknock.toml")).unwrap_err();
    let paths: Vec<_> = errors
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.path.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(paths, ["logknock.toml", "10.toml", "10.toml", "10.toml"]);
}

#[test]
fn bytes_that_are_no_text_are_pointed_at_and_not_shown() {
    let etc = Etc::new("");
    etc.write_bytes("logknock.toml", b"[log]\nprefix = \"lk-\xff4f9a\"\n");
    let errors = etc.errors();
    let expected = "\
error: not UTF-8, as TOML must be
 --> logknock.toml:2:14
  |
2 | prefix = ****∗*****
  |              ^";
    assert_eq!(errors, expected);
}

#[test]
fn a_file_too_large_is_not_parsed() {
    let etc = Etc::new(&"#".repeat(MAX_BYTES + 1));
    assert!(
        etc.errors()
            .starts_with("error: larger than 256 KiB\n --> logknock.toml:1:1\n")
    );
}
