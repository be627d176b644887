//! The configuration as an operator meets it: what is valid, and how every mistake is told.

use std::path::Path;

use roasd::cli::check::{self, CheckArgs};
use roasd::cli::{Exit, run};
use roasd::config::{Config, ConfigFaults, Default, Environment, FaultKind, Key, Mode, SHIPPED};
use roasd::daemon::Parts;
use roasd::domain::autonomy::{ActionKind, Autonomy};
use roasd::domain::ids::TenantId;
use roasd::domain::money::{Currency, Money};
use roasd::domain::time::{hours, seconds};
use secrecy::ExposeSecret as _;

const TOKEN: &str = "EAAB-very-secret";

const VALID: &str = r#"
[daemon]
public_url = "https://roasd.example.com"

[defaults]
template = "service"
[defaults.budget]
max_change = "15%"

[tenants.ptd_fitness]
name = "PTD Fitness"
autonomy = { default = "approve", pause = "auto" }
currency = "USD"
meta = { ad_account = "act_1", access_token = { env = "META_TOKEN" } }
hubspot = { portal_id = 1, access_token = { env = "HUBSPOT_TOKEN" } }
budget = { daily_cap = "500.00", min_per_ad_set = "5.00" }
limits = { jitter = "2s..9s" }
fx = { EUR = "1.08" }
[tenants.ptd_fitness.stages]
lead = { value = "0", confidence = 0.10 }
appointment = { value = "2250.00", confidence = 0.6, hubspot_stage = ["111", "112"] }
closed_won = { value = "15000.00", confidence = 1 }
closed_lost = { value = "0", confidence = 1.0 }

[tenants.shop]
name = "Shop"
currency = "EUR"
mode = "direct"
meta = { ad_account = "2", access_token = { env = "META_TOKEN" } }
budget = { daily_cap = "50" }
"#;

fn environment() -> Environment {
    Environment::from([("META_TOKEN", TOKEN), ("HUBSPOT_TOKEN", "pat-secret")])
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn faults(text: &str) -> ConfigFaults {
    Config::from_text("config.toml", text, &environment()).unwrap_err()
}

/// Puts `line` in the place of the line of [`VALID`] that begins with `start`, and expects exactly
/// one fault: at that line, of this kind and key, with these words in it.
fn check(start: &str, line: &str, kind: FaultKind, key: &str, words: &[&str]) {
    let at = VALID.lines().position(|l| l.starts_with(start)).unwrap();
    let text: Vec<&str> = VALID
        .lines()
        .enumerate()
        .map(|(i, old)| if i == at { line } else { old })
        .collect();
    let faults = faults(&text.join("\n"));
    let shown = faults.to_string();
    assert_eq!(faults.len(), 1, "{line}: {shown}");
    let fault = faults.iter().next().unwrap();
    assert_eq!(fault.kind, kind, "{shown}");
    assert_eq!(fault.key, key, "{shown}");
    assert_eq!(&*fault.place.source, "config.toml", "{shown}");
    assert_eq!(fault.place.line as usize, at + 1, "{shown}");
    assert!(fault.place.column > 0, "{shown}");
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in: {shown}");
    }
}

