//! The three businesses: what they sell, how their sales go, and which ads they run.

use crate::domain::money::Currency;

use super::draw::Draw;

/// What a tenant sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Business {
    /// A gym in New York that sells year plans in about 6 days; budgets on ad sets.
    Gym,
    /// A shop in London that sells within hours; budgets on campaigns.
    Shop,
    /// A clinic in Berlin that sells treatments in about 9 days; budgets on ad sets.
    Clinic,
}

/// One stage of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSpec {
    /// As roasd's configuration names it.
    pub name: &'static str,
    /// As HubSpot names it: what `hubspot_stage` has to say.
    pub hubspot_stage: &'static str,
    /// What a person sees.
    pub label: &'static str,
    /// What a deal in it is worth, in minor units: what `stages.*.value` has to say.
    pub value_minor: i64,
    /// Probability as HubSpot's pipeline states it.
    pub probability: &'static str,
    /// Whether a deal in it is done.
    pub is_closed: bool,
}

const fn stage(
    name: &'static str,
    hubspot_stage: &'static str,
    label: &'static str,
    value_minor: i64,
    probability: &'static str,
    is_closed: bool,
) -> StageSpec {
    StageSpec {
        name,
        hubspot_stage,
        label,
        value_minor,
        probability,
        is_closed,
    }
}

// What stages are worth is what their owners believe, not what is true: an appointment 15 % of a
// sale (it becomes one in about a quarter of cases), a visit 60 %.
const GYM: &[StageSpec] = &[
    stage("lead", "lead", "Lead", 0, "0.02", false),
    stage(
        "appointment_scheduled",
        "appointment_scheduled",
        "Appointment scheduled",
        75_000,
        "0.15",
        false,
    ),
    stage("show_up", "show_up", "Showed up", 300_000, "0.6", false),
    stage("closed_won", "closed_won", "Member", 500_000, "1.0", true),
    stage("closed_lost", "closed_lost", "Lost", 0, "0.0", true),
];

// HubSpot gives stages that people add a number for a name.
const CLINIC: &[StageSpec] = &[
    stage("lead", "148270001", "Anfrage", 0, "0.02", false),
    stage(
        "appointment_scheduled",
        "148270002",
        "Termin vereinbart",
        60_000,
        "0.15",
        false,
    ),
    stage(
        "show_up",
        "148270003",
        "Beratung gehalten",
        240_000,
        "0.6",
        false,
    ),
    stage(
        "closed_won",
        "148270004",
        "Behandlung gebucht",
        400_000,
        "1.0",
        true,
    ),
    stage("closed_lost", "148270005", "Verloren", 0, "0.0", true),
];

const SHOP: &[StageSpec] = &[
    stage("purchase", "purchase", "Purchase", 12_000, "1.0", true),
    stage("closed_lost", "refunded", "Refunded", 0, "0.0", true),
];

/// Who sees an account's ads: what they hold in their hands and how they are online.
#[derive(Debug, Clone, Copy)]
pub(super) struct Audience {
    /// Share of phones that are iPhones.
    pub iphones: f64,
    /// Share of visitors who consent to being recognised.
    pub consents: f64,
    /// Share of homes whose line gets a new address every night.
    pub nightly: f64,
    /// The language, as user agents name it.
    pub language: &'static str,
}

/// How a lead goes through the funnel on average; ads bend it by their quality.
#[derive(Debug, Clone, Copy)]
pub(super) struct Funnel {
    /// Probability of each step: lead to appointment, to show, to sale. In a shop: none.
    pub steps: &'static [f64],
    /// Factor on each of them.
    pub steps_factor: f64,
    /// Mean days of each step.
    pub days: &'static [f64],
    /// Factor on each of them.
    pub days_factor: f64,
    /// Mean days until a lead is marked lost.
    pub lost_days: f64,
    /// Amount of a sale, in minor units, and the relative spread of it.
    pub amount_minor: f64,
    pub amount_spread: f64,
}

/// What comes without any ad.
#[derive(Debug, Clone, Copy)]
pub(super) struct Organic {
    pub deals_per_day: f64,
    /// People who open a page and leave nothing.
    pub looks_per_day: f64,
}

