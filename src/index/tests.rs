use proptest::prelude::*;

use super::*;

fn id(text: &str) -> AdId {
    AdId::new(text).unwrap()
}

fn at(degrees: f32) -> [f32; 2] {
    let radians = degrees.to_radians();
    [radians.cos(), radians.sin()]
}

fn index() -> Index {
    let mut index = Index::new(2);
    for (name, degrees) in [("a", 0.0), ("b", 10.0), ("c", 90.0), ("d", -10.0)] {
        index.insert(id(name), &at(degrees)).unwrap();
    }
    index
}

fn names(found: &[(AdId, f32)]) -> Vec<&str> {
    found.iter().map(|(ad, _)| ad.as_str()).collect()
}

fn nearest(index: &Index, degrees: f32, k: usize) -> Vec<(AdId, f32)> {
    index.search(&at(degrees), k, &|_| true).unwrap()
}

#[test]
fn the_nearest_come_first_and_ties_by_id() {
    let found = nearest(&index(), 0.0, 3);
    assert_eq!(names(&found), ["a", "b", "d"]);
    assert!((found[1].1 - 10.0_f32.to_radians().cos()).abs() < 1e-6);
}

#[test]
fn a_filter_costs_no_recall() {
    let found = index()
        .search(&at(0.0), 2, &|ad| ad.as_str() > "b")
        .unwrap();
    assert_eq!(names(&found), ["d", "c"]);
}