#[test]
fn a_valid_file_is_read_whole() {
    let config = Config::from_text("config.toml", VALID, &environment()).unwrap();
    assert_eq!(config.daemon.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(config.tenants.len(), 2);

    let gym = &config.tenants[&tenant("ptd_fitness")];
    let limits = gym.guard_limits();
    assert_eq!(limits.daily_cap, Money::from_minor(50_000, Currency::USD));
    assert_eq!(
        limits.max_change.fraction(),
        0.15,
        "from [defaults], joined with the tenant's own"
    );
    assert_eq!(limits.velocity_window, hours(6));
    assert_eq!(
        (limits.jitter.min(), limits.jitter.max()),
        (seconds(2), seconds(9))
    );
    assert_eq!(
        gym.settings.autonomy.for_action(ActionKind::Raise),
        Autonomy::Approve
    );
    assert_eq!(
        gym.settings.autonomy.for_action(ActionKind::Pause),
        Autonomy::Auto
    );
    assert_eq!(gym.settings.fx["EUR"], 1.08);
    assert_eq!(gym.settings.meta.access_token.expose(), TOKEN);
    assert_eq!(gym.sales_cycle_days(), 6.0);
    let stages: Vec<String> = gym
        .stages
        .iter()
        .map(|s| {
            format!(
                "{}={} {:?}",
                s.value.name,
                s.value.value,
                s.value.vendor_ids.len()
            )
        })
        .collect();
    assert_eq!(
        stages,
        [
            "lead=0.00 USD 1",
            "appointment=2250.00 USD 2",
            "closed_won=15000.00 USD 2",
            "closed_lost=0.00 USD 2"
        ],
        "its own stages, in the order of the file"
    );

    let shop = &config.tenants[&tenant("shop")];
    assert_eq!(shop.settings.mode, Mode::Direct);
    assert!(
        shop.settings.autonomy.only_observes(),
        "observe unless stated"
    );
    assert_eq!(shop.settings.hubspot, None);
    assert_eq!(shop.stages.len(), 5, "the template of [defaults]");
    assert_eq!(shop.sales_cycle_days(), 0.25);
}

#[test]
fn a_misspelt_key_is_named_with_its_line_and_what_was_meant() {
    use FaultKind::UnknownKey;
    check(
        "public_url",
        "pubic_url = 'https://a.b'",
        UnknownKey,
        "daemon.pubic_url",
        &["did you mean \"public_url\"?", "config.toml:3:1"],
    );
    check(
        "autonomy",
        "autonomi = 'auto'",
        UnknownKey,
        "tenants.ptd_fitness.autonomi",
        &["\"autonomy\""],
    );
    check(
        "budget = { daily_cap = \"500",
        "budget = { daily_cap = \"500\", max_chnage = \"10%\" }",
        UnknownKey,
        "tenants.ptd_fitness.budget.max_chnage",
        &["\"max_change\""],
    );
    check(
        "max_change",
        "velocity = '6h'",
        UnknownKey,
        "defaults.budget.velocity",
        &["there is no setting \"velocity\" here"],
    );
    check(
        "limits",
        "limits = { fuzz = '3%' }",
        UnknownKey,
        "tenants.ptd_fitness.limits.fuzz",
        &["budget.fuzz"],
    );
    check(
        "lead =",
        "lead = { value = '0', confidence = 0.1, color = 'red' }",
        UnknownKey,
        "tenants.ptd_fitness.stages.lead.color",
        &["known here: value, confidence, hubspot_stage, description"],
    );
    check(
        "[daemon]",
        "[deamon]",
        UnknownKey,
        "deamon",
        &["did you mean \"daemon\"?"],
    );
}

#[test]
fn a_wrong_type_says_what_was_expected_and_found() {
    use FaultKind::WrongType;
    check(
        "public_url",
        "listen = 8787",
        WrongType,
        "daemon.listen",
        &[
            "expected an address with a port, found a whole number",
            "127.0.0.1:8787",
        ],
    );
    check(
        "budget = { daily_cap = \"50\"",
        "budget = { daily_cap = 50 }",
        WrongType,
        "tenants.shop.budget.daily_cap",
        &["an amount of money", "in quotes"],
    );
    check(
        "max_change",
        "max_change = 0.2",
        WrongType,
        "defaults.budget.max_change",
        &["a percentage", "\"20%\""],
    );
    check(
        "max_change",
        "velocity_window = 6",
        WrongType,
        "defaults.budget.velocity_window",
        &["a duration", "\"6h\""],
    );
    check(
        "limits",
        "limits = { kills_per_day = '3' }",
        WrongType,
        "tenants.ptd_fitness.limits.kills_per_day",
        &["a whole number", "without quotes"],
    );
    check(
        "limits",
        "limits = 3",
        WrongType,
        "tenants.ptd_fitness.limits",
        &["a table"],
    );
    check(
        "limits",
        "rules = { hierarchy = 'no' }",
        WrongType,
        "tenants.ptd_fitness.rules.hierarchy",
        &["true or false"],
    );
}

#[test]
fn a_value_that_cannot_be_says_what_can() {
    use FaultKind::BadValue;
    check(
        "max_change",
        "max_change = '20'",
        BadValue,
        "defaults.budget.max_change",
        &["percent sign"],
    );
    check(
        "max_change",
        "max_change = '80%'",
        BadValue,
        "defaults.budget.max_change",
        &["too large", "50%"],
    );
    check(
        "max_change",
        "velocity_window = '6 hours'",
        BadValue,
        "defaults.budget.velocity_window",
        &["ms, s, m, h, d, w"],
    );
    check(
        "limits",
        "limits = { jitter = '18s..3s' }",
        BadValue,
        "tenants.ptd_fitness.limits.jitter",
        &["the shorter one first"],
    );
    check(
        "limits",
        "limits = { jitter = '3s' }",
        BadValue,
        "tenants.ptd_fitness.limits.jitter",
        &["\"3s..18s\""],
    );
    check(
        "autonomy",
        "autonomy = 'atuo'",
        BadValue,
        "tenants.ptd_fitness.autonomy",
        &["did you mean \"auto\"?"],
    );
    check(
        "currency = \"USD\"",
        "currency = 'usd'",
        BadValue,
        "tenants.ptd_fitness.currency",
        &["write \"USD\""],
    );
    check(
        "currency = \"USD\"",
        "currency = 'XBT'",
        BadValue,
        "tenants.ptd_fitness.currency",
        &["not one that Meta bills in"],
    );
    check(
        "budget = { daily_cap = \"50\"",
        "budget = { daily_cap = '-1' }",
        BadValue,
        "tenants.shop.budget.daily_cap",
        &["negative"],
    );
    check(
        "budget = { daily_cap = \"50\"",
        "budget = { daily_cap = '0' }",
        BadValue,
        "tenants.shop.budget.daily_cap",
        &["too small"],
    );
    check(
        "budget = { daily_cap = \"50\"",
        "budget = { daily_cap = '50 EUR' }",
        BadValue,
        "tenants.shop.budget.daily_cap",
        &["without a currency"],
    );
    check(
        "lead =",
        "lead = { value = '0', confidence = 10 }",
        BadValue,
        "tenants.ptd_fitness.stages.lead.confidence",
        &["from 0 to 1"],
    );
    check(
        "fx",
        "fx = { eur = '1.08' }",
        BadValue,
        "tenants.ptd_fitness.fx.eur",
        &["three capital letters"],
    );
    check(
        "public_url",
        "public_url = 'http://roasd.example.com'",
        BadValue,
        "daemon.public_url",
        &["not https"],
    );
    check(
        "public_url",
        "log = 'roasd=loud'",
        BadValue,
        "daemon.log",
        &["filter"],
    );
    check(
        "[tenants.shop]",
        "[tenants.Shop]",
        BadValue,
        "tenants.Shop",
        &["a-z"],
    );
    check(
        "meta = { ad_account = \"2\"",
        "meta = { ad_account = 'act_x', access_token = { env = 'META_TOKEN' } }",
        BadValue,
        "tenants.shop.meta.ad_account",
        &["act_"],
    );
}

#[test]
fn the_cap_has_no_default() {
    let text = VALID.replace("budget = { daily_cap = \"50\" }", "");
    let faults = faults(&text);
    let fault = faults.iter().next().unwrap();
    assert_eq!(faults.len(), 1, "{faults}");
    assert_eq!(fault.kind, FaultKind::Missing);
    assert_eq!(fault.key, "tenants.shop.budget.daily_cap");
    let header = VALID.lines().position(|l| l == "[tenants.shop]").unwrap() + 1;
    assert_eq!(
        fault.place.line as usize, header,
        "where the tenant begins: {faults}"
    );
}

#[test]
fn a_secret_is_found_or_missed_and_never_in_the_file() {
    use FaultKind::Secret;
    let meta = |secret: &str| format!("meta = {{ ad_account = '2', access_token = {secret} }}");
    let key = "tenants.shop.meta.access_token";
    let start = "meta = { ad_account = \"2\"";
    check(
        start,
        &meta("'EAAB-plain'"),
        Secret,
        key,
        &["must not stand in the file", "env = \"NAME\""],
    );
    check(
        start,
        &meta("{ env = 'NOT_SET' }"),
        Secret,
        key,
        &["NOT_SET is not set"],
    );
    check(
        start,
        &meta("{ file = '/nonexistent/secret' }"),
        Secret,
        key,
        &["/nonexistent/secret cannot be read"],
    );
    check(
        start,
        &meta("{ credential = 'meta' }"),
        Secret,
        key,
        &["CREDENTIALS_DIRECTORY"],
    );
    check(
        start,
        &meta("{ env = 'META_TOKEN', file = 'x' }"),
        Secret,
        key,
        &["exactly one source"],
    );
    check(
        start,
        &meta("{ vault = 'x' }"),
        Secret,
        &format!("{key}.vault"),
        &["not a source"],
    );
    check(
        "public_url",
        "database_url = 'postgres://u:hunter2@h/d'",
        Secret,
        "daemon.database_url",
        &["password"],
    );
}

#[test]
fn a_secret_is_in_no_debug_output_and_no_fault() {
    let config = Config::from_text("config.toml", VALID, &environment()).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains(TOKEN) && !shown.contains("pat-secret"));
    assert!(shown.contains("META_TOKEN"));
    for text in [
        VALID.replace("{ env = \"META_TOKEN\" }", "'EAAB-plain-secret'"),
        VALID.replace("{ env = \"META_TOKEN\" }", "['EAAB-plain-secret']"),
        format!("{VALID}\n[meta]\nbase_url = 'https://u:EAAB-plain-secret@h'"),
        VALID.replacen(
            "[daemon]",
            "[daemon]\ndatabase_url = 'postgres://u:EAAB-plain-secret@h/d'",
            1,
        ),
    ] {
        let shown = faults(&text).to_string();
        assert!(!shown.contains("EAAB-plain-secret"), "{shown}");
    }
}

