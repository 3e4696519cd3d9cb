//! `logknock-fleet streams`: the three streams on the bus, made or updated with the certificate of `admin`.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self};

use crate::agent::{ALL_GRANTS, CODES, GRANTS, LINES};
use crate::{Failure, say};

/// Arguments of `streams`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// HOST:PORT of the server
    #[arg(long, value_name = "HOST:PORT")]
    server: String,
    /// The directory that `init` has written, with ca.pem, admin.pem and admin.key
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The longest time for which any gateway holds a shared door open, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    max_hold: u64,
    /// How many servers store each stream: 1, 3 or 5
    #[arg(long, value_name = "N", default_value_t = 1)]
    replicas: usize,
}

/// Longest time for which a code is remembered. (2·skew + 2) steps of 30 s are minutes.
const CODES_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Runs `streams`.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let path = |name: &str| args.dir.join(name);
    let options = ConnectOptions::new()
        .name("logknock-fleet streams")
        .require_tls(true)
        .add_root_certificates(path("ca.pem"))
        .add_client_certificate(path("admin.pem"), path("admin.key"))
        .connection_timeout(Duration::from_secs(5));
    let client = options.connect(format!("tls://{}", args.server)).await?;
    let version = client.server_info().version;
    if !is_recent(&version) {
        return Err(format!("the server is {version}; 2.10 or newer is needed").into());
    }
    let js = jetstream::new(client);
    let common = Config {
        storage: StorageType::File,
        num_replicas: args.replicas,
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        max_message_size: 2048,
        ..Config::default()
    };
    // The first to write has it: no gateway can write again, delete or purge.
    let once = |name: &str, subject: &str, max_age| Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        max_age,
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        ..common.clone()
    };
    let grants = Config {
        name: GRANTS.to_owned(),
        subjects: vec![ALL_GRANTS.to_owned()],
        max_age: Duration::from_secs(args.max_hold),
        ..common.clone()
    };
    for config in [
        grants,
        once(CODES, "lk.once.>", CODES_KEPT),
        once(LINES, "lk.list.>", Duration::ZERO),
    ] {
        let name = config.name.clone();
        js.create_or_update_stream(config).await?;
        say(&format!("{name} is there"));
    }
    Ok(())
}

/// Whether a server of this version can sync each message.
fn is_recent(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next().flatten(), parts.next().flatten());
    (major, minor) >= (Some(2), Some(10))
}