/// How an account's auctions go on average.
#[derive(Debug, Clone, Copy)]
pub(super) struct Auction {
    /// Price of a thousand impressions, in minor units.
    pub cpm_minor: f64,
    /// Clicks of an impression.
    pub ctr: f64,
    /// Leads (orders) of a click.
    pub cvr: f64,
    /// Spread (standard deviation of the logarithm) between ad sets and between ads.
    pub set_spread: f64,
    pub ad_spread: f64,
    /// Impressions after which an ad has lost about two thirds of what fatigue can take.
    pub fatigue_impressions: f64,
}

/// A text that an ad can carry, and what its theme is worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub name: &'static str,
    pub headline: &'static str,
    pub body: &'static str,
    /// Added to the logarithm of the click-through rate.
    pub draws: f64,
    /// Added to the logarithm of the quality of its leads.
    pub sells: f64,
}

const fn theme(
    name: &'static str,
    headline: &'static str,
    body: &'static str,
    draws: f64,
    sells: f64,
) -> Theme {
    Theme {
        name,
        headline,
        body,
        draws,
        sells,
    }
}

const GYM_THEMES: &[Theme] = &[
    theme(
        "coach",
        "A coach who knows your name",
        "Personal training with a plan made for you. Meet your coach, set a goal, and see progress every week. Book a tour.",
        -0.05,
        0.55,
    ),
    theme(
        "story",
        "How Maria lost 18 pounds after 50",
        "Real members, real results. Maria trained twice a week with us and feels ten years younger. Read her story and plan yours.",
        0.10,
        0.35,
    ),
    theme(
        "offer",
        "First month for one dollar",
        "Join this week and pay one dollar for your first month. No commitment, cancel any time. Offer ends Sunday.",
        0.40,
        -0.25,
    ),
    theme(
        "clickbait",
        "Win a FREE year of gym!",
        "Tap to enter the giveaway. One lucky winner trains free for a whole year. Takes ten seconds, tag a friend!",
        0.95,
        -2.20,
    ),
    theme(
        "community",
        "Train with people like you",
        "Small groups, friendly faces, all levels welcome. Come to a class and stay for the company.",
        0.0,
        0.05,
    ),
];

const CLINIC_THEMES: &[Theme] = &[
    theme(
        "expert",
        "Beratung durch die Chefärztin",
        "Ausführliche Beratung, ehrliche Einschätzung, klare Kosten. Vereinbaren Sie einen Termin in unserer Praxis in Berlin.",
        -0.10,
        0.55,
    ),
    theme(
        "finance",
        "Ihre Behandlung in Raten",
        "Faire Raten ohne Zinsen. Wir besprechen Ihren Plan in Ruhe, Schritt für Schritt.",
        0.10,
        0.20,
    ),
    theme(
        "before",
        "Vorher und nachher",
        "Sehen Sie, was unsere Patienten sagen. Echte Ergebnisse aus zehn Jahren Erfahrung.",
        0.30,
        -0.10,
    ),
    theme(
        "clickbait",
        "Gratis Beratung gewinnen!",
        "Jetzt mitmachen und gewinnen! Nur heute: eine kostenlose Beratung für alle, die schnell klicken.",
        0.90,
        -2.00,
    ),
];

const SHOP_THEMES: &[Theme] = &[
    theme(
        "quality",
        "Boots made to be resoled",
        "Full-grain leather, stitched by hand in Northampton. Built to last twenty years, not two seasons.",
        -0.05,
        0.45,
    ),
    theme(
        "review",
        "Rated 4.9 by 12,000 walkers",
        "\"The only pair I pack.\" Free returns within 60 days, so you can try them at home.",
        0.10,
        0.25,
    ),
    theme(
        "sale",
        "Up to 40% off this week",
        "Our summer colours have to go. Free delivery on every order over 50 pounds.",
        0.40,
        -0.10,
    ),
    theme(
        "clickbait",
        "You won't believe these prices",
        "Everyone is talking about this. Tap before it is gone!",
        0.85,
        -1.70,
    ),
];

/// One ad set as it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetPlan {
    pub name: &'static str,
    /// At how many times the budget it begins with its audience is half used up: a broad one has
    /// more to give than the few who were on the site already.
    pub depth: f64,
    /// Index into the themes, one for each ad.
    pub themes: &'static [usize],
}

/// One campaign as it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct CampaignPlan {
    pub name: &'static str,
    /// Daily budget in minor units; of the campaign, or of each of its ad sets.
    pub daily_budget_minor: i64,
    pub sets: &'static [SetPlan],
}

