//! Headers of deals exports.

/// What a column of a deals export can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::import) enum DealsField {
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
    pub(in crate::import) const fn words(self) -> &'static str {
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

pub(super) const DEALS: &[(DealsField, &[&str])] = &[
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
