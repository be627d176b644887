//! Exports of Ads Manager, and files like them, as rows of ads with exact figures.

mod cells;
mod reading;
mod sums;

use std::collections::{BTreeMap, BTreeSet};

use super::numbers::Decimal;
use super::sheet::Sheet;
use super::{ImportError, ImportOptions, TakenColumn, columns};
use crate::domain::ids::{AdId, AdSetId, CampaignId, StageName};
use crate::domain::money::Currency;
use crate::domain::time::Date;

use reading::Reading;

/// The stage that a lead of Ads Manager counts for.
pub const LEAD: &str = "lead";
/// The stage that a sale of Ads Manager counts for.
pub const CLOSED_WON: &str = "closed_won";

/// An account as a file shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountExport {
    /// The columns used and what each was taken for, in the order of the file.
    pub columns_taken: Vec<TakenColumn>,
    /// Headers of the columns not used.
    pub ignored: Vec<String>,
    /// What was decided, assumed or left out, in words.
    pub notes: Vec<String>,
    /// What the amounts are in.
    pub currency: Currency,
    /// The rows, in the order of the file.
    pub rows: Vec<AdRow>,
    /// The stages that the file counts.
    pub stages: Vec<StageName>,
}

/// One row of the file: an ad over its life, or on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct AdRow {
    /// The line of the file.
    pub line: u64,
    /// The campaign: its id, else its name.
    pub campaign: CampaignId,
    /// The campaign's name, else its id.
    pub campaign_name: String,
    /// The ad set: its id, else the campaign and its name; the campaign where the file has none.
    pub ad_set: AdSetId,
    /// The ad set's name, else its id.
    pub ad_set_name: String,
    /// The ad: its id, else the ad set and its name; the ad set where the file has none.
    pub ad: AdId,
    /// The ad's name, else its id.
    pub ad_name: String,
    /// The day, where rows are by day.
    pub day: Option<Date>,
    /// How many days the row covers, where the file says so.
    pub days: Option<f64>,
    /// Times shown.
    pub impressions: Decimal,
    /// Clicks, of the kind told in the notes.
    pub clicks: Decimal,
    /// Spend in main units, exactly as written.
    pub spend: Decimal,
    /// How many reached a stage.
    pub counts: BTreeMap<StageName, Decimal>,
    /// Sum of the amounts of its sales, in main units.
    pub value: Option<Decimal>,
    /// Whether it delivers, where the file says so.
    pub delivery: Delivery,
}

/// Whether an ad delivered when the file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It delivers.
    Live,
    /// Somebody switched it, its ad set or its campaign off.
    Off,
    /// It is archived, deleted or complete.
    Ended,
    /// The file does not say.
    Unknown,
}

/// The figures of a campaign, to be checked against the account.
#[derive(Debug, Clone, PartialEq)]
pub struct CampaignTotals {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its name.
    pub name: String,
    /// How many different ads it has.
    pub ads: usize,
    /// Times shown.
    pub impressions: Decimal,
    /// Clicks.
    pub clicks: Decimal,
    /// Spend in main units, exact.
    pub spend: Decimal,
    /// How many reached each stage.
    pub counts: BTreeMap<StageName, Decimal>,
    /// Sum of the amounts of its sales, where the file has them.
    pub value: Option<Decimal>,
}

impl AccountExport {
    /// The figures of each campaign, by id: numbers by size, before text.
    #[must_use]
    pub fn totals(&self) -> Vec<CampaignTotals> {
        let mut campaigns: BTreeMap<&CampaignId, (CampaignTotals, BTreeSet<&AdId>)> =
            BTreeMap::new();
        for row in &self.rows {
            let (sum, ads) = campaigns.entry(&row.campaign).or_insert_with(|| {
                let empty = CampaignTotals {
                    campaign: row.campaign.clone(),
                    name: row.campaign_name.clone(),
                    ads: 0,
                    impressions: Decimal::ZERO,
                    clicks: Decimal::ZERO,
                    spend: Decimal::ZERO,
                    counts: BTreeMap::new(),
                    value: None,
                };
                (empty, BTreeSet::new())
            });
            ads.insert(&row.ad);
            sum.impressions += row.impressions;
            sum.clicks += row.clicks;
            sum.spend += row.spend;
            for (stage, count) in &row.counts {
                *sum.counts.entry(stage.clone()).or_default() += *count;
            }
            if let Some(value) = row.value {
                sum.value = Some(sum.value.unwrap_or_default() + value);
            }
        }
        let mut totals: Vec<CampaignTotals> = campaigns
            .into_values()
            .map(|(sum, ads)| CampaignTotals {
                ads: ads.len(),
                ..sum
            })
            .collect();
        totals.sort_by_key(|t| {
            let number: Option<u128> = t.campaign.as_str().parse().ok();
            (number.is_none(), number, t.campaign.clone())
        });
        totals
    }

