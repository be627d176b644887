//! One tenant's settings, and the narrow values that the rest of the program gets of them.

use std::collections::BTreeMap;

use super::address::Origin;
use super::alerts::TenantAlerts;
use super::amount::FxRates;
use super::daemon::{AccessTier, ApiVersion};
use super::fault::FaultKind;
use super::read::{Context, FromNode, Key, default, optional, required, section, table};
use super::secret::Secret;
use super::stages::{Stage, StageSettings, Template};
use super::tree::{Node, Value};
use super::value::{checked_text, choice, words};
use crate::domain::autonomy::{Autonomy, AutonomyRules};
use crate::domain::ids::{AdAccountId, CampaignId, PipelineId, PortalId, TenantId};
use crate::domain::limits::{BreakerLimits, DurationRange, GuardLimits, QualityLimits};
use crate::domain::manage::{EmptyGlob, Glob, Manage};
use crate::domain::money::{Currency, Money, Percentage};
use crate::domain::safety::{Blackout, BusinessHours, Calendar};
use crate::domain::time::SignedDuration;

/// A tenant as configured, with its defaults applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its settings.
    pub settings: TenantSettings,
    /// What its stages are worth, in order of the funnel: its own list, or the template's.
    pub stages: Vec<Stage>,
}

impl Tenant {
    /// What bounds every change of this tenant.
    #[must_use]
    pub fn guard_limits(&self) -> GuardLimits {
        let TenantSettings {
            budget,
            limits,
            quality,
            calendar,
            breakers,
            ..
        } = &self.settings;
        // With all their keys, so that the compiler tells of one that nobody takes.
        let BudgetSettings {
            daily_cap,
            min_per_ad_set,
            max_per_ad_set,
            max_per_campaign,
            max_spend_per_day,
            max_spend_per_week,
            max_change,
            velocity_window,
            max_raise_per_day,
            max_cut_per_day,
            min_change,
            fuzz,
        } = *budget;
        let LimitSettings {
            actions_per_campaign_per_hour,
            changes_per_ad_set_per_day,
            changes_per_day,
            kills_per_day,
            pause_last_ad,
            human_edit_quiet,
            significant_edit_quiet,
            ask_before_raise,
            jitter,
            read_jitter,
        } = *limits;
        let QualitySettings {
            max_insight_age,
            max_crm_age,
            min_coverage,
            coverage_window,
            coverage_min_conversions,
            silence_window,
            silence_expected,
        } = *quality;
        let CalendarSettings {
            blackouts,
            business_hours,
            outside_hours,
        } = calendar;
        let BreakerSettings {
            spend_rate,
            spend_window,
            spend_least,
            cost_jump,
            cost_window,
            cost_leads,
            errors,
            error_window,
            hold,
        } = *breakers;
        GuardLimits {
            daily_cap,
            min_per_ad_set,
            max_per_ad_set,
            max_per_campaign,
            max_spend_per_day,
            max_spend_per_week,
            max_change,
            velocity_window,
            max_raise_per_day,
            max_cut_per_day,
            min_change,
            fuzz,
            actions_per_campaign_per_hour,
            changes_per_ad_set_per_day,
            changes_per_day,
            kills_per_day,
            may_pause_last_ad: pause_last_ad,
            significant_edit_quiet,
            human_edit_quiet,
            ask_before_raise,
            jitter,
            read_jitter,
            quality: QualityLimits {
                max_insight_age,
                max_crm_age,
                min_coverage,
                coverage_window,
                coverage_min_conversions,
                silence_window,
                silence_expected,
            },
            calendar: Calendar {
                blackouts: blackouts.clone(),
                business_hours: *business_hours,
                holds_all: *outside_hours == OutsideHours::Everything,
            },
            breakers: BreakerLimits {
                spend_rate,
                spend_window,
                spend_least,
                cost_jump,
                cost_window,
                cost_leads,
                errors,
                error_window,
                hold,
            },
        }
    }

    /// The mean days from click to sale: as stated, else 6 in pipeline and 0.25 in direct mode.
    #[must_use]
    pub fn sales_cycle_days(&self) -> f64 {
        self.settings
            .rules
            .sales_cycle_days
            .unwrap_or(match self.settings.mode {
                Mode::Pipeline => 6.0,
                Mode::Direct => 0.25,
            })
    }

