//! `logknock-fleet init`: a certificate authority, the server's configuration, and for each gateway a directory with its
//! certificate, its signing key and its `[fleet]`.
//!
//! The server lets each gateway publish its own grants and claim codes, read grants, and nothing else.
#![expect(clippy::disallowed_types, reason = "it writes new files")]

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use logknock::fleet::grant::{is_name, key_text};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::{Failure, say};

/// Arguments of `init`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory to create
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// HOST:PORT of each server of the bus (repeatable)
    #[arg(long, value_name = "HOST:PORT", required = true)]
    server: Vec<String>,
    /// A door that every gateway may open on the others (repeatable)
    #[arg(long, value_name = "NAME", required = true)]
    door: Vec<String>,
    /// The directory for these files on a gateway
    #[arg(long, value_name = "DIR", default_value = "/etc/logknock/fleet")]
    installed: PathBuf,
    /// The directory for these files on the server
    #[arg(long, value_name = "DIR", default_value = "/etc/nats")]
    server_dir: PathBuf,
    /// The gateways' names
    #[arg(required = true, num_args = 1.., value_name = "GATEWAY")]
    gateways: Vec<String>,
}

/// Runs `init`.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    for name in &args.gateways {
        if !is_name(name) || name == "admin" {
            return Err(
                format!("'{name}': names have 1 to 64 characters of A-Z a-z 0-9 _ -").into(),
            );
        }
    }
    let dir = &args.dir;
    let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    make(dir).map_err(|why| format!("{}: {why}", dir.display()))?;
    let authority = authority()?;
    write(&dir.join("ca.pem"), &authority.pem)?;
    write(&dir.join("ca.key"), &authority.issuer.key().serialize_pem())?;
    let hosts: Vec<_> = args
        .server
        .iter()
        .filter_map(|server| server.rsplit_once(':'))
        .collect();
    let names = hosts.iter().map(|(host, _)| host.trim_matches(['[', ']']));
    let port = hosts.first().map_or("4222", |(_, port)| port);
    authority.certify(&dir.join("server"), "nats-server", names.collect())?;
    authority.certify(&dir.join("admin"), "admin", Vec::new())?;
    write(&dir.join("nats.conf"), &server_config(args, port))?;
    let mut keys = Vec::new();
    for name in &args.gateways {
        let own = dir.join(name);
        make(&own)?;
        write(&own.join("ca.pem"), &authority.pem)?;
        authority.certify(&own.join("tls"), name, Vec::new())?;
        let mut seed = [0; 32];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
        let key = SigningKey::from_bytes(&seed);
        write(&own.join("signing.key"), &(key_text(&seed) + "\n"))?;
        keys.push((name, key_text(key.verifying_key().as_bytes())));
    }
    for name in &args.gateways {
        write(
            &dir.join(name).join("fleet.toml"),
            &gateway_config(args, name, &keys),
        )?;
    }
    say(&format!(
        "{}: written.\n\
         1. On the server: nats.conf, ca.pem, server.pem and server.key to {}; start nats-server (2.10 or newer).\n\
         2. Once: logknock-fleet streams --server {} --dir {}\n\
         3. On each gateway: its directory to {}, its fleet.toml to /etc/logknock/conf.d; tls.key must be readable by \
         the user logknock-fleet, signing.key only by root.\n\
         4. Keep ca.key and admin.key away from the gateways and the server.",
        dir.display(),
        args.server_dir.display(),
        args.server.first().map_or("", String::as_str),
        dir.display(),
        args.installed.display(),
    ));
    Ok(())
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2046, 1, 1);
    params
}

fn authority() -> Result<Authority, Failure> {
    let mut params = named("logknock fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok(Authority {
        issuer: Issuer::new(params, key),
        pem,
    })
}

impl Authority {
    /// Writes a certificate for `name` and its key to `path` with `.pem` and `.key`.
    fn certify(&self, path: &Path, name: &str, hosts: Vec<&str>) -> Result<(), Failure> {
        let mut params = named(name);
        params.extended_key_usages = vec![if hosts.is_empty() {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        }];
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.try_into()?),
            });
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&path.with_extension("pem"), &certificate.pem())?;
        write(&path.with_extension("key"), &key.serialize_pem())
    }
}

/// What each gateway may do: publish its own grants, claim codes, read grants.
fn server_config(args: &Args, port: &str) -> String {
    let dir = args.server_dir.display();
    let users = args.gateways.iter().map(|name| {
        format!(
            r#"
    {{ user: "CN={name}", permissions: {{
        publish: {{ allow: [
            "lk.grant.{name}", "lk.once.>", "lk.list.>",
            "$JS.API.CONSUMER.CREATE.LKGRANT", "$JS.API.CONSUMER.CREATE.LKGRANT.>",
            "$JS.API.DIRECT.GET.LKONCE.>", "$JS.API.DIRECT.GET.LKLIST.>", "$JS.FC.LKGRANT.>" ] }},
        subscribe: {{ allow: [ "lk.grant.*", "_INBOX.{name}.>" ] }} }} }}"#
        )
    });
    let users: String = users.collect();
    format!(
        r#"# The bus of a fleet of logknock, written by `logknock-fleet init`.
listen: "0.0.0.0:{port}"
server_name: "logknock"
max_payload: 65536
jetstream {{
    store_dir: "/var/lib/nats"
    # Without this a power loss loses what was acknowledged: a used code could be used again.
    sync_interval: always
}}
tls {{
    cert_file: "{dir}/server.pem"
    key_file: "{dir}/server.key"
    ca_file: "{dir}/ca.pem"
    # The certificate names the user.
    verify_and_map: true
}}
authorization {{
    users: [
    {{ user: "CN=admin", permissions: {{ publish: {{ allow: [ "$JS.API.>" ] }}, subscribe: {{ allow: [ "_INBOX.>" ] }} }} }}{users}
    ]
}}
"#
    )
}

fn gateway_config(args: &Args, name: &str, keys: &[(&String, String)]) -> String {
    let dir = args.installed.display();
    let quoted = |texts: &[String]| {
        let texts: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
        texts.join(", ")
    };
    let (servers, doors) = (quoted(&args.server), quoted(&args.door));
    let peers = keys
        .iter()
        .filter(|(peer, _)| *peer != name)
        .map(|(peer, key)| {
            format!("\n[fleet.peer.{peer}]\npublic_key = \"{key}\"\ndoors = [{doors}]\n")
        });
    let peers: String = peers.collect();
    format!(
        "# {name} in a fleet; written by `logknock-fleet init`. Give the shared doors fleet = \"open\" or \"once\".\n\
         [fleet]\nname = \"{name}\"\nservers = [{servers}]\n\
         tls_ca = \"{dir}/ca.pem\"\ntls_cert = \"{dir}/tls.pem\"\ntls_key = \"{dir}/tls.key\"\n\
         signing_key = \"{dir}/signing.key\"\n{peers}"
    )
}

/// Writes a new file that nobody else can read.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let file = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    file.map_err(|why| format!("{}: {why}", path.display()).into())
}