    /// Whether rows are by day.
    #[must_use]
    pub fn is_daily(&self) -> bool {
        self.rows.iter().any(|r| r.day.is_some())
    }
}

/// Reads an ads export.
///
/// # Errors
/// When it is no such file, lacks columns, or has cells that cannot be read.
pub fn read_ads(bytes: &[u8], options: &ImportOptions) -> Result<AccountExport, ImportError> {
    let known = |cells: &[String]| {
        cells
            .iter()
            .filter(|c| columns::ads_field(c).is_some())
            .count()
    };
    let sheet = Sheet::read(bytes, &known)?;
    let mut reading = Reading::new(&sheet, options)?;
    reading.forget_damaged_ids();
    let rows = reading.rows()?;
    reading.finish(rows)
}

#[cfg(test)]
mod tests {
    use super::super::dates::DateOrder;
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<AccountExport, ImportError> {
        read_ads(text.as_bytes(), &ImportOptions::default())
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    /// Campaign, ads, spend and leads of each campaign.
    fn check(text: &str, expected: &[&str]) -> AccountExport {
        let export = read(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let lead = StageName::new(LEAD).unwrap();
        let totals: Vec<String> = export
            .totals()
            .iter()
            .map(|t| {
                let leads = t.counts.get(&lead).copied().unwrap_or_default();
                format!("{} {} {} {leads}", t.campaign, t.ads, t.spend)
            })
            .collect();
        assert_eq!(totals, expected, "{text}");
        export
    }

    #[test]
    fn an_english_export_with_quoted_thousands_is_read() {
        let export = check(
            "Campaign name,Ad set name,Ad name,Amount spent (USD),Impressions,Reach,Link clicks,Results\n\
             Gym,Set 1,Ad 1,\"1,234.56\",\"12,345\",\"9,000\",120,10\n\
             Gym,Set 1,Ad 2,0.44,999,900,3,\n\
             ,,,\"1,235.00\",\"13,344\",\"9,500\",123,10\n",
            &["Gym 2 1235 10"],
        );
        assert_eq!(export.currency, Currency::USD);
        assert_eq!(export.ignored, ["Reach"]);
        assert!(
            export
                .notes
                .iter()
                .any(|n| n.contains("line 4 sums up 2 rows, and its spend agrees")),
            "{:?}",
            export.notes
        );
        assert!(export.notes.iter().any(|n| n.contains("taken for leads")));
        assert_eq!(export.columns_taken[3].meaning, "spend");
        assert_eq!(export.rows[0].ad.as_str(), "Gym / Set 1 / Ad 1");
    }

    #[test]
    fn a_german_export_with_semicolons_and_decimal_commas_is_read() {
        let export = check(
            "\u{feff}Kampagnenname;Anzeigengruppenname;Anzeigenname;Tag;Ausgegebener Betrag (EUR);Impressionen;Link-Klicks;Ergebnisse;Ergebnistyp\n\
             Studio;A;Eins;23.11.2026;1.234,50;12.345;120;10;Leads (Formular)\n\
             Studio;A;Eins;24.11.2026;2.345;1.345;20;1;Leads (Formular)\n\
             Shop;B;Zwei;24.11.2026;5,5;100;2;7;Link-Klicks\n",
            &["Shop 1 5.5 0", "Studio 1 3579.5 11"],
        );
        assert_eq!(export.currency, Currency::EUR);
        assert!(export.is_daily());
        assert!(
            export.notes.iter().any(|n| n.contains("\"Link-Klicks\"")),
            "{:?}",
            export.notes
        );
    }

    #[test]
    fn french_spanish_and_portuguese_exports_are_read() {
        check(
            "Nom de la campagne;Nom de l'ensemble de publicités;Nom de la publicité;Jour;Montant dépensé (EUR);Impressions;Clics sur un lien;Résultats\n\
             Salle;E;P;24/11/2026;1\u{202f}234,56;12\u{202f}000;50;4\n",
            &["Salle 1 1234.56 4"],
        );
        check(
            "Nombre de la campaña,Nombre del anuncio,Día,Importe gastado (MXN),Impresiones,Clics en el enlace,Clientes potenciales\n\
             Gimnasio,Uno,All,30.5,300,3,2\nGimnasio,Uno,2026-11-23,10.25,100,1,1\nGimnasio,Uno,2026-11-24,20.25,200,2,1\n",
            &["Gimnasio 1 30.5 2"],
        );
        check(
            "Nome da campanha\tNome do anúncio\tInício dos relatórios\tTérmino dos relatórios\tValor usado (BRL)\tImpressões\tCliques no link\tResultados\n\
             Academia\tUm\t2026-11-01\t2026-11-30\t1.234,5\t1.000\t10\t2\n",
            &["Academia 1 1234.5 2"],
        );
    }

    #[test]
    fn stage_columns_and_plain_names_are_read() {
        let options = ImportOptions {
            stages: vec![StageName::new("show_up").unwrap()],
            ..ImportOptions::default()
        };
        let text =
            "ad_id,campaign_id,clicks,spent,impressions,Show up,lead\n1,7,3,1.429999948,10,2,4\n";
        let export = read_ads(text.as_bytes(), &options).unwrap();
        let row = &export.rows[0];
        assert_eq!(
            row.counts[&StageName::new("show_up").unwrap()],
            Decimal::from_whole(2)
        );
        assert_eq!(
            row.counts[&StageName::new("lead").unwrap()],
            Decimal::from_whole(4)
        );
        assert_eq!(row.spend.to_string(), "1.429999948");
    }

    #[test]
    fn months_and_days_that_cannot_be_told_apart_are_refused() {
        let text = "Ad name,Day,Spend,Clicks\na,03/04/2026,1,1\na,05/06/2026,1,1\n";
        let error = refused(text);
        assert!(error.contains("--date-order"), "{error}");
        let options = ImportOptions {
            date_order: Some(DateOrder::MonthFirst),
            ..ImportOptions::default()
        };
        let export = read_ads(text.as_bytes(), &options).unwrap();
        assert_eq!(export.rows[0].day.unwrap().to_string(), "2026-03-04");
        let told = read(&format!("{text}a,13/06/2026,1,1\n")).unwrap();
        assert_eq!(told.rows[0].day.unwrap().to_string(), "2026-04-03");
    }

    #[test]
    fn faults_carry_line_and_column_and_all_are_told() {
        let error = refused(
            "Ad name,Day,Amount spent (USD),Link clicks,Impressions\n\
             a,2026-11-24,1.50,1,10\nb,2026-11-24,oops,1,10\nc,yesterday,2.50,1.5,10\nd,2026-11-24,-1.00,1,10\ne,,1.00,1,10\n",
        );
        for part in [
            "line 3, column 3 (Amount spent (USD)): \"oops\" is not a number",
            "line 4, column 2 (Day): \"yesterday\" is not a date",
            "line 4, column 4 (Link clicks): \"1.5\" would be 1.5 clicks",
            "line 5, column 3 (Amount spent (USD)): -1 is below zero",
            "line 6, column 2 (Day): the row has no day",
        ] {
            assert!(error.contains(part), "{part}\n{error}");
        }
        let many = format!("Ad name,Spend,Clicks\n{}", "a,x,1\n".repeat(50));
        let error = refused(&many);
        assert!(
            error.contains("50 places") && error.contains("and 30 more"),
            "{error}"
        );
    }

    #[test]
    fn a_file_without_the_columns_names_what_it_needs_and_what_it_saw() {
        let error = refused("Ad name,Impressions\na,1\n");
        assert!(
            error.contains("no column for spend") && error.contains("clicks"),
            "{error}"
        );
        assert!(error.contains("\"Impressions\""), "{error}");
        let error = refused("hello world\nthis is text\n");
        assert!(error.contains("\"hello world\""), "{error}");
    }

    #[test]
    fn a_totals_row_that_disagrees_is_told_and_one_in_the_middle_is_refused() {
        let text = "Campaign name,Ad name,Spend,Clicks\nA,x,10,1\nA,y,5,1\n,,99,2\n";
        let export = check(text, &["A 2 15 0"]);
        assert!(
            export
                .notes
                .iter()
                .any(|n| n.contains("99") && n.contains("15")),
            "{:?}",
            export.notes
        );
        check(
            "Campaign name,Ad name,Spend,Clicks\nTotal,,15,2\nA,x,10,1\nA,y,5,1\n",
            &["A 2 15 0"],
        );
        check(
            "Campaign name,Ad name,Spend,Clicks\nA,,15,2\nA,x,10,1\nA,y,5,1\nB,z,1,1\n",
            &["A 2 15 0", "B 1 1 0"],
        );
        check(
            "Campaign name,Spend,Clicks\nTotal body,15,2\nB,1,1\n",
            &["B 1 1 0", "Total body 1 15 0"],
        );
        let error = refused("Campaign name,Ad name,Spend,Clicks\nA,x,10,1\n,,99,2\nA,y,5,1\n");
        assert!(error.contains("line 3"), "{error}");
    }

    #[test]
    fn ids_that_a_spreadsheet_rounded_are_not_used() {
        let text = "Ad ID,Ad name,Spend,Clicks\n1.2E+17,x,10,1\n1.2E+17,y,5,1\n";
        let export = check(text, &["(all) 2 15 0"]);
        assert!(export.notes.iter().any(|n| n.contains("rounded")));
        let error = refused("Ad ID,Spend,Clicks\n1.2E+17,10,1\n");
        assert!(error.contains("line 2, column 1 (Ad ID)"), "{error}");
    }

    #[test]
    fn a_currency_must_be_the_one_stated() {
        let text = b"Ad name,Amount spent (EUR),Clicks\na,1,1\n";
        let stated = |currency| ImportOptions {
            currency: Some(currency),
            ..ImportOptions::default()
        };
        assert!(read_ads(text, &stated(Currency::EUR)).is_ok());
        assert!(matches!(
            read_ads(text, &stated(Currency::USD)),
            Err(ImportError::Currency { .. })
        ));
        let mixed = refused("Ad name,Spend,Clicks,Currency\na,1,1,USD\nb,1,1,EUR\n");
        assert!(mixed.contains("line 3, column 4"), "{mixed}");
        assert_eq!(
            read("Ad name,Spend,Clicks,Currency\na,1,1,EUR\n")
                .unwrap()
                .currency,
            Currency::EUR
        );
    }

    #[test]
    fn repeated_rows_count_once() {
        let export = check(
            "Ad ID,Spend,Clicks\n1,10,1\n2,5,1\n1,10,1\n",
            &["(all) 2 15 0"],
        );
        assert!(
            export
                .notes
                .iter()
                .any(|n| n.contains("line 4 repeats line 2"))
        );
    }

    #[test]
    fn numbers_of_three_digits_behind_a_mark_follow_the_rest_of_the_file() {
        // The rate tells that the comma is the decimal mark.
        check(
            "Ad name;Spend;Clicks;CTR\na;1,234;1.234;1,5\n",
            &["(all) 1 1.234 0"],
        );
        check("Ad name;Spend;Clicks\na;1,234;5\n", &["(all) 1 1234 0"]);
        let error = refused("Ad name;Spend;Clicks\na;1,234;5\nb;2.345;5\n");
        assert!(error.contains("line 3, column 2 (Spend)"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_ads(&bytes, &ImportOptions::default());
            let _ = super::super::read_deals(&bytes, &ImportOptions::default());
        }

        #[test]
        fn no_rows_make_it_panic(rows in "([0-9a-zA-Zä€$%.,;:/()\"'\t -]{0,30}\n){0,12}", semicolons in any::<bool>()) {
            let header = "Campaign name,Ad name,Ad ID,Day,Spend,Link clicks,Impressions,Results,Record ID,Deal Stage,Create Date,Amount\n";
            let mut text = format!("{header}{rows}");
            if semicolons {
                text = text.replace(',', ";");
            }
            let _ = read_ads(text.as_bytes(), &ImportOptions::default());
            let _ = super::super::read_deals(text.as_bytes(), &ImportOptions::default());
        }
    }
}