#[test]
fn all_faults_are_told_at_once_in_order() {
    let text = VALID
        .replace("public_url = \"https", "public_url = \"ftp")
        .replace("max_change = \"15%\"", "max_change = \"15\"")
        .replace("name = \"PTD Fitness\"", "nmae = \"PTD Fitness\"")
        .replace("{ env = \"HUBSPOT_TOKEN\" }", "{ env = \"GONE\" }")
        .replace("currency = \"EUR\"", "currency = \"EURO\"");
    let faults = faults(&text);
    let keys: Vec<(u32, &str)> = faults
        .iter()
        .map(|f| (f.place.line, f.key.as_str()))
        .collect();
    assert_eq!(
        keys,
        [
            (3, "daemon.public_url"),
            (8, "defaults.budget.max_change"),
            (10, "tenants.ptd_fitness.name"),
            (11, "tenants.ptd_fitness.nmae"),
            (15, "tenants.ptd_fitness.hubspot.access_token"),
            (27, "tenants.shop.currency"),
        ],
        "{faults}"
    );
    assert!(
        faults
            .to_string()
            .starts_with("the configuration has 6 faults:\n  config.toml:3:1: ")
    );
}

#[test]
fn what_is_not_toml_is_told_with_the_other_faults() {
    let text = VALID
        .replace("max_change = \"15%\"", "max_change = ")
        .replace("name = \"Shop\"", "name = 7");
    let faults = faults(&text);
    let kinds: Vec<(u32, FaultKind)> = faults.iter().map(|f| (f.place.line, f.kind)).collect();
    assert!(kinds.contains(&(8, FaultKind::Syntax)), "{faults}");
    assert!(kinds.contains(&(26, FaultKind::WrongType)), "{faults}");
}

