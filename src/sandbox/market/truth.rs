//! What really happened, for judging whoever spends the money.

use crate::domain::ids::{AdId, DealId};
use crate::domain::money::Money;
use crate::domain::time::{self, Timestamp};

use super::super::lone::TrueResponse;
use super::super::{Origins, Totals};
use super::Market;

impl Market {
    /// Sums over the time from the start until `until`, to the whole hour. The market must have
    /// been moved that far.
    pub(in crate::sandbox) fn totals(&self, until: Timestamp) -> Totals {
        let hour = |at: Timestamp| {
            let secs = time::between(self.born, at).as_secs();
            usize::try_from((secs + 3_599) / 3_600).unwrap_or(0)
        };
        let (from, to) = (hour(self.start), hour(until));
        let money = |minor: i64| Money::from_minor(minor, self.currency);
        let mut spend_milli = 0_u64;
        let (mut impressions, mut clicks, mut expected) = (0, 0, 0.0);
        for ad in &self.ads {
            for cell in ad.cells.iter().take(to).skip(from) {
                spend_milli += cell.spend_milli;
                impressions += cell.impressions;
                clicks += cell.clicks;
            }
            expected += ad.expected_minor.iter().take(to).skip(from).sum::<f64>();
        }
        let (mut leads, mut wins) = (0, 0);
        let (mut pipeline, mut seen, mut last) = (0, 0, 0);
        for deal in self.deals.values() {
            let Some((_, clicked)) = deal.click else {
                continue;
            };
            if clicked < self.start || clicked >= until {
                continue;
            }
            last += self.won_minor(deal, Timestamp::MAX).unwrap_or(0);
            let view = deal.view(until).filter(|view| !view.is_archived);
            let Some(view) = view else {
                continue;
            };
            leads += 1;
            if let Some(minor) = self.won_minor(deal, until) {
                wins += 1;
                seen += minor;
                pipeline += minor;
            } else {
                let stage = self.business.stages().get(view.stage);
                pipeline += stage.map_or(0, |s| s.value_minor);
            }
        }
        Totals {
            spend: money(i64::try_from(spend_milli / 1_000).unwrap_or(i64::MAX)),
            impressions,
            clicks,
            leads,
            wins,
            pipeline_value: money(pipeline),
            revenue_seen: money(seen),
            revenue_final: money(last),
            revenue_expected: money(expected.round() as i64),
        }
    }

    /// Which ad won each deal that is in the CRM by `until`.
    pub(in crate::sandbox) fn origins(&self, until: Timestamp) -> Origins {
        let of = |deal: &super::Deal| {
            let ad = deal.click.and_then(|(ad, _)| {
                let node = self.nodes.get(self.ads.get(ad)?.node)?;
                AdId::new(&node.id).ok()
            });
            Some((DealId::new(deal.id.to_string()).ok()?, ad))
        };
        let known = self.deals.values();
        let known = known.filter(|deal| !deal.is_backlog && deal.created <= until);
        Origins(known.filter_map(of).collect())
    }

    /// The amount of a deal that stands won at `at`, in minor units.
    fn won_minor(&self, deal: &super::Deal, at: Timestamp) -> Option<i64> {
        let view = deal.view(at)?;
        let stage = self.business.stages().get(view.stage)?;
        (stage.probability == "1.0").then_some(view.amount_minor.unwrap_or(0))
    }

    /// What a minor unit spent on each ad now brings in expectation, at today's prices: what a
    /// clairvoyant would go by. By node.
    pub(in crate::sandbox) fn true_roas(&self) -> Vec<(usize, f64)> {
        let days = time::days_between(self.born, self.moved_to);
        self.ads
            .iter()
            .map(|ad| {
                let lead = super::journey::expected_minor(&self.funnel, ad.hidden.quality);
                let clicks = self.click_rate(ad, days) * 1_000.0 / self.auction.cpm_minor;
                (ad.node, clicks * ad.hidden.cvr * lead)
            })
            .collect()
    }
}

impl Market {
    /// How each holder's return responds to its budget while the ads of `live` deliver. A campaign
    /// over several ad sets is told by the two first terms of its true response.
    pub(in crate::sandbox) fn true_responses(&self, live: &[bool]) -> Vec<TrueResponse> {
        let days = time::days_between(self.born, self.moved_to);
        let returns: Vec<f64> = self.true_roas().into_iter().map(|(_, roas)| roas).collect();
        let offset = self.currency.offset() as f64;
        self.holders
            .iter()
            .map(|holder| {
                let sets: Vec<(f64, f64, f64)> = holder
                    .sets
                    .iter()
                    .filter_map(|s| {
                        let set = self.sets.get(*s)?;
                        let on: Vec<(f64, f64, f64)> = set
                            .ads
                            .iter()
                            .filter(|a| live.get(**a).copied().unwrap_or(false))
                            .filter_map(|a| {
                                let ad = self.ads.get(*a)?;
                                let ctr = self.click_rate(ad, days);
                                let liking = ad.favour * libm::pow(ctr / self.auction.ctr, 1.5);
                                Some((liking, ctr, *returns.get(*a)?))
                            })
                            .collect();
                        let likings: f64 = on.iter().map(|(l, ..)| l).sum();
                        if likings <= 0.0 {
                            return None;
                        }
                        let roas: f64 = on.iter().map(|(l, _, r)| l * r).sum::<f64>() / likings;
                        let ctr = on.iter().map(|(_, ctr, _)| ctr).sum::<f64>() / on.len() as f64;
                        let weight = set.favour * libm::pow(ctr / self.auction.ctr, 1.2);
                        // Prices are the usual ones at the reference budget.
                        let first = roas * (1.0 + 1.0 / set.depth);
                        Some((weight, first, set.depth * set.reference_minor / offset))
                    })
                    .collect();
                let all: f64 = sets.iter().map(|(weight, ..)| weight).sum();
                let (mut r0, mut bend) = (0.0, 0.0);
                for (weight, first, kappa) in sets {
                    let share = weight / all;
                    r0 += share * first;
                    bend += share * share * first / kappa;
                }
                TrueResponse {
                    r0,
                    kappa: if bend > 0.0 { r0 / bend } else { 1.0 },
                }
            })
            .collect()
    }
}