    /// The currency of deals that state none: the CRM company's.
    #[must_use]
    pub fn crm_currency(&self) -> String {
        self.settings
            .hubspot
            .as_ref()
            .and_then(|hubspot| hubspot.company_currency.as_ref())
            .map_or(self.settings.currency.code(), CurrencyCode::as_str)
            .to_owned()
    }
}

section! {
    /// What every tenant has unless it states otherwise. Any key of a tenant may stand here.
    pub struct TenantSettings {
        /// What people call it.
        name: String = required("\"Acme Fitness\"").own(),
        /// What may happen to a decision: "observe" records it and touches nothing, "approve"
        /// waits for a person, "auto" executes. By action: { default = "observe", raise = "approve",
        /// cut = "auto", pause = "auto", resume = "approve" }.
        autonomy: AutonomyRules = default("\"observe\""),
        /// How long a change waits for approval before it lapses.
        approvals_expire: SignedDuration = default("\"48h\"").within(600.0, 2_592_000.0),
        /// "pipeline": deals pass stages with values. "direct": purchases with amounts.
        mode: Mode = default("\"pipeline\""),
        /// The ad account's currency, in which every amount of this tenant is written.
        /// `roasd check --online` compares it with Meta's.
        currency: Currency = required("\"USD\"").own(),
        /// Stages to begin with when `stages` lists none: "service", "ecommerce" or "b2b_saas".
        template: Option<Template> = optional("\"service\""),
        /// Web pages whose scripts may report clicks.
        click_origins: Vec<Origin> = default("[]"),
        /// What one unit of a CRM currency is worth in the tenant's, such as { EUR = "1.08" }. A deal
        /// in a currency without a rate holds the tenant.
        fx: FxRates = default("{}"),
        /// The ad account.
        meta: TenantMeta = table(),
        /// The CRM account; a tenant in direct mode may do without.
        hubspot: Option<TenantHubSpot> = optional("{ portal_id = 12345678, … }"),
        /// The campaigns that roasd works on.
        manage: ManageSettings = table(),
        /// Ceilings and steps of budgets.
        budget: BudgetSettings = table(),
        /// Who, besides, is told of this tenant.
        alerts: TenantAlerts = table(),
        /// How often roasd acts, and how fast.
        limits: LimitSettings = table(),
        /// When the data are too poor to act on.
        quality: QualitySettings = table(),
        /// When nothing, or no raise, is sent.
        calendar: CalendarSettings = table(),
        /// What looks too strange to act on.
        breakers: BreakerSettings = table(),
        /// When things are done.
        schedule: Schedule = table(),
        /// How conversions find their ads.
        attribution: AttributionSettings = table(),
        /// The decision model.
        rules: Rules = table(),
        /// Whether challengers decide beside the champion; nothing of what they decide is sent.
        /// `roasd models list` shows them.
        challengers: bool = default("true"),
        /// What stages are worth, in order of the funnel; instead of a template.
        stages: Option<StageSettings> = optional("{ lead = { value = \"0\", confidence = 0.10 } }").own(),
    }
}

impl TenantSettings {
    /// The campaigns that roasd works on.
    #[must_use]
    pub fn manage(&self) -> Manage {
        let ManageSettings { ids, names } = &self.manage;
        Manage {
            ids: ids.iter().cloned().collect(),
            names: names.clone(),
        }
    }
}

section! {
    /// The campaigns that roasd works on: all of the account, unless some are named here by id or by
    /// name. It reads and learns from the others too, and never changes them.
    pub struct ManageSettings {
        /// Campaigns by id.
        ids: Vec<CampaignId> = default("[]").own(),
        /// Campaigns by name: "*" stands for any text, "?" for one character, capitals do not matter.
        names: Vec<Glob> = default("[]"),
    }
}

impl FromNode for Glob {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "a pattern in quotes", "\"Leads *\"")?;
        text.parse()
            .map_err(|error: EmptyGlob| {
                let remedy = "write for example \"Leads *\"";
                cx.fault(FaultKind::BadValue, node, error.to_string(), remedy);
            })
            .ok()
    }
}

