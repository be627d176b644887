//! `roasd erase`: forgets one person, and prints the receipt.

use serde_json::{Value, json};

use super::context::{CliContext, Out, print_json, when};
use super::{Exit, complain};
use crate::domain::ids::{ContactId, TenantId};
use crate::store::privacy::Erasure;

/// What `erase` takes.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["contact", "email"]))]
pub struct EraseArgs {
    /// Whose customer it is.
    #[arg(long)]
    pub tenant: TenantId,
    /// The contact's id in the CRM.
    #[arg(long, value_name = "ID")]
    pub contact: Option<ContactId>,
    /// The person's mail address; it is hashed and looked up, and kept nowhere.
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When the database does not answer, there is no key of hashes, or the output cannot be written.
pub async fn run(args: &EraseArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let tenant = &args.tenant;
    if let Err(unknown) = ctx.chosen(Some(tenant)).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let mut contacts: Vec<ContactId> = args.contact.iter().cloned().collect();
    let mut email = None;
    if let Some(address) = &args.email {
        let hasher = crate::daemon::hasher_of(&ctx.config)?;
        let Some(hash) = hasher.email(address) else {
            complain("this is no mail address; or name the contact by --contact ID");
            return Ok(Exit::Usage);
        };
        contacts = ctx.store.contacts_of(tenant, &hash).await?;
        email = Some(hash);
    }
    let mut receipts = Vec::new();
    for contact in &contacts {
        let by = "an operator";
        let receipt = ctx.store.erase_contact(tenant, contact, by, ctx.now());
        receipts.push(receipt.await?);
    }
    // Of somebody who filled in a form at Meta and never got into the CRM.
    let mut alone = 0;
    if let Some(email) = &email {
        alone = ctx.store.erase_leads(tenant, email).await?;
    }
    if ctx.json {
        let erased: Vec<Value> = receipts.iter().map(receipt_json).collect();
        print_json(
            out,
            &json!({"tenant": tenant.as_str(), "erased": erased, "leads_without_contact": alone}),
        )?;
    } else {
        for receipt in &receipts {
            print(tenant, receipt, ctx, out)?;
        }
        if alone > 0 {
            writeln!(out, "erased leads of {tenant} without a contact: {alone}")?;
        }
    }
    if receipts.is_empty() && alone == 0 {
        complain(&format!(
            "nobody of tenant {tenant} is known by this address; contacts that were read before \
             their addresses were hashed are found by --contact ID alone"
        ));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

fn receipt_json(receipt: &Erasure) -> Value {
    json!({
        "contact": receipt.contact.as_str(),
        "at": receipt.at.to_string(),
        "asked_by": receipt.asked_by,
        "contacts": receipt.contacts,
        "deals": receipt.deals,
        "visits": receipt.visits,
        "leads": receipt.leads,
        "deliveries": receipt.deliveries,
    })
}

fn print(
    tenant: &TenantId,
    receipt: &Erasure,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<()> {
    let Erasure {
        contact,
        at,
        asked_by,
        contacts,
        deals,
        visits,
        leads,
        deliveries,
    } = receipt;
    writeln!(out, "erased contact {contact} of {tenant}")?;
    writeln!(
        out,
        "  when                          {}",
        when(*at, ctx.now())
    )?;
    writeln!(out, "  first asked for by            {asked_by}")?;
    writeln!(out, "  rows of the contact           {contacts}")?;
    writeln!(out, "  deals without name and link   {deals}")?;
    writeln!(out, "  visits without hashes and ids {visits}")?;
    writeln!(out, "  leads of lead forms           {leads}")?;
    writeln!(out, "  deliveries without bytes      {deliveries}")?;
    writeln!(
        out,
        "kept: stages, amounts and the ad they are credited to, which name nobody; and the contact's \
         id, so that a later read of the CRM does not bring the person back. Backups are yours to \
         clear, the CRM and Meta keep their own."
    )?;
    Ok(())
}