#[test]
fn an_account_and_a_portal_belong_to_one_tenant() {
    use FaultKind::Conflict;
    check(
        "meta = { ad_account = \"2\"",
        "meta = { ad_account = 'act_1', access_token = { env = 'META_TOKEN' } }",
        Conflict,
        "tenants.shop.meta.ad_account",
        &["act_1 belongs to tenants.ptd_fitness.meta.ad_account already (config.toml:14:10)"],
    );
    check(
        "mode = \"direct\"",
        "hubspot = { portal_id = 1, access_token = { env = 'HUBSPOT_TOKEN' } }",
        Conflict,
        "tenants.shop.hubspot.portal_id",
        &["the HubSpot account 1"],
    );
}

#[test]
fn settings_that_cannot_hold_together_are_refused() {
    /// The only fault of `[tenants.ptd_fitness]` with this line in the place of its budget.
    fn refuses(line: &str, key: &str, words: &str) {
        let old = "budget = { daily_cap = \"500.00\", min_per_ad_set = \"5.00\" }";
        assert!(VALID.contains(old));
        let at = VALID.lines().position(|l| l == old).unwrap() + 1;
        let faults = faults(&VALID.replace(old, line));
        let fault = faults.iter().next().unwrap();
        assert_eq!(faults.len(), 1, "{faults}");
        assert_eq!(fault.kind, FaultKind::Conflict, "{faults}");
        assert_eq!(
            (fault.key.as_str(), fault.place.line as usize),
            (key, at),
            "{faults}"
        );
        assert!(fault.problem.contains(words), "{faults}");
    }
    refuses(
        "budget = { daily_cap = '500', fuzz = '5%', max_change = '4%' }",
        "tenants.ptd_fitness.budget.fuzz",
        "no change could be sent",
    );
    refuses(
        "budget = { daily_cap = '4', min_per_ad_set = '5' }",
        "tenants.ptd_fitness.budget.daily_cap",
        "below min_per_ad_set",
    );
    refuses(
        "quality = { max_insight_age = '3h', max_crm_age = '4h' }\nschedule = { sync_every = '3h' }\n\
         budget = { daily_cap = '500' }",
        "tenants.ptd_fitness.quality.max_insight_age",
        "always be too old",
    );
}

#[test]
fn a_tier_is_an_apps_and_an_app_has_one() {
    use FaultKind::Conflict;
    let start = "meta = { ad_account = \"2\"";
    let meta = |more: &str| {
        format!("meta = {{ ad_account = '2', access_token = {{ env = 'META_TOKEN' }}, {more} }}")
    };
    let key = "tenants.shop.meta.access_tier";
    check(
        start,
        &meta("access_tier = 'standard'"),
        Conflict,
        key,
        &["no app of its own"],
    );
    let own = "app_id = '7', app_secret = { env = 'META_TOKEN' }, access_tier";
    let two = VALID
        .replace(
            "meta = { ad_account = \"act_1\", access_token = { env = \"META_TOKEN\" } }",
            &meta(&format!("{own} = 'development'")).replace("'2'", "'1'"),
        )
        .replace(
            "meta = { ad_account = \"2\", access_token = { env = \"META_TOKEN\" } }",
            &meta(&format!("{own} = 'standard'")),
        );
    let found = faults(&two);
    let fault = found.iter().next().unwrap();
    assert_eq!((found.len(), fault.kind, &*fault.key), (1, Conflict, key));
    let first = "7 is development by tenants.ptd_fitness.meta.access_tier";
    assert!(fault.problem.contains(first), "{found}");
    let one = two.replace("'standard'", "'development'");
    assert!(Config::from_text("c", &one, &environment()).is_ok());
    let text = format!("[meta]\napp_id = '7'\naccess_tier = 'standard'\n{one}");
    assert_eq!(faults(&text).len(), 2, "{}", faults(&text));
}

