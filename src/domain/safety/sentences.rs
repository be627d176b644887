//! What each guard says to an owner, in a sentence without roasd's own words.

use super::Rule;

impl Rule {
    /// What the guard protects from and what happens next, for the owner of the account.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Expired => {
                "Too much time passed before this could be done, so the reasons for it are old; a \
                 new decision takes its place."
            }
            Self::Paused => "You paused roasd, so nothing is changed until you resume it.",
            Self::TenantParked => {
                "roasd failed several times in a row for this account and waits for you to look \
                 before it goes on."
            }
            Self::HandsOff => "This campaign or ad is one that roasd leaves to you.",
            Self::UnknownState => {
                "roasd could not find out how things stand at Meta, and changes nothing it cannot \
                 see."
            }
            Self::Autonomy => "Your settings do not allow roasd to do this without your approval.",
            Self::AccountTrouble => {
                "Meta does not let this ad account advertise as usual; once that is settled, roasd \
                 goes on by itself."
            }
            Self::CurrencyMismatch => {
                "Amounts in different currencies cannot be compared safely, so nothing is changed."
            }
            Self::TimeZoneMismatch => {
                "roasd does not know when this account's day begins, so its daily figures cannot be \
                 trusted."
            }
            Self::HumanEdit => {
                "Somebody changed this by hand lately; their choice stands for a while before roasd \
                 touches it again."
            }
            Self::StaleInsights => {
                "Meta's figures are too old to act on; roasd waits for fresh ones."
            }
            Self::StaleCrm => "The CRM's deals are too old to act on; roasd waits for fresh ones.",
            Self::LowCoverage => {
                "Too few of your leads can be traced to an ad, so judging ads by them would be a \
                 guess."
            }
            Self::ZeroConversions => {
                "Leads stopped all at once, which most often means broken tracking rather than bad \
                 ads."
            }
            Self::NotRunning => "It is switched off, so giving it more money would change nothing.",
            Self::MinChange => "The change is too small to be worth disturbing the ad for.",
            Self::LearningQuiet => {
                "Meta is still learning how to deliver this after its last big change, and another \
                 one would start that over."
            }
            Self::ActionsPerHour => {
                "This campaign had as many changes this hour as you allow; the next one waits its \
                 turn."
            }
            Self::AdSetCadence => {
                "This budget was changed as often today as you allow; it waits for tomorrow."
            }
            Self::MetaCadence => {
                "Meta locks a budget that changes too often within an hour, so roasd waits."
            }
            Self::ChangesPerDay => {
                "This account had as many changes in a day as you allow; the rest wait."
            }
            Self::KillsPerDay => "As many ads were switched off today as you allow.",
            Self::LastLiveAd => {
                "It is the last ad of its group that still runs; switching it off would stop the \
                 group."
            }
            Self::Velocity => {
                "Budgets move in small steps: this one may not stray further from where it was \
                 a few hours ago."
            }
            Self::DailyVelocity => {
                "Budgets move in small steps: this one may not stray further from where it was \
                 within the last day."
            }
            Self::DailyCap => {
                "Together the budgets would pass the daily cap that you set; money must be freed \
                 elsewhere first."
            }
            Self::WeeklyCeiling => {
                "This week's spending leaves no room for more under the ceiling that you set."
            }
            Self::WorstDay => {
                "Meta already spent more today than your cap allows for on its worst day, so nothing \
                 is raised until tomorrow."
            }
            Self::SpendPerDay => {
                "On a day on which Meta overspends as far as it may, this would cost more than you \
                 allow for one day."
            }
            Self::AdSetCeiling => "It would pass the most that one ad set may have.",
            Self::CampaignCeiling => "It would pass the most that one campaign may have.",
            Self::Floor => "It would fall below the least that a budget may be.",
            Self::AboveSpent10 => {
                "So much of today's budget is spent already that Meta takes no lower one until \
                 tomorrow."
            }
            Self::Blackout => "You asked for no changes in these days or hours.",
            Self::BusinessHours => {
                "You asked for this only while somebody is at work; it waits until then."
            }
            Self::BreakerSpendRate => {
                "Money is leaving much faster than usual, so nothing more is spent until that is \
                 understood; `roasd resume` lets it go on sooner."
            }
            Self::BreakerCostPerLead => {
                "Leads suddenly cost several times what they did, so roasd stands still until that \
                 is understood; `roasd resume` lets it go on sooner."
            }
            Self::BreakerErrors => {
                "Meta refused several changes in a row, so roasd stops asking for a while; `roasd \
                 resume` lets it go on sooner."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_speaks_to_the_owner_in_one_sentence_or_two() {
        for rule in Rule::ALL {
            let sentence = rule.sentence();
            assert!((40..240).contains(&sentence.len()), "{rule}: {sentence}");
            assert!(
                sentence.ends_with('.') && !sentence.contains("  "),
                "{rule}"
            );
            assert!(
                !sentence.contains(rule.as_str()) || !rule.as_str().contains('_'),
                "{rule}"
            );
        }
    }
}
