#!/usr/bin/env python3
"""Asks FAISS and hnswlib what `cargo bench --bench index` asks roasd.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install faiss-cpu hnswlib numpy
    ROASD_BENCH_PEERS=/tmp/peers cargo bench --bench index
    /tmp/peers/bin/python benches/peers/nearest.py /tmp/peers

One search at a time on one thread; the best of five rounds over all queries.
"""
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
import faiss
import hnswlib
import numpy as np

DIMENSION, K, ROUNDS = 768, 10, 5


def read(name):
    return np.fromfile(os.path.join(sys.argv[1], name), dtype="<f4").reshape(-1, DIMENSION)


def best(search, queries):
    def one_round():
        begin = time.perf_counter()
        for query in queries:
            search(query.reshape(1, -1))
        return (time.perf_counter() - begin) / len(queries)

    return min(one_round() for _ in range(ROUNDS))


def main():
    faiss.omp_set_num_threads(1)
    ads, queries = read("ads"), read("queries")
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(ads)
    truth = flat.search(queries, K)[1]
    took = best(lambda q: flat.search(q, K), queries)
    print(f"faiss flat, {len(ads)} ads: {took * 1e6:.0f} us, {1 / took:.0f} searches/s")
    graph = hnswlib.Index(space="ip", dim=DIMENSION)
    graph.init_index(max_elements=len(ads), M=16, ef_construction=100, random_seed=1)
    graph.set_num_threads(1)
    graph.add_items(ads, num_threads=1)
    for ef in (10, 16, 32, 64, 128, 256):
        graph.set_ef(ef)
        found = graph.knn_query(queries, K, num_threads=1)[0]
        recall = np.mean([len(set(f) & set(t)) / K for f, t in zip(found, truth)])
        took = best(lambda q: graph.knn_query(q, K, num_threads=1), queries)
        print(f"hnswlib, ef {ef}: recall {recall:.4f}, {took * 1e6:.0f} us, {1 / took:.0f} searches/s")


if __name__ == "__main__":
    main()
