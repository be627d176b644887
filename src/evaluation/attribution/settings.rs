//! The made-up tenants.

use super::people::Population;

/// What a made-up tenant is like. No learner reads this.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub(super) name: &'static str,
    /// How long it is looked at.
    pub(super) days: f64,
    pub(super) ads: usize,
    pub(super) clicks_per_day: f64,
    /// The share of clicks by somebody who clicked an ad within days.
    pub(super) clicks_again: f64,
    /// Visits that name no ad and send no form.
    pub(super) other_visits_per_day: f64,
    /// Who consents to being recognised.
    pub(super) consents: f64,
    /// Deals per click on a middling ad.
    pub(super) deals_per_click: f64,
    /// How deals that an ad caused are remembered, by share; the rest called.
    pub(super) landing: f64,
    pub(super) kept: f64,
    pub(super) crm_only: f64,
    pub(super) lost: f64,
    /// Deals that no ad caused: how many, and the shares of them that called, that came by a
    /// forwarded link, and that live with somebody who clicked.
    pub(super) organic_per_day: f64,
    pub(super) organic_calls: f64,
    pub(super) forwarded: f64,
    pub(super) households: f64,
    pub(super) population: Population,
}

impl Settings {
    /// What the tenant stands for.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

const CITY: Population = Population {
    models: 900,
    popularity: 0.95,
    clicks_in_app: 0.86,
    others_in_app: 0.05,
    homes: 90_000,
    gateways: 96,
    offices: 60,
    line: [0.62, 0.28, 0.10],
    same_browser: 0.72,
    own_browser: 0.14,
    same_line: 0.55,
    delay: [(0.40, 0.25), (0.35, 5.0), (0.25, 40.0)],
};

const GYM: Settings = Settings {
    name: "gym",
    days: 84.0,
    ads: 18,
    clicks_per_day: 450.0,
    clicks_again: 0.05,
    other_visits_per_day: 300.0,
    consents: 0.78,
    deals_per_click: 0.045,
    landing: 0.42,
    kept: 0.12,
    crm_only: 0.14,
    lost: 0.24,
    organic_per_day: 12.0,
    organic_calls: 0.12,
    forwarded: 0.012,
    households: 0.02,
    population: CITY,
};

impl Settings {
    /// Tenants that were looked at while the model was made: constants were chosen on the first three,
    /// and mistakes found on the others.
    pub(super) const TUNED: [Self; 7] = [
        GYM,
        Self {
            name: "shop",
            clicks_per_day: 1_400.0,
            deals_per_click: 0.03,
            other_visits_per_day: 900.0,
            organic_per_day: 30.0,
            ads: 30,
            population: Population {
                delay: [(0.65, 0.2), (0.25, 4.0), (0.10, 40.0)],
                ..CITY
            },
            ..GYM
        },
        Self {
            name: "carriers",
            clicks_per_day: 800.0,
            other_visits_per_day: 350.0,
            organic_per_day: 15.0,
            population: Population {
                gateways: 40,
                line: [0.40, 0.52, 0.08],
                popularity: 1.1,
                ..CITY
            },
            ..GYM
        },
        Self {
            name: "clinic",
            clicks_per_day: 380.0,
            other_visits_per_day: 420.0,
            deals_per_click: 0.05,
            organic_per_day: 14.0,
            consents: 0.70,
            landing: 0.45,
            lost: 0.22,
            ads: 12,
            population: Population {
                models: 1_300,
                same_browser: 0.66,
                own_browser: 0.18,
                line: [0.68, 0.22, 0.10],
                homes: 60_000,
                ..CITY
            },
            ..GYM
        },
        Self {
            name: "shop",
            clicks_per_day: 1_100.0,
            deals_per_click: 0.04,
            other_visits_per_day: 1_200.0,
            organic_per_day: 40.0,
            consents: 0.84,
            clicks_again: 0.08,
            ads: 40,
            population: Population {
                delay: [(0.60, 0.3), (0.28, 6.0), (0.12, 50.0)],
                gateways: 140,
                ..CITY
            },
            ..GYM
        },
        Self {
            name: "popular phones",
            clicks_per_day: 600.0,
            organic_per_day: 20.0,
            population: Population {
                models: 400,
                popularity: 1.15,
                ..CITY
            },
            ..GYM
        },
        Self {
            name: "carrier NAT",
            clicks_per_day: 700.0,
            other_visits_per_day: 400.0,
            organic_per_day: 16.0,
            households: 0.03,
            population: Population {
                gateways: 30,
                line: [0.45, 0.47, 0.08],
                same_line: 0.62,
                ..CITY
            },
            ..GYM
        },
    ];

    /// Tenants that figures are reported on. They were made up when the model was finished, and it was
    /// not changed after it had seen them.
    pub(super) const REPORTED: [Self; 4] = [
        Self {
            name: "dentist",
            ads: 9,
            clicks_per_day: 290.0,
            clicks_again: 0.07,
            other_visits_per_day: 510.0,
            consents: 0.66,
            deals_per_click: 0.055,
            landing: 0.38,
            kept: 0.15,
            crm_only: 0.12,
            lost: 0.26,
            organic_per_day: 17.0,
            organic_calls: 0.20,
            forwarded: 0.018,
            households: 0.025,
            population: Population {
                models: 1_050,
                popularity: 1.0,
                homes: 45_000,
                gateways: 70,
                line: [0.70, 0.19, 0.11],
                same_browser: 0.69,
                own_browser: 0.16,
                delay: [(0.35, 0.4), (0.40, 7.0), (0.25, 48.0)],
                ..CITY
            },
            ..GYM
        },
        Self {
            name: "furniture",
            ads: 52,
            clicks_per_day: 1_600.0,
            clicks_again: 0.06,
            other_visits_per_day: 2_100.0,
            consents: 0.81,
            deals_per_click: 0.025,
            organic_per_day: 45.0,
            forwarded: 0.02,
            population: Population {
                models: 1_500,
                homes: 150_000,
                gateways: 180,
                line: [0.58, 0.31, 0.11],
                delay: [(0.30, 0.3), (0.35, 9.0), (0.35, 60.0)],
                ..CITY
            },
            ..GYM
        },
        Self {
            name: "tickets",
            ads: 24,
            clicks_per_day: 950.0,
            clicks_again: 0.10,
            other_visits_per_day: 700.0,
            consents: 0.86,
            deals_per_click: 0.05,
            landing: 0.48,
            lost: 0.20,
            organic_per_day: 35.0,
            organic_calls: 0.02,
            households: 0.04,
            population: Population {
                models: 520,
                popularity: 1.1,
                clicks_in_app: 0.93,
                line: [0.36, 0.58, 0.06],
                gateways: 55,
                delay: [(0.75, 0.15), (0.18, 3.0), (0.07, 30.0)],
                ..CITY
            },
            ..GYM
        },
        Self {
            name: "law firm",
            ads: 6,
            clicks_per_day: 240.0,
            other_visits_per_day: 260.0,
            consents: 0.73,
            deals_per_click: 0.06,
            crm_only: 0.18,
            lost: 0.30,
            organic_per_day: 9.0,
            organic_calls: 0.25,
            population: Population {
                homes: 70_000,
                offices: 240,
                line: [0.48, 0.22, 0.30],
                same_line: 0.48,
                ..CITY
            },
            ..GYM
        },
    ];
}
