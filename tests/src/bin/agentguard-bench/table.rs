//! Rows of figures, beside the goals they have to meet.

/// One thing that was measured.
pub(crate) struct Row {
    /// What.
    pub(crate) what: String,
    /// How long it took.
    pub(crate) took: f64,
    /// What of that is to be judged: what it took beyond the empty case.
    pub(crate) above: f64,
    /// What that may be at most.
    pub(crate) goal: Option<f64>,
}

impl Row {
    fn met(&self) -> bool {
        self.goal.is_none_or(|goal| self.above <= goal)
    }
}

/// Prints rows under a title; true when every goal was met.
pub(crate) fn print(title: &str, unit: &str, above: &str, rows: &[Row]) -> bool {
    let width = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0).max(title.len());
    println!("\n{title:width$}  {unit:>8}  {above:>12}  {:>8}", "goal");
    for row in rows {
        let goal = row.goal.map(|goal| format!("≤ {}", short(goal))).unwrap_or_default();
        let said = match row.goal {
            Some(_) if row.met() => "met",
            Some(_) => "MISSED",
            None => "",
        };
        let (took, above) = (short(row.took), short(row.above));
        let line = format!("{:width$}  {took:>8}  {above:>12}  {goal:>8}  {said}", row.what);
        println!("{}", line.trim_end());
    }
    rows.iter().all(Row::met)
}

/// A figure with as many places as say something.
fn short(number: f64) -> String {
    if number.abs() < 10.0 { format!("{number:.2}") } else { format!("{number:.0}") }
}
