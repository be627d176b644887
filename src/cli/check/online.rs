//! `roasd check --online`: asks the vendors about every tenant and writes nothing.
//!
//! The questions go through the same clients and the same gate as the daemon's. What they find is
//! a list of points per tenant, each good, doubtful or bad, the last two with a remedy: what a
//! person needs to know before the first write.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::Exit;
use crate::cli::table::TextTable;
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::daemon::{self, Parts, Vendors};
use crate::domain::deal::{PipelineStage, StageValue};
use crate::domain::ids::{PipelineId, StageName};
use crate::domain::money::Money;
use crate::domain::stages::StageTable;
use crate::domain::structure::{Account, Structure};
use crate::domain::time::{self, SignedDuration};
use crate::vendors::VendorError;
use crate::vendors::hubspot::HubSpot;
use crate::vendors::hubspot::walk::Search;
use crate::vendors::meta::throttle::{CallKind, Caller, MetaGate};
use crate::vendors::meta::{Cursor, InsightsQuery, MetaAds as _, Page, Permit};

/// Pages of one list that are read; more is a loop on Meta's side.
const PAGES: usize = 2_000;
/// A token that ends sooner is worth a warning.
const EXPIRES_SOON: SignedDuration = time::days(14);
/// How far back deals are counted.
const RECENT: SignedDuration = time::days(7);
/// What the token has to be allowed.
const READ_RIGHT: &str = "ads_read";
const WRITE_RIGHT: &str = "ads_management";

/// How a point stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As it should be.
    Good,
    /// Works, and deserves a look.
    Doubtful,
    /// Nothing can be decided or written until it is mended.
    Bad,
}

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Doubtful => "look",
            Self::Bad => "BAD",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What was looked at, such as `token`.
    pub what: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when good.
    pub remedy: String,
}

/// What was found of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantPoints {
    /// The tenant.
    pub tenant: String,
    /// In the order of looking.
    pub points: Vec<Point>,
}

/// Asks about every tenant of `config`, or about `only` one; `tell` hears of each as soon as it has been
/// asked about.
///
/// # Errors
/// When a tenant's settings cannot be used at all, or `tell` fails.
pub async fn ask(
    config: &Config,
    only: Option<&str>,
    mut tell: impl FnMut(&TenantPoints) -> io::Result<()>,
) -> anyhow::Result<Vec<TenantPoints>> {
    let clock = super::super::run::clock_of(config);
    let parts = Parts::of(config)?;
    let http = crate::vendors::http_client(Duration::from_secs(10))?;
    let mut found = Vec::new();
    for tenant in config.tenants.values() {
        if only.is_some_and(|only| only != tenant.id.as_str()) {
            continue;
        }
        let Some(of_tenant) = parts.tenants.get(&tenant.id) else {
            continue;
        };
        // A gate of its own: the few questions are asked once, by hand.
        let limits = parts.gates.get(&of_tenant.app).cloned().unwrap_or_default();
        let gate = Arc::new(MetaGate::new(limits, clock.clone()));
        let asked = Asked {
            config,
            tenant,
            stages: &of_tenant.settings.stages,
            vendors: daemon::vendors(of_tenant, &gate, &clock, &http, None)?,
            gate: &gate,
            clock: &clock,
        };
        let told = TenantPoints {
            tenant: tenant.id.to_string(),
            points: asked.points().await,
        };
        tell(&told)?;
        found.push(told);
    }
    Ok(found)
}

