//! The agent: grants and claims from the daemon to the bus, grants of others from the bus to the daemon.
//!
//! In: the daemon's socket. Out: what the bus says, unverified. It keeps nothing: a daemon tells a new agent all that is
//! open, and a new consumer reads back as far as a door can be held open.
//!
//! A grant comes twice: as soon as the server has it, and from the stream, once that has it on disk. The first is in
//! time, the second is sure.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::{self, consumer::DeliverPolicy, consumer::push::OrderedConfig};
use async_nats::{Client, ConnectOptions, Event, HeaderMap};
use futures_util::StreamExt as _;
use logknock::clock::wall_now;
use logknock::fleet::grant::SignedGrant;
use logknock::fleet::message::{Bus, Code, FromAgent, MAX_LINE, ToAgent, VERSION, line};
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::{Failure, say};

/// The streams, and what is published to them.
pub(crate) const GRANTS: &str = "LKGRANT";
pub(crate) const CODES: &str = "LKONCE";
pub(crate) const LINES: &str = "LKLIST";
pub(crate) const ALL_GRANTS: &str = "lk.grant.*";

/// Between two tries of anything.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the bus may take to store something.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Grants that came so lately are not handed over a second time.
const MAX_RECENT: usize = 256;
/// Grants that are published at a time.
const PUBLISHED_AT_A_TIME: usize = 64;