#[test]
fn a_stage_of_the_crm_belongs_to_one_stage_and_one_is_the_sale() {
    use FaultKind::{BadValue, Conflict, Missing};
    let key = "tenants.ptd_fitness.stages";
    check(
        "closed_won =",
        "closed_won = { value = '15000', confidence = 1, hubspot_stage = '111' }",
        Conflict,
        &format!("{key}.closed_won"),
        &["111 belongs to appointment already"],
    );
    check(
        "closed_lost =",
        "closed_lost = { value = '5', confidence = 1 }",
        BadValue,
        &format!("{key}.closed_lost"),
        &["worth nothing"],
    );
    let text = VALID.replace("closed_won = {", "won = {");
    let faults = faults(&text);
    let fault = faults.iter().next().unwrap();
    assert_eq!(
        (fault.kind, fault.key.as_str(), faults.len()),
        (Missing, key, 1),
        "{faults}"
    );
    assert!(
        text.lines()
            .nth(fault.place.line as usize - 1)
            .unwrap()
            .ends_with(".stages]")
    );
}

#[test]
fn a_clock_at_another_speed_needs_a_beginning() {
    let faults = faults("[clock]\nspeed = 2.0\n");
    let fault = faults
        .iter()
        .find(|f| f.kind == FaultKind::Missing)
        .unwrap();
    assert_eq!(
        (fault.key.as_str(), fault.place.line),
        ("clock.epoch", 1),
        "{faults}"
    );
}

#[test]
fn a_rehearsals_clock_is_refused_with_real_vendors() {
    let clock = "[clock]\nspeed = 60.0\nepoch = 2026-01-01T00:00:00Z\nanchor = 1790000000\n";
    let faults = faults(clock);
    assert_eq!(faults.len(), 2, "{faults}");
    for (fault, url) in faults
        .iter()
        .zip(["meta.base_url", "hubspot.base_url"].iter().rev())
    {
        assert_eq!(
            (fault.key.as_str(), fault.place.line),
            ("clock.speed", 2),
            "{fault}"
        );
        assert!(fault.problem.contains(url), "{fault}");
    }
    let local = "[meta]\nbase_url = 'http://127.0.0.1:1'\n[hubspot]\nbase_url = 'http://[::1]:1'\n";
    let config = Config::from_text("c", &format!("{clock}{local}"), &environment()).unwrap();
    assert_eq!(config.clock.speed, 60.0);
}

#[test]
fn a_currency_without_decimals_takes_none_and_has_no_default_amounts() {
    let text = |cap: &str, more: &str| {
        format!(
            "[tenants.j]\nname = 'J'\ncurrency = 'JPY'\nmode = 'direct'\n\
             meta = {{ ad_account = '3', access_token = {{ env = 'META_TOKEN' }} }}\n\
             budget = {{ daily_cap = '{cap}'{more} }}\n"
        )
    };
    let rules = "rules = { min_spend_for_kill = '20000', rotate_spend = '6000', ignorance_zone = { spend = '10000' } }\n\
                 stages = { purchase = { value = '6000', confidence = 1.0 } }\n";
    let whole = text("50000", ", min_per_ad_set = '500'") + rules;
    let config = Config::from_text("c", &whole, &environment()).unwrap();
    let cap = config.tenants[&tenant("j")].guard_limits().daily_cap;
    assert_eq!(cap, Money::from_minor(50_000, Currency::JPY));

    let decimals = faults(&(text("500.50", ", min_per_ad_set = '500'") + rules));
    assert!(
        decimals.to_string().contains("c") && decimals.len() == 1,
        "{decimals}"
    );
    assert!(
        decimals.to_string().contains("JPY has no decimals"),
        "{decimals}"
    );

    // "200.00" would be a dollar and a half.
    let defaults = faults(&text("50000", ""));
    let keys: Vec<&str> = defaults.iter().map(|f| f.key.as_str()).collect();
    for key in [
        "budget.min_per_ad_set",
        "rules.min_spend_for_kill",
        "rules.rotate_spend",
        "rules.ignorance_zone.spend",
    ] {
        assert!(
            keys.contains(&format!("tenants.j.{key}").as_str()),
            "{key}: {defaults}"
        );
    }
    assert!(defaults.iter().all(|f| f.place.line == 1), "{defaults}");
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = Environment::from([
        ("META_TOKEN", TOKEN),
        ("HUBSPOT_TOKEN", "x"),
        ("STATE_DIRECTORY", "/var/lib/roasd:/other"),
        ("ROASD__DAEMON__LISTEN", "127.0.0.1:9999"),
        ("ROASD__TENANTS__PTD_FITNESS__BUDGET__DAILY_CAP", "7.50"),
        ("ROASD__TENANTS__SHOP__RULES__HIERARCHY", "true"),
        ("ROASD__TENANTS__SHOP__RULES__DRAWS", "3"),
        (
            "ROASD__TENANTS__SHOP__META__ACCESS_TOKEN",
            "from-the-environment",
        ),
        ("ROASD__TENANTS__SHOP__FX", "{ GBP = \"1.2\" }"),
    ]);
    let config = Config::from_text("config.toml", VALID, &environment).unwrap();
    assert_eq!(config.daemon.listen.port(), 9999);
    assert_eq!(config.daemon.data_dir, Path::new("/var/lib/roasd"));
    assert_eq!(
        config.database_url().expose(),
        "sqlite:///var/lib/roasd/roasd.db"
    );
    let cap = config.tenants[&tenant("ptd_fitness")]
        .guard_limits()
        .daily_cap;
    assert_eq!(cap.minor(), 750);
    let shop = &config.tenants[&tenant("shop")].settings;
    assert!(shop.rules.hierarchy);
    assert_eq!(shop.rules.draws, 3);
    assert_eq!(shop.meta.access_token.expose(), "from-the-environment");
    assert_eq!(shop.fx["GBP"], 1.2);

    let wrong = Environment::from([
        ("ROASD__DAEMON__LSITEN", "x"),
        ("ROASD__CLOCK__SPEED", "fast"),
    ]);
    let faults = Config::from_text("config.toml", "", &wrong)
        .unwrap_err()
        .to_string();
    assert!(
        faults.contains("environment variable ROASD__DAEMON__LSITEN: daemon.lsiten: "),
        "{faults}"
    );
    assert!(
        faults.contains("environment variable ROASD__CLOCK__SPEED: clock.speed: "),
        "{faults}"
    );
}

