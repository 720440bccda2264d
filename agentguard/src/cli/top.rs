//! `top`: the sessions with what they use, again and again, on the whole terminal.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row as Shown, Table};

use super::limits::rounded;
use super::sessions::{age, printable, unexpected};
use crate::api::{Client, Request, Response, Row};
use crate::error::{Error, Result};
use crate::session::Usage;

#[derive(Debug, Args)]
pub(super) struct TopArguments {
    /// Seconds from one look to the next
    #[arg(long, short, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    delay: u64,
}

/// The columns: what stands above them, and how wide they are.
const COLUMNS: [(&str, u16); 10] = [
    ("SESSION", 12),
    ("AGENT", 14),
    ("STATE", 8),
    ("TASKS", 6),
    ("CPU", 6),
    ("MEMORY", 17),
    ("READ/s", 9),
    ("WRITE/s", 9),
    ("WAITS c/m/d", 14),
    ("AGE", 5),
];

pub(super) fn top(arguments: &TopArguments, socket: &Path) -> Result<ExitCode> {
    if !std::io::stdout().is_terminal() {
        return Err(Error::Usage("top needs a terminal; ps --detail does not".into()));
    }
    let client = Client::connect(socket)?;
    let mut looks = Looks::default();
    // What cannot be asked at all is told before the screen is taken.
    looks.look(ask(&client)?);
    let mut terminal = ratatui::try_init().map_err(Error::system("take the terminal"))?;
    let done = watch(&mut terminal, &client, &mut looks, Duration::from_secs(arguments.delay));
    ratatui::restore();
    done.map(|()| ExitCode::SUCCESS)
}

fn ask(client: &Client) -> Result<Vec<Row>> {
    match client.ask(&Request::Ps { all: false, detail: true }, None)?.0 {
        Response::Sessions { sessions } => Ok(sessions),
        other => Err(unexpected(&other)),
    }
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    client: &Client,
    looks: &mut Looks,
    delay: Duration,
) -> Result<()> {
    let failed = Error::system::<std::io::Error>;
    loop {
        terminal.draw(|frame| looks.draw(frame)).map_err(failed("draw"))?;
        let until = Instant::now() + delay;
        while event::poll(until.saturating_duration_since(Instant::now()))
            .map_err(failed("wait for a key"))?
        {
            match event::read().map_err(failed("read a key"))? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    let interrupt = key.modifiers.contains(KeyModifiers::CONTROL)
                        && key.code == KeyCode::Char('c');
                    if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return Ok(());
                    }
                }
                Event::Resize(..) => {
                    terminal.draw(|frame| looks.draw(frame)).map_err(failed("draw"))?;
                }
                _ => {}
            }
        }
        looks.look(ask(client)?);
    }
}

/// The last look, and the one before: rates are what lies between.
#[derive(Default)]
struct Looks {
    rows: Vec<Row>,
    before: BTreeMap<String, Usage>,
    between: Duration,
    at: Option<Instant>,
}

impl Looks {
    fn look(&mut self, rows: Vec<Row>) {
        let usage = |row: Row| Some((row.session.id, row.usage?));
        self.before = std::mem::take(&mut self.rows).into_iter().filter_map(usage).collect();
        let now = Instant::now();
        self.between = self.at.map_or(Duration::ZERO, |then| now - then);
        (self.rows, self.at) = (rows, Some(now));
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [title, table, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
                .areas(frame.area());
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let count = self.rows.len();
        frame.render_widget(Line::styled(format!("agentguard: {count} sessions"), bold), title);
        let mut heads: Vec<&str> = COLUMNS.iter().map(|(head, _)| *head).collect();
        heads.push("COMMAND");
        let mut widths: Vec<Constraint> =
            COLUMNS.iter().map(|(_, width)| Constraint::Length(*width)).collect();
        widths.push(Constraint::Min(8));
        let rows =
            self.rows.iter().map(|row| Shown::new(self.cells(row).into_iter().map(Cell::new)));
        frame.render_widget(Table::new(rows, widths).header(Shown::new(heads).style(bold)), table);
        let text = "q: end   waits: share of 10 s in which something waited for CPU, memory, disk";
        frame.render_widget(Line::raw(text), foot);
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let session = &row.session;
        let now = row.usage.clone().unwrap_or_default();
        let before = self.before.get(&session.id);
        let rate = |of: fn(&Usage) -> Option<u64>| {
            let more = of(&now)?.saturating_sub(of(before?)?);
            let millis =
                u64::try_from(self.between.as_millis()).ok().filter(|millis| *millis > 0)?;
            Some(more.saturating_mul(1000) / millis)
        };
        let unknown = || "-".to_owned();
        let bytes = |rate: Option<u64>| rate.map_or_else(unknown, rounded);
        let memory = match (now.memory, session.limits.memory) {
            (Some(used), Some(most)) => format!("{}/{}", rounded(used), rounded(most)),
            (used, _) => used.map_or_else(unknown, rounded),
        };
        let share = |share: Option<f64>| share.map_or_else(unknown, |share| format!("{share:.0}"));
        let waits = [now.cpu_pressure, now.memory_pressure, now.io_pressure].map(share);
        vec![
            session.id.clone(),
            printable(&session.agent),
            session.state.as_str().to_owned(),
            row.tasks.to_string(),
            // Microseconds for each second: 10,000 are one percent.
            rate(|of| of.cpu).map_or_else(unknown, |rate| format!("{}%", rate / 10_000)),
            memory,
            bytes(rate(|of| of.io_read)),
            bytes(rate(|of| of.io_written)),
            format!("{}%", waits.join("/")),
            age(session.started),
            printable(&session.command.join(" ")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn row(cpu: u64, memory: u64) -> Row {
        serde_json::from_value(json!({
            "id": "abc", "number": 1, "slot": 0, "agent": "coder", "policy_hash": "",
            "correlation_id": "", "uid": 0, "command": ["make", "-j\u{1b}[2J"], "workspace": "",
            "started": crate::event::now(), "pid": 1, "cgroup": "", "state": "running",
            "killed": null, "limits": { "memory": 1 << 30 }, "tasks": 7,
            "usage": { "cpu": cpu, "memory": memory, "cpu_pressure": 12.4 },
        }))
        .unwrap()
    }

    #[test]
    fn rates_are_what_lies_between_two_looks() {
        let mut looks = Looks::default();
        looks.look(vec![row(1_000_000, 5 << 20)]);
        assert_eq!(looks.cells(&looks.rows[0])[4], "-", "one look tells no rate");
        looks.look(vec![row(4_000_000, 50 << 20)]);
        looks.between = Duration::from_secs(2);
        let cells = looks.cells(&looks.rows[0]);
        assert_eq!(cells[..6], ["abc", "coder", "running", "7", "150%", "50MiB/1GiB"]);
        assert_eq!(cells[8], "12/-/-%");
    }

    #[test]
    fn the_screen_shows_a_line_for_each_session() {
        let mut looks = Looks::default();
        looks.look(vec![row(0, 5 << 20)]);
        let mut terminal = Terminal::new(TestBackend::new(140, 5)).unwrap();
        terminal.draw(|frame| looks.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let text: String = buffer.content().iter().map(|cell| cell.symbol()).collect();
        assert!(text.contains("agentguard: 1 sessions"), "{text}");
        assert!(text.contains("SESSION") && text.contains("coder"), "{text}");
        assert!(!text.contains('\u{1b}'), "nothing a command holds reaches the terminal");
    }
}
