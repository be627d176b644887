//! `roasd evaluate`: roasd's judgement against known truth, beside other rules.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use super::Exit;
use super::table::TextTable;

pub(super) mod policies;

use crate::domain::attribution::{AttributionRules, Method};
use crate::evaluation::attribution::diagram::{self, Line};
use crate::evaluation::attribution::score::{self, Scores};
use crate::evaluation::attribution::{Evaluation, Policy, Purpose, evaluate};

/// The precision at which recalls are compared.
const PRECISION: f64 = 0.98;

/// What `evaluate` takes.
#[derive(Debug, clap::Args)]
pub struct EvaluateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How well conversions are attributed, on made-up tenants of whom the truth is known.
    ///
    /// Example:  roasd evaluate attribution --seed 1
    Attribution(AttributionArgs),
    /// How much policies earn, side by side on simulated markets under the same guards.
    ///
    /// Example:  roasd evaluate policies --markets 50 --svg docs/optimizer.svg
    Policies(policies::PoliciesArgs),
}

#[derive(Debug, clap::Args)]
struct AttributionArgs {
    /// Seed of the made-up tenants.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take the tenants that the model was made on, not those that figures are reported on.
    #[arg(long)]
    tuning: bool,
    /// Write the reliability diagram to this SVG file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Evaluates.
///
/// # Errors
/// When the diagram or the output cannot be written.
pub fn run(args: &EvaluateArgs, as_json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let args = match &args.what {
        What::Attribution(args) => args,
        What::Policies(args) => return policies::run(args, as_json, out),
    };
    let purpose = if args.tuning {
        Purpose::Tuning
    } else {
        Purpose::Reporting
    };
    let evaluation = evaluate(purpose, args.seed, 1.0);
    if let Some(file) = &args.svg {
        std::fs::write(file, drawn(&evaluation))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if as_json {
        writeln!(out, "{:#}", report_json(args, &evaluation))?;
    } else {
        out.write_all(report(args, &evaluation)?.as_bytes())?;
    }
    Ok(Exit::Done)
}

fn judged(evaluation: &Evaluation) -> [(&'static str, &Policy); 3] {
    [
        ("roasd", &evaluation.roasd),
        ("predecessor", &evaluation.predecessor),
        ("ceiling", &evaluation.ceiling),
    ]
}

/// The rows of a policy: its layers, and all together.
fn rows(name: &str, policy: &Policy) -> Vec<(&'static str, Scores)> {
    let answers = &policy.decided;
    let by = |method: Method| (method.as_str(), Scores::by(answers, method));
    let mut rows = vec![by(Method::UrlParam)];
    if name == "ceiling" {
        rows.push(("posterior", Scores::recognised(answers)));
    } else {
        rows.extend([by(Method::Fingerprint), by(Method::Probabilistic)]);
    }
    rows.push(("together", Scores::all(answers)));
    rows
}

fn report(args: &AttributionArgs, evaluation: &Evaluation) -> anyhow::Result<String> {
    let mut text = String::new();
    let all = Scores::all(&evaluation.roasd.decided);
    writeln!(
        text,
        "{} made-up tenants, seed {}: {} deals judged, {} caused by an ad and {} by none. {}\n",
        evaluation.tenants,
        args.seed,
        all.caused + all.organic,
        all.caused,
        all.organic,
        if args.tuning {
            "These are the\ntenants that the model was made on; report figures without --tuning."
        } else {
            "The model\nwas made on other tenants (--tuning shows those) and not changed after it had met these."
        },
    )?;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let heads = [
        "policy",
        "layer",
        "credits",
        "right",
        "precision",
        "recall",
        "organic claimed",
        "calibration error",
    ];
    let is_terminal = std::io::stdout().is_terminal();
    let mut table = TextTable::new(&heads, is_terminal).right(&[2, 3, 4, 5, 6, 7]);
    for (name, policy) in judged(evaluation) {
        for (n, (layer, scores)) in rows(name, policy).into_iter().enumerate() {
            table.row([
                if n == 0 {
                    name.to_owned()
                } else {
                    String::new()
                },
                layer.to_owned(),
                scores.credits.to_string(),
                scores.right.to_string(),
                percent(scores.precision()),
                percent(scores.recall()),
                percent(scores.organic_claimed()),
                format!("{:.3}", scores.calibration_error),
            ]);
        }
    }
    writeln!(
        text,
        "{}\n\n\
         Precision: right credits of all credits. Recall: right credits of all deals that an ad caused,\n\
         so that of \"together\" is the honest rate of recovery; credits below {} are not given. Organic\n\
         claimed: deals that no ad caused and that were credited to one, of all such deals. Calibration\n\
         error: how far what was said is from how often it was right, in the mean (ECE, ten bins). The\n\
         ceiling is Bayes with the generator's own probabilities; it reads ids as roasd does.\n",
        table.render(),
        percent(AttributionRules::SHIPPED_MIN_CONFIDENCE),
    )?;
    let (ours, _) = score::at_precision(&evaluation.roasd.guessed, PRECISION);
    let (best, _) = score::at_precision(&evaluation.ceiling.guessed, PRECISION);
    writeln!(
        text,
        "At {} precision: roasd recalls {}, the ceiling {}; that is {} of it. Of all guesses of the\n\
         lower layers, credited or not, the calibration error is {:.3}.\n",
        percent(PRECISION),
        percent(ours.recall()),
        percent(best.recall()),
        percent(ours.recall() / best.recall()),
        Scores::recognised(&evaluation.roasd.guessed).calibration_error,
    )?;
    for (name, learned) in &evaluation.learned {
        let calibration = learned.model.calibration;
        writeln!(
            text,
            "{name}: learned from {} forms without an id and {} deals of known truth; {} of such forms\n  \
             came from a click that can be found; logit(said) = {:+.2} {:+.2} logit(posterior)",
            learned.forms,
            learned.known,
            percent(learned.model.linkage.findable.get()),
            calibration.intercept(),
            calibration.slope(),
        )?;
    }
    Ok(text)
}

fn report_json(args: &AttributionArgs, evaluation: &Evaluation) -> serde_json::Value {
    let scores = |s: &Scores| {
        json!({
            "credits": s.credits,
            "right": s.right,
            "precision": s.precision(),
            "recall": s.recall(),
            "organic_claimed": s.organic_claimed(),
            "calibration_error": s.calibration_error,
        })
    };
    let all = Scores::all(&evaluation.roasd.decided);
    let policies: serde_json::Map<_, _> = judged(evaluation)
        .into_iter()
        .map(|(name, policy)| {
            let layers: serde_json::Map<_, _> = rows(name, policy)
                .iter()
                .map(|(layer, s)| ((*layer).to_owned(), scores(s)))
                .collect();
            let (at, _) = score::at_precision(&policy.guessed, PRECISION);
            let of = json!({ "layers": layers, "recall_at_98_percent_precision": at.recall() });
            (name.to_owned(), of)
        })
        .collect();
    json!({
        "seed": args.seed,
        "tuning": args.tuning,
        "caused": all.caused,
        "organic": all.organic,
        "policies": policies,
    })
}

fn drawn(evaluation: &Evaluation) -> String {
    let colours = ["#0a7", "#d62", "#58c"];
    let bins = judged(evaluation).map(|(_, policy)| score::reliability(&policy.guessed));
    let lines: Vec<Line<'_>> = judged(evaluation)
        .iter()
        .zip(&bins)
        .zip(colours)
        .map(|(((name, _), bins), colour)| Line { name, colour, bins })
        .collect();
    diagram::reliability("Layers two and three: said and right", &lines)
}