/// Asks about every tenant of `config`, or about `only` one, and prints what was found. Fails (exit
/// code 1) when a point is bad.
///
/// # Errors
/// When a tenant's settings cannot be used at all, or the output cannot be written.
pub async fn run(
    config: &Config,
    only: Option<&str>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Exit> {
    let found = ask(config, only, |told| {
        if json {
            return Ok(());
        }
        print(told, out)?;
        out.flush()
    })
    .await?;
    if found.is_empty() {
        super::super::complain(&match only {
            Some(only) => format!("there is no tenant {only:?} in the configuration"),
            None => "the configuration has no tenants to ask about".to_owned(),
        });
        return Ok(Exit::Usage);
    }
    if json {
        writeln!(out, "{:#}", to_json(&found))?;
    }
    let is_bad = |points: &TenantPoints| points.points.iter().any(|p| p.standing == Standing::Bad);
    Ok(if found.iter().any(is_bad) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn print(told: &TenantPoints, out: &mut dyn Write) -> io::Result<()> {
    let mut table = TextTable::new(
        &[told.tenant.as_str(), "", "found", "what to do"],
        io::stdout().is_terminal(),
    );
    for point in &told.points {
        table.row([
            point.what,
            point.standing.as_str(),
            &point.found,
            &point.remedy,
        ]);
    }
    writeln!(out, "{}\n", table.render())
}

fn to_json(found: &[TenantPoints]) -> Value {
    let tenants: serde_json::Map<String, Value> = found
        .iter()
        .map(|told| {
            let points: Vec<Value> = told
                .points
                .iter()
                .map(|point| {
                    let standing = match point.standing {
                        Standing::Good => "good",
                        Standing::Doubtful => "doubtful",
                        Standing::Bad => "bad",
                    };
                    json!({
                        "what": point.what,
                        "standing": standing,
                        "found": point.found,
                        "remedy": point.remedy,
                    })
                })
                .collect();
            (told.tenant.clone(), Value::Array(points))
        })
        .collect();
    json!({ "tenants": tenants })
}

fn good(what: &'static str, found: String) -> Point {
    Point {
        what,
        standing: Standing::Good,
        found,
        remedy: String::new(),
    }
}

fn point(what: &'static str, standing: Standing, found: String, remedy: String) -> Point {
    Point {
        what,
        standing,
        found,
        remedy,
    }
}

/// A tenant and whom to ask about it.
struct Asked<'a> {
    config: &'a Config,
    tenant: &'a Tenant,
    stages: &'a StageTable,
    vendors: Vendors,
    gate: &'a Arc<MetaGate>,
    clock: &'a Arc<dyn Clock>,
}

impl Asked<'_> {
    async fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        self.ask_meta(&mut points).await;
        match &self.vendors.hubspot {
            Some(hubspot) => self.ask_hubspot(hubspot.as_ref(), &mut points).await,
            None => points.push(point(
                "HubSpot",
                Standing::Doubtful,
                "no HubSpot account is configured".to_owned(),
                "without deals roasd has only clicks to go by; state the tenant's hubspot table"
                    .to_owned(),
            )),
        }
        points
    }

    async fn permit(&self, kind: CallKind) -> Result<Permit, VendorError> {
        let caller = Caller {
            account: self.tenant.settings.meta.ad_account.clone(),
            tenant: self.tenant.id.clone(),
        };
        let wait = SignedDuration::ZERO;
        let permit = self.gate.permit(&caller, kind, wait).await;
        permit.map_err(|closed| VendorError::Throttled {
            vendor: "Meta",
            wait: time::between(self.clock.now(), closed.until),
            detail: closed.reason,
        })
    }

    async fn ask_meta(&self, points: &mut Vec<Point>) {
        let account = async {
            self.vendors
                .meta
                .account(self.permit(CallKind::Read).await?)
                .await
        };
        let account = account.await;
        points.push(self.token().await);
        let account = match account {
            Ok(account) => account,
            Err(error) => {
                let remedy = match &error {
                    VendorError::Unauthorized { .. } | VendorError::Refused { .. } => format!(
                        "give the token's system user the ad account {}, with the right to manage \
                         campaigns",
                        self.tenant.settings.meta.ad_account
                    ),
                    _ => "try again; if it stays so, look at meta.base_url and the network".into(),
                };
                points.push(point("ad account", Standing::Bad, told(&error), remedy));
                return;
            }
        };
        points.push(self.account(&account));
        points.push(self.minimum(&account));
        points.push(self.figures(&account).await);
        points.push(match self.structure(account).await {
            Ok(structure) => self.budgets(&structure),
            Err(error) => point(
                "budgets",
                Standing::Bad,
                told(&error),
                "the token must be allowed to read campaigns and ad sets".to_owned(),
            ),
        });
    }

    /// Whether the token works, for how long, and for what.
    async fn token(&self) -> Point {
        const WHAT: &str = "Meta token";
        let settings = &self.tenant.settings.meta;
        let has_app = settings.app_id.is_some() || self.config.meta.app_id.is_some();
        let has_secret = settings.app_secret.is_some() || self.config.meta.app_secret.is_some();
        if !(has_app && has_secret) {
            return point(
                WHAT,
                Standing::Doubtful,
                "its rights and its end were not asked".to_owned(),
                "state meta.app_id and meta.app_secret: with them roasd can ask, and every call \
                 carries a proof"
                    .to_owned(),
            );
        }
        let state = async {
            self.vendors
                .meta
                .token_state(self.permit(CallKind::Read).await?)
                .await
        };
        let state = match state.await {
            Ok(state) => state,
            Err(error) => {
                let remedy = "see that meta.app_id and meta.app_secret are those of the app that \
                              the token was made with";
                return point(WHAT, Standing::Bad, told(&error), remedy.to_owned());
            }
        };
        let renew = format!(
            "make a new token of the system user and put it where \
             tenants.{}.meta.access_token points",
            self.tenant.id
        );
        if !state.is_valid {
            return point(
                WHAT,
                Standing::Bad,
                "Meta says it is not valid".into(),
                renew,
            );
        }
        let now = self.clock.now();
        let lasts = state.expires_at.map_or_else(
            || "does not expire".to_owned(),
            |at| format!("ends {at:.0}"),
        );
        let found = format!("{lasts}; may {}", state.scopes.join(", "));
        let has = |right: &str| state.scopes.iter().any(|scope| scope == right);
        let grant = |right: &str| format!("grant the token {right}");
        // The right to manage includes the right to read.
        if !has(READ_RIGHT) && !has(WRITE_RIGHT) {
            return point(WHAT, Standing::Bad, found, grant(READ_RIGHT));
        }
        if !has(WRITE_RIGHT) {
            let (standing, remedy) = if self.tenant.settings.autonomy.only_observes() {
                let later = format!("{} before autonomy leaves observe", grant(WRITE_RIGHT));
                (Standing::Doubtful, later)
            } else {
                (Standing::Bad, grant(WRITE_RIGHT))
            };
            return point(WHAT, standing, found, remedy);
        }
        match state.expires_at {
            Some(at) if at < time::add(now, EXPIRES_SOON) => {
                point(WHAT, Standing::Doubtful, found, renew)
            }
            _ => good(WHAT, found),
        }
    }

    fn account(&self, account: &Account) -> Point {
        let found = format!(
            "{:?}, bills in {}, {}",
            account.name, account.currency, account.time_zone_name
        );
        let settings = &self.tenant.settings;
        match account.trouble(&self.tenant.id, settings.currency) {
            None => good("ad account", found),
            Some(trouble) => {
                let (what, remedy) = trouble.split_once("; ").unwrap_or((&trouble, ""));
                point(
                    "ad account",
                    Standing::Bad,
                    what.to_owned(),
                    remedy.to_owned(),
                )
            }
        }
    }

    /// Meta refuses budgets below its own least one; a lower one configured is no floor.
    fn minimum(&self, account: &Account) -> Point {
        const WHAT: &str = "least budget";
        let ours = self.tenant.settings.budget.min_per_ad_set;
        match account.min_daily_budget {
            Some(least) if ours.compare(least) == Some(std::cmp::Ordering::Less) => point(
                WHAT,
                Standing::Doubtful,
                format!("Meta's is {least}, yours {ours}"),
                format!(
                    "Meta's applies; say so in tenants.{}.budget.min_per_ad_set",
                    self.tenant.id
                ),
            ),
            Some(least) => good(WHAT, format!("Meta's is {least}, yours {ours}")),
            None => good(WHAT, format!("{ours}; Meta names none")),
        }
    }

    async fn figures(&self, account: &Account) -> Point {
        const WHAT: &str = "figures";
        let Some(zone) = account.time_zone() else {
            return point(
                WHAT,
                Standing::Bad,
                "not asked: the account's days are not known".to_owned(),
                "see the ad account".to_owned(),
            );
        };
        let yesterday = time::add_days(time::day_of(self.clock.now(), &zone), -1);
        let query = InsightsQuery {
            since: yesterday,
            until: yesterday,
            is_hourly: false,
            page_size: 100,
            campaigns: Vec::new(),
        };
        let currency = account.currency;
        let page = async {
            let permit = self.permit(CallKind::Insights).await?;
            self.vendors
                .meta
                .insights(permit, currency, &query, None)
                .await
        };
        match page.await {
            Ok(page) if page.rows.is_empty() => point(
                WHAT,
                Standing::Doubtful,
                format!("no ad delivered on {yesterday}"),
                "nothing can be learned while nothing runs".to_owned(),
            ),
            Ok(page) => {
                let spend = page.rows.iter().fold(Money::zero(currency), |sum, row| {
                    sum.checked_add(row.spend).unwrap_or(sum)
                });
                let more = if page.next.is_some() {
                    "more than "
                } else {
                    ""
                };
                good(
                    WHAT,
                    format!(
                        "{more}{} ads delivered on {yesterday}, for {more}{spend}",
                        page.rows.len()
                    ),
                )
            }
            Err(error) => point(
                WHAT,
                Standing::Bad,
                told(&error),
                format!("grant the token {READ_RIGHT}"),
            ),
        }
    }

    async fn structure(&self, account: Account) -> Result<Structure, VendorError> {
        let meta = &self.vendors.meta;
        let currency = account.currency;
        let campaigns =
            self.pages(|permit, after| async move {
                meta.campaigns(permit, currency, after.as_ref()).await
            })
            .await?;
        let ad_sets = self
            .pages(
                |permit, after| async move { meta.ad_sets(permit, currency, after.as_ref()).await },
            )
            .await?;
        let ads = self
            .pages(|permit, after| async move { meta.ads(permit, after.as_ref()).await })
            .await?;
        Ok(Structure {
            account,
            campaigns: campaigns.into_iter().map(|c| (c.id.clone(), c)).collect(),
            ad_sets: ad_sets.into_iter().map(|s| (s.id.clone(), s)).collect(),
            ads: ads.into_iter().map(|a| (a.id.clone(), a)).collect(),
        })
    }

    async fn pages<T, F>(
        &self,
        read: impl Fn(Permit, Option<Cursor>) -> F,
    ) -> Result<Vec<T>, VendorError>
    where
        F: Future<Output = Result<Page<T>, VendorError>>,
    {
        let mut rows = Vec::new();
        let mut after = None;
        for _ in 0..PAGES {
            let page = read(self.permit(CallKind::Read).await?, after).await?;
            rows.extend(page.rows);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(rows)
    }

    /// What can be spent now against the cap, and what roasd will leave alone.
    fn budgets(&self, structure: &Structure) -> Point {
        const WHAT: &str = "budgets";
        let cap = self.tenant.settings.budget.daily_cap;
        let mut sum = Money::zero(structure.account.currency);
        let mut left_alone = BTreeSet::new();
        let owners = structure.delivering_owners();
        let mut moved = 0;
        for owner in &owners {
            if let Some(reason) = structure.budget_hands_off(owner) {
                left_alone.insert(format!("{owner}: {reason}"));
            } else {
                moved += 1;
            }
            let daily = structure
                .settings(owner)
                .and_then(|(budget, ..)| budget.daily());
            if let Some(money) = daily {
                sum = sum.checked_add(money).unwrap_or(sum);
            }
        }
        let mut found = format!(
            "{sum} a day in {} budgets that deliver, cap {cap}; roasd would move {moved}",
            owners.len()
        );
        if !left_alone.is_empty() {
            let reasons: Vec<String> = left_alone.into_iter().collect();
            found = format!("{found}, and leave alone {}", reasons.join("; "));
        }
        match sum.compare(cap) {
            Some(std::cmp::Ordering::Greater) => point(
                WHAT,
                Standing::Doubtful,
                found,
                format!(
                    "the budgets in force are above the cap, so nothing is ever raised: raise \
                     tenants.{}.budget.daily_cap or lower them",
                    self.tenant.id
                ),
            ),
            Some(_) if moved == 0 => point(
                WHAT,
                Standing::Doubtful,
                found,
                "no daily budget is there to be moved; roasd can only pause ads".to_owned(),
            ),
            _ => good(WHAT, found),
        }
    }

    async fn ask_hubspot(&self, hubspot: &dyn HubSpot, points: &mut Vec<Point>) {
        let Some(settings) = &self.tenant.settings.hubspot else {
            return;
        };
        let known = match hubspot.pipeline_stages().await {
            Ok(known) => known,
            Err(error) => {
                let remedy = match &error {
                    VendorError::Unauthorized { .. } => {
                        "the token needs crm.objects.deals.read, crm.objects.contacts.read and \
                         crm.schemas.deals.read"
                    }
                    _ => "try again; if it stays so, look at hubspot.base_url and the network",
                };
                points.push(point(
                    "HubSpot",
                    Standing::Bad,
                    told(&error),
                    remedy.to_owned(),
                ));
                return;
            }
        };
        let pipelines: BTreeSet<&str> = known.iter().map(|s| s.pipeline.as_str()).collect();
        let missing: Vec<&str> = settings
            .pipelines
            .iter()
            .map(PipelineId::as_str)
            .filter(|id| !pipelines.contains(id))
            .collect();
        let all = pipelines.iter().copied().collect::<Vec<_>>().join(", ");
        points.push(if missing.is_empty() {
            good(
                "pipelines",
                format!("{} of: {all}", settings.pipelines.len()),
            )
        } else {
            point(
                "pipelines",
                Standing::Bad,
                format!("HubSpot has no pipeline {}", missing.join(", ")),
                format!(
                    "it has: {all}; correct tenants.{}.hubspot.pipelines",
                    self.tenant.id
                ),
            )
        });
        points.extend(self.stages(&known, &settings.pipelines));
        points.push(self.deals(hubspot).await);
    }

    /// Stages that the CRM does not have, and stages of the CRM that nobody values.
    fn stages(&self, known: &[PipelineStage], pipelines: &[PipelineId]) -> Vec<Point> {
        let used: Vec<_> = known
            .iter()
            .filter(|stage| pipelines.contains(&stage.pipeline))
            .collect();
        let named = |stage: &PipelineStage| self.stages.by_vendor_id(&stage.id);
        let in_crm: BTreeSet<&StageName> = used
            .iter()
            .filter_map(|stage| Some(&named(stage)?.name))
            .collect();
        let unknown: Vec<&StageValue> = self
            .stages
            .all()
            .iter()
            .filter(|stage| !in_crm.contains(&stage.name))
            .collect();
        let unvalued: Vec<String> = used
            .iter()
            .filter(|stage| named(stage).is_none())
            .map(|stage| format!("{} ({:?})", stage.id.as_str(), stage.label))
            .collect();
        let at = format!("tenants.{}.stages", self.tenant.id);
        let mut points = Vec::new();
        if !unknown.is_empty() {
            // Without the sale no deal is ever won; any other stage is merely skipped.
            let standing = if unknown.iter().any(|stage| stage.is_won) {
                Standing::Bad
            } else {
                Standing::Doubtful
            };
            let names: Vec<&str> = unknown.iter().map(|stage| stage.name.as_str()).collect();
            points.push(point(
                "stages",
                standing,
                format!("the CRM has no stage for {}", names.join(", ")),
                format!("state hubspot_stage for each in {at}"),
            ));
        }
        if !unvalued.is_empty() {
            points.push(point(
                "stages",
                Standing::Doubtful,
                format!("nobody values the CRM's {}", unvalued.join(", ")),
                format!("a deal there keeps the value of its last known stage; add them to {at}"),
            ));
        }
        if points.is_empty() {
            points.push(good(
                "stages",
                format!("all {} are in the CRM", self.stages.all().len()),
            ));
        }
        points
    }

    async fn deals(&self, hubspot: &dyn HubSpot) -> Point {
        let now = self.clock.now();
        let search = Search::Window {
            from: time::sub(now, RECENT),
            to: now,
            after: None,
        };
        match hubspot.search_deals(&search).await {
            Ok(page) if page.total == 0 => point(
                "deals",
                Standing::Doubtful,
                "no deal changed within the last 7 days".to_owned(),
                "see that the pipelines named are those in use".to_owned(),
            ),
            Ok(page) => good(
                "deals",
                format!("{} changed within the last 7 days", page.total),
            ),
            Err(error) => point(
                "deals",
                Standing::Bad,
                told(&error),
                "the token needs crm.objects.deals.read".to_owned(),
            ),
        }
    }
}

fn told(error: &VendorError) -> String {
    crate::actors::context::chain(error)
}