/// Serves the daemon at `socket` for ever.
pub(crate) async fn run(socket: &Path) -> Result<(), Failure> {
    let mut was_there = true;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => {
                was_there = true;
                if let Err(why) = serve(stream).await {
                    say(&format!("lost the daemon: {why}"));
                }
            }
            Err(why) => {
                if std::mem::replace(&mut was_there, false) {
                    say(&format!("no daemon at {}: {why}", socket.display()));
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// Serves one daemon until it hangs up.
async fn serve(stream: UnixStream) -> Result<(), Failure> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let Some(ToAgent::Hello(bus)) = next(&mut reading).await? else {
        return Err("it sent no hello".into());
    };
    if bus.version != VERSION {
        return Err("it is of another version".into());
    }
    let (tell, mut told) = unbounded_channel();
    let client = connect(&bus, tell.clone()).await?;
    let mut js = jetstream::new(client);
    js.set_timeout(ACK_TIMEOUT);
    // All of them end with this.
    let mut tasks = JoinSet::new();
    tasks.spawn(consume(js.clone(), *bus.clone(), tell.clone()));
    let (publish, to_publish) = unbounded_channel();
    tasks.spawn(publish_all(js.clone(), to_publish, tell.clone()));
    tasks.spawn(async move {
        while let Some(message) = told.recv().await {
            if writing.write_all(&line(&message)).await.is_err() {
                return; // the reader finds out as well
            }
        }
    });
    while let Some(message) = next(&mut reading).await? {
        match message {
            ToAgent::Publish(grant) => publish.send(grant)?,
            ToAgent::Claim { number, code, by } => {
                tasks.spawn(claim(js.clone(), number, code, by, tell.clone()));
            }
            ToAgent::Hello(_) => return Err("it sent hello twice".into()),
        }
        while tasks.try_join_next().is_some() {}
    }
    Ok(())
}

/// The next message of the daemon; none once it has hung up.
async fn next(
    reading: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
) -> Result<Option<ToAgent>, Failure> {
    let mut text = Vec::new();
    let most = u64::try_from(MAX_LINE)?;
    if reading.take(most).read_until(b'\n', &mut text).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

async fn connect(bus: &Bus, tell: UnboundedSender<FromAgent>) -> Result<Client, Failure> {
    let [ca, cert, key] = bus.tls.clone();
    let options = ConnectOptions::new()
        .name(&bus.name)
        .require_tls(true)
        .add_root_certificates(ca)
        .add_client_certificate(cert, key)
        .ping_interval(Duration::from_millis(bus.ping))
        .connection_timeout(Duration::from_secs(2))
        .reconnect_delay_callback(|_| PAUSE)
        .custom_inbox_prefix(format!("_INBOX.{}", bus.name))
        .retry_on_initial_connect()
        .event_callback(move |event| {
            let tell = tell.clone();
            async move {
                let is_connected = match &event {
                    Event::Connected => true,
                    Event::Disconnected | Event::Closed => false,
                    other => return say(&format!("the bus: {other}")),
                };
                // There is no listener only after the daemon has gone.
                let _ = tell.send(FromAgent::Connected(is_connected));
            }
        });
    let servers: Vec<_> = bus
        .servers
        .iter()
        .map(|server| format!("tls://{server}"))
        .collect();
    Ok(options.connect(servers).await?)
}

/// Hands over the grants of others, from so far back as one may still be open.
async fn consume(js: jetstream::Context, bus: Bus, tell: UnboundedSender<FromAgent>) {
    let mut was_well = true;
    loop {
        let why = match consume_once(&js, &bus, &tell).await {
            Ok(()) => return, // nobody listens
            Err(why) => why,
        };
        if std::mem::replace(&mut was_well, false) {
            say(&format!(
                "cannot read the grants of others, trying again: {why}"
            ));
        }
        sleep(PAUSE).await;
    }
}

async fn consume_once(
    js: &jetstream::Context,
    bus: &Bus,
    tell: &UnboundedSender<FromAgent>,
) -> Result<(), Failure> {
    let back = Duration::from_millis(bus.back);
    let now = i128::from(wall_now().as_nanos());
    let config = OrderedConfig {
        deliver_subject: js.client().new_inbox(),
        filter_subject: ALL_GRANTS.to_owned(),
        deliver_policy: DeliverPolicy::ByStartTime {
            start_time: OffsetDateTime::from_unix_timestamp_nanos(now)? - back,
        },
        ..OrderedConfig::default()
    };
    let mut at_once = js.client().subscribe(ALL_GRANTS).await?;
    let consumer = js.create_consumer_on_stream(config, GRANTS).await?;
    let mut stored = consumer.messages().await?;
    let mut recent = VecDeque::new();
    loop {
        let message = tokio::select! {
            message = at_once.next() => message,
            message = stored.next() => message.transpose()?.map(|message| message.message),
        };
        let message = message.ok_or("the stream has ended")?;
        let from = message.subject.rsplit('.').next().unwrap_or_default();
        let this = (message.subject.clone(), message.payload.clone());
        // Of the same gateway: none can take away the grants of another by sending them first.
        if from == bus.name || recent.contains(&this) {
            continue;
        }
        // A malformed message is not a grant; a line that is too long would cost us the daemon.
        if let Ok(grant) = serde_json::from_slice::<SignedGrant>(&message.payload)
            && grant.is_sound()
            && message.payload.len() < MAX_LINE / 2
        {
            if tell.send(FromAgent::Grant(from.to_owned(), grant)).is_err() {
                return Ok(());
            }
            if recent.len() == MAX_RECENT {
                recent.pop_front();
            }
            recent.push_back(this);
        }
    }
}

/// Publishes grants until the bus has stored them or they are over.
async fn publish_all(
    js: jetstream::Context,
    mut grants: UnboundedReceiver<SignedGrant>,
    tell: UnboundedSender<FromAgent>,
) {
    let mut running = JoinSet::new();
    while let Some(grant) = grants.recv().await {
        while running.len() >= PUBLISHED_AT_A_TIME {
            running.join_next().await;
        }
        running.spawn(publish(js.clone(), grant, tell.clone()));
    }
}

async fn publish(js: jetstream::Context, grant: SignedGrant, tell: UnboundedSender<FromAgent>) {
    let subject = format!("lk.grant.{}", grant.origin);
    let payload = serde_json::to_vec(&grant).unwrap_or_default();
    while wall_now().as_nanos() / 1_000_000 < grant.expires {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", grant.id.as_str());
        let sent = js.publish_with_headers(subject.clone(), headers, payload.clone().into());
        let stored = match sent.await {
            Ok(ack) => ack.await,
            Err(why) => Err(why),
        };
        match stored {
            Ok(_) => {
                let _ = tell.send(FromAgent::Published(grant.id));
                return;
            }
            Err(why) => say(&format!("a grant is not stored yet: {why}")),
        }
        sleep(PAUSE).await;
    }
}

/// Claims a code: the first gateway that writes to its subject gets it. It gives no answer if the outcome is unknown.
async fn claim(
    js: jetstream::Context,
    number: u64,
    code: Code,
    by: String,
    tell: UnboundedSender<FromAgent>,
) {
    let subject = code.subject();
    let stored = match js.publish(subject.clone(), by.clone().into()).await {
        Ok(ack) => ack.await.is_ok(),
        Err(_) => false,
    };
    // Refused: somebody was first. That may be we, when an acknowledgement was lost.
    let is_won = stored || {
        let stream = match code {
            Code::Step(..) => CODES,
            Code::Line(..) => LINES,
        };
        let Ok(stream) = js.get_stream_no_info(stream).await else {
            return;
        };
        match stream.direct_get_last_for_subject(subject).await {
            Ok(first) => first.payload == by.as_bytes(),
            Err(why) => return say(&format!("a claim has no answer: {why}")),
        }
    };
    let _ = tell.send(FromAgent::Claimed(number, is_won));
}
