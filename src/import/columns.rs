//! Which header means what: Ads Manager and HubSpot in English, German, Spanish, French, Portuguese,
//! Italian and Dutch, and plain names that people and scripts use.

use crate::domain::money::Currency;

/// What a column of an ads export can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AdsField {
    CampaignId,
    CampaignName,
    AdSetId,
    AdSetName,
    AdId,
    AdName,
    Day,
    Starts,
    Ends,
    Impressions,
    Clicks,
    Spend,
    Currency,
    Results,
    ResultKind,
    Leads,
    Purchases,
    PurchaseValue,
    Delivery,
}

impl AdsField {
    /// In words, for "took this for that".
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::CampaignId => "campaign id",
            Self::CampaignName => "campaign name",
            Self::AdSetId => "ad set id",
            Self::AdSetName => "ad set name",
            Self::AdId => "ad id",
            Self::AdName => "ad name",
            Self::Day => "day",
            Self::Starts => "first day covered",
            Self::Ends => "last day covered",
            Self::Impressions => "impressions",
            Self::Clicks => "clicks",
            Self::Spend => "spend",
            Self::Currency => "currency",
            Self::Results => "results",
            Self::ResultKind => "what the results are",
            Self::Leads => "leads (stage lead)",
            Self::Purchases => "sales (stage closed_won)",
            Self::PurchaseValue => "amount of the sales",
            Self::Delivery => "whether it delivers",
        }
    }
}

