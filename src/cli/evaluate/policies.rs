//! `roasd evaluate policies`: the house policy beside what owners do now, on simulated markets.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::super::Exit;
use super::super::table::TextTable;
use crate::evaluation::markets::score::{Difference, Score, Verdict, scores};
use crate::evaluation::markets::{Board, Contender, Kind, Purpose, chart, evaluate};

/// What `evaluate policies` takes.
#[derive(Debug, clap::Args)]
pub(super) struct PoliciesArgs {
    /// Markets of each kind of business; each is played by every policy.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    markets: u64,
    /// Take the markets that constants were chosen on, not those that figures are reported on.
    #[arg(long)]
    tuning: bool,
    /// Compare with the house policy without each of its parts, not with other policies.
    #[arg(long)]
    ablation: bool,
    /// Draw the ranges of revenue into this SVG file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Lets contenders play so many markets of each kind, and shows a person how far they are.
pub(in crate::cli) fn played(
    purpose: Purpose,
    contenders: &[Contender],
    markets: u64,
) -> Vec<Board> {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(markets * Kind::ALL.len() as u64)
    } else {
        ProgressBar::hidden()
    };
    let boards = evaluate(purpose, &Kind::ALL, contenders, markets, &|done| {
        bar.set_position(done);
    });
    bar.finish_and_clear();
    boards
}

pub(super) fn run(args: &PoliciesArgs, as_json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let purpose = if args.tuning {
        Purpose::Tuning
    } else {
        Purpose::Reporting
    };
    let contenders = if args.ablation {
        Contender::ablations()
    } else {
        Contender::all()
    };
    let boards = played(purpose, &contenders, args.markets);
    let scored: Vec<(&Board, Vec<Score>)> = boards
        .iter()
        .map(|board| (board, scores(board, &contenders)))
        .collect();
    if let Some(file) = &args.svg {
        let kinds: Vec<(&str, &[Score])> = scored
            .iter()
            .map(|(board, scores)| (board.kind.as_str(), scores.as_slice()))
            .collect();
        let title =
            "Revenue by policy: mean, and 10th to 90th percentile (budgets left alone = 100)";
        std::fs::write(file, chart::ranges(title, &kinds))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if as_json {
        writeln!(out, "{:#}", report_json(args, &scored))?;
    } else {
        out.write_all(report(args, &scored)?.as_bytes())?;
    }
    Ok(Exit::Done)
}

fn report(args: &PoliciesArgs, scored: &[(&Board, Vec<Score>)]) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(
        text,
        "{} simulated markets of each kind, each played by every policy with the same luck and under the\n\
         same guards. {}",
        args.markets,
        if args.tuning {
            "These are the markets that constants were chosen on; report figures without\n--tuning."
        } else {
            "Constants were chosen on markets of other seeds and another character (--tuning\nshows those)."
        },
    )?;
    let heads = [
        "policy",
        "revenue",
        "10 %",
        "50 %",
        "90 %",
        "of bound",
        "ROAS",
        "changes",
        "kills",
        "wrong",
        "rotations",
        "wrong",
        "ours less this: mean",
        "10 %",
    ];
    let is_terminal = std::io::stdout().is_terminal();
    for (board, scores) in scored {
        writeln!(text, "\n{}, {} days", board.kind.as_str(), board.days)?;
        let numbers: Vec<usize> = (1..heads.len()).collect();
        let mut table = TextTable::new(&heads, is_terminal).right(&numbers);
        for s in scores {
            let figure = |v: f64| format!("{v:.1}");
            let share = |of: f64, v: f64| {
                if of > 0.0 {
                    format!("{:.0} %", 100.0 * v)
                } else {
                    String::new()
                }
            };
            table.row([
                s.name.to_owned(),
                figure(s.mean),
                figure(s.p10),
                figure(s.p50),
                figure(s.p90),
                s.of_bound.map_or_else(String::new, |v| format!("{v:.1} %")),
                format!("{:.2}", s.roas),
                figure(s.changes),
                figure(s.kills),
                share(s.kills, s.wrong_kills),
                figure(s.rotations),
                share(s.rotations, s.wrong_rotations),
                s.ours_less
                    .map_or_else(String::new, |d| told(d.mean, d.mean_interval)),
                s.ours_less
                    .map_or_else(String::new, |d| told(d.p10, d.p10_interval)),
            ]);
        }
        writeln!(text, "{}", table.render())?;
    }
    let broken: u32 = scored.iter().flat_map(|(_, s)| s).map(|s| s.broken).sum();
    writeln!(
        text,
        "\nRevenue: what the clicks bought are worth in the end, luck of single deals left out, in hundredths\n\
         of what the same market brings with its budgets left alone. Of bound: of a policy that knows every\n\
         return as it truly is, under the same guards. Wrong: ads stopped for good that truly earn more than\n\
         the account's mean, and ads rotated out that are truly better than what runs instead. Differences\n\
         are paired by market, with 95 % intervals; a tie is what lies within them. Guards broken: {broken}."
    )?;
    Ok(text)
}

fn told(value: f64, interval: (f64, f64)) -> String {
    format!(
        "{value:+.1} ({:+.1} to {:+.1}) {}",
        interval.0,
        interval.1,
        Verdict::of(interval).as_str()
    )
}

fn report_json(args: &PoliciesArgs, scored: &[(&Board, Vec<Score>)]) -> Value {
    let difference = |d: &Difference| {
        json!({
            "mean": d.mean,
            "mean_interval_95": [d.mean_interval.0, d.mean_interval.1],
            "mean_verdict": Verdict::of(d.mean_interval).as_str(),
            "p10": d.p10,
            "p10_interval_95": [d.p10_interval.0, d.p10_interval.1],
            "p10_verdict": Verdict::of(d.p10_interval).as_str(),
        })
    };
    let score = |s: &Score| {
        json!({
            "policy": s.name,
            "revenue": { "mean": s.mean, "p10": s.p10, "p50": s.p50, "p90": s.p90 },
            "percent_of_bound": s.of_bound,
            "regret_a_day": s.regret_a_day,
            "roas": s.roas,
            "changes": s.changes,
            "kills": s.kills,
            "wrong_kills_share": s.wrong_kills,
            "rotations": s.rotations,
            "wrong_rotations_share": s.wrong_rotations,
            "guards_broken": s.broken,
            "ours_less_this": s.ours_less.as_ref().map(difference),
        })
    };
    let kinds: Vec<Value> = scored
        .iter()
        .map(|(board, scores)| {
            json!({
                "kind": board.kind.as_str(),
                "days": board.days,
                "policies": scores.iter().map(score).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "tuning": args.tuning, "markets": args.markets, "kinds": kinds })
}
