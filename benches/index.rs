//! How fast the nearest past ads are found: `cargo bench --bench index`. First a table: the scan, and
//! the links at several breadths with their recall, what building, writing and reading them takes,
//! and the memory; `ROASD_BENCH_ADS=100000` makes it one of a large account.
//!
//! With `ROASD_BENCH_PEERS=FOLDER` the vectors and queries are written there as well, as
//! little-endian 32-bit floats, for `benches/peers/nearest.py`, which asks FAISS and hnswlib the
//! same.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark whose set-up fails has nothing to measure"
)]
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "recall and speed belong together, so both are measured here and printed"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution as _, StandardNormal};
use roasd::domain::ids::AdId;
use roasd::index::{Index, distance, to_unit};

/// What `lexical` and many embeddings have.
const DIMENSION: usize = 768;
/// Most tenants have no more ads.
const ADS: usize = 10_000;
/// Themes that the ads of one account circle about.
const THEMES: usize = 400;
const QUERIES: usize = 200;
const K: usize = 10;

/// Rounds over all queries; the best one counts.
const ROUNDS: usize = 5;

fn main() {
    if !std::env::args().any(|argument| argument == "--test") {
        say_how_recall_and_speed_go_together();
    }
    divan::main();
}

fn say_how_recall_and_speed_go_together() {
    let index = index();
    let ads = index.len();
    let raw = ads * DIMENSION * size_of::<f32>();
    let share = |index: &Index| index.bytes() as f64 / raw as f64;
    let all: &dyn Fn(&AdId) -> bool = &|_| true;
    let truth: Vec<Vec<(AdId, f32)>> = vectors()
        .queries
        .iter()
        .map(|query| index.scan(query, K, all).unwrap())
        .collect();
    let scan = best(|query| index.scan(query, K, all).unwrap());
    println!(
        "{ads} ads, {:.3} of the raw vectors in memory",
        share(index)
    );
    println!(
        "scan: recall 1, {scan:?}, {:.0} searches/s",
        1.0 / scan.as_secs_f64()
    );
    let begin = Instant::now();
    let linked = index.linked(&|| true).unwrap();
    println!(
        "links built in {:?}, with them {:.3}",
        begin.elapsed(),
        share(&linked)
    );
    for breadth in [10, 16, 32, 64, 128, 256] {
        let hits: usize = vectors()
            .queries
            .iter()
            .zip(&truth)
            .map(|(query, truth)| {
                let found = linked.search_wide(query, K, breadth, all).unwrap();
                found.iter().filter(|hit| truth.contains(hit)).count()
            })
            .sum();
        let took = best(|query| linked.search_wide(query, K, breadth, all).unwrap());
        println!(
            "links, breadth {breadth}: recall {:.4}, {took:?}, {:.0} searches/s",
            hits as f64 / (QUERIES * K) as f64,
            1.0 / took.as_secs_f64()
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.links");
    let begin = Instant::now();
    linked.dump(&path).unwrap();
    println!(
        "written in {:?}, {} bytes",
        begin.elapsed(),
        path.metadata().unwrap().len()
    );
    let named = vectors().ads.iter().enumerate();
    let past: BTreeMap<AdId, Vec<f32>> = named.map(|(i, v)| (name(i), v.clone())).collect();
    let begin = Instant::now();
    Index::restore(&path, DIMENSION, &past).unwrap();
    println!("read back and checked in {:?}", begin.elapsed());
}

/// What a search takes, in the best of some rounds over all queries.
fn best<T>(search: impl Fn(&[f32]) -> T) -> Duration {
    let round = |_| {
        let begin = Instant::now();
        for query in &vectors().queries {
            divan::black_box(search(query));
        }
        begin.elapsed() / QUERIES as u32
    };
    (0..ROUNDS).map(round).min().unwrap()
}

fn ads() -> usize {
    let asked = std::env::var("ROASD_BENCH_ADS").ok();
    asked.map_or(ADS, |ads| ads.parse().unwrap())
}

struct Vectors {
    ads: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
}

/// Noisy themes: an ad lies about its theme, a query as well.
fn vectors() -> &'static Vectors {
    static VECTORS: OnceLock<Vectors> = OnceLock::new();
    VECTORS.get_or_init(|| {
        let mut rng = ChaCha12Rng::seed_from_u64(768);
        let mut draw = |around: Option<&[f32]>| {
            let numbers: Vec<f32> = (0..DIMENSION)
                .map(|i| {
                    let noise: f32 = StandardNormal.sample(&mut rng);
                    around.map_or(0.0, |theme| theme[i]) + noise / (DIMENSION as f32).sqrt()
                })
                .collect();
            to_unit(&numbers).unwrap()
        };
        let themes: Vec<Vec<f32>> = (0..THEMES).map(|_| draw(None)).collect();
        let mut about = |n: usize| (0..n).map(|i| draw(Some(&themes[i % THEMES]))).collect();
        let vectors = Vectors {
            ads: about(ads()),
            queries: about(QUERIES),
        };
        if let Some(folder) = std::env::var_os("ROASD_BENCH_PEERS") {
            for (name, rows) in [("ads", &vectors.ads), ("queries", &vectors.queries)] {
                let bytes: Vec<u8> = rows
                    .iter()
                    .flatten()
                    .flat_map(|x| x.to_le_bytes())
                    .collect();
                std::fs::write(Path::new(&folder).join(name), bytes).unwrap();
            }
        }
        vectors
    })
}

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = Index::new(DIMENSION);
        for (i, vector) in vectors().ads.iter().enumerate() {
            index.insert(name(i), vector).unwrap();
        }
        index
    })
}

fn name(i: usize) -> AdId {
    AdId::new(format!("{i:06}")).unwrap()
}

/// One query after the other.
fn next_query() -> &'static [f32] {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    &vectors().queries[NEXT.fetch_add(1, Ordering::Relaxed) % QUERIES]
}

/// The two passes over all ads; every tenth ad is kept where a filter is asked for.
#[divan::bench(args = [false, true])]
fn scan(bencher: divan::Bencher<'_, '_>, is_filtered: bool) {
    let index = index();
    bencher.bench(|| {
        let keep = |ad: &AdId| !is_filtered || ad.as_str().ends_with('7');
        index.scan(next_query(), K, &keep).unwrap()
    });
}

/// What the scan would be without codes: every whole vector.
#[divan::bench]
fn scan_of_whole_vectors(bencher: divan::Bencher<'_, '_>) {
    let whole: Vec<f32> = vectors().ads.concat();
    bencher.bench(|| {
        let query = next_query();
        whole
            .chunks_exact(DIMENSION)
            .map(|ad| distance::dot(query, ad))
            .fold(f32::MIN, f32::max)
    });
}

#[divan::bench]
fn product_of_floats(bencher: divan::Bencher<'_, '_>) {
    let ads = &vectors().ads;
    bencher.bench(|| distance::dot(divan::black_box(&ads[1]), divan::black_box(&ads[2])));
}

#[divan::bench]
fn insert_all(bencher: divan::Bencher<'_, '_>) {
    let named: Vec<(AdId, &Vec<f32>)> = vectors()
        .ads
        .iter()
        .enumerate()
        .map(|(i, v)| (name(i), v))
        .collect();
    bencher.bench(|| {
        let mut index = Index::new(DIMENSION);
        for (ad, vector) in &named {
            index.insert(ad.clone(), vector).unwrap();
        }
        index
    });
}