/// Headers of ads exports, folded (see [`normal`]); of two columns with one meaning the header that
/// stands first here is used.
const ADS: &[(AdsField, &[&str])] = &[
    (
        AdsField::CampaignId,
        &[
            "campaign id",
            "xyz campaign id",
            "kampagnen id",
            "identificador de la campana",
            "id de la campana",
            "id de campagne",
            "identifiant de la campagne",
            "id de la campagne",
            "identificacao da campanha",
            "id da campanha",
            "id campagna",
            "campagne id",
        ],
    ),
    (
        AdsField::CampaignName,
        &[
            "campaign name",
            "campaign",
            "kampagnenname",
            "name der kampagne",
            "kampagne",
            "nombre de la campana",
            "nombre de campana",
            "campana",
            "nom de la campagne",
            "campagne",
            "nome da campanha",
            "campanha",
            "nome della campagna",
            "nome campagna",
            "campagna",
            "campagnenaam",
            "naam van campagne",
        ],
    ),
    (
        AdsField::AdSetId,
        &[
            "ad set id",
            "adset id",
            "fb campaign id",
            "anzeigengruppen id",
            "identificador del conjunto de anuncios",
            "id del conjunto de anuncios",
            "id de l ensemble de publicites",
            "identifiant de l ensemble de publicites",
            "identificacao do conjunto de anuncios",
            "id do conjunto de anuncios",
            "id gruppo di inserzioni",
            "advertentieset id",
        ],
    ),
    (
        AdsField::AdSetName,
        &[
            "ad set name",
            "adset name",
            "ad set",
            "adset",
            "anzeigengruppenname",
            "name der anzeigengruppe",
            "anzeigengruppe",
            "nombre del conjunto de anuncios",
            "conjunto de anuncios",
            "nom de l ensemble de publicites",
            "ensemble de publicites",
            "nome do conjunto de anuncios",
            "nome del gruppo di inserzioni",
            "naam van advertentieset",
            "naam advertentieset",
        ],
    ),
    (
        AdsField::AdId,
        &[
            "ad id",
            "anzeigen id",
            "identificador del anuncio",
            "id del anuncio",
            "id de publicite",
            "id de la publicite",
            "identifiant de la publicite",
            "identificacao do anuncio",
            "id do anuncio",
            "id inserzione",
            "advertentie id",
        ],
    ),
    (
        AdsField::AdName,
        &[
            "ad name",
            "ad",
            "anzeigenname",
            "name der anzeige",
            "anzeige",
            "nombre del anuncio",
            "anuncio",
            "nom de la publicite",
            "publicite",
            "nome do anuncio",
            "nome dell inserzione",
            "nome inserzione",
            "naam van advertentie",
            "naam advertentie",
        ],
    ),
    (
        AdsField::Day,
        &[
            "day", "date", "tag", "datum", "dia", "fecha", "jour", "data", "giorno", "dag",
        ],
    ),
    (
        AdsField::Starts,
        &[
            "reporting starts",
            "date start",
            "berichtsbeginn",
            "berichtsstart",
            "beginn des berichts",
            "beginn der berichterstellung",
            "auswertungsbeginn",
            "inicio del informe",
            "debut des rapports",
            "inicio dos relatorios",
            "inizio della segnalazione",
            "inizio report",
            "begin rapportage",
        ],
    ),
    (
        AdsField::Ends,
        &[
            "reporting ends",
            "date stop",
            "berichtsende",
            "ende des berichts",
            "ende der berichterstellung",
            "auswertungsende",
            "fin del informe",
            "fin des rapports",
            "termino dos relatorios",
            "encerramento dos relatorios",
            "fim dos relatorios",
            "fine della segnalazione",
            "fine report",
            "einde rapportage",
        ],
    ),
    (
        AdsField::Impressions,
        &[
            "impressions",
            "impressionen",
            "impresiones",
            "impressoes",
            "impression",
            "weergaven",
            "vertoningen",
        ],
    ),
    (
        AdsField::Clicks,
        &[
            "link clicks",
            "inline link clicks",
            "link klicks",
            "linkklicks",
            "klicks auf den link",
            "clics en el enlace",
            "clics sur un lien",
            "clics sur le lien",
            "cliques no link",
            "cliques na ligacao",
            "clic sul link",
            "linkklikken",
            "outbound clicks",
            "clicks",
            "clicks all",
            "klicks alle",
            "klicks",
            "clics todos",
            "clics tous",
            "clics",
            "cliques todos",
            "cliques",
            "clic tutti",
            "clic",
            "klikken alle",
            "klikken",
        ],
    ),
    (
        AdsField::Spend,
        &[
            "amount spent",
            "spend",
            "spent",
            "cost",
            "ausgegebener betrag",
            "betrag ausgegeben",
            "ausgaben",
            "kosten",
            "importe gastado",
            "gasto",
            "montant depense",
            "depenses",
            "valor usado",
            "valor gasto",
            "montante gasto",
            "quantia gasta",
            "importo speso",
            "besteed bedrag",
            "uitgegeven bedrag",
        ],
    ),
    (
        AdsField::Currency,
        &[
            "currency",
            "account currency",
            "wahrung",
            "waehrung",
            "divisa",
            "moneda",
            "devise",
            "moeda",
            "valuta",
        ],
    ),
    (
        AdsField::Results,
        &[
            "results",
            "ergebnisse",
            "resultados",
            "resultats",
            "resultado",
            "risultati",
            "resultaten",
            "conversions",
        ],
    ),
    (
        AdsField::ResultKind,
        &[
            "result indicator",
            "result type",
            "ergebnisindikator",
            "ergebnistyp",
            "indicador de resultado",
            "indicador de resultados",
            "tipo de resultado",
            "indicateur de resultat",
            "indicateur de resultats",
            "type de resultat",
            "tipo di risultato",
            "indicatore dei risultati",
            "type resultaat",
        ],
    ),
    (
        AdsField::Leads,
        &[
            "total conversion",
            "leads",
            "lead",
            "total leads",
            "on facebook leads",
            "meta leads",
            "website leads",
            "leads formularios",
            "clientes potenciales",
            "clientes potenciales en meta",
            "clientes potenciales de meta",
            "prospects",
            "contatti",
        ],
    ),
    (
        AdsField::Purchases,
        &[
            "approved conversion",
            "purchases",
            "purchase",
            "website purchases",
            "kaufe",
            "website kaufe",
            "einkaufe",
            "compras",
            "compras en el sitio web",
            "achats",
            "achats sur le site web",
            "compras no site",
            "acquisti",
            "aankopen",
        ],
    ),
    (
        AdsField::PurchaseValue,
        &[
            "purchases conversion value",
            "purchase conversion value",
            "website purchases conversion value",
            "conversion value",
            "conversion wert fur kaufe",
            "conversion wert",
            "valor de conversion de compras",
            "valor de conversion",
            "valeur de conversion des achats",
            "valor de conversao da compra",
            "valor de conversao de compras",
            "valore di conversione degli acquisti",
        ],
    ),
    (
        AdsField::Delivery,
        &[
            "ad delivery",
            "delivery status",
            "delivery",
            "ad set delivery",
            "campaign delivery",
            "auslieferung",
            "auslieferungsstatus",
            "entrega",
            "estado de la entrega",
            "diffusion",
            "veiculacao",
            "veiculacao da campanha",
            "status",
        ],
    ),
];

