//! `roasd check`: says whether the configuration is valid, and what it means.

pub mod online;

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::Exit;
use super::table::TextTable;
use crate::config::{Config, ConfigFaults, Environment, Fault, SHIPPED, Tenant};

/// What `roasd check` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CheckArgs {
    /// Prints for programs.
    #[arg(long)]
    pub json: bool,
    /// Prints the shipped configuration, with every key and its default, and checks nothing.
    #[arg(long, conflicts_with_all = ["json", "online"])]
    pub print_defaults: bool,
    /// Also ask Meta and HubSpot about every tenant: token, rights, account, currency, budgets,
    /// pipelines, stages. Writes nothing.
    #[arg(long)]
    pub online: bool,
    /// Ask about this tenant alone.
    #[arg(long, value_name = "TENANT", requires = "online")]
    pub tenant: Option<String>,
}

/// Checks the configuration at `file` (or where it is looked for) and prints to `out`; faults for
/// people go to `err`.
///
/// # Errors
/// When the output cannot be written, or a tenant cannot be asked about at all.
pub async fn run(
    args: &CheckArgs,
    file: Option<&Path>,
    environment: &Environment,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> anyhow::Result<Exit> {
    if args.print_defaults {
        out.write_all(SHIPPED.as_bytes())?;
        return Ok(Exit::Done);
    }
    match Config::load(file, environment) {
        Ok(config) if args.online => {
            online::run(&config, args.tenant.as_deref(), args.json, out).await
        }
        Ok(config) => {
            let report = report(&config);
            if args.json {
                writeln!(out, "{:#}", report.to_json())?;
            } else {
                report.print(io::stdout().is_terminal(), out)?;
            }
            Ok(Exit::Done)
        }
        Err(faults) => {
            if args.json {
                writeln!(out, "{:#}", faults_json(&faults))?;
            } else {
                writeln!(err, "{faults}")?;
            }
            Ok(Exit::Usage)
        }
    }
}

/// What a valid configuration means.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The files that were read.
    pub files: Vec<String>,
    /// What is not wrong and still not good.
    pub warnings: Vec<Fault>,
    /// The tenants.
    pub tenants: Vec<TenantLine>,
}

/// One tenant's line.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantLine {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Pipeline or direct.
    pub mode: String,
    /// What may happen to a decision.
    pub autonomy: String,
    /// The ad account.
    pub ad_account: String,
    /// The HubSpot account, when there is one.
    pub portal: Option<String>,
    /// The currency.
    pub currency: String,
    /// The cap, in main units with its currency.
    pub daily_cap: String,
    /// Its stages, in order of the funnel.
    pub stages: Vec<StageLine>,
    /// Each secret by its key, and whether it is there. Required ones always are, or the
    /// configuration would be at fault.
    pub secrets: Vec<(&'static str, bool)>,
}

/// One stage of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct StageLine {
    /// Its name.
    pub name: String,
    /// What a deal in it is worth, in main units.
    pub value: String,
    /// How sure that is.
    pub confidence: f64,
    /// The CRM's ids of it.
    pub crm_ids: Vec<String>,
    /// What it means.
    pub description: Option<String>,
}

/// Gathers what the configuration means, without asking anyone.
#[must_use]
pub fn report(config: &Config) -> Report {
    Report {
        files: config
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
        warnings: config.warnings.clone(),
        tenants: config
            .tenants
            .values()
            .map(|tenant| line(config, tenant))
            .collect(),
    }
}

fn line(config: &Config, tenant: &Tenant) -> TenantLine {
    let settings = &tenant.settings;
    let hubspot = settings.hubspot.as_ref();
    let mut secrets = vec![("meta token", true)];
    let app_secret = settings.meta.app_secret.is_some() || config.meta.app_secret.is_some();
    secrets.push(("app secret", app_secret));
    if let Some(hubspot) = hubspot {
        secrets.push(("hubspot token", true));
        let client = hubspot.client_secret.is_some() || config.hubspot.client_secret.is_some();
        secrets.push(("webhook secret", client));
    }
    TenantLine {
        id: tenant.id.to_string(),
        name: settings.name.clone(),
        mode: settings.mode.to_string(),
        autonomy: settings.autonomy.to_string(),
        ad_account: settings.meta.ad_account.to_string(),
        portal: hubspot.map(|hubspot| hubspot.portal_id.to_string()),
        currency: settings.currency.to_string(),
        daily_cap: settings.budget.daily_cap.to_string(),
        stages: tenant
            .stages
            .iter()
            .map(|stage| StageLine {
                name: stage.value.name.to_string(),
                value: stage.value.value.to_decimal(),
                confidence: stage.value.confidence,
                crm_ids: stage
                    .value
                    .vendor_ids
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                description: stage.description.clone(),
            })
            .collect(),
        secrets,
    }
}

