//! Reads the figures of an account, as `vendors/meta/reports.rs` cuts them into parts. After each step
//! the rest of the pass is kept, so that a restart reads no part again, and a look that waits for a
//! report or has read for long enough gives way to the other parts of the sync.

use super::{PAGE, PAGE_MIN, SyncWork, Trouble, meta};
use crate::actors::breakers;
use crate::domain::ids::CampaignId;
use crate::domain::insight::AdInsight;
use crate::domain::money::Currency;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::StoreError;
use crate::store::insights::Pull;
use crate::vendors::VendorError;
use crate::vendors::meta::InsightsQuery;
use crate::vendors::meta::reports::{Outcome, Part, Pass, ReportState, Size, Step};
use crate::vendors::meta::throttle::CallKind;

/// A pass reads for so long in one look; then the rest of the sync has its turn.
const LOOK: SignedDuration = time::minutes(2);
/// A page is shrunk to this before days and campaigns are cut.
const SMALL_PAGE: u32 = 100;

/// How far a pass got.
pub(super) enum Reached {
    /// To its end.
    End,
    /// It goes on then.
    Later(Timestamp),
}

/// What is read, and where what is known of it is kept.
pub(super) struct Figures {
    /// The name of the pass.
    pub(super) name: &'static str,
    /// How many days, today included.
    pub(super) days: i64,
    /// Hour by hour.
    pub(super) is_hourly: bool,
}

impl Figures {
    fn pass_key(&self) -> String {
        format!("sync.pass.{}", self.name)
    }

    const fn size_key(&self) -> &'static str {
        if self.is_hourly {
            "sync.size.hours"
        } else {
            "sync.size.days"
        }
    }
}

/// One pass while it is worked on.
struct Reading<'a> {
    figures: &'a Figures,
    currency: Currency,
    campaigns: Vec<CampaignId>,
    pass: Pass,
    size: Size,
    /// Whether the store holds a state of it.
    is_kept: bool,
}

impl SyncWork {
    /// Reads figures of the last days, or as far as one look goes.
    pub(super) async fn read_figures(&mut self, figures: &Figures) -> Result<Reached, Trouble> {
        let context = self.context.clone();
        let (store, id) = (&context.store, &context.tenant.id);
        let Some((structure, _)) = store.structure(id).await? else {
            return Err(Trouble::Hold(
                "the account's structure has not been read yet".to_owned(),
            ));
        };
        let zone = structure
            .account
            .time_zone()
            .ok_or_else(|| Trouble::Hold("the account's time zone is not known here".to_owned()))?;
        let now = context.clock.now();
        let today = time::day_of(now, &zone);
        let since = time::add_days(today, 1 - figures.days);
        let size = store.cursor(id, figures.size_key()).await?;
        let size = size.and_then(|text| Size::of_text(&text));
        let size = size.unwrap_or_default();
        let kept = store.cursor(id, &figures.pass_key()).await?;
        let kept = kept.and_then(|text| Pass::of_text(&text, now));
        let mut reading = Reading {
            figures,
            currency: structure.account.currency,
            campaigns: structure.campaigns.keys().cloned().collect(),
            is_kept: kept.is_some(),
            pass: kept
                .unwrap_or_else(|| Pass::plan(now, (since, today), size, &context.tenant.reports)),
            size,
        };
        let reached = self.go_on(&mut reading, time::add(now, LOOK)).await;
        if reading.size != size {
            let text = reading.size.to_text();
            let now = context.clock.now();
            store.set_cursor(id, figures.size_key(), &text, now).await?;
        }
        // What is left is kept also where something went wrong: what is read is not read again.
        self.keep(&mut reading).await?;
        let reached = reached?;
        if figures.is_hourly && matches!(reached, Reached::End) {
            breakers::look(&context, &zone, context.clock.now()).await?;
        }
        Ok(reached)
    }

    async fn keep(&self, reading: &mut Reading<'_>) -> Result<(), StoreError> {
        let is_over = reading.pass.left() == 0;
        if is_over && !reading.is_kept {
            return Ok(());
        }
        let text = if is_over {
            String::new()
        } else {
            reading.pass.to_text()
        };
        reading.is_kept = !is_over;
        let now = self.context.clock.now();
        self.context
            .store
            .set_cursor(
                &self.context.tenant.id,
                &reading.figures.pass_key(),
                &text,
                now,
            )
            .await
    }

    async fn go_on(
        &mut self,
        reading: &mut Reading<'_>,
        until: Timestamp,
    ) -> Result<Reached, Trouble> {
        let context = self.context.clone();
        let limits = &context.tenant.reports;
        loop {
            let now = context.clock.now();
            let step = reading.pass.next(now, limits);
            if now >= until && step != Step::Done {
                return Ok(Reached::Later(now));
            }
            match step {
                Step::Done => return Ok(Reached::End),
                Step::Rest(at) => return Ok(Reached::Later(at)),
                Step::Read(at) => self.read_part(reading, at).await?,
                Step::Order(at) => self.order(reading, at).await?,
                Step::Ask(at) => self.ask(reading, at).await?,
            }
            if reading.pass.left() > 0 {
                self.keep(reading).await?;
            }
        }
    }

    fn query(&self, reading: &Reading<'_>, part: &Part) -> InsightsQuery {
        InsightsQuery {
            since: part.since(),
            until: part.until(),
            is_hourly: reading.figures.is_hourly,
            page_size: self.page,
            campaigns: part.campaigns(),
        }
    }

