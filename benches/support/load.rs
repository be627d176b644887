//! Signed deliveries and visits over HTTP, from many connections, and what a server's processes took
//! for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const SECRET: &str = "bench-client-secret";
pub(crate) const PATH: &str = "/webhooks/hubspot/acme";
pub(crate) const PUBLIC_URL: &str = "https://hooks.example.com";
pub(crate) const EVENTS: usize = 100;
/// Deals that the events are about.
const DEALS: usize = 20_000;

/// Requests as they go over the wire, each another delivery of a hundred events.
pub(crate) fn deliveries(count: usize) -> Vec<Vec<u8>> {
    let stamp = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis()
        .to_string();
    (0..count).map(|n| delivery(n, &stamp)).collect()
}

fn delivery(n: usize, stamp: &str) -> Vec<u8> {
    let event = |place: usize| {
        let id = n * EVENTS + place;
        format!(
            concat!(
                r#"{{"eventId":{},"subscriptionId":2587001,"portalId":33,"appId":1160452,"#,
                r#""occurredAt":{},"subscriptionType":"deal.propertyChange","attemptNumber":0,"#,
                r#""objectId":{},"propertyName":"dealstage","propertyValue":"{}","#,
                r#""changeSource":"CRM_UI","sourceId":"userId:{}","#,
                r#""correlationId":"{:016x}"}}"#
            ),
            3_816_279_340_usize + id,
            1_790_000_000_000_usize + id,
            9_000_000_000_usize + id.wrapping_mul(7_919) % DEALS,
            ["appointmentscheduled", "qualifiedtobuy", "closedwon"][id % 3],
            70_000_000 + id % 40,
            (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        )
    };
    let events: Vec<String> = (0..EVENTS).map(event).collect();
    let body = format!("[{}]", events.join(","));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    for part in ["POST", PUBLIC_URL, PATH, &body, stamp] {
        mac.update(part.as_bytes());
    }
    let signature = mac.finalize().into_bytes();
    let signature = base64::engine::general_purpose::STANDARD.encode(signature);
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
         x-hubspot-signature-v3: {signature}\r\nx-hubspot-request-timestamp: {stamp}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reports of visits, each by another visitor behind a proxy.
pub(crate) fn visits(count: usize) -> Vec<Vec<u8>> {
    let request = |n: usize| {
        let body = format!(
            concat!(
                r#"{{"visit_id":"v-{:012x}","url":"https://gym.example.com/?fbclid=IwAR{:060x}"#,
                r#"&utm_content={}","consent":true,"device":{{"screen":"390x844","#,
                r#""time_zone":"Europe/Berlin","utc_offset_minutes":60}}}}"#
            ),
            n,
            n,
            120_200_000 + n % 40
        );
        let ip = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
        format!(
            "POST /t/acme/click HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
             x-forwarded-for: {ip}\r\nuser-agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) \
             AppleWebKit/605.1.15 Mobile/15E148 Instagram 350.0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    (0..count).map(request).collect()
}

/// What a run came to.
pub(crate) struct Run {
    pub(crate) took: Duration,
    /// From the first byte sent to the answer, in order of length.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) refused: usize,
}

impl Run {
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies[(self.latencies.len() * percent / 100).min(last)]
    }
}

/// Sends all requests over so many connections, the next of each when the last one is answered.
pub(crate) async fn send(address: &str, requests: &Arc<Vec<Vec<u8>>>, connections: usize) -> Run {
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (requests, next) = (requests.clone(), next.clone());
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        running.spawn(async move {
            let (mut took, mut refused) = (Vec::new(), 0);
            let mut buffer = vec![0; 16_384];
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begin = Instant::now();
                stream.write_all(request).await.unwrap();
                let status = answer(&mut stream, &mut buffer).await;
                took.push(begin.elapsed());
                refused += usize::from(!(200..300).contains(&status));
            }
            (took, refused)
        });
    }
    let (mut latencies, mut refused) = (Vec::new(), 0);
    for (took, bad) in running.join_all().await {
        latencies.extend(took);
        refused += bad;
    }
    let took = begin.elapsed();
    latencies.sort_unstable();
    Run {
        took,
        latencies,
        refused,
    }
}

/// Reads one answer; returns its status.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> u16 {
    let mut filled = 0;
    loop {
        let n = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(n > 0, "the server hung up");
        filled += n;
        let text = String::from_utf8_lossy(&buffer[..filled]).to_ascii_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse::<usize>().unwrap());
        assert!(!head.contains("transfer-encoding: chunked"), "{head}");
        if filled >= head.len() + 4 + length {
            return head.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}

/// CPU time that processes have taken so far, in seconds. Source: Linux, proc(5), fields 14 and 15 of
/// `stat`, in ticks of a hundredth.
pub(crate) fn cpu_seconds(pids: &[u32]) -> f64 {
    let ticks = |pid: &u32| -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: f64 = fields.next()?.parse().ok()?;
        Some(ticks + fields.next()?.parse::<f64>().ok()?)
    };
    pids.iter().filter_map(ticks).sum::<f64>() / 100.0
}

/// Memory that processes hold, in MiB.
pub(crate) fn resident_mib(pids: &[u32]) -> f64 {
    let kib = |pid: &u32| -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    pids.iter().filter_map(kib).sum::<f64>() / 1_024.0
}