words! {
    /// How a tenant earns.
    pub enum Mode {
        /// Deals pass stages.
        Pipeline = "pipeline",
        /// Purchases.
        Direct = "direct",
    }
}

section! {
    /// The ad account.
    pub struct TenantMeta {
        /// The ad account. It belongs to one tenant: a second claim is refused.
        ad_account: AdAccountId = required("\"act_1234567890\"").own(),
        /// A system user's token with ads_read and ads_management.
        access_token: Secret = required("{ env = \"ACME_META_TOKEN\" }").own(),
        /// Facebook pages whose lead forms' leads are this tenant's. The token then needs
        /// leads_retrieval and access to the pages.
        page_ids: Vec<PageNumber> = default("[]").own(),
        /// The action (Meta's action_type) whose counts conversions are held against; "lead" in
        /// pipeline mode and "purchase" in direct mode unless stated. Kinds of actions overlap: one
        /// that holds the others, never a sum.
        result_action: Option<String> = optional("\"offsite_conversion.fb_pixel_lead\""),
        /// Another version of the API than the installation's.
        api_version: Option<ApiVersion> = optional("\"v25.0\""),
        /// The tenant's own app, when it has one: id …
        app_id: Option<String> = optional("\"543210987654321\""),
        /// … secret …
        app_secret: Option<Secret> = optional("{ env = \"ACME_META_APP_SECRET\" }"),
        /// … and tier; "development" unless stated.
        access_tier: Option<AccessTier> = optional("\"standard\""),
    }
}

section! {
    /// The CRM account, and the names of the properties that tie a contact to a click. HubSpot has
    /// none of the custom ones built in: forms or workflows must fill them.
    pub struct TenantHubSpot {
        /// The account (Hub ID). It belongs to one tenant: a second claim is refused.
        portal_id: PortalId = required("12345678").own(),
        /// A token with read rights on deals, contacts and deal schemas.
        access_token: Secret = required("{ env = \"ACME_HUBSPOT_TOKEN\" }").own(),
        /// The client secret of the tenant's own app, when it has one; signs its webhooks.
        client_secret: Option<Secret> = optional("{ env = \"ACME_HUBSPOT_SECRET\" }"),
        /// The pipelines whose deals count.
        pipelines: Vec<PipelineId> = default("[\"default\"]"),
        /// The currency of deals that state none, when it is not the tenant's.
        company_currency: Option<CurrencyCode> = optional("\"EUR\""),
        /// Contact property with the id that roasd's click script puts into forms.
        click_id_property: PropertyName = default("\"roasd_click_id\""),
        /// Contact property with the fbclid.
        fbclid_property: PropertyName = default("\"hs_facebook_click_id\""),
        /// Contact property with the id of a Meta lead form's lead.
        lead_id_property: PropertyName = default("\"leadgen_id\""),
        /// Contact property with the ad's id.
        ad_id_property: PropertyName = default("\"ad_id\""),
        /// Contact property with the ad set's id.
        ad_set_id_property: PropertyName = default("\"adset_id\""),
        /// Contact property with the campaign's id.
        campaign_id_property: PropertyName = default("\"campaign_id\""),
        /// Contact property with utm_content, which often holds the ad's id.
        utm_content_property: PropertyName = default("\"utm_content\""),
        /// Contact property with the first page seen, whose query is searched for ids.
        first_url_property: PropertyName = default("\"hs_analytics_first_url\""),
    }
}

