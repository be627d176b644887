//! `roasd token`: who may use the API.

use std::collections::BTreeSet;

use clap::Subcommand;
use serde_json::{Value, json};

use super::context::{CliContext, Out, clean, print_json, when};
use super::table::TextTable;
use super::{Exit, complain};
use crate::config::parse_duration;
use crate::daemon::random_bytes;
use crate::domain::api_token::{self, ApiToken, Ended, Scope};
use crate::domain::ids::{TenantId, TokenId};
use crate::domain::time::{self, SignedDuration, Timestamp};

/// What `token` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What can be done with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a token. It is shown once: only its hash is kept.
    ///
    /// Example:  roasd token create --tenant acme --name "the website" --scope ingest
    Create(CreateArgs),
    /// List tokens, never their texts.
    ///
    /// Example:  roasd token list
    List {
        /// Those that are good for this tenant.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Also those that are revoked or expired.
        #[arg(long)]
        all: bool,
    },
    /// Revoke tokens: every node refuses them within two seconds.
    ///
    /// Example:  roasd token revoke 3f9c2a7b1d0e
    Revoke {
        /// Their ids: the part between the first and the second underscore.
        #[arg(required = true)]
        ids: Vec<TokenId>,
    },
}

/// What a new token is for.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["tenant", "all_tenants"]))]
pub struct CreateArgs {
    /// The tenant that it is good for.
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// It is good for every tenant, those to come too.
    #[arg(long)]
    pub all_tenants: bool,
    /// What it is for, in your words; shown in lists. Acts are logged by the token's id.
    #[arg(long)]
    pub name: String,
    /// What it allows: read (look at everything, ask for advice), ingest (report clicks, conversions
    /// and events of the CRM), approve (approve, reject and undo changes; pause), admin (resume, settle
    /// the quarantine, and all else). May be given more than once.
    #[arg(long, required = true, value_parser = parse_scope)]
    pub scope: Vec<Scope>,
    /// How long it is good, such as 90d; for ever unless stated.
    #[arg(long, value_parser = parse_span)]
    pub expires: Option<SignedDuration>,
}

fn parse_scope(name: &str) -> Result<Scope, String> {
    Scope::parse(name).ok_or_else(|| {
        let names: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        format!("the scopes are {}", names.join(", "))
    })
}

fn parse_span(text: &str) -> Result<SignedDuration, String> {
    parse_duration(text)
        .filter(|span| span.is_positive())
        .ok_or_else(|| "give a time with its unit, such as 12h or 90d".to_owned())
}

/// Runs the command.
///
/// # Errors
/// When the database does not answer, the system gives no random bytes or the output cannot be
/// written.
pub async fn run(args: &TokenArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    match &args.command {
        TokenCommand::Create(args) => create(args, ctx, out).await,
        TokenCommand::List { tenant, all } => list(tenant.as_ref(), *all, ctx, out).await,
        TokenCommand::Revoke { ids } => revoke(ids, ctx, out).await,
    }
}

async fn create(args: &CreateArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    if let Err(unknown) = ctx.chosen(args.tenant.as_ref()).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let (secret, id) = (random_bytes()?, random_bytes()?);
    let (id, text) = api_token::text_of(&secret, &id);
    let now = ctx.now();
    let token = ApiToken {
        id,
        tenant: args.tenant.clone(),
        name: clean(&args.name),
        hash: api_token::hash(&text),
        scopes: args.scope.iter().copied().collect(),
        created_at: now,
        expires_at: args.expires.map(|span| time::add(now, span)),
        last_used_at: None,
        revoked_at: None,
    };
    ctx.store.create_token(&token).await?;
    if ctx.json {
        let mut value = token_json(&token, now);
        if let Some(map) = value.as_object_mut() {
            map.insert("token".to_owned(), json!(text));
        }
        print_json(out, &value)?;
        return Ok(Exit::Done);
    }
    writeln!(out, "{text}")?;
    writeln!(
        out,
        "\nThis is shown once and kept nowhere: put it where {} finds it. It is good for {} and \
         allows: {}.\nTo end it: roasd token revoke {}",
        token.name,
        whose(&token),
        scopes(&token.scopes),
        token.id
    )?;
    Ok(Exit::Done)
}

fn whose(token: &ApiToken) -> String {
    token.tenant.as_ref().map_or_else(
        || "every tenant".to_owned(),
        |tenant| format!("tenant {tenant}"),
    )
}

fn scopes(scopes: &BTreeSet<Scope>) -> String {
    let names: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(", ")
}

const fn state(token: &ApiToken, ended: Option<Ended>) -> &'static str {
    match ended {
        Some(Ended::Revoked) => "revoked",
        Some(Ended::Expired) => "expired",
        None if token.last_used_at.is_none() => "unused",
        None => "in use",
    }
}

fn token_json(token: &ApiToken, now: Timestamp) -> Value {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    json!({
        "id": token.id.as_str(),
        "tenant": token.tenant.as_ref().map(TenantId::as_str),
        "name": token.name,
        "scopes": scopes,
        "state": state(token, token.ended(now)),
        "created_at": token.created_at.to_string(),
        "expires_at": text(token.expires_at),
        "last_used_at": text(token.last_used_at),
        "revoked_at": text(token.revoked_at),
    })
}

async fn list(
    tenant: Option<&TenantId>,
    all: bool,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    if let Err(unknown) = ctx.chosen(tenant).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let now = ctx.now();
    let mut tokens = ctx.store.tokens(tenant).await?;
    tokens.retain(|token| all || token.ended(now).is_none());
    if ctx.json {
        let tokens: Vec<Value> = tokens.iter().map(|token| token_json(token, now)).collect();
        print_json(out, &json!({ "tokens": tokens }))?;
        return Ok(Exit::Done);
    }
    if tokens.is_empty() {
        writeln!(
            out,
            "no tokens; roasd token create --tenant T --name NAME --scope read makes one"
        )?;
        return Ok(Exit::Done);
    }
    let heads = [
        "id",
        "name",
        "tenant",
        "scopes",
        "state",
        "last used",
        "expires",
    ];
    let mut table = TextTable::new(&heads, ctx.is_terminal);
    for token in &tokens {
        let shown = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| when(at, now));
        let tenant = token.tenant.as_ref();
        table.row([
            token.id.to_string(),
            token.name.clone(),
            tenant.map_or("all".to_owned(), ToString::to_string),
            scopes(&token.scopes),
            state(token, token.ended(now)).to_owned(),
            shown(token.last_used_at),
            shown(token.expires_at),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    Ok(Exit::Done)
}

async fn revoke(ids: &[TokenId], ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let (mut done, mut missing) = (Vec::new(), Vec::new());
    for id in ids {
        match ctx.store.revoke_token(id, ctx.now()).await? {
            Some(token) => done.push(token),
            None => missing.push(id),
        }
    }
    if ctx.json {
        let done: Vec<Value> = done.iter().map(|t| token_json(t, ctx.now())).collect();
        let missing: Vec<&str> = missing.iter().map(|id| id.as_str()).collect();
        print_json(out, &json!({ "revoked": done, "missing": missing }))?;
    } else {
        for token in &done {
            writeln!(
                out,
                "revoked {} ({}): every node refuses it within two seconds",
                token.id,
                clean(&token.name)
            )?;
        }
        for id in &missing {
            complain(&format!(
                "there is no token {id}; `roasd token list --all` shows them"
            ));
        }
    }
    Ok(if missing.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}