const fn set(name: &'static str, depth: f64, themes: &'static [usize]) -> SetPlan {
    SetPlan {
        name,
        depth,
        themes,
    }
}

// Budgets are such as a small business with an agency spends: about 1,000 a day.
const GYM_PLAN: &[CampaignPlan] = &[
    CampaignPlan {
        name: "Membership leads",
        daily_budget_minor: 20_000,
        sets: &[
            set("Women 35-54, 5 miles", 2.0, &[0, 1, 3]),
            set("Men 25-44, 5 miles", 2.0, &[2, 4]),
            set("Lookalike of members", 1.8, &[0, 2, 3]),
        ],
    },
    CampaignPlan {
        name: "Personal training leads",
        daily_budget_minor: 20_000,
        sets: &[
            set("Over 50, 10 miles", 1.6, &[1, 0]),
            set("Broad", 3.0, &[3, 4, 2]),
            set("Visitors of the site", 1.0, &[0, 4]),
        ],
    },
];

const CLINIC_PLAN: &[CampaignPlan] = &[
    CampaignPlan {
        name: "Beratung Berlin",
        daily_budget_minor: 22_000,
        sets: &[
            set("Frauen 30-55", 2.0, &[0, 1, 3]),
            set("Männer 35-60", 1.8, &[2, 0]),
            set("Ähnliche Zielgruppe", 1.8, &[1, 3, 2]),
        ],
    },
    CampaignPlan {
        name: "Raten",
        daily_budget_minor: 22_000,
        sets: &[
            set("Breit", 3.0, &[1, 2, 3]),
            set("Besucher der Seite", 1.0, &[0, 1]),
        ],
    },
];

const SHOP_PLAN: &[CampaignPlan] = &[
    CampaignPlan {
        name: "Boots prospecting",
        daily_budget_minor: 45_000,
        sets: &[
            set("Walkers", 2.0, &[0, 1, 3]),
            set("Commuters", 2.0, &[2, 0]),
            set("Broad", 3.0, &[3, 2, 1]),
        ],
    },
    CampaignPlan {
        name: "Boots gifts",
        daily_budget_minor: 45_000,
        sets: &[
            set("Gift season", 2.0, &[2, 3]),
            set("Lookalike of buyers", 1.8, &[0, 1]),
        ],
    },
];