section! {
    /// Ceilings and steps of budgets. They are judged again at the moment of execution, against what
    /// really happened.
    pub struct BudgetSettings {
        /// The most that all daily budgets together may come to. It has no default: this is your
        /// money. Meta may spend 1.75 times a daily budget on one day and 7 times it in a week.
        daily_cap: Money = required("\"500.00\"").own().within(0.01, 100_000_000.0),
        /// No daily budget is set below this; Meta's own minimum, where higher, wins.
        min_per_ad_set: Money = default("\"5.00\""),
        /// No ad set's daily budget is set above this.
        max_per_ad_set: Option<Money> = optional("\"200.00\""),
        /// No campaign's daily budget, its own or its ad sets' together, is set above this.
        max_per_campaign: Option<Money> = optional("\"400.00\""),
        /// The most that one day may cost when Meta overspends as far as it may: 1.75 times each daily
        /// budget, 2.1 times where a campaign's ad sets share theirs. Budgets are not raised beyond it.
        max_spend_per_day: Option<Money> = optional("\"900.00\""),
        /// The most that a week may cost, from Sunday on in the account's time, counted the same way;
        /// seven times daily_cap on average when it is not stated.
        max_spend_per_week: Option<Money> = optional("\"3600.00\""),
        /// How far a budget may stray from any value it held within `velocity_window`, however the
        /// moves are cut up.
        max_change: Percentage = default("\"20%\"").within(0.001, 0.5),
        /// The window of `max_change`.
        velocity_window: SignedDuration = default("\"6h\"").within(3_600.0, 604_800.0),
        /// How far a budget may rise above its least value of the last 24 hours. Several steps in a
        /// day look like one jump to Meta and restart its learning.
        max_raise_per_day: Percentage = default("\"19.9%\"").within(0.001, 1.0),
        /// How far a budget may fall below its greatest value of the last 24 hours.
        max_cut_per_day: Percentage = default("\"19%\"").within(0.001, 0.9),
        /// A smaller change than this is not worth a call and is not sent.
        min_change: Percentage = default("\"1%\"").within(0.0, 0.2),
        /// A recorded dither around a target, so that budgets do not look machine-made and the
        /// response to spend can be learned. Never beyond a bound.
        fuzz: Percentage = default("\"3%\"").within(0.0, 0.1),
    }
}

section! {
    /// How often roasd acts, and how fast.
    pub struct LimitSettings {
        /// Actions on a campaign and all below it in an hour; pauses first, then the largest moves.
        actions_per_campaign_per_hour: u32 = default("15").within(1.0, 100.0),
        /// Budget changes of one ad set in 24 hours. Meta locks an ad set after four in an hour, and
        /// each may restart its learning.
        changes_per_ad_set_per_day: u32 = default("1").within(1.0, 24.0),
        /// Budgets changed and objects resumed in 24 hours in the whole account: what one bad day of
        /// roasd can do at most.
        changes_per_day: u32 = default("200").within(1.0, 100_000.0),
        /// Ads paused in 24 hours, kills and rotations together.
        kills_per_day: u32 = default("10").within(0.0, 1_000.0),
        /// Whether the last ad of an ad set that runs may be paused, which stops the ad set.
        pause_last_ad: bool = default("false"),
        /// How long an object that a person edited is left alone.
        human_edit_quiet: SignedDuration = default("\"24h\"").within(0.0, 2_592_000.0),
        /// How long a budget rests after an edit that Meta counts as significant. Meta publishes no such
        /// span; a day lets one day's delivery settle and agrees with one change a day.
        significant_edit_quiet: SignedDuration = default("\"24h\"").within(0.0, 1_209_600.0),
        /// Whether Meta is asked before each raise if it would take it (`validate_only`), once the guards
        /// allow it. Each asking costs a write of the account's allowance.
        ask_before_raise: bool = default("false"),
        /// The random wait before each write.
        jitter: DurationRange = default("\"3s..18s\"").within(0.0, 3_600.0),
        /// The random wait before each read.
        read_jitter: DurationRange = default("\"0s..1s\"").within(0.0, 300.0),
    }
}

section! {
    /// When the data are too poor to act on. A gate holds raises and cuts alike and says why: a
    /// decision on bad data is as dangerous downward as upward.
    pub struct QualitySettings {
        /// The oldest that the last complete read of Meta's figures may be.
        max_insight_age: SignedDuration = default("\"3h\"").within(900.0, 604_800.0),
        /// The oldest that the last complete read of the CRM may be.
        max_crm_age: SignedDuration = default("\"3h\"").within(900.0, 604_800.0),
        /// The least share of conversions that must be tied to an ad.
        min_coverage: Percentage = default("\"30%\"").within(0.0, 1.0),
        /// The trailing time in which that share is taken.
        coverage_window: SignedDuration = default("\"14d\"").within(86_400.0, 7_776_000.0),
        /// With fewer conversions than this in it the share says nothing and is not judged.
        coverage_min_conversions: u32 = default("10").within(1.0, 100_000.0),
        /// No conversion at all for this long …
        silence_window: SignedDuration = default("\"48h\"").within(3_600.0, 2_592_000.0),
        /// … where at least so many were to be expected means broken tracking, not bad ads.
        silence_expected: f64 = default("6.0").within(1.0, 1_000.0),
    }
}

