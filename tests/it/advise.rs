//! `roasd advise` on files as people export them.

use std::path::Path;

use clap::Parser;
use roasd::cli::Exit;
use roasd::cli::advise::{AdviseArgs, run};
use serde_json::Value;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: AdviseArgs,
}

struct Said {
    exit: Result<Exit, String>,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        assert_eq!(self.exit, Ok(Exit::Done), "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }

    fn failure(&self) -> &str {
        assert!(self.out.is_empty(), "{}", self.out);
        self.exit.as_ref().expect_err("it succeeded")
    }
}

/// Runs the command on these files, with these further words.
fn advise(ads: &[u8], deals: Option<&str>, words: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let ads_file = folder.path().join("ads.csv");
    std::fs::write(&ads_file, ads).unwrap();
    let mut line = vec!["advise".to_owned(), "--ads".to_owned(), shown(&ads_file)];
    if let Some(deals) = deals {
        let file = folder.path().join("deals.csv");
        std::fs::write(&file, deals).unwrap();
        line.extend(["--deals".to_owned(), shown(&file)]);
    }
    line.extend(words.iter().map(|w| (*w).to_owned()));
    run_line(line)
}

fn run_line(line: Vec<String>) -> Said {
    let args = Line::try_parse_from(line)
        .unwrap_or_else(|e| panic!("{e}"))
        .args;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(&args, &mut out, &mut err).map_err(|e| format!("{e:#}"));
    Said {
        exit,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Campaign, ads, spend, value of each campaign.
fn campaigns(said: &Said) -> Vec<String> {
    let json = said.json();
    json["campaigns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            format!(
                "{} {} {} {}",
                c["name"].as_str().unwrap(),
                c["ads"],
                c["spend"].as_str().unwrap(),
                c["value"]
            )
        })
        .collect()
}

fn says(json: &Value, key: &str, part: &str) {
    let lines = json[key].as_array().unwrap();
    let found = lines
        .iter()
        .any(|l| l.as_str().is_some_and(|l| l.contains(part)));
    assert!(found, "{part:?} is not in {lines:#?}");
}

const VALUES: [&str; 4] = ["--value", "lead=10", "--value", "closed_won=100"];
const WITH_JSON: [&str; 5] = ["--value", "lead=10", "--value", "closed_won=100", "--json"];

/// Two ad sets, one of which earns far more for the same money.
const TOTALS: &str = "\
Campaign name,Ad set name,Ad name,Amount spent (USD),Impressions,Reach,Link clicks,Leads,Purchases
Gym,Strong,Video,\"1,000.00\",\"50,000\",\"30,000\",\"1,200\",120,30
Gym,Strong,Image,\"1,000.00\",\"50,000\",\"30,000\",\"1,100\",110,28
Gym,Weak,Video,\"1,000.00\",\"50,000\",\"30,000\",\"1,000\",60,6
Gym,Weak,Image,\"1,000.00\",\"50,000\",\"30,000\",\"1,000\",2,0
,,,\"4,000.00\",\"200,000\",\"60,000\",\"4,300\",292,64
";

#[test]
fn money_moves_to_what_earns_more_and_the_reason_is_told() {
    let said = advise(TOTALS.as_bytes(), None, &WITH_JSON);
    let json = said.json();
    assert_eq!(campaigns(&said), ["Gym 4 4000.00 8680.0"]);
    says(
        &json,
        "notes",
        "line 6 sums up 4 rows, and its spend agrees",
    );
    says(&json, "assumptions", "lifetime totals");
    says(&json, "assumptions", "spend stands for the budget");
    let moves = json["moves"].as_array().unwrap();
    let of = |action: &str, part: &str| {
        moves
            .iter()
            .find(|m| m["action"] == action && m["id"].as_str().unwrap().contains(part))
            .unwrap_or_else(|| panic!("no {action} of {part} in {moves:#?}"))
    };
    let raise = of("RAISE", "Strong");
    let cut = of("CUT", "Weak");
    for shown in [raise, cut] {
        assert!(!shown["reason"].as_str().unwrap().is_empty());
        assert!(!shown["would_change"].as_array().unwrap().is_empty());
        let (low, mean, high) = (
            &shown["roas"]["low_90"],
            &shown["roas"]["mean"],
            &shown["roas"]["high_90"],
        );
        assert!(
            low.as_f64() < mean.as_f64() && mean.as_f64() < high.as_f64(),
            "{shown}"
        );
    }
    // Money is moved, not added, and one step is a fifth at most.
    assert_eq!(json["cap"], "4000.00");
    assert!(
        json["budget_after"]
            .as_str()
            .unwrap()
            .parse::<f64>()
            .unwrap()
            <= 4000.0
    );
    let percent = raise["change_percent"].as_f64().unwrap();
    assert!(percent > 0.0 && percent < 20.01, "{percent}");
    // The ad that brings next to nothing yields to its sibling or goes.
    let paused = moves
        .iter()
        .find(|m| m["id"] == "Gym / Weak / Image")
        .unwrap();
    assert!(
        ["KILL", "ROTATE"].contains(&paused["action"].as_str().unwrap()),
        "{paused}"
    );
}

#[test]
fn the_table_is_narrow_and_the_same_every_time() {
    let said = advise(TOTALS.as_bytes(), None, &VALUES);
    assert_eq!(said.exit, Ok(Exit::Done));
    for part in [
        "Totals by campaign",
        "4,000.00",
        "Raise (1)",
        "Cut (1)",
        "What would change it:",
        "90 %",
        "took: Campaign name = campaign name",
    ] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
    for line in said.out.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
    assert_eq!(advise(TOTALS.as_bytes(), None, &VALUES).out, said.out);
}

#[test]
fn one_account_reads_the_same_in_every_locale() {
    let german = "\u{feff}Kampagnenname;Anzeigengruppenname;Anzeigenname;Ausgegebener Betrag (EUR);Impressionen;Link-Klicks;Ergebnisse;Ergebnistyp\r\n\
        Gym;A;Eins;1.234,50;12.345;120;10;Leads (Formular)\r\n\
        Gym;B;Zwei;65,50;1.345;20;1;Leads (Formular)\r\n\
        ;;;1.300,00;13.690;140;11;\r\n";
    let french = "Nom de la campagne\tNom de l'ensemble de publicités\tNom de la publicité\tMontant dépensé (EUR)\tImpressions\tClics sur un lien\tProspects\n\
        Gym\tA\tEins\t1\u{202f}234,50\t12\u{202f}345\t120\t10\nGym\tB\tZwei\t65,50\t1\u{202f}345\t20\t1\n";
    let spanish = "Nombre de la campaña,Nombre del conjunto de anuncios,Nombre del anuncio,Importe gastado (EUR),Impresiones,Clics en el enlace,Clientes potenciales\n\
        Gym,A,Eins,1234.5,12345,120,10\nGym,B,Zwei,65.5,1345,20,1\n";
    let portuguese = "Nome da campanha;Nome do conjunto de anúncios;Nome do anúncio;Valor usado (EUR);Impressões;Cliques no link;Leads\n\
        Gym;A;Eins;1.234,50;12.345;120;10\nGym;B;Zwei;65,50;1.345;20;1\n";
    let utf16: Vec<u8> = std::iter::once(0xFEFF)
        .chain(french.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let files: [&[u8]; 5] = [
        german.as_bytes(),
        french.as_bytes(),
        spanish.as_bytes(),
        portuguese.as_bytes(),
        &utf16,
    ];
    for file in files {
        let said = advise(file, None, &["--value", "lead=10", "--json"]);
        assert_eq!(campaigns(&said), ["Gym 2 1300.00 110.0"]);
        assert_eq!(said.json()["currency"], "EUR");
    }
}

#[test]
fn days_become_evidence_with_an_age() {
    let mut file =
        "Ad set name,Ad name,Day,Amount spent (USD),Link clicks,Impressions,Leads,Purchases\n"
            .to_owned();
    for day in 1..=28 {
        file.push_str(&format!(
            "A,x,2026-11-{day:02},70.00,60,3000,6,2\nB,y,2026-11-{day:02},70.00,60,3000,1,0\n"
        ));
        if day <= 10 {
            file.push_str(&format!("C,z,2026-11-{day:02},10.00,6,300,1,0\n"));
        }
    }
    let said = advise(file.as_bytes(), None, &WITH_JSON);
    let json = said.json();
    says(
        &json,
        "assumptions",
        "the mean spend of its last 7 day(s), up to 2026-11-28",
    );
    says(&json, "assumptions", "1 of 3 ads do not deliver now");
    assert_eq!(json["budget_before"], "140.00");
    let moves = json["moves"].as_array().unwrap();
    assert!(
        moves
            .iter()
            .any(|m| m["action"] == "RAISE" && m["id"] == "(all) / A"),
        "{moves:#?}"
    );
    assert!(moves.iter().all(|m| m["id"] != "(all) / C"), "{moves:#?}");
}

#[test]
fn deals_of_the_crm_decide_where_they_are_given() {
    let ads = "Ad ID,Ad name,Ad set ID,Campaign ID,Campaign name,Amount spent (USD),Link clicks,Impressions,Results\n\
        11,x,1,7,Gym,1000,900,50000,400\n12,y,2,7,Gym,1000,900,50000,1\n";
    let mut deals = "Record ID,Deal Stage,Amount in company currency,Create Date,Close Date,utm_content,utm_campaign,Original Source\n".to_owned();
    for n in 0..40 {
        // The CRM knows better than the count of results which ad sells.
        let stage = if n % 4 == 0 {
            "Closed Won (Sales Pipeline)"
        } else {
            "Appointment Scheduled (Sales Pipeline)"
        };
        let amount = if n % 4 == 0 { "\"1,500.00\"" } else { "" };
        deals.push_str(&format!(
            "{n},{stage},{amount},2026-11-{:02} 10:00,2026-11-29 10:00,12,,PAID_SOCIAL\n",
            n % 28 + 1
        ));
    }
    deals.push_str("90,Closed Lost,,2026-11-02,2026-11-03,,GYM,PAID_SOCIAL\n");
    deals.push_str("91,Closed Won,9000,2026-11-02,2026-11-03,,,DIRECT_TRAFFIC\n");
    deals.push_str("92,Closed Won,9000,2026-11-02,2026-11-03,no-such-ad,,PAID_SOCIAL\n");
    let words = [
        "--value",
        "appointment_scheduled=300",
        "--value",
        "closed_won=1500",
        "--json",
    ];
    let said = advise(ads.as_bytes(), Some(&deals), &words);
    let json = said.json();
    says(
        &json,
        "assumptions",
        "Of 43 deals 40 name an ad, 0 only an ad set, 1 only a campaign",
    );
    says(
        &json,
        "assumptions",
        "1 name something the ads file does not have, 1 name nothing, of which 1 came by other ways",
    );
    says(&json, "assumptions", "no-such-ad");
    let moves = json["moves"].as_array().unwrap();
    assert!(
        moves
            .iter()
            .any(|m| m["action"] == "RAISE" && m["id"] == "2"),
        "{moves:#?}"
    );
    assert!(
        moves.iter().any(|m| m["action"] == "CUT" && m["id"] == "1"),
        "{moves:#?}"
    );
    // 10 wins of 1,500, 30 appointments of 300, and a lost deal that is worth an appointment no more.
    let value = json["campaigns"][0]["value"].as_f64().unwrap();
    assert!((24_000.0..=24_300.0).contains(&value), "{value}");
}

#[test]
fn purchases_with_amounts_need_no_values() {
    let file = "Ad name,Amount spent (USD),Link clicks,Impressions,Purchases,Purchases conversion value\n\
        a,500,400,20000,20,2000.00\nb,500,400,20000,2,200.00\n";
    let json = advise(file.as_bytes(), None, &["--json"]).json();
    says(&json, "assumptions", "100 USD on average");
    assert_eq!(json["campaigns"][0]["value"], 2200.0);
}

#[test]
fn what_is_missing_is_asked_for() {
    for (words, part) in [
        (&[][..], "--value lead=10"),
        (
            &["--value", "show_up=10"][..],
            "no column and no deal counts the stage show_up: the files count closed_won, lead",
        ),
        (&["--value", "lead=1", "--value", "lead=2"][..], "twice"),
        (&["--value", "lead=1", "--cap", "ten"][..], "--cap"),
    ] {
        let said = advise(TOTALS.as_bytes(), None, words);
        assert_eq!(said.exit, Ok(Exit::Usage), "{words:?}");
        assert!(said.err.contains(part), "{}", said.err);
        assert!(said.out.is_empty());
    }
    for bad in ["lead", "lead=", "lead=x", "=1", "lead=-1", "lead=1,5"] {
        let line = ["advise", "--ads", "f.csv", "--value", bad];
        assert!(Line::try_parse_from(line).is_err(), "{bad}");
    }
}

#[test]
fn files_that_are_no_export_are_refused_with_the_remedy() {
    for (file, part) in [
        (&b""[..], "empty"),
        (
            b"<!DOCTYPE html><html><body>Sign in</body></html>",
            "sign in and export again",
        ),
        (b"PK\x03\x04....", "Excel"),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary"),
        (b"a,b\n1,2\n", "no column for"),
        (
            b"Ad name,Amount spent (USD),Link clicks\nx,12;5,1\n",
            "line 2, column 2 (Amount spent (USD)): \"12;5\" is not a number",
        ),
        (
            b"Ad name,Day,Spend,Link clicks\nx,01/02/2026,1,1\n",
            "--date-order",
        ),
    ] {
        let said = advise(file, None, &VALUES);
        assert!(
            said.failure().contains("ads.csv: ") && said.failure().contains(part),
            "{}",
            said.failure()
        );
    }
    let gone = run_line(
        ["advise", "--ads", "/no/such/file.csv"]
            .map(str::to_owned)
            .to_vec(),
    );
    assert!(
        gone.failure().contains("cannot read /no/such/file.csv"),
        "{}",
        gone.failure()
    );
}

#[test]
fn nothing_to_go_by_is_an_answer_too() {
    let file = "Ad name,Amount spent (USD),Link clicks,Leads\na,0,0,0\nb,0,0,0\n";
    let said = advise(file.as_bytes(), None, &["--value", "lead=10"]);
    assert_eq!(said.exit, Ok(Exit::Done), "{:?}", said.err);
    assert!(
        said.out.contains("None: nothing in the file"),
        "{}",
        said.out
    );
}