impl Report {
    /// Prints it for people.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn print(&self, is_terminal: bool, out: &mut dyn Write) -> io::Result<()> {
        let n = self.tenants.len();
        let tenants = if n == 1 { "tenant" } else { "tenants" };
        writeln!(
            out,
            "the configuration is valid: {n} {tenants}, from {}",
            self.files.join(", ")
        )?;
        if n > 0 {
            let heads = [
                "tenant",
                "name",
                "mode",
                "autonomy",
                "ad account",
                "portal",
                "daily cap",
                "stages",
                "secrets",
            ];
            let mut table = TextTable::new(&heads, is_terminal).right(&[6]);
            for tenant in &self.tenants {
                let stages: Vec<String> = tenant
                    .stages
                    .iter()
                    .map(|stage| format!("{}={}", stage.name, stage.value))
                    .collect();
                let secrets: Vec<String> = tenant
                    .secrets
                    .iter()
                    .map(|(name, is_there)| {
                        format!("{name}: {}", if *is_there { "yes" } else { "no" })
                    })
                    .collect();
                table.row([
                    tenant.id.clone(),
                    tenant.name.clone(),
                    tenant.mode.clone(),
                    tenant.autonomy.clone(),
                    tenant.ad_account.clone(),
                    tenant.portal.clone().unwrap_or_else(|| "none".to_owned()),
                    tenant.daily_cap.clone(),
                    stages.join(" "),
                    secrets.join(", "),
                ]);
            }
            writeln!(out, "{}", table.render())?;
            self.print_stages(is_terminal, out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        Ok(())
    }

    fn print_stages(&self, is_terminal: bool, out: &mut dyn Write) -> io::Result<()> {
        let heads = [
            "tenant",
            "stage",
            "worth",
            "how sure",
            "in the CRM",
            "meaning",
        ];
        let mut table = TextTable::new(&heads, is_terminal).right(&[2, 3]);
        for tenant in &self.tenants {
            for stage in &tenant.stages {
                table.row([
                    tenant.id.clone(),
                    stage.name.clone(),
                    stage.value.clone(),
                    format!("{:.0} %", stage.confidence * 100.0),
                    stage.crm_ids.join(", "),
                    stage.description.clone().unwrap_or_default(),
                ]);
            }
        }
        writeln!(out, "{}", table.render())
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let tenants: Vec<Value> = self
            .tenants
            .iter()
            .map(|tenant| {
                let stages: Vec<Value> = tenant
                    .stages
                    .iter()
                    .map(|stage| {
                        json!({
                            "stage": stage.name, "value": stage.value,
                            "confidence": stage.confidence, "crm_ids": stage.crm_ids,
                            "description": stage.description,
                        })
                    })
                    .collect();
                let secrets: serde_json::Map<String, Value> = tenant
                    .secrets
                    .iter()
                    .map(|(name, is_there)| (name.replace(' ', "_"), Value::Bool(*is_there)))
                    .collect();
                json!({
                    "id": tenant.id,
                    "name": tenant.name,
                    "mode": tenant.mode,
                    "autonomy": tenant.autonomy,
                    "ad_account": tenant.ad_account,
                    "portal_id": tenant.portal,
                    "currency": tenant.currency,
                    "daily_cap": tenant.daily_cap,
                    "stages": stages,
                    "secrets": secrets,
                })
            })
            .collect();
        let warnings: Vec<Value> = self.warnings.iter().map(fault_json).collect();
        json!({ "valid": true, "files": self.files, "warnings": warnings, "tenants": tenants })
    }
}

fn faults_json(faults: &ConfigFaults) -> Value {
    let faults: Vec<Value> = faults.iter().map(fault_json).collect();
    json!({ "valid": false, "faults": faults })
}

fn fault_json(fault: &Fault) -> Value {
    json!({
        "file": &*fault.place.source,
        "line": fault.place.line,
        "column": fault.place.column,
        "key": fault.key,
        "kind": fault.kind.as_str(),
        "problem": fault.problem,
        "remedy": fault.remedy,
    })
}