section! {
    /// When the policy may act, by the ad account's own clocks. A person's undo is not bound by it.
    pub struct CalendarSettings {
        /// Days or hours of the week in which nothing is changed: "2026-12-24..2026-12-26",
        /// "Fri 18:00..Mon 08:00".
        blackouts: Vec<Blackout> = default("[]"),
        /// The hours in which somebody looks after the ads. Raises and resumptions wait for them.
        business_hours: Option<BusinessHours> = optional("\"Mon..Fri 09:00..18:00\""),
        /// What waits for business_hours: "raises" (and resumptions), or "everything". A cut or a
        /// pause at night only saves money.
        outside_hours: OutsideHours = default("\"raises\""),
    }
}

words! {
    /// What waits for business hours.
    pub enum OutsideHours {
        /// What would spend more.
        Raises = "raises",
        /// Every change of the policy's.
        Everything = "everything",
    }
}

impl FromNode for Blackout {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        span(
            node,
            cx,
            "\"2026-12-24..2026-12-26\" or \"Fri 18:00..Mon 08:00\"",
        )
    }
}

impl FromNode for BusinessHours {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        span(node, cx, "\"Mon..Fri 09:00..18:00\"")
    }
}

fn span<T: std::str::FromStr<Err = crate::domain::safety::BadSpan>>(
    node: &Node,
    cx: &mut Context<'_>,
    example: &str,
) -> Option<T> {
    let read: Result<T, _> = cx.text(node, "a span of time in quotes", example)?.parse();
    read.map_err(|error| {
        let remedy = format!("write for example {example}");
        cx.fault(FaultKind::BadValue, node, error.to_string(), remedy);
    })
    .ok()
}

section! {
    /// Breakers: what is so unlike the account's own past that roasd stands still until a person has
    /// looked (`roasd resume TENANT`) or time has passed.
    pub struct BreakerSettings {
        /// Spend of so many times what leaves at these hours on an average day of the week before
        /// stops raises and resumptions …
        spend_rate: f64 = default("3.0").within(1.2, 100.0),
        /// … taken over this long …
        spend_window: SignedDuration = default("\"3h\"").within(3_600.0, 86_400.0),
        /// … and only from this share of daily_cap on, since three times little is little.
        spend_least: Percentage = default("\"15%\"").within(0.0, 2.0),
        /// So many times fewer leads than the money bought before stop everything but people: the
        /// price jumped, or the tracking broke …
        cost_jump: f64 = default("4.0").within(1.5, 100.0),
        /// … taken over this long …
        cost_window: SignedDuration = default("\"48h\"").within(3_600.0, 1_209_600.0),
        /// … and only where so many leads were to be expected: 3 where 12 are due is chance once in
        /// four hundred times.
        cost_leads: f64 = default("12.0").within(3.0, 10_000.0),
        /// So many changes refused by Meta stop every write but pauses …
        errors: u32 = default("5").within(2.0, 1_000.0),
        /// … within this time.
        error_window: SignedDuration = default("\"1h\"").within(300.0, 86_400.0),
        /// How long a breaker holds after its cause was last seen.
        hold: SignedDuration = default("\"6h\"").within(600.0, 604_800.0),
    }
}

section! {
    /// When things are done.
    pub struct Schedule {
        /// How often Meta and the CRM are read in full; webhooks come in between.
        sync_every: SignedDuration = default("\"1h\"").within(60.0, 86_400.0),
        /// How often budgets are decided.
        decide_every: SignedDuration = default("\"6h\"").within(300.0, 604_800.0),
        /// How often the queue of changes is looked at, besides when something is put into it.
        executor_poll: SignedDuration = default("\"15s\"").within(1.0, 3_600.0),
    }
}

