//! What a tenant's stages are worth: its own list, or a template to begin with.

use super::fault::FaultKind;
use super::read::{Context, FromNode, Key, Section, optional, required, section};
use super::tree::{Node, Value, join};
use super::value::words;
use crate::domain::deal::StageValue;
use crate::domain::ids::{StageName, VendorStageId};
use crate::domain::money::{Currency, Money};

/// A stage, with what people call it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What it is worth, and the CRM's ids of it.
    pub value: StageValue,
    /// What it means, for people.
    pub description: Option<String>,
}

words! {
    /// A list of stages to begin with.
    pub enum Template {
        /// Gyms, clinics and the like: an appointment, then a sale of about 15,000.
        Service = "service",
        /// Shops.
        Ecommerce = "ecommerce",
        /// Software sold to companies.
        B2bSaas = "b2b_saas",
    }
}

/// Name, value in hundredths of the main unit, confidence, description.
type Row = (&'static str, i64, f64, &'static str);

const SERVICE: &[Row] = &[
    ("lead", 0, 0.10, "Left their details"),
    (
        "appointment_scheduled",
        225_000,
        0.60,
        "Booked a visit; 15 % of a sale",
    ),
    (
        "show_up",
        900_000,
        0.85,
        "Came to the visit; 60 % of a sale",
    ),
    (
        "closed_won",
        1_500_000,
        1.00,
        "Bought; the deal's own amount wins when it is known",
    ),
    ("closed_lost", 0, 1.00, "Did not buy"),
];

const ECOMMERCE: &[Row] = &[
    ("add_to_cart", 1_500, 0.25, "Put something into the cart"),
    ("initiated_checkout", 4_500, 0.75, "Began to pay"),
    (
        "purchase",
        6_000,
        1.00,
        "Bought; the order's own amount wins when it is known",
    ),
];

const B2B_SAAS: &[Row] = &[
    ("marketing_qualified_lead", 10_000, 0.05, "Fits the profile"),
    (
        "sales_qualified_lead",
        200_000,
        0.20,
        "Sales has talked to them",
    ),
    ("demo_scheduled", 350_000, 0.35, "Booked a demonstration"),
    ("proposal_sent", 600_000, 0.60, "Has an offer"),
    (
        "closed_won",
        1_000_000,
        1.00,
        "Bought; the deal's own amount wins when it is known",
    ),
    ("closed_lost", 0, 1.00, "Did not buy"),
];

impl Template {
    /// The template's stages, in order of the funnel.
    #[must_use]
    pub fn stages(self, currency: Currency) -> Vec<Stage> {
        let rows = match self {
            Self::Service => SERVICE,
            Self::Ecommerce => ECOMMERCE,
            Self::B2bSaas => B2B_SAAS,
        };
        rows.iter()
            .filter_map(|(name, hundredths, confidence, description)| {
                let value = Money::from_minor(hundredths * currency.offset() / 100, currency);
                let description = Some((*description).to_owned());
                Some(stage(
                    StageName::new(name).ok()?,
                    value,
                    *confidence,
                    None,
                    description,
                ))
            })
            .collect()
    }
}

/// Whether a stage of this name is the sale.
fn is_won(name: &str) -> bool {
    matches!(name, "closed_won" | "purchase")
}

/// Whether a stage of this name is the end without a sale.
fn is_lost(name: &str) -> bool {
    matches!(name, "closed_lost" | "lost")
}

fn stage(
    name: StageName,
    value: Money,
    confidence: f64,
    vendor_ids: Option<Vec<VendorStageId>>,
    description: Option<String>,
) -> Stage {
    let vendor_ids = vendor_ids.unwrap_or_else(|| {
        // HubSpot's own ids are the same words written together: `closedwon`.
        let mut names = vec![name.as_str().to_owned(), name.as_str().replace('_', "")];
        names.dedup();
        names
            .iter()
            .filter_map(|id| VendorStageId::new(id).ok())
            .collect()
    });
    Stage {
        value: StageValue {
            is_won: is_won(name.as_str()),
            is_lost: is_lost(name.as_str()),
            name,
            value,
            confidence,
            vendor_ids,
        },
        description,
    }
}

section! {
    /// One stage. `closed_won` (or `purchase`) is the sale, `closed_lost` (or `lost`) the end
    /// without one.
    pub struct StageEntry {
        /// The expected revenue of a deal in this stage: already the expectation.
        value: Money = required("\"2250.00\""),
        /// How sure you are of that, 0 to 1: reported, never multiplied in.
        confidence: f64 = required("0.60").within(0.0, 1.0),
        /// The CRM's id of the stage, or several; its own name when not stated.
        hubspot_stage: Option<StageIds> = optional("\"appointmentscheduled\""),
        /// What it means, for people.
        description: Option<String> = optional("\"Booked a visit\""),
    }
}

