//! What `roasd winners` takes.

use clap::Subcommand;

use crate::domain::ids::{AdId, TenantId};

/// What `winners` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct WinnersArgs {
    /// Of this tenant; not needed where there is only one.
    #[arg(long, global = true)]
    pub tenant: Option<TenantId>,
    /// What to do.
    #[command(subcommand)]
    pub command: WinnersCommand,
}

/// Which past ads are meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NearArgs {
    /// Those like this text.
    #[arg(long, conflicts_with = "ad")]
    pub text: Option<String>,
    /// Those like this ad.
    #[arg(long)]
    pub ad: Option<AdId>,
}

/// A past ad that an operator brings.
#[derive(Debug, Clone, clap::Args)]
pub struct AddArgs {
    /// Its id; any name that no ad of the account has.
    pub ad: AdId,
    /// What it says. Without it, an ad that was left out is let in again.
    #[arg(long)]
    pub text: Option<String>,
    /// Its name.
    #[arg(long, default_value = "")]
    pub name: String,
    /// image, video, carousel and so on.
    #[arg(long, default_value = "")]
    pub format: String,
    /// What its button says: SIGN_UP, LEARN_MORE and so on.
    #[arg(long, default_value = "")]
    pub call_to_action: String,
    /// Where it led.
    #[arg(long, default_value = "")]
    pub link: String,
    /// Times shown.
    #[arg(long, default_value_t = 0)]
    pub impressions: u64,
    /// Link clicks.
    #[arg(long, default_value_t = 0)]
    pub clicks: u64,
    /// Money spent, in the account's currency.
    #[arg(long, default_value = "0")]
    pub spend: String,
    /// Pipeline value it brought, in the same currency.
    #[arg(long, default_value = "0")]
    pub pipeline: String,
}

/// What can be done with past ads.
#[derive(Debug, Clone, Subcommand)]
pub enum WinnersCommand {
    /// List winners, the best return first.
    ///
    /// Example:  roasd winners list --all
    List {
        /// Losers too, and those that are too young to tell or left out.
        #[arg(long)]
        all: bool,
        /// This many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one past ad whole.
    Show {
        /// Its id.
        ad: AdId,
    },
    /// Bring a past ad of elsewhere, or let one in again that was left out.
    ///
    /// Example:  roasd winners add old-1 --text "Six weeks to a stronger back" --impressions 40000 --clicks 1600
    Add(AddArgs),
    /// Leave a past ad out: it lends nothing and is found by nobody, whatever comes of it.
    Remove {
        /// Its id.
        ad: AdId,
    },
    /// Find the past ads that are most like a text or an ad.
    ///
    /// Example:  roasd winners similar --text "Free trial week" --winners
    Similar {
        /// Like what.
        #[command(flatten)]
        near: NearArgs,
        /// This many.
        #[arg(long, default_value_t = 10)]
        limit: usize,
        /// Winners only.
        #[arg(long)]
        winners: bool,
    },
    /// Tell the maker of the next ad what winners share, and what losers share.
    ///
    /// Example:  roasd winners brief --text "Free trial week"
    Brief {
        /// Of past ads like what; of all without it.
        #[command(flatten)]
        near: NearArgs,
        /// Of this many nearest ones.
        #[arg(long, default_value_t = 200)]
        nearest: usize,
        /// So many things of each kind at most.
        #[arg(long, default_value_t = 12)]
        limit: usize,
    },
    /// Judge what look-alikes are worth as a first guess: each mature ad is left out in turn.
    Evaluate,
}