impl Business {
    /// IANA name of the account's time zone.
    #[must_use]
    pub const fn zone(self) -> &'static str {
        match self {
            Self::Gym => "America/New_York",
            Self::Shop => "Europe/London",
            Self::Clinic => "Europe/Berlin",
        }
    }

    /// The account's currency: USD, GBP, EUR.
    #[must_use]
    pub fn currency(self) -> Currency {
        let code = match self {
            Self::Gym => "USD",
            Self::Shop => "GBP",
            Self::Clinic => "EUR",
        };
        Currency::new(code).unwrap_or(Currency::USD)
    }

    /// The stages of its pipeline, in order; what roasd's `[tenants.*.stages]` has to map.
    #[must_use]
    pub const fn stages(self) -> &'static [StageSpec] {
        match self {
            Self::Gym => GYM,
            Self::Shop => SHOP,
            Self::Clinic => CLINIC,
        }
    }

    /// The id of its deal pipeline.
    #[must_use]
    pub const fn pipeline(self) -> &'static str {
        match self {
            Self::Gym | Self::Clinic => "default",
            Self::Shop => "ecommerce",
        }
    }

    /// Days from a click to the sale, roughly.
    #[must_use]
    pub const fn cycle_days(self) -> f64 {
        match self {
            Self::Gym => 6.0,
            Self::Shop => 0.3,
            Self::Clinic => 9.0,
        }
    }

    /// Whether budgets are the campaigns' (Advantage campaign budget).
    #[must_use]
    pub const fn has_campaign_budgets(self) -> bool {
        matches!(self, Self::Shop)
    }

    /// The daily budgets that the account begins with, summed, in minor units.
    #[must_use]
    pub fn daily_budgets_minor(self) -> i64 {
        self.plan()
            .iter()
            .map(|c| {
                let holders = if self.has_campaign_budgets() {
                    1
                } else {
                    c.sets.len()
                };
                c.daily_budget_minor * i64::try_from(holders).unwrap_or(1)
            })
            .sum()
    }

    pub(super) const fn plan(self) -> &'static [CampaignPlan] {
        match self {
            Self::Gym => GYM_PLAN,
            Self::Shop => SHOP_PLAN,
            Self::Clinic => CLINIC_PLAN,
        }
    }

    pub(super) const fn themes(self) -> &'static [Theme] {
        match self {
            Self::Gym => GYM_THEMES,
            Self::Shop => SHOP_THEMES,
            Self::Clinic => CLINIC_THEMES,
        }
    }

    pub(super) const fn objective(self) -> (&'static str, &'static str) {
        match self {
            Self::Gym | Self::Clinic => ("OUTCOME_LEADS", "OFFSITE_CONVERSIONS"),
            Self::Shop => ("OUTCOME_SALES", "OFFSITE_CONVERSIONS"),
        }
    }

    pub(super) const fn landing_page(self) -> &'static str {
        match self {
            Self::Gym => "https://gym.example.com/join",
            Self::Shop => "https://shop.example.com/boots",
            Self::Clinic => "https://praxis.example.com/beratung",
        }
    }

    /// Shares of iPhones are those of the three countries. Where a visitor has to say yes first
    /// (Germany), fewer do than where silence is one (New York). Some German lines still get a new
    /// address every night.
    pub(super) const fn audience(self) -> Audience {
        match self {
            Self::Gym => Audience {
                iphones: 0.57,
                consents: 0.92,
                nightly: 0.02,
                language: "en_US",
            },
            Self::Shop => Audience {
                iphones: 0.51,
                consents: 0.80,
                nightly: 0.05,
                language: "en_GB",
            },
            Self::Clinic => Audience {
                iphones: 0.40,
                consents: 0.68,
                nightly: 0.25,
                language: "de_DE",
            },
        }
    }

    /// A year with a trainer costs about what two sessions a week do, a treatment as much as a few
    /// implants or a course of laser sessions, a pair of welted boots what such boots cost. About
    /// one lead in seventeen buys, which is usual where people first come to see and then sign. All
    /// of it together with [`Self::auction`] makes a euro spent bring back between one and three:
    /// some ads carry the others, and who runs the account has something to decide.
    pub(super) const fn funnel(self) -> Funnel {
        match self {
            Self::Gym => Funnel {
                steps: &[0.22, 0.45, 0.60],
                steps_factor: 1.0,
                days_factor: 1.0,
                days: &[1.5, 2.0, 2.5],
                lost_days: 4.0,
                amount_minor: 500_000.0,
                amount_spread: 0.2,
            },
            Self::Clinic => Funnel {
                steps: &[0.25, 0.45, 0.55],
                steps_factor: 1.0,
                days_factor: 1.0,
                days: &[2.0, 3.0, 4.0],
                lost_days: 6.0,
                amount_minor: 400_000.0,
                amount_spread: 0.3,
            },
            Self::Shop => Funnel {
                steps: &[],
                steps_factor: 1.0,
                days_factor: 1.0,
                days: &[],
                lost_days: 6.0,
                amount_minor: 12_000.0,
                amount_spread: 0.4,
            },
        }
    }

    pub(super) const fn organic(self) -> Organic {
        match self {
            Self::Gym => Organic {
                deals_per_day: 1.8,
                looks_per_day: 90.0,
            },
            Self::Clinic => Organic {
                deals_per_day: 1.6,
                looks_per_day: 70.0,
            },
            Self::Shop => Organic {
                deals_per_day: 5.0,
                looks_per_day: 260.0,
            },
        }
    }

    /// New York and Berlin are dear: a click is four and three in the account's money, and a lead
    /// that asks to be called more than a hundred, so that budgets of the plans bring about seven
    /// leads a day. A shop's click costs well over a pound, and one in 65 orders. Ad sets and
    /// ads differ by a factor of two either way, which leaves clear losers beside clear winners. An
    /// ad is tired after a few months at its share of such a budget.
    pub(super) const fn auction(self) -> Auction {
        match self {
            Self::Gym => Auction {
                cpm_minor: 2_600.0,
                ctr: 0.006,
                cvr: 0.018,
                set_spread: 0.55,
                ad_spread: 0.45,
                fatigue_impressions: 200_000.0,
            },
            Self::Clinic => Auction {
                cpm_minor: 2_400.0,
                ctr: 0.007,
                cvr: 0.019,
                set_spread: 0.55,
                ad_spread: 0.45,
                fatigue_impressions: 200_000.0,
            },
            Self::Shop => Auction {
                cpm_minor: 1_100.0,
                ctr: 0.008,
                cvr: 0.0155,
                set_spread: 0.45,
                ad_spread: 0.40,
                fatigue_impressions: 800_000.0,
            },
        }
    }
}

