//! One room full of clients, one line to all of them: chinwag beside the same chat written otherwise, and beside
//! other servers.
//!
//! `cargo bench --bench fanout` runs the short version in a few minutes and prints one table; `-- --full` runs all;
//! `benches/run` also writes the report. Every delivery is checked: a server that loses, tears, repeats or reorders
//! lines gets no figure but the error.
//!
//! ```text
//! main ── runner ── server      starts a contender on the first core
//!   │       │
//!   │       └────── load        the generator: this program again, in its own process, on the second core
//!   │                ├ speech   each server's protocol
//!   │                ├ ledger   what was said and who has heard it
//!   │                └ account  what the server has used
//!   └─ report ── chart          rounds → medians → terminal, Markdown, JSON, SVG
//! ```

mod account;
mod build;
mod chart;
mod contender;
mod cores;
mod family;
mod figure;
mod ledger;
mod load;
mod machine;
mod merge;
mod payload;
mod report;
mod rounds;
mod runner;
mod server;
mod speech;
mod statistics;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use contender::Contender;
use report::Report;
use workload::Workload;

#[derive(Parser)]
#[command(name = "fanout", about = "Compares chat servers under load.")]
struct Arguments {
    /// All contenders and all workloads, not the short version
    #[arg(long)]
    full: bool,

    /// Only these workloads, families of workloads (lines, websocket, doors) and contenders, by name
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,

    /// How often each contender runs in each workload
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Write report.md, results.json and charts into this folder
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,

    /// Take the variants as they were built last
    #[arg(long)]
    no_build: bool,

    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(runner::GENERATE) {
        return generate(&words.next().unwrap_or_default());
    }
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(order: &str) -> ExitCode {
    let outcome = match serde_json::from_str(order) {
        Ok(order) => load::carry_out(&order),
        Err(error) => Err(format!("no order: {error}")),
    };
    match serde_json::to_string(&outcome) {
        Ok(json) => println!("{json}"),
        Err(error) => eprintln!("fanout: {error}"),
    }
    ExitCode::SUCCESS
}

fn compare(arguments: &Arguments) -> Result<(), String> {
    let (workloads, contenders) = choose(arguments)?;
    if !arguments.no_build {
        build::variants();
    }
    let mut here = Vec::new();
    let mut absent = Vec::new();
    for contender in contenders {
        match server::missing(&contender) {
            None => here.push(contender),
            Some(why) => absent.push(format!("{}: {why}", contender.name)),
        }
    }
    let tables = runner::run(workloads, &here, usize::from(arguments.rounds));
    let report = Report::new(&tables, &here, &absent, usize::from(arguments.rounds));
    println!("{}", report.terminal());
    match &arguments.write {
        Some(folder) => report.write(folder).map_err(|error| format!("{}: {error}", folder.display())),
        None => Ok(()),
    }
}

/// A name in `--only` may be of a workload or a contender; if it has none of the one kind, that is there whole.
fn choose(arguments: &Arguments) -> Result<(Vec<Workload>, Vec<Contender>), String> {
    let full = arguments.full || !arguments.only.is_empty();
    let (mut workloads, mut contenders) = (workload::short(), contender::all());
    if arguments.full {
        workloads = workload::full();
    } else {
        let short: Vec<String> = workloads.iter().map(|workload| workload.name.clone()).collect();
        let rest = workload::full().into_iter().filter(|workload| !short.contains(&workload.name));
        workloads.extend(rest.filter(|workload| workload.is_among(&arguments.only)));
    }
    let is_known = |name: &String| {
        workloads.iter().any(|workload| workload.is_among(std::slice::from_ref(name)))
            || contenders.iter().any(|contender| contender.name == name)
    };
    if let Some(name) = arguments.only.iter().find(|name| !is_known(name)) {
        return Err(format!("there is no workload and no contender {name}"));
    }
    let only_workloads = workloads.iter().any(|workload| workload.is_among(&arguments.only));
    let only_contenders =
        contenders.iter().any(|contender| arguments.only.iter().any(|n| n == contender.name));
    workloads.retain(|workload| !only_workloads || workload.is_among(&arguments.only));
    contenders.retain(|contender| match only_contenders {
        true => arguments.only.iter().any(|name| name == contender.name),
        false => full || contender.short,
    });
    Ok((workloads, contenders))
}