#[test]
fn replacing_and_removing_are_seen_at_once() {
    let mut index = index();
    let before = index.clone();
    index.insert(id("c"), &at(1.0)).unwrap();
    assert!(index.remove(&id("b")));
    assert!(!index.remove(&id("b")));
    assert_eq!(names(&nearest(&index, 0.0, 9)), ["a", "c", "d"]);
    assert_eq!((index.vector(&id("b")), index.len()), (None, 3));
    // Whoever still searches the copy sees what was.
    assert_eq!(names(&nearest(&before, 0.0, 9)), ["a", "b", "d", "c"]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut index = index();
    for bad in [
        vec![1.0],
        vec![0.0, 0.0],
        vec![f32::NAN, 1.0],
        vec![f32::INFINITY, 0.0],
        vec![2.0, 0.0],
        vec![],
    ] {
        assert!(index.insert(id("x"), &bad).is_err(), "{bad:?}");
        assert!(index.search(&bad, 3, &|_| true).is_err(), "{bad:?}");
    }
    assert_eq!(index.vector(&id("x")), None);
}

#[test]
fn a_direction_is_needed_for_unit_length() {
    for scale in [1.0, 1e30, 1e-25] {
        let unit = to_unit(&[3.0 * scale, 4.0 * scale]).unwrap();
        assert!(
            (unit[0] - 0.6).abs() < 1e-6 && (unit[1] - 0.8).abs() < 1e-6,
            "{unit:?}"
        );
    }
    for bad in [
        vec![],
        vec![0.0; 3],
        vec![f32::NAN],
        vec![f32::INFINITY, 1.0],
    ] {
        assert_eq!(to_unit(&bad), None, "{bad:?}");
    }
}

/// The scan as it would be written without a thought for speed.
fn plainly(
    vectors: &[Vec<f32>],
    query: &[f32],
    k: usize,
    keep: &dyn Fn(&AdId) -> bool,
) -> Vec<AdId> {
    let mut all: Vec<(f32, AdId)> = vectors
        .iter()
        .enumerate()
        .map(|(i, vector)| (distance::dot(query, vector), id(&format!("{i:05}"))))
        .filter(|(_, ad)| keep(ad))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    all.into_iter().take(k).map(|(_, ad)| ad).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Vectors on a coarse grid: many are equal, and many differ by less than the codes can tell.
    #[test]
    fn the_two_passes_miss_nothing(
        grid in prop::collection::vec(prop::collection::vec(-2_i8..=2, 40), 1..1_500),
        noise in prop::sample::select(vec![0.0_f32, 1e-4, 0.3]),
        (k, modulus, dead) in (1_usize..30, 1_usize..9, 2_usize..50)
    ) {
        let vectors: Vec<Vec<f32>> = grid
            .iter()
            .enumerate()
            .filter_map(|(i, row)| {
                let near = |(j, x): (usize, &i8)| {
                    f32::from(*x) + noise * ((i * 31 + j * 17) % 13) as f32 / 13.0
                };
                to_unit(&row.iter().enumerate().map(near).collect::<Vec<_>>())
            })
            .collect();
        prop_assume!(!vectors.is_empty());
        let mut index = Index::new(40);
        for (i, vector) in vectors.iter().enumerate() {
            index.insert(id(&format!("{i:05}")), vector).unwrap();
        }
        let is_gone = |ad: &AdId| ad.as_str().parse::<usize>().unwrap() % dead == 1;
        for i in (0..vectors.len()).filter(|i| i % dead == 1) {
            index.remove(&id(&format!("{i:05}")));
        }
        let keep = |ad: &AdId| ad.as_str().parse::<usize>().unwrap() % modulus == 0;
        let query = &vectors[vectors.len() / 2];
        let found = index.scan(query, k, &keep).unwrap();
        let expected = plainly(&vectors, query, k, &|ad| keep(ad) && !is_gone(ad));
        prop_assert_eq!(found.into_iter().map(|(ad, _)| ad).collect::<Vec<_>>(), expected);
    }
}

/// Ads about some themes, the same at every call.
fn about_themes(n: usize, dimension: usize) -> Vec<Vec<f32>> {
    let noise = |i: usize, j: usize| {
        let mut x = (i as u64 * 0x9e37_79b9 + j as u64 + 1).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        ((x >> 40) as f32) / (1 << 24) as f32 - 0.5
    };
    (0..n)
        .map(|i| {
            let numbers: Vec<f32> = (0..dimension)
                .map(|j| noise(900_000 + i % 23, j) + noise(i, j))
                .collect();
            to_unit(&numbers).unwrap()
        })
        .collect()
}

fn filled(vectors: &[Vec<f32>]) -> Index {
    let mut index = Index::new(vectors[0].len());
    for (i, vector) in vectors.iter().enumerate() {
        index.insert(id(&format!("{i:05}")), vector).unwrap();
    }
    index
}

fn recall(index: &Index, queries: &[Vec<f32>], keep: &dyn Fn(&AdId) -> bool) -> f64 {
    let found = queries.iter().map(|query| {
        let exact = index.scan(query, 10, keep).unwrap();
        let near = index.search(query, 10, keep).unwrap();
        let hits = near.iter().filter(|hit| exact.contains(hit)).count();
        hits as f64 / exact.len().max(1) as f64
    });
    found.sum::<f64>() / queries.len() as f64
}

#[test]
fn links_lead_to_the_nearest_with_and_without_a_filter() {
    let vectors = about_themes(1_200, 48);
    let index = filled(&vectors).linked(&|| true).unwrap();
    let queries: Vec<Vec<f32>> = vectors.iter().step_by(40).cloned().collect();
    assert!(recall(&index, &queries, &|_| true) > 0.98);
    for ending in ["3", "77", "777"] {
        let found = recall(&index, &queries, &|ad| ad.as_str().ends_with(ending));
        assert!(found > 0.98, "{ending}: {found}");
    }
}

#[test]
fn copies_of_one_creative_are_all_found() {
    let mut vectors = about_themes(300, 32);
    let first = vectors[7].clone();
    vectors.extend(std::iter::repeat_n(first.clone(), 200));
    let index = filled(&vectors).linked(&|| true).unwrap();
    let found = index.search(&first, 201, &|_| true).unwrap();
    assert_eq!(found.len(), 201);
    assert!(found.iter().all(|(_, cosine)| *cosine > 0.999));
    assert!(recall(&index, &vectors[..100], &|_| true) > 0.98);
}

#[test]
fn what_changes_after_the_links_were_built_is_seen_at_once() {
    let vectors = about_themes(900, 32);
    let mut index = filled(&vectors[..600]).linked(&|| true).unwrap();
    for (i, vector) in vectors.iter().enumerate().skip(600) {
        index.insert(id(&format!("{i:05}")), vector).unwrap();
    }
    for i in (0..600).step_by(3) {
        assert!(index.remove(&id(&format!("{i:05}"))));
    }
    index.insert(id("00001"), &vectors[899]).unwrap();
    assert_eq!(index.len(), 700);
    assert!(recall(&index, &vectors[..80], &|_| true) > 0.97);
    let best = index.search(&vectors[899], 2, &|_| true).unwrap();
    assert_eq!(names(&best), ["00001", "00899"]);
    let newest = index.search(&vectors[750], 1, &|_| true).unwrap();
    assert_eq!(names(&newest), ["00750"]);
}

#[test]
fn a_build_that_is_no_longer_wanted_ends() {
    assert!(filled(&about_themes(600, 32)).linked(&|| false).is_none());
    assert!(Index::new(4).linked(&|| true).is_none());
}

fn past(vectors: &[Vec<f32>]) -> BTreeMap<AdId, Vec<f32>> {
    let named = |(i, vector): (usize, &Vec<f32>)| (id(&format!("{i:05}")), vector.clone());
    vectors.iter().enumerate().map(named).collect()
}

#[test]
fn links_come_back_from_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acme.links");
    let vectors = about_themes(800, 32);
    assert!(
        !filled(&vectors).dump(&path).unwrap(),
        "there are no links yet"
    );
    let index = filled(&vectors).linked(&|| true).unwrap();
    assert!(index.dump(&path).unwrap());
    let back = Index::restore(&path, 32, &past(&vectors)).unwrap();
    for query in &vectors[..50] {
        let keep: &dyn Fn(&AdId) -> bool = &|_| true;
        assert_eq!(
            back.search(query, 10, keep).unwrap(),
            index.search(query, 10, keep).unwrap()
        );
    }
}