section! {
    /// How conversions find their ads. See the layers in the README.
    pub struct AttributionSettings {
        /// How long after a click its id still counts (layer 1).
        click_window: SignedDuration = default("\"90d\"").within(3_600.0, 94_608_000.0),
        /// How long after a visit its device's fingerprint counts (layer 2).
        fingerprint_window: SignedDuration = default("\"7d\"").within(3_600.0, 2_592_000.0),
        /// How long after a visit IP, user agent and closeness in time count (layer 3).
        probabilistic_window: SignedDuration = default("\"24h\"").within(600.0, 604_800.0),
        /// A match less sure than this is none.
        min_confidence: f64 = default("0.4").within(0.0, 1.0),
        /// How long a conversion without an ad is tried again as late clicks arrive.
        retry_for: SignedDuration = default("\"7d\"").within(3_600.0, 7_776_000.0),
    }
}

section! {
    /// The decision model. The defaults are those it was measured with.
    pub struct Rules {
        /// Mean days from click to sale; 6 in pipeline mode and 0.25 in direct mode unless stated.
        sales_cycle_days: Option<f64> = optional("6.0").within(0.01, 365.0),
        /// An ad spending more than this may be killed or marked for scaling.
        min_spend_for_kill: Money = default("\"200.00\""),
        /// An ad is killed when its return is below this …
        kill_roas: f64 = default("0.5").within(0.0, 100.0),
        /// … with at least this probability.
        p_kill: f64 = default("0.90").within(0.5, 0.9999),
        /// How an ad is judged for a kill: "posterior", or one of two plainer rules that do worse
        /// with few deals: "raw" (pipeline return below `kill_roas`), "half_average".
        kill_rule: KillRule = default("\"posterior\""),
        /// An ad is marked for scaling when its return is above this …
        scale_roas: f64 = default("3.0").within(0.0, 1_000.0),
        /// … with at least this probability.
        p_scale: f64 = default("0.60").within(0.5, 0.9999),
        /// An ad is paused in favour of the best one of its ad set, once a day, when that is better
        /// with this probability …
        p_rotate: f64 = default("0.70").within(0.5, 0.9999),
        /// … and comes back when the probability falls to this.
        p_return: f64 = default("0.40").within(0.0, 0.5),
        /// Before spending this an ad is not rotated out.
        rotate_spend: Money = default("\"60.00\""),
        /// Spend, in multiples of the reference budget, at which the return is half saturated.
        kappa_mult: f64 = default("2.0").within(0.1, 100.0),
        /// Family levels (campaign, ad set) between ad and account; no gain was shown for them.
        hierarchy: bool = default("false"),
        /// How many nearest ads by text count as look-alikes.
        look_alikes: u32 = default("20").within(0.0, 1_000.0),
        /// Thompson draws averaged per ad: 1 is classic, more is calmer.
        draws: u32 = default("8").within(1.0, 1_000.0),
        /// How long a draw is kept.
        draws_hold: SignedDuration = default("\"24h\"").within(3_600.0, 604_800.0),
        /// Prior rates from click to lead, lead to appointment and so on, in order of the stages;
        /// the model's own unless stated.
        prior_rates: Option<Vec<Share>> = optional("[0.05, 0.12]"),
        /// Where too little is known for a kill.
        ignorance_zone: IgnoranceZone = table(),
        /// How strongly rates are pulled toward their priors, in pseudo-successes.
        priors: PriorStrengths = table(),
        /// How fast old evidence fades, in days. Stages from the appointment on are stretched with
        /// the sales cycle.
        half_lives: HalfLives = table(),
    }
}

section! {
    /// Where too little is known for a kill.
    pub struct IgnoranceZone {
        /// An ad younger than this many days …
        days: f64 = default("2.0").within(0.0, 90.0),
        /// … or with less spend than this is in the zone;
        spend: Money = default("\"100.00\""),
        /// with "and" only an ad that is both, so that a fast spender may be killed the same day,
        /// before any deal could exist.
        join: Join = default("\"or\""),
    }
}

