//! Compares chinwag with the same chat on other foundations and with other servers. Many clients are in one room, and every
//! line goes to all of them.
//!
//! `cargo bench --bench fanout` prints the report; `benches/run` also writes it into a folder. Every delivery is checked: a
//! server that loses, tears, repeats or reorders lines gets an error instead of figures.
//!
//! ```text
//! main ─┬─ server      starts a contender on the first core
//!       ├─ load        the clients, in this process, on the second core
//!       │    ├ speech  each server's protocol
//!       │    └ ledger  lines that were sent, and the clients that have received them
//!       └─ report ── chart
//! ```

mod chart;
mod contender;
mod crowd;
mod figure;
mod join;
mod ledger;
mod load;
#[path = "../machine.rs"]
mod machine;
mod payload;
mod report;
mod server;
mod speech;
mod statistics;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use contender::Contender;
use figure::{Outcome, Table};
use machine::{Cores, LOAD};
use server::Server;
use workload::Workload;

#[derive(Parser)]
#[command(name = "fanout", about = "Compares chat servers under load.")]
struct Arguments {
    /// Only these workloads and contenders, by name
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,

    /// Runs of each contender in each workload
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Write report.md and charts into this folder
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,

    /// Use the variants as they were built last
    #[arg(long)]
    no_build: bool,

    /// Added by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), String> {
    let (workloads, contenders) = choose(&arguments.only)?;
    if !arguments.no_build {
        server::build_variants();
    }
    let cores = Cores::of_this_process();
    cores.run_on(LOAD);
    let mut present = Vec::new();
    let mut absent = Vec::new();
    for contender in contenders {
        match Server::start(&contender, cores) {
            Ok(_) => present.push(contender),
            Err(error) => absent.push(format!("{}: {error}", contender.name)),
        }
    }
    let mut tables: Vec<Table> =
        workloads.into_iter().map(|workload| Table::new(workload, &present)).collect();
    tables.retain(|table| !table.rows.is_empty());
    for table in &mut tables {
        // In turn, so that other work on the machine falls on all of them alike.
        for round in 1..=arguments.rounds {
            for row in &mut table.rows {
                eprintln!("{}, round {round}: {}", table.workload.name, row.contender.name);
                row.rounds.push(run(&row.contender, &table.workload, cores));
            }
            table.compare_last_round();
        }
    }
    let markdown = report::markdown(&tables, &present, &absent);
    println!("{markdown}");
    match &arguments.write {
        Some(folder) => report::write(folder, &markdown, &tables)
            .map_err(|error| format!("{}: {error}", folder.display())),
        None => Ok(()),
    }
}

/// Runs a workload on a new server.
fn run(contender: &Contender, workload: &Workload, cores: Cores) -> Outcome {
    let server = Server::start(contender, cores)?;
    load::run(contender.protocol, workload, &server).map_err(|error| match server.last_log_line() {
        Some(line) => format!("{error} (the server's last log line: {line})"),
        None => error,
    })
}

/// A name is one of a workload or of a contender. If no workload is named, all are run; so are contenders.
fn choose(names: &[String]) -> Result<(Vec<Workload>, Vec<Contender>), String> {
    let (mut workloads, mut contenders) = (workload::all(), contender::all());
    let is_workload = |name: &String| workload::all().iter().any(|workload| workload.name == name);
    let is_contender = |name: &String| contender::all().iter().any(|contender| contender.name == name);
    if let Some(name) = names.iter().find(|name| !is_workload(name) && !is_contender(name)) {
        return Err(format!("there is no workload and no contender {name}"));
    }
    if names.iter().any(is_workload) {
        workloads.retain(|workload| names.iter().any(|name| name == workload.name));
    }
    if names.iter().any(is_contender) {
        contenders.retain(|contender| names.iter().any(|name| name == contender.name));
    }
    Ok((workloads, contenders))
}
