//! Runs every contender in every workload, round by round.

use std::io::{IsTerminal, Write};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::contender::Contender;
use crate::cores::{Role, pinned};
use crate::load::{Order, Outcome};
use crate::rounds::Table;
use crate::server::Server;
use crate::workload::Workload;

/// The generator ends by itself, with an error, when a server goes silent; this is for when it is wrong about that.
const RUN_MOST: Duration = Duration::from_secs(60);

/// The word that makes this program the generator.
pub const GENERATE: &str = "generate";

pub fn run(workloads: Vec<Workload>, contenders: &[Contender], rounds: usize) -> Vec<Table> {
    let mut tables: Vec<Table> =
        workloads.into_iter().map(|workload| Table::new(workload, contenders)).collect();
    tables.retain(|table| !table.rows.is_empty());
    let runs =
        tables.iter().map(|table| table.rows.len() * (rounds + usize::from(table.workload.counts_calls())));
    let mut progress = Progress::new(runs.sum());
    for table in &mut tables {
        for round in 1..=rounds {
            for row in &mut table.rows {
                progress.step(&format!("{}, round {round}: {}", table.workload.name, row.contender.name));
                row.rounds.push(one(&row.contender, &table.workload, false));
            }
            table.relate_last_round();
        }
        if table.workload.counts_calls() {
            for row in &mut table.rows {
                progress.step(&format!("{}, system calls: {}", table.workload.name, row.contender.name));
                row.calls = one(&row.contender, &table.workload, true)
                    .ok()
                    .and_then(|figures| figures.get(&crate::figure::Figure::CallsPerDelivery).copied());
            }
        }
    }
    progress.end();
    tables
}

/// A fresh server, a fresh generator.
fn one(contender: &Contender, workload: &Workload, count_calls: bool) -> Outcome {
    let server = Server::start(contender.launch, contender.protocol.door())?;
    let order = Order {
        protocol: contender.protocol,
        address: server.address,
        talk_address: server.talk_address,
        server: server.pid(),
        backlog: contender.backlog,
        workload: workload.clone(),
        count_calls,
    };
    generate(&order).map_err(|error| match server.last_words() {
        Some(words) => format!("{error} (the server says: {words})"),
        None => error,
    })
}

fn generate(order: &Order) -> Outcome {
    let order = serde_json::to_string(order).map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args([GENERATE, &order]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = pinned(Role::Generator, || command.spawn()).map_err(|error| error.to_string())?;
    if !ends_in_time(&mut child) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("took longer than {} s", RUN_MOST.as_secs()));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| "the load generator broke down".to_string())?
}

fn ends_in_time(child: &mut Child) -> bool {
    let start = Instant::now();
    while start.elapsed() < RUN_MOST {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        sleep(Duration::from_millis(20));
    }
    false
}

/// One line that is written over, or a line a step where there is no terminal.
struct Progress {
    steps: usize,
    done: usize,
    start: Instant,
}

impl Progress {
    fn new(steps: usize) -> Progress {
        Progress { steps, done: 0, start: Instant::now() }
    }

    fn step(&mut self, what: &str) {
        let gone = self.start.elapsed();
        let left = gone.checked_div(self.done as u32).map(|each| each * (self.steps - self.done) as u32);
        let left = left.map_or(String::new(), |left| format!(", about {} left", minutes(left)));
        self.done += 1;
        let line = format!("[{}/{}] {what} ({}{left})", self.done, self.steps, minutes(gone));
        let mut error = std::io::stderr();
        let _ = match error.is_terminal() {
            true => write!(error, "\r\x1b[K{line}"),
            false => writeln!(error, "{line}"),
        };
    }

    fn end(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        eprintln!("{} runs in {}", self.steps, minutes(self.start.elapsed()));
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