/// What a column of a deals export can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DealsField {
    Id,
    Stage,
    Amount,
    Currency,
    Created,
    Closed,
    IsWon,
    IsLost,
    AdId,
    AdName,
    AdSetId,
    AdSetName,
    CampaignId,
    CampaignName,
    Source,
    SourceDetail,
}

impl DealsField {
    /// In words, for "took this for that".
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Id => "deal id",
            Self::Stage => "stage",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Created => "made on",
            Self::Closed => "closed on",
            Self::IsWon => "whether it is won",
            Self::IsLost => "whether it is lost",
            Self::AdId => "ad (id or name)",
            Self::AdName => "ad name",
            Self::AdSetId => "ad set (id or name)",
            Self::AdSetName => "ad set name",
            Self::CampaignId => "campaign id",
            Self::CampaignName => "campaign (name or id)",
            Self::Source => "source",
            Self::SourceDetail => "source detail: may name a campaign",
        }
    }
}

const DEALS: &[(DealsField, &[&str])] = &[
    (
        DealsField::Id,
        &[
            "record id",
            "deal id",
            "hs object id",
            "id",
            "datensatz id",
            "id de registro",
            "id del registro",
            "id d enregistrement",
            "id de l enregistrement",
            "id do registro",
        ],
    ),
    (
        DealsField::Stage,
        &[
            "deal stage",
            "dealstage",
            "stage",
            "deal phase",
            "dealphase",
            "phase",
            "etapa del negocio",
            "etapa",
            "phase de la transaction",
            "etape de la transaction",
            "etapa do negocio",
            "fase do negocio",
        ],
    ),
    (
        DealsField::Amount,
        &[
            "amount in company currency",
            "amount",
            "deal amount",
            "betrag",
            "betrag in unternehmenswahrung",
            "importe",
            "cantidad",
            "valor",
            "montant",
            "montant en devise de l entreprise",
        ],
    ),
    (
        DealsField::Currency,
        &[
            "currency",
            "deal currency code",
            "wahrung",
            "moneda",
            "divisa",
            "devise",
            "moeda",
        ],
    ),
    (
        DealsField::Created,
        &[
            "create date",
            "createdate",
            "created",
            "created at",
            "erstellungsdatum",
            "fecha de creacion",
            "date de creation",
            "data de criacao",
        ],
    ),
    (
        DealsField::Closed,
        &[
            "close date",
            "closedate",
            "closed at",
            "abschlussdatum",
            "schlusstermin",
            "fecha de cierre",
            "date de fermeture",
            "date de cloture",
            "data de fechamento",
        ],
    ),
    (
        DealsField::IsWon,
        &["is closed won", "hs is closed won", "closed won", "is won"],
    ),
    (
        DealsField::IsLost,
        &[
            "is closed lost",
            "hs is closed lost",
            "closed lost",
            "is lost",
        ],
    ),
    (
        DealsField::AdId,
        &[
            "ad id",
            "hsa ad",
            "utm content",
            "utm ad",
            "latest utm content",
            "original utm content",
            "facebook ad id",
        ],
    ),
    (DealsField::AdName, &["ad name", "ad", "anzeige", "anuncio"]),
    (
        DealsField::AdSetId,
        &[
            "ad set id",
            "adset id",
            "hsa grp",
            "utm term",
            "latest utm term",
            "facebook ad set id",
        ],
    ),
    (
        DealsField::AdSetName,
        &["ad set name", "adset name", "ad set", "adset"],
    ),
    (
        DealsField::CampaignId,
        &["campaign id", "hsa cam", "utm id", "facebook campaign id"],
    ),
    (
        DealsField::CampaignName,
        &[
            "utm campaign",
            "campaign name",
            "campaign",
            "latest utm campaign",
            "original utm campaign",
            "kampagne",
            "campana",
            "campagne",
            "campanha",
        ],
    ),
    (
        DealsField::Source,
        &[
            "original source",
            "original traffic source",
            "original source type",
            "latest source",
            "latest traffic source",
            "lead source",
            "utm source",
            "source",
            "ursprungliche quelle",
            "fuente original",
            "source d origine",
            "fonte original",
        ],
    ),
    (
        DealsField::SourceDetail,
        &[
            "original source drill down 1",
            "original traffic source drill down 1",
            "original source data 1",
            "latest source drill down 1",
            "latest traffic source drill down 1",
            "original source drill down 2",
            "original traffic source drill down 2",
            "original source data 2",
        ],
    ),
];

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
