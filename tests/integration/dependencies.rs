//! Every dependency is one that `deny.toml` lets in. `cargo deny` says the same and more; this needs no tool but cargo.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const REGISTRY: &str = "registry+";

#[test]
fn every_dependency_has_a_licence_a_source_and_a_name_that_are_allowed() {
    let rules: toml::Table = toml::from_str(include_str!("../../deny.toml")).unwrap();
    let allowed: BTreeSet<_> = strings(&rules["licenses"]["allow"]).collect();
    let banned: BTreeSet<_> = rules["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ban| ban["name"].as_str().unwrap())
        .collect();
    let packages = packages();
    assert!(packages.len() > 50, "{}", packages.len());
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        assert!(!banned.contains(name), "{name} is banned");
        let Some(source) = package["source"].as_str() else {
            assert_eq!(name, "logknock", "it comes from no registry");
            continue;
        };
        assert!(source.starts_with(REGISTRY), "{name} comes from {source}");
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{name}: {licence:?}");
    }
}

/// The crates that `logknock-fleet` adds: a runtime, the network, encryption.
const OF_THE_AGENT: [&str; 5] = ["async-nats", "tokio", "rustls", "ring", "rcgen"];

#[test]
fn the_default_build_has_no_runtime_no_network_and_no_c() {
    let tree = |features: &str| {
        let arguments = [
            "tree",
            "--locked",
            "--offline",
            "--edges=normal",
            "--prefix=none",
        ];
        let told = Command::new(env!("CARGO"))
            .args(arguments)
            .arg(format!("--features={features}"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(
            told.status.success(),
            "{}",
            String::from_utf8_lossy(&told.stderr)
        );
        let told = String::from_utf8(told.stdout).unwrap();
        let names = told.lines().filter_map(|line| line.split(' ').next());
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (default, fleet) = (tree(""), tree("fleet"));
    for name in OF_THE_AGENT {
        assert!(!default.contains(name), "{name} is in the default build");
        assert!(fleet.contains(name), "{name} is in no build");
    }
}

#[test]
fn a_licence_is_allowed_if_each_part_has_an_allowed_choice() {
    let allowed = BTreeSet::from(["MIT", "Zlib"]);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "(MIT OR GPL-3.0) AND Zlib",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(GPL-3.0 OR MIT) AND ISC",
        "MIT WITH some-exception",
    ] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

/// Whether an SPDX expression of the forms that crates use, a conjunction of choices, can be met with `allowed`.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    expression.split(" AND ").all(|part| {
        let part = part.trim_start_matches('(').trim_end_matches(')');
        let mut choices = part.split(" OR ").flat_map(|choice| choice.split('/'));
        choices.any(|choice| allowed.contains(choice))
    })
}

fn packages() -> Vec<Value> {
    let told = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    told["packages"].as_array().unwrap().clone()
}

fn strings(list: &toml::Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .unwrap()
        .iter()
        .filter_map(toml::Value::as_str)
}

#[test]
fn the_licences_are_there_in_full() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, last) in [
        ("LICENSE-MIT", "DEALINGS IN THE\nSOFTWARE."),
        ("LICENSE-APACHE", "limitations under the License."),
    ] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&text).ends_with(&words(last)), "{file}");
    }
}
