//! `roasd advise`: what the decision model would do with an exported account, offline. It reads
//! files, prints, and changes nothing.

mod evidence;
mod json;
mod records;
mod report;

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use super::Exit;
use crate::domain::ids::StageName;
use crate::domain::money::{Currency, Money};
use crate::domain::policy::{Policy as _, RoasdPolicy};
use crate::import::deals::{in_funnel_order, options_for_deals};
use crate::import::{DateOrder, Decimal, ImportOptions, read_ads, read_deals};

/// Larger files are refused: they are no export of one account.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Moves of a kind shown without `--all`.
const TOP: usize = 10;

/// What `roasd advise` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct AdviseArgs {
    /// An export of Ads Manager, or a CSV like it: one row per ad, or per ad and day.
    #[arg(long, value_name = "FILE")]
    pub ads: PathBuf,
    /// An export of CRM deals (HubSpot), joined to ads by ad id, else by ad set or campaign.
    #[arg(long, value_name = "FILE")]
    pub deals: Option<PathBuf>,
    /// What a deal at a stage is worth, such as lead=10; once per stage, in the funnel's order.
    #[arg(long = "value", value_name = "STAGE=AMOUNT", value_parser = worth)]
    pub values: Vec<(StageName, Decimal)>,
    /// The currency of the files, where they do not say it.
    #[arg(long, value_name = "CODE", value_parser = currency)]
    pub currency: Option<Currency>,
    /// The most to spend, in the same terms as the file's spend; what is spent now, by default.
    #[arg(long, value_name = "AMOUNT")]
    pub cap: Option<String>,
    /// The order of day and month, where the files leave it open: dmy or mdy.
    #[arg(long, value_name = "ORDER", value_parser = date_order)]
    pub date_order: Option<DateOrder>,
    /// Shows every move, not only the largest.
    #[arg(long)]
    pub all: bool,
    /// Prints for programs; every move.
    #[arg(long)]
    pub json: bool,
}

fn worth(text: &str) -> Result<(StageName, Decimal), String> {
    let wanted = "expected STAGE=AMOUNT, such as lead=10";
    let (stage, amount) = text.split_once('=').ok_or(wanted)?;
    let stage = StageName::new(stage.trim().to_lowercase()).map_err(|e| e.to_string())?;
    let amount = Decimal::parse_plain(amount.trim())
        .filter(|a| !a.is_negative())
        .ok_or_else(|| format!("{amount:?} is not an amount such as 10 or 2250.00; {wanted}"))?;
    Ok((stage, amount))
}

fn currency(text: &str) -> Result<Currency, String> {
    Currency::new(&text.to_ascii_uppercase()).map_err(|e| e.to_string())
}

fn date_order(text: &str) -> Result<DateOrder, String> {
    DateOrder::parse(text).ok_or_else(|| "expected dmy (24/11/2026) or mdy (11/24/2026)".to_owned())
}

/// Reads the files, decides and prints to `out`; what the command line lacks is told on `err`.
///
/// # Errors
/// When a file cannot be read or used, or the output cannot be written.
pub fn run(args: &AdviseArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    for (at, (stage, _)) in args.values.iter().enumerate() {
        if args
            .values
            .iter()
            .skip(at + 1)
            .any(|(other, _)| other == stage)
        {
            writeln!(err, "--value is given twice for {stage}")?;
            return Ok(Exit::Usage);
        }
    }
    let stages = in_funnel_order(args.values.iter().map(|(stage, _)| stage.clone()).collect());
    let options = ImportOptions {
        currency: args.currency,
        date_order: args.date_order,
        stages,
    };
    let account = read_ads(&bytes_of(&args.ads)?, &options)
        .map_err(|error| anyhow!("{}: {error}", args.ads.display()))?;
    let deals = match &args.deals {
        Some(path) => {
            let options = options_for_deals(&options, account.currency);
            let deals = read_deals(&bytes_of(path)?, &options)
                .map_err(|error| anyhow!("{}: {error}", path.display()))?;
            Some(deals)
        }
        None => None,
    };
    let cap = match &args.cap {
        Some(text) => match Money::parse(text, account.currency) {
            Ok(cap) if !cap.is_negative() => Some(cap),
            Ok(_) => {
                writeln!(err, "--cap {text}: it is below zero")?;
                return Ok(Exit::Usage);
            }
            Err(error) => {
                writeln!(err, "--cap: {error}")?;
                return Ok(Exit::Usage);
            }
        },
        None => None,
    };
    let prepared = match evidence::prepare(&account, deals.as_ref(), &args.values, cap) {
        Ok(prepared) => prepared,
        Err(lack @ (evidence::NotEnough::NoValues | evidence::NotEnough::NotCounted { .. })) => {
            writeln!(err, "{lack}")?;
            return Ok(Exit::Usage);
        }
        Err(error @ evidence::NotEnough::TooMany { .. }) => {
            bail!("{}: {error}", args.ads.display());
        }
    };
    let outcome = RoasdPolicy.decide(&prepared.inputs);
    let report = report::Report {
        ads_file: name_of(&args.ads),
        deals_file: args.deals.as_deref().map(name_of),
        account: &account,
        deals: deals.as_ref(),
        prepared: &prepared,
        outcome: &outcome,
    };
    if args.json {
        writeln!(out, "{:#}", report.to_json())?;
    } else {
        let top = (!args.all).then_some(TOP);
        report.print(out, std::io::stdout().is_terminal(), top)?;
    }
    Ok(Exit::Done)
}

fn bytes_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let about = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    if about.is_dir() {
        bail!("cannot read {shown}: it is a folder; name the CSV file in it");
    }
    if about.len() > FILE_BYTES_MAX {
        bail!("{shown} is larger than {FILE_BYTES_MAX} bytes: export fewer days at a time");
    }
    std::fs::read(path).with_context(|| format!("cannot read {shown}"))
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