#[test]
fn more_tenants_stand_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let drop_in = dir.path().join("tenants.d");
    std::fs::create_dir(&drop_in).unwrap();
    let (main, shop) = VALID.split_at(VALID.find("[tenants.shop]").unwrap());
    std::fs::write(&file, main).unwrap();
    std::fs::write(drop_in.join("shop.toml"), shop).unwrap();
    std::fs::write(drop_in.join("notes.txt"), "not a tenant").unwrap();
    let config = Config::load(Some(&file), &environment()).unwrap();
    assert_eq!(config.tenants.len(), 2);
    assert_eq!(config.files.len(), 2);

    std::fs::write(
        drop_in.join("twice.toml"),
        format!("[daemon]\nlog = 'info'\n{shop}"),
    )
    .unwrap();
    let faults = Config::load(Some(&file), &environment()).unwrap_err();
    let shown = faults.to_string();
    assert_eq!(faults.len(), 2, "{shown}");
    assert!(shown.contains("tenants and nothing else"), "{shown}");
    assert!(
        shown.contains("the tenant stands in") && shown.contains("shop.toml:1"),
        "{shown}"
    );
    assert!(
        faults
            .iter()
            .all(|f| f.place.source.ends_with("tenants.d/twice.toml")),
        "{shown}"
    );
}

#[test]
fn a_secret_file_is_read_and_one_open_to_all_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("token");
    std::fs::write(&secret, "from-a-file\n").unwrap();
    let file = dir.path().join("config.toml");
    // Relative to the file, not to where roasd was started.
    let text = VALID.replacen("{ env = \"META_TOKEN\" }", "{ file = \"token\" }", 1);
    std::fs::write(&file, text).unwrap();
    for (mode, warnings) in [(0o600, 0), (0o644, 1)] {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = Config::load(Some(&file), &environment()).unwrap();
        let gym = &config.tenants[&tenant("ptd_fitness")];
        assert_eq!(gym.settings.meta.access_token.expose(), "from-a-file");
        assert_eq!(config.warnings.len(), warnings, "{:?}", config.warnings);
    }
}

#[test]
fn a_missing_file_is_a_fault_that_names_it() {
    let path = Path::new("/nonexistent/roasd.toml");
    let faults = Config::load(Some(path), &environment()).unwrap_err();
    assert!(
        faults
            .to_string()
            .contains("/nonexistent/roasd.toml: it cannot be read"),
        "{faults}"
    );
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let none = Environment::empty();
    let shipped = Config::from_text("config.toml", SHIPPED, &none).unwrap();
    let mut empty = Config::from_text("config.toml", "", &none).unwrap();
    empty.warnings.clone_from(&shipped.warnings);
    assert_eq!(shipped, empty);
    for (path, _) in roasd::config::reference::all_keys() {
        let name = path.rsplit('.').next().unwrap();
        assert!(SHIPPED.contains(&format!("{name} = ")), "{path}");
    }
}