    /// Reads a part at once.
    async fn read_part(&mut self, reading: &mut Reading<'_>, at: usize) -> Result<(), Trouble> {
        let Some(part) = reading.pass.part(at).cloned() else {
            return Ok(());
        };
        let context = self.context.clone();
        let (client, currency) = (&context.meta, reading.currency);
        let pulled_at = context.clock.now();
        loop {
            let query = self.query(reading, &part);
            let query = &query;
            let read = self
                .pages(CallKind::Insights, |permit, after| async move {
                    client
                        .insights(permit, currency, query, after.as_ref())
                        .await
                })
                .await;
            match read {
                Ok(rows) => return self.record(reading, at, &rows, pulled_at).await,
                Err(Trouble::Vendor(_, VendorError::TooMuch { .. })) if self.shrinks() => {}
                Err(Trouble::Vendor(_, VendorError::TooMuch { detail, .. })) => {
                    self.cut(reading, at, &detail);
                    return Ok(());
                }
                Err(Trouble::Vendor(vendor, error @ VendorError::Retry { .. })) => {
                    reading.pass.was_silent(at, &reading.campaigns);
                    return Err(Trouble::Vendor(vendor, error));
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Asks for fewer rows a page, while that may help. Meta counts rows here, not calls; a throttle
    /// is never answered so.
    fn shrinks(&mut self) -> bool {
        let is_large = self.page > SMALL_PAGE;
        self.page = (self.page / 2).max(PAGE_MIN);
        is_large
    }

    fn cut(&mut self, reading: &mut Reading<'_>, at: usize, why: &str) {
        reading.size = reading.size.too_much();
        self.page = PAGE;
        let outcome = reading.pass.too_much(at, &reading.campaigns, why);
        self.note_outcome(outcome);
    }

    fn note_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ready | Outcome::GoesOn => {}
            Outcome::GivenUp(why) => {
                tracing::error!(tenant.id = %self.context.tenant.id, reason = %why, "{why}");
                self.given_up.push(why);
            }
        }
    }

    async fn record(
        &self,
        reading: &mut Reading<'_>,
        at: usize,
        rows: &[AdInsight],
        pulled_at: Timestamp,
    ) -> Result<(), Trouble> {
        let Some(part) = reading.pass.part(at) else {
            return Ok(());
        };
        let pull = Pull {
            since: part.since(),
            until: part.until(),
            is_hourly: reading.figures.is_hourly,
            campaigns: part.campaigns(),
            pulled_at,
        };
        reading.size = reading.size.read(part, rows.len() as u64);
        self.context
            .store
            .record_pull(&self.context.tenant.id, rows, &pull)
            .await?;
        reading.pass.done(at);
        Ok(())
    }

    async fn order(&mut self, reading: &mut Reading<'_>, at: usize) -> Result<(), Trouble> {
        let Some(part) = reading.pass.part(at).cloned() else {
            return Ok(());
        };
        let query = self.query(reading, &part);
        let permit = self.context.permit(CallKind::Insights).await;
        match self
            .context
            .meta
            .order_report(permit.map_err(meta)?, &query)
            .await
        {
            Ok(run) => reading.pass.ordered(at, run, self.context.clock.now()),
            Err(VendorError::TooMuch { detail, .. }) => self.cut(reading, at, &detail),
            Err(error) => return Err(meta(error)),
        }
        Ok(())
    }

    /// Asks after a report, and reads it when it is ready.
    async fn ask(&mut self, reading: &mut Reading<'_>, at: usize) -> Result<(), Trouble> {
        let part = reading.pass.part(at).cloned();
        let Some((part, run)) = part.and_then(|part| {
            let run = part.order()?.run.clone();
            Some((part, run))
        }) else {
            return Ok(());
        };
        let context = self.context.clone();
        let limits = &context.tenant.reports;
        let permit = context.permit(CallKind::Insights).await.map_err(meta)?;
        let state = context.meta.report_state(permit, &run).await;
        let state = state.map_err(meta)?;
        let now = context.clock.now();
        let told = reading
            .pass
            .told(at, &state, now, limits, &reading.campaigns);
        if told != Outcome::Ready {
            self.note_outcome(told);
            return Ok(());
        }
        let pulled_at = reading.pass.pulled_at(at, now);
        let query = self.query(reading, &part);
        let state = match self.report_rows(reading.currency, &run, &query).await {
            Ok(Some(rows)) => return self.record(reading, at, &rows, pulled_at).await,
            Ok(None) => ReportState::Missing,
            Err(Trouble::Vendor(_, VendorError::TooMuch { .. })) if self.shrinks() => {
                ReportState::Running
            }
            Err(Trouble::Vendor(_, VendorError::TooMuch { detail, .. })) => {
                self.cut(reading, at, &detail);
                return Ok(());
            }
            // "Not ready yet", or a passing fault: it is asked after again.
            Err(Trouble::Vendor(_, VendorError::Retry { .. })) => ReportState::Running,
            Err(trouble) => return Err(trouble),
        };
        let told = reading
            .pass
            .told(at, &state, now, limits, &reading.campaigns);
        self.note_outcome(told);
        Ok(())
    }

    /// Reads a report to its end; `None` when it is not there.
    async fn report_rows(
        &self,
        currency: Currency,
        run: &str,
        query: &InsightsQuery,
    ) -> Result<Option<Vec<AdInsight>>, Trouble> {
        let client = &self.context.meta;
        let is_missing = std::sync::atomic::AtomicBool::new(false);
        let flag = &is_missing;
        let rows = self
            .pages(CallKind::Insights, |permit, after| async move {
                let page = client
                    .report_rows(permit, currency, run, query, after.as_ref())
                    .await?;
                flag.fetch_or(page.is_none(), std::sync::atomic::Ordering::Relaxed);
                Ok(page.unwrap_or_default())
            })
            .await?;
        Ok((!is_missing.into_inner()).then_some(rows))
    }
}