/// One or several ids of stages in the CRM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageIds(pub Vec<VendorStageId>);

impl FromNode for StageIds {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        const EXAMPLE: &str = "\"appointmentscheduled\" or [\"1234\", \"5678\"]";
        let items: Vec<&Node> = match &node.value {
            Value::List(items) if !items.is_empty() => items.iter().collect(),
            _ => vec![node],
        };
        let mut ids = Vec::new();
        for item in items {
            let text = cx.text(
                item,
                "the id of a stage in quotes, or a list of them",
                EXAMPLE,
            )?;
            match VendorStageId::new(text) {
                Ok(id) => ids.push(id),
                Err(error) => {
                    cx.fault(
                        FaultKind::BadValue,
                        item,
                        error.to_string(),
                        format!("write {EXAMPLE}"),
                    );
                    return None;
                }
            }
        }
        Some(Self(ids))
    }
}

/// The stages as a tenant lists them, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSettings(pub Vec<Stage>);

impl FromNode for StageSettings {
    /// The keys of each stage.
    fn keys() -> &'static [Key] {
        StageEntry::KEYS
    }

    fn about() -> &'static str {
        StageEntry::ABOUT
    }

    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let unfolded = node.unfolded();
        let node = unfolded.as_ref().unwrap_or(node);
        if !matches!(node.value, Value::Table(_)) {
            cx.wrong_type(
                node,
                "a table of stages",
                "{ closed_won = { value = \"100\", confidence = 1.0 } }",
            );
            return None;
        }
        let before = cx.faults.len();
        let mut stages: Vec<Stage> = Vec::new();
        for entry in node.entries() {
            let name = match StageName::new(&entry.name) {
                Ok(name) => name,
                Err(error) => {
                    cx.fault(
                        FaultKind::BadValue,
                        &entry.node,
                        error.to_string(),
                        "name the stage",
                    );
                    continue;
                }
            };
            let path = join(path, &entry.name);
            let Some(read) = StageEntry::read(&entry.node, &path, cx) else {
                continue;
            };
            let ids = read.hubspot_stage.map(|ids| ids.0);
            let stage = stage(name, read.value, read.confidence, ids, read.description);
            if stage.value.is_lost && !read.value.is_zero() {
                let problem = "a lost deal is worth nothing";
                cx.fault(
                    FaultKind::BadValue,
                    &entry.node,
                    problem,
                    "write value = \"0\"",
                );
            }
            let taken = stages.iter().find_map(|other| {
                let shared = |id: &&VendorStageId| other.value.vendor_ids.contains(id);
                let id = stage.value.vendor_ids.iter().find(shared)?;
                Some((id.clone(), other.value.name.clone()))
            });
            if let Some((id, other)) = taken {
                let problem = format!("the CRM's stage {id} belongs to {other} already");
                cx.fault(
                    FaultKind::Conflict,
                    &entry.node,
                    problem,
                    "give each CRM stage to one stage",
                );
            }
            stages.push(stage);
        }
        if !node.entries().iter().any(|entry| is_won(&entry.name)) {
            let problem = "no stage is the sale";
            cx.fault(
                FaultKind::Missing,
                node,
                problem,
                "name one closed_won (or purchase)",
            );
        }
        (cx.faults.len() == before).then_some(Self(stages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_ends_in_a_sale() {
        for template in [Template::Service, Template::Ecommerce, Template::B2bSaas] {
            let stages = template.stages(Currency::USD);
            let won: Vec<_> = stages.iter().filter(|s| s.value.is_won).collect();
            assert_eq!(won.len(), 1, "{template}");
            assert!(
                stages
                    .iter()
                    .all(|s| s.value.is_lost <= s.value.value.is_zero())
            );
        }
    }

    #[test]
    fn the_service_template_is_the_one_described() {
        let stages = Template::Service.stages(Currency::USD);
        let shown: Vec<String> = stages
            .iter()
            .map(|s| format!("{} {} {}", s.value.name, s.value.value, s.value.confidence))
            .collect();
        assert_eq!(
            shown,
            [
                "lead 0.00 USD 0.1",
                "appointment_scheduled 2250.00 USD 0.6",
                "show_up 9000.00 USD 0.85",
                "closed_won 15000.00 USD 1",
                "closed_lost 0.00 USD 1",
            ]
        );
        let ids: Vec<_> = stages[1]
            .value
            .vendor_ids
            .iter()
            .map(|id| id.as_str())
            .collect();
        assert_eq!(ids, ["appointment_scheduled", "appointmentscheduled"]);
    }
}