/// A configuration in which every key can be changed alone: a rehearsal, a tenant with all there is,
/// and one whose stages are a template's.
const CHANGEABLE: &str = r#"
[clock]
epoch = "2026-02-01T00:00:00Z"
anchor = 1780000000
[meta]
base_url = "http://127.0.0.1:1"
[hubspot]
base_url = "http://127.0.0.1:2"
[alerts]
webhook_url = "https://ops.example.com/alerts"
mail_host = "smtp.acme.example"
mail_user = "u"
mail_password = { env = "META_TOKEN" }
mail_from = "roasd@acme.example"
mail_to = ["a@acme.example"]
[tenants.acme]
name = "Acme"
currency = "USD"
meta = { ad_account = "act_1", access_token = { env = "META_TOKEN" } }
hubspot = { portal_id = 1, access_token = { env = "HUBSPOT_TOKEN" } }
budget = { daily_cap = "700.00" }
alerts = { mail_to = ["buyer@acme.example"] }
[tenants.acme.stages]
lead = { value = "0", confidence = 0.10 }
closed_won = { value = "15000.00", confidence = 1 }
[tenants.bare]
name = "Bare"
currency = "USD"
template = "b2b_saas"
meta = { ad_account = "act_3", access_token = { env = "META_TOKEN" } }
hubspot = { portal_id = 3, access_token = { env = "HUBSPOT_TOKEN" } }
budget = { daily_cap = "50.00" }
"#;

/// A valid value of a key that is neither its default nor what [`CHANGEABLE`] says.
fn other_value(path: &str, key: &Key) -> String {
    let stated = match (path, key.default) {
        ("daemon.listen", _) => "127.0.0.1:1",
        ("daemon.data_dir", _) => "/elsewhere",
        ("daemon.log", _) => "debug",
        ("daemon.log_format", _) => "json",
        ("privacy.hash_key", _) => "0123456789abcdef",
        ("meta.base_url" | "hubspot.base_url", _) => "http://127.0.0.1:9",
        ("meta.api_version" | "tenants.<id>.meta.api_version", _) => "v99.0",
        ("meta.access_tier", _) => "standard",
        ("hubspot.api_version", _) => "2027-03",
        ("tenants.<id>.autonomy", _) => "auto",
        ("tenants.<id>.mode", _) => "direct",
        ("tenants.<id>.currency", _) => "EUR",
        ("tenants.<id>.click_origins", _) => r#"["https://acme.example"]"#,
        ("tenants.<id>.meta.page_ids", _) => r#"["101234567890123"]"#,
        ("tenants.<id>.manage.ids", _) => r#"["120210000000000"]"#,
        ("tenants.<id>.manage.names", _) => r#"["Leads *"]"#,
        ("tenants.<id>.calendar.blackouts", _) => r#"["Fri 18:00..Mon 08:00"]"#,
        ("tenants.<id>.calendar.outside_hours", _) => "everything",
        ("tenants.<id>.fx", _) => r#"{ EUR = "1.08" }"#,
        ("tenants.<id>.rules.sales_cycle_days", _) => "7.5", // the example is the mode's own
        ("tenants.<id>.rules.kill_rule", _) => "raw",
        ("tenants.<id>.rules.ignorance_zone.join", _) => "and",
        ("tenants.<id>.hubspot.pipelines", _) => r#"["gym"]"#,
        ("alerts.mail_to" | "tenants.<id>.alerts.mail_to", _) => r#"["other@acme.example"]"#,
        ("alerts.slack" | "tenants.<id>.alerts.slack", _) => "https://hooks.example.com/x",
        ("alerts.mail_encryption", _) => "tls",
        ("alerts.mail_password", _) => "another-secret",
        ("alerts.from", _) => "warning",
        (path, Default::Text(_)) if path.ends_with("_property") => "other_property",
        (path, _) if path.ends_with("_secret") || path.ends_with("_token") => "another-secret",
        (_, Default::Text(text) | Default::Optional(text) | Default::Required(text)) => text,
        (_, Default::Table) => panic!("{path} is a table"),
    };
    let Default::Text(default) = key.default else {
        // An example differs from what is not stated, or from what is stated here.
        return stated.trim_matches('"').to_owned();
    };
    if stated != default {
        return stated.to_owned();
    }
    let text = stated.trim_matches('"');
    if let Ok(is_on) = text.parse::<bool>() {
        return (!is_on).to_string();
    }
    // A number a little larger, of whatever unit; of a range its longer end.
    let (head, tail) = text.rsplit_once("..").unwrap_or(("", text));
    let digits = tail.find(|c: char| c != '.' && !c.is_ascii_digit());
    let (number, unit) = tail.split_at(digits.unwrap_or(tail.len()));
    let larger = match number.parse::<u64>() {
        Ok(whole) => (whole + 1).to_string(),
        Err(_) => {
            let decimal: f64 = number
                .parse()
                .unwrap_or_else(|_| panic!("no other value is known for {path}"));
            format!("{:.3}", decimal + if decimal < 1.0 { 0.01 } else { 1.0 })
        }
    };
    let larger = if unit.is_empty() && number.contains(".0") && stated.starts_with('"') {
        format!("{:.2}", larger.parse::<f64>().unwrap()) // money
    } else {
        larger
    };
    let dots = if head.is_empty() { "" } else { ".." };
    format!("{head}{dots}{larger}{unit}")
}