section! {
    /// How strongly rates are pulled toward their priors, in pseudo-successes; clicks in
    /// pseudo-clicks.
    pub struct PriorStrengths {
        /// The account's rates.
        account: f64 = default("4.0").within(0.1, 1_000.0),
        /// A campaign's, toward the account's.
        campaign: f64 = default("10.0").within(0.1, 1_000.0),
        /// An ad set's, toward the campaign's.
        ad_set: f64 = default("6.0").within(0.1, 1_000.0),
        /// An ad's rate of leads; high means that ads hardly differ.
        lead: f64 = default("6.0").within(0.1, 1_000.0),
        /// An ad's rate of appointments.
        appointment: f64 = default("3.0").within(0.1, 1_000.0),
        /// An ad's rates of shows and sales, which hardly differ by ad.
        late: f64 = default("15.0").within(0.1, 1_000.0),
        /// Clicks per unit of money.
        clicks: f64 = default("30.0").within(0.1, 10_000.0),
        /// Look-alike evidence.
        text: f64 = default("3.0").within(0.1, 1_000.0),
        /// How far a low lead price is distrusted: 0 not at all, 1 it says nothing; mean …
        damping: f64 = default("0.5").within(-0.5, 2.0),
        /// … and standard deviation.
        damping_sd: f64 = default("0.5").within(0.01, 5.0),
    }
}

section! {
    /// How fast old evidence fades: days after which it counts half.
    pub struct HalfLives {
        /// Clicks per unit of money.
        cost: f64 = default("5.0").within(0.5, 365.0),
        /// Leads.
        lead: f64 = default("14.0").within(0.5, 365.0),
        /// Appointments.
        appointment: f64 = default("45.0").within(0.5, 730.0),
        /// Shows and sales.
        late: f64 = default("90.0").within(0.5, 1_460.0),
    }
}

words! {
    /// How an ad is judged for a kill.
    pub enum KillRule {
        /// By the probability that its return is too low.
        Posterior = "posterior",
        /// By its raw pipeline return.
        Raw = "raw",
        /// By half the account's average score.
        HalfAverage = "half_average",
    }
}

words! {
    /// How two conditions are joined.
    pub enum Join {
        /// Either is enough.
        Or = "or",
        /// Both are needed.
        And = "and",
    }
}

/// A number from 0 to 1, neither included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

impl FromNode for Share {
    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let number = f64::read(node, path, cx)?;
        if number > 0.0 && number < 1.0 {
            return Some(Self(number));
        }
        cx.fault(
            FaultKind::BadValue,
            node,
            format!("{number} is not a rate"),
            "write a number between 0 and 1",
        );
        None
    }
}

checked_text! {
    /// The internal name of a property in HubSpot: `^[a-z][a-z0-9_]*$`.
    PropertyName, "the internal name of a HubSpot property", "\"roasd_click_id\"",
    |text| {
        text.len() <= 100
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }
}

checked_text! {
    /// The number of a page at Facebook.
    PageNumber, "the number of a Facebook page in quotes", "\"101234567890123\"",
    |text| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

checked_text! {
    /// A currency of the CRM, which may be one that ad accounts do not know.
    CurrencyCode, "a currency's three capital letters", "\"EUR\"",
    |text| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())
}

/// The levels of autonomy by their names.
const LEVELS: [(&str, Autonomy); 3] = [
    ("observe", Autonomy::Observe),
    ("approve", Autonomy::Approve),
    ("auto", Autonomy::Auto),
];

impl FromNode for Autonomy {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        choice(node, cx, &LEVELS)
    }
}

section! {
    /// Autonomy by kind of action.
    pub struct AutonomyByAction {
        /// The level of kinds that are not named.
        default: Autonomy = default("\"observe\""),
        /// Raising a budget.
        raise: Option<Autonomy> = optional("\"approve\""),
        /// Lowering a budget.
        cut: Option<Autonomy> = optional("\"auto\""),
        /// Pausing.
        pause: Option<Autonomy> = optional("\"auto\""),
        /// Resuming what roasd paused.
        resume: Option<Autonomy> = optional("\"approve\""),
    }
}

impl FromNode for AutonomyRules {
    fn keys() -> &'static [Key] {
        &[]
    }

    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let unfolded = node.unfolded();
        let node = unfolded.as_ref().unwrap_or(node);
        if !matches!(node.value, Value::Table(_)) {
            return Autonomy::read(node, path, cx).map(Self::uniform);
        }
        let by = AutonomyByAction::read(node, path, cx)?;
        Some(Self {
            raise: by.raise.unwrap_or(by.default),
            cut: by.cut.unwrap_or(by.default),
            pause: by.pause.unwrap_or(by.default),
            resume: by.resume.unwrap_or(by.default),
        })
    }
}

/// All tenants by id.
pub type Tenants = BTreeMap<TenantId, Tenant>;