/// How a market differs from what its business is usually like, as factors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Character {
    /// On leads per click.
    pub leads: f64,
    /// On the probability of each step from lead to sale.
    pub steps: f64,
    /// On the days that each step takes.
    pub days: f64,
    /// On the spread of sales' amounts.
    pub amounts: f64,
    /// On how much ad sets differ, and ads within them.
    pub set_spread: f64,
    /// On how much ads of one ad set differ.
    pub ad_spread: f64,
    /// On what a text's theme does to clicks and to the worth of its leads.
    pub themes: f64,
    /// On the impressions that tire an ad.
    pub freshness: f64,
    /// On how much audiences have to give beyond the budget they begin with.
    pub depth: f64,
    /// On every budget.
    pub budgets: f64,
}

impl Character {
    /// As the business is.
    pub const USUAL: Self = Self {
        leads: 1.0,
        steps: 1.0,
        days: 1.0,
        amounts: 1.0,
        set_spread: 1.0,
        ad_spread: 1.0,
        themes: 1.0,
        freshness: 1.0,
        depth: 1.0,
        budgets: 1.0,
    };

    pub(super) fn auction(self, usual: Auction) -> Auction {
        Auction {
            cvr: usual.cvr * self.leads,
            set_spread: usual.set_spread * self.set_spread,
            ad_spread: usual.ad_spread * self.ad_spread,
            fatigue_impressions: usual.fatigue_impressions * self.freshness,
            ..usual
        }
    }

    pub(super) fn funnel(self, usual: Funnel) -> Funnel {
        Funnel {
            steps_factor: usual.steps_factor * self.steps,
            days_factor: usual.days_factor * self.days,
            lost_days: usual.lost_days * self.days,
            amount_spread: usual.amount_spread * self.amounts,
            ..usual
        }
    }

    pub(super) fn theme(self, usual: &Theme) -> Theme {
        Theme {
            draws: usual.draws * self.themes,
            sells: usual.sells * self.themes,
            ..*usual
        }
    }
}

/// What nobody outside knows about one ad.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hidden {
    /// Clicks of an impression, when fresh.
    pub ctr: f64,
    /// Leads of a click.
    pub cvr: f64,
    /// Factor on the probability of each further step.
    pub quality: f64,
    /// Relative swing of the click-through rate, its period in days and its phase.
    pub swing: f64,
    pub period_days: f64,
    pub phase: f64,
}

impl Hidden {
    /// The truth about an ad of `theme` in an ad set whose audience sells by `set_log`.
    pub(super) fn draw(
        auction: &Auction,
        funnel: &Funnel,
        theme: &Theme,
        set_log: f64,
        draw: Draw,
    ) -> Self {
        let own = draw.named("quality").normal() * auction.ad_spread;
        let looks = draw.named("looks").normal() * 0.25;
        // Audience and text weigh a little on how many of the clicks ask, and much on who asks: that
        // is why cheap leads can be dear. Who orders in a shop has paid, so there all of it shows
        // in the orders.
        let worth = set_log + theme.sells + own;
        let asks = if funnel.steps.is_empty() { 1.0 } else { 0.2 };
        Self {
            ctr: auction.ctr * libm::exp(theme.draws + looks),
            cvr: (auction.cvr * libm::exp(asks * worth)).clamp(0.000_5, 0.3),
            quality: libm::exp((1.0 - asks) * worth),
            swing: 0.1 + 0.15 * draw.named("swing").unit(),
            period_days: 18.0 + 30.0 * draw.named("period").unit(),
            phase: draw.named("phase").unit(),
        }
    }

    /// The factor of drift at `days` after the beginning of the world.
    pub(super) fn drift(&self, days: f64) -> f64 {
        let turn = std::f64::consts::TAU * (days / self.period_days + self.phase);
        1.0 + self.swing * libm::sin(turn)
    }
}

/// How much of its click-through rate an ad keeps after `impressions`: from 1 down to 0.5.
pub(super) fn freshness(auction: &Auction, impressions: u64) -> f64 {
    0.5 + 0.5 * libm::exp(-(impressions as f64) / auction.fatigue_impressions)
}
