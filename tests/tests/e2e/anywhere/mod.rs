//! What is the daemon's own doing, the same over any kernel: `cargo xtask test` runs each of
//! these on one kernel of those it is given, in turn, and everything else on each.

mod audit;
mod bad_input;
mod learn;
mod metrics;
mod run;
mod why;