/// All that the parts of roasd are given, in words, secrets included.
fn given(config: &Config) -> String {
    let parts = Parts::of(config).unwrap();
    let mut secrets = vec![&parts.database_url];
    secrets.extend(parts.hash_key.iter().chain(&parts.http.client_secret));
    secrets.extend(parts.http.app_secret.iter().chain(&parts.http.verify_token));
    for http in parts.http.tenants.values() {
        secrets.extend(http.client_secret.iter().chain(&http.app_secret));
    }
    let alerts = &parts.alerts;
    secrets.extend(&alerts.slack);
    secrets.extend(
        alerts
            .webhook
            .iter()
            .filter_map(|(_, secret)| secret.as_ref()),
    );
    let mail = alerts.mail.iter().filter_map(|mail| mail.login.as_ref());
    secrets.extend(mail.map(|(_, password)| password));
    secrets.extend(alerts.tenants.values().filter_map(|own| own.slack.as_ref()));
    for tenant in parts.tenants.values() {
        secrets.push(&tenant.meta.token);
        secrets.extend(&tenant.meta.app_secret);
        secrets.extend(tenant.hubspot.iter().map(|hubspot| &hubspot.token));
    }
    let secrets: Vec<&str> = secrets.iter().map(|s| s.expose_secret()).collect();
    let (clock, logs) = (run::clock_of(config), run::log_options(config));
    format!("{parts:?} {secrets:?} {clock:?} {logs:?}")
}

/// A key that is read and then goes nowhere is a promise broken in silence: a change of any key is
/// seen by one of the parts.
#[test]
fn every_key_reaches_a_part() {
    for (path, key) in roasd::config::reference::all_keys() {
        let tenant = if path == "tenants.<id>.template" {
            "bare"
        } else {
            "acme"
        };
        let stated = path.replace("<id>", tenant).replace("<stage>", "lead");
        let variable = |path: &str| format!("ROASD__{}", path.replace('.', "__").to_uppercase());
        let mut variables = vec![
            ("META_TOKEN".to_owned(), TOKEN.to_owned()),
            ("HUBSPOT_TOKEN".to_owned(), "pat-secret".to_owned()),
        ];
        // An app of a tenant's own is whole, before and after.
        if path.starts_with("tenants.<id>.meta.app_") || path == "tenants.<id>.meta.access_tier" {
            for (name, value) in [("app_id", "1"), ("app_secret", "own")] {
                let name = variable(&format!("tenants.acme.meta.{name}"));
                variables.push((name, value.to_owned()));
            }
        }
        let read = |variables: &[(String, String)]| {
            let environment: Environment = variables.iter().cloned().collect();
            Config::from_text("config.toml", CHANGEABLE, &environment)
                .unwrap_or_else(|faults| panic!("{path}: {faults}"))
        };
        let before = read(&variables);
        variables.push((variable(&stated), other_value(&path, &key)));
        let after = read(&variables);
        assert!(before != after, "{path} was not changed");
        // What a stage means is for people, and the command that shows it to them.
        if path.ends_with(".description") {
            let told = check::report(&before) != check::report(&after);
            assert!(told, "nobody is told {path}");
        } else {
            assert!(given(&before) != given(&after), "no part is given {path}");
        }
    }
}

/// Runs the command on a file; what it printed to out and err, and how it ended.
async fn run_check(text: &str, json: bool) -> (String, String, Exit) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let args = CheckArgs {
        json,
        ..CheckArgs::default()
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = check::run(&args, Some(&file), &environment(), &mut out, &mut err)
        .await
        .unwrap();
    (
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
        exit,
    )
}

#[tokio::test]
async fn check_prints_the_tenants_or_the_faults() {
    let (out, err, exit) = run_check(VALID, false).await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    for word in [
        "2 tenants",
        "ptd_fitness",
        "PTD Fitness",
        "act_1",
        "500.00 USD",
        "raise=approve",
        "meta token: yes",
        "app secret: no",
        "closed_won=15000.00",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    assert!(!out.contains(TOKEN));

    let (out, _, exit) = run_check(VALID, true).await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, Exit::Done);
    assert_eq!(json["valid"], true);
    assert_eq!(json["tenants"][0]["daily_cap"], "500.00 USD");
    assert_eq!(json["tenants"][1]["portal_id"], serde_json::Value::Null);

    let (out, err, exit) = run_check("[daemon]\nlsiten = 'x'\n", false).await;
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert!(err.contains("config.toml:2:1: daemon.lsiten: "), "{err}");

    let (out, _, exit) = run_check("[daemon]\nlsiten = 'x'\n", true).await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, Exit::Usage);
    assert_eq!(json["faults"][0]["line"], 2);
    assert_eq!(json["faults"][0]["key"], "daemon.lsiten");
    assert_eq!(json["faults"][0]["kind"], "unknown_key");
}
