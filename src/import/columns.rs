//! Which header means what: Ads Manager and HubSpot in English, German, Spanish, French, Portuguese,
//! Italian and Dutch, and plain names that people and scripts use.

mod ads;
mod deals;

use crate::domain::money::Currency;

use ads::ADS;
pub(super) use ads::AdsField;
use deals::DEALS;
pub(super) use deals::DealsField;

/// The meaning of an ads header, and its place in the order of preference (lower first).
pub(super) fn ads_field(header: &str) -> Option<(AdsField, usize)> {
    lookup(ADS, header)
}

/// The meaning of a deals header, and its place in the order of preference (lower first).
pub(super) fn deals_field(header: &str) -> Option<(DealsField, usize)> {
    lookup(DEALS, header)
}

fn lookup<F: Copy>(table: &[(F, &[&str])], header: &str) -> Option<(F, usize)> {
    let name = normal(&without_currency(header).0);
    table.iter().find_map(|(field, names)| {
        let rank = names.iter().position(|known| *known == name)?;
        Some((*field, rank))
    })
}

/// A header without the currency in its parentheses, and that currency:
/// `Amount spent (USD)` gives `Amount spent` and USD.
pub(super) fn without_currency(header: &str) -> (String, Option<Currency>) {
    if let Some((before, rest)) = header.rsplit_once('(')
        && let Some((code, after)) = rest.split_once(')')
        && let Ok(currency) = Currency::new(code.trim())
    {
        return (format!("{before} {after}"), Some(currency));
    }
    (header.to_owned(), None)
}

/// Letters and digits in lower case without accents, everything else as single spaces.
pub(super) fn normal(text: &str) -> String {
    let folded = fold(text);
    folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Lower case, without the accents of the languages above. Combining accents, which some systems
/// write apart, are dropped.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        let plain = match c {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => 'a',
            'è' | 'é' | 'ê' | 'ë' => 'e',
            'ì' | 'í' | 'î' | 'ï' => 'i',
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
            'ù' | 'ú' | 'û' | 'ü' => 'u',
            'ç' => 'c',
            'ñ' => 'n',
            '\u{300}'..='\u{36f}' => continue,
            'ß' => {
                folded.push('s');
                's'
            }
            other => other,
        };
        folded.push(plain);
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: AdsField) {
        assert_eq!(ads_field(header).map(|f| f.0), Some(expected), "{header}");
    }

    #[test]
    fn headers_are_known_in_several_languages() {
        check("Amount spent (USD)", AdsField::Spend);
        check("Ausgegebener Betrag (EUR)", AdsField::Spend);
        check("Importe gastado (MXN)", AdsField::Spend);
        check("Montant dépensé (EUR)", AdsField::Spend);
        check("Valor usado (BRL)", AdsField::Spend);
        check("Link clicks", AdsField::Clicks);
        check("Clicks (all)", AdsField::Clicks);
        check("Nom de l’ensemble de publicités", AdsField::AdSetName);
        check("Nombre del conjunto de anuncios", AdsField::AdSetName);
        check("Anzeigengruppenname", AdsField::AdSetName);
        check("xyz_campaign_id", AdsField::CampaignId);
        check("fb_campaign_id", AdsField::AdSetId);
        check("Approved_Conversion", AdsField::Purchases);
        check("IMPRESSÕES", AdsField::Impressions);
        check("Di\u{301}a", AdsField::Day);
        for other in [
            "CPC (all)",
            "Reach",
            "Frequency",
            "age",
            "",
            "Spend per (USD) day",
        ] {
            assert_eq!(ads_field(other), None, "{other}");
        }
    }

    #[test]
    fn link_clicks_are_preferred_to_all_clicks() {
        assert!(ads_field("Link clicks").unwrap().1 < ads_field("Clicks (all)").unwrap().1);
    }

    #[test]
    fn no_header_has_two_meanings() {
        fn all<F: Copy + PartialEq + std::fmt::Debug>(table: &[(F, &[&str])]) {
            let names: Vec<_> = table.iter().flat_map(|(_, n)| n.iter()).collect();
            for (i, name) in names.iter().enumerate() {
                assert!(!names.iter().skip(i + 1).any(|n| n == name), "{name}");
                assert_eq!(&normal(name), *name);
            }
        }
        all(ADS);
        all(DEALS);
    }

    #[test]
    fn a_currency_in_a_header_is_taken_out() {
        assert_eq!(
            without_currency("Amount spent (USD)"),
            ("Amount spent  ".to_owned(), Some(Currency::USD))
        );
        assert_eq!(without_currency("Clicks (all)").1, None);
    }
}