#[test]
fn a_file_older_than_the_store_serves_as_far_as_it_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acme.links");
    let vectors = about_themes(800, 32);
    filled(&vectors[..700])
        .linked(&|| true)
        .unwrap()
        .dump(&path)
        .unwrap();
    let mut now = past(&vectors);
    for i in (0..700).step_by(10) {
        now.remove(&id(&format!("{i:05}")));
    }
    now.insert(id("00001"), vectors[799].clone());
    let back = Index::restore(&path, 32, &now).unwrap();
    assert_eq!(back.len(), now.len());
    for (ad, vector) in &now {
        assert_eq!(back.vector(ad), Some(vector.as_slice()));
    }
    assert!(recall(&back, &vectors[..80], &|_| true) > 0.95);
}

#[test]
fn no_changed_bit_of_a_file_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acme.links");
    let vectors = about_themes(120, 32);
    filled(&vectors)
        .linked(&|| true)
        .unwrap()
        .dump(&path)
        .unwrap();
    let good = std::fs::read(&path).unwrap();
    let now = past(&vectors);
    for at in (0..good.len())
        .step_by(97)
        .chain([0, 20, 47, 48, good.len() - 1])
    {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(Index::restore(&path, 32, &now).is_err(), "byte {at}");
    }
    for length in [0, 10, 16, 48, 60, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(Index::restore(&path, 32, &now).is_err(), "length {length}");
    }
    std::fs::write(&path, &good).unwrap();
    assert!(
        Index::restore(&path, 64, &now).is_err(),
        "another dimension"
    );
    assert!(Index::restore(&folder.path().join("none"), 32, &now).is_err());
    assert!(Index::restore(&path, 32, &now).is_ok());
}

/// A file whose checksum is right and whose content is not, as a bug could write it.
#[test]
fn a_sealed_lie_is_refused() {
    use sha2::{Digest as _, Sha256};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acme.links");
    let vectors = about_themes(120, 32);
    filled(&vectors)
        .linked(&|| true)
        .unwrap()
        .dump(&path)
        .unwrap();
    let good = std::fs::read(&path).unwrap();
    let now = past(&vectors);
    // Every number of the head, the groups and the first links, made far too large.
    for at in (48..48 + 4 * 700).step_by(4) {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        let sum = Sha256::digest(&bad[48..]);
        bad[16..48].copy_from_slice(&sum);
        std::fs::write(&path, &bad).unwrap();
        assert!(Index::restore(&path, 32, &now).is_err(), "number at {at}");
    }
}

#[test]
fn searches_go_on_while_others_write() {
    let vectors = about_themes(500, 32);
    let shared = shared::Shared::new(filled(&vectors[..100]));
    let before = shared.load();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (i, vector) in vectors.iter().enumerate().skip(100) {
                shared.update(|index| index.insert(id(&format!("{i:05}")), vector).unwrap());
            }
        });
        // The writer holds nothing that a search would wait for.
        while shared.load().len() < 500 {
            let found = shared.load().search(&vectors[3], 1, &|_| true).unwrap();
            assert_eq!(names(&found), ["00003"]);
        }
    });
    assert_eq!((before.len(), shared.load().len()), (100, 500));
    assert!(!shared.build_links(&|| true), "a small index needs none");
}

#[test]
fn a_linked_copy_takes_over_what_changed_meanwhile() {
    let vectors = about_themes(400, 32);
    let mut index = filled(&vectors[..300]);
    let mut linked = index.linked(&|| true).unwrap();
    index.remove(&id("00010"));
    index.insert(id("00011"), &vectors[399]).unwrap();
    index.insert(id("00300"), &vectors[300]).unwrap();
    linked.follow(&index);
    assert_eq!(linked.len(), index.len());
    for query in &vectors[..40] {
        let keep: &dyn Fn(&AdId) -> bool = &|_| true;
        assert_eq!(linked.scan(query, 9, keep), index.scan(query, 9, keep));
    }
}
