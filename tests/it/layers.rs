//! Who may import whom. A single crate has no wall between its layers other than this file: it
//! reads every source under `src/` and holds the table of the house.
//!
//! It reads tokens, not types: comments, strings and `#[cfg(test)]` items are left out, `use` trees
//! and `super` are resolved, and a path in the middle of code counts like an import.

mod source;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use source::{Mention, mentions};

/// What one layer may use.
struct Rule {
    layer: &'static str,
    /// Paths of ours that it may import, each with all that is below it; its own are always free.
    may: &'static [&'static str],
    /// Exceptions to `may`.
    never: &'static [&'static str],
    crates: Crates,
}

/// Which of the crates in `Cargo.toml` a layer may name.
enum Crates {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

const DOMAIN: &str = "domain";
const CLOCK: &str = "clock";
const TELEMETRY: &str = "telemetry";

/// The table. `cli`, `daemon`, `main` and `lib` are where parts are joined and may use everything.
const RULES: &[Rule] = &[
    Rule {
        layer: DOMAIN,
        may: &[],
        never: &[],
        // Pure computing only: nothing that does I/O, waits, logs or knows a wire format.
        crates: Crates::Only(&[
            "hex",
            "hmac",
            "jiff",
            "libm",
            "rand",
            "rand_chacha",
            "rand_distr",
            "sha2",
            "subtle",
            "thiserror",
            "uuid",
        ]),
    },
    Rule {
        layer: CLOCK,
        may: &["domain::time"],
        never: &[],
        crates: Crates::AllBut(&["axum", "ractor", "reqwest", "sqlx"]),
    },
    Rule {
        layer: TELEMETRY,
        may: &[],
        never: &[],
        crates: Crates::AllBut(&["axum", "ractor", "reqwest", "sqlx"]),
    },
    Rule {
        layer: "import",
        may: &[DOMAIN],
        never: &[],
        crates: Crates::AllBut(&["axum", "ractor", "reqwest", "sqlx", "tokio"]),
    },
    Rule {
        layer: "index",
        may: &[DOMAIN],
        never: &[],
        crates: Crates::AllBut(&["axum", "ractor", "reqwest", "sqlx"]),
    },
    Rule {
        layer: "vendors",
        may: &[DOMAIN, CLOCK, TELEMETRY],
        never: &[],
        crates: Crates::AllBut(&["axum", "ractor", "sqlx"]),
    },
    Rule {
        layer: "store",
        may: &[DOMAIN],
        never: &[],
        crates: Crates::AllBut(&["axum", "governor", "ractor", "reqwest"]),
    },
    Rule {
        layer: "actors",
        may: &[DOMAIN, CLOCK, TELEMETRY, "index", "store", "vendors"],
        // Traits only: which database and which client is chosen where the parts are joined.
        never: &[
            "store::sqlite",
            "store::postgres",
            "vendors::meta::client",
            "vendors::hubspot::client",
        ],
        crates: Crates::AllBut(&["axum", "clap", "reqwest", "sqlx", "toml"]),
    },
    Rule {
        layer: "http",
        may: &[
            DOMAIN,
            CLOCK,
            TELEMETRY,
            "store",
            "actors::handle",
            // Whose a delivery is, and what makes two of them one.
            "vendors::hubspot::events",
            "vendors::hubspot::signature",
            "vendors::meta::events",
            "vendors::meta::signature",
        ],
        never: &["store::sqlite", "store::postgres"],
        crates: Crates::AllBut(&["ractor", "reqwest", "sqlx", "toml"]),
    },
    Rule {
        layer: "sandbox",
        may: &[DOMAIN, CLOCK, TELEMETRY],
        never: &[],
        crates: Crates::AllBut(&["ractor"]),
    },
    Rule {
        layer: "evaluation",
        may: &[DOMAIN, CLOCK, TELEMETRY, "index", "sandbox", "store"],
        never: &["store::sqlite", "store::postgres"],
        crates: Crates::AllBut(&["axum", "ractor", "reqwest", "sqlx"]),
    },
    Rule {
        layer: "config",
        may: &[DOMAIN],
        never: &[],
        crates: Crates::AllBut(&["axum", "ractor", "reqwest", "sqlx", "tokio"]),
    },
];

/// Where parts are joined: everything may be used, and nobody may import them.
const JOINERS: &[&str] = &["cli", "daemon", "main", "lib"];

/// The calendar library moves to its next major version by one edit.
const CALENDAR: (&str, &str) = ("jiff", "src/domain/time.rs");

struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

fn is_under(path: &[String], prefix: &str) -> bool {
    let mut segments = path.iter();
    prefix
        .split("::")
        .all(|wanted| segments.next().is_some_and(|found| found == wanted))
}

/// Every breach of the table in one file. `file` is its path from the root of the crate, with
/// slashes, and `dependencies` are the crates of `Cargo.toml` as code names them.
fn violations(file: &str, text: &str, dependencies: &BTreeSet<String>) -> Vec<Violation> {
    let module: Vec<String> = file
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part != "mod")
        .map(str::to_owned)
        .collect();
    let layer = module.first().map_or("", String::as_str);
    // A file of tests may join whatever it tests.
    if module.last().is_some_and(|name| name == "tests") {
        return Vec::new();
    }
    let breach = |line, rule| Violation {
        file: file.to_owned(),
        line,
        rule,
    };
    let rule = RULES.iter().find(|rule| rule.layer == layer);
    if rule.is_none() && !JOINERS.contains(&layer) {
        let missing = format!("`{layer}` is in no row of the table: add it, with what it may use");
        return vec![breach(1, missing)];
    }
    let mut found = Vec::new();
    for Mention { line, ours, path } in mentions(text, &module) {
        let written = path.join("::");
        if !ours {
            let Some(krate) = path.first().filter(|name| dependencies.contains(*name)) else {
                continue;
            };
            let allowed = match rule.map(|rule| &rule.crates) {
                None => true,
                Some(Crates::Only(list)) => list.contains(&krate.as_str()),
                Some(Crates::AllBut(list)) => !list.contains(&krate.as_str()),
            };
            if !allowed {
                found.push(breach(
                    line,
                    format!("`{layer}` must not know the crate `{krate}`"),
                ));
            }
            if krate == CALENDAR.0 && file != CALENDAR.1 {
                let rule = format!("`{krate}` is used through `domain::time` alone");
                found.push(breach(line, rule));
            }
            continue;
        }
        let (Some(rule), Some(target)) = (rule, path.first()) else {
            continue;
        };
        if target == layer {
            continue;
        }
        let allowed = rule.may.iter().any(|may| is_under(&path, may));
        let refused = rule.never.iter().any(|never| is_under(&path, never));
        if !allowed || refused {
            let may = match rule.may {
                [] => "nothing of ours".to_owned(),
                may => may.join(", "),
            };
            let except = match rule.never {
                [] => String::new(),
                never => format!(", never {}", never.join(", ")),
            };
            found.push(breach(
                line,
                format!("`{layer}` imports `crate::{written}`; it may import {may}{except}"),
            ));
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The crates under `[dependencies]`, as code names them.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_file_keeps_to_its_layer() {
    let dependencies = dependencies();
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    files.sort();
    assert!(files.len() > 5, "no sources found: {files:?}");
    let broken: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
            let name = name.replace(std::path::MAIN_SEPARATOR, "/");
            violations(&name, &fs::read_to_string(path).unwrap(), &dependencies)
        })
        .map(|violation| violation.to_string())
        .collect();
    assert!(
        broken.is_empty(),
        "the house is broken:\n{}",
        broken.join("\n")
    );
}

#[test]
fn a_row_names_only_what_exists_in_the_table() {
    for rule in RULES {
        for path in rule.may.iter().chain(rule.never) {
            let target = path.split("::").next().unwrap();
            assert!(
                RULES.iter().any(|other| other.layer == target),
                "`{}` names `{path}`, which is no layer",
                rule.layer
            );
        }
        let (Crates::Only(list) | Crates::AllBut(list)) = &rule.crates;
        assert!(list.is_sorted(), "`{}`: {list:?}", rule.layer);
    }
}

/// Holds that `text` in `file` breaks the table in exactly these lines and words.
fn check(file: &str, text: &str, expected: &[(usize, &str)]) {
    let crates = [
        "axum", "jiff", "ractor", "reqwest", "serde", "sqlx", "tokio", "tracing",
    ];
    let crates = crates.into_iter().map(str::to_owned).collect();
    let found = violations(file, text, &crates);
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{file}: {text}\n{shown:#?}");
    for ((line, words), violation) in expected.iter().zip(&found) {
        assert_eq!(violation.line, *line, "{violation}");
        assert!(
            violation.rule.contains(words),
            "{violation} lacks {words:?}"
        );
        assert!(
            violation
                .to_string()
                .starts_with(&format!("{file}:{line}: "))
        );
    }
}

#[test]
fn a_breach_is_caught_where_it_stands() {
    let domain = "src/domain/money.rs";
    check(
        domain,
        "use std::fmt;\nuse crate::store::Store;\n",
        &[(2, "crate::store::Store")],
    );
    check(domain, "use super::ids::AdId;\n", &[]);
    check(domain, "use super::super::store;\n", &[(1, "crate::store")]);
    check(
        domain,
        "pub(crate) fn f() {}\nfn g() {\n  tracing::warn!(\"x\");\n}",
        &[(3, "`tracing`")],
    );
    check(
        domain,
        "#[derive(serde::Serialize)]\nstruct A;",
        &[(1, "`serde`")],
    );
    check(domain, "use tokio as t;", &[(1, "`tokio`")]);
    check(domain, "use {std::fmt, tokio::sync};", &[(1, "`tokio`")]);
    check(domain, "use ::serde::Serialize;", &[(1, "`serde`")]);
    check(domain, "use jiff::Timestamp;", &[(1, "domain::time")]);
    check("src/domain/time.rs", "pub use jiff::Timestamp;", &[]);
    check("src/domain/safety/mod.rs", "use super::money::Money;", &[]);
    check(
        "src/domain/safety/velocity.rs",
        "use super::super::super::actors;",
        &[(1, "actors")],
    );
}

#[test]
fn a_layer_may_use_what_its_row_says() {
    check(
        "src/clock.rs",
        "use crate::domain::time::{self, Timestamp};",
        &[],
    );
    check(
        "src/clock.rs",
        "use crate::domain::{ids::AdId, time};",
        &[(1, "domain::ids::AdId")],
    );
    check(
        "src/telemetry/names.rs",
        "use crate::domain::ids::TenantId;",
        &[(1, "nothing of ours")],
    );
    check(
        "src/http/webhooks.rs",
        "use crate::{\n  actors::handle::Handle,\n  actors::tenant::Tenant,\n  vendors::{hubspot::signature, meta::client::Client},\n};",
        &[
            (3, "actors::tenant::Tenant"),
            (4, "vendors::meta::client::Client"),
        ],
    );
    check("src/http/mod.rs", "use crate::actors::*;", &[(1, "actors")]);
    check(
        "src/http/mod.rs",
        "use crate::store::sqlite::SqliteStore;",
        &[(1, "never store::sqlite")],
    );
    check(
        "src/actors/executor.rs",
        "use crate::vendors::meta::MetaAds;\nuse sqlx::Row;",
        &[(2, "`sqlx`")],
    );
    check(
        "src/store/sqlite/inbox.rs",
        "use crate::clock::Clock;",
        &[(1, "crate::clock::Clock")],
    );
    check(
        "src/actors/sync.rs",
        "use crate::cli::run;",
        &[(1, "crate::cli::run")],
    );
    check(
        "src/cli/run.rs",
        "use crate::actors::root;\nuse sqlx::Row;",
        &[],
    );
    check("src/daemon.rs", "use crate::http;", &[]);
    check("src/domain/safety/tests.rs", "use crate::sandbox;", &[]);
    check("src/helpers.rs", "", &[(1, "no row")]);
    // Nothing may be reached by a re-export at the root of the crate, which would hide its layer.
    check(
        "src/actors/sync.rs",
        "use crate::Config;",
        &[(1, "crate::Config")],
    );
}

#[test]
fn what_is_not_code_of_the_layer_does_not_count() {
    let store = "src/store/inbox.rs";
    check(
        store,
        "// use crate::actors::Handle;\n/* crate::http /* nested */ crate::http */\n",
        &[],
    );
    check(
        store,
        "/// See [`crate::actors`].\nfn f() -> &'static str { \"crate::http::x\" }",
        &[],
    );
    check(
        store,
        "fn f() -> &'static str { r#\"a \" crate::http\"# }\nuse crate::http;",
        &[(2, "http")],
    );
    check(
        store,
        "fn f<'a>(x: &'a str) -> char { '\"' }\nuse crate::http; // \"",
        &[(2, "http")],
    );
    check(
        store,
        "#[cfg(test)]\nmod tests {\n  use crate::clock::Clock;\n}\nuse crate::http;",
        &[(5, "http")],
    );
    check(
        store,
        "#[cfg(test)]\nuse crate::clock::Clock;\nuse crate::http;",
        &[(3, "http")],
    );
    check(
        store,
        "#[cfg(any(test, unix))]\nuse crate::clock::Clock;",
        &[(2, "clock")],
    );
    check(
        store,
        "fn f() {\n  let x = crate::actors::handle::new();\n}",
        &[(2, "actors::handle::new")],
    );
    check(
        store,
        "mod rows {\n  use super::super::Store;\n  use super::super::super::http;\n}",
        &[(3, "http")],
    );
    check(store, "use self::axum::thing;\nfn f() { x.axum(); }", &[]);
}

/// A migration that lies in its folder and is not in the program's list would never be applied.
#[test]
fn every_migration_is_in_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for database in ["sqlite", "postgres"] {
        let schema = root.join(format!("src/store/{database}/schema.rs"));
        let schema = std::fs::read_to_string(schema).unwrap();
        let folder = root.join("migrations").join(database);
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let path = format!("migrations/{database}/{name}");
            assert!(schema.contains(&path), "{path} is not listed");
        }
    }
}
